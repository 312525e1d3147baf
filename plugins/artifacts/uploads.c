#include "uploads.h"
#include <string.h>

static const char INSERT[] =
    "INSERT INTO artifacts_uploads (workspace, id, kind, owner, path, project, parts, begun_at, begun_by)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, NOW(6), ?)";
static const char SELECT_ONE[] = SELECT_UPLOAD;
static const char SELECT_PARTS[] =
    "SELECT number, sha256, size FROM artifacts_parts WHERE workspace = ? AND upload = ? ORDER BY number";
static const char COMPLETE[] =
    "UPDATE artifacts_uploads SET ended_at = NOW(6), sha256 = ?, size = ? WHERE workspace = ? AND id = ?"
    " AND (ended_at IS NULL OR sha256 = ?)";
static const char ABORT[] =
    "UPDATE artifacts_uploads SET ended_at = NOW(6) WHERE workspace = ? AND id = ? AND ended_at IS NULL";

/* ---- Begin ------------------------------------------------------------------------------------------------------------------------------ */

PURLIN_OPERATION(begin_upload, artifacts_begin_upload, artifacts_upload,
    .summary = "Begin to store a file in parts", .permission = "runs:write", .by_project = true, .effect = PURLIN_CREATES,
    .unaudited = "nothing is there yet: the file that the parts become has its entry", .answers_secret = true,
    .http = "POST /api/v1/artifact-uploads") {
  artifacts_owner owner = {0};
  const artifacts_place place = {in->kind, in->owner, in->path, in->uri};
  purlin_status status = artifacts_find_owner(ctx, &place, ARTIFACTS_CHANGE, &owner);
  if (status == PURLIN_OK) status = artifacts_check_room(ctx, &place);
  if (status != PURLIN_OK) return status;
  out->upload = purlin_new_id(ctx, "upl");
  if (!out->upload) return PURLIN_TOO_LARGE;
  status = purlin_db_run(ctx, INSERT, purlin_workspace(ctx), out->upload, in->kind, in->owner, in->path, owner.project,
                         in->parts, purlin_actor(ctx));
  return status == PURLIN_OK ? parts_link(ctx, out->upload, in->parts, out) : status;
}

/* ---- Complete --------------------------------------------------------------------------------------------------------------------------- */

static purlin_status no_upload(purlin_ctx *ctx, const char *id) {
  return purlin_fail(ctx, PURLIN_NOT_FOUND, "no upload '%s' to this path", id);
}

/* The upload to this very place, for who may change it. */
static purlin_status find_upload(purlin_ctx *ctx, const artifacts_place *place, const char *id, artifacts_upload_row *out) {
  artifacts_owner owner = {0};
  purlin_status status = artifacts_find_owner(ctx, place, ARTIFACTS_CHANGE, &owner);
  if (status == PURLIN_OK) status = purlin_db_row(ctx, artifacts_upload_row, out, SELECT_ONE, purlin_workspace(ctx), id);
  if (status == PURLIN_NOT_FOUND) return no_upload(ctx, id);
  if (status != PURLIN_OK) return status;
  bool same =
      strcmp(out->kind, place->kind) == 0 && strcmp(out->owner, place->owner) == 0 && strcmp(out->path, place->path) == 0;
  return same ? PURLIN_OK : no_upload(ctx, id);
}

/* As it was sent back, with or without its quotes. */
static bool is_etag(const char *sent, const char *sha256) {
  size_t size = strlen(sha256), quote = *sent == '"';
  return strncmp(sent + quote, sha256, size) == 0 && strcmp(sent + quote + size, quote ? "\"" : "") == 0;
}

static purlin_status check_parts(purlin_ctx *ctx, const artifacts_complete_upload *in, const artifacts_upload_row *upload,
                                 const artifacts_part_rows *there) {
  if ((int64_t)in->parts.count != upload->parts)
    return purlin_fail_field(ctx, "parts", "must be all %lld", (long long)upload->parts);
  for (size_t i = 0; i < in->parts.count; i++) {
    const artifacts_part *part = &in->parts.items[i];
    if (part->number != (int64_t)i + 1) return purlin_fail_field(ctx, "parts", "must be in order, from 1");
    if (i >= there->count || there->items[i].number != part->number || !is_etag(part->etag, there->items[i].sha256))
      return purlin_fail_field(ctx, "parts", "has a part %lld that was not sent so", (long long)part->number);
  }
  return PURLIN_OK;
}

typedef struct joining {
  const purlin_storage *storage;
  purlin_blob_writer *writer;
  size_t salt; /* what is still to be left out of this part */
} joining;

static purlin_status join(purlin_ctx *ctx, void *to, const void *data, size_t size) {
  joining *j = to;
  size_t left_out = j->salt < size ? j->salt : size;
  j->salt -= left_out;
  purlin_status status = purlin_still_wanted(ctx);
  if (status == PURLIN_OK && left_out < size)
    status = j->storage->write(ctx, j->writer, (const char *)data + left_out, size - left_out);
  return status;
}

static purlin_status join_all(purlin_ctx *ctx, const artifacts_part_rows *parts, purlin_blob *out) {
  joining j = {.storage = purlin_use(ctx, storage, NULL)};
  purlin_status status = j.storage ? j.storage->create(ctx, &j.writer) : PURLIN_UNAVAILABLE;
  if (status != PURLIN_OK) return status;
  for (size_t i = 0; i < parts->count && status == PURLIN_OK; i++) {
    j.salt = PART_SALT;
    status = purlin_read_blob(ctx, j.storage, parts->items[i].sha256, join, &j, NULL, NULL);
  }
  if (status == PURLIN_OK) return j.storage->commit(ctx, j.writer, out);
  j.storage->abandon(ctx, j.writer);
  return status;
}

/* Once more, after an answer that was lost: the file, though its path may have gone on since. */
static purlin_status tell_completed(purlin_ctx *ctx, const artifacts_place *place, const artifacts_upload_row *upload,
                                    artifacts_file *out) {
  purlin_status status = artifacts_find(ctx, place, out);
  if (status == PURLIN_OK && strcmp(out->sha256, upload->sha256) == 0) return PURLIN_OK;
  if (status != PURLIN_OK && status != PURLIN_NOT_FOUND) return status;
  purlin_clear_failure(ctx);
  *out = (artifacts_file){upload->path, upload->sha256, upload->size, upload->begun_at, upload->begun_by};
  return PURLIN_OK;
}

static purlin_status name_joined(purlin_ctx *ctx, const artifacts_place *place, const char *id, const purlin_blob *blob,
                                 artifacts_file *out) {
  purlin_status status = artifacts_name(ctx, place, blob, out);
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx, COMPLETE, blob->sha256, blob->size, purlin_workspace(ctx), id, blob->sha256);
  return status == PURLIN_OK && purlin_affected(ctx) == 0 ? no_upload(ctx, id) : status;
}

/* Two that complete it at once both join the parts, and the second one may find that they are gone. */
PURLIN_OPERATION(complete_upload, artifacts_complete_upload, artifacts_file,
    .summary = "Make the parts of an upload the file", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES,
    .unaudited = "the file has its entry", .timeout_ms = UINT32_MAX, .http = "POST /api/v1/artifact-uploads/{upload}/complete") {
  const artifacts_place place = {in->kind, in->owner, in->path, in->uri};
  artifacts_upload_row upload = {0};
  artifacts_part_rows parts = {0};
  purlin_blob blob = {0};
  purlin_status status = find_upload(ctx, &place, in->upload, &upload);
  if (status != PURLIN_OK) return status;
  if (upload.ended) return *upload.sha256 ? tell_completed(ctx, &place, &upload, out) : no_upload(ctx, in->upload);
  status = purlin_db_list(ctx, artifacts_part_row, &parts, SELECT_PARTS, purlin_workspace(ctx), in->upload);
  if (status == PURLIN_OK) status = check_parts(ctx, in, &upload, &parts);
  if (status != PURLIN_OK) return status;
  status = join_all(ctx, &parts, &blob);
  if (status == PURLIN_NOT_FOUND) {
    status = find_upload(ctx, &place, in->upload, &upload);
    if (status != PURLIN_OK) return status;
    return *upload.sha256 ? tell_completed(ctx, &place, &upload, out) : no_upload(ctx, in->upload);
  }
  return status == PURLIN_OK ? name_joined(ctx, &place, in->upload, &blob, out) : status;
}

/* ---- Abort ---------------------------------------------------------------------------------------------------------------------------------- */

PURLIN_OPERATION(abort_upload, artifacts_which_upload, purlin_nothing,
    .summary = "Give up an upload in parts", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES,
    .unaudited = "nothing was there yet", .http = "POST /api/v1/artifact-uploads/{upload}/abort") {
  const artifacts_place place = {in->kind, in->owner, in->path, in->uri};
  artifacts_upload_row upload = {0};
  purlin_status status = find_upload(ctx, &place, in->upload, &upload);
  return status == PURLIN_OK ? purlin_db_run(ctx, ABORT, purlin_workspace(ctx), in->upload) : status;
}
