/* text.h: small things with bytes and texts: UTF-8, numbers, hexadecimal, base64, percent-encoding, hashes, time, ids. */
#ifndef PURLIN_CORE_TEXT_H
#define PURLIN_CORE_TEXT_H

#include <purlin/base.h>

bool text_is_utf8(const char *text, size_t size);
/* The bytes of the well-formed UTF-8 sequence that `text` starts with, 1 to 4; 0 when it starts with none. */
size_t text_utf8_length(const char *text, size_t size);
/* The whole text as a number; false on anything else, on overflow and on an empty text. */
bool text_to_int(const char *text, size_t size, int64_t *value);
bool text_to_uint(const char *text, size_t size, uint64_t *value);
/* Decimal, with or without a point and an exponent, of at most 1000 bytes; finite only; knows no locale. */
bool text_to_double(const char *text, size_t size, double *value);
/* "NaN", "Infinity", "-Infinity": what JSON has no number for. */
bool text_to_non_finite(const char *text, size_t size, double *value);
size_t text_from_int(int64_t value, char out[24]);   /* returns the length; no NUL */
size_t text_from_double(double value, char out[32]); /* shortest that reads back the same; finite only */

void text_hex(const void *data, size_t size, char *out);                        /* 2*size digits and a NUL */
bool text_unhex(const char *text, size_t size, void *out);                      /* size even, lower or upper case */
size_t text_base64_size(size_t size);                                           /* of the encoded text, without NUL */
void text_base64(const void *data, size_t size, char *out);                     /* standard alphabet, padded, and a NUL */
bool text_unbase64(const char *text, size_t size, void *out, size_t *out_size); /* strict */
/* Percent-decoding into `out` (at most `size` bytes); false on a broken escape or on %00. '+' means a space in queries only. */
bool text_unpercent(const char *text, size_t size, bool plus_is_space, char *out, size_t *out_size);

/* Printable ASCII without quote and backslash: what stands for itself in a JSON text. */
bool text_is_plain(const char *text, size_t size);
bool text_equal_ignoring_case(const char *a, size_t a_size, const char *b, size_t b_size); /* ASCII */
/* Compares in a time that depends on `size` only, for secrets. */
bool text_equal_secret(const void *a, const void *b, size_t size);
/* For "did you mean": whether `candidate` is nearer to `name` than `*best` (TEXT_FAR at first: at most two letters are wrong), which
 * then becomes its distance. */
#define TEXT_FAR ((size_t)3)
bool text_is_nearer(const char *name, size_t name_size, const char *candidate, size_t *best);
uint64_t text_hash(const void *data, size_t size); /* fast, seeded once per process; for tables */
void text_wipe(void *data, size_t size);           /* zeroes memory so that the compiler cannot drop it */
/* A hash that nobody can aim at who does not know the key: two texts of one hash cannot be made, so it may stand for a secret. */
void text_keyed_hash(const uint8_t key[16], const void *data, size_t size, uint8_t out[16]);
void text_sha256(const void *data, size_t size, uint8_t out[32]);
/* Cryptographically random bytes; aborts the process when the kernel has none. */
void text_random(void *out, size_t size);
void text_random_id(char *out, size_t digits); /* digits of [a-z0-9], then a NUL */

/* RFC 3339 with a zone, to and from microseconds since 1970; up to 27 bytes: 2024-05-01T12:00:00.123456Z */
size_t text_from_time(int64_t unix_us, char out[32]);               /* length; 0 and "" outside the years 0000 to 9999 */
bool text_to_time(const char *text, size_t size, int64_t *unix_us); /* more than six decimals are cut off */
/* The date of a Date header, 29 bytes and a NUL. */
void text_http_date(int64_t unix_seconds, char out[32]);

#endif
