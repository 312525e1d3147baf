#include "tracking.h"
#include <math.h>
#include <string.h>

/* What belongs to the runs of a page, or to experiments: one statement for each kind, however many there are; one for all kinds of a single
 * run; and another one for the datasets of runs that read any. `place` is which of them a row belongs to, from 1. Rows come kind by kind, and within a kind in the
 * order of the page: each part reads the ids first, and each one's rows by the index. Without being told so, the database reads a small
 * table whole and in its own order. */
enum { METRIC, PARAMETER, TAG, MODEL_INPUT, MODEL_OUTPUT, DATASET, KINDS };

#define COLUMNS(place, kind, key, text, number, step, at)                                                                  \
  "SELECT " place " AS place, " kind " AS kind, " key " AS `key`, " text " AS text, " number " AS number, " step           \
  " AS step, " at " AS at FROM "
#define METRICS(place) COLUMNS(place, "0", "x.name", "NULL", "x.value", "x.step", "x.at")
#define PAIRS(place, kind) COLUMNS(place, kind, "x.name", "x.value", "NULL", "0", "NULL")
#define LINKS(place)                                                                                                       \
  COLUMNS(place, "IF(x.kind = 'input', 3, 4)", "x.model_id COLLATE utf8mb4_nopad_bin", "NULL", "NULL", "x.step", "NULL")
#define DATASETS(place) COLUMNS(place, "5", "x.dataset_id COLLATE utf8mb4_nopad_bin", "NULL", "NULL", "0", "NULL")

#define OF_ONE(columns, table, owner) columns("1") table " x WHERE x." owner " = ?"
#define EACH                                                                                                               \
  "JSON_TABLE(?, '$[*]' COLUMNS (place FOR ORDINALITY,"                                                                    \
  " id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) j STRAIGHT_JOIN "
#define OF_MANY(columns, table, owner) columns("j.place") EACH table " x FORCE INDEX (PRIMARY) ON x." owner " = j.id"

#define PARAMETERS(place) PAIRS(place, "1")
#define TAGS(place) PAIRS(place, "2")
#define METRICS_OF(of) of(METRICS, "tracking_latest_metrics", "run_id")
#define PARAMETERS_OF(of) of(PARAMETERS, "tracking_parameters", "run_id")
#define TAGS_OF(of) of(TAGS, "tracking_tags", "run_id")
#define LINKS_OF(of) of(LINKS, "tracking_model_links", "run_id")
#define DATASETS_OF(of) of(DATASETS, "tracking_inputs", "run_id")
static const char OF_RUN[] = METRICS_OF(OF_ONE) " UNION ALL " PARAMETERS_OF(OF_ONE) " UNION ALL " TAGS_OF(
    OF_ONE) " UNION ALL " LINKS_OF(OF_ONE) " UNION ALL " DATASETS_OF(OF_ONE);
/* Of many rows, those of a union cost half as much again. */
static const char *const OF_RUNS[] = {METRICS_OF(OF_MANY), PARAMETERS_OF(OF_MANY), TAGS_OF(OF_MANY), LINKS_OF(OF_MANY),
                                      DATASETS_OF(OF_MANY)};
static const char OF_EXPERIMENT[] = OF_ONE(TAGS, "tracking_experiment_tags", "experiment_id");
static const char OF_EXPERIMENTS[] = OF_MANY(TAGS, "tracking_experiment_tags", "experiment_id");

static const char OF_INPUTS[] =
    "SELECT j.place, d.name, d.digest, d.source_type, d.source, d.`schema`, d.profile,"
    " COALESCE((SELECT JSON_ARRAYAGG(JSON_OBJECT('key', t.name, 'value', t.value COLLATE utf8mb4_nopad_bin) ORDER BY t.name) FROM tracking_input_tags t"
    " WHERE t.run_id = x.run_id AND t.dataset_id = x.dataset_id), '[]') AS tags FROM " EACH
    "tracking_inputs x ON x.run_id = j.id STRAIGHT_JOIN tracking_datasets d ON d.id = x.dataset_id ORDER BY j.place, x.name, x.digest";

typedef struct logged_row {
  int64_t place, kind;
  const char *key, *text;
  purlin_opt_double number; /* NULL: not a number */
  int64_t step;
  purlin_time at;
} logged_row;
PURLIN_SCHEMA(logged_row, "What was logged in a run",
    PURLIN_REQUIRED(place, "which run"),
    PURLIN_REQUIRED(kind, "what kind of thing"),
    PURLIN_REQUIRED(key, "key, or id of a model"),
    PURLIN_OPTIONAL(text, "value of a pair"),
    PURLIN_OPTIONAL(number, "value of a metric"),
    PURLIN_REQUIRED(step, "step"),
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

static purlin_status take_metric(gathering *g, const logged_row *row, void *item) {
  const char *key = keep_key(g, row->key);
  double value = row->number.state == PURLIN_SET ? row->number.value : (double)NAN;
  *(tracking_metric *)item = (tracking_metric){key, value, row->step, row->at};
  return key ? PURLIN_OK : PURLIN_TOO_LARGE;
}

static purlin_status take_pair(gathering *g, const logged_row *row, void *item) {
  const char *key = keep_key(g, row->key), *text = purlin_copy(g->ctx, row->text);
  *(tracking_pair *)item = (tracking_pair){key, text};
  return key && text ? PURLIN_OK : PURLIN_TOO_LARGE;
}

static purlin_status take_link(gathering *g, const logged_row *row, void *item) {
  const char *id = purlin_copy(g->ctx, row->key);
  *(tracking_model_link *)item = (tracking_model_link){id, row->step};
  return id ? PURLIN_OK : PURLIN_TOO_LARGE;
}

/* Where in the run, or in the experiment, a list of a kind is: all lists look alike. No `take`: there is none of it. */
typedef PURLIN_LIST_OF(void) some_list;

typedef struct logged_kind {
  size_t item_size, list_at;
  purlin_status (*take)(gathering *g, const logged_row *row, void *item);
} logged_kind;

static const logged_kind of_runs[KINDS] = {
    [METRIC] = {sizeof(tracking_metric), offsetof(tracking_run, metrics), take_metric},
    [PARAMETER] = {sizeof(tracking_pair), offsetof(tracking_run, parameters), take_pair},
    [TAG] = {sizeof(tracking_pair), offsetof(tracking_run, tags), take_pair},
    [MODEL_INPUT] = {sizeof(tracking_model_link), offsetof(tracking_run, model_inputs), take_link},
    [MODEL_OUTPUT] = {sizeof(tracking_model_link), offsetof(tracking_run, model_outputs), take_link},
    [DATASET] = {sizeof(tracking_dataset_input), offsetof(tracking_run, datasets), NULL}};
static const logged_kind of_experiments[KINDS] = {
    [TAG] = {sizeof(tracking_pair), offsetof(tracking_experiment, tags), take_pair}};

/* Things of one kind: runs, or experiments. */
typedef struct owners {
  char *first;
  size_t size, count;
  const logged_kind *kinds;
  bool with_datasets;       /* somebody has one */
  size_t bytes, most_bytes; /* of what was read; 0: however much it is */
} owners;

static some_list *list_of(const owners *of, size_t kind, size_t at) {
  return (some_list *)(void *)(of->first + at * of->size + of->kinds[kind].list_at);
}

/* What one has is complete: its items stay where they are, and those of the next begin behind them. */
static void give(gathering *g, some_list *list) {
  if (g->count == 0) return;
  *list = (some_list){g->items, g->count};
  g->items += g->count * g->item_size;
  g->room -= g->count;
  g->count = 0;
}

/* An empty list, and no absent one. */
static void clear(const owners *of) {
  static char none[1];
  for (size_t kind = 0; kind < KINDS; kind++)
    for (size_t i = 0; i < of->count && of->kinds[kind].item_size; i++) *list_of(of, kind, i) = (some_list){none, 0};
}

/* One list after the other. */
static purlin_status gather(purlin_ctx *ctx, purlin_rows *rows, owners *of, gathering *all) {
  size_t at = 0, kind = 0;
  for (;;) {
    logged_row row;
    bool got = false;
    purlin_status status = purlin_db_next(ctx, rows, &row, &got);
    size_t next = got ? (size_t)row.place - 1 : 0, next_kind = got ? (size_t)row.kind : 0;
    if (status == PURLIN_OK && got && (next_kind >= KINDS || next >= of->count || (next_kind == kind && next < at)))
      status = purlin_fail(ctx, PURLIN_INTERNAL, "what was logged comes in another order than the runs");
    if (status != PURLIN_OK) return status;
    if (!got || next != at || next_kind != kind) give(&all[kind], list_of(of, kind, at));
    if (!got) return PURLIN_OK;
    at = next;
    kind = next_kind;
    of->with_datasets = of->with_datasets || kind == DATASET;
    of->bytes += of->kinds[kind].item_size + (row.text ? strlen(row.text) : 0);
    if (of->most_bytes && of->bytes > of->most_bytes) return PURLIN_TOO_LARGE;
    if (!of->kinds[kind].take) continue;
    void *item = next_item(&all[kind]);
    status = item ? of->kinds[kind].take(&all[kind], &row, item) : PURLIN_TOO_LARGE;
    if (status != PURLIN_OK) return status;
    all[kind].count++;
  }
}

/* ---- Datasets -------------------------------------------------------------------------------------------------------------------------- */

typedef struct input_row {
  int64_t place;
  const char *name, *digest, *source_type, *source, *schema, *profile;
  PURLIN_LIST_OF(tracking_pair) tags;
} input_row;
PURLIN_SCHEMA(input_row, "A dataset that a run read",
    PURLIN_REQUIRED(place, "which run"),
    PURLIN_REQUIRED(name, "name"),
    PURLIN_REQUIRED(digest, "which content"),
    PURLIN_REQUIRED(source_type, "what kind of source"),
    PURLIN_REQUIRED(source, "where it is"),
    PURLIN_OPTIONAL(schema, "columns"),
    PURLIN_OPTIONAL(profile, "what is known of its content"),
    PURLIN_LIST(tags, tracking_pair, "what it was read for"));
typedef PURLIN_LIST_OF(input_row) input_rows;

static size_t size_of(const input_row *row) {
  size_t size = sizeof *row + strlen(row->name) + strlen(row->source);
  if (row->schema) size += strlen(row->schema);
  return row->profile ? size + strlen(row->profile) : size;
}

static purlin_status load_datasets(purlin_ctx *ctx, const char *ids, owners *of) {
  tracking_run *runs = (tracking_run *)(void *)of->first;
  input_rows found = {0};
  purlin_status status = purlin_db_list(ctx, input_row, &found, OF_INPUTS, ids);
  if (status != PURLIN_OK) return status;
  tracking_dataset_input *items = purlin_alloc_array(ctx, found.count + 1, sizeof *items);
  if (!items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < found.count; i++) {
    const input_row *row = &found.items[i];
    tracking_run *run = &runs[row->place - 1];
    items[i] = (tracking_dataset_input){row->name,   row->digest,  row->source_type, row->source,
                                        row->schema, row->profile, .tags = {0}};
    items[i].tags.items = row->tags.items;
    items[i].tags.count = row->tags.count;
    if (run->datasets.count == 0) run->datasets.items = &items[i];
    run->datasets.count++;
    of->bytes += size_of(row);
  }
  return of->most_bytes && of->bytes > of->most_bytes ? PURLIN_TOO_LARGE : PURLIN_OK;
}

/* ---- Loading --------------------------------------------------------------------------------------------------------------------------- */

/* Each kind has the keys of its own. */
static gathering *begin_gathering(purlin_ctx *ctx, owners *of) {
  gathering *all = purlin_alloc_array(ctx, KINDS, sizeof *all);
  for (size_t i = 0; i < KINDS && all; i++) all[i] = (gathering){.ctx = ctx, .item_size = of->kinds[i].item_size};
  clear(of);
  return all;
}

/* `of` one or many; `ids` is what that wants. */
static purlin_status load(purlin_ctx *ctx, owners *of, gathering *all, const char *statement, const char *ids) {
  purlin_rows *rows = NULL;
  purlin_status status = statement == OF_RUN ? purlin_db_open(ctx, logged_row, &rows, statement, ids, ids, ids, ids, ids)
                                             : purlin_db_open(ctx, logged_row, &rows, statement, ids);
  if (status == PURLIN_OK) status = gather(ctx, rows, of, all);
  purlin_db_close(ctx, rows);
  return status;
}

/* As JSON; NULL: no memory. `first` is the id of the first. */
static const char *ids_of(purlin_ctx *ctx, const owners *of, const char *const *first) {
  const char **ids = purlin_alloc_array(ctx, of->count, sizeof *ids);
  for (size_t i = 0; i < of->count && ids; i++)
    ids[i] = *(const char *const *)(const void *)((const char *)first + i * of->size);
  return ids ? purlin_list_json(ctx, (purlin_texts){ids, of->count}) : NULL;
}

static purlin_status load_runs(purlin_ctx *ctx, owners *of) {
  tracking_run *runs = (tracking_run *)(void *)of->first;
  const char *ids = ids_of(ctx, of, &runs->id);
  gathering *all = begin_gathering(ctx, of);
  if (!ids || !all) return PURLIN_TOO_LARGE;
  purlin_status status = of->count == 1 ? load(ctx, of, all, OF_RUN, runs->id) : PURLIN_OK;
  for (size_t i = 0; of->count > 1 && i < sizeof OF_RUNS / sizeof *OF_RUNS && status == PURLIN_OK; i++)
    status = load(ctx, of, all, OF_RUNS[i], ids);
  return status == PURLIN_OK && of->with_datasets ? load_datasets(ctx, ids, of) : status;
}

void run_clear(tracking_run *run) {
  clear(&(owners){.first = (char *)run, .size = sizeof *run, .count = 1, .kinds = of_runs});
}

purlin_status runs_load(purlin_ctx *ctx, tracking_run *runs, size_t count) {
  owners of = {.first = (char *)runs, .size = sizeof *runs, .count = count, .kinds = of_runs};
  return count > 0 ? load_runs(ctx, &of) : PURLIN_OK;
}

/* So many at first, and then as many as will fit by what those before them had. Ten thousand runs with twenty things each are one page. */
enum { FIRST_RUNS = 200, MOST_RUNS = 2000, MOST_BYTES = 16 << 20 };

static size_t next_runs(size_t bytes, size_t done) {
  size_t each = bytes / done + 1, fit = bytes < MOST_BYTES ? (MOST_BYTES - bytes) / each : 0;
  return fit > MOST_RUNS ? MOST_RUNS : fit;
}

purlin_status runs_load_page(purlin_ctx *ctx, tracking_run *runs, size_t *count) {
  size_t done = 0, bytes = 0, next = FIRST_RUNS;
  while (done < *count && next > 0) {
    purlin_mark mark = purlin_arena_mark(ctx);
    size_t some = *count - done < next ? *count - done : next;
    owners of = {.first = (char *)(runs + done), .size = sizeof *runs, .count = some, .kinds = of_runs};
    of.most_bytes = some > 1 || done > 0 ? MOST_BYTES - bytes : 0; /* one is told, whatever it has */
    purlin_status status = load_runs(ctx, &of);
    if (status == PURLIN_TOO_LARGE && (some > 1 || done > 0)) {
      purlin_clear_failure(ctx);
      purlin_arena_reset(ctx, mark);
      next = some / 4;
      if (next == 0 && done == 0) next = 1;
      continue;
    }
    if (status != PURLIN_OK) return status;
    done += some;
    bytes += of.bytes + some * sizeof *runs;
    next = bytes < MOST_BYTES ? next_runs(bytes, done) : 0;
  }
  *count = done;
  return PURLIN_OK;
}

purlin_status experiments_load(purlin_ctx *ctx, tracking_experiment *experiments, size_t count) {
  if (count == 0) return PURLIN_OK;
  owners of = {.first = (char *)experiments, .size = sizeof *experiments, .count = count, .kinds = of_experiments};
  const char *ids = ids_of(ctx, &of, &experiments->id);
  gathering *all = begin_gathering(ctx, &of);
  if (!ids || !all) return PURLIN_TOO_LARGE;
  return count == 1 ? load(ctx, &of, all, OF_EXPERIMENT, experiments->id) : load(ctx, &of, all, OF_EXPERIMENTS, ids);
}
