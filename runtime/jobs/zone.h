/* zone.h: local time for schedules: one IANA zone as a table of the instants at which its offset from UTC changes.
 *
 * Read from the system's /usr/share/zoneinfo, without the C library's TZ, which is one for the whole process. The rule at
 * the end of a zone's file is expanded into the table up to the year 2200. Immutable after zone_load: any thread may use it. */
#ifndef PURLIN_JOBS_ZONE_H
#define PURLIN_JOBS_ZONE_H

#include <purlin/base.h>
#include "core/buffer.h"

typedef struct zone_change {
  int64_t at_s;     /* seconds since 1970, UTC */
  int32_t offset_s; /* local time minus UTC from then on */
} zone_change;

typedef struct zone {
  zone_change *changes; /* ascending; each one really changes the offset */
  size_t count;
  int32_t first_offset_s; /* before the first change */
} zone;

/* A stretch of time with one offset. */
typedef struct zone_span {
  int64_t start_s, end_s; /* UTC, the end excluded; INT64_MIN and INT64_MAX where there is none */
  int32_t offset_s;
  int32_t previous_offset_s; /* of the span before; the same at the first */
} zone_span;

/* Loads "Europe/Brussels"; NULL means UTC. Reads a file: at start, not on a hot path. PURLIN_INVALID for an unknown name,
 * PURLIN_INTERNAL for a file that cannot be understood; `why` gets the message. Owned: zone_free. */
PURLIN_CHECKED purlin_status zone_load(const char *name, zone *out, buffer *why);
/* The same from the bytes of a TZif file. */
PURLIN_CHECKED purlin_status zone_read(const void *data, size_t size, zone *out, buffer *why);
void zone_free(zone *z);

zone_span zone_span_at(const zone *z, int64_t at_s);

/* Appends the changes of a POSIX TZ rule ("CET-1CEST,M3.5.0,M10.5.0/3") after the last one of the table. */
PURLIN_CHECKED bool zone_append_rule(zone *z, const char *rule, size_t size);

/* Days since 1970-01-01 of a date of the Gregorian calendar, and back. Month and day begin at 1. */
int64_t zone_days_from_date(int64_t year, unsigned month, unsigned day);
void zone_date_from_days(int64_t days, int64_t *year, unsigned *month, unsigned *day);
unsigned zone_days_of_month(int64_t year, unsigned month);

#endif
