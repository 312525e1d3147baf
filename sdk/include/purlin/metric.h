/* metric.h: numbers for Prometheus, at /metrics.
 *
 *   PURLIN_COUNTER(predictions_total, "Predictions answered", "endpoint, outcome");
 *   ...
 *   purlin_count(predictions_total, 1, endpoint, "ok");
 *
 * The full name is purlin_PLUGIN_NAME ('-' becomes '_'). Follow Prometheus' rules: base units, `_total` on counters only.
 * Each family keeps at most 2,000 combinations of labels; further ones are counted under "other".
 *
 * Since 0.1 unless a comment says otherwise; base.h says what else holds everywhere. */
#ifndef PURLIN_METRIC_H
#define PURLIN_METRIC_H

#include <purlin/base.h>

PURLIN_BEGIN

typedef enum purlin_metric_type {
  PURLIN_METRIC_COUNTER = 1,
  PURLIN_METRIC_GAUGE,
  PURLIN_METRIC_HISTOGRAM
} purlin_metric_type;

typedef struct purlin_metric {
  purlin_declaration declared;
  const char *name, *help;
  const char *labels; /* "endpoint, outcome", or NULL */
  purlin_metric_type type;
  const double *buckets; /* of a histogram: upper bounds, ascending; NULL: 50 us to 10 s, for seconds */
  uint32_t bucket_count;
  void **state; /* the host's, filled in when the plugin is loaded */
} purlin_metric;

#define PURLIN_METRIC_(name_, help_, labels_, type_)                                                                       \
  static void *name_##_state_;                                                                                             \
  static const purlin_metric name_##_metric = {                                                                            \
      PURLIN_HEAD_(purlin_metric, PURLIN_KIND_METRIC), #name_, help_, labels_, type_, NULL, 0, &name_##_state_};           \
  PURLIN_DECLARE_(name_##_metric)

#define PURLIN_COUNTER(name, help, labels) PURLIN_METRIC_(name, help, labels, PURLIN_METRIC_COUNTER)
#define PURLIN_GAUGE(name, help, labels) PURLIN_METRIC_(name, help, labels, PURLIN_METRIC_GAUGE)
#define PURLIN_HISTOGRAM(name, help, labels) PURLIN_METRIC_(name, help, labels, PURLIN_METRIC_HISTOGRAM)

/* Adds to a counter (or gauge), sets a gauge, observes a value in a histogram. The label values follow in the order of the
 * declaration, each a text; missing ones count as "". Any thread; never parks; a few tens of nanoseconds. Before the host
 * has registered the metric, nothing happens. */
#define purlin_count(metric, by, ...) purlin_metric_add(&metric##_metric, (by), PURLIN_LABELS_(__VA_ARGS__))
#define purlin_gauge(metric, value, ...) purlin_metric_set(&metric##_metric, (value), PURLIN_LABELS_(__VA_ARGS__))
#define purlin_observe(metric, value, ...) purlin_metric_observe(&metric##_metric, (value), PURLIN_LABELS_(__VA_ARGS__))
/* For metrics without labels: purlin_count(restarts_total, 1, PURLIN_NO_LABELS). */
#define PURLIN_NO_LABELS ((const char *)NULL)

#ifdef __cplusplus
PURLIN_END
namespace purlin_detail {
template <class... T> struct labels {
  const char *items[sizeof...(T) + 1];
  labels(T... t) : items{t..., nullptr} {}
};
} // namespace purlin_detail
PURLIN_BEGIN
#define PURLIN_LABELS_(...) (purlin_detail::labels{__VA_ARGS__}.items)
#else
#define PURLIN_LABELS_(...) ((const char *const[]){__VA_ARGS__, NULL})
#endif

/* What the macros call. `labels` is borrowed and ends with NULL. */
PURLIN_API void purlin_metric_add(const purlin_metric *metric, double by, const char *const *labels);
PURLIN_API void purlin_metric_set(const purlin_metric *metric, double value, const char *const *labels);
PURLIN_API void purlin_metric_observe(const purlin_metric *metric, double value, const char *const *labels);

PURLIN_END

#endif
