/* keyring.h: AES-256 keys and what is sealed with them. Without a context, for the SDK's functions above it and for tests.
 *
 * What is sealed begins with a byte that tells its layout and with the id of its key:
 *   1  id (8 bytes), nonce (12), ciphertext, tag (16); all before the nonce and `of` are authenticated with it
 *   0  the same, where only what stands behind the first '/' of `of` is authenticated: keys of access tokens, as they were before there
 *      was a keyring. It is opened, never made. */
#ifndef PURLIN_SECRETS_KEYRING_H
#define PURLIN_SECRETS_KEYRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KEYRING_KEY_BYTES = 32, KEYRING_MOST = 16, KEYRING_ID_SIZE = 17, KEYRING_HEAD_BYTES = 9, KEYRING_EXTRA_BYTES = 37 };

/* Zeroed memory is an empty one. */
typedef struct keyring {
  size_t count;
  uint8_t (*keys)[KEYRING_KEY_BYTES]; /* in pages of their own */
  char ids[KEYRING_MOST][KEYRING_ID_SIZE];
} keyring;

/* 16 hexadecimal digits that tell keys apart and tell nothing of them. */
bool keyring_id(const uint8_t key[KEYRING_KEY_BYTES], char id[KEYRING_ID_SIZE]);
/* Behind those that are there; one that is there already stays where it is. False: no memory, or too many. */
bool keyring_add(keyring *k, const uint8_t key[KEYRING_KEY_BYTES]);
void keyring_free(keyring *k);

/* `out` has room for size + KEYRING_EXTRA_BYTES. False: no key, or no memory. */
bool keyring_seal(const keyring *k, const char *of, const void *data, size_t size, uint8_t *out);

typedef enum keyring_outcome { KEYRING_OPEN, KEYRING_NO_KEY, KEYRING_BROKEN } keyring_outcome;
/* Into size - KEYRING_EXTRA_BYTES, which is wiped unless it is KEYRING_OPEN. */
keyring_outcome keyring_open(const keyring *k, const char *of, const uint8_t *sealed, size_t size, void *out);
/* The id of the key that is named in what is sealed. False: it is nothing of the kind. */
bool keyring_sealed_by(const uint8_t *sealed, size_t size, char id[KEYRING_ID_SIZE]);

#endif
