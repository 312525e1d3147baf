#include "serving.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ENDPOINTS = 100000 };
#define SUSPECT_NS UINT64_C(5000000000)
#define REFRESH_NS UINT64_C(900000000)

static const char SELECT_ONE[] =
    "SELECT e.id, e.name, e.workspace, e.project, e.deployment, d.model, d.version, d.framework, d.sha256, d.size, d.signature"
    " FROM serving_endpoints e JOIN serving_deployments d ON d.endpoint_id = e.id AND d.number = e.deployment WHERE e.workspace = ? AND e.name = ?";
static const char SELECT_DEPLOYMENT[] = "SELECT deployment FROM serving_endpoints WHERE id = ?";
static const char SELECT_KNOWN[] = "SELECT id, project, deployment FROM serving_endpoints WHERE workspace = ? AND name = ?";
static const char SELECT_ALL[] = "SELECT id, project, deployment FROM serving_endpoints ORDER BY id LIMIT 100000";

typedef struct serving_row {
  const char *id, *name, *workspace, *project;
  int64_t deployment;
  const char *model;
  int64_t version;
  const char *framework, *sha256;
  int64_t size;
  purlin_json signature;
} serving_row;
PURLIN_SCHEMA(serving_row, "An endpoint and what it serves",
    PURLIN_REQUIRED(id, "id"),
    PURLIN_REQUIRED(name, "name"),
    PURLIN_REQUIRED(workspace, "workspace"),
    PURLIN_REQUIRED(project, "project"),
    PURLIN_REQUIRED(deployment, "deployment"),
    PURLIN_REQUIRED(model, "model"),
    PURLIN_REQUIRED(version, "version"),
    PURLIN_REQUIRED(framework, "framework"),
    PURLIN_REQUIRED(sha256, "bytes"),
    PURLIN_REQUIRED(size, "size"),
    PURLIN_REQUIRED(signature, "signature"));
typedef struct number_row {
  int64_t deployment;
} number_row;
PURLIN_SCHEMA(number_row, "A number", PURLIN_REQUIRED(deployment, "deployment"));
typedef struct known_row {
  const char *id, *project;
  int64_t deployment;
} known_row;
PURLIN_SCHEMA(known_row, "What serves",
    PURLIN_REQUIRED(id, "id"),
    PURLIN_REQUIRED(project, "project"),
    PURLIN_REQUIRED(deployment, "deployment"));

/* ---- Of the process: what is published. Loops copy it when its generation has changed. ------------------------------------------------------ */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* never held while parking */
static endpoint *published;
static atomic_uint_fast64_t generation;
static purlin_mutex switching; /* one switch at a time: the older of two must not win */

static void leave(endpoint *e) {
  if (atomic_fetch_sub(&e->references, 1) != 1) return;
  served_leave(e->served);
  free(e->id);
  free(e->workspace);
  free(e->project);
  free(e->name);
  free(e);
}

static endpoint *make(const serving_row *row, served *s) {
  endpoint *e = calloc(1, sizeof *e);
  if (!e) return NULL;
  atomic_init(&e->references, 1);
  served_keep(s);
  e->served = s;
  e->deployment = row->deployment;
  e->id = strdup(row->id);
  e->workspace = strdup(row->workspace);
  e->project = strdup(row->project);
  e->name = strdup(row->name);
  if (e->id && e->workspace && e->project && e->name) return e;
  leave(e);
  return NULL;
}

static bool is_of(const endpoint *e, const char *workspace, const char *name) {
  return strcmp(e->name, name) == 0 && strcmp(e->workspace, workspace) == 0;
}

/* In place of the one of this name: the same endpoint, or one that was deleted. */
static void publish(endpoint *e) {
  endpoint *old = NULL;
  (void)pthread_mutex_lock(&lock);
  for (endpoint **at = &published; *at; at = &(*at)->next)
    if (is_of(*at, e->workspace, e->name)) {
      old = *at;
      *at = old->next;
      break;
    }
  e->next = published;
  published = e;
  atomic_fetch_add(&generation, 1);
  (void)pthread_mutex_unlock(&lock);
  if (old) leave(old);
}

/* Serves the endpoints no more for which `gone` says so. */
static void withdraw(bool (*gone)(const endpoint *e, const void *what), const void *what) {
  endpoint *old = NULL;
  (void)pthread_mutex_lock(&lock);
  for (endpoint **at = &published; *at;) {
    endpoint *e = *at;
    if (!gone(e, what)) {
      at = &e->next;
      continue;
    }
    *at = e->next;
    e->next = old;
    old = e;
    atomic_fetch_add(&generation, 1);
  }
  (void)pthread_mutex_unlock(&lock);
  while (old) {
    endpoint *next = old->next;
    leave(old);
    old = next;
  }
}

static bool has_id(const endpoint *e, const void *id) { return strcmp(e->id, id) == 0; }

void endpoint_suspect(const char *workspace, const char *name) {
  (void)pthread_mutex_lock(&lock);
  for (endpoint *e = published; e; e = e->next)
    if (is_of(e, workspace, name)) atomic_store(&e->suspect_until_ns, purlin_ticks_ns() + SUSPECT_NS);
  (void)pthread_mutex_unlock(&lock);
}

/* Reads what the endpoint serves and publishes it. May park. */
static purlin_status read_and_publish(purlin_ctx *ctx, const char *workspace, const char *name) {
  serving_row row;
  purlin_status status = purlin_db_row(ctx, serving_row, &row, SELECT_ONE, workspace, name);
  if (status == PURLIN_NOT_FOUND) return purlin_fail(ctx, status, "no endpoint named '%s'", name);
  if (status != PURLIN_OK) return status;
  const source from = {row.model, row.version, row.framework, row.sha256, row.size, row.signature};
  served *s = NULL;
  status = served_load(ctx, &from, &s);
  if (status != PURLIN_OK) return status;
  endpoint *e = make(&row, s);
  served_leave(s);
  if (!e) return purlin_fail(ctx, PURLIN_UNAVAILABLE, "out of memory");
  publish(e);
  purlin_log(ctx, PURLIN_INFO, "the endpoint '%s' serves version %lld of '%s'", row.name, (long long)row.version,
             row.model);
  return PURLIN_OK;
}

static purlin_status switch_to_newest(purlin_ctx *ctx, const char *workspace, const char *name) {
  purlin_status status = purlin_lock(ctx, &switching);
  if (status != PURLIN_OK) return status;
  status = read_and_publish(ctx, workspace, name);
  purlin_unlock(&switching);
  return status;
}

/* ---- Of a loop: a table by workspace and name ---------------------------------------------------------------------------------------------------- */

typedef struct table {
  uint64_t generation;
  size_t capacity;
  slot **slots;
  bool listed;
  struct table *next;
} table;
static const char table_key;
static table *tables; /* for the end; under `lock` */

static size_t hash_of(const char *workspace, const char *name) {
  uint64_t hash = UINT64_C(14695981039346656037);
  for (; *workspace; workspace++) hash = (hash ^ (unsigned char)*workspace) * UINT64_C(1099511628211);
  hash = (hash ^ '/') * UINT64_C(1099511628211);
  for (; *name; name++) hash = (hash ^ (unsigned char)*name) * UINT64_C(1099511628211);
  return (size_t)(hash ^ hash >> 29);
}

static slot **place_of(const table *t, const char *workspace, const char *name) {
  size_t at = hash_of(workspace, name) & (t->capacity - 1);
  while (t->slots[at] && !is_of(t->slots[at]->endpoint, workspace, name)) at = (at + 1) & (t->capacity - 1);
  return &t->slots[at];
}

static void end_slot(slot *s) {
  leave(s->endpoint);
  free(s);
}

void slot_leave(slot *s) {
  if (--s->uses == 0 && s->retired) end_slot(s);
}

static void clear(table *t) {
  for (size_t i = 0; i < t->capacity; i++) {
    slot *s = t->slots[i];
    if (!s) continue;
    s->retired = true;
    if (s->uses == 0) end_slot(s);
  }
  free((void *)t->slots);
  t->slots = NULL;
  t->capacity = 0;
}

/* Takes a new copy of what is published; at most half full. */
static bool copy(table *t) {
  clear(t);
  (void)pthread_mutex_lock(&lock);
  if (!t->listed) {
    t->listed = true;
    t->next = tables;
    tables = t;
  }
  size_t count = 0;
  for (endpoint *e = published; e; e = e->next) count++;
  size_t capacity = 16;
  while (capacity < 2 * count) capacity *= 2;
  t->slots = calloc(capacity, sizeof(slot *));
  t->capacity = t->slots ? capacity : 0;
  bool fine = t->slots != NULL;
  for (endpoint *e = published; fine && e; e = e->next) {
    slot *s = calloc(1, sizeof *s);
    if (!s) {
      fine = false;
      break;
    }
    atomic_fetch_add(&e->references, 1);
    s->endpoint = e;
    *place_of(t, e->workspace, e->name) = s;
  }
  t->generation = fine ? atomic_load(&generation) : 0;
  (void)pthread_mutex_unlock(&lock);
  return fine;
}

static slot *look_up(purlin_ctx *ctx, const char *name) {
  table *t = purlin_loop_local(ctx, &table_key, sizeof *t);
  if (!t) return NULL;
  if (t->generation != atomic_load_explicit(&generation, memory_order_acquire) && !copy(t)) return NULL;
  return t->capacity ? *place_of(t, purlin_workspace(ctx), name) : NULL;
}

/* A deployment, or a deletion, is under way: has it committed? The model is loaded already, so switching costs two queries. */
static purlin_status ask(purlin_ctx *ctx, slot *s) {
  endpoint *e = s->endpoint;
  number_row row;
  s->uses++;
  purlin_status status = purlin_db_row(ctx, number_row, &row, SELECT_DEPLOYMENT, e->id);
  if (status == PURLIN_OK && row.deployment != e->deployment) status = switch_to_newest(ctx, e->workspace, e->name);
  else if (status == PURLIN_NOT_FOUND) withdraw(has_id, e->id);
  else if (purlin_ticks_ns() > atomic_load(&e->suspect_until_ns)) atomic_store(&e->suspect_until_ns, 0);
  slot_leave(s);
  return status;
}

static purlin_status not_here(purlin_ctx *ctx, const char *name) {
  return purlin_fail(ctx, PURLIN_NOT_FOUND, "no endpoint named '%s'", name);
}

static purlin_status may_predict(purlin_ctx *ctx, const char *name, const char *project, const char *id) {
  purlin_status status = purlin_reach(ctx, "models:predict", "models:read", project, id);
  return status == PURLIN_NOT_FOUND ? not_here(ctx, name) : status;
}

purlin_status slot_find(purlin_ctx *ctx, const char *name, slot **out) {
  slot *s = look_up(ctx, name);
  if (s && __builtin_expect(atomic_load_explicit(&s->endpoint->suspect_until_ns, memory_order_relaxed) != 0, 0)) {
    if (ask(ctx, s) != PURLIN_OK) purlin_clear_failure(ctx); /* what serves goes on serving */
    s = look_up(ctx, name);
  }
  if (!s) {
    /* Those who ask for what is not there shall not wait in line with those who deploy. */
    known_row known;
    purlin_status status = purlin_db_row(ctx, known_row, &known, SELECT_KNOWN, purlin_workspace(ctx), name);
    if (status == PURLIN_NOT_FOUND) return not_here(ctx, name);
    if (status == PURLIN_OK) status = may_predict(ctx, name, known.project, known.id); /* before anything is loaded */
    if (status == PURLIN_OK) status = switch_to_newest(ctx, purlin_workspace(ctx), name);
    if (status != PURLIN_OK) return status;
    s = look_up(ctx, name);
  }
  if (!s) return purlin_fail(ctx, PURLIN_UNAVAILABLE, "out of memory");
  purlin_status status = may_predict(ctx, name, s->endpoint->project, s->endpoint->id);
  if (status != PURLIN_OK) return status;
  s->uses++;
  *out = s;
  return PURLIN_OK;
}

/* ---- What others deployed ------------------------------------------------------------------------------------------------------------------------- */

typedef struct stale {
  char workspace[65], name[251];
} stale;

/* The published endpoint of a row, when it serves something older. */
static bool is_stale(const known_row *row, stale *out) {
  bool found = false;
  (void)pthread_mutex_lock(&lock);
  for (endpoint *e = published; e && !found; e = e->next)
    if (e->deployment != row->deployment && strcmp(e->id, row->id) == 0) {
      found = true;
      (void)memccpy(out->workspace, e->workspace, 0, sizeof out->workspace);
      (void)memccpy(out->name, e->name, 0, sizeof out->name);
    }
  (void)pthread_mutex_unlock(&lock);
  return found;
}

typedef struct known_rows {
  known_row *items; /* sorted by id, in bytes */
  size_t count;
} known_rows;

static int by_id(const void *a, const void *b) { return strcmp(((const known_row *)a)->id, ((const known_row *)b)->id); }

static bool is_missing(const endpoint *e, const void *what) {
  const known_rows *rows = what;
  const known_row key = {.id = e->id};
  return rows->count == 0 || !bsearch(&key, rows->items, rows->count, sizeof key, by_id);
}

void endpoints_refresh(purlin_ctx *ctx, void *unused) {
  (void)unused;
  static atomic_uint_fast64_t last_ns;
  uint_fast64_t last = atomic_load(&last_ns), now = purlin_ticks_ns();
  if (now - last < REFRESH_NS || !atomic_compare_exchange_strong(&last_ns, &last, now)) return; /* one loop is enough */
  served_sweep();
  if (atomic_load(&generation) == 0) return; /* nothing is served here yet */
  known_rows rows = {0};
  if (purlin_db_list(ctx, known_row, &rows, SELECT_ALL) != PURLIN_OK) return;
  if (rows.count < MOST_ENDPOINTS) withdraw(is_missing, &rows);
  for (size_t i = 0; i < rows.count; i++) {
    stale found = {{0}, {0}};
    if (!is_stale(&rows.items[i], &found)) continue;
    purlin_act_as(ctx, "system", found.workspace, "default"); /* whose bytes they are */
    if (switch_to_newest(ctx, found.workspace, found.name) != PURLIN_OK)
      purlin_log(ctx, PURLIN_ERROR, "the endpoint '%s' cannot switch: %s", found.name, purlin_failure(ctx));
  }
}

void cache_close(void) {
  (void)pthread_mutex_lock(&lock);
  for (table *t = tables; t; t = t->next) clear(t);
  tables = NULL;
  endpoint *e = published;
  published = NULL;
  (void)pthread_mutex_unlock(&lock);
  while (e) {
    endpoint *next = e->next;
    leave(e);
    e = next;
  }
  served_close();
}
