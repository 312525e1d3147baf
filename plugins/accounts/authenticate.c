#include "authenticate.h"
#include "browser.h"
#include "certificates.h"
#include "directories.h"
#include "tokens.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <string.h>

/* ---- Tokens ----------------------------------------------------------------------------------------------------------------------------- */

static const char SELECT_HOLDER[] =
    "SELECT u.name, u.`groups` FROM accounts_sessions s JOIN accounts_users u ON u.id = s.user_id JOIN accounts_keys k ON k.id = ?"
    " WHERE s.id = ? AND s.user_id = ? AND s.revoked_at IS NULL AND s.expires_at > NOW(6) AND u.disabled_at IS NULL"
    " AND (k.retires_at IS NULL OR k.retires_at > NOW(6))";

typedef struct holder {
  const char *name;
  purlin_texts groups;
} holder;
PURLIN_SCHEMA(holder, "Whose session it is", PURLIN_REQUIRED(name, "name"), PURLIN_REQUIRED(groups, "groups"));

static purlin_status name_principal(purlin_ctx *ctx, const char *name, purlin_texts groups, const char *credential,
                                    purlin_principal *out) {
  out->actor = purlin_format(ctx, "user:%s", name);
  out->groups = groups;
  out->credential = credential;
  return out->actor && credential ? PURLIN_OK : PURLIN_TOO_LARGE;
}

static purlin_status by_token(purlin_ctx *ctx, const char *token, purlin_principal *out) {
  token_claims claims;
  const char *key_id;
  holder found;
  purlin_status status = tokens_judge(ctx, token, &claims, &key_id);
  if (status == PURLIN_OK) {
    status = purlin_db_row(ctx, holder, &found, SELECT_HOLDER, key_id, claims.sid, claims.sub);
    if (status == PURLIN_NOT_FOUND) status = PURLIN_UNAUTHENTICATED;
  }
  if (status != PURLIN_OK) return status;
  out->expires_at = (purlin_time){claims.exp * 1000000};
  return name_principal(ctx, found.name, found.groups, purlin_format(ctx, "session:%s", claims.sid), out);
}

/* ---- Names and passwords: the hash is expensive, so those that were right are remembered for a minute ----------------------------------- */

enum { SLOTS = 256, MARK_BYTES = 32, KEPT_MS = 60000, ID_SIZE = 65 };

typedef struct remembered {
  unsigned char mark[MARK_BYTES]; /* of name and password, under a key of this process */
  char id[ID_SIZE];               /* of the user */
  int64_t version;                /* of the user; another one, and this is forgotten */
  uint64_t until_ms;
} remembered;

static remembered slots[SLOTS];
static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER; /* held for a copy, never while anything parks */
static purlin_mutex
    checking[SLOTS]; /* one check of a password at a time: who comes with the same one waits for its outcome */
static unsigned char mark_key[MARK_BYTES];

purlin_status authenticate_start(purlin_ctx *ctx) {
  if (RAND_bytes(mark_key, sizeof mark_key) == 1) return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_UNAVAILABLE, "no random bytes");
}

static bool mark_of(const purlin_credential *credential, unsigned char out[MARK_BYTES]) {
  unsigned char halves[2 * MARK_BYTES];
  const char *const parts[] = {credential->name, credential->secret};
  bool fine = true;
  for (size_t i = 0; i < 2; i++)
    fine = fine && HMAC(EVP_sha256(), mark_key, MARK_BYTES, (const unsigned char *)parts[i], strlen(parts[i]),
                        halves + i * MARK_BYTES, NULL) != NULL;
  return fine && HMAC(EVP_sha256(), mark_key, MARK_BYTES, halves, sizeof halves, out, NULL) != NULL;
}

static uint64_t now_ms(void) { return purlin_ticks_ns() / 1000000; }

static bool recall(const unsigned char mark[MARK_BYTES], remembered *out) {
  (void)pthread_mutex_lock(&slots_lock);
  *out = slots[mark[0]];
  (void)pthread_mutex_unlock(&slots_lock);
  return out->until_ms > now_ms() && CRYPTO_memcmp(out->mark, mark, MARK_BYTES) == 0;
}

static void remember(const unsigned char mark[MARK_BYTES], const login_row *of) {
  remembered r = {.version = of->version, .until_ms = now_ms() + KEPT_MS};
  size_t size = strlen(of->id);
  if (size >= sizeof r.id) return;
  memcpy(r.id, of->id, size);
  memcpy(r.mark, mark, MARK_BYTES);
  (void)pthread_mutex_lock(&slots_lock);
  slots[mark[0]] = r;
  (void)pthread_mutex_unlock(&slots_lock);
}

static const char SELECT_KNOWN[] = "SELECT " LOGIN_COLUMNS " FROM accounts_users WHERE id = ? AND disabled_at IS NULL";

/* Whether it was right a moment ago and the user has not changed since: PURLIN_NOT_FOUND when not. */
static purlin_status ask_memory(purlin_ctx *ctx, const unsigned char mark[MARK_BYTES], login_row *out) {
  remembered known;
  if (!recall(mark, &known)) return PURLIN_NOT_FOUND;
  purlin_status status = purlin_db_row(ctx, login_row, out, SELECT_KNOWN, known.id);
  return status == PURLIN_OK && out->version != known.version ? PURLIN_NOT_FOUND : status;
}

static purlin_status check(purlin_ctx *ctx, const purlin_credential *credential, const unsigned char mark[MARK_BYTES],
                           login_row *out) {
  purlin_status status = purlin_lock(ctx, &checking[mark[0]]);
  if (status != PURLIN_OK) return status;
  status = ask_memory(ctx, mark, out);
  if (status == PURLIN_NOT_FOUND) {
    status = accounts_check(ctx, credential->name, credential->secret, credential->address, out);
    if (status == PURLIN_OK) remember(mark, out);
    if (status == PURLIN_UNAUTHENTICATED && !out->id) status = PURLIN_NOT_FOUND; /* others may know them */
  }
  purlin_unlock(&checking[mark[0]]);
  return status;
}

static purlin_status by_password(purlin_ctx *ctx, const purlin_credential *credential, purlin_principal *out) {
  unsigned char mark[MARK_BYTES];
  login_row row;
  if (!*credential->name || strlen(credential->secret) > PASSWORD_LONGEST) return PURLIN_UNAUTHENTICATED;
  if (!mark_of(credential, mark)) return purlin_fail(ctx, PURLIN_INTERNAL, "HMAC failed");
  purlin_status status = ask_memory(ctx, mark, &row);
  if (status == PURLIN_NOT_FOUND) status = check(ctx, credential, mark, &row);
  if (status != PURLIN_OK) return status;
  return name_principal(ctx, row.name, row.groups, purlin_format(ctx, "password:%s", row.name), out);
}

/* ---- Certificates ------------------------------------------------------------------------------------------------------------------------- */

static purlin_status by_certificate(purlin_ctx *ctx, const char *subject, purlin_principal *out) {
  standing of;
  purlin_status status = certificates_user(ctx, subject, &of);
  if (status == PURLIN_OK) status = directories_still(ctx, &of);
  if (status != PURLIN_OK) return status;
  return name_principal(ctx, of.name, of.groups, purlin_format(ctx, "certificate:%s", subject), out);
}

/* ---- Keys of the runtime's own that act for a user ----------------------------------------------------------------------------------------- */

static const char SELECT_STANDING[] = "SELECT " STANDING_COLUMNS " FROM accounts_users u WHERE u.name = ?";

#define USER_PREFIX "user:"

purlin_status authenticate_vouch(purlin_ctx *ctx, const char *actor) {
  standing of;
  if (strncmp(actor, USER_PREFIX, sizeof USER_PREFIX - 1) != 0) return PURLIN_NOT_FOUND;
  purlin_status status = purlin_db_row(ctx, standing, &of, SELECT_STANDING, actor + sizeof USER_PREFIX - 1);
  return status == PURLIN_OK ? directories_still(ctx, &of) : status;
}

purlin_status authenticate_groups(purlin_ctx *ctx, const char *actor, purlin_texts *groups) {
  standing of;
  if (strncmp(actor, USER_PREFIX, sizeof USER_PREFIX - 1) != 0) return PURLIN_NOT_FOUND;
  purlin_status status = purlin_db_row(ctx, standing, &of, SELECT_STANDING, actor + sizeof USER_PREFIX - 1);
  if (status == PURLIN_OK) *groups = of.groups;
  return status;
}

purlin_status authenticate(purlin_ctx *ctx, const purlin_credential *credential, purlin_principal *principal) {
  switch (credential->kind) {
  case PURLIN_CREDENTIAL_BEARER: return by_token(ctx, credential->secret, principal);
  case PURLIN_CREDENTIAL_BASIC: return by_password(ctx, credential, principal);
  case PURLIN_CREDENTIAL_COOKIE: return browser_principal(ctx, credential->secret, principal);
  case PURLIN_CREDENTIAL_CERTIFICATE: return by_certificate(ctx, credential->name, principal);
  }
  return PURLIN_NOT_FOUND;
}
