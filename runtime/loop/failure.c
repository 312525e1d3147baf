/* failure.c: recording what went wrong. The texts live in an arena of their own: an operation that fails after a mark is
 * reset together with everything it made, and its message must outlive that. */
#include "loop/context.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAX_TEXT 2048u      /* of a failure, NUL included; longer ones are cut */
#define MAX_FIELD_TEXT 512u /* of a message about a field */
#define MAX_FIELD_NAME 256u

static const char *const texts[PURLIN_STATUS_COUNT] = {
    [PURLIN_OK] = "ok",
    [PURLIN_INVALID] = "invalid input",
    [PURLIN_UNAUTHENTICATED] = "not authenticated",
    [PURLIN_FORBIDDEN] = "not permitted",
    [PURLIN_NOT_FOUND] = "not found",
    [PURLIN_NOT_ALLOWED] = "method not allowed",
    [PURLIN_CONFLICT] = "conflict",
    [PURLIN_PRECONDITION] = "precondition failed",
    [PURLIN_TOO_LARGE] = "too large",
    [PURLIN_UNSUPPORTED] = "unsupported",
    [PURLIN_RANGE] = "range not satisfiable",
    [PURLIN_TOO_MANY] = "too many requests",
    [PURLIN_CANCELLED] = "cancelled",
    [PURLIN_INTERNAL] = "internal error",
    [PURLIN_NOT_IMPLEMENTED] = "not implemented",
    [PURLIN_BAD_UPSTREAM] = "bad answer from another service",
    [PURLIN_UNAVAILABLE] = "unavailable",
    [PURLIN_TIMEOUT] = "deadline passed",
    [PURLIN_NO_SPACE] = "no space left",
};

const char *purlin_status_text(purlin_status status) {
  unsigned index = (unsigned)status;
  return index < PURLIN_STATUS_COUNT ? texts[index] : "unknown status";
}

/* Where to cut a UTF-8 text of `size` bytes whose end may lie inside a character. */
static size_t whole_characters(const char *text, size_t size) {
  size_t start = size;
  while (start > 0 && size - start < 4 && ((unsigned char)text[start - 1] & 0xc0) == 0x80) start--;
  if (start == 0) return size;
  unsigned char lead = (unsigned char)text[start - 1];
  size_t needs = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
  return size - (start - 1) < needs ? start - 1 : size;
}

/* Formats into `out` and returns the length. */
PURLIN_PRINTF(3, 0)
static size_t compose(char *out, size_t capacity, const char *format, va_list values) {
  int length = vsnprintf(out, capacity, format, values);
  if (length < 0) return 0;
  if ((size_t)length < capacity) return (size_t)length;
  return whole_characters(out, capacity - 1);
}

static const char *keep(purlin_ctx *ctx, const char *text, size_t size, const char *otherwise) {
  const char *copy = arena_copy(&ctx->failure_memory, text, size);
  return copy ? copy : otherwise;
}

static void forget_fields(purlin_ctx *ctx) {
  ctx->field_count = 0;
  ctx->field_total = 0;
}

purlin_status(purlin_fail)(purlin_ctx *ctx, purlin_status status, const char *format, ...) {
  char text[MAX_TEXT]; /* first here: the old text may be one of the values */
  va_list values;
  va_start(values, format);
  size_t size = compose(text, sizeof text, format, values);
  va_end(values);
  if (status != PURLIN_INVALID) forget_fields(ctx);
  if (ctx->field_count == 0) arena_free(&ctx->failure_memory);
  ctx->failure_status = status;
  ctx->failure_is_told = false;
  ctx->failure = keep(ctx, text, size, purlin_status_text(status));
  return status;
}

purlin_status(purlin_fail_field)(purlin_ctx *ctx, const char *field, const char *format, ...) {
  char text[MAX_FIELD_TEXT];
  va_list values;
  va_start(values, format);
  size_t size = compose(text, sizeof text, format, values);
  va_end(values);
  if (!ctx->failure || ctx->failure_status != PURLIN_INVALID) {
    ctx->failure_status = PURLIN_INVALID;
    ctx->failure_is_told = false;
    ctx->failure = "the input is not valid";
  }
  ctx->field_total++;
  if (ctx->field_count == CONTEXT_MAX_FIELD_ERRORS) return PURLIN_INVALID;
  size_t name_size = strnlen(field, MAX_FIELD_NAME + 1);
  if (name_size > MAX_FIELD_NAME) name_size = whole_characters(field, MAX_FIELD_NAME);
  context_field_error *error = &ctx->fields[ctx->field_count++];
  error->field = keep(ctx, field, name_size, "");
  error->message = keep(ctx, text, size, "is not valid");
  return PURLIN_INVALID;
}

void context_tell_failure(purlin_ctx *ctx) { ctx->failure_is_told = true; }

void purlin_retry_after(purlin_ctx *ctx, uint32_t seconds) { ctx->retry_after_s = seconds; }
const char *purlin_failure(const purlin_ctx *ctx) { return ctx->failure ? ctx->failure : ""; }

/* The texts stay in memory until the next failure, so that a borrowed one may still be read. */
void purlin_clear_failure(purlin_ctx *ctx) {
  ctx->failure_status = PURLIN_OK;
  ctx->failure_is_told = false;
  ctx->failure = NULL;
  ctx->retry_after_s = 0;
  forget_fields(ctx);
}
