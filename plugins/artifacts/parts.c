#include "uploads.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 64 * 1024, AT_ONCE = 500 };

static const char LOCK_UPLOAD[] = SELECT_UPLOAD " FOR UPDATE";
static const char SELECT_PART[] =
    "SELECT number, sha256, size FROM artifacts_parts WHERE workspace = ? AND upload = ? AND number = ?";
static const char PUT_PART[] =
    "REPLACE INTO artifacts_parts (workspace, upload, number, sha256, size) VALUES (?, ?, ?, ?, ?)";
static const char EXPIRE[] = "UPDATE artifacts_uploads SET ended_at = NOW(6) WHERE cleared = FALSE AND ended_at IS NULL"
                             " AND begun_at <= NOW(6) - INTERVAL ? SECOND LIMIT ?";
static const char FORGET[] =
    "DELETE FROM artifacts_uploads WHERE cleared = TRUE AND ended_at <= NOW(6) - INTERVAL ? SECOND LIMIT ?";
static const char SELECT_ENDED[] =
    "SELECT workspace, id FROM artifacts_uploads WHERE cleared = FALSE AND ended_at IS NOT NULL ORDER BY ended_at LIMIT ?";
static const char SELECT_LEFT[] =
    "SELECT number, sha256, size FROM artifacts_parts WHERE workspace = ? AND upload = ? ORDER BY number LIMIT ?";
static const char DELETE_PART[] =
    "DELETE FROM artifacts_parts WHERE workspace = ? AND upload = ? AND number = ? AND sha256 = ?";
static const char CLEARED[] = "UPDATE artifacts_uploads SET cleared = TRUE WHERE workspace = ? AND id = ?";

/* ---- Links -------------------------------------------------------------------------------------------------------------------------------- */

purlin_status parts_link(purlin_ctx *ctx, const char *upload, int64_t count, artifacts_upload *out) {
  int64_t end = purlin_now_us() / 1000000 + UPLOADS_LIFE_S;
  out->expires_at = (purlin_time){end * 1000000};
  out->links.items = purlin_alloc_array(ctx, (size_t)count, sizeof *out->links.items);
  if (!out->links.items) return PURLIN_TOO_LARGE;
  for (int64_t number = 1; number <= count; number++) {
    const artifacts_part_place place = {purlin_workspace(ctx), upload, number, end};
    const char *sealed = artifacts_seal_link(ctx, "part", artifacts_part_place_schema(), &place);
    const char *link =
        sealed ? purlin_format(ctx, "/api/v1/artifact-parts/%s/%lld?link=%s", upload, (long long)number, sealed) : NULL;
    if (!link) return purlin_fail(ctx, PURLIN_UNAVAILABLE, "no link could be sealed");
    out->links.items[out->links.count++] = (artifacts_part_link){number, link};
  }
  return PURLIN_OK;
}

static purlin_status open_part(purlin_ctx *ctx, purlin_request *request, artifacts_part_place *out) {
  char number[24];
  purlin_status status = artifacts_open_link(ctx, request, "part", artifacts_part_place_schema(), out);
  if (status != PURLIN_OK) return status;
  (void)snprintf(number, sizeof number, "%lld", (long long)out->number);
  bool same = strcmp(purlin_parameter(request, "upload"), out->upload) == 0 &&
              strcmp(purlin_parameter(request, "number"), number) == 0;
  return same && purlin_now_us() / 1000000 < out->expires_at ? PURLIN_OK : artifacts_refuse_link(ctx);
}

/* ---- A part comes --------------------------------------------------------------------------------------------------------------------------- */

typedef struct keeping {
  const artifacts_part_place *place;
  const purlin_storage *storage;
  const purlin_blob *blob;
  const char *before; /* the blob that this part was */
} keeping;

static purlin_status keep(purlin_ctx *ctx, void *argument) {
  keeping *k = argument;
  artifacts_upload_row upload;
  artifacts_part_row part;
  const char *workspace = purlin_workspace(ctx), *id = k->place->upload;
  k->before = NULL;
  purlin_status status = purlin_db_row(ctx, artifacts_upload_row, &upload, LOCK_UPLOAD, workspace, id);
  if (status == PURLIN_NOT_FOUND || (status == PURLIN_OK && upload.ended)) return artifacts_refuse_link(ctx);
  if (status != PURLIN_OK) return status;
  status = purlin_db_row(ctx, artifacts_part_row, &part, SELECT_PART, workspace, id, k->place->number);
  if (status != PURLIN_OK && status != PURLIN_NOT_FOUND) return status;
  const char *before = status == PURLIN_OK ? part.sha256 : NULL;
  status = purlin_db_run(ctx, PUT_PART, workspace, id, k->place->number, k->blob->sha256, k->blob->size - PART_SALT);
  if (status == PURLIN_OK) status = purlin_keep_blob(ctx, k->storage, k->blob->sha256);
  if (status == PURLIN_OK) k->before = before;
  return status == PURLIN_NOT_FOUND ? PURLIN_UNAVAILABLE : status;
}

static purlin_status copy_in(purlin_ctx *ctx, purlin_request *request, const purlin_storage *storage,
                             purlin_blob_writer *writer) {
  char salt[PART_SALT] = {0}, *block = purlin_alloc(ctx, BLOCK);
  const char *random = purlin_new_secret(ctx, "part");
  if (!block || !random) return PURLIN_TOO_LARGE;
  /* What is random stands at its end. */
  size_t size = strlen(random);
  memcpy(salt, size > sizeof salt ? random + size - sizeof salt : random, size < sizeof salt ? size : sizeof salt);
  purlin_status status = storage->write(ctx, writer, salt, sizeof salt);
  while (status == PURLIN_OK) {
    size_t got = 0;
    status = purlin_read(ctx, request, block, BLOCK, &got);
    if (status != PURLIN_OK || got == 0) return status;
    status = storage->write(ctx, writer, block, got);
    if (status == PURLIN_OK) status = purlin_yield(ctx);
  }
  return status;
}

static purlin_status store(purlin_ctx *ctx, purlin_request *request, const purlin_storage *storage, purlin_blob *out) {
  purlin_blob_writer *writer = NULL;
  purlin_status status = storage->create(ctx, &writer);
  if (status != PURLIN_OK) return status;
  status = copy_in(ctx, request, storage, writer);
  if (status == PURLIN_OK) return storage->commit(ctx, writer, out);
  storage->abandon(ctx, writer);
  return status;
}

/* Storage finds what is left when this does not: it removes what nobody names. */
static void remove_part(purlin_ctx *ctx, const purlin_storage *storage, const char *sha256) {
  if (storage->remove(ctx, sha256) == PURLIN_OK) return;
  purlin_log(ctx, PURLIN_WARNING, "a part of an upload stays for now: %s", purlin_failure(ctx));
  purlin_clear_failure(ctx);
}

static purlin_status give_up(purlin_ctx *ctx, const keeping *k, purlin_status status) {
  const char *why = purlin_copy(ctx, purlin_failure(ctx));
  remove_part(ctx, k->storage, k->blob->sha256);
  return purlin_fail(ctx, status, "%s", why ? why : "the part could not be kept");
}

static purlin_status take_part(purlin_ctx *ctx, purlin_request *request, const artifacts_part_place *place,
                               purlin_blob *blob) {
  const purlin_storage *storage = purlin_use(ctx, storage, NULL);
  keeping k = {place, storage, blob, NULL};
  purlin_status status = storage ? store(ctx, request, storage, blob) : PURLIN_UNAVAILABLE;
  if (status != PURLIN_OK) return status;
  status = purlin_transaction(ctx, keep, &k);
  if (status != PURLIN_OK) return give_up(ctx, &k, status);
  if (k.before) remove_part(ctx, storage, k.before);
  return PURLIN_OK;
}

PURLIN_ROUTE(upload_part, "PUT /api/v1/artifact-parts/{upload}/{number}", .summary = "Store a part of a file, by its link", .permission = "callback",
    .body = "application/octet-stream", .out = artifacts_part_schema, .max_body = UINT64_MAX, .timeout_ms = UINT32_MAX) {
  artifacts_part_place place;
  artifacts_upload_row upload;
  purlin_blob blob;
  purlin_status status = open_part(ctx, request, &place);
  if (status != PURLIN_OK) return status;
  status = purlin_db_row(ctx, artifacts_upload_row, &upload, SELECT_UPLOAD, place.workspace, place.upload);
  if (status == PURLIN_NOT_FOUND || (status == PURLIN_OK && upload.ended)) return artifacts_refuse_link(ctx);
  if (status != PURLIN_OK) return status;
  purlin_act_as(ctx, upload.begun_by, place.workspace, upload.project);
  status = take_part(ctx, request, &place, &blob);
  const char *etag = status == PURLIN_OK ? purlin_format(ctx, "\"%s\"", blob.sha256) : NULL;
  if (status == PURLIN_OK) status = etag ? purlin_set_header(ctx, request, "ETag", etag) : PURLIN_TOO_LARGE;
  if (status != PURLIN_OK) return status;
  return purlin_respond(ctx, request, 200, artifacts_part_schema(), &(artifacts_part){place.number, etag});
}

/* ---- In the background ------------------------------------------------------------------------------------------------------------------------ */

typedef struct ended_row {
  const char *workspace, *id;
} ended_row;
PURLIN_SCHEMA(ended_row, "An upload that has ended",
    PURLIN_REQUIRED(workspace, "whose"),
    PURLIN_REQUIRED(id, "which"));
typedef PURLIN_LIST_OF(ended_row) ended_rows;

/* Its blobs first: who is killed meanwhile finds them again. */
static purlin_status clear_one(purlin_ctx *ctx, const ended_row *upload) {
  const purlin_storage *storage = purlin_use(ctx, storage, NULL);
  artifacts_part_rows left = {0};
  purlin_act_as(ctx, "system", upload->workspace, "default");
  if (!storage) return PURLIN_UNAVAILABLE;
  purlin_status status =
      purlin_db_list(ctx, artifacts_part_row, &left, SELECT_LEFT, upload->workspace, upload->id, AT_ONCE);
  for (size_t i = 0; i < left.count && status == PURLIN_OK; i++) {
    const artifacts_part_row *part = &left.items[i];
    status = storage->remove(ctx, part->sha256);
    if (status == PURLIN_OK)
      status = purlin_db_run(ctx, DELETE_PART, upload->workspace, upload->id, part->number, part->sha256);
  }
  if (status != PURLIN_OK || left.count == AT_ONCE) return status;
  return purlin_db_run(ctx, CLEARED, upload->workspace, upload->id);
}

void uploads_clear(purlin_ctx *ctx, void *unused) {
  (void)unused;
  ended_rows ended = {0};
  purlin_status status = purlin_db_run(ctx, EXPIRE, UPLOADS_LIFE_S, AT_ONCE);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, FORGET, UPLOADS_LIFE_S, AT_ONCE);
  if (status == PURLIN_OK) status = purlin_db_list(ctx, ended_row, &ended, SELECT_ENDED, AT_ONCE);
  for (size_t i = 0; i < ended.count && status == PURLIN_OK; i++) status = clear_one(ctx, &ended.items[i]);
  if (status == PURLIN_OK || status == PURLIN_CANCELLED) return;
  purlin_log(ctx, PURLIN_WARNING, "parts of uploads that have ended cannot be removed: %s", purlin_failure(ctx));
}
