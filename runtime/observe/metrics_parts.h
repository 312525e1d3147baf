/* metrics_parts.h: what metrics.c (registry and counting), metrics_names.c (rules), metrics_render.c and metrics_process.c
 * share. Nobody outside this folder includes it. */
#ifndef PURLIN_OBSERVE_METRICS_PARTS_H
#define PURLIN_OBSERVE_METRICS_PARTS_H

#include "observe/metrics.h"
#include <stdatomic.h>

#define METRICS_MAX_SERIES 2000
#define METRICS_MAX_LABELS 8
#define METRICS_MAX_BUCKETS 64
#define METRICS_MAX_LABEL_BYTES 256 /* of a value; longer ones are counted under "other" */
#define METRICS_SLOTS 16            /* threads beyond share slots */
#define METRICS_CACHE_LINE 64

/* One slot's share of a series. A histogram has buckets + 1 counts behind the sum; others use the sum alone. */
typedef struct metrics_cell {
  _Atomic uint64_t sum_bits; /* a double */
  _Atomic uint64_t counts[];
} metrics_cell;

typedef struct metrics_family metrics_family;

struct metrics_series {
  metrics_family *family;
  metrics_series *next; /* in order of creation */
  uint64_t hash;
  char *key;                                    /* the label values, each with its NUL */
  char *labels;                                 /* as they are written: endpoint="x",outcome="ok" */
  _Atomic(metrics_cell *) cells[METRICS_SLOTS]; /* made at a slot's first use; a gauge has one, that all share */
};

/* Readers probe without a lock. A table that is too small is replaced and kept, since somebody may still be reading it. */
typedef struct metrics_table {
  struct metrics_table *previous;
  size_t mask; /* capacity - 1 */
  _Atomic(metrics_series *) slots[];
} metrics_table;

struct metrics_family {
  metrics_family *next; /* ordered by name */
  char *name, *help;
  purlin_metric_type type;
  size_t label_count;
  char *label_names[METRICS_MAX_LABELS];
  size_t bucket_count;
  double *buckets;
  double (*read)(void *argument);
  void *read_argument;
  _Atomic(metrics_table *) table;
  metrics_series *first, *last;
  atomic_size_t series_count;
};

/* The rules for names; false writes why. */
bool metrics_name_check(const purlin_metric *metric, buffer *why);
/* Splits "endpoint, outcome" into at most METRICS_MAX_LABELS names (owned); false writes why. */
bool metrics_labels_split(const char *labels, char *names[METRICS_MAX_LABELS], size_t *count, buffer *why);

/* Calls `visit` for every family, under the registry's lock. */
void metrics_each(void (*visit)(void *to, const metrics_family *family), void *to);
double metrics_series_value(const metrics_series *series);
/* Sums a histogram's slots: counts has bucket_count + 1 items; returns the sum of the observed values. */
double metrics_series_counts(const metrics_series *series, uint64_t *counts);

/* process_* of this process. */
void metrics_render_process(buffer *out, bool open);
/* The three lines' first two: # HELP and # TYPE. In OpenMetrics a counter's family has no "_total". */
void metrics_render_head(buffer *out, bool open, const char *name, const char *help, purlin_metric_type type);
void metrics_render_value(buffer *out, double value);

#endif
