/* model.h: XGBoost's gradient-boosted trees as flat arrays of our own.
 *
 * json.c     JSON, read where it stands
 * ubj.c      UBJ, which XGBoost saves unless told otherwise, to JSON
 * parse.c    the JSON that XGBoost saves (1.7 to 3.x) to a model
 * predict.c  rows to predictions, with the library's comparisons and its order of sums, so that results are the library's
 * plugin.c   the capability
 *
 * Nothing here parks or knows a context. */
#ifndef PREDICTOR_XGBOOST_MODEL_H
#define PREDICTOR_XGBOOST_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NODE_DEFAULT_LEFT 0x80000000u /* a missing value goes left */
#define NODE_LEAF 0x40000000u
#define NODE_FEATURE 0x3fffffffu

/* A node; its right child follows its left one. A leaf is its own left child, so that walks of unequal length can run side by
 * side for the same number of steps. */
typedef struct node {
  float value;      /* threshold; of a leaf: what it adds */
  uint32_t feature; /* column, with the two flags above */
  uint32_t left;    /* index within the model's nodes */
} node;

typedef struct tree {
  uint32_t root, depth, group;
} tree;

typedef enum transform {
  TRANSFORM_NONE,
  TRANSFORM_SIGMOID,
  TRANSFORM_EXP,
  TRANSFORM_SIGN, /* 1 above 0 */
  TRANSFORM_SOFTMAX,
  TRANSFORM_LARGEST
} transform;

typedef struct purlin_model {
  node *nodes;
  tree *trees;
  float *base; /* margin per group, before any tree */
  size_t node_count, tree_count, groups, columns, outputs;
  transform transform;
} purlin_model;

enum { MODEL_WHY = 300 };

/* Parses; NULL with the reason in `why` (MODEL_WHY bytes). `names` are the columns that the caller will give. Owned: model_free. */
purlin_model *model_parse(const char *text, size_t size, const char *const *names, size_t columns, char *why);
typedef struct model_description {
  size_t columns;
  char *names;      /* a list in JSON, owned: free; NULL where the model does not know them */
  bool gives_class; /* not probabilities or amounts */
} model_description;
/* Without the trees. False with the reason in `why`. */
bool model_describe(const char *text, size_t size, model_description *out, char *why);
void model_free(purlin_model *model);
size_t model_memory(const purlin_model *model);

/* rows * columns values in, rows * model->outputs out; false when memory is short (more than 64 classes). */
bool model_predict(const purlin_model *model, const float *values, size_t rows, float *out);

#endif
