/* statistics.h: how far a window of values is from a profile. Plain arithmetic; knows nothing of Purlin.
 *
 * A profile is what a training set leaves behind of a column: its percentiles 0 to 100. Between two percentiles the distribution is taken
 * as straight; a value that fills several percentiles is taken as an atom there. Values are compared as floats, as models see them. */
#ifndef DRIFT_STATISTICS_H
#define DRIFT_STATISTICS_H

#include <stddef.h>

enum { STATISTICS_PERCENTILES = 101, STATISTICS_MOST_BINS = 19 };

/* PSI's smoothing: a share p of k bins becomes (p + e) / (1 + e k), so that empty bins have a logarithm. */
#define STATISTICS_SMOOTHING 0.001

/* The bins [edge, next edge) of a profile, below the first and from the last edge included, and the share of the profile in each. */
typedef struct statistics_bins {
  size_t count; /* bins: one more than edges */
  float edges[STATISTICS_MOST_BINS - 1];
  double shares[STATISTICS_MOST_BINS];
} statistics_bins;

/* The deciles are the edges. A value that fills two or more deciles gets a bin of its own: without it a column that was constant has one
 * bin "at or above", and a move upward is invisible. `percentiles` are ascending. */
void statistics_bins_of(const double percentiles[STATISTICS_PERCENTILES], statistics_bins *out);

/* The population stability index of the window against the profile; 0: alike. NaN (missing) values are left out; 0 without any other. */
double statistics_psi(const statistics_bins *bins, const float *window, size_t count);

/* The greatest distance between the two cumulative distributions, 0 to 1. Sorts the window; it may hold no NaN. */
double statistics_ks(const double percentiles[STATISTICS_PERCENTILES], float *window, size_t count);

#endif
