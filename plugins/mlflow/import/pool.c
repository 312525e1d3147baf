#include "import.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct pool_block {
  struct pool_block *before;
  char text[];
};

static pool_block *newest;

static void no_memory(void) {
  (void)fputs("purlin-import-mlflow: out of memory\n", stderr);
  exit(DIFFERS);
}

char *say(const char *format, ...) {
  va_list list, again;
  va_start(list, format);
  va_copy(again, list);
  int size = vsnprintf(NULL, 0, format, list);
  va_end(list);
  pool_block *block = size < 0 ? NULL : malloc(sizeof *block + (size_t)size + 1);
  if (!block) no_memory();
  (void)vsnprintf(block->text, (size_t)size + 1, format, again);
  va_end(again);
  block->before = newest;
  newest = block;
  return block->text;
}

pool_block *pool_mark(void) { return newest; }

void pool_release(pool_block *mark) {
  while (newest != mark) {
    pool_block *before = newest->before;
    free(newest);
    newest = before;
  }
}

/* ---- Maps: open addressing, at most half full --------------------------------------------------------------------------------- */

uint64_t hash_text(uint64_t hash, const char *text) {
  for (; *text; text++) hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
  return (hash ^ 0xff) * UINT64_C(1099511628211); /* so that "a", "bc" is not "ab", "c" */
}

static map_entry *slot_of(const map *m, const char *key) {
  size_t at = (size_t)hash_text(HASH_BEGIN, key) & (m->room - 1);
  while (m->entries[at].key && strcmp(m->entries[at].key, key) != 0) at = (at + 1) & (m->room - 1);
  return &m->entries[at];
}

const char *map_get(const map *m, const char *key) { return m->room ? slot_of(m, key)->value : NULL; }

static void grow(map *m) {
  map bigger = {.room = m->room ? m->room * 2 : 64, .count = m->count};
  bigger.entries = calloc(bigger.room, sizeof *bigger.entries);
  if (!bigger.entries) no_memory();
  for (size_t i = 0; i < m->room; i++)
    if (m->entries[i].key) *slot_of(&bigger, m->entries[i].key) = m->entries[i];
  free(m->entries);
  *m = bigger;
}

void map_put(map *m, const char *key, const char *value) {
  if (m->count * 2 >= m->room) grow(m);
  map_entry *slot = slot_of(m, key);
  char *copy = strdup(value);
  if (!slot->key) {
    slot->key = strdup(key);
    m->count++;
  }
  if (!copy || !slot->key) no_memory();
  free(slot->value);
  slot->value = copy;
}

void map_free(map *m) {
  for (size_t i = 0; i < m->room; i++) {
    free(m->entries[i].key);
    free(m->entries[i].value);
  }
  free(m->entries);
  *m = (map){0};
}

/* ---- JSON ------------------------------------------------------------------------------------------------------------------------ */

const cJSON *member(const cJSON *of, const char *name) { return cJSON_GetObjectItemCaseSensitive(of, name); }

const char *text_of(const cJSON *of, const char *name) {
  const char *text = cJSON_GetStringValue(member(of, name));
  return text ? text : "";
}

int64_t number_of(const cJSON *of, const char *name) {
  const cJSON *found = member(of, name);
  if (cJSON_IsString(found)) return strtoll(found->valuestring, NULL, 10);
  return cJSON_IsNumber(found) ? (int64_t)found->valuedouble : 0;
}

bool is_ours(const char *key) { return strncmp(key, "purlin.import.", 14) == 0; }

const char *value_of(const cJSON *pairs, const char *key) {
  const cJSON *one;
  cJSON_ArrayForEach(one, pairs) {
    if (strcmp(text_of(one, "key"), key) == 0) return text_of(one, "value");
  }
  return NULL;
}

cJSON *exact_value(const cJSON *metric) {
  const cJSON *value = member(metric, "value");
  if (cJSON_IsString(value)) return cJSON_CreateString(value->valuestring); /* "NaN" */
  char text[40];
  (void)snprintf(text, sizeof text, "%.17g", value ? value->valuedouble : 0);
  return cJSON_CreateRaw(text);
}

cJSON *pair(const char *key, const char *value) {
  cJSON *made = cJSON_CreateObject();
  if (!made || !cJSON_AddStringToObject(made, "key", key) || !cJSON_AddStringToObject(made, "value", value)) no_memory();
  return made;
}

void add_text(cJSON *to, const char *name, const char *value) {
  if (*value && !cJSON_AddStringToObject(to, name, value)) no_memory();
}

const char *as_time(int64_t unix_ms) {
  time_t seconds = (time_t)(unix_ms / 1000);
  struct tm at;
  char text[40] = "";
  if (gmtime_r(&seconds, &at)) (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &at);
  return say("%s.%03dZ", text, (int)(unix_ms % 1000));
}
