/* quota.h: how much of something a workspace may have: what is declared, the limits, and what is counted where there is one.
 *
 * The table purlin_quotas has a row for each workspace and quota that was ever taken or limited. Who takes where no limit is set reads
 * that row and shares its lock until the transaction ends; who sets a limit waits for all of them, counts what there is, and from then
 * on whoever takes changes the row. So the number is what there is at every commit.
 *
 * Which way to go is known from the limits of all workspaces, kept in memory and read again when they have changed, at most a second
 * late. Who finds otherwise in the row goes the other way; it costs them a deadlock at worst, after which the operation runs again. */
#ifndef PURLIN_ACCESS_QUOTA_H
#define PURLIN_ACCESS_QUOTA_H

#include <purlin/quota.h>
#include "core/buffer.h"

/* At start only. PURLIN_CONFLICT, PURLIN_INVALID: `why` says what is wrong with it. */
PURLIN_CHECKED purlin_status quotas_register(const char *plugin, const purlin_quota *quota, buffer *why);
/* After the migrations: reads the limits, and again when they change. In a fiber. */
PURLIN_CHECKED purlin_status quotas_start(purlin_ctx *ctx);
/* Before the loops stop; in a fiber. */
void quotas_stop(purlin_ctx *ctx);
/* After the loops: frees. */
void quotas_end(void);

/* The limits that the runtime itself minds; false: none is set for the workspace. Any thread; none parks. */
bool quotas_requests(const char *workspace, int64_t *per_minute);
bool quotas_jobs(const char *workspace, int64_t *at_once);

#endif
