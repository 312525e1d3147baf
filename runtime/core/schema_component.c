/* The names of schemas in a document: two plugins may each have an `evaluate_in`. The first keeps its name, the next ones get a number;
 * equal schemas (the same header in two files) are one. */
#include "core/schema_parts.h"
#include "core/text.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct component {
  const char *name;
  uint64_t fingerprint;
  unsigned number; /* among those of this name, from 1 */
  struct component *next;
} component;

static component *components;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t mix(uint64_t hash, const void *data, size_t size) {
  return (hash ^ text_hash(data, size)) * UINT64_C(0x9e3779b97f4a7c15);
}
static uint64_t mix_text(uint64_t hash, const char *text) { return text ? mix(hash, text, strlen(text)) : hash * 31 + 7; }

static uint64_t fingerprint(const purlin_schema *schema) {
  uint64_t hash = mix_text(1, schema->doc);
  for (size_t i = 0; i < schema->field_count; i++) {
    const purlin_field *field = schema_field(schema, i);
    const uint32_t numbers[] = {field->type, field->required, field->min_length, field->max_length, field->secret};
    const double limits[] = {field->min, field->max};
    hash = mix(mix(mix_text(hash, field->name), numbers, sizeof numbers), limits, sizeof limits);
    hash = mix_text(mix_text(mix_text(mix_text(hash, field->doc), field->initial), field->choices), field->pattern);
    if (field->of) hash = hash * 33 + fingerprint(field->of());
  }
  return hash;
}

static unsigned number_of(const purlin_schema *schema) {
  uint64_t wanted = fingerprint(schema);
  unsigned same_name = 0;
  component **place = &components;
  for (; *place; place = &(*place)->next) {
    if (strcmp((*place)->name, schema->name) != 0) continue;
    if ((*place)->fingerprint == wanted) return (*place)->number;
    same_name++;
  }
  component *added = malloc(sizeof *added);
  if (!added) return 0;
  *added = (component){schema->name, wanted, same_name + 1, NULL};
  *place = added;
  return added->number;
}

unsigned schema_component_number(const purlin_schema *schema) {
  (void)pthread_mutex_lock(&lock);
  unsigned number = number_of(schema);
  (void)pthread_mutex_unlock(&lock);
  return number;
}

void schema_component_name(const purlin_schema *schema, buffer *out) {
  unsigned number = schema_component_number(schema);
  if (number == 0) out->failed = true;
  buffer_text(out, schema->name);
  if (number > 1) buffer_format(out, "_%u", number);
}
