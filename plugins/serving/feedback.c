#include "serving.h"
#include <stdlib.h>
#include <string.h>

enum { MOST_ITEMS = 5000, MOST_ROWS = 5000, WAITS = 6, WAIT_MS = 50 };

static const char EXISTING[] =
    "SELECT f.prediction_id FROM JSON_TABLE(?, '$[*]' COLUMNS (id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin PATH '$')) j"
    " JOIN serving_feedback f ON f.endpoint_id = ? AND f.prediction_id = j.id";
static const char INSERT[] =
    "INSERT INTO serving_feedback (endpoint_id, labelled_index, prediction_id, workspace, project, label, inputs, prediction, version, at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NOW(6))";
static const char COUNT_UP[] = "UPDATE serving_endpoints SET labelled = ? WHERE id = ?";
static const char ON_THE_WAY[] =
    "SELECT COUNT(*) AS number" SERVING_LABELLED_FROM
    " AND p.position IS NULL AND (f.inputs IS NULL OR f.prediction IS NULL) AND f.at > NOW(6) - INTERVAL 1 SECOND";
static const char LABELLED[] =
    "SELECT " SERVING_INPUTS " AS inputs, " SERVING_OUTPUT " AS prediction, f.label, COALESCE(" SERVING_VERSION
    ", 0) AS version" SERVING_LABELLED_FROM " AND " SERVING_INPUTS " IS NOT NULL AND " SERVING_OUTPUT
    " IS NOT NULL ORDER BY f.labelled_index";
static const char STATS[] =
    "SELECT (SELECT COUNT(*) FROM serving_predictions WHERE endpoint_id = ?) AS predictions, COUNT(*) AS labelled,"
    " CAST(SUM(" SERVING_OUTPUT " IS NOT NULL) AS SIGNED) AS judged,"
    " CAST(SUM(COALESCE(FLOOR(" SERVING_OUTPUT " + 0.5) = f.label, 0)) AS SIGNED) AS correct" SERVING_LABELLED_FROM;

typedef struct id_row {
  const char *prediction_id;
} id_row;
PURLIN_SCHEMA(id_row, "An id", PURLIN_REQUIRED(prediction_id, "id"));
typedef struct number_row {
  int64_t number;
} number_row;
PURLIN_SCHEMA(number_row, "A number", PURLIN_REQUIRED(number, "number"));

/* ---- Labels ---------------------------------------------------------------------------------------------------------------------------------- */

typedef struct feedback_item {
  const char *id;
  double label;
  purlin_json inputs;
  purlin_opt_double prediction;
  purlin_opt_int version;
} feedback_item;
PURLIN_SCHEMA(feedback_item, "What was true for a prediction",
    PURLIN_REQUIRED(id, "The id of the prediction", .min_length = 1, .max_length = 128),
    PURLIN_REQUIRED(label, "What was true"),
    PURLIN_OPTIONAL(inputs, "What the model was given, as a list; for predictions that this server has not logged"),
    PURLIN_OPTIONAL(prediction, "What the model said; likewise"),
    PURLIN_OPTIONAL(version, "Which version said it; likewise"));

typedef struct feedback_in {
  const char *endpoint;
  PURLIN_LIST_OF(feedback_item) items;
} feedback_in;
PURLIN_SCHEMA(feedback_in, "What turned out to be true",
    PURLIN_REQUIRED(endpoint, "The endpoint", .max_length = 250),
    PURLIN_LIST(items, feedback_item, "One for each prediction", .min_length = 1, .max_length = MOST_ITEMS));

typedef struct feedback_out {
  int64_t accepted, repeated, labelled;
} feedback_out;
PURLIN_SCHEMA(feedback_out, "What was recorded",
    PURLIN_REQUIRED(accepted, "New labels"),
    PURLIN_REQUIRED(repeated, "Labels for predictions that had one; the first one holds"),
    PURLIN_REQUIRED(labelled, "How many labels the endpoint has now"));

typedef struct label_count {
  const char *endpoint;
  int64_t labelled;
} label_count;
PURLIN_SCHEMA(label_count, "Labels came",
    PURLIN_REQUIRED(endpoint, "The endpoint"),
    PURLIN_REQUIRED(labelled, "How many it has now"));
PURLIN_EVENT(labelled, label_count, "Labels for predictions of an endpoint came");

typedef struct feedback_row {
  const char *endpoint_id;
  int64_t labelled_index;
  const char *prediction_id, *workspace, *project;
  double label;
  purlin_json inputs;
  purlin_opt_double prediction;
  purlin_opt_int version;
} feedback_row;
PURLIN_SCHEMA(feedback_row, "A row of serving_feedback",
    PURLIN_REQUIRED(endpoint_id, "endpoint"),
    PURLIN_REQUIRED(labelled_index, "index"),
    PURLIN_REQUIRED(prediction_id, "id"),
    PURLIN_REQUIRED(workspace, "workspace"),
    PURLIN_REQUIRED(project, "project"),
    PURLIN_REQUIRED(label, "label"),
    PURLIN_OPTIONAL(inputs, "inputs"),
    PURLIN_OPTIONAL(prediction, "prediction"),
    PURLIN_OPTIONAL(version, "version"));

/* An id within the request, and where: sorted by id, then by place, so that the first of twins comes first. */
typedef struct marked {
  const char *id;
  size_t place;
} marked;

static int by_id(const void *a, const void *b) {
  const marked *x = a, *y = b;
  int order = strcmp(x->id, y->id);
  return order ? order : (x->place > y->place) - (x->place < y->place);
}

static int only_id(const void *a, const void *b) { return strcmp(((const marked *)a)->id, ((const marked *)b)->id); }

static marked *sorted_ids(purlin_ctx *ctx, const feedback_in *in) {
  marked *ids = purlin_alloc_array(ctx, in->items.count, sizeof *ids);
  if (!ids) return NULL;
  for (size_t i = 0; i < in->items.count; i++) ids[i] = (marked){in->items.items[i].id, i};
  qsort(ids, in->items.count, sizeof *ids, by_id);
  return ids;
}

typedef struct id_list {
  purlin_texts ids;
} id_list;
PURLIN_SCHEMA(id_list, "Ids", PURLIN_REQUIRED(ids, "ids", .max_length = MOST_ITEMS));

static purlin_status ids_as_json(purlin_ctx *ctx, const feedback_in *in, purlin_json *out) {
  const char **ids = purlin_alloc_array(ctx, in->items.count, sizeof *ids);
  if (!ids) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < in->items.count; i++) ids[i] = in->items.items[i].id;
  const id_list list = {{ids, in->items.count}};
  purlin_status status = purlin_encode(ctx, id_list_schema(), &list, out);
  const char *open = status == PURLIN_OK ? memchr(out->text, '[', out->size) : NULL; /* {"ids":[...]} */
  if (open) *out = (purlin_json){open, out->size - (size_t)(open - out->text) - 1};
  return status;
}

/* Which items have no label yet, in `fresh`, by place. The endpoint is locked, so nobody adds one meanwhile. */
static purlin_status find_fresh(purlin_ctx *ctx, const endpoint_row *of, const feedback_in *in, bool *fresh) {
  marked *ids = sorted_ids(ctx, in);
  purlin_json json;
  purlin_status status = ids ? ids_as_json(ctx, in, &json) : PURLIN_TOO_LARGE;
  struct {
    id_row *items;
    size_t count;
  } existing = {0};
  if (status == PURLIN_OK) status = purlin_db_list(ctx, id_row, &existing, EXISTING, json, of->id);
  if (status != PURLIN_OK) return status;
  for (size_t i = 0; i < in->items.count; i++) fresh[ids[i].place] = i == 0 || strcmp(ids[i].id, ids[i - 1].id) != 0;
  for (size_t i = 0; i < existing.count; i++) {
    const marked key = {existing.items[i].prediction_id, 0};
    const marked *found = bsearch(&key, ids, in->items.count, sizeof *ids, only_id);
    for (; found && found > ids && only_id(found - 1, &key) == 0;) found--;
    if (found) fresh[found->place] = false;
  }
  return PURLIN_OK;
}

static purlin_status insert(purlin_ctx *ctx, const endpoint_row *of, const feedback_in *in, const bool *fresh,
                            int64_t *accepted) {
  feedback_row *rows = purlin_alloc_array(ctx, in->items.count, sizeof *rows);
  if (!rows) return PURLIN_TOO_LARGE;
  size_t count = 0;
  for (size_t i = 0; i < in->items.count; i++) {
    const feedback_item *item = &in->items.items[i];
    if (fresh[i])
      rows[count] = (feedback_row){of->id,       of->labelled + (int64_t)count,
                                   item->id,     purlin_workspace(ctx),
                                   of->project,  item->label,
                                   item->inputs, item->prediction,
                                   item->version},
      count++;
  }
  *accepted = (int64_t)count;
  if (count == 0) return PURLIN_OK;
  purlin_status status = purlin_db_bulk(ctx, feedback_row, rows, count, INSERT);
  return status == PURLIN_OK ? purlin_db_run(ctx, COUNT_UP, of->labelled + (int64_t)count, of->id) : status;
}

PURLIN_OPERATION(feedback, feedback_in, feedback_out,
    .summary = "Say what turned out to be true for predictions", .permission = "models:feedback", .by_project = true, .effect = PURLIN_CHANGES,
    .http = "POST /api/v1/endpoints/{endpoint}/feedback",
    .unaudited = "a row for each prediction, which is itself the record of who said what") {
  for (size_t i = 0; i < in->items.count; i++)
    if (in->items.items[i].inputs.text && in->items.items[i].inputs.text[0] != '[')
      return purlin_fail_field(ctx, purlin_format(ctx, "items[%zu].inputs", i), "expected a list of numbers");
  purlin_status status = log_settle(ctx); /* so that who hears of the labels finds the predictions */
  endpoint_row of;
  if (status == PURLIN_OK) status = endpoint_find(ctx, in->endpoint, "models:feedback", true, &of);
  bool *fresh = purlin_alloc_array(ctx, in->items.count, sizeof *fresh);
  if (!fresh) return PURLIN_TOO_LARGE;
  if (status == PURLIN_OK) status = find_fresh(ctx, &of, in, fresh);
  if (status == PURLIN_OK) status = insert(ctx, &of, in, fresh, &out->accepted);
  if (status != PURLIN_OK) return status;
  out->repeated = (int64_t)in->items.count - out->accepted;
  out->labelled = of.labelled + out->accepted;
  const label_count event = {in->endpoint, out->labelled};
  return out->accepted ? purlin_emit(ctx, labelled, &event, in->endpoint) : PURLIN_OK;
}

/* ---- Reading them -------------------------------------------------------------------------------------------------------------------------------- */

purlin_status feedback_wait(purlin_ctx *ctx, const endpoint_row *of, int64_t from, int64_t to) {
  purlin_status status = log_settle(ctx);
  for (int i = 0; i < WAITS && status == PURLIN_OK; i++) {
    number_row row;
    status = purlin_db_row(ctx, number_row, &row, ON_THE_WAY, of->id, from, to);
    if (status != PURLIN_OK || row.number == 0) return status;
    status = purlin_sleep(ctx, WAIT_MS);
  }
  return status;
}

typedef struct window_in {
  const char *endpoint;
  int64_t from, to;
} window_in;
PURLIN_SCHEMA(window_in, "Which labels",
    PURLIN_REQUIRED(endpoint, "The endpoint", .max_length = 250),
    PURLIN_REQUIRED(from, "The first, counted from 0", .min = 0, .max = 9e15),
    PURLIN_REQUIRED(to, "The one after the last", .min = 0, .max = 9e15));

typedef struct window_out {
  int64_t missing;
  PURLIN_LIST_OF(labelled_row) rows;
} window_out;
PURLIN_SCHEMA(window_out, "Labelled predictions, in the order of their labels",
    PURLIN_REQUIRED(missing, "Labels whose prediction is not known here"),
    PURLIN_LIST(rows, labelled_row, "The others", .max_length = MOST_ROWS));

static purlin_status labelled_rows(purlin_ctx *ctx, const window_in *in, window_out *out) {
  if (in->to < in->from || in->to - in->from > MOST_ROWS)
    return purlin_fail_field(ctx, "to", "expected from to from + %d", MOST_ROWS);
  endpoint_row of;
  purlin_status status = endpoint_find(ctx, in->endpoint, "models:read", false, &of);
  if (status == PURLIN_OK) status = feedback_wait(ctx, &of, in->from, in->to);
  if (status == PURLIN_OK) status = purlin_db_list(ctx, labelled_row, &out->rows, LABELLED, of.id, in->from, in->to);
  int64_t end = in->to < of.labelled ? in->to : of.labelled;
  out->missing = (end > in->from ? end - in->from : 0) - (int64_t)out->rows.count;
  return status;
}

PURLIN_OPERATION(labelled, window_in, window_out,
    .summary = "Labelled predictions of an endpoint", .permission = "models:read", .by_project = true, .http = "GET /api/v1/endpoints/{endpoint}/labelled") {
  return labelled_rows(ctx, in, out);
}

typedef struct stats_in {
  const char *endpoint;
  int64_t from, to;
} stats_in;
PURLIN_SCHEMA(stats_in, "Of which endpoint, and of which labels",
    PURLIN_REQUIRED(endpoint, "The endpoint", .max_length = 250),
    PURLIN_DEFAULT(from, "0", "The first label, counted from 0", .min = 0, .max = 9e15),
    PURLIN_DEFAULT(to, "9000000000000000", "The one after the last", .min = 0, .max = 9e15));

typedef struct stats_out {
  int64_t predictions, labelled, judged, correct;
  purlin_opt_double accuracy;
  const char *model;
  int64_t version;
} stats_out;
PURLIN_SCHEMA(stats_out, "How an endpoint does",
    PURLIN_REQUIRED(predictions, "Predictions in the log"),
    PURLIN_REQUIRED(labelled, "Labels in the range"),
    PURLIN_REQUIRED(judged, "Those whose prediction is known"),
    PURLIN_REQUIRED(correct, "Those where it was right: nearest whole number, so a probability counts as 1 from 0.5"),
    PURLIN_OPTIONAL(accuracy, "correct / judged"),
    PURLIN_REQUIRED(model, "The model that serves now"),
    PURLIN_REQUIRED(version, "Its version"));

typedef struct stats_row {
  int64_t predictions, labelled;
  purlin_opt_int judged, correct;
} stats_row;
PURLIN_SCHEMA(stats_row, "Sums",
    PURLIN_REQUIRED(predictions, "predictions"),
    PURLIN_REQUIRED(labelled, "labels"),
    PURLIN_OPTIONAL(judged, "judged"),
    PURLIN_OPTIONAL(correct, "correct"));

PURLIN_OPERATION(stats, stats_in, stats_out,
    .summary = "How an endpoint does", .permission = "models:read", .by_project = true, .http = "GET /api/v1/endpoints/{endpoint}/stats") {
  endpoint_row of;
  source now;
  stats_row row = {0};
  purlin_status status = endpoint_find(ctx, in->endpoint, "models:read", false, &of);
  if (status == PURLIN_OK) status = log_settle(ctx);
  if (status == PURLIN_OK) status = endpoint_source(ctx, &of, &now);
  if (status == PURLIN_OK) status = purlin_db_row(ctx, stats_row, &row, STATS, of.id, of.id, in->from, in->to);
  if (status != PURLIN_OK) return status;
  *out = (stats_out){row.predictions,    row.labelled, row.judged.value, row.correct.value,
                     {PURLIN_ABSENT, 0}, now.model,    now.version};
  if (out->judged) out->accuracy = (purlin_opt_double){PURLIN_SET, (double)out->correct / (double)out->judged};
  return PURLIN_OK;
}
