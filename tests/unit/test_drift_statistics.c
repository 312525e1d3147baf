#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include "statistics.h"

enum { WINDOW = 1000 };

#define assert_near(value, expected, tolerance) assert_true(fabs((value) - (expected)) <= (tolerance))

/* 0, 0.01 ... 1: uniform. */
static void uniform(double *percentiles) {
  for (int i = 0; i < STATISTICS_PERCENTILES; i++) percentiles[i] = i / 100.0;
}

static void constant(double *percentiles, double value) {
  for (int i = 0; i < STATISTICS_PERCENTILES; i++) percentiles[i] = value;
}

static void spread(float *window, double from, double to) {
  for (int i = 0; i < WINDOW; i++) window[i] = (float)(from + (to - from) * (i + 0.5) / (double)WINDOW);
}

static void test_bins_are_deciles(void **state) {
  (void)state;
  double percentiles[STATISTICS_PERCENTILES];
  uniform(percentiles);
  statistics_bins bins;
  statistics_bins_of(percentiles, &bins);
  assert_int_equal(bins.count, 10);
  for (size_t i = 0; i < bins.count; i++) assert_near(bins.shares[i], 0.1, 1e-6);
  assert_near((double)bins.edges[0], 0.1, 1e-6);
  assert_near((double)bins.edges[8], 0.9, 1e-6);
}

static void test_a_constant_has_a_bin_of_its_own(void **state) {
  (void)state;
  double percentiles[STATISTICS_PERCENTILES];
  constant(percentiles, 0.5);
  statistics_bins bins;
  statistics_bins_of(percentiles, &bins);
  assert_int_equal(bins.count, 3);
  assert_near(bins.shares[0], 0, 1e-12);
  assert_near(bins.shares[1], 1, 1e-12);
  assert_near(bins.shares[2], 0, 1e-12);
  float window[WINDOW];
  spread(window, 0.5, 0.5);
  assert_near(statistics_psi(&bins, window, WINDOW), 0, 1e-12);
  for (int i = 0; i < WINDOW / 2; i++) window[i] = 0.7f; /* upward: in the last bin */
  assert_true(statistics_psi(&bins, window, WINDOW) > 2);
  for (int i = 0; i < WINDOW / 2; i++) window[i] = 0.3f;
  assert_true(statistics_psi(&bins, window, WINDOW) > 2);
}

static void test_an_atom_among_other_values(void **state) { /* 0 until the 60th percentile, then up to 1 */
  (void)state;
  double percentiles[STATISTICS_PERCENTILES];
  for (int i = 0; i < STATISTICS_PERCENTILES; i++) percentiles[i] = i <= 60 ? 0 : (i - 60) / 40.0;
  statistics_bins bins;
  statistics_bins_of(percentiles, &bins);
  assert_int_equal(bins.count, 6); /* below 0, 0, up to 0.25, 0.5, 0.75, above */
  assert_near(bins.shares[0], 0, 1e-12);
  assert_near(bins.shares[1], 0.605, 1e-6);
  assert_near(bins.shares[5], 0.1, 1e-6);
  double sum = 0;
  for (size_t i = 0; i < bins.count; i++) sum += bins.shares[i];
  assert_near(sum, 1, 1e-12);
}

static void test_psi_by_hand(void **state) {
  (void)state;
  double percentiles[STATISTICS_PERCENTILES];
  uniform(percentiles);
  statistics_bins bins;
  statistics_bins_of(percentiles, &bins);
  float window[WINDOW];
  spread(window, 0, 1);
  assert_near(statistics_psi(&bins, window, WINDOW), 0, 1e-9);
  spread(window, 0, 0.5); /* five bins with 0.2 each, five empty */
  double e = STATISTICS_SMOOTHING, whole = 1 + 10 * e, expected = (0.1 + e) / whole, full = (0.2 + e) / whole,
         none = e / whole;
  double by_hand = 5 * (full - expected) * log(full / expected) + 5 * (none - expected) * log(none / expected);
  assert_near(statistics_psi(&bins, window, WINDOW), by_hand, 1e-9);
}

static void test_missing_values_do_not_count(void **state) {
  (void)state;
  double percentiles[STATISTICS_PERCENTILES];
  uniform(percentiles);
  statistics_bins bins;
  statistics_bins_of(percentiles, &bins);
  float window[2 * WINDOW];
  spread(window, 0.2, 0.9);
  double without = statistics_psi(&bins, window, WINDOW);
  for (int i = WINDOW; i < 2 * WINDOW; i++) window[i] = NAN;
  assert_near(statistics_psi(&bins, window, 2 * WINDOW), without, 1e-12);
  assert_near(statistics_psi(&bins, window + WINDOW, WINDOW), 0, 0);
  assert_near(statistics_psi(&bins, window, 0), 0, 0);
}

static void test_ks_of_known_distances(void **state) {
  (void)state;
  double percentiles[STATISTICS_PERCENTILES];
  uniform(percentiles);
  float window[WINDOW];
  spread(window, 0, 1);
  assert_near(statistics_ks(percentiles, window, WINDOW), 0, 0.001);
  spread(window, 0.3, 1.3); /* shifted by 0.3 */
  assert_near(statistics_ks(percentiles, window, WINDOW), 0.3, 0.001);
  spread(window, 2, 3);
  assert_near(statistics_ks(percentiles, window, WINDOW), 1, 1e-12);
  assert_near(statistics_ks(percentiles, window, 0), 0, 0);
}

static void test_ks_sorts_and_sees_atoms(void **state) {
  (void)state;
  double percentiles[STATISTICS_PERCENTILES];
  constant(percentiles, 0.5);
  float window[4] = {0.9f, 0.5f, 0.1f, 0.5f};
  assert_near(statistics_ks(percentiles, window, 4), 0.25, 1e-12);
  assert_true(window[0] < window[1] && window[2] < window[3]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_bins_are_deciles),
      cmocka_unit_test(test_a_constant_has_a_bin_of_its_own),
      cmocka_unit_test(test_an_atom_among_other_values),
      cmocka_unit_test(test_psi_by_hand),
      cmocka_unit_test(test_missing_values_do_not_count),
      cmocka_unit_test(test_ks_of_known_distances),
      cmocka_unit_test(test_ks_sorts_and_sees_atoms),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
