/* internal.h: what the files of audit/ share. */
#ifndef PURLIN_AUDIT_INTERNAL_H
#define PURLIN_AUDIT_INTERNAL_H

#include "audit/audit.h"
#include "audit/tree.h"
#include "core/schema.h"

/* apart.c: takes an entry whose texts are borrowed; from any loop, without parking. Counts it when the bound is reached. */
void audit_apart(const audit_entry *entry);
/* Writes what was taken. May park. */
PURLIN_CHECKED purlin_status audit_write_apart(purlin_ctx *ctx);

/* sequencer.c: numbers what has been committed, in the caller's transaction or in its own. May park. */
PURLIN_CHECKED purlin_status audit_sequence(purlin_ctx *ctx);

/* proof.c. May park. PURLIN_INTERNAL, recorded, when hashes are missing. `path` has room for TREE_MOST_PATH. */
PURLIN_CHECKED purlin_status audit_prove_inclusion(purlin_ctx *ctx, uint64_t index, uint64_t size, tree_hash *path,
                                                   size_t *count);
PURLIN_CHECKED purlin_status audit_prove_consistency(purlin_ctx *ctx, uint64_t before, uint64_t after, tree_hash *path,
                                                     size_t *count);

/* erasure.c: the content of entries that are older goes; their hashes stay. May park. */
PURLIN_CHECKED purlin_status audit_forget(purlin_ctx *ctx, int64_t days);
/* The same for an actor's entries in the caller's workspace, in the caller's transaction. May park. */
PURLIN_CHECKED purlin_status audit_erase_actor(purlin_ctx *ctx, const char *actor, int64_t *count);
/* Signed heads in the database: all of the last day stay, the last one of each hour of 31 days, the last one of each day. May park. */
PURLIN_CHECKED purlin_status audit_prune_heads(purlin_ctx *ctx);

#endif
