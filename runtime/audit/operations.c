#include "audit/internal.h"
#include "audit/rows.h"
#include "audit/waiting.h"
#include "core/text.h"
#include <purlin/operation.h>
#include <string.h>

/* ---- What happened ---------------------------------------------------------------------------------------------------------------- */

static const char SELECT_PAGE[] =
    "SELECT position, leaf_index AS sequence, " AUDIT_COLUMNS " FROM audit_entries WHERE workspace = ? AND position < ?"
    " AND (? = '' OR actor = ?) AND LEFT(operation, CHAR_LENGTH(?)) = ? AND (? = '' OR object = ?) AND (? = '' OR outcome = ?)"
    " AND (? = '' OR project = ?) AND at >= IFNULL(?, '1000-01-01') AND at < IFNULL(?, '9999-12-31')"
    " ORDER BY position DESC LIMIT ?";

typedef audit_filter list_in;
PURLIN_SCHEMA(list_in, "Which entries",
    PURLIN_DEFAULT(actor, "\"\"", "By this actor", .max_length = 250),
    PURLIN_DEFAULT(operation, "\"\"", "Whose operation begins with this", .max_length = 250),
    PURLIN_DEFAULT(object, "\"\"", "About this object", .max_length = 250),
    PURLIN_DEFAULT(outcome, "\"\"", "With this outcome: done, refused, unauthenticated, forbidden", .max_length = 32),
    PURLIN_DEFAULT(project, "\"\"", "In this project", .max_length = 64),
    PURLIN_OPTIONAL(since, "Not before"),
    PURLIN_OPTIONAL(until, "Before"),
    PURLIN_DEFAULT(before, "9000000000000000", "Written before this position: the last one of the page before", .min = 0, .max = 9e15),
    PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = 1000));

typedef struct entry_page {
  PURLIN_LIST_OF(audit_row) entries;
} entry_page;
PURLIN_SCHEMA(entry_page, "Entries, newest first", PURLIN_LIST(entries, audit_row, "The entries"));

static audit_row row_of(const waiting_entry *from) {
  const audit_entry *e = &from->entry;
  return (audit_row){.position = from->position,
                     .id = e->id,
                     .at = e->at,
                     .workspace = e->workspace,
                     .project = e->project,
                     .actor = e->actor,
                     .credential = e->credential,
                     .address = e->address,
                     .operation = e->operation,
                     .object = e->object,
                     .outcome = e->outcome,
                     .trace_id = e->trace_id,
                     .input = e->input,
                     .input_bytes = e->input_bytes,
                     .input_hash = e->input_hash,
                     .before = e->before,
                     .after = e->after};
}

/* Both are sorted, the newest first; an entry that got its number in between is in both. */
static purlin_status merge(purlin_ctx *ctx, const waiting_list *waiting, size_t most, entry_page *page) {
  audit_row *rows = purlin_alloc_array(ctx, waiting->count + page->entries.count, sizeof *rows);
  if (!rows) return PURLIN_TOO_LARGE;
  size_t count = 0, w = 0, n = 0;
  while (count < most && (w < waiting->count || n < page->entries.count)) {
    int64_t waits = w < waiting->count ? waiting->items[w].position : -1;
    int64_t numbered = n < page->entries.count ? page->entries.items[n].position : -1;
    if (waits > numbered) rows[count++] = row_of(&waiting->items[w++]);
    else rows[count++] = page->entries.items[n++];
    if (waits == numbered) w++;
  }
  page->entries.items = rows;
  page->entries.count = count;
  return PURLIN_OK;
}

PURLIN_OPERATION(audit_list, list_in, entry_page,
    .summary = "The audit log of the workspace: who changed what, and who was refused", .permission = "audit:read",
    .http = "GET /api/v1/audit/entries") {
  waiting_list waiting; /* first: otherwise one that gets its number in between would be in neither */
  purlin_status status = waiting_find(ctx, in, &waiting);
  if (status == PURLIN_OK)
    status = purlin_db_list(ctx, audit_row, &out->entries, SELECT_PAGE, AUDIT_FILTER_VALUES(ctx, in));
  return status == PURLIN_OK && waiting.count > 0 ? merge(ctx, &waiting, (size_t)in->limit, out) : status;
}

/* ---- Heads and proofs --------------------------------------------------------------------------------------------------------------- */

static const char NEWEST[] =
    "SELECT s.origin, h.size, h.root, h.at, h.signer, h.signature, h.public_key FROM audit_heads h, audit_state s"
    " WHERE s.id = 1 ORDER BY h.size DESC LIMIT 1";
static const char SELECT_LEAF[] = "SELECT leaf FROM audit_entries WHERE leaf_index = ? AND workspace = ?";
static const char SELECT_SIZE[] = "SELECT size FROM audit_state WHERE id = 1";

typedef struct receipt {
  const char *origin;
  int64_t size;
  const char *root;
  purlin_time at;
  const char *signer, *signature, *public_key;
} receipt;
PURLIN_SCHEMA(receipt, "A signed head of the log: keep it, and nothing before it can be changed unseen",
    PURLIN_REQUIRED(origin, "Which log"),
    PURLIN_REQUIRED(size, "How many entries it covers"),
    PURLIN_REQUIRED(root, "The root of their tree (RFC 6962, SHA-256), hexadecimal"),
    PURLIN_REQUIRED(at, "When it was signed"),
    PURLIN_REQUIRED(signer, "The SHA-256 of the public key"),
    PURLIN_REQUIRED(signature, "Ed25519, base64"),
    PURLIN_REQUIRED(public_key, "The key of the node that signed, PEM: compare it with the one you know"));

static purlin_status newest(purlin_ctx *ctx, receipt *out) {
  purlin_status status = purlin_db_row(ctx, receipt, out, NEWEST);
  if (status != PURLIN_NOT_FOUND) return status;
  purlin_retry_after(ctx, 5);
  return purlin_fail(ctx, PURLIN_UNAVAILABLE, "the log has no signed head yet: it takes a few seconds");
}

PURLIN_OPERATION(audit_head, purlin_nothing, receipt,
    .summary = "The newest signed head of the audit log: a receipt for all entries before it", .permission = "audit:read",
    .http = "GET /api/v1/audit/head") {
  return newest(ctx, out);
}

typedef struct proof {
  int64_t size;
  const char *leaf;
  purlin_texts path;
} proof;
PURLIN_SCHEMA(proof, "A proof by RFC 6962",
    PURLIN_REQUIRED(size, "Of the tree that it leads to"),
    PURLIN_OPTIONAL(leaf, "The entry's hash, hexadecimal"),
    PURLIN_REQUIRED(path, "Hashes, hexadecimal"));

typedef struct size_row {
  int64_t size;
} size_row;
PURLIN_SCHEMA(size_row, "A size", PURLIN_REQUIRED(size, "It"));

/* The size that was asked for, else that of the newest head; at most what there is. */
static purlin_status choose_size(purlin_ctx *ctx, int64_t asked, int64_t *size) {
  receipt head;
  size_row now;
  purlin_status status = asked == 0 ? newest(ctx, &head) : purlin_db_row(ctx, size_row, &now, SELECT_SIZE);
  if (status != PURLIN_OK) return status;
  *size = asked == 0 ? head.size : asked;
  if (asked > 0 && asked > now.size) return purlin_fail_field(ctx, "size", "the log has %lld entries", (long long)now.size);
  return PURLIN_OK;
}

static purlin_status tell_path(purlin_ctx *ctx, const tree_hash *path, size_t count, purlin_texts *out) {
  const char **texts = purlin_alloc_array(ctx, count + 1, sizeof *texts);
  for (size_t i = 0; texts && i < count; i++) {
    char *digits = purlin_alloc(ctx, 2 * sizeof path[i].bytes + 1);
    if (!digits) return PURLIN_TOO_LARGE;
    text_hex(path[i].bytes, sizeof path[i].bytes, digits);
    texts[i] = digits;
  }
  *out = (purlin_texts){texts, count};
  return texts ? PURLIN_OK : PURLIN_TOO_LARGE;
}

typedef struct inclusion_in {
  int64_t sequence, size;
} inclusion_in;
PURLIN_SCHEMA(inclusion_in, "Which entry",
    PURLIN_REQUIRED(sequence, "Its number in the log, from 0", .min = 0, .max = 9e15),
    PURLIN_DEFAULT(size, "0", "In the tree of this size; 0: of the newest head", .min = 0, .max = 9e15));

typedef struct leaf_row {
  purlin_bytes leaf;
} leaf_row;
PURLIN_SCHEMA(leaf_row, "A leaf", PURLIN_REQUIRED(leaf, "Its hash"));

PURLIN_OPERATION(audit_inclusion_proof, inclusion_in, proof,
    .summary = "Proof that an entry is in the log", .permission = "audit:read",
    .http = "GET /api/v1/audit/proofs/inclusion") {
  tree_hash path[TREE_MOST_PATH];
  size_t count = 0;
  leaf_row row;
  purlin_status status = choose_size(ctx, in->size, &out->size);
  if (status == PURLIN_OK && in->sequence >= out->size)
    status = purlin_fail_field(ctx, "sequence", "the tree has %lld entries", (long long)out->size);
  if (status == PURLIN_OK) status = purlin_db_row(ctx, leaf_row, &row, SELECT_LEAF, in->sequence, purlin_workspace(ctx));
  if (status == PURLIN_NOT_FOUND)
    return purlin_fail(ctx, status, "there is no entry %lld of this workspace", (long long)in->sequence);
  if (status == PURLIN_OK) status = audit_prove_inclusion(ctx, (uint64_t)in->sequence, (uint64_t)out->size, path, &count);
  if (status != PURLIN_OK) return status;
  char *leaf = purlin_alloc(ctx, 2 * row.leaf.size + 1);
  if (!leaf) return PURLIN_TOO_LARGE;
  text_hex(row.leaf.data, row.leaf.size, leaf);
  out->leaf = leaf;
  return tell_path(ctx, path, count, &out->path);
}

typedef struct consistency_in {
  int64_t from, size;
} consistency_in;
PURLIN_SCHEMA(consistency_in, "Between which trees",
    PURLIN_REQUIRED(from, "Size of the tree whose head was kept", .min = 0, .max = 9e15),
    PURLIN_DEFAULT(size, "0", "Size of the later tree; 0: of the newest head", .min = 0, .max = 9e15));

PURLIN_OPERATION(audit_consistency_proof, consistency_in, proof,
    .summary = "Proof that the log still begins as it did under an earlier head", .permission = "audit:read",
    .http = "GET /api/v1/audit/proofs/consistency") {
  tree_hash path[TREE_MOST_PATH];
  size_t count = 0;
  purlin_status status = choose_size(ctx, in->size, &out->size);
  if (status == PURLIN_OK && in->from > out->size)
    status = purlin_fail_field(ctx, "from", "is more than the %lld entries of the tree", (long long)out->size);
  if (status == PURLIN_OK) status = audit_prove_consistency(ctx, (uint64_t)in->from, (uint64_t)out->size, path, &count);
  return status == PURLIN_OK ? tell_path(ctx, path, count, &out->path) : status;
}

/* ---- Erasure ---------------------------------------------------------------------------------------------------------------------------- */

typedef struct erase_in {
  const char *actor;
} erase_in;
PURLIN_SCHEMA(erase_in, "Whose entries",
    PURLIN_REQUIRED(actor, "\"user:ana\"; the entry about this call does not name them", .min_length = 1, .max_length = 250, .secret = true));

typedef struct erased {
  int64_t entries;
} erased;
PURLIN_SCHEMA(erased, "What was erased", PURLIN_REQUIRED(entries, "Entries whose content is gone; their hashes stay"));

PURLIN_OPERATION(audit_erase, erase_in, erased,
    .summary = "Erase what the log tells of one actor", .permission = "audit:write", .effect = PURLIN_CHANGES,
    .http = "POST /api/v1/audit/erase", .timeout_ms = 3600000,
    .description = "Of their entries in this workspace time, operation, outcome and hash stay: every head and proof still holds.") {
  return audit_erase_actor(ctx, in->actor, &out->entries);
}
