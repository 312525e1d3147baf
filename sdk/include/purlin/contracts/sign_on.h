/* sign_on.h: the contract of who lets people in by a page of its own (single sign-on): the login page has a link to each.
 *
 *   static purlin_sign_on sign_on = {.size = sizeof sign_on, .label = "Acme", .path = "/api/v1/oidc/login"};
 *   PURLIN_PROVIDES(sign_on, "oidc", sign_on);
 *
 * What the page leads to begins the session by sessions.h. */
#ifndef PURLIN_CONTRACTS_SIGN_ON_H
#define PURLIN_CONTRACTS_SIGN_ON_H

#include <purlin/plugin.h>

PURLIN_BEGIN

#define PURLIN_CONTRACT_sign_on 1u

/* Read with each page; the plugin sets it before it has started and not any more afterwards. */
typedef struct purlin_sign_on {
  uint32_t size;
  const char *label; /* "Log in with LABEL"; NULL: no link now */
  const char *path;  /* of this server: "/...". Where somebody wanted to go is added as ?next=/PATH, when they did */
} purlin_sign_on;

PURLIN_END

#endif
