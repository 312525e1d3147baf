#include "http/router.h"

#include "core/arena.h"
#include "http/method.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* One route. Two routes of one path may name its parameters differently, so the names belong to the route. */
typedef struct slot {
  http_method_index method;
  const char *path;
  http_target *target;
  size_t name_count;
  const char *names[HTTP_MAX_PARAMETERS];
} slot;

/* A place in the tree: what stands behind the segments from the root to here. */
typedef struct node node;
struct node {
  const char *text; /* the literal segment that leads here; of the router's memory */
  size_t size;
  node **children; /* literal ones, sorted by size and bytes */
  size_t child_count, child_capacity;
  node *parameter; /* {name} */
  node *rest;      /* {name...}: a leaf */
  slot *slots[METHOD_COUNT];
  const char *allow;         /* NULL: no route ends here */
  const http_target *family; /* the first target below a literal node */
  bool mixed;                /* others below it speak another dialect */
};

struct http_router {
  atomic_size_t references;
  arena memory; /* everything below */
  node *root;
  slot **all; /* sorted by path and method; malloc'd */
  size_t count, capacity;
};

http_router *http_router_create(void) {
  http_router *router = calloc(1, sizeof *router);
  if (router == NULL) return NULL;
  atomic_init(&router->references, 1);
  arena_init(&router->memory, SIZE_MAX / 2);
  router->root = arena_alloc(&router->memory, sizeof(node));
  if (router->root == NULL) {
    http_router_release(router);
    return NULL;
  }
  return router;
}

void http_router_retain(http_router *router) { atomic_fetch_add_explicit(&router->references, 1, memory_order_relaxed); }

void http_router_release(http_router *router) {
  if (router == NULL || atomic_fetch_sub_explicit(&router->references, 1, memory_order_acq_rel) != 1) return;
  arena_free(&router->memory);
  free(router->all);
  free(router);
}

/* ---- Patterns -------------------------------------------------------------------------------------------------------------- */

typedef enum part_kind { PART_LITERAL, PART_PARAMETER, PART_REST } part_kind;
typedef struct part {
  part_kind kind;
  const char *text;
  size_t size;
} part;

static bool is_name(const char *text, size_t size) {
  if (size == 0) return false;
  for (size_t i = 0; i < size; i++) {
    char c = text[i];
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_')) return false;
  }
  return true;
}

/* Takes the next segment off a pattern whose *at stands on a slash. NULL, or what is wrong with it. */
static const char *next_part(const char **at, part *out) {
  const char *start = *at + 1, *end = strchrnul(start, '/');
  size_t size = (size_t)(end - start);
  *at = end;
  *out = (part){PART_LITERAL, start, size};
  if (size > 0 && start[0] == '{') {
    if (start[size - 1] != '}') return "a parameter must take a whole segment, as in /models/{name}";
    *out = (part){PART_PARAMETER, start + 1, size - 2};
    if (size > 5 && memcmp(end - 4, "...}", 4) == 0) {
      *out = (part){PART_REST, start + 1, size - 5};
      if (*end != '\0') return "{name...} must come last";
    }
    return is_name(out->text, out->size) ? NULL : "a parameter's name is made of letters, digits and underscores";
  }
  if (size == 0 && *end == '/') return "two slashes follow each other";
  for (size_t i = 0; i < size; i++)
    if (start[i] <= ' ' || start[i] > '~' || strchr("{}?#%\\\"<>", start[i]) != NULL)
      return "a literal segment holds a character that no path may hold as it is";
  return NULL;
}

static int compare_literal(const node *n, const char *text, size_t size) {
  if (n->size != size) return n->size < size ? -1 : 1;
  return memcmp(n->text, text, size);
}

/* Where the literal child stands, or would stand. */
static size_t child_place(const node *n, const char *text, size_t size, bool *found) {
  size_t low = 0, high = n->child_count;
  *found = false;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = compare_literal(n->children[middle], text, size);
    if (order == 0) {
      *found = true;
      return middle;
    }
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

static node *literal_child(http_router *router, node *n, const char *text, size_t size) {
  bool found;
  size_t place = child_place(n, text, size, &found);
  if (found) return n->children[place];
  node *child = arena_alloc(&router->memory, sizeof *child);
  if (child == NULL) return NULL;
  child->text = arena_copy(&router->memory, text, size);
  child->size = size;
  if (child->text == NULL) return NULL;
  if (n->child_count == n->child_capacity) {
    size_t capacity = n->child_capacity == 0 ? 4 : n->child_capacity * 2;
    node **children = arena_alloc(&router->memory, capacity * sizeof(node *));
    if (children == NULL) return NULL;
    if (n->child_count > 0) memcpy(children, n->children, n->child_count * sizeof(node *));
    n->children = children;
    n->child_capacity = capacity;
  }
  memmove(n->children + place + 1, n->children + place, (n->child_count - place) * sizeof(node *));
  n->children[place] = child;
  n->child_count++;
  return child;
}

static node *child_for(http_router *router, node *n, const part *p) {
  if (p->kind == PART_LITERAL) return literal_child(router, n, p->text, p->size);
  node **place = p->kind == PART_REST ? &n->rest : &n->parameter;
  if (*place == NULL) *place = arena_alloc(&router->memory, sizeof **place);
  return *place;
}

/* ---- Adding ------------------------------------------------------------------------------------------------------------------ */

static purlin_status invalid(buffer *why, const char *route, const char *reason) {
  buffer_format(why, "route \"%s\": %s", route, reason);
  return PURLIN_INVALID;
}

static purlin_status no_memory(buffer *why, const char *route) {
  buffer_format(why, "route \"%s\": no memory", route);
  return PURLIN_UNAVAILABLE;
}

/* "GET, HEAD, POST". GET implies HEAD. */
static const char *allow_of(http_router *router, const node *n) {
  char text[80], *at = text;
  for (unsigned i = 0; i < METHOD_COUNT; i++) {
    if (n->slots[i] == NULL && !(i == METHOD_HEAD && n->slots[METHOD_GET] != NULL)) continue;
    if (at > text) at = mempcpy(at, ", ", 2);
    at = mempcpy(at, http_methods[i].name, http_methods[i].size);
  }
  return arena_copy(&router->memory, text, (size_t)(at - text));
}

static bool list(http_router *router, slot *s) {
  if (router->count == router->capacity) {
    size_t capacity = router->capacity == 0 ? 32 : router->capacity * 2;
    slot **all = realloc(router->all, capacity * sizeof(slot *));
    if (all == NULL) return false;
    router->all = all;
    router->capacity = capacity;
  }
  size_t place = router->count;
  for (; place > 0; place--) {
    int order = strcmp(router->all[place - 1]->path, s->path);
    if (order < 0 || (order == 0 && router->all[place - 1]->method < s->method)) break;
    router->all[place] = router->all[place - 1];
  }
  router->all[place] = s;
  router->count++;
  return true;
}

static void join_family(node *n, const http_target *target) {
  if (n->family == NULL) n->family = target;
  else if (n->family->dialect != target->dialect) n->mixed = true;
}

/* Walks the pattern into the tree; the names of its parameters go into the slot. */
static purlin_status walk_in(http_router *router, const char *route, slot *s, node **leaf, buffer *why) {
  node *n = router->root;
  for (const char *at = s->path; *at == '/';) {
    part p;
    const char *wrong = next_part(&at, &p);
    if (wrong != NULL) return invalid(why, route, wrong);
    if (p.kind != PART_LITERAL) {
      if (s->name_count == HTTP_MAX_PARAMETERS) return invalid(why, route, "more than 8 parameters");
      const char *name = arena_copy(&router->memory, p.text, p.size);
      if (name == NULL) return no_memory(why, route);
      for (size_t i = 0; i < s->name_count; i++)
        if (strcmp(s->names[i], name) == 0) return invalid(why, route, "two parameters have the same name");
      s->names[s->name_count++] = name;
    }
    n = child_for(router, n, &p);
    if (n == NULL) return no_memory(why, route);
    if (p.kind == PART_LITERAL) join_family(n, s->target);
  }
  *leaf = n;
  return PURLIN_OK;
}

purlin_status http_router_add(http_router *router, const char *method_and_path, http_target *target, buffer *why) {
  const char *space = strchr(method_and_path, ' ');
  if (space == NULL || space[1] != '/') return invalid(why, method_and_path, "write it as \"METHOD /path\"");
  http_method_index method = http_method_find(method_and_path, (size_t)(space - method_and_path));
  if (method == METHOD_COUNT)
    return invalid(why, method_and_path, "the method must be one of DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT");
  slot *s = arena_alloc(&router->memory, sizeof *s);
  if (s == NULL) return no_memory(why, method_and_path);
  s->method = method;
  s->target = target;
  s->path = arena_copy(&router->memory, space + 1, strlen(space + 1));
  if (s->path == NULL) return no_memory(why, method_and_path);
  node *leaf = NULL;
  purlin_status status = walk_in(router, method_and_path, s, &leaf, why);
  if (status != PURLIN_OK) return status;
  slot *other = leaf->slots[method];
  if (other != NULL && target->yields) return PURLIN_OK;
  if (other != NULL && other->target->yields) {
    *other = *s;
    return PURLIN_OK;
  }
  if (other != NULL) {
    buffer_format(why, "route \"%s\" is wanted by %s (plugin %s) and by %s (plugin %s)", method_and_path,
                  other->target->name, other->target->plugin, target->name, target->plugin);
    return PURLIN_CONFLICT;
  }
  leaf->slots[method] = s;
  leaf->allow = allow_of(router, leaf);
  if (leaf->allow != NULL && list(router, s)) return PURLIN_OK;
  leaf->slots[method] = NULL;
  return no_memory(why, method_and_path);
}

/* ---- Finding ----------------------------------------------------------------------------------------------------------------- */

typedef struct search {
  http_method_index method;
  const char *end;
  const slot *found;
  const slot *yielding; /* answers when nobody else does */
  const char *allow;
  size_t count;
  struct {
    const char *value;
    size_t size;
  } values[HTTP_MAX_PARAMETERS];
} search;

static bool arrive(search *s, const node *n) {
  if (n->allow == NULL) return false;
  s->found = s->method < METHOD_COUNT ? n->slots[s->method] : NULL;
  if (s->found == NULL && s->method == METHOD_HEAD) s->found = n->slots[METHOD_GET];
  if (s->found == NULL && s->allow == NULL) s->allow = n->allow;
  if (s->found != NULL && s->found->target->yields) {
    s->yielding = s->found;
    s->found = NULL;
  }
  return s->found != NULL;
}

static void take(search *s, const char *value, const char *end) {
  s->values[s->count].value = value;
  s->values[s->count].size = (size_t)(end - value);
  s->count++;
}

/* `at` stands on a slash or at the end. Depth is that of the tree, which is ours. */
static bool descend(search *s, const node *n, const char *at) {
  if (at == s->end) return arrive(s, n);
  const char *start = at + 1;
  const char *stop = memchr(start, '/', (size_t)(s->end - start));
  if (stop == NULL) stop = s->end;
  bool found;
  size_t place = child_place(n, start, (size_t)(stop - start), &found);
  if (found && descend(s, n->children[place], stop)) return true;
  size_t count = s->count;
  if (n->parameter != NULL && stop > start) {
    take(s, start, stop);
    if (descend(s, n->parameter, stop)) return true;
    s->count = count;
  }
  if (n->rest != NULL) {
    take(s, start, s->end);
    if (arrive(s, n->rest)) return true;
    s->count = count;
  }
  return false;
}

/* The deepest literal place on the way whose targets all speak one dialect: whoever asks there expects its errors. */
static const http_target *family_of(const node *n, const char *at, const char *end) {
  const http_target *family = NULL;
  while (at != end) {
    const char *start = at + 1, *stop = memchr(start, '/', (size_t)(end - start));
    if (stop == NULL) stop = end;
    bool found;
    size_t place = child_place(n, start, (size_t)(stop - start), &found);
    if (!found) return family;
    n = n->children[place];
    family = n->mixed ? NULL : n->family;
    at = stop;
  }
  return family;
}

purlin_status http_router_find(const http_router *router, const char *method, const char *path, size_t path_size,
                               http_match *match) {
  search s = {.method = http_method_find(method, strlen(method)), .end = path + path_size};
  match->target = NULL;
  match->parameter_count = 0;
  match->allow = NULL;
  match->family = NULL;
  if (path_size == 0 || path[0] != '/') return PURLIN_NOT_FOUND;
  if (!descend(&s, router->root, path) && s.yielding == NULL) {
    match->allow = s.allow;
    match->family = family_of(router->root, path, s.end);
    return s.allow == NULL ? PURLIN_NOT_FOUND : PURLIN_NOT_ALLOWED;
  }
  if (s.found == NULL) s.found = s.yielding;
  match->target = s.found->target;
  match->parameter_count = s.count;
  for (size_t i = 0; i < s.count; i++) {
    match->parameters[i].name = s.found->names[i];
    match->parameters[i].value = s.values[i].value;
    match->parameters[i].size = s.values[i].size;
  }
  return PURLIN_OK;
}

void http_router_visit(const http_router *router,
                       void (*visit)(void *to, const char *method, const char *path, const http_target *target), void *to) {
  for (size_t i = 0; i < router->count; i++) {
    const slot *s = router->all[i];
    visit(to, http_methods[s->method].name, s->path, s->target);
  }
}
