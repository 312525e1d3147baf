/* Inference requests to rows, numbers to text and back, columns out of CSV. */
#include "csv.h"
#include "mlmodel.h"
#include "tensor.h"
#include <math.h>
#include <purlin/context.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const char *const NAMES[] = {"a", "b",
                                    ("gr\xc3\xb6\xc3\x9f"
                                     "e \"x\"")};
static const tensor_columns COLUMNS = {.names = NAMES, .count = 3};

static _Alignas(16) char memory[1 << 20];
static size_t used, most = sizeof memory;

static void *take(void *from, size_t size) {
  (void)from;
  size_t rounded = (size + 15) & ~(size_t)15;
  if (rounded > most - used) return NULL;
  used += rounded;
  return memory + used - rounded;
}

static bool decode(const char *json, tensor_request *out, char *why) {
  used = 0;
  memset(memory, 0x5a, 4096);
  return tensor_decode(json, strlen(json), &COLUMNS, (tensor_memory){take, NULL}, out, why);
}

static void assert_rows(const char *json, size_t rows, const float *expected) {
  tensor_request out;
  char why[TENSOR_WHY];
  if (!decode(json, &out, why)) fail_msg("%s: %s", json, why);
  assert_int_equal(out.rows, rows);
  for (size_t i = 0; i < rows * 3; i++)
    if (!(out.values[i] == expected[i] || (isnan(out.values[i]) && isnan(expected[i]))))
      fail_msg("%s: value %zu is %g, expected %g", json, i, (double)out.values[i], (double)expected[i]);
}

#define MATRIX(shape, data) "{\"inputs\":[{\"name\":\"x\",\"shape\":" shape ",\"datatype\":\"FP32\",\"data\":" data "}]}"
#define COLUMN(name, shape, data) "{\"name\":\"" name "\",\"shape\":" shape ",\"datatype\":\"FP64\",\"data\":" data "}"

static void test_one_tensor(void **state) {
  (void)state;
  assert_rows(MATRIX("[2,3]", "[1,2,3,4,5,6]"), 2, (float[]){1, 2, 3, 4, 5, 6});
  assert_rows(MATRIX("[ 2 , 3 ]", "[ [1 , 2,3 ],\n[4,5,6]\t]"), 2, (float[]){1, 2, 3, 4, 5, 6});
  assert_rows(MATRIX("[1,3]", "[-1.5e2,0.1,1E-3]"), 1, (float[]){-150, 0.1f, 0.001f});
  assert_rows(MATRIX("[1,3]", "[null,NaN,true]"), 1, (float[]){NAN, NAN, 1});
  assert_rows(MATRIX("[1,3]", "[16777217,123456789012345678901234567890,1e-30]"), 1,
              (float[]){16777216, 1.2345679e29f, 1e-30f});
  /* members in any order, others ignored */
  assert_rows(
      "{\"parameters\":{\"a\":[1,{\"b\":\"]}\\\"\"}]},\"outputs\":[{\"name\":\"y\"}],\"inputs\":[{\"data\":[[1,2,3]],\"parameters\":{},"
      "\"datatype\":\"INT64\",\"shape\":[1,3],\"name\":\"x\"}]}",
      1, (float[]){1, 2, 3});
}

static void test_a_tensor_per_column(void **state) {
  (void)state;
  assert_rows("{\"inputs\":[" COLUMN("b", "[2]", "[3,4]") "," COLUMN("gr\\u00f6\\u00dfe \\\"x\\\"", "[2,1]",
                                                                     "[[5],[6]]") "," COLUMN("a", "[2,1]", "[1,2]") "]}",
              2, (float[]){1, 3, 5, 2, 4, 6});
  tensor_request out;
  char why[TENSOR_WHY];
  static const char *const one[] = {"a"};
  const tensor_columns single = {.names = one, .count = 1};
  const char *json = MATRIX("[3]", "[7,8,9]");
  used = 0;
  assert_true(tensor_decode(json, strlen(json), &single, (tensor_memory){take, NULL}, &out, why));
  assert_int_equal(out.rows, 3);
  assert_float_equal(out.values[2], 9, 0);
}

static void test_ids(void **state) {
  (void)state;
  tensor_request out;
  char why[TENSOR_WHY];
  assert_true(
      decode("{\"id\":\"order-77\",\"inputs\":[{\"name\":\"x\",\"shape\":[1,3],\"datatype\":\"FP32\",\"data\":[1,2,3]}]}",
             &out, why));
  assert_int_equal(out.id_size, 8);
  assert_memory_equal(out.id, "order-77", 8);
  assert_true(decode(MATRIX("[1,3]", "[1,2,3]"), &out, why));
  assert_null(out.id);
}

typedef struct refusal {
  const char *json, *part;
} refusal;

static const refusal REFUSALS[] = {
    {"", "ends early; expected an object"},
    {"[]", "byte 1 of the JSON: expected an object"},
    {"{}", "no 'inputs'"},
    {"{\"inputs\":[]}", "no 'inputs'"},
    {"{\"inputs\":{}}", "expected the inputs"},
    {"{\"inputs\":[{}]}", "no 'name'"},
    {"{\"inputs\":[{\"name\":\"x\"}]}", "no 'shape'"},
    {"{\"inputs\":[{\"name\":\"x\",\"shape\":[1,3]}]}", "no 'datatype'"},
    {"{\"inputs\":[{\"name\":\"x\",\"shape\":[1,3],\"datatype\":\"FP32\"}]}", "no 'data'"},
    {"{\"inputs\":[{\"name\":\"x\",\"shape\":[1,3],\"datatype\":\"BYTES\",\"data\":[1]}]}", "'BYTES' is not taken"},
    {MATRIX("[1,3]", "[1,2,3]") "x", "expected the end"},
    {MATRIX("[1,2]", "[1,2]"), "has 2 columns; the model takes 3"},
    {MATRIX("[3]", "[1,2,3]"), "is no column of the model"},
    {MATRIX("[1,3,1]", "[1,2,3]"), "more than two dimensions"},
    {MATRIX("[-1,3]", "[1,2,3]"), "a dimension"},
    {MATRIX("[1.5,3]", "[1,2,3]"), "a dimension"},
    {MATRIX("[0,3]", "[]"), "no rows"},
    {MATRIX("[333334,3]", "[]"), "1000000 values"},
    {MATRIX("[1,3]", "[1,2]"), "has 2 values, the shape says 3"},
    {MATRIX("[1,3]", "[1,2,3,4]"), "more values than the 3"},
    {MATRIX("[2,3]", "[[1,2],[3,4,5,6]]"), "a row of the data has 2 values"},
    {MATRIX("[2,3]", "[[1,2,3],4,5,6]"), "as rows before it"},
    {MATRIX("[1,3]", "[1,,3]"), "expected a number"},
    {MATRIX("[1,3]", "[1,2,\\\"3\\\"]"), "expected a number"},
    {MATRIX("[1,3]", "[1,2,03]"), "leading 0"},
    {MATRIX("[1,3]", "[1,2,3.]"), "digits after a point"},
    {MATRIX("[1,3]", "[1,2,3e]"), "exponent"},
    {MATRIX("[1,3]", "[1,2,1e39]"), "range of FP32"},
    {MATRIX("[1,3]", "[1,2,+3]"), "expected a number"},
    {"{\"id\":\"a b\"}", "the id must be"},
    {"{\"id\":7}", "expected a string"},
    {"{\"id\":\"x", "the end of a string"},
    {"{\"parameters\":[}}", "expected a value"},
    {"{\"inputs\":[" COLUMN("a", "[1]", "[1]") "," COLUMN("a", "[1]", "[1]") "]}", "'a' is given twice"},
    {"{\"inputs\":[" COLUMN("a", "[1]", "[1]") "]}", "2 of the model's 3 columns are missing: b, gr"},
    {"{\"inputs\":[" COLUMN("a", "[1]", "[1]") "," COLUMN("b", "[2]", "[1,2]") "]}", "has 2 rows, the one before it 1"},
    {"{\"inputs\":[" COLUMN("a", "[1]", "[1]") "," COLUMN("m", "[1,3]", "[1,2,3]") "]}", "not both"},
    {"{\"inputs\":[" COLUMN("m", "[1,3]", "[1,2,3]") "," COLUMN("a", "[1]", "[1]") "]}", "not both"},
    {"{\"inputs\":[" COLUMN("\\u12", "[1]", "[1]") "]}", "escape"},
    {"{\"inputs\":[{\"shape\":[1,3],\"shape\":[1,3]}]}", "two shapes"},
};

static void test_refusals(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof REFUSALS / sizeof REFUSALS[0]; i++) {
    tensor_request out;
    char why[TENSOR_WHY];
    if (decode(REFUSALS[i].json, &out, why)) fail_msg("%s was taken", REFUSALS[i].json);
    if (!strstr(why, REFUSALS[i].part)) fail_msg("%s: expected '%s' in '%s'", REFUSALS[i].json, REFUSALS[i].part, why);
  }
}

static void test_every_prefix_is_refused(void **state) {
  (void)state;
  const char *json = "{\"id\":\"1\",\"inputs\":[" COLUMN("b", "[2]", "[3,4]") "," COLUMN(
      "gr\\u00f6\\u00dfe \\\"x\\\"", "[2,1]",
      "[[5],[6]]") ","
                   "{\"data\":[1,2],\"name\":\"a\",\"shape\":[2],\"datatype\":\"FP32\"}]}";
  for (size_t size = 0; size < strlen(json); size++) {
    char *cut = strndup(json, size); /* of exactly this size, so that a sanitizer sees reads beyond */
    tensor_request out;
    char why[TENSOR_WHY];
    assert_non_null(cut);
    if (decode(cut, &out, why)) fail_msg("%s was taken", cut);
    assert_true(why[0] != '\0');
    free(cut);
  }
}

static void test_memory_that_is_short(void **state) {
  (void)state;
  tensor_request out;
  char why[TENSOR_WHY];
  for (most = 0; most < 32; most += 16) {
    assert_false(decode(MATRIX("[1,3]", "[1,2,3]"), &out, why));
    assert_non_null(strstr(why, "too much memory"));
  }
  most = sizeof memory;
}

static void test_numbers_read_back(void **state) {
  (void)state;
  uint64_t seed = 7;
  static const float chosen[] = {0,     1,        -1,           0.1f,          0.001f, 99999992.0f, 1e9f,
                                 1e-4f, 16777216, 0.785618246f, 3.4028235e38f, 1e-45f, 123456.789f, 0.3f};
  for (size_t i = 0; i < 200000; i++) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    uint32_t bits = (uint32_t)(seed >> 32);
    float value;
    if (i < sizeof chosen / sizeof chosen[0]) value = chosen[i];
    else if (i % 2) memcpy(&value, &bits, sizeof value);
    else value = (float)(bits % 1000000) / 1000.0f;
    char text[TENSOR_FLOAT + 1];
    size_t size = tensor_format(value, text);
    assert_in_range(size, 1, TENSOR_FLOAT);
    text[size] = '\0';
    if (!isfinite(value)) assert_string_equal(text, "null");
    else if (strtof(text, NULL) != value) fail_msg("%.9g became %s", (double)value, text);
  }
  char text[TENSOR_FLOAT + 1] = "";
  assert_int_equal(tensor_format(0.1f, text), 3);
  assert_memory_equal(text, "0.1", 3);
}

/* ---- CSV ---------------------------------------------------------------------------------------------------------------------------- */

typedef struct rows {
  float values[16];
  size_t count, most;
} rows;

static bool keep(void *to, const float *values) {
  rows *r = to;
  if (r->count == r->most) return false;
  memcpy(r->values + 2 * r->count++, values, 2 * sizeof *values);
  return true;
}

static void assert_csv(const char *text, const char *why, size_t count, const float *expected) {
  static const char *const names[] = {"y", "x,\"1\""};
  for (size_t piece = 1; piece < 8; piece++) {
    rows r = {.most = 8};
    csv *c = csv_new(names, 2, keep, &r);
    assert_non_null(c);
    bool fine = true;
    for (size_t at = 0; fine && at < strlen(text); at += piece) fine = csv_feed(c, text + at, strnlen(text + at, piece));
    fine = fine && csv_end(c);
    assert_true(fine == (why == NULL));
    if (why && !strstr(csv_why(c), why)) fail_msg("expected '%s' in '%s'", why, csv_why(c));
    if (!why) assert_int_equal(r.count, count);
    for (size_t i = 0; !why && i < 2 * count; i++)
      assert_true(r.values[i] == expected[i] || (isnan(r.values[i]) && isnan(expected[i])));
    csv_free(c);
  }
}

static void test_csv(void **state) {
  (void)state;
  assert_csv("\"x,\"\"1\"\"\",other,y\n1,text,2\n3,,\n", NULL, 2, (float[]){2, 1, NAN, 3});
  assert_csv("\xef\xbb\xbf"
             "y,\"x,\"\"1\"\"\"\r\n1,2\r\n\r\n\"3\",4",
             NULL, 2, (float[]){1, 2, 3, 4});
  assert_csv("y,z\n1,2\n", "no column 'x,\"1\"'", 0, NULL);
  assert_csv("y,\"x,\"\"1\"\"\"\n1,b\n", "line 2: 'b' in the column 'x,\"1\"' is not a number", 0, NULL);
  assert_csv("y,\"x,\"\"1\"\"\"\n1\n", "fewer fields", 0, NULL);
  assert_csv("y,\"x,\"\"1\"\"\"\n1,2,3\n", "more fields", 0, NULL);
  assert_csv("", "empty", 0, NULL);
}

/* ---- Columns with rules ----------------------------------------------------------------------------------------------------------- */

static bool decode_ruled(const char *json, tensor_request *out, char *why) {
  static tensor_rule rules[3];
  rules[0] = tensor_rule_of("INT32");
  rules[1] = tensor_rule_of("BOOL");
  rules[2] = tensor_rule_of("FP64");
  rules[1].optional = true;
  static const char *const names[] = {"w", "b", "f"};
  const tensor_columns columns = {.names = names, .count = 3, .rules = rules};
  used = 0;
  return tensor_decode(json, strlen(json), &columns, (tensor_memory){take, NULL}, out, why);
}

static void assert_ruled(const char *json, size_t values, const float *expected) {
  tensor_request out;
  char why[TENSOR_WHY];
  if (!decode_ruled(json, &out, why)) fail_msg("%s: %s", json, why);
  assert_int_equal(out.rows * 3, values);
  for (size_t i = 0; i < values; i++)
    if (!(out.values[i] == expected[i] || (isnan(out.values[i]) && isnan(expected[i]))))
      fail_msg("%s: value %zu is %g", json, i, (double)out.values[i]);
}

static void assert_against_rules(const char *json, const char *part) {
  tensor_request out;
  char why[TENSOR_WHY];
  if (decode_ruled(json, &out, why)) fail_msg("%s is taken", json);
  if (!strstr(why, part)) fail_msg("%s: \"%s\" does not say \"%s\"", json, why, part);
}

#define OF(name, type, data) "{\"name\":\"" name "\",\"shape\":[1],\"datatype\":\"" type "\",\"data\":[" data "]}"
#define ALL(w, b, f) "{\"inputs\":[" w "," b "," f "]}"
#define W OF("w", "INT64", "7")
#define B OF("b", "BOOL", "true")
#define F OF("f", "FP64", "0.5")

static void test_columns_with_rules(void **state) {
  (void)state;
  assert_ruled(ALL(W, B, F), 3, (float[]){7, 1, 0.5f});
  assert_ruled(ALL(W, OF("b", "BOOL", "null"), OF("f", "FP32", "null")), 3, (float[]){7, NAN, NAN});
  assert_ruled("{\"inputs\":[" W "," F "]}", 3, (float[]){7, NAN, 0.5f});
  assert_ruled(MATRIX("[2,3]", "[1,true,2.5,3,0,null]"), 6, (float[]){1, 1, 2.5f, 3, 0, NAN});
  assert_ruled(ALL(OF("w", "INT32", "-2147483648"), B, OF("f", "INT8", "3")), 3, (float[]){-2147483648.0f, 1, 3});
  assert_against_rules(ALL(OF("w", "FP64", "7"), B, F), "'w' is INT32 and does not take FP64");
  assert_against_rules(ALL(OF("w", "INT64", "7.5"), B, F), "'w' takes whole numbers (INT32), not 7.5");
  assert_against_rules(ALL(OF("w", "INT64", "2147483648"), B, F), "'w' takes whole numbers (INT32), not 2147483648");
  assert_against_rules(ALL(OF("w", "INT64", "null"), B, F), "missing in the column 'w'");
  assert_against_rules(ALL(OF("w", "INT64", "true"), B, F), "'w' takes whole numbers");
  assert_against_rules(ALL(OF("w", "INT64", "\"7\""), B, F), "the column 'w', row 1");
  assert_against_rules(ALL(W, OF("b", "INT8", "1"), F), "'b' is BOOL and does not take INT8");
  assert_against_rules(ALL(W, OF("b", "BOOL", "2"), F), "'b' takes true and false");
  assert_against_rules(ALL(W, B, OF("f", "BOOL", "true")), "'f' is FP64 and does not take BOOL");
  assert_against_rules(ALL(W, B, OF("f", "FP64", "false")), "'f' takes numbers (FP64)");
  assert_against_rules(MATRIX("[1,3]", "[1,true,[]]"), "the column 'f', row 1");
  assert_against_rules(MATRIX("[2,3]", "[1,true,2,1.5,true,2]"), "'w' takes whole numbers");
  assert_against_rules("{\"inputs\":[" B "," F "]}", "missing: w");
}

static void test_outputs_are_asked_for_by_name(void **state) {
  (void)state;
  static const char *const names[] = {"a"};
  const tensor_columns columns = {.names = names, .count = 1, .outputs = {"class", "odds"}, .output_count = 2};
  static const struct {
    const char *outputs, *refused;
    unsigned wanted;
  } asked[] = {{"[]", NULL, 0},
               {"[{\"name\":\"class\"}]", NULL, 1},
               {"[{\"parameters\":{\"x\":[1]},\"name\":\"odd\\u0073\"}]", NULL, 2},
               {"[{\"name\":\"odds\"},{\"name\":\"class\"}]", NULL, 3},
               {"[{\"name\":\"clas\"}]", "no output 'clas'; it has class and odds", 0},
               {"[{}]", "has no 'name'", 0},
               {"[{\"name\":1}]", "expected a string", 0},
               {"{}", "the outputs, a list", 0},
               {"[{\"name\":\"class\"} 7]", ", or ]", 0}};
  for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
    char json[400], why[TENSOR_WHY];
    tensor_request out;
    (void)snprintf(json, sizeof json, "{\"outputs\":%s,\"inputs\":[%s]}", asked[i].outputs, COLUMN("a", "[1]", "[5]"));
    used = 0;
    bool read = tensor_decode(json, strlen(json), &columns, (tensor_memory){take, NULL}, &out, why);
    if (read != !asked[i].refused) fail_msg("%s: %s", json, why);
    if (read) assert_int_equal(out.wanted, asked[i].wanted);
    else if (!strstr(why, asked[i].refused)) fail_msg("%s: \"%s\" does not say \"%s\"", json, why, asked[i].refused);
  }
}

/* ---- MLmodel ------------------------------------------------------------------------------------------------------------------------ */

static void assert_no_mlmodel(const char *text, size_t size, const char *part) {
  mlmodel model;
  char why[MLMODEL_WHY], *exact = malloc(size ? size : 1); /* a byte read beyond it is seen */
  assert_non_null(exact);
  memcpy(exact, text, size);
  bool read = mlmodel_read(exact, size, &model, why);
  free(exact);
  if (read) fail_msg("taken: %.100s", text);
  if (!strstr(why, part)) fail_msg("\"%s\" does not say \"%s\"", why, part);
  assert_null(model.flavors);
}

static const char MLMODEL[] =
    "artifact_path: model\nflavors:\n  python_function:\n    data: other\n    env:\n      conda: conda.yaml\n"
    "  xgboost:\n    code: null\n    data: model.ubj\n    model_class: xgboost.sklearn.XGBClassifier\n"
    "signature:\n  inputs: '[{\"type\": \"double\", \"name\":\n    \"a\"}]'\n  outputs: ~\n  params: null\nprompts: [a, {b: c}]\n";

static void test_mlmodel(void **state) {
  (void)state;
  mlmodel model;
  char why[MLMODEL_WHY];
  if (!mlmodel_read(MLMODEL, sizeof MLMODEL - 1, &model, why)) fail_msg("%s", why);
  assert_true(model.xgboost);
  assert_string_equal(model.flavors, "python_function, xgboost");
  assert_string_equal(model.data, "model.ubj");
  assert_string_equal(model.model_class, "xgboost.sklearn.XGBClassifier");
  assert_string_equal(model.inputs, "[{\"type\": \"double\", \"name\": \"a\"}]");
  assert_null(model.outputs);
  mlmodel_free(&model);
  assert_true(mlmodel_read("flavors: {sklearn: {}}\nsignature: null", 38, &model, why));
  assert_false(model.xgboost);
  assert_null(model.inputs);
  mlmodel_free(&model);
}

#define TEXT(text) text, sizeof text - 1
static void test_hostile_mlmodels(void **state) {
  (void)state;
  assert_no_mlmodel(TEXT(""), "empty");
  assert_no_mlmodel(TEXT("just words"), "no mapping");
  assert_no_mlmodel(TEXT("[1, 2]"), "no mapping");
  assert_no_mlmodel(TEXT("a: &x [1]\nb: *x"), "anchor");
  assert_no_mlmodel(TEXT("a: &x 1"), "anchor");
  assert_no_mlmodel(TEXT("a: &x {b: c}"), "anchor");
  assert_no_mlmodel(TEXT("a: *x"), "alias");
  assert_no_mlmodel(TEXT("a: b\n---\nc: d"), "more than one document");
  assert_no_mlmodel(TEXT("a: [b"), "no YAML");
  assert_no_mlmodel(TEXT("a: \"\xff\xfe\""), "no YAML");
  assert_no_mlmodel(TEXT("? [a]\n: b"), "key that is no text");
  assert_no_mlmodel(TEXT("signature: {inputs: [a]}"), "'inputs' in MLmodel is no text");
  assert_no_mlmodel(TEXT("signature: {inputs: a, inputs: b}"), "twice");
  assert_no_mlmodel(TEXT("flavors: {xgboost: {data: a}, xgboost: {data: b}}"), "'data' twice");
  assert_no_mlmodel(TEXT("signature: {inputs: \"a\\0b\"}"), "byte 0");
  assert_no_mlmodel(TEXT("flavors: {\"a b\": 1}"), "strange name");
  for (size_t size = 0; size < sizeof MLMODEL - 1; size++) { /* whatever is taken of it can be freed */
    mlmodel model;
    char why[MLMODEL_WHY];
    if (mlmodel_read(MLMODEL, size, &model, why)) mlmodel_free(&model);
  }
}

/* A bomb: each line doubles the one before; deep nesting; more bytes than are taken; more flavors. */
static void test_mlmodels_that_are_too_much(void **state) {
  (void)state;
  char *large = malloc(MLMODEL_LARGEST + 1);
  assert_non_null(large);
  memset(large, '[', 100000);
  memcpy(large, "a: ", 3);
  assert_no_mlmodel(large, 100000, "nested more than 32 deep");
  memset(large, ' ', MLMODEL_LARGEST + 1);
  assert_no_mlmodel(large, MLMODEL_LARGEST + 1, "more than the");
  size_t at = (size_t)snprintf(large, 100, "flavors:\n");
  for (int i = 0; i < 200; i++) at += (size_t)snprintf(large + at, 100, "  flavor%d: {}\n", i);
  assert_no_mlmodel(large, at, "strange name");
  at = (size_t)snprintf(large, 100, "a0: &a0 [x]\n");
  for (int i = 1; i < 40; i++) at += (size_t)snprintf(large + at, 100, "a%d: &a%d [*a%d, *a%d]\n", i, i, i - 1, i - 1);
  assert_no_mlmodel(large, at, "anchor");
  free(large);
}

/* Tells the figure; a busy machine would make a limit a lottery. */
static void test_time_per_request(void **state) {
  (void)state;
  static const char *const eight[] = {"c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7"};
  const tensor_columns columns = {.names = eight, .count = 8};
  const char *json =
      "{\"id\": \"request-1234\", \"inputs\": [{\"name\": \"rows\", \"shape\": [1, 8], \"datatype\": \"FP32\", \"data\": "
      "[0.255, 3, 0.0643, 0.5431, 0.4219, 1, 0.439155, 0.056443]}]}";
  size_t size = strlen(json);
  uint64_t best = UINT64_MAX;
  for (int round = 0; round < 20; round++) {
    uint64_t began = purlin_ticks_ns();
    for (int i = 0; i < 1000; i++) {
      tensor_request out;
      char why[TENSOR_WHY];
      used = 0;
      assert_true(tensor_decode(json, size, &columns, (tensor_memory){take, NULL}, &out, why));
    }
    uint64_t took = purlin_ticks_ns() - began;
    best = took < best ? took : best;
  }
  print_message("%.0f ns per request of one row and 8 columns\n", (double)best / 1000);
  assert_true(best > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_one_tensor),
      cmocka_unit_test(test_a_tensor_per_column),
      cmocka_unit_test(test_ids),
      cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_every_prefix_is_refused),
      cmocka_unit_test(test_memory_that_is_short),
      cmocka_unit_test(test_numbers_read_back),
      cmocka_unit_test(test_csv),
      cmocka_unit_test(test_columns_with_rules),
      cmocka_unit_test(test_outputs_are_asked_for_by_name),
      cmocka_unit_test(test_mlmodel),
      cmocka_unit_test(test_hostile_mlmodels),
      cmocka_unit_test(test_mlmodels_that_are_too_much),
      cmocka_unit_test(test_time_per_request),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
