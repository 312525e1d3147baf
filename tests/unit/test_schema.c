#include "schema_cases.h"

#include <math.h>

/* ---- Decoding ---------------------------------------------------------------------------------------------------------------- */

static void decodes_a_model(void **state) {
  (void)state;
  create_model_in in;
  assert_int_equal(
      decode(
          create_model_in_schema(),
          " {\"name\":\"ch\\u0075rn\",\"kind\":\"ranker\",\"description\":null,\"keep_days\":7,\"tags\":[\"a\",\"b\\\"\"],"
          "\"settings\":{\"x\":[1, {}]},\"source\":{\"kind\":\"run\",\"uri\":\"s3://x\"},"
          "\"metrics\":[{\"key\":\"auc\",\"value\":0.91,\"at\":\"2024-05-01T12:00:00Z\"}]} ",
          &in),
      PURLIN_OK);
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
  assert_encodes(
      everything_schema(), &e,
      "{\"a_bool\":true,\"an_int\":-7,\"a_double\":2.5,\"an_enum\":\"ranker\",\"an_object\":{\"kind\":\"run\"}}");
}

static void every_type_survives(void **state) {
  (void)state;
  const char *full = "{\"a_bool\":false,\"an_int\":-9223372036854775808,\"a_double\":-0.125,\"a_text\":\"\xc3\xa9\\n\","
                     "\"an_enum\":\"classifier\","
                     "\"opt_bool\":true,\"opt_int\":9223372036854775807,\"opt_double\":1e+300,\"opt_text\":\"\",\"a_time\":"
                     "\"2024-05-01T12:00:00.250Z\","
                     "\"a_json\":[null,{\"x\":1.50}],\"some_bytes\":\"Zm9vYmFy\",\"some_texts\":[\"x\",\"\",\"yz\"],\"some_"
                     "doubles\":[-1,0.5,1],"
                     "\"an_object\":{\"kind\":\"upload\",\"uri\":null},\"a_list\":[{\"kind\":\"run\"},{\"kind\":\"import\","
                     "\"uri\":\"u\"}]}";
  assert_becomes(everything_schema(), full, full);
  assert_becomes(everything_schema(),
                 "{\"an_object\":{\"kind\":\"run\"},\"opt_bool\":null,\"opt_int\":null,\"opt_double\":null,\"opt_text\":"
                 "null,\"a_json\":null,"
                 "\"some_doubles\":[],\"a_list\":[],\"some_bytes\":\"\",\"a_text\":null,\"a_time\":null,\"some_texts\":"
                 "null,\"an_int\":5.0,\"a_double\":3}",
                 "{\"a_bool\":true,\"an_int\":5,\"a_double\":3,\"an_enum\":\"ranker\",\"opt_bool\":null,\"opt_int\":null,"
                 "\"opt_double\":null,"
                 "\"opt_text\":null,\"a_json\":null,\"some_bytes\":\"\",\"some_doubles\":[],\"an_object\":{\"kind\":"
                 "\"run\"},\"a_list\":[]}");
}

static void says_what_is_wrong(void **state) {
  (void)state;
  static const struct {
    const char *member, *complaint;
  } cases[] = {
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
    assert_in_range(snprintf(json, sizeof json, "{\"an_object\":{\"kind\":\"run\"},%s}", cases[i].member), 1,
                    sizeof json - 1);
    assert_int_equal(decode(everything_schema(), json, &e), PURLIN_INVALID);
    assert_string_equal(buffer_end(&complaints), cases[i].complaint);
  }
}

static void reports_several_fields_at_once(void **state) {
  (void)state;
  assert_refused(
      create_model_in_schema(),
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
  assert_refused(login_schema(), "{\"user\":\"u\",\"password\":\"p\"} x",
                 ": not valid JSON: line 1, column 29: something follows the value");
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
      {"a_bool", "1"},
      {"an_int", "-12"},
      {"a_double", "1e3"},
      {"a_text", "true"},
      {"an_enum", "regressor"},
      {"opt_bool", "false"},
      {"opt_int", "0"},
      {"opt_double", "0.5"},
      {"opt_text", ""},
      {"a_time", "2024-05-01T12:00:00Z"},
      {"a_json", " {\"a\":1}"},
      {"some_bytes", "Zm8="},
      {"some_texts", "x"},
      {"some_texts", "y"},
      {"some_texts", "z"},
      {"some_doubles", "1"},
      {"some_doubles", "-0.5"},
      {"an_object", "{\"kind\":\"run\"}"},
      {"a_list", "[{\"kind\":\"run\"}]"},
  };
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
    if (set(&how, &e, good[i][0], good[i][1]) != PURLIN_OK) fail_msg("%s: %s", good[i][0], buffer_end(&complaints));
  assert_encodes(
      everything_schema(), &e,
      "{\"a_bool\":true,\"an_int\":-12,\"a_double\":1000,\"a_text\":\"true\",\"an_enum\":\"regressor\",\"opt_bool\":false,"
      "\"opt_int\":0,\"opt_double\":0.5,\"opt_text\":\"\",\"a_time\":\"2024-05-01T12:00:00Z\",\"a_json\":{\"a\":1},"
      "\"some_bytes\":\"Zm8=\",\"some_texts\":[\"x\",\"y\",\"z\"],\"some_doubles\":[1,-0.5],\"an_object\":{\"kind\":"
      "\"run\"},"
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
  everything e = {.a_double = (double)NAN,
                  .an_enum = (model_kind)17,
                  .opt_double = {PURLIN_SET, (double)INFINITY},
                  .a_time = {INT64_MAX},
                  .an_object = {.kind = "run"},
                  .opt_text = {PURLIN_SET, NULL}};
  assert_encodes(everything_schema(), &e,
                 "{\"a_bool\":false,\"an_int\":0,\"a_double\":null,\"an_enum\":null,\"opt_double\":null,\"opt_text\":null,"
                 "\"a_time\":null,"
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
  const char *json = "{\"a_bool\":false,\"an_int\":1,\"a_double\":0.5,\"a_text\":\"t\",\"an_enum\":\"ranker\",\"opt_text\":"
                     "\"o\",\"a_json\":{\"x\":1},"
                     "\"some_bytes\":\"Zm8=\",\"some_texts\":[\"x\",\"y\"],\"some_doubles\":[1],\"an_object\":{\"kind\":"
                     "\"run\",\"uri\":\"u\"},"
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

typedef struct {
  double value;
  purlin_opt_double limit;
} any_number;
PURLIN_SCHEMA(any_number, "Also what JSON cannot say", PURLIN_REQUIRED(value, "It", .non_finite = true, .max = 10),
              PURLIN_OPTIONAL(limit, "Another", .non_finite = true));

static void numbers_that_are_not_finite_are_texts_where_the_field_says_so(void **state) {
  (void)state;
  any_number n;
  assert_int_equal(decode(any_number_schema(), "{\"value\":\"NaN\",\"limit\":\"-Infinity\"}", &n), PURLIN_OK);
  assert_true(isnan(n.value) && isinf(n.limit.value) && n.limit.value < 0);
  assert_encodes(any_number_schema(), &n, "{\"value\":\"NaN\",\"limit\":\"-Infinity\"}");
  assert_int_equal(decode(any_number_schema(), "{\"value\":\"nan\"}", &n), PURLIN_INVALID);
  assert_int_equal(decode(any_number_schema(), "{\"value\":\"1\"}", &n), PURLIN_INVALID);
  assert_int_equal(
      decode(metric_in_schema(), "{\"key\":\"k\",\"value\":\"NaN\",\"at\":\"2024-05-01T12:00:00Z\"}", &(metric_in){0}),
      PURLIN_INVALID);
}

static void foreign_protocols_are_read_leniently(void **state) {
  (void)state;
  const char json[] = "{\"a_bool\":\"True\",\"an_int\":\"12\",\"a_double\":\"0.5\",\"opt_int\":\"3\",\"unknown\":{},"
                      "\"a_text\":null,\"an_object\":{\"kind\":\"run\"}}";
  everything e;
  schema_reading how = reading();
  assert_int_equal(schema_decode(&how, everything_schema(), json, sizeof json - 1, &e), PURLIN_INVALID);
  how = reading();
  how.tolerant = how.lenient = true;
  assert_int_equal(schema_decode(&how, everything_schema(), json, sizeof json - 1, &e), PURLIN_OK);
  assert_true(e.a_bool && e.an_int == 12 && e.a_double == 0.5 && e.opt_int.value == 3 && !e.a_text);
  const char nulls[] = "{\"key\":null,\"value\":null,\"step\":null,\"at\":\"2024-05-01T12:00:00Z\"}";
  metric_in m;
  how = reading();
  how.tolerant = how.lenient = true;
  assert_int_equal(schema_decode(&how, metric_in_schema(), nulls, sizeof nulls - 1, &m), PURLIN_INVALID);
  assert_string_equal(buffer_end(&complaints), "key: is required; value: is required");
}

static void assert_invalid(const create_model_in *in, const char *why) {
  schema_reading how = reading();
  assert_int_equal(schema_validate(&how, create_model_in_schema(), in), *why ? PURLIN_INVALID : PURLIN_OK);
  assert_string_equal(buffer_end(&complaints), why);
}

static void rules_hold_for_what_code_has_filled(void **state) {
  (void)state;
  metric_in metrics[] = {{.key = "a", .value = 1}, {.value = 2, .step = -1}};
  create_model_in in = {.name = "m", .source = {.kind = "run"}};
  assert_invalid(&in, "");
  in.metrics.items = metrics;
  in.metrics.count = 1;
  assert_invalid(&in, "");
  in.metrics.count = 2;
  assert_invalid(&in, "metrics[1].key: is required; metrics[1].step: must be at least 0");
  in.metrics.count = 0;
  in.name = "a/b";
  in.threshold = 2;
  in.source.kind = "moon";
  in.keep_days = (purlin_opt_int){PURLIN_SET, 0};
  in.tags = (purlin_texts){(const char *const[]){"x", NULL}, 2};
  assert_invalid(&in, "name: does not match [^/:]+; keep_days: must be at least 1; threshold: must be at most 1;"
                      " tags[1]: is required; source.kind: must be one of: run, upload, import");
}

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
      TEST(numbers_that_are_not_finite_are_texts_where_the_field_says_so),
      TEST(foreign_protocols_are_read_leniently),
      TEST(rules_hold_for_what_code_has_filled),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  arena_thread_end();
  return failed;
}
