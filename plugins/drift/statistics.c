#include "statistics.h"
#include <math.h>
#include <stdlib.h>

enum { LAST = STATISTICS_PERCENTILES - 1, DECILES = 9 };

/* How many percentiles are below x (`or_at`: or equal to it). */
static size_t count_below(const double *percentiles, float x, int or_at) {
  size_t low = 0, high = STATISTICS_PERCENTILES;
  while (low < high) {
    size_t middle = (low + high) / 2;
    float at = (float)percentiles[middle];
    if (at < x || (or_at && at <= x)) low = middle + 1;
    else high = middle;
  }
  return low;
}

static double between(const double *percentiles, size_t after,
                      float x) { /* x lies strictly between percentile after-1 and after */
  double from = (double)(float)percentiles[after - 1], to = (double)(float)percentiles[after];
  return ((double)(after - 1) + ((double)x - from) / (to - from)) / (double)LAST;
}

/* The share of the profile below x. Where x is an atom, its first percentile says the share but for less than one hundredth: take the
 * middle of that. */
static double share_below(const double *percentiles, float x) {
  size_t below = count_below(percentiles, x, 0), to = count_below(percentiles, x, 1);
  if (below == 0) return 0;
  if (below == STATISTICS_PERCENTILES) return 1;
  if (to == below) return between(percentiles, below, x);
  return to - below > 1 ? ((double)below - 0.5) / (double)LAST : (double)below / (double)LAST;
}

static double share_to(const double *percentiles, float x) {
  size_t below = count_below(percentiles, x, 0), to = count_below(percentiles, x, 1);
  if (to == 0) return 0;
  if (to == STATISTICS_PERCENTILES) return 1;
  if (to == below) return between(percentiles, to, x);
  return to - below > 1 ? ((double)to - 0.5) / (double)LAST : (double)below / (double)LAST;
}

static size_t bin_of(const statistics_bins *bins, float x) {
  size_t bin = 0;
  while (bin + 1 < bins->count && x >= bins->edges[bin]) bin++;
  return bin;
}

void statistics_bins_of(const double percentiles[STATISTICS_PERCENTILES], statistics_bins *out) {
  size_t edges = 0;
  double up_to[STATISTICS_MOST_BINS]; /* the share of the profile below each edge */
  for (size_t i = 1; i <= DECILES;) {
    float edge = (float)percentiles[i * 10];
    size_t next = i + 1;
    while (next <= DECILES && (float)percentiles[next * 10] <= edge) next++;
    up_to[edges] = share_below(percentiles, edge);
    out->edges[edges++] = edge;
    if (next - i > 1) {
      up_to[edges] = share_to(percentiles, edge);
      out->edges[edges++] = nextafterf(edge, INFINITY);
    }
    i = next;
  }
  out->count = edges + 1;
  up_to[edges] = 1;
  for (size_t i = 0; i <= edges; i++) out->shares[i] = i == 0 ? up_to[0] : up_to[i] - up_to[i - 1];
}

double statistics_psi(const statistics_bins *bins, const float *window, size_t count) {
  size_t counts[STATISTICS_MOST_BINS] = {0}, known = 0;
  for (size_t i = 0; i < count; i++) {
    if (isnan(window[i])) continue;
    counts[bin_of(bins, window[i])]++;
    known++;
  }
  if (known == 0) return 0;
  double sum = 0, whole = 1 + STATISTICS_SMOOTHING * (double)bins->count;
  for (size_t i = 0; i < bins->count; i++) {
    double expected = (bins->shares[i] + STATISTICS_SMOOTHING) / whole;
    double seen = ((double)counts[i] / (double)known + STATISTICS_SMOOTHING) / whole;
    sum += (seen - expected) * log(seen / expected);
  }
  return sum;
}

static int by_value(const void *left, const void *right) {
  float a = *(const float *)left, b = *(const float *)right;
  return (a > b) - (a < b);
}

/* Both steps at x: just below it and at it. */
static double distance(const double *percentiles, float x, double window_below, double window_to) {
  double below = fabs(share_below(percentiles, x) - window_below), to = fabs(share_to(percentiles, x) - window_to);
  return below > to ? below : to;
}

static size_t window_count(const float *window, size_t count, float x, int or_at) {
  size_t low = 0, high = count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (window[middle] < x || (or_at && window[middle] <= x)) low = middle + 1;
    else high = middle;
  }
  return low;
}

double statistics_ks(const double percentiles[STATISTICS_PERCENTILES], float *window, size_t count) {
  if (count == 0) return 0;
  qsort(window, count, sizeof *window, by_value);
  double most = 0, rows = (double)count;
  for (size_t i = 0; i < count;) {
    size_t next = i + 1;
    while (next < count && window[next] <= window[i]) next++;
    most = fmax(most, distance(percentiles, window[i], (double)i / rows, (double)next / rows));
    i = next;
  }
  for (size_t i = 0; i < STATISTICS_PERCENTILES; i++) { /* an atom of the profile that the window has nothing of */
    float x = (float)percentiles[i];
    most = fmax(most, distance(percentiles, x, (double)window_count(window, count, x, 0) / rows,
                               (double)window_count(window, count, x, 1) / rows));
  }
  return most;
}
