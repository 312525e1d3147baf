#include "purge.h"
#include <stdlib.h>
#include <string.h>

enum { BATCH = 100, LONGEST_CALL_S = 10, MOST_IDS = 1000 };

#define OLD_RUN "lifecycle = 'deleted' AND deleted_at <= NOW(6) - INTERVAL ? SECOND"
#define OLD "lifecycle = 'deleted' AND updated_at <= NOW(6) - INTERVAL ? SECOND"

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
    {.name = "run",
     .deleted = "SELECT id FROM tracking_runs WHERE workspace = ? AND " OLD_RUN " ORDER BY deleted_at LIMIT ?",
     .state =
         "SELECT lifecycle, TIMESTAMPDIFF(SECOND, deleted_at, NOW(6)) AS seconds FROM tracking_runs WHERE id = ? AND workspace = ?",
     .remove = "DELETE FROM tracking_runs WHERE id = ? AND workspace = ? AND " OLD_RUN,
     .in_experiment = "SELECT id FROM tracking_runs WHERE experiment_id = ? AND workspace = ? LIMIT ?",
     .remove_any = "DELETE FROM tracking_runs WHERE id = ? AND workspace = ? AND ? = 0",
     .tables = run_tables},
    {.name = "logged_model",
     .deleted = "SELECT id FROM tracking_logged_models WHERE workspace = ? AND " OLD " ORDER BY id LIMIT ?",
     .state = "SELECT lifecycle, TIMESTAMPDIFF(SECOND, updated_at, NOW(6)) AS seconds FROM tracking_logged_models"
              " WHERE id = ? AND workspace = ?",
     .remove = "DELETE FROM tracking_logged_models WHERE id = ? AND workspace = ? AND " OLD,
     .in_experiment = "SELECT id FROM tracking_logged_models WHERE experiment_id = ? AND workspace = ? LIMIT ?",
     .remove_any = "DELETE FROM tracking_logged_models WHERE id = ? AND workspace = ? AND ? = 0",
     .tables = logged_model_tables},
    {.name = "experiment",
     .deleted = "SELECT id FROM tracking_experiments WHERE workspace = ? AND " OLD " ORDER BY id LIMIT ?",
     .state = "SELECT lifecycle, TIMESTAMPDIFF(SECOND, updated_at, NOW(6)) AS seconds FROM tracking_experiments"
              " WHERE id = ? AND workspace = ?",
     .remove = "DELETE FROM tracking_experiments WHERE id = ? AND workspace = ? AND " OLD,
     .tables = experiment_tables},
};

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
  ids found;
  int64_t removed;
} batch;

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

/* PURLIN_CONFLICT of the database: something was put into the experiment meanwhile; it stays. */
static purlin_status remove_one(purlin_ctx *ctx, const batch *b, const char *id, bool *removed) {
  const char *sql = b->experiment ? b->kind->remove_any : b->kind->remove;
  *removed = false;
  purlin_status status = purlin_db_run(ctx, sql, id, purlin_workspace(ctx), b->experiment ? 0 : b->older_than_s);
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

/* Runs and logged models of a deleted experiment, whether they are deleted or not; then itself. */
static purlin_status purge_experiment(purlin_ctx *ctx, purging *p, const char *id, int64_t older_than_s) {
  for (size_t kind = 0; kind < PURGE_EXPERIMENT; kind++) {
    batch b = {.kind = &purge_kinds[kind], .experiment = id};
    do {
      purlin_mark mark = purlin_arena_mark(ctx);
      purlin_status status = purlin_db_list(ctx, id_row, &b.found, b.kind->in_experiment, id, purlin_workspace(ctx), BATCH);
      b.removed = 0;
      if (status == PURLIN_OK && b.found.count > 0) status = run_batch(ctx, p, &b);
      purlin_arena_reset(ctx, mark);
      if (status != PURLIN_OK) return status;
    } while (b.removed > 0 && !p->over);
  }
  if (p->over) return PURLIN_OK;
  id_row self = {id};
  batch b = {.kind = &purge_kinds[PURGE_EXPERIMENT], .older_than_s = older_than_s, .found = {&self, 1}};
  return run_batch(ctx, p, &b);
}

static purlin_status purge_kind_of(purlin_ctx *ctx, purging *p, const purge_kind *kind) {
  batch b = {.kind = kind, .older_than_s = p->older_than_s};
  do {
    purlin_mark mark = purlin_arena_mark(ctx);
    purlin_status status =
        purlin_db_list(ctx, id_row, &b.found, kind->deleted, purlin_workspace(ctx), p->older_than_s, BATCH);
    b.removed = 0;
    if (status == PURLIN_OK && b.found.count > 0) status = run_batch(ctx, p, &b);
    purlin_arena_reset(ctx, mark);
    if (status != PURLIN_OK) return status;
  } while (b.removed > 0 && !p->over);
  return PURLIN_OK;
}

purlin_status purge_deleted(purlin_ctx *ctx, int64_t older_than_s, uint64_t end_ns, purge_count *count, bool *over) {
  purging p = {.older_than_s = older_than_s, .end_ns = end_ns, .count = count};
  ids found = {0};
  purlin_status status = purge_kind_of(ctx, &p, &purge_kinds[PURGE_RUN]);
  if (status == PURLIN_OK && !p.over) status = purge_kind_of(ctx, &p, &purge_kinds[PURGE_LOGGED_MODEL]);
  if (status == PURLIN_OK && !p.over)
    status = purlin_db_list(ctx, id_row, &found, purge_kinds[PURGE_EXPERIMENT].deleted, purlin_workspace(ctx), older_than_s,
                            MOST_IDS);
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
  int64_t runs, logged_models, experiments;
  bool complete;
} purge_out;
PURLIN_SCHEMA(purge_out, "What is gone for good",
    PURLIN_REQUIRED(runs, "So many runs"),
    PURLIN_REQUIRED(logged_models, "So many logged models"),
    PURLIN_REQUIRED(experiments, "So many experiments"),
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
} state_row;
PURLIN_SCHEMA(state_row, "How an object stands",
    PURLIN_REQUIRED(lifecycle, "active or deleted"),
    PURLIN_OPTIONAL(seconds, "Since when it is deleted"));

/* All of them, before the first goes. */
static purlin_status check(purlin_ctx *ctx, const purge_kind *kind, purlin_texts names, int64_t older_than_s) {
  for (size_t i = 0; i < names.count; i++) {
    state_row found = {0};
    purlin_status status = purlin_db_row(ctx, state_row, &found, kind->state, names.items[i], purlin_workspace(ctx));
    if (status == PURLIN_NOT_FOUND) return purlin_fail(ctx, status, "no %s '%s'", kind->name, names.items[i]);
    if (status != PURLIN_OK) return status;
    if (strcmp(found.lifecycle, "deleted") != 0)
      return purlin_fail(ctx, PURLIN_CONFLICT, "the %s '%s' is not deleted", kind->name, names.items[i]);
    if (found.seconds.value < older_than_s)
      return purlin_fail(ctx, PURLIN_CONFLICT, "the %s '%s' was deleted later than that", kind->name, names.items[i]);
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
    purlin_status status = run_batch(ctx, p, &b);
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
    .description = "What they measured and their files go with them, a little later: nothing brings them back. A deleted experiment goes with all that is in it.") {
  purge_count count = {0};
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
    status = in->dry_run ? purge_foretell(ctx, names, p.older_than_s, &count) : let_go(ctx, &p, names, &complete);
  *out = (purge_out){count.of[PURGE_RUN], count.of[PURGE_LOGGED_MODEL], count.of[PURGE_EXPERIMENT], complete};
  return status;
}
