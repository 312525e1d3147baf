/* audit.h: who changed what, provable afterwards.
 *
 * An entry is written in the transaction of its change, with its COMMIT; it has no number yet, since transactions commit in any order. One
 * sequencer in the cluster (whoever holds the row of audit_state) numbers committed entries and hashes them: that makes them the leaves of
 * an RFC 6962 Merkle tree. Every few seconds it signs the tree's head, which is kept
 * in the database and, by every node, in STATE/audit.heads: whoever has a head can tell that nothing before it was edited, taken
 * away, moved or cut off.
 *
 * audit/entry.c      an entry: from a call, and to the bytes that are hashed
 * audit/waiting.c    entries as rows that have no number yet
 * audit/apart.c      entries without a change: refusals, bounded, written by the sequencer's fiber
 * audit/tree.c       RFC 6962: hashes, heads, proofs; no database
 * audit/proof.c      proofs from what the database keeps
 * audit/sequencer.c  rounds: number, sign, keep the head, forget
 * audit/head.c       the key, signatures, STATE/audit.heads
 * audit/operations.c audit.list, audit.head, the proofs, audit.erase
 * audit/export.c     the whole log as newline-delimited JSON
 * audit/erasure.c    retention of entries and of heads, and the erasure of an actor
 * audit/verify.c     a check of such a file, without a server
 * audit/tables.c     the tables
 *
 * It stands beside jobs/ and events/: operation/ and access/ call it. */
#ifndef PURLIN_AUDIT_AUDIT_H
#define PURLIN_AUDIT_AUDIT_H

#include <purlin/audit.h>
#include <purlin/database.h>
#include "core/buffer.h"
#include "loop/context.h"

/* The input of an operation is kept up to so many bytes of JSON, its hash always; so is the object before and after. */
#define AUDIT_MOST_INPUT ((size_t)8 * 1024)

/* An entry. Its JSON, members in this order and those that are NULL left out, is what the leaf is the hash of: so members are only ever
 * added, at the end, and optional. */
typedef struct audit_entry {
  const char *id; /* random: what was erased cannot be guessed from the hash that stays */
  purlin_time at;
  const char *workspace, *project, *actor, *credential, *address, *operation, *object, *outcome, *trace_id;
  purlin_json input; /* secrets masked; {"cut": "..."} when it was longer */
  int64_t input_bytes;
  const char *input_hash; /* of all of it, secrets masked */
  /* The object as it was and as it is, secrets masked, NULL where there was or is none; whole here: audit_write cuts it as the input. */
  purlin_json before, after;
} audit_entry;
PURLIN_SCHEMA(audit_entry, "An entry of the audit log",
    PURLIN_OPTIONAL(id, "Its id, random"),
    PURLIN_OPTIONAL(at, "When"),
    PURLIN_OPTIONAL(workspace, "Where"),
    PURLIN_OPTIONAL(project, "In which project"),
    PURLIN_OPTIONAL(actor, "Who"),
    PURLIN_OPTIONAL(credential, "By which credential, such as \"key:ID\""),
    PURLIN_OPTIONAL(address, "From where"),
    PURLIN_OPTIONAL(operation, "What: the operation, or what a plugin calls it"),
    PURLIN_OPTIONAL(object, "The id of what it was about"),
    PURLIN_OPTIONAL(outcome, "done, refused, unauthenticated or forbidden"),
    PURLIN_OPTIONAL(trace_id, "In the course of what"),
    PURLIN_OPTIONAL(input, "With what, secrets masked; {\"cut\": ...} when it was longer than 8 KiB"),
    PURLIN_REQUIRED(input_bytes, "How much that was"),
    PURLIN_OPTIONAL(input_hash, "The SHA-256 of all of it, secrets masked"),
    PURLIN_OPTIONAL(before, "The object before, secrets masked; {\"cut\": ...} when it was longer than 8 KiB"),
    PURLIN_OPTIONAL(after, "The object after, likewise"));

extern const purlin_migration *const audit_migrations[];
extern const size_t audit_migration_count;

typedef struct audit_options {
  const char *state;      /* the folder of audit.key and audit.heads */
  uint32_t head_ms;       /* between two heads of a log that grows: 5 s */
  uint32_t round_ms;      /* between two looks at what is not numbered yet: 1 s */
  int64_t retention_days; /* content of entries goes after so long, their hashes stay; 0: never */
} audit_options;
void audit_options_default(audit_options *options);
/* After migrations, in a fiber on loop 0: reads or makes the key, starts the sequencer. `why` says what is wrong. */
PURLIN_CHECKED purlin_status audit_start(purlin_ctx *ctx, const audit_options *options, buffer *why);
/* On loop 0: numbers and signs what there is, then calls `done`; at once when it was not started. */
void audit_drain(void (*done)(void *argument), void *argument);

/* What a daemon says before its loops run: from here on changes are audited. */
void audit_enable(void);
bool audit_is_enabled(void);
/* Which of an actor's credentials a context shows; access/ sets it. */
typedef const char *audit_credential(const purlin_ctx *ctx);
void audit_set_credential(audit_credential *credential);

/* An entry about a call by this context, in its arena; before the transaction, and once however often that runs. NULL without memory,
 * which is recorded. May park. */
audit_entry *audit_prepare(purlin_ctx *ctx, const char *operation, const purlin_schema *schema, const void *in);
/* The id of what a call was about: the member "id" of the answer or of the input, else the "name". "" without one. */
const char *audit_object(const purlin_schema *schema, const void *value);
/* Writes it with the running transaction, at the latest with its COMMIT. May park. */
PURLIN_CHECKED purlin_status audit_write(purlin_ctx *ctx, const audit_entry *entry);
/* Notes that a request was refused, when `status` says so; apart from its transaction, and bounded (apart.c). Does not park. */
void audit_refused(purlin_ctx *ctx, const char *operation, purlin_status status);
/* The hash that an entry is in the tree. */
void audit_leaf(const audit_entry *entry, uint8_t leaf[32]);

#endif
