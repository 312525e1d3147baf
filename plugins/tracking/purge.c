#include "purge.h"
#include <stdlib.h>
#include <string.h>

enum { BATCH = 100, LONGEST_CALL_S = 10, MOST_IDS = 1000 };

static const char *const run_tables[] = {"tracking_metrics WHERE run_id",     "tracking_latest_metrics WHERE run_id",
                                         "tracking_parameters WHERE run_id",  "tracking_tags WHERE run_id",
                                         "tracking_inputs WHERE run_id",      "tracking_input_tags WHERE run_id",
                                         "tracking_model_links WHERE run_id", NULL};
static const char *const logged_model_tables[] = {
    "tracking_logged_model_metrics WHERE model_id", "tracking_logged_model_latest WHERE model_id",
    "tracking_logged_model_parameters WHERE model_id", "tracking_logged_model_tags WHERE model_id", NULL};
static const char *const experiment_tables[] = {"tracking_experiment_tags WHERE experiment_id",
                                                "tracking_datasets WHERE experiment_id", NULL};

const purge_kind purge_kinds[PURGE_KINDS] = {
    {.name = "run", .table = "tracking_runs", .since = "deleted_at", .tables = run_tables},
    {.name = "logged_model", .table = "tracking_logged_models", .since = "updated_at", .tables = logged_model_tables},
    {.name = "experiment", .table = "tracking_experiments", .since = "updated_at", .tables = experiment_tables},
};

static const char DELETED_EXPERIMENTS[] =
    "SELECT id FROM tracking_experiments WHERE workspace = ? AND lifecycle = 'deleted'"
    " AND updated_at <= NOW(6) - INTERVAL ? SECOND ORDER BY updated_at LIMIT ?";
static const char LOCK_EXPERIMENT[] =
    "SELECT id FROM tracking_experiments WHERE id = ? AND workspace = ? AND lifecycle = 'deleted' FOR UPDATE";
static const char LEAVE[] = "INSERT INTO tracking_leftovers (kind, owner, workspace, purged_at) VALUES (?, ?, ?, NOW(6))"
                            " ON DUPLICATE KEY UPDATE purged_at = VALUES(purged_at)";

typedef struct id_row {
  const char *id;
} id_row;
PURLIN_SCHEMA(id_row, "An object", PURLIN_REQUIRED(id, "Its id"));
typedef PURLIN_LIST_OF(id_row) ids;

PURLIN_EVENT(purged, tracking_purged, "Deleted objects are gone for good: what others keep of them may go");

/* ---- A batch: one transaction ------------------------------------------------------------------------------------------------------------ */

typedef struct batch {
  const purge_kind *kind;
  const char *experiment; /* all of it, while it is deleted; NULL: what is deleted itself */
  int64_t older_than_s;
  const char *select, *remove;
  ids found;
  int64_t removed;
} batch;

/* Which statements: for all of an experiment, or for what was deleted itself. */
static purlin_status prepare(purlin_ctx *ctx, batch *b) {
  const char *held, *table = b->kind->table;
  purlin_status status = purge_held(ctx, b->kind, &held);
  if (status != PURLIN_OK) return status;
  if (b->experiment) {
    b->select =
        purlin_format(ctx, "SELECT id FROM %s WHERE experiment_id = ? AND workspace = ? AND NOT (%s) LIMIT ?", table, held);
    b->remove = purlin_format(ctx, "DELETE FROM %s WHERE id = ? AND workspace = ? AND NOT (%s)", table, held);
  } else {
    b->select =
        purlin_format(ctx, "SELECT id FROM %s WHERE workspace = ? AND " PURGE_OLD " AND NOT (%s) ORDER BY %s LIMIT ?",
                      table, PURGE_OLD_OF(b->kind), held, b->kind->since);
    b->remove = purlin_format(ctx, "DELETE FROM %s WHERE id = ? AND workspace = ? AND " PURGE_OLD " AND NOT (%s)", table,
                              PURGE_OLD_OF(b->kind), held);
  }
  return b->select && b->remove ? PURLIN_OK : PURLIN_TOO_LARGE;
}

/* The names of what went, told to others and written down. */
static purlin_status tell(purlin_ctx *ctx, const purge_kind *kind, purlin_texts names) {
  const tracking_purged event = {kind->name, names};
  purlin_json detail;
  purlin_status status = purlin_encode(ctx, tracking_purged_schema(), &event, &detail);
  if (status == PURLIN_OK)
    status =
        purlin_audit(ctx, &(purlin_audit_entry){.operation = "tracking.purge", .object = names.items[0], .detail = detail});
  if (status == PURLIN_OK) status = purlin_emit(ctx, purged, &event, NULL);
  return status == PURLIN_OK && kind == &purge_kinds[PURGE_RUN] ? runs_give_back(ctx, (int64_t)names.count) : status;
}

/* PURLIN_CONFLICT of the database: something is in the experiment that stays, or was put there meanwhile. */
static purlin_status remove_one(purlin_ctx *ctx, const batch *b, const char *id, bool *removed) {
  *removed = false;
  purlin_status status = b->experiment ? purlin_db_run(ctx, b->remove, id, purlin_workspace(ctx))
                                       : purlin_db_run(ctx, b->remove, id, purlin_workspace(ctx), b->older_than_s);
  if (status == PURLIN_CONFLICT) return PURLIN_OK;
  *removed = status == PURLIN_OK && purlin_affected(ctx) > 0;
  return *removed ? purlin_db_run(ctx, LEAVE, b->kind->name, id, purlin_workspace(ctx)) : status;
}

static purlin_status remove_batch(purlin_ctx *ctx, void *argument) {
  batch *b = argument;
  id_row locked;
  const char **names = purlin_alloc_array(ctx, b->found.count, sizeof *names);
  purlin_status status = names ? PURLIN_OK : PURLIN_TOO_LARGE;
  size_t count = 0;
  b->removed = 0;
  if (status == PURLIN_OK && b->experiment)
    status = purlin_db_row(ctx, id_row, &locked, LOCK_EXPERIMENT, b->experiment, purlin_workspace(ctx));
  if (status == PURLIN_NOT_FOUND) return PURLIN_OK; /* it came back */
  for (size_t i = 0; i < b->found.count && status == PURLIN_OK; i++) {
    bool removed;
    status = remove_one(ctx, b, b->found.items[i].id, &removed);
    if (removed) names[count++] = b->found.items[i].id;
  }
  b->removed = (int64_t)count;
  return status == PURLIN_OK && count > 0 ? tell(ctx, b->kind, (purlin_texts){names, count}) : status;
}

/* ---- Whole searches ---------------------------------------------------------------------------------------------------------------------- */

typedef struct purging {
  int64_t older_than_s;
  uint64_t end_ns;
  bool over; /* the time */
  purge_count *count;
} purging;

static purlin_status run_batch(purlin_ctx *ctx, purging *p, batch *b) {
  purlin_status status = purlin_transaction_apart(ctx, remove_batch, b);
  if (status == PURLIN_OK) p->count->of[b->kind - purge_kinds] += b->removed;
  if (purlin_ticks_ns() > p->end_ns) p->over = true;
  return status;
}

static purlin_status select_batch(purlin_ctx *ctx, batch *b) {
  if (b->experiment) return purlin_db_list(ctx, id_row, &b->found, b->select, b->experiment, purlin_workspace(ctx), BATCH);
  return purlin_db_list(ctx, id_row, &b->found, b->select, purlin_workspace(ctx), b->older_than_s, BATCH);
}

static purlin_status run_batches(purlin_ctx *ctx, purging *p, batch *b) {
  purlin_status status = prepare(ctx, b);
  do {
    purlin_mark mark = purlin_arena_mark(ctx);
    b->removed = 0;
    if (status == PURLIN_OK) status = select_batch(ctx, b);
    if (status == PURLIN_OK && b->found.count > 0) status = run_batch(ctx, p, b);
    purlin_arena_reset(ctx, mark);
  } while (status == PURLIN_OK && b->removed > 0 && !p->over);
  return status;
}

/* Runs and logged models of a deleted experiment, whether they are deleted or not; then itself. */
static purlin_status purge_experiment(purlin_ctx *ctx, purging *p, const char *id, int64_t older_than_s) {
  for (size_t kind = 0; kind < PURGE_EXPERIMENT && !p->over; kind++) {
    batch b = {.kind = &purge_kinds[kind], .experiment = id};
    purlin_status status = run_batches(ctx, p, &b);
    if (status != PURLIN_OK) return status;
  }
  if (p->over) return PURLIN_OK;
  id_row self = {id};
  batch b = {.kind = &purge_kinds[PURGE_EXPERIMENT], .older_than_s = older_than_s, .found = {&self, 1}};
  purlin_status status = prepare(ctx, &b);
  return status == PURLIN_OK ? run_batch(ctx, p, &b) : status;
}

purlin_status purge_deleted(purlin_ctx *ctx, int64_t older_than_s, uint64_t end_ns, purge_count *count, bool *over) {
  purging p = {.older_than_s = older_than_s, .end_ns = end_ns, .count = count};
  ids found = {0};
  purlin_status status = PURLIN_OK;
  for (size_t i = 0; i < PURGE_EXPERIMENT && status == PURLIN_OK && !p.over; i++)
    status = run_batches(ctx, &p, &(batch){.kind = &purge_kinds[i], .older_than_s = older_than_s});
  if (status == PURLIN_OK && !p.over)
    status = purlin_db_list(ctx, id_row, &found, DELETED_EXPERIMENTS, purlin_workspace(ctx), older_than_s, MOST_IDS);
  for (size_t i = 0; i < found.count && status == PURLIN_OK && !p.over; i++)
    status = purge_experiment(ctx, &p, found.items[i].id, older_than_s);
  *over = !p.over && found.count < MOST_IDS;
  return status;
}

/* ---- The operation ------------------------------------------------------------------------------------------------------------------------- */

typedef struct purge_in {
  bool dry_run;
  const char *older_than;
  purlin_texts run_ids, experiment_ids, logged_model_ids;
} purge_in;
PURLIN_SCHEMA(purge_in, "What is to go; without ids all that is deleted",
    PURLIN_DEFAULT(dry_run, "false", "Only tell how many would go"),
    PURLIN_DEFAULT(older_than, "\"\"", "Only what was deleted longer ago, such as 30d or 2d8h5m20s", .pattern = "([0-9]{1,6}d)?([0-9]{1,8}h)?([0-9]{1,9}m)?([0-9]{1,9}s)?"),
    PURLIN_OPTIONAL(run_ids, "These runs, which must be deleted", .max_length = MOST_IDS),
    PURLIN_OPTIONAL(experiment_ids, "These experiments, which must be deleted, with all that is in them", .max_length = MOST_IDS),
    PURLIN_OPTIONAL(logged_model_ids, "These logged models, which must be deleted", .max_length = MOST_IDS));

typedef struct purge_out {
  int64_t runs, logged_models, experiments, held;
  bool complete;
} purge_out;
PURLIN_SCHEMA(purge_out, "What is gone for good",
    PURLIN_REQUIRED(runs, "So many runs"),
    PURLIN_REQUIRED(logged_models, "So many logged models"),
    PURLIN_REQUIRED(experiments, "So many experiments"),
    PURLIN_REQUIRED(held, "So many runs and logged models stay, since registered models have their files there"),
    PURLIN_REQUIRED(complete, "Nothing is left to do; otherwise call again"));

/* "2d8h5m20s": seconds. */
static int64_t seconds_of(const char *text) {
  int64_t total = 0;
  while (*text) {
    char *unit = NULL;
    int64_t number = strtoll(text, &unit, 10);
    if (unit == text) return total;
    total += number * (*unit == 'd' ? 86400 : *unit == 'h' ? 3600 : *unit == 'm' ? 60 : 1);
    text = *unit ? unit + 1 : unit;
  }
  return total;
}

typedef struct state_row {
  const char *lifecycle;
  purlin_opt_int seconds;
  bool held;
} state_row;
PURLIN_SCHEMA(state_row, "How an object stands",
    PURLIN_REQUIRED(lifecycle, "active or deleted"),
    PURLIN_OPTIONAL(seconds, "Since when it is deleted"),
    PURLIN_REQUIRED(held, "Somebody needs it"));

/* All of them, before the first goes. */
static purlin_status check(purlin_ctx *ctx, const purge_kind *kind, purlin_texts names, int64_t older_than_s) {
  const char *held, *sql;
  purlin_status status = purge_held(ctx, kind, &held);
  if (status != PURLIN_OK || names.count == 0) return status;
  sql = purlin_format(ctx,
                      "SELECT lifecycle, TIMESTAMPDIFF(SECOND, %s, NOW(6)) AS seconds, (%s) AS held FROM %s WHERE id = ?"
                      " AND workspace = ?",
                      kind->since, held, kind->table);
  if (!sql) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < names.count; i++) {
    state_row found = {0};
    status = purlin_db_row(ctx, state_row, &found, sql, names.items[i], purlin_workspace(ctx));
    if (status == PURLIN_NOT_FOUND) return purlin_fail(ctx, status, "no %s '%s'", kind->name, names.items[i]);
    if (status != PURLIN_OK) return status;
    if (strcmp(found.lifecycle, "deleted") != 0)
      return purlin_fail(ctx, PURLIN_CONFLICT, "the %s '%s' is not deleted", kind->name, names.items[i]);
    if (found.seconds.value < older_than_s)
      return purlin_fail(ctx, PURLIN_CONFLICT, "the %s '%s' was deleted later than that", kind->name, names.items[i]);
    if (found.held)
      return purlin_fail(ctx, PURLIN_CONFLICT, "the %s '%s' has the files of a registered model", kind->name,
                         names.items[i]);
  }
  return PURLIN_OK;
}

static purlin_status purge_named(purlin_ctx *ctx, purging *p, const purge_kind *kind, purlin_texts names) {
  id_row *items = purlin_alloc_array(ctx, names.count + 1, sizeof *items);
  if (!items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < names.count; i++) items[i].id = names.items[i];
  for (size_t i = 0; i < names.count && !p->over; i += BATCH) {
    batch b = {.kind = kind,
               .older_than_s = p->older_than_s,
               .found = {items + i, names.count - i < BATCH ? names.count - i : BATCH}};
    purlin_status status = prepare(ctx, &b);
    if (status == PURLIN_OK) status = run_batch(ctx, p, &b);
    if (status != PURLIN_OK) return status;
  }
  return PURLIN_OK;
}

static purlin_status purge_all_named(purlin_ctx *ctx, purging *p, const purlin_texts names[PURGE_KINDS]) {
  const purlin_texts experiments = names[PURGE_EXPERIMENT];
  purlin_status status = PURLIN_OK;
  for (size_t i = 0; i < PURGE_EXPERIMENT && status == PURLIN_OK; i++)
    status = purge_named(ctx, p, &purge_kinds[i], names[i]);
  for (size_t i = 0; i < experiments.count && status == PURLIN_OK && !p->over; i++)
    status = purge_experiment(ctx, p, experiments.items[i], p->older_than_s);
  return status;
}

static purlin_status let_go(purlin_ctx *ctx, purging *p, const purlin_texts *names, bool *complete) {
  purlin_status status =
      names ? purge_all_named(ctx, p, names) : purge_deleted(ctx, p->older_than_s, p->end_ns, p->count, complete);
  if (names) *complete = !p->over;
  if (status != PURLIN_OK) return status;
  return purlin_enqueue(ctx, "tracking.sweep", purlin_nothing_schema(), &(purlin_nothing){0},
                        &(purlin_enqueue_options){.unique_key = "purge"}, NULL);
}

PURLIN_OPERATION(purge, purge_in, purge_out,
    .summary = "Let deleted runs, logged models and experiments go for good", .permission = "runs:purge", .effect = PURLIN_CHANGES,
    .http = "POST /api/v1/purge", .unaudited = "each batch that goes is an entry", .timeout_ms = 60000,
    .description = "What they measured and their files go with them, a little later: nothing brings them back. A deleted experiment goes with all that is in it. What holds the files of a registered model stays.") {
  purge_count count = {0}, held = {0};
  purging p = {.older_than_s = seconds_of(in->older_than),
               .end_ns = purlin_ticks_ns() + (uint64_t)LONGEST_CALL_S * 1000000000,
               .count = &count};
  const purlin_texts ids_of[PURGE_KINDS] = {in->run_ids, in->logged_model_ids, in->experiment_ids};
  const purlin_texts *names = in->run_ids.count + in->experiment_ids.count + in->logged_model_ids.count > 0 ? ids_of : NULL;
  bool complete = true;
  purlin_status status = PURLIN_OK;
  for (size_t i = 0; i < PURGE_KINDS && status == PURLIN_OK; i++)
    status = check(ctx, &purge_kinds[i], ids_of[i], p.older_than_s);
  if (status == PURLIN_OK)
    status = in->dry_run ? purge_foretell(ctx, names, p.older_than_s, false, &count) : let_go(ctx, &p, names, &complete);
  if (status == PURLIN_OK) status = purge_foretell(ctx, names, p.older_than_s, true, &held);
  *out = (purge_out){count.of[PURGE_RUN], count.of[PURGE_LOGGED_MODEL], count.of[PURGE_EXPERIMENT],
                     held.of[PURGE_RUN] + held.of[PURGE_LOGGED_MODEL], complete};
  return status;
}
