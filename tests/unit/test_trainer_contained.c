/* What the daemon makes of a contained plugin's description. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "loop/context.h"
#include "plugin/lifecycle.h"
#include "process/process.h"

#include <stdlib.h>
#include <string.h>

#define HEAD                                                                                                               \
  "{\"name\":\"p\",\"version\":\"1\",\"summary\":\"For the test\",\"new_in_a_later_release\":[1],\"capabilities\":["
#define TRAINER(name, version)                                                                                             \
  "{\"contract\":\"trainer\",\"name\":\"" name "\",\"version\":" version                                                   \
  ",\"summary\":\"Trains\",\"specification\":{\"type\":\"object\"}}"

static plugin subject;
static buffer why;

static purlin_status register_described(const char *described, const char *configuration) {
  buffer_clear(&why);
  arena_init(&subject.memory, 1024 * 1024);
  subject.name = "p";
  subject.path = "/plugins/p.so";
  subject.described = described;
  subject.configuration_json = (purlin_json){configuration, configuration ? strlen(configuration) : 0};
  return contained_register(&subject, &why);
}

static void assert_refused(const char *described, const char *configuration, purlin_status status, const char *text) {
  assert_int_equal(register_described(described, configuration), status);
  if (!strstr(buffer_end(&why), text)) fail_msg("\"%s\" does not contain \"%s\"", buffer_end(&why), text);
  arena_free(&subject.memory);
}

static void test_refusals(void **unused) {
  (void)unused;
  assert_refused("nonsense", NULL, PURLIN_INVALID, "/plugins/p.so: its description: ");
  assert_refused("{\"name\":\"p\"}", NULL, PURLIN_INVALID, "its description: summary ");
  assert_refused(HEAD TRAINER("x", "2") "]}", NULL, PURLIN_INVALID,
                 "the trainer 'x' speaks version 2 of the contract, this host version 1");
  assert_refused(HEAD "{\"contract\":\"storage\",\"name\":\"x\",\"version\":1}]}", NULL, PURLIN_INVALID,
                 "a contained plugin cannot provide the contract 'storage'");
  assert_refused(HEAD "]}", "{\"a\":1}", PURLIN_INVALID, "the plugin 'p' has nothing to configure");
}

static void look(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_providers found;
  assert_int_equal(purlin_contained_providers(ctx, "trainer", &found), PURLIN_OK);
  assert_int_equal(found.count, 2);
  assert_string_equal(found.items[0].name, "one");
  assert_string_equal(found.items[0].plugin, "p");
  assert_string_equal(found.items[0].summary, "Trains");
  assert_memory_equal(found.items[0].specification.text, "{\"type\":\"object\"}", found.items[0].specification.size);
  assert_string_equal(found.items[1].name, "two");
  loops_stop();
}

static void begin(void *unused) { assert_int_equal(context_start("test", "look", look, unused), PURLIN_OK); }

static void test_providers(void **unused) {
  (void)unused;
  assert_int_equal(process_spawner_fork("/bin/true", &why), PURLIN_OK);
  assert_int_equal(register_described(HEAD TRAINER("one", "1") "," TRAINER("two", "1") "]}", NULL), PURLIN_OK);
  plugin first = subject;
  assert_refused(HEAD TRAINER("two", "1") "]}", NULL, PURLIN_CONFLICT, "another plugin provides the trainer 'two' too");
  assert_int_equal(loops_create(1), PURLIN_OK);
  loop_post_item item = {.call = begin};
  loop_post(loop_at(0), &item);
  loops_run();
  loops_destroy();
  process_stop();
  arena_free(&first.memory);
}

static int free_why(void **unused) {
  (void)unused;
  buffer_free(&why);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_refusals), cmocka_unit_test(test_providers)};
  return cmocka_run_group_tests(tests, NULL, free_why);
}
