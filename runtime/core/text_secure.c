/* Hashes, random bytes, and what secrets need. */
#include "core/text.h"

#include <errno.h>
#include <openssl/sha.h>
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

void text_sha256(const void *data, size_t size, uint8_t out[32]) { (void)SHA256(data, size, out); }

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

/* ---- SipHash-2-4 with 128 bits (Aumasson, Bernstein) -------------------------------------------------------------------- */

static uint64_t turn(uint64_t value, unsigned by) { return value << by | value >> (64 - by); }

static void sip_rounds(uint64_t v[4], unsigned count) {
  while (count-- > 0) {
    v[0] += v[1], v[1] = turn(v[1], 13) ^ v[0], v[0] = turn(v[0], 32);
    v[2] += v[3], v[3] = turn(v[3], 16) ^ v[2];
    v[0] += v[3], v[3] = turn(v[3], 21) ^ v[0];
    v[2] += v[1], v[1] = turn(v[1], 17) ^ v[2], v[2] = turn(v[2], 32);
  }
}

static void sip_word(uint64_t v[4], uint64_t word) {
  v[3] ^= word;
  sip_rounds(v, 2);
  v[0] ^= word;
}

static uint64_t sip_end(uint64_t v[4]) {
  sip_rounds(v, 4);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void text_keyed_hash(const uint8_t key[16], const void *data, size_t size, uint8_t out[16]) {
  const unsigned char *at = data;
  uint64_t low = load(key, 8), high = load(key + 8, 8), half;
  uint64_t v[4] = {low ^ UINT64_C(0x736f6d6570736575), high ^ UINT64_C(0x646f72616e646f6d) ^ 0xee,
                   low ^ UINT64_C(0x6c7967656e657261), high ^ UINT64_C(0x7465646279746573)};
  size_t left = size;
  for (; left >= 8; at += 8, left -= 8) sip_word(v, load(at, 8));
  sip_word(v, load(at, left) | (uint64_t)size << 56);
  v[2] ^= 0xee;
  half = sip_end(v);
  memcpy(out, &half, sizeof half);
  v[1] ^= 0xdd;
  half = sip_end(v);
  memcpy(out + 8, &half, sizeof half);
}
