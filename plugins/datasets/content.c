#include "datasets.h"
#include <stdio.h>
#include <string.h>

enum { BLOCK = 64 * 1024 };

typedef struct adding {
  const new_version *what;
  version *out;
} adding;

static purlin_status add(purlin_ctx *ctx, void *argument) {
  adding *a = argument;
  purlin_status status = datasets_add(ctx, a->what, a->out);
  if (status != PURLIN_OK) return status;
  return purlin_audit(ctx, &(purlin_audit_entry){.operation = "datasets.upload", .object = a->out->sha256});
}

/* ---- In: the stream goes to storage and through the scan at the same time ------------------------------------------------------------------- */

typedef struct intake {
  scan *scan;
  new_version *what;
} intake;

static purlin_status feed(purlin_ctx *ctx, void *to, const void *data, size_t size) {
  const intake *in = to;
  if (size > 0) return scan_feed(ctx, in->scan, data, size);
  return scan_end(ctx, in->scan, &in->what->columns, &in->what->rows);
}

PURLIN_ROUTE(upload, "POST /api/v1/datasets/{name}/versions",
    .summary = "Upload a version of a dataset, as a stream", .permission = "datasets:write", .by_project = true, .body = "text/csv", .out = version_schema,
    .max_body = UINT64_MAX, .timeout_ms = UINT32_MAX) {
  const purlin_storage *storage = purlin_use(ctx, storage, NULL);
  if (!storage) return PURLIN_UNAVAILABLE;
  new_version what = {.name = purlin_parameter(request, "name"), .origin = "upload"};
  if (!scan_is_name(what.name) || strchr(what.name, '/'))
    return purlin_fail_field(ctx, "name", "must be UTF-8 of at most %d bytes, without a slash", SCAN_LONGEST_NAME);
  version made;
  scan *s = NULL;
  purlin_status status = datasets_may_add(ctx, what.name);
  if (status == PURLIN_OK) status = scan_begin(ctx, &s);
  if (status == PURLIN_OK) status = purlin_store_body(ctx, request, storage, feed, &(intake){s, &what}, &what.blob);
  scan_free(s);
  if (status == PURLIN_OK) status = purlin_transaction(ctx, add, &(adding){&what, &made});
  return status == PURLIN_OK ? purlin_respond(ctx, request, 201, version_schema(), &made) : status;
}

typedef struct add_version_in {
  const char *name, *sha256, *origin;
} add_version_in;
PURLIN_SCHEMA(add_version_in, "Stored bytes to register as a version",
    PURLIN_REQUIRED(name, "The dataset", .pattern = "[^/]+", .max_length = 250),
    PURLIN_REQUIRED(sha256, "The bytes in storage: CSV with a header line", .pattern = "[0-9a-f]{64}"),
    PURLIN_DEFAULT(origin, "\"\"", "Where they came from, in words", .max_length = 500));

PURLIN_OPERATION(add_version, add_version_in, version,
    .summary = "Register stored bytes as a version of a dataset", .permission = "datasets:write", .by_project = true, .effect = PURLIN_CREATES,
    .http = "POST /api/v1/datasets/{name}/blobs") {
  const purlin_storage *storage = purlin_use(ctx, storage, NULL);
  if (!storage) return PURLIN_UNAVAILABLE;
  new_version what = {.name = in->name, .origin = in->origin};
  scan *s = NULL;
  purlin_status status = datasets_may_add(ctx, in->name);
  if (status == PURLIN_OK) status = scan_begin(ctx, &s);
  intake to = {s, &what};
  what.blob.sha256 = in->sha256;
  if (status == PURLIN_OK) status = purlin_read_blob(ctx, storage, in->sha256, feed, &to, NULL, &what.blob.size);
  if (status == PURLIN_OK) status = feed(ctx, &to, NULL, 0);
  scan_free(s);
  return status == PURLIN_OK ? datasets_add(ctx, &what, out) : status;
}

/* ---- Out ------------------------------------------------------------------------------------------------------------------------------------------ */

static purlin_status send(purlin_ctx *ctx, purlin_request *request, const version *what) {
  const purlin_storage *storage = purlin_use(ctx, storage, NULL);
  purlin_blob_reader *reader = NULL;
  int64_t size = 0;
  purlin_status status = storage ? storage->open(ctx, what->sha256, &reader, &size) : PURLIN_UNAVAILABLE;
  if (status != PURLIN_OK) return status;
  uint64_t first = 0, length = (uint64_t)size;
  const char *etag = purlin_format(ctx, "\"%s\"", what->sha256);
  unsigned http = purlin_range(ctx, request, (uint64_t)size, etag, &first, &length);
  if (http == 416) status = purlin_fail(ctx, PURLIN_RANGE, "the dataset has %lld bytes", (long long)size);
  if (status == PURLIN_OK) status = purlin_respond_begin(ctx, request, http, "text/csv; charset=utf-8", (int64_t)length);
  if (status == PURLIN_OK) status = purlin_send_blob(ctx, request, storage, reader, first, length, BLOCK);
  storage->close(ctx, reader);
  return status;
}

PURLIN_ROUTE(download, "GET /api/v1/datasets/{name}/versions/{version}/content",
    .summary = "The bytes of a version, also a range of them", .permission = "datasets:read", .by_project = true, .answer = "text/csv", .timeout_ms = UINT32_MAX) {
  long long number = 0;
  char rest = '\0';
  if (sscanf(purlin_parameter(request, "version"), "%15lld%c", &number, &rest) != 1 || number < 0)
    return purlin_fail_field(ctx, "version", "expected a number");
  version what;
  purlin_status status = datasets_version(ctx, purlin_parameter(request, "name"), number, &what);
  return status == PURLIN_OK ? send(ctx, request, &what) : status;
}
