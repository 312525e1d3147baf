#include "purge.h"

#define NAMES "JSON_TABLE(?, '$[*]' COLUMNS (id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) a"

typedef struct count_row {
  int64_t count;
} count_row;
PURLIN_SCHEMA(count_row, "How many", PURLIN_REQUIRED(count, "So many"));

typedef struct counting {
  const purlin_texts *names;
  int64_t older_than_s;
  const char *which; /* SQL: those that go, or those that stay */
} counting;

/* UNION: what is in a deleted experiment too, or is named twice, counts once. */
static purlin_status count_deleted(purlin_ctx *ctx, const counting *c, const purge_kind *kind, count_row *out) {
  const char *workspace = purlin_workspace(ctx), *table = kind->table;
  const char *sql = purlin_format(
      ctx,
      "SELECT COUNT(*) AS count FROM (SELECT id FROM %s WHERE workspace = ? AND " PURGE_OLD " AND (%s) UNION"
      " SELECT %s.id FROM tracking_experiments e STRAIGHT_JOIN %s ON %s.experiment_id = e.id WHERE e.workspace = ?"
      " AND e.lifecycle = 'deleted' AND e.updated_at <= NOW(6) - INTERVAL ? SECOND AND (%s)) all_of_them",
      table, PURGE_OLD_OF(kind), c->which, table, table, table, c->which);
  if (!sql) return PURLIN_TOO_LARGE;
  return purlin_db_row(ctx, count_row, out, sql, workspace, c->older_than_s, workspace, c->older_than_s);
}

static purlin_status count_named(purlin_ctx *ctx, const counting *c, const purge_kind *kind, count_row *out) {
  const char *workspace = purlin_workspace(ctx), *table = kind->table;
  const char *ids = purlin_list_json(ctx, c->names[kind - purge_kinds]);
  const char *experiments = purlin_list_json(ctx, c->names[PURGE_EXPERIMENT]);
  const char *sql =
      purlin_format(ctx,
                    "SELECT COUNT(*) AS count FROM (SELECT %s.id FROM " NAMES
                    " STRAIGHT_JOIN %s ON %s.id = a.id WHERE %s.workspace = ? AND (%s) UNION SELECT %s.id FROM " NAMES
                    " STRAIGHT_JOIN %s ON %s.experiment_id = a.id WHERE %s.workspace = ? AND (%s)) all_of_them",
                    table, table, table, table, c->which, table, table, table, table, c->which);
  if (!ids || !experiments || !sql) return PURLIN_TOO_LARGE;
  return purlin_db_row(ctx, count_row, out, sql, ids, workspace, experiments, workspace);
}

/* SQL that is true for an experiment `e` with something in it that stays. */
static purlin_status keeps(purlin_ctx *ctx, const char **sql) {
  *sql = "FALSE";
  for (size_t i = 0; i < PURGE_EXPERIMENT; i++) {
    const char *held, *table = purge_kinds[i].table;
    purlin_status status = purge_held(ctx, &purge_kinds[i], &held);
    if (status != PURLIN_OK) return status;
    *sql = purlin_format(ctx, "%s OR EXISTS (SELECT 1 FROM %s WHERE %s.experiment_id = e.id AND (%s))", *sql, table, table,
                         held);
    if (!*sql) return PURLIN_TOO_LARGE;
  }
  return PURLIN_OK;
}

static purlin_status count_experiments(purlin_ctx *ctx, const counting *c, count_row *out) {
  const char *kept, *ids = c->names ? purlin_list_json(ctx, c->names[PURGE_EXPERIMENT]) : "[]";
  purlin_status status = keeps(ctx, &kept);
  if (status != PURLIN_OK) return status;
  const char *sql = purlin_format(
      ctx,
      c->names ? "SELECT COUNT(DISTINCT e.id) AS count FROM " NAMES
                 " STRAIGHT_JOIN tracking_experiments e ON e.id = a.id WHERE e.workspace = ? AND ? >= 0 AND NOT (%s)"
               : "SELECT COUNT(*) AS count FROM tracking_experiments e WHERE ? <> '' AND e.workspace = ?"
                 " AND e.lifecycle = 'deleted' AND e.updated_at <= NOW(6) - INTERVAL ? SECOND AND NOT (%s)",
      kept);
  if (!ids || !sql) return PURLIN_TOO_LARGE;
  return purlin_db_row(ctx, count_row, out, sql, ids, purlin_workspace(ctx), c->older_than_s);
}

purlin_status purge_foretell(purlin_ctx *ctx, const purlin_texts *names, int64_t older_than_s, bool held,
                             purge_count *count) {
  counting c = {names, older_than_s, NULL};
  count_row found = {0};
  purlin_status status = PURLIN_OK;
  for (size_t i = 0; i < PURGE_EXPERIMENT && status == PURLIN_OK; i++) {
    status = purge_held(ctx, &purge_kinds[i], &c.which);
    if (status == PURLIN_OK && !held) c.which = purlin_format(ctx, "NOT (%s)", c.which);
    if (status == PURLIN_OK && !c.which) status = PURLIN_TOO_LARGE;
    if (status == PURLIN_OK)
      status = names ? count_named(ctx, &c, &purge_kinds[i], &found) : count_deleted(ctx, &c, &purge_kinds[i], &found);
    count->of[i] = found.count;
  }
  if (status != PURLIN_OK || held) return status;
  status = count_experiments(ctx, &c, &found);
  count->of[PURGE_EXPERIMENT] = found.count;
  return status;
}
