#include "receive.h"
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* A byte may become a thousand: what is larger than this may take a millisecond. */
enum { FIRST_ROOM = 64 * 1024, WORTH_A_THREAD = 2 * 1024, GZIP = 16 };

typedef struct inflating {
  const char *from;
  size_t from_size, limit;
  int window;
  uint8_t *to;
  size_t size;
} inflating;

/* Room doubles, up to the limit and a byte: whoever fills that is over it. */
static bool make_room(inflating *work, size_t *room) {
  size_t more = *room ? *room * 2 : FIRST_ROOM;
  if (more > work->limit + 1) more = work->limit + 1;
  uint8_t *to = realloc(work->to, more);
  if (!to) return false;
  work->to = to;
  *room = more;
  return true;
}

static purlin_status run_stream(inflating *work, z_stream *stream) {
  size_t room = 0;
  stream->next_in = (Bytef *)(uintptr_t)work->from;
  stream->avail_in = (uInt)work->from_size;
  for (;;) {
    if (work->size == room && !make_room(work, &room)) return PURLIN_UNAVAILABLE;
    stream->next_out = work->to + work->size;
    stream->avail_out = (uInt)(room - work->size);
    int result = inflate(stream, Z_NO_FLUSH);
    work->size = room - stream->avail_out;
    if (work->size > work->limit) return PURLIN_TOO_LARGE;
    if (result == Z_STREAM_END) {
      /* gzip may be several in a row. */
      if (stream->avail_in == 0) return PURLIN_OK;
      if (work->window < GZIP || inflateReset(stream) != Z_OK) return PURLIN_INVALID;
    } else if (result != Z_OK || (stream->avail_in == 0 && stream->avail_out > 0)) return PURLIN_INVALID;
  }
}

static purlin_status run(void *argument) {
  inflating *work = argument;
  z_stream stream = {0};
  if (inflateInit2(&stream, work->window) != Z_OK) return PURLIN_UNAVAILABLE;
  purlin_status status = run_stream(work, &stream);
  (void)inflateEnd(&stream);
  return status;
}

/* deflate is one with a header of zlib, for most, and one without, for some. */
static purlin_status run_any(void *argument) {
  inflating *work = argument;
  purlin_status status = run(work);
  if (status != PURLIN_INVALID || work->window >= GZIP) return status;
  work->window = -MAX_WBITS;
  work->size = 0;
  free(work->to);
  work->to = NULL;
  return run(work);
}

purlin_status receive_inflate(purlin_ctx *ctx, const char *encoding, size_t limit, const char **body, size_t *size) {
  if (!encoding || !*encoding || strcmp(encoding, "identity") == 0) return PURLIN_OK;
  bool gzip = strcmp(encoding, "gzip") == 0;
  if (!gzip && strcmp(encoding, "deflate") != 0)
    return purlin_fail(ctx, PURLIN_UNSUPPORTED, "a body is compressed by gzip or deflate, not %.60s", encoding);
  inflating work = {.from = *body, .from_size = *size, .limit = limit, .window = gzip ? MAX_WBITS + GZIP : MAX_WBITS};
  purlin_status status = *size < WORTH_A_THREAD ? run_any(&work) : purlin_offload(ctx, PURLIN_POOL_CPU, run_any, &work);
  if (status == PURLIN_OK) {
    *body = purlin_copy_bytes(ctx, (const char *)work.to, work.size);
    *size = work.size;
    if (!*body) status = PURLIN_TOO_LARGE;
  } else if (status == PURLIN_TOO_LARGE) {
    status = purlin_fail(ctx, status, "a body is larger than %zu bytes when it is not compressed", limit);
  } else if (status == PURLIN_INVALID) status = purlin_fail(ctx, status, "the body is not what %s makes", encoding);
  free(work.to);
  return status;
}
