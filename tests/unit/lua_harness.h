/* lua_harness.h: scripts in a folder, loaded on real loops; what lies behind the host API (operations are real) is replaced by doubles
 * that answer from memory, since neither a database nor its queue belongs in these tests. One per program. */
#ifndef PURLIN_TESTS_LUA_HARNESS_H
#define PURLIN_TESTS_LUA_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "access/access.h"
#include "db/db.h"
#include "events/events.h"
#include "jobs/jobs.h"
#include "loop/context.h"
#include "lua/generation.h"
#include "lua/script.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "operation/operation.h"
#include <purlin/contracts/secrets.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A failed assertion of cmocka would jump off the fiber's stack; these are counted and looked at on the test's own. */
static atomic_int failures;
#define CHECK(condition)                                                                                                   \
  do {                                                                                                                     \
    if (!(condition)) {                                                                                                    \
      print_error("%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                                  \
      atomic_fetch_add(&failures, 1);                                                                                      \
    }                                                                                                                      \
  } while (0)

/* ---- Doubles. Weak, so that nothing collides when a library brings the real one along. ----------------------------------------------- */

#define DOUBLE __attribute__((weak))

static char last_sql[512], last_values[256], last_job[256], last_event[256];
static pthread_mutex_t listeners_lock = PTHREAD_MUTEX_INITIALIZER;

struct events_listener {
  char name[128], event[64];
  events_run *run;
  void *argument;
  bool active;
};
static struct events_listener listeners[16];
static size_t listener_count;

DOUBLE bool db_in_transaction(const purlin_ctx *ctx) { return ctx == NULL; }
DOUBLE void db_set_read_only(purlin_ctx *ctx, bool read_only) { ctx->reads_only = read_only; }
DOUBLE purlin_status db_transact(purlin_ctx *ctx, purlin_status (*body)(purlin_ctx *, void *), void *argument) {
  return body(ctx, argument);
}
DOUBLE void db_at_first_write(purlin_ctx *ctx, purlin_status (*opening)(purlin_ctx *, void *), void *argument) {
  (void)ctx, (void)opening, (void)argument;
}
DOUBLE purlin_status db_lock_and_read(purlin_ctx *ctx, purlin_status (*read)(purlin_ctx *, void *), void *argument) {
  return read(ctx, argument);
}

DOUBLE bool db_end_with(purlin_ctx *ctx, const purlin_value *sql_and_values, size_t count) {
  (void)ctx, (void)sql_and_values, (void)count;
  return false;
}

static void note_values(const purlin_value *values, size_t count) {
  size_t used = 0;
  last_values[0] = '\0';
  for (size_t i = 0; i < count && used < sizeof last_values; i++) {
    const purlin_value *v = &values[i];
    int added = 0;
    if (v->type == PURLIN_V_INT)
      added = snprintf(last_values + used, sizeof last_values - used, "i%lld ", (long long)v->as.integer);
    else if (v->type == PURLIN_V_DOUBLE)
      added = snprintf(last_values + used, sizeof last_values - used, "d%g ", v->as.number);
    else if (v->type == PURLIN_V_TEXT)
      added = snprintf(last_values + used, sizeof last_values - used, "t%.*s ", (int)v->size, (const char *)v->as.data);
    else added = snprintf(last_values + used, sizeof last_values - used, "n ");
    used += (size_t)added;
  }
}

/* Sleeps, as a real query would; answers one row. */
DOUBLE purlin_status db_query_json(purlin_ctx *ctx, const char *sql, const purlin_value *values, size_t count,
                                   size_t max_rows, purlin_json *rows) {
  (void)max_rows;
  (void)snprintf(last_sql, sizeof last_sql, "%s", sql);
  note_values(values, count);
  purlin_status status = purlin_sleep(ctx, 1);
  if (status != PURLIN_OK) return status;
  *rows = (purlin_json){"[{\"id\":7,\"name\":\"a\\u00e9\",\"gone\":null}]",
                        strlen("[{\"id\":7,\"name\":\"a\\u00e9\",\"gone\":null}]")};
  return PURLIN_OK;
}

/* A statement about the table "broken" fails. */
static int statements_run, transactions_run;
DOUBLE purlin_status purlin_db_run_(purlin_ctx *ctx, const purlin_value *sql_and_values, size_t count) {
  (void)snprintf(last_sql, sizeof last_sql, "%.*s", (int)sql_and_values->size, (const char *)sql_and_values->as.data);
  note_values(sql_and_values + 1, count - 1);
  statements_run++;
  if (strstr(last_sql, "broken") != NULL) return purlin_fail(ctx, PURLIN_CONFLICT, "it exists already");
  return purlin_sleep(ctx, 1);
}

DOUBLE purlin_status purlin_transaction(purlin_ctx *ctx, purlin_transaction_body *body, void *argument) {
  transactions_run++;
  return body(ctx, argument);
}

DOUBLE purlin_status purlin_db_bulk_(purlin_ctx *ctx, const purlin_schema *schema, const void *items, size_t item_count,
                                     const char *sql) {
  (void)ctx, (void)schema, (void)items, (void)item_count, (void)sql;
  return PURLIN_OK;
}
DOUBLE uint64_t purlin_affected(const purlin_ctx *ctx) { return ctx == NULL ? 0 : 2; }
DOUBLE int64_t purlin_inserted(const purlin_ctx *ctx) { return ctx == NULL ? 0 : 41; }

DOUBLE purlin_status purlin_db_row_(purlin_ctx *ctx, const purlin_schema *schema, void *out,
                                    const purlin_value *sql_and_values, size_t count) {
  (void)schema, (void)out, (void)sql_and_values, (void)count;
  return purlin_fail(ctx, PURLIN_UNAVAILABLE, "there is no database here");
}

DOUBLE purlin_status purlin_db_list_(purlin_ctx *ctx, const purlin_schema *schema, void *items, size_t *item_count,
                                     const purlin_value *sql_and_values, size_t count) {
  (void)schema, (void)items, (void)item_count, (void)sql_and_values, (void)count;
  return purlin_fail(ctx, PURLIN_UNAVAILABLE, "there is no database here");
}

/* One secret, "token", of the provider "store". */
static purlin_status secret_of_double(purlin_ctx *ctx, const char *name, purlin_secret *out) {
  if (strcmp(name, "token") != 0) return purlin_fail(ctx, PURLIN_NOT_FOUND, "there is no secret named '%s'", name);
  purlin_status status = purlin_sleep(ctx, 1);
  return status == PURLIN_OK ? purlin_secret_keep(ctx, "value", 5, out) : status;
}
DOUBLE const void *purlin_use_(purlin_ctx *ctx, const char *contract, const char *name, uint32_t version) {
  static const purlin_secrets secrets = {.size = sizeof secrets, .get = secret_of_double};
  if (version == PURLIN_CONTRACT_secrets && strcmp(contract, "secrets") == 0 && strcmp(name, "store") == 0) return &secrets;
  (void)!purlin_fail(ctx, PURLIN_UNAVAILABLE, "nobody provides that");
  return NULL;
}

DOUBLE purlin_status jobs_enqueue_json(purlin_ctx *ctx, const char *job, purlin_json payload,
                                       const purlin_enqueue_options *options, const char **id) {
  (void)snprintf(last_job, sizeof last_job, "%s %.*s %d %u %s", job, (int)payload.size, payload.text,
                 (int)options->priority, (unsigned)options->delay_ms,
                 options->unique_key == NULL ? "-" : options->unique_key);
  *id = "job_1";
  return purlin_sleep(ctx, 1);
}

DOUBLE purlin_status events_emit_json(purlin_ctx *ctx, const char *name, const char *key, purlin_json payload) {
  (void)snprintf(last_event, sizeof last_event, "%s %s %.*s", name, key, (int)payload.size, payload.text);
  return purlin_sleep(ctx, 1);
}

DOUBLE purlin_status events_listen(const char *name, const char *event, events_run *run, void *argument,
                                   struct plugin *owner, const char *plugin, events_listener **listener) {
  (void)owner, (void)plugin;
  (void)pthread_mutex_lock(&listeners_lock);
  struct events_listener *l = &listeners[listener_count++];
  (void)snprintf(l->name, sizeof l->name, "%s", name);
  (void)snprintf(l->event, sizeof l->event, "%s", event);
  l->run = run;
  l->argument = argument;
  l->active = true;
  (void)pthread_mutex_unlock(&listeners_lock);
  *listener = l;
  return PURLIN_OK;
}

DOUBLE void events_unlisten(events_listener *listener) { listener->active = false; }

/* access: every permission but "forbidden:*". */
static identity who_of_test = {.actor = "user:test", .workspace = "default", .project = "default"};

DOUBLE void access_identify(purlin_ctx *ctx, const char *actor, const char *workspace, const char *project) {
  identity *who = purlin_alloc(ctx, sizeof *who);
  if (who == NULL) return;
  *who = (identity){
      .actor = purlin_copy(ctx, actor), .workspace = purlin_copy(ctx, workspace), .project = purlin_copy(ctx, project)};
  ctx->who = who;
  ctx->actor = who->actor;
  ctx->workspace = who->workspace;
  ctx->project = who->project;
}

DOUBLE purlin_status access_recognise(purlin_ctx *ctx, purlin_request *request) {
  const char *token = purlin_header(request, "authorization");
  if (token != NULL && strcmp(token, "Bearer right") != 0)
    return purlin_fail(ctx, PURLIN_UNAUTHENTICATED, "the token is not valid");
  if (token != NULL) access_identify(ctx, "user:caller", "default", "default");
  return PURLIN_OK;
}

DOUBLE purlin_status access_admit(purlin_ctx *ctx, purlin_request *request, const http_target *as) {
  (void)as;
  return access_recognise(ctx, request);
}
DOUBLE bool purlin_permitted(const purlin_ctx *ctx, const char *permission) {
  return ctx->who != NULL && strncmp(permission, "forbidden:", 10) != 0;
}

DOUBLE purlin_status access_require(purlin_ctx *ctx, const char *permission, bool anywhere) {
  (void)anywhere;
  if (strncmp(permission, "forbidden:", 10) != 0) return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_FORBIDDEN, "this needs the permission '%s'", permission);
}

DOUBLE const struct identity *access_see_all(purlin_ctx *ctx) { return ctx->who; }
DOUBLE void access_see_as(purlin_ctx *ctx, const struct identity *who) { ctx->who = who; }

/* ---- Operations and policy points of the plugin "demo" --------------------------------------------------------------------------------- */

typedef struct {
  int64_t a, b;
  purlin_texts tags;
} add_in;
PURLIN_SCHEMA(add_in, "Two numbers", PURLIN_REQUIRED(a, "One", .max = 1000), PURLIN_DEFAULT(b, "1", "The other"),
              PURLIN_OPTIONAL(tags, "Tags"));
typedef struct {
  int64_t sum;
  int64_t tags;
  const char *actor;
  const char *workspace;
  purlin_opt_text nothing;
} add_out;
PURLIN_SCHEMA(add_out, "The sum", PURLIN_REQUIRED(sum, "Sum"), PURLIN_REQUIRED(tags, "How many tags"),
              PURLIN_REQUIRED(actor, "Who"), PURLIN_REQUIRED(workspace, "Where"), PURLIN_OPTIONAL(nothing, "Always null"));

PURLIN_OPERATION(add, add_in, add_out, .summary = "Adds", .permission = "demo:read") {
  out->sum = in->a + in->b;
  out->tags = in->tags.items == NULL ? -1 : (int64_t)in->tags.count;
  out->actor = purlin_actor(ctx);
  out->workspace = purlin_workspace(ctx);
  out->nothing.state = PURLIN_NULL;
  return purlin_sleep(ctx, 1);
}

PURLIN_OPERATION(missing, add_in, add_out, .summary = "Fails", .permission = "demo:read") {
  return purlin_fail(ctx, PURLIN_NOT_FOUND, "no model named '%lld'", (long long)in->a);
}

PURLIN_OPERATION(refused, add_in, add_out, .summary = "Is forbidden", .permission = "forbidden:read") { return PURLIN_OK; }

typedef struct {
  double score;
  purlin_opt_text champion;
} promote_question;
PURLIN_SCHEMA(promote_question, "May it?", PURLIN_REQUIRED(score, "Score"), PURLIN_OPTIONAL(champion, "The champion"));
typedef struct {
  bool promote;
  const char *reason;
  purlin_texts notes;
} promote_answer;
PURLIN_SCHEMA(promote_answer, "It may", PURLIN_REQUIRED(promote, "Yes or no"), PURLIN_DEFAULT(reason, "\"\"", "Why"),
              PURLIN_OPTIONAL(notes, "More"));
PURLIN_POLICY(promote, promote_question, promote_answer, "May this version be promoted?", .fallback = "{\"promote\":false}",
              .timeout_ms = 10000);
PURLIN_POLICY(second, promote_question, promote_answer, "Another",
              .fallback = "{\"promote\":false,\"reason\":\"fallback\"}", .timeout_ms = 300,
              .on_failure = "{\"promote\":false,\"reason\":\"failure\"}");

/* Asks the policy from within an operation: policies and operations within each other. */
PURLIN_OPERATION(nest, add_in, add_out, .summary = "Asks demo.promote", .permission = "demo:read") {
  promote_question question = {.score = (double)in->a};
  promote_answer answer;
  purlin_status status = purlin_decide(ctx, promote, &question, &answer);
  if (status != PURLIN_OK) return status;
  out->actor = out->workspace = answer.reason;
  return PURLIN_OK;
}

static int register_all(void) {
  buffer why = {0};
  bool done = operations_register("demo", NULL, &add_operation, &why) == PURLIN_OK &&
              operations_register("demo", NULL, &missing_operation, &why) == PURLIN_OK &&
              operations_register("demo", NULL, &refused_operation, &why) == PURLIN_OK &&
              operations_register("demo", NULL, &nest_operation, &why) == PURLIN_OK &&
              operations_register_policy("demo", &promote_policy, &why) == PURLIN_OK &&
              operations_register_policy("demo", &second_policy, &why) == PURLIN_OK;
  if (!done) print_error("%s\n", buffer_end(&why));
  buffer_free(&why);
  return done ? 0 : -1;
}

/* ---- Files ------------------------------------------------------------------------------------------------------------------------------ */

static char folder[] = "/tmp/purlin-lua-XXXXXX", policies_folder[64], library_folder[64];

static void write_text(const char *in, const char *name, const char *text) {
  char path[256];
  (void)snprintf(path, sizeof path, "%s/%s", in, name);
  FILE *file = fopen(path, "we");
  CHECK(file != NULL);
  if (file == NULL) return;
  CHECK(fputs(text, file) >= 0);
  CHECK(fclose(file) == 0);
}

static void write_script(const char *name, const char *text) { write_text(policies_folder, name, text); }
__attribute__((unused)) static void write_module(const char *name, const char *text) {
  write_text(library_folder, name, text);
}

__attribute__((unused)) static void remove_script(const char *name) {
  char path[256];
  (void)snprintf(path, sizeof path, "%s/%s", policies_folder, name);
  CHECK(unlink(path) == 0);
}

/* ---- Running a test in a fiber ------------------------------------------------------------------------------------------------------------ */

static script_options options;
static buffer start_why;
static purlin_status start_status;

typedef struct test_job {
  loop_post_item item;
  context_run *run;
} test_job;

static void run_and_end(purlin_ctx *ctx, void *argument) {
  const test_job *job = argument;
  ctx->who = &who_of_test;
  buffer_clear(&start_why);
  start_status = script_start(ctx, &options, &start_why);
  job->run(ctx, NULL);
  loops_stop();
}

static void begin_job(void *argument) {
  test_job *job = argument;
  bool begun = context_start("tests", "test", run_and_end, job) == PURLIN_OK;
  CHECK(begun);
  if (!begun) loops_stop();
}

/* Starts the scripts that are in the folder, on `loops` loops, and runs the test on loop 0. */
static void run_on(size_t loops, context_run *test) {
  atomic_store(&failures, 0);
  listener_count = 0;
  assert_int_equal(loops_create(loops), PURLIN_OK);
  test_job job = {.run = test};
  job.item = (loop_post_item){.call = begin_job, .argument = &job};
  loop_post(loop_at(0), &job.item);
  loops_run();
  script_stop();
  loops_destroy();
  assert_int_equal(atomic_load(&failures), 0);
}

__attribute__((unused)) static void run(context_run *test) { run_on(1, test); }

static int before_each(void **unused) {
  (void)unused;
  char command[160];
  (void)snprintf(command, sizeof command, "rm -rf %s/policies %s/library", folder, folder);
  if (system(command) != 0) return -1;
  (void)snprintf(command, sizeof command, "mkdir -p %s/policies %s/library/tools", folder, folder);
  if (system(command) != 0) return -1;
  script_options_default(&options);
  options.policies = policies_folder;
  options.library = library_folder;
  return 0;
}

static int before_all(void **unused) {
  (void)unused;
  log_set_level(PURLIN_ERROR + 1);
  if (mkdtemp(folder) == NULL || metrics_register_own() != PURLIN_OK || register_all() != 0) return -1;
  (void)snprintf(policies_folder, sizeof policies_folder, "%s/policies", folder);
  (void)snprintf(library_folder, sizeof library_folder, "%s/library", folder);
  return 0;
}

static int after_all(void **unused) {
  (void)unused;
  char command[96];
  buffer_free(&start_why);
  (void)snprintf(command, sizeof command, "rm -rf %s", folder);
  return system(command);
}

#define TEST(test) cmocka_unit_test_setup(test, before_each)

#endif
