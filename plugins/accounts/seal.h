/* seal.h: the file of this node that opens the private parts of keys. */
#ifndef ACCOUNTS_SEAL_H
#define ACCOUNTS_SEAL_H

#include <stdbool.h>
#include <stddef.h>

enum { SEAL_KEY_BYTES = 32, SEAL_EXTRA_BYTES = 12 + 16, SEAL_NAME_SIZE = 17, SEAL_WHY_SIZE = 512 };

/* Reads 32 bytes from the file; makes it, for its owner alone, when it is not there. False: `why` says it. Blocks. */
bool seal_load(const char *path, unsigned char key[SEAL_KEY_BYTES], char why[SEAL_WHY_SIZE]);
/* 16 hexadecimal digits that tell keys apart and tell nothing of them. */
bool seal_name(const unsigned char key[SEAL_KEY_BYTES], char name[SEAL_NAME_SIZE]);
/* AES-256-GCM, bound to the text `of` (what it is the private part of): nonce, ciphertext and tag, size + SEAL_EXTRA_BYTES. */
bool seal_close(const unsigned char key[SEAL_KEY_BYTES], const char *of, const void *data, size_t size, unsigned char *out);
/* Back, into size - SEAL_EXTRA_BYTES. False: another key, another `of`, or it was changed. */
bool seal_open(const unsigned char key[SEAL_KEY_BYTES], const char *of, const unsigned char *sealed, size_t size,
               void *out);

#endif
