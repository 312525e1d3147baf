#include "keys.h"
#include "accounts.h"
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PRIVATE = 4096, LONGEST_ID = 64, RETIRES_AFTER_SPARE_S = 60 };

/* ---- The keys that this process met --------------------------------------------------------------------------------------------------- */

typedef struct known_key {
  char id[LONGEST_ID + 1];
  jwt_key key;
  struct known_key *next;
} known_key;

/* Keys are few, and each stays until the end: whether one is still in use, the database says. */
static known_key *known;
static pthread_mutex_t known_lock = PTHREAD_MUTEX_INITIALIZER; /* never held while anything parks */

static const known_key *find_known(const char *id) {
  (void)pthread_mutex_lock(&known_lock);
  const known_key *k = known;
  while (k && strcmp(k->id, id) != 0) k = k->next;
  (void)pthread_mutex_unlock(&known_lock);
  return k;
}

/* Takes the key over. NULL without memory. */
static const known_key *add_known(const char *id, jwt_key *key) {
  known_key *k = calloc(1, sizeof *k);
  if (!k || strlen(id) > LONGEST_ID) {
    jwt_key_end(key);
    free(k);
    return NULL;
  }
  memcpy(k->id, id, strlen(id) + 1);
  k->key = *key;
  (void)pthread_mutex_lock(&known_lock);
  k->next = known;
  known = k;
  (void)pthread_mutex_unlock(&known_lock);
  return k;
}

void keys_end(void) {
  while (known) {
    known_key *k = known;
    known = k->next;
    jwt_key_end(&k->key);
    free(k);
  }
}

/* ---- As bytes --------------------------------------------------------------------------------------------------------------------------------- */

/* The private part; its size, 0 when there is none or it does not fit. */
static size_t private_bytes(const jwt_key *key, unsigned char out[MOST_PRIVATE]) {
  if (key->algorithm == JWT_HS256) return memcpy(out, key->secret, JWT_SECRET_BYTES), JWT_SECRET_BYTES;
  int size = i2d_PrivateKey(key->pair, NULL);
  if (size <= 0 || size > MOST_PRIVATE) return 0;
  unsigned char *at = out;
  return i2d_PrivateKey(key->pair, &at) == size ? (size_t)size : 0;
}

static bool take_private(jwt_key *key, const unsigned char *data, size_t size) {
  if (key->algorithm == JWT_HS256) {
    if (size == JWT_SECRET_BYTES) memcpy(key->secret, data, size);
    return size == JWT_SECRET_BYTES;
  }
  key->pair = d2i_AutoPrivateKey(NULL, &data, (long)size);
  return key->pair != NULL;
}

/* A big number of the key as base64url, with zeros in front up to `least` bytes; NULL when it has none. */
static const char *number(purlin_ctx *ctx, const jwt_key *key, const char *name, int least) {
  BIGNUM *n = NULL;
  unsigned char bytes[512];
  if (EVP_PKEY_get_bn_param(key->pair, name, &n) != 1) return NULL;
  int size = BN_num_bytes(n) > least ? BN_num_bytes(n) : least;
  bool fine = size <= (int)sizeof bytes && BN_bn2binpad(n, bytes, size) == size;
  BN_free(n);
  char *text = fine ? purlin_alloc(ctx, jwt_base64url_size((size_t)size)) : NULL;
  if (text) jwt_base64url(bytes, (size_t)size, text);
  return text;
}

static const char *to_jwk(purlin_ctx *ctx, const jwt_key *key, const char *id) {
  bool curve = key->algorithm == JWT_ES256;
  const char *first = number(ctx, key, curve ? OSSL_PKEY_PARAM_EC_PUB_X : OSSL_PKEY_PARAM_RSA_N, curve ? 32 : 0);
  const char *second = number(ctx, key, curve ? OSSL_PKEY_PARAM_EC_PUB_Y : OSSL_PKEY_PARAM_RSA_E, curve ? 32 : 0);
  if (!first || !second) return NULL;
  if (curve)
    return purlin_format(
        ctx,
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%s\",\"y\":\"%s\",\"use\":\"sig\",\"alg\":\"ES256\",\"kid\":\"%s\"}",
        first, second, id);
  return purlin_format(ctx, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\",\"use\":\"sig\",\"alg\":\"RS256\",\"kid\":\"%s\"}",
                       first, second, id);
}

/* ---- In the database ------------------------------------------------------------------------------------------------------------------------ */

PURLIN_SEALED(accounts_keys, "id", "sealed");

typedef struct key_row {
  const char *id, *algorithm;
  purlin_bytes public_key, sealed;
} key_row;
PURLIN_SCHEMA(key_row, "A key of accounts_keys",
    PURLIN_REQUIRED(id, "kid"), PURLIN_REQUIRED(algorithm, "algorithm"),
    PURLIN_OPTIONAL(public_key, "public part"), PURLIN_REQUIRED(sealed, "private part", .secret = true));

static const char SELECT_KEY[] = "SELECT id, algorithm, public_key, sealed FROM accounts_keys WHERE id = ?";
static const char SELECT_SIGNING[] =
    "SELECT id, algorithm, public_key, sealed FROM accounts_keys WHERE sealed_by = '' AND algorithm = ? AND retires_at IS NULL"
    " AND FIND_IN_SET(LOWER(HEX(SUBSTRING(sealed, 2, 8))), ?) ORDER BY created_at DESC, id LIMIT 1";
static const char INSERT_KEY[] =
    "INSERT INTO accounts_keys (id, algorithm, public_key, jwk, sealed, sealed_by, created_at) VALUES (?, ?, ?, ?, ?, '', NOW(6))";
static const char RETIRE[] = "UPDATE accounts_keys SET retires_at = LEAST(COALESCE(retires_at, '9999-12-31'),"
                             " NOW(6) + INTERVAL ? SECOND) WHERE id <> ?";

static const char *sealed_as(purlin_ctx *ctx, const char *id) { return purlin_seal_name(ctx, "accounts_keys", 1, &id); }

/* The private part, if this node has what opens it; else PURLIN_NOT_FOUND. */
static purlin_status open_private(purlin_ctx *ctx, const key_row *row, jwt_key *key) {
  const char *of = sealed_as(ctx, row->id), *by = purlin_sealed_by(ctx, row->sealed);
  if (!of || !by || !strstr(purlin_secret_keys(), by)) return PURLIN_NOT_FOUND;
  purlin_secret open;
  purlin_status status = purlin_unseal(ctx, of, row->sealed, &open);
  if (status != PURLIN_OK) return status;
  bool fine = take_private(key, (const unsigned char *)open.text, open.size);
  purlin_secret_wipe(ctx, &open);
  return fine ? PURLIN_OK : purlin_fail(ctx, PURLIN_INTERNAL, "the key %s is none", row->id);
}

/* A key that this node can open is opened; of another's the public part is enough. False: it was logged. */
static bool from_row(purlin_ctx *ctx, const key_row *row, jwt_key *key) {
  *key = (jwt_key){.algorithm = jwt_algorithm_of(row->algorithm)};
  if (key->algorithm == JWT_ALGORITHMS) return false;
  purlin_status status = open_private(ctx, row, key);
  if (status == PURLIN_OK) return true;
  if (status != PURLIN_NOT_FOUND) {
    purlin_log(ctx, PURLIN_WARNING, "%s", purlin_failure(ctx));
    purlin_clear_failure(ctx);
    return false;
  }
  const unsigned char *at = row->public_key.data;
  if (!at || row->public_key.size > MOST_PRIVATE) return false;
  key->pair = d2i_PUBKEY(NULL, &at, (long)row->public_key.size);
  return key->pair != NULL;
}

static purlin_status take_row(purlin_ctx *ctx, const key_row *row, const jwt_key **key) {
  jwt_key fresh;
  const known_key *k = find_known(row->id);
  if (!k && !from_row(ctx, row, &fresh)) {
    jwt_key_end(&fresh);
    purlin_log(ctx, PURLIN_WARNING, "the key %s cannot be opened by this node", row->id);
    return PURLIN_NOT_FOUND;
  }
  if (!k) k = add_known(row->id, &fresh);
  if (!k) return purlin_fail(ctx, PURLIN_UNAVAILABLE, "out of memory");
  *key = &k->key;
  return PURLIN_OK;
}

purlin_status keys_find(purlin_ctx *ctx, const char *id, const jwt_key **key) {
  const known_key *k = find_known(id);
  if (k) return *key = &k->key, PURLIN_OK;
  key_row row;
  purlin_status status = purlin_db_row(ctx, key_row, &row, SELECT_KEY, id);
  return status == PURLIN_OK ? take_row(ctx, &row, key) : status;
}

/* ---- Making ------------------------------------------------------------------------------------------------------------------------------------ */

typedef struct making {
  jwt_key key;
  jwt_algorithm algorithm;
} making;

static purlin_status generate(void *argument) {
  making *m = argument;
  return jwt_generate(&m->key, m->algorithm) ? PURLIN_OK : PURLIN_UNAVAILABLE;
}

static purlin_status seal_private(purlin_ctx *ctx, const jwt_key *key, const char *id, purlin_bytes *sealed) {
  unsigned char data[MOST_PRIVATE];
  const char *of = sealed_as(ctx, id);
  if (!of) return PURLIN_TOO_LARGE;
  size_t size = private_bytes(key, data);
  purlin_status status = size > 0 ? purlin_seal(ctx, of, data, size, sealed)
                                  : purlin_fail(ctx, PURLIN_INTERNAL, "a key could not be written down");
  explicit_bzero(data, sizeof data);
  return status;
}

static purlin_status insert(purlin_ctx *ctx, const jwt_key *key, const char *id) {
  unsigned char *public = NULL;
  purlin_bytes public_key = {0}, closed = {0};
  const char *jwk = NULL;
  purlin_status status = seal_private(ctx, key, id, &closed);
  if (status != PURLIN_OK) return status;
  if (key->algorithm != JWT_HS256) {
    int size = i2d_PUBKEY(key->pair, &public);
    jwk = size > 0 ? to_jwk(ctx, key, id) : NULL;
    public_key = (purlin_bytes){public, size > 0 ? (size_t)size : 0};
    if (!jwk) {
      OPENSSL_free(public);
      return purlin_fail(ctx, PURLIN_INTERNAL, "a key could not be written down");
    }
  }
  status = purlin_db_run(ctx, INSERT_KEY, id, jwt_algorithm_name(key->algorithm), public_key, jwk, closed);
  OPENSSL_free(public);
  return status;
}

static purlin_status make(purlin_ctx *ctx, const char **id) {
  const accounts_configuration *configured = accounts_configured();
  making m = {.algorithm = jwt_algorithm_of(configured->algorithm)};
  *id = purlin_new_id(ctx, "jwk");
  if (!*id) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_offload(ctx, PURLIN_POOL_CPU, generate, &m);
  if (status == PURLIN_OK) status = insert(ctx, &m.key, *id);
  jwt_key_end(&m.key);
  return status;
}

purlin_status keys_signing(purlin_ctx *ctx, const jwt_key **key, const char **id) {
  const accounts_configuration *configured = accounts_configured();
  key_row row;
  purlin_status status = purlin_db_row(ctx, key_row, &row, SELECT_SIGNING, configured->algorithm, purlin_secret_keys());
  if (status == PURLIN_NOT_FOUND) {
    status = make(ctx, id);
    if (status == PURLIN_OK)
      status = purlin_db_row(ctx, key_row, &row, SELECT_SIGNING, configured->algorithm, purlin_secret_keys());
  }
  if (status != PURLIN_OK) return status;
  *id = row.id;
  status = take_row(ctx, &row, key);
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, PURLIN_INTERNAL, "the key %s cannot be opened", row.id) : status;
}

typedef struct rotate_in {
  bool at_once;
} rotate_in;
PURLIN_SCHEMA(rotate_in, "How the old keys go",
    PURLIN_DEFAULT(at_once, "false", "What they signed is taken no more: for a key that others may have; clients refresh"));

typedef struct new_key {
  const char *id;
} new_key;
PURLIN_SCHEMA(new_key, "The key that signs from now on", PURLIN_REQUIRED(id, "Its id (kid)"));

PURLIN_OPERATION(rotate_key, rotate_in, new_key,
    .summary = "Sign access tokens with a new key", .permission = "users:write", .effect = PURLIN_CREATES,
    .http = "POST /api/v1/accounts/keys",
    .description = "Nobody is logged out: the old keys are taken until the tokens that they signed have run out.") {
  const accounts_configuration *configured = accounts_configured();
  if (strcmp(purlin_workspace(ctx), "default") != 0)
    return purlin_fail(ctx, PURLIN_FORBIDDEN, "keys are managed in the workspace 'default'");
  purlin_status status = make(ctx, &out->id);
  if (status != PURLIN_OK) return status;
  return purlin_db_run(ctx, RETIRE, in->at_once ? 0 : configured->access_token_s + RETIRES_AFTER_SPARE_S, out->id);
}

/* ---- For others who verify ------------------------------------------------------------------------------------------------------------------------ */

typedef struct jwk_row {
  const char *jwk;
} jwk_row;
PURLIN_SCHEMA(jwk_row, "A public key", PURLIN_REQUIRED(jwk, "as JSON"));

typedef struct jwk_rows {
  PURLIN_LIST_OF(jwk_row) rows;
} jwk_rows;

static const char SELECT_PUBLIC[] =
    "SELECT jwk FROM accounts_keys WHERE jwk IS NOT NULL"
    " AND (retires_at IS NULL OR retires_at > NOW(6)) ORDER BY created_at DESC, id LIMIT 100";

PURLIN_ROUTE(jwks, "GET /.well-known/jwks.json",
    .summary = "The public keys of access tokens (RFC 7517)", .permission = "public", .answer = "application/jwk-set+json") {
  jwk_rows found = {0};
  purlin_status status = purlin_db_list(ctx, jwk_row, &found.rows, SELECT_PUBLIC);
  const char *text = "{\"keys\":[";
  for (size_t i = 0; status == PURLIN_OK && text && i < found.rows.count; i++)
    text = purlin_format(ctx, "%s%s%s", text, i ? "," : "", found.rows.items[i].jwk);
  if (status == PURLIN_OK && text) text = purlin_format(ctx, "%s]}", text);
  if (status == PURLIN_OK && !text) return PURLIN_TOO_LARGE;
  if (status == PURLIN_OK) status = purlin_set_header(ctx, request, "Cache-Control", "public, max-age=300");
  return status == PURLIN_OK ? purlin_respond_bytes(ctx, request, 200, "application/jwk-set+json", text, strlen(text))
                             : status;
}
