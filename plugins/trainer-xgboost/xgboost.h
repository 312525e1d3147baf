/* xgboost.h: what the parts of trainer-xgboost share.
 *
 *   plugin.c     the manifest and the specification
 *   csv.c        CSV, row by row
 *   table.c      CSV to a matrix of floats and a column of labels
 *   booster.c    libxgboost: matrices, rounds, evaluation, saving
 *   train.c      the training: fetch, learn, report, upload */
#ifndef XGBOOST_XGBOOST_H
#define XGBOOST_XGBOOST_H

#include <purlin/contracts/trainer.h>
#include <purlin/purlin.h>

typedef struct xgboost_specification {
  const char *label;
  purlin_texts features;
  const char *objective;
  int64_t num_class, rounds, max_depth;
  double eta, min_child_weight, subsample, colsample_bytree, lambda, alpha, gamma;
  const char *tree_method;
  purlin_texts eval_metric;
  int64_t early_stopping_rounds, seed, threads, memory_mb;
} xgboost_specification;
PURLIN_SCHEMA(xgboost_specification, "Gradient-boosted trees",
    PURLIN_REQUIRED(label, "The column to be predicted", .min_length = 1, .max_length = 250),
    PURLIN_OPTIONAL(features, "The columns to learn from, in the order in which the model takes them; all other numeric ones when absent", .min_length = 1, .max_length = 10000),
    PURLIN_DEFAULT(objective, "\"binary:logistic\"", "What is learnt", .choices = "binary:logistic, reg:squarederror, multi:softprob"),
    PURLIN_DEFAULT(num_class, "0", "How many classes multi:softprob tells apart; labels are 0 to num_class - 1", .min = 0, .max = 1000),
    PURLIN_DEFAULT(rounds, "100", "Trees (per class)", .min = 1, .max = 100000),
    PURLIN_DEFAULT(max_depth, "6", "Levels of a tree", .min = 1, .max = 30),
    PURLIN_DEFAULT(eta, "0.1", "Learning rate", .min = 0.000001, .max = 1),
    PURLIN_DEFAULT(min_child_weight, "1", "Least weight of a leaf", .min = 0, .max = 1e9),
    PURLIN_DEFAULT(subsample, "1", "Share of rows that each tree sees", .min = 0.000001, .max = 1),
    PURLIN_DEFAULT(colsample_bytree, "1", "Share of columns that each tree sees", .min = 0.000001, .max = 1),
    PURLIN_DEFAULT(lambda, "1", "L2 regularisation", .min = 0, .max = 1e9),
    PURLIN_DEFAULT(alpha, "0", "L1 regularisation", .min = 0, .max = 1e9),
    PURLIN_DEFAULT(gamma, "0", "Least gain of a split", .min = 0, .max = 1e9),
    PURLIN_DEFAULT(tree_method, "\"hist\"", "How splits are found", .choices = "hist, approx, exact"),
    PURLIN_OPTIONAL(eval_metric, "What is measured besides the objective's own metrics; the last one decides about stopping early", .max_length = 16),
    PURLIN_DEFAULT(early_stopping_rounds, "0", "Stop when the validation part has not improved for so many rounds; 0: never", .min = 0, .max = 100000),
    PURLIN_DEFAULT(seed, "0", "Of every random choice", .min = 0, .max = 2147483647),
    PURLIN_DEFAULT(threads, "1", "Threads; one makes the same model from the same data every time", .min = 1, .max = 256),
    PURLIN_DEFAULT(memory_mb, "4096", "The largest matrix in memory", .min = 1, .max = 1048576));

/* ---- table.c -------------------------------------------------------------------------------------------------------------- */

typedef struct table {
  float *values; /* rows * columns, row by row; NaN is missing; owned */
  float *labels; /* owned */
  size_t rows, columns;
} table;

/* Which column of the file becomes which of the matrix. The names are those of the header, arena. */
typedef struct layout {
  const char **names;
  size_t count;
} layout;

/* Chooses the features: those of the specification, or all numeric columns but the label. May park. Errors: PURLIN_INVALID. */
PURLIN_CHECKED purlin_status table_choose(purlin_ctx *ctx, const char *path, const xgboost_specification *specification,
                                          layout *out);
/* Reads a file. PURLIN_INVALID names line and column; PURLIN_TOO_LARGE over memory_mb. Owned: table_free. May park. */
PURLIN_CHECKED purlin_status table_read(purlin_ctx *ctx, const char *path, const xgboost_specification *specification,
                                        const layout *chosen, table *out);
void table_free(table *t);

/* ---- booster.c ------------------------------------------------------------------------------------------------------------ */

typedef struct booster booster;

/* A value that was measured in one round: "validation" and "logloss". */
typedef struct measure {
  char part[16], metric[48];
  double value;
} measure;
enum { BOOSTER_MOST_MEASURES = 64 };

/* Copies both tables into libxgboost (`validation` has no rows when there is none) and frees them. Owned: booster_free. May park. */
PURLIN_CHECKED purlin_status booster_create(purlin_ctx *ctx, const xgboost_specification *specification,
                                            const layout *chosen, table *train, table *validation, booster **out);
/* Trains on for about `milliseconds`, at most to round `until`. *rounds is how many there are then. May park. */
PURLIN_CHECKED purlin_status booster_advance(purlin_ctx *ctx, booster *b, size_t until, uint32_t milliseconds,
                                             size_t *rounds);
/* What the last round is worth; at most BOOSTER_MOST_MEASURES. May park. */
PURLIN_CHECKED purlin_status booster_measure(purlin_ctx *ctx, booster *b, measure *out, size_t *count);
/* Keeps the first `rounds` rounds only. May park. */
PURLIN_CHECKED purlin_status booster_cut(purlin_ctx *ctx, booster *b, size_t rounds);
/* Saves as XGBoost's JSON, which 1.7 to 3.x read. May park. */
PURLIN_CHECKED purlin_status booster_save(purlin_ctx *ctx, booster *b, const char *path);
void booster_free(booster *b);

/* ---- train.c ---------------------------------------------------------------------------------------------------------------- */

PURLIN_CHECKED purlin_status train(purlin_ctx *ctx, const purlin_training *training,
                                   const xgboost_specification *specification);

#endif
