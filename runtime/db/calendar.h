/* calendar.h: days and dates of the proleptic Gregorian calendar, for DATETIME columns in UTC. */
#ifndef PURLIN_DB_CALENDAR_H
#define PURLIN_DB_CALENDAR_H

#include <mysql.h>
#include <stdint.h>

/* Days since 1970-01-01. The year is counted from March, so that the leap day is its last. */
static inline int64_t calendar_days(int64_t year, unsigned month, unsigned day) {
  year -= month <= 2;
  int64_t era = (year >= 0 ? year : year - 399) / 400;
  int64_t of_era = year - era * 400;
  int64_t of_year = (153 * (int64_t)(month > 2 ? month - 3 : month + 9) + 2) / 5 + (int64_t)day - 1;
  return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static inline void calendar_from_us(int64_t unix_us, MYSQL_TIME *time) {
  int64_t day_us = INT64_C(86400000000);
  int64_t days = unix_us / day_us, rest = unix_us % day_us;
  if (rest < 0) {
    rest += day_us;
    days--;
  }
  days += 719468;
  int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  int64_t of_era = days - era * 146097;
  int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
  int64_t month = (5 * of_year + 2) / 153;
  int64_t seconds = rest / 1000000;
  *time = (MYSQL_TIME){.time_type = MYSQL_TIMESTAMP_DATETIME};
  time->day = (unsigned)(of_year - (153 * month + 2) / 5 + 1);
  time->month = (unsigned)(month < 10 ? month + 3 : month - 9);
  time->year = (unsigned)(year + era * 400 + (time->month <= 2));
  time->hour = (unsigned)(seconds / 3600);
  time->minute = (unsigned)(seconds / 60 % 60);
  time->second = (unsigned)(seconds % 60);
  time->second_part = (unsigned long)(rest % 1000000);
}

#endif
