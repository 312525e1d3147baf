#include "observe/metrics_parts.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Words that a name may not hold: units that are not base units, and types. promtool complains of the same. */
static const char *const refused_words[] = {
    "ms",      "us",          "ns",      "milliseconds", "microseconds", "nanoseconds", "minutes",   "hours",
    "days",    "weeks",       "bits",    "kb",           "mb",           "kilobytes",   "megabytes", "gigabytes",
    "percent", "millimeters", "celsius", "counter",      "gauge",        "histogram",   "summary"};

static bool name_char(char c, bool first) { return c == '_' || (c >= 'a' && c <= 'z') || (!first && c >= '0' && c <= '9'); }

static bool name_ok(const char *name, size_t size) {
  if (size == 0 || size > 128) return false;
  for (size_t i = 0; i < size; i++) {
    if (!name_char(name[i], i == 0)) return false;
  }
  return true;
}

static bool ends_with(const char *name, const char *end) {
  size_t size = strlen(name), end_size = strlen(end);
  return size > end_size && strcmp(name + size - end_size, end) == 0;
}

static const char *refused_word(const char *name) {
  for (size_t i = 0; i < sizeof refused_words / sizeof refused_words[0]; i++) {
    const char *word = refused_words[i];
    size_t size = strlen(word);
    for (const char *at = strstr(name, word); at != NULL; at = strstr(at + 1, word)) {
      if ((at == name || at[-1] == '_') && (at[size] == '\0' || at[size] == '_')) return word;
    }
  }
  return NULL;
}

static bool suffix_check(const purlin_metric *metric, buffer *why) {
  bool total = ends_with(metric->name, "_total");
  if (metric->type == PURLIN_METRIC_COUNTER && !total) {
    buffer_format(why, "the counter '%s' must end in _total", metric->name);
    return false;
  }
  if (metric->type != PURLIN_METRIC_COUNTER && total) {
    buffer_format(why, "'%s' ends in _total and is no counter", metric->name);
    return false;
  }
  if (ends_with(metric->name, "_count") || ends_with(metric->name, "_sum") || ends_with(metric->name, "_bucket") ||
      ends_with(metric->name, "_info")) {
    buffer_format(why, "'%s' ends in a word that the exposition itself adds (_count, _sum, _bucket, _info)", metric->name);
    return false;
  }
  return true;
}

static bool buckets_check(const purlin_metric *metric, buffer *why) {
  if (metric->type != PURLIN_METRIC_HISTOGRAM) return true;
  if (metric->bucket_count > METRICS_MAX_BUCKETS || (metric->bucket_count > 0) != (metric->buckets != NULL)) {
    buffer_format(why, "'%s' needs 1 to %d buckets, or none for the default", metric->name, METRICS_MAX_BUCKETS);
    return false;
  }
  for (uint32_t i = 0; i < metric->bucket_count; i++) {
    double bound = metric->buckets[i];
    if (bound - bound != 0 || (i > 0 && bound <= metric->buckets[i - 1])) {
      buffer_format(why, "the buckets of '%s' must be finite and ascending", metric->name);
      return false;
    }
  }
  return true;
}

bool metrics_name_check(const purlin_metric *metric, buffer *why) {
  if (metric->declared.size < sizeof(purlin_metric) || metric->name == NULL) {
    buffer_text(why, "the declaration of a metric is too short");
    return false;
  }
  if (!name_ok(metric->name, strlen(metric->name))) {
    buffer_format(why, "'%s' is no metric name: lower-case letters, digits and _", metric->name);
    return false;
  }
  if (metric->type < PURLIN_METRIC_COUNTER || metric->type > PURLIN_METRIC_HISTOGRAM) {
    buffer_format(why, "'%s' has no known type", metric->name);
    return false;
  }
  if (metric->help == NULL || metric->help[0] == '\0') {
    buffer_format(why, "'%s' has no help text", metric->name);
    return false;
  }
  const char *word = refused_word(metric->name);
  if (word != NULL) {
    buffer_format(why, "'%s' holds '%s': use base units (seconds, bytes, ratio) and leave the type out", metric->name,
                  word);
    return false;
  }
  return suffix_check(metric, why) && buckets_check(metric, why);
}

static bool label_check(const char *name, size_t size, char *const *earlier, size_t count, buffer *why) {
  bool reserved = (size == 2 && memcmp(name, "le", 2) == 0) || (size == 8 && memcmp(name, "quantile", 8) == 0) ||
                  (size >= 2 && memcmp(name, "__", 2) == 0);
  if (!name_ok(name, size) || reserved) {
    buffer_format(why, "'%.*s' is no label name: lower-case letters, digits and _; not le, quantile or __...", (int)size,
                  name);
    return false;
  }
  for (size_t i = 0; i < count; i++) {
    if (strlen(earlier[i]) == size && memcmp(earlier[i], name, size) == 0) {
      buffer_format(why, "the label '%.*s' is there twice", (int)size, name);
      return false;
    }
  }
  return true;
}

bool metrics_labels_split(const char *labels, char *names[METRICS_MAX_LABELS], size_t *count, buffer *why) {
  *count = 0;
  if (labels == NULL) return true;
  const char *at = labels;
  for (bool more = true; more;) {
    const char *comma = strchr(at, ',');
    const char *end = comma != NULL ? comma : at + strlen(at);
    more = comma != NULL;
    while (at < end && *at == ' ') at++;
    size_t size = (size_t)(end - at);
    while (size > 0 && at[size - 1] == ' ') size--;
    if (*count == METRICS_MAX_LABELS) {
      buffer_format(why, "more than %d labels", METRICS_MAX_LABELS);
      return false;
    }
    if (!label_check(at, size, names, *count, why)) return false;
    names[*count] = strndup(at, size);
    if (names[*count] == NULL) {
      buffer_text(why, "no memory");
      return false;
    }
    *count += 1;
    at = end + 1;
  }
  return true;
}
