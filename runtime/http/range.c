/* range.c: byte ranges (RFC 9110, 14). One range; several are answered with the whole, as the standard allows. */
#include "http/connection.h"

#include "core/text.h"

#include <stdio.h>

typedef enum range_kind { RANGE_NONE, RANGE_SOME, RANGE_BEYOND } range_kind;

static bool number(const char *text, size_t size, uint64_t *value) {
  return size > 0 && text[0] >= '0' && text[0] <= '9' && text_to_uint(text, size, value);
}

/* "bytes=FIRST-LAST", "bytes=FIRST-" or "bytes=-COUNT"; anything else asks for nothing. */
static range_kind parse(const char *text, uint64_t total, uint64_t *first, uint64_t *length) {
  if (!text_equal_ignoring_case(text, strnlen(text, 6), "bytes=", 6)) return RANGE_NONE;
  text += 6;
  const char *dash = strchr(text, '-');
  if (dash == NULL) return RANGE_NONE;
  size_t before = (size_t)(dash - text), after = strlen(dash + 1);
  uint64_t from = 0, to = 0;
  if (before == 0) { /* the last COUNT bytes */
    if (!number(dash + 1, after, &to)) return RANGE_NONE;
    if (to == 0 || total == 0) return RANGE_BEYOND;
    *length = to < total ? to : total;
    *first = total - *length;
    return RANGE_SOME;
  }
  if (!number(text, before, &from)) return RANGE_NONE;
  if (after == 0) to = UINT64_MAX;
  else if (!number(dash + 1, after, &to) || to < from) return RANGE_NONE;
  if (from >= total) return RANGE_BEYOND;
  if (to >= total) to = total - 1;
  *first = from;
  *length = to - from + 1;
  return RANGE_SOME;
}

/* If-Range with anything but this very entity tag (a weak one and a date are not) asks for the whole. */
static bool range_holds(const purlin_request *request, const char *etag) {
  const char *condition = purlin_header(request, "if-range");
  return condition == NULL || (etag != NULL && etag[0] == '"' && strcmp(condition, etag) == 0);
}

static void set(purlin_ctx *ctx, purlin_request *request, const char *name, const char *value) {
  if (purlin_set_header(ctx, request, name, value) != PURLIN_OK) purlin_log(ctx, PURLIN_WARNING, "%s", purlin_failure(ctx));
}

unsigned purlin_range(purlin_ctx *ctx, purlin_request *request, uint64_t total, const char *etag, uint64_t *first,
                      uint64_t *length) {
  *first = 0;
  *length = total;
  set(ctx, request, "Accept-Ranges", "bytes");
  if (etag != NULL) set(ctx, request, "ETag", etag);
  const char *header = request->head.method == METHOD_GET ? purlin_header(request, "range") : NULL;
  if (header == NULL || !range_holds(request, etag)) return 200;
  range_kind kind = parse(header, total, first, length);
  if (kind == RANGE_NONE) return 200;
  char text[80];
  if (kind == RANGE_BEYOND) {
    *first = *length = 0;
    snprintf(text, sizeof text, "bytes */%llu", (unsigned long long)total);
    set(ctx, request, "Content-Range", text);
    return 416;
  }
  snprintf(text, sizeof text, "bytes %llu-%llu/%llu", (unsigned long long)*first,
           (unsigned long long)(*first + *length - 1), (unsigned long long)total);
  set(ctx, request, "Content-Range", text);
  return 206;
}
