#include "storage.h"
#include <stdio.h>
#include <string.h>

enum { MOST_TOLD = 1000, LONGEST_CALL_S = 10 };

typedef struct unused_in {
  const char *after;
} unused_in;
PURLIN_SCHEMA(unused_in, "Where to go on",
    PURLIN_DEFAULT(after, "\"\"", "What came as `next` with the call before", .pattern = "[0-9a-f]{64}|", .max_length = 64));

typedef struct unused_out {
  int64_t count, bytes, due, due_bytes;
  bool collected;
  unused_blobs blobs;
  const char *next;
} unused_out;
PURLIN_SCHEMA(unused_out, "Blobs that nothing names",
    PURLIN_REQUIRED(count, "How many"),
    PURLIN_REQUIRED(bytes, "Their bytes"),
    PURLIN_REQUIRED(due, "So many of them go with the next search"),
    PURLIN_REQUIRED(due_bytes, "The bytes of those"),
    PURLIN_REQUIRED(collected, "The server searches by itself; otherwise they stay until somebody lets them go"),
    PURLIN_LIST(blobs, unused_blob, "Which"),
    PURLIN_REQUIRED(next, "Go on after this one; empty: that was all"));

/* Adds them to what is told already. */
static purlin_status tell(purlin_ctx *ctx, const unused_blobs *found, unused_out *out) {
  unused_blob *items = purlin_alloc_array(ctx, out->blobs.count + found->count, sizeof *items);
  if (!items) return PURLIN_TOO_LARGE;
  if (out->blobs.count > 0) memcpy(items, out->blobs.items, out->blobs.count * sizeof *items);
  for (size_t i = 0; i < found->count; i++) {
    const unused_blob *one = &found->items[i];
    items[out->blobs.count++] = *one;
    out->count++;
    out->bytes += one->size;
    out->due += one->due;
    out->due_bytes += one->due ? one->size : 0;
  }
  out->blobs.items = items;
  return PURLIN_OK;
}

PURLIN_OPERATION(unused, unused_in, unused_out,
    .summary = "Stored bytes of your workspace that nothing names, and when they go", .permission = "server:read",
    .http = "GET /api/v1/storage/unused", .timeout_ms = 60000) {
  const storage_configuration *configured = purlin_configuration(ctx);
  storage_search s = {0};
  uint64_t end = purlin_ticks_ns() + (uint64_t)LONGEST_CALL_S * 1000000000;
  (void)snprintf(s.after, sizeof s.after, "%s", in->after);
  purlin_status status = search_begin(ctx, &s);
  s.grace_s = 0;
  while (status == PURLIN_OK && !s.over && out->count < MOST_TOLD && purlin_ticks_ns() < end) {
    unused_blobs found = {0};
    status = search_next(ctx, &s, &found);
    if (status == PURLIN_OK && found.count > 0) status = tell(ctx, &found, out);
    if (status == PURLIN_OK) status = purlin_yield(ctx);
  }
  if (status != PURLIN_OK) return status;
  out->collected = configured->collect_every_s > 0;
  out->next = s.over ? "" : purlin_copy(ctx, s.after);
  return out->next ? PURLIN_OK : PURLIN_TOO_LARGE;
}
