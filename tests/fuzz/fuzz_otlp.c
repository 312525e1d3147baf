/* fuzz_otlp.c: bytes of an exporter as messages of OpenTelemetry. Whatever they are, what comes out is JSON, which read once more is
 * itself; and JSON that is made up instead comes out as what is kept, or not at all.
 *
 * Built with clang -fsanitize=fuzzer, or without it (FUZZ_STANDALONE) as a program that makes up bytes itself. */
#include "core/json.h"
#include "loop/context.h"
#include "otlp.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST_MEMORY = 64 * 1024 * 1024 };

static void demand(bool holds) {
  if (!holds) abort();
}

static const otlp_message *const messages[] = {&otlp_span_message,  &otlp_resource_message, &otlp_scope_message,
                                               &otlp_event_message, &otlp_link_message,     &otlp_attribute_message};

static bool is_json(const char *text, size_t size) {
  size_t at = 0;
  const char *error = NULL;
  return json_check(text, size, &at, &error);
}

static void read_values(purlin_ctx *ctx, purlin_json json) {
  const char *at = NULL;
  otlp_member pair;
  growing plain = {.ctx = ctx};
  purlin_json attributes = otlp_get(json, "attributes");
  while (attributes.text && otlp_each(attributes, &at, &pair)) {
    demand(otlp_unquoted(ctx, otlp_get(pair.value, "key")) || ctx->failure_status != PURLIN_OK);
    plain.size = 0;
    purlin_json value = otlp_get(pair.value, "value");
    if (value.text) otlp_plain(&plain, value);
    /* Python's NaN is none of JSON's. */
    if (!plain.failed && plain.size > 0 && !strstr(plain.text, "NaN") && !strstr(plain.text, "Infinity"))
      demand(is_json(plain.text, plain.size));
  }
}

/* What is kept is read as itself. */
static void check_kept(purlin_ctx *ctx, const otlp_message *message, const growing *kept) {
  growing again = {.ctx = ctx};
  demand(is_json(kept->text, kept->size));
  bool taken = otlp_from_json(&again, message, (purlin_json){kept->text, kept->size});
  if (again.failed) return;
  demand(taken && again.size == kept->size && memcmp(again.text, kept->text, kept->size) == 0);
  read_values(ctx, (purlin_json){kept->text, kept->size});
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 1) return 0;
  const otlp_message *message = messages[data[0] % (sizeof messages / sizeof messages[0])];
  purlin_ctx context, *ctx = &context;
  context_begin(ctx, "fuzz", "fuzz.otlp");
  ctx->memory.limit_bytes = MOST_MEMORY;
  growing out = {.ctx = ctx};
  bool taken = otlp_from_protobuf(&out, message, (otlp_bytes){data + 1, data + size});
  if (taken && !out.failed) check_kept(ctx, message, &out);
  growing told = {.ctx = ctx};
  if (is_json((const char *)data + 1, size - 1) &&
      otlp_from_json(&told, message, (purlin_json){(const char *)data + 1, size - 1}) && !told.failed)
    check_kept(ctx, message, &told);
  context_end(ctx);
  return 0;
}

#ifdef FUZZ_STANDALONE
#include <stdio.h>

/* A span with attributes and an event, an attribute with pairs; and the same in JSON. What a digit would lengthen is told in parts. */
#define SEED(text)                                                                                                         \
  { text, sizeof(text) - 1 }
static const struct {
  const char *bytes;
  size_t size;
} seeds[] = {SEED("\0\x0a\x10"
                  "0123456789abcdef"
                  "\x12\x08"
                  "01234567"
                  "\x2a\x01n\x30\x02\x39\x01\0\0\0\0\0\0\0"
                  "\x4a\x0c\x0a\x01k\x12\x07\x2a\x05\x0a\x03\x0a\x01v"
                  "\x4a\x0a\x0a\x01i\x12\x05\x18\xff\xff\xff\x07"
                  "\x4a\x0e\x0a\x01"
                  "d\x12\x09\x21\0\0\0\0\0\0\xf0\x3f"
                  "\x5a\x09\x09\x01\0\0\0\0\0\0\0"),
             SEED("\5\x0a\x01k\x12\x0a\x32\x08\x0a\x06\x0a\x01x\x12\x01\x10"),
             SEED("\5{\"key\":\"a\",\"value\":{\"arrayValue\":{\"values\":[{\"intValue\":\"5\"},{\"doubleValue\":1.5}]}}}"),
             SEED("\1{\"attributes\":[{\"key\":\"\\u00e4\",\"value\":{\"kvlistValue\":{\"values\":[]}}}]}")};

/* `fuzz_otlp COUNT SEED` */
int main(int count, char **arguments) {
  unsigned long rounds = count > 1 ? strtoul(arguments[1], NULL, 10) : 100000;
  srandom(count > 2 ? (unsigned)strtoul(arguments[2], NULL, 10) : 1);
  for (unsigned long i = 0; i < rounds; i++) {
    size_t which = (size_t)random() % (sizeof seeds / sizeof seeds[0]), size = seeds[which].size;
    uint8_t *bytes = malloc(size);
    if (bytes == NULL) return 1;
    memcpy(bytes, seeds[which].bytes, size);
    for (long n = random() % 4; n > 0; n--) bytes[(size_t)random() % size] = (uint8_t)random();
    (void)LLVMFuzzerTestOneInput(bytes, size - (size_t)(random() % 3 == 0) * ((size_t)random() % size));
    free(bytes);
  }
  printf("%lu rounds\n", rounds);
  return 0;
}
#endif
