#include "purge.h"

#define OLD(table, column) table ".lifecycle = 'deleted' AND " table "." column " <= NOW(6) - INTERVAL ? SECOND"

/* Those that are deleted themselves, and what else is in deleted experiments. */
#define DELETED(table, column)                                                                                             \
  "SELECT (SELECT COUNT(*) FROM " table                                                                                    \
  " x WHERE x.workspace = ? AND " OLD("x", column) ") + (SELECT COUNT(*) FROM"                                             \
                                                   " tracking_experiments e STRAIGHT_JOIN " table                          \
                                                   " x ON x.experiment_id = e.id WHERE e.workspace = ? AND " OLD(          \
                                                       "e", "updated_at") " AND NOT (" OLD("x", column) ")) AS count"
static const char DELETED_EXPERIMENTS[] =
    "SELECT COUNT(*) AS count FROM tracking_experiments e WHERE e.workspace = ? AND " OLD("e", "updated_at");

#define NAMES "JSON_TABLE(?, '$[*]' COLUMNS (id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) a"
/* UNION: what is named twice, or stands in a named experiment too, counts once. */
#define NAMED(table)                                                                                                       \
  "SELECT COUNT(*) AS count FROM (SELECT x.id FROM " NAMES " STRAIGHT_JOIN " table                                         \
  " x ON x.id = a.id WHERE x.workspace = ?"                                                                                \
  " UNION SELECT x.id FROM " NAMES " STRAIGHT_JOIN " table                                                                 \
  " x ON x.experiment_id = a.id WHERE x.workspace = ?) all_of_them"
static const char NAMED_EXPERIMENTS[] = "SELECT COUNT(DISTINCT e.id) AS count FROM " NAMES
                                        " STRAIGHT_JOIN tracking_experiments e ON e.id = a.id WHERE e.workspace = ?";

static const struct {
  const char *deleted, *named;
} statements[PURGE_EXPERIMENT] = {
    [PURGE_RUN] = {DELETED("tracking_runs", "deleted_at"), NAMED("tracking_runs")},
    [PURGE_LOGGED_MODEL] = {DELETED("tracking_logged_models", "updated_at"), NAMED("tracking_logged_models")},
};

typedef struct count_row {
  int64_t count;
} count_row;
PURLIN_SCHEMA(count_row, "How many", PURLIN_REQUIRED(count, "So many"));

static purlin_status foretell_named(purlin_ctx *ctx, const purlin_texts *names, count_row found[PURGE_KINDS]) {
  const char *workspace = purlin_workspace(ctx), *experiments = purlin_list_json(ctx, names[PURGE_EXPERIMENT]);
  purlin_status status = experiments ? PURLIN_OK : PURLIN_TOO_LARGE;
  for (size_t i = 0; i < PURGE_EXPERIMENT && status == PURLIN_OK; i++) {
    const char *ids = purlin_list_json(ctx, names[i]);
    if (!ids) return PURLIN_TOO_LARGE;
    status = purlin_db_row(ctx, count_row, &found[i], statements[i].named, ids, workspace, experiments, workspace);
  }
  if (status != PURLIN_OK) return status;
  return purlin_db_row(ctx, count_row, &found[PURGE_EXPERIMENT], NAMED_EXPERIMENTS, experiments, workspace);
}

static purlin_status foretell_deleted(purlin_ctx *ctx, int64_t older_than_s, count_row found[PURGE_KINDS]) {
  const char *workspace = purlin_workspace(ctx);
  purlin_status status = PURLIN_OK;
  for (size_t i = 0; i < PURGE_EXPERIMENT && status == PURLIN_OK; i++)
    status = purlin_db_row(ctx, count_row, &found[i], statements[i].deleted, workspace, older_than_s, workspace,
                           older_than_s, older_than_s);
  if (status != PURLIN_OK) return status;
  return purlin_db_row(ctx, count_row, &found[PURGE_EXPERIMENT], DELETED_EXPERIMENTS, workspace, older_than_s);
}

purlin_status purge_foretell(purlin_ctx *ctx, const purlin_texts *names, int64_t older_than_s, purge_count *count) {
  count_row found[PURGE_KINDS] = {0};
  purlin_status status = names ? foretell_named(ctx, names, found) : foretell_deleted(ctx, older_than_s, found);
  for (size_t i = 0; i < PURGE_KINDS; i++) count->of[i] = found[i].count;
  return status;
}
