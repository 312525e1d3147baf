/* Schedules: parsing, and the times of whole years in zones whose clocks jump. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/buffer.h"
#include "core/text.h"
#include "jobs/cron.h"

#include <string.h>

#include "cron_table.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int64_t time_of(const char *text) {
  int64_t us = 0;
  if (!text_to_time(text, strlen(text), &us)) fail_msg("not a time: %s", text);
  return us;
}

static cron *parsed(const char *expression, const char *time_zone) {
  cron *c = NULL;
  buffer why = {0};
  purlin_status status = cron_parse(expression, time_zone, &c, &why);
  if (status != PURLIN_OK) fail_msg("%s: %s", expression, buffer_end(&why));
  buffer_free(&why);
  return c;
}

/* `expected` is a list of times in UTC, one after the other. */
static void expect_times(const char *expression, const char *time_zone, const char *after, const char *const *expected,
                         size_t count) {
  cron *c = parsed(expression, time_zone);
  int64_t at = time_of(after);
  for (size_t i = 0; i < count; i++) {
    assert_true(cron_next(c, at, &at));
    char text[32];
    size_t size = text_from_time(at, text);
    if (at != time_of(expected[i]))
      fail_msg("%s in %s: %.*s, expected %s", expression, time_zone, (int)size, text, expected[i]);
  }
  cron_free(c);
}

#define EXPECT(expression, time_zone, after, ...)                                                                          \
  expect_times(expression, time_zone, after, (const char *const[]){__VA_ARGS__},                                           \
               COUNT(((const char *const[]){__VA_ARGS__})))

static void refuses_what_is_no_expression(void **state) {
  (void)state;
  static const char *const wrong[] = {
      "",
      "*",
      "* * * *",
      "* * * * * *",
      "60 * * * *",
      "* 24 * * *",
      "* * 0 * *",
      "* * 32 * *",
      "* * * 13 * ",
      "* * * * 8",
      "*/0 * * * *",
      "5-1 * * * *",
      "a * * * *",
      "1,,2 * * * *",
      "1- * * * *",
      "-1 * * * *",
      "* * * janu *",
      "* * * * fri-mon",
      "1/ * * * *",
      "/5 * * * *",
      "1.5 * * * *",
      "0 0 30 2 *",
      "0 0 31 4,6,9,11 *",
      "@often",
      "@every",
      "@every ",
      "@every 5",
      "@every 0s",
      "@every s",
      "@every 5x",
      "@every -5s",
      "@every 367d",
      "@every 99999999999s",
      "@every5s",
      "+5 * * * *",
  };
  for (size_t i = 0; i < COUNT(wrong); i++) {
    cron *c = NULL;
    buffer why = {0};
    if (cron_parse(wrong[i], NULL, &c, &why) != PURLIN_INVALID) fail_msg("accepted '%s'", wrong[i]);
    assert_null(c);
    assert_true(why.size > 10);
    buffer_free(&why);
  }
}

static void refuses_what_is_no_zone(void **state) {
  (void)state;
  static const char *const wrong[] = {"Europe/Brussel", "",          "Europe",    "/etc/passwd",     "../../../etc/passwd",
                                      "Europe/../UTC",  "tzdata.zi", "right/UTC", "Europe/Brussels "};
  for (size_t i = 0; i < COUNT(wrong); i++) {
    cron *c = NULL;
    buffer why = {0};
    if (cron_parse("0 0 * * *", wrong[i], &c, &why) == PURLIN_OK) fail_msg("accepted '%s'", wrong[i]);
    assert_null(c);
    assert_true(why.size > 10);
    buffer_free(&why);
  }
}

static void refuses_broken_zone_files(void **state) {
  (void)state;
  static const unsigned char header[44] = "TZif2";
  unsigned char file[200];
  zone z;
  buffer why = {0};
  memset(file, 0, sizeof file);
  assert_int_equal(zone_read(file, 0, &z, &why), PURLIN_INTERNAL);
  assert_int_equal(zone_read(file, sizeof file, &z, &why), PURLIN_INTERNAL);
  memcpy(file, header, sizeof header); /* no types */
  assert_int_equal(zone_read(file, sizeof file, &z, &why), PURLIN_INTERNAL);
  file[39] = 1; /* one type: fine, but then no second header */
  assert_int_equal(zone_read(file, sizeof file, &z, &why), PURLIN_INTERNAL);
  memset(file + 20, 0xFF, 24); /* counts that overflow */
  assert_int_equal(zone_read(file, sizeof file, &z, &why), PURLIN_INTERNAL);
  buffer_free(&why);
}

static void refuses_broken_rules(void **state) {
  (void)state;
  static const char *const wrong[] = {"",
                                      "C",
                                      "CET",
                                      "CET-",
                                      "CET-1CEST",
                                      "CET-1CEST,",
                                      "CET-1CEST,M3.5.0",
                                      "CET-1CEST,M13.5.0,M10.5.0",
                                      "CET-1CEST,M3.6.0,M10.5.0",
                                      "CET-1CEST,M3.5.7,M10.5.0",
                                      "CET-1CEST,M3.5.0,M10.5.0/",
                                      "CET-1CEST,M3.5.0,M10.5.0x",
                                      "<CET-1",
                                      "CET-168",
                                      "CET-1CEST,J0,J5",
                                      "CET-1CEST,400,5"};
  for (size_t i = 0; i < COUNT(wrong); i++) {
    zone z = {0};
    if (zone_append_rule(&z, wrong[i], strlen(wrong[i]))) fail_msg("accepted '%s'", wrong[i]);
    zone_free(&z);
  }
}

static void expands_rules_of_every_kind(void **state) {
  (void)state;
  static const struct {
    const char *rule, *winter, *summer;
    int32_t winter_s, summer_s;
  } cases[] = {
      {"CET-1CEST,M3.5.0,M10.5.0/3", "2100-03-28T00:59:59Z", "2100-03-28T01:00:00Z", 3600, 7200},
      {"<-03>3<-02>,M3.5.0/-2,M10.5.0/-1", "2100-03-28T00:59:59Z", "2100-03-28T01:00:00Z", -10800, -7200},
      {"AAA0BBB,J60/0,J300/0", "2024-02-29T23:59:59Z", "2024-03-01T00:00:00Z", 0, 3600},
      {"AAA0BBB-2,59/0,299/0", "2024-02-28T23:59:59Z", "2024-02-29T00:00:00Z", 0, 7200},
      {"AEST-10AEDT,M10.1.0,M4.1.0/3", "2024-04-06T16:00:00Z", "2024-04-06T15:59:59Z", 36000, 39600},
      {"EST5EDT,0/0,J365/25", "1969-06-01T00:00:00Z", "2024-12-31T23:00:00Z", 0, -14400}, /* summer all year */
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    zone z = {0};
    assert_true(zone_append_rule(&z, cases[i].rule, strlen(cases[i].rule)));
    assert_int_equal(zone_span_at(&z, time_of(cases[i].winter) / 1000000).offset_s, cases[i].winter_s);
    assert_int_equal(zone_span_at(&z, time_of(cases[i].summer) / 1000000).offset_s, cases[i].summer_s);
    zone_free(&z);
  }
}

static void knows_the_calendar(void **state) {
  (void)state;
  assert_int_equal(zone_days_from_date(1970, 1, 1), 0);
  assert_int_equal(zone_days_from_date(2000, 3, 1), 11017);
  for (int64_t days = -200000; days < 200000; days += 13) {
    int64_t year;
    unsigned month, day;
    zone_date_from_days(days, &year, &month, &day);
    assert_in_range(month, 1, 12);
    assert_in_range(day, 1, zone_days_of_month(year, month));
    assert_int_equal(zone_days_from_date(year, month, day), days);
  }
}

static void fires_by_fields(void **state) {
  (void)state;
  EXPECT("15 3 * * *", NULL, "2026-11-21T03:15:00Z", "2026-11-22T03:15:00Z", "2026-11-23T03:15:00Z");
  EXPECT("15 3 * * *", NULL, "2026-11-21T03:14:59.999999Z", "2026-11-21T03:15:00Z");
  EXPECT("0 0 1 * mon", NULL, "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z", "2026-11-09T00:00:00Z",
         "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z");
  EXPECT("0 0 */2 * mon", NULL, "2026-11-01T00:00:00Z", "2026-11-09T00:00:00Z", "2026-11-23T00:00:00Z"); /* a star: both */
  EXPECT("0 9 * FEB-apr Sat-Sun", NULL, "2026-02-27T00:00:00Z", "2026-02-28T09:00:00Z", "2026-03-01T09:00:00Z",
         "2026-03-07T09:00:00Z");
  EXPECT("50/3 12 * * *", NULL, "2026-01-01T00:00:00Z", "2026-01-01T12:50:00Z", "2026-01-01T12:53:00Z",
         "2026-01-01T12:56:00Z", "2026-01-01T12:59:00Z", "2026-01-02T12:50:00Z");
  EXPECT("  0\t0 * *  7 ", NULL, "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z");
  EXPECT("0 0 29 2 *", NULL, "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z");
  EXPECT("@yearly", NULL, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
  EXPECT("@monthly", NULL, "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
  EXPECT("@weekly", NULL, "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z");
  EXPECT("@daily", "Europe/Brussels", "2026-11-21T00:00:00Z", "2026-11-21T23:00:00Z");
  EXPECT("@hourly", NULL, "2026-11-21T00:00:00Z", "2026-11-21T01:00:00Z");
  EXPECT("0 0 1 1 *", NULL, "1969-06-01T00:00:00.5Z", "1970-01-01T00:00:00Z");
}

static void fires_every_so_often(void **state) {
  (void)state;
  EXPECT("@every 30s", "Europe/Brussels", "2026-03-29T00:59:45Z", "2026-03-29T01:00:00Z", "2026-03-29T01:00:30Z");
  EXPECT("@every 1h30m", NULL, "1970-01-01T00:00:00Z", "1970-01-01T01:30:00Z", "1970-01-01T03:00:00Z");
  EXPECT("@every 2d", NULL, "1970-01-01T00:00:01Z", "1970-01-03T00:00:00Z");
}

static void says_when_there_is_none(void **state) {
  (void)state;
  cron *c = parsed("0 0 29 2 *", NULL);
  int64_t next = 0;
  assert_false(cron_next(c, time_of("2097-03-01T00:00:00Z"), &next)); /* 2100 is no leap year */
  cron_free(c);
}

/* Clocks in Brussels go from 2:00 to 3:00 on 29 March 2026 (1:00 UTC), and from 3:00 to 2:00 on 25 October (1:00 UTC). */
static void makes_up_for_a_gap_once(void **state) {
  (void)state;
  EXPECT("30 2 * * *", "Europe/Brussels", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z");
  EXPECT("0,20,40 2 * * *", "Europe/Brussels", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z");
  EXPECT("*/10 2 * * *", "Europe/Brussels", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z");
  EXPECT("0 2,3 * * *", "Europe/Brussels", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z",
         "2026-03-30T01:00:00Z");
  EXPECT("30 * * * *", "Europe/Brussels", "2026-03-29T00:00:00Z", "2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z");
  EXPECT("30 2 29 3 *", "Europe/Brussels", "2026-03-29T01:00:00Z", "2027-03-29T00:30:00Z"); /* it was at 1:00 UTC */
}

static void fires_once_in_a_repeated_hour(void **state) {
  (void)state;
  EXPECT("30 2 * * *", "Europe/Brussels", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z");
  EXPECT("0 2,3 * * *", "Europe/Brussels", "2026-10-24T12:00:00Z", "2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z");
  EXPECT("30 * * * *", "Europe/Brussels", "2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z",
         "2026-10-25T02:30:00Z");
  EXPECT("*/30 2 * * *", "Europe/Brussels", "2026-10-24T12:00:00Z", "2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z",
         "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-26T01:00:00Z");
}

static void keeps_local_hours_across_changes(void **state) {
  (void)state;
  EXPECT("0 7-8 * * *", "Europe/Brussels", "2026-03-28T06:30:00Z", "2026-03-28T07:00:00Z", "2026-03-29T05:00:00Z",
         "2026-03-29T06:00:00Z", "2026-03-30T05:00:00Z");
  EXPECT("0 7,9 * * *", "Europe/Brussels", "2026-10-24T07:00:00Z", "2026-10-25T06:00:00Z", "2026-10-25T08:00:00Z",
         "2026-10-26T06:00:00Z");
  EXPECT("0,15,30,45 6-22 * * *", "Europe/Brussels", "2026-10-24T20:44:00Z", "2026-10-24T20:45:00Z", "2026-10-25T05:00:00Z",
         "2026-10-25T05:15:00Z");
}

static uint64_t hash_time(uint64_t hash, int64_t at) {
  for (unsigned i = 0; i < 8; i++) hash = (hash ^ ((uint64_t)at >> (8 * i) & 0xFF)) * UINT64_C(0x100000001B3);
  return hash;
}

static void agrees_with_another_reckoning_over_years(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT(cron_years); i++) {
    const struct cron_year *year = &cron_years[i];
    cron *c = parsed(year->expression, year->zone);
    int64_t at = zone_days_from_date(year->year, 1, 1) * INT64_C(86400000000) - 1;
    int64_t end = zone_days_from_date(year->year + 1, 1, 1) * INT64_C(86400000000), first = 0, last = 0;
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    size_t count = 0;
    while (cron_next(c, at, &at) && at < end) {
      last = at / 1000000;
      if (count++ == 0) first = last;
      hash = hash_time(hash, last);
    }
    if (count != year->count || first != year->first || last != year->last || hash != year->hash)
      fail_msg("%s in %s, %d: %zu times, expected %zu; first %lld, expected %lld; last %lld, expected %lld",
               year->expression, year->zone, year->year, count, year->count, (long long)first, (long long)year->first,
               (long long)last, (long long)year->last);
    cron_free(c);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(refuses_what_is_no_expression),
      cmocka_unit_test(refuses_what_is_no_zone),
      cmocka_unit_test(refuses_broken_zone_files),
      cmocka_unit_test(refuses_broken_rules),
      cmocka_unit_test(expands_rules_of_every_kind),
      cmocka_unit_test(knows_the_calendar),
      cmocka_unit_test(fires_by_fields),
      cmocka_unit_test(fires_every_so_often),
      cmocka_unit_test(says_when_there_is_none),
      cmocka_unit_test(makes_up_for_a_gap_once),
      cmocka_unit_test(fires_once_in_a_repeated_hour),
      cmocka_unit_test(keeps_local_hours_across_changes),
      cmocka_unit_test(agrees_with_another_reckoning_over_years),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
