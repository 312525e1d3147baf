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

static purlin_status answer(purlin_ctx *ctx, purlin_request *request, const purlin_storage *storage,
                            purlin_blob_reader *reader, const artifacts_file *file, const char *etag) {
  uint64_t first = 0, length = (uint64_t)file->size;
  const char *save = disposition(ctx, file->path);
  unsigned http = purlin_range(ctx, request, (uint64_t)file->size, etag, &first, &length);
  if (http == 416) return purlin_fail(ctx, PURLIN_RANGE, "the artifact has %lld bytes", (long long)file->size);
  purlin_status status = save ? purlin_set_header(ctx, request, "Content-Disposition", save) : PURLIN_TOO_LARGE;
  if (status == PURLIN_OK) status = purlin_respond_begin(ctx, request, http, media_type(file->path), (int64_t)length);
  if (status != PURLIN_OK || strcmp(purlin_method(request), "HEAD") == 0) return status;
  return purlin_send_blob(ctx, request, storage, reader, first, length, BLOCK);
}

static purlin_status send_file(purlin_ctx *ctx, purlin_request *request, const purlin_storage *storage,
                               const artifacts_file *file) {
  const char *etag = purlin_format(ctx, "\"%s\"", file->sha256);
  if (!etag) return PURLIN_TOO_LARGE;
  if (is_known(request, etag)) {
    purlin_status status = purlin_set_header(ctx, request, "ETag", etag);
    return status == PURLIN_OK ? purlin_respond_bytes(ctx, request, 304, NULL, "", 0) : status;
  }
  purlin_blob_reader *reader = NULL;
  int64_t size = 0;
  purlin_status status = storage->open(ctx, file->sha256, &reader, &size);
  if (status != PURLIN_OK) return status;
  status = answer(ctx, request, storage, reader, file, etag);
  storage->close(ctx, reader);
  return status;
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
  status = send_file(ctx, request, storage, &file);
  if (status != PURLIN_NOT_FOUND) return status;
  return purlin_fail(ctx, PURLIN_INTERNAL, "the bytes %s are gone", file.sha256);
}

/* ---- By links: the bytes that the file had, as long as it is there ------------------------------------------------------------------------- */

enum { LINK_LIFE_S = 5 * 60 };

typedef struct link_content {
  const char *workspace, *project, *actor, *kind, *owner, *path, *sha256;
  int64_t size, expires_at;
} link_content;
PURLIN_SCHEMA(link_content, "What may be read",
    PURLIN_REQUIRED(workspace, "where"),
    PURLIN_REQUIRED(project, "where"),
    PURLIN_REQUIRED(actor, "who was given the link"),
    PURLIN_REQUIRED(kind, "of the owner"),
    PURLIN_REQUIRED(owner, "whose file"),
    PURLIN_REQUIRED(path, "its path"),
    PURLIN_REQUIRED(sha256, "its bytes then"),
    PURLIN_REQUIRED(size, "how many"),
    PURLIN_REQUIRED(expires_at, "seconds since 1970"));

PURLIN_OPERATION(link_download, artifacts_place, artifacts_download_link,
    .summary = "An address that gives a file to whoever has it, for five minutes", .permission = "runs:read", .by_project = true,
    .answers_secret = true) {
  artifacts_owner owner = {0};
  artifacts_file file = {0};
  purlin_status status = artifacts_check_path(ctx, in->path);
  if (status == PURLIN_OK) status = artifacts_find_owner(ctx, in, ARTIFACTS_READ, &owner);
  if (status == PURLIN_OK) status = artifacts_find(ctx, in, &file);
  if (status != PURLIN_OK) return status;
  int64_t end = purlin_now_us() / 1000000 + LINK_LIFE_S;
  const link_content content = {
      purlin_workspace(ctx), owner.project, purlin_actor(ctx), in->kind, in->owner, in->path, file.sha256, file.size, end};
  const char *sealed = artifacts_seal_link(ctx, "download", link_content_schema(), &content);
  if (!sealed) return purlin_fail(ctx, PURLIN_UNAVAILABLE, "no link could be sealed");
  *out =
      (artifacts_download_link){purlin_format(ctx, "/api/v1/artifact-bytes?link=%s", sealed), file.size, {end * 1000000}};
  return out->link ? PURLIN_OK : PURLIN_TOO_LARGE;
}

/* A client reads it in ranges: all are of the same bytes, also when the file is replaced meanwhile. */
PURLIN_ROUTE(download_linked, "GET /api/v1/artifact-bytes", .summary = "The bytes of a file, also a range of them, by a link", .permission = "callback",
    .answer = "application/octet-stream", .timeout_ms = UINT32_MAX) {
  link_content content;
  artifacts_file file = {0};
  const purlin_storage *storage = purlin_use(ctx, storage, NULL);
  purlin_status status = artifacts_open_link(ctx, request, "download", link_content_schema(), &content);
  if (status != PURLIN_OK) return status;
  if (purlin_now_us() / 1000000 >= content.expires_at) return artifacts_refuse_link(ctx);
  purlin_act_as(ctx, content.actor, content.workspace, content.project);
  const artifacts_place place = {content.kind, content.owner, content.path, ""};
  status = storage ? artifacts_find(ctx, &place, &file) : PURLIN_UNAVAILABLE;
  file.sha256 = content.sha256;
  file.size = content.size;
  return status == PURLIN_OK ? send_file(ctx, request, storage, &file) : status;
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
