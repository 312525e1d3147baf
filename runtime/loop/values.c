/* values.c: schemas with a context: memory from its arena, complaints to its failure. */
#include "core/schema.h"
#include "loop/context.h"
#include "loop/internal.h"

static void complain(void *to, const char *field, const char *message) {
  (void)purlin_fail_field(to, field, "%s", message);
}

static purlin_status decode(purlin_ctx *ctx, const purlin_schema *schema, const char *json, size_t size, void *out,
                            bool tolerant) {
  schema_reading reading = {.memory = &ctx->memory, .complain = complain, .complain_to = ctx, .tolerant = tolerant};
  purlin_status status = schema_decode(&reading, schema, json, size, out);
  if (status == PURLIN_TOO_LARGE)
    return purlin_fail(ctx, status, "the input needs more memory than one piece of work may use");
  return status;
}

purlin_status purlin_decode(purlin_ctx *ctx, const purlin_schema *schema, const char *json, size_t size, void *out) {
  return decode(ctx, schema, json, size, out, false);
}

purlin_status purlin_decode_stored(purlin_ctx *ctx, const purlin_schema *schema, const char *json, size_t size, void *out) {
  return decode(ctx, schema, json, size, out, true);
}

const char *purlin_list_json(purlin_ctx *ctx, purlin_texts list) {
  buffer *scratch = context_scratch();
  scratch->limit = ctx->memory.limit_bytes;
  buffer_char(scratch, '[');
  for (size_t i = 0; i < list.count; i++) {
    if (i > 0) buffer_char(scratch, ',');
    buffer_json_text(scratch, list.items[i], strlen(list.items[i]));
  }
  buffer_char(scratch, ']');
  const char *text = scratch->failed ? NULL : arena_copy(&ctx->memory, scratch->data, scratch->size);
  if (!text) (void)purlin_fail(ctx, PURLIN_TOO_LARGE, "the list needs more memory than one piece of work may use");
  return text;
}

purlin_status purlin_encode(purlin_ctx *ctx, const purlin_schema *schema, const void *value, purlin_json *out) {
  buffer *scratch = context_scratch(); /* encoding does not park */
  scratch->limit = ctx->memory.limit_bytes;
  schema_encode(schema, value, SCHEMA_PUBLIC, scratch);
  out->text = scratch->failed ? NULL : arena_copy(&ctx->memory, scratch->data, scratch->size);
  out->size = out->text ? scratch->size : 0;
  if (out->text) return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_TOO_LARGE, "the answer needs more memory than one piece of work may use");
}
