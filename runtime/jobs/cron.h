/* cron.h: when a schedule is due: five fields (lists, ranges, steps, names), @hourly and its like, "@every 30s".
 * Times are UTC in microseconds since 1970; the fields are local times of a zone. cron.c says what happens when its clocks jump. */
#ifndef PURLIN_JOBS_CRON_H
#define PURLIN_JOBS_CRON_H

#include "jobs/zone.h"

typedef struct cron cron;

/* PURLIN_INVALID, with the reason in `why`, for a malformed expression, one that never happens, and an unknown zone; a NULL
 * zone is UTC. Reads the zone's file: at start. Owned: cron_free. Immutable: any thread may ask it. */
PURLIN_CHECKED purlin_status cron_parse(const char *expression, const char *time_zone, cron **out, buffer *why);
/* The first time after `after_us` that matches; false when there is none in 5 years. */
bool cron_next(const cron *c, int64_t after_us, int64_t *next_us);
void cron_free(cron *c);

#endif
