/* zone_rule.c: the rule at the end of a TZif file, a POSIX TZ text such as "CET-1CEST,M3.5.0,M10.5.0/3", expanded. */
#include "jobs/zone.h"

#include <stdlib.h>
#include <string.h>

#define LAST_YEAR 2200

typedef enum rule_kind { RULE_JULIAN, RULE_DAY, RULE_WEEKDAY } rule_kind;

typedef struct rule_date {
  rule_kind kind;
  int month, week, day; /* RULE_WEEKDAY: week 5 is the last; else day only */
  int32_t time_s;       /* local time of the change, -167 to 167 hours */
} rule_date;

typedef struct rule {
  int32_t standard_s, summer_s; /* offsets, local minus UTC */
  bool has_summer;
  rule_date summer_begins, summer_ends;
} rule;

typedef struct cursor {
  const char *at, *end;
} cursor;

static bool skip(cursor *c, char expected) {
  if (c->at == c->end || *c->at != expected) return false;
  c->at++;
  return true;
}

static bool number(cursor *c, int least, int most, int *value) {
  int result = 0;
  const char *start = c->at;
  while (c->at < c->end && *c->at >= '0' && *c->at <= '9' && c->at - start < 4) result = result * 10 + (*c->at++ - '0');
  *value = result;
  return c->at > start && result >= least && result <= most;
}

/* "CET" or "<+03>" */
static bool zone_name(cursor *c) {
  const char *start = c->at;
  if (skip(c, '<')) {
    while (c->at < c->end && *c->at != '>') c->at++;
    return skip(c, '>');
  }
  while (c->at < c->end && ((*c->at >= 'A' && *c->at <= 'Z') || (*c->at >= 'a' && *c->at <= 'z'))) c->at++;
  return c->at - start >= 3;
}

/* [+-]hh[:mm[:ss]] in seconds */
static bool time_of(cursor *c, int32_t *seconds) {
  int hours = 0, minutes = 0, rest = 0;
  bool negative = skip(c, '-');
  if (!negative) (void)skip(c, '+');
  if (!number(c, 0, 167, &hours)) return false;
  if (skip(c, ':')) {
    if (!number(c, 0, 59, &minutes)) return false;
    if (skip(c, ':') && !number(c, 0, 59, &rest)) return false;
  }
  *seconds = (int32_t)(hours * 3600 + minutes * 60 + rest);
  if (negative) *seconds = -*seconds;
  return true;
}

static bool date_of(cursor *c, rule_date *date) {
  bool fine;
  date->time_s = 2 * 3600;
  if (skip(c, 'M')) {
    date->kind = RULE_WEEKDAY;
    fine = number(c, 1, 12, &date->month) && skip(c, '.') && number(c, 1, 5, &date->week) && skip(c, '.') &&
           number(c, 0, 6, &date->day);
  } else if (skip(c, 'J')) {
    date->kind = RULE_JULIAN;
    fine = number(c, 1, 365, &date->day);
  } else {
    date->kind = RULE_DAY;
    fine = number(c, 0, 365, &date->day);
  }
  return fine && (!skip(c, '/') || time_of(c, &date->time_s));
}

static bool parse(const char *text, size_t size, rule *out) {
  cursor c = {text, text + size};
  int32_t west = 0;
  memset(out, 0, sizeof *out);
  if (!zone_name(&c) || !time_of(&c, &west)) return false;
  out->standard_s = -west; /* POSIX counts west of Greenwich */
  if (c.at == c.end) return true;
  if (!zone_name(&c)) return false;
  out->has_summer = true;
  out->summer_s = out->standard_s + 3600;
  if (c.at < c.end && *c.at != ',') {
    if (!time_of(&c, &west)) return false;
    out->summer_s = -west;
  }
  return skip(&c, ',') && date_of(&c, &out->summer_begins) && skip(&c, ',') && date_of(&c, &out->summer_ends) &&
         c.at == c.end;
}

/* The local midnight of a rule's day in a year, plus its time, as if local were UTC. */
static int64_t local_seconds(const rule_date *date, int64_t year) {
  int64_t days;
  if (date->kind == RULE_WEEKDAY) {
    days = zone_days_from_date(year, (unsigned)date->month, 1);
    int64_t weekday = (days % 7 + 11) % 7; /* 1970-01-01 was a Thursday */
    int64_t day = (date->day - weekday + 7) % 7 + (date->week - 1) * 7;
    while (day >= (int64_t)zone_days_of_month(year, (unsigned)date->month)) day -= 7;
    days += day;
  } else {
    days = zone_days_from_date(year, 1, 1);
    bool after_leap_day = date->kind == RULE_JULIAN && date->day >= 60 && zone_days_of_month(year, 2) == 29;
    days += date->kind == RULE_DAY ? date->day : date->day - 1 + (after_leap_day ? 1 : 0);
  }
  return days * 86400 + date->time_s;
}

static void append(zone *z, int64_t at_s, int32_t offset_s) {
  int32_t last = z->count > 0 ? z->changes[z->count - 1].offset_s : z->first_offset_s;
  int64_t last_at = z->count > 0 ? z->changes[z->count - 1].at_s : INT64_MIN;
  if (at_s < last_at) return;
  if (at_s == last_at) { /* summer time all year: its end is its next beginning */
    int32_t before = z->count > 1 ? z->changes[z->count - 2].offset_s : z->first_offset_s;
    z->changes[z->count - 1].offset_s = offset_s;
    if (before == offset_s) z->count--;
    return;
  }
  if (offset_s != last) z->changes[z->count++] = (zone_change){at_s, offset_s};
}

bool zone_append_rule(zone *z, const char *text, size_t size) {
  rule r;
  if (!parse(text, size, &r)) return false;
  if (!r.has_summer) return true; /* the last change of the table already leads to it */
  int64_t year = 1970;
  unsigned month, day;
  if (z->count > 0) {
    int64_t at = z->changes[z->count - 1].at_s;
    zone_date_from_days((at < 0 ? at - 86399 : at) / 86400, &year, &month, &day);
  }
  if (year > LAST_YEAR) return true;
  size_t room = z->count + 2 * (size_t)(LAST_YEAR - year + 1);
  zone_change *grown = realloc(z->changes, room * sizeof *grown);
  if (grown == NULL) return false;
  z->changes = grown;
  for (; year <= LAST_YEAR; year++) {
    int64_t begins = local_seconds(&r.summer_begins, year) - r.standard_s;
    int64_t ends = local_seconds(&r.summer_ends, year) - r.summer_s;
    bool northern = begins < ends;
    append(z, northern ? begins : ends, northern ? r.summer_s : r.standard_s);
    append(z, northern ? ends : begins, northern ? r.standard_s : r.summer_s);
  }
  return true;
}
