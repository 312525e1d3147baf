#include "registry.h"
#include <string.h>

/* So many objects of at most REGISTRY_MOST_TAGS each are what one statement may answer. */
enum { AT_ONCE = 100 };

#define OWNERS(column)                                                                                                     \
  "JSON_TABLE(?, '$[*]' COLUMNS (i FOR ORDINALITY, " column                                                                \
  " VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) j"

static const char MODEL_TAGS[] = "SELECT j.i AS owner, t.name AS `key`, t.value FROM " OWNERS(
    "id") " STRAIGHT_JOIN registry_model_tags t ON t.model_id = j.id ORDER BY j.i, t.name";
static const char VERSION_TAGS[] = "SELECT j.i AS owner, t.name AS `key`, t.value FROM " OWNERS(
    "id") " STRAIGHT_JOIN registry_version_tags t ON t.version_id = j.id ORDER BY j.i, t.name";
static const char MODEL_ALIASES[] = "SELECT j.i AS owner, a.alias, a.version, a.updated_at, a.updated_by FROM " OWNERS(
    "id") " STRAIGHT_JOIN registry_aliases a ON a.model_id = j.id ORDER BY j.i, a.alias";
static const char VERSION_ALIASES[] = "SELECT j.i AS owner, a.alias AS `key` FROM " OWNERS(
    "id") " STRAIGHT_JOIN registry_versions v ON v.id = j.id"
          " STRAIGHT_JOIN registry_aliases a ON a.model_id = v.model_id AND a.version = v.version ORDER BY j.i, a.alias";
/* One dive into the index for each model and stage, however many versions there are. */
static const char LATEST[] = "SELECT " REGISTRY_VERSION_COLUMNS " FROM " OWNERS(
    "id") " STRAIGHT_JOIN JSON_TABLE(?, '$[*]' COLUMNS (stage VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) s"
          " STRAIGHT_JOIN registry_versions v ON v.model_id = j.id AND v.version ="
          " (SELECT x.version FROM registry_versions x WHERE x.model_id = j.id AND x.stage = s.stage ORDER BY x.version DESC LIMIT 1)"
          " ORDER BY j.i, v.version";
static const char ALL_STAGES[] = "[\"None\",\"Staging\",\"Production\",\"Archived\"]";

/* Of the object with this number in the list, from 1. */
typedef struct pair_row {
  int64_t owner;
  const char *key, *value;
} pair_row;
PURLIN_SCHEMA(pair_row, "A tag, or an alias, and whose",
    PURLIN_REQUIRED(owner, "whose"),
    PURLIN_REQUIRED(key, "key"),
    PURLIN_OPTIONAL(value, "value"));

typedef struct alias_row {
  int64_t owner;
  const char *alias;
  int64_t version;
  purlin_time updated_at;
  const char *updated_by;
} alias_row;
PURLIN_SCHEMA(alias_row, "An alias, and whose",
    PURLIN_REQUIRED(owner, "whose"),
    PURLIN_REQUIRED(alias, "alias"),
    PURLIN_REQUIRED(version, "version"),
    PURLIN_REQUIRED(updated_at, "since"),
    PURLIN_REQUIRED(updated_by, "by"));

typedef struct pair_rows {
  PURLIN_LIST_OF(pair_row) rows;
} pair_rows;
typedef struct alias_rows {
  PURLIN_LIST_OF(alias_row) rows;
} alias_rows;

static const char *model_ids(purlin_ctx *ctx, const registry_model *models, size_t count) {
  const char **ids = purlin_alloc_array(ctx, count, sizeof *ids);
  for (size_t i = 0; ids && i < count; i++) ids[i] = models[i].id;
  return ids ? purlin_list_json(ctx, (purlin_texts){ids, count}) : NULL;
}

static const char *version_ids(purlin_ctx *ctx, const registry_version *versions, size_t count) {
  const char **ids = purlin_alloc_array(ctx, count, sizeof *ids);
  for (size_t i = 0; ids && i < count; i++) ids[i] = versions[i].id;
  return ids ? purlin_list_json(ctx, (purlin_texts){ids, count}) : NULL;
}

/* How many rows from `from` on are of one owner; they are in the order of owners. */
static size_t of_owner(const pair_rows *all, size_t from, size_t owner) {
  size_t to = from;
  while (to < all->rows.count && all->rows.items[to].owner == (int64_t)owner + 1) to++;
  return to - from;
}

static purlin_status read_tags(purlin_ctx *ctx, const char *sql, const char *ids, pair_rows *rows, registry_tag **tags) {
  purlin_status status = purlin_db_list(ctx, pair_row, &rows->rows, sql, ids);
  if (status != PURLIN_OK) return status;
  *tags = purlin_alloc_array(ctx, rows->rows.count + 1, sizeof **tags);
  for (size_t i = 0; *tags && i < rows->rows.count; i++)
    (*tags)[i] = (registry_tag){rows->rows.items[i].key, rows->rows.items[i].value};
  return *tags ? PURLIN_OK : PURLIN_TOO_LARGE;
}

/* ---- Versions --------------------------------------------------------------------------------------------------------------------------- */

static purlin_status fill_some_versions(purlin_ctx *ctx, registry_version *versions, size_t count) {
  pair_rows tag_rows, names;
  registry_tag *tags;
  const char *ids = version_ids(ctx, versions, count);
  if (!ids) return PURLIN_TOO_LARGE;
  purlin_status status = read_tags(ctx, VERSION_TAGS, ids, &tag_rows, &tags);
  if (status == PURLIN_OK) status = purlin_db_list(ctx, pair_row, &names.rows, VERSION_ALIASES, ids);
  if (status != PURLIN_OK) return status;
  const char **aliases = purlin_alloc_array(ctx, names.rows.count + 1, sizeof *aliases);
  if (!aliases) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < names.rows.count; i++) aliases[i] = names.rows.items[i].key;
  for (size_t i = 0, tag = 0, alias = 0; i < count; i++) {
    versions[i].tags.items = tags + tag;
    versions[i].tags.count = of_owner(&tag_rows, tag, i);
    tag += versions[i].tags.count;
    versions[i].aliases = (purlin_texts){aliases + alias, of_owner(&names, alias, i)};
    alias += versions[i].aliases.count;
  }
  return PURLIN_OK;
}

purlin_status registry_fill_versions(purlin_ctx *ctx, registry_version *versions, size_t count) {
  purlin_status status = PURLIN_OK;
  for (size_t i = 0; i < count && status == PURLIN_OK; i += AT_ONCE)
    status = fill_some_versions(ctx, versions + i, count - i < AT_ONCE ? count - i : AT_ONCE);
  return status;
}

/* ---- Models ----------------------------------------------------------------------------------------------------------------------------- */

static purlin_status fill_aliases(purlin_ctx *ctx, const char *ids, registry_model *models, size_t count) {
  alias_rows found;
  purlin_status status = purlin_db_list(ctx, alias_row, &found.rows, MODEL_ALIASES, ids);
  if (status != PURLIN_OK) return status;
  registry_alias *aliases = purlin_alloc_array(ctx, found.rows.count + 1, sizeof *aliases);
  if (!aliases) return PURLIN_TOO_LARGE;
  for (size_t i = 0, at = 0; i < count; i++) {
    models[i].aliases.items = aliases + at;
    for (; at < found.rows.count && found.rows.items[at].owner == (int64_t)i + 1; at++) {
      const alias_row *row = &found.rows.items[at];
      aliases[at] = (registry_alias){row->alias, row->version, row->updated_at, row->updated_by};
      models[i].aliases.count++;
    }
  }
  return PURLIN_OK;
}

static purlin_status fill_some_models(purlin_ctx *ctx, registry_model *models, size_t count) {
  pair_rows rows;
  registry_tag *tags;
  const char *ids = model_ids(ctx, models, count);
  if (!ids) return PURLIN_TOO_LARGE;
  purlin_status status = read_tags(ctx, MODEL_TAGS, ids, &rows, &tags);
  if (status != PURLIN_OK) return status;
  for (size_t i = 0, tag = 0; i < count; i++) {
    models[i].tags.items = tags + tag;
    models[i].tags.count = of_owner(&rows, tag, i);
    tag += models[i].tags.count;
  }
  return fill_aliases(ctx, ids, models, count);
}

/* Those of each model follow each other, in the models' order. */
static purlin_status latest_of_some(purlin_ctx *ctx, registry_model *models, size_t count, const char *stages) {
  struct {
    PURLIN_LIST_OF(registry_version) rows;
  } found;
  const char *ids = model_ids(ctx, models, count);
  if (!ids) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_db_list(ctx, registry_version, &found.rows, LATEST, ids, stages);
  if (status == PURLIN_OK) status = registry_fill_versions(ctx, found.rows.items, found.rows.count);
  if (status != PURLIN_OK) return status;
  for (size_t i = 0, at = 0; i < count; i++) {
    models[i].latest_versions.items = found.rows.items + at;
    for (; at < found.rows.count && strcmp(found.rows.items[at].name, models[i].name) == 0; at++)
      models[i].latest_versions.count++;
  }
  return PURLIN_OK;
}

purlin_status registry_fill_latest(purlin_ctx *ctx, registry_model *models, size_t count, purlin_texts stages) {
  const char *list = stages.count > 0 ? purlin_list_json(ctx, stages) : ALL_STAGES;
  purlin_status status = list ? PURLIN_OK : PURLIN_TOO_LARGE;
  for (size_t i = 0; i < count && status == PURLIN_OK; i += AT_ONCE)
    status = latest_of_some(ctx, models + i, count - i < AT_ONCE ? count - i : AT_ONCE, list);
  return status;
}

purlin_status registry_fill_models(purlin_ctx *ctx, registry_model *models, size_t count) {
  purlin_status status = PURLIN_OK;
  for (size_t i = 0; i < count && status == PURLIN_OK; i += AT_ONCE)
    status = fill_some_models(ctx, models + i, count - i < AT_ONCE ? count - i : AT_ONCE);
  return status == PURLIN_OK ? registry_fill_latest(ctx, models, count, (purlin_texts){0}) : status;
}
