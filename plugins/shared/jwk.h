/* jwk.h: public keys as others publish them: JSON Web Keys of RFC 7517, 7518 and 8037. */
#ifndef SHARED_JWK_H
#define SHARED_JWK_H

#include "jwt.h"

/* The members of one that count here, as they stand in its JSON; NULL where there is none. */
typedef struct jwk {
  const char *kty, *crv;
  const char *n, *e; /* RSA */
  const char *x, *y; /* EC, OKP */
} jwk;

/* Whether a key of that kind can be used with the algorithm. */
bool jwk_fits(const jwk *from, jwt_algorithm algorithm);
/* Fills a zeroed key that verifies with `algorithm` and with nothing else. False: it is of another kind, no key at all, or too weak:
 * RSA from 2048 to 6144 bits. Symmetric keys are never taken. */
bool jwk_take(const jwk *from, jwt_algorithm algorithm, jwt_key *out);

#endif
