#include "operation/object.h"
#include "operation/registry.h"
#include "core/status.h"
#include "http/server.h"
#include <stdio.h>
#include <string.h>

/* Schemas that were written already, by name and number. */
typedef struct document {
  buffer *out;
  const purlin_schema *seen[2048];
  unsigned numbers[2048];
  size_t seen_count;
  const char *path; /* of the path item that is open; NULL: none */
  bool first_method;
} document;

static void text(document *d, const char *value) { buffer_json_text(d->out, value, strlen(value)); }

static void add_schema(void *to, const purlin_schema *schema) {
  document *d = to;
  unsigned number = schema_component_number(schema);
  for (size_t i = 0; i < d->seen_count; i++)
    if (strcmp(d->seen[i]->name, schema->name) == 0 && d->numbers[i] == number) return;
  if (d->seen_count == sizeof d->seen / sizeof d->seen[0]) return;
  if (d->seen_count) buffer_char(d->out, ',');
  d->numbers[d->seen_count] = number;
  d->seen[d->seen_count++] = schema;
  buffer_char(d->out, '"');
  schema_component_name(schema, d->out);
  buffer_text(d->out, "\":");
  schema_json_schema(schema, d->out);
}

static void reference(document *d, const purlin_schema *schema) {
  buffer_text(d->out, "{\"$ref\":\"#/components/schemas/");
  schema_component_name(schema, d->out);
  buffer_text(d->out, "\"}");
}

static void content(document *d, const char *media_type, const purlin_schema *schema) {
  buffer_text(d->out, "\"content\":{");
  text(d, media_type);
  buffer_text(d->out, ":{\"schema\":");
  if (schema) reference(d, schema);
  else buffer_text(d->out, "{}");
  buffer_text(d->out, "}}");
}

static bool in_path(const char *path, const char *name) {
  size_t size = strlen(name);
  for (const char *at = strchr(path, '{'); at; at = strchr(at + 1, '{'))
    if (strncmp(at + 1, name, size) == 0 && (at[1 + size] == '}' || at[1 + size] == '.')) return true;
  return false;
}

static void parameter(document *d, const char *name, size_t name_size, const char *where, bool required,
                      const purlin_field *field, bool *first) {
  if (!*first) buffer_char(d->out, ',');
  *first = false;
  buffer_text(d->out, "{\"name\":");
  buffer_json_text(d->out, name, name_size);
  buffer_format(d->out, ",\"in\":\"%s\",\"required\":%s", where, required ? "true" : "false");
  if (field && field->doc) {
    buffer_text(d->out, ",\"description\":");
    text(d, field->doc);
  }
  buffer_text(d->out, ",\"schema\":");
  if (field) schema_json_field(field, d->out);
  else buffer_text(d->out, "{\"type\":\"string\"}");
  buffer_char(d->out, '}');
}

static void path_parameters(document *d, const char *path, const purlin_schema *schema, bool *first) {
  for (const char *at = strchr(path, '{'); at; at = strchr(at + 1, '{')) {
    size_t size = strcspn(at + 1, "}.");
    const purlin_field *field = schema ? schema_find(schema, at + 1, size) : NULL;
    parameter(d, at + 1, size, "path", true, field, first);
  }
}

static void query_parameters(document *d, const char *path, const purlin_schema *schema, bool *first) {
  for (size_t i = 0; schema && i < schema->field_count; i++) {
    const purlin_field *field = schema_field(schema, i);
    if (!in_path(path, field->name))
      parameter(d, field->name, strlen(field->name), "query", field->required != 0, field, first);
  }
}

/* What a client that read the object before holds the change to. */
static void if_match_parameter(document *d, bool *first) {
  if (!*first) buffer_char(d->out, ',');
  *first = false;
  buffer_text(d->out,
              "{\"name\":\"If-Match\",\"in\":\"header\",\"required\":false,\"description\":\"The ETag of the object as you "
              "read it: when it has changed since, nothing is done and the answer is 412\","
              "\"schema\":{\"type\":\"string\"}}");
}

typedef struct described {
  const char *id, *plugin, *summary, *description, *permission, *effect;
  const purlin_schema *path_schema, *query, *in, *out;
  const char *body, *answer;
  unsigned success;
  const purlin_dialect *dialect;
  bool changes_object, answers_object;
} described;

static void security(document *d, const char *permission) {
  if (strcmp(permission, "public") == 0) buffer_text(d->out, ",\"security\":[]");
  buffer_text(d->out, ",\"x-permission\":");
  text(d, permission);
}

static void describe(document *d, const char *method, const char *path, const described *what) {
  buffer_text(d->out, "\"operationId\":");
  text(d, what->id);
  buffer_text(d->out, ",\"summary\":");
  text(d, what->summary);
  if (what->description) {
    buffer_text(d->out, ",\"description\":");
    text(d, what->description);
  }
  buffer_text(d->out, ",\"tags\":[");
  text(d, what->plugin);
  buffer_char(d->out, ']');
  security(d, what->permission);
  if (what->effect) buffer_format(d->out, ",\"x-effect\":\"%s\"", what->effect);
  buffer_text(d->out, ",\"parameters\":[");
  bool first = true;
  path_parameters(d, path, what->path_schema, &first);
  query_parameters(d, path, what->query, &first);
  if (what->changes_object) if_match_parameter(d, &first);
  buffer_char(d->out, ']');
  if (what->body) {
    buffer_text(d->out, ",\"requestBody\":{");
    content(d, what->body, what->in);
    buffer_char(d->out, '}');
  }
  buffer_format(d->out, ",\"responses\":{\"%u\":{\"description\":\"%s\"", what->success,
                what->success == 201 ? "Created" : "OK");
  if (what->answers_object)
    buffer_text(d->out, ",\"headers\":{\"ETag\":{\"description\":\"Of this state of the object, for If-Match and "
                        "If-None-Match\",\"schema\":{\"type\":\"string\"}}}");
  if (what->answer) {
    buffer_char(d->out, ',');
    content(d, what->answer, what->out);
  }
  if (what->dialect) {
    buffer_format(d->out, "},\"default\":{\"description\":\"An error, as in the %s\",", what->dialect->name);
    content(d, "application/json", what->dialect->error());
    buffer_text(d->out, "}}");
  } else buffer_text(d->out, "},\"default\":{\"$ref\":\"#/components/responses/problem\"}}");
  (void)method;
}

static const char *const effects[] = {[PURLIN_READS] = "reads", [PURLIN_CHANGES] = "changes", [PURLIN_CREATES] = "creates"};

/* Ids are unique in a document: of several addresses only the first has the plain name. */
static const char *id_at(const operation *op, const char *method, const char *path, char *id, size_t size) {
  const char *http = op->declared->http;
  size_t first = http ? strcspn(http, ",") : 0;
  (void)snprintf(id, size, "%s %s", method, path);
  if (first == 0 || (strlen(id) == first && memcmp(id, http, first) == 0)) return op->name;
  (void)snprintf(id, size, "%s %s %s", op->name, method, path);
  return id;
}

static void describe_operation(document *d, const char *method, const char *path, const operation *op) {
  char id[512];
  bool body = strcmp(method, "GET") != 0 && strcmp(method, "DELETE") != 0;
  described what = {.id = id_at(op, method, path, id, sizeof id),
                    .plugin = op->plugin,
                    .summary = op->declared->summary,
                    .description = op->declared->description,
                    .permission = op->declared->permission,
                    .path_schema = op->in,
                    .query = body ? NULL : op->in,
                    .in = op->in,
                    .out = op->out,
                    .body = body ? "application/json" : NULL,
                    .answer = "application/json",
                    .dialect = op->declared->dialect,
                    .effect = effects[op->declared->effect],
                    .changes_object = op->shown != NULL,
                    .answers_object = object_is_answered(op),
                    .success = op->declared->effect == PURLIN_CREATES && !op->binding ? 201 : 200};
  if (op->binding) buffer_format(d->out, "\"x-binds\":\"%s\",", op->declared->binds);
  describe(d, method, path, &what);
}

static void describe_route(document *d, const char *method, const char *path, const registered_route *registered) {
  const purlin_route *route = registered->route;
  const char *json = "application/json";
  described what = {.id = registered->name,
                    .plugin = registered->plugin,
                    .summary = route->summary,
                    .permission = route->permission,
                    .query = route->query ? route->query() : NULL,
                    .in = route->in ? route->in() : NULL,
                    .out = route->out ? route->out() : NULL,
                    .body = route->body ? route->body
                            : route->in ? json
                                        : NULL,
                    .answer = route->answer ? route->answer
                              : route->out  ? json
                                            : NULL,
                    .dialect = route->dialect,
                    .success = 200};
  describe(d, method, path, &what);
}

/* Paths in a document are keyed without the "..." of a rest parameter. */
static void open_path(document *d, const char *path) {
  if (d->path && strcmp(d->path, path) == 0) {
    buffer_char(d->out, ',');
    return;
  }
  if (d->path) buffer_text(d->out, "},");
  d->path = path;
  buffer_char(d->out, '"');
  for (const char *at = path; *at; at++)
    if (strncmp(at, "...}", 4) == 0) at += 2;
    else buffer_char(d->out, *at);
  buffer_text(d->out, "\":{");
}

static const registered_route *route_of(const http_target *target) {
  for (const registered_route *r = routes_first(); r; r = r->next)
    if (r == target->argument) return r;
  return NULL;
}

static const operation *operation_of(const http_target *target) {
  const operation *op = target->argument ? operation_find(target->name) : NULL;
  return op || !target->argument ? op : binding_find(target->name);
}

/* Whether an address only mirrors another one, which is described. */
static bool is_mirror(const http_target *target, const char *path) {
  const purlin_dialect *dialect = target->dialect;
  const char *mirror = dialect && dialect->mirror ? strchr(dialect->mirror, ' ') : NULL;
  return mirror && strncmp(path, mirror + 1, strlen(mirror + 1)) == 0;
}

static void add_path(void *to, const char *method, const char *path, const http_target *target) {
  document *d = to;
  const registered_route *route = route_of(target);
  const operation *op = route ? NULL : operation_of(target);
  if ((!route && !op) || is_mirror(target, path)) return;
  open_path(d, path);
  buffer_char(d->out, '"');
  for (const char *at = method; *at; at++) buffer_char(d->out, (char)(*at | 0x20));
  buffer_text(d->out, "\":{");
  if (op && !op->binding) buffer_text(d->out, "\"x-operation\":true,");
  if (op) describe_operation(d, method, path, op);
  else describe_route(d, method, path, route);
  buffer_char(d->out, '}');
}

/* Operations without a binding of their own are found under their name. */
static void add_unbound(void *to, const operation *op) {
  document *d = to;
  if (op->declared->http) return;
  if (d->path) buffer_text(d->out, "},");
  d->path = op->name;
  buffer_format(d->out, "\"/api/v1/op/%s\":{\"post\":{\"x-operation\":true,", op->name);
  describe_operation(d, "POST", "", op);
  buffer_char(d->out, '}');
}

static void add_operation_schemas(void *to, const operation *op) {
  if (op->declared->dialect) schema_visit(op->declared->dialect->error(), add_schema, to);
  schema_visit(op->in, add_schema, to);
  schema_visit(op->out, add_schema, to);
}

static void add_schemas(document *d) {
  operations_visit(add_operation_schemas, d);
  bindings_visit(add_operation_schemas, d);
  for (const registered_route *r = routes_first(); r; r = r->next) {
    if (r->route->in) schema_visit(r->route->in(), add_schema, d);
    if (r->route->out) schema_visit(r->route->out(), add_schema, d);
    if (r->route->dialect) schema_visit(r->route->dialect->error(), add_schema, d);
  }
}

static const char PROBLEM[] =
    "\"responses\":{\"problem\":{\"description\":\"A problem (RFC 9457)\",\"content\":{\"application/problem+json\":{\"schema\":"
    "{\"type\":\"object\",\"required\":[\"type\",\"title\",\"status\"],\"properties\":{\"type\":{\"type\":\"string\"},\"title\":"
    "{\"type\":\"string\"},\"status\":{\"type\":\"integer\"},\"detail\":{\"type\":\"string\"},\"trace_id\":{\"type\":\"string\"},"
    "\"errors\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"field\":{\"type\":\"string\"},\"message\":"
    "{\"type\":\"string\"}}}}}}}}}},\"securitySchemes\":{\"token\":{\"type\":\"http\",\"scheme\":\"bearer\"}}";

void openapi_render(const http_router *router, buffer *out) {
  document d = {.out = out};
  buffer_text(out, "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"Purlin\",\"version\":\"" PURLIN_VERSION
                   "\",\"license\":{\"name\":"
                   "\"Apache-2.0\",\"identifier\":\"Apache-2.0\"}},\"security\":[{\"token\":[]}],\"paths\":{");
  http_router_visit(router, add_path, &d);
  operations_visit(add_unbound, &d);
  if (d.path) buffer_char(out, '}');
  buffer_text(out, "},\"components\":{\"schemas\":{");
  add_schemas(&d);
  buffer_text(out, "},");
  buffer_text(out, PROBLEM);
  buffer_text(out, "}}");
}
