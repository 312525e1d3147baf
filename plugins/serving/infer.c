#include "serving.h"
#include <stdio.h>
#include <string.h>

/* What predicts longer than about a millisecond goes to the pool: many rows, or a model of which each row may touch much. */
enum { MOST_ROWS_ON_LOOP = 256, MOST_BODY = 64 * 1024 * 1024, MOST_WALK_ON_LOOP = 64 * 1024 * 1024, HEAD_ROOM = 100 };
enum { WANTED_LABEL = 1, WANTED_OUTPUT = 2 }; /* bits of tensor_request.wanted, where there are both */

PURLIN_COUNTER(predictions_total, "Rows predicted, by outcome of their request", "endpoint, outcome");
PURLIN_HISTOGRAM(inference_duration_seconds, "From the decoded head of a request to its answer", "endpoint");

/* ---- Texts ----------------------------------------------------------------------------------------------------------------------------- */

static char *put_bytes(char *to, const char *from, size_t size) { return (char *)memcpy(to, from, size) + size; }
static char *put_text(char *to, const char *from) { return put_bytes(to, from, strlen(from)); }

/* A JSON string; at most 6 bytes per byte, and two. */
static char *put_string(char *to, const char *from) {
  static const char hex[] = "0123456789abcdef";
  *to++ = '"';
  for (; *from; from++) {
    unsigned char c = (unsigned char)*from;
    if (c == '"' || c == '\\') *to++ = '\\', *to++ = (char)c;
    else if (c < 0x20) to = put_text(to, "\\u00"), *to++ = hex[c >> 4], *to++ = hex[c & 15];
    else *to++ = (char)c;
  }
  *to++ = '"';
  return to;
}

static size_t string_room(const char *text) { return 6 * strlen(text) + 2; }

/* ---- Predicting ---------------------------------------------------------------------------------------------------------------------------- */

typedef struct work {
  const served *served;
  const tensor_request *request;
  float *out;
} work;

static purlin_status predict(void *argument) {
  const work *w = argument;
  return w->served->predictor->predict(w->served->model, w->request->values, w->request->rows, w->served->columns.count,
                                       w->out);
}

static char *put_values(char *to, const float *values, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (i) *to++ = ',';
    to += tensor_format(values[i], to);
  }
  return to;
}

static char *put_head(char *to, const char *name, const char *datatype, size_t rows, size_t width) {
  to = put_text(to, "{\"name\":");
  to = put_string(to, name);
  to += snprintf(to, HEAD_ROOM, ",\"datatype\":\"%s\",\"shape\":[%zu", datatype, rows);
  if (width > 1) to += snprintf(to, 24, ",%zu", width);
  return put_text(to, "],\"data\":[");
}

static char *put_labels(char *to, const served *s, const float *out, size_t rows) {
  for (size_t i = 0; i < rows; i++, out += s->outputs) {
    if (i) *to++ = ',';
    to += snprintf(to, 24, "%ld", served_label(s, out));
  }
  return to;
}

/* The class, when the model tells it, and what it gives; or what was asked for of both. */
static char *put_outputs(char *to, const served *s, const tensor_request *asked, const float *out) {
  bool label = s->label_name && asked->wanted != WANTED_OUTPUT, output = asked->wanted != WANTED_LABEL;
  if (label) {
    to = put_head(to, s->label_name, "INT64", asked->rows, 1);
    to = put_text(put_labels(to, s, out, asked->rows), "]}");
  }
  if (label && output) *to++ = ',';
  if (!output) return to;
  to = put_head(to, s->output_name, "FP32", asked->rows, s->outputs);
  return put_text(put_values(to, out, asked->rows * s->outputs), "]}");
}

static size_t outputs_room(const served *s, size_t rows) {
  size_t labels = s->label_name ? HEAD_ROOM + 24 + string_room(s->label_name) + rows * 25 : 0;
  return labels + HEAD_ROOM + 24 + string_room(s->output_name) + rows * s->outputs * (TENSOR_FLOAT + 1);
}

static purlin_status answer(purlin_ctx *ctx, purlin_request *request, const endpoint *of, const tensor_request *asked,
                            const float *out) {
  const served *s = of->served;
  char *text = purlin_alloc(ctx, 128 + string_room(of->name) + asked->id_size + outputs_room(s, asked->rows));
  if (!text) return PURLIN_TOO_LARGE;
  char *to = put_text(text, "{\"model_name\":");
  to = put_string(to, of->name);
  to = put_text(to, ",\"model_version\":\"");
  to = put_text(to, s->version_text);
  to = put_text(to, "\",\"id\":\"");
  to = put_bytes(to, asked->id, asked->id_size);
  to = put_text(to, "\",\"outputs\":[");
  to = put_text(put_outputs(to, s, asked, out), "]}");
  return purlin_respond_bytes(ctx, request, 200, "application/json", text, (size_t)(to - text));
}

static void *take(void *ctx, size_t size) { return purlin_alloc(ctx, size); }

static purlin_status run(purlin_ctx *ctx, const endpoint *of, const char *body, size_t size, tensor_request *asked,
                         float **out) {
  const served *s = of->served;
  char why[TENSOR_WHY];
  if (!tensor_decode(body, size, &s->columns, (tensor_memory){take, ctx}, asked, why))
    return purlin_fail(ctx, PURLIN_INVALID, "%s", why);
  if (!asked->id) {
    asked->id = log_new_id(ctx);
    asked->id_size = asked->id ? strlen(asked->id) : 0;
  }
  *out = purlin_alloc_array(ctx, asked->rows * s->outputs, sizeof **out);
  if (!*out || !asked->id) return PURLIN_TOO_LARGE;
  work w = {s, asked, *out};
  bool long_work = asked->rows > MOST_ROWS_ON_LOOP || s->memory_bytes > MOST_WALK_ON_LOOP / asked->rows;
  purlin_status status = long_work ? purlin_offload(ctx, PURLIN_POOL_CPU, predict, &w) : predict(&w);
  return status == PURLIN_INTERNAL ? purlin_fail(ctx, status, "the predictor of '%s' failed", s->name) : status;
}

/* What an upgrade asks only to see whether a model still says the same is nobody's prediction: monitors are not to see it. Whoever could
 * not deploy here cannot keep a prediction out of the log. */
static bool is_probe(purlin_ctx *ctx, purlin_request *request, const endpoint *of) {
  return purlin_header(request, "purlin-probe") && purlin_permitted_on(ctx, "models:deploy", of->project, of->id);
}

static purlin_status infer_with(purlin_ctx *ctx, purlin_request *request, const endpoint *of) {
  const char *body = NULL;
  size_t size = 0;
  tensor_request asked;
  float *out = NULL;
  uint64_t began = purlin_ticks_ns();
  if (purlin_header(request, "inference-header-content-length"))
    return purlin_fail(ctx, PURLIN_UNSUPPORTED, "tensors are taken as JSON; the binary extension is not spoken here");
  purlin_status status = purlin_read_all(ctx, request, MOST_BODY, &body, &size);
  if (status == PURLIN_OK) status = run(ctx, of, body, size, &asked, &out);
  if (status != PURLIN_OK) {
    purlin_count(predictions_total, 1, of->name, "refused");
    return status;
  }
  status = answer(ctx, request, of, &asked, out);
  if (!is_probe(ctx, request, of)) log_predictions(ctx, of, asked.id, asked.id_size, asked.values, out, asked.rows);
  purlin_count(predictions_total, (double)asked.rows, of->name, "ok");
  purlin_observe(inference_duration_seconds, (double)(purlin_ticks_ns() - began) / 1e9, of->name);
  return status;
}

static purlin_status infer_at(purlin_ctx *ctx, purlin_request *request) {
  slot *s = NULL;
  purlin_status status = slot_of_request(ctx, request, &s);
  if (status != PURLIN_OK) return status;
  status = infer_with(ctx, request, s->endpoint);
  slot_leave(s);
  return status;
}

PURLIN_ROUTE(infer, "POST /v2/models/{name}/infer",
    .summary = "Predict, by the Open Inference Protocol", .permission = "models:predict", .by_project = true, .body = "application/json", .answer = "application/json",
    .max_body = MOST_BODY, .dialect = &open_inference) {
  return infer_at(ctx, request);
}

PURLIN_ROUTE(infer_version, "POST /v2/models/{name}/versions/{version}/infer",
    .summary = "Predict, if this version serves", .permission = "models:predict", .by_project = true, .body = "application/json", .answer = "application/json",
    .max_body = MOST_BODY, .dialect = &open_inference) {
  return infer_at(ctx, request);
}
