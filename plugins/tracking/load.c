#include "tracking.h"
#include <math.h>
#include <string.h>

/* What was logged in the runs of a page: one statement for each kind of thing, however many runs there are. `place` is which of them a
 * row belongs to, from 1; rows of one run follow one another, since the runs' ids are what is read first. */
#define OF_MANY(columns, table, owner)                                                                                     \
  "SELECT j.place, " columns " FROM JSON_TABLE(?, '$[*]' COLUMNS (place FOR ORDINALITY,"                                   \
  " id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) j STRAIGHT_JOIN " table " x ON x." owner " = j.id"
#define OF_ONE(columns, table, owner)                                                                                      \
  "SELECT 1 AS place, " columns " FROM " table " x WHERE x." owner " = ? ORDER BY x.name"

#define METRIC "x.name AS `key`, x.value AS number, x.step, x.at"
#define PAIR "x.name AS `key`, x.value AS text"

typedef struct logged_row {
  int64_t place;
  const char *key, *text;
  purlin_opt_double number; /* NULL: not a number */
  int64_t step;
  purlin_time at;
} logged_row;
PURLIN_SCHEMA(logged_row, "What was logged in a run",
    PURLIN_REQUIRED(place, "which run"),
    PURLIN_REQUIRED(key, "key"),
    PURLIN_OPTIONAL(text, "value of a pair"),
    PURLIN_OPTIONAL(number, "value of a metric"),
    PURLIN_DEFAULT(step, "0", "step"),
    PURLIN_OPTIONAL(at, "time"));

/* ---- Gathering -------------------------------------------------------------------------------------------------------------------- */

enum { KEYS_KEPT = 64 };

/* The items of one run, in a piece of memory that grows. Runs log the same keys in the same order, so each key is looked for where the run
 * before had it. */
typedef struct gathering {
  purlin_ctx *ctx;
  size_t item_size;
  char *items;
  size_t count, room;
  const char *keys[KEYS_KEPT];
} gathering;

static const char *keep_key(gathering *g, const char *key) {
  const char **kept = &g->keys[g->count % KEYS_KEPT];
  if (*kept && strcmp(*kept, key) == 0) return *kept;
  return *kept = purlin_copy(g->ctx, key);
}

static void *next_item(gathering *g) {
  if (g->count == g->room) {
    size_t room = g->room ? g->room * 2 : 16;
    char *items = purlin_alloc_array(g->ctx, room, g->item_size);
    if (!items) return NULL;
    if (g->count > 0) memcpy(items, g->items, g->count * g->item_size);
    g->items = items;
    g->room = room;
  }
  return g->items + g->count * g->item_size;
}

static purlin_status take_metric(gathering *g, const logged_row *row) {
  tracking_metric *item = next_item(g);
  const char *key = item ? keep_key(g, row->key) : NULL;
  if (!key) return PURLIN_TOO_LARGE;
  *item = (tracking_metric){key, row->number.state == PURLIN_SET ? row->number.value : (double)NAN, row->step, row->at};
  g->count++;
  return PURLIN_OK;
}

static purlin_status take_pair(gathering *g, const logged_row *row) {
  tracking_pair *item = next_item(g);
  const char *key = item ? keep_key(g, row->key) : NULL, *text = key ? purlin_copy(g->ctx, row->text) : NULL;
  if (!text) return PURLIN_TOO_LARGE;
  *item = (tracking_pair){key, text};
  g->count++;
  return PURLIN_OK;
}

/* ---- The kinds ------------------------------------------------------------------------------------------------------------------------- */

/* Where in the run, or in the experiment, a list of these is: all lists look alike. */
typedef PURLIN_LIST_OF(void) some_list;

typedef struct logged_kind {
  const char *of_one, *of_many;
  size_t item_size, list_at;
  purlin_status (*take)(gathering *g, const logged_row *row);
} logged_kind;

#define KIND(columns, table, owner, type, take, list_at)                                                                   \
  { OF_ONE(columns, table, owner), OF_MANY(columns, table, owner), sizeof(type), list_at, take }

static const logged_kind of_runs[] = {
    KIND(METRIC, "tracking_latest_metrics", "run_id", tracking_metric, take_metric, offsetof(tracking_run, metrics)),
    KIND(PAIR, "tracking_parameters", "run_id", tracking_pair, take_pair, offsetof(tracking_run, parameters)),
    KIND(PAIR, "tracking_tags", "run_id", tracking_pair, take_pair, offsetof(tracking_run, tags))};
static const logged_kind of_experiments[] = {
    KIND(PAIR, "tracking_experiment_tags", "experiment_id", tracking_pair, take_pair, offsetof(tracking_experiment, tags))};

/* Things of one kind: runs, or experiments. */
typedef struct owners {
  char *first;
  size_t size, count;
  const char **ids;
  const char *all; /* the ids, as JSON */
} owners;

static some_list *list_of(const owners *of, const logged_kind *kind, size_t at) {
  return (some_list *)(void *)(of->first + at * of->size + kind->list_at);
}

/* What one has is complete: its items stay where they are, and those of the next begin behind them. */
static void give(gathering *g, some_list *list) {
  if (g->count > 0) *list = (some_list){g->items, g->count};
  g->items += g->count * g->item_size;
  g->room -= g->count;
  g->count = 0;
}

static purlin_status gather(gathering *g, const logged_kind *kind, purlin_rows *rows, const owners *of) {
  size_t at = 0;
  void *none = next_item(g); /* an empty list, and no absent one */
  if (!none) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < of->count; i++) *list_of(of, kind, i) = (some_list){none, 0};
  for (;;) {
    logged_row row;
    bool got = false;
    purlin_status status = purlin_db_next(g->ctx, rows, &row, &got);
    if (status != PURLIN_OK || !got) {
      give(g, list_of(of, kind, at));
      return status;
    }
    size_t place = (size_t)row.place - 1;
    if (place < at || place >= of->count)
      return purlin_fail(g->ctx, PURLIN_INTERNAL, "what was logged comes in another order than the runs");
    if (place > at) give(g, list_of(of, kind, at));
    at = place;
    status = kind->take(g, &row);
    if (status != PURLIN_OK) return status;
  }
}

static purlin_status load(purlin_ctx *ctx, const logged_kind *kind, const owners *of) {
  gathering *g = purlin_alloc(ctx, sizeof *g);
  purlin_rows *rows = NULL;
  if (!g) return PURLIN_TOO_LARGE;
  *g = (gathering){.ctx = ctx, .item_size = kind->item_size};
  purlin_status status = of->count == 1 ? purlin_db_open(ctx, logged_row, &rows, kind->of_one, of->ids[0])
                                        : purlin_db_open(ctx, logged_row, &rows, kind->of_many, of->all);
  if (status == PURLIN_OK) status = gather(g, kind, rows, of);
  purlin_db_close(ctx, rows);
  return status;
}

static purlin_status load_all(purlin_ctx *ctx, const logged_kind *kinds, size_t kind_count, owners *of) {
  purlin_status status = PURLIN_OK;
  of->all = of->count > 1 ? purlin_list_json(ctx, (purlin_texts){of->ids, of->count}) : "";
  if (!of->all) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < kind_count && status == PURLIN_OK; i++) status = load(ctx, &kinds[i], of);
  return status;
}

purlin_status runs_load(purlin_ctx *ctx, tracking_run *runs, size_t count) {
  if (count == 0) return PURLIN_OK;
  owners of = {(char *)runs, sizeof *runs, count, purlin_alloc_array(ctx, count, sizeof(char *)), NULL};
  if (!of.ids) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < count; i++) of.ids[i] = runs[i].id;
  return load_all(ctx, of_runs, sizeof of_runs / sizeof of_runs[0], &of);
}

purlin_status experiments_load(purlin_ctx *ctx, tracking_experiment *experiments, size_t count) {
  if (count == 0) return PURLIN_OK;
  owners of = {(char *)experiments, sizeof *experiments, count, purlin_alloc_array(ctx, count, sizeof(char *)), NULL};
  if (!of.ids) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < count; i++) of.ids[i] = experiments[i].id;
  return load_all(ctx, of_experiments, sizeof of_experiments / sizeof of_experiments[0], &of);
}
