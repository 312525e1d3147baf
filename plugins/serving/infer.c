#include "serving.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MOST_ROWS_ON_LOOP = 256, MOST_BODY = 64 * 1024 * 1024 };

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

/* Errors of this protocol are {"error": "..."}. */
static purlin_status refuse(purlin_ctx *ctx, purlin_request *request, unsigned http, const char *why) {
  char *text = purlin_alloc(ctx, string_room(why) + 16);
  if (!text) return PURLIN_TOO_LARGE;
  char *to = put_text(text, "{\"error\":");
  to = put_string(to, why);
  *to++ = '}';
  return purlin_respond_bytes(ctx, request, http, "application/json", text, (size_t)(to - text));
}

static purlin_status refuse_status(purlin_ctx *ctx, purlin_request *request, purlin_status status) {
  static const struct {
    purlin_status status;
    unsigned http;
  } answers[] = {{PURLIN_INVALID, 400},   {PURLIN_NOT_FOUND, 404},   {PURLIN_CONFLICT, 409},
                 {PURLIN_TOO_LARGE, 413}, {PURLIN_UNAVAILABLE, 503}, {PURLIN_TIMEOUT, 504}};
  for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++)
    if (answers[i].status == status) {
      const char *why = purlin_failure(ctx);
      return refuse(ctx, request, answers[i].http, answers[i].http < 500 && *why ? why : purlin_status_text(status));
    }
  return status; /* the runtime answers and logs it */
}

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

static purlin_status answer(purlin_ctx *ctx, purlin_request *request, const endpoint *of, const tensor_request *asked,
                            const float *out) {
  const served *s = of->served;
  size_t values = asked->rows * s->outputs;
  char *text = purlin_alloc(ctx, 256 + string_room(of->name) + string_room(s->output_name) + asked->id_size +
                                     values * (TENSOR_FLOAT + 1));
  if (!text) return PURLIN_TOO_LARGE;
  char *to = put_text(text, "{\"model_name\":");
  to = put_string(to, of->name);
  to = put_text(to, ",\"model_version\":\"");
  to = put_text(to, s->version_text);
  to = put_text(to, "\",\"id\":\"");
  to = put_bytes(to, asked->id, asked->id_size);
  to = put_text(to, "\",\"outputs\":[{\"name\":");
  to = put_string(to, s->output_name);
  to += snprintf(to, 80, ",\"datatype\":\"FP32\",\"shape\":[%zu", asked->rows);
  if (s->outputs > 1) to += snprintf(to, 24, ",%zu", s->outputs);
  to = put_text(to, "],\"data\":[");
  to = put_values(to, out, values);
  to = put_text(to, "]}]}");
  return purlin_respond_bytes(ctx, request, 200, "application/json", text, (size_t)(to - text));
}

static void *take(void *ctx, size_t size) { return purlin_alloc(ctx, size); }

static purlin_status run(purlin_ctx *ctx, const endpoint *of, const char *body, size_t size, tensor_request *asked,
                         float **out, char *why) {
  const served *s = of->served;
  if (!tensor_decode(body, size, &s->columns, (tensor_memory){take, ctx}, asked, why)) return PURLIN_INVALID;
  if (!asked->id) {
    asked->id = log_new_id(ctx);
    asked->id_size = asked->id ? strlen(asked->id) : 0;
  }
  *out = purlin_alloc_array(ctx, asked->rows * s->outputs, sizeof **out);
  if (!*out || !asked->id) return PURLIN_TOO_LARGE;
  work w = {s, asked, *out};
  return asked->rows > MOST_ROWS_ON_LOOP ? purlin_offload(ctx, PURLIN_POOL_CPU, predict, &w) : predict(&w);
}

static purlin_status infer_with(purlin_ctx *ctx, purlin_request *request, const endpoint *of) {
  const char *body = NULL;
  size_t size = 0;
  char why[TENSOR_WHY] = "";
  tensor_request asked;
  float *out = NULL;
  uint64_t began = purlin_ticks_ns();
  purlin_status status = purlin_read_all(ctx, request, MOST_BODY, &body, &size);
  if (status == PURLIN_OK) status = run(ctx, of, body, size, &asked, &out, why);
  if (status != PURLIN_OK) {
    purlin_count(predictions_total, 1, of->name, "refused");
    return why[0] ? refuse(ctx, request, 400, why) : refuse_status(ctx, request, status);
  }
  status = answer(ctx, request, of, &asked, out);
  log_predictions(ctx, of, asked.id, asked.id_size, asked.values, out, asked.rows);
  purlin_count(predictions_total, (double)asked.rows, of->name, "ok");
  purlin_observe(inference_duration_seconds, (double)(purlin_ticks_ns() - began) / 1e9, of->name);
  return status;
}

PURLIN_ROUTE(infer, "POST /v2/models/{name}/infer",
    .summary = "Predict, by the Open Inference Protocol", .permission = "models:predict", .body = "application/json", .answer = "application/json",
    .max_body = MOST_BODY) {
  slot *s = NULL;
  purlin_status status = slot_find(ctx, purlin_parameter(request, "name"), &s);
  if (status != PURLIN_OK) return refuse_status(ctx, request, status);
  status = infer_with(ctx, request, s->endpoint);
  slot_leave(s);
  return status;
}

/* ---- The other routes of the protocol ------------------------------------------------------------------------------------------------------------ */

static purlin_status say(purlin_ctx *ctx, purlin_request *request, const char *text) {
  return purlin_respond_bytes(ctx, request, 200, "application/json", text, strlen(text));
}

PURLIN_ROUTE(server_metadata, "GET /v2", .summary = "This server, by the Open Inference Protocol", .permission = "public", .answer = "application/json") {
  return say(ctx, request, "{\"name\":\"purlin\",\"version\":\"0.1.0\",\"extensions\":[]}");
}

PURLIN_ROUTE(server_live, "GET /v2/health/live", .summary = "Whether the server lives", .permission = "public", .answer = "application/json") {
  return say(ctx, request, "{\"live\":true}");
}

PURLIN_ROUTE(server_ready, "GET /v2/health/ready", .summary = "Whether the server is ready", .permission = "public", .answer = "application/json") {
  return say(ctx, request, "{\"ready\":true}"); /* until everything has started, no route of a plugin answers */
}

PURLIN_ROUTE(model_ready, "GET /v2/models/{name}/ready", .summary = "Whether an endpoint is ready", .permission = "models:predict",
    .answer = "application/json") {
  slot *s = NULL;
  const char *name = purlin_parameter(request, "name");
  purlin_status status = slot_find(ctx, name, &s);
  if (status != PURLIN_OK) return refuse_status(ctx, request, status);
  slot_leave(s);
  char *text = purlin_alloc(ctx, string_room(name) + 40), *to = text;
  if (!text) return PURLIN_TOO_LARGE;
  to = put_text(to, "{\"name\":");
  to = put_string(to, name);
  (void)put_bytes(to, ",\"ready\":true}", sizeof ",\"ready\":true}");
  return say(ctx, request, text);
}

static size_t metadata_room(const endpoint *of) {
  const served *s = of->served;
  size_t room = 300 + string_room(of->name) + string_room(s->platform) + string_room(s->output_name);
  for (size_t i = 0; i < s->columns.count; i++)
    room += string_room(s->column_names[i]) + string_room(s->column_types[i]) + 48;
  return room;
}

static char *put_metadata(char *to, const endpoint *of) {
  const served *s = of->served;
  to = put_text(to, "{\"name\":");
  to = put_string(to, of->name);
  to = put_text(to, ",\"versions\":[\"");
  to = put_text(to, s->version_text);
  to = put_text(to, "\"],\"platform\":");
  to = put_string(to, s->platform);
  to = put_text(to, ",\"inputs\":[");
  for (size_t i = 0; i < s->columns.count; i++) {
    to = put_text(to, i ? ",{\"name\":" : "{\"name\":");
    to = put_string(to, s->column_names[i]);
    to = put_text(to, ",\"datatype\":");
    to = put_string(to, s->column_types[i]);
    to = put_text(to, ",\"shape\":[-1]}");
  }
  to = put_text(to, "],\"outputs\":[{\"name\":");
  to = put_string(to, s->output_name);
  to = put_text(to, ",\"datatype\":\"FP32\",\"shape\":[-1");
  if (s->outputs > 1) to += snprintf(to, 24, ",%zu", s->outputs);
  return put_text(to, "]}]}");
}

PURLIN_ROUTE(model_metadata, "GET /v2/models/{name}", .summary = "What an endpoint takes and gives", .permission = "models:predict",
    .answer = "application/json") {
  slot *s = NULL;
  purlin_status status = slot_find(ctx, purlin_parameter(request, "name"), &s);
  if (status != PURLIN_OK) return refuse_status(ctx, request, status);
  char *text = purlin_alloc(ctx, metadata_room(s->endpoint));
  status = text ? purlin_respond_bytes(ctx, request, 200, "application/json", text,
                                       (size_t)(put_metadata(text, s->endpoint) - text))
                : PURLIN_TOO_LARGE;
  slot_leave(s);
  return status;
}
