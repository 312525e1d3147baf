#include "artifacts.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { BLOCK = 256 * 1024 };

/* ---- In ------------------------------------------------------------------------------------------------------------------------------------ */

purlin_status artifacts_put(purlin_ctx *ctx, purlin_request *request, const artifacts_place *place, artifacts_file *out) {
  const purlin_storage *storage = purlin_use(ctx, storage, NULL);
  artifacts_owner owner = {0};
  purlin_blob blob;
  if (!storage) return PURLIN_UNAVAILABLE;
  purlin_status status = artifacts_check_path(ctx, place->path);
  if (status == PURLIN_OK) status = artifacts_find_owner(ctx, place, ARTIFACTS_CHANGE, &owner);
  if (status == PURLIN_OK) status = artifacts_check_room(ctx, place);
  if (status == PURLIN_OK) status = purlin_store_body(ctx, request, storage, NULL, NULL, &blob);
  return status == PURLIN_OK ? artifacts_name(ctx, place, &blob, out) : status;
}

/* ---- Out ----------------------------------------------------------------------------------------------------------------------------------- */

/* By the name alone: whoever stored a file may say anything of it. */
static const char *media_type(const char *path) {
  static const struct {
    const char *endings, *type;
  } types[] = {
      {" txt log err cfg conf cnf cf ini properties prop hocon toml yaml yml xml json js py py3 csv tsv md rst ipynb mlmodel mlproject ",
       "text/plain; charset=utf-8"},
      {" html htm ", "text/html; charset=utf-8"},
      {" png ", "image/png"},
      {" jpg jpeg ", "image/jpeg"},
      {" gif ", "image/gif"},
      {" webp ", "image/webp"},
      {" svg ", "image/svg+xml"},
      {" pdf ", "application/pdf"},
      {" zip ", "application/zip"},
      {" gz tgz ", "application/gzip"},
      {" mp4 ", "video/mp4"},
      {" wav ", "audio/x-wav"},
      {" mp3 ", "audio/mpeg"},
  };
  const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
  char wanted[16];
  int size = snprintf(wanted, sizeof wanted, " %s ", dot ? dot + 1 : name);
  if (size < 3 || (size_t)size >= sizeof wanted) return "application/octet-stream";
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
    if (strcasestr(types[i].endings, wanted)) return types[i].type;
  return "application/octet-stream";
}

/* attachment; filename*=UTF-8''NAME, all but letters, digits and a few marks escaped. NULL without memory. */
static const char *disposition(purlin_ctx *ctx, const char *path) {
  static const char start[] = "attachment; filename*=UTF-8''", kept[] = "!#$&+-.^_`|~";
  const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
  char *text = purlin_alloc(ctx, sizeof start + 3 * strlen(name));
  if (!text) return NULL;
  memcpy(text, start, sizeof start);
  for (char *to = text + sizeof start - 1; *name; name++) {
    unsigned char c = (unsigned char)*name;
    bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || strchr(kept, c);
    to += snprintf(to, 4, plain ? "%c" : "%%%02X", c);
  }
  return text;
}

/* Whether the client has these bytes already: If-None-Match, by weak comparison. */
static bool is_known(const purlin_request *request, const char *etag) {
  const char *known = purlin_header(request, "if-none-match");
  return known && (strcmp(known, "*") == 0 || strstr(known, etag));
}

static purlin_status copy_out(purlin_ctx *ctx, purlin_request *request, const purlin_storage *storage,
                              purlin_blob_reader *reader, uint64_t first, uint64_t length) {
  char *block = purlin_alloc(ctx, BLOCK);
  if (!block) return PURLIN_TOO_LARGE;
  while (length > 0) {
    size_t got = 0;
    purlin_status status = storage->read(ctx, reader, (int64_t)first, block, length < BLOCK ? (size_t)length : BLOCK, &got);
    if (status == PURLIN_OK && got == 0) status = purlin_fail(ctx, PURLIN_INTERNAL, "the blob ended early");
    if (status == PURLIN_OK) status = purlin_write(ctx, request, block, got);
    if (status != PURLIN_OK) return status;
    first += got;
    length -= got;
  }
  return PURLIN_OK;
}

static purlin_status answer(purlin_ctx *ctx, purlin_request *request, const purlin_storage *storage,
                            purlin_blob_reader *reader, const artifacts_file *file, const char *etag) {
  uint64_t first = 0, length = (uint64_t)file->size;
  const char *save = disposition(ctx, file->path);
  unsigned http = purlin_range(ctx, request, (uint64_t)file->size, etag, &first, &length);
  if (http == 416) return purlin_fail(ctx, PURLIN_RANGE, "the artifact has %lld bytes", (long long)file->size);
  purlin_status status = save ? purlin_set_header(ctx, request, "Content-Disposition", save) : PURLIN_TOO_LARGE;
  if (status == PURLIN_OK) status = purlin_respond_begin(ctx, request, http, media_type(file->path), (int64_t)length);
  if (status != PURLIN_OK || strcmp(purlin_method(request), "HEAD") == 0) return status;
  return copy_out(ctx, request, storage, reader, first, length);
}

purlin_status artifacts_send(purlin_ctx *ctx, purlin_request *request, const artifacts_place *place) {
  const purlin_storage *storage = purlin_use(ctx, storage, NULL);
  artifacts_owner owner = {0};
  artifacts_file file = {0};
  if (!storage) return PURLIN_UNAVAILABLE;
  purlin_status status = artifacts_check_path(ctx, place->path);
  if (status == PURLIN_OK) status = artifacts_find_owner(ctx, place, ARTIFACTS_READ, &owner);
  if (status == PURLIN_OK) status = artifacts_find(ctx, place, &file);
  if (status != PURLIN_OK) return status;
  const char *etag = purlin_format(ctx, "\"%s\"", file.sha256);
  if (!etag) return PURLIN_TOO_LARGE;
  if (is_known(request, etag)) {
    status = purlin_set_header(ctx, request, "ETag", etag);
    return status == PURLIN_OK ? purlin_respond_bytes(ctx, request, 304, NULL, "", 0) : status;
  }
  purlin_blob_reader *reader = NULL;
  int64_t size = 0;
  status = storage->open(ctx, file.sha256, &reader, &size);
  if (status == PURLIN_NOT_FOUND) return purlin_fail(ctx, PURLIN_INTERNAL, "the bytes %s are gone", file.sha256);
  if (status != PURLIN_OK) return status;
  status = answer(ctx, request, storage, reader, &file, etag);
  storage->close(ctx, reader);
  return status;
}

/* ---- The routes ------------------------------------------------------------------------------------------------------------------------------ */

static artifacts_place place_of(const purlin_request *request) {
  return (artifacts_place){.kind = purlin_parameter(request, "kind"),
                           .owner = purlin_parameter(request, "owner"),
                           .path = purlin_parameter(request, "path")};
}

PURLIN_ROUTE(upload, "PUT /api/v1/artifacts/{kind}/{owner}/{path...}",
    .summary = "Store a file, as a stream, in place of one of the same path", .permission = "runs:write", .by_project = true,
    .body = "application/octet-stream", .out = artifacts_file_schema, .max_body = UINT64_MAX, .timeout_ms = UINT32_MAX) {
  artifacts_file file = {0};
  const artifacts_place place = place_of(request);
  purlin_status status = artifacts_put(ctx, request, &place, &file);
  return status == PURLIN_OK ? purlin_respond(ctx, request, 200, artifacts_file_schema(), &file) : status;
}

PURLIN_ROUTE(download, "GET /api/v1/artifacts/{kind}/{owner}/{path...}", .summary = "The bytes of a file, also a range of them",
    .permission = "runs:read", .by_project = true, .answer = "application/octet-stream", .timeout_ms = UINT32_MAX) {
  const artifacts_place place = place_of(request);
  return artifacts_send(ctx, request, &place);
}
