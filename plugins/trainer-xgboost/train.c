#include "xgboost.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <purlin/contracts/predictor.h>

enum {
  BLOCK_MS = 200, /* of training between two looks whether it is still wanted */
  REPORT_MS = 500,
  POINTS = 20,       /* how often the curves are measured */
  MOST_PENDING = 900 /* metrics per report */
};

/* In the working directory, which is this run's own. */
static const char TRAIN_FILE[] = "train.csv", VALIDATION_FILE[] = "validation.csv", MODEL_FILE[] = "model.json";

typedef struct session {
  purlin_ctx *ctx;
  const purlin_training *training;
  const xgboost_specification *specification;
  layout chosen;
  booster *booster;
  size_t rounds;
  measure measures[BOOSTER_MOST_MEASURES]; /* of the last round that was measured */
  size_t measure_count;
  purlin_training_metric pending[MOST_PENDING];
  char keys[MOST_PENDING][72];
  size_t pending_count;
  size_t measured_rounds; /* up to which measures were told: no round is told twice */
  uint64_t reported_ns;
  /* stopping early */
  double best;
  size_t best_rounds;
} session;

/* ---- Telling ---- */

static void add_metric(session *s, const char *part, const char *metric, double value) {
  if (s->pending_count == MOST_PENDING || !isfinite(value)) return;
  char *key = s->keys[s->pending_count];
  int length = snprintf(key, sizeof s->keys[0], "%s_%s", part, metric);
  if (length < 0 || (size_t)length >= sizeof s->keys[0]) return;
  s->pending[s->pending_count++] = (purlin_training_metric){.key = key, .value = value, .step = (int64_t)s->rounds};
}

static purlin_status send(session *s, purlin_training_report *report) {
  report->metrics.items = s->pending;
  report->metrics.count = s->pending_count;
  s->pending_count = 0;
  s->reported_ns = purlin_ticks_ns();
  return purlin_training_send(s->ctx, s->training, report);
}

static purlin_status say(session *s, double progress, const char *text) {
  purlin_training_report report = {.progress = {PURLIN_SET, progress}, .message = {PURLIN_SET, text}};
  return send(s, &report);
}

/* Measures the last round and keeps what it is worth for the next report. */
static purlin_status take_measures(session *s) {
  purlin_status status = booster_measure(s->ctx, s->booster, s->measures, &s->measure_count);
  if (status != PURLIN_OK || s->rounds <= s->measured_rounds) return status;
  s->measured_rounds = s->rounds;
  for (size_t i = 0; i < s->measure_count; i++)
    add_metric(s, s->measures[i].part, s->measures[i].metric, s->measures[i].value);
  return PURLIN_OK;
}

static purlin_status tell_progress(session *s, bool now) {
  if (!now && purlin_ticks_ns() - s->reported_ns < (uint64_t)REPORT_MS * 1000000u && s->pending_count < MOST_PENDING / 2)
    return PURLIN_OK;
  size_t all = (size_t)s->specification->rounds;
  purlin_mark mark = purlin_arena_mark(s->ctx);
  const char *text = purlin_format(s->ctx, "round %zu of %zu", s->rounds, all);
  purlin_status status = text ? say(s, 0.05 + 0.9 * (double)s->rounds / (double)all, text) : PURLIN_TOO_LARGE;
  purlin_arena_reset(s->ctx, mark);
  return status;
}

/* ---- The data ---- */

static purlin_status read_part(session *s, const char *part, const char *file, table *out) {
  purlin_status status = purlin_training_fetch(s->ctx, s->training, part, file);
  if (status != PURLIN_OK) return status;
  if (!s->chosen.names) status = table_choose(s->ctx, file, s->specification, &s->chosen);
  if (status == PURLIN_OK) status = table_read(s->ctx, file, s->specification, &s->chosen, out);
  if (status == PURLIN_OK) (void)unlink(file);
  return status;
}

static purlin_status load(session *s) {
  table learn = {0}, validation = {0};
  purlin_status status = read_part(s, "train", TRAIN_FILE, &learn);
  if (status == PURLIN_OK && learn.rows == 0)
    status = purlin_fail(s->ctx, PURLIN_INVALID, "the dataset has no rows to learn from");
  if (status == PURLIN_OK) {
    status = read_part(s, "validation", VALIDATION_FILE, &validation);
    if (status == PURLIN_NOT_FOUND) { /* nothing was held out */
      purlin_clear_failure(s->ctx);
      status = PURLIN_OK;
    }
  }
  if (status == PURLIN_OK && s->specification->early_stopping_rounds > 0 && validation.rows == 0)
    status =
        purlin_fail(s->ctx, PURLIN_INVALID, "early_stopping_rounds needs a validation part; give the job validation_rows");
  if (status == PURLIN_OK) {
    const char *text =
        purlin_format(s->ctx, "%zu rows of %zu columns, %zu to validate with", learn.rows, learn.columns, validation.rows);
    status = text ? say(s, 0.05, text) : PURLIN_TOO_LARGE;
  }
  if (status == PURLIN_OK) status = booster_create(s->ctx, s->specification, &s->chosen, &learn, &validation, &s->booster);
  table_free(&learn);
  table_free(&validation);
  return status;
}

/* ---- Learning ---- */

static bool is_better_when_larger(const char *metric) {
  static const char *const larger[] = {"auc", "map", "ndcg", "pre"};
  for (size_t i = 0; i < sizeof larger / sizeof larger[0]; i++)
    if (strncmp(metric, larger[i], strlen(larger[i])) == 0) return true;
  return false;
}

/* Whether the last metric of the validation part has not improved for long enough. */
static bool is_stale(session *s) {
  const measure *last = NULL;
  for (size_t i = 0; i < s->measure_count; i++)
    if (strcmp(s->measures[i].part, "validation") == 0) last = &s->measures[i];
  if (!last) return false;
  double value = is_better_when_larger(last->metric) ? -last->value : last->value;
  if (s->best_rounds == 0 || value < s->best) {
    s->best = value;
    s->best_rounds = s->rounds;
  }
  return s->rounds - s->best_rounds >= (size_t)s->specification->early_stopping_rounds;
}

static purlin_status learn(session *s) {
  size_t all = (size_t)s->specification->rounds, measured = 0;
  bool early = s->specification->early_stopping_rounds > 0, stale = false;
  size_t step = early ? 1 : all < POINTS ? 1 : all / POINTS;
  while (s->rounds < all && !stale) {
    size_t until = measured + step < all ? measured + step : all;
    purlin_status status = booster_advance(s->ctx, s->booster, until, BLOCK_MS, &s->rounds);
    if (status == PURLIN_OK && s->rounds == until) {
      measured = until;
      status = take_measures(s);
      if (early) stale = is_stale(s);
    }
    if (status == PURLIN_OK) status = tell_progress(s, false);
    if (status != PURLIN_OK) return status;
  }
  if (!early || s->best_rounds == s->rounds) return PURLIN_OK;
  s->rounds = s->best_rounds;
  return booster_cut(s->ctx, s->booster, s->best_rounds);
}

/* ---- The end ---- */

/* One word for all kinds of models: the share of right answers. Of the model as it was saved. */
static void add_accuracy(session *s) {
  for (size_t i = 0; i < s->measure_count; i++) {
    const measure *m = &s->measures[i];
    if (strcmp(m->metric, "error") == 0 || strcmp(m->metric, "merror") == 0)
      add_metric(s, m->part, "accuracy", 1 - m->value);
  }
}

static purlin_status describe(session *s, purlin_json *out) {
  const xgboost_specification *given = s->specification;
  bool classes = strcmp(given->objective, "multi:softprob") == 0;
  size_t outputs = classes ? (size_t)given->num_class : 1;
  purlin_signature signature = {0};
  signature.inputs.items = purlin_alloc_array(s->ctx, s->chosen.count, sizeof *signature.inputs.items);
  signature.outputs.items = purlin_alloc_array(s->ctx, outputs, sizeof *signature.outputs.items);
  if (!signature.inputs.items || !signature.outputs.items) return PURLIN_TOO_LARGE;
  for (; signature.inputs.count < s->chosen.count; signature.inputs.count++)
    signature.inputs.items[signature.inputs.count] =
        (purlin_tensor_spec){.name = s->chosen.names[signature.inputs.count], .datatype = "FP32"};
  const char *single = strcmp(given->objective, "binary:logistic") == 0 ? "probability" : "prediction";
  for (; signature.outputs.count < outputs; signature.outputs.count++) {
    const char *name = classes ? purlin_format(s->ctx, "class_%zu", signature.outputs.count) : single;
    if (!name) return PURLIN_TOO_LARGE;
    signature.outputs.items[signature.outputs.count] = (purlin_tensor_spec){.name = name, .datatype = "FP32"};
  }
  return purlin_encode(s->ctx, purlin_signature_schema(), &signature, out);
}

static purlin_status deliver(session *s) {
  purlin_json signature = {0};
  purlin_status status = take_measures(s);
  if (status == PURLIN_OK) add_accuracy(s);
  if (status == PURLIN_OK) status = booster_save(s->ctx, s->booster, MODEL_FILE);
  if (status == PURLIN_OK) status = purlin_training_upload(s->ctx, s->training, "model", MODEL_FILE);
  if (status == PURLIN_OK) status = describe(s, &signature);
  const char *text = status == PURLIN_OK ? purlin_format(s->ctx, "%zu rounds", s->rounds) : NULL;
  if (!text) return status == PURLIN_OK ? PURLIN_TOO_LARGE : status;
  purlin_training_report report = {.state = {PURLIN_SET, "succeeded"},
                                   .progress = {PURLIN_SET, 1},
                                   .message = {PURLIN_SET, text},
                                   .framework = {PURLIN_SET, "xgboost"},
                                   .signature = signature};
  return send(s, &report);
}

static purlin_status check(purlin_ctx *ctx, const xgboost_specification *specification) {
  bool classes = strcmp(specification->objective, "multi:softprob") == 0;
  if (classes && specification->num_class < 2)
    return purlin_fail_field(ctx, "num_class", "must be at least 2 with multi:softprob");
  if (!classes && specification->num_class != 0) return purlin_fail_field(ctx, "num_class", "is for multi:softprob only");
  return PURLIN_OK;
}

purlin_status train(purlin_ctx *ctx, const purlin_training *training, const xgboost_specification *specification) {
  purlin_status status = check(ctx, specification);
  session *s = status == PURLIN_OK ? purlin_alloc(ctx, sizeof *s) : NULL;
  if (!s) return status == PURLIN_OK ? PURLIN_TOO_LARGE : status;
  s->ctx = ctx;
  s->training = training;
  s->specification = specification;
  status = load(s);
  if (status == PURLIN_OK) status = learn(s);
  if (status == PURLIN_OK) status = deliver(s);
  booster_free(s->booster);
  return status;
}
