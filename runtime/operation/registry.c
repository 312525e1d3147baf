#include "operation/object.h"
#include "operation/registry.h"
#include "core/text.h"
#include "observe/metrics.h"
#include <stdlib.h>
#include <string.h>

/* Written at start only, read by every loop afterwards. */
static operation *operations[OPERATION_BUCKETS];
static registered_route *routes;
static registered_policy *policies;

static purlin_status refuse(buffer *why, const purlin_declaration *at, const char *what, const char *name,
                            const char *rest) {
  buffer_format(why, "%s:%u: %s '%s' %s", at->file, at->line, what, name ? name : "?", rest);
  return PURLIN_INVALID;
}

/* What operations and routes alike must say about themselves. */
static purlin_status check_words(buffer *why, const purlin_declaration *at, const char *what, const char *name,
                                 const char *summary, const char *permission) {
  if (!name || !*name) return refuse(why, at, what, name, "has no name");
  if (!summary || !*summary) return refuse(why, at, what, name, "has no summary");
  if (!permission || !*permission)
    return refuse(why, at, what, name, "names no permission; every operation and route must (\"public\" lets anyone in)");
  return PURLIN_OK;
}

static purlin_status check_schema(buffer *why, const purlin_declaration *at, const char *name,
                                  const purlin_schema *(*get)(void)) {
  if (!get) return PURLIN_OK;
  buffer inner = {0};
  if (schema_check(get(), &inner)) return buffer_free(&inner), PURLIN_OK;
  buffer_format(why, "%s:%u: '%s': %s", at->file, at->line, name, buffer_end(&inner));
  buffer_free(&inner);
  return PURLIN_INVALID;
}

/* "registry" and "create_model" become "registry.create_model"; the runtime's own "jobs_list" becomes "jobs.list". */
static char *full_name(const char *plugin, const char *name) {
  char *full = NULL;
  if (strcmp(plugin, OPERATION_BUILTIN) == 0) {
    full = strdup(name);
    char *underscore = full ? strchr(full, '_') : NULL;
    if (underscore) *underscore = '.';
    return full;
  }
  size_t plugin_size = strlen(plugin), name_size = strlen(name);
  full = malloc(plugin_size + name_size + 2);
  if (!full) return NULL;
  memcpy(full, plugin, plugin_size);
  full[plugin_size] = '.';
  memcpy(full + plugin_size + 1, name, name_size + 1);
  return full;
}

static operation **place_of(const char *name) {
  operation **place = &operations[text_hash(name, strlen(name)) % OPERATION_BUCKETS];
  while (*place && strcmp((*place)->name, name) != 0) place = &(*place)->next;
  return place;
}

static purlin_status add(operation *op, buffer *why) {
  operation **place = place_of(op->name);
  if (*place) {
    const purlin_declaration *at = &op->declared->declared, *other = &(*place)->declared->declared;
    buffer_format(why, "%s:%u: the operation '%s' exists already, from %s:%u", at->file, at->line, op->name, other->file,
                  other->line);
    return PURLIN_CONFLICT;
  }
  *place = op;
  return PURLIN_OK;
}

purlin_status operations_register(const char *plugin, struct plugin *owner, const purlin_operation *declared, buffer *why) {
  const purlin_declaration *at = &declared->declared;
  bool binding = declared->binds != NULL; /* says the rest by what it leads to */
  purlin_status status = check_words(why, at, "the operation", declared->name, binding ? "-" : declared->summary,
                                     binding ? "-" : declared->permission);
  if (status == PURLIN_OK && (!declared->run || !declared->in || !declared->out))
    status = refuse(why, at, "the operation", declared->name, "lacks a function or a schema");
  /* Browsers, caches and links ask by GET without being told to. */
  if (status == PURLIN_OK && declared->effect != PURLIN_READS && declared->http && strncmp(declared->http, "GET ", 4) == 0)
    status = refuse(why, at, "the operation", declared->name, "changes something and is bound to GET; use another method");
  if (status == PURLIN_OK) status = check_schema(why, at, declared->name, declared->in);
  if (status == PURLIN_OK) status = check_schema(why, at, declared->name, declared->out);
  if (status == PURLIN_OK && declared->dialect) status = check_schema(why, at, declared->name, declared->dialect->error);
  if (status != PURLIN_OK) return status;

  char *name = full_name(plugin, declared->name);
  operation *op = calloc(1, sizeof *op);
  operation_series *series = calloc(1, sizeof *series);
  if (!name || !op || !series) {
    free(name);
    free(op);
    free(series);
    return PURLIN_UNAVAILABLE;
  }
  *op = (operation){.name = name,
                    .plugin = plugin,
                    .owner = owner,
                    .declared = declared,
                    .in = declared->in(),
                    .out = declared->out(),
                    .takes_secrets = schema_holds_secrets(declared->in()),
                    .series = series};
  status = binding ? binding_register(op, why) : add(op, why);
  if (status != PURLIN_OK) {
    free(name);
    free(op);
    free(series);
  }
  return status;
}

purlin_status operations_register_route(const char *plugin, struct plugin *owner, const purlin_route *route, buffer *why) {
  const purlin_declaration *at = &route->declared;
  purlin_status status = check_words(why, at, "the route", route->name, route->summary, route->permission);
  if (status == PURLIN_OK && (!route->run || !route->http))
    status = refuse(why, at, "the route", route->name, "lacks a function or an address");
  if (status == PURLIN_OK) status = check_schema(why, at, route->name, route->query);
  if (status == PURLIN_OK) status = check_schema(why, at, route->name, route->in);
  if (status == PURLIN_OK) status = check_schema(why, at, route->name, route->out);
  if (status == PURLIN_OK && route->dialect) status = check_schema(why, at, route->name, route->dialect->error);
  if (status != PURLIN_OK) return status;
  registered_route *added = calloc(1, sizeof *added);
  char *name = full_name(plugin, route->name);
  if (!added || !name) {
    free(added);
    free(name);
    return PURLIN_UNAVAILABLE;
  }
  *added = (registered_route){.name = name, .plugin = plugin, .owner = owner, .route = route, .next = routes};
  routes = added;
  return PURLIN_OK;
}

purlin_status operations_register_policy(const char *plugin, const purlin_policy *policy, buffer *why) {
  const purlin_declaration *at = &policy->declared;
  if (!policy->fallback) return refuse(why, at, "the policy point", policy->name, "has no fallback answer");
  purlin_status status = check_schema(why, at, policy->name, policy->question);
  if (status == PURLIN_OK) status = check_schema(why, at, policy->name, policy->answer);
  if (status != PURLIN_OK) return status;
  registered_policy *added = calloc(1, sizeof *added);
  char *name = full_name(plugin, policy->name);
  if (!added || !name) {
    free(added);
    free(name);
    return PURLIN_UNAVAILABLE;
  }
  *added = (registered_policy){.name = name, .policy = policy, .next = policies};
  policies = added;
  return PURLIN_OK;
}

/* Finds what shows the object of one operation. */
static purlin_status link_object(operation *op, buffer *why) {
  if (!op->declared->object || op->shown) return PURLIN_OK;
  char *name = full_name(op->plugin, op->declared->object);
  if (!name) return PURLIN_UNAVAILABLE;
  operation *shown = *place_of(name);
  free(name);
  op->shown = shown;
  if (shown) shown->shows = true;
  return object_check(op, why);
}

purlin_status operations_link(buffer *why) {
  purlin_status status = PURLIN_OK;
  for (size_t i = 0; i < OPERATION_BUCKETS && status == PURLIN_OK; i++)
    for (operation *op = operations[i]; op && status == PURLIN_OK; op = op->next) status = link_object(op, why);
  return status == PURLIN_OK ? bindings_link(why) : status;
}

const operation *operation_find(const char *name) { return *place_of(name); }
const registered_route *routes_first(void) { return routes; }
const registered_policy *policies_first(void) { return policies; }

bool policy_exists(const char *point) {
  for (const registered_policy *p = policies; p; p = p->next)
    if (strcmp(p->name, point) == 0) return true;
  return false;
}

const registered_policy *policy_of(const purlin_policy *declared) {
  const registered_policy *p = policies;
  while (p && p->policy != declared) p = p->next;
  return p;
}

void policies_visit(void (*visit)(void *to, const char *name, const purlin_policy *policy), void *to) {
  for (const registered_policy *p = policies; p; p = p->next) visit(to, p->name, p->policy);
}

static int by_name(const void *a, const void *b) {
  const operation *const *x = a, *const *y = b;
  return strcmp((*x)->name, (*y)->name);
}

void operations_visit(void (*visit)(void *to, const operation *op), void *to) {
  size_t count = 0;
  for (size_t i = 0; i < OPERATION_BUCKETS; i++)
    for (const operation *op = operations[i]; op; op = op->next) count++;
  const operation **sorted = calloc(count ? count : 1, sizeof(const operation *));
  if (!sorted) return;
  size_t at = 0;
  for (size_t i = 0; i < OPERATION_BUCKETS; i++)
    for (const operation *op = operations[i]; op; op = op->next) sorted[at++] = op;
  qsort(sorted, count, sizeof(const operation *), by_name);
  for (size_t i = 0; i < count; i++) visit(to, sorted[i]);
  free(sorted);
}
