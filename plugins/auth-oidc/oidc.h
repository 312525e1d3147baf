/* oidc.h: what the files of this plugin share.
 *
 * browser.c   GET /api/v1/oidc/login: authorization code with PKCE, and back with a session
 * device.c    the same for a terminal, by the device flow; what `purlin login --sso` calls
 * logout.c    logout at the provider, and the provider's word that somebody logged out there
 * provider.c  what the provider says of itself: discovery and keys, kept for a while
 * exchange.c  the provider's token endpoint, and userinfo
 * token.c     whether a token was signed by the provider
 * claims.c    whether it is for us, now, and for this login
 * person.c    from claims to somebody who may log in
 * people.c    who was here, and the contract `directory`
 * check.c     for operators: what works and what does not
 * tidy.c      what is over goes
 * rules.c     addresses, paths and names, without the SDK */
#ifndef OIDC_H
#define OIDC_H

#include "rules.h"
#include <purlin/contracts/sessions.h>
#include <purlin/purlin.h>

#define DIRECTORY "oidc" /* under which name accounts knows these people */

typedef struct oidc_group {
  const char *from, *to;
} oidc_group;
PURLIN_SCHEMA(oidc_group, "What a group is called here",
    PURLIN_REQUIRED(from, "At the provider", .min_length = 1, .max_length = 500),
    PURLIN_REQUIRED(to, "Here: roles are granted to \"group:TO\"", .pattern = "[A-Za-z0-9._@+-]+", .max_length = 100));

typedef struct oidc_configuration {
  const char *issuer, *label, *client_id, *client_secret, *client_authentication;
  purlin_texts scopes, algorithms;
  const char *redirect_url, *after_logout_url;
  const char *name_claim, *name_suffix, *groups_claim, *group_prefix;
  PURLIN_LIST_OF(oidc_group) groups;
  purlin_texts required_groups, email_domains;
  const char *required_claim, *required_value;
  bool userinfo;
  int64_t known_days, clock_skew_s, keys_again_s;
} oidc_configuration;
PURLIN_SCHEMA(oidc_configuration, "Single sign-on by OpenID Connect",
    PURLIN_DEFAULT(issuer, "\"\"", "The provider, exactly as it calls itself (iss); empty: nobody comes in by this", .max_length = 500),
    PURLIN_DEFAULT(label, "\"single sign-on\"", "What the login page calls it: \"Log in with LABEL\"", .min_length = 1, .max_length = 100),
    PURLIN_DEFAULT(client_id, "\"\"", "What the provider calls this server", .max_length = 300),
    PURLIN_DEFAULT(client_secret, "\"\"", "Its secret: env(\"PURLIN_OIDC_SECRET\"); empty: a public client, with PKCE alone", .max_length = 500, .secret = true),
    PURLIN_DEFAULT(client_authentication, "\"client_secret_basic\"", "How the secret is shown to the provider", .choices = "client_secret_basic, client_secret_post"),
    PURLIN_DEFAULT(scopes, "[\"openid\", \"profile\", \"email\"]", "What is asked for; openid must be among it", .max_length = 30),
    PURLIN_DEFAULT(algorithms, "[\"RS256\", \"PS256\", \"ES256\", \"EdDSA\"]", "By which tokens may be signed: some of these", .min_length = 1, .max_length = 4),
    PURLIN_DEFAULT(redirect_url, "\"\"", "Where the provider sends browsers back; empty: /api/v1/oidc/callback of the server's URL", .max_length = 500),
    PURLIN_DEFAULT(after_logout_url, "\"\"", "Where it sends them after a logout; empty: where it likes", .max_length = 500),
    PURLIN_DEFAULT(name_claim, "\"preferred_username\"", "The claim that is the login name", .min_length = 1, .max_length = 200),
    PURLIN_DEFAULT(name_suffix, "\"\"", "What is cut off from its end, such as \"@example.org\"", .max_length = 200),
    PURLIN_DEFAULT(groups_claim, "\"groups\"", "The claim that lists groups; \"realm_access.roles\" looks inside; empty: none", .max_length = 200),
    PURLIN_DEFAULT(group_prefix, "\"\"", "Put before each group's name", .pattern = "[A-Za-z0-9._@+-]*", .max_length = 50),
    PURLIN_LIST(groups, oidc_group, "What groups are called here; where some are listed, no others count", .max_length = 1000),
    PURLIN_DEFAULT(required_groups, "[]", "Only members of one of these, as the provider calls them, come in; empty: everybody", .max_length = 100),
    PURLIN_DEFAULT(email_domains, "[]", "Only verified e-mail addresses of these domains come in; empty: any, and none", .max_length = 100),
    PURLIN_DEFAULT(required_claim, "\"\"", "A claim that who comes in must have", .max_length = 200),
    PURLIN_DEFAULT(required_value, "\"\"", "with this value, or this among its values", .max_length = 500),
    PURLIN_DEFAULT(userinfo, "false", "Ask the provider's userinfo for what its token does not say"),
    PURLIN_DEFAULT(known_days, "30", "Whoever did not come in by the provider for so long is known no more: their sessions end, and their keys wait for them", .min = 1, .max = 730),
    PURLIN_DEFAULT(clock_skew_s, "60", "How far the provider's clock may be off", .min = 0, .max = 600),
    PURLIN_DEFAULT(keys_again_s, "30", "An unknown key makes the provider's keys be read again, at most so often", .min = 1, .max = 3600));

/* The configuration; PURLIN_NOT_FOUND, recorded, when there is no provider. */
PURLIN_CHECKED purlin_status oidc_configured(purlin_ctx *ctx, const oidc_configuration **out);
/* The configuration, also where another plugin calls this one's functions; set before the start has ended. */
const oidc_configuration *oidc_settings(void);
/* Where the provider sends browsers back; arena. */
const char *oidc_redirect_url(purlin_ctx *ctx);

/* Names and values by turns, ended by NULL, as a query or form; pairs without a value are left out. Arena; NULL as purlin_alloc. */
const char *oidc_form(purlin_ctx *ctx, const char *const *pairs);

/* Somebody of whom the provider says so, who may not come in here: recorded, and noted in the audit log. PURLIN_FORBIDDEN. */
PURLIN_CHECKED PURLIN_PRINTF(3, 4) purlin_status oidc_refuse(purlin_ctx *ctx, const char *who, const char *format, ...);

#endif
