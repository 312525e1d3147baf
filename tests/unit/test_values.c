/* Schemas with a context: memory from its arena, complaints to its failure. The rules themselves are tested with core. */
#include "loop/internal.h"
#include "loop/context.h"
#include <purlin/schema.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

typedef struct model_in {
  const char *name;
  int64_t keep_days;
  const char *token;
} model_in;

PURLIN_SCHEMA(model_in, "A model to register", PURLIN_REQUIRED(name, "Unique within the project", .max_length = 10),
              PURLIN_DEFAULT(keep_days, "30", "Days to keep old versions", .min = 1, .max = 3650),
              PURLIN_OPTIONAL(token, "A secret", .secret = true));

static purlin_status decode_model(purlin_ctx *ctx, const char *json, model_in *model) {
  return purlin_decode(ctx, model_in_schema(), json, strlen(json), model);
}

static void test_values(void **state) {
  (void)state;
  purlin_ctx context, *ctx = &context;
  context_begin(ctx, "tester", "test.values");
  model_in model;
  assert_int_equal(decode_model(ctx, "{\"name\":\"churn\",\"token\":\"abc\"}", &model), PURLIN_OK);
  assert_string_equal(model.name, "churn");
  assert_int_equal(model.keep_days, 30);
  purlin_json json;
  assert_int_equal(purlin_encode(ctx, model_in_schema(), &model, &json), PURLIN_OK);
  assert_string_equal(json.text, "{\"name\":\"churn\",\"keep_days\":30,\"token\":\"***\"}");
  assert_int_equal(json.size, strlen(json.text));

  assert_int_equal(decode_model(ctx, "{\"keep_days\":0,\"other\":1}", &model), PURLIN_INVALID);
  assert_int_equal(ctx->failure_status, PURLIN_INVALID);
  assert_int_equal(ctx->field_count, 3); /* name is missing, keep_days too small, other unknown */
  purlin_clear_failure(ctx);
  static const char stored[] = "{\"name\":\"old\",\"other\":1}";
  assert_int_equal(purlin_decode_stored(ctx, model_in_schema(), stored, sizeof stored - 1, &model), PURLIN_OK);
  assert_string_equal(model.name, "old");
  assert_int_equal(ctx->field_count, 0);

  char *big = purlin_alloc(ctx, 200000);
  memset(big, 'x', 199999);
  model.name = big;
  ctx->memory.limit_bytes = ctx->memory.total_bytes + 1000;
  assert_int_equal(purlin_encode(ctx, model_in_schema(), &model, &json), PURLIN_TOO_LARGE);
  assert_int_equal(ctx->failure_status, PURLIN_TOO_LARGE);
  assert_null(json.text);
  context_end(ctx);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_values)};
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  context_thread_end();
  arena_thread_end();
  return failed;
}
