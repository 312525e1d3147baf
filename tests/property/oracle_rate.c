/* Answers what rate_count says, for the property tests: each line of standard input is a rule and moments,
 * "REQUESTS SECONDS BURST COUNT NS NS ...", each counted for a key of its own; each line of the answer has for each moment
 * "ALLOWED REMAINING RETRY_NS FULL_NS". */
#include "access/rate.h"
#include <inttypes.h>
#include <stdio.h>

int main(void) {
  rate_rule rule = {.name = "asked", .per = "actor", .operations = "*", .requests = 1, .seconds = 1};
  const rates_settings settings = {.rules = {&rule, 1}};
  uint64_t key = 0, now_ns;
  size_t count;
  if (rates_start(&settings) != PURLIN_OK) return 1;
  while (scanf("%" SCNd64 " %" SCNd64 " %" SCNd64 " %zu", &rule.requests, &rule.seconds, &rule.burst, &count) == 4) {
    key += UINT64_C(0x9e3779b97f4a7c15);
    for (size_t i = 0; i < count; i++) {
      if (scanf("%" SCNu64, &now_ns) != 1) return 2;
      rate_outcome found = rate_count(key | 1, &rule, now_ns);
      (void)printf("%d %" PRId64 " %" PRIu64 " %" PRIu64 " ", found.allowed, found.remaining, found.retry_ns,
                   found.full_ns);
    }
    (void)puts("");
    (void)fflush(stdout);
  }
  rates_end();
  return 0;
}
