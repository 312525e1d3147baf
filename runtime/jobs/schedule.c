/* schedule.c: due schedules become jobs. The row of a schedule tells when it is due next; whoever locks it when it is due
 * enqueues the job and moves the row on in one transaction, so it fires once in a cluster. */
#include "jobs/internal.h"

#include "db/db.h"

#include <string.h>

#define MOST_WAIT_MS 10000u
#define LATE_US INT64_C(60000000) /* a time that is further back was missed, not just seen late */

PURLIN_COUNTER(schedules_fired_total, "Times that schedules fired, or were missed", "schedule, outcome");

typedef struct schedule_row {
  const char *expression, *time_zone, *job;
  purlin_time next_at, clock;
} schedule_row;
PURLIN_SCHEMA(schedule_row, "A schedule as stored",
    PURLIN_REQUIRED(expression, "Cron"),
    PURLIN_REQUIRED(time_zone, "Zone"),
    PURLIN_REQUIRED(job, "Job"),
    PURLIN_OPTIONAL(next_at, "Due"),
    PURLIN_REQUIRED(clock, "The database's time"));

typedef struct clock_row {
  purlin_time clock;
} clock_row;
PURLIN_SCHEMA(clock_row, "A time", PURLIN_REQUIRED(clock, "The database's time"));

static purlin_time next_time(const job_schedule *schedule, purlin_time after) {
  purlin_time next = {0};
  if (!cron_next(schedule->when, after.unix_us, &next.unix_us)) next.unix_us = 0;
  return next;
}

/* ---- At the start --------------------------------------------------------------------------------------------------------------------- */

static bool is_sound(purlin_ctx *ctx, const job_schedule *schedule) {
  const job_kind *kind = job_kind_find(schedule->job);
  if (kind == NULL) {
    purlin_log(ctx, PURLIN_ERROR, "the schedule %s never fires: there is no job '%s'", schedule->name, schedule->job);
    return false;
  }
  void *in = purlin_alloc(ctx, kind->schema->struct_size);
  if (in != NULL && purlin_decode(ctx, kind->schema, schedule->payload, strlen(schedule->payload), in) == PURLIN_OK)
    return true;
  purlin_log(ctx, PURLIN_ERROR, "the schedule %s never fires: its payload does not fit the job '%s': %s %s", schedule->name,
             schedule->job, ctx->field_count > 0 ? ctx->fields[0].field : "",
             ctx->field_count > 0 ? ctx->fields[0].message : purlin_failure(ctx));
  purlin_clear_failure(ctx);
  return false;
}

static purlin_status insert_row(purlin_ctx *ctx, const job_schedule *schedule) {
  clock_row now;
  purlin_status status = purlin_db_row(ctx, clock_row, &now, "SELECT NOW(6) AS clock");
  if (status != PURLIN_OK) return status;
  return purlin_db_run(
      ctx, "INSERT IGNORE INTO purlin_schedules (name, expression, time_zone, job, next_at) VALUES (?, ?, ?, ?, ?)",
      schedule->name, schedule->expression, schedule->time_zone, schedule->job, next_time(schedule, now.clock));
}

static purlin_status prepare(purlin_ctx *ctx, job_schedule *schedule) {
  schedule_row row = {0};
  purlin_status status = purlin_db_row(
      ctx, schedule_row, &row,
      "SELECT expression, time_zone, job, next_at, NOW(6) AS clock FROM purlin_schedules WHERE name = ?", schedule->name);
  if (status == PURLIN_NOT_FOUND) return insert_row(ctx, schedule);
  if (status != PURLIN_OK) return status;
  bool same = strcmp(row.expression, schedule->expression) == 0 && strcmp(row.time_zone, schedule->time_zone) == 0;
  if (same && strcmp(row.job, schedule->job) == 0 && row.next_at.unix_us != 0) return PURLIN_OK;
  return purlin_db_run(
      ctx, "UPDATE purlin_schedules SET expression = ?, time_zone = ?, job = ?, next_at = ? WHERE name = ?",
      schedule->expression, schedule->time_zone, schedule->job, next_time(schedule, row.clock), schedule->name);
}

bool schedules_prepare(purlin_ctx *ctx) {
  for (job_schedule *schedule = job_schedules_first(); schedule != NULL; schedule = schedule->next) {
    schedule->sound = is_sound(ctx, schedule);
    purlin_status status = schedule->sound ? prepare(ctx, schedule) : PURLIN_OK;
    if (status == PURLIN_OK) continue;
    purlin_log(ctx, PURLIN_WARNING, "the schedule %s could not be prepared: %s", schedule->name, purlin_failure(ctx));
    purlin_clear_failure(ctx);
    return false;
  }
  return true;
}

/* ---- Firing ------------------------------------------------------------------------------------------------------------------------------ */

typedef struct due_row {
  const char *name;
  purlin_time next_at, clock;
} due_row;
PURLIN_SCHEMA(due_row, "When a schedule is due",
    PURLIN_REQUIRED(name, "Schedule"),
    PURLIN_REQUIRED(next_at, "Due"),
    PURLIN_REQUIRED(clock, "The database's time"));
typedef PURLIN_LIST_OF(due_row) due_rows;

typedef struct firing {
  const job_schedule *schedule;
  const char *outcome, *id;
} firing;

static purlin_status enqueue(purlin_ctx *ctx, firing *f, const due_row *row) {
  const job_schedule *schedule = f->schedule;
  const char *key = purlin_format(ctx, "schedule:%s:%lld", schedule->name, (long long)(row->next_at.unix_us / 1000000));
  const char *actor = purlin_format(ctx, "schedule:%s", schedule->name);
  if (key == NULL || actor == NULL) return PURLIN_TOO_LARGE;
  const purlin_enqueue_options options = {.unique_key = key};
  const purlin_json payload = {schedule->payload, strlen(schedule->payload)};
  f->outcome = "fired";
  return queue_insert(ctx, job_kind_find(schedule->job), "default", "default", actor, payload, &options, &f->id);
}

static purlin_status fire_body(purlin_ctx *ctx, void *argument) {
  firing *f = argument;
  due_row row = {0};
  f->outcome = NULL;
  f->id = NULL;
  purlin_status status = purlin_db_row(ctx, due_row, &row,
                                       "SELECT name, next_at, NOW(6) AS clock FROM purlin_schedules "
                                       "WHERE name = ? AND next_at <= NOW(6) FOR UPDATE SKIP LOCKED",
                                       f->schedule->name);
  if (status == PURLIN_NOT_FOUND) return PURLIN_OK; /* another node was there first */
  if (status != PURLIN_OK) return status;
  bool missed = row.clock.unix_us - row.next_at.unix_us > LATE_US;
  if (missed && !f->schedule->catch_up) f->outcome = "missed";
  else status = enqueue(ctx, f, &row);
  if (status != PURLIN_OK) return status;
  return purlin_db_run(
      ctx,
      "UPDATE purlin_schedules SET next_at = ?, last_at = IF(? IS NULL, last_at, NOW(6)), last_job = IFNULL(?, last_job) "
      "WHERE name = ?",
      next_time(f->schedule, row.clock), f->id, f->id, f->schedule->name);
}

static void fire(purlin_ctx *ctx, const job_schedule *schedule) {
  firing f = {.schedule = schedule};
  purlin_status status = purlin_transaction(ctx, fire_body, &f);
  if (status != PURLIN_OK) {
    purlin_log(ctx, PURLIN_WARNING, "the schedule %s could not fire: %s", schedule->name, purlin_failure(ctx));
    purlin_clear_failure(ctx);
  } else if (f.outcome != NULL) {
    purlin_count(schedules_fired_total, 1, schedule->name, f.outcome);
  }
}

static const job_schedule *sound_schedule(const char *name) {
  for (const job_schedule *schedule = job_schedules_first(); schedule != NULL; schedule = schedule->next)
    if (schedule->sound && strcmp(schedule->name, name) == 0) return schedule;
  return NULL;
}

uint32_t schedules_run(purlin_ctx *ctx) {
  if (job_schedules_first() == NULL) return MOST_WAIT_MS;
  due_rows rows;
  purlin_status status = purlin_db_list(ctx, due_row, &rows,
                                        "SELECT name, next_at, NOW(6) AS clock FROM purlin_schedules "
                                        "WHERE next_at <= NOW(6) + INTERVAL 10 SECOND ORDER BY next_at");
  if (status != PURLIN_OK) {
    purlin_log(ctx, PURLIN_WARNING, "schedules could not be read: %s", purlin_failure(ctx));
    return 1000;
  }
  int64_t soonest_us = (int64_t)MOST_WAIT_MS * 1000;
  for (size_t i = 0; i < rows.count; i++) {
    const job_schedule *schedule = sound_schedule(rows.items[i].name);
    if (schedule == NULL) continue;
    int64_t left_us = rows.items[i].next_at.unix_us - rows.items[i].clock.unix_us;
    if (left_us <= 0) {
      fire(ctx, schedule);
      left_us = 0;
    }
    if (left_us < soonest_us) soonest_us = left_us;
  }
  return (uint32_t)(soonest_us / 1000) + (soonest_us > 0 ? 1 : 20); /* after firing: soon, for the next time */
}
