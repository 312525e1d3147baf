/* rows.h: an entry as a row of the log, for those who read it. */
#ifndef PURLIN_AUDIT_ROWS_H
#define PURLIN_AUDIT_ROWS_H

#include "audit/audit.h"

#define AUDIT_COLUMNS                                                                                                      \
  "id, at, workspace, project, actor, credential, address, operation, object, outcome, trace_id, input, input_bytes,"      \
  " input_hash, `before`, `after`, id IS NULL AS erased"

typedef struct audit_row {
  int64_t position;
  purlin_opt_int sequence;
  bool erased;
  const char *id;
  purlin_time at;
  const char *workspace, *project, *actor, *credential, *address, *operation, *object, *outcome, *trace_id;
  purlin_json input;
  int64_t input_bytes;
  const char *input_hash;
  purlin_json before, after;
  purlin_bytes leaf;
  purlin_opt_bool mine;
} audit_row;
PURLIN_SCHEMA(audit_row, "An entry of the audit log",
    PURLIN_REQUIRED(position, "Where it stands in the order of writing, for paging"),
    PURLIN_OPTIONAL(sequence, "Its number in the log's tree; null for a moment after it was written"),
    PURLIN_REQUIRED(erased, "Whether what it told is gone"),
    PURLIN_OPTIONAL(id, "Its id, random"),
    PURLIN_REQUIRED(at, "When"),
    PURLIN_REQUIRED(workspace, "Where"),
    PURLIN_OPTIONAL(project, "In which project"),
    PURLIN_OPTIONAL(actor, "Who"),
    PURLIN_OPTIONAL(credential, "By which credential, such as \"key:ID\""),
    PURLIN_OPTIONAL(address, "From where"),
    PURLIN_REQUIRED(operation, "What: the operation, or what a plugin calls it"),
    PURLIN_OPTIONAL(object, "The id of what it was about"),
    PURLIN_REQUIRED(outcome, "done, refused, unauthenticated or forbidden"),
    PURLIN_OPTIONAL(trace_id, "In the course of what"),
    PURLIN_OPTIONAL(input, "With what, secrets masked; {\"cut\": ...} when it was longer than 8 KiB"),
    PURLIN_REQUIRED(input_bytes, "How much that was"),
    PURLIN_OPTIONAL(input_hash, "The SHA-256 of all of it, secrets masked"),
    PURLIN_OPTIONAL(before, "The object before, secrets masked; {\"cut\": ...} when it was longer than 8 KiB"),
    PURLIN_OPTIONAL(after, "The object after, likewise"),
    PURLIN_OPTIONAL(leaf, "The hash that it is in the tree"),
    PURLIN_OPTIONAL(mine, "Whether it is of the reader's workspace"));

#endif
