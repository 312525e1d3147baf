/* client.h: the inside of <purlin/http.h>: one curl multi handle per loop, driven by uv_poll and one timer; circuit breakers
 * per origin; counters. */
#ifndef PURLIN_CLIENT_CLIENT_H
#define PURLIN_CLIENT_CLIENT_H

#include <purlin/http.h>

typedef struct client_options {
  uint32_t connect_timeout_ms;    /* 5 s */
  size_t max_per_origin;          /* connections per loop and origin: 32 */
  size_t max_in_flight;           /* calls per loop: 1,000; more are PURLIN_UNAVAILABLE */
  uint32_t breaker_failures;      /* in a row that open a breaker: 5 */
  uint32_t breaker_open_ms;       /* then one trial call is let through: 10 s */
  const char *user_agent;         /* "purlin/VERSION" */
} client_options;

void client_options_default(client_options *options);
PURLIN_CHECKED purlin_status client_start(const client_options *options); /* once per process, after loops_create */
void client_stop(void);        /* calls in flight end with PURLIN_CANCELLED */
/* Opens a breaker's state for tests and for `purlin status`: "closed", "open", "half-open". */
const char *client_breaker_state(const char *url);

#endif
