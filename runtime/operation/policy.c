#include "operation/registry.h"
#include "db/db.h"
#include "observe/log.h"
#include <purlin/metric.h>
#include <string.h>

PURLIN_COUNTER(policy_decisions_total, "Policy points asked, by what answered", "point, answered_by");

enum { DEFAULT_TIMEOUT_MS = 1000 };

static policy_answer *answerer;
static bool (*has_answer)(const char *point);

void policy_set_answerer(policy_answer *answer, bool (*answers)(const char *point)) {
  answerer = answer;
  has_answer = answers;
}

bool policy_is_answered(const purlin_policy *policy) {
  const registered_policy *point = has_answer ? policy_of(policy) : NULL;
  return point && has_answer(point->name);
}

static purlin_status take(purlin_ctx *ctx, const registered_policy *point, const char *json, size_t size, void *answer) {
  const purlin_schema *schema = point->policy->answer();
  memset(answer, 0, schema->struct_size);
  return purlin_decode(ctx, schema, json, size, answer);
}

/* The operator's policy failed: on_failure decides whether that means an answer or an error. */
static purlin_status take_on_failure(purlin_ctx *ctx, const registered_policy *point, purlin_status failed, void *answer) {
  purlin_count(policy_decisions_total, 1, point->name, "failure");
  purlin_log(ctx, PURLIN_WARNING, "the policy for %s failed: %s", point->name, purlin_failure(ctx));
  const char *json = point->policy->on_failure;
  if (!json) return failed;
  purlin_clear_failure(ctx);
  return take(ctx, point, json, strlen(json), answer);
}

purlin_status purlin_decide_(purlin_ctx *ctx, const purlin_policy *policy, const void *question, void *answer) {
  const registered_policy *point = policy_of(policy);
  if (!point) return purlin_fail(ctx, PURLIN_INTERNAL, "the policy point '%s' is not registered", policy->name);
  if (db_in_transaction(ctx))
    return purlin_fail(ctx, PURLIN_INTERNAL, "%s is asked after the first write; ask before", point->name);
  purlin_json asked, answered = {0};
  purlin_status status = purlin_encode(ctx, policy->question(), question, &asked);
  if (status != PURLIN_OK) return status;
  uint32_t timeout_ms = policy->timeout_ms ? policy->timeout_ms : DEFAULT_TIMEOUT_MS;
  status = answerer ? answerer(ctx, point->name, timeout_ms, asked, &answered) : PURLIN_NOT_FOUND;
  if (status == PURLIN_NOT_FOUND) {
    purlin_clear_failure(ctx);
    purlin_count(policy_decisions_total, 1, point->name, "fallback");
    return take(ctx, point, policy->fallback, strlen(policy->fallback), answer);
  }
  if (status == PURLIN_OK) status = take(ctx, point, answered.text, answered.size, answer);
  if (status != PURLIN_OK) return take_on_failure(ctx, point, status, answer);
  purlin_count(policy_decisions_total, 1, point->name, "policy");
  return PURLIN_OK;
}
