/* The predictor's trees against the library's: models are trained here with libxgboost, saved as JSON, and random rows, also with
 * missing values, predicted by both. */
#include "model.h"
#include "ubj.h"
#include <math.h>
#include <purlin/context.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xgboost/c_api.h>
#include <cmocka.h>

enum { ROWS = 2000, COLUMNS = 7, QUERY = 20, AMOUNTS = -1 };
static const char *const NAMES[COLUMNS] = {"a", "b", "c", "d", "e", "f", "g"};

static uint64_t seed = 1;

static double uniform(void) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (double)(seed >> 11) / 9007199254740992.0;
}

#define CALL(call) assert_int_equal(call, 0)

/* ---- Training ---------------------------------------------------------------------------------------------------------------------- */

static void make_rows(float *values, double missing) {
  for (size_t i = 0; i < (size_t)ROWS * COLUMNS; i++)
    values[i] = uniform() < missing ? NAN : uniform() < 0.2 ? roundf((float)(uniform() * 4)) : (float)(uniform() * 20 - 10);
}

static void make_labels(const float *values, float *labels, int classes) {
  for (size_t i = 0; i < ROWS; i++) {
    const float *row = values + i * COLUMNS;
    float score = 0;
    for (size_t c = 0; c < COLUMNS; c++) score += isnan(row[c]) ? 2 : row[c] * (c % 2 ? 1.0f : -0.5f);
    if (classes == AMOUNTS) labels[i] = fabsf(score) + 0.1f;
    else labels[i] = classes == 0 ? score + (float)uniform() : fmodf(fabsf(floorf(score)), (float)classes);
  }
}

/* Rows that are ranked among themselves. */
static void set_queries(DMatrixHandle data) {
  unsigned sizes[ROWS / QUERY];
  for (size_t i = 0; i < ROWS / QUERY; i++) sizes[i] = QUERY;
  CALL(XGDMatrixSetUIntInfo(data, "group", sizes, ROWS / QUERY));
}

static BoosterHandle train(DMatrixHandle data, const char *objective, const char *depth, const char *base, int rounds,
                           int classes) {
  BoosterHandle booster;
  char text[16];
  CALL(XGBoosterCreate(&data, 1, &booster));
  const char *const settings[][2] = {
      {"objective", objective}, {"max_depth", depth}, {"base_score", base}, {"nthread", "1"}, {"verbosity", "0"}};
  for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
    CALL(XGBoosterSetParam(booster, settings[i][0], settings[i][1]));
  (void)snprintf(text, sizeof text, "%d", classes);
  if (strncmp(objective, "multi:", 6) == 0) CALL(XGBoosterSetParam(booster, "num_class", text));
  for (int i = 0; i < rounds; i++) CALL(XGBoosterUpdateOneIter(booster, i, data));
  return booster;
}

static char *saved(BoosterHandle booster, const char *format, size_t *size) {
  bst_ulong length = 0;
  const char *bytes = NULL;
  CALL(XGBoosterSaveModelToBuffer(booster, format, &length, &bytes));
  char *copy = malloc(length);
  assert_non_null(copy);
  memcpy(copy, bytes, length);
  *size = length;
  return copy;
}

/* ---- The same results --------------------------------------------------------------------------------------------------------------- */

typedef struct trial {
  const char *objective, *depth, *base;
  int rounds, classes;
  double missing;
} trial;

static const trial TRIALS[] = {
    {"binary:logistic", "6", "0.5", 100, 2, 0},     {"binary:logistic", "3", "0.3", 33, 2, 0.2},
    {"binary:logistic", "1", "0.5", 7, 2, 0.1},     {"binary:logistic", "12", "0.5", 20, 2, 0.05},
    {"binary:logitraw", "4", "0.3", 21, 2, 0.1},    {"reg:squarederror", "6", "0.5", 50, 0, 0},
    {"reg:squarederror", "5", "-3.25", 50, 0, 0.3}, {"reg:logistic", "4", "0.7", 30, 2, 0.1},
    {"multi:softprob", "4", "0.5", 12, 5, 0.1},     {"multi:softmax", "6", "0.5", 10, 3, 0.1},
    {"multi:softprob", "3", "0.5", 3, 80, 0},       {"binary:hinge", "4", "0.5", 20, 2, 0.1},
    {"reg:squaredlogerror", "4", "0.5", 20, 4, 0},  {"reg:pseudohubererror", "4", "0.5", 20, 0, 0.1},
    {"reg:absoluteerror", "4", "0.5", 20, 0, 0.1},  {"reg:gamma", "4", "0.5", 20, AMOUNTS, 0.1},
    {"reg:tweedie", "5", "2.5", 20, AMOUNTS, 0},    {"count:poisson", "4", "0.5", 20, 9, 0.1},
    {"rank:pairwise", "4", "0.5", 20, 4, 0.1},      {"rank:ndcg", "4", "0.5", 20, 4, 0},
};

static void compare(const trial *t, BoosterHandle booster, const char *format, const float *values, size_t *unequal,
                    double *worst) {
  size_t size = 0;
  char *json = saved(booster, format, &size), why[MODEL_WHY];
  purlin_model *model = model_parse(json, size, NAMES, COLUMNS, why);
  free(json);
  if (!model) fail_msg("%s: %s", t->objective, why);
  DMatrixHandle data;
  const bst_ulong *shape = NULL;
  bst_ulong dimensions = 0, count = 1;
  const float *expected = NULL;
  CALL(XGDMatrixCreateFromMat(values, ROWS, COLUMNS, NAN, &data));
  const char *config = "{\"type\":0,\"training\":false,\"iteration_begin\":0,\"iteration_end\":0,\"strict_shape\":false}";
  CALL(XGBoosterPredictFromDMatrix(booster, data, config, &shape, &dimensions, &expected));
  for (bst_ulong i = 0; i < dimensions; i++) count *= shape[i];
  assert_int_equal(count, ROWS * model->outputs);
  float *found = calloc(count, sizeof *found);
  assert_true(model_predict(model, values, ROWS, found));
  *unequal = 0;
  *worst = 0;
  for (size_t i = 0; i < count; i++) {
    *unequal += memcmp(&found[i], &expected[i], sizeof found[i]) != 0;
    *worst = fmax(*worst, fabs((double)found[i] - (double)expected[i]) / fmax(1, fabs((double)expected[i])));
  }
  free(found);
  CALL(XGDMatrixFree(data));
  model_free(model);
}

static void test_equal_to_the_library(void **state) {
  (void)state;
  float *values = malloc(sizeof(float) * ROWS * COLUMNS), *others = malloc(sizeof(float) * ROWS * COLUMNS),
        *labels = malloc(sizeof(float) * ROWS);
  assert_true(values && others && labels);
  for (size_t i = 0; i < sizeof TRIALS / sizeof TRIALS[0]; i++) {
    const trial *t = &TRIALS[i];
    make_rows(values, t->missing);
    make_rows(others, 0.1);
    make_labels(values, labels, t->classes);
    DMatrixHandle data;
    CALL(XGDMatrixCreateFromMat(values, ROWS, COLUMNS, NAN, &data));
    CALL(XGDMatrixSetFloatInfo(data, "label", labels, ROWS));
    if (strncmp(t->objective, "rank:", 5) == 0) set_queries(data);
    BoosterHandle booster = train(data, t->objective, t->depth, t->base, t->rounds, t->classes);
    size_t unequal = 0;
    double worst = 0;
    static const char *const formats[] = {"{\"format\":\"json\"}", "{\"format\":\"ubj\"}"};
    for (size_t f = 0; f < 2; f++) {
      compare(t, booster, formats[f], others, &unequal, &worst);
      print_message("%-17s depth %2s: %zu results differ in a bit, by at most %.2g\n", t->objective, t->depth, unequal,
                    worst);
      if (strcmp(t->objective, "multi:softprob") != 0) assert_int_equal(unequal, 0);
      assert_true(worst <= 1e-6);
    }
    CALL(XGBoosterFree(booster));
    CALL(XGDMatrixFree(data));
  }
  free(values);
  free(others);
  free(labels);
}

/* ---- What other releases write, and what is refused ---------------------------------------------------------------------------------------- */

#define TREE(more)                                                                                                           \
  "{\"left_children\":[1,-1,-1],\"right_children\":[2,-1,-1],\"split_indices\":[0,0,0],\"split_conditions\":[0.5,-1E0,2E0]," \
  "\"default_left\":[1,0,0],\"tree_param\":{\"num_nodes\":\"3\",\"size_leaf_vector\":\"1\"}" more "}"
#define LEAF                                                                                                               \
  "{\"left_children\":[-1],\"right_children\":[-1],\"split_indices\":[0],\"split_conditions\":[1.5E0],\"default_left\":[false]}"
#define MODEL(base, classes, objective, booster, tree, info)                                                               \
  "{\"learner\":{\"learner_model_param\":{\"base_score\":\"" base "\",\"num_class\":\"" classes                            \
  "\",\"num_feature\":\"2\",\"num_target\":\"1\"},"                                                                        \
  "\"objective\":{\"name\":\"" objective "\"},\"feature_names\":[\"a\",\"b\"],\"gradient_booster\":{\"name\":\"" booster   \
  "\",\"model\":{\"trees\":[" tree "],\"tree_info\":[" info "]}}},\"version\":[3,1,0]}"

static void assert_predicts(const char *json, float value, size_t outputs, const float *expected) {
  char why[MODEL_WHY];
  const float row[2] = {value, 0};
  float out[4] = {0};
  purlin_model *model = model_parse(json, strlen(json), NAMES, 2, why);
  if (!model) fail_msg("%s", why);
  assert_int_equal(model->outputs, outputs);
  assert_true(model_predict(model, row, 1, out));
  for (size_t i = 0; i < outputs; i++) assert_float_equal(out[i], expected[i], 1e-6f);
  model_free(model);
}

static void test_base_scores_of_all_releases(void **state) {
  (void)state;
  assert_predicts(MODEL("5E-1", "0", "reg:squarederror", "gbtree", TREE(""), "0"), 0, 1, (float[]){-0.5f});
  assert_predicts(MODEL("[5E-1]", "0", "reg:squarederror", "gbtree", TREE(""), "0"), 0.5f, 1,
                  (float[]){2.5f}); /* not below: right */
  assert_predicts(MODEL("[5E-1]", "0", "reg:squarederror", "gbtree", TREE(""), "0"), NAN, 1,
                  (float[]){-0.5f}); /* missing: left */
  assert_predicts(MODEL("5E-1", "0", "reg:squarederror", "gbtree", LEAF "," TREE(""), "0,0"), NAN, 1, (float[]){1});
  assert_predicts(MODEL("[1E0,2E0,9E0]", "3", "multi:softmax", "gbtree", TREE(""), "0"), 0, 1, (float[]){2});
  assert_predicts(MODEL("[1E0,2E0,-9E0]", "3", "multi:softmax", "gbtree", TREE(""), "0"), 3, 1, (float[]){0});
}

static void assert_refused(const char *json, size_t columns, const char *part) {
  char why[MODEL_WHY];
  purlin_model *model = model_parse(json, strlen(json), NAMES, columns, why);
  assert_null(model);
  if (!strstr(why, part)) fail_msg("expected '%s' in '%s'", part, why);
}

static void test_refusals(void **state) {
  (void)state;
  assert_refused("", 2, "saved again");
  assert_refused("{L\1", 2, "UBJ ends early");
  assert_refused("binf", 2, "saved again");
  assert_refused("{\"a\":", 2, "not valid JSON");
  assert_refused("{}", 2, "no 'learner'");
  assert_refused(MODEL("5E-1", "0", "reg:squarederror", "gbtree", TREE(""), "0"), 3,
                 "takes 2 columns and its signature names 3");
  assert_refused(MODEL("5E-1", "0", "survival:cox", "gbtree", TREE(""), "0"), 2, "'survival:cox' is not served");
  assert_refused(MODEL("5E-1", "0", "reg:squarederror", "dart", TREE(""), "0"), 2, "booster 'dart'");
  assert_refused(MODEL("5E-1", "0", "reg:squarederror", "gblinear", TREE(""), "0"), 2, "booster 'gblinear'");
  assert_refused(MODEL("5E-1", "0", "reg:squarederror", "gbtree", TREE(",\"categories_nodes\":[0]"), "0"), 2, "categories");
  assert_refused(MODEL("5E-1", "0", "reg:squarederror", "gbtree", TREE(""), "1"), 2, "belongs to no class");
  assert_refused(MODEL("5E-1", "0", "reg:squarederror", "gbtree", TREE(""), ""), 2, "belongs to no class");
  assert_refused(MODEL("x", "0", "reg:squarederror", "gbtree", TREE(""), "0"), 2, "base_score");
  assert_refused(MODEL("[1E0,2E0]", "0", "reg:squarederror", "gbtree", TREE(""), "0"), 2, "2 base scores for 1");
  assert_refused(MODEL("2E0", "0", "binary:logistic", "gbtree", TREE(""), "0"), 2, "not a probability");
  assert_refused(MODEL("5E-1", "1", "multi:softprob", "gbtree", TREE(""), "0"), 2, "num_class");
  assert_refused(MODEL("5E-1", "0", "reg:squarederror", "gbtree", "{}", "0"), 2, "has no nodes");
  assert_refused(MODEL("5E-1", "0", "reg:squarederror", "gbtree", "{\"left_children\":[1]}", "0"), 2, "damaged");
}

#define DAMAGED(left, right, index)                                                                                        \
  MODEL("5E-1", "0", "reg:squarederror", "gbtree",                                                                         \
        "{\"left_children\":[" left "],\"right_children\":[" right "],\"split_indices\":[" index                           \
        "],\"split_conditions\":[0,0,0],"                                                                                  \
        "\"default_left\":[true,false,false]}",                                                                            \
        "0")

static void test_damaged_trees(void **state) {
  (void)state;
  assert_refused(DAMAGED("0,-1,-1", "2,-1,-1", "0,0,0"), 2, "no tree");  /* a cycle */
  assert_refused(DAMAGED("1,-1,-1", "3,-1,-1", "0,0,0"), 2, "no tree");  /* out of range */
  assert_refused(DAMAGED("1,-1,-1", "-1,-1,-1", "0,0,0"), 2, "no tree"); /* half a split */
  assert_refused(DAMAGED("1,-1,-1", "2,-1,-1", "2,0,0"), 2, "column 3 of 2");
  assert_refused(DAMAGED("1,-1,-1", "2,-1,-1", "-1,0,0"), 2, "column 0 of 2");
  assert_refused(DAMAGED("1,-1", "2,-1,-1", "0,0,0"), 2, "damaged");
  assert_refused(DAMAGED("1,-1,\\\"x\\\"", "2,-1,-1", "0,0,0"), 2, "JSON");
}

static BoosterHandle small_booster(void) {
  float values[COLUMNS * 4] = {0}, labels[4] = {0, 1, 0, 1};
  DMatrixHandle data;
  CALL(XGDMatrixCreateFromMat(values, 4, COLUMNS, NAN, &data));
  CALL(XGDMatrixSetFloatInfo(data, "label", labels, 4));
  BoosterHandle booster = train(data, "reg:squarederror", "2", "0.5", 1, 0);
  CALL(XGDMatrixFree(data));
  return booster;
}

static void test_names_and_binary(void **state) {
  (void)state;
  char why[MODEL_WHY];
  const char *json = MODEL("5E-1", "0", "reg:squarederror", "gbtree", TREE(""), "0");
  const char *const others[] = {"a", "c"};
  assert_null(model_parse(json, strlen(json), others, 2, why));
  assert_string_equal(why, "column 2 of the model is 'b' and of its signature 'c'");

  BoosterHandle booster = small_booster();
  size_t size = 0;
  char *bytes = saved(booster, "{\"format\":\"deprecated\"}", &size);
  assert_null(model_parse(bytes, size, NAMES, COLUMNS, why));
  assert_non_null(strstr(why, "saved again: booster.save_model(\"model.ubj\")"));
  free(bytes);
  CALL(XGBoosterFree(booster));
}

static void test_columns_are_told(void **state) {
  (void)state;
  char why[MODEL_WHY];
  const char *json = MODEL("5E-1", "0", "reg:squarederror", "gbtree", TREE(""), "0");
  const char *classes = MODEL("5E-1", "3", "multi:softmax", "gbtree", TREE(""), "0");
  model_description told;
  size_t size = 0;
  assert_true(model_describe(json, strlen(json), &told, why));
  assert_int_equal(told.columns, 2);
  assert_string_equal(told.names, "[\"a\",\"b\"]");
  assert_false(told.gives_class);
  free(told.names);
  assert_true(model_describe(classes, strlen(classes), &told, why));
  assert_true(told.gives_class);
  free(told.names);
  BoosterHandle booster = small_booster();
  char *bytes = saved(booster, "{\"format\":\"ubj\"}", &size);
  assert_true(model_describe(bytes, size, &told, why));
  assert_int_equal(told.columns, COLUMNS);
  assert_null(told.names);
  assert_false(model_describe(bytes, size - 1, &told, why));
  assert_non_null(strstr(why, "UBJ"));
  free(bytes);
  CALL(XGBoosterFree(booster));
  assert_false(model_describe("{}", 2, &told, why));
  assert_non_null(strstr(why, "learner"));
}

/* Whether a model whose first column is called so, in JSON, takes a signature with that name. */
static bool names_column(const char *in_json, const char *in_signature) {
  static const char *const parts[] = {
      "{\"learner\":{\"feature_names\":[\"",
      "\",\"b\"],\"learner_model_param\":{\"base_score\":\"0\",\"num_class\":\"0\","
      "\"num_feature\":\"2\"},\"objective\":{\"name\":\"reg:squarederror\"},\"gradient_booster\":{\"name\":"
      "\"gbtree\",\"model\":{\"trees\":[" LEAF "],\"tree_info\":[0]}}}}"};
  char text[1000], why[MODEL_WHY];
  const char *const names[] = {in_signature, "b"};
  int size = snprintf(text, sizeof text, "%s%s%s", parts[0], in_json, parts[1]);
  assert_true(size > 0 && (size_t)size < sizeof text);
  purlin_model *model = model_parse(text, (size_t)size, names, 2, why);
  bool fine = model != NULL;
  if (!fine) assert_non_null(strstr(why, "column 1 of the model is"));
  model_free(model);
  return fine;
}

static void test_names_with_escapes(void **state) {
  (void)state;
  assert_true(names_column("a", "a"));
  assert_true(names_column("caf\\u00e9", "caf\u00e9"));
  assert_true(names_column("caf\u00e9", "caf\u00e9"));
  assert_true(names_column("\\ud83d\\ude00", "\U0001F600"));
  assert_true(names_column("\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t"));
  assert_true(names_column("\\u20AC", "\u20ac"));
  assert_false(names_column("a", "ab"));
  assert_false(names_column("ab", "a"));
  assert_false(names_column("\\u00e9", "\u00e8"));
  assert_false(names_column("\\ud83d", "\U0001F600"));
  assert_false(names_column("\\u12", "x"));
}

/* ---- Damage ------------------------------------------------------------------------------------------------------------------------------- */

static uint64_t random_state = 88172645463325252u;
static size_t below(size_t limit) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (size_t)(random_state % limit);
}

/* A copy of exactly that size, so that a byte read beyond it is seen. Whatever is accepted must predict, whatever the row. */
static bool survives(const char *json, size_t size, size_t columns) {
  static const float odd[] = {0, -1, 1e30f, -1e30f, 0.5f, NAN, INFINITY, -INFINITY};
  char *exact = malloc(size ? size : 1), why[MODEL_WHY] = "nothing";
  assert_non_null(exact);
  memcpy(exact, json, size);
  purlin_model *model = model_parse(exact, size, NAMES, columns, why);
  free(exact);
  if (!model) {
    if (why[0] == '\0') fail_msg("refused without a reason: %.*s", (int)size, json);
    return false;
  }
  assert_true(model->outputs >= 1 && model->outputs <= 100000);
  float row[COLUMNS], *out = calloc(model->outputs, sizeof *out);
  assert_non_null(out);
  for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
    for (size_t c = 0; c < COLUMNS; c++) row[c] = odd[(i + c) % (sizeof odd / sizeof odd[0])];
    assert_true(model_predict(model, row, 1, out));
  }
  free(out);
  model_free(model);
  return true;
}

static const char DAMAGEABLE[] =
    MODEL("5E-1", "3", "multi:softprob", "gbtree", TREE("") "," LEAF "," TREE(",\"categories_nodes\":[]"), "0,1,2");

static void test_truncated_models(void **state) {
  (void)state;
  for (size_t size = 0; size + 1 < sizeof DAMAGEABLE; size++)
    if (survives(DAMAGEABLE, size, 2)) fail_msg("%zu bytes of %zu are a model", size, sizeof DAMAGEABLE - 1);
  assert_true(survives(DAMAGEABLE, sizeof DAMAGEABLE - 1, 2));
}

static size_t mutate(char *text, size_t size, size_t room) {
  static const char *const words[] = {
      "-1",         "1e999",      "-1e999", "null", "[]",  "{}",      "\"\"",       "99999999999999999999",
      "1e-9",       "NaN",        "true",   "0",    "[[]", "\"1\"",   "2147483648", "-2147483649",
      "4294967295", "1073741824", ",",      "}",    "]",   "\\u0000", "\xff",       "100000"};
  size_t at = below(size), length = 0;
  switch (below(4)) {
  case 0: text[at] = (char)below(256); return size;
  case 1: { /* a number or word in place of one */
    const char *word = words[below(sizeof words / sizeof words[0])];
    size_t end = at;
    while (at > 0 && strchr("0123456789.eE-", text[at - 1])) at--;
    while (end < size && strchr("0123456789.eE-", text[end])) end++;
    length = strlen(word);
    if (size - (end - at) + length > room) return size;
    memmove(text + at + length, text + end, size - end);
    memcpy(text + at, word, length);
    return size - (end - at) + length;
  }
  case 2: /* a piece is gone */
    length = below(size - at < 40 ? size - at : 40) + 1;
    memmove(text + at, text + at + length, size - at - length);
    return size - length > 0 ? size - length : 1;
  default: /* a piece comes twice */
    length = below(size - at < 40 ? size - at : 40) + 1;
    if (size + length > room) return size;
    memmove(text + at + length, text + at, size - at);
    return size + length;
  }
}

static void test_mutated_models(void **state) {
  (void)state;
  enum { ROUNDS = 30000, ROOM = 4096 };
  char text[ROOM];
  size_t accepted = 0;
  for (int round = 0; round < ROUNDS; round++) {
    size_t size = sizeof DAMAGEABLE - 1;
    memcpy(text, DAMAGEABLE, size);
    for (size_t i = below(3) + 1; i > 0; i--) size = mutate(text, size, ROOM);
    accepted += survives(text, size, 2);
  }
  print_message("%zu of %d damaged models are models still\n", accepted, ROUNDS);
  assert_true(accepted > 100 && accepted < ROUNDS / 2);
}

/* ---- UBJ ----------------------------------------------------------------------------------------------------------------------- */

static void test_damaged_ubj(void **state) {
  (void)state;
  enum { ROUNDS = 20000 };
  size_t size = 0, accepted = 0;
  BoosterHandle booster = small_booster();
  char *bytes = saved(booster, "{\"format\":\"ubj\"}", &size), *text = malloc(2 * size);
  assert_non_null(text);
  CALL(XGBoosterFree(booster));
  for (size_t i = 0; i < size; i++)
    if (survives(bytes, i, COLUMNS)) fail_msg("%zu bytes of %zu are a model", i, size);
  assert_true(survives(bytes, size, COLUMNS));
  for (int round = 0; round < ROUNDS; round++) {
    size_t now = size;
    memcpy(text, bytes, size);
    for (size_t i = below(3) + 1; i > 0; i--) now = mutate(text, now, 2 * size);
    accepted += survives(text, now, COLUMNS);
  }
  print_message("%zu of %d damaged models are models still\n", accepted, ROUNDS);
  assert_true(accepted > 10 && accepted < ROUNDS / 2);
  free(text);
  free(bytes);
}

static void assert_json(const char *bytes, size_t size, const char *expected) {
  const char *why = NULL;
  size_t json_size = 0;
  char *json = ubj_to_json(bytes, size, &json_size, &why);
  if (!json) fail_msg("%s", why);
  assert_string_equal(json, expected);
  assert_int_equal(json_size, strlen(expected));
  free(json);
}

static void assert_no_ubj(const char *bytes, size_t size, const char *part) {
  const char *why = NULL;
  size_t json_size = 0;
  char *exact = malloc(size ? size : 1), *json;
  assert_non_null(exact);
  memcpy(exact, bytes, size);
  json = ubj_to_json(exact, size, &json_size, &why);
  free(exact);
  if (json) fail_msg("taken as %s", json);
  if (!strstr(why, part)) fail_msg("\"%s\" does not say \"%s\"", why, part);
}

#define UBJ(text) text, sizeof text - 1
static void test_ubj_values(void **state) {
  (void)state;
  assert_json(UBJ("{i\1aZi\1bTi\1cFi\1dCx}"), "{\"a\":null,\"b\":true,\"c\":false,\"d\":\"x\"}");
  assert_json(UBJ("[i\xffU\xffI\x80\0l\xff\xff\xff\xffL\0\0\0\1\0\0\0\0]"), "[-1,255,-32768,-1,4294967296]");
  assert_json(UBJ("[d\x3f\x80\0\0D\x3f\xb9\x99\x99\x99\x99\x99\x9a"
                  "d\x7f\x80\0\0]"),
              "[1,0.10000000000000001,null]");
  assert_json(UBJ("[$U#i\3\1\2\3"), "[1,2,3]");
  assert_json(UBJ("[#i\2Si\2a\"[]"), "[\"a\\\"\",[]]");
  assert_json(UBJ("[$d#L\0\0\0\0\0\0\0\0"), "[]");
  assert_json(UBJ("Si\3a\\\n"), "\"a\\\\\\u000a\"");
}

static void test_what_is_no_ubj(void **state) {
  (void)state;
  char deep[300];
  memset(deep, '[', sizeof deep);
  assert_no_ubj(deep, sizeof deep, "nested more than 100 deep");
  assert_no_ubj(UBJ(""), "ends early");
  assert_no_ubj(UBJ("{i\5ab"), "ends early");
  assert_no_ubj(UBJ("{i\xff"), "negative length");
  assert_no_ubj(UBJ("[$d#L\x0f\0\0\0\0\0\0\0abcd"), "ends early");
  assert_no_ubj(UBJ("[$Z#L\x0f\0\0\0\0\0\0\0"), "does not write");
  assert_no_ubj(UBJ("[#L\x0f\0\0\0\0\0\0\0Z"), "ends early");
  assert_no_ubj(UBJ("[$i\1"), "without its length");
  assert_no_ubj(UBJ("{$i#i\1"), "does not write");
  assert_no_ubj(UBJ("[q]"), "unknown type");
  assert_no_ubj(UBJ("[#d\0\0\0\0"), "no whole number");
  assert_no_ubj(UBJ("ZZ"), "after the end");
}

/* ---- Training that stopped early ---------------------------------------------------------------------------------------------------- */

#define STOPPED(attributes, rounds)                                                                                        \
  "{\"learner\":{\"attributes\":{" attributes "},\"learner_model_param\":{\"base_score\":\"0\",\"num_class\":\"0\","       \
  "\"num_feature\":\"2\"},\"objective\":{\"name\":\"reg:squarederror\"},\"gradient_booster\":{\"name\":\"gbtree\","        \
  "\"model\":{\"gbtree_model_param\":{\"num_parallel_tree\":\"1\"}," rounds "\"trees\":[" LEAF "," LEAF "," LEAF           \
  "],\"tree_info\":[0,0,0]}}}}"

static void assert_leaf_sum(const char *json, float expected) { assert_predicts(json, 0, 1, &expected); }

static void test_only_trees_up_to_the_best_iteration(void **state) {
  (void)state;
  assert_leaf_sum(STOPPED("", ""), 4.5f);
  assert_leaf_sum(STOPPED("\"best_iteration\":\"0\"", ""), 4.5f); /* a booster's */
  assert_leaf_sum(STOPPED("\"best_iteration\":\"0\",\"scikit_learn\":\"{}\"", ""), 1.5f);
  assert_leaf_sum(STOPPED("\"best_iteration\":\"0\",\"scikit_learn\":\"{}\"", "\"iteration_indptr\":[0,2,3],"), 3);
  assert_leaf_sum(STOPPED("\"best_iteration\":\"1\",\"scikit_learn\":\"{}\"", "\"iteration_indptr\":[0,2,3],"), 4.5f);
  assert_leaf_sum(STOPPED("\"best_iteration\":\"9\",\"scikit_learn\":\"{}\"", "\"iteration_indptr\":[0,2,3],"), 4.5f);
  assert_leaf_sum(STOPPED("\"best_iteration\":\"-5\",\"scikit_learn\":\"{}\"", ""), 4.5f);
}

/* Not a test of speed, which a busy machine would make a lottery: it tells the figure. */
static void test_time_per_row(void **state) {
  (void)state;
  float *values = malloc(sizeof(float) * ROWS * COLUMNS), *labels = malloc(sizeof(float) * ROWS),
        *out = malloc(sizeof(float) * ROWS);
  assert_true(values && labels && out);
  make_rows(values, 0);
  make_labels(values, labels, 2);
  DMatrixHandle data;
  CALL(XGDMatrixCreateFromMat(values, ROWS, COLUMNS, NAN, &data));
  CALL(XGDMatrixSetFloatInfo(data, "label", labels, ROWS));
  BoosterHandle booster = train(data, "binary:logistic", "6", "0.5", 100, 2);
  size_t size = 0;
  char *json = saved(booster, "{\"format\":\"json\"}", &size), why[MODEL_WHY];
  uint64_t began = purlin_ticks_ns();
  purlin_model *model = model_parse(json, size, NAMES, COLUMNS, why);
  assert_non_null(model);
  print_message("100 trees of depth 6: %zu nodes, parsed in %.1f ms\n", model->node_count,
                (double)(purlin_ticks_ns() - began) / 1e6);
  uint64_t best = UINT64_MAX;
  for (int round = 0; round < 10; round++) {
    began = purlin_ticks_ns();
    for (size_t i = 0; i < ROWS; i++) assert_true(model_predict(model, values + i * COLUMNS, 1, out + i));
    uint64_t took = purlin_ticks_ns() - began;
    best = took < best ? took : best;
  }
  print_message("%.0f ns per row\n", (double)best / (double)ROWS);
  for (size_t i = 0; i < ROWS; i++) assert_true(out[i] > 0 && out[i] < 1);
  model_free(model);
  free(json);
  free(values);
  free(labels);
  free(out);
  CALL(XGBoosterFree(booster));
  CALL(XGDMatrixFree(data));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_equal_to_the_library),
      cmocka_unit_test(test_base_scores_of_all_releases),
      cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_damaged_trees),
      cmocka_unit_test(test_names_and_binary),
      cmocka_unit_test(test_names_with_escapes),
      cmocka_unit_test(test_truncated_models),
      cmocka_unit_test(test_mutated_models),
      cmocka_unit_test(test_columns_are_told),
      cmocka_unit_test(test_damaged_ubj),
      cmocka_unit_test(test_ubj_values),
      cmocka_unit_test(test_what_is_no_ubj),
      cmocka_unit_test(test_only_trees_up_to_the_best_iteration),
      cmocka_unit_test(test_time_per_row),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
