#include "serving.h"
#include <stdio.h>
#include <string.h>

static const char SELECT_ROWS[] = "SELECT " SERVING_INPUTS " AS inputs, f.label" SERVING_LABELLED_FROM
                                  " AND " SERVING_INPUTS " IS NOT NULL ORDER BY f.labelled_index";

typedef struct export_in {
  const char *endpoint;
  int64_t from, to;
  const char *dataset, *origin, *label;
} export_in;
PURLIN_SCHEMA(export_in, "Which labelled rows, and where to",
    PURLIN_REQUIRED(endpoint, "The endpoint", .max_length = 250),
    PURLIN_REQUIRED(from, "The first label, counted from 0", .min = 0, .max = 9e15),
    PURLIN_REQUIRED(to, "The one after the last", .min = 1, .max = 9e15),
    PURLIN_REQUIRED(dataset, "The dataset; it is made when it is not there", .pattern = "[^/]+", .max_length = 250),
    PURLIN_DEFAULT(origin, "\"\"", "Where the rows came from, in words", .max_length = 500),
    PURLIN_DEFAULT(label, "\"class\"", "The column for what was true", .min_length = 1, .max_length = 250));

typedef struct export_out {
  const char *dataset;
  int64_t version, rows, missing;
} export_out;
PURLIN_SCHEMA(export_out, "A version of a dataset",
    PURLIN_REQUIRED(dataset, "The dataset"),
    PURLIN_REQUIRED(version, "Its new version"),
    PURLIN_REQUIRED(rows, "How many rows it has"),
    PURLIN_REQUIRED(missing, "Labels of the range that are left out: their prediction is not known, or had other columns"));

typedef struct pair {
  purlin_json inputs;
  double label;
} pair;
PURLIN_SCHEMA(pair, "A row",
    PURLIN_REQUIRED(inputs, "inputs"),
    PURLIN_REQUIRED(label, "label"));

typedef struct writing {
  const purlin_storage *storage;
  purlin_blob_writer *writer;
  size_t columns;
  int64_t rows;
} writing;

static purlin_status write_name(purlin_ctx *ctx, writing *w, const char *name, char after) {
  char *text = purlin_alloc(ctx, 2 * strlen(name) + 4), *to = text;
  if (!text) return PURLIN_TOO_LARGE;
  *to++ = '"';
  for (; *name; name++) {
    if (*name == '"') *to++ = '"';
    *to++ = *name;
  }
  *to++ = '"';
  *to++ = after;
  return w->storage->write(ctx, w->writer, text, (size_t)(to - text));
}

static purlin_status write_header(purlin_ctx *ctx, writing *w, const purlin_signature *signature, const char *label) {
  for (size_t i = 0; i < w->columns; i++) {
    purlin_status status = write_name(ctx, w, signature->inputs.items[i].name, ',');
    if (status != PURLIN_OK) return status;
  }
  return write_name(ctx, w, label, '\n');
}

/* "[1,null,2]" becomes "1,,2": how many values that were, 0 when it is no such list. */
static size_t list_to_csv(purlin_json list, char *to, size_t *size) {
  const char *begin = to;
  size_t count = 1;
  if (list.size < 3 || list.text[0] != '[') return 0;
  for (size_t i = 1; i + 1 < list.size; i++) {
    char c = list.text[i];
    if (c == ',') count++;
    if (c == '[' || c == '{' || c == '"') return 0;
    if (c == ',' || (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E') *to++ = c;
  }
  *size = (size_t)(to - begin);
  return count;
}

static purlin_status write_row(purlin_ctx *ctx, writing *w, const pair *row) {
  size_t size = 0;
  char *line = purlin_alloc(ctx, row->inputs.size + 40);
  if (!line) return PURLIN_TOO_LARGE;
  if (list_to_csv(row->inputs, line, &size) != w->columns)
    return PURLIN_OK; /* of a version with other columns: counted as missing */
  size += (size_t)snprintf(line + size, 40, ",%.17g\n", row->label);
  w->rows++;
  return w->storage->write(ctx, w->writer, line, size);
}

static purlin_status write_rows(purlin_ctx *ctx, writing *w, const endpoint_row *of, const export_in *in) {
  purlin_rows *rows = NULL;
  purlin_status status = purlin_db_open(ctx, pair, &rows, SELECT_ROWS, of->id, in->from, in->to);
  if (status != PURLIN_OK) return status;
  purlin_mark mark = purlin_arena_mark(ctx);
  for (;;) {
    pair row;
    bool got = false;
    status = purlin_db_next(ctx, rows, &row, &got);
    if (status != PURLIN_OK || !got) break;
    status = write_row(ctx, w, &row);
    if (status != PURLIN_OK) break;
    purlin_arena_reset(ctx, mark);
  }
  purlin_db_close(ctx, rows);
  return status;
}

static purlin_status store(purlin_ctx *ctx, const endpoint_row *of, const export_in *in, const purlin_signature *signature,
                           purlin_blob *blob, int64_t *rows) {
  writing w = {.storage = purlin_use(ctx, storage, NULL), .columns = signature->inputs.count};
  purlin_status status = w.storage ? w.storage->create(ctx, &w.writer) : PURLIN_UNAVAILABLE;
  if (status != PURLIN_OK) return status;
  status = write_header(ctx, &w, signature, in->label);
  if (status == PURLIN_OK) status = write_rows(ctx, &w, of, in);
  if (status == PURLIN_OK && w.rows == 0)
    status = purlin_fail(ctx, PURLIN_CONFLICT, "the range holds no label whose prediction is known");
  *rows = w.rows;
  if (status == PURLIN_OK) return w.storage->commit(ctx, w.writer, blob);
  w.storage->abandon(ctx, w.writer);
  return status;
}

typedef struct add_in {
  const char *name, *sha256, *origin;
} add_in;
PURLIN_SCHEMA(add_in, "Bytes to register",
    PURLIN_REQUIRED(name, "dataset"),
    PURLIN_REQUIRED(sha256, "bytes"),
    PURLIN_REQUIRED(origin, "origin"));
typedef struct add_out {
  int64_t version;
} add_out;
PURLIN_SCHEMA(add_out, "A version", PURLIN_REQUIRED(version, "number"));

PURLIN_OPERATION(export, export_in, export_out,
    .summary = "Make labelled predictions a version of a dataset", .permission = "datasets:write", .by_project = true, .effect = PURLIN_CREATES,
    .http = "POST /api/v1/endpoints/{endpoint}/export", .timeout_ms = 300000) {
  endpoint_row of;
  source now;
  purlin_signature signature = {0};
  purlin_blob blob = {0};
  if (in->to <= in->from) return purlin_fail_field(ctx, "to", "expected more than from");
  /* Who may not read predictions must not get them as a dataset. */
  purlin_status status = endpoint_find(ctx, in->endpoint, "models:read", false, &of);
  if (status == PURLIN_OK) status = endpoint_source(ctx, &of, &now);
  if (status == PURLIN_OK)
    status = purlin_decode_stored(ctx, purlin_signature_schema(), now.signature.text, now.signature.size, &signature);
  if (status == PURLIN_OK) status = feedback_wait(ctx, &of, in->from, in->to);
  if (status == PURLIN_OK) status = store(ctx, &of, in, &signature, &blob, &out->rows);
  if (status != PURLIN_OK) return status;
  const char *origin = in->origin[0] ? in->origin
                                     : purlin_format(ctx, "labels %lld to %lld of the endpoint %s", (long long)in->from,
                                                     (long long)in->to, in->endpoint);
  const add_in what = {in->dataset, blob.sha256, origin};
  add_out made;
  status = purlin_call(ctx, "datasets.add_version", add_in_schema(), &what, add_out_schema(), &made);
  int64_t end = in->to < of.labelled ? in->to : of.labelled;
  out->dataset = in->dataset;
  out->version = made.version;
  out->missing = (end > in->from ? end - in->from : 0) - out->rows;
  return status;
}
