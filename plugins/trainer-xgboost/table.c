#include "csv.h"
#include "xgboost.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_AT_ONCE = 50000 }; /* between two looks whether the training is still wanted */
#define NO_COLUMN SIZE_MAX

/* The work of the pool. Everything that it needs, and what it found. */
typedef struct reading {
  csv_reader csv;
  const xgboost_specification *specification;
  size_t label;             /* column of the file */
  size_t *columns;          /* of the file, for each of the matrix */
  const char *const *names; /* of the matrix */
  size_t count;
  bool *numeric, *seen; /* while choosing: per column of the file */
  table t;
  size_t capacity; /* rows */
  size_t largest;  /* rows */
  csv_result result;
  char error[CSV_ERROR_SIZE + 320];
} reading;

static purlin_status complain(reading *r, purlin_status status, const char *text) {
  (void)snprintf(r->error, sizeof r->error, "%s", text);
  return status;
}

static size_t find_column(const csv_reader *csv, const char *name) {
  for (size_t i = 0; i < csv->columns; i++)
    if (strcmp(csv_field(csv, i), name) == 0) return i;
  return NO_COLUMN;
}

static purlin_status read_header(void *argument) {
  reading *r = argument;
  if (csv_next(&r->csv) == CSV_ROW) return PURLIN_OK;
  return complain(r, PURLIN_INVALID, r->csv.error[0] ? r->csv.error : "it is empty");
}

static purlin_status begin(purlin_ctx *ctx, reading *r, const char *path, const xgboost_specification *specification) {
  r->specification = specification;
  if (!csv_open(&r->csv, path)) return purlin_fail(ctx, PURLIN_INTERNAL, "%s", r->csv.error);
  purlin_status status = purlin_offload(ctx, PURLIN_POOL_BLOCKING, read_header, r);
  if (status != PURLIN_OK) return purlin_fail(ctx, status, "the dataset: %s", r->error[0] ? r->error : purlin_failure(ctx));
  r->label = find_column(&r->csv, specification->label);
  if (r->label != NO_COLUMN) return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_INVALID, "the dataset has no column '%s' (the label)", specification->label);
}

/* Works block by block, so that a cancellation is heard in between. */
static purlin_status work_through(purlin_ctx *ctx, reading *r, purlin_work *block) {
  purlin_status status = PURLIN_OK;
  for (r->result = CSV_ROW; r->result == CSV_ROW && status == PURLIN_OK;) {
    status = purlin_still_wanted(ctx);
    if (status != PURLIN_OK) return status;
    status = purlin_offload(ctx, PURLIN_POOL_CPU, block, r);
  }
  if (status == PURLIN_OK) return status;
  return purlin_fail(ctx, status, "the dataset: %s", r->error[0] ? r->error : purlin_status_text(status));
}

/* ---- Choosing ---- */

static purlin_status look_at_rows(void *argument) {
  reading *r = argument;
  for (size_t i = 0; i < ROWS_AT_ONCE; i++) {
    r->result = csv_next(&r->csv);
    if (r->result == CSV_BROKEN) return complain(r, PURLIN_INVALID, r->csv.error);
    if (r->result == CSV_END) return PURLIN_OK;
    for (size_t column = 0; column < r->csv.columns; column++) {
      float value;
      if (!r->numeric[column]) continue;
      csv_value kind = csv_number(csv_field(&r->csv, column), &value);
      if (kind == CSV_TEXT) r->numeric[column] = false;
      if (kind == CSV_NUMBER) r->seen[column] = true;
    }
  }
  return PURLIN_OK;
}

static purlin_status choose_given(purlin_ctx *ctx, const reading *r, layout *out) {
  const purlin_texts given = r->specification->features;
  out->names = purlin_alloc_array(ctx, given.count, sizeof *out->names);
  if (!out->names) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < given.count; i++) {
    size_t column = find_column(&r->csv, given.items[i]);
    if (column == NO_COLUMN) return purlin_fail(ctx, PURLIN_INVALID, "the dataset has no column '%s'", given.items[i]);
    if (column == r->label)
      return purlin_fail(ctx, PURLIN_INVALID, "'%s' is the label and cannot be a feature", given.items[i]);
    out->names[out->count++] = given.items[i];
  }
  return PURLIN_OK;
}

static purlin_status choose_numeric(purlin_ctx *ctx, reading *r, layout *out) {
  size_t columns = r->csv.columns;
  out->names = purlin_alloc_array(ctx, columns, sizeof *out->names);
  r->numeric = purlin_alloc(ctx, columns);
  r->seen = purlin_alloc(ctx, columns);
  if (!out->names || !r->numeric || !r->seen) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < columns; i++) {
    r->numeric[i] = true;
    out->names[i] = purlin_copy(ctx, csv_field(&r->csv, i));
    if (!out->names[i]) return PURLIN_TOO_LARGE;
  }
  purlin_status status = work_through(ctx, r, look_at_rows);
  if (status != PURLIN_OK) return status;
  for (size_t i = 0; i < columns; i++)
    if (i != r->label && r->numeric[i] && r->seen[i]) out->names[out->count++] = out->names[i];
  return out->count > 0 ? PURLIN_OK
                        : purlin_fail(ctx, PURLIN_INVALID, "the dataset has no numeric column besides the label");
}

purlin_status table_choose(purlin_ctx *ctx, const char *path, const xgboost_specification *specification, layout *out) {
  reading r = {0};
  *out = (layout){0};
  purlin_status status = begin(ctx, &r, path, specification);
  if (status == PURLIN_OK)
    status = specification->features.items ? choose_given(ctx, &r, out) : choose_numeric(ctx, &r, out);
  csv_close(&r.csv);
  return status;
}

/* ---- Reading ---- */

static purlin_status not_a_number(reading *r, const char *column, const char *field) {
  (void)snprintf(r->error, sizeof r->error, "line %lld, column '%.100s': '%.60s' is not a number", (long long)r->csv.line,
                 column, field);
  return PURLIN_INVALID;
}

static purlin_status take_label(reading *r, float *out) {
  const xgboost_specification *s = r->specification;
  const char *field = csv_field(&r->csv, r->label);
  csv_value kind = csv_number(field, out);
  if (kind == CSV_TEXT) return not_a_number(r, s->label, field);
  double most = strcmp(s->objective, "binary:logistic") == 0  ? 1
                : strcmp(s->objective, "multi:softprob") == 0 ? (double)(s->num_class - 1)
                                                              : -1;
  bool fits = kind == CSV_NUMBER && (most < 0 || (*out >= 0 && (double)*out <= most && *out == truncf(*out)));
  if (fits) return PURLIN_OK;
  if (kind == CSV_MISSING)
    (void)snprintf(r->error, sizeof r->error, "line %lld, column '%.100s': a label may not be missing",
                   (long long)r->csv.line, s->label);
  else
    (void)snprintf(r->error, sizeof r->error,
                   "line %lld, column '%.100s': with %s labels are whole numbers from 0 to %d, not %g",
                   (long long)r->csv.line, s->label, s->objective, (int)most, (double)*out);
  return PURLIN_INVALID;
}

static purlin_status grow(reading *r) {
  size_t capacity = r->capacity ? r->capacity * 2 : 1024;
  if (capacity > r->largest) capacity = r->largest;
  if (r->t.rows >= capacity) {
    (void)snprintf(r->error, sizeof r->error,
                   "more than %zu rows do not fit into %lld MiB; raise memory_mb or take fewer columns", r->largest,
                   (long long)r->specification->memory_mb);
    return PURLIN_TOO_LARGE;
  }
  float *values = reallocarray(r->t.values, capacity, r->count * sizeof *values);
  if (values) r->t.values = values;
  float *labels = values ? reallocarray(r->t.labels, capacity, sizeof *labels) : NULL;
  if (!labels) return complain(r, PURLIN_TOO_LARGE, "memory is short");
  r->t.labels = labels;
  r->capacity = capacity;
  return PURLIN_OK;
}

static purlin_status take_row(reading *r) {
  purlin_status status = r->t.rows == r->capacity ? grow(r) : PURLIN_OK;
  if (status == PURLIN_OK) status = take_label(r, &r->t.labels[r->t.rows]);
  if (status != PURLIN_OK) return status;
  float *row = r->t.values + r->t.rows * r->count;
  for (size_t i = 0; i < r->count; i++) {
    const char *field = csv_field(&r->csv, r->columns[i]);
    if (csv_number(field, &row[i]) == CSV_TEXT) return not_a_number(r, r->names[i], field);
  }
  r->t.rows++;
  return PURLIN_OK;
}

static purlin_status take_rows(void *argument) {
  reading *r = argument;
  for (size_t i = 0; i < ROWS_AT_ONCE; i++) {
    r->result = csv_next(&r->csv);
    if (r->result == CSV_BROKEN) return complain(r, PURLIN_INVALID, r->csv.error);
    if (r->result == CSV_END) return PURLIN_OK;
    purlin_status status = take_row(r);
    if (status != PURLIN_OK) return status;
  }
  return PURLIN_OK;
}

static purlin_status map_columns(purlin_ctx *ctx, reading *r, const layout *chosen) {
  r->count = chosen->count;
  r->names = chosen->names;
  r->columns = purlin_alloc_array(ctx, chosen->count, sizeof *r->columns);
  if (!r->columns) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < chosen->count; i++) {
    r->columns[i] = find_column(&r->csv, chosen->names[i]);
    if (r->columns[i] == NO_COLUMN)
      return purlin_fail(ctx, PURLIN_INVALID, "the dataset has no column '%s'", chosen->names[i]);
  }
  r->largest = (size_t)r->specification->memory_mb * 1024 * 1024 / ((chosen->count + 1) * sizeof(float));
  return PURLIN_OK;
}

purlin_status table_read(purlin_ctx *ctx, const char *path, const xgboost_specification *specification,
                         const layout *chosen, table *out) {
  reading r = {0};
  *out = (table){0};
  purlin_status status = begin(ctx, &r, path, specification);
  if (status == PURLIN_OK) status = map_columns(ctx, &r, chosen);
  if (status == PURLIN_OK) status = work_through(ctx, &r, take_rows);
  csv_close(&r.csv);
  *out = r.t;
  out->columns = r.count;
  if (status != PURLIN_OK) table_free(out);
  return status;
}

void table_free(table *t) {
  free(t->values);
  free(t->labels);
  *t = (table){0};
}
