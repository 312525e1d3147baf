/* proof.c: the roots of complete subtrees from the database, where leaves and each eighth level are kept: one of any other level is
 * made of at most 128 of the level below it that is kept. */
#include "audit/internal.h"
#include "core/text.h"
#include <string.h>

enum { KEPT_EVERY = 8 };

static const char LEAVES[] =
    "SELECT leaf AS root FROM audit_entries WHERE leaf_index >= ? AND leaf_index < ? ORDER BY leaf_index";
static const char SUBTREES[] =
    "SELECT root FROM audit_subtrees WHERE level = ? AND number >= ? AND number < ? ORDER BY number";

typedef struct root_row {
  purlin_bytes root;
} root_row;
PURLIN_SCHEMA(root_row, "A hash", PURLIN_REQUIRED(root, "It"));
typedef PURLIN_LIST_OF(root_row) root_rows;

/* Keeps what went wrong: the functions of the tree only know that something did. */
typedef struct reading {
  purlin_ctx *ctx;
  purlin_status status;
} reading;

static bool fold(const root_rows *rows, tree_hash *root) {
  tree_frontier tree = {0};
  for (size_t i = 0; i < rows->count; i++) {
    tree_hash one;
    if (rows->items[i].root.size != sizeof one.bytes) return false;
    memcpy(one.bytes, rows->items[i].root.data, sizeof one.bytes);
    tree_append(&tree, &one, NULL, NULL); /* of a complete subtree it is the same whatever the leaves are */
  }
  *root = tree_root(&tree);
  return true;
}

static bool fetch(void *from, unsigned level, uint64_t number, tree_hash *root) {
  reading *r = from;
  purlin_mark mark = purlin_arena_mark(r->ctx);
  root_rows rows = {0};
  unsigned kept = level / KEPT_EVERY * KEPT_EVERY;
  int64_t begin = (int64_t)(number << (level - kept)), count = INT64_C(1) << (level - kept);
  r->status = kept == 0 ? purlin_db_list(r->ctx, root_row, &rows, LEAVES, begin, begin + count)
                        : purlin_db_list(r->ctx, root_row, &rows, SUBTREES, (int64_t)kept, begin, begin + count);
  if (r->status == PURLIN_OK && ((int64_t)rows.count != count || !fold(&rows, root)))
    r->status = purlin_fail(r->ctx, PURLIN_INTERNAL,
                            "the audit log is damaged: of %lld hashes from %lld of level %u on are %zu there",
                            (long long)count, (long long)begin, kept, rows.count);
  purlin_arena_reset(r->ctx, mark);
  return r->status == PURLIN_OK;
}

purlin_status audit_prove_inclusion(purlin_ctx *ctx, uint64_t index, uint64_t size, tree_hash *path, size_t *count) {
  reading r = {ctx, PURLIN_OK};
  return tree_inclusion(index, size, fetch, &r, path, count) ? PURLIN_OK : r.status;
}

purlin_status audit_prove_consistency(purlin_ctx *ctx, uint64_t before, uint64_t after, tree_hash *path, size_t *count) {
  reading r = {ctx, PURLIN_OK};
  return tree_consistency(before, after, fetch, &r, path, count) ? PURLIN_OK : r.status;
}
