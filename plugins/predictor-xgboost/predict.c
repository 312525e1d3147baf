#include "model.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE_BY_SIDE = 4, GROUPS_ON_STACK = 64 };

static inline uint32_t step(const node *nodes, uint32_t at, const float *row) {
  const node *n = &nodes[at];
  float value = row[n->feature & NODE_FEATURE];
  bool left = value < n->value;
  if (__builtin_expect(isnan(value), 0)) left = (n->feature & NODE_DEFAULT_LEFT) != 0;
  return n->left + (uint32_t)(!left & !(n->feature & NODE_LEAF));
}

/* Four trees at once hide the wait for memory of each step; a leaf stays where it is until the deepest of them is done. The sums are
 * taken tree by tree in float, as the library does. */
static void walk_four(const purlin_model *m, const tree *trees, const float *row, float *sums) {
  uint32_t a = trees[0].root, b = trees[1].root, c = trees[2].root, d = trees[3].root, depth = 0;
  for (int i = 0; i < SIDE_BY_SIDE; i++) depth = trees[i].depth > depth ? trees[i].depth : depth;
  for (uint32_t level = 0; level < depth; level++) {
    a = step(m->nodes, a, row);
    b = step(m->nodes, b, row);
    c = step(m->nodes, c, row);
    d = step(m->nodes, d, row);
  }
  sums[trees[0].group] += m->nodes[a].value;
  sums[trees[1].group] += m->nodes[b].value;
  sums[trees[2].group] += m->nodes[c].value;
  sums[trees[3].group] += m->nodes[d].value;
}

static void walk_one(const purlin_model *m, const tree *t, const float *row, float *sums) {
  uint32_t at = t->root;
  for (uint32_t level = 0; level < t->depth; level++) at = step(m->nodes, at, row);
  sums[t->group] += m->nodes[at].value;
}

static float sigmoid(float margin) {
  float x = fminf(-margin, 88.7f); /* beyond, expf would overflow */
  return 1.0f / (expf(x) + 1.0f + 1e-16f);
}

static void softmax(float *values, size_t count) {
  float largest = values[0];
  for (size_t i = 1; i < count; i++) largest = fmaxf(values[i], largest);
  double sum = 0;
  for (size_t i = 0; i < count; i++) {
    values[i] = expf(values[i] - largest);
    sum += (double)values[i];
  }
  for (size_t i = 0; i < count; i++) values[i] /= (float)sum;
}

static size_t largest_of(const float *values, size_t count) {
  size_t best = 0;
  for (size_t i = 1; i < count; i++)
    if (values[i] > values[best]) best = i;
  return best;
}

static void finish(const purlin_model *m, float *sums, float *out) {
  switch (m->transform) {
  case TRANSFORM_NONE: out[0] = sums[0]; break;
  case TRANSFORM_SIGMOID: out[0] = sigmoid(sums[0]); break;
  case TRANSFORM_EXP: out[0] = expf(sums[0]); break;
  case TRANSFORM_SIGN: out[0] = sums[0] > 0 ? 1.0f : 0.0f; break;
  case TRANSFORM_LARGEST: out[0] = (float)largest_of(sums, m->groups); break;
  case TRANSFORM_SOFTMAX:
    softmax(sums, m->groups);
    memcpy(out, sums, m->groups * sizeof *out);
    break;
  }
}

bool model_predict(const purlin_model *m, const float *values, size_t rows, float *out) {
  float few[GROUPS_ON_STACK];
  float *sums = m->groups <= GROUPS_ON_STACK ? few : malloc(m->groups * sizeof *sums);
  if (!sums) return false;
  for (size_t row = 0; row < rows; row++, values += m->columns, out += m->outputs) {
    memcpy(sums, m->base, m->groups * sizeof *sums);
    size_t i = 0;
    for (; i + SIDE_BY_SIDE <= m->tree_count; i += SIDE_BY_SIDE) walk_four(m, &m->trees[i], values, sums);
    for (; i < m->tree_count; i++) walk_one(m, &m->trees[i], values, sums);
    finish(m, sums, out);
  }
  if (sums != few) free(sums);
  return true;
}
