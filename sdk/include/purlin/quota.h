/* quota.h: how much of something a workspace may have.
 *
 *   PURLIN_QUOTA(runs, .summary = "Runs that exist", .unit = "runs",
 *       .count = "SELECT COUNT(*) AS used FROM tracking_runs WHERE workspace = ?");
 *   ...
 *   status = purlin_quota_take(ctx, runs, 1);    in the transaction that inserts the row; -1 in the one that deletes it
 *
 * An administrator of the server sets the limits (access.set_quota). Where one is set, the number is kept in a row of the workspace that
 * changes with the transaction: it is what there is, also after a crash, and never above the limit, however many take at once; those that
 * take of one limited quota of one workspace then commit one after the other. Where none is set nothing is counted: taking costs one
 * read that keeps a limit from being set until the transaction has ended. What is there is counted when a limit is set.
 *
 * Since 0.1; base.h says what else holds everywhere. */
#ifndef PURLIN_QUOTA_H
#define PURLIN_QUOTA_H

#include <purlin/context.h>

PURLIN_BEGIN

typedef struct purlin_quota {
  purlin_declaration declared;
  const char *name;    /* of the identifier; unique on the server: what people say */
  const char *summary; /* one line; required */
  const char *unit;    /* "runs", "bytes"; required */
  const char
      *count; /* a statement with one '?', the workspace, that answers `used`: what there is. Required. It may be slow. */
  bool space; /* beyond the limit is PURLIN_NO_SPACE and not PURLIN_TOO_MANY */
} purlin_quota;

#define PURLIN_QUOTA(identifier, ...)                                                                                      \
  static const purlin_quota identifier##_quota = {                                                                         \
      .declared = PURLIN_HEAD_(purlin_quota, PURLIN_KIND_QUOTA), .name = #identifier, __VA_ARGS__};                        \
  PURLIN_DECLARE_(identifier##_quota)

/* Takes `amount` for the context's workspace, or gives -amount back, in the running transaction: when that is rolled back nothing was
 * taken. As late in it as may be. May park. Errors: PURLIN_TOO_MANY or PURLIN_NO_SPACE, recorded with quota, limit and what is used;
 * PURLIN_INTERNAL outside a transaction; those of statements. */
#define purlin_quota_take(ctx, identifier, amount) purlin_quota_take_(ctx, &identifier##_quota, amount)
PURLIN_API PURLIN_CHECKED purlin_status purlin_quota_take_(purlin_ctx *ctx, const purlin_quota *quota, int64_t amount);

/* What may still be taken, INT64_MAX without a limit: for streams, so that they end early; taking decides. A limit that was set within
 * the last second may not count yet. May park. */
#define purlin_quota_left(ctx, identifier, left) purlin_quota_left_(ctx, &identifier##_quota, left)
PURLIN_API PURLIN_CHECKED purlin_status purlin_quota_left_(purlin_ctx *ctx, const purlin_quota *quota, int64_t *left);

/* The failure that purlin_quota_take would record, for who knows by purlin_quota_left that `amount` is more than `left`. Does not park. */
#define purlin_quota_refuse(ctx, identifier, amount, left) purlin_quota_refuse_(ctx, &identifier##_quota, amount, left)
PURLIN_API PURLIN_CHECKED purlin_status purlin_quota_refuse_(purlin_ctx *ctx, const purlin_quota *quota, int64_t amount,
                                                             int64_t left);

PURLIN_END

#endif
