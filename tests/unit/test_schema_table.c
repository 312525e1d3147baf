#include "schema_cases.h"

#include <pthread.h>
#include <regex.h>

/* ---- Layout, names --------------------------------------------------------------------------- */

typedef struct {
  const char *name;
  int64_t a;
} version_one;
PURLIN_SCHEMA(version_one, "One", PURLIN_REQUIRED(name, "Name"), PURLIN_REQUIRED(a, "A"));
typedef struct {
  const char *name;
  int64_t a;
} version_same;
PURLIN_SCHEMA(version_same, "The same in other words", PURLIN_REQUIRED(name, "Other"),
              PURLIN_REQUIRED(a, "Other", .min = 1));
typedef struct {
  int64_t a;
  const char *name;
} version_moved;
PURLIN_SCHEMA(version_moved, "Moved", PURLIN_REQUIRED(name, "Name"), PURLIN_REQUIRED(a, "A"));
typedef struct {
  const char *name;
  double a;
} version_retyped;
PURLIN_SCHEMA(version_retyped, "Another type", PURLIN_REQUIRED(name, "Name"), PURLIN_REQUIRED(a, "A"));
typedef struct {
  const char *name;
  int64_t b;
} version_renamed;
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
  struct longer {
    purlin_field field;
    char added_later[16];
  } fields[3];
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
  const purlin_schema *const good[] = {create_model_in_schema(), everything_schema(), login_schema(),      tree_schema(),
                                       purlin_nothing_schema(),  metric_in_schema(),  version_one_schema()};
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
  static const struct {
    size_t field;
    purlin_field change;
    const char *why;
  } cases[] = {
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
  purlin_field fields[] = {
      {.name = "inner", .size = sizeof(model_kind), .type = PURLIN_T_OBJECT, .of = wrong, .doc = "Inner"}};
  purlin_schema schema = {sizeof(model_kind), sizeof(purlin_field), 1, "outer", "Outer", fields};
  assert_wrong(&schema, "schema wrong, field kind: is an enum that gives numbers to its names");
}

/* ---- Patterns -------------------------------------------------------------------------------------------------------------------------------- */

typedef struct {
  const char *text;
} patterned;

static bool matches(const char *pattern, const char *text) {
  purlin_field field = {.name = "text", .size = sizeof(char *), .type = PURLIN_T_TEXT, .doc = "Text", .pattern = pattern};
  purlin_schema schema = {sizeof(patterned), sizeof(purlin_field), 1, "patterned", "Patterned", &field};
  patterned out = {0};
  schema_reading how = reading();
  return schema_set_text(&how, schema_field(&schema, 0), &out, text, strlen(text)) == PURLIN_OK;
}

static void patterns_match_the_whole_text(void **state) {
  (void)state;
  static const struct {
    const char *pattern, *text;
    bool match;
  } cases[] = {
      {"[^/:]+", "churn", true},
      {"[^/:]+", "a/b", false},
      {"[^/:]+", "", false},
      {"[^/:]+", "\xc3\xa9\n", true},
      {"a|bc", "bc", true},
      {"a|bc", "abc", false},
      {"a|bc", "ac", false},
      {"(a|b)*c", "ababc", true},
      {"(a|b)*c", "abab", false},
      {"[a-z][a-z0-9_-]{0,3}", "a_-9", true},
      {"[a-z][a-z0-9_-]{0,3}", "a_-90", false},
      {"[a-z][a-z0-9_-]{0,3}", "_", false},
      {"[0-9]{3}", "123", true},
      {"[0-9]{3}", "12", false},
      {"[0-9]{2,}", "1", false},
      {"[0-9]{2,}", "12345", true},
      {"x?y+", "yy", true},
      {"x?y+", "xxy", false},
      {"a.c", "abc", true},
      {"a\\.c", "abc", false},
      {"a\\.c", "a.c", true},
      {"[]a]+", "]a]", true},
      {"[^]a]", "b", true},
      {"[a-]", "-", true},
      {"[[:digit:]]+", "42", true},
      {"[[:digit:]]+", "4x", false},
      {"", "", true},
      {"", "x", false},
      {"(ab){2}", "abab", true},
      {"(ab){2}", "ab", false},
      {"(a|)b", "b", true},
      {"(a*)*", "aaaa", true},
      {"(a*)*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
      {"((a?){5}){3}", "aaaaaaaaaaaaaaa", true},
      {"((a?){5}){3}", "aaaaaaaaaaaaaaaa", false},
      {"[[:alpha:]_]+", "ab_", true},
      {"a{2}{2}", "aaaa", true},
      {"s3://[a-z0-9.-]+(/.*)?", "s3://bucket/key", true},
      {"[\\.]", "\\", true},
      {"a+?", "aa", true},
      {"x{0}y", "y", true},
      {"^ab$", "ab", true},
      {"[a-c]{100}", "a", false},
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
  assert_document(purlin_nothing_schema(),
                  "{\"type\":\"object\",\"description\":\"Nothing\",\"properties\":{},\"additionalProperties\":false}");
  assert_document(login_schema(),
                  "{\"type\":\"object\",\"description\":\"Somebody\",\"properties\":{"
                  "\"user\":{\"type\":\"string\",\"description\":\"Who\"},"
                  "\"password\":{\"type\":\"string\",\"description\":\"Secret word\",\"writeOnly\":true},"
                  "\"token\":{\"type\":[\"string\",\"null\"],\"description\":\"Secret too\",\"writeOnly\":true}},"
                  "\"required\":[\"user\",\"password\"],\"additionalProperties\":false}");
  assert_document(everything_schema(),
                  "{\"type\":\"object\",\"description\":\"A member of every type\",\"properties\":{"
                  "\"a_bool\":{\"type\":\"boolean\",\"description\":\"A bool\",\"default\":true},"
                  "\"an_int\":{\"type\":\"integer\",\"format\":\"int64\",\"description\":\"An integer\",\"default\":-7},"
                  "\"a_double\":{\"type\":\"number\",\"description\":\"A number\",\"default\":2.5},"
                  "\"a_text\":{\"type\":\"string\",\"description\":\"A text\"},"
                  "\"an_enum\":{\"type\":\"string\",\"enum\":[\"classifier\",\"regressor\",\"ranker\"],\"description\":\"A "
                  "choice\",\"default\":\"ranker\"},"
                  "\"opt_bool\":{\"type\":[\"boolean\",\"null\"],\"description\":\"Maybe a bool\"},"
                  "\"opt_int\":{\"type\":[\"integer\",\"null\"],\"format\":\"int64\",\"description\":\"Maybe an integer\"},"
                  "\"opt_double\":{\"type\":[\"number\",\"null\"],\"description\":\"Maybe a number\"},"
                  "\"opt_text\":{\"type\":[\"string\",\"null\"],\"description\":\"Maybe a text\"},"
                  "\"a_time\":{\"type\":\"string\",\"format\":\"date-time\",\"description\":\"A time\"},"
                  "\"a_json\":{\"$comment\":\"any value\",\"description\":\"Any JSON\"},"
                  "\"some_bytes\":{\"type\":\"string\",\"contentEncoding\":\"base64\",\"description\":\"Bytes\"},"
                  "\"some_texts\":{\"type\":\"array\",\"items\":{\"type\":\"string\",\"pattern\":\"^([a-z]*)$\"},"
                  "\"minItems\":1,\"maxItems\":3,\"description\":\"Texts\"},"
                  "\"some_doubles\":{\"type\":\"array\",\"items\":{\"type\":\"number\",\"minimum\":-1,\"maximum\":1},"
                  "\"maxItems\":3,\"description\":\"Numbers\"},"
                  "\"an_object\":{\"$ref\":\"#/components/schemas/source_in\",\"description\":\"An object\"},"
                  "\"a_list\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/components/schemas/"
                  "source_in\"},\"maxItems\":3,\"description\":\"Objects\"}},"
                  "\"required\":[\"an_object\"],\"additionalProperties\":false}");
  buffer out = {0};
  schema_json_field(schema_find(create_model_in_schema(), "keep_days", 9), &out);
  assert_non_null(strstr(buffer_end(&out), "\"minimum\":1,\"maximum\":3650"));
  buffer_clear(&out);
  schema_json_field(schema_find(create_model_in_schema(), "name", 4), &out);
  assert_non_null(strstr(buffer_end(&out), "\"pattern\":\"^([^/:]+)$\",\"maxLength\":250"));
  buffer_free(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
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
