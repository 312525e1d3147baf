/* secrets.h: the contract of secrets that a workspace keeps under names: tokens and passwords of services that plugins and policies call.
 *
 *   purlin_secret token;
 *   status = purlin_named_secret(ctx, "slack-token", &token);
 *   ... send token.text ...
 *   purlin_secret_wipe(ctx, &token);
 *
 * "slack-token" is one that the plugin secrets keeps, "vault:ci/slack" the name "ci/slack" of the provider "vault": whoever keeps secrets
 * elsewhere provides the contract under a name of its own.
 *
 * A provider answers for the workspace of the context and asks nothing else: the plugin that uses a secret decides on whose behalf, and
 * has checked that they may have it used. It sends the value where it was configured to, and neither answers, logs, stores nor audits it.
 *
 * Since 0.1 unless a comment says otherwise; base.h says what else holds everywhere. */
#ifndef PURLIN_CONTRACTS_SECRETS_H
#define PURLIN_CONTRACTS_SECRETS_H

#include <purlin/context.h>
#include <purlin/plugin.h>
#include <purlin/secret.h>
#include <string.h>

PURLIN_BEGIN

#define PURLIN_CONTRACT_secrets 1u

typedef struct purlin_secrets {
  uint32_t size;
  /* The value of a name in the workspace of the context; it is wiped when that ends, or by purlin_secret_wipe. PURLIN_NOT_FOUND, recorded: there
   * is none of that name; PURLIN_UNAVAILABLE, recorded: it cannot be had now. May park; any number at a time. */
  purlin_status (*get)(purlin_ctx *ctx, const char *name, purlin_secret *out);
} purlin_secrets;

/* The provider of names without a prefix. */
#define PURLIN_SECRETS_STORE "store"
enum { PURLIN_SECRET_LONGEST_PROVIDER = 63 };

/* The value of "NAME" or "PROVIDER:NAME". May park. Errors: as above; PURLIN_UNAVAILABLE, recorded, where there is no such provider. */
PURLIN_MAYBE_UNUSED static inline purlin_status purlin_named_secret(purlin_ctx *ctx, const char *name, purlin_secret *out) {
  char provider[PURLIN_SECRET_LONGEST_PROVIDER + 1] = PURLIN_SECRETS_STORE;
  const char *colon = strchr(name, ':');
  size_t size = colon ? (size_t)(colon - name) : 0;
  out->text = NULL;
  out->size = 0;
  if (size > PURLIN_SECRET_LONGEST_PROVIDER || (colon && size == 0))
    return purlin_fail(ctx, PURLIN_NOT_FOUND, "there is no provider of secrets for '%.100s'", name);
  if (colon) {
    memcpy(provider, name, size);
    provider[size] = '\0';
  }
  const purlin_secrets *secrets = purlin_use(ctx, secrets, provider);
  return secrets ? secrets->get(ctx, colon ? colon + 1 : name, out) : PURLIN_UNAVAILABLE;
}

PURLIN_END

#endif
