/* uploads.h: uploads in parts: what uploads.c and parts.c share.
 *
 * begin  a row, and a link for each part
 * parts  each a blob of its own, behind random bytes so that nobody else has the same
 * end    complete: the parts become one blob, which gets the path in the transaction that ends the upload; or abort
 * clear  in the background: the parts of what has ended, or was forgotten for a day, go */
#ifndef ARTIFACTS_UPLOADS_H
#define ARTIFACTS_UPLOADS_H

#include "artifacts.h"

enum { UPLOADS_LIFE_S = 24 * 60 * 60, PART_SALT = 32 };

typedef struct artifacts_upload_row {
  const char *kind, *owner, *path, *project, *begun_by, *sha256;
  int64_t parts, size;
  purlin_time begun_at;
  bool ended;
} artifacts_upload_row;
PURLIN_SCHEMA(artifacts_upload_row, "An upload in parts",
    PURLIN_REQUIRED(kind, "of the owner"),
    PURLIN_REQUIRED(owner, "whose file it will be"),
    PURLIN_REQUIRED(path, "of the file"),
    PURLIN_REQUIRED(project, "of the owner"),
    PURLIN_REQUIRED(begun_by, "by whom"),
    PURLIN_REQUIRED(sha256, "of the file that it became, or empty"),
    PURLIN_REQUIRED(parts, "how many"),
    PURLIN_REQUIRED(size, "of that file"),
    PURLIN_REQUIRED(begun_at, "when"),
    PURLIN_REQUIRED(ended, "completed, or given up"));

#define SELECT_UPLOAD                                                                                                        \
  "SELECT kind, owner, path, project, begun_by, COALESCE(sha256, '') AS sha256, parts, COALESCE(size, 0) AS size, begun_at," \
  " ended_at IS NOT NULL AS ended FROM artifacts_uploads WHERE workspace = ? AND id = ?"

typedef struct artifacts_part_row {
  int64_t number;
  const char *sha256;
  int64_t size;
} artifacts_part_row;
PURLIN_SCHEMA(artifacts_part_row, "A part",
    PURLIN_REQUIRED(number, "which"),
    PURLIN_REQUIRED(sha256, "of its blob"),
    PURLIN_REQUIRED(size, "of what was sent"));
typedef PURLIN_LIST_OF(artifacts_part_row) artifacts_part_rows;

/* What opens a part's link, and says where it goes; seconds since 1970. */
typedef struct artifacts_part_place {
  const char *workspace, *upload;
  int64_t number, expires_at;
} artifacts_part_place;
PURLIN_SCHEMA(artifacts_part_place, "Where a part goes",
    PURLIN_REQUIRED(workspace, "of the upload"),
    PURLIN_REQUIRED(upload, "its id"),
    PURLIN_REQUIRED(number, "which part"),
    PURLIN_REQUIRED(expires_at, "until when"));

/* The links of all parts, in the arena. Does not park. */
PURLIN_CHECKED purlin_status parts_link(purlin_ctx *ctx, const char *upload, int64_t count, artifacts_upload *out);

/* From time to time: what no upload needs any more goes. */
void uploads_clear(purlin_ctx *ctx, void *unused);

#endif
