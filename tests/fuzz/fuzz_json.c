/* Whatever the bytes, the reader neither crashes nor reads past the end, and its three ways of reading agree.
 *   clang -g -O1 -std=gnu17 -D_GNU_SOURCE -fsanitize=fuzzer,address,undefined -Iruntime -Isdk/include \
 *         tests/fuzz/fuzz_json.c runtime/core/[a-t]*.c -lcrypto -lm -o fuzz_json && ./fuzz_json -max_total_time=60 */
#include "core/buffer.h"
#include "core/json.h"
#include "core/text.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good) {
  if (!good) abort();
}

/* Writes the tokens back as JSON. */
static bool rewrite(const char *text, size_t size, buffer *out) {
  arena memory;
  json_reader r;
  bool first = true, good = false;
  arena_init(&memory, 1024 * 1024);
  json_begin(&r, text, size, &memory);
  for (;;) {
    json_kind kind = json_next(&r);
    if (kind == JSON_END) good = true;
    if (kind == JSON_END || kind == JSON_ERROR) break;
    must(r.value_start >= text && r.at <= text + size && r.depth <= JSON_MAX_DEPTH);
    if (!first && kind != JSON_OBJECT_END && kind != JSON_ARRAY_END) buffer_char(out, ',');
    first = kind == JSON_OBJECT || kind == JSON_ARRAY || kind == JSON_KEY;
    switch (kind) {
    case JSON_OBJECT: buffer_char(out, '{'); break;
    case JSON_OBJECT_END: buffer_char(out, '}'); break;
    case JSON_ARRAY: buffer_char(out, '['); break;
    case JSON_ARRAY_END: buffer_char(out, ']'); break;
    case JSON_KEY:
    case JSON_TEXT:
      must(text_is_utf8(r.text, r.text_size) && memchr(r.text, '\0', r.text_size) == NULL);
      buffer_json_text(out, r.text, r.text_size);
      if (kind == JSON_KEY) buffer_char(out, ':');
      break;
    case JSON_INT:
      if (r.integer == 0) buffer_double(out, r.number); /* it may be -0 */
      else buffer_int(out, r.integer);
      break;
    case JSON_DOUBLE: buffer_double(out, r.number); break;
    case JSON_TRUE: buffer_text(out, "true"); break;
    case JSON_FALSE: buffer_text(out, "false"); break;
    default: buffer_text(out, "null"); break;
    }
  }
  arena_free(&memory);
  return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *text = (const char *)data, *error = NULL, *value;
  size_t at = 0, value_size;
  buffer once = {0}, twice = {0};
  bool read = rewrite(text, size, &once), checked = json_check(text, size, &at, &error);
  must(read || !checked); /* only duplicate keys pass the reader and fail the check */
  must(checked || (error != NULL && at <= size));
  if (read) {
    must(rewrite(once.data, once.size, &twice)); /* what we write we read, and it is the same */
    must(once.size == twice.size && memcmp(once.data, twice.data, once.size) == 0);
    must(json_check(once.data, once.size, &at, &error) == checked);
  }
  if (json_find(text, size, "a", &value, &value_size)) must(value >= text && value + value_size <= text + size);
  buffer_free(&once);
  buffer_free(&twice);
  return 0;
}
