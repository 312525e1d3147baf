#include "operation/fault.h"
#include "operation/object.h"
#include "operation/once.h"
#include "access/access.h"
#include "audit/audit.h"
#include "core/text.h"
#include "http/server.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { LARGEST_BODY = 8 * 1024 * 1024, LARGEST_DECODED_HERE = 128 * 1024 };

static bool takes_body(const char *method) {
  return strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0 && strcmp(method, "DELETE") != 0;
}

static void complain(void *to, const char *field, const char *message) {
  (void)purlin_fail_field(to, field, "%s", message);
}

/* An input being put together from the path, the query string and the body; a field that comes twice is refused, but one of the path
 * may stand in the body again with the same value: clients send whole objects. */
typedef struct gathering {
  schema_reading reading;
  const purlin_schema *schema;
  void *in;
  uint64_t was_set[SCHEMA_MAX_FIELDS / 64];
  purlin_status status;
  const char *body; /* as it came; "" without one */
  size_t body_size;
} gathering;

static bool is_set(const gathering *g, size_t index) { return (g->was_set[index / 64] >> (index % 64) & 1) != 0; }

static void set_text(gathering *g, size_t index, const char *text, size_t size) {
  const purlin_field *field = schema_field(g->schema, index);
  if (is_set(g, index) && field->type != PURLIN_T_TEXTS && field->type != PURLIN_T_DOUBLES) {
    complain(g->reading.complain_to, field->name, "is given twice");
    g->status = PURLIN_INVALID;
    return;
  }
  purlin_status status = schema_set_text(&g->reading, field, g->in, text, size);
  if (status != PURLIN_OK) g->status = status;
  g->was_set[index / 64] |= UINT64_C(1) << (index % 64);
}

static bool same_text(const char *a, const char *b) { return a && b ? strcmp(a, b) == 0 : a == b; }

/* Of fields that a path can hold; the others are told apart always. */
static bool same_value(const purlin_field *field, const void *one, const void *other) {
  const void *a = (const char *)one + field->offset, *b = (const char *)other + field->offset;
  switch ((purlin_type)field->type) {
  case PURLIN_T_TEXT: return same_text(*(const char *const *)a, *(const char *const *)b);
  case PURLIN_T_OPT_TEXT: return same_text(((const purlin_opt_text *)a)->value, ((const purlin_opt_text *)b)->value);
  case PURLIN_T_OPT_INT: return ((const purlin_opt_int *)a)->value == ((const purlin_opt_int *)b)->value;
  case PURLIN_T_INT:
  case PURLIN_T_ENUM:
  case PURLIN_T_BOOL:
  case PURLIN_T_TIME: return memcmp(a, b, field->size) == 0;
  default: return false;
  }
}

/* After the body: what the path says holds, and the body must not say otherwise. */
static purlin_status take_path(gathering *g, const purlin_request *request) {
  gathering path = {
      .reading = g->reading, .schema = g->schema, .in = arena_alloc(g->reading.memory, g->schema->struct_size)};
  if (!path.in) return PURLIN_TOO_LARGE;
  path.reading.was_set = NULL;
  for (size_t i = 0; i < g->schema->field_count; i++) {
    const purlin_field *field = schema_field(g->schema, i);
    const char *value = purlin_parameter(request, field->name);
    if (!value) continue;
    set_text(&path, i, value, strlen(value));
    if (is_set(g, i) && g->status == PURLIN_OK && path.status == PURLIN_OK && !same_value(field, path.in, g->in)) {
      complain(g->reading.complain_to, field->name, "is not what the address says");
      path.status = PURLIN_INVALID;
    }
    memcpy((char *)g->in + field->offset, (const char *)path.in + field->offset, field->size);
    g->was_set[i / 64] |= UINT64_C(1) << (i % 64);
  }
  return path.status;
}

static void take_query_pair(void *to, const char *name, const char *value, size_t size) {
  gathering *g = to;
  const purlin_field *field = schema_find(g->schema, name, strlen(name));
  if (!field && g->reading.tolerant) return;
  if (!field) {
    complain(g->reading.complain_to, name, "unknown parameter");
    g->status = PURLIN_INVALID;
    return;
  }
  set_text(g, schema_field_index(g->schema, field), value, size);
}

typedef struct decoding {
  gathering *g;
  const char *body;
  size_t size;
} decoding;

static purlin_status decode(void *argument) {
  const decoding *d = argument;
  return schema_decode(&d->g->reading, d->g->schema, d->body, d->size, d->g->in);
}

/* A large body takes up to 50 ns a byte: not on a loop, where everybody else would wait. */
static purlin_status take_body(gathering *g, purlin_ctx *ctx, purlin_request *request, size_t largest) {
  const char *type = g->reading.lenient ? NULL : purlin_header(request, "content-type");
  if (type && strncasecmp(type, "application/json", 16) != 0)
    return purlin_fail(ctx, PURLIN_UNSUPPORTED, "send application/json, not %.100s", type);
  const char *body = "";
  size_t size = 0;
  purlin_status status = purlin_read_all(ctx, request, largest, &body, &size);
  if (status != PURLIN_OK || size == 0) return status;
  g->body = body;
  g->body_size = size;
  g->reading.was_set = g->was_set;
  decoding d = {g, body, size};
  return size <= LARGEST_DECODED_HERE ? decode(&d) : purlin_offload(ctx, PURLIN_POOL_CPU, decode, &d);
}

static size_t largest_body(const operation *op) { return op->declared->max_body ? op->declared->max_body : LARGEST_BODY; }

static purlin_status gather(gathering *g, purlin_ctx *ctx, purlin_request *request, const operation *op, bool by_name) {
  bool both = g->reading.lenient, body = takes_body(purlin_method(request));
  if (both || body) g->status = take_body(g, ctx, request, largest_body(op));
  if (both || !body) http_query_each(ctx, request, take_query_pair, g);
  if (g->status != PURLIN_OK && g->status != PURLIN_INVALID) return g->status; /* no input at all */
  /* Called by its name, the address holds that and nothing of the input. */
  purlin_status path = by_name ? PURLIN_OK : take_path(g, request);
  purlin_status finished = schema_finish(&g->reading, g->schema, g->in, g->was_set);
  return g->status != PURLIN_OK ? g->status : path != PURLIN_OK ? path : finished;
}

/* What is secret goes when the answer has been made: until then it may point into the input. */
static void wipe(const gathering *g) {
  if (g->body_size > 0) text_wipe((char *)(uintptr_t)g->body, g->body_size);
  schema_wipe(g->schema, g->in);
}

/* With an Idempotency-Key: what was answered before, else the call, which keeps its answer. */
static purlin_status run_once(purlin_ctx *ctx, purlin_request *request, const operation *op, const void *in, void *out,
                              const char *key) {
  once *o = purlin_alloc(ctx, sizeof *o);
  purlin_status status = o ? once_begin(ctx, key, op, in, o) : PURLIN_TOO_LARGE;
  if (status != PURLIN_OK) return status;
  status = once_recall(ctx, o, op, out);
  if (status == PURLIN_NOT_FOUND) {
    ctx->once = o;
    status = operation_run_permitted(ctx, op, in, out);
    if (status != PURLIN_CONFLICT) return status;
    /* Perhaps with what the same request made, which ran at the same time and was quicker. */
    purlin_status recalled = once_recall(ctx, o, op, out);
    if (recalled == PURLIN_NOT_FOUND) return status;
    status = recalled;
  }
  if (status != PURLIN_OK) return status;
  purlin_clear_failure(ctx);
  return purlin_set_header(ctx, request, "Idempotent-Replayed", "true");
}

static purlin_status run_request(purlin_ctx *ctx, purlin_request *request, const operation *op, const void *in, void *out) {
  const char *key = op->declared->effect == PURLIN_CREATES ? purlin_header(request, "idempotency-key") : NULL;
  return key ? run_once(ctx, request, op, in, out, key) : operation_run_permitted(ctx, op, in, out);
}

/* An object goes with its ETag, and not at all to who has it as it is. */
static purlin_status answer_object(purlin_ctx *ctx, purlin_request *request, const operation *op, unsigned http,
                                   const void *out) {
  const char *known = op->declared->effect == PURLIN_READS ? purlin_header(request, "if-none-match") : NULL;
  char etag[OBJECT_ETAG_SIZE];
  purlin_json text;
  purlin_status status = object_text(ctx, op->out, out, &text);
  if (status != PURLIN_OK) return status;
  object_etag(text, etag);
  status = purlin_set_header(ctx, request, "ETag", etag);
  if (status != PURLIN_OK) return status;
  if (known && object_is_listed(known, etag, true)) return purlin_respond_bytes(ctx, request, 304, NULL, "", 0);
  return purlin_respond_bytes(ctx, request, http, "application/json", text.text, text.size);
}

static purlin_status answer_operation(purlin_ctx *ctx, purlin_request *request, const operation *op, bool by_name) {
  void *in = purlin_alloc(ctx, op->in->struct_size), *out = purlin_alloc(ctx, op->out->struct_size);
  if (!in || !out) return PURLIN_TOO_LARGE;
  const purlin_dialect *dialect = by_name ? NULL : op->declared->dialect;
  bool lenient = dialect && dialect->lenient;
  gathering g = {.reading = {.memory = &ctx->memory,
                             .complain = complain,
                             .complain_to = ctx,
                             .tolerant = lenient,
                             .lenient = lenient},
                 .schema = op->in,
                 .in = in};
  if (op->takes_secrets) http_request_wipes(request);
  purlin_status status = gather(&g, ctx, request, op, by_name);
  ctx->if_match = op->declared->effect == PURLIN_READS ? NULL : purlin_header(request, "if-match");
  if (status == PURLIN_OK) status = run_request(ctx, request, op, in, out);
  audit_refused(ctx, op->name, status); /* by itself, for this very object */
  if (status == PURLIN_INVALID && ctx->field_count > 0 && dialect && dialect->explain)
    status = fault_explain(ctx, op->takes_secrets ? NULL : request, dialect, g.body, g.body_size);
  unsigned http = op->declared->effect == PURLIN_CREATES && !op->binding ? 201 : 200;
  if (status == PURLIN_OK)
    status = object_is_answered(op) ? answer_object(ctx, request, op, http, out)
                                    : purlin_respond(ctx, request, http, op->out, out);
  if (op->takes_secrets) wipe(&g);
  return status;
}

/* Behind a gate that asked for the operation's permission. */
static purlin_status handle_operation(purlin_ctx *ctx, purlin_request *request, const http_target *target) {
  return answer_operation(ctx, request, target->argument, false);
}

static purlin_status handle_route(purlin_ctx *ctx, purlin_request *request, const http_target *target) {
  const registered_route *registered = target->argument;
  operation_frame frame = context_enter(ctx, registered->plugin, registered->owner, registered->name);
  purlin_status status = registered->route->run(ctx, request);
  context_leave(ctx, frame);
  audit_refused(ctx, registered->name, status);
  return status;
}

/* POST /api/v1/op/NAME: every operation by its name, without a binding of its own. */
static purlin_status handle_any(purlin_ctx *ctx, purlin_request *request, const http_target *target) {
  const char *name = purlin_parameter(request, "operation");
  const operation *op = operation_find(name);
  http_target wanted = *target; /* who may not ask at all is not told which names there are */
  if (op)
    wanted = (http_target){
        .name = op->name, .permission = op->declared->permission, .by_project = op->declared->by_project, .argument = op};
  purlin_status status = access_admit(ctx, request, &wanted);
  if (status == PURLIN_OK && !op) status = purlin_fail(ctx, PURLIN_NOT_FOUND, "no operation named '%s'", name);
  return status == PURLIN_OK ? answer_operation(ctx, request, op, true) : status;
}

/* Targets outlive the routers that lead to them: a reload of scripts makes a router anew, and finds here what it added before. */
typedef struct kept_target {
  http_target target;
  struct kept_target *next;
} kept_target;
static kept_target *kept_targets; /* of the fiber that makes routers, one at a time */

static http_target *keep(const http_target *what) {
  kept_target *kept = kept_targets;
  while (kept && (kept->target.argument != what->argument || kept->target.handle != what->handle)) kept = kept->next;
  if (kept) return &kept->target;
  kept = malloc(sizeof *kept);
  if (!kept) return NULL;
  *kept = (kept_target){*what, kept_targets};
  kept_targets = kept;
  return &kept->target;
}

typedef struct routing {
  http_router *router;
  buffer *why;
  purlin_status status;
} routing;

/* An address, and the one that mirrors it: "/api/ /ajax-api/" says that whatever begins so is also where it begins like that. */
static purlin_status add_address(routing *r, const char *address, http_target *target) {
  purlin_status status = http_router_add(r->router, address, target, r->why);
  const purlin_dialect *dialect = target->dialect;
  const char *mirror = dialect ? dialect->mirror : NULL, *path = strchr(address, ' ');
  size_t size = mirror ? strcspn(mirror, " ") : 0;
  if (status != PURLIN_OK || !mirror || !path || strncmp(path + 1, mirror, size) != 0) return status;
  buffer other = {0};
  buffer_add(&other, address, (size_t)(path + 1 - address));
  buffer_text(&other, mirror + size + 1);
  buffer_text(&other, path + 1 + size);
  status = other.failed ? PURLIN_UNAVAILABLE : http_router_add(r->router, buffer_end(&other), target, r->why);
  buffer_free(&other);
  return status;
}

/* `http` lists addresses with commas between. */
static void add_target(routing *r, const char *http, const http_target *what, const purlin_declaration *at) {
  if (r->status != PURLIN_OK) return;
  http_target *target = keep(what);
  if (!target) r->status = PURLIN_UNAVAILABLE;
  while (r->status == PURLIN_OK && *http) {
    size_t size = strcspn(http, ",");
    char *address = strndup(http, size);
    r->status = address ? add_address(r, address, target) : PURLIN_UNAVAILABLE;
    free(address);
    http += size;
    http += strspn(http, ", ");
  }
  if (r->status != PURLIN_OK && at) buffer_format(r->why, " (%s:%u)", at->file, at->line);
}

static void add_operation(void *to, const operation *op) {
  if (!op->declared->http) return;
  const http_target target = {.name = op->name,
                              .plugin = op->plugin,
                              .permission = op->declared->permission,
                              .by_project = op->declared->by_project,
                              .handle = handle_operation,
                              .argument = op,
                              .max_body = largest_body(op),
                              .timeout_ms = op->declared->timeout_ms,
                              .fail = op->declared->dialect ? fault_answer : NULL,
                              .dialect = op->declared->dialect};
  add_target(to, op->declared->http, &target, &op->declared->declared);
}

/* The runtime's own page at / stands where no plugin and no script has one. */
static bool is_home(const registered_route *registered) {
  return strcmp(registered->plugin, OPERATION_BUILTIN) == 0 && strcmp(registered->route->http, "GET /") == 0;
}

purlin_status operations_route(http_router *router, buffer *why) {
  routing r = {router, why, operations_link(why)};
  operations_visit(add_operation, &r);
  bindings_visit(add_operation, &r);
  for (const registered_route *registered = routes_first(); registered; registered = registered->next) {
    const purlin_route *route = registered->route;
    const http_target target = {.name = registered->name,
                                .plugin = registered->plugin,
                                .permission = route->permission,
                                .by_project = route->by_project,
                                .for_monitors = route->for_monitors,
                                .yields = is_home(registered),
                                .handle = handle_route,
                                .argument = registered,
                                .max_body = route->max_body,
                                .timeout_ms = route->timeout_ms,
                                .fail = route->dialect ? fault_answer : NULL,
                                .dialect = route->dialect};
    add_target(&r, route->http, &target, &route->declared);
  }
  const http_target any = {.name = "operation.call",
                           .plugin = OPERATION_BUILTIN,
                           .permission = "authenticated",
                           .admits_itself = true,
                           .handle = handle_any};
  add_target(&r, "POST /api/v1/op/{operation}", &any, NULL);
  return r.status;
}
