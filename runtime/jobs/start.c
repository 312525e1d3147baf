/* start.c: the queue's start, its chores and its end. */
#include "jobs/internal.h"

#include "db/db.h"
#include "observe/log.h"

#define SWEEP_EVERY_MS UINT64_C(3600000)
#define DRAIN_LOOK_MS 10u
#define AFTER_CANCEL_MS 10000u /* for attempts to end that were cancelled at the end of the grace */

jobs_node node;

void jobs_options_default(jobs_options *options) {
  *options = (jobs_options){
      .concurrency = 64, .lease_ms = 30000, .poll_ms = 500, .batch = JOBS_MOST_IN_BATCH, .keep_hours = 7 * 24};
}

static uint64_t now_ms(void) { return purlin_ticks_ns() / 1000000u; }

/* ---- Chores: a timer and a fiber each, on loop 0 --------------------------------------------------------------------------------------- */

typedef struct chore {
  loop_timer timer;
  const char *name;
  uint32_t (*run)(purlin_ctx *ctx); /* milliseconds until the next time */
} chore;

static uint32_t keep_leases(purlin_ctx *ctx) {
  leases_keep(ctx);
  uint32_t sixth = node.options.lease_ms / 6;
  return sixth < 1000 ? sixth + 1 : 1000;
}

static uint32_t tend_cluster(purlin_ctx *ctx) {
  leases_announce(ctx);
  leases_sweep(ctx);
  jobs_count_waiting(ctx);
  uint32_t third = node.options.lease_ms / 3;
  return third < 10000 ? third + 1 : 10000;
}

static uint32_t tend_schedules(purlin_ctx *ctx) {
  static bool prepared;
  static uint64_t prepared_for;
  if (prepared_for != node.started_ms) prepared = false;
  prepared_for = node.started_ms;
  if (!prepared) prepared = schedules_prepare(ctx);
  return prepared ? schedules_run(ctx) : 1000;
}

static uint32_t forget_old(purlin_ctx *ctx) {
  jobs_sweep(ctx);
  return SWEEP_EVERY_MS;
}

static chore chores[] = {
    {.name = "jobs.leases", .run = keep_leases},
    {.name = "jobs.cluster", .run = tend_cluster},
    {.name = "jobs.schedules", .run = tend_schedules},
    {.name = "jobs.sweep", .run = forget_old},
};
#define CHORE_COUNT (sizeof chores / sizeof chores[0])

static void on_chore(loop_timer *timer);

static void run_chore(purlin_ctx *ctx, void *argument) {
  chore *c = argument;
  db_use_reserve(ctx);
  uint32_t wait_ms = c->run(ctx);
  if (atomic_load(&node.started)) loop_timer_start(loop_at(0), &c->timer, wait_ms, on_chore);
  atomic_fetch_sub(&node.active, 1);
}

static void start_chore(chore *c) {
  atomic_fetch_add(&node.active, 1);
  if (context_start("purlin", c->name, run_chore, c) == PURLIN_OK) return;
  atomic_fetch_sub(&node.active, 1);
  loop_timer_start(loop_at(0), &c->timer, 1000, on_chore);
}

static void on_chore(loop_timer *timer) { start_chore((chore *)(void *)((char *)timer - offsetof(chore, timer))); }

static void start_chores(void *argument) {
  (void)argument;
  for (size_t i = 0; i < CHORE_COUNT; i++) start_chore(&chores[i]);
}

/* ---- Start ------------------------------------------------------------------------------------------------------------------------------- */

purlin_status jobs_start(const jobs_options *options) {
  static loop_post_item begin = {.call = start_chores};
  node.options = *options;
  if (node.options.batch == 0 || node.options.batch > JOBS_MOST_IN_BATCH) node.options.batch = JOBS_MOST_IN_BATCH;
  if (node.options.concurrency == 0) node.options.concurrency = 1;
  if (node.options.lease_ms < 100) node.options.lease_ms = 100;
  if (node.options.poll_ms == 0) node.options.poll_ms = 500;
  if (node.options.keep_hours == 0) node.options.keep_hours = 7 * 24;
  node.started_ms = now_ms();
  node_new_owner(node.owner);
  purlin_status status = jobs_metrics_start();
  if (status != PURLIN_OK) return status;
  atomic_store(&node.draining, false);
  atomic_store(&node.started, true);
  if (!claimers_start()) return PURLIN_UNAVAILABLE;
  loop_post(loop_at(0), &begin);
  return PURLIN_OK;
}

/* ---- Drain: on loop 0 ------------------------------------------------------------------------------------------------------------------------ */

static struct {
  loop_timer timer;
  uint64_t cancel_at_ms, give_up_at_ms;
  bool cancelled;
  void (*done)(void *argument);
  void *argument;
} drain;

static void run_leave(purlin_ctx *ctx, void *argument) {
  (void)argument;
  db_use_reserve(ctx);
  context_set_deadline(ctx, 2000);
  leases_leave(ctx);
  drain.done(drain.argument);
}

static void finish_drain(void) {
  if (context_start("purlin", "jobs.leave", run_leave, NULL) != PURLIN_OK) drain.done(drain.argument);
}

static void on_drain(loop_timer *timer) {
  uint64_t now = now_ms();
  size_t running = atomic_load(&node.running);
  if (running > 0 && !drain.cancelled && now >= drain.cancel_at_ms) {
    log_write(PURLIN_WARNING, "jobs", "%zu jobs still run: they are cancelled, and other nodes go on with them", running);
    running_stop_all(STOP_DRAIN, false);
    drain.cancelled = true;
  }
  bool over = running == 0;
  if (!over && now >= drain.give_up_at_ms) {
    log_write(PURLIN_ERROR, "jobs", "%zu jobs do not stop: their leases will run out", running);
    over = true;
  }
  if (over && atomic_load(&node.started)) { /* the claimers have yet to write down what is done */
    if (claimers_are_idle() || now >= drain.give_up_at_ms) {
      atomic_store(&node.started, false);
      for (size_t i = 0; i < CHORE_COUNT; i++) loop_timer_stop(&chores[i].timer);
    }
    claimers_poke();
  } else if (over && (claimers_are_idle() || now >= drain.give_up_at_ms)) {
    finish_drain();
    return;
  }
  loop_timer_start(loop_at(0), timer, DRAIN_LOOK_MS, on_drain);
}

void jobs_drain(uint32_t grace_ms, void (*done)(void *argument), void *argument) {
  if (!atomic_load(&node.started)) {
    done(argument);
    return;
  }
  drain.done = done;
  drain.argument = argument;
  drain.cancelled = false;
  drain.cancel_at_ms = now_ms() + grace_ms;
  drain.give_up_at_ms = drain.cancel_at_ms + AFTER_CANCEL_MS;
  atomic_store(&node.draining, true);
  running_stop_all(STOP_DRAIN, true); /* they go on where they are after the restart: nothing is won by waiting */
  claimers_poke();
  loop_timer_start(loop_at(0), &drain.timer, DRAIN_LOOK_MS, on_drain);
}
