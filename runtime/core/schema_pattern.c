#include "core/schema_parts.h"
#include "core/text.h"

#include <pthread.h>
#include <regex.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Patterns are found by their text, not by their address: a plugin may be unloaded and another one mapped there. They are
 * few, known at start, and never freed; so readers follow lists without a lock. */
#define BUCKETS 256

struct schema_pattern {
  const schema_pattern *next;
  const schema_automaton *automaton; /* NULL: `compiled` it is */
  regex_t compiled;
  bool broken;
  char text[];
};

static _Atomic(const schema_pattern *) buckets[BUCKETS];
static pthread_mutex_t adding = PTHREAD_MUTEX_INITIALIZER;

static const schema_pattern *find(size_t bucket, const char *text) {
  const schema_pattern *p = atomic_load_explicit(&buckets[bucket], memory_order_acquire);
  while (p != NULL && strcmp(p->text, text) != 0) p = p->next;
  return p;
}

static schema_pattern *compile(const char *text) {
  size_t size = strlen(text);
  schema_pattern *p = calloc(1, sizeof *p + size + 1);
  char *anchored = malloc(size + 5);
  if (p == NULL || anchored == NULL) {
    free(p);
    free(anchored);
    return NULL;
  }
  memcpy(p->text, text, size + 1);
  memcpy(anchored, "^(", 2);
  memcpy(anchored + 2, text, size);
  memcpy(anchored + 2 + size, ")$", 3);
  p->broken = regcomp(&p->compiled, anchored, REG_EXTENDED | REG_NOSUB) != 0;
  free(anchored);
  if (p->broken) return p;
  p->automaton = schema_automaton_compile(text);
  if (p->automaton != NULL) regfree(&p->compiled);
  return p;
}

const schema_pattern *schema_pattern_of(const char *pattern) {
  size_t bucket = text_hash(pattern, strlen(pattern)) % BUCKETS;
  const schema_pattern *found = find(bucket, pattern);
  if (found == NULL) {
    (void)pthread_mutex_lock(&adding);
    found = find(bucket, pattern);
    schema_pattern *fresh = found == NULL ? compile(pattern) : NULL;
    if (fresh != NULL) {
      fresh->next = atomic_load_explicit(&buckets[bucket], memory_order_relaxed);
      atomic_store_explicit(&buckets[bucket], fresh, memory_order_release);
      found = fresh;
    }
    (void)pthread_mutex_unlock(&adding);
  }
  return found == NULL || found->broken ? NULL : found;
}

bool schema_pattern_matches(const schema_pattern *pattern, const char *text, size_t size) {
  if (pattern->automaton != NULL) return schema_automaton_matches(pattern->automaton, text, size);
  char few[512], *copy = size < sizeof few ? few : malloc(size + 1); /* regexec wants a NUL */
  if (copy == NULL) return false;
  memcpy(copy, text, size);
  copy[size] = '\0';
  bool matches = regexec(&pattern->compiled, copy, 0, NULL, 0) == 0;
  if (copy != few) free(copy);
  return matches;
}
