/* memory.c: the SDK's view of a context's arena. A failure is recorded, so that the caller need not find words for it. */
#include "core/text.h"
#include "loop/context.h"
#include "loop/internal.h"
#include <stdarg.h>
#include <stdio.h>

/* The text is static: there may be no memory left for one. */
static void *no_memory(purlin_ctx *ctx) {
  ctx->failure_status = PURLIN_TOO_LARGE;
  ctx->failure = "this needs more memory than one piece of work may use";
  return NULL;
}

void *purlin_alloc(purlin_ctx *ctx, size_t size) {
  void *memory = arena_alloc(&ctx->memory, size);
  return memory ? memory : no_memory(ctx);
}

void *purlin_alloc_array(purlin_ctx *ctx, size_t count, size_t item_size) {
  size_t size = 0;
  return __builtin_mul_overflow(count, item_size, &size) ? no_memory(ctx) : purlin_alloc(ctx, size);
}

char *purlin_copy_bytes(purlin_ctx *ctx, const char *text, size_t size) {
  char *copy = arena_copy(&ctx->memory, text, size);
  return copy ? copy : no_memory(ctx);
}

char *purlin_copy(purlin_ctx *ctx, const char *text) { return purlin_copy_bytes(ctx, text, strlen(text)); }

char *purlin_format(purlin_ctx *ctx, const char *format, ...) {
  char small[256];
  va_list values;
  va_start(values, format);
  int size = vsnprintf(small, sizeof small, format, values);
  va_end(values);
  if (size < 0) return no_memory(ctx);
  if ((size_t)size < sizeof small) return purlin_copy_bytes(ctx, small, (size_t)size);
  char *text = arena_alloc_raw(&ctx->memory, (size_t)size + 1, 1);
  if (!text) return no_memory(ctx);
  va_start(values, format);
  (void)vsnprintf(text, (size_t)size + 1, format, values);
  va_end(values);
  return text;
}

purlin_mark purlin_arena_mark(purlin_ctx *ctx) { return arena_mark(&ctx->memory); }
void purlin_arena_reset(purlin_ctx *ctx, purlin_mark mark) { arena_reset(&ctx->memory, mark); }

const char *purlin_new_id(purlin_ctx *ctx, const char *prefix) {
  enum { DIGITS = 20 };
  size_t prefix_size = strlen(prefix);
  char *id = arena_alloc_raw(&ctx->memory, prefix_size + 1 + DIGITS + 1, 1);
  if (!id) return no_memory(ctx);
  memcpy(id, prefix, prefix_size);
  id[prefix_size] = '_';
  text_random_id(id + prefix_size + 1, DIGITS);
  return id;
}

#define SCRATCH_KEEP_BYTES ((size_t)256 * 1024)

static _Thread_local buffer scratch;

buffer *context_scratch(void) {
  if (scratch.capacity > SCRATCH_KEEP_BYTES) buffer_free(&scratch);
  buffer_clear(&scratch);
  scratch.limit = 0;
  return &scratch;
}

void context_thread_end(void) { buffer_free(&scratch); }
