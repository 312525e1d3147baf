/* buffer.h: a byte string that grows, with its own malloc'd memory, for what outlives or has no arena.
 *
 * Errors stick: after a failed append (no memory, over the limit) `failed` is true, appends do nothing, and the caller
 * asks once at the end. All zero bytes are an empty buffer without a limit. */
#ifndef PURLIN_CORE_BUFFER_H
#define PURLIN_CORE_BUFFER_H

#include <purlin/base.h>
#include <stdarg.h>
#include <string.h>

typedef struct buffer {
  char *data; /* NULL until the first append; not NUL-terminated unless buffer_end() was asked */
  size_t size;
  size_t capacity; /* at most `limit`; the memory has one byte more, for a NUL */
  size_t limit;    /* 0: none */
  bool failed;
} buffer;

void buffer_free(buffer *b);               /* frees the memory and zeroes the struct */
void buffer_clear(buffer *b);              /* size 0, memory kept, `failed` forgotten */
bool buffer_grow(buffer *b, size_t extra); /* what buffer_reserve does when there is no room yet */

/* Room for `extra` more bytes; false sets failed. */
static inline bool buffer_reserve(buffer *b, size_t extra) {
  if (extra <= b->capacity - b->size && !b->failed) return true;
  return buffer_grow(b, extra);
}

static inline void buffer_add(buffer *b, const void *data, size_t size) {
  if (size == 0 || !buffer_reserve(b, size)) return;
  memcpy(b->data + b->size, data, size);
  b->size += size;
}

static inline void buffer_char(buffer *b, char c) {
  if (!buffer_reserve(b, 1)) return;
  b->data[b->size++] = c;
}

static inline void buffer_text(buffer *b, const char *text) { buffer_add(b, text, strlen(text)); }

void buffer_int(buffer *b, int64_t value);
void buffer_uint(buffer *b, uint64_t value);
void buffer_double(buffer *b, double value); /* shortest text that reads back the same; "null" for NaN and infinities */
/* Quoted and escaped; what is not UTF-8 becomes U+FFFD, so that the result is always JSON. */
void buffer_json_text(buffer *b, const char *text, size_t size);
PURLIN_PRINTF(2, 3) void buffer_format(buffer *b, const char *format, ...);
void buffer_consume(buffer *b, size_t size); /* drops bytes from the front */
const char *buffer_end(buffer *b);           /* adds a NUL behind the bytes (not counted) and returns data; "" when empty */

#endif
