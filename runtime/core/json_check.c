/* Whole values: skipping them, checking them, finding a member; with the search for duplicate keys. */
#include "core/json.h"

#include <stdlib.h>
#include <string.h>

/* An object of up to this many keys compares each new key with the others; a larger one is sorted when it ends, so that
 * no input takes quadratic time. */
#define FEW_KEYS 16

typedef struct seen_key {
  const char *text;
  size_t size;
  const char *at; /* its place, for the message */
} seen_key;

/* The keys of all objects that are open, innermost last. */
typedef struct seen_keys {
  seen_key *keys;
  size_t count, capacity;
  size_t first[JSON_MAX_DEPTH + 1]; /* by depth: where the keys of the object of that depth begin */
  seen_key few[4 * FEW_KEYS];
} seen_keys;

static bool same_key(const seen_key *a, const seen_key *b) {
  return a->size == b->size && memcmp(a->text, b->text, a->size) == 0;
}

static int compare_keys(const void *left, const void *right) {
  const seen_key *a = left, *b = right;
  if (a->size != b->size) return a->size < b->size ? -1 : 1;
  return memcmp(a->text, b->text, a->size);
}

static bool make_room(seen_keys *seen) {
  if (seen->count < seen->capacity) return true;
  size_t bytes, capacity = seen->capacity * 2;
  if (__builtin_mul_overflow(capacity, sizeof(seen_key), &bytes)) return false;
  seen_key *keys = realloc(seen->keys == seen->few ? NULL : seen->keys, bytes);
  if (keys == NULL) return false;
  if (seen->keys == seen->few) memcpy(keys, seen->few, sizeof seen->few);
  seen->keys = keys;
  seen->capacity = capacity;
  return true;
}

static bool refuse(json_reader *r, const char *at, const char *error) {
  (void)json_fail(r, at, error);
  return false;
}

static bool see_key(json_reader *r, seen_keys *seen) {
  if (!make_room(seen)) return refuse(r, r->value_start, json_no_memory);
  seen_key *key = &seen->keys[seen->count];
  *key = (seen_key){r->text, r->text_size, r->value_start};
  size_t first = seen->first[r->depth];
  if (seen->count - first < FEW_KEYS) {
    for (size_t i = first; i < seen->count; i++)
      if (same_key(&seen->keys[i], key)) return refuse(r, r->value_start, "a name that its object has already");
  }
  seen->count++;
  return true;
}

/* Forgets the keys of the object of depth `depth`, which has ended. */
static bool end_object(json_reader *r, seen_keys *seen, size_t depth) {
  seen_key *keys = seen->keys + seen->first[depth];
  size_t count = seen->count - seen->first[depth];
  seen->count = seen->first[depth];
  if (count <= FEW_KEYS) return true;
  qsort(keys, count, sizeof *keys, compare_keys);
  for (size_t i = 1; i < count; i++) {
    if (!same_key(&keys[i - 1], &keys[i])) continue;
    return refuse(r, keys[i - 1].at > keys[i].at ? keys[i - 1].at : keys[i].at, "a name that its object has already");
  }
  return true;
}

static bool walk(json_reader *r, json_kind kind, size_t until_depth, seen_keys *seen) {
  for (;;) {
    if (kind == JSON_ERROR) return false;
    if (kind == JSON_OBJECT) seen->first[r->depth] = seen->count;
    if (kind == JSON_KEY && !see_key(r, seen)) return false;
    if (kind == JSON_OBJECT_END && !end_object(r, seen, r->depth + 1U)) return false;
    if (r->depth == until_depth) return true;
    kind = json_next(r);
  }
}

bool json_skip(json_reader *r, json_kind kind) {
  if (kind == JSON_ERROR) return false;
  if (kind != JSON_OBJECT && kind != JSON_ARRAY) return true;
  const char *start = r->value_start;
  seen_keys seen;
  seen.keys = seen.few;
  seen.count = 0;
  seen.capacity = sizeof seen.few / sizeof seen.few[0];
  /* Keys with escapes need memory only as long as the walk. */
  arena own, *memory = r->memory;
  if (memory == NULL) {
    arena_init(&own, 0);
    r->memory = &own;
  }
  purlin_mark mark = arena_mark(r->memory);
  r->skipping = true;
  bool good = walk(r, kind, r->depth - 1U, &seen);
  r->skipping = false;
  arena_reset(r->memory, mark);
  r->memory = memory;
  r->text = NULL;
  r->text_size = 0;
  r->value_start = start;
  if (seen.keys != seen.few) free(seen.keys);
  return good;
}

bool json_check(const char *text, size_t size, size_t *error_at, const char **error) {
  json_reader r;
  json_begin(&r, text, size, NULL);
  r.skipping = true; /* no text is wanted */
  if (json_skip(&r, json_next(&r)) && json_next(&r) == JSON_END) return true;
  *error_at = (size_t)(r.at - r.start);
  *error = r.error;
  return false;
}

bool json_find(const char *text, size_t size, const char *key, const char **value, size_t *value_size) {
  json_reader r;
  arena memory;
  size_t key_size = strlen(key);
  bool found = false;
  arena_init(&memory, 0);
  json_begin(&r, text, size, &memory);
  if (json_next(&r) == JSON_OBJECT) {
    while (!found && json_next(&r) == JSON_KEY) {
      bool same = r.text_size == key_size && memcmp(r.text, key, key_size) == 0;
      if (!json_skip(&r, json_next(&r))) break;
      found = same;
    }
  }
  if (found) {
    *value = r.value_start;
    *value_size = (size_t)(r.at - r.value_start);
  }
  arena_free(&memory);
  return found;
}
