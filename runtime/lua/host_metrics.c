/* host_metrics.c: purlin.metrics.{count,gauge,observe}(name, value, labels): families purlin_rule_NAME, made when first used. */
#include "lua/host.h"

#include "observe/metrics.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FAMILIES = 500, MAX_LABELS = 8, MAX_LABEL_LIST = 256 };

typedef struct family {
  purlin_metric metric; /* first */
  void *state;
  char name[128];
  char labels[MAX_LABEL_LIST]; /* "a, b" in order; "" none */
  struct family *next;
} family;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static family *families;
static size_t family_count;

typedef struct labels {
  const char *names[MAX_LABELS], *values[MAX_LABELS + 1];
  size_t count;
  char list[MAX_LABEL_LIST];
} labels;

static void insert_label(labels *l, const char *name, const char *value) {
  size_t at = l->count++;
  for (; at > 0 && strcmp(l->names[at - 1], name) > 0; at--) {
    l->names[at] = l->names[at - 1];
    l->values[at] = l->values[at - 1];
  }
  l->names[at] = name;
  l->values[at] = value;
}

/* The texts stay on the Lua stack, or in the table. */
static void check_labels(lua_State *L, labels *l) {
  *l = (labels){.count = 0};
  if (lua_isnoneornil(L, 3)) return;
  luaL_checktype(L, 3, LUA_TTABLE);
  for (lua_pushnil(L); lua_next(L, 3) != 0;) {
    int at = lua_gettop(L);
    if (lua_type(L, at - 1) != LUA_TSTRING || !(lua_isstring(L, at) || lua_isboolean(L, at)))
      luaL_argerror(L, 3, "labels are named texts, such as { endpoint = \"churn\" }");
    luaL_argcheck(L, l->count < MAX_LABELS, 3, "8 labels at most");
    const char *value = luaL_tolstring(L, at, NULL);
    insert_label(l, lua_tostring(L, at - 1), value);
    lua_rotate(L, at - 1, 1); /* the text below the key */
    lua_pop(L, 1);
  }
  size_t used = 0;
  for (size_t i = 0; i < l->count; i++) {
    size_t size = strlen(l->names[i]);
    luaL_argcheck(L, used + size + 3 < sizeof l->list, 3, "the names of the labels are too long");
    if (i > 0) {
      memcpy(l->list + used, ", ", 2);
      used += 2;
    }
    memcpy(l->list + used, l->names[i], size);
    used += size;
  }
  l->list[used] = '\0';
}

/* Under the lock. NULL: `why` says why not. */
static const family *make(const char *name, purlin_metric_type type, const char *label_list, buffer *why) {
  size_t size = strlen(name);
  family *f = family_count < MAX_FAMILIES && size < sizeof f->name ? calloc(1, sizeof *f) : NULL;
  if (f == NULL) {
    buffer_text(why, "too many metrics, or too long a name");
    return NULL;
  }
  memcpy(f->name, name, size);
  memcpy(f->labels, label_list, strlen(label_list) + 1);
  f->metric = (purlin_metric){.declared = PURLIN_HEAD_(purlin_metric, PURLIN_KIND_METRIC),
                              .name = f->name,
                              .help = "Recorded by a Lua rule",
                              .labels = f->labels[0] == '\0' ? NULL : f->labels,
                              .type = type,
                              .state = &f->state};
  if (metrics_register("rule", &f->metric, why) != PURLIN_OK) {
    free(f);
    return NULL;
  }
  f->next = families;
  families = f;
  family_count++;
  return f;
}

static const family *find(lua_State *L, const char *name, purlin_metric_type type, const char *label_list) {
  buffer *why = &state_of(L)->why;
  buffer_clear(why);
  (void)pthread_mutex_lock(&lock);
  const family *f = families;
  while (f != NULL && strcmp(f->name, name) != 0) f = f->next;
  if (f == NULL) f = make(name, type, label_list, why);
  else if (f->metric.type != type || strcmp(f->labels, label_list) != 0) {
    buffer_format(why, "it exists already as another kind, or with other labels (%s)",
                  f->labels[0] == '\0' ? "none" : f->labels);
    f = NULL;
  }
  (void)pthread_mutex_unlock(&lock);
  if (f == NULL) luaL_error(L, "metric '%s': %s", name, buffer_end(why));
  return f;
}

typedef void record(const purlin_metric *metric, double value, const char *const *values);

static int record_as(lua_State *L, purlin_metric_type type, lua_Number value, record *how) {
  labels l;
  const char *name = luaL_checkstring(L, 1);
  check_labels(L, &l);
  how(&find(L, name, type, l.list)->metric, value, l.values);
  return 0;
}

static int count(lua_State *L) {
  lua_Number by = luaL_optnumber(L, 2, 1);
  luaL_argcheck(L, by >= 0, 2, "a counter only grows");
  return record_as(L, PURLIN_METRIC_COUNTER, by, purlin_metric_add);
}

static int gauge(lua_State *L) { return record_as(L, PURLIN_METRIC_GAUGE, luaL_checknumber(L, 2), purlin_metric_set); }
static int observe(lua_State *L) {
  return record_as(L, PURLIN_METRIC_HISTOGRAM, luaL_checknumber(L, 2), purlin_metric_observe);
}

void host_open_metrics(lua_State *L) {
  static const luaL_Reg functions[] = {{"count", count}, {"gauge", gauge}, {"observe", observe}, {NULL, NULL}};
  host_add(L, "metrics", functions);
}
