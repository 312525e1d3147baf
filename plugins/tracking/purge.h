/* purge.h: deleted objects go for good.
 *
 * purge.c      an object's own row goes, with its quota, an event and an entry of the audit log, in small transactions
 * foretell.c   how many would go
 * leftovers.c  what hung on it goes afterwards, a little at a time; the table tracking_leftovers remembers what is to be done
 *
 * Other plugins hear of it by the event tracking.purged and remove what is theirs. */
#ifndef TRACKING_PURGE_H
#define TRACKING_PURGE_H

#include "tracking.h"

typedef struct tracking_configuration {
  int64_t keep_deleted_days;
} tracking_configuration;

/* One kind of object that can be deleted. Statements take the values that stand beside them. */
typedef struct purge_kind {
  const char *name;
  const char *deleted;                    /* workspace, seconds, limit: those deleted for longer */
  const char *state;                      /* id, workspace: lifecycle, and for how many seconds it is deleted */
  const char *remove;                     /* id, workspace, seconds: deleted for longer */
  const char *in_experiment, *remove_any; /* experiment, workspace, limit; id, workspace, 0. NULL: it is in none */
  const char *const *tables;              /* where rows hang on it: "TABLE WHERE COLUMN"; NULL at the end */
} purge_kind;

enum { PURGE_RUN, PURGE_LOGGED_MODEL, PURGE_EXPERIMENT, PURGE_KINDS };
extern const purge_kind purge_kinds[PURGE_KINDS];

/* How many of each kind went. */
typedef struct purge_count {
  int64_t of[PURGE_KINDS];
} purge_count;

/* Of the context's workspace: what was deleted for longer than so many seconds, until about `end_ns` of purlin_ticks_ns; *over tells
 * whether that was all. Outside of transactions; may park. */
PURLIN_CHECKED purlin_status purge_deleted(purlin_ctx *ctx, int64_t older_than_s, uint64_t end_ns, purge_count *count,
                                           bool *over);

/* How many would go: those that are named and what is in the experiments among them; without names all that was deleted for longer than so many
 * seconds. May park. */
PURLIN_CHECKED purlin_status purge_foretell(purlin_ctx *ctx, const purlin_texts *names, int64_t older_than_s,
                                            purge_count *count);

#endif
