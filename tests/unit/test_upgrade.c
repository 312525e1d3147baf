/* The parts of `purlin upgrade` that need no system: the journal, going through steps, and what a server answers before and after. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "care/upgrade.h"

static char folder[] = "/tmp/purlin-test-upgrade-XXXXXX";

static int make_folder(void **state) {
  (void)state;
  return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
  (void)state;
  char command[128];
  (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
  return system(command);
}

static const char *in_folder(const char *name) {
  static char path[256];
  (void)snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

static void assert_says(buffer *why, const char *expected) {
  if (!strstr(buffer_end(why), expected)) fail_msg("'%s' does not say '%s'", buffer_end(why), expected);
}

static cJSON *first_record(void) {
  cJSON *first = cJSON_CreateObject();
  (void)cJSON_AddStringToObject(first, "from", "1");
  (void)cJSON_AddStringToObject(first, "to", "2");
  return first;
}

/* ---- The journal ---- */

static void test_journal(void **state) {
  (void)state;
  journal j;
  buffer why = {0};
  assert_false(journal_open(&j, in_folder("journal"), true, &why));
  assert_int_equal(why.size, 0);
  assert_true(journal_create(&j, folder, first_record(), &why));
  assert_true(journal_step(&j, "install", STEP_BEGUN, NULL, &why));
  assert_true(journal_step(&j, "install", STEP_FAILED, "no room", &why));
  assert_true(journal_step(&j, "install", STEP_BEGUN, NULL, &why));
  assert_true(journal_step(&j, "restart", STEP_DONE, NULL, &why));
  assert_true(journal_fact(&j, "pid", "7", &why));
  assert_true(journal_fact(&j, "pid", "8", &why));
  journal other;
  assert_false(journal_create(&other, folder, first_record(), &why));
  assert_says(&why, "exists");
  buffer_clear(&why);
  journal_close(&j);

  assert_true(journal_open(&j, in_folder("journal"), true, &why));
  assert_int_equal(journal_state_of(&j, "install"), STEP_BEGUN);
  assert_int_equal(journal_state_of(&j, "restart"), STEP_DONE);
  assert_int_equal(journal_state_of(&j, "compare"), STEP_NEVER);
  assert_string_equal(journal_recall(&j, "pid"), "8");
  assert_null(journal_recall(&j, "ran"));
  assert_string_equal(journal_begin_text(&j, "from"), "1");
  assert_true(journal_step(&j, "install", STEP_DONE, NULL, &why));
  assert_true(journal_finish(&j, folder, &why));
  journal_close(&j);
  assert_false(journal_open(&j, in_folder("journal"), true, &why));
  assert_true(journal_open(&j, in_folder("last"), false, &why));
  assert_int_equal(journal_state_of(&j, "install"), STEP_DONE);
  struct stat about;
  assert_int_equal(stat(in_folder("last"), &about), 0);
  assert_int_equal((size_t)about.st_size, j.size); /* without the room that was taken for it */
  assert_int_equal(about.st_mode & 0777, 0600);
  journal_close(&j);
  assert_int_equal(why.size, 0);
  buffer_free(&why);
}

static void write_text(const char *name, const char *text) {
  FILE *file = fopen(in_folder(name), "we");
  assert_non_null(file);
  assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
  assert_int_equal(fclose(file), 0);
}

/* Power went while a line was written: what follows it must be readable again. */
static void test_torn_journal(void **state) {
  (void)state;
  journal j;
  buffer why = {0};
  write_text("journal", "{\"from\":\"1\"}\n{\"step\":\"install\",\"is\":\"begun\"}\n{\"step\":\"install\",\"is\":\"do");
  assert_true(journal_open(&j, in_folder("journal"), true, &why));
  assert_int_equal(journal_state_of(&j, "install"), STEP_BEGUN);
  assert_true(journal_step(&j, "install", STEP_DONE, NULL, &why));
  journal_close(&j);
  assert_true(journal_open(&j, in_folder("journal"), true, &why));
  assert_int_equal(cJSON_GetArraySize(j.records), 3);
  assert_int_equal(journal_state_of(&j, "install"), STEP_DONE);
  journal_close(&j);

  write_text("journal", "{\"from\":"); /* while it was made: nothing has begun */
  assert_false(journal_open(&j, in_folder("journal"), true, &why));
  assert_int_equal(access(in_folder("journal"), F_OK), -1);
  write_text("journal", "");
  assert_false(journal_open(&j, in_folder("journal"), true, &why));
  assert_int_equal(why.size, 0);
  buffer_free(&why);
}

static void test_files(void **state) {
  (void)state;
  buffer why = {0}, text = {0};
  assert_true(file_write(in_folder("file"), "abc", 3, &why));
  assert_true(file_write(in_folder("file"), "de", 2, &why));
  assert_true(file_read(in_folder("file"), 100, &text, &why));
  assert_string_equal(buffer_end(&text), "de");
  assert_int_equal(access(in_folder("file.new"), F_OK), -1);
  buffer_clear(&text);
  assert_false(file_read(in_folder("file"), 1, &text, &why));
  assert_says(&why, "File too large");
  assert_false(file_write(in_folder("none/file"), "a", 1, &why));
  assert_false(file_write("/dev/full/x", "a", 1, &why));
  buffer_free(&text);
  buffer_free(&why);
}

/* ---- Steps ---- */

static char done[64];
static const char *failing;

static bool act(upgrade *u, buffer *why, const char *name) {
  (void)u;
  (void)snprintf(done + strlen(done), sizeof done - strlen(done), "%s ", name);
  if (!failing || strcmp(failing, name) != 0) return true;
  buffer_format(why, "%s is broken", name);
  return false;
}
static bool act_a(upgrade *u, buffer *why) { return act(u, why, "a"); }
static bool act_b(upgrade *u, buffer *why) { return act(u, why, "b"); }
static bool act_c(upgrade *u, buffer *why) { return act(u, why, "c"); }
static const upgrade_step steps[] = {{"a", act_a, false}, {"b", act_b, true}, {"c", act_c, true}};

static void test_steps(void **state) {
  (void)state;
  static upgrade u;
  buffer why = {0};
  assert_true(journal_create(&u.journal, folder, first_record(), &why));
  assert_false(upgrade_has_changed(&u, steps, 3));
  failing = "a";
  assert_ptr_equal(upgrade_go(&u, steps, 3, &why), &steps[0]);
  assert_false(upgrade_has_changed(&u, steps, 3));
  failing = "c";
  assert_ptr_equal(upgrade_go(&u, steps, 3, &why), &steps[2]);
  assert_string_equal(buffer_end(&why), "c is broken");
  assert_true(upgrade_has_changed(&u, steps, 3));
  assert_string_equal(done, "a a b c ");
  failing = NULL;
  assert_null(upgrade_go(&u, steps, 3, &why)); /* what is done is not done again */
  assert_string_equal(done, "a a b c c ");
  assert_true(journal_finish(&u.journal, folder, &why));
  journal_close(&u.journal);
  buffer_free(&why);
}

/* ---- Answers ---- */

/* A server of a few addresses. */
typedef struct line {
  const char *request; /* "GET /path" */
  unsigned http;
  const char *answer;
} line;

static const char DOCUMENT[] =
    "{\"info\":{\"version\":\"7\"},\"paths\":{"
    "\"/a/{id}\":{\"get\":{\"x-operation\":true,\"x-effect\":\"reads\",\"operationId\":\"p.one\",\"tags\":[\"p\"],\"parameters\":[]}},"
    "\"/a\":{\"get\":{\"x-operation\":true,\"x-effect\":\"reads\",\"operationId\":\"p.list\",\"tags\":[\"p\"],"
    "\"parameters\":[{\"name\":\"limit\",\"required\":false}]},\"post\":{\"x-operation\":true,\"x-effect\":\"changes\","
    "\"operationId\":\"p.make\",\"tags\":[\"p\"]}},"
    "\"/b\":{\"get\":{\"x-operation\":true,\"x-effect\":\"reads\",\"operationId\":\"p.more\",\"tags\":[\"p\"],\"parameters\":[]}},"
    "\"/c\":{\"get\":{\"x-operation\":true,\"x-effect\":\"reads\",\"operationId\":\"q.needs\",\"tags\":[\"q\"],"
    "\"parameters\":[{\"name\":\"of\",\"required\":true}]}},"
    "\"/d\":{\"get\":{\"operationId\":\"r.route\",\"tags\":[\"r\"],\"parameters\":[]}},"
    "\"/a2\":{\"get\":{\"x-operation\":true,\"x-effect\":\"reads\",\"operationId\":\"t.mine\",\"tags\":[\"t\"],\"parameters\":[]}},"
    "\"/a3\":{\"get\":{\"x-operation\":true,\"x-effect\":\"reads\",\"operationId\":\"t.all\",\"tags\":[\"t\"],\"parameters\":[]}},"
    "\"/e\":{\"get\":{\"x-operation\":true,\"x-effect\":\"reads\",\"operationId\":\"s.list\",\"tags\":[\"s\"],\"parameters\":[]}},"
    "\"/v2/repository/index\":{\"post\":{\"operationId\":\"index\"}}}}";
static const char METADATA[] =
    "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[-1]},"
    "{\"name\":\"n\",\"datatype\":\"UINT8\",\"shape\":[-1,2]},{\"name\":\"b\",\"datatype\":\"BOOL\",\"shape\":[-1]}]}";
#define PREDICTED(values) "{\"model_version\":\"3\",\"outputs\":[{\"name\":\"y\",\"data\":" values "}]}"

static line lines[] = {
    {"GET /openapi.json", 200, DOCUMENT},
    {"GET /a", 200, "{}"},
    {"GET /e", 403, "{}"},
    {"GET /a2", 403, "{}"},
    {"GET /a3", 200, "{}"},
    {"POST /v2/repository/index", 200, "[{\"name\":\"m 1/x\"},{\"name\":\"gone\"}]"},
    {"GET /v2/models/m%201%2Fx", 200, METADATA},
    {"GET /v2/models/gone", 404, "{}"},
    {"POST /v2/models/m%201%2Fx/infer", 200, PREDICTED("[0.5,1]")},
};
enum { LINES = sizeof lines / sizeof lines[0], PREDICTS = LINES - 1 };
static char last_body[4096];

static bool serve(void *to, const care_request *request, unsigned *http, buffer *answer, buffer *why) {
  char asked[256];
  (void)to;
  *http = 0;
  (void)snprintf(asked, sizeof asked, "%s %s", request->method, request->path);
  if (request->body) (void)snprintf(last_body, sizeof last_body, "%s", request->body);
  for (size_t i = 0; i < LINES; i++) {
    if (strcmp(lines[i].request, asked) != 0 || lines[i].http == 0) continue;
    assert_string_equal(request->token, "secret");
    *http = lines[i].http;
    buffer_text(answer, lines[i].answer);
    return true;
  }
  buffer_format(why, "nobody answers %s", asked);
  return false;
}

static cJSON *gather(void) {
  buffer why = {0};
  cJSON *answers = answers_gather(serve, NULL, "secret", &why);
  if (!answers) fail_msg("%s", buffer_end(&why));
  buffer_free(&why);
  return answers;
}

static void test_gather(void **state) {
  (void)state;
  cJSON *answers = gather();
  const cJSON *canaries = cJSON_GetObjectItem(answers, "canaries"),
              *predictions = cJSON_GetObjectItem(answers, "predictions");
  assert_int_equal(cJSON_GetArraySize(canaries), 3); /* p.list, t.all and s.list; q needs an input, r's is no operation */
  assert_string_equal(cJSON_GetObjectItem(cJSON_GetArrayItem(canaries, 0), "operation")->valuestring, "p.list");
  assert_string_equal(cJSON_GetObjectItem(cJSON_GetArrayItem(canaries, 1), "operation")->valuestring, "t.all");
  assert_string_equal(cJSON_GetObjectItem(cJSON_GetArrayItem(canaries, 2), "operation")->valuestring, "s.list");
  assert_int_equal(cJSON_GetArraySize(predictions), 2);
  const cJSON *one = cJSON_GetArrayItem(predictions, 0);
  assert_string_equal(cJSON_GetObjectItem(one, "version")->valuestring, "3");
  cJSON *sent = cJSON_Parse(last_body);
  const cJSON *inputs = cJSON_GetObjectItem(sent, "inputs"),
              *whole = cJSON_GetObjectItem(cJSON_GetArrayItem(inputs, 1), "data");
  assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(cJSON_GetArrayItem(inputs, 0), "data")), 8);
  assert_int_equal(cJSON_GetArraySize(whole), 16);
  const cJSON *value;
  cJSON_ArrayForEach(value, whole) {
    assert_true(value->valuedouble >= 0 && value->valuedouble <= 255);
    assert_true(value->valuedouble == (double)(int)value->valuedouble);
  }
  assert_true(cJSON_IsBool(cJSON_GetArrayItem(cJSON_GetObjectItem(cJSON_GetArrayItem(inputs, 2), "data"), 3)));
  cJSON_Delete(sent);
  cJSON_Delete(answers);
}

static answers_outcome compare(const cJSON *before, buffer *why) {
  answers_outcome out = {0};
  buffer_clear(why);
  assert_true(answers_compare(serve, NULL, "secret", before, &out, why));
  return out;
}

static void test_compare(void **state) {
  (void)state;
  cJSON *before = gather();
  buffer why = {0};
  answers_outcome out = compare(before, &why);
  assert_int_equal(out.wrong, 0);
  assert_int_equal(out.canaries, 2);
  assert_int_equal(out.predictions, 1);
  assert_int_equal(out.broken, 2); /* the forbidden one and the model that is gone */

  lines[PREDICTS].answer = PREDICTED("[0.5000004,1]");
  assert_int_equal(compare(before, &why).wrong, 0);
  lines[PREDICTS].answer = PREDICTED("[0.500002,1]");
  assert_int_equal(compare(before, &why).wrong, 1);
  assert_says(&why, "the model 'm 1/x' version 3: 'y' was 0.5 and is 0.500002");
  lines[PREDICTS].answer = PREDICTED("[0.5]");
  assert_int_equal(compare(before, &why).wrong, 1);
  assert_says(&why, "another number of values");
  lines[PREDICTS].answer = "{\"model_version\":\"4\",\"outputs\":[]}";
  out = compare(before, &why);
  assert_int_equal(out.wrong, 0); /* somebody deployed meanwhile */
  assert_int_equal(out.changed, 1);
  lines[PREDICTS].http = 500;
  lines[PREDICTS].answer = "{\"error\":\"the predictor failed\"}";
  assert_int_equal(compare(before, &why).wrong, 1);
  assert_says(&why, "answers 500: the predictor failed");

  lines[1].http = 404;
  assert_int_equal(compare(before, &why).wrong, 2);
  assert_says(&why, "p.list (GET /a) answered 200 before and answers 404");
  lines[1].http = 0;
  buffer_clear(&why);
  assert_false(answers_compare(serve, NULL, "secret", before, &out, &why));
  assert_says(&why, "nobody answers GET /a");
  lines[0].http = 0;
  assert_null(answers_gather(serve, NULL, "secret", &why));
  cJSON_Delete(before);
  buffer_free(&why);
}

static bool agree(const char *before, const char *after) {
  buffer why = {0};
  cJSON *x = cJSON_Parse(before), *y = cJSON_Parse(after);
  bool same = answers_agree(x, y, &why);
  assert_true(same == (why.size == 0));
  cJSON_Delete(x);
  cJSON_Delete(y);
  buffer_free(&why);
  return same;
}

static void test_agree(void **state) {
  (void)state;
#define OUT(data) "[{\"name\":\"y\",\"data\":" data "}]"
  assert_true(agree(OUT("[1,2]"), OUT("[1,2]")));
  assert_true(agree(OUT("[[1,2],[3,null]]"), OUT("[[1,2],[3,null]]")));
  assert_true(agree(OUT("[1000000]"), OUT("[1000000.5]"))); /* within a millionth of its size */
  assert_true(agree("[]", "[]"));
  assert_false(agree(OUT("[1000000]"), OUT("[1000002]")));
  assert_false(agree(OUT("[1,null]"), OUT("[1,2]")));
  assert_false(agree(OUT("[true]"), OUT("[false]")));
  assert_false(agree(OUT("[\"a\"]"), OUT("[\"b\"]")));
  assert_false(agree(OUT("[1]"), "[{\"name\":\"z\",\"data\":[1]}]"));
  assert_false(agree(OUT("[1]"), "[]"));
  assert_false(agree(OUT("[1,2]"), OUT("[1]")));
}

static void test_inputs_that_cannot_be_made(void **state) {
  (void)state;
  static const char *const told[] = {
      "{}",
      "{\"inputs\":[]}",
      "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"BYTES\",\"shape\":[-1]}]}",
      "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[]}]}",
      "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[-1,-1]}]}",
      "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[-1,60000,60000]}]}",
      "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[-1,1e300]}]}",
      "{\"inputs\":[{\"datatype\":\"FP32\",\"shape\":[-1]}]}",
  };
  for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
    cJSON *metadata = cJSON_Parse(told[i]);
    cJSON *made = answers_make_input(metadata);
    if (made) fail_msg("made for %s", told[i]);
    cJSON_Delete(metadata);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_journal), cmocka_unit_test(test_torn_journal),
      cmocka_unit_test(test_files),   cmocka_unit_test(test_steps),
      cmocka_unit_test(test_gather),  cmocka_unit_test(test_compare),
      cmocka_unit_test(test_agree),   cmocka_unit_test(test_inputs_that_cannot_be_made),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
