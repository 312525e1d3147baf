/* value_fit.c: puts empty lists right, which Lua cannot tell from empty objects; see value.h. */
#include "lua/value.h"

#include "core/schema.h"

#include <string.h>

typedef struct fitting {
  json_reader r;
  const char *copied; /* up to here the input is in `out` */
  buffer *out;
  bool changed;
} fitting;

static bool wants_list(const purlin_field *field) {
  return field->type == PURLIN_T_LIST || field->type == PURLIN_T_TEXTS || field->type == PURLIN_T_DOUBLES;
}

static bool fit_object(fitting *f, const purlin_schema *schema);

/* "{" was read where a list is wanted: only "{}" is put right. */
static bool fit_empty(fitting *f) {
  const char *brace = f->r.value_start;
  json_kind kind = json_next(&f->r);
  if (kind != JSON_OBJECT_END) {
    while (kind == JSON_KEY) {
      if (!json_skip(&f->r, json_next(&f->r))) return false;
      kind = json_next(&f->r);
    }
    return kind == JSON_OBJECT_END;
  }
  buffer_add(f->out, f->copied, (size_t)(brace - f->copied));
  buffer_add(f->out, "[]", 2);
  f->copied = f->r.at;
  f->changed = true;
  return true;
}

static bool fit_items(fitting *f, const purlin_schema *schema) {
  for (json_kind kind = json_next(&f->r); kind != JSON_ARRAY_END; kind = json_next(&f->r)) {
    if (kind == JSON_OBJECT ? !fit_object(f, schema) : !json_skip(&f->r, kind)) return false;
  }
  return true;
}

static bool fit_member(fitting *f, const purlin_field *field, json_kind kind) {
  if (field != NULL && kind == JSON_OBJECT && wants_list(field)) return fit_empty(f);
  if (field != NULL && kind == JSON_OBJECT && field->type == PURLIN_T_OBJECT) return fit_object(f, field->of());
  if (field != NULL && kind == JSON_ARRAY && field->type == PURLIN_T_LIST) return fit_items(f, field->of());
  return json_skip(&f->r, kind);
}

static bool fit_object(fitting *f, const purlin_schema *schema) {
  for (json_kind kind = json_next(&f->r); kind != JSON_OBJECT_END; kind = json_next(&f->r)) {
    if (kind != JSON_KEY) return false;
    const purlin_field *field = schema_find(schema, f->r.text, f->r.text_size);
    if (!fit_member(f, field, json_next(&f->r))) return false;
  }
  return true;
}

bool value_fit_lists(const purlin_schema *schema, const char *json, size_t size, arena *memory, buffer *out) {
  if (memmem(json, size, "{}", 2) == NULL) return false;
  fitting f = {.copied = json, .out = out, .changed = false};
  json_begin(&f.r, json, size, memory);
  if (json_next(&f.r) != JSON_OBJECT || !fit_object(&f, schema) || !f.changed) return false;
  buffer_add(out, f.copied, (size_t)(json + size - f.copied));
  return !out->failed;
}
