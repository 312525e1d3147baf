/* What an operation says of itself holds: against a real MariaDB. */
#include "test_db.h"

#include "access/access.h"
#include "operation/operation.h"

typedef struct number {
  int64_t number;
} number;
PURLIN_SCHEMA(number, "A number", PURLIN_DEFAULT(number, "0", "It"));

PURLIN_OPERATION(look, number, number, .summary = "Reads", .permission = "public") {
  return purlin_db_row(ctx, number, out, "SELECT COUNT(*) AS number FROM things");
}

PURLIN_OPERATION(look_and_write, number, number, .summary = "Says that it reads, and writes", .permission = "public") {
  purlin_status status = in->number ? purlin_call(ctx, "test.look", number_schema(), in, number_schema(), out) : PURLIN_OK;
  return status == PURLIN_OK ? purlin_db_run(ctx, "INSERT INTO things VALUES (1)") : status;
}

typedef struct told {
  const char *secret;
} told;
PURLIN_SCHEMA(told, "What is told", PURLIN_REQUIRED(secret, "Nobody sees it", .secret = true));

PURLIN_OPERATION(hear, told, number, .summary = "Whether it is the one", .permission = "public") {
  (void)ctx;
  out->number = strcmp(in->secret, "open sesame") == 0;
  return PURLIN_OK;
}

/* As another version of the contract has it. */
typedef struct told_more {
  int64_t times;
  const char *secret;
} told_more;
PURLIN_SCHEMA(told_more, "What is told", PURLIN_REQUIRED(secret, "Nobody sees it", .secret = true));

static int setup(void **state) {
  buffer why = {0};
  if (start_server(state) != 0) return -1;
  purlin_status status = operations_register("test", NULL, &look_operation, &why);
  if (status == PURLIN_OK) status = operations_register("test", NULL, &look_and_write_operation, &why);
  if (status == PURLIN_OK) status = operations_register("test", NULL, &hear_operation, &why);
  buffer_free(&why);
  return status == PURLIN_OK ? 0 : -1;
}

static void refused(purlin_ctx *ctx, int64_t after_a_call) {
  number in = {after_a_call}, out = {0};
  const operation *op = operation_find("test.look_and_write");
  assert_non_null(op);
  assert_int_equal(operation_run(ctx, op, &in, &out), PURLIN_INTERNAL);
  assert_non_null(strstr(purlin_failure(ctx), "only reads"));
  OK(ctx, purlin_db_row(ctx, number, &out, "SELECT COUNT(*) AS number FROM things"));
  assert_int_equal(out.number, 0);
}

TEST_IN_DATABASE(what_reads_may_not_write) {
  RUN(ctx, "CREATE OR REPLACE TABLE things (number BIGINT)");
  refused(ctx, 0);
  refused(ctx, 1); /* also after it has called another one that reads */
  RUN(ctx, "INSERT INTO things VALUES (2)");
}

TEST_IN_DATABASE(a_caller_of_another_version_tells_its_secrets) {
  number heard = {0};
  OK(ctx, purlin_call(ctx, "test.hear", told_schema(), &(told){"open sesame"}, number_schema(), &heard));
  assert_int_equal(heard.number, 1);
  heard.number = 0;
  OK(ctx, purlin_call(ctx, "test.hear", told_more_schema(), &(told_more){1, "open sesame"}, number_schema(), &heard));
  assert_int_equal(heard.number, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(what_reads_may_not_write),
                                     cmocka_unit_test(a_caller_of_another_version_tells_its_secrets)};
  return cmocka_run_group_tests(tests, setup, stop_server);
}
