/* request.c: what a handler asks of its request: path, parameters, headers, query. */
#include "http/connection.h"

#include "core/schema.h"
#include "core/text.h"

const char *purlin_method(const purlin_request *request) { return request->text + request->head.method_text.at; }

const char *purlin_path(const purlin_request *request) {
  return request->head.path.size == 0 ? "/" : request->text + request->head.path.at;
}

int64_t purlin_content_length(const purlin_request *request) {
  return request->head.chunked ? -1 : (int64_t)request->head.length;
}

const char *purlin_header(const purlin_request *request, const char *name) {
  size_t size = strlen(name);
  const http_field *fields = request->head.fields;
  for (size_t i = 0; i < request->head.field_count; i++)
    if (fields[i].name.size == size && text_equal_ignoring_case(request->text + fields[i].name.at, size, name, size))
      return request->text + fields[i].value.at;
  return NULL;
}

/* A decoded copy in the arena; NULL for a broken escape or without memory. */
static char *decoded(const purlin_request *request, const char *text, size_t size, bool plus_is_space, size_t *out_size) {
  char *out = arena_alloc_raw(&request->ctx->memory, size + 1, 1);
  if (out == NULL || !text_unpercent(text, size, plus_is_space, out, out_size)) return NULL;
  out[*out_size] = '\0';
  return out;
}

const char *purlin_parameter(const purlin_request *request, const char *name) {
  const http_match *match = &request->match;
  for (size_t i = 0; i < match->parameter_count; i++) {
    if (strcmp(match->parameters[i].name, name) != 0) continue;
    size_t size;
    const char *value = decoded(request, match->parameters[i].value, match->parameters[i].size, false, &size);
    return value == NULL ? "" : value;
  }
  return NULL;
}

/* ---- The query string ------------------------------------------------------------------------------------------------------------ */

typedef struct pair {
  const char *name, *value;
  size_t name_size, value_size;
} pair;

/* Takes "name=value" off the front; false at the end. Empty pairs ("a=1&&b=2") are skipped. */
static bool next_pair(const char **at, const char *end, pair *out) {
  while (*at < end && **at == '&') (*at)++;
  if (*at == end) return false;
  const char *stop = memchr(*at, '&', (size_t)(end - *at));
  if (stop == NULL) stop = end;
  const char *equals = memchr(*at, '=', (size_t)(stop - *at));
  const char *name_end = equals == NULL ? stop : equals;
  *out = (pair){.name = *at, .name_size = (size_t)(name_end - *at), .value = equals == NULL ? stop : equals + 1};
  out->value_size = (size_t)(stop - out->value);
  *at = stop;
  return true;
}

static const char *query_of(const purlin_request *request, const char **end) {
  const char *at = request->text + request->head.query.at;
  *end = at + request->head.query.size;
  return at;
}

const char *purlin_query_value(const purlin_request *request, const char *name) {
  const char *end, *at = query_of(request, &end);
  size_t size = strlen(name);
  pair p;
  while (next_pair(&at, end, &p)) {
    bool plain = p.name_size == size && memcmp(p.name, name, size) == 0;
    size_t decoded_size = 0;
    if (!plain) { /* perhaps it is written with escapes */
      if (p.name_size <= size || memchr(p.name, '%', p.name_size) == NULL) continue;
      const char *other = decoded(request, p.name, p.name_size, true, &decoded_size);
      if (other == NULL || decoded_size != size || memcmp(other, name, size) != 0) continue;
    }
    return decoded(request, p.value, p.value_size, true, &decoded_size);
  }
  return NULL;
}

void http_query_each(purlin_ctx *ctx, purlin_request *request,
                     void (*each)(void *to, const char *name, const char *value, size_t size), void *to) {
  (void)ctx;
  const char *end, *at = query_of(request, &end);
  pair p;
  while (next_pair(&at, end, &p)) {
    size_t name_size, value_size;
    const char *name = decoded(request, p.name, p.name_size, true, &name_size);
    const char *value = decoded(request, p.value, p.value_size, true, &value_size);
    if (name != NULL && value != NULL) each(to, name, value, value_size);
  }
}

typedef struct gathering {
  schema_reading reading;
  const purlin_schema *schema;
  void *out;
  uint64_t was_set[SCHEMA_MAX_FIELDS / 64];
  purlin_status status;
} gathering;

static void complain(void *to, const char *field, const char *message) {
  (void)purlin_fail_field(to, field, "%s", message);
}

static void gather(void *to, const char *name, const char *value, size_t size) {
  gathering *g = to;
  const purlin_field *field = schema_find(g->schema, name, strlen(name));
  if (field == NULL) {
    complain(g->reading.complain_to, name, "unknown parameter");
    g->status = PURLIN_INVALID;
    return;
  }
  size_t index = schema_field_index(g->schema, field);
  uint64_t bit = UINT64_C(1) << (index % 64);
  bool list = field->type == PURLIN_T_TEXTS || field->type == PURLIN_T_DOUBLES;
  if ((g->was_set[index / 64] & bit) != 0 && !list) {
    complain(g->reading.complain_to, name, "is given twice");
    g->status = PURLIN_INVALID;
    return;
  }
  purlin_status status = schema_set_text(&g->reading, field, g->out, value, size);
  if (status != PURLIN_OK) g->status = status;
  g->was_set[index / 64] |= bit;
}

purlin_status purlin_query_decode(purlin_ctx *ctx, purlin_request *request, const purlin_schema *schema, void *out) {
  gathering g = {
      .reading = {.memory = &ctx->memory, .complain = complain, .complain_to = ctx}, .schema = schema, .out = out};
  memset(out, 0, schema->struct_size);
  http_query_each(ctx, request, gather, &g);
  purlin_status finished = schema_finish(&g.reading, schema, out, g.was_set);
  return g.status != PURLIN_OK ? g.status : finished;
}
