/* artifacts.c: MLflow's proxy of artifacts, and what a browser asks of them.
 *
 * Below /mlflow-artifacts/artifacts/ stand the paths that follow "mlflow-artifacts:/" in URIs: EXPERIMENT/RUN/artifacts/FILE,
 * EXPERIMENT/models/MODEL/artifacts/FILE, EXPERIMENT/traces/TRACE/artifacts/FILE, and in place of EXPERIMENT whatever the experiment's
 * artifact_location says. What follows the id of no run, model or trace is not found: nothing is kept outside of them. */
#include "mlflow.h"
#include <purlin/contracts/artifacts.h>
#include <string.h>

#define PROXY "/api/2.0/mlflow-artifacts/artifacts"

/* ---- From paths to owners --------------------------------------------------------------------------------------------------------------- */

/* Cuts the first `size` bytes of a path, which end before "/artifacts", into what is kept where. False: there is no id. */
static bool cut(purlin_ctx *ctx, const char *path, size_t size, artifacts_place *out) {
  static const char word[] = "/artifacts";
  const char *owner = memrchr(path, '/', size);
  if (!owner) return false;
  const char *before = memrchr(path, '/', (size_t)(owner - path));
  before = before ? before + 1 : path;
  size_t kind_size = (size_t)(owner - before);
  bool model = kind_size == 6 && memcmp(before, "models", 6) == 0;
  bool trace = kind_size == 6 && memcmp(before, "traces", 6) == 0;
  const char *rest = path + size + sizeof word - 1;
  *out = (artifacts_place){.kind = model   ? "model"
                                   : trace ? "trace"
                                           : "run",
                           .owner = purlin_copy_bytes(ctx, owner + 1, (size_t)(path + size - owner - 1)),
                           .path = *rest == '/' ? rest + 1 : rest,
                           .uri = purlin_format(ctx, "mlflow-artifacts:/%.*s", (int)(size + sizeof word - 1), path)};
  return out->owner && out->uri && *out->owner;
}

/* The next place that a path may name, from *from on: a location may hold the word, too. */
static bool next_place(purlin_ctx *ctx, const char *path, size_t *from, artifacts_place *out) {
  static const char word[] = "/artifacts";
  for (const char *at = strstr(path + *from, word); at; at = strstr(at + 1, word)) {
    const char *end = at + sizeof word - 1;
    if ((*end != '/' && *end != '\0') || !cut(ctx, path, (size_t)(at - path), out)) continue;
    *from = (size_t)(end - path);
    return true;
  }
  return false;
}

typedef purlin_status with_place(purlin_ctx *ctx, const artifacts_place *place, void *argument);

/* Does something with the place that a path names: with the first that is there. */
static purlin_status at_place(purlin_ctx *ctx, const char *path, with_place *act, void *argument) {
  enum { MOST_TRIED = 4 };
  artifacts_place place;
  size_t from = 0;
  purlin_status status = PURLIN_NOT_FOUND;
  path += strspn(path, "/");
  for (int tried = 0; status == PURLIN_NOT_FOUND && tried < MOST_TRIED && next_place(ctx, path, &from, &place); tried++)
    status = act(ctx, &place, argument);
  if (status == PURLIN_CONFLICT) return purlin_fail(ctx, PURLIN_INVALID, "%s", purlin_failure(ctx));
  if (status != PURLIN_NOT_FOUND) return status;
  return *purlin_failure(ctx) ? status : purlin_fail(ctx, status, "No such artifact: '%s'", path);
}

static const char *without_slash(purlin_ctx *ctx, const char *path) {
  size_t size = strlen(path);
  while (size > 0 && path[size - 1] == '/') size--;
  return purlin_copy_bytes(ctx, path, size);
}

/* ---- Streams ------------------------------------------------------------------------------------------------------------------------------ */

static purlin_status put(purlin_ctx *ctx, const artifacts_place *place, void *request) {
  artifacts_file file = {0};
  const purlin_artifacts *artifacts = purlin_use(ctx, artifacts, NULL);
  return artifacts ? artifacts->put(ctx, request, place, &file) : PURLIN_UNAVAILABLE;
}

static purlin_status send(purlin_ctx *ctx, const artifacts_place *place, void *request) {
  const purlin_artifacts *artifacts = purlin_use(ctx, artifacts, NULL);
  return artifacts ? artifacts->send(ctx, request, place) : PURLIN_UNAVAILABLE;
}

static purlin_status done(purlin_ctx *ctx, purlin_request *request) {
  return purlin_respond(ctx, request, 200, purlin_nothing_schema(), &(purlin_nothing){0});
}

/* The client sends the '?' of a name as it is: what follows would be lost. */
static purlin_status refuse_query(purlin_ctx *ctx, purlin_request *request) {
  purlin_nothing nothing;
  purlin_status status = purlin_query_decode(ctx, request, purlin_nothing_schema(), &nothing);
  return status == PURLIN_INVALID ? purlin_fail(ctx, status, "Invalid path: a '?' in it must be sent as %%3F") : status;
}

PURLIN_ROUTE(upload_artifact, "PUT " PROXY "/{path...}", .summary = "Upload an artifact", .permission = "runs:write", .by_project = true,
    .body = "application/octet-stream", .out = purlin_nothing_schema, .max_body = UINT64_MAX, .timeout_ms = UINT32_MAX, .dialect = &mlflow) {
  purlin_status status = refuse_query(ctx, request);
  if (status == PURLIN_OK) status = at_place(ctx, purlin_parameter(request, "path"), put, request);
  return status == PURLIN_OK ? done(ctx, request) : status;
}

PURLIN_ROUTE(download_artifact, "GET " PROXY "/{path...}", .summary = "Download an artifact", .permission = "runs:read", .by_project = true,
    .answer = "application/octet-stream", .timeout_ms = UINT32_MAX, .dialect = &mlflow) {
  return at_place(ctx, purlin_parameter(request, "path"), send, request);
}

/* ---- Deleting ------------------------------------------------------------------------------------------------------------------------------ */

static purlin_status delete_at(purlin_ctx *ctx, const artifacts_place *place, void *argument) {
  (void)argument;
  artifacts_deleted deleted = {0};
  return purlin_call(ctx, "artifacts.delete", artifacts_place_schema(), place, artifacts_deleted_schema(), &deleted);
}

typedef struct mlflow_artifact_path {
  const char *path;
} mlflow_artifact_path;
PURLIN_SCHEMA(mlflow_artifact_path, "Which artifacts",
    PURLIN_DEFAULT(path, "\"\"", "What follows mlflow-artifacts:/ in their URI", .max_length = 8000));

MLFLOW_BINDING(delete_artifacts, mlflow_artifact_path, purlin_nothing, "DELETE " PROXY "/{path...}", "artifacts.delete") {
  const char *path = without_slash(ctx, in->path);
  return path ? at_place(ctx, path, delete_at, NULL) : PURLIN_TOO_LARGE;
}

/* ---- Listing ------------------------------------------------------------------------------------------------------------------------------- */

typedef struct mlflow_file_info {
  const char *path;
  bool is_dir;
  purlin_opt_int file_size;
} mlflow_file_info;
PURLIN_SCHEMA(mlflow_file_info, "A file or a folder",
    PURLIN_REQUIRED(path, "Its path"),
    PURLIN_REQUIRED(is_dir, "Whether it is a folder"),
    PURLIN_OPTIONAL(file_size, "Bytes of a file"));

typedef struct mlflow_files {
  PURLIN_LIST_OF(mlflow_file_info) files;
} mlflow_files;
PURLIN_SCHEMA(mlflow_files, "What is in a folder", PURLIN_LIST(files, mlflow_file_info, "By their last names"));

enum { PAGE = 10000, MOST_FILES = 100000 };

static purlin_status add_page(purlin_ctx *ctx, const artifacts_page *page, mlflow_files *out) {
  size_t count = out->files.count + page->entries.count;
  mlflow_file_info *items = purlin_alloc_array(ctx, count, sizeof *items);
  if (!items) return PURLIN_TOO_LARGE;
  if (out->files.count > 0) memcpy(items, out->files.items, out->files.count * sizeof *items);
  for (size_t i = 0; i < page->entries.count; i++) {
    const artifacts_entry *entry = &page->entries.items[i];
    items[out->files.count + i] = (mlflow_file_info){entry->name, entry->is_folder, entry->size};
  }
  out->files.items = items;
  out->files.count = count;
  return PURLIN_OK;
}

/* The whole folder: the client asks for no pages here. */
static purlin_status list_at(purlin_ctx *ctx, const artifacts_place *place, void *argument) {
  mlflow_files *out = argument;
  artifacts_list ask = {place->kind, place->owner, place->path, place->uri, "", PAGE};
  for (;;) {
    artifacts_page page = {0};
    purlin_status status =
        purlin_call(ctx, "artifacts.list", artifacts_list_schema(), &ask, artifacts_page_schema(), &page);
    if (status == PURLIN_OK && page.entries.count > 0) status = add_page(ctx, &page, out);
    if (status != PURLIN_OK || !*page.next_page) return status;
    if (out->files.count >= MOST_FILES)
      return purlin_fail(ctx, PURLIN_TOO_LARGE, "there are more than %d files in it", MOST_FILES);
    ask.page = page.next_page;
  }
}

MLFLOW_BINDING(list_artifacts, mlflow_artifact_path, mlflow_files, "GET " PROXY, "artifacts.list") {
  const char *path = without_slash(ctx, in->path);
  return path ? at_place(ctx, path, list_at, out) : PURLIN_TOO_LARGE;
}
