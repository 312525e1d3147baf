/* verify.h: is an exported log whole? Without a server, line by line, in memory of a fixed size. */
#ifndef PURLIN_AUDIT_VERIFY_H
#define PURLIN_AUDIT_VERIFY_H

#include "audit/head.h"
#include <stdio.h>

typedef struct audit_verdict {
  int64_t entries, erased, withheld; /* the latter two are among the entries: only their hashes are known */
  audit_head head;                   /* of the file */
  buffer why;                        /* what is wrong, when something is; owned */
} audit_verdict;

/* Reads the export and computes its tree: against its own head, and against a receipt that was kept (NULL: none); signatures with the key
 * (NULL: they are not looked at). The verdict's texts live in the arena. */
bool audit_verify(FILE *file, const audit_head *receipt, EVP_PKEY *key, arena *memory, audit_verdict *verdict);

#endif
