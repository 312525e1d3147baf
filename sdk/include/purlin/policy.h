/* policy.h: a decision that belongs to the operator.
 *
 *   PURLIN_POLICY(promote, promote_question, promote_answer, "May this version become the champion?",
 *       .fallback = "{\"promote\":false,\"reason\":\"no policy\"}");
 *   ...
 *   status = purlin_decide(ctx, promote, &question, &answer);
 *
 * Operators answer in Lua: purlin.policy("serving.promote", function(question) return { promote = true } end).
 *
 * Since 0.1 unless a comment says otherwise; base.h says what else holds everywhere. */
#ifndef PURLIN_POLICY_H
#define PURLIN_POLICY_H

#include <purlin/schema.h>

PURLIN_BEGIN

typedef struct purlin_policy {
  purlin_declaration declared;
  const char *name; /* full name: PLUGIN.NAME */
  const purlin_schema *(*question)(void);
  const purlin_schema *(*answer)(void);
  const char *summary;
  const char *fallback;   /* JSON answer when no policy is there */
  const char *on_failure; /* JSON answer when the policy fails or is too slow; NULL: deciding fails */
  uint32_t timeout_ms;    /* 0: 1,000 */
} purlin_policy;

#define PURLIN_POLICY(identifier, question_type, answer_type, summary_, ...)                                               \
  static const purlin_policy identifier##_policy = {.declared = PURLIN_HEAD_(purlin_policy, PURLIN_KIND_POLICY),           \
                                                    .name = #identifier,                                                   \
                                                    .question = question_type##_schema,                                    \
                                                    .answer = answer_type##_schema,                                        \
                                                    .summary = summary_,                                                   \
                                                    __VA_ARGS__};                                                          \
  PURLIN_DECLARE_(identifier##_policy)

/* Asks, before the first write of an operation. `question` is borrowed; `answer` is filled from its schema, texts in the arena: by the
 * policy, or by .fallback when there is none, or by .on_failure when it fails or exceeds .timeout_ms. May park.
 * Errors: PURLIN_INTERNAL (after the first write, or a policy point of another plugin); without .on_failure also PURLIN_INVALID (the
 * answer does not fit its schema) and what the policy failed with. */
#define purlin_decide(ctx, identifier, question, answer) purlin_decide_(ctx, &identifier##_policy, question, answer)
PURLIN_API PURLIN_CHECKED purlin_status purlin_decide_(purlin_ctx *ctx, const purlin_policy *policy, const void *question,
                                                       void *answer);

PURLIN_END

#endif
