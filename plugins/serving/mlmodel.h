/* mlmodel.h: the file MLmodel, by which MLflow says what a model is (no SDK; libyaml).
 *
 * It comes from whoever may log a model: nothing is believed. Anchors and aliases are refused, which no client writes; depth and size are
 * bounded. */
#ifndef SERVING_MLMODEL_H
#define SERVING_MLMODEL_H

#include <stdbool.h>
#include <stddef.h>

enum { MLMODEL_LARGEST = 4 * 1024 * 1024, MLMODEL_WHY = 300 };

/* Owned texts; NULL: the file does not say. */
typedef struct mlmodel {
  char *flavors;            /* all of them, with ", " between */
  bool xgboost;             /* whether it is one of them, */
  char *data, *model_class; /* and what that one says: its file, xgboost.core.Booster or xgboost.sklearn.XGB... */
  char *inputs, *outputs;   /* of the signature: lists in JSON */
} mlmodel;

/* False: `why` (MLMODEL_WHY bytes) says what is wrong, and there is nothing to free. */
bool mlmodel_read(const char *text, size_t size, mlmodel *out, char *why);
void mlmodel_free(mlmodel *model);

#endif
