/* client.h: the inside of <purlin/http.h>: one curl multi handle per loop, driven by uv_poll and one timer; circuit breakers
 * per origin, shared by the process; counters.
 *
 * An attempt that gets no connection, loses it, times out or is answered 502 to 504 is a failure of its origin. HTTP/1.1
 * only. Proxies are those of the environment (https_proxy, no_proxy), where that is wanted, and never for loopback. Files are read and written on the
 * loop, in pieces of 64 KiB. */
#ifndef PURLIN_CLIENT_CLIENT_H
#define PURLIN_CLIENT_CLIENT_H

#include <purlin/http.h>

typedef struct client_options {
  uint32_t connect_timeout_ms; /* 5 s */
  size_t max_per_origin;       /* connections per loop and origin: 32; more calls wait */
  size_t max_in_flight;        /* calls per loop: 1,000; more are PURLIN_UNAVAILABLE */
  uint32_t breaker_failures;   /* in a row that open a breaker: 5 */
  uint32_t breaker_open_ms;    /* then one trial call is let through: 10 s */
  /* Behind a proxy it is the proxy that resolves names and connects: what is judged here (outbound.h) are only the proxy's own address
   * and hosts that are written as addresses. So not unless the operator says that the proxy may judge: false. */
  bool environment_proxies;
  const char *user_agent; /* "purlin/VERSION"; borrowed while the client runs */
} client_options;

void client_options_default(client_options *options);
/* Once per process, after loops_create. Errors: PURLIN_CONFLICT (started already), PURLIN_INVALID, PURLIN_UNAVAILABLE. */
PURLIN_CHECKED purlin_status client_start(const client_options *options);
/* From any thread, while the loops still run: returns at once; each loop then ends its calls with PURLIN_CANCELLED and
 * closes its connections. Further calls are PURLIN_UNAVAILABLE. */
void client_stop(void);
/* The state of an origin's breaker, for tests and for `purlin status`: "closed", "open", "half-open". */
const char *client_breaker_state(const char *url);

#endif
