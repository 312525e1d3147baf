#include "model.h"
#include <cjson/cJSON.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_GROUPS = 100000, MOST_COLUMNS = 1000000, MOST_DEPTH = 10000 };

typedef struct parsing {
  const cJSON *learner;
  const char *const *names;
  size_t columns;
  purlin_model *model;
  char *why;
} parsing;

__attribute__((format(printf, 2, 3))) static bool refuse(parsing *p, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(p->why, MODEL_WHY, format, arguments);
  va_end(arguments);
  return false;
}

static const cJSON *at(const cJSON *object, const char *name) {
  return object ? cJSON_GetObjectItemCaseSensitive(object, name) : NULL;
}

/* XGBoost writes its parameters as texts: "num_feature": "8". */
static bool whole(const cJSON *item, long least, long most, long *out) {
  if (cJSON_IsNumber(item)) {
    if (!(item->valuedouble >= (double)least && item->valuedouble <= (double)most)) return false;
    *out = (long)item->valuedouble;
    return true;
  }
  if (!cJSON_IsString(item)) return false;
  char *end = NULL;
  *out = strtol(item->valuestring, &end, 10);
  return end != item->valuestring && *end == '\0' && *out >= least && *out <= most;
}

/* ---- What is predicted ---------------------------------------------------------------------------------------------------------- */

typedef struct objective {
  const char *name;
  transform transform;
  bool logistic, classes;
} objective;

static const objective OBJECTIVES[] = {
    {"binary:logistic", TRANSFORM_SIGMOID, true, false}, {"reg:logistic", TRANSFORM_SIGMOID, true, false},
    {"binary:logitraw", TRANSFORM_NONE, false, false},   {"reg:squarederror", TRANSFORM_NONE, false, false},
    {"reg:linear", TRANSFORM_NONE, false, false},        {"multi:softprob", TRANSFORM_SOFTMAX, false, true},
    {"multi:softmax", TRANSFORM_LARGEST, false, true},
};

/* "5E-1", "[5E-1]" or, with one per class, "[1E-1,2E-1]" (from 3.1 on). */
static bool read_base(parsing *p, bool logistic) {
  purlin_model *m = p->model;
  const cJSON *item = at(at(p->learner, "learner_model_param"), "base_score");
  const char *text = cJSON_IsString(item) ? item->valuestring : "";
  if (*text == '[') text++;
  size_t count = 0;
  for (;;) {
    char *end = NULL;
    float value = strtof(text, &end);
    if (end == text || !isfinite(value)) return refuse(p, "the model's base_score is not a number");
    if (logistic && (value <= 0 || value >= 1))
      return refuse(p, "the model's base_score is %g, not a probability", (double)value);
    if (count < m->groups) m->base[count] = logistic ? -logf(1.0f / value - 1.0f) : value;
    count++;
    text = end;
    if (*text != ',') break;
    text++;
  }
  if (strcmp(text, "]") != 0 && *text != '\0') return refuse(p, "the model's base_score is not a number");
  for (size_t i = 1; count == 1 && i < m->groups; i++) m->base[i] = m->base[0];
  return count == 1 || count == m->groups || refuse(p, "the model has %zu base scores for %zu classes", count, m->groups);
}

static bool read_objective(parsing *p) {
  const cJSON *name = at(at(p->learner, "objective"), "name");
  const objective *found = NULL;
  for (size_t i = 0; cJSON_IsString(name) && i < sizeof OBJECTIVES / sizeof OBJECTIVES[0]; i++)
    if (strcmp(OBJECTIVES[i].name, name->valuestring) == 0) found = &OBJECTIVES[i];
  if (!found)
    return refuse(p,
                  "the objective '%.80s' is not served; binary:logistic, binary:logitraw, reg:logistic, reg:squarederror,"
                  " multi:softprob and multi:softmax are",
                  cJSON_IsString(name) ? name->valuestring : "?");
  long classes = 0, targets = 1;
  const cJSON *parameters = at(p->learner, "learner_model_param");
  if (!whole(at(parameters, "num_class"), 0, MOST_GROUPS, &classes))
    return refuse(p, "the model's num_class is not a number");
  if (at(parameters, "num_target") && (!whole(at(parameters, "num_target"), 0, MOST_GROUPS, &targets) || targets > 1))
    return refuse(p, "models with several targets are not served");
  if (found->classes && classes < 2) return refuse(p, "the objective '%s' needs num_class of 2 or more", found->name);
  purlin_model *m = p->model;
  m->transform = found->transform;
  m->groups = found->classes ? (size_t)classes : 1;
  m->outputs = found->transform == TRANSFORM_SOFTMAX ? m->groups : 1;
  m->base = calloc(m->groups, sizeof *m->base);
  return m->base ? read_base(p, found->logistic) : refuse(p, "out of memory");
}

/* ---- Which columns ---------------------------------------------------------------------------------------------------------------- */

static bool read_columns(parsing *p) {
  long count = 0;
  if (!whole(at(at(p->learner, "learner_model_param"), "num_feature"), 1, MOST_COLUMNS, &count))
    return refuse(p, "the model's num_feature is not a number");
  if ((size_t)count != p->columns)
    return refuse(p, "the model takes %ld columns and its signature names %zu", count, p->columns);
  const cJSON *names = at(p->learner, "feature_names"), *name = NULL;
  size_t i = 0;
  cJSON_ArrayForEach(name, names) {
    if (i < p->columns && cJSON_IsString(name) && strcmp(name->valuestring, p->names[i]) != 0)
      return refuse(p, "column %zu of the model is '%.100s' and of its signature '%.100s'", i + 1, name->valuestring,
                    p->names[i]);
    i++;
  }
  p->model->columns = p->columns;
  return true;
}

/* ---- Trees ---------------------------------------------------------------------------------------------------------------------------- */

/* XGBoost's arrays of one tree, by its own numbering of nodes. */
typedef struct arrays {
  int32_t *left, *right, *feature;
  float *condition;
  uint8_t *default_left;
  size_t count;
} arrays;

static bool fill(const cJSON *list, size_t count, int32_t *whole_numbers, float *numbers, uint8_t *flags) {
  if (!cJSON_IsArray(list)) return false;
  size_t i = 0;
  const cJSON *item = NULL;
  cJSON_ArrayForEach(item, list) {
    if (i == count || !(cJSON_IsNumber(item) || cJSON_IsBool(item))) return false;
    double value = cJSON_IsBool(item) ? (double)cJSON_IsTrue(item) : item->valuedouble;
    if (whole_numbers) {
      if (!(value >= -1 && value <= (double)INT32_MAX)) return false;
      whole_numbers[i] = (int32_t)value;
    } else if (numbers) numbers[i] = (float)value;
    else flags[i] = value != 0;
    i++;
  }
  return i == count;
}

static bool read_arrays(parsing *p, const cJSON *json, size_t number, arrays *a) {
  const cJSON *categories = at(json, "categories_nodes");
  if (cJSON_GetArraySize(categories) > 0) return refuse(p, "tree %zu splits by categories, which is not served", number);
  long leaf_values = 1;
  const cJSON *vector = at(at(json, "tree_param"), "size_leaf_vector");
  if (vector && (!whole(vector, 0, MOST_GROUPS, &leaf_values) || leaf_values > 1))
    return refuse(p, "tree %zu has several values per leaf, which is not served", number);
  bool fine = fill(at(json, "left_children"), a->count, a->left, NULL, NULL) &&
              fill(at(json, "right_children"), a->count, a->right, NULL, NULL) &&
              fill(at(json, "split_indices"), a->count, a->feature, NULL, NULL) &&
              fill(at(json, "split_conditions"), a->count, NULL, a->condition, NULL) &&
              fill(at(json, "default_left"), a->count, NULL, NULL, a->default_left);
  return fine || refuse(p, "tree %zu is damaged: its arrays are missing or of different lengths", number);
}

/* Renumbers from the root, level by level, children side by side. `order` maps our numbers to XGBoost's; a node that is reached twice
 * or a child out of range shows as more nodes than there are. */
static bool place(parsing *p, const arrays *a, size_t number, uint32_t *order, tree *out) {
  purlin_model *m = p->model;
  size_t first = m->node_count, level_end = 1, made = 1;
  *out = (tree){.root = (uint32_t)first};
  order[0] = 0;
  for (size_t i = 0; i < made; i++) {
    if (i == level_end) {
      out->depth++;
      level_end = made;
    }
    uint32_t from = order[i];
    node *n = &m->nodes[first + i];
    n->value = a->condition[from];
    if (a->left[from] < 0) {
      n->feature = NODE_LEAF;
      n->left = (uint32_t)(first + i);
      continue;
    }
    size_t left = (size_t)a->left[from], right = (size_t)(uint32_t)a->right[from];
    if (left >= a->count || right >= a->count || made + 2 > a->count)
      return refuse(p, "tree %zu is damaged: its nodes are no tree", number);
    if (a->feature[from] < 0 || (size_t)a->feature[from] >= m->columns)
      return refuse(p, "tree %zu asks for column %d of %zu", number, a->feature[from] + 1, m->columns);
    n->feature = (uint32_t)a->feature[from] | (a->default_left[from] ? NODE_DEFAULT_LEFT : 0);
    n->left = (uint32_t)(first + made);
    order[made++] = (uint32_t)left;
    order[made++] = (uint32_t)right;
  }
  m->node_count += made;
  return out->depth <= MOST_DEPTH || refuse(p, "tree %zu is %u levels deep", number, out->depth);
}

static bool add_tree(parsing *p, const cJSON *json, size_t number, tree *out) {
  purlin_model *m = p->model;
  int size = cJSON_GetArraySize(at(json, "left_children"));
  if (size < 1) return refuse(p, "tree %zu is damaged: it has no nodes", number);
  size_t count = (size_t)size;
  if (m->node_count + count > UINT32_MAX / 2) return refuse(p, "the model has more nodes than can be served");
  node *grown = realloc(m->nodes, (m->node_count + count) * sizeof *grown);
  if (!grown) return refuse(p, "out of memory");
  m->nodes = grown;
  arrays a = {.count = count};
  char *block = calloc(count, 3 * sizeof(int32_t) + sizeof(float) + sizeof(uint32_t) + 1);
  if (!block) return refuse(p, "out of memory");
  a.left = (int32_t *)(void *)block;
  a.right = a.left + count;
  a.feature = a.right + count;
  a.condition = (float *)(void *)(a.feature + count);
  uint32_t *order = (uint32_t *)(void *)(a.condition + count);
  a.default_left = (uint8_t *)(order + count);
  bool fine = read_arrays(p, json, number, &a) && place(p, &a, number, order, out);
  free(block);
  return fine;
}

static bool read_trees(parsing *p) {
  const cJSON *booster = at(p->learner, "gradient_booster"), *name = at(booster, "name");
  if (!cJSON_IsString(name) || strcmp(name->valuestring, "gbtree") != 0)
    return refuse(p, "the booster '%.40s' is not served; gbtree is", cJSON_IsString(name) ? name->valuestring : "?");
  const cJSON *trees = at(at(booster, "model"), "trees"), *info = at(at(booster, "model"), "tree_info");
  if (!cJSON_IsArray(trees)) return refuse(p, "the model has no trees");
  purlin_model *m = p->model;
  size_t count = (size_t)cJSON_GetArraySize(trees);
  m->trees = calloc(count ? count : 1, sizeof *m->trees);
  if (!m->trees) return refuse(p, "out of memory");
  const cJSON *json = NULL, *group = cJSON_IsArray(info) ? info->child : NULL;
  cJSON_ArrayForEach(json, trees) {
    tree *t = &m->trees[m->tree_count];
    if (!add_tree(p, json, m->tree_count, t)) return false;
    long number = 0;
    if (!group || !whole(group, 0, (long)m->groups - 1, &number))
      return refuse(p, "tree %zu belongs to no class of the model", m->tree_count);
    t->group = (uint32_t)number;
    group = group->next;
    m->tree_count++;
  }
  return true;
}

/* ---- All of it ------------------------------------------------------------------------------------------------------------------------ */

static cJSON *parse_text(const char *json, size_t size, char *why) {
  size_t start = 0;
  while (start < size && strchr(" \t\r\n", json[start]) && json[start]) start++;
  bool binary =
      start == size || json[start] != '{' || (start + 1 < size && (json[start + 1] == 'L' || json[start + 1] == 'i'));
  const char *end = NULL;
  cJSON *root = binary ? NULL : cJSON_ParseWithLengthOpts(json, size, &end, false);
  while (root && end < json + size && (*end == '\0' || strchr(" \t\r\n", *end))) end++;
  if (root && end < json + size) {
    cJSON_Delete(root);
    root = NULL;
  }
  if (!root)
    (void)snprintf(why, MODEL_WHY, "%s",
                   binary ? "this is not XGBoost's JSON; save the model as JSON: booster.save_model(\"model.json\")"
                          : "this is not valid JSON");
  return root;
}

purlin_model *model_parse(const char *json, size_t size, const char *const *names, size_t columns, char *why) {
  why[0] = '\0';
  cJSON *root = parse_text(json, size, why);
  if (!root) return NULL;
  parsing p = {.learner = at(root, "learner"),
               .names = names,
               .columns = columns,
               .model = calloc(1, sizeof(purlin_model)),
               .why = why};
  bool fine = p.model != NULL || refuse(&p, "out of memory");
  if (fine && !p.learner) fine = refuse(&p, "this JSON is no model of XGBoost: it has no 'learner'");
  fine = fine && read_columns(&p) && read_objective(&p) && read_trees(&p);
  cJSON_Delete(root);
  if (fine) return p.model;
  model_free(p.model);
  return NULL;
}

void model_free(purlin_model *model) {
  if (!model) return;
  free(model->nodes);
  free(model->trees);
  free(model->base);
  free(model);
}

size_t model_memory(const purlin_model *m) {
  return sizeof *m + m->node_count * sizeof *m->nodes + m->tree_count * sizeof *m->trees + m->groups * sizeof *m->base;
}
