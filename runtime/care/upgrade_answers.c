#include "care/upgrade.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ASK_MS = 30000, ROWS = 8, MOST_WIDTH = 65536, MOST_MODELS = 1000, SAID = 300 };
#define TOLERANCE 1e-6

static const cJSON *get(const cJSON *of, const char *name) { return cJSON_GetObjectItemCaseSensitive(of, name); }
static const char *text_of(const cJSON *of, const char *name) { return cJSON_GetStringValue(get(of, name)); }

typedef struct asking {
  answers_send *send;
  void *to;
  const char *token;
  buffer *why;
} asking;

/* The answer parsed (NULL: no JSON); 0 in *http when none came. */
static cJSON *ask(const asking *a, const char *method, const char *path, const char *body, unsigned *http, buffer *raw) {
  const care_request request = {method, path, a->token, body, ASK_MS, false};
  buffer own = {0}, *answer = raw ? raw : &own;
  cJSON *parsed = a->send(a->to, &request, http, answer, a->why) ? cJSON_ParseWithLength(answer->data, answer->size) : NULL;
  buffer_free(&own);
  return parsed;
}

/* ---- Canaries: of each plugin the first operation that reads and needs to be told nothing ---- */

static bool needs_input(const cJSON *operation) {
  const cJSON *parameter;
  cJSON_ArrayForEach(parameter, get(operation, "parameters")) if (cJSON_IsTrue(get(parameter, "required"))) return true;
  return false;
}

static cJSON *find_canary(const cJSON *canaries, const char *plugin) {
  cJSON *canary;
  cJSON_ArrayForEach(canary, canaries) {
    const char *of = text_of(canary, "plugin");
    if (of && strcmp(of, plugin) == 0) return canary;
  }
  return NULL;
}

static bool was_right(const cJSON *entry) { return cJSON_GetNumberValue(get(entry, "status")) == 200; }

/* One that does not answer to this token makes room for the next one of its plugin. */
static bool add_canary(const asking *a, cJSON *canaries, const char *path, const cJSON *operation) {
  const char *id = text_of(operation, "operationId"), *effect = text_of(operation, "x-effect");
  const char *plugin = cJSON_GetStringValue(cJSON_GetArrayItem(get(operation, "tags"), 0));
  bool suits =
      id && plugin && path && effect && strcmp(effect, "reads") == 0 && cJSON_IsTrue(get(operation, "x-operation"));
  if (!suits || strchr(path, '{') || needs_input(operation)) return true;
  cJSON *before = find_canary(canaries, plugin);
  if (before && was_right(before)) return true;
  unsigned http = 0;
  cJSON_Delete(ask(a, "GET", path, NULL, &http, NULL));
  if (http == 0) return false;
  if (before && http != 200) return true;
  if (before) cJSON_Delete(cJSON_DetachItemViaPointer(canaries, before));
  cJSON *canary = cJSON_CreateObject();
  (void)cJSON_AddStringToObject(canary, "plugin", plugin);
  (void)cJSON_AddStringToObject(canary, "operation", id);
  (void)cJSON_AddStringToObject(canary, "path", path);
  (void)cJSON_AddNumberToObject(canary, "status", http);
  return cJSON_AddItemToArray(canaries, canary);
}

static bool gather_canaries(const asking *a, const cJSON *document, cJSON *canaries) {
  const cJSON *path;
  cJSON_ArrayForEach(path, get(document, "paths")) {
    const cJSON *operation = get(path, "get");
    if (operation && !add_canary(a, canaries, path->string, operation)) return false;
  }
  return true;
}

/* ---- Predictions, by the Open Inference Protocol, which any plugin may speak ---- */

/* The same on every machine and every time: splitmix64. */
static uint64_t next_random(uint64_t *seed) {
  uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

/* Nothing, one, and then numbers of several sizes, so that the rows take different ways through a model. Sixteenths: exact in FP16. */
static double make_number(uint64_t *seed, size_t row, bool whole) {
  static const double spans[] = {1, 10, 100};
  double random = (double)(next_random(seed) >> 11) * 0x1p-53;
  if (row < 2) return (double)row;
  double number = random * spans[row % 3];
  return whole ? floor(number) : floor(number * 16) / 16;
}

static cJSON *make_value(const char *type, uint64_t *seed, size_t row) {
  if (strcmp(type, "BOOL") == 0) return cJSON_CreateBool(next_random(seed) & 1);
  if (strncmp(type, "FP", 2) == 0) return cJSON_CreateNumber(make_number(seed, row, false));
  if (strncmp(type, "INT", 3) == 0 || strncmp(type, "UINT", 4) == 0)
    return cJSON_CreateNumber(make_number(seed, row, true));
  return NULL;
}

/* [-1, 3] becomes [ROWS, 3]; how many values a row has. 0: it cannot be made up. */
static size_t settle_shape(const cJSON *told, cJSON *shape) {
  size_t width = 1;
  bool first = true;
  const cJSON *size;
  cJSON_ArrayForEach(size, told) {
    double wanted = cJSON_IsNumber(size) ? size->valuedouble : 0;
    if (first ? wanted != -1 && wanted != ROWS : wanted < 1 || wanted > MOST_WIDTH) return 0;
    (void)cJSON_AddItemToArray(shape, cJSON_CreateNumber(first ? ROWS : wanted));
    if (!first) width *= (size_t)wanted;
    if (width > MOST_WIDTH) return 0;
    first = false;
  }
  return first ? 0 : width;
}

static bool make_tensor(const cJSON *told, uint64_t *seed, cJSON *inputs) {
  const char *name = text_of(told, "name"), *type = text_of(told, "datatype");
  cJSON *tensor = cJSON_CreateObject(), *shape = cJSON_AddArrayToObject(tensor, "shape");
  (void)cJSON_AddItemToArray(inputs, tensor);
  size_t width = settle_shape(get(told, "shape"), shape);
  if (!name || !type || width == 0) return false;
  (void)cJSON_AddStringToObject(tensor, "name", name);
  (void)cJSON_AddStringToObject(tensor, "datatype", type);
  cJSON *data = cJSON_AddArrayToObject(tensor, "data");
  for (size_t i = 0; i < ROWS * width; i++)
    if (!cJSON_AddItemToArray(data, make_value(type, seed, i / width))) return false;
  return true;
}

cJSON *answers_make_input(const cJSON *metadata) {
  cJSON *request = cJSON_CreateObject(), *inputs = cJSON_AddArrayToObject(request, "inputs");
  const cJSON *told = get(metadata, "inputs"), *tensor;
  uint64_t seed = 1;
  bool fine = inputs && cJSON_GetArraySize(told) > 0;
  cJSON_ArrayForEach(tensor, told) fine = fine && make_tensor(tensor, &seed, inputs);
  if (fine) return request;
  cJSON_Delete(request);
  return NULL;
}

/* A name within a path. */
static void add_escaped(buffer *out, const char *name) {
  static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
  for (; *name; name++)
    if (strchr(plain, *name)) buffer_char(out, *name);
    else buffer_format(out, "%%%02X", (unsigned)(unsigned char)*name);
}

static void model_path(buffer *path, const char *model, const char *rest) {
  buffer_clear(path);
  buffer_text(path, "/v2/models/");
  add_escaped(path, model);
  buffer_text(path, rest);
}

/* Asks the model of `prediction` and adds what it answers: "status" and, with 200, "version" and "outputs"; else "said". */
static bool ask_model(const asking *a, cJSON *prediction) {
  const char *model = text_of(prediction, "model");
  char *body = cJSON_PrintUnformatted(get(prediction, "request"));
  buffer path = {0}, raw = {0};
  unsigned http = 0;
  model_path(&path, model ? model : "", "/infer");
  cJSON *answer = body ? ask(a, "POST", buffer_end(&path), body, &http, &raw) : NULL;
  (void)cJSON_AddNumberToObject(prediction, "status", http);
  if (http == 200 && answer) {
    const char *version = text_of(answer, "model_version");
    (void)cJSON_AddStringToObject(prediction, "version", version ? version : "");
    (void)cJSON_AddItemToObject(prediction, "outputs", cJSON_DetachItemFromObjectCaseSensitive(answer, "outputs"));
  } else if (http != 0) {
    const char *said = text_of(answer, "error");
    char shown[SAID];
    (void)snprintf(shown, sizeof shown, "%s", said ? said : buffer_end(&raw));
    (void)cJSON_AddStringToObject(prediction, "said", shown);
  }
  cJSON_Delete(answer);
  cJSON_free(body);
  buffer_free(&path);
  buffer_free(&raw);
  return http != 0;
}

static bool gather_prediction(const asking *a, const char *model, cJSON *predictions) {
  buffer path = {0};
  unsigned http = 0;
  model_path(&path, model, "");
  cJSON *metadata = ask(a, "GET", buffer_end(&path), NULL, &http, NULL);
  buffer_free(&path);
  cJSON *prediction = cJSON_CreateObject(), *input = http == 200 ? answers_make_input(metadata) : NULL;
  cJSON_Delete(metadata);
  (void)cJSON_AddStringToObject(prediction, "model", model);
  bool fine = http != 0;
  if (fine && input) {
    (void)cJSON_AddItemToObject(prediction, "request", input);
    fine = ask_model(a, prediction);
  } else (void)cJSON_AddNumberToObject(prediction, "status", 0);
  return cJSON_AddItemToArray(predictions, prediction) && fine;
}

static bool gather_predictions(const asking *a, const cJSON *document, cJSON *predictions) {
  if (!get(get(get(document, "paths"), "/v2/repository/index"), "post")) return true;
  unsigned http = 0;
  cJSON *index = ask(a, "POST", "/v2/repository/index", "{\"ready\":true}", &http, NULL);
  bool fine = http != 0;
  size_t count = 0;
  const cJSON *model;
  cJSON_ArrayForEach(model, index) {
    const char *name = text_of(model, "name");
    if (fine && name && count++ < MOST_MODELS) fine = gather_prediction(a, name, predictions);
  }
  cJSON_Delete(index);
  return fine;
}

/* ---- Before ---- */

static cJSON *read_document(const asking *a) {
  unsigned http = 0;
  cJSON *document = ask(a, "GET", "/openapi.json", NULL, &http, NULL);
  if (http == 200 && cJSON_IsObject(get(document, "paths"))) return document;
  if (http != 0) buffer_format(a->why, "/openapi.json answers %u", http);
  cJSON_Delete(document);
  return NULL;
}

cJSON *answers_gather(answers_send *send, void *to, const char *token, buffer *why) {
  const asking a = {send, to, token, why};
  cJSON *document = read_document(&a);
  if (!document) return NULL;
  cJSON *answers = cJSON_CreateObject();
  const char *version = text_of(get(document, "info"), "version");
  (void)cJSON_AddStringToObject(answers, "version", version ? version : "");
  bool fine = gather_canaries(&a, document, cJSON_AddArrayToObject(answers, "canaries")) &&
              gather_predictions(&a, document, cJSON_AddArrayToObject(answers, "predictions"));
  cJSON_Delete(document);
  if (fine) return answers;
  if (why->size == 0) buffer_text(why, "the server stopped answering");
  cJSON_Delete(answers);
  return NULL;
}

/* ---- After ---- */

static bool near(double a, double b) {
  double size = fmax(1, fmax(fabs(a), fabs(b)));
  return (isnan(a) && isnan(b)) || a == b || fabs(a - b) <= TOLERANCE * size;
}

/* Two values of a tensor, which may be nested lists. */
static bool same_values(const cJSON *x, const cJSON *y, const char *name, buffer *why) {
  if (cJSON_IsNumber(x) && cJSON_IsNumber(y)) {
    if (near(x->valuedouble, y->valuedouble)) return true;
    buffer_format(why, "'%s' was %.9g and is %.9g", name, x->valuedouble, y->valuedouble);
    return false;
  }
  if (!cJSON_IsArray(x) || !cJSON_IsArray(y)) {
    if (cJSON_Compare(x, y, true)) return true;
    buffer_format(why, "'%s' has other values than before", name);
    return false;
  }
  const cJSON *a = x->child, *b = y->child;
  for (; a && b; a = a->next, b = b->next)
    if (!same_values(a, b, name, why)) return false;
  if (!a && !b) return true;
  buffer_format(why, "'%s' has another number of values than before", name);
  return false;
}

bool answers_agree(const cJSON *before, const cJSON *after, buffer *why) {
  if (cJSON_GetArraySize(before) != cJSON_GetArraySize(after)) {
    buffer_format(why, "%d outputs were %d", cJSON_GetArraySize(after), cJSON_GetArraySize(before));
    return false;
  }
  const cJSON *x = before ? before->child : NULL, *y = after ? after->child : NULL;
  for (; x && y; x = x->next, y = y->next) {
    const char *name = text_of(x, "name"), *now = text_of(y, "name");
    if (!name || !now || strcmp(name, now) != 0) {
      buffer_format(why, "the output '%s' was '%s'", now ? now : "", name ? name : "");
      return false;
    }
    if (!same_values(get(x, "data"), get(y, "data"), name, why)) return false;
  }
  return true;
}

static bool compare_canary(const asking *a, const cJSON *before, answers_outcome *out) {
  const char *path = text_of(before, "path"), *operation = text_of(before, "operation");
  if (!path || !operation) return true;
  if (!was_right(before)) {
    out->broken++;
    return true;
  }
  unsigned http = 0;
  cJSON_Delete(ask(a, "GET", path, NULL, &http, NULL));
  if (http == 200) out->canaries++;
  else if (http != 0) {
    out->wrong++;
    buffer_format(a->why, "%s%s (GET %s) answered 200 before and answers %u", a->why->size ? "\n" : "", operation, path,
                  http);
  }
  return http != 0;
}

static bool compare_prediction(const asking *a, const cJSON *before, answers_outcome *out) {
  const char *model = text_of(before, "model"), *version = text_of(before, "version");
  if (!model || !version || !was_right(before)) {
    out->broken++;
    return true;
  }
  cJSON *now = cJSON_CreateObject();
  (void)cJSON_AddStringToObject(now, "model", model);
  (void)cJSON_AddItemToObject(now, "request", cJSON_Duplicate(get(before, "request"), true));
  bool fine = ask_model(a, now);
  const char *serves = text_of(now, "version"), *said = text_of(now, "said");
  buffer difference = {0};
  if (fine && serves && strcmp(serves, version) != 0) out->changed++;
  else if (fine && serves && answers_agree(get(before, "outputs"), get(now, "outputs"), &difference)) out->predictions++;
  else if (fine) {
    out->wrong++;
    buffer_format(a->why, "%sthe model '%s' version %s: ", a->why->size ? "\n" : "", model, version);
    if (serves) buffer_text(a->why, buffer_end(&difference));
    else
      buffer_format(a->why, "predicted before and answers %.0f: %s", cJSON_GetNumberValue(get(now, "status")),
                    said ? said : "");
  }
  buffer_free(&difference);
  cJSON_Delete(now);
  return fine;
}

bool answers_compare(answers_send *send, void *to, const char *token, const cJSON *before, answers_outcome *out,
                     buffer *why) {
  const asking a = {send, to, token, why};
  const cJSON *entry;
  cJSON_ArrayForEach(entry, get(before, "canaries")) if (!compare_canary(&a, entry, out)) return false;
  cJSON_ArrayForEach(entry, get(before, "predictions")) if (!compare_prediction(&a, entry, out)) return false;
  return true;
}
