/* The text at /metrics, in both of its formats. */
#include "observe/metrics_parts.h"

#include <math.h>
#include <string.h>

static const char *const type_names[] = {
    [PURLIN_METRIC_COUNTER] = "counter", [PURLIN_METRIC_GAUGE] = "gauge", [PURLIN_METRIC_HISTOGRAM] = "histogram"};

typedef struct render {
  buffer *out;
  bool open; /* OpenMetrics */
} render;

static void help_escape(buffer *out, const char *text, bool open) {
  for (; *text != '\0'; text++) {
    if (*text == '\n') {
      buffer_text(out, "\\n");
      continue;
    }
    if (*text == '\\' || (open && *text == '"')) buffer_char(out, '\\');
    buffer_char(out, *text);
  }
}

void metrics_render_head(buffer *out, bool open, const char *name, const char *help, purlin_metric_type type) {
  size_t size = strlen(name), total = strlen("_total");
  if (open && type == PURLIN_METRIC_COUNTER && size > total) size -= total;
  buffer_text(out, "# HELP ");
  buffer_add(out, name, size);
  buffer_char(out, ' ');
  help_escape(out, help, open);
  buffer_text(out, "\n# TYPE ");
  buffer_add(out, name, size);
  buffer_char(out, ' ');
  buffer_text(out, type_names[type]);
  buffer_char(out, '\n');
}

void metrics_render_value(buffer *out, double value) {
  if (isfinite(value)) {
    buffer_double(out, value);
  } else {
    buffer_text(out, isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
  }
}

/* NAME_SUFFIX{LABELS,le="BOUND"} without the value. `bound` NULL: no such label. */
static void sample_name(const render *r, const metrics_family *family, const char *suffix, const char *labels,
                        const double *bound) {
  buffer *out = r->out;
  buffer_text(out, family->name);
  buffer_text(out, suffix);
  if (labels[0] == '\0' && bound == NULL) {
    buffer_char(out, ' ');
    return;
  }
  buffer_char(out, '{');
  buffer_text(out, labels);
  if (bound != NULL) {
    if (labels[0] != '\0') buffer_char(out, ',');
    buffer_text(out, "le=\"");
    size_t start = out->size;
    metrics_render_value(out, *bound);
    /* OpenMetrics writes whole bounds as 1.0. */
    bool whole = !out->failed && isfinite(*bound) && memchr(out->data + start, '.', out->size - start) == NULL &&
                 memchr(out->data + start, 'e', out->size - start) == NULL;
    if (r->open && whole) buffer_text(out, ".0");
    buffer_char(out, '"');
  }
  buffer_text(out, "} ");
}

static void render_histogram(const render *r, const metrics_family *family, const metrics_series *series) {
  uint64_t counts[METRICS_MAX_BUCKETS + 1], total = 0;
  double sum = metrics_series_counts(series, counts);
  for (size_t i = 0; i <= family->bucket_count; i++) {
    double bound = i < family->bucket_count ? family->buckets[i] : (double)INFINITY;
    total += counts[i];
    sample_name(r, family, "_bucket", series->labels, &bound);
    buffer_uint(r->out, total);
    buffer_char(r->out, '\n');
  }
  sample_name(r, family, "_sum", series->labels, NULL);
  metrics_render_value(r->out, sum);
  buffer_char(r->out, '\n');
  sample_name(r, family, "_count", series->labels, NULL);
  buffer_uint(r->out, total);
  buffer_char(r->out, '\n');
}

static void render_single(const render *r, const metrics_family *family, const char *labels, double value) {
  sample_name(r, family, "", labels, NULL);
  metrics_render_value(r->out, value);
  buffer_char(r->out, '\n');
}

static void render_family(void *to, const metrics_family *family) {
  const render *r = to;
  if (family->read == NULL && family->first == NULL) return; /* nothing was counted yet */
  metrics_render_head(r->out, r->open, family->name, family->help, family->type);
  if (family->read != NULL) {
    render_single(r, family, "", family->read(family->read_argument));
    return;
  }
  for (const metrics_series *series = family->first; series != NULL; series = series->next) {
    if (family->type == PURLIN_METRIC_HISTOGRAM) {
      render_histogram(r, family, series);
    } else {
      render_single(r, family, series->labels, metrics_series_value(series));
    }
  }
}

static void render_all(buffer *out, bool open) {
  render r = {out, open};
  metrics_render_process(out, open);
  metrics_render_head(out, open, "purlin_build_info", "The running release", PURLIN_METRIC_GAUGE);
  buffer_text(out, "purlin_build_info{version=\"" PURLIN_VERSION "\"} 1\n");
  metrics_each(render_family, &r);
}

void metrics_render(buffer *out) { render_all(out, false); }

void metrics_render_open(buffer *out) {
  render_all(out, true);
  buffer_text(out, "# EOF\n");
}
