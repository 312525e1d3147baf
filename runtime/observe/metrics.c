/* The registry and the counting. A count finds its series in a hash table that is read without a lock (series are only ever
 * added) and adds to the calling thread's own cell. */
#include "observe/metrics_parts.h"

#include "core/text.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const double default_buckets[] = {0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                         0.05,    0.1,    0.25,    0.5,    1,     2.5,    5,     10};

static struct {
  pthread_mutex_t lock;
  metrics_family *families; /* ordered by name; never freed */
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- Cells ----------------------------------------------------------------------------------------------------------------- */

static unsigned thread_slot(void) {
  static atomic_uint next;
  static _Thread_local unsigned mine; /* 0: not chosen yet */
  if (mine == 0) mine = atomic_fetch_add_explicit(&next, 1, memory_order_relaxed) % METRICS_SLOTS + 1;
  return mine - 1;
}

static double double_of(uint64_t bits) {
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static uint64_t bits_of(double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static void add_double(_Atomic uint64_t *bits, double by) {
  uint64_t old = atomic_load_explicit(bits, memory_order_relaxed);
  while (!atomic_compare_exchange_weak_explicit(bits, &old, bits_of(double_of(old) + by), memory_order_relaxed,
                                                memory_order_relaxed)) {}
}

static metrics_cell *cell_make(metrics_series *series, unsigned slot) {
  size_t counts = series->family->type == PURLIN_METRIC_HISTOGRAM ? series->family->bucket_count + 1 : 0;
  size_t size = sizeof(metrics_cell) + counts * sizeof(uint64_t);
  size = (size + METRICS_CACHE_LINE - 1) / METRICS_CACHE_LINE * METRICS_CACHE_LINE;
  metrics_cell *cell = aligned_alloc(METRICS_CACHE_LINE, size);
  if (cell == NULL) return NULL;
  memset(cell, 0, size);
  metrics_cell *other = NULL;
  if (atomic_compare_exchange_strong_explicit(&series->cells[slot], &other, cell, memory_order_acq_rel,
                                              memory_order_acquire)) {
    return cell;
  }
  free(cell);
  return other;
}

/* NULL: no memory; the count is then lost. */
static metrics_cell *cell_of(metrics_series *series) {
  unsigned slot = series->family->type == PURLIN_METRIC_GAUGE ? 0 : thread_slot();
  metrics_cell *cell = atomic_load_explicit(&series->cells[slot], memory_order_acquire);
  return cell != NULL ? cell : cell_make(series, slot);
}

double metrics_series_value(const metrics_series *series) {
  double sum = 0;
  for (unsigned slot = 0; slot < METRICS_SLOTS; slot++) {
    metrics_cell *cell = atomic_load_explicit(&series->cells[slot], memory_order_acquire);
    if (cell != NULL) sum += double_of(atomic_load_explicit(&cell->sum_bits, memory_order_relaxed));
  }
  return sum;
}

double metrics_series_counts(const metrics_series *series, uint64_t *counts) {
  size_t count = series->family->bucket_count + 1;
  memset(counts, 0, count * sizeof *counts);
  for (unsigned slot = 0; slot < METRICS_SLOTS; slot++) {
    metrics_cell *cell = atomic_load_explicit(&series->cells[slot], memory_order_acquire);
    for (size_t i = 0; cell != NULL && i < count; i++) {
      counts[i] += atomic_load_explicit(&cell->counts[i], memory_order_relaxed);
    }
  }
  return metrics_series_value(series);
}

/* ---- Series ---------------------------------------------------------------------------------------------------------------- */

typedef struct label_values {
  const char *items[METRICS_MAX_LABELS];
  size_t sizes[METRICS_MAX_LABELS];
  size_t count;
  uint64_t hash;
} label_values;

/* A NULL ends the list early; what is missing is "". */
static void values_read(const metrics_family *family, const char *const *labels, label_values *values) {
  uint64_t hash = 0;
  bool ended = labels == NULL;
  size_t count = family->label_count;
  for (size_t i = 0; i < count; i++) {
    if (!ended && labels[i] == NULL) ended = true;
    const char *item = ended ? "" : labels[i];
    values->items[i] = item;
    values->sizes[i] = strlen(item);
    hash = (hash ^ text_hash(item, values->sizes[i])) * UINT64_C(0x9e3779b97f4a7c15);
  }
  values->count = count;
  values->hash = hash ^ (hash >> 32);
}

static bool series_is(const metrics_series *series, const label_values *values) {
  if (series->hash != values->hash) return false;
  const char *at = series->key;
  for (size_t i = 0; i < values->count; i++) {
    size_t size = values->sizes[i];
    if (strncmp(at, values->items[i], size + 1) != 0) return false;
    at += size + 1;
  }
  return true;
}

static metrics_series *table_find(const metrics_family *family, const label_values *values) {
  metrics_table *table = atomic_load_explicit(&family->table, memory_order_acquire);
  for (size_t i = (size_t)values->hash & table->mask;; i = (i + 1) & table->mask) {
    metrics_series *series = atomic_load_explicit(&table->slots[i], memory_order_acquire);
    if (series == NULL || series_is(series, values)) return series;
  }
}

static void table_put(metrics_table *table, metrics_series *series) {
  size_t i = (size_t)series->hash & table->mask;
  while (atomic_load_explicit(&table->slots[i], memory_order_relaxed) != NULL) i = (i + 1) & table->mask;
  atomic_store_explicit(&table->slots[i], series, memory_order_release);
}

static metrics_table *table_make(size_t capacity) {
  metrics_table *table = calloc(1, sizeof *table + capacity * sizeof table->slots[0]);
  if (table != NULL) table->mask = capacity - 1;
  return table;
}

/* At most half full, so that probes stay short and always end. */
static bool table_grow(metrics_family *family) {
  metrics_table *old = atomic_load_explicit(&family->table, memory_order_relaxed);
  if ((atomic_load_explicit(&family->series_count, memory_order_relaxed) + 1) * 2 <= old->mask + 1) return true;
  metrics_table *table = table_make((old->mask + 1) * 2);
  if (table == NULL) return false;
  for (metrics_series *series = family->first; series != NULL; series = series->next) table_put(table, series);
  table->previous = old;
  atomic_store_explicit(&family->table, table, memory_order_release);
  return true;
}

static void escape_label(buffer *out, const char *text) {
  for (; *text != '\0'; text++) {
    if (*text == '\n') {
      buffer_text(out, "\\n");
      continue;
    }
    if (*text == '"' || *text == '\\') buffer_char(out, '\\');
    buffer_char(out, *text);
  }
}

static bool series_texts(metrics_series *series, const metrics_family *family, const label_values *values) {
  buffer key = {0}, labels = {0};
  for (size_t i = 0; i < family->label_count; i++) {
    buffer_add(&key, values->items[i], values->sizes[i] + 1);
    if (i > 0) buffer_char(&labels, ',');
    buffer_text(&labels, family->label_names[i]);
    buffer_text(&labels, "=\"");
    escape_label(&labels, values->items[i]);
    buffer_char(&labels, '"');
  }
  buffer_char(&key, '\0');
  buffer_char(&labels, '\0');
  series->key = key.data;
  series->labels = labels.data;
  return !key.failed && !labels.failed;
}

/* Under the lock. */
static metrics_series *series_make(metrics_family *family, const label_values *values) {
  metrics_series *series = calloc(1, sizeof *series);
  if (series == NULL) return NULL;
  series->family = family;
  series->hash = values->hash;
  if (!series_texts(series, family, values) || !table_grow(family)) {
    free(series->key);
    free(series->labels);
    free(series);
    return NULL;
  }
  if (family->last != NULL) {
    family->last->next = series;
  } else {
    family->first = series;
  }
  family->last = series;
  atomic_fetch_add_explicit(&family->series_count, 1, memory_order_relaxed);
  table_put(atomic_load_explicit(&family->table, memory_order_relaxed), series);
  return series;
}

static metrics_series *series_find_or_make(metrics_family *family, const label_values *values) {
  metrics_series *series = table_find(family, values);
  if (series != NULL) return series;
  pthread_mutex_lock(&registry.lock);
  series = table_find(family, values);
  if (series == NULL) series = series_make(family, values);
  pthread_mutex_unlock(&registry.lock);
  return series;
}

/* A combination that is not there yet, or never will be because its family is full or a value is no fit label. */
static metrics_series *series_new(metrics_family *family, const label_values *values) {
  static const char *const others[METRICS_MAX_LABELS + 1] = {"other", "other", "other", "other",
                                                             "other", "other", "other", "other"};
  bool fit = atomic_load_explicit(&family->series_count, memory_order_relaxed) < METRICS_MAX_SERIES;
  for (size_t i = 0; i < values->count && fit; i++) {
    fit = values->sizes[i] <= METRICS_MAX_LABEL_BYTES && text_is_utf8(values->items[i], values->sizes[i]);
  }
  if (fit) return series_find_or_make(family, values);
  label_values other;
  values_read(family, others, &other);
  return series_find_or_make(family, &other);
}

static metrics_family *family_of(const purlin_metric *metric) {
  return metric->state != NULL ? __atomic_load_n(metric->state, __ATOMIC_ACQUIRE) : NULL;
}

metrics_series *metrics_series_of(const purlin_metric *metric, const char *const *labels) {
  metrics_family *family = family_of(metric);
  if (family == NULL) return NULL;
  label_values values;
  values_read(family, labels, &values);
  metrics_series *series = table_find(family, &values);
  return series != NULL ? series : series_new(family, &values);
}

void metrics_series_add(metrics_series *series, double by) {
  if (series == NULL || (by < 0 && series->family->type == PURLIN_METRIC_COUNTER) || isnan(by)) return;
  if (series->family->type == PURLIN_METRIC_HISTOGRAM) return;
  metrics_cell *cell = cell_of(series);
  if (cell != NULL) add_double(&cell->sum_bits, by);
}

void metrics_series_observe(metrics_series *series, double value) {
  if (series == NULL || series->family->type != PURLIN_METRIC_HISTOGRAM || isnan(value)) return;
  metrics_cell *cell = cell_of(series);
  if (cell == NULL) return;
  const metrics_family *family = series->family;
  size_t i = 0;
  while (i < family->bucket_count && value > family->buckets[i]) i++;
  atomic_fetch_add_explicit(&cell->counts[i], 1, memory_order_relaxed);
  add_double(&cell->sum_bits, value);
}

void purlin_metric_add(const purlin_metric *metric, double by, const char *const *labels) {
  metrics_series_add(metrics_series_of(metric, labels), by);
}

void purlin_metric_observe(const purlin_metric *metric, double value, const char *const *labels) {
  metrics_series_observe(metrics_series_of(metric, labels), value);
}

void purlin_metric_set(const purlin_metric *metric, double value, const char *const *labels) {
  metrics_series *series = metrics_series_of(metric, labels);
  if (series == NULL || series->family->type != PURLIN_METRIC_GAUGE) return;
  metrics_cell *cell = cell_of(series);
  if (cell != NULL) atomic_store_explicit(&cell->sum_bits, bits_of(value), memory_order_relaxed);
}

/* ---- Families -------------------------------------------------------------------------------------------------------------- */

static void family_free(metrics_family *family) {
  if (family == NULL) return;
  for (size_t i = 0; i < METRICS_MAX_LABELS; i++) free(family->label_names[i]);
  free(atomic_load_explicit(&family->table, memory_order_relaxed));
  free(family->buckets);
  free(family->name);
  free(family->help);
  free(family);
}

static char *full_name(const char *prefix, const char *name) {
  buffer text = {0};
  buffer_text(&text, "purlin_");
  if (prefix != NULL) {
    for (const char *at = prefix; *at != '\0'; at++) buffer_char(&text, *at == '-' ? '_' : *at);
    buffer_char(&text, '_');
  }
  buffer_text(&text, name);
  buffer_char(&text, '\0');
  if (text.failed) buffer_free(&text);
  return text.data;
}

static bool prefix_ok(const char *prefix) {
  if (prefix == NULL) return true;
  for (const char *at = prefix; *at != '\0'; at++) {
    if (!((*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9') || *at == '-' || *at == '_')) return false;
  }
  return prefix[0] != '\0';
}

static bool family_fill(metrics_family *family, const char *prefix, const purlin_metric *metric) {
  bool own_buckets = metric->bucket_count > 0;
  const double *buckets = own_buckets ? metric->buckets : default_buckets;
  family->type = metric->type;
  family->name = full_name(prefix, metric->name);
  family->help = strdup(metric->help);
  atomic_store_explicit(&family->table, table_make(8), memory_order_relaxed);
  if (family->name == NULL || family->help == NULL || atomic_load_explicit(&family->table, memory_order_relaxed) == NULL) {
    return false;
  }
  if (metric->type != PURLIN_METRIC_HISTOGRAM) return true;
  family->bucket_count = own_buckets ? metric->bucket_count : sizeof default_buckets / sizeof default_buckets[0];
  family->buckets = malloc(family->bucket_count * sizeof(double));
  if (family->buckets == NULL) return false;
  memcpy(family->buckets, buckets, family->bucket_count * sizeof(double));
  return true;
}

/* A family that is not in the registry yet; NULL writes why. */
static metrics_family *family_make(const char *prefix, const purlin_metric *metric, buffer *why) {
  if (!metrics_name_check(metric, why)) return NULL;
  if (!prefix_ok(prefix)) {
    buffer_format(why, "'%s' cannot be part of a metric name", prefix);
    return NULL;
  }
  metrics_family *family = calloc(1, sizeof *family);
  if (family == NULL) return NULL;
  if (!metrics_labels_split(metric->labels, family->label_names, &family->label_count, why)) {
    buffer_format(why, " (in '%s')", metric->name);
    family_free(family);
    return NULL;
  }
  if (!family_fill(family, prefix, metric)) {
    buffer_text(why, "no memory");
    family_free(family);
    return NULL;
  }
  return family;
}

static bool same_shape(const metrics_family *a, const metrics_family *b) {
  if (a->type != b->type || a->label_count != b->label_count || a->bucket_count != b->bucket_count) return false;
  for (size_t i = 0; i < a->label_count; i++) {
    if (strcmp(a->label_names[i], b->label_names[i]) != 0) return false;
  }
  for (size_t i = 0; i < a->bucket_count; i++) {
    if (a->buckets[i] < b->buckets[i] || a->buckets[i] > b->buckets[i]) return false;
  }
  return true;
}

/* Under the lock: where a family of this name is, or belongs. */
static metrics_family **family_place(const char *name) {
  metrics_family **place = &registry.families;
  while (*place != NULL && strcmp((*place)->name, name) < 0) place = &(*place)->next;
  return place;
}

/* Under the lock. Takes `family`: puts it in, or frees it in favour of the one that is there. NULL: the shapes differ. */
static metrics_family *family_settle(metrics_family *family) {
  metrics_family **place = family_place(family->name);
  metrics_family *there = *place;
  if (there == NULL || strcmp(there->name, family->name) != 0) {
    family->next = there;
    *place = family;
    return family;
  }
  bool same = same_shape(there, family);
  family_free(family);
  return same ? there : NULL;
}

static purlin_status family_register(const char *prefix, const purlin_metric *metric, double (*read)(void *),
                                     void *argument, buffer *why) {
  metrics_family *family = family_make(prefix, metric, why);
  if (family == NULL) return PURLIN_INVALID;
  pthread_mutex_lock(&registry.lock);
  family = family_settle(family);
  if (family != NULL) {
    family->read = read;
    family->read_argument = argument;
    /* One without labels is shown from the start, as 0. */
    label_values none = {.hash = 0};
    if (family->label_count == 0 && read == NULL && family->first == NULL) (void)series_make(family, &none);
  }
  pthread_mutex_unlock(&registry.lock);
  if (family == NULL) {
    buffer_format(why, "'%s' is registered already with another type, other labels or other buckets", metric->name);
    return PURLIN_CONFLICT;
  }
  if (metric->state != NULL) __atomic_store_n(metric->state, family, __ATOMIC_RELEASE);
  return PURLIN_OK;
}

purlin_status metrics_register(const char *prefix, const purlin_metric *metric, buffer *why) {
  return family_register(prefix, metric, NULL, NULL, why);
}

purlin_status metrics_register_read(const purlin_metric *metric, double (*read)(void *argument), void *argument) {
  if (metric->labels != NULL || metric->type == PURLIN_METRIC_HISTOGRAM) return PURLIN_INVALID;
  buffer why = {0};
  purlin_status status = family_register(NULL, metric, read, argument, &why);
  buffer_free(&why);
  return status;
}

extern const purlin_declaration *const __start_purlin_declared[] __attribute__((weak, visibility("hidden")));
extern const purlin_declaration *const __stop_purlin_declared[] __attribute__((weak, visibility("hidden")));

purlin_status metrics_register_own(void) {
  purlin_status worst = PURLIN_OK;
  // cppcheck-suppress comparePointers ; the linker puts both at the ends of one section
  for (const purlin_declaration *const *at = __start_purlin_declared; at < __stop_purlin_declared; at++) {
    if (*at == NULL || (*at)->kind != PURLIN_KIND_METRIC) continue;
    buffer why = {0};
    purlin_status status = metrics_register(NULL, (const purlin_metric *)(const void *)*at, &why);
    buffer_free(&why);
    if (status != PURLIN_OK) worst = status;
  }
  return worst;
}

void metrics_each(void (*visit)(void *to, const metrics_family *family), void *to) {
  pthread_mutex_lock(&registry.lock);
  for (const metrics_family *family = registry.families; family != NULL; family = family->next) visit(to, family);
  pthread_mutex_unlock(&registry.lock);
}

static double family_value(const metrics_family *family) {
  if (family->read != NULL) return family->read(family->read_argument);
  double sum = 0;
  for (const metrics_series *series = family->first; series != NULL; series = series->next) {
    if (family->type != PURLIN_METRIC_HISTOGRAM) {
      sum += metrics_series_value(series);
      continue;
    }
    uint64_t counts[METRICS_MAX_BUCKETS + 1];
    (void)metrics_series_counts(series, counts);
    for (size_t i = 0; i <= family->bucket_count; i++) sum += (double)counts[i];
  }
  return sum;
}

double metrics_value(const char *name) {
  pthread_mutex_lock(&registry.lock);
  const metrics_family *family = *family_place(name);
  double value = family != NULL && strcmp(family->name, name) == 0 ? family_value(family) : (double)NAN;
  pthread_mutex_unlock(&registry.lock);
  return value;
}
