/* datasets.h: what the files of this plugin share.
 *
 * scan.c      CSV to columns and statistics
 * versions.c  the tables: datasets and their versions
 * content.c   bytes in and out, as streams */
#ifndef DATASETS_H
#define DATASETS_H

#include <purlin/purlin.h>
#include <purlin/contracts/storage.h>
#include "scan.h"

typedef struct version {
  const char *name;
  int64_t version;
  const char *sha256;
  int64_t size, row_count;
  PURLIN_LIST_OF(column) columns;
  const char *origin;
  purlin_time created_at;
  const char *created_by;
} version;
PURLIN_SCHEMA(version, "A version of a dataset; it never changes",
    PURLIN_REQUIRED(name, "The dataset"),
    PURLIN_REQUIRED(version, "Its number, from 1"),
    PURLIN_REQUIRED(sha256, "Its bytes, by their SHA-256"),
    PURLIN_REQUIRED(size, "How many bytes"),
    PURLIN_REQUIRED(row_count, "How many rows"),
    PURLIN_LIST(columns, column, "Its columns"),
    PURLIN_REQUIRED(origin, "Where it came from, in words"),
    PURLIN_REQUIRED(created_at, "When"),
    PURLIN_REQUIRED(created_by, "By whom"));

/* Whether the caller may add a version to the dataset `name`, which is made when it is not there. Recorded when not. May park. */
PURLIN_CHECKED purlin_status datasets_may_add(purlin_ctx *ctx, const char *name);
/* Records a version of it, if they may; emits version_created. In a transaction. */
typedef struct new_version {
  const char *name, *origin;
  purlin_blob blob;
  columns columns;
  int64_t rows;
} new_version;
PURLIN_CHECKED purlin_status datasets_add(purlin_ctx *ctx, const new_version *what, version *out);
/* The version, for whoever may read its dataset; number 0: the newest. PURLIN_NOT_FOUND is recorded. May park. */
PURLIN_CHECKED purlin_status datasets_version(purlin_ctx *ctx, const char *name, int64_t number, version *out);

#endif
