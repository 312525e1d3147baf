#include "serving.h"
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What one loop gathers before it is written: so much may be lost with the process, or LOG_LONGEST_MS of predictions if that is less. */
enum { LOG_ROWS = 1000, LOG_BYTES = 1024 * 1024, LOG_LONGEST_MS = 200, SETTLE_MS = 2000 };

PURLIN_COUNTER(log_rows_total, "Rows of the prediction log: written, or lost because the database was away", "outcome");

/* A row waits as it came; its text is made when it is written. The texts of the endpoint are copied per batch, not per row. */
typedef struct log_row {
  int64_t at_us, version;
  float output;
  uint32_t columns, id_size, of; /* of: index in `names` */
  /* then: float values[columns], char id[id_size], up to a multiple of eight */
} log_row;

typedef struct log_name {
  char endpoint_id[65], workspace[65], project[65];
} log_name;
enum { LOG_NAMES = 64 };

typedef struct batch {
  size_t rows, bytes, names;
  log_name name[LOG_NAMES];
  _Alignas(8) char block[LOG_BYTES];
} batch;

typedef struct gathering {
  struct gathering *next;
  pthread_mutex_t lock; /* of the filling batch; never held while parking */
  purlin_mutex writing; /* one writes; the others wait for it */
  batch *filling, *spare;
  atomic_uint_fast64_t taken, written; /* batches handed to the writer, and done with */
  uint64_t away_until_ns;              /* the database was away: until then what does not fit is lost at once */
  char id_prefix[40];
  uint64_t id_number;
} gathering;

static _Atomic(gathering *) gatherings;
static atomic_bool wanted;
static const char gathering_key;

static gathering *make(purlin_ctx *ctx) {
  gathering *g = calloc(1, sizeof *g);
  const char *prefix = purlin_new_id(ctx, "prd");
  if (!g || !prefix) return free(g), NULL;
  (void)pthread_mutex_init(&g->lock, NULL);
  (void)snprintf(g->id_prefix, sizeof g->id_prefix, "%s", prefix);
  g->next = atomic_load(&gatherings);
  while (!atomic_compare_exchange_weak(&gatherings, &g->next, g)) {}
  return g;
}

static gathering *mine(purlin_ctx *ctx) {
  gathering **place = purlin_loop_local(ctx, &gathering_key, sizeof(gathering *));
  if (place && !*place) *place = make(ctx);
  return place ? *place : NULL;
}

const char *log_new_id(purlin_ctx *ctx) {
  gathering *g = mine(ctx);
  if (!g) return purlin_new_id(ctx, "prd");
  size_t size = strlen(g->id_prefix);
  char *id = purlin_alloc(ctx, size + 16), *to = id;
  if (!id) return NULL;
  memcpy(to, g->id_prefix, size);
  to += size;
  for (uint64_t rest = ++g->id_number; rest; rest /= 36) *to++ = "0123456789abcdefghijklmnopqrstuvwxyz"[rest % 36];
  return id;
}

/* ---- Writing ------------------------------------------------------------------------------------------------------------------------------ */

typedef struct prediction_row {
  const char *endpoint_id, *prediction_id, *workspace, *project;
  int64_t version;
  purlin_time at;
  const char *inputs;
  double output;
} prediction_row;
PURLIN_SCHEMA(prediction_row, "A row of serving_predictions",
    PURLIN_REQUIRED(endpoint_id, "endpoint"),
    PURLIN_REQUIRED(prediction_id, "id"),
    PURLIN_REQUIRED(workspace, "workspace"),
    PURLIN_REQUIRED(project, "project"),
    PURLIN_REQUIRED(version, "version"),
    PURLIN_REQUIRED(at, "at"),
    PURLIN_REQUIRED(inputs, "inputs"),
    PURLIN_REQUIRED(output, "output"));

/* The first use of an id holds; a client that repeats one repeats itself. */
static const char INSERT[] =
    "INSERT IGNORE INTO serving_predictions (endpoint_id, prediction_id, workspace, project, version, at, inputs, output)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)";

static const char *list_text(purlin_ctx *ctx, const float *values, size_t count) {
  char *text = purlin_alloc(ctx, count * (TENSOR_FLOAT + 1) + 3), *to = text;
  if (!text) return NULL;
  *to++ = '[';
  for (size_t i = 0; i < count; i++) {
    if (i) *to++ = ',';
    to += tensor_format(values[i], to);
  }
  *to = ']';
  return text;
}

static purlin_status write_batch(purlin_ctx *ctx, const batch *b) {
  prediction_row *rows = purlin_alloc_array(ctx, b->rows, sizeof *rows);
  if (!rows) return PURLIN_TOO_LARGE;
  const char *at = b->block;
  for (size_t i = 0; i < b->rows; i++) {
    const log_row *row = (const void *)at;
    const float *values = (const void *)(row + 1);
    const char *id = (const char *)(values + row->columns);
    const log_name *name = &b->name[row->of];
    rows[i] = (prediction_row){
        name->endpoint_id, purlin_copy_bytes(ctx, id, row->id_size), name->workspace,    name->project, row->version,
        {row->at_us},      list_text(ctx, values, row->columns),     (double)row->output};
    if (!rows[i].inputs || !rows[i].prediction_id) return PURLIN_TOO_LARGE;
    at += (sizeof *row + row->columns * sizeof *values + row->id_size + 7) / 8 * 8;
  }
  return purlin_db_bulk(ctx, prediction_row, rows, b->rows, INSERT);
}

static batch *take_batch(gathering *g) {
  (void)pthread_mutex_lock(&g->lock);
  batch *full = g->filling;
  if (full && full->rows > 0) {
    g->filling = g->spare;
    g->spare = NULL;
    atomic_fetch_add(&g->taken, 1);
  } else full = NULL;
  (void)pthread_mutex_unlock(&g->lock);
  return full;
}

static void give_back(gathering *g, batch *b) {
  b->rows = b->bytes = b->names = 0;
  (void)pthread_mutex_lock(&g->lock);
  if (!g->filling) g->filling = b;
  else if (!g->spare) g->spare = b;
  else free(b);
  (void)pthread_mutex_unlock(&g->lock);
}

static purlin_status flush(purlin_ctx *ctx, gathering *g) {
  purlin_status status = purlin_lock(ctx, &g->writing);
  if (status != PURLIN_OK) return status;
  batch *b = take_batch(g);
  if (b) {
    purlin_mark mark = purlin_arena_mark(ctx);
    status = write_batch(ctx, b);
    purlin_arena_reset(ctx, mark);
    purlin_count(log_rows_total, (double)b->rows, status == PURLIN_OK ? "written" : "lost");
    if (status != PURLIN_OK) {
      purlin_log(ctx, PURLIN_ERROR, "%zu rows of the prediction log are lost: %s", b->rows, purlin_failure(ctx));
      g->away_until_ns = purlin_ticks_ns() + UINT64_C(1000000000);
    }
    give_back(g, b);
    atomic_fetch_add(&g->written, 1);
  }
  purlin_unlock(&g->writing);
  return status;
}

static int64_t oldest_us(gathering *g) {
  (void)pthread_mutex_lock(&g->lock);
  int64_t at = g->filling && g->filling->rows ? ((const log_row *)(const void *)g->filling->block)->at_us : INT64_MAX;
  (void)pthread_mutex_unlock(&g->lock);
  return at;
}

void log_tick(purlin_ctx *ctx, void *unused) {
  (void)unused;
  gathering *g = mine(ctx);
  if (!g) return;
  int64_t oldest = oldest_us(g);
  if (oldest == INT64_MAX) return;
  if (atomic_load(&wanted) || purlin_now_us() - oldest >= (LOG_LONGEST_MS / 2) * 1000) (void)!flush(ctx, g);
}

purlin_status log_settle(purlin_ctx *ctx) {
  uint64_t until = purlin_ticks_ns() + SETTLE_MS * UINT64_C(1000000);
  bool asked = false;
  for (gathering *g = atomic_load(&gatherings); g; g = g->next) {
    uint_fast64_t target = atomic_load(&g->taken) + (oldest_us(g) != INT64_MAX);
    while (atomic_load(&g->written) < target && purlin_ticks_ns() < until) {
      if (!asked) {
        asked = true;
        atomic_store(&wanted, true);
        purlin_background_wake(ctx, "prediction_log");
      }
      purlin_status status = purlin_sleep(ctx, 1);
      if (status != PURLIN_OK) return status;
    }
  }
  if (asked) atomic_store(&wanted, false);
  return PURLIN_OK;
}

void log_close(purlin_ctx *ctx) {
  for (gathering *g = atomic_exchange(&gatherings, NULL); g;) {
    (void)!flush(ctx, g);
    gathering *next = g->next;
    free(g->filling);
    free(g->spare);
    (void)pthread_mutex_destroy(&g->lock);
    free(g);
    g = next;
  }
}

/* ---- Gathering ----------------------------------------------------------------------------------------------------------------------------- */

static bool name_index(batch *b, const endpoint *of, uint32_t *index) {
  for (size_t i = b->names; i-- > 0;)
    if (strcmp(b->name[i].endpoint_id, of->id) == 0) return *index = (uint32_t)i, true;
  if (b->names == LOG_NAMES) return false;
  log_name *name = &b->name[b->names];
  (void)snprintf(name->endpoint_id, sizeof name->endpoint_id, "%s", of->id);
  (void)snprintf(name->workspace, sizeof name->workspace, "%s", of->workspace);
  (void)snprintf(name->project, sizeof name->project, "%s", of->project);
  *index = (uint32_t)b->names++;
  return true;
}

typedef struct prediction {
  const endpoint *of;
  const char *id;
  size_t id_size;
  const float *values;
  size_t columns;
  float output;
  int64_t at_us;
} prediction;

static bool put(batch *b, const prediction *p) {
  size_t size = (sizeof(log_row) + p->columns * sizeof(float) + p->id_size + 7) / 8 * 8;
  uint32_t index = 0;
  if (b->rows == LOG_ROWS || size > LOG_BYTES - b->bytes || !name_index(b, p->of, &index)) return false;
  log_row *row = (void *)(b->block + b->bytes);
  *row = (log_row){p->at_us, p->of->served->version, p->output, (uint32_t)p->columns, (uint32_t)p->id_size, index};
  char *to = memcpy(row + 1, p->values, p->columns * sizeof(float));
  memcpy(to + p->columns * sizeof(float), p->id, p->id_size);
  b->bytes += size;
  b->rows++;
  return true;
}

static bool gather(gathering *g, const prediction *p) {
  (void)pthread_mutex_lock(&g->lock);
  if (!g->filling) {
    g->filling = malloc(sizeof *g->filling);
    if (g->filling) g->filling->rows = g->filling->bytes = g->filling->names = 0;
  }
  bool fits = g->filling && put(g->filling, p);
  (void)pthread_mutex_unlock(&g->lock);
  return fits;
}

static float logged_output(const served *s, const float *outputs) {
  size_t best = 0;
  for (size_t i = 1; i < s->outputs; i++)
    if (outputs[i] > outputs[best]) best = i;
  return s->outputs == 1 ? outputs[0] : (float)best;
}

void log_predictions(purlin_ctx *ctx, const endpoint *of, const char *id, size_t id_size, const float *values,
                     const float *outputs, size_t rows) {
  gathering *g = mine(ctx);
  if (!g || rows > LOG_ROWS) {
    purlin_count(log_rows_total, (double)rows, "not kept");
    return;
  }
  char numbered[TENSOR_LONGEST_ID + 24];
  const served *s = of->served;
  prediction p = {of, id, id_size, values, s->columns.count, 0, purlin_now_us()};
  for (size_t i = 0; i < rows; i++, p.values += p.columns, outputs += s->outputs) {
    if (rows > 1) {
      p.id = numbered;
      p.id_size = (size_t)snprintf(numbered, sizeof numbered, "%.*s:%zu", (int)id_size, id, i);
    }
    p.output = logged_output(s, outputs);
    if (gather(g, &p)) continue;
    if (purlin_ticks_ns() < g->away_until_ns || flush(ctx, g) != PURLIN_OK || !gather(g, &p))
      purlin_count(log_rows_total, 1, "lost");
    purlin_clear_failure(ctx);
  }
}
