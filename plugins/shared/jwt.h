/* jwt.h: JSON Web Signatures in their compact form, as RFC 7515 and RFC 8725 want them. Nothing here knows the SDK or JSON. The plugins
 * accounts (its own tokens) and auth-oidc (those of a provider) link it.
 *
 * A key has one algorithm, and nothing that a token says makes it be used with another. */
#ifndef SHARED_JWT_H
#define SHARED_JWT_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>

/* JWT_EDDSA: over Ed25519. */
typedef enum jwt_algorithm { JWT_ES256, JWT_RS256, JWT_HS256, JWT_PS256, JWT_EDDSA, JWT_ALGORITHMS } jwt_algorithm;

enum { JWT_LONGEST = 32 * 1024, JWT_SECRET_BYTES = 32, JWT_SIGNATURE_MOST = 1024 };

typedef struct jwt_key {
  jwt_algorithm algorithm;
  EVP_PKEY *pair;                         /* of all but HS256: owned; its private part may be missing */
  unsigned char secret[JWT_SECRET_BYTES]; /* HS256 */
} jwt_key;

/* "ES256", ...; and back: JWT_ALGORITHMS for any other text. */
const char *jwt_algorithm_name(jwt_algorithm algorithm);
jwt_algorithm jwt_algorithm_of(const char *name);

/* Fills a zeroed key. False when OpenSSL cannot. */
bool jwt_generate(jwt_key *key, jwt_algorithm algorithm);
void jwt_key_end(jwt_key *key);

/* Base64url without padding and with a NUL, into jwt_base64url_size(size) bytes. */
size_t jwt_base64url_size(size_t size);
void jwt_base64url(const void *data, size_t size, char *out);
/* Back, into at most (size * 3) / 4 bytes. Only what jwt_base64url could have written: no padding, no spare bits. */
bool jwt_unbase64url(const char *text, size_t size, unsigned char *out, size_t *got);

/* Where the three parts of a token are; borrowed from it. False: it has not just three, or one is empty. */
typedef struct jwt_parts {
  const char *header, *payload, *signature;
  size_t header_size, payload_size, signature_size, signed_size; /* header.payload */
} jwt_parts;
bool jwt_split(const char *token, jwt_parts *out);

/* The signature of "header.payload", raw. */
bool jwt_sign(const jwt_key *key, const char *text, size_t size, unsigned char out[JWT_SIGNATURE_MOST], size_t *out_size);
/* Whether the token was signed with the key, by the key's algorithm. */
bool jwt_verify(const jwt_key *key, const jwt_parts *parts);

#endif
