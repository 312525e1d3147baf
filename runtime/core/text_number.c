/* Numbers and texts: exact, and the same under every locale. */
#include "core/text.h"

#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_NUMBER 1000

static const double powers_of_ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                       1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
#define EXACT_POWERS 22
#define EXACT_INTEGER ((uint64_t)1 << 53)

bool text_to_uint(const char *text, size_t size, uint64_t *value) {
  uint64_t sum = 0;
  if (size == 0) return false;
  for (size_t i = 0; i < size; i++) {
    unsigned digit = (unsigned)(unsigned char)text[i] - '0';
    if (digit > 9 || __builtin_mul_overflow(sum, 10U, &sum) || __builtin_add_overflow(sum, digit, &sum)) return false;
  }
  *value = sum;
  return true;
}

bool text_to_int(const char *text, size_t size, int64_t *value) {
  bool negative = size > 0 && text[0] == '-';
  uint64_t magnitude;
  if (!text_to_uint(text + negative, size - negative, &magnitude)) return false;
  if (magnitude > (uint64_t)INT64_MAX + negative) return false;
  *value = (int64_t)(negative ? 0 - magnitude : magnitude);
  return true;
}

size_t text_from_int(int64_t value, char out[24]) {
  static const char pairs[] =
      "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748"
      "49505152535455565758596061626364656667686970717273747576777879808182838485868788899091929394959697"
      "9899";
  char digits[24], *at = digits + sizeof digits;
  uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
  while (rest >= 100) {
    at -= 2;
    memcpy(at, pairs + rest % 100 * 2, 2);
    rest /= 100;
  }
  if (rest >= 10) {
    at -= 2;
    memcpy(at, pairs + rest * 2, 2);
  } else {
    *--at = (char)('0' + rest);
  }
  if (value < 0) *--at = '-';
  size_t length = (size_t)(digits + sizeof digits - at);
  memcpy(out, at, length);
  return length;
}

/* ---- Doubles ---------------------------------------------------------------------------------------------------------- */

static locale_t c_locale;
static void make_c_locale(void) {
  c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  if (c_locale == (locale_t)0) abort();
}
static locale_t plain_locale(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  (void)pthread_once(&once, make_c_locale);
  return c_locale;
}

/* The parts of a decimal number: digits * 10^exponent. `exact` when the digits all fitted. */
typedef struct decimal {
  uint64_t digits;
  int64_t exponent;
  bool negative, exact;
} decimal;

/* Takes up to 19 significant digits into d; false when the text is no number. */
static bool split(const char *at, const char *end, decimal *d) {
  size_t seen = 0, significant = 0;
  *d = (decimal){.exact = true};
  if (at < end && (*at == '-' || *at == '+')) d->negative = *at++ == '-';
  for (bool point = false; at < end; at++) {
    unsigned digit = (unsigned)(unsigned char)*at - '0';
    if (digit > 9) {
      if (*at != '.' || point) break;
      point = true;
      continue;
    }
    seen++;
    if (significant > 0 || digit != 0) significant++;
    if (significant > 19) d->exact = false;
    else d->digits = d->digits * 10 + digit;
    d->exponent += (significant > 19) - point;
  }
  if (seen == 0) return false;
  if (at == end) return true;
  if (*at != 'e' && *at != 'E') return false;
  at++;
  bool minus = at < end && *at == '-';
  if (at < end && (*at == '-' || *at == '+')) at++;
  if (at == end) return false;
  int64_t exponent = 0;
  for (; at < end; at++) {
    unsigned digit = (unsigned)(unsigned char)*at - '0';
    if (digit > 9) return false;
    if (exponent < 100000) exponent = exponent * 10 + digit;
  }
  d->exponent += minus ? -exponent : exponent;
  return true;
}

bool text_to_non_finite(const char *text, size_t size, double *value) {
  static const struct {
    const char *name;
    double value;
  } known[] = {{"NaN", (double)NAN}, {"Infinity", (double)INFINITY}, {"-Infinity", -(double)INFINITY}};
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    if (size != strlen(known[i].name) || memcmp(text, known[i].name, size) != 0) continue;
    *value = known[i].value;
    return true;
  }
  return false;
}

bool text_to_double(const char *text, size_t size, double *value) {
  decimal d;
  if (size == 0 || size > LONGEST_NUMBER || !split(text, text + size, &d)) return false;
  /* Both parts are exact doubles, so one operation rounds once and right. */
  if (d.exact && d.digits <= EXACT_INTEGER && d.exponent >= -EXACT_POWERS && d.exponent <= EXACT_POWERS) {
    double exact = (double)d.digits;
    exact = d.exponent < 0 ? exact / powers_of_ten[-d.exponent] : exact * powers_of_ten[d.exponent];
    *value = d.negative ? -exact : exact;
    return true;
  }
  char copy[LONGEST_NUMBER + 1];
  memcpy(copy, text, size);
  copy[size] = '\0';
  double parsed = strtod_l(copy, NULL, plain_locale());
  if (!isfinite(parsed)) return false;
  *value = parsed;
  return true;
}

/* Writes digits / 10^decimals, decimals > 0. */
static size_t write_decimal(uint64_t digits, size_t decimals, bool negative, char *out) {
  char text[24], *to = out;
  size_t length = text_from_int((int64_t)digits, text);
  if (negative) *to++ = '-';
  if (length <= decimals) {
    *to++ = '0';
    *to++ = '.';
    memset(to, '0', decimals - length);
    to += decimals - length;
    memcpy(to, text, length);
    return (size_t)(to + length - out);
  }
  memcpy(to, text, length - decimals);
  to += length - decimals;
  *to++ = '.';
  memcpy(to, text + length - decimals, decimals);
  return (size_t)(to + decimals - out);
}

/* The common case, a number of few decimals: when digits / 10^decimals, both exact, gives the value by one correctly
 * rounded division, then those digits read back as the value, and the first such number of decimals is the shortest. */
static size_t from_short_double(double value, bool negative, char *out) {
  for (size_t decimals = 0; decimals <= 17; decimals++) {
    double scaled = value * powers_of_ten[decimals];
    if (scaled >= 9007199254740992.0) return 0;
    double whole = nearbyint(scaled);
    if (whole / powers_of_ten[decimals] != value) continue;
    if (decimals > 0) return write_decimal((uint64_t)whole, decimals, negative, out);
    if (negative) *out++ = '-';
    return text_from_int((int64_t)whole, out) + negative;
  }
  return 0;
}

size_t text_from_double(double value, char out[32]) {
  bool negative = signbit(value) != 0;
  double magnitude = fabs(value);
  if (magnitude == 0 || (magnitude >= 1e-4 && magnitude < 9007199254740992.0)) {
    size_t length = from_short_double(magnitude, negative, out);
    if (length > 0) return length;
  }
  locale_t before = uselocale(plain_locale());
  int length = 0;
  for (int precision = 15; precision <= 17; precision++) {
    double back;
    length = snprintf(out, 32, "%.*g", precision, value);
    if (length > 0 && text_to_double(out, (size_t)length, &back) && back == value) break;
  }
  (void)uselocale(before);
  return length > 0 ? (size_t)length : 0;
}
