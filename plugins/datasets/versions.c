#include "datasets.h"

#define NAME_RULE .pattern = "[^/]+", .min_length = 1, .max_length = 250
#define COLUMNS                                                                                                            \
  "s.name, v.version, v.sha256, v.size, v.row_count, JSON_EXTRACT(v.columns, '$.columns') AS columns, v.origin, v.created_at, v.created_by"
#define FROM_VERSIONS " FROM datasets_versions v JOIN datasets_sets s ON s.id = v.set_id"

static const char MAKE_SET[] =
    "INSERT INTO datasets_sets (id, workspace, project, name, created_at, created_by) VALUES (?, ?, ?, ?, NOW(6), ?)"
    " ON DUPLICATE KEY UPDATE name = VALUES(name)"; /* locks the row that is there, at once for writing */
#define SET_COLUMNS "id, project, name, versions, created_at, created_by"
static const char FIND_SET[] = "SELECT " SET_COLUMNS " FROM datasets_sets WHERE workspace = ? AND name = ?";
static const char LOCK_SET[] = "SELECT " SET_COLUMNS " FROM datasets_sets WHERE workspace = ? AND name = ? FOR UPDATE";
static const char COUNT_UP[] = "UPDATE datasets_sets SET versions = ? WHERE id = ?";
static const char INSERT[] =
    "INSERT INTO datasets_versions (id, workspace, project, set_id, version, sha256, size, row_count, columns, origin, created_at, created_by)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NOW(6), ?)";
static const char SELECT_ONE[] = "SELECT " COLUMNS FROM_VERSIONS " WHERE s.id = ? AND v.version = IF(? = 0, s.versions, ?)";
static const char SELECT_PAGE[] =
    "SELECT s.name, v.version, v.sha256, v.size, v.row_count, v.origin, v.created_at, v.created_by" FROM_VERSIONS
    " WHERE s.id = ? AND v.version < ? ORDER BY v.version DESC LIMIT ?";
static const char SELECT_SETS[] =
    "SELECT " SET_COLUMNS
    " FROM datasets_sets WHERE workspace = ? AND " PURLIN_VISIBLE("project", "id") " AND name > ? ORDER BY name LIMIT ?";

typedef struct dataset {
  const char *id, *project, *name;
  int64_t versions;
  purlin_time created_at;
  const char *created_by;
} dataset;
PURLIN_SCHEMA(dataset, "A dataset",
    PURLIN_REQUIRED(id, "Its id"),
    PURLIN_REQUIRED(project, "Its project"),
    PURLIN_REQUIRED(name, "Its name, unique in the workspace"),
    PURLIN_REQUIRED(versions, "The number of its newest version"),
    PURLIN_REQUIRED(created_at, "Since when"),
    PURLIN_REQUIRED(created_by, "By whom"));

typedef struct version_event {
  const char *name;
  int64_t version, row_count;
} version_event;
PURLIN_SCHEMA(version_event, "A version of a dataset",
    PURLIN_REQUIRED(name, "The dataset"),
    PURLIN_REQUIRED(version, "Its number"),
    PURLIN_REQUIRED(row_count, "How many rows"));
PURLIN_EVENT(version_created, version_event, "A dataset has a new version");

static purlin_status find_set(purlin_ctx *ctx, const char *name, dataset *out) {
  purlin_status status = purlin_db_row(ctx, dataset, out, FIND_SET, purlin_workspace(ctx), name);
  if (status == PURLIN_OK) status = purlin_reach(ctx, "datasets:read", "datasets:read", out->project, out->id);
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "no dataset named '%s'", name) : status;
}

static purlin_status find_version(purlin_ctx *ctx, const dataset *of, int64_t number, version *out) {
  purlin_status status = purlin_db_row(ctx, version, out, SELECT_ONE, of->id, number, number);
  if (status != PURLIN_NOT_FOUND) return status;
  return purlin_fail(ctx, status, "no dataset '%s' with a version %lld", of->name, (long long)number);
}

purlin_status datasets_version(purlin_ctx *ctx, const char *name, int64_t number, version *out) {
  dataset of;
  purlin_status status = find_set(ctx, name, &of);
  return status == PURLIN_OK ? find_version(ctx, &of, number, out) : status;
}

/* One without versions is being made, in the caller's project. A name is unique in the workspace, so it may be taken by what they do not
 * see. */
static purlin_status may_add(purlin_ctx *ctx, const dataset *to) {
  if (to->versions == 0) return purlin_require_on(ctx, "datasets:write", to->project, NULL);
  purlin_status status = purlin_reach(ctx, "datasets:write", "datasets:read", to->project, to->id);
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, PURLIN_CONFLICT, "a dataset named '%s' exists already", to->name)
                                    : status;
}

purlin_status datasets_may_add(purlin_ctx *ctx, const char *name) {
  dataset found;
  purlin_status status = purlin_db_row(ctx, dataset, &found, FIND_SET, purlin_workspace(ctx), name);
  if (status == PURLIN_NOT_FOUND) return purlin_require_on(ctx, "datasets:write", purlin_project(ctx), NULL);
  return status == PURLIN_OK ? may_add(ctx, &found) : status;
}

static purlin_status keep_bytes(purlin_ctx *ctx, const char *sha256) {
  const purlin_storage *storage = purlin_use(ctx, storage, NULL);
  purlin_status status = storage ? purlin_keep_blob(ctx, storage, sha256) : PURLIN_UNAVAILABLE;
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "no blob %s", sha256) : status;
}

purlin_status datasets_add(purlin_ctx *ctx, const new_version *what, version *out) {
  const char *workspace = purlin_workspace(ctx), *actor = purlin_actor(ctx);
  purlin_json encoded;
  purlin_status status = purlin_encode(ctx, columns_schema(), &what->columns, &encoded);
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx, MAKE_SET, purlin_new_id(ctx, "dat"), workspace, purlin_project(ctx), what->name, actor);
  dataset set;
  if (status == PURLIN_OK) status = purlin_db_row(ctx, dataset, &set, LOCK_SET, workspace, what->name);
  if (status == PURLIN_OK) status = may_add(ctx, &set);
  if (status != PURLIN_OK) return status;
  int64_t number = set.versions + 1;
  status = purlin_db_run(ctx, INSERT, purlin_new_id(ctx, "dsv"), workspace, set.project, set.id, number, what->blob.sha256,
                         what->blob.size, what->rows, encoded, what->origin, actor);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, COUNT_UP, number, set.id);
  if (status == PURLIN_OK) status = keep_bytes(ctx, what->blob.sha256);
  const version_event event = {what->name, number, what->rows};
  if (status == PURLIN_OK) status = purlin_emit(ctx, version_created, &event, what->name);
  return status == PURLIN_OK ? find_version(ctx, &set, number, out) : status;
}

typedef struct get_version_in {
  const char *name;
  int64_t version;
} get_version_in;
PURLIN_SCHEMA(get_version_in, "Which version",
    PURLIN_REQUIRED(name, "The dataset", .max_length = 250),
    PURLIN_DEFAULT(version, "0", "Its number; 0: the newest", .min = 0, .max = 9e15));

PURLIN_OPERATION(get_version, get_version_in, version,
    .summary = "A version of a dataset with its columns", .permission = "datasets:read", .by_project = true, .http = "GET /api/v1/datasets/{name}/versions/{version}") {
  return datasets_version(ctx, in->name, in->version, out);
}

typedef struct list_versions_in {
  const char *name;
  int64_t before, limit;
} list_versions_in;
PURLIN_SCHEMA(list_versions_in, "Which page",
    PURLIN_REQUIRED(name, "The dataset", .max_length = 250),
    PURLIN_DEFAULT(before, "9000000000000000", "Versions with smaller numbers", .min = 1, .max = 9e15),
    PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = 1000));
typedef struct version_page {
  PURLIN_LIST_OF(version) versions;
} version_page;
PURLIN_SCHEMA(version_page, "Versions, newest first, without their columns", PURLIN_LIST(versions, version, "The versions"));

PURLIN_OPERATION(list_versions, list_versions_in, version_page,
    .summary = "The versions of a dataset", .permission = "datasets:read", .by_project = true, .http = "GET /api/v1/datasets/{name}/versions") {
  dataset of;
  purlin_status status = find_set(ctx, in->name, &of);
  if (status != PURLIN_OK) return status;
  return purlin_db_list(ctx, version, &out->versions, SELECT_PAGE, of.id, in->before, in->limit);
}

typedef struct list_in {
  const char *after;
  int64_t limit;
} list_in;
PURLIN_SCHEMA(list_in, "Which page",
    PURLIN_DEFAULT(after, "\"\"", "Names after this one"),
    PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = 1000));
typedef struct dataset_page {
  PURLIN_LIST_OF(dataset) datasets;
} dataset_page;
PURLIN_SCHEMA(dataset_page, "Datasets, by name", PURLIN_LIST(datasets, dataset, "The datasets"));

PURLIN_OPERATION(list, list_in, dataset_page,
    .summary = "The datasets that you may see", .permission = "datasets:read", .by_project = true, .http = "GET /api/v1/datasets") {
  return purlin_db_list(ctx, dataset, &out->datasets, SELECT_SETS, purlin_workspace(ctx),
                        PURLIN_VISIBLE_TO(ctx, "datasets:read"), in->after, in->limit);
}
