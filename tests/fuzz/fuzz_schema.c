/* Whatever the bytes, decoding by a schema with every type ends in OK or complaints; what was decoded encodes to JSON that
 * decodes to the same. Built as fuzz_json.c says. */
#include "core/json.h"
#include "core/schema.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

PURLIN_ENUM(colour, red, green, blue);

typedef struct inner inner;
struct inner {
  const char *k;
  purlin_opt_text o;
  PURLIN_LIST_OF(inner) l;
};
static const purlin_schema *inner_schema(void);
PURLIN_SCHEMA(inner, "A tree", PURLIN_REQUIRED(k, "Key", .pattern = "(a|b)*[c-f]{1,3}|x", .max_length = 20),
              PURLIN_OPTIONAL(o, "Optional", .choices = "one, two"), PURLIN_LIST(l, inner, "Children", .max_length = 5));

typedef struct {
  bool a;
  int64_t b;
  double c;
  const char *d;
  colour e;
  purlin_opt_bool f;
  purlin_opt_int g;
  purlin_opt_double h;
  purlin_opt_text i;
  purlin_time j;
  purlin_json k;
  purlin_bytes l;
  purlin_texts m;
  purlin_doubles n;
  inner o;
  PURLIN_LIST_OF(inner) p;
} outer;

PURLIN_SCHEMA(outer, "Everything", PURLIN_DEFAULT(a, "true", "A"), PURLIN_DEFAULT(b, "3", "B", .min = -5, .max = 1e18),
              PURLIN_DEFAULT(c, "0.5", "C"), PURLIN_OPTIONAL(d, "D", .min_length = 1, .max_length = 9),
              PURLIN_DEFAULT(e, "\"blue\"", "E", .choices = colour_names), PURLIN_OPTIONAL(f, "F"), PURLIN_OPTIONAL(g, "G"),
              PURLIN_OPTIONAL(h, "H"), PURLIN_OPTIONAL(i, "I", .secret = true), PURLIN_OPTIONAL(j, "J"),
              PURLIN_OPTIONAL(k, "K"), PURLIN_OPTIONAL(l, "L", .max_length = 8),
              PURLIN_OPTIONAL(m, "M", .pattern = "[^/]*"), PURLIN_OPTIONAL(n, "N", .min = 0, .max = 9),
              PURLIN_OBJECT(o, inner, "O"), PURLIN_LIST(p, inner, "P"));

static void must(bool good) {
  if (!good) abort();
}

static void count(void *to, const char *field, const char *message) {
  must(strlen(field) < 256 && strlen(message) < 512);
  ++*(size_t *)to;
}

static void encode_and_decode(const outer *value, arena *memory) {
  buffer first = {0}, second = {0}, shown = {0};
  size_t complaints = 0, at;
  const char *error;
  const schema_reading reading = {.memory = memory, .complain = count, .complain_to = &complaints, .tolerant = true};
  outer again, copy;
  schema_encode(outer_schema(), value, SCHEMA_WITH_SECRETS, &first);
  schema_encode(outer_schema(), value, SCHEMA_PUBLIC, &shown);
  must(json_check(first.data, first.size, &at, &error) && json_check(shown.data, shown.size, &at, &error));
  must(schema_decode(&reading, outer_schema(), first.data, first.size, &again) == PURLIN_OK);
  must(schema_copy(outer_schema(), &again, memory, &copy));
  schema_encode(outer_schema(), &copy, SCHEMA_WITH_SECRETS, &second);
  must(first.size == second.size && memcmp(first.data, second.data, first.size) == 0);
  buffer_free(&first);
  buffer_free(&second);
  buffer_free(&shown);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  arena memory;
  outer value;
  size_t complaints = 0;
  if (size == 0) return 0;
  arena_init(&memory, 16 * 1024 * 1024);
  schema_reading reading = {
      .memory = &memory, .complain = count, .complain_to = &complaints, .tolerant = (data[0] & 1) != 0};
  purlin_status status = schema_decode(&reading, outer_schema(), (const char *)data + 1, size - 1, &value);
  must((status == PURLIN_INVALID) == (complaints > 0) && complaints <= 32);
  if (status == PURLIN_OK) encode_and_decode(&value, &memory);
  const purlin_field *field = schema_field(outer_schema(), data[0] % outer_schema()->field_count);
  memset(&value, 0, sizeof value);
  complaints = 0;
  status = schema_set_text(&reading, field, &value, (const char *)data + 1, size - 1);
  must((status == PURLIN_INVALID) == (complaints > 0));
  arena_free(&memory);
  return 0;
}
