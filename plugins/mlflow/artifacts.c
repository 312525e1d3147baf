/* artifacts.c: MLflow's proxy of artifacts, and what a browser asks of them.
 *
 * Below /mlflow-artifacts/artifacts/ stand the paths that follow "mlflow-artifacts:/" in URIs: EXPERIMENT/RUN/artifacts/FILE,
 * EXPERIMENT/models/MODEL/artifacts/FILE, EXPERIMENT/traces/TRACE/artifacts/FILE. Whose files are not at that very URI is not found, and
 * nothing is kept outside of runs, models and traces. */
#include "mlflow.h"
#include <purlin/contracts/artifacts.h>
#include <string.h>

#define WORD "/artifacts"
#define SIZE_OF_WORD (sizeof WORD - 1)
#define PROXY "/api/2.0/mlflow-artifacts/artifacts"

/* ---- From paths to owners --------------------------------------------------------------------------------------------------------------- */

/* Cuts the first `size` bytes of a path, which end before "/artifacts", into what is kept where. False: there is no id. */
static bool cut(purlin_ctx *ctx, const char *path, size_t size, artifacts_place *out) {
  const char *owner = memrchr(path, '/', size);
  if (!owner) return false;
  const char *before = memrchr(path, '/', (size_t)(owner - path));
  before = before ? before + 1 : path;
  size_t kind_size = (size_t)(owner - before);
  bool model = kind_size == 6 && memcmp(before, "models", 6) == 0;
  bool trace = kind_size == 6 && memcmp(before, "traces", 6) == 0;
  const char *rest = path + size + SIZE_OF_WORD;
  *out = (artifacts_place){.kind = model   ? "model"
                                   : trace ? "trace"
                                           : "run",
                           .owner = purlin_copy_bytes(ctx, owner + 1, (size_t)(path + size - owner - 1)),
                           .path = *rest == '/' ? rest + 1 : rest,
                           .uri = purlin_format(ctx, "mlflow-artifacts:/%.*s", (int)(size + SIZE_OF_WORD), path)};
  return out->owner && out->uri && *out->owner;
}

static bool find_place(purlin_ctx *ctx, const char *path, artifacts_place *out) {
  const char *at = path;
  do at = strstr(at, WORD);
  while (at && at[SIZE_OF_WORD] != '/' && at[SIZE_OF_WORD] != '\0' && at++);
  return at && cut(ctx, path, (size_t)(at - path), out);
}

typedef purlin_status with_place(purlin_ctx *ctx, const artifacts_place *place, void *argument);

/* Does something with the place that a path names. */
static purlin_status at_place(purlin_ctx *ctx, const char *path, with_place *act, void *argument) {
  artifacts_place place;
  path += strspn(path, "/");
  if (!find_place(ctx, path, &place)) return purlin_fail(ctx, PURLIN_NOT_FOUND, "No such artifact: '%s'", path);
  purlin_status status = act(ctx, &place, argument);
  return status == PURLIN_CONFLICT ? purlin_fail(ctx, PURLIN_INVALID, "%s", purlin_failure(ctx)) : status;
}

static const char *without_slash(purlin_ctx *ctx, const char *path) {
  size_t size = strlen(path);
  while (size > 0 && path[size - 1] == '/') size--;
  return purlin_copy_bytes(ctx, path, size);
}

static purlin_status missing(purlin_ctx *ctx, const char *parameter) {
  return purlin_fail(
      ctx, PURLIN_INVALID,
      "Missing value for required parameter '%s'. See the API docs for more information about request parameters.",
      parameter);
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
  if (status != PURLIN_INVALID) return status;
  purlin_clear_failure(ctx);
  return purlin_fail(ctx, status, "Invalid path: a '?' in it must be sent as %%3F");
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

/* ---- In parts, and by links ------------------------------------------------------------------------------------------------------------------ */

#define MPU "/api/2.0/mlflow-artifacts/mpu"

/* The client's own path of the file, of which the last name counts, after the folder in the address. */
static purlin_status file_place(purlin_ctx *ctx, const char *folder, const char *local, artifacts_place *out) {
  const char *slash = strrchr(local, '/'), *name = slash ? slash + 1 : local, *back = strrchr(name, '\\');
  const char *whole = without_slash(ctx, folder + strspn(folder, "/"));
  if (whole) whole = purlin_format(ctx, "%s/%s", whole, back ? back + 1 : name);
  if (!whole) return PURLIN_TOO_LARGE;
  return find_place(ctx, whole, out) ? PURLIN_OK : purlin_fail(ctx, PURLIN_NOT_FOUND, "No such artifact: '%s'", whole);
}

static purlin_status told(purlin_ctx *ctx, purlin_status status) {
  return status == PURLIN_CONFLICT ? purlin_fail(ctx, PURLIN_INVALID, "%s", purlin_failure(ctx)) : status;
}

static const char *here(purlin_ctx *ctx, const purlin_request *request, const char *link) {
  const char *origin = purlin_origin(request);
  return origin ? purlin_format(ctx, "%s%s", *origin ? origin : purlin_server_url(), link) : NULL;
}

typedef struct mlflow_create_upload {
  const char *path;
  int64_t num_parts;
} mlflow_create_upload;
PURLIN_SCHEMA(mlflow_create_upload, "A file that comes in parts",
    PURLIN_DEFAULT(path, "\"\"", "Its path where it comes from: the last name counts", .max_length = 8000),
    PURLIN_DEFAULT(num_parts, "1", "In how many parts", .min = 1, .max = 10000));

typedef struct mlflow_upload_credential {
  const char *url;
  int64_t part_number;
  purlin_json headers;
} mlflow_upload_credential;
PURLIN_SCHEMA(mlflow_upload_credential, "Where a part goes",
    PURLIN_REQUIRED(url, "What takes it by PUT"),
    PURLIN_REQUIRED(part_number, "Which"),
    PURLIN_REQUIRED(headers, "To be sent with it: none"));

typedef struct mlflow_created_upload {
  const char *upload_id;
  PURLIN_LIST_OF(mlflow_upload_credential) credentials;
} mlflow_created_upload;
PURLIN_SCHEMA(mlflow_created_upload, "An upload in parts",
    PURLIN_REQUIRED(upload_id, "Its id"),
    PURLIN_LIST(credentials, mlflow_upload_credential, "Where its parts go"));

static const purlin_json no_headers = {"{}", 2};

static purlin_status tell_links(purlin_ctx *ctx, purlin_request *request, const artifacts_upload *upload) {
  mlflow_created_upload out = {.upload_id = upload->upload};
  out.credentials.items = purlin_alloc_array(ctx, upload->links.count, sizeof *out.credentials.items);
  if (!out.credentials.items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < upload->links.count; i++) {
    const artifacts_part_link *link = &upload->links.items[i];
    const char *url = here(ctx, request, link->link);
    if (!url) return PURLIN_TOO_LARGE;
    out.credentials.items[out.credentials.count++] = (mlflow_upload_credential){url, link->number, no_headers};
  }
  return purlin_respond(ctx, request, 200, mlflow_created_upload_schema(), &out);
}

enum { MOST_ASKED = 64 * 1024 };

/* Routes, these two: links stand below the address by which the client has come. */
PURLIN_ROUTE(create_upload, "POST " MPU "/create/{path...}", .summary = "Begin to upload an artifact in parts", .permission = "runs:write",
    .by_project = true, .body = "application/json", .in = mlflow_create_upload_schema, .out = mlflow_created_upload_schema,
    .max_body = MOST_ASKED, .dialect = &mlflow) {
  const char *body = NULL;
  size_t size = 0;
  mlflow_create_upload in;
  artifacts_place place;
  artifacts_upload made = {0};
  purlin_status status = purlin_read_all(ctx, request, MOST_ASKED, &body, &size);
  if (status == PURLIN_OK)
    status = purlin_decode_stored(ctx, mlflow_create_upload_schema(), size > 0 ? body : "{}", size > 0 ? size : 2, &in);
  if (status == PURLIN_OK && !*in.path) status = missing(ctx, "path");
  if (status == PURLIN_OK) status = file_place(ctx, purlin_parameter(request, "path"), in.path, &place);
  if (status != PURLIN_OK) return status;
  const artifacts_begin_upload ask = {place.kind, place.owner, place.path, place.uri, in.num_parts};
  status =
      purlin_call(ctx, "artifacts.begin_upload", artifacts_begin_upload_schema(), &ask, artifacts_upload_schema(), &made);
  return status == PURLIN_OK ? tell_links(ctx, request, &made) : told(ctx, status);
}

typedef struct mlflow_part {
  int64_t part_number;
  const char *etag, *url;
} mlflow_part;
PURLIN_SCHEMA(mlflow_part, "A part that was sent",
    PURLIN_REQUIRED(part_number, "Which"),
    PURLIN_DEFAULT(etag, "\"\"", "What it was answered with", .max_length = 100),
    PURLIN_DEFAULT(url, "\"\"", "Where it went"));

typedef struct mlflow_complete_upload {
  const char *artifact_path, *path, *upload_id;
  PURLIN_LIST_OF(mlflow_part) parts;
} mlflow_complete_upload;
PURLIN_SCHEMA(mlflow_complete_upload, "All parts are there",
    PURLIN_DEFAULT(artifact_path, "\"\"", "The folder, as in the address", .max_length = 8000),
    PURLIN_REQUIRED(path, "As when it was begun", .min_length = 1, .max_length = 8000),
    PURLIN_DEFAULT(upload_id, "\"\"", "The upload"),
    PURLIN_LIST(parts, mlflow_part, "Its parts", .max_length = 10000));

PURLIN_BINDING(complete_upload, mlflow_complete_upload, purlin_nothing, "POST " MPU "/complete/{artifact_path...}",
               "artifacts.complete_upload", .dialect = &mlflow, .max_body = 32 * 1024 * 1024) {
  artifacts_place place;
  artifacts_file file = {0};
  purlin_status status = file_place(ctx, in->artifact_path, in->path, &place);
  if (status != PURLIN_OK) return status;
  artifacts_complete_upload ask = {place.kind, place.owner, place.path, place.uri, in->upload_id, {0}};
  ask.parts.items = purlin_alloc_array(ctx, in->parts.count + 1, sizeof *ask.parts.items);
  if (!ask.parts.items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < in->parts.count; i++)
    ask.parts.items[ask.parts.count++] = (artifacts_part){in->parts.items[i].part_number, in->parts.items[i].etag};
  status = purlin_call(ctx, "artifacts.complete_upload", artifacts_complete_upload_schema(), &ask, artifacts_file_schema(),
                       &file);
  return told(ctx, status);
}

typedef struct mlflow_abort_upload {
  const char *artifact_path, *path, *upload_id;
} mlflow_abort_upload;
PURLIN_SCHEMA(mlflow_abort_upload, "An upload in parts",
    PURLIN_DEFAULT(artifact_path, "\"\"", "The folder, as in the address", .max_length = 8000),
    PURLIN_REQUIRED(path, "As when it was begun", .min_length = 1, .max_length = 8000),
    PURLIN_DEFAULT(upload_id, "\"\"", "The upload"));

MLFLOW_BINDING(abort_upload, mlflow_abort_upload, purlin_nothing, "POST " MPU "/abort/{artifact_path...}",
               "artifacts.abort_upload") {
  artifacts_place place;
  purlin_status status = file_place(ctx, in->artifact_path, in->path, &place);
  if (status != PURLIN_OK) return status;
  const artifacts_which_upload ask = {place.kind, place.owner, place.path, place.uri, in->upload_id};
  purlin_nothing nothing;
  status =
      purlin_call(ctx, "artifacts.abort_upload", artifacts_which_upload_schema(), &ask, purlin_nothing_schema(), &nothing);
  return told(ctx, status);
}

typedef struct mlflow_presigned {
  const char *url;
  purlin_json headers;
  int64_t file_size;
} mlflow_presigned;
PURLIN_SCHEMA(mlflow_presigned, "Where an artifact is for a while",
    PURLIN_REQUIRED(url, "What answers it, also ranges of it, to GET"),
    PURLIN_REQUIRED(headers, "To be sent: none"),
    PURLIN_REQUIRED(file_size, "Its bytes"));

static purlin_status presign(purlin_ctx *ctx, const artifacts_place *place, void *argument) {
  purlin_request *request = argument;
  artifacts_download_link made = {0};
  purlin_status status =
      purlin_call(ctx, "artifacts.link_download", artifacts_place_schema(), place, artifacts_download_link_schema(), &made);
  if (status != PURLIN_OK) return status;
  const mlflow_presigned out = {here(ctx, request, made.link), no_headers, made.size};
  return out.url ? purlin_respond(ctx, request, 200, mlflow_presigned_schema(), &out) : PURLIN_TOO_LARGE;
}

PURLIN_ROUTE(presign_artifact, "GET /api/2.0/mlflow-artifacts/presigned/{path...}", .summary = "An address of an artifact for whoever has it, for five minutes",
    .permission = "runs:read", .by_project = true, .out = mlflow_presigned_schema, .dialect = &mlflow) {
  return at_place(ctx, purlin_parameter(request, "path"), presign, request);
}

/* ---- By the ids of runs and logged models, in pages ------------------------------------------------------------------------------------------ */

typedef struct mlflow_folder {
  const char *root_uri;
  PURLIN_LIST_OF(mlflow_file_info) files;
  const char *next_page_token;
} mlflow_folder;
PURLIN_SCHEMA(mlflow_folder, "What is in a folder",
    PURLIN_REQUIRED(root_uri, "Where the files of the run or model are"),
    PURLIN_LIST(files, mlflow_file_info, "By their paths from there"),
    PURLIN_OPTIONAL(next_page_token, "Asks for the next page, if there is one"));

static purlin_status list_folder(purlin_ctx *ctx, const artifacts_list *ask, mlflow_folder *out) {
  artifacts_page page = {0};
  purlin_status status = purlin_call(ctx, "artifacts.list", artifacts_list_schema(), ask, artifacts_page_schema(), &page);
  if (status != PURLIN_OK) return status;
  out->root_uri = page.uri;
  out->next_page_token = *page.next_page ? page.next_page : NULL;
  out->files.items = purlin_alloc_array(ctx, page.entries.count + 1, sizeof *out->files.items);
  if (!out->files.items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < page.entries.count; i++) {
    const artifacts_entry *entry = &page.entries.items[i];
    const char *path = *ask->path ? purlin_format(ctx, "%s/%s", ask->path, entry->name) : entry->name;
    if (!path) return PURLIN_TOO_LARGE;
    out->files.items[out->files.count++] = (mlflow_file_info){path, entry->is_folder, entry->size};
  }
  return PURLIN_OK;
}

typedef struct mlflow_list_artifacts {
  const char *run_id, *run_uuid, *path, *page_token;
} mlflow_list_artifacts;
PURLIN_SCHEMA(mlflow_list_artifacts, "Which artifacts of a run",
    PURLIN_DEFAULT(run_id, "\"\"", "The run"),
    PURLIN_DEFAULT(run_uuid, "\"\"", "Its older name"),
    PURLIN_DEFAULT(path, "\"\"", "The folder", .max_length = 8000),
    PURLIN_DEFAULT(page_token, "\"\"", "What came with the page before", .max_length = 8000));

static purlin_status no_run(purlin_ctx *ctx, const char *run) {
  return *run ? purlin_fail(ctx, PURLIN_NOT_FOUND, "Run with id=%s not found", run) : missing(ctx, "run_id");
}

MLFLOW_BINDING(list_run_artifacts, mlflow_list_artifacts, mlflow_folder, "GET /api/2.0/mlflow/artifacts/list",
               "artifacts.list") {
  const char *run = *in->run_id ? in->run_id : in->run_uuid, *path = without_slash(ctx, in->path);
  if (!path) return PURLIN_TOO_LARGE;
  const artifacts_list ask = {"run", run, path, "", in->page_token, PAGE};
  purlin_status status = *run ? list_folder(ctx, &ask, out) : PURLIN_NOT_FOUND;
  return status == PURLIN_NOT_FOUND ? no_run(ctx, run) : status;
}

typedef struct mlflow_list_model_artifacts {
  const char *model_id, *artifact_directory_path, *page_token;
} mlflow_list_model_artifacts;
PURLIN_SCHEMA(mlflow_list_model_artifacts, "Which artifacts of a logged model",
    PURLIN_REQUIRED(model_id, "The model", .min_length = 1),
    PURLIN_DEFAULT(artifact_directory_path, "\"\"", "The folder", .max_length = 8000),
    PURLIN_DEFAULT(page_token, "\"\"", "What came with the page before", .max_length = 8000));

static purlin_status no_model(purlin_ctx *ctx, const char *model) {
  return purlin_fail(ctx, PURLIN_NOT_FOUND, "Logged model with ID '%s' not found.", model);
}

MLFLOW_BINDING(list_logged_model_artifacts, mlflow_list_model_artifacts, mlflow_folder,
               "GET /api/2.0/mlflow/logged-models/{model_id}/artifacts/directories", "artifacts.list") {
  const char *path = without_slash(ctx, in->artifact_directory_path);
  if (!path) return PURLIN_TOO_LARGE;
  const artifacts_list ask = {"model", in->model_id, path, "", in->page_token, PAGE};
  purlin_status status = list_folder(ctx, &ask, out);
  return status == PURLIN_NOT_FOUND ? no_model(ctx, in->model_id) : status;
}

/* ---- What a browser asks for -------------------------------------------------------------------------------------------------------------------- */

static const char *query(const purlin_request *request, const char *name) {
  const char *value = purlin_query_value(request, name);
  return value ? value : "";
}

static const char *run_asked(const purlin_request *request) {
  const char *run = query(request, "run_id");
  return *run ? run : query(request, "run_uuid");
}

static purlin_status need(purlin_ctx *ctx, const purlin_request *request, const char *name) {
  if (*query(request, name)) return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_INVALID, "Request must specify %s.", name);
}

PURLIN_ROUTE(get_artifact, "GET /get-artifact", .summary = "An artifact of a run", .permission = "runs:read", .by_project = true,
    .answer = "application/octet-stream", .timeout_ms = UINT32_MAX, .dialect = &mlflow) {
  const artifacts_place place = {"run", run_asked(request), query(request, "path"), ""};
  if (!*place.owner) return no_run(ctx, "");
  purlin_status status = need(ctx, request, "path");
  return status == PURLIN_OK ? send(ctx, &place, request) : status;
}

PURLIN_ROUTE(get_logged_model_artifact, "GET /api/2.0/mlflow/logged-models/{model_id}/artifacts/files", .summary = "An artifact of a logged model",
    .permission = "runs:read", .by_project = true, .answer = "application/octet-stream", .timeout_ms = UINT32_MAX, .dialect = &mlflow) {
  const artifacts_place place = {"model", purlin_parameter(request, "model_id"), query(request, "artifact_file_path"), ""};
  if (!*place.path)
    return purlin_fail(ctx, PURLIN_INVALID, "Request must include the \"artifact_file_path\" query parameter.");
  return send(ctx, &place, request);
}

enum { MOST_FROM_PAGE = 10 * 1024 * 1024 };

PURLIN_ROUTE(upload_from_page, "POST /api/2.0/mlflow/upload-artifact", .summary = "Upload an artifact of a run, from a page", .permission = "runs:write",
    .by_project = true, .body = "application/octet-stream", .max_body = MOST_FROM_PAGE, .dialect = &mlflow) {
  const artifacts_place place = {"run", query(request, "run_uuid"), query(request, "path"), ""};
  purlin_status status = need(ctx, request, "run_uuid");
  if (status == PURLIN_OK) status = need(ctx, request, "path");
  if (status == PURLIN_OK && purlin_content_length(request) == 0)
    status = purlin_fail(ctx, PURLIN_INVALID, "Request must specify data.");
  if (status == PURLIN_OK) status = put(ctx, &place, request);
  if (status == PURLIN_NOT_FOUND) return no_run(ctx, place.owner);
  if (status == PURLIN_CONFLICT) return purlin_fail(ctx, PURLIN_INVALID, "%s", purlin_failure(ctx));
  return status == PURLIN_OK ? done(ctx, request) : status;
}
