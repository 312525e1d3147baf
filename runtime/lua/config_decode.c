/* config_decode.c: a section of purlin.lua becomes a struct; what is wrong is told with file and line. */
#include "lua/script.h"

#include "core/schema.h"
#include "lua/value.h"

typedef struct complaints {
  const config_section *section;
  buffer *why;
} complaints;

static void complain(void *to, const char *field, const char *message) {
  const complaints *c = to;
  const config_section *s = c->section;
  if (c->why->size > 0) buffer_char(c->why, '\n');
  buffer_format(c->why, "%s:%d: %s", s->file, s->line, s->kind);
  if (s->name != NULL) buffer_format(c->why, " \"%s\"", s->name);
  if (field != NULL && field[0] != '\0') buffer_format(c->why, ": field '%s' %s", field, message);
  else buffer_format(c->why, ": %s", message);
}

purlin_status config_decode(const config_section *section, const purlin_schema *schema, struct arena *memory, void *out,
                            buffer *why) {
  complaints to = {section, why};
  schema_reading reading = {.memory = memory, .complain = complain, .complain_to = &to};
  buffer fitted = {0};
  const char *json = section->json;
  size_t size = section->json_size;
  if (value_fit_lists(schema, json, size, memory, &fitted)) {
    size = fitted.size;
    json = arena_copy(memory, fitted.data, fitted.size); /* decoded texts may point into it */
  }
  purlin_status status = json == NULL ? PURLIN_TOO_LARGE : schema_decode(&reading, schema, json, size, out);
  buffer_free(&fitted);
  if (status == PURLIN_TOO_LARGE) complain(&to, NULL, "needs too much memory");
  return status;
}
