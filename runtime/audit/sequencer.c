/* sequencer.c: one fiber on loop 0 of each node. A round numbers what has been committed, in a transaction that holds the row of
 * audit_state, so that one node at a time does it; entries of transactions that are still open are skipped and come later. No commit
 * wakes it: one transaction a second costs changes nothing, one for each would double what they cost. */
#include "audit/head.h"
#include "audit/internal.h"
#include "audit/waiting.h"
#include "core/text.h"
#include "db/db.h"
#include "observe/log.h"
#include <purlin/metric.h>
#include <stdlib.h>
#include <string.h>

PURLIN_COUNTER(audit_alarms_total, "Heads of the audit log that do not continue what this node has kept: somebody changed the past", NULL);

enum { BATCH = 1000, KEPT_EVERY = 8, MOST_SUBTREES = BATCH, FORGET_EVERY_MS = 600000, AFTER_ERROR_MS = 2000 };

static const char PENDING[] =
    "SELECT EXISTS(SELECT 1 FROM audit_waiting) OR EXISTS(SELECT 1 FROM audit_entries WHERE leaf_index IS NULL)"
    " OR (SELECT size FROM audit_state WHERE id = 1) > IFNULL((SELECT MAX(size) FROM audit_heads), 0) AS number";
static const char LOCK[] = "SELECT origin, size, peaks FROM audit_state WHERE id = 1 FOR UPDATE";
static const char TAKE[] = "SELECT position, leaf FROM audit_entries WHERE leaf_index IS NULL ORDER BY position LIMIT ?"
                           " FOR UPDATE SKIP LOCKED";
static const char MOVE[] =
    "INSERT INTO audit_entries (position, leaf_index, leaf, id, at, workspace, project, actor, credential, address, operation,"
    " object, outcome, trace_id, input, input_bytes, input_hash, `before`, `after`)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
static const char NUMBER[] = "UPDATE audit_entries SET leaf_index = ? WHERE position = ?";
static const char KEEP_SUBTREE[] = "INSERT INTO audit_subtrees (level, number, root) VALUES (?, ?, ?)";
static const char ADVANCE[] = "UPDATE audit_state SET size = ?, peaks = ? WHERE id = 1";
static const char NEWEST[] =
    "SELECT s.origin, h.size, h.root, h.at, h.signer, h.signature FROM audit_heads h, audit_state s WHERE s.id = 1"
    " ORDER BY h.size DESC LIMIT 1";
static const char KEEP_HEAD[] =
    "INSERT INTO audit_heads (size, root, at, signer, signature, public_key) VALUES (?, ?, ?, ?, ?, ?)";

typedef struct pending_row {
  int64_t number;
} pending_row;
PURLIN_SCHEMA(pending_row, "A number", PURLIN_REQUIRED(number, "It"));

typedef struct state_row {
  const char *origin;
  int64_t size;
  purlin_bytes peaks;
} state_row;
PURLIN_SCHEMA(state_row, "The tree as it is",
    PURLIN_REQUIRED(origin, "Which log"),
    PURLIN_REQUIRED(size, "Leaves"),
    PURLIN_REQUIRED(peaks, "Roots of its complete subtrees"));

typedef struct taken_row {
  int64_t position;
  purlin_bytes leaf;
} taken_row;
PURLIN_SCHEMA(taken_row, "An entry without a number",
    PURLIN_REQUIRED(position, "Position"),
    PURLIN_REQUIRED(leaf, "Its hash"));
typedef PURLIN_LIST_OF(taken_row) taken_rows;

typedef struct numbered_row {
  int64_t leaf_index, position;
} numbered_row;
PURLIN_SCHEMA(numbered_row, "A number for an entry",
    PURLIN_REQUIRED(leaf_index, "Its number"),
    PURLIN_REQUIRED(position, "Position"));

typedef struct moved_row {
  int64_t position, leaf_index;
  purlin_bytes leaf;
  const char *id;
  purlin_time at;
  const char *workspace, *project, *actor, *credential, *address, *operation, *object, *outcome, *trace_id;
  purlin_json input;
  int64_t input_bytes;
  const char *input_hash;
  purlin_json before, after;
} moved_row;
PURLIN_SCHEMA(moved_row, "An entry with its number: the columns of MOVE",
    PURLIN_REQUIRED(position, "Position"),
    PURLIN_REQUIRED(leaf_index, "Its number"),
    PURLIN_REQUIRED(leaf, "Its hash"),
    PURLIN_OPTIONAL(id, "Id"),
    PURLIN_OPTIONAL(at, "When"),
    PURLIN_OPTIONAL(workspace, "Workspace"),
    PURLIN_OPTIONAL(project, "Project"),
    PURLIN_OPTIONAL(actor, "Actor"),
    PURLIN_OPTIONAL(credential, "Credential"),
    PURLIN_OPTIONAL(address, "Address"),
    PURLIN_OPTIONAL(operation, "Operation"),
    PURLIN_OPTIONAL(object, "Object"),
    PURLIN_OPTIONAL(outcome, "Outcome"),
    PURLIN_OPTIONAL(trace_id, "Trace"),
    PURLIN_OPTIONAL(input, "Input"),
    PURLIN_REQUIRED(input_bytes, "Its size"),
    PURLIN_OPTIONAL(input_hash, "Its hash"),
    PURLIN_OPTIONAL(before, "Before"),
    PURLIN_OPTIONAL(after, "After"));

typedef struct subtree_row {
  int64_t level, number;
  purlin_bytes root;
} subtree_row;
PURLIN_SCHEMA(subtree_row, "The root of a complete subtree",
    PURLIN_REQUIRED(level, "Level"),
    PURLIN_REQUIRED(number, "Number"),
    PURLIN_REQUIRED(root, "Root"));

static audit_options options;

/* ---- One round ------------------------------------------------------------------------------------------------------------------------ */

typedef struct round {
  bool signs, force_head;
  bool new_positions; /* those that the entries have waited with are taken: an older version has written beside us */
  size_t moved;
  state_row state;
  tree_frontier tree;
  purlin_ctx *ctx;
  subtree_row subtrees[8]; /* a batch completes at most 4 of level 8 and one of each above */
  tree_hash roots[8];
  size_t subtree_count;
} round;

static bool read_tree(round *r) {
  size_t count = tree_peaks((uint64_t)r->state.size);
  r->tree = (tree_frontier){.size = (uint64_t)r->state.size};
  if (r->state.size < 0 || r->state.peaks.size != count * sizeof r->tree.peaks[0]) return false;
  if (count > 0) memcpy(r->tree.peaks, r->state.peaks.data, r->state.peaks.size);
  return true;
}

static void note_subtree(void *to, unsigned level, uint64_t number, const tree_hash *root) {
  round *r = to;
  if (level == 0 || level % KEPT_EVERY != 0 || r->subtree_count == sizeof r->subtrees / sizeof r->subtrees[0]) return;
  size_t at = r->subtree_count++;
  r->roots[at] = *root;
  r->subtrees[at] = (subtree_row){level, (int64_t)number, {r->roots[at].bytes, sizeof r->roots[at].bytes}};
}

static purlin_status keep_tree(round *r) {
  purlin_ctx *ctx = r->ctx;
  purlin_status status = purlin_db_bulk(ctx, subtree_row, r->subtrees, r->subtree_count, KEEP_SUBTREE);
  const purlin_bytes peaks = {r->tree.peaks, tree_peaks(r->tree.size) * sizeof r->tree.peaks[0]};
  return status == PURLIN_OK ? purlin_db_run(ctx, ADVANCE, (int64_t)r->tree.size, peaks) : status;
}

static void move_one(round *r, const waiting_entry *from, tree_hash *leaf, moved_row *to) {
  const audit_entry *e = &from->entry;
  audit_leaf(e, leaf->bytes);
  *to = (moved_row){r->new_positions ? 0 : from->position,
                    (int64_t)r->tree.size,
                    {leaf->bytes, sizeof leaf->bytes},
                    e->id,
                    e->at,
                    e->workspace,
                    e->project,
                    e->actor,
                    e->credential,
                    e->address,
                    e->operation,
                    e->object,
                    e->outcome,
                    e->trace_id,
                    e->input,
                    e->input_bytes,
                    e->input_hash,
                    e->before,
                    e->after};
  tree_append(&r->tree, leaf, note_subtree, r);
}

static purlin_status move_all(round *r, const waiting_list *waiting) {
  purlin_ctx *ctx = r->ctx;
  moved_row *rows = purlin_alloc_array(ctx, waiting->count, sizeof *rows);
  tree_hash *leaves = purlin_alloc_array(ctx, waiting->count, sizeof *leaves);
  if (!rows || !leaves) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < waiting->count; i++) move_one(r, &waiting->items[i], &leaves[i], &rows[i]);
  purlin_status status = purlin_db_bulk(ctx, moved_row, rows, waiting->count, MOVE);
  return status == PURLIN_OK ? waiting_remove(ctx, waiting) : status;
}

static purlin_status number_all(round *r, const taken_rows *taken) {
  purlin_ctx *ctx = r->ctx;
  numbered_row *rows = purlin_alloc_array(ctx, taken->count, sizeof *rows);
  if (!rows) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < taken->count; i++) {
    tree_hash leaf;
    if (taken->items[i].leaf.size != sizeof leaf.bytes) return purlin_fail(ctx, PURLIN_INTERNAL, "a leaf of another size");
    memcpy(leaf.bytes, taken->items[i].leaf.data, sizeof leaf.bytes);
    rows[i] = (numbered_row){(int64_t)r->tree.size, taken->items[i].position};
    tree_append(&r->tree, &leaf, note_subtree, r);
  }
  return purlin_db_bulk(ctx, numbered_row, rows, taken->count, NUMBER);
}

/* At most BATCH. Whoever holds the tree's row is the only one to take entries away, so they need no locks of their own; what commits in
 * the meantime comes in the next round. */
static purlin_status number_some(round *r) {
  taken_rows taken = {0};
  waiting_list waiting = {0};
  purlin_status status = purlin_db_list(r->ctx, taken_row, &taken, TAKE, BATCH);
  if (status == PURLIN_OK && taken.count > 0) status = number_all(r, &taken);
  if (status == PURLIN_OK) status = waiting_next(r->ctx, (int64_t)(BATCH - taken.count), &waiting);
  if (status == PURLIN_OK && waiting.count > 0) status = move_all(r, &waiting);
  r->moved = taken.count + waiting.count;
  return status == PURLIN_OK && r->moved > 0 ? keep_tree(r) : status;
}

static bool is_due(const round *r, purlin_status found, const audit_head *newest) {
  if (r->tree.size == 0) return false;
  if (found == PURLIN_NOT_FOUND) return true;
  if (newest->size >= (int64_t)r->tree.size) return false;
  return r->force_head || purlin_now_us() - newest->at.unix_us >= (int64_t)options.head_ms * 1000;
}

static purlin_status sign_when_due(round *r) {
  purlin_ctx *ctx = r->ctx;
  audit_head newest;
  purlin_status status = purlin_db_row(ctx, audit_head, &newest, NEWEST);
  if (status != PURLIN_OK && status != PURLIN_NOT_FOUND) return status;
  if (!is_due(r, status, &newest)) return PURLIN_OK;
  char digits[65];
  tree_hash root = tree_root(&r->tree);
  text_hex(root.bytes, sizeof root.bytes, digits);
  audit_head head = {.origin = r->state.origin, .size = (int64_t)r->tree.size, .root = digits, .at = {purlin_now_us()}};
  if (!head_sign(&head, &ctx->memory)) return purlin_fail(ctx, PURLIN_INTERNAL, "the audit log's head cannot be signed");
  return purlin_db_run(ctx, KEEP_HEAD, head.size, head.root, head.at, head.signer, head.signature, head_key_pem());
}

static purlin_status run_round(purlin_ctx *ctx, void *argument) {
  round *r = argument;
  *r = (round){.signs = r->signs, .force_head = r->force_head, .new_positions = r->new_positions, .ctx = ctx};
  purlin_status status = purlin_db_row(ctx, state_row, &r->state, LOCK);
  if (status == PURLIN_OK && !read_tree(r))
    status = purlin_fail(ctx, PURLIN_INTERNAL, "the audit log is damaged: its state does not fit its size");
  if (status == PURLIN_OK) status = number_some(r);
  return status == PURLIN_OK && r->signs && r->moved < BATCH ? sign_when_due(r) : status;
}

static purlin_status run_rounds(purlin_ctx *ctx, bool signs, bool force_head) {
  purlin_status status = PURLIN_OK;
  bool new_positions = false;
  for (size_t moved = BATCH; status == PURLIN_OK && moved == BATCH;) {
    round r = {.signs = signs, .force_head = force_head, .new_positions = new_positions};
    purlin_mark mark = purlin_arena_mark(ctx);
    status = purlin_transaction(ctx, run_round, &r);
    purlin_arena_reset(ctx, mark);
    moved = r.moved;
    if (status != PURLIN_CONFLICT || new_positions || db_in_transaction(ctx)) continue;
    purlin_clear_failure(ctx);
    status = PURLIN_OK;
    new_positions = true;
    moved = BATCH;
  }
  return status;
}

purlin_status audit_sequence(purlin_ctx *ctx) { return run_rounds(ctx, false, false); }

/* ---- What this node keeps outside of the database ------------------------------------------------------------------------------------------ */

/* The last head in STATE/audit.heads. */
static struct {
  int64_t size; /* 0: none */
  tree_hash root;
} kept;

static purlin_status alarm_about(purlin_ctx *ctx, const audit_head *newest, const char *what) {
  purlin_metric_add(&audit_alarms_total_metric, 1, NULL);
  return purlin_fail(ctx, PURLIN_INTERNAL,
                     "the audit log was tampered with: its head of %lld entries %s the %lld of %s/audit.heads",
                     (long long)newest->size, what, (long long)kept.size, options.state);
}

static purlin_status check_head(purlin_ctx *ctx, const audit_head *newest, const tree_hash *root) {
  tree_hash path[TREE_MOST_PATH];
  size_t count = 0;
  if (kept.size == 0) return PURLIN_OK;
  if (newest->size < kept.size) return alarm_about(ctx, newest, "is shorter than");
  purlin_status status = audit_prove_consistency(ctx, (uint64_t)kept.size, (uint64_t)newest->size, path, &count);
  if (status == PURLIN_INTERNAL) purlin_metric_add(&audit_alarms_total_metric, 1, NULL);
  if (status != PURLIN_OK) return status;
  if (!tree_extends((uint64_t)kept.size, &kept.root, (uint64_t)newest->size, root, path, count))
    return alarm_about(ctx, newest, "does not continue");
  return PURLIN_OK;
}

static purlin_status write_line(void *argument) {
  const buffer *line = argument;
  return head_keep(options.state, line->data, line->size) ? PURLIN_OK : PURLIN_UNAVAILABLE;
}

static purlin_status keep_newest(purlin_ctx *ctx) {
  audit_head newest;
  tree_hash root;
  purlin_status status = purlin_db_row(ctx, audit_head, &newest, NEWEST);
  if (status == PURLIN_NOT_FOUND) return PURLIN_OK;
  if (status != PURLIN_OK) return status;
  if (!head_root(&newest, &root)) return purlin_fail(ctx, PURLIN_INTERNAL, "the audit log's newest head is none");
  if (newest.size == kept.size && tree_equal(&root, &kept.root)) return PURLIN_OK;
  status = check_head(ctx, &newest, &root);
  if (status != PURLIN_OK) return status;
  buffer line = {0};
  schema_encode(audit_head_schema(), &newest, SCHEMA_PUBLIC, &line);
  status = purlin_offload(ctx, PURLIN_POOL_BLOCKING, write_line, &line);
  buffer_free(&line);
  if (status != PURLIN_OK) return purlin_fail(ctx, status, "%s/audit.heads cannot be written", options.state);
  kept.size = newest.size;
  kept.root = root;
  return PURLIN_OK;
}

/* ---- The fiber -------------------------------------------------------------------------------------------------------------------------------- */

static struct {
  bool running, stopping, asleep;
  fiber *who;
  loop_timer timer;
  uint64_t forgot_ms;
  void (*done)(void *argument);
  void *argument;
} sequencer;

static purlin_status number_what_waits(purlin_ctx *ctx) {
  pending_row pending;
  purlin_status status = purlin_db_row(ctx, pending_row, &pending, PENDING);
  return status == PURLIN_OK && pending.number != 0 ? run_rounds(ctx, true, sequencer.stopping) : status;
}

static purlin_status forget_when_due(purlin_ctx *ctx) {
  uint64_t now_ms = loop_now_ms(ctx->loop);
  if (sequencer.forgot_ms != 0 && now_ms - sequencer.forgot_ms < FORGET_EVERY_MS) return PURLIN_OK;
  purlin_status status = audit_prune_heads(ctx);
  if (status == PURLIN_OK && options.retention_days > 0) status = audit_forget(ctx, options.retention_days);
  if (status == PURLIN_OK) sequencer.forgot_ms = now_ms;
  return status;
}

static purlin_status do_round(purlin_ctx *ctx) {
  purlin_mark mark = purlin_arena_mark(ctx);
  purlin_status status = audit_write_apart(ctx);
  if (status == PURLIN_OK) status = number_what_waits(ctx);
  if (status == PURLIN_OK) status = keep_newest(ctx);
  if (status == PURLIN_OK) status = forget_when_due(ctx);
  if (status != PURLIN_OK && status != PURLIN_UNAVAILABLE) log_write(PURLIN_ERROR, "audit", "%s", purlin_failure(ctx));
  purlin_clear_failure(ctx);
  purlin_arena_reset(ctx, mark);
  return status;
}

static void wake(loop_timer *timer) {
  (void)timer;
  sequencer.asleep = false;
  fiber_wake(sequencer.who);
}

static void rest(uint32_t ms) {
  sequencer.who = fiber_current();
  sequencer.asleep = true;
  loop_timer_start(loop_at(0), &sequencer.timer, ms, wake);
  fiber_park();
}

static void run(purlin_ctx *ctx, void *argument) {
  (void)argument;
  db_use_reserve(ctx);
  while (!sequencer.stopping) {
    purlin_status status = do_round(ctx);
    if (!sequencer.stopping) rest(status == PURLIN_OK ? options.round_ms : AFTER_ERROR_MS);
  }
  (void)do_round(ctx); /* what the last requests wrote is under a head, too */
  sequencer.running = false;
  if (sequencer.done) sequencer.done(sequencer.argument);
}

void audit_options_default(audit_options *o) { *o = (audit_options){.state = ".", .head_ms = 5000, .round_ms = 1000}; }

purlin_status audit_start(purlin_ctx *ctx, const audit_options *given, buffer *why) {
  audit_head last;
  options = *given;
  if (!head_key_open(options.state, why)) return PURLIN_UNAVAILABLE;
  kept.size = 0;
  if (head_last_kept(options.state, &ctx->memory, &last) && head_root(&last, &kept.root)) kept.size = last.size;
  sequencer.stopping = false;
  sequencer.done = NULL;
  sequencer.forgot_ms = 0;
  sequencer.running = true;
  purlin_status status = context_start("purlin", "audit.sequence", run, NULL);
  if (status != PURLIN_OK) sequencer.running = false;
  return status;
}

void audit_drain(void (*done)(void *argument), void *argument) {
  if (!sequencer.running) {
    done(argument);
    return;
  }
  sequencer.done = done;
  sequencer.argument = argument;
  sequencer.stopping = true;
  if (!sequencer.asleep) return;
  loop_timer_stop(&sequencer.timer);
  wake(NULL);
}
