#include "events/internal.h"
#include "observe/log.h"
#include <string.h>

static events_identify *identify;
static bool stopping, draining;
static void (*drained)(void *argument);
static void *drained_argument;

void events_set_identify(events_identify *how) { identify = how; }
bool events_stopping(void) { return stopping; }

void events_assume(purlin_ctx *ctx, const char *actor, const char *workspace, const char *project) {
  if (identify) identify(ctx, actor, workspace, project);
}

purlin_status events_start(void) {
  stopping = false;
  purlin_status status = keeper_start();
  if (status == PURLIN_OK) status = sequencer_start();
  return status == PURLIN_OK ? listeners_start() : status;
}

void events_fiber_ended(void) {
  if (!draining || sequencer_running() || listeners_running() || keeper_running()) return;
  draining = false;
  drained(drained_argument);
}

void events_drain(void (*done)(void *argument), void *argument) {
  stopping = true;
  draining = true;
  drained = done;
  drained_argument = argument;
  sequencer_stop();
  listeners_stop();
  keeper_stop();
  events_fiber_ended(); /* nothing may be running */
}

/* ---- Sleeping until rung --------------------------------------------------------------------------------------------------------------------- */

static void wake(event_sleeper *sleeper) {
  sleeper->asleep = false;
  loop_timer_stop(&sleeper->timer);
  fiber_wake(sleeper->who);
}

static void on_time(loop_timer *timer) {
  event_sleeper *sleeper = (event_sleeper *)(void *)((char *)timer - offsetof(event_sleeper, timer));
  wake(sleeper);
}

void event_sleep(event_sleeper *sleeper, uint32_t at_most_ms) {
  if (sleeper->rung) { /* between the look and the sleep */
    sleeper->rung = false;
    return;
  }
  sleeper->who = fiber_current();
  sleeper->asleep = true;
  loop_timer_start(loop_at(0), &sleeper->timer, at_most_ms, on_time);
  fiber_park();
  sleeper->rung = false;
}

void event_ring(event_sleeper *sleeper) {
  if (sleeper->asleep) wake(sleeper);
  else sleeper->rung = true;
}

bool event_wait(event_sleeper *sleeper, uint32_t ms, const bool *until) {
  uint64_t end_ns = purlin_ticks_ns() + (uint64_t)ms * 1000000;
  bool rung = false;
  for (;;) {
    uint64_t now_ns = purlin_ticks_ns();
    if (stopping || *until || now_ns >= end_ns) break;
    event_sleep(sleeper, (uint32_t)((end_ns - now_ns) / 1000000) + 1);
    rung = true; /* or the time is over: looking once more costs little */
  }
  sleeper->rung = rung;
  return !stopping && !*until;
}

/* ---- The tables -------------------------------------------------------------------------------------------------------------------------------- */

PURLIN_MIGRATION(events_0001, "events_0001_outbox",
                 "CREATE TABLE events_outbox (\n"
                 "  position  BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,\n"
                 "  id        VARCHAR(64)  NOT NULL,\n"
                 "  name      VARCHAR(250) NOT NULL,\n"
                 "  event_key VARCHAR(500) NOT NULL,\n"
                 "  workspace VARCHAR(64)  NOT NULL,\n"
                 "  project   VARCHAR(64)  NOT NULL,\n"
                 "  actor     VARCHAR(250) NOT NULL,\n"
                 "  trace_id  VARCHAR(64)  NOT NULL,\n"
                 "  at        DATETIME(6)  NOT NULL,\n"
                 "  payload   MEDIUMTEXT   NOT NULL\n"
                 ") CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;\n"
                 "CREATE TABLE events_log (\n"
                 "  sequence  BIGINT       NOT NULL PRIMARY KEY,\n"
                 "  id        VARCHAR(64)  NOT NULL,\n"
                 "  name      VARCHAR(250) NOT NULL,\n"
                 "  event_key VARCHAR(500) NOT NULL,\n"
                 "  workspace VARCHAR(64)  NOT NULL,\n"
                 "  project   VARCHAR(64)  NOT NULL,\n"
                 "  actor     VARCHAR(250) NOT NULL,\n"
                 "  trace_id  VARCHAR(64)  NOT NULL,\n"
                 "  at        DATETIME(6)  NOT NULL,\n"
                 "  payload   MEDIUMTEXT   NOT NULL,\n"
                 "  KEY by_name (name, sequence),\n"
                 "  KEY by_workspace (workspace, sequence)\n"
                 ") CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;\n"
                 "CREATE TABLE events_sequencer (\n"
                 "  id   TINYINT NOT NULL PRIMARY KEY,\n"
                 "  next BIGINT  NOT NULL\n"
                 ");\n"
                 "INSERT INTO events_sequencer (id, next) VALUES (1, 1);\n"
                 "CREATE TABLE events_cursors (\n"
                 "  listener    VARCHAR(500) NOT NULL PRIMARY KEY,\n"
                 "  position    BIGINT       NOT NULL,\n"
                 "  lease_owner VARCHAR(64)  NULL,\n"
                 "  lease_until DATETIME(6)  NULL\n"
                 ") CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;\n"
                 "CREATE TABLE events_dead (\n"
                 "  id        VARCHAR(64)  NOT NULL PRIMARY KEY,\n"
                 "  listener  VARCHAR(500) NOT NULL,\n"
                 "  sequence  BIGINT       NOT NULL,\n"
                 "  workspace VARCHAR(64)  NOT NULL,\n"
                 "  error     VARCHAR(2000) NOT NULL,\n"
                 "  at        DATETIME(6)  NOT NULL\n"
                 ") CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;\n")

PURLIN_MIGRATION(
    events_0002, "events_0002_redrive",
    "ALTER TABLE events_dead ADD COLUMN redrive BOOLEAN NOT NULL DEFAULT FALSE, ADD KEY by_listener (listener, redrive);\n"
    "ALTER TABLE events_log ADD KEY by_time (at);\n")

const purlin_migration *const events_migrations[] = {&events_0001_migration, &events_0002_migration};
const size_t events_migration_count = sizeof events_migrations / sizeof events_migrations[0];
