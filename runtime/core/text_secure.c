/* Hashes, random bytes, and what secrets need. */
#include "core/text.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

bool text_equal_secret(const void *a, const void *b, size_t size) {
  const volatile unsigned char *x = a, *y = b;
  unsigned char difference = 0;
  for (size_t i = 0; i < size; i++) difference = (unsigned char)(difference | (x[i] ^ y[i]));
  return difference == 0;
}

void text_wipe(void *data, size_t size) {
  if (size > 0) explicit_bzero(data, size);
}

/* ---- SHA-256: the algorithm is looked up once, and each thread keeps a state, which is most of the cost of a short text ---- */

static struct {
  pthread_once_t once;
  pthread_key_t key; /* EVP_MD_CTX *, freed with its thread */
  EVP_MD *algorithm;
} sha256 = {.once = PTHREAD_ONCE_INIT};

static void free_digest(void *state) { EVP_MD_CTX_free(state); }

static void find_sha256(void) {
  sha256.algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
  if (sha256.algorithm == NULL || pthread_key_create(&sha256.key, free_digest) != 0)
    abort(); /* no token could be checked */
}

static EVP_MD_CTX *digest_of_thread(void) {
  (void)pthread_once(&sha256.once, find_sha256);
  EVP_MD_CTX *state = pthread_getspecific(sha256.key);
  if (state != NULL) return state;
  state = EVP_MD_CTX_new();
  if (state == NULL || pthread_setspecific(sha256.key, state) != 0) abort();
  return state;
}

void text_sha256(const void *data, size_t size, uint8_t out[32]) {
  EVP_MD_CTX *state = digest_of_thread();
  const EVP_MD *algorithm = EVP_MD_CTX_get0_md(state) == NULL ? sha256.algorithm : NULL; /* NULL: as before */
  if (!EVP_DigestInit_ex2(state, algorithm, NULL) || !EVP_DigestUpdate(state, data, size) ||
      !EVP_DigestFinal_ex(state, out, NULL))
    abort(); /* a hash that is not one would let somebody in */
}

void text_random(void *out, size_t size) {
  char *at = out;
  while (size > 0) {
    ssize_t got = getrandom(at, size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) abort(); /* without randomness no token is safe, and there is nothing to go on with */
    at += got;
    size -= (size_t)got;
  }
}

void text_random_id(char *out, size_t digits) {
  static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";
  unsigned char bytes[64];
  size_t done = 0;
  while (done < digits) {
    text_random(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes && done < digits; i++)
      if (bytes[i] < 252) out[done++] = alphabet[bytes[i] % 36]; /* 252 = 7 * 36: every digit is equally likely */
  }
  out[digits] = '\0';
}

/* ---- A fast hash with a secret seed, against tables that an attacker fills on purpose ---------------------------------- */

static uint64_t fold(uint64_t a, uint64_t b) {
  __extension__ unsigned __int128 product = (unsigned __int128)a * b;
  return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t load(const unsigned char *at, size_t size) {
  uint64_t value = 0;
  memcpy(&value, at, size);
  return value;
}

static uint64_t hash_seed(void) {
  static _Atomic uint64_t seed;
  uint64_t value = atomic_load_explicit(&seed, memory_order_relaxed);
  if (value != 0) return value;
  uint64_t fresh;
  text_random(&fresh, sizeof fresh);
  fresh |= 1;
  return atomic_compare_exchange_strong(&seed, &value, fresh) ? fresh : value;
}

uint64_t text_hash(const void *data, size_t size) {
  const uint64_t odd_a = UINT64_C(0x9e3779b97f4a7c15), odd_b = UINT64_C(0xd1b54a32d192ed03);
  const unsigned char *at = data;
  size_t left = size;
  uint64_t seed = hash_seed(), hash = seed;
  for (; left > 16; at += 16, left -= 16) hash = fold(load(at, 8) ^ odd_a ^ seed, load(at + 8, 8) ^ hash);
  if (left == 0) return fold(hash ^ odd_a, odd_b ^ size);
  uint64_t low = load(at, left < 8 ? left : 8), high = left > 8 ? load(at + 8, left - 8) : 0;
  hash = fold(low ^ odd_a ^ seed, high ^ odd_b ^ hash);
  return fold(hash ^ odd_a, odd_b ^ size);
}
