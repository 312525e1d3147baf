/* Schemas with members of every type, and what the tests of schemas share. */
#ifndef PURLIN_TESTS_SCHEMA_CASES_H
#define PURLIN_TESTS_SCHEMA_CASES_H

#include "core/json.h"
#include "core/schema.h"
#include "core/schema_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The schemas -------------------------------------------------------------------------------------------------------- */

PURLIN_ENUM(model_kind, classifier, regressor, ranker);

typedef struct {
  const char *key;
  double value;
  int64_t step;
  purlin_time at;
} metric_in;

PURLIN_SCHEMA(metric_in, "One measured value", PURLIN_REQUIRED(key, "What was measured", .max_length = 250),
              PURLIN_REQUIRED(value, "The value"), PURLIN_DEFAULT(step, "0", "Training step", .min = 0, .max = 9e15),
              PURLIN_REQUIRED(at, "When"));

typedef struct {
  const char *kind;
  purlin_opt_text uri;
} source_in;

PURLIN_SCHEMA(source_in, "Where a model came from",
              PURLIN_REQUIRED(kind, "Kind of source", .choices = "run, upload, import"),
              PURLIN_OPTIONAL(uri, "Address of the original"));

typedef struct {
  const char *name;
  model_kind kind;
  purlin_opt_text description;
  purlin_opt_int keep_days;
  double threshold;
  bool shared;
  purlin_texts tags;
  purlin_json settings;
  source_in source;
  PURLIN_LIST_OF(metric_in) metrics;
} create_model_in;

PURLIN_SCHEMA(create_model_in, "A model to register",
              PURLIN_REQUIRED(name, "Unique within the project", .pattern = "[^/:]+", .max_length = 250),
              PURLIN_DEFAULT(kind, "\"classifier\"", "What it predicts", .choices = model_kind_names),
              PURLIN_OPTIONAL(description, "What it is for", .max_length = 5000),
              PURLIN_OPTIONAL(keep_days, "Days to keep old versions; null keeps them for ever", .min = 1, .max = 3650),
              PURLIN_DEFAULT(threshold, "0.5", "Decision threshold", .min = 0, .max = 1),
              PURLIN_DEFAULT(shared, "false", "Visible to the whole workspace"),
              PURLIN_OPTIONAL(tags, "Free labels", .max_length = 20),
              PURLIN_OPTIONAL(settings, "Anything the trainer understands"),
              PURLIN_OBJECT(source, source_in, "Where it came from"),
              PURLIN_LIST(metrics, metric_in, "First metrics", .max_length = 1000));

typedef struct {
  bool a_bool;
  int64_t an_int;
  double a_double;
  const char *a_text;
  model_kind an_enum;
  purlin_opt_bool opt_bool;
  purlin_opt_int opt_int;
  purlin_opt_double opt_double;
  purlin_opt_text opt_text;
  purlin_time a_time;
  purlin_json a_json;
  purlin_bytes some_bytes;
  purlin_texts some_texts;
  purlin_doubles some_doubles;
  source_in an_object;
  PURLIN_LIST_OF(source_in) a_list;
} everything;

PURLIN_SCHEMA(everything, "A member of every type", PURLIN_DEFAULT(a_bool, "true", "A bool"),
              PURLIN_DEFAULT(an_int, "-7", "An integer"), PURLIN_DEFAULT(a_double, "2.5", "A number"),
              PURLIN_OPTIONAL(a_text, "A text"),
              PURLIN_DEFAULT(an_enum, "\"ranker\"", "A choice", .choices = model_kind_names),
              PURLIN_OPTIONAL(opt_bool, "Maybe a bool"), PURLIN_OPTIONAL(opt_int, "Maybe an integer"),
              PURLIN_OPTIONAL(opt_double, "Maybe a number"), PURLIN_OPTIONAL(opt_text, "Maybe a text"),
              PURLIN_OPTIONAL(a_time, "A time"), PURLIN_OPTIONAL(a_json, "Any JSON"),
              PURLIN_OPTIONAL(some_bytes, "Bytes", .max_length = 6),
              PURLIN_OPTIONAL(some_texts, "Texts", .pattern = "[a-z]*", .min_length = 1, .max_length = 3),
              PURLIN_OPTIONAL(some_doubles, "Numbers", .min = -1, .max = 1, .max_length = 3),
              PURLIN_OBJECT(an_object, source_in, "An object"), PURLIN_LIST(a_list, source_in, "Objects", .max_length = 3));

typedef struct {
  const char *user;
  const char *password;
  purlin_opt_text token;
} login;

PURLIN_SCHEMA(login, "Somebody", PURLIN_REQUIRED(user, "Who"), PURLIN_REQUIRED(password, "Secret word", .secret = true),
              PURLIN_OPTIONAL(token, "Secret too", .secret = true));

typedef struct tree tree;
struct tree {
  const char *name;
  PURLIN_LIST_OF(tree) children;
};
static const purlin_schema *tree_schema(void);
PURLIN_SCHEMA(tree, "A tree", PURLIN_REQUIRED(name, "Of the node"), PURLIN_LIST(children, tree, "Below"));

/* ---- Tools ---------------------------------------------------------------------------------------------------------------- */

static arena memory;
static buffer complaints;
static size_t complaint_count;

PURLIN_MAYBE_UNUSED static void complain(void *to, const char *field, const char *message) {
  assert_ptr_equal(to, &complaints);
  if (complaints.size > 0) buffer_text(&complaints, "; ");
  buffer_format(&complaints, "%s: %s", field, message);
  complaint_count++;
}

PURLIN_MAYBE_UNUSED static schema_reading reading(void) {
  buffer_clear(&complaints);
  complaint_count = 0;
  return (schema_reading){.memory = &memory, .complain = complain, .complain_to = &complaints};
}

PURLIN_MAYBE_UNUSED static purlin_status decode(const purlin_schema *schema, const char *json, void *out) {
  schema_reading how = reading();
  /* In memory of exactly this size, so that ASan sees a read past the end; gone at once, so that it sees borrowing. */
  size_t size = strlen(json);
  char *exact = malloc(size + (size == 0));
  assert_non_null(exact);
  memcpy(exact, json, size);
  purlin_status status = schema_decode(&how, schema, exact, size, out);
  free(exact);
  return status;
}

PURLIN_MAYBE_UNUSED static void assert_encodes(const purlin_schema *schema, const void *value, const char *expected) {
  buffer out = {0};
  schema_encode(schema, value, SCHEMA_PUBLIC, &out);
  assert_string_equal(buffer_end(&out), expected);
  buffer_free(&out);
}

/* Decodes what must be right, encodes it and compares. */
PURLIN_MAYBE_UNUSED static void assert_becomes(const purlin_schema *schema, const char *json, const char *expected) {
  void *value = arena_alloc(&memory, schema->struct_size);
  purlin_status status = decode(schema, json, value);
  if (status != PURLIN_OK) fail_msg("%s: %s", json, buffer_end(&complaints));
  assert_int_equal(complaint_count, 0);
  assert_encodes(schema, value, expected);
}

PURLIN_MAYBE_UNUSED static void assert_refused(const purlin_schema *schema, const char *json, const char *expected) {
  void *value = arena_alloc(&memory, schema->struct_size);
  purlin_status status = decode(schema, json, value);
  assert_string_equal(buffer_end(&complaints), expected);
  assert_int_equal(status, PURLIN_INVALID);
}

PURLIN_MAYBE_UNUSED static int set_up(void **state) {
  (void)state;
  arena_init(&memory, 0);
  return 0;
}

PURLIN_MAYBE_UNUSED static int tear_down(void **state) {
  (void)state;
  arena_free(&memory);
  buffer_free(&complaints);
  return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
