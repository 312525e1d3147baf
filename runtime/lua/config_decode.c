/* config_decode.c: a section of purlin.lua becomes a struct; what is wrong is told with file and line. */
#include "lua/script.h"

#include "core/schema.h"
#include "core/text.h"
#include "lua/load.h"
#include "lua/value.h"

#include <ctype.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_CONFIG_BYTES = 1024 * 1024 };

/* ---- Where a field stands: Lua tables do not remember it, so the file is looked at again ------------------------------------------ */

static bool is_word(char c) { return isalnum((unsigned char)c) || c == '_'; }

/* Whether the line, up to a comment, holds `NAME =`. */
static bool sets(const char *line, size_t size, const char *name, size_t name_size) {
  for (size_t at = 0; at + name_size < size; at++) {
    if (line[at] == '-' && line[at + 1] == '-') return false;
    if (strncmp(line + at, name, name_size) != 0 || (at > 0 && is_word(line[at - 1])) || is_word(line[at + name_size]))
      continue;
    size_t behind = at + name_size;
    while (behind < size && (line[behind] == ' ' || line[behind] == '\t')) behind++;
    if (behind < size && line[behind] == '=' && (behind + 1 == size || line[behind + 1] != '=')) return true;
  }
  return false;
}

/* The first line of the section that sets it; that of the section when none does, as for a field that is missing. */
static int line_of(const config_section *s, const char *field) {
  buffer text = {0};
  size_t name_size = field == NULL ? 0 : strcspn(field, ".[");
  int line = 1, found = s->line;
  bool read = name_size > 0 && s->line > 0 && load_read(s->file, MAX_CONFIG_BYTES, &text) == 0;
  for (size_t at = 0; read && at < text.size; line++) {
    const char *start = text.data + at, *end = memchr(start, '\n', text.size - at);
    size_t size = end == NULL ? text.size - at : (size_t)(end - start);
    at += size + 1;
    if (line < s->line) continue;
    if (line > s->line && size > 0 && isalpha((unsigned char)start[0])) break; /* the next section */
    if (!sets(start, size, field, name_size)) continue;
    found = line;
    break;
  }
  buffer_free(&text);
  return found;
}

/* ---- Decoding ---------------------------------------------------------------------------------------------------------------------- */

typedef struct complaints {
  const config_section *section;
  buffer *why;
} complaints;

static void complain(void *to, const char *field, const char *message) {
  const complaints *c = to;
  const config_section *s = c->section;
  if (c->why->size > 0) buffer_char(c->why, '\n');
  buffer_format(c->why, "%s:%d: %s", s->file, line_of(s, field), s->kind);
  if (s->name != NULL) buffer_format(c->why, " \"%s\"", s->name);
  if (field != NULL && field[0] != '\0') buffer_format(c->why, ": field '%s' %s", field, message);
  else buffer_format(c->why, ": %s", message);
}

/* ---- Secrets that stand in the file --------------------------------------------------------------------------------------------------- */

/* As it would stand there: what came from env(), file() or credential() does not. */
static bool stands_in(const buffer *text, const char *secret) {
  size_t size = secret == NULL ? 0 : strlen(secret);
  return size > 0 && memmem(text->data, text->size, secret, size) != NULL;
}

static bool tells(const purlin_field *field, const void *value, const buffer *text) {
  const void *at = (const char *)value + field->offset;
  if (field->type == PURLIN_T_TEXT) return stands_in(text, *(const char *const *)at);
  if (field->type == PURLIN_T_OPT_TEXT) return stands_in(text, ((const purlin_opt_text *)at)->value);
  const purlin_texts *texts = field->type == PURLIN_T_TEXTS ? at : NULL;
  for (size_t i = 0; texts != NULL && i < texts->count; i++) /* a path or a credential's name tells nothing */
    if (texts->items[i][0] != '/' && strchr(texts->items[i], ':') == NULL && stands_in(text, texts->items[i])) return true;
  return false;
}

static void warn_of_secrets(const config_section *s, const purlin_schema *schema, const void *value) {
  struct stat about;
  buffer text = {0};
  if (s->warnings == NULL || s->line == 0 || stat(s->file, &about) != 0 || (about.st_mode & S_IROTH) == 0) return;
  bool read = load_read(s->file, MAX_CONFIG_BYTES, &text) == 0 && text.size > 0;
  for (size_t i = 0; read && i < schema->field_count; i++) {
    const purlin_field *field = schema_field(schema, i);
    if (!field->secret || !tells(field, value, &text)) continue;
    buffer_format(
        s->warnings,
        "%s%s:%d: %s: '%s' is secret, and everybody can read this file: chmod o= it, or use file(\"PATH\") or credential(\"NAME\")",
        s->warnings->size > 0 ? "\n" : "", s->file, line_of(s, field->name), s->name != NULL ? s->name : s->kind,
        field->name);
  }
  if (text.data != NULL) text_wipe(text.data, text.capacity);
  buffer_free(&text);
  (void)buffer_end(s->warnings);
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
  if (status == PURLIN_OK) warn_of_secrets(section, schema, out);
  return status;
}
