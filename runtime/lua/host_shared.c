/* host_shared.c: purlin.shared: values that all scripts on all loops see: JSON texts in one table of the process, bounded, with an
 * optional time to live. Gone when the process ends; what must last belongs in the database. */
#include "lua/host.h"

#include "core/text.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 4096, MAX_KEY_BYTES = 256, MAX_VALUE_BYTES = 256 * 1024, SWEEP_EVERY = 1024 };
#define MAX_TOTAL_BYTES ((size_t)64 * 1024 * 1024)

typedef struct item {
  struct item *next;
  uint64_t expires_ns; /* purlin_ticks_ns; UINT64_MAX: never */
  lua_Integer version; /* grows with every change of any key */
  size_t key_size, value_size;
  char data[]; /* the key, then the JSON */
} item;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static item *buckets[BUCKETS];
static size_t total_bytes;
static lua_Integer versions;
static unsigned changes;

static item **place_of(const char *key, size_t size) {
  item **at = &buckets[text_hash(key, size) % BUCKETS];
  while (*at != NULL && ((*at)->key_size != size || memcmp((*at)->data, key, size) != 0)) at = &(*at)->next;
  return at;
}

static void drop(item **at) {
  item *old = *at;
  *at = old->next;
  total_bytes -= sizeof *old + old->key_size + old->value_size;
  free(old);
}

static void sweep(void) {
  uint64_t now = purlin_ticks_ns();
  for (size_t i = 0; i < BUCKETS; i++)
    for (item **at = &buckets[i]; *at != NULL;)
      if ((*at)->expires_ns <= now) drop(at);
      else at = &(*at)->next;
}

/* The living item at `at`; an expired one is dropped. */
static item *living(item **at) {
  if (*at != NULL && (*at)->expires_ns <= purlin_ticks_ns()) drop(at);
  else return *at;
  return NULL;
}

/* Under the lock: replaces what is at the key. NULL: no room. */
static item *store(const char *key, size_t key_size, const char *json, size_t json_size, uint64_t expires_ns) {
  if (++changes % SWEEP_EVERY == 0) sweep();
  item **at = place_of(key, key_size);
  if (*at != NULL) drop(at);
  size_t size = sizeof(item) + key_size + json_size;
  if (total_bytes + size > MAX_TOTAL_BYTES) sweep();
  item *fresh = total_bytes + size > MAX_TOTAL_BYTES ? NULL : malloc(size);
  if (fresh == NULL) return NULL;
  *fresh = (item){.expires_ns = expires_ns, .version = ++versions, .key_size = key_size, .value_size = json_size};
  memcpy(fresh->data, key, key_size);
  memcpy(fresh->data + key_size, json, json_size);
  at = &buckets[text_hash(key, key_size) % BUCKETS];
  fresh->next = *at;
  *at = fresh;
  total_bytes += size;
  return fresh;
}

/* ---- Functions. Nothing that may raise a Lua error happens under the lock. ---------------------------------------------------- */

static const char *check_key(lua_State *L, size_t *size) {
  const char *key = luaL_checklstring(L, 1, size);
  luaL_argcheck(L, *size > 0 && *size <= MAX_KEY_BYTES, 1, "a key has 1 to 256 bytes");
  return key;
}

static uint64_t check_ttl(lua_State *L, int index) {
  if (lua_isnoneornil(L, index)) return UINT64_MAX;
  lua_Number seconds = luaL_checknumber(L, index);
  luaL_argcheck(L, seconds > 0 && seconds < 1e9, index, "a time to live in seconds expected");
  return purlin_ticks_ns() + (uint64_t)(seconds * 1e9);
}

/* The value at `index` into the state's scratch buffer. */
static const buffer *check_value(lua_State *L, int index) {
  script_state *state = state_of(L);
  buffer_clear(&state->scratch);
  buffer_clear(&state->why);
  if (!value_to_json(L, index, &state->scratch, &state->why)) luaL_error(L, "shared: %s", buffer_end(&state->why));
  luaL_argcheck(L, state->scratch.size <= MAX_VALUE_BYTES, index, "too large to be shared (256 KiB at most)");
  return &state->scratch;
}

static int get(lua_State *L) {
  size_t size;
  const char *key = check_key(L, &size);
  script_state *state = state_of(L);
  buffer_clear(&state->scratch);
  lua_Integer version = 0;
  (void)pthread_mutex_lock(&lock);
  const item *found = living(place_of(key, size));
  if (found != NULL) {
    version = found->version;
    buffer_add(&state->scratch, found->data + found->key_size, found->value_size);
  }
  (void)pthread_mutex_unlock(&lock);
  if (state->scratch.failed) return luaL_error(L, "not enough memory");
  if (version == 0) lua_pushnil(L);
  else {
    const lua_run *run = state->run;
    arena *memory = run != NULL && run->ctx != NULL ? &run->ctx->memory : &state->memory;
    purlin_mark mark = arena_mark(memory);
    value_push_json(L, state->scratch.data, state->scratch.size, VALUE_KEEP_NULLS, memory);
    arena_reset(memory, mark);
  }
  lua_pushinteger(L, version);
  return 2;
}

static int full(lua_State *L) { return luaL_error(L, "shared: there is no room left (64 MiB in all)"); }

static int set(lua_State *L) {
  size_t size;
  const char *key = check_key(L, &size);
  luaL_checkany(L, 2);
  uint64_t expires_ns = check_ttl(L, 3);
  const buffer *json = check_value(L, 2);
  (void)pthread_mutex_lock(&lock);
  const item *stored = store(key, size, json->data, json->size, expires_ns);
  lua_Integer version = stored == NULL ? 0 : stored->version;
  (void)pthread_mutex_unlock(&lock);
  if (version == 0) return full(L);
  lua_pushinteger(L, version);
  return 1;
}

/* Sets if the key still has the version that get() told (0: no value). */
static int compare_and_set(lua_State *L) {
  size_t size;
  const char *key = check_key(L, &size);
  lua_Integer expected = luaL_checkinteger(L, 2);
  luaL_checkany(L, 3);
  uint64_t expires_ns = check_ttl(L, 4);
  const buffer *json = check_value(L, 3);
  (void)pthread_mutex_lock(&lock);
  const item *found = living(place_of(key, size));
  bool same = (found == NULL ? 0 : found->version) == expected;
  const item *stored = same ? store(key, size, json->data, json->size, expires_ns) : NULL;
  (void)pthread_mutex_unlock(&lock);
  if (same && stored == NULL) return full(L);
  lua_pushboolean(L, same);
  return 1;
}

/* The number that the JSON says; absent: 0. False: it is no number. */
static bool number_of(const item *found, double *number) {
  *number = 0;
  return found == NULL || text_to_double(found->data + found->key_size, found->value_size, number);
}

static int increase(lua_State *L) {
  size_t size;
  const char *key = check_key(L, &size);
  double by = luaL_optnumber(L, 2, 1), number;
  bool keeps_time = lua_isnoneornil(L, 3);
  uint64_t expires_ns = check_ttl(L, 3);
  char text[32];
  enum { DONE, NO_NUMBER, FULL } outcome = NO_NUMBER;
  (void)pthread_mutex_lock(&lock);
  const item *found = living(place_of(key, size));
  if (number_of(found, &number) && isfinite(number + by)) {
    number += by;
    if (found != NULL && keeps_time) expires_ns = found->expires_ns;
    size_t text_size = text_from_double(number, text);
    outcome = store(key, size, text, text_size, expires_ns) == NULL ? FULL : DONE;
  }
  (void)pthread_mutex_unlock(&lock);
  if (outcome == FULL) return full(L);
  if (outcome == NO_NUMBER) return luaL_error(L, "shared: '%s' holds no number", key);
  lua_pushnumber(L, number);
  return 1;
}

static int delete (lua_State *L) {
  size_t size;
  const char *key = check_key(L, &size);
  (void)pthread_mutex_lock(&lock);
  item **at = place_of(key, size);
  bool was = living(at) != NULL;
  if (was) drop(at);
  (void)pthread_mutex_unlock(&lock);
  lua_pushboolean(L, was);
  return 1;
}

void host_open_shared(lua_State *L) {
  static const luaL_Reg functions[] = {{"get", get},       {"set", set},       {"cas", compare_and_set},
                                       {"incr", increase}, {"delete", delete}, {NULL, NULL}};
  host_add(L, "shared", functions);
}

void host_shared_clear(void) {
  (void)pthread_mutex_lock(&lock);
  for (size_t i = 0; i < BUCKETS; i++)
    while (buckets[i] != NULL) drop(&buckets[i]);
  (void)pthread_mutex_unlock(&lock);
}
