#include "csv.h"
#include "serving.h"
#include <math.h>
#include <string.h>

enum { BATCH = 2048 };

typedef struct evaluate_in {
  const char *model, *version, *dataset;
  int64_t dataset_version;
  const char *label;
  int64_t first_row, rows;
} evaluate_in;
PURLIN_SCHEMA(evaluate_in, "What to try on what",
    PURLIN_REQUIRED(model, "The model", .max_length = 250),
    PURLIN_REQUIRED(version, "Its version: a number, or @ and an alias", .max_length = 251),
    PURLIN_REQUIRED(dataset, "The dataset", .max_length = 250),
    PURLIN_DEFAULT(dataset_version, "0", "Its version; 0: the newest", .min = 0, .max = 9e15),
    PURLIN_DEFAULT(label, "\"class\"", "The column that holds what was true", .max_length = 250),
    PURLIN_DEFAULT(first_row, "0", "The first row, counted from 0", .min = 0, .max = 9e15),
    PURLIN_DEFAULT(rows, "0", "How many rows; 0: all the others", .min = 0, .max = 9e15));

typedef struct evaluate_out {
  int64_t version, dataset_version, rows, correct, unlabelled;
  double accuracy, mean_absolute_error;
  purlin_opt_double log_loss;
} evaluate_out;
PURLIN_SCHEMA(evaluate_out, "How a version does",
    PURLIN_REQUIRED(version, "Which version"),
    PURLIN_REQUIRED(dataset_version, "On which version of the dataset"),
    PURLIN_REQUIRED(rows, "Rows with a label"),
    PURLIN_REQUIRED(correct, "Those where it was right: nearest whole number, so a probability counts as 1 from 0.5"),
    PURLIN_REQUIRED(unlabelled, "Rows without a label, left out"),
    PURLIN_REQUIRED(accuracy, "correct / rows"),
    PURLIN_REQUIRED(mean_absolute_error, "Mean distance of prediction and label"),
    PURLIN_OPTIONAL(log_loss, "Of probabilities for labels 0 and 1"));

/* Rows wait in a batch; a full one goes through the model on a thread of the pool. The last column is the label. */
typedef struct trial {
  const served *served;
  int64_t skip, left; /* rows before the first, rows still wanted */
  size_t count;       /* in the batch */
  float *inputs, *labels, *outputs;
  evaluate_out *out;
  double loss, distance;
  bool binary; /* all labels so far are 0 or 1, all outputs within 0 and 1 */
} trial;

/* A batch runs between pieces only, so there is room for all the rows of one more: each takes a byte or more. */
static bool add_row(void *to, const float *values) {
  trial *t = to;
  size_t columns = t->served->columns.count;
  if (t->skip > 0) return t->skip--, true;
  if (t->left == 0) return false;
  t->left--;
  if (isnan(values[columns])) return t->out->unlabelled++, true;
  memcpy(t->inputs + t->count * columns, values, columns * sizeof *values);
  t->labels[t->count++] = values[columns];
  return true;
}

static void judge(trial *t, size_t row) {
  const float *outputs = t->outputs + row * t->served->outputs;
  double label = (double)t->labels[row], value = (double)outputs[0];
  if (t->served->outputs > 1) {
    size_t best = 0;
    for (size_t i = 1; i < t->served->outputs; i++)
      if (outputs[i] > outputs[best]) best = i;
    value = (double)best;
    t->binary = false;
  }
  t->out->rows++;
  t->out->correct += floor(value + 0.5) == label;
  t->distance += fabs(value - label);
  if ((label != 0 && label != 1) || value < 0 || value > 1) t->binary = false;
  double probability = fmin(fmax(label == 1 ? value : 1 - value, 1e-15), 1);
  t->loss -= log(probability);
}

static purlin_status predict(void *argument) {
  trial *t = argument;
  const served *s = t->served;
  purlin_status status = s->predictor->predict(s->model, t->inputs, t->count, s->columns.count, t->outputs);
  for (size_t i = 0; status == PURLIN_OK && i < t->count; i++) judge(t, i);
  t->count = 0;
  return status;
}

static purlin_status run_batch(purlin_ctx *ctx, trial *t) {
  return t->count ? purlin_offload(ctx, PURLIN_POOL_CPU, predict, t) : PURLIN_OK;
}

typedef struct reading {
  csv *csv;
  trial *trial;
  bool enough;
} reading;

static purlin_status feed(purlin_ctx *ctx, void *to, const void *data, size_t size) {
  reading *r = to;
  const char *block = data;
  while (size > 0) {
    size_t part = size < BATCH ? size : BATCH; /* no more rows than bytes */
    bool more = csv_feed(r->csv, block, part);
    purlin_status status = r->trial->count >= BATCH ? run_batch(ctx, r->trial) : PURLIN_OK;
    if (status != PURLIN_OK) return status;
    if (!more && csv_why(r->csv)[0]) return purlin_fail(ctx, PURLIN_INVALID, "%s", csv_why(r->csv));
    if (!more) break;
    block += part;
    size -= part;
  }
  r->enough = r->trial->left == 0;
  return PURLIN_OK;
}

static purlin_status read_all(purlin_ctx *ctx, const char *sha256, csv *c, trial *t) {
  const purlin_storage *storage = purlin_use(ctx, storage, NULL);
  if (!storage) return PURLIN_UNAVAILABLE;
  reading r = {c, t, false};
  purlin_status status = purlin_read_blob(ctx, storage, sha256, feed, &r, &r.enough, NULL);
  if (status == PURLIN_OK && t->left > 0 && !csv_end(c) && csv_why(c)[0])
    status = purlin_fail(ctx, PURLIN_INVALID, "%s", csv_why(c));
  return status == PURLIN_OK ? run_batch(ctx, t) : status;
}

typedef struct dataset_in {
  const char *name;
  int64_t version;
} dataset_in;
PURLIN_SCHEMA(dataset_in, "Which version",
    PURLIN_REQUIRED(name, "dataset"),
    PURLIN_REQUIRED(version, "number"));
typedef struct dataset_out {
  int64_t version;
  const char *sha256;
} dataset_out;
PURLIN_SCHEMA(dataset_out, "A version",
    PURLIN_REQUIRED(version, "number"),
    PURLIN_REQUIRED(sha256, "bytes"));

static purlin_status try_on(purlin_ctx *ctx, const evaluate_in *in, const served *s, const char *sha256,
                            evaluate_out *out) {
  size_t columns = s->columns.count;
  trial t = {.served = s, .skip = in->first_row, .left = in->rows ? in->rows : INT64_MAX, .out = out, .binary = true};
  t.inputs = purlin_alloc_array(ctx, (2 * BATCH + 1) * columns, sizeof *t.inputs);
  t.labels = purlin_alloc_array(ctx, 2 * BATCH + 1, sizeof *t.labels);
  t.outputs = purlin_alloc_array(ctx, (2 * BATCH + 1) * s->outputs, sizeof *t.outputs);
  const char **names = purlin_alloc_array(ctx, columns + 1, sizeof *names);
  if (!t.inputs || !t.labels || !t.outputs || !names) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < columns; i++) names[i] = s->columns.names[i];
  names[columns] = in->label;
  csv *c = csv_new(names, columns + 1, add_row, &t);
  if (!c) return purlin_fail(ctx, PURLIN_UNAVAILABLE, "out of memory");
  purlin_status status = read_all(ctx, sha256, c, &t);
  csv_free(c);
  if (status != PURLIN_OK) return status;
  if (out->rows == 0) return purlin_fail(ctx, PURLIN_INVALID, "the range holds no row with a label");
  out->accuracy = (double)out->correct / (double)out->rows;
  out->mean_absolute_error = t.distance / (double)out->rows;
  if (t.binary) out->log_loss = (purlin_opt_double){PURLIN_SET, t.loss / (double)out->rows};
  return PURLIN_OK;
}

PURLIN_OPERATION(evaluate, evaluate_in, evaluate_out,
    .summary = "Try a version of a model on rows of a dataset", .permission = "models:read", .by_project = true, .http = "POST /api/v1/evaluations", .timeout_ms = 300000) {
  source from;
  const dataset_in wanted = {in->dataset, in->dataset_version};
  dataset_out found;
  served *s = NULL;
  purlin_status status = registry_source(ctx, in->model, in->version, &from);
  if (status == PURLIN_OK)
    status = purlin_call(ctx, "datasets.get_version", dataset_in_schema(), &wanted, dataset_out_schema(), &found);
  if (status == PURLIN_OK) status = served_load(ctx, &from, &s);
  if (status != PURLIN_OK) return status;
  out->version = from.version;
  out->dataset_version = found.version;
  status = try_on(ctx, in, s, found.sha256, out);
  served_leave(s);
  return status;
}
