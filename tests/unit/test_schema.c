#include "core/schema.h"

#include "core/json.h"
#include "core/schema_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <regex.h>
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

PURLIN_SCHEMA(metric_in, "One measured value",
              PURLIN_REQUIRED(key, "What was measured", .max_length = 250),
              PURLIN_REQUIRED(value, "The value"),
              PURLIN_DEFAULT(step, "0", "Training step", .min = 0, .max = 9e15),
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

PURLIN_SCHEMA(everything, "A member of every type",
              PURLIN_DEFAULT(a_bool, "true", "A bool"), PURLIN_DEFAULT(an_int, "-7", "An integer"),
              PURLIN_DEFAULT(a_double, "2.5", "A number"), PURLIN_OPTIONAL(a_text, "A text"),
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

static void complain(void *to, const char *field, const char *message) {
  assert_ptr_equal(to, &complaints);
  if (complaints.size > 0) buffer_text(&complaints, "; ");
  buffer_format(&complaints, "%s: %s", field, message);
  complaint_count++;
}

static schema_reading reading(void) {
  buffer_clear(&complaints);
  complaint_count = 0;
  return (schema_reading){.memory = &memory, .complain = complain, .complain_to = &complaints};
}

static purlin_status decode(const purlin_schema *schema, const char *json, void *out) {
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

static void assert_encodes(const purlin_schema *schema, const void *value, const char *expected) {
  buffer out = {0};
  schema_encode(schema, value, SCHEMA_PUBLIC, &out);
  assert_string_equal(buffer_end(&out), expected);
  buffer_free(&out);
}

/* Decodes what must be right, encodes it and compares. */
static void assert_becomes(const purlin_schema *schema, const char *json, const char *expected) {
  void *value = arena_alloc(&memory, schema->struct_size);
  purlin_status status = decode(schema, json, value);
  if (status != PURLIN_OK) fail_msg("%s: %s", json, buffer_end(&complaints));
  assert_int_equal(complaint_count, 0);
  assert_encodes(schema, value, expected);
}

static void assert_refused(const purlin_schema *schema, const char *json, const char *expected) {
  void *value = arena_alloc(&memory, schema->struct_size);
  purlin_status status = decode(schema, json, value);
  assert_string_equal(buffer_end(&complaints), expected);
  assert_int_equal(status, PURLIN_INVALID);
}

static int set_up(void **state) {
  (void)state;
  arena_init(&memory, 0);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  arena_free(&memory);
  buffer_free(&complaints);
  return 0;
}

/* ---- Decoding ---------------------------------------------------------------------------------------------------------------- */

static void decodes_a_model(void **state) {
  (void)state;
  create_model_in in;
  assert_int_equal(decode(create_model_in_schema(),
                          " {\"name\":\"ch\\u0075rn\",\"kind\":\"ranker\",\"description\":null,\"keep_days\":7,\"tags\":[\"a\",\"b\\\"\"],"
                          "\"settings\":{\"x\":[1, {}]},\"source\":{\"kind\":\"run\",\"uri\":\"s3://x\"},"
                          "\"metrics\":[{\"key\":\"auc\",\"value\":0.91,\"at\":\"2024-05-01T12:00:00Z\"}]} ", &in), PURLIN_OK);
  assert_string_equal(in.name, "churn");
  assert_int_equal(in.kind, ranker);
  assert_int_equal(in.description.state, PURLIN_NULL);
  assert_int_equal(in.keep_days.state, PURLIN_SET);
  assert_int_equal(in.keep_days.value, 7);
  assert_true(in.threshold == 0.5);
  assert_false(in.shared);
  assert_int_equal(in.tags.count, 2);
  assert_string_equal(in.tags.items[1], "b\"");
  assert_int_equal(in.settings.size, 13);
  assert_string_equal(in.settings.text, "{\"x\":[1, {}]}");
  assert_string_equal(in.source.kind, "run");
  assert_string_equal(in.source.uri.value, "s3://x");
  assert_int_equal(in.metrics.count, 1);
  assert_string_equal(in.metrics.items[0].key, "auc");
  assert_int_equal(in.metrics.items[0].step, 0);
  assert_true(in.metrics.items[0].at.unix_us == INT64_C(1714564800000000));
}

static void absent_members_take_their_defaults(void **state) {
  (void)state;
  everything e;
  memset(&e, 0xff, sizeof e);
  assert_int_equal(decode(everything_schema(), "{\"an_object\":{\"kind\":\"run\"}}", &e), PURLIN_OK);
  assert_true(e.a_bool);
  assert_int_equal(e.an_int, -7);
  assert_true(e.a_double == 2.5);
  assert_null(e.a_text);
  assert_int_equal(e.an_enum, ranker);
  assert_int_equal(e.opt_text.state, PURLIN_ABSENT);
  assert_null(e.a_json.text);
  assert_null(e.some_texts.items);
  assert_null(e.a_list.items);
  assert_encodes(everything_schema(), &e, "{\"a_bool\":true,\"an_int\":-7,\"a_double\":2.5,\"an_enum\":\"ranker\",\"an_object\":{\"kind\":\"run\"}}");
}

static void every_type_survives(void **state) {
  (void)state;
  const char *full =
      "{\"a_bool\":false,\"an_int\":-9223372036854775808,\"a_double\":-0.125,\"a_text\":\"\xc3\xa9\\n\",\"an_enum\":\"classifier\","
      "\"opt_bool\":true,\"opt_int\":9223372036854775807,\"opt_double\":1e+300,\"opt_text\":\"\",\"a_time\":\"2024-05-01T12:00:00.250Z\","
      "\"a_json\":[null,{\"x\":1.50}],\"some_bytes\":\"Zm9vYmFy\",\"some_texts\":[\"x\",\"\",\"yz\"],\"some_doubles\":[-1,0.5,1],"
      "\"an_object\":{\"kind\":\"upload\",\"uri\":null},\"a_list\":[{\"kind\":\"run\"},{\"kind\":\"import\",\"uri\":\"u\"}]}";
  assert_becomes(everything_schema(), full, full);
  assert_becomes(everything_schema(),
                 "{\"an_object\":{\"kind\":\"run\"},\"opt_bool\":null,\"opt_int\":null,\"opt_double\":null,\"opt_text\":null,\"a_json\":null,"
                 "\"some_doubles\":[],\"a_list\":[],\"some_bytes\":\"\",\"a_text\":null,\"a_time\":null,\"some_texts\":null,\"an_int\":5.0,\"a_double\":3}",
                 "{\"a_bool\":true,\"an_int\":5,\"a_double\":3,\"an_enum\":\"ranker\",\"opt_bool\":null,\"opt_int\":null,\"opt_double\":null,"
                 "\"opt_text\":null,\"a_json\":null,\"some_bytes\":\"\",\"some_doubles\":[],\"an_object\":{\"kind\":\"run\"},\"a_list\":[]}");
}

static void says_what_is_wrong(void **state) {
  (void)state;
  static const struct { const char *member, *complaint; } cases[] = {
      {"\"a_bool\":1", "a_bool: expected true or false, found an integer"},
      {"\"a_bool\":null", "a_bool: expected true or false, found null"},
      {"\"an_int\":\"1\"", "an_int: expected an integer, found a text"},
      {"\"an_int\":1.5", "an_int: expected an integer, found a number"},
      {"\"an_int\":9223372036854775808", "an_int: is not an exact 64-bit integer"},
      {"\"a_double\":[1,{\"x\":2}]", "a_double: expected a number, found a list"},
      {"\"a_text\":{\"x\":[]}", "a_text: expected a text, found an object"},
      {"\"an_enum\":\"other\"", "an_enum: must be one of: classifier, regressor, ranker"},
      {"\"an_enum\":0", "an_enum: expected a text, found an integer"},
      {"\"opt_int\":true", "opt_int: expected an integer, found true or false"},
      {"\"a_time\":\"yesterday\"", "a_time: expected a time such as 2024-05-01T12:00:00Z"},
      {"\"a_time\":17", "a_time: expected a time such as 2024-05-01T12:00:00Z, found an integer"},
      {"\"some_bytes\":\"%%\"", "some_bytes: is not base64"},
      {"\"some_bytes\":\"Zm9vYmFyeA==\"", "some_bytes: is longer than 6 bytes"},
      {"\"some_texts\":\"x\"", "some_texts: expected a list of texts, found a text"},
      {"\"some_texts\":[]", "some_texts: has fewer than 1 item"},
      {"\"some_texts\":[\"a\",\"b\",\"c\",\"d\"]", "some_texts: has more than 3 items"},
      {"\"some_texts\":[\"a\",2]", "some_texts[1]: expected a text, found an integer"},
      {"\"some_texts\":[\"a\",\"B\"]", "some_texts[1]: does not match [a-z]*"},
      {"\"some_doubles\":[0,2]", "some_doubles[1]: must be at most 1"},
      {"\"some_doubles\":[null]", "some_doubles[0]: expected a number, found null"},
      {"\"a_list\":[{\"kind\":\"run\"},{\"kind\":3}]", "a_list[1].kind: expected a text, found an integer"},
      {"\"a_list\":[{\"kind\":\"run\"},7]", "a_list[1]: expected an object, found an integer"},
      {"\"a_list\":[{}]", "a_list[0].kind: is required"},
      {"\"a_txet\":1", "a_txet: unknown field; did you mean 'a_text'?"},
      {"\"zzz\":{\"deep\":[1]}", "zzz: unknown field"},
      {"\"a_text\":\"x\",\"a_text\":\"y\"", "a_text: is given twice"},
      {"\"a_json\":{\"x\":1,\"x\":2}", ": not valid JSON: line 1, column 45: a name that its object has already"},
  };
  everything e;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char json[256];
    assert_in_range(snprintf(json, sizeof json, "{\"an_object\":{\"kind\":\"run\"},%s}", cases[i].member), 1, sizeof json - 1);
    assert_int_equal(decode(everything_schema(), json, &e), PURLIN_INVALID);
    assert_string_equal(buffer_end(&complaints), cases[i].complaint);
  }
}

static void reports_several_fields_at_once(void **state) {
  (void)state;
  assert_refused(create_model_in_schema(),
                 "{\"name\":\"a/b\",\"kind\":\"x\",\"keep_days\":0,\"threshold\":\"1\",\"nmae\":1,\"source\":{\"kind\":\"ftp\"},"
                 "\"metrics\":[{\"key\":1},3]}",
                 "name: does not match [^/:]+; kind: must be one of: classifier, regressor, ranker; keep_days: must be at least 1; "
                 "threshold: expected a number, found a text; nmae: unknown field; did you mean 'name'?; "
                 "source.kind: must be one of: run, upload, import; metrics[0].key: expected a text, found an integer; "
                 "metrics[0].value: is required; metrics[0].at: is required; metrics[1]: expected an object, found an integer");
  assert_refused(create_model_in_schema(), "{}", "name: is required; source: is required");
  assert_refused(create_model_in_schema(), "{\"name\":null,\"source\":null}",
                 "name: expected a text, found null; source: expected an object, found null");
}

static void complaints_are_bounded(void **state) {
  (void)state;
  buffer json = {0};
  create_model_in in;
  buffer_char(&json, '{');
  for (int i = 0; i < 5000; i++) buffer_format(&json, "\"unknown%d\":1,", i);
  buffer_text(&json, "\"name\":1}");
  assert_int_equal(decode(create_model_in_schema(), buffer_end(&json), &in), PURLIN_INVALID);
  assert_int_equal(complaint_count, 32);
  buffer_clear(&json);
  buffer_text(&json, "{\"");
  for (int i = 0; i < 5000; i++) buffer_text(&json, "\xe2\x82\xac");
  buffer_text(&json, "\":1}");
  assert_int_equal(decode(create_model_in_schema(), buffer_end(&json), &in), PURLIN_INVALID);
  assert_true(complaints.size < 400);
  buffer_free(&json);
}

static void says_where_the_json_is_broken(void **state) {
  (void)state;
  assert_refused(login_schema(), "", ": not valid JSON: line 1, column 1: the text is empty");
  assert_refused(login_schema(), "{\n \"user\": }", ": not valid JSON: line 2, column 10: expected a value");
  assert_refused(login_schema(), "[1]", ": expected an object, found a list");
  assert_refused(login_schema(), "3", ": expected an object, found an integer");
  assert_refused(login_schema(), "{\"user\":\"u\",\"password\":\"p\"} x", ": not valid JSON: line 1, column 29: something follows the value");
  assert_refused(login_schema(), "{\"user\":\"\xff\"}", ": not valid JSON: line 1, column 10: a text that is not UTF-8");
  login in;
  schema_reading how = reading();
  how.prefix = "rows[3]";
  assert_int_equal(schema_decode(&how, login_schema(), "{\"user\":1,\"password\":\"p\"}", 25, &in), PURLIN_INVALID);
  assert_string_equal(buffer_end(&complaints), "rows[3].user: expected a text, found an integer");
}

static void lengths_have_limits(void **state) {
  (void)state;
  buffer json = {0};
  login in;
  for (size_t size = 65536; size <= 65537; size++) {
    buffer_clear(&json);
    buffer_text(&json, "{\"password\":\"\",\"user\":\"");
    for (size_t i = 0; i < size; i++) buffer_char(&json, 'x');
    buffer_text(&json, "\"}");
    assert_int_equal(decode(login_schema(), buffer_end(&json), &in), size == 65536 ? PURLIN_OK : PURLIN_INVALID);
  }
  assert_string_equal(buffer_end(&complaints), "user: is longer than 65536 bytes");
  buffer_clear(&json);
  buffer_text(&json, "{\"source\":{\"kind\":\"run\"},\"name\":\"");
  for (size_t i = 0; i < 251; i++) buffer_char(&json, 'x');
  buffer_text(&json, "\"}");
  create_model_in model;
  assert_int_equal(decode(create_model_in_schema(), buffer_end(&json), &model), PURLIN_INVALID);
  assert_string_equal(buffer_end(&complaints), "name: is longer than 250 bytes");
  buffer_free(&json);
}

static void memory_has_a_cap(void **state) {
  (void)state;
  buffer json = {0};
  tree in;
  arena small;
  arena_init(&small, 20000);
  buffer_text(&json, "{\"name\":\"r\",\"children\":[");
  for (int i = 0; i < 2000; i++) buffer_format(&json, "%s{\"name\":\"x\\t%d\"}", i > 0 ? "," : "", i);
  buffer_text(&json, "]}");
  schema_reading how = reading();
  how.memory = &small;
  assert_int_equal(schema_decode(&how, tree_schema(), json.data, json.size, &in), PURLIN_TOO_LARGE);
  assert_int_equal(complaint_count, 0);
  arena_free(&small);
  assert_int_equal(decode(tree_schema(), buffer_end(&json), &in), PURLIN_OK);
  assert_int_equal(in.children.count, 2000);
  assert_string_equal(in.children.items[1999].name, "x\t1999");
  buffer_free(&json);
}

static void trees_nest_as_deep_as_json(void **state) {
  (void)state;
  buffer json = {0};
  tree in;
  for (int levels = 50; levels <= 51; levels++) { /* each level is an object in a list */
    buffer_clear(&json);
    for (int i = 1; i < levels; i++) buffer_text(&json, "{\"name\":\"n\",\"children\":[");
    buffer_text(&json, "{\"name\":\"leaf\"}");
    for (int i = 1; i < levels; i++) buffer_text(&json, "]}");
    assert_int_equal(decode(tree_schema(), buffer_end(&json), &in), levels == 50 ? PURLIN_OK : PURLIN_INVALID);
  }
  buffer_free(&json);
}

static void stored_payloads_are_read_tolerantly(void **state) {
  (void)state;
  create_model_in in;
  schema_reading how = reading();
  how.tolerant = true;
  const char *json = "{\"name\":\"n\",\"gone\":{\"x\":[1]},\"threshold\":null,\"source\":{\"kind\":\"run\",\"old\":1},"
                     "\"metrics\":[{\"key\":\"k\",\"value\":null,\"at\":\"2024-05-01T12:00:00Z\"}]}";
  assert_int_equal(schema_decode(&how, create_model_in_schema(), json, strlen(json), &in), PURLIN_OK);
  assert_true(in.threshold == 0.5);
  assert_true(isnan(in.metrics.items[0].value)); /* as it was before it was stored */
  json = "{\"source\":{\"kind\":\"run\"}}";
  how = reading();
  how.tolerant = true;
  assert_int_equal(schema_decode(&how, create_model_in_schema(), json, strlen(json), &in), PURLIN_INVALID);
  assert_string_equal(buffer_end(&complaints), "name: is required");
  json = "{\"name\":\"n\",\"name\":\"m\",\"source\":{\"kind\":\"run\"}}";
  assert_int_equal(schema_decode(&how, create_model_in_schema(), json, strlen(json), &in), PURLIN_INVALID);
}

/* ---- From single texts ------------------------------------------------------------------------------------------------------------ */

static purlin_status set(const schema_reading *how, everything *e, const char *name, const char *text) {
  const purlin_field *field = schema_find(everything_schema(), name, strlen(name));
  assert_non_null(field);
  return schema_set_text(how, field, e, text, strlen(text));
}

static void sets_fields_from_texts(void **state) {
  (void)state;
  everything e = {0};
  schema_reading how = reading();
  static const char *const good[][2] = {
      {"a_bool", "1"}, {"an_int", "-12"}, {"a_double", "1e3"}, {"a_text", "true"}, {"an_enum", "regressor"}, {"opt_bool", "false"},
      {"opt_int", "0"}, {"opt_double", "0.5"}, {"opt_text", ""}, {"a_time", "2024-05-01T12:00:00Z"}, {"a_json", " {\"a\":1}"},
      {"some_bytes", "Zm8="}, {"some_texts", "x"}, {"some_texts", "y"}, {"some_texts", "z"}, {"some_doubles", "1"},
      {"some_doubles", "-0.5"}, {"an_object", "{\"kind\":\"run\"}"}, {"a_list", "[{\"kind\":\"run\"}]"},
  };
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
    if (set(&how, &e, good[i][0], good[i][1]) != PURLIN_OK) fail_msg("%s: %s", good[i][0], buffer_end(&complaints));
  assert_encodes(everything_schema(), &e,
                 "{\"a_bool\":true,\"an_int\":-12,\"a_double\":1000,\"a_text\":\"true\",\"an_enum\":\"regressor\",\"opt_bool\":false,"
                 "\"opt_int\":0,\"opt_double\":0.5,\"opt_text\":\"\",\"a_time\":\"2024-05-01T12:00:00Z\",\"a_json\":{\"a\":1},"
                 "\"some_bytes\":\"Zm8=\",\"some_texts\":[\"x\",\"y\",\"z\"],\"some_doubles\":[1,-0.5],\"an_object\":{\"kind\":\"run\"},"
                 "\"a_list\":[{\"kind\":\"run\"}]}");
  static const char *const bad[][3] = {
      {"a_bool", "yes", "a_bool: expected true or false"},
      {"a_bool", "", "a_bool: expected true or false"},
      {"an_int", "1.5", "an_int: expected an integer"},
      {"an_int", "99999999999999999999", "an_int: expected an integer"},
      {"a_double", "nan", "a_double: expected a number"},
      {"a_text", "\xff", "a_text: is not valid UTF-8"},
      {"an_enum", "x", "an_enum: must be one of: classifier, regressor, ranker"},
      {"opt_int", "", "opt_int: expected an integer"},
      {"a_time", "now", "a_time: expected a time such as 2024-05-01T12:00:00Z"},
      {"a_json", "{", "a_json: not valid JSON: the text ends too early"},
      {"a_json", "{\"a\":1,\"a\":2}", "a_json: not valid JSON: a name that its object has already"},
      {"a_json", "1 2", "a_json: not valid JSON: something follows the value"},
      {"some_bytes", "x", "some_bytes: is not base64"},
      {"some_texts", "w", "some_texts: has more than 3 items"},
      {"some_texts", "W", "some_texts[3]: does not match [a-z]*"},
      {"some_doubles", "2", "some_doubles[2]: must be at most 1"},
      {"some_doubles", "x", "some_doubles[2]: expected a number"},
      {"an_object", "{}", "an_object.kind: is required"},
      {"a_list", "7", "a_list: expected a list of objects, found an integer"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    how = reading();
    assert_int_equal(set(&how, &e, bad[i][0], bad[i][1]), PURLIN_INVALID);
    assert_string_equal(buffer_end(&complaints), bad[i][2]);
  }
  const purlin_field *text = schema_find(everything_schema(), "a_text", 6);
  assert_int_equal(schema_set_text(&how, text, &e, "a\0b", 3), PURLIN_INVALID);
}

static void gathers_a_struct_from_several_places(void **state) {
  (void)state;
  login in;
  uint64_t was_set[SCHEMA_MAX_FIELDS / 64] = {0};
  schema_reading how = reading();
  how.was_set = was_set;
  memset(&in, 0, sizeof in);
  assert_int_equal(schema_set_text(&how, schema_field(login_schema(), 0), &in, "ada", 3), PURLIN_OK);
  was_set[0] |= 1;
  assert_int_equal(schema_decode(&how, login_schema(), "{\"password\":\"p\"}", 16, &in), PURLIN_OK);
  assert_int_equal(was_set[0], 3);
  assert_int_equal(schema_finish(&how, login_schema(), &in, was_set), PURLIN_OK);
  assert_string_equal(in.user, "ada");
  assert_string_equal(in.password, "p");
  assert_int_equal(schema_decode(&how, login_schema(), "{\"user\":\"eve\"}", 14, &in), PURLIN_INVALID);
  assert_string_equal(buffer_end(&complaints), "user: is given twice");
  assert_string_equal(in.user, "ada");
  how = reading();
  uint64_t none[SCHEMA_MAX_FIELDS / 64] = {0};
  assert_int_equal(schema_finish(&how, login_schema(), &in, none), PURLIN_INVALID);
  assert_string_equal(buffer_end(&complaints), "user: is required; password: is required");
}

static void finishing_fills_defaults_and_counts(void **state) {
  (void)state;
  everything e = {0};
  uint64_t was_set[SCHEMA_MAX_FIELDS / 64] = {0};
  schema_reading how = reading();
  was_set[0] = 1; /* a_bool: false */
  assert_int_equal(schema_finish(&how, everything_schema(), &e, was_set), PURLIN_INVALID);
  assert_string_equal(buffer_end(&complaints), "an_object: is required");
  assert_false(e.a_bool);
  assert_int_equal(e.an_int, -7);
  assert_int_equal(e.an_enum, ranker);
}

/* ---- Encoding, copying, layout --------------------------------------------------------------------------------------------------------- */

static void secrets_stay_secret(void **state) {
  (void)state;
  login in = {.user = "ada", .password = "hunter2"};
  assert_encodes(login_schema(), &in, "{\"user\":\"ada\",\"password\":\"***\"}");
  in.token = (purlin_opt_text){PURLIN_SET, "t"};
  assert_encodes(login_schema(), &in, "{\"user\":\"ada\",\"password\":\"***\",\"token\":\"***\"}");
  in.token.state = PURLIN_NULL;
  buffer out = {0};
  schema_encode(login_schema(), &in, SCHEMA_WITH_SECRETS, &out);
  assert_string_equal(buffer_end(&out), "{\"user\":\"ada\",\"password\":\"hunter2\",\"token\":null}");
  buffer_free(&out);
}

static void encodes_what_json_cannot_say(void **state) {
  (void)state;
  everything e = {.a_double = (double)NAN, .an_enum = (model_kind)17, .opt_double = {PURLIN_SET, (double)INFINITY},
                  .a_time = {INT64_MAX}, .an_object = {.kind = "run"}, .opt_text = {PURLIN_SET, NULL}};
  assert_encodes(everything_schema(), &e,
                 "{\"a_bool\":false,\"an_int\":0,\"a_double\":null,\"an_enum\":null,\"opt_double\":null,\"opt_text\":null,\"a_time\":null,"
                 "\"an_object\":{\"kind\":\"run\"}}");
  purlin_nothing nothing = {0};
  assert_encodes(purlin_nothing_schema(), &nothing, "{}");
  assert_becomes(purlin_nothing_schema(), "{}", "{}");
  assert_refused(purlin_nothing_schema(), "{\"x\":1}", "x: unknown field");
}

static void encoding_into_a_full_buffer_fails_cleanly(void **state) {
  (void)state;
  everything e = {.a_text = "text", .an_object = {.kind = "run"}};
  buffer whole = {0};
  schema_encode(everything_schema(), &e, SCHEMA_PUBLIC, &whole);
  for (size_t limit = 1; limit < whole.size; limit++) {
    buffer out = {.limit = limit};
    schema_encode(everything_schema(), &e, SCHEMA_PUBLIC, &out);
    assert_true(out.failed);
    assert_true(out.size <= limit);
    buffer_free(&out);
  }
  buffer_free(&whole);
}

static void copies_are_deep(void **state) {
  (void)state;
  const char *json =
      "{\"a_bool\":false,\"an_int\":1,\"a_double\":0.5,\"a_text\":\"t\",\"an_enum\":\"ranker\",\"opt_text\":\"o\",\"a_json\":{\"x\":1},"
      "\"some_bytes\":\"Zm8=\",\"some_texts\":[\"x\",\"y\"],\"some_doubles\":[1],\"an_object\":{\"kind\":\"run\",\"uri\":\"u\"},"
      "\"a_list\":[{\"kind\":\"run\",\"uri\":\"v\"},{\"kind\":\"import\"}]}";
  everything e, copy;
  arena other;
  arena_init(&other, 0);
  assert_int_equal(decode(everything_schema(), json, &e), PURLIN_OK);
  assert_true(schema_copy(everything_schema(), &e, &other, &copy));
  memset(&e, 0, sizeof e);
  arena_free(&memory); /* under ASan the copy must not point there */
  assert_encodes(everything_schema(), &copy, json);
  everything again;
  arena small;
  arena_init(&small, 64);
  assert_false(schema_copy(everything_schema(), &copy, &small, &again));
  arena_free(&small);
  arena_free(&other);
}

typedef struct { const char *name; int64_t a; } version_one;
PURLIN_SCHEMA(version_one, "One", PURLIN_REQUIRED(name, "Name"), PURLIN_REQUIRED(a, "A"));
typedef struct { const char *name; int64_t a; } version_same;
PURLIN_SCHEMA(version_same, "The same in other words", PURLIN_REQUIRED(name, "Other"), PURLIN_REQUIRED(a, "Other", .min = 1));
typedef struct { int64_t a; const char *name; } version_moved;
PURLIN_SCHEMA(version_moved, "Moved", PURLIN_REQUIRED(name, "Name"), PURLIN_REQUIRED(a, "A"));
typedef struct { const char *name; double a; } version_retyped;
PURLIN_SCHEMA(version_retyped, "Another type", PURLIN_REQUIRED(name, "Name"), PURLIN_REQUIRED(a, "A"));
typedef struct { const char *name; int64_t b; } version_renamed;
PURLIN_SCHEMA(version_renamed, "Another name", PURLIN_REQUIRED(name, "Name"), PURLIN_REQUIRED(b, "A"));

static void layouts_tell_structs_apart(void **state) {
  (void)state;
  uint64_t one = schema_layout(version_one_schema());
  assert_true(one == schema_layout(version_same_schema()));
  assert_true(one != schema_layout(version_moved_schema()));
  assert_true(one != schema_layout(version_retyped_schema()));
  assert_true(one != schema_layout(version_renamed_schema()));
  assert_true(schema_layout(tree_schema()) == schema_layout(tree_schema()));
}

static void count_visit(void *to, const purlin_schema *schema) { buffer_format(to, "%s ", schema->name); }

static void visits_nested_schemas(void **state) {
  (void)state;
  buffer names = {0};
  schema_visit(create_model_in_schema(), count_visit, &names);
  schema_visit(everything_schema(), count_visit, &names);
  schema_visit(tree_schema(), count_visit, &names);
  assert_string_equal(buffer_end(&names), "create_model_in source_in metric_in everything source_in source_in tree ");
  buffer_free(&names);
}

static void fields_are_found_in_longer_layouts(void **state) {
  (void)state;
  struct longer { purlin_field field; char added_later[16]; } fields[3];
  memset(fields, 0x5a, sizeof fields);
  for (size_t i = 0; i < 3; i++) fields[i].field = *schema_field(login_schema(), i);
  purlin_schema schema = *login_schema();
  schema.fields = &fields[0].field;
  schema.field_size = sizeof fields[0];
  assert_ptr_equal(schema_field(&schema, 2), &fields[2].field);
  assert_ptr_equal(schema_find(&schema, "password", 8), &fields[1].field);
  assert_int_equal(schema_field_index(&schema, &fields[2].field), 2);
  assert_null(schema_find(&schema, "pass", 4));
  assert_null(schema_find(&schema, "password1", 9));
  assert_becomes(&schema, "{\"user\":\"u\",\"password\":\"p\"}", "{\"user\":\"u\",\"password\":\"***\"}");
}

static void choices_have_names(void **state) {
  (void)state;
  const char *name;
  size_t size;
  assert_int_equal(schema_choice_index("a, bc ,d", "bc", 2), 1);
  assert_int_equal(schema_choice_index("a, bc, d", "b", 1), -1);
  assert_int_equal(schema_choice_index("a, bc, d", "", 0), -1);
  assert_int_equal(schema_choice_index("", "a", 1), -1);
  assert_true(schema_choice_name("a, bc , d", 1, &name, &size));
  assert_int_equal(size, 2);
  assert_memory_equal(name, "bc", 2);
  assert_false(schema_choice_name("a, bc", 2, &name, &size));
}

/* ---- Checking the table ------------------------------------------------------------------------------------------------------------------- */

static void good_schemas_pass(void **state) {
  (void)state;
  const purlin_schema *const good[] = {create_model_in_schema(), everything_schema(), login_schema(), tree_schema(),
                                       purlin_nothing_schema(), metric_in_schema(), version_one_schema()};
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    buffer why = {0};
    if (!schema_check(good[i], &why)) fail_msg("%s", buffer_end(&why));
    buffer_free(&why);
  }
}

static void assert_wrong(const purlin_schema *schema, const char *expected) {
  buffer why = {0};
  assert_false(schema_check(schema, &why));
  if (strstr(buffer_end(&why), expected) == NULL) fail_msg("%s does not say: %s", buffer_end(&why), expected);
  buffer_free(&why);
}

static const purlin_schema *of_nothing(void) { return NULL; }

static void wrong_schemas_are_refused(void **state) {
  (void)state;
  /* metric_in with one thing changed each time: key, value, step, at */
  static const struct { size_t field; purlin_field change; const char *why; } cases[] = {
      {0, {.name = "a b"}, "a field's name must be"},
      {1, {.name = "key"}, "two fields have this name"},
      {0, {.doc = ""}, "has no line of documentation"},
      {0, {.type = 99}, "a type that this release does not know"},
      {0, {.type = PURLIN_T_BOOL}, "a size that is not its type's"},
      {0, {.type = PURLIN_T_OBJECT}, "has no schema of its own"},
      {0, {.of = of_nothing}, "has a schema, but is no object"},
      {0, {.offset = 4000}, "lies outside the struct"},
      {0, {.min = 1}, "has .min or .max, but is no number"},
      {1, {.max_length = 3}, "has a length, but is no text"},
      {1, {.min = 5, .max = 4}, "has a .max below its .min"},
      {0, {.min_length = 300}, "has a .max_length below its .min_length"},
      {1, {.choices = "a"}, "has .choices, but is no text"},
      {0, {.choices = " "}, "has empty .choices"},
      {0, {.choices = "a, b, a"}, "has the same name twice"},
      {0, {.pattern = "["}, "has a .pattern that is no"},
      {1, {.pattern = "x"}, "has a .pattern, but is no text"},
      {1, {.initial = "1"}, "is required and has a default"},
      {2, {.initial = "-1"}, "its default -1 is wrong: must be at least 0"},
      {2, {.initial = "zero"}, "its default zero is wrong: expected a value"},
      {2, {.initial = "1 1"}, "its default 1 1 is wrong: something follows"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    purlin_field fields[4], *field = &fields[cases[i].field];
    const purlin_field *change = &cases[i].change;
    for (size_t k = 0; k < 4; k++) fields[k] = *schema_field(metric_in_schema(), k);
    if (change->name) field->name = change->name;
    if (change->doc) field->doc = change->doc;
    if (change->type) field->type = change->type;
    if (change->of) field->of = change->of;
    if (change->offset) field->offset = change->offset;
    if (change->min > 0) field->min = change->min;
    if (change->max > 0) field->max = change->max;
    if (change->min_length) field->min_length = change->min_length;
    if (change->max_length) field->max_length = change->max_length;
    if (change->choices) field->choices = change->choices;
    if (change->pattern) field->pattern = change->pattern;
    if (change->initial) field->initial = change->initial;
    purlin_schema schema = *metric_in_schema();
    schema.fields = fields;
    assert_wrong(&schema, cases[i].why);
  }
  purlin_schema schema = *metric_in_schema();
  schema.name = "a/b";
  assert_wrong(&schema, "its name must be");
  schema = *metric_in_schema();
  schema.struct_size = 0;
  assert_wrong(&schema, "a struct of no or of absurd size");
  schema = *metric_in_schema();
  schema.field_count = 257;
  assert_wrong(&schema, "more than 256 fields");
  schema = *metric_in_schema();
  schema.field_size = 24;
  assert_wrong(&schema, "a layout older than 1.0");
  schema = *metric_in_schema();
  schema.fields = NULL;
  assert_wrong(&schema, "has no fields");
}

static const purlin_field wrong_fields[] = {
    {.name = "kind", .size = sizeof(model_kind), .type = PURLIN_T_ENUM, .doc = "Kind", .choices = "a = 1, b"}};
static const purlin_schema wrong_schema = {sizeof(model_kind), sizeof(purlin_field), 1, "wrong", "Wrong", wrong_fields};
static const purlin_schema *wrong(void) { return &wrong_schema; }

static void wrong_nested_schemas_are_refused(void **state) {
  (void)state;
  purlin_field fields[] = {{.name = "inner", .size = sizeof(model_kind), .type = PURLIN_T_OBJECT, .of = wrong, .doc = "Inner"}};
  purlin_schema schema = {sizeof(model_kind), sizeof(purlin_field), 1, "outer", "Outer", fields};
  assert_wrong(&schema, "schema wrong, field kind: is an enum that gives numbers to its names");
}

/* ---- Patterns -------------------------------------------------------------------------------------------------------------------------------- */

typedef struct { const char *text; } patterned;

static bool matches(const char *pattern, const char *text) {
  purlin_field field = {.name = "text", .size = sizeof(char *), .type = PURLIN_T_TEXT, .doc = "Text", .pattern = pattern};
  purlin_schema schema = {sizeof(patterned), sizeof(purlin_field), 1, "patterned", "Patterned", &field};
  patterned out = {0};
  schema_reading how = reading();
  return schema_set_text(&how, schema_field(&schema, 0), &out, text, strlen(text)) == PURLIN_OK;
}

static void patterns_match_the_whole_text(void **state) {
  (void)state;
  static const struct { const char *pattern, *text; bool match; } cases[] = {
      {"[^/:]+", "churn", true}, {"[^/:]+", "a/b", false}, {"[^/:]+", "", false}, {"[^/:]+", "\xc3\xa9\n", true},
      {"a|bc", "bc", true}, {"a|bc", "abc", false}, {"a|bc", "ac", false}, {"(a|b)*c", "ababc", true}, {"(a|b)*c", "abab", false},
      {"[a-z][a-z0-9_-]{0,3}", "a_-9", true}, {"[a-z][a-z0-9_-]{0,3}", "a_-90", false}, {"[a-z][a-z0-9_-]{0,3}", "_", false},
      {"[0-9]{3}", "123", true}, {"[0-9]{3}", "12", false}, {"[0-9]{2,}", "1", false}, {"[0-9]{2,}", "12345", true},
      {"x?y+", "yy", true}, {"x?y+", "xxy", false}, {"a.c", "abc", true}, {"a\\.c", "abc", false}, {"a\\.c", "a.c", true},
      {"[]a]+", "]a]", true}, {"[^]a]", "b", true}, {"[a-]", "-", true}, {"[[:digit:]]+", "42", true}, {"[[:digit:]]+", "4x", false},
      {"", "", true}, {"", "x", false}, {"(ab){2}", "abab", true}, {"(ab){2}", "ab", false}, {"(a|)b", "b", true},
      {"(a*)*", "aaaa", true}, {"(a*)*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false}, {"((a?){5}){3}", "aaaaaaaaaaaaaaa", true},
      {"((a?){5}){3}", "aaaaaaaaaaaaaaaa", false}, {"[[:alpha:]_]+", "ab_", true}, {"a{2}{2}", "aaaa", true},
      {"s3://[a-z0-9.-]+(/.*)?", "s3://bucket/key", true}, {"[\\.]", "\\", true}, {"a+?", "aa", true}, {"x{0}y", "y", true},
      {"^ab$", "ab", true}, {"[a-c]{100}", "a", false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    if (matches(cases[i].pattern, cases[i].text) != cases[i].match) fail_msg("%s on %s", cases[i].pattern, cases[i].text);
}

static unsigned random_below(uint64_t *seed, unsigned limit) {
  *seed ^= *seed << 13;
  *seed ^= *seed >> 7;
  *seed ^= *seed << 17;
  return (unsigned)((*seed >> 20) % limit);
}

static void random_pattern(buffer *out, uint64_t *seed, int depth) {
  static const char *const atoms[] = {"a", "b", "c", ".", "[ab]", "[^a]", "[a-c]", "\\.", "[]b]", "[[:alpha:]]"};
  static const char *const counts[] = {"", "", "", "", "*", "+", "?", "{2}", "{1,3}", "{2,}", "{0,2}"};
  unsigned pieces = random_below(seed, 4);
  for (unsigned i = 0; i < pieces; i++) {
    if (depth > 0 && random_below(seed, 3) == 0) {
      buffer_char(out, '(');
      random_pattern(out, seed, depth - 1);
      buffer_char(out, '|');
      random_pattern(out, seed, depth - 1);
      buffer_char(out, ')');
    } else {
      buffer_text(out, atoms[random_below(seed, sizeof atoms / sizeof atoms[0])]);
    }
    buffer_text(out, counts[random_below(seed, sizeof counts / sizeof counts[0])]);
  }
}

/* The automata agree with the C library on random expressions and texts. */
static void automata_agree_with_regexec(void **state) {
  (void)state;
  uint64_t seed = 20240501;
  unsigned compiled = 0, matched = 0;
  for (int round = 0; round < 1500; round++) {
    buffer pattern = {0}, anchored = {0};
    random_pattern(&pattern, &seed, 2);
    buffer_format(&anchored, "^(%s)$", buffer_end(&pattern));
    regex_t regex;
    assert_int_equal(regcomp(&regex, buffer_end(&anchored), REG_EXTENDED | REG_NOSUB), 0);
    schema_automaton *automaton = schema_automaton_compile(buffer_end(&pattern));
    for (int i = 0; automaton != NULL && i < 20; i++) {
      char text[9];
      size_t size = random_below(&seed, sizeof text);
      for (size_t k = 0; k < size; k++) text[k] = "abc.\xe9"[random_below(&seed, 5)];
      text[size] = '\0';
      bool expected = regexec(&regex, text, 0, NULL, 0) == 0;
      matched += expected;
      if (schema_automaton_matches(automaton, text, size) != expected) fail_msg("%s on %s", buffer_end(&pattern), text);
    }
    compiled += automaton != NULL;
    free(automaton);
    regfree(&regex);
    buffer_free(&pattern);
    buffer_free(&anchored);
  }
  assert_in_range(compiled, 1000, 1500);
  assert_in_range(matched, 1500, 28000);
}

static void *decode_often(void *argument) {
  arena own;
  char pattern[32];
  size_t wrong_answers = 0;
  arena_init(&own, 0);
  for (int i = 0; i < 2000; i++) {
    purlin_field field = {.name = "text", .size = sizeof(char *), .type = PURLIN_T_TEXT, .doc = "Text", .pattern = pattern};
    patterned out = {0};
    schema_reading how = {.memory = &own};
    (void)snprintf(pattern, sizeof pattern, "x%d[0-9]+", i % 300);
    char text[32];
    (void)snprintf(text, sizeof text, "x%d%d", i % 300, i);
    if (schema_set_text(&how, &field, &out, text, strlen(text)) != PURLIN_OK) wrong_answers++;
    if (schema_set_text(&how, &field, &out, "x", 1) != PURLIN_INVALID) wrong_answers++;
    arena_free(&own);
  }
  arena_thread_end();
  *(size_t *)argument = wrong_answers;
  return NULL;
}

static void patterns_are_shared_by_threads(void **state) {
  (void)state;
  pthread_t threads[4];
  size_t wrong_answers[4];
  for (size_t i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, decode_often, &wrong_answers[i]), 0);
  for (size_t i = 0; i < 4; i++) {
    assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(wrong_answers[i], 0);
  }
}

/* ---- JSON Schema --------------------------------------------------------------------------------------------------------------------------------- */

static void assert_document(const purlin_schema *schema, const char *expected) {
  buffer out = {0};
  size_t at;
  const char *error;
  schema_json_schema(schema, &out);
  assert_true(json_check(out.data, out.size, &at, &error));
  assert_string_equal(buffer_end(&out), expected);
  buffer_free(&out);
}

static void writes_json_schema(void **state) {
  (void)state;
  assert_document(purlin_nothing_schema(), "{\"type\":\"object\",\"description\":\"Nothing\",\"properties\":{},\"additionalProperties\":false}");
  assert_document(login_schema(),
                  "{\"type\":\"object\",\"description\":\"Somebody\",\"properties\":{"
                  "\"user\":{\"type\":\"string\",\"description\":\"Who\"},"
                  "\"password\":{\"type\":\"string\",\"description\":\"Secret word\",\"writeOnly\":true},"
                  "\"token\":{\"type\":[\"string\",\"null\"],\"description\":\"Secret too\",\"writeOnly\":true}},"
                  "\"required\":[\"user\",\"password\"],\"additionalProperties\":false}");
  assert_document(
      everything_schema(),
      "{\"type\":\"object\",\"description\":\"A member of every type\",\"properties\":{"
      "\"a_bool\":{\"type\":\"boolean\",\"description\":\"A bool\",\"default\":true},"
      "\"an_int\":{\"type\":\"integer\",\"format\":\"int64\",\"description\":\"An integer\",\"default\":-7},"
      "\"a_double\":{\"type\":\"number\",\"description\":\"A number\",\"default\":2.5},"
      "\"a_text\":{\"type\":\"string\",\"description\":\"A text\"},"
      "\"an_enum\":{\"type\":\"string\",\"enum\":[\"classifier\",\"regressor\",\"ranker\"],\"description\":\"A choice\",\"default\":\"ranker\"},"
      "\"opt_bool\":{\"type\":[\"boolean\",\"null\"],\"description\":\"Maybe a bool\"},"
      "\"opt_int\":{\"type\":[\"integer\",\"null\"],\"format\":\"int64\",\"description\":\"Maybe an integer\"},"
      "\"opt_double\":{\"type\":[\"number\",\"null\"],\"description\":\"Maybe a number\"},"
      "\"opt_text\":{\"type\":[\"string\",\"null\"],\"description\":\"Maybe a text\"},"
      "\"a_time\":{\"type\":\"string\",\"format\":\"date-time\",\"description\":\"A time\"},"
      "\"a_json\":{\"$comment\":\"any value\",\"description\":\"Any JSON\"},"
      "\"some_bytes\":{\"type\":\"string\",\"contentEncoding\":\"base64\",\"description\":\"Bytes\"},"
      "\"some_texts\":{\"type\":\"array\",\"items\":{\"type\":\"string\",\"pattern\":\"^([a-z]*)$\"},\"minItems\":1,\"maxItems\":3,\"description\":\"Texts\"},"
      "\"some_doubles\":{\"type\":\"array\",\"items\":{\"type\":\"number\",\"minimum\":-1,\"maximum\":1},\"maxItems\":3,\"description\":\"Numbers\"},"
      "\"an_object\":{\"$ref\":\"#/components/schemas/source_in\",\"description\":\"An object\"},"
      "\"a_list\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/components/schemas/source_in\"},\"maxItems\":3,\"description\":\"Objects\"}},"
      "\"required\":[\"an_object\"],\"additionalProperties\":false}");
  buffer out = {0};
  schema_json_field(schema_find(create_model_in_schema(), "keep_days", 9), &out);
  assert_non_null(strstr(buffer_end(&out), "\"minimum\":1,\"maximum\":3650"));
  buffer_clear(&out);
  schema_json_field(schema_find(create_model_in_schema(), "name", 4), &out);
  assert_non_null(strstr(buffer_end(&out), "\"pattern\":\"^([^/:]+)$\",\"maxLength\":250"));
  buffer_free(&out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(decodes_a_model),
      TEST(absent_members_take_their_defaults),
      TEST(every_type_survives),
      TEST(says_what_is_wrong),
      TEST(reports_several_fields_at_once),
      TEST(complaints_are_bounded),
      TEST(says_where_the_json_is_broken),
      TEST(lengths_have_limits),
      TEST(memory_has_a_cap),
      TEST(trees_nest_as_deep_as_json),
      TEST(stored_payloads_are_read_tolerantly),
      TEST(sets_fields_from_texts),
      TEST(gathers_a_struct_from_several_places),
      TEST(finishing_fills_defaults_and_counts),
      TEST(secrets_stay_secret),
      TEST(encodes_what_json_cannot_say),
      TEST(encoding_into_a_full_buffer_fails_cleanly),
      TEST(copies_are_deep),
      TEST(layouts_tell_structs_apart),
      TEST(visits_nested_schemas),
      TEST(fields_are_found_in_longer_layouts),
      TEST(choices_have_names),
      TEST(good_schemas_pass),
      TEST(wrong_schemas_are_refused),
      TEST(wrong_nested_schemas_are_refused),
      TEST(patterns_match_the_whole_text),
      TEST(automata_agree_with_regexec),
      TEST(patterns_are_shared_by_threads),
      TEST(writes_json_schema),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  arena_thread_end();
  return failed;
}
