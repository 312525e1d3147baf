#include "serving.h"
#include <string.h>

static const char SELECT_INDEX[] =
    "SELECT e.name, CAST(d.version AS CHAR) AS version FROM serving_endpoints e"
    " JOIN serving_deployments d ON d.endpoint_id = e.id AND d.number = e.deployment WHERE e.workspace = ? AND " PURLIN_VISIBLE(
        "e.project", "e.id") " ORDER BY e.name LIMIT 10000";

/* ---- Errors ------------------------------------------------------------------------------------------------------------------------------- */

typedef struct inference_error {
  const char *error;
} inference_error;
PURLIN_SCHEMA(inference_error, "An error of the Open Inference Protocol", PURLIN_REQUIRED(error, "What is wrong"));

static unsigned fill_error(purlin_status status, unsigned http_status, const char *message, void *error) {
  (void)status;
  *(inference_error *)error = (inference_error){message};
  return http_status;
}

const purlin_dialect open_inference = {
    .size = sizeof(purlin_dialect), .name = "Open Inference Protocol", .error = inference_error_schema, .fill = fill_error};

/* ---- The server ----------------------------------------------------------------------------------------------------------------------------- */

typedef struct server_description {
  const char *name, *version;
  purlin_texts extensions;
} server_description;
PURLIN_SCHEMA(server_description, "A server of the Open Inference Protocol",
    PURLIN_REQUIRED(name, "Its name"),
    PURLIN_REQUIRED(version, "Its version"),
    PURLIN_REQUIRED(extensions, "Which extensions it speaks"));
typedef struct server_life {
  bool live;
} server_life;
PURLIN_SCHEMA(server_life, "Whether the server lives", PURLIN_REQUIRED(live, "Whether it does"));
typedef struct server_readiness {
  bool ready;
} server_readiness;
PURLIN_SCHEMA(server_readiness, "Whether the server is ready", PURLIN_REQUIRED(ready, "Whether it is"));

PURLIN_ROUTE(server_metadata, "GET /v2", .summary = "This server, by the Open Inference Protocol", .permission = "public",
    .out = server_description_schema, .dialect = &open_inference) {
  static const char *const none[] = {""};
  const server_description told = {"purlin", SERVING_RELEASE, {none, 0}};
  return purlin_respond(ctx, request, 200, server_description_schema(), &told);
}

PURLIN_ROUTE(server_live, "GET /v2/health/live", .summary = "Whether the server lives", .permission = "public", .out = server_life_schema,
    .dialect = &open_inference) {
  return purlin_respond(ctx, request, 200, server_life_schema(), &(server_life){true});
}

/* Until everything has started, no route of a plugin answers. */
PURLIN_ROUTE(server_ready, "GET /v2/health/ready", .summary = "Whether the server is ready", .permission = "public",
    .out = server_readiness_schema, .dialect = &open_inference) {
  return purlin_respond(ctx, request, 200, server_readiness_schema(), &(server_readiness){true});
}

/* ---- A model of the protocol is an endpoint of ours, its version the one that serves ---------------------------------------------------------- */

purlin_status slot_of_request(purlin_ctx *ctx, purlin_request *request, slot **out) {
  const char *name = purlin_parameter(request, "name"), *version = purlin_parameter(request, "version");
  purlin_status status = slot_find(ctx, name, out);
  if (status != PURLIN_OK || !version) return status;
  const char *serves = (*out)->endpoint->served->version_text;
  if (strcmp(version, serves) == 0) return PURLIN_OK;
  status = purlin_fail(ctx, PURLIN_NOT_FOUND, "the endpoint '%s' serves version %s, not %s", name, serves, version);
  slot_leave(*out);
  return status;
}

typedef struct model_readiness {
  const char *name;
  bool ready;
} model_readiness;
PURLIN_SCHEMA(model_readiness, "Whether an endpoint is ready",
    PURLIN_REQUIRED(name, "The endpoint"),
    PURLIN_REQUIRED(ready, "Whether it is"));

static purlin_status tell_ready(purlin_ctx *ctx, purlin_request *request) {
  slot *s = NULL;
  purlin_status status = slot_of_request(ctx, request, &s);
  if (status != PURLIN_OK) return status;
  status = purlin_respond(ctx, request, 200, model_readiness_schema(), &(model_readiness){s->endpoint->name, true});
  slot_leave(s);
  return status;
}

PURLIN_ROUTE(model_ready, "GET /v2/models/{name}/ready", .summary = "Whether an endpoint is ready", .permission = "models:predict", .by_project = true,
    .out = model_readiness_schema, .dialect = &open_inference) {
  return tell_ready(ctx, request);
}

PURLIN_ROUTE(version_ready, "GET /v2/models/{name}/versions/{version}/ready", .summary = "Whether an endpoint is ready with this version",
    .permission = "models:predict", .by_project = true, .out = model_readiness_schema, .dialect = &open_inference) {
  return tell_ready(ctx, request);
}

typedef struct tensor_metadata {
  const char *name, *datatype;
  purlin_json shape;
} tensor_metadata;
PURLIN_SCHEMA(tensor_metadata, "A tensor of a model",
    PURLIN_REQUIRED(name, "Its name"),
    PURLIN_REQUIRED(datatype, "Its type"),
    PURLIN_REQUIRED(shape, "Its dimensions; -1: any"));
typedef struct model_description {
  const char *name;
  purlin_texts versions;
  const char *platform;
  PURLIN_LIST_OF(tensor_metadata) inputs;
  PURLIN_LIST_OF(tensor_metadata) outputs;
} model_description;
PURLIN_SCHEMA(model_description, "What an endpoint takes and gives",
    PURLIN_REQUIRED(name, "The endpoint"),
    PURLIN_REQUIRED(versions, "The version that serves"),
    PURLIN_REQUIRED(platform, "What evaluates it"),
    PURLIN_LIST(inputs, tensor_metadata, "A tensor for each column; one [n, columns] is taken as well"),
    PURLIN_LIST(outputs, tensor_metadata, "What it gives"));

static purlin_status describe(purlin_ctx *ctx, const endpoint *of, model_description *out) {
  static const purlin_json column = {"[-1]", 4};
  const served *s = of->served;
  size_t count = s->columns.count, outputs = 0;
  tensor_metadata *tensors = purlin_alloc_array(ctx, count + 2, sizeof *tensors);
  const char *shape = s->outputs > 1 ? purlin_format(ctx, "[-1,%zu]", s->outputs) : "[-1]";
  if (!tensors || !shape) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < count; i++) tensors[i] = (tensor_metadata){s->column_names[i], s->column_types[i], column};
  if (s->label_name) tensors[count + outputs++] = (tensor_metadata){s->label_name, "INT64", column};
  tensors[count + outputs++] = (tensor_metadata){s->output_name, "FP32", {shape, strlen(shape)}};
  *out = (model_description){.name = of->name,
                             .versions = {(const char *const *)&s->version_text, 1},
                             .platform = s->platform,
                             .inputs = {tensors, count},
                             .outputs = {tensors + count, outputs}};
  return PURLIN_OK;
}

static purlin_status tell_metadata(purlin_ctx *ctx, purlin_request *request) {
  slot *s = NULL;
  model_description told;
  purlin_status status = slot_of_request(ctx, request, &s);
  if (status != PURLIN_OK) return status;
  status = describe(ctx, s->endpoint, &told);
  if (status == PURLIN_OK) status = purlin_respond(ctx, request, 200, model_description_schema(), &told);
  slot_leave(s);
  return status;
}

PURLIN_ROUTE(model_metadata, "GET /v2/models/{name}", .summary = "What an endpoint takes and gives", .permission = "models:predict", .by_project = true,
    .out = model_description_schema, .dialect = &open_inference) {
  return tell_metadata(ctx, request);
}

PURLIN_ROUTE(version_metadata, "GET /v2/models/{name}/versions/{version}", .summary = "What an endpoint takes and gives with this version",
    .permission = "models:predict", .by_project = true, .out = model_description_schema, .dialect = &open_inference) {
  return tell_metadata(ctx, request);
}

/* ---- The index -------------------------------------------------------------------------------------------------------------------------------- */

typedef struct indexed {
  const char *name, *version, *state, *reason;
} indexed;
PURLIN_SCHEMA(indexed, "An endpoint in the index",
    PURLIN_REQUIRED(name, "The endpoint"),
    PURLIN_REQUIRED(version, "The version that serves"),
    PURLIN_OPTIONAL(state, "READY"),
    PURLIN_OPTIONAL(reason, "Why it is not"));
typedef struct index_list {
  PURLIN_LIST_OF(indexed) models;
} index_list;
PURLIN_SCHEMA(index_list, "Endpoints", PURLIN_LIST(models, indexed, "The endpoints"));

typedef struct index_in {
  bool ready;
} index_in;
PURLIN_SCHEMA(index_in, "Which endpoints", PURLIN_DEFAULT(ready, "false", "Only those that are ready; all are"));

/* The protocol wants a bare list: what stands between the brackets of {"models":[...]}. */
PURLIN_ROUTE(repository_index, "POST /v2/repository/index", .summary = "The endpoints of the workspace, by the Open Inference Protocol",
    .permission = "models:read", .by_project = true, .in = index_in_schema, .answer = "application/json", .dialect = &open_inference) {
  const char *body = NULL;
  size_t size = 0;
  index_in asked;
  index_list found = {0};
  purlin_json text;
  purlin_status status = purlin_read_all(ctx, request, 64 * 1024, &body, &size);
  if (status == PURLIN_OK && size > 0) status = purlin_decode(ctx, index_in_schema(), body, size, &asked);
  if (status == PURLIN_OK)
    status = purlin_db_list(ctx, indexed, &found.models, SELECT_INDEX, purlin_workspace(ctx),
                            PURLIN_VISIBLE_TO(ctx, "models:read"));
  if (status != PURLIN_OK) return status;
  for (size_t i = 0; i < found.models.count; i++) found.models.items[i].state = "READY", found.models.items[i].reason = "";
  if (found.models.count == 0) return purlin_respond_bytes(ctx, request, 200, "application/json", "[]", 2);
  status = purlin_encode(ctx, index_list_schema(), &found, &text);
  const char *open = status == PURLIN_OK ? memchr(text.text, '[', text.size) : NULL;
  if (!open) return status;
  return purlin_respond_bytes(ctx, request, 200, "application/json", open, text.size - (size_t)(open - text.text) - 1);
}
