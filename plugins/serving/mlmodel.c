#include "mlmodel.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { DEEPEST = 32, KEY = 64, MOST_FLAVORS = 100 };

/* A mapping or a list that is open, and the key whose value is being read; "" of a list. */
typedef struct level {
  bool mapping, key_is_next;
  char key[KEY];
} level;

typedef struct reader {
  level levels[DEEPEST];
  size_t depth, flavors;
  mlmodel *out;
  char *why;
} reader;

__attribute__((format(printf, 2, 3))) static bool refuse(reader *r, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(r->why, MLMODEL_WHY, format, arguments);
  va_end(arguments);
  return false;
}

/* Whether the value that is being read stands at a.b.c; NULL ends the names. */
static bool is_at(const reader *r, const char *a, const char *b, const char *c) {
  const char *const names[] = {a, b, c};
  size_t count = c ? 3 : b ? 2 : 1;
  if (r->depth != count) return false;
  for (size_t i = 0; i < count; i++)
    if (!r->levels[i].mapping || strcmp(r->levels[i].key, names[i]) != 0) return false;
  return true;
}

/* Letters, digits, _ - and . are what names of flavors consist of. */
static bool add_flavor(reader *r, const char *name) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
  if (!*name || name[strspn(name, letters)] || ++r->flavors > MOST_FLAVORS)
    return refuse(r, "MLmodel has a flavor of a strange name");
  size_t before = r->out->flavors ? strlen(r->out->flavors) : 0, room = before + strlen(name) + 3;
  char *all = malloc(room);
  if (!all) return refuse(r, "out of memory");
  (void)snprintf(all, room, "%s%s%s", before ? r->out->flavors : "", before ? ", " : "", name);
  free(r->out->flavors);
  r->out->flavors = all;
  if (strcmp(name, "xgboost") == 0) r->out->xgboost = true;
  return true;
}

static char **wanted(reader *r) {
  if (is_at(r, "flavors", "xgboost", "data")) return &r->out->data;
  if (is_at(r, "flavors", "xgboost", "model_class")) return &r->out->model_class;
  if (is_at(r, "signature", "inputs", NULL)) return &r->out->inputs;
  if (is_at(r, "signature", "outputs", NULL)) return &r->out->outputs;
  return NULL;
}

static bool is_nothing(const yaml_event_t *event) {
  const char *text = (const char *)event->data.scalar.value;
  if (event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) return false;
  return !*text || strcmp(text, "~") == 0 || strcmp(text, "null") == 0;
}

/* ---- Events ---------------------------------------------------------------------------------------------------------------------- */

/* A value, or the beginning of one, is here: afterwards a mapping goes on with its next key. */
static void value_taken(reader *r) {
  if (r->depth > 0 && r->levels[r->depth - 1].mapping) r->levels[r->depth - 1].key_is_next = true;
}

static bool take_key(reader *r, const char *text, size_t size) {
  level *at = &r->levels[r->depth - 1];
  /* What is longer than any that is looked for is none of them. */
  size_t length = size < KEY && strlen(text) == size ? size : 0;
  memcpy(at->key, text, length);
  at->key[length] = '\0';
  at->key_is_next = false;
  return !is_at(r, "flavors", at->key, NULL) || add_flavor(r, at->key);
}

static bool take_scalar(reader *r, const yaml_event_t *event) {
  const char *text = (const char *)event->data.scalar.value;
  size_t size = event->data.scalar.length;
  if (r->depth == 0) return refuse(r, "MLmodel is no mapping");
  if (r->levels[r->depth - 1].key_is_next) return take_key(r, text, size);
  char **to = wanted(r);
  value_taken(r);
  if (!to || is_nothing(event)) return true;
  if (*to) return refuse(r, "MLmodel says '%s' twice", r->levels[r->depth - 1].key);
  if (strlen(text) != size) return refuse(r, "MLmodel has a byte 0 in '%s'", r->levels[r->depth - 1].key);
  *to = strdup(text);
  return *to != NULL || refuse(r, "out of memory");
}

static bool open_level(reader *r, bool mapping) {
  if (r->depth == DEEPEST) return refuse(r, "MLmodel is nested more than %d deep", DEEPEST);
  if (r->depth == 0 && !mapping) return refuse(r, "MLmodel is no mapping");
  if (r->depth > 0 && r->levels[r->depth - 1].key_is_next) return refuse(r, "MLmodel has a key that is no text");
  if (wanted(r)) return refuse(r, "'%s' in MLmodel is no text", r->levels[r->depth - 1].key);
  r->levels[r->depth++] = (level){.mapping = mapping, .key_is_next = mapping};
  return true;
}

static bool take_event(reader *r, const yaml_event_t *event) {
  switch (event->type) {
  case YAML_ALIAS_EVENT: return refuse(r, "MLmodel has an alias, which is not taken");
  case YAML_SCALAR_EVENT:
    if (event->data.scalar.anchor) return refuse(r, "MLmodel has an anchor, which is not taken");
    return take_scalar(r, event);
  case YAML_SEQUENCE_START_EVENT:
    if (event->data.sequence_start.anchor) return refuse(r, "MLmodel has an anchor, which is not taken");
    return open_level(r, false);
  case YAML_MAPPING_START_EVENT:
    if (event->data.mapping_start.anchor) return refuse(r, "MLmodel has an anchor, which is not taken");
    return open_level(r, true);
  case YAML_SEQUENCE_END_EVENT:
  case YAML_MAPPING_END_EVENT:
    r->depth--;
    value_taken(r);
    return true;
  default: return true;
  }
}

static bool read_all(reader *r, yaml_parser_t *parser) {
  unsigned documents = 0;
  for (;;) {
    yaml_event_t event;
    if (!yaml_parser_parse(parser, &event)) {
      const char *problem = parser->problem ? parser->problem : "it cannot be read";
      return refuse(r, "MLmodel is no YAML: line %zu: %s", parser->problem_mark.line + 1, problem);
    }
    bool last = event.type == YAML_STREAM_END_EVENT;
    documents += event.type == YAML_DOCUMENT_START_EVENT;
    bool fine = documents > 1 ? refuse(r, "MLmodel holds more than one document") : take_event(r, &event);
    yaml_event_delete(&event);
    if (!fine || last) return fine && (documents == 1 || refuse(r, "MLmodel is empty"));
  }
}

bool mlmodel_read(const char *text, size_t size, mlmodel *out, char *why) {
  yaml_parser_t parser;
  *out = (mlmodel){0};
  why[0] = '\0';
  reader r = {.out = out, .why = why};
  if (size > MLMODEL_LARGEST)
    return refuse(&r, "MLmodel has %zu bytes, more than the %d that are taken", size, MLMODEL_LARGEST);
  if (!yaml_parser_initialize(&parser)) return refuse(&r, "out of memory");
  yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
  yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
  bool fine = read_all(&r, &parser);
  yaml_parser_delete(&parser);
  if (!fine) mlmodel_free(out);
  return fine;
}

void mlmodel_free(mlmodel *model) {
  free(model->flavors);
  free(model->data);
  free(model->model_class);
  free(model->inputs);
  free(model->outputs);
  *model = (mlmodel){0};
}
