#include "json.h"
#include "model.h"
#include "ubj.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_GROUPS = 100000, MOST_COLUMNS = 1000000, MOST_DEPTH = 10000 };

typedef struct parsing {
  json parameters, objective, feature_names, attributes;
  json booster; /* the last one of the learner's members, and nearly all of the text */
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

/* A text's inside, or the value as it stands, for messages: "%.*s" with both. */
static bool quoted(json value) { return value.at && *value.at == '"'; }
static const char *text_of(json value) { return value.at ? value.at + quoted(value) : "?"; }
static int shown(json value) {
  if (!value.at) return 1;
  ptrdiff_t size = value.end - value.at - 2 * quoted(value);
  return size < 80 ? (int)size : 80;
}

static json parameter(const parsing *p, const char *name) { return json_member(p->parameters, name); }

/* XGBoost writes its parameters as texts: "num_feature": "8". */
static bool whole(json item, long least, long most, long *out) {
  double value = 0;
  if (!json_number(item, true, &value) || !(value >= (double)least && value <= (double)most)) return false;
  *out = (long)value;
  return value == (double)*out;
}

/* ---- What is predicted ---------------------------------------------------------------------------------------------------------- */

/* What base_score, which is a prediction, is as a margin. */
typedef enum scale { SCALE_MARGIN, SCALE_LOGIT, SCALE_LOG } scale;

typedef struct objective {
  const char *name;
  transform transform;
  scale scale;
  bool classes;
} objective;

static const objective OBJECTIVES[] = {
    {"binary:logistic", TRANSFORM_SIGMOID, SCALE_LOGIT, false},
    {"binary:logitraw", TRANSFORM_NONE, SCALE_MARGIN, false},
    {"binary:hinge", TRANSFORM_SIGN, SCALE_MARGIN, false},
    {"multi:softprob", TRANSFORM_SOFTMAX, SCALE_MARGIN, true},
    {"multi:softmax", TRANSFORM_LARGEST, SCALE_MARGIN, true},
    {"reg:squarederror", TRANSFORM_NONE, SCALE_MARGIN, false},
    {"reg:linear", TRANSFORM_NONE, SCALE_MARGIN, false},
    {"reg:logistic", TRANSFORM_SIGMOID, SCALE_LOGIT, false},
    {"reg:squaredlogerror", TRANSFORM_NONE, SCALE_MARGIN, false},
    {"reg:pseudohubererror", TRANSFORM_NONE, SCALE_MARGIN, false},
    {"reg:absoluteerror", TRANSFORM_NONE, SCALE_MARGIN, false},
    {"reg:quantileerror", TRANSFORM_NONE, SCALE_MARGIN, false},
    {"reg:gamma", TRANSFORM_EXP, SCALE_LOG, false},
    {"reg:tweedie", TRANSFORM_EXP, SCALE_LOG, false},
    {"count:poisson", TRANSFORM_EXP, SCALE_LOG, false},
    {"rank:pairwise", TRANSFORM_NONE, SCALE_MARGIN, false},
    {"rank:ndcg", TRANSFORM_NONE, SCALE_MARGIN, false},
    {"rank:map", TRANSFORM_NONE, SCALE_MARGIN, false},
};

static bool margin_of(parsing *p, float value, scale of, float *out) {
  if (of == SCALE_LOGIT && (value <= 0 || value >= 1))
    return refuse(p, "the model's base_score is %g, not a probability", (double)value);
  if (of == SCALE_LOG && value <= 0) return refuse(p, "the model's base_score is %g, not more than 0", (double)value);
  *out = of == SCALE_LOGIT ? -logf(1.0f / value - 1.0f) : of == SCALE_LOG ? logf(value) : value;
  return true;
}

/* "5E-1", "[5E-1]" or, with one per class, "[1E-1,2E-1]" (from 3.1 on). */
static bool read_base(parsing *p, scale of) {
  purlin_model *m = p->model;
  json item = parameter(p, "base_score");
  if (!item.at || *item.at != '"') return refuse(p, "the model's base_score is not a text");
  const char *text = item.at + 1; /* ends with a quote, where every number ends, too */
  if (*text == '[') text++;
  size_t count = 0;
  for (;;) {
    char *end = NULL;
    float value = strtof(text, &end), margin = 0;
    if (end == text || !isfinite(value)) return refuse(p, "the model's base_score is not a number");
    if (!margin_of(p, value, of, &margin)) return false;
    if (count < m->groups) m->base[count] = margin;
    count++;
    text = end;
    if (*text != ',') break;
    text++;
  }
  if (*text == ']') text++;
  if (text + 1 != item.end) return refuse(p, "the model's base_score is not a number");
  for (size_t i = 1; count == 1 && i < m->groups; i++) m->base[i] = m->base[0];
  return count == 1 || count == m->groups || refuse(p, "the model has %zu base scores for %zu classes", count, m->groups);
}

static const objective *find_objective(parsing *p) {
  json name = json_member(p->objective, "name");
  for (size_t i = 0; i < sizeof OBJECTIVES / sizeof OBJECTIVES[0]; i++)
    if (json_is(name, OBJECTIVES[i].name)) return &OBJECTIVES[i];
  (void)refuse(p,
               "the objective '%.*s' is not served; binary:logistic, multi:softprob, reg:squarederror, count:poisson,"
               " rank:ndcg and others are: see predictor-xgboost",
               shown(name), text_of(name));
  return NULL;
}

static bool read_objective(parsing *p) {
  const objective *found = find_objective(p);
  if (!found) return false;
  long classes = 0, targets = 1;
  if (!whole(parameter(p, "num_class"), 0, MOST_GROUPS, &classes))
    return refuse(p, "the model's num_class is not a number");
  json several = parameter(p, "num_target");
  if (several.at && (!whole(several, 0, MOST_GROUPS, &targets) || targets > 1))
    return refuse(p, "models with several targets are not served");
  if (found->classes && classes < 2) return refuse(p, "the objective '%s' needs num_class of 2 or more", found->name);
  purlin_model *m = p->model;
  m->transform = found->transform;
  m->groups = found->classes ? (size_t)classes : 1;
  m->outputs = found->transform == TRANSFORM_SOFTMAX ? m->groups : 1;
  m->base = calloc(m->groups, sizeof *m->base);
  return m->base ? read_base(p, found->scale) : refuse(p, "out of memory");
}

/* ---- Which columns ---------------------------------------------------------------------------------------------------------------- */

static bool read_columns(parsing *p) {
  long count = 0;
  if (!whole(parameter(p, "num_feature"), 1, MOST_COLUMNS, &count))
    return refuse(p, "the model's num_feature is not a number");
  if ((size_t)count != p->columns)
    return refuse(p, "the model takes %ld columns and its signature names %zu", count, p->columns);
  json name = {NULL, NULL};
  for (size_t i = 0; i < p->columns && json_next(p->feature_names, &name); i++)
    if (!json_is(name, p->names[i]))
      return refuse(p, "column %zu of the model is '%.*s' and of its signature '%.100s'", i + 1, shown(name), text_of(name),
                    p->names[i]);
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

typedef enum member { LEFT, RIGHT, FEATURE, CONDITION, DEFAULT_LEFT, CATEGORIES, PARAMETERS, MEMBERS } member;
static const char *const MEMBER_NAMES[MEMBERS] = {"left_children", "right_children",   "split_indices", "split_conditions",
                                                  "default_left",  "categories_nodes", "tree_param"};

static bool fill(json list, size_t count, int32_t *whole_numbers, float *numbers, uint8_t *flags) {
  json item = {NULL, NULL};
  for (size_t i = 0; i < count; i++) {
    double value = 0;
    if (!json_next(list, &item) || !json_number(item, false, &value)) return false;
    if (whole_numbers) {
      if (!(value >= -1 && value <= (double)INT32_MAX)) return false;
      whole_numbers[i] = (int32_t)value;
    } else if (numbers) numbers[i] = (float)value;
    else flags[i] = value != 0;
  }
  return true;
}

/* Before memory is taken for it: a tree whose arrays are of one length has ten bytes of text or more for each node. */
static bool check_tree(parsing *p, const json *members, size_t number, size_t count) {
  if (json_count(members[CATEGORIES]) > 0) return refuse(p, "tree %zu splits by categories, which is not served", number);
  long leaf_values = 1;
  json vector = json_member(members[PARAMETERS], "size_leaf_vector");
  if (vector.at && (!whole(vector, 0, MOST_GROUPS, &leaf_values) || leaf_values > 1))
    return refuse(p, "tree %zu has several values per leaf, which is not served", number);
  for (member m = RIGHT; m <= DEFAULT_LEFT; m++)
    if (json_count(members[m]) != count)
      return refuse(p, "tree %zu is damaged: its arrays are missing or of different lengths", number);
  return true;
}

static bool read_arrays(parsing *p, const json *members, size_t number, arrays *a) {
  bool fine = fill(members[LEFT], a->count, a->left, NULL, NULL) && fill(members[RIGHT], a->count, a->right, NULL, NULL) &&
              fill(members[FEATURE], a->count, a->feature, NULL, NULL) &&
              fill(members[CONDITION], a->count, NULL, a->condition, NULL) &&
              fill(members[DEFAULT_LEFT], a->count, NULL, NULL, a->default_left);
  return fine || refuse(p, "tree %zu is damaged: its arrays hold what is no number", number);
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

static bool add_tree(parsing *p, json text, size_t number, tree *out) {
  purlin_model *m = p->model;
  json members[MEMBERS];
  json_members(text, MEMBER_NAMES, members, MEMBERS);
  size_t count = json_count(members[LEFT]);
  if (count == 0) return refuse(p, "tree %zu is damaged: it has no nodes", number);
  if (!check_tree(p, members, number, count)) return false;
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
  bool fine = read_arrays(p, members, number, &a) && place(p, &a, number, order, out);
  free(block);
  return fine;
}

/* What scikit-learn's classes save knows its best iteration, when training stopped early, and they predict with no tree after it. A
 * booster predicts with all. */
static size_t trees_that_count(const parsing *p, json model_parameters, json rounds) {
  long best = 0, parallel = 1, end = 0;
  json name = json_member(p->attributes, "best_iteration"), place = {NULL, NULL};
  if (!json_member(p->attributes, "scikit_learn").at || !whole(name, 0, INT32_MAX, &best)) return SIZE_MAX;
  if (json_is_list(rounds)) { /* where the trees of each begin, and the end of the last; from 2.0 on */
    for (long i = 0; json_next(rounds, &place); i++)
      if (i == best + 1) return whole(place, 0, INT32_MAX, &end) ? (size_t)end : SIZE_MAX;
    return SIZE_MAX;
  }
  if (!whole(json_member(model_parameters, "num_parallel_tree"), 1, INT32_MAX, &parallel)) parallel = 1;
  return ((size_t)best + 1) * (size_t)parallel * p->model->groups;
}

static bool read_trees(parsing *p) {
  static const char *const of_booster[] = {"name", "model"}, *const of_model[] = {"trees", "tree_info",
                                                                                  "gbtree_model_param", "iteration_indptr"};
  json found[2], lists[4];
  json_members(p->booster, of_booster, found, 2);
  json_members(found[1], of_model, lists, 4);
  const json name = found[0], trees = lists[0], info = lists[1];
  if (!json_is(name, "gbtree")) return refuse(p, "the booster '%.*s' is not served; gbtree is", shown(name), text_of(name));
  if (!json_is_list(trees)) return refuse(p, "the model has no trees");
  purlin_model *m = p->model;
  size_t count = json_count(trees);
  m->trees = calloc(count ? count : 1, sizeof *m->trees);
  if (!m->trees) return refuse(p, "out of memory");
  for (json text = {NULL, NULL}, group = {NULL, NULL}; json_next(trees, &text); m->tree_count++) {
    tree *t = &m->trees[m->tree_count];
    if (!add_tree(p, text, m->tree_count, t)) return false;
    long number = 0;
    if (!json_next(info, &group) || !whole(group, 0, (long)m->groups - 1, &number))
      return refuse(p, "tree %zu belongs to no class of the model", m->tree_count);
    t->group = (uint32_t)number;
  }
  size_t most = trees_that_count(p, lists[2], lists[3]);
  if (m->tree_count > most) m->tree_count = most;
  return true;
}

/* ---- All of it ------------------------------------------------------------------------------------------------------------------------ */

static bool is_old(const char *text, size_t size) {
  size_t start = 0;
  while (start < size && text[start] && strchr(" \t\r\n", text[start])) start++;
  return start == size || text[start] != '{';
}

static bool read_text(parsing *p, const char *text, size_t size) {
  if (is_old(text, size))
    return refuse(p, "this is neither XGBoost's JSON nor its UBJ; what older releases saved in their binary format must be"
                     " loaded by a release before 3.1 and saved again: booster.save_model(\"model.ubj\")");
  json root;
  if (!json_whole(text, size, &root)) return refuse(p, "this is not valid JSON");
  json learner = json_member(root, "learner"), members[5];
  if (!learner.at) return refuse(p, "this JSON is no model of XGBoost: it has no 'learner'");
  static const char *const names[] = {"learner_model_param", "objective", "feature_names", "gradient_booster",
                                      "attributes"};
  json_members(learner, names, members, 5);
  p->parameters = members[0];
  p->objective = members[1];
  p->feature_names = members[2];
  p->booster = members[3];
  p->attributes = members[4];
  return true;
}

/* Owned: free; NULL without a reason in `why`: the text is JSON already. */
static char *as_json(const char **text, size_t *size, char *why) {
  const char *reason = NULL;
  why[0] = '\0';
  if (!ubj_is(*text, *size)) return NULL;
  char *made = ubj_to_json(*text, *size, size, &reason);
  if (made) *text = made;
  else (void)snprintf(why, MODEL_WHY, "%s", reason);
  return made;
}

purlin_model *model_parse(const char *text, size_t size, const char *const *names, size_t columns, char *why) {
  char *made = as_json(&text, &size, why);
  if (!made && why[0]) return NULL;
  parsing p = {.names = names, .columns = columns, .model = calloc(1, sizeof(purlin_model)), .why = why};
  bool fine = p.model != NULL || refuse(&p, "out of memory");
  fine = fine && read_text(&p, text, size) && read_columns(&p) && read_objective(&p) && read_trees(&p);
  free(made);
  if (fine) return p.model;
  model_free(p.model);
  return NULL;
}

bool model_describe(const char *text, size_t size, model_description *out, char *why) {
  char *made = as_json(&text, &size, why);
  if (!made && why[0]) return false;
  parsing p = {.why = why};
  const objective *found = NULL;
  long count = 0;
  *out = (model_description){0};
  bool fine = read_text(&p, text, size) && (found = find_objective(&p)) != NULL;
  if (fine && !whole(parameter(&p, "num_feature"), 1, MOST_COLUMNS, &count))
    fine = refuse(&p, "the model's num_feature is not a number");
  if (fine && json_count(p.feature_names) == (size_t)count) {
    out->names = strndup(p.feature_names.at, (size_t)(p.feature_names.end - p.feature_names.at));
    fine = out->names != NULL || refuse(&p, "out of memory");
  }
  out->columns = (size_t)count;
  out->gives_class = found && (found->transform == TRANSFORM_LARGEST || found->transform == TRANSFORM_SIGN);
  free(made);
  return fine;
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
