/* waiting.h: entries that were written and have no number yet. */
#ifndef PURLIN_AUDIT_WAITING_H
#define PURLIN_AUDIT_WAITING_H

#include "audit/audit.h"
#include "db/db.h"

typedef struct waiting_entry {
  int64_t position;
  audit_entry entry;
} waiting_entry;
typedef struct waiting_list {
  waiting_entry *items;
  size_t count;
} waiting_list;

/* What to list: "" and no time are no condition. */
typedef struct audit_filter {
  const char *actor, *operation, *object, *outcome, *project;
  purlin_time since, until;
  int64_t before, limit;
} audit_filter;
#define AUDIT_FILTER_VALUES(ctx, f)                                                                                        \
  purlin_workspace(ctx), (f)->before, (f)->actor, (f)->actor, (f)->operation, (f)->operation, (f)->object, (f)->object,    \
      (f)->outcome, (f)->outcome, (f)->project, (f)->project, (f)->since, (f)->until, (f)->limit

/* Writes one: with the COMMIT of the running transaction where that goes, in its arena. May park. */
PURLIN_CHECKED purlin_status audit_wait(purlin_ctx *ctx, const audit_entry *entry);
/* The first ones; those of the caller's workspace that fit, the newest first. Arena. May park. */
PURLIN_CHECKED purlin_status waiting_next(purlin_ctx *ctx, int64_t most, waiting_list *out);
PURLIN_CHECKED purlin_status waiting_find(purlin_ctx *ctx, const audit_filter *filter, waiting_list *out);
/* Takes away what waiting_next gave, in the caller's transaction. May park. */
PURLIN_CHECKED purlin_status waiting_remove(purlin_ctx *ctx, const waiting_list *list);

#endif
