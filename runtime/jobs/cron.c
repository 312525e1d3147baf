/* cron.c: when a schedule is due.
 *
 * Daylight saving, where the clock of the zone jumps:
 *   - a time that does not exist (clocks go forward) fires once, at the first instant after the gap;
 *   - a time that exists twice (clocks go back) fires once, the first time;
 *   - a pattern for every hour ("30 * * * *", all 24 in the hour field) goes by elapsed time: nothing is made up for after
 *     a gap, and the repeated hour fires again. A minute field that begins with "*" ("*" or "*" with a step) also fires
 *     through the repeated hour, since it means an interval. "@every" knows no clock at all. */
#include "jobs/cron.h"

#include "core/text.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define US_PER_S 1000000
#define HORIZON_S ((int64_t)5 * 366 * 86400)
#define MAX_EVERY_S ((uint64_t)366 * 86400)
#define ALL_HOURS 0xFFFFFFu

struct cron {
  int64_t every_s;                                 /* of "@every"; 0: the fields below */
  uint64_t minutes, hours, days, months, weekdays; /* a bit per value */
  bool any_day, any_weekday;                       /* the field began with "*" */
  bool every_hour, repeats;                        /* see above: no gaps made up for; fires in both of a repeated hour */
  zone zone;
};

typedef struct field_rule {
  const char *name;
  unsigned least, most;
  const char *names; /* of three letters each, from `first_name` on */
  unsigned first_name;
} field_rule;

enum { MINUTE, HOUR, DAY, MONTH, WEEKDAY, FIELD_COUNT };

static const field_rule field_rules[FIELD_COUNT] = {
    {"minute", 0, 59, NULL, 0},
    {"hour", 0, 23, NULL, 0},
    {"day of the month", 1, 31, NULL, 0},
    {"month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec", 1},
    {"day of the week", 0, 7, "sunmontuewedthufrisat", 0},
};

static const struct {
  const char *name, *fields;
} macros[] = {
    {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"}, {"@weekly", "0 0 * * 0"},
    {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@hourly", "0 * * * *"},
};

/* ---- Parsing --------------------------------------------------------------------------------------------------------------- */

static bool value_of(const field_rule *rule, const char *text, size_t size, unsigned *value) {
  if (size == 3 && rule->names != NULL) {
    for (unsigned i = 0; rule->names[(size_t)i * 3] != '\0'; i++) {
      if (strncasecmp(rule->names + (size_t)i * 3, text, 3) != 0) continue;
      *value = rule->first_name + i;
      return true;
    }
  }
  uint64_t number;
  if (size > 4 || !text_to_uint(text, size, &number) || number < rule->least || number > rule->most) return false;
  *value = (unsigned)number;
  return true;
}

/* One item of a list: "*", "5", "1-5", each with an optional step "/15". */
static bool parse_item(const field_rule *rule, const char *text, size_t size, uint64_t *bits) {
  unsigned from = rule->least, to = rule->most, step = 1;
  const char *slash = memchr(text, '/', size);
  if (slash != NULL) {
    uint64_t number;
    size_t step_size = size - (size_t)(slash - text) - 1;
    if (!text_to_uint(slash + 1, step_size, &number) || number == 0 || number > rule->most) return false;
    step = (unsigned)number;
    size = (size_t)(slash - text);
  }
  if (size == 0) return false;
  if (size == 1 && text[0] == '*') {
    if (rule->most == 7) to = 6;
  } else {
    const char *dash = memchr(text, '-', size);
    size_t from_size = dash != NULL ? (size_t)(dash - text) : size;
    if (!value_of(rule, text, from_size, &from)) return false;
    if (dash != NULL && !value_of(rule, dash + 1, size - from_size - 1, &to)) return false;
    if (dash == NULL && slash == NULL) to = from;
    if (dash != NULL && rule->most == 7 && to == 0 && from > 0) to = 7; /* fri-sun */
    if (dash == NULL && slash != NULL && rule->most == 7) to = 6;
  }
  if (from > to) return false;
  for (unsigned value = from; value <= to; value += step) *bits |= UINT64_C(1) << value;
  return true;
}

static purlin_status parse_field(const field_rule *rule, const char *text, size_t size, uint64_t *bits, buffer *why) {
  const char *at = text, *end = text + size;
  *bits = 0;
  for (;;) {
    const char *comma = memchr(at, ',', (size_t)(end - at));
    const char *item_end = comma != NULL ? comma : end;
    if (!parse_item(rule, at, (size_t)(item_end - at), bits)) {
      buffer_format(why, "'%.*s' is no %s: use %u to %u%s, lists 1,2, ranges 1-5, steps */15", (int)(item_end - at), at,
                    rule->name, rule->least, rule->most, rule->names != NULL ? " or names of three letters" : "");
      return PURLIN_INVALID;
    }
    if (comma == NULL) return PURLIN_OK;
    at = comma + 1;
  }
}

static bool day_exists(const cron *c) {
  if (!c->any_weekday) return true; /* weekdays come in every month */
  for (unsigned month = 1; month <= 12; month++) {
    if ((c->months >> month & 1) == 0) continue;
    for (unsigned day = 1; day <= zone_days_of_month(2024, month); day++)
      if (c->days >> day & 1) return true;
  }
  return false;
}

static purlin_status parse_fields(const char *text, cron *c, buffer *why) {
  uint64_t *const bits[FIELD_COUNT] = {&c->minutes, &c->hours, &c->days, &c->months, &c->weekdays};
  bool star[FIELD_COUNT] = {false};
  const char *at = text + strspn(text, " \t");
  size_t count = 0;
  for (; *at != '\0'; count++) {
    size_t size = strcspn(at, " \t");
    if (count < FIELD_COUNT) {
      star[count] = *at == '*';
      purlin_status status = parse_field(&field_rules[count], at, size, bits[count], why);
      if (status != PURLIN_OK) return status;
    }
    at += size;
    at += strspn(at, " \t");
  }
  if (count != FIELD_COUNT) {
    buffer_format(why, "'%s' has %zu fields, not five: minute hour day-of-month month day-of-week", text, count);
    return PURLIN_INVALID;
  }
  if (c->weekdays >> 7 & 1) c->weekdays |= 1; /* both 0 and 7 are Sunday */
  c->any_day = star[DAY];
  c->any_weekday = star[WEEKDAY];
  c->every_hour = c->hours == ALL_HOURS;
  c->repeats = c->every_hour || star[MINUTE];
  if (day_exists(c)) return PURLIN_OK;
  buffer_format(why, "'%s' never happens: none of its months has such a day", text);
  return PURLIN_INVALID;
}

/* "1h30m", "30s" */
static purlin_status parse_every(const char *text, cron *c, buffer *why) {
  static const struct {
    char unit;
    uint64_t seconds;
  } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
  uint64_t total = 0;
  const char *at = text + strspn(text, " \t");
  bool fine = *at != '\0';
  while (fine && *at != '\0') {
    uint64_t number = 0, seconds = 0;
    size_t digits = strspn(at, "0123456789");
    fine = digits > 0 && digits < 10 && text_to_uint(at, digits, &number);
    for (size_t i = 0; fine && i < sizeof units / sizeof units[0]; i++)
      if (at[digits] == units[i].unit) seconds = units[i].seconds;
    fine = fine && seconds > 0;
    total += number * seconds;
    fine = fine && total <= MAX_EVERY_S;
    at += digits + 1;
  }
  if (!fine || total == 0) {
    buffer_format(why, "'@every %s' is not a duration from 1s to 366d, such as 30s, 15m or 1h30m", text);
    return PURLIN_INVALID;
  }
  c->every_s = (int64_t)total;
  return PURLIN_OK;
}

static purlin_status parse_expression(const char *expression, cron *c, buffer *why) {
  expression += strspn(expression, " \t");
  if (expression[0] != '@') return parse_fields(expression, c, why);
  if (strncmp(expression, "@every", 6) == 0 && (expression[6] == ' ' || expression[6] == '\t'))
    return parse_every(expression + 6, c, why);
  for (size_t i = 0; i < sizeof macros / sizeof macros[0]; i++)
    if (strcmp(expression, macros[i].name) == 0) return parse_fields(macros[i].fields, c, why);
  buffer_format(why, "'%s' is unknown: use five fields, @every 30s, @hourly, @daily, @weekly, @monthly or @yearly",
                expression);
  return PURLIN_INVALID;
}

purlin_status cron_parse(const char *expression, const char *time_zone, cron **out, buffer *why) {
  *out = NULL;
  cron *c = calloc(1, sizeof *c);
  if (c == NULL) return PURLIN_UNAVAILABLE;
  purlin_status status = parse_expression(expression, c, why);
  if (status == PURLIN_OK) status = zone_load(time_zone, &c->zone, why);
  if (status != PURLIN_OK) {
    cron_free(c);
    return status;
  }
  *out = c;
  return PURLIN_OK;
}

void cron_free(cron *c) {
  if (c == NULL) return;
  zone_free(&c->zone);
  free(c);
}

/* ---- Finding the next time ------------------------------------------------------------------------------------------------- */

static int64_t floor_divide(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

/* As crond has it: with both days given, either will do. */
static bool day_matches(const cron *c, unsigned day, unsigned weekday) {
  bool by_day = (c->days >> day & 1) != 0, by_weekday = (c->weekdays >> weekday & 1) != 0;
  return c->any_day || c->any_weekday ? by_day && by_weekday : by_day || by_weekday;
}

/* The first matching minute of a day at or after `minute`; -1 when there is none. */
static int minute_of_day(const cron *c, int minute) {
  int hour = minute / 60;
  uint64_t left = c->minutes >> (unsigned)(minute % 60) << (unsigned)(minute % 60);
  if (hour < 24 && (c->hours >> (unsigned)hour & 1) != 0 && left != 0) return hour * 60 + __builtin_ctzll(left);
  uint64_t hours = hour < 23 ? c->hours >> (unsigned)(hour + 1) << (unsigned)(hour + 1) : 0;
  return hours == 0 ? -1 : __builtin_ctzll(hours) * 60 + __builtin_ctzll(c->minutes);
}

/* The first matching local time in [from, until), seconds as if local were UTC. */
static bool next_local(const cron *c, int64_t from, int64_t until, int64_t *found) {
  int64_t minutes = floor_divide(from + 59, 60); /* whole minutes only */
  int64_t day = floor_divide(minutes, 1440);
  int start = (int)(minutes - day * 1440);
  while (day * 86400 < until) {
    int64_t year;
    unsigned month, day_of_month;
    zone_date_from_days(day, &year, &month, &day_of_month);
    if ((c->months >> month & 1) == 0) {
      day += zone_days_of_month(year, month) - day_of_month + 1;
      start = 0;
      continue;
    }
    unsigned weekday = (unsigned)((day % 7 + 11) % 7);
    int minute = day_matches(c, day_of_month, weekday) ? minute_of_day(c, start) : -1;
    if (minute >= 0) {
      *found = day * 86400 + (int64_t)minute * 60;
      return *found < until;
    }
    day++;
    start = 0;
  }
  return false;
}

/* The first time in one span of constant offset, at or after `from` and not after `last`, both UTC. */
static bool next_in_span(const cron *c, const zone_span *span, int64_t from, int64_t last, int64_t *found) {
  int64_t local;
  bool begins_here = from <= span->start_s;
  int32_t jump = span->offset_s - span->previous_offset_s;
  if (begins_here && jump > 0 && !c->every_hour) {
    int64_t gap = span->start_s + span->previous_offset_s;
    if (next_local(c, gap, gap + jump, &local)) {
      *found = span->start_s;
      return *found <= last;
    }
  }
  int64_t first = from > span->start_s ? from : span->start_s;
  if (jump < 0 && !c->repeats && first < span->start_s - jump) first = span->start_s - jump;
  int64_t end = last < span->end_s ? last + 1 : span->end_s;
  if (first >= end || !next_local(c, first + span->offset_s, end + span->offset_s, &local)) return false;
  *found = local - span->offset_s;
  return true;
}

bool cron_next(const cron *c, int64_t after_us, int64_t *next_us) {
  int64_t after_s = floor_divide(after_us, US_PER_S), found;
  if (c->every_s > 0) {
    *next_us = (floor_divide(after_s, c->every_s) + 1) * c->every_s * US_PER_S;
    return true;
  }
  int64_t from = after_s + 1, last = after_s + HORIZON_S;
  while (from <= last) {
    zone_span span = zone_span_at(&c->zone, from);
    if (next_in_span(c, &span, from, last, &found)) {
      *next_us = found * US_PER_S;
      return true;
    }
    if (span.end_s == INT64_MAX) return false;
    from = span.end_s;
  }
  return false;
}
