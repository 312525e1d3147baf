/* booster.c: libxgboost, on threads of the pool. What the library returns (error texts, evaluations) belongs to the calling thread,
 * so each work copies it before it returns. */
#include "xgboost.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xgboost/c_api.h>

enum { ERROR_SIZE = 1000 };

struct booster {
  BoosterHandle handle;
  DMatrixHandle parts[2]; /* train, validation */
  size_t part_count;
  size_t rounds;
  char error[ERROR_SIZE];
  /* what the next work needs */
  const xgboost_specification *specification;
  const layout *chosen;
  table *tables[2];
  size_t until;
  uint32_t milliseconds;
  measure *measures;
  size_t measure_count;
  const char *path;
};

static const char *const PART_NAMES[] = {"train", "validation"};

/* The first line of the library's error; what follows is its stack. */
static purlin_status library_failed(booster *b) {
  const char *text = XGBGetLastError();
  (void)snprintf(b->error, sizeof b->error, "libxgboost: %.*s", (int)strcspn(text, "\n"), text);
  return PURLIN_INTERNAL;
}

static purlin_status run(purlin_ctx *ctx, booster *b, purlin_work *work) {
  purlin_status status = purlin_still_wanted(ctx);
  if (status == PURLIN_OK) status = purlin_offload(ctx, PURLIN_POOL_CPU, work, b);
  if (status != PURLIN_OK && b->error[0]) return purlin_fail(ctx, status, "%s", b->error);
  return status;
}

/* ---- Making ---- */

static purlin_status make_matrix(booster *b, size_t part) {
  table *t = b->tables[part];
  DMatrixHandle *out = &b->parts[part];
  if (XGDMatrixCreateFromMat_omp(t->values, t->rows, t->columns, NAN, out, (int)b->specification->threads) != 0)
    return library_failed(b);
  if (XGDMatrixSetFloatInfo(*out, "label", t->labels, t->rows) != 0) return library_failed(b);
  if (XGDMatrixSetStrFeatureInfo(*out, "feature_name", b->chosen->names, b->chosen->count) != 0) return library_failed(b);
  table_free(t); /* the library has its own copy */
  return PURLIN_OK;
}

typedef struct parameter {
  const char *name;
  char value[48];
} parameter;

static void set_number(parameter *p, const char *name, double value) {
  p->name = name;
  (void)snprintf(p->value, sizeof p->value, "%.17g", value);
}

static size_t list_numbers(const xgboost_specification *s, parameter out[16]) {
  size_t count = 0;
  set_number(&out[count++], "max_depth", (double)s->max_depth);
  set_number(&out[count++], "eta", s->eta);
  set_number(&out[count++], "min_child_weight", s->min_child_weight);
  set_number(&out[count++], "subsample", s->subsample);
  set_number(&out[count++], "colsample_bytree", s->colsample_bytree);
  set_number(&out[count++], "lambda", s->lambda);
  set_number(&out[count++], "alpha", s->alpha);
  set_number(&out[count++], "gamma", s->gamma);
  set_number(&out[count++], "seed", (double)s->seed);
  set_number(&out[count++], "seed_per_iteration", 1); /* its generator is the thread's, and rounds run on several threads */
  set_number(&out[count++], "nthread", (double)s->threads);
  set_number(&out[count++], "verbosity", 1);
  if (strcmp(s->objective, "multi:softprob") == 0) set_number(&out[count++], "num_class", (double)s->num_class);
  return count;
}

static const struct {
  const char *objective, *metrics[2];
} OWN_METRICS[] = {{"binary:logistic", {"logloss", "error"}},
                   {"reg:squarederror", {"rmse", "mae"}},
                   {"multi:softprob", {"mlogloss", "merror"}}};

static bool is_given(const xgboost_specification *s, const char *metric) {
  for (size_t i = 0; i < s->eval_metric.count; i++)
    if (strcmp(s->eval_metric.items[i], metric) == 0) return true;
  return false;
}

/* The objective's own first, then those that were asked for, so that the last of these is the last. */
static bool set_metrics(booster *b) {
  const xgboost_specification *s = b->specification;
  for (size_t i = 0; i < sizeof OWN_METRICS / sizeof OWN_METRICS[0]; i++) {
    if (strcmp(OWN_METRICS[i].objective, s->objective) != 0) continue;
    for (size_t j = 0; j < 2; j++) {
      const char *metric = OWN_METRICS[i].metrics[j];
      if (!is_given(s, metric) && XGBoosterSetParam(b->handle, "eval_metric", metric) != 0) return false;
    }
  }
  for (size_t i = 0; i < s->eval_metric.count; i++)
    if (XGBoosterSetParam(b->handle, "eval_metric", s->eval_metric.items[i]) != 0) return false;
  return true;
}

/* The matrix's names do not reach the saved model by themselves. */
static bool name_features(booster *b) {
  return XGBoosterSetStrFeatureInfo(b->handle, "feature_name", b->chosen->names, b->chosen->count) == 0;
}

static purlin_status create(void *argument) {
  booster *b = argument;
  const xgboost_specification *s = b->specification;
  for (size_t i = 0; i < b->part_count; i++) {
    purlin_status status = make_matrix(b, i);
    if (status != PURLIN_OK) return status;
  }
  if (XGBoosterCreate(b->parts, b->part_count, &b->handle) != 0) return library_failed(b);
  parameter numbers[16];
  size_t count = list_numbers(s, numbers);
  for (size_t i = 0; i < count; i++)
    if (XGBoosterSetParam(b->handle, numbers[i].name, numbers[i].value) != 0) return library_failed(b);
  if (XGBoosterSetParam(b->handle, "objective", s->objective) != 0) return library_failed(b);
  if (XGBoosterSetParam(b->handle, "tree_method", s->tree_method) != 0) return library_failed(b);
  return set_metrics(b) && name_features(b) ? PURLIN_OK : library_failed(b);
}

purlin_status booster_create(purlin_ctx *ctx, const xgboost_specification *specification, const layout *chosen,
                             table *train_table, table *validation, booster **out) {
  booster *b = calloc(1, sizeof *b);
  if (!b) return PURLIN_TOO_LARGE;
  b->specification = specification;
  b->chosen = chosen;
  b->tables[0] = train_table;
  b->tables[1] = validation;
  b->part_count = validation->rows > 0 ? 2 : 1;
  purlin_status status = run(ctx, b, create);
  if (status == PURLIN_OK) *out = b;
  else booster_free(b);
  return status;
}

void booster_free(booster *b) {
  if (!b) return;
  if (b->handle) (void)XGBoosterFree(b->handle);
  for (size_t i = 0; i < 2; i++)
    if (b->parts[i]) (void)XGDMatrixFree(b->parts[i]);
  free(b);
}

/* ---- Learning ---- */

static purlin_status advance(void *argument) {
  booster *b = argument;
  uint64_t end_ns = purlin_ticks_ns() + (uint64_t)b->milliseconds * 1000000u;
  do {
    if (XGBoosterUpdateOneIter(b->handle, (int)b->rounds, b->parts[0]) != 0) return library_failed(b);
    b->rounds++;
  } while (b->rounds < b->until && purlin_ticks_ns() < end_ns);
  return PURLIN_OK;
}

purlin_status booster_advance(purlin_ctx *ctx, booster *b, size_t until, uint32_t milliseconds, size_t *rounds) {
  b->until = until;
  b->milliseconds = milliseconds;
  purlin_status status = run(ctx, b, advance);
  *rounds = b->rounds;
  return status;
}

/* "train-logloss:0.53" */
static bool parse_measure(const char *text, size_t size, measure *out) {
  const char *dash = memchr(text, '-', size), *colon = memrchr(text, ':', size);
  if (!dash || !colon || colon < dash) return false;
  size_t part = (size_t)(dash - text), metric = (size_t)(colon - dash - 1);
  if (part >= sizeof out->part || metric >= sizeof out->metric) return false;
  *out = (measure){.value = strtod(colon + 1, NULL)};
  memcpy(out->part, text, part);
  memcpy(out->metric, dash + 1, metric);
  return true;
}

static purlin_status evaluate(void *argument) {
  booster *b = argument;
  const char *text = NULL;
  const char *names[] = {PART_NAMES[0], PART_NAMES[1]};
  if (XGBoosterEvalOneIter(b->handle, (int)b->rounds - 1, b->parts, names, b->part_count, &text) != 0)
    return library_failed(b);
  b->measure_count = 0;
  for (const char *at = strchr(text, '\t'); at && b->measure_count < BOOSTER_MOST_MEASURES; at = strchr(at, '\t')) {
    at++;
    if (parse_measure(at, strcspn(at, "\t"), &b->measures[b->measure_count])) b->measure_count++;
  }
  return PURLIN_OK;
}

purlin_status booster_measure(purlin_ctx *ctx, booster *b, measure *out, size_t *count) {
  b->measures = out;
  purlin_status status = run(ctx, b, evaluate);
  *count = b->measure_count;
  return status;
}

/* ---- Keeping ---- */

static purlin_status cut(void *argument) {
  booster *b = argument;
  BoosterHandle shorter = NULL;
  if (XGBoosterSlice(b->handle, 0, (int)b->until, 1, &shorter) != 0) return library_failed(b);
  (void)XGBoosterFree(b->handle);
  b->handle = shorter;
  b->rounds = b->until;
  return name_features(b) ? PURLIN_OK : library_failed(b);
}

purlin_status booster_cut(purlin_ctx *ctx, booster *b, size_t rounds) {
  b->until = rounds;
  return rounds < b->rounds ? run(ctx, b, cut) : PURLIN_OK;
}

static purlin_status save(void *argument) {
  booster *b = argument;
  return XGBoosterSaveModel(b->handle, b->path) == 0 ? PURLIN_OK : library_failed(b);
}

purlin_status booster_save(purlin_ctx *ctx, booster *b, const char *path) {
  b->path = path;
  return run(ctx, b, save);
}
