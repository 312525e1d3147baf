/* home.c: what every loop has of its own for HTTP. */
#include "http/connection.h"

#include "core/text.h"
#include "secrets/pages.h"

#include <stdio.h>
#include <stdlib.h>

#define LARGEST_SPARE ((size_t)64 * 1024)

static const char key; /* its address names the loop-local memory */

static bool begin(http_home *home, loop *l) {
  home->read_buffer = pages_take(HTTP_READ_BUFFER); /* bodies and credentials stay in it until others come */
  home->fields = calloc(http_settings.max_headers, sizeof *home->fields);
  if (home->read_buffer == NULL || home->fields == NULL) {
    pages_give(home->read_buffer);
    free(home->fields);
    *home = (http_home){0};
    return false;
  }
  home->loop = l;
  home->index = loop_index(l);
  home->draining = false;
  home->date_due_ms = 0;
  return true;
}

http_home *http_home_here(void) {
  loop *l = loop_current();
  http_home *home = loop_local(l, &key, sizeof *home);
  if (home == NULL || (home->loop == NULL && !begin(home, l))) return NULL;
  return home;
}

void http_home_release(http_home *home) {
  loop_timer_stop(&home->sweep);
  loop_timer_stop(&home->drain);
  while (home->spare_buffer_count > 0) buffer_free(&home->spare_buffers[--home->spare_buffer_count]);
  while (home->spare_exchanges != NULL) {
    http_exchange *x = home->spare_exchanges;
    home->spare_exchanges = x->next;
    free(x);
  }
  if (home->routing != NULL) http_home_give_routing(home->routing);
  buffer_free(&home->scratch);
  pages_give(home->read_buffer);
  free(home->fields);
  SSL_CTX_free(home->tls);
  free(home->opened);
  *home = (http_home){0};
}

/* ---- Buffers -------------------------------------------------------------------------------------------------------------------- */

buffer http_home_take_buffer(http_home *home) {
  if (home->spare_buffer_count == 0) return (buffer){0};
  return home->spare_buffers[--home->spare_buffer_count];
}

void http_home_give_buffer(http_home *home, buffer *b) {
  if (b->data == NULL) return;
  if (b->capacity > LARGEST_SPARE || home->spare_buffer_count == HTTP_SPARE_BUFFERS) {
    buffer_free(b);
    return;
  }
  buffer_clear(b);
  home->spare_buffers[home->spare_buffer_count++] = *b;
  *b = (buffer){0};
}

/* ---- The router ------------------------------------------------------------------------------------------------------------------- */

void http_home_give_routing(http_routing *routing) {
  if (--routing->uses > 0) return;
  http_router_release(routing->router);
  free(routing);
}

static void renew_routing(http_home *home) {
  unsigned generation;
  http_router *router = http_current_router(&generation);
  if (router == NULL) return;
  http_routing *routing = malloc(sizeof *routing);
  if (routing == NULL) { /* the old one serves on; the next request tries again */
    http_router_release(router);
    return;
  }
  *routing = (http_routing){router, 1};
  if (home->routing != NULL) http_home_give_routing(home->routing);
  home->routing = routing;
  home->routing_generation = generation;
}

http_routing *http_home_take_routing(http_home *home) {
  if (home->routing == NULL || home->routing_generation != http_router_generation()) renew_routing(home);
  if (home->routing != NULL) home->routing->uses++;
  return home->routing;
}

/* ---- Time ------------------------------------------------------------------------------------------------------------------------- */

static uint16_t size_of(int length, size_t room) { return length > 0 && (size_t)length < room ? (uint16_t)length : 0; }

/* The headers of every answer; those that only count over TLS come last. */
static void write_fixed(http_home *home, const char *date) {
  const char *server = http_settings.server, *strict = http_settings.strict_transport;
  int length = snprintf(home->fixed, sizeof home->fixed, "Date: %s\r\n%s%.100s%sX-Content-Type-Options: nosniff\r\n", date,
                        server == NULL ? "" : "Server: ", server == NULL ? "" : server, server == NULL ? "" : "\r\n");
  home->fixed_size = home->fixed_secure_size = size_of(length, sizeof home->fixed);
  if (strict == NULL || home->fixed_size == 0) return;
  size_t room = sizeof home->fixed - home->fixed_size;
  length = snprintf(home->fixed + home->fixed_size, room, "Strict-Transport-Security: %.100s\r\n", strict);
  home->fixed_secure_size = (uint16_t)(home->fixed_size + size_of(length, room));
}

const char *http_home_fixed(http_home *home, bool secure, size_t *size) {
  uint64_t now_ms = loop_now_ms(home->loop);
  if (now_ms >= home->date_due_ms) {
    int64_t wall_us = purlin_now_us();
    char date[32];
    text_http_date(wall_us / 1000000, date);
    write_fixed(home, date);
    home->date_due_ms = now_ms + 1000 - (uint64_t)(wall_us / 1000 % 1000);
  }
  *size = secure ? home->fixed_secure_size : home->fixed_size;
  return home->fixed;
}

/* Time-outs are found by looking at every connection now and then: a timer per request would cost more than the requests. A
 * quarter of the shortest time-out, and a second at most, is how late one may be. */
static uint64_t sweep_period_ms(void) {
  const uint32_t all[] = {http_settings.header_timeout_ms, http_settings.idle_timeout_ms, http_settings.body_timeout_ms,
                          http_settings.write_timeout_ms};
  uint64_t shortest = 4000;
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
    if (all[i] < shortest) shortest = all[i];
  return shortest < 40 ? 10 : shortest / 4;
}

static void sweep(loop_timer *timer) {
  http_home *home = (http_home *)((char *)timer - offsetof(http_home, sweep));
  uint64_t now_ms = loop_now_ms(home->loop);
  for (http_connection *c = home->connections, *next; c != NULL; c = next) {
    next = c->next;
    connection_sweep(c, now_ms);
  }
  if (home->count > 0) loop_timer_start(home->loop, &home->sweep, sweep_period_ms(), sweep);
}

void http_home_begin_sweep(http_home *home) {
  if (!loop_timer_active(&home->sweep)) loop_timer_start(home->loop, &home->sweep, sweep_period_ms(), sweep);
}
