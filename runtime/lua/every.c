/* every.c: purlin.every("15 3 * * *", "nightly", function() ... end): functions that come round, once in a cluster each time.
 *
 * A row of lua_schedules tells when a function is due next. Whichever server locks the row when it is due enqueues a job and moves the
 * row on in one transaction; the job calls the function, on whichever server claims it. While that job waits or runs, no second one
 * is made. All of this happens on one loop, in one fiber at a time, which holds no connection while it waits. */
#include "access/access.h"
#include "jobs/jobs.h"
#include "lua/generation.h"
#include "lua/host.h"
#include "observe/log.h"
#include <purlin/database.h>
#include <purlin/job.h>
#include <purlin/metric.h>

#include <stdlib.h>
#include <string.h>

PURLIN_MIGRATION(lua_0001, "lua_0001_schedules",
                 "CREATE TABLE lua_schedules (\n"
                 "  name       VARCHAR(400) NOT NULL PRIMARY KEY COMMENT 'FILE:NAME',\n"
                 "  expression VARCHAR(250) NOT NULL,\n"
                 "  time_zone  VARCHAR(64)  NOT NULL,\n"
                 "  next_at    DATETIME(6)  NULL\n"
                 ") CHARACTER SET utf8mb4;\n")

PURLIN_COUNTER(lua_schedules_total, "Times that functions given to purlin.every were due, by outcome", "script, outcome");

enum { MOST_WAIT_MS = 10000, RETRY_MS = 1000, MOST_ATTEMPTS = 3 };
#define LATE_US INT64_C(60000000) /* a time that is further back was missed, not just seen late */

/* What some generation had; kept until the end, since a fiber may be busy with it whenever a script changes. */
typedef struct periodic {
  char *key, *file, *name, *actor, *expression, *time_zone;
  cron *when;
  bool wanted, stored;
  struct periodic *next;
} periodic;

static periodic *periodics;
static struct {
  loop *home; /* where all of this happens */
  loop_timer timer;
  bool busy, again, stopped;
} round_trip;

/* ---- The job ------------------------------------------------------------------------------------------------------------------- */

typedef struct periodic_call {
  const char *file, *name;
  purlin_time due;
} periodic_call;
PURLIN_SCHEMA(periodic_call, "A function that is due",
    PURLIN_REQUIRED(file, "The script"),
    PURLIN_REQUIRED(name, "The name that it gave to purlin.every"),
    PURLIN_REQUIRED(due, "The time that it is due"));

typedef struct periodic_run {
  int function;
  const periodic_call *call;
} periodic_run;

static int run_periodic(lua_State *L) {
  const periodic_run *run = lua_touserdata(L, 1);
  lua_rawgeti(L, LUA_REGISTRYINDEX, run->function);
  lua_createtable(L, 0, 2);
  lua_pushstring(L, run->call->name);
  lua_setfield(L, -2, "name");
  lua_pushnumber(L, (lua_Number)run->call->due.unix_us / 1e6);
  lua_setfield(L, -2, "due");
  lua_call(L, 1, 0);
  return 0;
}

PURLIN_JOB(call_periodic, periodic_call, .summary = "Calls what a script gave to purlin.every", .max_attempts = MOST_ATTEMPTS) {
  found_entry found;
  if (!generation_entry(in->file, ENTRY_PERIODIC, in->name, &found)) {
    purlin_log(ctx, PURLIN_INFO, "%s: '%s' no longer comes round", in->file, in->name);
    return PURLIN_OK;
  }
  periodic_run run = {found.function, in};
  return run_script(ctx, &(run_call){.state = found.state,
                                     .name = found.entry->title,
                                     .kind = "every",
                                     .timeout_ms = script_settings()->timeout_ms,
                                     .body = run_periodic,
                                     .argument = &run});
}

/* ---- Rows -------------------------------------------------------------------------------------------------------------------------- */

typedef struct due_row {
  const char *name;
  purlin_time next_at, clock;
} due_row;
PURLIN_SCHEMA(due_row, "A function and when it is due",
    PURLIN_REQUIRED(name, "FILE:NAME"),
    PURLIN_REQUIRED(next_at, "Due"),
    PURLIN_REQUIRED(clock, "The database's time"));
typedef struct due_rows {
  PURLIN_LIST_OF(due_row);
} due_rows;
typedef struct clock_row {
  purlin_time clock;
} clock_row;
PURLIN_SCHEMA(clock_row, "A time", PURLIN_REQUIRED(clock, "The database's time"));

static purlin_time next_time(const periodic *p, purlin_time after) {
  purlin_time next = {0};
  if (!cron_next(p->when, after.unix_us, &next.unix_us)) next.unix_us = 0;
  return next;
}

static purlin_status store(purlin_ctx *ctx, periodic *p) {
  clock_row now;
  purlin_status status = purlin_db_row(ctx, clock_row, &now, "SELECT NOW(6) AS clock");
  if (status == PURLIN_OK)
    status = purlin_db_run(
        ctx,
        "INSERT INTO lua_schedules (name, expression, time_zone, next_at) VALUES (?, ?, ?, ?)"
        " ON DUPLICATE KEY UPDATE"
        "  next_at = IF(expression = VALUES(expression) AND time_zone = VALUES(time_zone), next_at, VALUES(next_at)),"
        "  expression = VALUES(expression), time_zone = VALUES(time_zone)",
        p->key, p->expression, p->time_zone, next_time(p, now.clock));
  p->stored = status == PURLIN_OK;
  return status;
}

typedef struct firing {
  const periodic *p;
  const char *outcome;
} firing;

static purlin_status enqueue(purlin_ctx *ctx, const periodic *p, purlin_time due) {
  const periodic_call call = {p->file, p->name, due};
  const purlin_enqueue_options options = {.unique_key = p->key};
  const char *id;
  purlin_json payload;
  purlin_status status = purlin_encode(ctx, periodic_call_schema(), &call, &payload);
  return status == PURLIN_OK ? jobs_enqueue_json(ctx, "purlin.call_periodic", payload, &options, &id) : status;
}

static purlin_status fire_body(purlin_ctx *ctx, void *argument) {
  firing *f = argument;
  due_row row = {0};
  f->outcome = NULL;
  purlin_status status = purlin_db_row(ctx, due_row, &row,
                                       "SELECT name, next_at, NOW(6) AS clock FROM lua_schedules"
                                       " WHERE name = ? AND next_at <= NOW(6) FOR UPDATE SKIP LOCKED",
                                       f->p->key);
  if (status == PURLIN_NOT_FOUND) return PURLIN_OK; /* another server was there first */
  if (status != PURLIN_OK) return status;
  bool missed = row.clock.unix_us - row.next_at.unix_us > LATE_US;
  f->outcome = missed ? "missed" : "due";
  if (!missed) status = enqueue(ctx, f->p, row.next_at);
  if (status != PURLIN_OK) return status;
  return purlin_db_run(ctx, "UPDATE lua_schedules SET next_at = ? WHERE name = ?", next_time(f->p, row.clock), f->p->key);
}

static purlin_status fire(purlin_ctx *ctx, const periodic *p) {
  firing f = {p, NULL};
  access_identify(ctx, p->actor, "default", "default");
  purlin_status status = purlin_transaction(ctx, fire_body, &f);
  access_identify(ctx, "system", "default", "default");
  if (status == PURLIN_OK && f.outcome != NULL) purlin_count(lua_schedules_total, 1, p->file, f.outcome);
  return status;
}

/* ---- Coming round --------------------------------------------------------------------------------------------------------------------- */

static const periodic *find(const char *key) {
  const periodic *p = periodics;
  while (p != NULL && (!p->wanted || strcmp(p->key, key) != 0)) p = p->next;
  return p;
}

/* Stores what is new, fires what is due; when to come again. */
static purlin_status look(purlin_ctx *ctx, uint32_t *wait_ms) {
  purlin_status status = PURLIN_OK;
  for (periodic *p = periodics; p != NULL && status == PURLIN_OK; p = p->next)
    if (p->wanted && !p->stored) status = store(ctx, p);
  if (status != PURLIN_OK) return status;
  due_rows rows = {0};
  status = purlin_db_list(ctx, due_row, &rows,
                          "SELECT name, next_at, NOW(6) AS clock FROM lua_schedules"
                          " WHERE next_at <= NOW(6) + INTERVAL 10 SECOND ORDER BY next_at");
  int64_t soonest_us = (int64_t)MOST_WAIT_MS * 1000;
  for (size_t i = 0; i < rows.count && status == PURLIN_OK && !round_trip.stopped; i++) {
    const periodic *p = find(rows.items[i].name);
    if (p == NULL) continue;
    int64_t left_us = rows.items[i].next_at.unix_us - rows.items[i].clock.unix_us;
    if (left_us <= 0) {
      status = fire(ctx, p);
      left_us = 0; /* and look again at once, for its next time */
    }
    if (left_us < soonest_us) soonest_us = left_us;
  }
  uint32_t rounded_ms = (uint32_t)(soonest_us / 1000);
  *wait_ms = rounded_ms + (soonest_us > 0 ? 1 : 20);
  return status;
}

static bool any_wanted(void) {
  const periodic *p = periodics;
  while (p != NULL && !p->wanted) p = p->next;
  return p != NULL;
}

static void on_time(loop_timer *timer);

static void come_round(purlin_ctx *ctx, void *unused) {
  (void)unused;
  uint32_t wait_ms = RETRY_MS;
  access_identify(ctx, "system", "default", "default");
  round_trip.again = false;
  if (look(ctx, &wait_ms) != PURLIN_OK) {
    purlin_log(ctx, PURLIN_WARNING, "what purlin.every was given could not be looked at: %s", purlin_failure(ctx));
    wait_ms = RETRY_MS;
  }
  round_trip.busy = false;
  if (!round_trip.stopped && any_wanted())
    loop_timer_start(round_trip.home, &round_trip.timer, round_trip.again ? 0 : wait_ms, on_time);
}

static void on_time(loop_timer *timer) {
  round_trip.busy = true;
  if (context_start("lua", "what comes round", come_round, NULL) == PURLIN_OK) return;
  round_trip.busy = false; /* no fiber is free */
  loop_timer_start(round_trip.home, timer, RETRY_MS, on_time);
}

/* ---- In line with the scripts ------------------------------------------------------------------------------------------------------------ */

static void free_periodic(periodic *p) {
  if (p == NULL) return;
  free(p->key);
  free(p->file);
  free(p->name);
  free(p->actor);
  free(p->expression);
  free(p->time_zone);
  if (p->when != NULL) cron_free(p->when);
  free(p);
}

static periodic *make(const script *s, const script_entry *entry) {
  periodic *p = calloc(1, sizeof *p);
  if (p == NULL) return NULL;
  buffer key = {0}, why = {0};
  buffer_format(&key, "%s:%s", s->file, entry->name);
  p->key = strdup(buffer_end(&key));
  p->file = strdup(s->file);
  p->name = strdup(entry->name);
  p->actor = strdup(s->actor);
  p->expression = strdup(entry->expression);
  p->time_zone = strdup(entry->time_zone);
  bool made = !key.failed && p->key != NULL && p->file != NULL && p->name != NULL && p->actor != NULL &&
              p->expression != NULL && p->time_zone != NULL &&
              cron_parse(p->expression, p->time_zone, &p->when, &why) == PURLIN_OK;
  buffer_free(&key);
  buffer_free(&why);
  if (made) return p;
  free_periodic(p);
  return NULL;
}

static bool is_entry(const periodic *p, const script *s, const script_entry *entry) {
  return strcmp(p->file, s->file) == 0 && strcmp(p->name, entry->name) == 0 &&
         strcmp(p->expression, entry->expression) == 0 && strcmp(p->time_zone, entry->time_zone) == 0;
}

static void want(const script *s, const script_entry *entry) {
  periodic *p = periodics;
  while (p != NULL && !is_entry(p, s, entry)) p = p->next;
  if (p == NULL) {
    p = make(s, entry);
    if (p == NULL) {
      log_write(PURLIN_ERROR, "lua", "%s:%d: no memory for what comes round", s->file, entry->line);
      return;
    }
    p->next = periodics;
    periodics = p;
  }
  p->wanted = true;
}

void periodics_follow(const generation *g) {
  for (periodic *p = periodics; p != NULL; p = p->next) p->wanted = p->stored = false;
  for (size_t i = 0; i < g->count; i++)
    for (size_t j = 0; j < g->scripts[i]->entry_count; j++)
      if (g->scripts[i]->entries[j].kind == ENTRY_PERIODIC) want(g->scripts[i], &g->scripts[i]->entries[j]);
  if (round_trip.home == NULL) round_trip.home = loop_current();
  if (round_trip.home != loop_current() || round_trip.stopped) return; /* scripts are always loaded on one loop */
  round_trip.again = true;
  if (round_trip.busy) return;
  loop_timer_stop(&round_trip.timer);
  if (any_wanted()) loop_timer_start(round_trip.home, &round_trip.timer, 0, on_time);
}

void script_rest(purlin_ctx *ctx) {
  round_trip.stopped = true;
  if (round_trip.home == loop_current()) loop_timer_stop(&round_trip.timer);
  while (round_trip.busy && purlin_sleep(ctx, 1) == PURLIN_OK) {}
}

void periodics_end(void) {
  while (periodics != NULL) {
    periodic *next = periodics->next;
    free_periodic(periodics);
    periodics = next;
  }
  memset(&round_trip, 0, sizeof round_trip);
}
