/* The audit log against a real MariaDB: an entry lives and dies with its change, and once under a head it is proven. */
#include "test_db.h"

#include "access/access.h"
#include "audit/head.h"
#include "audit/internal.h"
#include "core/text.h"
#include "operation/operation.h"

#include <sys/stat.h>

/* ---- Operations that change things -------------------------------------------------------------------------------------------------- */

typedef struct thing {
  const char *id;
  const char *password;
  const char *note;
  int64_t fails;
} thing;
PURLIN_SCHEMA(thing, "A thing",
    PURLIN_REQUIRED(id, "Its id"),
    PURLIN_OPTIONAL(password, "Nobody sees it", .secret = true),
    PURLIN_OPTIONAL(note, "Words", .max_length = 1000000),
    PURLIN_DEFAULT(fails, "0", "How"));

PURLIN_OPERATION(make, thing, thing, .summary = "Makes a thing", .permission = "public", .effect = PURLIN_CREATES) {
  purlin_status status = purlin_db_run(ctx, "INSERT INTO things VALUES (?)", in->id);
  if (status != PURLIN_OK) return status;
  out->id = in->id;
  return in->fails ? purlin_fail(ctx, PURLIN_CONFLICT, "no") : PURLIN_OK;
}

PURLIN_OPERATION(make_two, thing, thing, .summary = "Makes two", .permission = "public", .effect = PURLIN_CREATES) {
  purlin_status status = purlin_call(ctx, "test.make", thing_schema(), in, thing_schema(), out);
  if (status == PURLIN_OK) status = purlin_call(ctx, "test.make", thing_schema(), in, thing_schema(), out);
  return status;
}

PURLIN_OPERATION(make_quietly, thing, thing, .summary = "Makes one without an entry", .permission = "public",
    .effect = PURLIN_CREATES, .unaudited = "a test") {
  return purlin_db_run(ctx, "INSERT INTO things VALUES (?)", in->id);
}

static int looks;

PURLIN_OPERATION(look, thing, thing, .summary = "Reads", .permission = "public") {
  (void)ctx;
  looks++;
  out->id = in->id;
  return PURLIN_OK;
}

PURLIN_OPERATION(change, thing, thing, .summary = "Changes one", .permission = "public", .effect = PURLIN_CHANGES, .object = "look") {
  out->id = in->id;
  if (in->fails) return purlin_fail(ctx, PURLIN_CONFLICT, "no");
  return purlin_db_run(ctx, "INSERT INTO things VALUES (?)", in->id);
}

static int setup(void **state) {
  static const purlin_operation *const all[] = {&make_operation, &make_two_operation, &make_quietly_operation,
                                                &look_operation, &change_operation};
  buffer why = {0};
  if (start_server(state) != 0) return -1;
  purlin_status status = PURLIN_OK;
  for (size_t i = 0; i < sizeof all / sizeof all[0] && status == PURLIN_OK; i++)
    status = operations_register("test", NULL, all[i], &why);
  if (status == PURLIN_OK) status = operations_link(&why);
  buffer_free(&why);
  audit_enable();
  return status == PURLIN_OK ? 0 : -1;
}

static purlin_status call(purlin_ctx *ctx, const char *name, thing in) {
  thing out = {0};
  return operation_run(ctx, operation_find(name), &in, &out);
}

/* ---- Around a test --------------------------------------------------------------------------------------------------------------------- */

typedef struct number_row {
  int64_t number;
} number_row;
PURLIN_SCHEMA(number_row, "A number", PURLIN_REQUIRED(number, "It"));

static int64_t number_of(purlin_ctx *ctx, const char *sql) {
  number_row row = {0};
  OK(ctx, purlin_db_row_(ctx, number_row_schema(), &row, &(purlin_value){PURLIN_V_TEXT, {.data = sql}, strlen(sql)}, 1));
  return row.number;
}

/* Of those with a number: first all that wait for one get it. */
static void is(purlin_ctx *ctx, const char *condition, int64_t expected) {
  OK(ctx, audit_sequence(ctx));
  assert_int_equal(number_of(ctx, purlin_format(ctx, "SELECT COUNT(*) AS number FROM audit_entries WHERE %s", condition)),
                   expected);
}

static void clear(purlin_ctx *ctx) {
  static bool migrated;
  buffer why = {0};
  if (!migrated && db_migrate(ctx, "purlin", audit_migrations, audit_migration_count, &why) != PURLIN_OK)
    fail_msg("%s", buffer_end(&why));
  buffer_free(&why);
  migrated = true;
  static const char *const statements[] = {"TRUNCATE audit_entries",
                                           "TRUNCATE audit_waiting",
                                           "TRUNCATE audit_subtrees",
                                           "TRUNCATE audit_heads",
                                           "UPDATE audit_state SET size = 0, peaks = '', forgot = 0",
                                           "CREATE OR REPLACE TABLE things (id VARCHAR(100))"};
  for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) RUN(ctx, statements[i]);
  const char *heads = purlin_format(ctx, "%s/audit.heads", test_directory);
  (void)unlink(heads);
}

static void set_flag(void *argument) { *(bool *)argument = true; }

static void start(purlin_ctx *ctx) {
  buffer why = {0};
  audit_options options;
  audit_options_default(&options);
  options.state = test_directory;
  options.head_ms = 10;
  options.round_ms = 5;
  if (audit_start(ctx, &options, &why) != PURLIN_OK) fail_msg("%s", buffer_end(&why));
  buffer_free(&why);
}

/* After it, everything that was written is under a head. */
static void seal(purlin_ctx *ctx) {
  bool done = false;
  start(ctx);
  audit_drain(set_flag, &done);
  while (!done) loop_sleep(1);
}

typedef PURLIN_LIST_OF(audit_entry) entries;
#define ENTRY                                                                                                                     \
  "id, at, workspace, project, actor, credential, address, operation, object, outcome, trace_id, input, input_bytes, input_hash," \
  " `before`, `after`"

/* ---- Tests -------------------------------------------------------------------------------------------------------------------------------- */

TEST_IN_DATABASE(an_entry_goes_with_its_change) {
  clear(ctx);
  OK(ctx, call(ctx, "test.make", (thing){.id = "a", .password = "hush"}));
  is(ctx, "operation = 'test.make' AND object = 'a' AND outcome = 'done' AND workspace = 'default' AND leaf_index = 0", 1);
  is(ctx, "input LIKE '%\"password\":\"***\"%' AND input NOT LIKE '%hush%' AND LENGTH(input) = input_bytes", 1);
  is(ctx, "input_hash = SHA2(input, 256)", 1);
  assert_int_equal(call(ctx, "test.make", (thing){.id = "b", .fails = 1}), PURLIN_CONFLICT);
  purlin_clear_failure(ctx);
  is(ctx, "TRUE", 1);
  OK(ctx, call(ctx, "test.look", (thing){.id = "c"}));
  OK(ctx, call(ctx, "test.make_quietly", (thing){.id = "d"}));
  is(ctx, "TRUE", 1);
  OK(ctx, call(ctx, "test.make_two", (thing){.id = "e"}));
  is(ctx, "TRUE", 2);
  is(ctx, "operation = 'test.make_two'", 1);
  assert_int_equal(number_of(ctx, "SELECT COUNT(*) AS number FROM things"), 4);
}

static purlin_status change_in_vain_and_write(purlin_ctx *ctx, void *argument) {
  (void)argument;
  assert_int_equal(call(ctx, "test.change", (thing){.id = "a", .fails = 1}), PURLIN_CONFLICT);
  purlin_clear_failure(ctx);
  return purlin_db_run(ctx, "INSERT INTO things VALUES ('b')");
}

/* Nobody asks any more what it would have changed: it is over, and its input gone. */
TEST_IN_DATABASE(what_failed_before_it_wrote_is_forgotten) {
  clear(ctx);
  looks = 0;
  OK(ctx, call(ctx, "test.change", (thing){.id = "a"}));
  assert_int_equal(looks, 1);
  OK(ctx, purlin_transaction(ctx, change_in_vain_and_write, NULL));
  assert_int_equal(looks, 1);
  is(ctx, "TRUE", 1);
}

TEST_IN_DATABASE(without_an_entry_there_is_no_change) {
  clear(ctx);
  RUN(ctx, "ALTER TABLE audit_waiting ADD CONSTRAINT never CHECK (entry NOT LIKE '%test.make%')");
  assert_int_not_equal(call(ctx, "test.make", (thing){.id = "a"}), PURLIN_OK);
  purlin_clear_failure(ctx);
  assert_int_equal(number_of(ctx, "SELECT COUNT(*) AS number FROM things"), 0);
  RUN(ctx, "ALTER TABLE audit_waiting DROP CONSTRAINT never");
}

TEST_IN_DATABASE(a_long_input_is_cut_and_hashed_whole) {
  clear(ctx);
  static const size_t sizes[] = {10000, 500000}; /* here, and on a thread of the pool */
  for (size_t i = 0; i < 2; i++) {
    char *note = purlin_alloc(ctx, sizes[i] + 1);
    for (size_t at = 0; at < sizes[i]; at += 2) memcpy(note + at, "\xc3\xa9", 2); /* no character is cut in two */
    OK(ctx, call(ctx, "test.make", (thing){.id = "a", .note = note}));
  }
  is(ctx, "input LIKE '{\"cut\":\"%' AND JSON_VALID(input) AND LENGTH(input) < 20000 AND input_bytes >= 10000", 2);
  is(ctx, "input_bytes > 500000", 1);
  is(ctx, "input_hash = SHA2(input, 256)", 0);
}

TEST_IN_DATABASE(before_and_after_are_kept_and_cut) {
  clear(ctx);
  OK(ctx, purlin_audit(ctx, &(purlin_audit_entry){
                                .operation = "test.x", .before = {"{\"a\":1}", 7}, .after = {"{\"a\":\"\xc3\xa9\"}", 10}}));
  is(ctx, "`before` = '{\"a\":1}' AND `after` = '{\"a\":\"\xc3\xa9\"}'", 1);
  enum { LONG = 100000 };
  char *text = purlin_alloc(ctx, LONG);
  memset(text, 'x', LONG);
  text[0] = text[LONG - 1] = '"';
  audit_entry *entry = audit_prepare(ctx, "test.x", NULL, NULL);
  assert_non_null(entry);
  entry->before = entry->after = (purlin_json){text, LONG};
  OK(ctx, audit_write(ctx, entry));
  assert_int_equal(entry->before.size, LONG); /* a transaction that runs again finds it as it was */
  is(ctx, "`before` LIKE '{\"cut\":\"%' AND JSON_VALID(`before`) AND LENGTH(`before`) < 9000 AND `after` = `before`", 1);
  seal(ctx);
  entries rows = {0};
  OK(ctx, purlin_db_list(ctx, audit_entry, &rows, "SELECT " ENTRY " FROM audit_entries ORDER BY leaf_index"));
  assert_int_equal(rows.count, 2);
  for (size_t i = 0; i < rows.count; i++) { /* both are part of what is hashed */
    tree_hash leaf, other;
    audit_leaf(&rows.items[i], leaf.bytes);
    rows.items[i].before.text = NULL;
    audit_leaf(&rows.items[i], other.bytes);
    assert_false(tree_equal(&leaf, &other));
    char digits[65];
    text_hex(leaf.bytes, sizeof leaf.bytes, digits);
    is(ctx, purlin_format(ctx, "leaf_index = %zu AND leaf = UNHEX('%s')", i, digits), 1);
  }
}

/* Of entries that were written before there was a before and an after the hash stays. */
static void an_entry_without_them_has_the_hash_that_it_had(void **state) {
  (void)state;
  static const char text[] =
      "{\"id\":\"aud_1\",\"at\":\"2026-01-02T03:04:05.678901Z\",\"workspace\":\"default\",\"operation\":\"x.y\","
      "\"outcome\":\"done\",\"input\":{\"a\":1},\"input_bytes\":7,\"input_hash\":\"00\"}";
  const audit_entry entry = {.id = "aud_1",
                             .at = {INT64_C(1767323045678901)},
                             .workspace = "default",
                             .operation = "x.y",
                             .outcome = "done",
                             .input = {"{\"a\":1}", 7},
                             .input_bytes = 7,
                             .input_hash = "00"};
  tree_hash leaf, expected = tree_leaf(text, sizeof text - 1);
  audit_leaf(&entry, leaf.bytes);
  assert_true(tree_equal(&leaf, &expected));
}

static purlin_status write_and_fail(purlin_ctx *ctx, void *argument) {
  (void)argument;
  OK(ctx, purlin_audit(ctx, &(purlin_audit_entry){.operation = "test.never"}));
  return purlin_fail(ctx, PURLIN_CONFLICT, "no");
}

static purlin_status write_in_a_loop(purlin_ctx *ctx, void *argument) {
  (void)argument;
  OK(ctx, purlin_db_run(ctx, "INSERT INTO things VALUES ('a')"));
  for (int i = 0; i < 2; i++) {
    purlin_mark mark = purlin_arena_mark(ctx);
    const char *object = purlin_format(ctx, "{\"number\":%d}", i);
    OK(ctx, purlin_audit(ctx, &(purlin_audit_entry){.operation = "test.loop", .after = {object, strlen(object)}}));
    purlin_arena_reset(ctx, mark);
    for (int more = 0; more < 100; more++) memset(purlin_alloc(ctx, 32), 'x', 32);
  }
  return PURLIN_OK;
}

/* The entry goes with the COMMIT, when the arena has been used for something else. */
TEST_IN_DATABASE(a_loop_may_reset_the_arena) {
  clear(ctx);
  OK(ctx, purlin_transaction(ctx, write_in_a_loop, NULL));
  is(ctx, "operation = 'test.loop' AND `after` IN ('{\"number\":0}', '{\"number\":1}')", 2);
}

TEST_IN_DATABASE(plugins_write_their_own) {
  clear(ctx);
  OK(ctx, purlin_audit(
              ctx, &(purlin_audit_entry){
                       .operation = "accounts.login", .actor = "user:ana", .object = "ses_1", .detail = {"{\"a\":1}", 7}}));
  is(ctx, "operation = 'accounts.login' AND actor = 'user:ana' AND object = 'ses_1' AND input = '{\"a\":1}'", 1);
  assert_int_equal(purlin_transaction(ctx, write_and_fail, NULL), PURLIN_CONFLICT);
  purlin_clear_failure(ctx);
  OK(ctx, purlin_audit(ctx, &(purlin_audit_entry){
                                .operation = "accounts.login", .actor = "user:eve", .outcome = PURLIN_AUDIT_REFUSED}));
  is(ctx, "TRUE", 1); /* apart */
  seal(ctx);
  is(ctx, "outcome = 'refused' AND actor = 'user:eve' AND leaf_index IS NOT NULL", 1);
  is(ctx, "TRUE", 2);
}

TEST_IN_DATABASE(refusals_are_bounded_and_what_is_dropped_is_told) {
  clear(ctx);
  seal(ctx);
  int64_t before = number_of(ctx, "SELECT COUNT(*) AS number FROM audit_entries");
  for (int i = 0; i < 5000; i++) audit_refused(ctx, "test.refused", PURLIN_FORBIDDEN);
  audit_refused(ctx, "test.refused", PURLIN_NOT_FOUND); /* no refusal */
  seal(ctx);
  int64_t written = number_of(ctx, "SELECT COUNT(*) AS number FROM audit_entries") - before;
  assert_in_range(written, 400, 520);
  is(ctx, "operation = 'audit.dropped' AND JSON_VALUE(input, '$.entries') + 0 BETWEEN 4400 AND 4600", 1);
  is(ctx, "outcome = 'forbidden' AND leaf_index IS NULL", 0);
}

/* ---- The tree -------------------------------------------------------------------------------------------------------------------------------- */

/* The hash of each row as it stands in the database. */
static tree_hash *leaves_of(purlin_ctx *ctx, size_t *count) {
  entries rows = {0};
  OK(ctx, purlin_db_list(ctx, audit_entry, &rows, "SELECT " ENTRY " FROM audit_entries ORDER BY leaf_index"));
  tree_hash *leaves = purlin_alloc_array(ctx, rows.count + 1, sizeof *leaves);
  for (size_t i = 0; i < rows.count; i++) audit_leaf(&rows.items[i], leaves[i].bytes);
  *count = rows.count;
  return leaves;
}

static audit_head newest(purlin_ctx *ctx) {
  audit_head head = {0};
  OK(ctx, purlin_db_row(ctx, audit_head, &head,
                        "SELECT origin, h.size, root, at, signer, signature FROM audit_heads h, audit_state s"
                        " ORDER BY h.size DESC LIMIT 1"));
  return head;
}

TEST_IN_DATABASE(what_is_numbered_is_proven) {
  clear(ctx);
  enum { MANY = 700 };
  OK(ctx, call(ctx, "test.make", (thing){.id = "first", .note = "caf\xc3\xa9 \"quoted\""}));
  seal(ctx);
  audit_head first = newest(ctx);
  assert_int_equal(first.size, 1);
  for (int i = 0; i < MANY; i++) OK(ctx, purlin_audit(ctx, &(purlin_audit_entry){.operation = "test.many"}));
  seal(ctx);
  size_t count;
  tree_hash *leaves = leaves_of(ctx, &count), root, old;
  audit_head head = newest(ctx);
  assert_int_equal(count, MANY + 1);
  assert_int_equal(head.size, count);
  assert_true(head_root(&head, &root) && head_root(&first, &old));
  tree_frontier tree = {0};
  for (size_t i = 0; i < count; i++) tree_append(&tree, &leaves[i], NULL, NULL);
  tree_hash grown = tree_root(&tree);
  assert_true(tree_equal(&grown, &root));
  assert_int_equal(number_of(ctx, "SELECT COUNT(*) AS number FROM audit_subtrees"), count / 256);
  EVP_PKEY *key = head_public_key(head_key_pem(), strlen(head_key_pem()));
  assert_non_null(key);
  assert_true(head_is_signed_by(&head, key));
  head.size++;
  assert_false(head_is_signed_by(&head, key));
  EVP_PKEY_free(key);
  tree_hash path[TREE_MOST_PATH];
  size_t steps;
  for (size_t i = 0; i < count; i += 37) {
    OK(ctx, audit_prove_inclusion(ctx, i, count, path, &steps));
    assert_true(tree_includes(&leaves[i], i, count, path, steps, &root));
  }
  OK(ctx, audit_prove_consistency(ctx, 1, count, path, &steps));
  assert_true(tree_extends(1, &old, count, &root, path, steps));
}

TEST_IN_DATABASE(erased_content_leaves_its_hash) {
  clear(ctx);
  for (int i = 0; i < 3; i++)
    OK(ctx, purlin_audit(ctx, &(purlin_audit_entry){.operation = "test.x",
                                                    .actor = i == 1 ? "user:ana" : "user:bob",
                                                    .before = {"{}", 2},
                                                    .after = {"{}", 2}}));
  seal(ctx);
  int64_t erased = 0;
  OK(ctx, audit_erase_actor(ctx, "user:ana", &erased));
  assert_int_equal(erased, 1);
  is(ctx,
     "id IS NULL AND actor IS NULL AND address IS NULL AND input IS NULL AND `before` IS NULL AND `after` IS NULL AND LENGTH(leaf) = 32 AND leaf_index = 1",
     1);
  RUN(ctx, "UPDATE audit_entries SET at = NOW(6) - INTERVAL 40 DAY WHERE leaf_index = 0");
  OK(ctx, audit_forget(ctx, 30));
  is(ctx, "id IS NULL", 2);
  /* One that a slower clock wrote is young when what follows it is old: it waits, and is not passed over. */
  RUN(ctx, "UPDATE audit_entries SET at = NOW(6) - INTERVAL 40 DAY WHERE leaf_index = 2");
  OK(ctx, audit_forget(ctx, 30));
  is(ctx, "id IS NULL", 2);
  RUN(ctx, "UPDATE audit_entries SET at = NOW(6) - INTERVAL 31 DAY WHERE leaf_index = 1");
  OK(ctx, audit_forget(ctx, 30));
  is(ctx, "id IS NULL", 3);
  tree_hash path[TREE_MOST_PATH];
  size_t steps;
  OK(ctx, audit_prove_inclusion(ctx, 1, 3, path, &steps));
  OK(ctx, purlin_audit(ctx, &(purlin_audit_entry){.operation = "test.x"}));
  seal(ctx); /* the next head continues the last one */
  assert_int_equal(newest(ctx).size, 4);
}

static purlin_status erase_nobody(purlin_ctx *ctx, void *argument) {
  int64_t erased = 0;
  OK(ctx, audit_erase_actor(ctx, "user:nobody", &erased));
  *(bool *)argument = ctx->transaction_open;
  return PURLIN_OK;
}

/* The tree is locked while entries get their numbers, not while the whole log is read for one actor. */
TEST_IN_DATABASE(an_erasure_holds_nobody_up) {
  clear(ctx);
  OK(ctx, purlin_audit(ctx, &(purlin_audit_entry){.operation = "test.x"}));
  bool locks = true;
  OK(ctx, purlin_transaction(ctx, erase_nobody, &locks));
  assert_false(locks);
  is(ctx, "leaf_index = 0", 1);
}

TEST_IN_DATABASE(old_heads_are_thinned_out) {
  clear(ctx);
  static const struct {
    const char *at;
    bool stays;
  } heads[] = {{"DATE(NOW() - INTERVAL 400 DAY) + INTERVAL 1 HOUR", false}, /* of a day its last one */
               {"DATE(NOW() - INTERVAL 400 DAY) + INTERVAL 23 HOUR", true},
               {"DATE(NOW() - INTERVAL 399 DAY) + INTERVAL 1 HOUR", true},
               {"DATE(NOW() - INTERVAL 5 DAY) + INTERVAL 60 MINUTE", false}, /* of an hour its last one */
               {"DATE(NOW() - INTERVAL 5 DAY) + INTERVAL 119 MINUTE", true},
               {"DATE(NOW() - INTERVAL 5 DAY) + INTERVAL 120 MINUTE", true},
               {"NOW() - INTERVAL 23 HOUR", true},
               {"NOW() - INTERVAL 23 HOUR", true}};
  enum { COUNT = sizeof heads / sizeof heads[0] };
  for (size_t i = 0; i < COUNT; i++)
    RUN(ctx, purlin_format(ctx,
                           "INSERT INTO audit_heads (size, root, at, signer, signature, public_key)"
                           " VALUES (%zu, '', %s, '', '', '')",
                           i, heads[i].at));
  for (int i = 0; i < 2; i++) {
    OK(ctx, audit_prune_heads(ctx));
    for (size_t h = 0; h < COUNT; h++)
      assert_int_equal(number_of(ctx, purlin_format(ctx, "SELECT COUNT(*) AS number FROM audit_heads WHERE size = %zu", h)),
                       heads[h].stays);
  }
}

/* A version that wrote its entries into audit_entries itself was stopped before they had numbers. */
TEST_IN_DATABASE(what_an_older_version_left_is_numbered) {
  clear(ctx);
  RUN(ctx, "INSERT INTO audit_entries (leaf, id, at, workspace, operation, outcome, input_bytes)"
           " VALUES (REPEAT('x', 32), 'aud_old', NOW(6), 'default', 'test.old', 'done', 0)");
  OK(ctx, purlin_audit(ctx, &(purlin_audit_entry){.operation = "test.new"}));
  assert_int_equal(number_of(ctx, "SELECT COUNT(*) AS number FROM audit_waiting"), 1);
  seal(ctx);
  is(ctx, "operation = 'test.old' AND leaf_index = 0 OR operation = 'test.new' AND leaf_index = 1", 2);
  assert_int_equal(newest(ctx).size, 2);
  assert_int_equal(number_of(ctx, "SELECT COUNT(*) AS number FROM audit_waiting"), 0);
}

static size_t lines_of_heads(purlin_ctx *ctx) {
  FILE *file = fopen(purlin_format(ctx, "%s/audit.heads", test_directory), "r");
  size_t lines = 0;
  for (int c = file ? fgetc(file) : EOF; c != EOF; c = fgetc(file)) lines += c == '\n';
  if (file) fclose(file);
  return lines;
}

TEST_IN_DATABASE(a_node_keeps_no_head_that_forgets_the_last) {
  clear(ctx);
  for (int i = 0; i < 5; i++) OK(ctx, purlin_audit(ctx, &(purlin_audit_entry){.operation = "test.x"}));
  seal(ctx);
  assert_int_equal(lines_of_heads(ctx), 1);
  RUN(ctx, "UPDATE audit_entries SET leaf = REPEAT('x', 32) WHERE leaf_index = 2");
  OK(ctx, purlin_audit(ctx, &(purlin_audit_entry){.operation = "test.x"}));
  seal(ctx);
  assert_int_equal(lines_of_heads(ctx), 1); /* an alarm instead */
  RUN(ctx, "DELETE FROM audit_heads");
  RUN(ctx, "TRUNCATE audit_entries");
  RUN(ctx, "UPDATE audit_state SET size = 0, peaks = ''");
  OK(ctx, purlin_audit(ctx, &(purlin_audit_entry){.operation = "test.x"}));
  seal(ctx);
  assert_int_equal(lines_of_heads(ctx), 1);
}

static bool keep(purlin_ctx *ctx, int size) {
  const char *line = purlin_format(ctx,
                                   "{\"origin\":\"o\",\"size\":%d,\"root\":\"%064d\",\"at\":\"2026-01-02T03:04:05Z\","
                                   "\"signer\":\"%064d\",\"signature\":\"x\"}",
                                   size, 0, 0);
  return head_keep(test_directory, line, strlen(line));
}

static int64_t last_kept(purlin_ctx *ctx) {
  audit_head head;
  return head_last_kept(test_directory, &ctx->memory, &head) ? head.size : -1;
}

TEST_IN_DATABASE(a_full_file_of_heads_makes_room) {
  clear(ctx);
  const char *path = purlin_format(ctx, "%s/audit.heads", test_directory), *older = purlin_format(ctx, "%s.1", path);
  assert_true(keep(ctx, 7));
  assert_int_equal(truncate(path, HEAD_MOST_FILE_BYTES - 1), 0);
  assert_true(keep(ctx, 8)); /* a byte is missing: not full yet */
  assert_int_not_equal(access(older, F_OK), 0);
  assert_true(keep(ctx, 9));
  assert_int_equal(access(older, F_OK), 0);
  assert_int_equal(lines_of_heads(ctx), 1);
  assert_int_equal(last_kept(ctx), 9);
  /* A crash before the new file's first line: what that was to follow is in the older one. */
  assert_int_equal(truncate(path, 0), 0);
  assert_int_equal(last_kept(ctx), 8);
  assert_int_equal(unlink(path), 0);
  assert_int_equal(last_kept(ctx), 8);
  assert_true(keep(ctx, 9));
  assert_int_equal(last_kept(ctx), 9);
  assert_int_equal(unlink(path) | unlink(older), 0);
  assert_int_equal(last_kept(ctx), -1);
}

TEST_IN_DATABASE(the_key_is_the_nodes_own) {
  clear(ctx);
  seal(ctx);
  const char *path = purlin_format(ctx, "%s/audit.key", test_directory), *id = purlin_copy(ctx, head_key_id());
  struct stat about;
  assert_int_equal(stat(path, &about), 0);
  assert_int_equal(about.st_mode & 0777, 0600);
  buffer why = {0};
  assert_true(head_key_open(test_directory, &why));
  assert_string_equal(id, head_key_id());
  assert_int_equal(chmod(path, 0644), 0);
  assert_false(head_key_open(test_directory, &why));
  assert_non_null(strstr(buffer_end(&why), "chmod 600"));
  assert_int_equal(chmod(path, 0600), 0);
  assert_int_equal(truncate(path, 20), 0);
  buffer_clear(&why);
  assert_false(head_key_open(test_directory, &why));
  assert_non_null(strstr(buffer_end(&why), "Ed25519"));
  assert_int_equal(unlink(path), 0);
  buffer_free(&why);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(an_entry_goes_with_its_change),
                                     cmocka_unit_test(what_failed_before_it_wrote_is_forgotten),
                                     cmocka_unit_test(without_an_entry_there_is_no_change),
                                     cmocka_unit_test(a_long_input_is_cut_and_hashed_whole),
                                     cmocka_unit_test(before_and_after_are_kept_and_cut),
                                     cmocka_unit_test(an_entry_without_them_has_the_hash_that_it_had),
                                     cmocka_unit_test(a_loop_may_reset_the_arena),
                                     cmocka_unit_test(plugins_write_their_own),
                                     cmocka_unit_test(refusals_are_bounded_and_what_is_dropped_is_told),
                                     cmocka_unit_test(what_is_numbered_is_proven),
                                     cmocka_unit_test(erased_content_leaves_its_hash),
                                     cmocka_unit_test(an_erasure_holds_nobody_up),
                                     cmocka_unit_test(old_heads_are_thinned_out),
                                     cmocka_unit_test(what_an_older_version_left_is_numbered),
                                     cmocka_unit_test(a_node_keeps_no_head_that_forgets_the_last),
                                     cmocka_unit_test(a_full_file_of_heads_makes_room),
                                     cmocka_unit_test(the_key_is_the_nodes_own)};
  return cmocka_run_group_tests(tests, setup, stop_server);
}
