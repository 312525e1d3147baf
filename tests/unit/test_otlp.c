/* OpenTelemetry's messages: what comes out of protocol buffers and of JSON is the same, and what is hostile comes to nothing. */
#include "core/json.h"
#include "loop/internal.h"
#include "loop/context.h"
#include "otlp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static purlin_ctx context, *ctx = &context;

static int begin(void **state) {
  (void)state;
  context_begin(ctx, "tester", "test.otlp");
  return 0;
}
static int end(void **state) {
  (void)state;
  context_end(ctx);
  return 0;
}

/* Protocol buffers by hand: `size` is of the text, NULs included. */
#define BYTES(text) ((otlp_bytes){(const uint8_t *)(text), (const uint8_t *)(text) + sizeof(text) - 1})

static const char *from_bytes(const otlp_message *message, otlp_bytes bytes) {
  growing out = {.ctx = ctx};
  return otlp_from_protobuf(&out, message, bytes) && !out.failed ? out.text : NULL;
}

static const char *from_text(const otlp_message *message, const char *text) {
  size_t at = 0;
  const char *error = NULL;
  assert_true(json_check(text, strlen(text), &at, &error));
  growing out = {.ctx = ctx};
  return otlp_from_json(&out, message, (purlin_json){text, strlen(text)}) && !out.failed ? out.text : NULL;
}

#define ATTRIBUTE(value) "{\"key\":\"k\",\"value\":" value "}"

static void values_of_every_kind(void **state) {
  (void)state;
  static const struct {
    otlp_bytes bytes;
    const char *kept;
  } cases[] = {
      {BYTES("\x0a\x01k\x12\x03\x0a\x01v"), ATTRIBUTE("{\"stringValue\":\"v\"}")},
      {BYTES("\x0a\x01k\x12\x02\x0a\x00"), ATTRIBUTE("{\"stringValue\":\"\"}")},
      {BYTES("\x0a\x01k\x12\x03\x0a\x01\xff"), ATTRIBUTE("{\"stringValue\":\"\xEF\xBF\xBD\"}")},
      {BYTES("\x0a\x01k\x12\x03\x0a\x01\0"), ATTRIBUTE("{\"stringValue\":\"\xEF\xBF\xBD\"}")},
      {BYTES("\x0a\x01k\x12\x02\x10\x01"), ATTRIBUTE("{\"boolValue\":true}")},
      {BYTES("\x0a\x01k\x12\x0b\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), ATTRIBUTE("{\"intValue\":\"-1\"}")},
      {BYTES("\x0a\x01k\x12\x09\x21\0\0\0\0\0\0\xf8\x3f"), ATTRIBUTE("{\"doubleValue\":1.5}")},
      {BYTES("\x0a\x01k\x12\x09\x21\0\0\0\0\0\0\xf8\x7f"), ATTRIBUTE("{\"doubleValue\":\"NaN\"}")},
      {BYTES("\x0a\x01k\x12\x05\x3a\x03\1\2\3"), ATTRIBUTE("{\"bytesValue\":\"AQID\"}")},
      {BYTES("\x0a\x01k\x12\x08\x2a\x06\x0a\x02\x10\x00\x0a\x00"),
       ATTRIBUTE("{\"arrayValue\":{\"values\":[{\"boolValue\":false},{}]}}")},
      {BYTES("\x0a\x01k\x12\x09\x32\x07\x0a\x05\x0a\x01x\x12\x00"),
       ATTRIBUTE("{\"kvlistValue\":{\"values\":[{\"key\":\"x\",\"value\":{}}]}}")},
      /* the last of two, whatever it is */
      {BYTES("\x0a\x01k\x12\x05\x0a\x01v\x10\x01"), ATTRIBUTE("{\"boolValue\":true}")},
      /* unknown fields and fields of another type are passed over */
      {BYTES("\x0a\x01k\x12\x05\x0a\x01v\x50\x07"), ATTRIBUTE("{\"stringValue\":\"v\"}")},
      {BYTES("\x08\x05\x0a\x01k\x12\x00"), ATTRIBUTE("{}")},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const char *kept = from_bytes(&otlp_attribute_message, cases[i].bytes);
    if (!kept || strcmp(kept, cases[i].kept) != 0) fail_msg("%zu: %s", i, kept ? kept : "nothing");
    assert_string_equal(from_text(&otlp_attribute_message, kept), kept);
  }
}

static void json_in_other_ways(void **state) {
  (void)state;
  static const char *const cases[][2] = {
      {"{ \"value\" : {\"int_value\": 5}, \"key\": \"k\", \"other\": [1, {}]}",
       "{\"value\":{\"intValue\":\"5\"},\"key\":\"k\"}"},
      {ATTRIBUTE("{\"intValue\":\"9223372036854775807\"}"), ATTRIBUTE("{\"intValue\":\"9223372036854775807\"}")},
      {ATTRIBUTE("{\"doubleValue\":2}"), ATTRIBUTE("{\"doubleValue\":2}")},
      {ATTRIBUTE("null"), "{\"key\":\"k\"}"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const char *kept = from_text(&otlp_attribute_message, cases[i][0]);
    if (!kept || strcmp(kept, cases[i][1]) != 0) fail_msg("%zu: %s", i, kept ? kept : "nothing");
  }
  assert_null(from_text(&otlp_attribute_message, "[]"));
  assert_null(from_text(&otlp_attribute_message, ATTRIBUTE("{\"intValue\":\"5x\"}")));
  assert_null(from_text(&otlp_attribute_message, ATTRIBUTE("{\"arrayValue\":[]}")));
}

/* Cut anywhere, and with any length within that lies, a message is refused or is shorter; nothing is read behind its end: the copy ends
 * where its memory does. */
static void lying_lengths(void **state) {
  (void)state;
  static const char whole[] = "\x0a\x01k\x12\x0f\x2a\x0d\x0a\x0b\x32\x09\x0a\x07\x0a\x01x\x12\x02\x18\x05";
  for (size_t size = 0; size < sizeof whole - 1; size++) {
    uint8_t *copy = malloc(size + 1);
    assert_non_null(copy);
    memcpy(copy, whole, size);
    const char *kept = from_bytes(&otlp_attribute_message, (otlp_bytes){copy, copy + size});
    assert_true(kept == NULL || size == 0 || size == 3);
    free(copy);
  }
  for (size_t at = 0; at < sizeof whole - 1; at++)
    for (unsigned value = 0; value < 256; value++) {
      uint8_t *copy = malloc(sizeof whole - 1);
      assert_non_null(copy);
      memcpy(copy, whole, sizeof whole - 1);
      copy[at] = (uint8_t)value;
      const char *kept = from_bytes(&otlp_attribute_message, (otlp_bytes){copy, copy + sizeof whole - 1});
      if (kept) assert_string_equal(from_text(&otlp_attribute_message, kept), kept);
      free(copy);
    }
  assert_null(from_bytes(&otlp_attribute_message, BYTES("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01k"))); /* 2^64 - 1 */
  assert_null(from_bytes(&otlp_attribute_message, BYTES("\x0a\xff\xff\xff\xff\x0fk")));
  assert_null(from_bytes(&otlp_attribute_message, BYTES("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"))); /* of 70 bits */
  assert_null(from_bytes(&otlp_attribute_message, BYTES("\x0b\x0c")));                                     /* groups */
  assert_null(from_bytes(&otlp_attribute_message, BYTES("\x02\x00")));                                     /* number 0 */
}

/* An array in an array in an array. Each level takes 2 * (1 + the length's) bytes in front. */
static otlp_bytes nested(unsigned levels) {
  size_t room = 16 * (size_t)levels + 16, at = room;
  uint8_t *bytes = purlin_alloc(ctx, room);
  assert_non_null(bytes);
  for (unsigned i = 0; i < levels; i++)
    for (int part = 0; part < 2; part++) {
      size_t size = room - at;
      uint8_t length[10];
      unsigned count = 0;
      for (; size >= 0x80; size >>= 7) length[count++] = (uint8_t)(size | 0x80);
      length[count++] = (uint8_t)size;
      at -= count;
      memcpy(bytes + at, length, count);
      bytes[--at] = part == 0 ? 0x0a : 0x2a;
    }
  /* the value of an attribute */
  size_t size = room - at;
  uint8_t *whole = purlin_alloc(ctx, size + 12);
  assert_non_null(whole);
  size_t count = 0;
  whole[count++] = 0x12;
  for (size_t left = size;; left >>= 7) {
    whole[count++] = (uint8_t)(left >= 0x80 ? left | 0x80 : left);
    if (left < 0x80) break;
  }
  memcpy(whole + count, bytes + at, size);
  return (otlp_bytes){whole, whole + count + size};
}

static void deep_nesting(void **state) {
  (void)state;
  assert_non_null(from_bytes(&otlp_attribute_message, nested(1)));
  assert_non_null(from_bytes(&otlp_attribute_message, nested(OTLP_DEEPEST / 2 - 1)));
  assert_null(from_bytes(&otlp_attribute_message, nested(OTLP_DEEPEST / 2 + 1)));
  assert_null(from_bytes(&otlp_attribute_message, nested(100000)));
}

static void too_large_for_memory(void **state) {
  (void)state;
  ctx->memory.limit_bytes = ctx->memory.total_bytes + 4096;
  size_t size = 20000;
  uint8_t *bytes = malloc(size);
  assert_non_null(bytes);
  for (size_t i = 0; i < size; i += 2) memcpy(bytes + i, "\x4a\x00", 2); /* 10,000 attributes with nothing in them */
  growing out = {.ctx = ctx};
  (void)otlp_from_protobuf(&out, &otlp_span_message, (otlp_bytes){bytes, bytes + size});
  assert_true(out.failed);
  assert_int_equal(ctx->failure_status, PURLIN_TOO_LARGE);
  free(bytes);
}

static void numbers_come_back(void **state) {
  (void)state;
  static const double numbers[] = {0.1, 1e300, -0.0, 5e-324, 1.7976931348623157e308, 3.0, 123456789012345680.0};
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
    growing out = {.ctx = ctx};
    growing_double(&out, numbers[i]);
    double back = strtod(out.text, NULL);
    assert_memory_equal(&back, &numbers[i], sizeof back);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(values_of_every_kind, begin, end),
      cmocka_unit_test_setup_teardown(json_in_other_ways, begin, end),
      cmocka_unit_test_setup_teardown(lying_lengths, begin, end),
      cmocka_unit_test_setup_teardown(deep_nesting, begin, end),
      cmocka_unit_test_setup_teardown(too_large_for_memory, begin, end),
      cmocka_unit_test_setup_teardown(numbers_come_back, begin, end),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  context_thread_end();
  arena_thread_end();
  return failed;
}
