/* password.h: what a good password is, and its hash: yescrypt of libcrypt.
 *
 * The hash takes some milliseconds to a second by its cost, so it runs on a pool of threads, never on a loop. Nothing here knows the
 * SDK. Passwords are texts in the form of RFC 8265 (unicode.h), whatever keyboard they come from; longer than libcrypt takes, they go in
 * as their SHA-512. */
#ifndef ACCOUNTS_PASSWORD_H
#define ACCOUNTS_PASSWORD_H

#include <stdbool.h>
#include <stddef.h>

enum {
  PASSWORD_SHORTEST = 12,  /* characters */
  PASSWORD_LONGEST = 1024, /* bytes */
  PASSWORD_HASH_SIZE = 384
};

/* What is wrong with a new password of the user of this name; NULL: nothing. Static text. */
const char *password_flaw(const char *password, const char *name);

/* The hash with a fresh salt, of cost 1 to 11 (each doubles time and memory). False when memory or randomness is short. */
bool password_hash(const char *password, int cost, char out[PASSWORD_HASH_SIZE]);
/* Takes as long as the hash says. False also for a hash that cannot be read, and for what is no UTF-8. */
bool password_matches(const char *password, const char *hash);
/* Whether a hash was made as password_hash would now. */
bool password_hash_is_current(const char *hash, int cost);

#endif
