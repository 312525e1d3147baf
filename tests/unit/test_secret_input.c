/* What an operation was told in secret is gone from memory when it has been answered. */
#include "http_harness.h"

#include "core/schema.h"
#include "operation/operation.h"

typedef struct door {
  const char *key;
} door;
PURLIN_SCHEMA(door, "A door", PURLIN_REQUIRED(key, "Opens it"));

typedef struct visit {
  const char *name, *password;
  purlin_opt_text hint;
  purlin_texts codes;
  purlin_json note;
  purlin_bytes seal;
  int64_t pin;
  door house;
  PURLIN_LIST_OF(door) doors;
  const char *fallback;
} visit;
PURLIN_SCHEMA(visit, "Who comes", PURLIN_REQUIRED(name, "Who"), PURLIN_REQUIRED(password, "How", .secret = true),
              PURLIN_OPTIONAL(hint, "A hint", .secret = true), PURLIN_OPTIONAL(codes, "More", .secret = true),
              PURLIN_OPTIONAL(note, "A tree", .secret = true), PURLIN_OPTIONAL(seal, "Bytes", .secret = true),
              PURLIN_DEFAULT(pin, "7", "A number", .secret = true), PURLIN_OBJECT(house, door, "A door", .secret = true),
              PURLIN_LIST(doors, door, "More doors", .secret = true),
              PURLIN_DEFAULT(fallback, "\"\"", "Empty", .secret = true));
typedef struct greeting {
  const char *text;
} greeting;
PURLIN_SCHEMA(greeting, "A greeting", PURLIN_REQUIRED(text, "What is said"));

static visit kept;      /* as the operation saw it */
static bool wanted_bad; /* it fails */

PURLIN_OPERATION(enter, visit, greeting, .summary = "Come in", .permission = "public", .effect = PURLIN_READS,
                 .http = "POST /enter") {
  kept = *in;
  out->text = in->name;
  return wanted_bad ? purlin_fail(ctx, PURLIN_CONFLICT, "no") : PURLIN_OK;
}

PURLIN_OPERATION(shout, door, greeting, .summary = "Nothing secret", .permission = "public", .effect = PURLIN_READS,
                 .http = "POST /shout") {
  (void)ctx;
  kept.password = in->key;
  out->text = in->key;
  return PURLIN_OK;
}

/* ---- Looking into the arena ------------------------------------------------------------------------------------------------------------ */

/* By hand: there are gaps between allocations that the address sanitizer guards. */
__attribute__((no_sanitize("address"))) static bool block_holds(const arena_block *block, const char *text, size_t size) {
  for (size_t at = 0; at + size <= block->capacity; at++) {
    size_t same = 0;
    while (same < size && block->data[at + same] == text[same]) same++;
    if (same == size) return true;
  }
  return false;
}

static bool arena_holds(const arena *memory, const char *text) {
  for (const arena_block *block = memory->block; block != NULL; block = block->previous)
    if (block_holds(block, text, strlen(text))) return true;
  return false;
}

static atomic_int found; /* by the operation's address, after it: bits, -1: not looked */

static purlin_status call_and_look(purlin_ctx *ctx, purlin_request *request) {
  static http_router *router;
  buffer why = {0};
  if (router == NULL) {
    router = http_router_create();
    if (operations_route(router, &why) != PURLIN_OK) abort();
  }
  http_match match;
  const char *path = purlin_parameter(request, "what");
  const char *whole = purlin_format(ctx, "/%s", path);
  if (http_router_find(router, "POST", whole, strlen(whole), &match) != PURLIN_OK) abort();
  purlin_status status = match.target->handle(ctx, request, match.target);
  int bits = 0;
  static const char *const secrets[] = {"open-sesame", "a-little-hint", "code-one",  "code-two",
                                        "tree-root",   "sealed!!",      "house-key", "back-door"};
  for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++)
    if (arena_holds(&ctx->memory, secrets[i])) bits |= 1 << i;
  atomic_store(&found, bits);
  return status;
}

static const char BODY[] =
    "{\"name\":\"ali\",\"password\":\"open-sesame\",\"hint\":\"a-little-hint\",\"codes\":[\"code-one\",\"code-two\"],"
    "\"note\":{\"x\":\"tree-root\"},\"seal\":\"c2VhbGVkISE=\",\"pin\":4711,\"house\":{\"key\":\"house-key\"},\"doors\":[{\"key\":\"back-door\"}]}";

static void post(const char *path, const char *body, unsigned status, bool chunked) {
  buffer text = {0};
  buffer_format(&text, "POST /call/%s HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n", path);
  if (chunked) buffer_format(&text, "Transfer-Encoding: chunked\r\n\r\n%zx\r\n%s\r\n0\r\n\r\n", strlen(body), body);
  else buffer_format(&text, "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
  atomic_store(&found, -1);
  ask_only(status, buffer_end(&text));
  buffer_free(&text);
}

static int begin(void **state) {
  (void)state;
  static const test_route routes[] = {{.http = "POST /call/{what}", .run = call_and_look, .max_body = 1 << 20}};
  buffer why = {0};
  if (operations_register("test", NULL, &enter_operation, &why) != PURLIN_OK) return -1;
  if (operations_register("test", NULL, &shout_operation, &why) != PURLIN_OK) return -1;
  const http_options options = test_options();
  server_begin(&options, 1, routes, 1);
  return 0;
}

static int finish(void **state) {
  (void)state;
  server_end();
  return 0;
}

static void secrets_are_gone(void **state) {
  (void)state;
  wanted_bad = false;
  for (int chunked = 0; chunked < 2; chunked++) {
    post("enter", BODY, 200, chunked != 0);
    assert_int_equal(atomic_load(&found), 0);
  }
}

static void also_when_it_fails(void **state) {
  (void)state;
  wanted_bad = true;
  post("enter", BODY, 409, false);
  assert_int_equal(atomic_load(&found), 0);
  /* Neither decoded nor run: the body is there all the same. */
  post("enter", "{\"password\":\"open-sesame\",\"what\":1,\"hint\":\"a-little-hint\"}", 400, false);
  assert_int_equal(atomic_load(&found), 0);
  post("enter", "{\"password\":\"open-sesame\",", 400, false);
  assert_int_equal(atomic_load(&found), 0);
}

/* A large body that comes in pieces outgrows its room; what was outgrown is wiped, too. */
static void also_in_what_was_outgrown(void **state) {
  (void)state;
  wanted_bad = false;
  buffer body = {0};
  buffer_text(&body, "{\"password\":\"open-sesame\",\"name\":\"");
  for (int i = 0; i < 50000; i++) buffer_char(&body, 'x');
  buffer_text(&body, "\"}");
  post("enter", buffer_end(&body), 400, true); /* without a house */
  assert_int_equal(atomic_load(&found), 0);
  buffer_free(&body);
}

/* The test sees what it looks for: an operation without secrets keeps its input as it was. */
static void nothing_is_lost_of_others(void **state) {
  (void)state;
  post("shout", "{\"key\":\"back-door\"}", 200, false);
  assert_int_equal(atomic_load(&found), 1 << 7);
}

static void schemas_know(void **state) {
  (void)state;
  assert_true(schema_holds_secrets(visit_schema()));
  assert_false(schema_holds_secrets(door_schema()));
  assert_true(operation_find("test.enter")->takes_secrets && !operation_find("test.shout")->takes_secrets);
}

static void numbers_and_texts_in_a_struct(void **state) {
  (void)state;
  arena memory;
  arena_init(&memory, 1 << 20);
  const schema_reading reading = {.memory = &memory};
  visit v = {0};
  assert_int_equal(schema_decode(&reading, visit_schema(), BODY, sizeof BODY - 1, &v), PURLIN_OK);
  assert_true(v.pin == 4711 && arena_holds(&memory, "open-sesame") && arena_holds(&memory, "sealed!!"));
  schema_wipe(visit_schema(), &v);
  assert_int_equal(v.pin, 0);
  assert_string_equal(v.name, "ali");
  for (size_t i = 0; i < sizeof "open-sesame"; i++) assert_int_equal(v.password[i], 0);
  assert_true(v.codes.count == 2 && v.codes.items[1][0] == '\0' && v.doors.items[0].key[0] == '\0' &&
              v.house.key[0] == '\0');
  assert_true(v.hint.value[0] == '\0' && v.note.text[0] == '\0' && ((const char *)v.seal.data)[0] == '\0');
  arena_free(&memory);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(schemas_know),
      cmocka_unit_test(numbers_and_texts_in_a_struct),
      cmocka_unit_test(secrets_are_gone),
      cmocka_unit_test(also_when_it_fails),
      cmocka_unit_test(also_in_what_was_outgrown),
      cmocka_unit_test(nothing_is_lost_of_others),
  };
  return cmocka_run_group_tests_name("secret input", tests, begin, finish);
}
