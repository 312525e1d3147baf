/* purge.h: deleted objects go for good.
 *
 * purge.c      an object's own row goes, with its quota, an event and an entry of the audit log, in small transactions
 * holders.c    those that other plugins need stay
 * foretell.c   how many would go, and how many stay
 * leftovers.c  what hung on it goes afterwards, a little at a time; the table tracking_leftovers remembers what is to be done
 *
 * Other plugins hear of it by the event tracking.purged and remove what is theirs. */
#ifndef TRACKING_PURGE_H
#define TRACKING_PURGE_H

#include "tracking.h"

typedef struct tracking_configuration {
  int64_t keep_deleted_days;
} tracking_configuration;

/* One kind of object that can be deleted. */
typedef struct purge_kind {
  const char *name, *table;
  const char *since;         /* its column that tells when it was deleted */
  const char *const *tables; /* where rows hang on it: "TABLE WHERE COLUMN"; NULL at the end */
} purge_kind;

/* All but experiments are in one. */
enum { PURGE_RUN, PURGE_LOGGED_MODEL, PURGE_EXPERIMENT, PURGE_KINDS };
extern const purge_kind purge_kinds[PURGE_KINDS];

/* That a row of the kind's table was deleted for longer than so many seconds: the one parameter. For purlin_format: the table, the
 * table, the column. */
#define PURGE_OLD "%s.lifecycle = 'deleted' AND %s.%s <= NOW(6) - INTERVAL ? SECOND"
#define PURGE_OLD_OF(kind) (kind)->table, (kind)->table, (kind)->since

/* How many of each kind. */
typedef struct purge_count {
  int64_t of[PURGE_KINDS];
} purge_count;

/* SQL that is true for a row of the kind's table that another plugin needs. May park. */
PURLIN_CHECKED purlin_status purge_held(purlin_ctx *ctx, const purge_kind *kind, const char **sql);

/* Of the context's workspace: what was deleted for longer than so many seconds, until about `end_ns` of purlin_ticks_ns; *over tells
 * whether that was all. Outside of transactions; may park. */
PURLIN_CHECKED purlin_status purge_deleted(purlin_ctx *ctx, int64_t older_than_s, uint64_t end_ns, purge_count *count,
                                           bool *over);

/* How many would go, or stay since others need them: of those that are named, with what is in the experiments among them; without names of all
 * that was deleted for longer than so many seconds. May park. */
PURLIN_CHECKED purlin_status purge_foretell(purlin_ctx *ctx, const purlin_texts *names, int64_t older_than_s, bool held,
                                            purge_count *count);

#endif
