/* claim.c: takes due jobs from the queue, on every loop, and starts them there.
 *
 * A look finds the heads of the queue: for each workspace, kind and urgency that waits, when its first job is due (one seek each
 * in the index `claim`). A claim takes the next few of one of them in one transaction, which commits before any of them starts;
 * rows that others hold are skipped, never waited for.
 *
 * Workspaces take turns, so that a hundred thousand jobs of one tenant, however urgent it calls them, do not hold up one of
 * another; free slots are shared among those that wait. Within a workspace the more urgent go first, and within one urgency the
 * kinds take turns. A workspace may have a limit of jobs at once, and so may a kind: what has reached it waits, the others go on.
 *
 * Jobs that are pure and have succeeded are deleted in the transaction of the next claim: one flush to disk for both. */
#include "jobs/internal.h"

#include "db/db.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_GROUPS 256u      /* that one look sees; the next one begins after the workspace that was served last */
#define MOST_OF_WORKSPACE 64u /* so that no tenant fills a look with urgencies of its own */
#define AFTER_ALL_NAMES "~"
#define SLICE_MS 20u   /* the heads are looked for anew after this time: something more urgent may have come */
#define QUICK_US 5000u /* pure jobs that take less may be claimed ahead of free slots */

static claimer *claimers;
static size_t claimer_count;

static jobs_quota *quota;

void jobs_set_quota(jobs_quota *of) { quota = of; }
bool jobs_quota_of(const char *workspace, int64_t *at_once) { return quota != NULL && quota(workspace, at_once); }

static uint64_t now_ms(void) { return purlin_ticks_ns() / 1000000u; }

/* ---- Slots: how many attempts may run on this node --------------------------------------------------------------------------- */

/* Takes up to `most`; each is given back by the end of an attempt, or by slots_return. */
static size_t slots_take(size_t most) {
  size_t used = atomic_load(&node.running), got;
  do {
    size_t left = used < node.options.concurrency ? node.options.concurrency - used : 0;
    got = left < most ? left : most;
  } while (got > 0 && !atomic_compare_exchange_weak(&node.running, &used, used + got));
  return got;
}

static void slots_return(size_t count) { atomic_fetch_sub(&node.running, count); }

static bool slots_are_free(void) { return atomic_load(&node.running) < node.options.concurrency; }

/* Pure jobs that take next to no time are claimed ahead of free slots: their way through the database costs more than they do. */
static bool is_quick(const job_kind *kind) {
  return kind->pure && atomic_load_explicit(&kind->typical_us, memory_order_relaxed) < QUICK_US;
}

static void start_first(claimer *c) {
  attempt *a = c->backlog;
  c->backlog = a->queued;
  if (c->backlog == NULL) c->backlog_end = &c->backlog;
  attempt_start(a);
}

static void start_backlog(claimer *c) {
  while (c->backlog != NULL && slots_take(1) == 1) start_first(c);
}

/* ---- Looking -------------------------------------------------------------------------------------------------------------------- */

typedef struct head_row {
  const char *workspace, *name;
  int64_t urgency, due_us;
} head_row;
PURLIN_SCHEMA(head_row, "The first job of a workspace, kind and urgency",
    PURLIN_REQUIRED(workspace, "Workspace"),
    PURLIN_REQUIRED(name, "Kind"),
    PURLIN_REQUIRED(urgency, "Minus priority"),
    PURLIN_REQUIRED(due_us, "Microseconds until it is due"));

typedef struct group {
  job_kind *kind;
  const char *workspace; /* of the look's arena */
  int64_t urgency, due_us;
  bool exhausted;
} group;
typedef struct groups {
  group items[MOST_GROUPS];
  size_t count;
} groups;

static const char NEXT_HEAD[] = "SELECT workspace, name, urgency, TIMESTAMPDIFF(MICROSECOND, NOW(6), run_at) AS due_us "
                                "FROM purlin_jobs FORCE INDEX (claim) WHERE state = 0 AND (workspace > ? OR (workspace = ?"
                                " AND (name > ? OR (name = ? AND urgency > ?)))) "
                                "ORDER BY state, workspace, name, urgency, run_at, id LIMIT 1";

/* From after the workspace `from` to the last one, or with `until` to that one. Kinds that this node does not know are passed over:
 * another may know them. */
static purlin_status look_from(purlin_ctx *ctx, groups *found, const char *from, const char *until) {
  head_row at = {.workspace = from, .name = AFTER_ALL_NAMES};
  size_t of_workspace = 0;
  while (found->count < MOST_GROUPS) {
    head_row head = {0};
    purlin_status status =
        purlin_db_row(ctx, head_row, &head, NEXT_HEAD, at.workspace, at.workspace, at.name, at.name, at.urgency);
    if (status == PURLIN_NOT_FOUND) return PURLIN_OK;
    if (status != PURLIN_OK) return status;
    if (until != NULL && strcmp(head.workspace, until) > 0) return PURLIN_OK;
    if (strcmp(head.workspace, at.workspace) != 0) of_workspace = 0;
    at = head;
    job_kind *kind = job_kind_find(head.name);
    if (kind == NULL) at.urgency = INT32_MAX; /* on to the next name */
    else found->items[found->count++] = (group){kind, head.workspace, head.urgency, head.due_us, false};
    if (++of_workspace == MOST_OF_WORKSPACE) at.name = AFTER_ALL_NAMES;
  }
  return PURLIN_OK;
}

static purlin_status look(purlin_ctx *ctx, const claimer *c, groups *found) {
  found->count = 0;
  purlin_status status = look_from(ctx, found, c->last_workspace, NULL);
  return status == PURLIN_OK && *c->last_workspace != '\0' ? look_from(ctx, found, "", c->last_workspace) : status;
}

static bool is_due(const group *g) { return !g->exhausted && g->due_us <= 0; }

/* Whose turn it is: those after the one that was served last come first. */
static int compare_turns(const char *a, const char *b, const char *last) {
  bool a_after = strcmp(a, last) > 0, b_after = strcmp(b, last) > 0;
  if (a_after != b_after) return a_after ? -1 : 1;
  return strcmp(a, b);
}

static bool goes_before(const claimer *c, const group *a, const group *b) {
  int order = compare_turns(a->workspace, b->workspace, c->last_workspace);
  if (order == 0 && a->urgency != b->urgency) order = a->urgency < b->urgency ? -1 : 1;
  if (order == 0) order = compare_turns(a->kind->name, b->kind->name, c->last_name);
  return order < 0;
}

static group *choose(const claimer *c, groups *found) {
  group *best = NULL;
  for (size_t i = 0; i < found->count; i++)
    if (is_due(&found->items[i]) && (best == NULL || goes_before(c, &found->items[i], best))) best = &found->items[i];
  return best;
}

/* Workspaces with something due; what one look found of each stands together. */
static size_t count_workspaces(const groups *found) {
  size_t count = 0;
  const char *last = NULL;
  for (size_t i = 0; i < found->count; i++) {
    if (!is_due(&found->items[i]) || (last != NULL && strcmp(last, found->items[i].workspace) == 0)) continue;
    last = found->items[i].workspace;
    count++;
  }
  return count;
}

static uint64_t milliseconds_to_next(const groups *found) {
  int64_t next_us = (int64_t)node.options.poll_ms * 1000;
  for (size_t i = 0; i < found->count; i++)
    if (found->items[i].due_us > 0 && found->items[i].due_us < next_us) next_us = found->items[i].due_us;
  return (uint64_t)next_us / 1000 + 1;
}

/* ---- Claiming -------------------------------------------------------------------------------------------------------------------- */

typedef struct claimed_row {
  int64_t id, attempt, max_attempts, waited_us;
  const char *public_id, *workspace, *project, *actor, *trace_id, *payload;
} claimed_row;
PURLIN_SCHEMA(claimed_row, "A job to be run",
    PURLIN_REQUIRED(id, "Internal number"),
    PURLIN_REQUIRED(attempt, "Attempts before this"),
    PURLIN_REQUIRED(max_attempts, "Limit"),
    PURLIN_REQUIRED(waited_us, "Since it was due"),
    PURLIN_REQUIRED(public_id, "Id"),
    PURLIN_REQUIRED(workspace, "Workspace"),
    PURLIN_REQUIRED(project, "Project"),
    PURLIN_REQUIRED(actor, "Who enqueued it"),
    PURLIN_REQUIRED(trace_id, "Trace"),
    PURLIN_REQUIRED(payload, "JSON", .max_length = 1048576));

static const char CLAIM_SELECT[] =
    "SELECT id, attempt, max_attempts, TIMESTAMPDIFF(MICROSECOND, run_at, NOW(6)) AS waited_us,"
    "  public_id, workspace, project, actor, trace_id, payload "
    "FROM purlin_jobs FORCE INDEX (claim) "
    "WHERE state = 0 AND workspace = ? AND name = ? AND urgency = ? AND run_at <= NOW(6) "
    "ORDER BY run_at, id LIMIT ? FOR UPDATE SKIP LOCKED";

static const char CLAIM_UPDATE[] =
    "UPDATE purlin_jobs FORCE INDEX (PRIMARY) SET state = 1, attempt = attempt + 1, lease_owner = ?,"
    "  lease_until = NOW(6) + INTERVAL ? MICROSECOND, started_at = NOW(6), progress = NULL, progress_text = NULL "
    "WHERE id IN (" IDS64 ")";

static const char DELETE_DONE[] = "DELETE job FROM purlin_jobs AS job FORCE INDEX (PRIMARY) WHERE job.lease_owner = ? AND "
                                  "job.state = 1 AND job.id IN (" IDS64 ")";

static const char RELEASE[] = "UPDATE purlin_jobs FORCE INDEX (PRIMARY) SET state = 0, max_attempts = max_attempts + 1, "
                              "lease_owner = NULL, lease_until = NULL "
                              "WHERE lease_owner = ? AND state = 1 AND id IN (" IDS64 ")";

typedef struct claim {
  claimer *claimer;
  const group *group; /* NULL: only write down what is done */
  size_t want;
  attempt *done;
  uint64_t began_ms;
  bool workspace_full; /* it has as many running as it may */
  PURLIN_LIST_OF(claimed_row) rows;
} claim;

/* Runs a statement over a list of attempts, in pieces. */
static purlin_status run_over(purlin_ctx *ctx, const char *sql, const attempt *list) {
  const purlin_value owner = purlin_value_text(node.owner);
  while (list != NULL) {
    int64_t ids[JOBS_MOST_IN_BATCH];
    size_t count = 0;
    for (; list != NULL && count < JOBS_MOST_IN_BATCH; list = list->queued) ids[count++] = list->id;
    purlin_status status = jobs_run_with_ids(ctx, sql, &owner, 1, ids, count);
    if (status != PURLIN_OK) return status;
  }
  return PURLIN_OK;
}

/* Whoever claims under a limit holds its gate, so that two never count the same room. */
static purlin_status hold_gate(purlin_ctx *ctx, const char *name) {
  id_row row = {0};
  purlin_status status =
      purlin_db_row(ctx, id_row, &row, "SELECT 1 AS id FROM purlin_job_gates WHERE name = ? FOR UPDATE", name);
  if (status != PURLIN_NOT_FOUND) return status;
  return purlin_db_run(ctx, "INSERT IGNORE INTO purlin_job_gates (name) VALUES (?)", name);
}

static void leave_at_most(size_t *want, int64_t limit, int64_t running) {
  size_t left = running < limit ? (size_t)(limit - running) : 0;
  if (left < *want) *want = left;
}

/* What the limit of a kind leaves: counted from the rows under a lease, while its gate is held, so that no count can leak. */
static purlin_status pass_gate(purlin_ctx *ctx, const job_kind *kind, size_t *want) {
  id_row row = {0};
  purlin_status status = hold_gate(ctx, kind->name);
  if (status == PURLIN_OK)
    status = purlin_db_row(
        ctx, id_row, &row,
        "SELECT COUNT(*) AS id FROM purlin_jobs FORCE INDEX (claim) WHERE state = 1 AND name = ? AND lease_until > NOW(6)",
        kind->name);
  if (status == PURLIN_OK) leave_at_most(want, kind->concurrency, row.id);
  return status;
}

/* The same for the quota of a workspace; no kind's name has a '/'. */
static purlin_status pass_quota(purlin_ctx *ctx, const char *workspace, size_t *want) {
  int64_t limit = 0;
  if (!jobs_quota_of(workspace, &limit)) return PURLIN_OK;
  id_row row = {0};
  const char *gate = purlin_format(ctx, "workspace/%s", workspace);
  purlin_status status = gate ? hold_gate(ctx, gate) : PURLIN_TOO_LARGE;
  if (status == PURLIN_OK) status = purlin_db_row(ctx, id_row, &row, JOBS_OF_WORKSPACE, workspace);
  if (status == PURLIN_OK) leave_at_most(want, limit, row.id);
  return status;
}

static purlin_status claim_body(purlin_ctx *ctx, void *argument) {
  claim *c = argument;
  c->rows.count = 0;
  purlin_status status = run_over(ctx, DELETE_DONE, c->done);
  if (status != PURLIN_OK || c->group == NULL) return status;
  const job_kind *kind = c->group->kind;
  size_t want = c->want;
  if (kind->concurrency > 0) status = pass_gate(ctx, kind, &want);
  if (status != PURLIN_OK || want == 0) return status;
  status = pass_quota(ctx, c->group->workspace, &want);
  c->workspace_full = want == 0;
  if (status != PURLIN_OK || want == 0) return status;
  status = purlin_db_list(ctx, claimed_row, &c->rows, CLAIM_SELECT, c->group->workspace, kind->name, c->group->urgency,
                          (int64_t)want);
  if (status != PURLIN_OK || c->rows.count == 0) return status;
  int64_t ids[JOBS_MOST_IN_BATCH];
  for (size_t i = 0; i < c->rows.count; i++) ids[i] = c->rows.items[i].id;
  const purlin_value leading[] = {purlin_value_text(node.owner), purlin_value_int((int64_t)node.options.lease_ms * 1000)};
  c->began_ms = now_ms();
  return jobs_run_with_ids(ctx, CLAIM_UPDATE, leading, 2, ids, c->rows.count);
}

static void free_list(attempt *list) {
  while (list != NULL) {
    attempt *next = list->queued;
    attempt_free(list);
    list = next;
  }
}

/* One transaction. What was done is let go only when it has committed. */
static purlin_status transact(purlin_ctx *ctx, claimer *c, claim *what) {
  what->claimer = c;
  what->done = c->done;
  c->done = NULL;
  purlin_status status = purlin_transaction(ctx, claim_body, what);
  if (status == PURLIN_OK) {
    free_list(what->done);
    return PURLIN_OK;
  }
  attempt **end = &c->done; /* others may have been added meanwhile */
  while (*end != NULL) end = &(*end)->queued;
  *end = what->done;
  return status;
}

/* ---- Starting -------------------------------------------------------------------------------------------------------------------- */

static bool fill_attempt(attempt *a, arena *memory, const claimed_row *row) {
  a->id = row->id;
  a->number = row->attempt + 1;
  a->max_attempts = row->max_attempts;
  a->waited_us = row->waited_us > 0 ? row->waited_us : 0;
  a->public_id = arena_copy(memory, row->public_id, strlen(row->public_id));
  a->workspace = arena_copy(memory, row->workspace, strlen(row->workspace));
  a->project = arena_copy(memory, row->project, strlen(row->project));
  a->actor = arena_copy(memory, row->actor, strlen(row->actor));
  a->trace_id = arena_copy(memory, row->trace_id, strlen(row->trace_id));
  a->payload.size = strlen(row->payload);
  a->payload.text = arena_copy(memory, row->payload, a->payload.size);
  return a->public_id && a->workspace && a->project && a->actor && a->trace_id && a->payload.text;
}

static void add_to_backlog(claimer *c, attempt *a) {
  a->queued = NULL;
  *c->backlog_end = a;
  c->backlog_end = &a->queued;
}

/* Makes attempts of what was claimed. Where memory is short their leases run out and they come again. */
static void take_over(claimer *c, const claim *what) {
  batch *b = calloc(1, sizeof *b);
  if (b == NULL) return;
  arena_init(&b->memory, CONTEXT_DEFAULT_LIMIT);
  for (size_t i = 0; i < what->rows.count; i++) {
    attempt *a = arena_alloc(&b->memory, sizeof *a);
    if (a == NULL || !fill_attempt(a, &b->memory, &what->rows.items[i])) break;
    a->kind = what->group->kind;
    a->claimer = c;
    a->batch = b;
    a->renewed_ms = what->began_ms;
    b->members++;
    running_add(a);
    add_to_backlog(c, a);
  }
  if (b->members > 0) return;
  arena_free(&b->memory);
  free(b);
}

static void post(claimer *c) {
  if (!atomic_exchange(&c->posted, true)) loop_post(c->loop, &c->post);
}

/* More waits than this loop takes at once: the next one may have a hand free. */
static void wake_next(const claimer *c) {
  if (claimer_count > 1) post(&claimers[(loop_index(c->loop) + 1) % claimer_count]);
}

/* The claimers of a node share one turn of the workspaces. */
static struct {
  pthread_mutex_t lock;
  char last[sizeof((claimer *)NULL)->last_workspace];
} turn = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void learn_turn(claimer *c) {
  (void)pthread_mutex_lock(&turn.lock);
  memcpy(c->last_workspace, turn.last, sizeof turn.last);
  (void)pthread_mutex_unlock(&turn.lock);
}

static group *take_next(claimer *c, groups *found) {
  (void)pthread_mutex_lock(&turn.lock);
  memcpy(c->last_workspace, turn.last, sizeof turn.last);
  group *g = choose(c, found);
  if (g != NULL) {
    (void)snprintf(turn.last, sizeof turn.last, "%s", g->workspace);
    (void)snprintf(c->last_name, sizeof c->last_name, "%s", g->kind->name);
  }
  (void)pthread_mutex_unlock(&turn.lock);
  return g;
}

/* A look that was full of what is not due yet: the next one sees others. */
static void pass_over(const groups *found) {
  if (found->count < MOST_GROUPS || count_workspaces(found) > 0) return;
  (void)pthread_mutex_lock(&turn.lock);
  (void)snprintf(turn.last, sizeof turn.last, "%s", found->items[found->count - 1].workspace);
  (void)pthread_mutex_unlock(&turn.lock);
}

static void exhaust_workspace(groups *found, const char *workspace) {
  for (size_t i = 0; i < found->count; i++)
    if (strcmp(found->items[i].workspace, workspace) == 0) found->items[i].exhausted = true;
}

/* Jobs that may run long share what is free with those of other workspaces that wait: half of a fair part each time, so that the parts
 * come out alike whoever is first. */
static size_t fair_share(const groups *found, const job_kind *kind, size_t slots) {
  if (is_quick(kind)) return node.options.batch;
  size_t waiting = count_workspaces(found);
  if (waiting < 2) return slots;
  return slots > 2 * waiting ? slots / (2 * waiting) : 1;
}

/* Claims of the next group and starts what it got. `*served` is false when all slots are taken, or nothing is left. */
static purlin_status serve(purlin_ctx *ctx, claimer *c, groups *found, bool *served) {
  size_t slots = slots_take(node.options.batch);
  group *g = slots > 0 ? take_next(c, found) : NULL;
  *served = g != NULL;
  if (g == NULL) {
    slots_return(slots);
    return PURLIN_OK;
  }
  claim what = {.group = g, .want = fair_share(found, g->kind, slots)};
  purlin_mark mark = purlin_arena_mark(ctx);
  purlin_status status = transact(ctx, c, &what);
  if (status == PURLIN_OK) {
    if (what.rows.count < what.want) g->exhausted = true;
    else wake_next(c);
    if (what.workspace_full) exhaust_workspace(found, g->workspace);
    if (what.rows.count > 0) take_over(c, &what);
  }
  purlin_arena_reset(ctx, mark);
  for (; slots > 0 && c->backlog != NULL; slots--) start_first(c);
  slots_return(slots);
  start_backlog(c);
  return status;
}

static purlin_status release_backlog(purlin_ctx *ctx, claimer *c) {
  purlin_status status = run_over(ctx, RELEASE, c->backlog);
  for (attempt *a = c->backlog; a != NULL; a = a->queued) running_remove(a);
  free_list(c->backlog);
  c->backlog = NULL;
  c->backlog_end = &c->backlog;
  return status;
}

/* One look and what follows from it. `*wait_ms`: when to look again by itself. */
static purlin_status take_turn(purlin_ctx *ctx, claimer *c, uint64_t *wait_ms) {
  claim nothing = {.group = NULL};
  *wait_ms = node.options.poll_ms;
  if (atomic_load(&node.draining)) {
    purlin_status status = c->done != NULL ? transact(ctx, c, &nothing) : PURLIN_OK;
    return status == PURLIN_OK && c->backlog != NULL ? release_backlog(ctx, c) : status;
  }
  start_backlog(c);
  if (slots_are_free()) {
    groups *found = purlin_alloc(ctx, sizeof *found);
    if (found == NULL) return PURLIN_TOO_LARGE;
    learn_turn(c);
    purlin_status status = look(ctx, c, found);
    if (status != PURLIN_OK) return status;
    pass_over(found);
    uint64_t slice_end_ms = now_ms() + SLICE_MS;
    for (bool served = true; served && c->backlog == NULL && !atomic_load(&node.draining);) {
      if (now_ms() >= slice_end_ms) {
        c->again = true;
        break;
      }
      status = serve(ctx, c, found, &served);
      if (status != PURLIN_OK) return status;
    }
    *wait_ms = milliseconds_to_next(found);
  }
  return c->done != NULL ? transact(ctx, c, &nothing) : PURLIN_OK;
}

static void on_poll(loop_timer *timer);

static void run_claimer(purlin_ctx *ctx, void *argument) {
  claimer *c = argument;
  uint64_t wait_ms = node.options.poll_ms;
  do {
    c->again = false;
    purlin_mark mark = purlin_arena_mark(ctx);
    purlin_status status = take_turn(ctx, c, &wait_ms);
    purlin_arena_reset(ctx, mark);
    if (status == PURLIN_OK) continue;
    purlin_log(ctx, PURLIN_WARNING, "jobs cannot be claimed: %s", purlin_failure(ctx));
    purlin_clear_failure(ctx);
    c->again = false;
    wait_ms = 1000;
  } while (c->again);
  c->active = false;
  atomic_fetch_sub(&node.active, 1);
  loop_timer_start(c->loop, &c->poll, wait_ms, on_poll);
}

/* On the claimer's loop, on its own level. */
static void kick(claimer *c) {
  loop_timer_stop(&c->poll);
  if (!atomic_load(&node.started)) return;
  if (c->active) {
    c->again = true;
    return;
  }
  c->active = true;
  atomic_fetch_add(&node.active, 1);
  if (context_start("purlin", "jobs.claim", run_claimer, c) == PURLIN_OK) return;
  c->active = false;
  atomic_fetch_sub(&node.active, 1);
  loop_timer_start(c->loop, &c->poll, node.options.poll_ms, on_poll);
}

static void on_poll(loop_timer *timer) { kick((claimer *)(void *)((char *)timer - offsetof(claimer, poll))); }

static void on_post(void *argument) {
  claimer *c = argument;
  atomic_store(&c->posted, false);
  kick(c);
}

void claimer_ended(claimer *c, attempt *a, bool complete) {
  atomic_fetch_sub(&node.running, 1);
  if (complete) {
    a->queued = c->done;
    c->done = a;
  } else {
    attempt_free(a);
  }
  if (c->active) c->again = true;
  else post(c);
}

void claimers_wake(void) {
  if (!atomic_load(&node.started)) return;
  const loop *here = loop_current();
  post(&claimers[here != NULL ? loop_index(here) % claimer_count : 0]);
}

bool claimers_start(void) {
  if (claimer_count != loop_count()) {
    free(claimers);
    claimer_count = 0;
    claimers = calloc(loop_count(), sizeof *claimers);
    if (claimers == NULL) return false;
    claimer_count = loop_count();
  }
  for (size_t i = 0; i < claimer_count; i++) {
    claimer *c = &claimers[i];
    c->loop = loop_at(i);
    c->post.call = on_post;
    c->post.argument = c;
    c->backlog = NULL;
    c->backlog_end = &c->backlog;
    post(c);
  }
  return true;
}

void claimers_poke(void) {
  for (size_t i = 0; i < claimer_count; i++) post(&claimers[i]);
}

bool claimers_are_idle(void) {
  for (size_t i = 0; i < claimer_count; i++)
    if (atomic_load(&claimers[i].posted)) return false;
  return atomic_load(&node.active) == 0;
}
