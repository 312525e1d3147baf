#include "core/json.h"

#include "core/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Writes all tokens of a text in a short form: { } [ ] k:KEY t:TEXT i:INT d:DOUBLE true false null. */
static const char *tokens(const char *text, size_t size, buffer *out) {
  arena memory;
  json_reader r;
  arena_init(&memory, 0);
  json_begin(&r, text, size, &memory);
  buffer_clear(out);
  for (;;) {
    json_kind kind = json_next(&r);
    if (kind == JSON_END) break;
    if (out->size > 0) buffer_char(out, ' ');
    if (kind == JSON_ERROR) {
      buffer_format(out, "error at %zu: %s", (size_t)(r.at - r.start), r.error);
      assert_int_equal(json_next(&r), JSON_ERROR); /* and it stays so */
      break;
    }
    if (kind == JSON_KEY || kind == JSON_TEXT)
      buffer_format(out, "%c:%.*s", kind == JSON_KEY ? 'k' : 't', (int)r.text_size, r.text);
    else if (kind == JSON_INT) buffer_format(out, "i:%lld", (long long)r.integer);
    else if (kind == JSON_DOUBLE) buffer_format(out, "d:%.17g", r.number);
    else {
      static const char *const names[] = {
          [JSON_OBJECT] = "{",  [JSON_OBJECT_END] = "}", [JSON_ARRAY] = "[",  [JSON_ARRAY_END] = "]",
          [JSON_TRUE] = "true", [JSON_FALSE] = "false",  [JSON_NULL] = "null"};
      buffer_text(out, names[kind]);
    }
  }
  arena_free(&memory);
  return buffer_end(out);
}

static void assert_tokens_of(const char *text, size_t size, const char *expected) {
  buffer out = {0};
  /* In memory of exactly this size, so that ASan sees a read past the end. */
  char *exact = malloc(size > 0 ? size : 1);
  assert_non_null(exact);
  memcpy(exact, text, size);
  assert_string_equal(tokens(exact, size, &out), expected);
  free(exact);
  buffer_free(&out);
}

static void assert_tokens(const char *text, const char *expected) { assert_tokens_of(text, strlen(text), expected); }

static void reads_every_kind(void **state) {
  (void)state;
  assert_tokens("{}", "{ }");
  assert_tokens(" [ ] \r\n\t", "[ ]");
  assert_tokens("{\"a\":1,\"b\":[true,false,null],\"c\":{\"d\":\"e\"}}",
                "{ k:a i:1 k:b [ true false null ] k:c { k:d t:e } }");
  assert_tokens("[[],{},[{}]]", "[ [ ] { } [ { } ] ]");
  assert_tokens(" { \"a\" : [ 1 , 2 ] , \"\" : \"\" } ", "{ k:a [ i:1 i:2 ] k: t: }");
  assert_tokens("true", "true");
  assert_tokens("\"x\"", "t:x");
}

static void reads_numbers_exactly(void **state) {
  (void)state;
  assert_tokens("9223372036854775807", "i:9223372036854775807");
  assert_tokens("-9223372036854775808", "i:-9223372036854775808");
  assert_tokens("9007199254740993", "i:9007199254740993");
  assert_tokens("9223372036854775808", "d:9.2233720368547758e+18");
  assert_tokens("-9223372036854775809", "d:-9.2233720368547758e+18");
  assert_tokens("18446744073709551616", "d:1.8446744073709552e+19");
  assert_tokens("[0,-0,0.0,-1.5,1e3,1E-2,2.5e+1]", "[ i:0 i:0 d:0 d:-1.5 d:1000 d:0.01 d:25 ]");
  json_reader r;
  json_begin(&r, "-0", 2, NULL);
  assert_int_equal(json_next(&r), JSON_INT);
  assert_true(signbit(r.number) != 0);
  assert_tokens("0.1", "d:0.10000000000000001");
  assert_tokens("1e-999", "d:0");
  assert_tokens("1.7976931348623157e308", "d:1.7976931348623157e+308");
}

static void refuses_wrong_numbers(void **state) {
  (void)state;
  static const char *const bad[] = {"01",    "-",     "+1",  ".5",       "5.",        "1e",    "1e+",
                                    "1.e5",  "0x10",  "NaN", "Infinity", "-Infinity", "1e999", "-1e999",
                                    "1_000", "1.2.3", "--1", "-01",      "00",        "1 2",   "- 1"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    size_t at;
    const char *error;
    assert_false(json_check(bad[i], strlen(bad[i]), &at, &error));
    assert_non_null(error);
  }
}

static void reads_texts(void **state) {
  (void)state;
  assert_tokens("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "t:\"\\/\b\f\n\r\t");
  assert_tokens("\"\\u0041\\u00e9\\u20AC\\ud83d\\uDE00!\"", "t:A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80!");
  assert_tokens("\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"", "t:\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
  assert_tokens("{\"\\u0061b\":\"x\\ny\"}", "{ k:ab t:x\ny }");
  assert_tokens("\"\x7f\"", "t:\x7f");
}

/* Each special byte at each place of the eight that are looked at together. */
static void finds_special_bytes_everywhere(void **state) {
  (void)state;
  for (size_t size = 1; size < 40; size++) {
    for (size_t at = 0; at < size; at++) {
      char text[64] = "\"", expected[128];
      memset(text + 1, 'x', size);
      text[size + 1] = '"';
      text[at + 1] = '\x1f';
      assert_true(snprintf(expected, sizeof expected, "error at %zu: a raw control character in a text", at + 1) > 0);
      assert_tokens(text, expected);
      text[at + 1] = '\x80';
      assert_true(snprintf(expected, sizeof expected, "error at %zu: a text that is not UTF-8", at + 1) > 0);
      assert_tokens(text, expected);
      text[at + 1] = '"';
      if (at + 1 < size) {
        assert_true(snprintf(expected, sizeof expected, "t:%.*s error at %zu: something follows the value", (int)at,
                             text + 1, at + 2) > 0);
        assert_tokens(text, expected);
      }
      text[at + 1] = '!'; /* its neighbours in the table: one below the quote, one beside the backslash */
      assert_true(snprintf(expected, sizeof expected, "t:%.*s", (int)size, text + 1) > 0);
      assert_tokens(text, expected);
    }
  }
}

static void refuses_wrong_texts(void **state) {
  (void)state;
  assert_tokens("\"abc", "error at 0: a text that is not closed");
  assert_tokens("\"abc\\", "error at 4: unknown escape in a text");
  assert_tokens("\"\\x\"", "error at 1: unknown escape in a text");
  assert_tokens("\"\\u12\"", "error at 1: unknown escape in a text");
  assert_tokens("\"\\u12g4\"", "error at 1: unknown escape in a text");
  assert_tokens("\"a\\u0000b\"", "error at 2: \\u0000 is not allowed in a text");
  assert_tokens("\"\\ud83d\"", "error at 1: half a surrogate pair in a text");
  assert_tokens("\"\\ud83dx\"", "error at 1: half a surrogate pair in a text");
  assert_tokens("\"\\ud83d\\u0041\"", "error at 1: half a surrogate pair in a text");
  assert_tokens("\"\\ude00\"", "error at 1: half a surrogate pair in a text");
  assert_tokens("\"\\ud83d\\ud83d\"", "error at 1: half a surrogate pair in a text");
  assert_tokens_of("\"a\0b\"", 5, "error at 2: a raw control character in a text");
  assert_tokens("\"\n\"", "error at 1: a raw control character in a text");
  assert_tokens("\"\xff\"", "error at 1: a text that is not UTF-8");
  assert_tokens("\"\xed\xa0\xbd\xed\xb8\x80\"", "error at 1: a text that is not UTF-8");
  assert_tokens("\"\xe2\x82\"", "error at 1: a text that is not UTF-8");
}

static void refuses_wrong_structure(void **state) {
  (void)state;
  static const struct {
    const char *text, *tokens;
  } cases[] = {
      {"", "error at 0: the text is empty"},
      {"  ", "error at 2: the text ends too early"},
      {"{", "{ error at 1: the text ends too early"},
      {"[1", "[ i:1 error at 2: the text ends too early"},
      {"[1,", "[ i:1 error at 3: the text ends too early"},
      {"[1,]", "[ i:1 error at 3: expected a value"},
      {"[,1]", "[ error at 1: expected a value"},
      {"[1 2]", "[ i:1 error at 3: expected ',' or ']'"},
      {"[1}", "[ i:1 error at 2: expected ',' or ']'"},
      {"{\"a\":1]", "{ k:a i:1 error at 6: expected ',' or '}'"},
      {"{\"a\":1,}", "{ k:a i:1 error at 7: expected a name in double quotes"},
      {"{a:1}", "{ error at 1: expected a name in double quotes"},
      {"{'a':1}", "{ error at 1: expected a name in double quotes"},
      {"{\"a\"1}", "{ error at 4: expected ':' after a name"},
      {"{\"a\"", "{ error at 4: expected ':' after a name"},
      {"{\"a\":}", "{ k:a error at 5: expected a value"},
      {"{1:2}", "{ error at 1: expected a name in double quotes"},
      {"]", "error at 0: expected a value"},
      {"{}{}", "{ } error at 2: something follows the value"},
      {"[] x", "[ ] error at 3: something follows the value"},
      {"nul", "error at 0: expected a value"},
      {"nullx", "null error at 4: something follows the value"},
      {"True", "error at 0: expected a value"},
      {"// c\n1", "error at 0: expected a value"},
      {"\xef\xbb\xbf{}", "error at 0: expected a value"},
      {"\f1", "error at 0: expected a value"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) assert_tokens(cases[i].text, cases[i].tokens);
  assert_tokens_of("1\0", 2, "i:1 error at 1: something follows the value");
}

static void depth_is_bounded(void **state) {
  (void)state;
  char text[404];
  size_t at;
  const char *error;
  for (size_t depth = 98; depth <= 103; depth++) {
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    assert_int_equal(json_check(text, 2 * depth, &at, &error), depth <= 100);
  }
  assert_int_equal(at, 100);
  memset(text, '[', sizeof text);
  assert_false(json_check(text, sizeof text, &at, &error));
  assert_string_equal(error, "nested more than 100 deep");
}

static void borrows_texts_without_escapes(void **state) {
  (void)state;
  arena memory;
  json_reader r;
  const char *text = "[\"plain\",\"es\\caped\",\"x\\ty\"]";
  arena_init(&memory, 0);
  json_begin(&r, text, strlen(text), &memory);
  assert_int_equal(json_next(&r), JSON_ARRAY);
  assert_int_equal(json_next(&r), JSON_TEXT);
  assert_ptr_equal(r.text, text + 2);
  assert_false(r.text_in_memory);
  assert_int_equal(memory.total_bytes, 0);
  assert_int_equal(json_next(&r), JSON_ERROR);
  json_begin(&r, "\"x\\ty\"", 6, &memory);
  assert_int_equal(json_next(&r), JSON_TEXT);
  assert_true(r.text_in_memory);
  assert_string_equal(r.text, "x\ty");
  arena_free(&memory);
  arena_init(&memory, 100); /* too little for a block */
  char long_text[300];
  memset(long_text, 'x', sizeof long_text);
  memcpy(long_text, "\"\\n", 3);
  long_text[299] = '"';
  json_begin(&r, long_text, sizeof long_text, &memory);
  assert_int_equal(json_next(&r), JSON_ERROR);
  assert_string_equal(r.error, "no memory for a text");
  arena_free(&memory);
}

static void skips_values(void **state) {
  (void)state;
  const char *text = "{\"a\": {\"b\":[1,{\"c\":\"\\n\"}]} , \"d\":7}";
  arena memory;
  json_reader r;
  arena_init(&memory, 0);
  json_begin(&r, text, strlen(text), &memory);
  assert_int_equal(json_next(&r), JSON_OBJECT);
  assert_int_equal(json_next(&r), JSON_KEY);
  assert_true(json_skip(&r, json_next(&r)));
  assert_int_equal(r.at - r.value_start, 20);
  assert_memory_equal(r.value_start, "{\"b\":[1,{\"c\":\"\\n\"}]}", 20);
  assert_int_equal(json_next(&r), JSON_KEY);
  assert_true(json_skip(&r, json_next(&r)));
  assert_memory_equal(r.value_start, "7", 1);
  assert_int_equal(json_next(&r), JSON_OBJECT_END);
  assert_int_equal(json_next(&r), JSON_END);
  json_begin(&r, "[[1,x]]", 7, &memory);
  assert_int_equal(json_next(&r), JSON_ARRAY);
  assert_false(json_skip(&r, json_next(&r)));
  assert_int_equal(json_next(&r), JSON_ERROR);
  arena_free(&memory);
}

static void assert_check(const char *text, size_t size, bool good, size_t place) {
  size_t at = 0;
  const char *error = NULL;
  assert_int_equal(json_check(text, size, &at, &error), good);
  if (good) return;
  assert_non_null(error);
  assert_int_equal(at, place);
}

static void finds_duplicate_keys(void **state) {
  (void)state;
  assert_check("{\"a\":1,\"b\":2}", 13, true, 0);
  assert_check("{\"a\":1,\"a\":2}", 13, false, 7);
  assert_check("{\"a\":1,\"\\u0061\":2}", 18, false, 7);
  assert_check("{\"a\":{\"a\":{\"a\":1}},\"b\":{\"a\":1}}", 31, true, 0);
  assert_check("[{\"a\":1},{\"a\":1}]", 17, true, 0);
  assert_check("{\"a\":{\"b\":1,\"b\":1}}", 19, false, 12);
  assert_check("{\"a\":{\"b\":1},\"a\":1}", 19, false, 13);
  assert_check("{\"\":1,\"\":2}", 11, false, 6);
}

/* An object of `count` keys, with key `again` repeated at the end unless it is count. */
static void many_keys(buffer *b, size_t count, size_t again) {
  buffer_clear(b);
  buffer_char(b, '{');
  for (size_t i = 0; i < count; i++) buffer_format(b, "%s\"key%zu\":{\"x\":[{},{\"y\":%zu}]}", i > 0 ? "," : "", i, i);
  if (again < count) buffer_format(b, ",\"key%zu\":0", again);
  buffer_char(b, '}');
}

static void finds_duplicates_among_many_keys(void **state) {
  (void)state;
  buffer b = {0};
  static const size_t counts[] = {1, 15, 16, 17, 18, 63, 64, 65, 1000};
  for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
    size_t at;
    const char *error;
    many_keys(&b, counts[i], counts[i]);
    assert_true(json_check(b.data, b.size, &at, &error));
    for (size_t again = 0; again < counts[i]; again += 1 + counts[i] / 40) {
      many_keys(&b, counts[i], again);
      assert_false(json_check(b.data, b.size, &at, &error));
      assert_string_equal(error, "a name that its object has already");
      assert_memory_equal(b.data + at, "\"key", 4);
      assert_true(at > b.size - 20); /* the later of the two */
    }
  }
  buffer_free(&b);
}

static void many_keys_take_no_quadratic_time(void **state) {
  (void)state;
  buffer b = {0};
  size_t at;
  const char *error;
  many_keys(&b, 200000, 200000);
  struct timespec begin, end;
  assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin), 0);
  assert_true(json_check(b.data, b.size, &at, &error));
  assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end), 0);
  assert_true(end.tv_sec - begin.tv_sec < 5); /* 2e10 comparisons would take longer, even where all is slow */
  buffer_free(&b);
}

static void finds_members(void **state) {
  (void)state;
  const char *text = "{\"a\": 1, \"b\" : {\"c\":[2]} , \"\\u0064\":\"x\"}", *value;
  size_t size = 0;
  assert_true(json_find(text, strlen(text), "a", &value, &size));
  assert_int_equal(size, 1);
  assert_memory_equal(value, "1", 1);
  assert_true(json_find(text, strlen(text), "b", &value, &size));
  assert_int_equal(size, 9);
  assert_memory_equal(value, "{\"c\":[2]}", 9);
  assert_true(json_find(text, strlen(text), "d", &value, &size));
  assert_memory_equal(value, "\"x\"", 3);
  assert_false(json_find(text, strlen(text), "c", &value, &size));
  assert_false(json_find("[1]", 3, "a", &value, &size));
  assert_false(json_find("", 0, "a", &value, &size));
  assert_false(json_find("{\"a\":", 5, "a", &value, &size));
}

static void tells_the_place(void **state) {
  (void)state;
  size_t line, column;
  json_place("a\nbc\nd", 0, &line, &column);
  assert_int_equal(line, 1);
  assert_int_equal(column, 1);
  json_place("a\nbc\nd", 3, &line, &column);
  assert_int_equal(line, 2);
  assert_int_equal(column, 2);
  json_place("a\nbc\nd", 6, &line, &column);
  assert_int_equal(line, 3);
  assert_int_equal(column, 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reads_every_kind),
      cmocka_unit_test(reads_numbers_exactly),
      cmocka_unit_test(refuses_wrong_numbers),
      cmocka_unit_test(reads_texts),
      cmocka_unit_test(finds_special_bytes_everywhere),
      cmocka_unit_test(refuses_wrong_texts),
      cmocka_unit_test(refuses_wrong_structure),
      cmocka_unit_test(depth_is_bounded),
      cmocka_unit_test(borrows_texts_without_escapes),
      cmocka_unit_test(skips_values),
      cmocka_unit_test(finds_duplicate_keys),
      cmocka_unit_test(finds_duplicates_among_many_keys),
      cmocka_unit_test(many_keys_take_no_quadratic_time),
      cmocka_unit_test(finds_members),
      cmocka_unit_test(tells_the_place),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  arena_thread_end();
  return failed;
}
