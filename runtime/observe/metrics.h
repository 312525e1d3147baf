/* metrics.h: the registry behind <purlin/metric.h>, and its text at /metrics.
 *
 * Values are kept per thread slot (cache-line apart) with relaxed atomics and summed when read. */
#ifndef PURLIN_OBSERVE_METRICS_H
#define PURLIN_OBSERVE_METRICS_H

#include <purlin/metric.h>
#include "core/buffer.h"

/* Registers a family under "purlin_PREFIX_NAME" ("purlin_NAME" when prefix is NULL: the runtime's own). Names are checked
 * against Prometheus' rules; registering the same full name again with the same shape gives the same family (reload).
 * PURLIN_CONFLICT when shapes differ, PURLIN_INVALID for a bad name; `why` gets the message. */
PURLIN_CHECKED purlin_status metrics_register(const char *prefix, const purlin_metric *metric, buffer *why);
/* Values that are read when asked: queue lengths, pool sizes; no labels, no histogram. `read` is called on the thread that
 * renders, under the registry's lock: it may not use the registry. Registering again replaces it; NULL ends it, and it is
 * not called any more when this returns. */
PURLIN_CHECKED purlin_status metrics_register_read(const purlin_metric *metric, double (*read)(void *argument),
                                                   void *argument);
/* Families declared in the runtime itself with PURLIN_COUNTER etc. are found in this library's own section. */
PURLIN_CHECKED purlin_status metrics_register_own(void);

/* A handle for hot paths: resolves the labels once; add is then one atomic operation. Valid for the process's life. The
 * labels may end early with a NULL, the missing ones are "". NULL before registration; the calls below ignore a NULL. */
typedef struct metrics_series metrics_series;
metrics_series *metrics_series_of(const purlin_metric *metric, const char *const *labels);
void metrics_series_add(metrics_series *series, double by); /* counters (by >= 0) and gauges */
void metrics_series_observe(metrics_series *series, double value);

/* Process metrics (CPU seconds, resident bytes, descriptors, start time) are included. */
void metrics_render(buffer *out);      /* text 0.0.4 */
void metrics_render_open(buffer *out); /* OpenMetrics 1.0 */
/* For tests and the demonstration: the sum of a family over all labels (of a histogram, the number of observations); NAN
 * when unknown. */
double metrics_value(const char *full_name);

#endif
