/* Times: RFC 3339 and the Date header, without the C library's time zones and locales. */
#include "core/text.h"

#include <string.h>

#define DAY_S INT64_C(86400)
#define FIRST_S INT64_C(-62167219200) /* 0000-01-01T00:00:00Z */
#define LAST_S INT64_C(253402300799)  /* 9999-12-31T23:59:59Z */

typedef struct civil {
  int64_t year;
  unsigned month, day;
} civil;

/* Days since 1970-01-01 to the Gregorian calendar and back, in years that begin in March and eras of 400 years, so that
 * the leap day comes last and nothing is special. */
static civil civil_from_days(int64_t days) {
  days += 719468;
  int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  unsigned of_era = (unsigned)(days - era * 146097);
  unsigned year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  unsigned of_year = of_era - (365 * year + year / 4 - year / 100);
  unsigned month = (5 * of_year + 2) / 153;
  civil c = {.year = era * 400 + year, .day = of_year - (153 * month + 2) / 5 + 1};
  c.month = month < 10 ? month + 3 : month - 9;
  if (c.month <= 2) c.year++;
  return c;
}

static int64_t days_from_civil(civil c) {
  int64_t year = c.month <= 2 ? c.year - 1 : c.year;
  int64_t era = (year >= 0 ? year : year - 399) / 400;
  int64_t of_era = year - era * 400;
  int64_t of_year = (153 * (int64_t)(c.month > 2 ? c.month - 3 : c.month + 9) + 2) / 5 + c.day - 1;
  return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static unsigned days_in_month(int64_t year, unsigned month) {
  static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  return month == 2 && leap ? 29 : days[month - 1];
}

static int64_t floor_divide(int64_t a, int64_t b) { return a / b - (a % b < 0); }

static char *put(char *out, unsigned value, size_t digits) {
  for (size_t i = digits; i-- > 0; value /= 10) out[i] = (char)('0' + value % 10);
  return out + digits;
}

static char *put_clock(char *out, unsigned second_of_day) {
  out = put(out, second_of_day / 3600, 2);
  *out++ = ':';
  out = put(out, second_of_day / 60 % 60, 2);
  *out++ = ':';
  return put(out, second_of_day % 60, 2);
}

size_t text_from_time(int64_t unix_us, char out[32]) {
  int64_t seconds = floor_divide(unix_us, 1000000);
  out[0] = '\0';
  if (seconds < FIRST_S || seconds > LAST_S) return 0;
  unsigned fraction = (unsigned)(unix_us - seconds * 1000000);
  int64_t days = floor_divide(seconds, DAY_S);
  unsigned of_day = (unsigned)(seconds - days * DAY_S);
  civil date = civil_from_days(days);
  char *at = put(out, (unsigned)date.year, 4);
  *at++ = '-';
  at = put(at, date.month, 2);
  *at++ = '-';
  at = put(at, date.day, 2);
  *at++ = 'T';
  at = put_clock(at, of_day);
  if (fraction != 0) {
    *at++ = '.';
    at = fraction % 1000 == 0 ? put(at, fraction / 1000, 3) : put(at, fraction, 6);
  }
  *at++ = 'Z';
  *at = '\0';
  return (size_t)(at - out);
}

/* A reader of fixed numbers and marks; `ok` sticks at false. */
typedef struct scan {
  const char *at, *end;
  bool ok;
} scan;

static unsigned take_digits(scan *s, size_t digits) {
  unsigned value = 0;
  for (size_t i = 0; i < digits; i++) {
    unsigned digit = s->at < s->end ? (unsigned)(unsigned char)*s->at - '0' : 10;
    if (digit > 9) {
      s->ok = false;
      return 0;
    }
    value = value * 10 + digit;
    s->at++;
  }
  return value;
}

static char take_one_of(scan *s, const char *allowed) {
  if (s->at == s->end || *s->at == '\0' || strchr(allowed, *s->at) == NULL) {
    s->ok = false;
    return '\0';
  }
  return *s->at++;
}

static unsigned take_fraction(scan *s) {
  unsigned fraction = 0, digits = 0;
  if (s->at == s->end || *s->at != '.') return 0;
  s->at++;
  while (s->at < s->end && *s->at >= '0' && *s->at <= '9') {
    if (digits < 6) fraction = fraction * 10 + (unsigned)(*s->at - '0');
    if (digits < 6) digits++;
    s->at++;
  }
  if (digits == 0) s->ok = false;
  for (; digits < 6; digits++) fraction *= 10;
  return fraction;
}

/* Seconds that the zone is ahead of UTC. */
static int64_t take_zone(scan *s) {
  char sign = take_one_of(s, "Zz+-");
  if (!s->ok || sign == 'Z' || sign == 'z') return 0;
  unsigned hours = take_digits(s, 2);
  (void)take_one_of(s, ":");
  unsigned minutes = take_digits(s, 2);
  if (hours > 23 || minutes > 59) s->ok = false;
  int64_t seconds = (int64_t)hours * 3600 + (int64_t)minutes * 60;
  return sign == '-' ? -seconds : seconds;
}

bool text_to_time(const char *text, size_t size, int64_t *unix_us) {
  scan s = {text, text + size, true};
  civil date;
  date.year = take_digits(&s, 4);
  (void)take_one_of(&s, "-");
  date.month = take_digits(&s, 2);
  (void)take_one_of(&s, "-");
  date.day = take_digits(&s, 2);
  (void)take_one_of(&s, "Tt ");
  unsigned hour = take_digits(&s, 2);
  (void)take_one_of(&s, ":");
  unsigned minute = take_digits(&s, 2);
  (void)take_one_of(&s, ":");
  unsigned second = take_digits(&s, 2);
  unsigned fraction = take_fraction(&s);
  int64_t ahead = take_zone(&s);
  if (!s.ok || s.at != s.end) return false;
  if (date.month < 1 || date.month > 12 || date.day < 1 || date.day > days_in_month(date.year, date.month)) return false;
  if (hour > 23 || minute > 59 || second > 60) return false; /* 60: a leap second, the first of the next minute to us */
  int64_t seconds = days_from_civil(date) * DAY_S + (int64_t)hour * 3600 + (int64_t)minute * 60 + second - ahead;
  *unix_us = seconds * 1000000 + fraction;
  return true;
}

void text_http_date(int64_t unix_seconds, char out[32]) {
  static const char weekdays[] = "ThuFriSatSunMonTueWed", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
  if (unix_seconds < FIRST_S) unix_seconds = FIRST_S;
  if (unix_seconds > LAST_S) unix_seconds = LAST_S;
  int64_t days = floor_divide(unix_seconds, DAY_S);
  unsigned of_day = (unsigned)(unix_seconds - days * DAY_S);
  civil date = civil_from_days(days);
  size_t weekday = (size_t)(days - floor_divide(days, 7) * 7);
  char *at = out;
  memcpy(at, weekdays + 3 * weekday, 3);
  memcpy(at + 3, ", ", 2);
  at = put(at + 5, date.day, 2);
  *at++ = ' ';
  memcpy(at, months + (size_t)3 * (date.month - 1), 3);
  at[3] = ' ';
  at = put(at + 4, (unsigned)date.year, 4);
  *at++ = ' ';
  at = put_clock(at, of_day);
  memcpy(at, " GMT", 5);
}
