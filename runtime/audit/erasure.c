/* erasure.c: what entries tell of people goes, by age or for one actor; their hashes stay, so every head and proof still holds. What is
 * hashed has a random id in it, which goes too: the rest cannot be guessed from the hash. */
#include "audit/internal.h"
#include "db/db.h"

enum { BATCH = 500 };

#define ERASE                                                                                                              \
  "UPDATE audit_entries SET id = NULL, project = NULL, actor = NULL, credential = NULL, address = NULL, object = NULL,"    \
  " trace_id = NULL, input = NULL, input_bytes = 0, input_hash = NULL, `before` = NULL, `after` = NULL"

/* No condition on `at`, which has no index: what is young ends the look, instead of all that is younger being looked through for more. */
static const char NEXT[] =
    "SELECT position AS number, leaf_index IS NOT NULL AND at < NOW(6) - INTERVAL ? DAY AS old FROM audit_entries"
    " WHERE position > (SELECT forgot FROM audit_state WHERE id = 1) ORDER BY position LIMIT ?";
static const char FORGET[] = ERASE " WHERE position = ?";
static const char ADVANCE[] = "UPDATE audit_state SET forgot = ? WHERE id = 1";
static const char OF_ACTOR[] =
    "SELECT position AS number FROM audit_entries WHERE position > ? AND workspace = ? AND actor = ? ORDER BY position LIMIT ?";

typedef struct position_row {
  int64_t number;
} position_row;
PURLIN_SCHEMA(position_row, "A position", PURLIN_REQUIRED(number, "It"));
typedef PURLIN_LIST_OF(position_row) position_rows;

typedef struct next_row {
  int64_t number;
  bool old;
} next_row;
PURLIN_SCHEMA(next_row, "What comes next", PURLIN_REQUIRED(number, "Its position"), PURLIN_REQUIRED(old, "Whether it is to be forgotten"));

typedef struct forgetting {
  int64_t days;
  size_t count;
} forgetting;

static purlin_status forget_some(purlin_ctx *ctx, void *argument) {
  forgetting *f = argument;
  PURLIN_LIST_OF(next_row) rows = {0};
  position_row old[BATCH];
  f->count = 0;
  purlin_status status = purlin_db_list(ctx, next_row, &rows, NEXT, f->days, BATCH);
  while (f->count < rows.count && rows.items[f->count].old) {
    old[f->count] = (position_row){rows.items[f->count].number};
    f->count++;
  }
  if (status != PURLIN_OK || f->count == 0) return status;
  status = purlin_db_bulk(ctx, position_row, old, f->count, FORGET);
  return status == PURLIN_OK ? purlin_db_run(ctx, ADVANCE, old[f->count - 1].number) : status;
}

purlin_status audit_forget(purlin_ctx *ctx, int64_t days) {
  forgetting f = {.days = days, .count = BATCH};
  purlin_status status = PURLIN_OK;
  while (status == PURLIN_OK && f.count == BATCH) {
    purlin_mark mark = purlin_arena_mark(ctx);
    status = purlin_transaction(ctx, forget_some, &f);
    purlin_arena_reset(ctx, mark);
  }
  return status;
}

static purlin_status number_first(purlin_ctx *ctx, void *argument) {
  (void)argument;
  return audit_sequence(ctx);
}

/* What waits for its number gets it first, so that its hash stays; apart, so that no node waits for numbers while the whole log is read. */
purlin_status audit_erase_actor(purlin_ctx *ctx, const char *actor, int64_t *count) {
  purlin_status status = ctx->transaction_open ? audit_sequence(ctx) : purlin_transaction_apart(ctx, number_first, NULL);
  int64_t last = 0;
  *count = 0;
  for (size_t some = BATCH; status == PURLIN_OK && some == BATCH;) {
    purlin_mark mark = purlin_arena_mark(ctx);
    position_rows rows = {0};
    status = purlin_db_list(ctx, position_row, &rows, OF_ACTOR, last, purlin_workspace(ctx), actor, BATCH);
    if (status == PURLIN_OK) status = purlin_db_bulk(ctx, position_row, rows.items, rows.count, FORGET);
    some = rows.count;
    *count += (int64_t)some;
    if (some > 0) last = rows.items[some - 1].number;
    purlin_arena_reset(ctx, mark);
  }
  return status;
}

/* Of a log that grows there is a head each few seconds. Each proves all that an older one does, so the older they are the fewer stay. */
static const char PRUNE_HEADS[] =
    "DELETE FROM audit_heads WHERE at < NOW(6) - INTERVAL 1 DAY AND size NOT IN (SELECT size FROM ("
    "  SELECT MAX(size) AS size FROM audit_heads"
    "  GROUP BY DATE_FORMAT(at, IF(at >= NOW(6) - INTERVAL 31 DAY, '%Y-%m-%d %H', '%Y-%m-%d'))) AS kept)";

purlin_status audit_prune_heads(purlin_ctx *ctx) { return purlin_db_run(ctx, PRUNE_HEADS); }
