/* rate.h: how often somebody may ask: the generic cell rate algorithm (GCRA), which needs one number for each of them.
 *
 * Of `requests` in `seconds`, evenly spaced, `burst` may come at once. The count is exact over all loops of this process; several
 * nodes count each for itself. Who has not asked for a while costs no memory, and there is a bound to how many are counted: beyond
 * it those are forgotten first who would be let in soonest.
 *
 * Beside the rules of the configuration there is the quota of requests of a workspace (access/quota.h). */
#ifndef PURLIN_ACCESS_RATE_H
#define PURLIN_ACCESS_RATE_H

#include <purlin/context.h>
#include <purlin/schema.h>
#include "http/server.h"

typedef struct rate_rule {
  const char *name, *per, *operations;
  int64_t requests, seconds, burst;
} rate_rule;
PURLIN_SCHEMA(rate_rule, "How often somebody may ask",
    PURLIN_REQUIRED(name, "In the header RateLimit-Policy and in metrics", .pattern = "[a-z][a-z0-9-]*", .max_length = 40),
    PURLIN_REQUIRED(per, "Who is counted together; an IPv6 address counts with its /64", .choices = "address, actor, credential, workspace"),
    PURLIN_DEFAULT(operations, "\"*\"", "What it holds for: \"registry.create_model\", \"registry.*\", \"*\"", .max_length = 200),
    PURLIN_REQUIRED(requests, "So many", .min = 1, .max = 1e9),
    PURLIN_DEFAULT(seconds, "60", "In so many seconds", .min = 1, .max = 86400),
    PURLIN_DEFAULT(burst, "0", "How many at once; 0: as many as `requests`", .min = 0, .max = 1e9));

typedef struct rates_settings {
  PURLIN_LIST_OF(rate_rule) rules;
} rates_settings;
PURLIN_SCHEMA(rates_settings, "limits { rules = { ... } }", PURLIN_LIST(rules, rate_rule, "All that fit hold"));

/* Before the loops run. The settings stay the caller's, and where they are. PURLIN_UNAVAILABLE without memory. */
PURLIN_CHECKED purlin_status rates_start(const rates_settings *settings);
/* So that rate_count can count, also without rules. Any thread. PURLIN_UNAVAILABLE without memory. */
PURLIN_CHECKED purlin_status rates_prepare(void);
void rates_end(void);

/* Counts a request by the rules per address, or by all others once the caller is known. PURLIN_TOO_MANY, recorded with Retry-After;
 * the answer tells of the rule that has least left. Does not park. */
PURLIN_CHECKED purlin_status rates_take(purlin_ctx *ctx, purlin_request *request, const char *operation, bool per_address);

/* ---- The algorithm, for tests ------------------------------------------------------------------------------------------------- */

typedef struct rate_outcome {
  bool allowed;
  int64_t remaining;          /* how many more may come at once now */
  uint64_t full_ns, retry_ns; /* until all of the burst is there again; until the next may come (0: now) */
} rate_outcome;
rate_outcome rate_count(uint64_t key, const rate_rule *rule, uint64_t now_ns);

#endif
