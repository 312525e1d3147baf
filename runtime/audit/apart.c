/* apart.c: refusals. They have no transaction to go with, and whoever is refused must not be able to fill the disk by it: they wait in
 * memory of a fixed size for the sequencer's next round, and a node writes at most REFILL_PER_S of them a second, BURST at once. An
 * entry is below 1 KiB, so that is at most 170 MB a day. What is left out is counted, by a metric and by an entry of its own. */
#include "audit/internal.h"
#include "core/text.h"
#include "db/db.h"
#include <pthread.h>
#include <purlin/metric.h>
#include <stdio.h>
#include <string.h>

PURLIN_COUNTER(audit_dropped_total, "Refusals that were left out of the audit log, since there were too many", NULL);

enum { BURST = 500, REFILL_PER_S = 2, DETAIL = 300 };

/* Its own copy of an entry: the request has ended when it is written. */
typedef struct kept {
  purlin_time at;
  char workspace[251], project[251], actor[251], credential[251], address[64], operation[251], object[251], outcome[33],
      trace_id[33], input[DETAIL], input_hash[65];
  int64_t input_bytes;
} kept;

static struct {
  pthread_mutex_t lock;
  kept items[BURST]; /* a ring; all of it at once when it is written */
  size_t count;
  double tokens;
  uint64_t refilled_ns;
  int64_t dropped; /* since the last entry about it */
} apart = {.lock = PTHREAD_MUTEX_INITIALIZER, .tokens = BURST};

static void copy(char *to, size_t room, const char *text) {
  size_t size = text ? strlen(text) : 0;
  if (size >= room) size = 0; /* entries were cut to fit: only a long address, which there is none of */
  if (size > 0) memcpy(to, text, size);
  to[size] = '\0';
}
#define COPY(to, text) copy(to, sizeof(to), text)

static bool take_token(void) {
  uint64_t now_ns = purlin_ticks_ns();
  if (apart.refilled_ns == 0) apart.refilled_ns = now_ns;
  apart.tokens += (double)(now_ns - apart.refilled_ns) / 1e9 * REFILL_PER_S;
  if (apart.tokens > BURST) apart.tokens = BURST;
  apart.refilled_ns = now_ns;
  if (apart.tokens < 1 || apart.count == BURST) return false;
  apart.tokens -= 1;
  return true;
}

void audit_apart(const audit_entry *entry) {
  (void)pthread_mutex_lock(&apart.lock);
  bool taken = take_token();
  if (taken) {
    kept *k = &apart.items[apart.count++];
    k->at = entry->at;
    COPY(k->workspace, entry->workspace);
    COPY(k->project, entry->project);
    COPY(k->actor, entry->actor);
    COPY(k->credential, entry->credential);
    COPY(k->address, entry->address);
    COPY(k->operation, entry->operation);
    COPY(k->object, entry->object);
    COPY(k->outcome, entry->outcome);
    COPY(k->trace_id, entry->trace_id);
    COPY(k->input, entry->input.size < DETAIL ? entry->input.text : NULL);
    COPY(k->input_hash, entry->input_hash);
    k->input_bytes = entry->input_bytes;
  } else apart.dropped++;
  (void)pthread_mutex_unlock(&apart.lock);
  if (!taken) purlin_metric_add(&audit_dropped_total_metric, 1, NULL);
}

/* ---- Writing them, from the sequencer's fiber ------------------------------------------------------------------------------------------ */

typedef struct batch {
  kept *items;
  size_t count;
  int64_t dropped;
} batch;

static const char *or_null(const char *text) { return *text ? text : NULL; }

static purlin_status write_one(purlin_ctx *ctx, const kept *k) {
  audit_entry entry = {.id = purlin_new_id(ctx, "aud"),
                       .at = k->at,
                       .workspace = k->workspace,
                       .project = or_null(k->project),
                       .actor = or_null(k->actor),
                       .credential = or_null(k->credential),
                       .address = or_null(k->address),
                       .operation = k->operation,
                       .object = or_null(k->object),
                       .outcome = k->outcome,
                       .trace_id = or_null(k->trace_id),
                       .input = {or_null(k->input), strlen(k->input)},
                       .input_bytes = k->input_bytes,
                       .input_hash = or_null(k->input_hash)};
  return entry.id ? audit_write(ctx, &entry) : PURLIN_TOO_LARGE;
}

static purlin_status write_dropped(purlin_ctx *ctx, int64_t dropped) {
  const char *detail = purlin_format(ctx, "{\"entries\":%lld}", (long long)dropped);
  if (!detail) return PURLIN_TOO_LARGE;
  return purlin_audit(ctx, &(purlin_audit_entry){.operation = "audit.dropped", .detail = {detail, strlen(detail)}});
}

static purlin_status write_batch(purlin_ctx *ctx, void *argument) {
  const batch *b = argument;
  purlin_status status = PURLIN_OK;
  for (size_t i = 0; i < b->count && status == PURLIN_OK; i++) status = write_one(ctx, &b->items[i]);
  if (status == PURLIN_OK && b->dropped > 0) status = write_dropped(ctx, b->dropped);
  return status;
}

static bool look(purlin_ctx *ctx, batch *b) {
  (void)pthread_mutex_lock(&apart.lock);
  *b = (batch){NULL, apart.count, apart.dropped};
  bool any = b->count > 0 || b->dropped > 0;
  if (b->count > 0) b->items = purlin_alloc_array(ctx, b->count, sizeof *b->items);
  if (b->items) memcpy(b->items, apart.items, b->count * sizeof *b->items);
  (void)pthread_mutex_unlock(&apart.lock);
  return any && (b->items || b->count == 0);
}

/* What was written leaves only now, so that a database that is away loses nothing; more may have come meanwhile. */
static void forget(const batch *b) {
  (void)pthread_mutex_lock(&apart.lock);
  apart.count -= b->count;
  memmove(apart.items, apart.items + b->count, apart.count * sizeof apart.items[0]);
  apart.dropped -= b->dropped;
  (void)pthread_mutex_unlock(&apart.lock);
}

purlin_status audit_write_apart(purlin_ctx *ctx) {
  batch b;
  purlin_mark mark = purlin_arena_mark(ctx);
  if (!look(ctx, &b)) return PURLIN_OK;
  purlin_status status = purlin_transaction(ctx, write_batch, &b);
  if (status == PURLIN_OK) forget(&b);
  purlin_arena_reset(ctx, mark);
  return status;
}
