/* secret.c: secrets that are made here and kept elsewhere as hashes. */
#include "core/text.h"
#include "loop/context.h"
#include <string.h>

enum { HASH_BYTES = 32, SECRET_RANDOM = 40 };

void purlin_sha256(const void *data, size_t size, char digits[65]) {
  uint8_t hash[HASH_BYTES];
  text_sha256(data, size, hash);
  text_hex(hash, HASH_BYTES, digits);
}

const char *purlin_new_secret(purlin_ctx *ctx, const char *prefix) {
  size_t size = strlen(prefix);
  char *secret = purlin_alloc(ctx, size + 1 + SECRET_RANDOM + 1);
  if (!secret) return NULL;
  memcpy(secret, prefix, size);
  secret[size] = '_';
  text_random_id(secret + size + 1, SECRET_RANDOM);
  return secret;
}
