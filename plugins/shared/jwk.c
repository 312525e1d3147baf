#include "jwk.h"
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <string.h>

enum { RSA_LEAST_BITS = 2048, RSA_MOST_BYTES = 768, COORDINATE = 32 };

static bool is(const char *text, const char *wanted) { return text && strcmp(text, wanted) == 0; }

bool jwk_fits(const jwk *from, jwt_algorithm algorithm) {
  switch (algorithm) {
  case JWT_RS256:
  case JWT_PS256: return is(from->kty, "RSA");
  case JWT_ES256: return is(from->kty, "EC") && is(from->crv, "P-256");
  case JWT_EDDSA: return is(from->kty, "OKP") && is(from->crv, "Ed25519");
  case JWT_HS256:
  case JWT_ALGORITHMS: break;
  }
  return false;
}

/* The bytes of a number; 0: it is none, or has more than `most`. */
static size_t bytes_of(const char *text, unsigned char *out, size_t most) {
  size_t size = text ? strlen(text) : 0, got = 0;
  if (size == 0 || size > (most * 4 + 2) / 3 || !jwt_unbase64url(text, size, out, &got)) return 0;
  return got <= most ? got : 0;
}

static EVP_PKEY *make(const char *kind, OSSL_PARAM_BLD *from) {
  EVP_PKEY_CTX *maker = EVP_PKEY_CTX_new_from_name(NULL, kind, NULL);
  OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(from);
  EVP_PKEY *made = NULL;
  if (!maker || !parameters || EVP_PKEY_fromdata_init(maker) != 1 ||
      EVP_PKEY_fromdata(maker, &made, EVP_PKEY_PUBLIC_KEY, parameters) != 1)
    made = NULL;
  OSSL_PARAM_free(parameters);
  EVP_PKEY_CTX_free(maker);
  return made;
}

static EVP_PKEY *take_rsa(const jwk *from) {
  unsigned char modulus[RSA_MOST_BYTES], exponent[8];
  size_t modulus_size = bytes_of(from->n, modulus, sizeof modulus),
         exponent_size = bytes_of(from->e, exponent, sizeof exponent);
  if (modulus_size == 0 || exponent_size == 0) return NULL;
  BIGNUM *n = BN_bin2bn(modulus, (int)modulus_size, NULL), *e = BN_bin2bn(exponent, (int)exponent_size, NULL);
  OSSL_PARAM_BLD *parameters = OSSL_PARAM_BLD_new();
  bool fine = n && e && parameters && BN_num_bits(n) >= RSA_LEAST_BITS && BN_is_odd(n) && BN_is_odd(e) && !BN_is_one(e) &&
              OSSL_PARAM_BLD_push_BN(parameters, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
              OSSL_PARAM_BLD_push_BN(parameters, OSSL_PKEY_PARAM_RSA_E, e) == 1;
  EVP_PKEY *made = fine ? make("RSA", parameters) : NULL;
  OSSL_PARAM_BLD_free(parameters);
  BN_free(n);
  BN_free(e);
  return made;
}

/* OpenSSL refuses a point that is not on the curve. */
static EVP_PKEY *take_curve(const jwk *from) {
  unsigned char point[1 + 2 * COORDINATE] = {4};
  if (bytes_of(from->x, point + 1, COORDINATE) != COORDINATE ||
      bytes_of(from->y, point + 1 + COORDINATE, COORDINATE) != COORDINATE)
    return NULL;
  OSSL_PARAM_BLD *parameters = OSSL_PARAM_BLD_new();
  bool fine = parameters && OSSL_PARAM_BLD_push_utf8_string(parameters, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) == 1 &&
              OSSL_PARAM_BLD_push_octet_string(parameters, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point) == 1;
  EVP_PKEY *made = fine ? make("EC", parameters) : NULL;
  OSSL_PARAM_BLD_free(parameters);
  return made;
}

static EVP_PKEY *take_edwards(const jwk *from) {
  unsigned char point[COORDINATE];
  if (bytes_of(from->x, point, sizeof point) != sizeof point) return NULL;
  return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, point, sizeof point);
}

bool jwk_take(const jwk *from, jwt_algorithm algorithm, jwt_key *out) {
  if (!jwk_fits(from, algorithm)) return false;
  out->algorithm = algorithm;
  if (algorithm == JWT_ES256) out->pair = take_curve(from);
  else out->pair = algorithm == JWT_EDDSA ? take_edwards(from) : take_rsa(from);
  return out->pair != NULL;
}
