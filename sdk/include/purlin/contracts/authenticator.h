/* authenticator.h: the contract of who knows people and machines by what they show: sessions, passwords, certificates.
 *
 * The gate of every request asks for who is behind a credential: first the runtime's own API keys, then each authenticator in
 * order of start, until one knows. The answer is kept for about a second, under a keyed hash of the credential. What somebody
 * may do is not asked here: roles are granted to subjects ("user:ana", "group:research") in a workspace, whoever vouches. */
#ifndef PURLIN_CONTRACTS_AUTHENTICATOR_H
#define PURLIN_CONTRACTS_AUTHENTICATOR_H

#include <purlin/context.h>
#include <purlin/plugin.h>

PURLIN_BEGIN

#define PURLIN_CONTRACT_authenticator 1u

typedef enum purlin_credential_kind {
  PURLIN_CREDENTIAL_BEARER = 1, /* Authorization: Bearer SECRET */
  PURLIN_CREDENTIAL_BASIC,      /* Authorization: Basic, NAME and SECRET */
  PURLIN_CREDENTIAL_COOKIE,     /* a browser's session */
  /* NAME is who a client's certificate, which was verified, is for: its URI ("spiffe://..."), else its e-mail address, else its
   * subject ("CN=ana,O=Acme", RFC 2253). These cannot be mistaken for each other. No SECRET. */
  PURLIN_CREDENTIAL_CERTIFICATE
} purlin_credential_kind;

/* Borrowed until the call returns. Texts end with a NUL and are at most 8 KiB long. */
typedef struct purlin_credential {
  purlin_credential_kind kind;
  const char *name;    /* "" where there is none */
  const char *secret;  /* "" where there is none; never logged, never kept */
  const char *address; /* of the client */
} purlin_credential;

/* Who that is. Texts in the arena. */
typedef struct purlin_principal {
  const char *actor;      /* "user:ana": what rows and audit entries name */
  const char *credential; /* which of theirs, without its secret: "session:ses_...", for audit */
  purlin_texts groups;    /* further subjects that roles may be granted to: "group:research" */
  purlin_texts scope;     /* permissions that the credential is narrowed to; none: nothing is taken away */
  const char *workspace;  /* where it acts when the request names none; NULL: where something is granted to it */
  purlin_time expires_at; /* not kept beyond; 0: no end */
} purlin_principal;

typedef struct purlin_authenticator {
  uint32_t size;
  /* PURLIN_OK; PURLIN_NOT_FOUND: not one of mine, ask the next; PURLIN_UNAUTHENTICATED: mine, and not (any more) valid: nobody else
   * is asked. Takes the same time for names that are unknown as for secrets that are wrong. May park; any number at a time. */
  purlin_status (*authenticate)(purlin_ctx *ctx, const purlin_credential *credential, purlin_principal *principal);
  /* May be NULL. Whether somebody for whom one of the runtime's own keys acts ("user:ana") is still let in: PURLIN_OK;
   * PURLIN_UNAUTHENTICATED: mine, and shut out; PURLIN_NOT_FOUND: not one of mine. A key acts on while nobody says no. May park. */
  purlin_status (*vouch)(purlin_ctx *ctx, const char *actor);
  /* May be NULL. Whether somebody can come in by what this plugin knows (a password), without a key: PURLIN_OK; PURLIN_UNAUTHENTICATED:
   * mine, and shut out; PURLIN_NOT_FOUND: not one of mine, or nothing opens to them but a key. Asked before the last owner of a workspace
   * goes, within a transaction: only the database may be waited for. May park. */
  purlin_status (*comes_in)(purlin_ctx *ctx, const char *actor);
  /* May be NULL. The groups of somebody whom it vouched for, arena: a key acts with what is granted to them, too. May park. */
  purlin_status (*groups)(purlin_ctx *ctx, const char *actor, purlin_texts *groups);
} purlin_authenticator;

PURLIN_END

#endif
