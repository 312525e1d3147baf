#include "jwt.h"
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <string.h>

enum { ES256_HALF = 32, ES256_BYTES = 64, HS256_BYTES = 32, RSA_BITS = 3072, DER_MOST = 80 };

static const char *const names[JWT_ALGORITHMS] = {"ES256", "RS256", "HS256", "PS256", "EdDSA"};

const char *jwt_algorithm_name(jwt_algorithm algorithm) { return names[algorithm]; }

jwt_algorithm jwt_algorithm_of(const char *name) {
  unsigned i = 0;
  while (i < JWT_ALGORITHMS && strcmp(names[i], name) != 0) i++;
  return (jwt_algorithm)i;
}

bool jwt_generate(jwt_key *key, jwt_algorithm algorithm) {
  key->algorithm = algorithm;
  if (algorithm == JWT_HS256) return RAND_bytes(key->secret, JWT_SECRET_BYTES) == 1;
  if (algorithm == JWT_EDDSA) key->pair = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
  else key->pair = algorithm == JWT_ES256 ? EVP_EC_gen("P-256") : EVP_RSA_gen(RSA_BITS);
  return key->pair != NULL;
}

void jwt_key_end(jwt_key *key) {
  EVP_PKEY_free(key->pair);
  OPENSSL_cleanse(key, sizeof *key);
}

/* ---- Base64url -------------------------------------------------------------------------------------------------------------------------- */

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

size_t jwt_base64url_size(size_t size) { return (size * 4 + 2) / 3 + 1; }

void jwt_base64url(const void *data, size_t size, char *out) {
  const unsigned char *bytes = data;
  unsigned bits = 0, held = 0;
  for (size_t i = 0; i < size; i++) {
    bits = (bits << 8 | bytes[i]) & 0xffff;
    for (held += 8; held >= 6; held -= 6) *out++ = letters[bits >> (held - 6) & 63];
  }
  if (held > 0) *out++ = letters[bits << (6 - held) & 63];
  *out = '\0';
}

bool jwt_unbase64url(const char *text, size_t size, unsigned char *out, size_t *got) {
  unsigned bits = 0, held = 0;
  *got = 0;
  for (size_t i = 0; i < size; i++) {
    const char *letter = text[i] ? strchr(letters, text[i]) : NULL;
    if (!letter) return false;
    bits = (bits << 6 | (unsigned)(letter - letters)) & 0xffff;
    held += 6;
    if (held < 8) continue;
    held -= 8;
    out[(*got)++] = (unsigned char)(bits >> held & 0xff);
  }
  return held < 6 && (bits & ((1u << held) - 1)) == 0;
}

bool jwt_split(const char *token, jwt_parts *out) {
  if (strnlen(token, JWT_LONGEST + 1) > JWT_LONGEST) return false;
  const char *first = strchr(token, '.'), *second = first ? strchr(first + 1, '.') : NULL;
  if (!second || strchr(second + 1, '.')) return false;
  *out = (jwt_parts){.header = token,
                     .payload = first + 1,
                     .signature = second + 1,
                     .header_size = (size_t)(first - token),
                     .payload_size = (size_t)(second - first - 1),
                     .signature_size = strlen(second + 1),
                     .signed_size = (size_t)(second - token)};
  return out->header_size > 0 && out->payload_size > 0 && out->signature_size > 0;
}

/* ---- Signing ------------------------------------------------------------------------------------------------------------------------------ */

/* RFC 7518: a salt as long as the digest, and no other. */
static bool set_padding(const jwt_key *key, EVP_PKEY_CTX *how) {
  return key->algorithm != JWT_PS256 || (EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING) == 1 &&
                                         EVP_PKEY_CTX_set_rsa_pss_saltlen(how, RSA_PSS_SALTLEN_DIGEST) == 1);
}

/* Ed25519 has a digest of its own inside. */
static const EVP_MD *digest_of(const jwt_key *key) { return key->algorithm == JWT_EDDSA ? NULL : EVP_sha256(); }

static bool sign_digest(const jwt_key *key, const char *text, size_t size, unsigned char *out, size_t *out_size) {
  EVP_MD_CTX *digest = EVP_MD_CTX_new();
  EVP_PKEY_CTX *how = NULL;
  bool fine = digest && EVP_DigestSignInit(digest, &how, digest_of(key), NULL, key->pair) == 1 && set_padding(key, how) &&
              EVP_DigestSign(digest, out, out_size, (const unsigned char *)text, size) == 1;
  EVP_MD_CTX_free(digest);
  return fine;
}

static bool verify_digest(const jwt_key *key, const char *text, size_t size, const unsigned char *signature,
                          size_t signature_size) {
  EVP_MD_CTX *digest = EVP_MD_CTX_new();
  EVP_PKEY_CTX *how = NULL;
  bool fine = digest && EVP_DigestVerifyInit(digest, &how, digest_of(key), NULL, key->pair) == 1 && set_padding(key, how) &&
              EVP_DigestVerify(digest, signature, signature_size, (const unsigned char *)text, size) == 1;
  EVP_MD_CTX_free(digest);
  return fine;
}

/* OpenSSL writes DER, JOSE the two numbers one after the other. */
static bool from_der(const unsigned char *der, size_t size, unsigned char out[ES256_BYTES]) {
  ECDSA_SIG *both = d2i_ECDSA_SIG(NULL, &der, (long)size);
  bool fine = both && BN_bn2binpad(ECDSA_SIG_get0_r(both), out, ES256_HALF) == ES256_HALF &&
              BN_bn2binpad(ECDSA_SIG_get0_s(both), out + ES256_HALF, ES256_HALF) == ES256_HALF;
  ECDSA_SIG_free(both);
  return fine;
}

static bool to_der(const unsigned char raw[ES256_BYTES], unsigned char der[DER_MOST], size_t *size) {
  ECDSA_SIG *both = ECDSA_SIG_new();
  BIGNUM *r = BN_bin2bn(raw, ES256_HALF, NULL), *s = BN_bin2bn(raw + ES256_HALF, ES256_HALF, NULL);
  bool fine = both && r && s && ECDSA_SIG_set0(both, r, s) == 1;
  if (!fine) {
    BN_free(r);
    BN_free(s);
  }
  int length = fine ? i2d_ECDSA_SIG(both, NULL) : 0;
  if (length > 0 && length <= DER_MOST) length = i2d_ECDSA_SIG(both, &der);
  ECDSA_SIG_free(both);
  *size = length > 0 ? (size_t)length : 0;
  return length > 0 && length <= DER_MOST;
}

bool jwt_sign(const jwt_key *key, const char *text, size_t size, unsigned char out[JWT_SIGNATURE_MOST], size_t *out_size) {
  *out_size = JWT_SIGNATURE_MOST;
  if (key->algorithm == JWT_HS256) {
    unsigned length = 0;
    if (!HMAC(EVP_sha256(), key->secret, JWT_SECRET_BYTES, (const unsigned char *)text, size, out, &length)) return false;
    *out_size = length;
    return true;
  }
  if (key->algorithm != JWT_ES256) return sign_digest(key, text, size, out, out_size);
  unsigned char der[DER_MOST];
  size_t der_size = sizeof der;
  *out_size = ES256_BYTES;
  return sign_digest(key, text, size, der, &der_size) && from_der(der, der_size, out);
}

/* ---- Verifying ---------------------------------------------------------------------------------------------------------------------------- */

static bool verify_raw(const jwt_key *key, const jwt_parts *parts, const unsigned char *signature, size_t size) {
  unsigned char made[JWT_SIGNATURE_MOST], der[DER_MOST];
  size_t made_size;
  switch (key->algorithm) {
  case JWT_HS256:
    return size == HS256_BYTES && jwt_sign(key, parts->header, parts->signed_size, made, &made_size) &&
           CRYPTO_memcmp(made, signature, HS256_BYTES) == 0;
  case JWT_RS256:
  case JWT_PS256:
    return EVP_PKEY_is_a(key->pair, "RSA") && verify_digest(key, parts->header, parts->signed_size, signature, size);
  case JWT_EDDSA:
    return EVP_PKEY_is_a(key->pair, "ED25519") && verify_digest(key, parts->header, parts->signed_size, signature, size);
  case JWT_ES256:
    return EVP_PKEY_is_a(key->pair, "EC") && size == ES256_BYTES && to_der(signature, der, &made_size) &&
           verify_digest(key, parts->header, parts->signed_size, der, made_size);
  case JWT_ALGORITHMS: break;
  }
  return false;
}

bool jwt_verify(const jwt_key *key, const jwt_parts *parts) {
  unsigned char signature[JWT_SIGNATURE_MOST];
  size_t size;
  if (parts->signature_size > JWT_SIGNATURE_MOST) return false; /* three quarters of it are bytes */
  if (!jwt_unbase64url(parts->signature, parts->signature_size, signature, &size)) return false;
  return verify_raw(key, parts, signature, size);
}
