/* purlin_http(): attempts until one is good enough, or no further one is worth it. */
#include "client/parts.h"

#include "core/text.h"
#include "observe/log.h"
#include "observe/metrics.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_TIMEOUT_MS 30000
#define FIRST_PAUSE_MS 100
#define LONGEST_PAUSE_MS 10000
#define LONGEST_RETRY_AFTER_S 120 /* whoever asks for more is told to the caller, who may come again */

PURLIN_COUNTER(client_calls_total, "Outbound HTTP calls", "method, outcome");
PURLIN_COUNTER(client_retries_total, "Further attempts of outbound HTTP calls", "method");
PURLIN_HISTOGRAM(client_call_seconds, "Time of outbound HTTP calls, all attempts and pauses together", "method");
PURLIN_GAUGE(client_calls_in_flight, "Outbound HTTP calls that run or wait", NULL);

client_options client_settings;
static atomic_bool started;
static loop_post_item *stop_items; /* one per loop */

/* What the caller is told of an attempt that gave no answer. */
static const struct {
  purlin_status status;
  const char *outcome, *text;
} ends[] = {
    [END_NONE] = {PURLIN_INTERNAL, "none", "no attempt was made"},
    [END_ANSWER] = {PURLIN_OK, "answer", ""},
    [END_NO_CONNECT] = {PURLIN_UNAVAILABLE, "no_connect", "cannot connect"},
    [END_UNTRUSTED] = {PURLIN_UNAVAILABLE, "untrusted", "its certificate is not valid"},
    [END_LOST] = {PURLIN_BAD_UPSTREAM, "lost", "the connection was lost"},
    [END_TIMEOUT] = {PURLIN_TIMEOUT, "timeout", "no answer in time"},
    [END_NONSENSE] = {PURLIN_BAD_UPSTREAM, "nonsense", "the answer is no HTTP"},
    [END_REFUSED] = {PURLIN_UNAVAILABLE, "refused", "it failed repeatedly and is left alone for a while"},
    [END_FORBIDDEN] = {PURLIN_FORBIDDEN, "forbidden", ""},
    [END_LOCAL] = {PURLIN_INTERNAL, "local", "the request or its answer could not be handled here"},
    [END_STOPPED] = {PURLIN_CANCELLED, "cancelled", "the call was cancelled"},
};

/* ---- Starting and stopping ------------------------------------------------------------------------------------------------------ */

void client_options_default(client_options *options) {
  *options = (client_options){.connect_timeout_ms = 5000,
                              .max_per_origin = 32,
                              .max_in_flight = 1000,
                              .breaker_failures = 5,
                              .breaker_open_ms = 10000,
                              .user_agent = "purlin/" PURLIN_VERSION};
}

/* ---- libcurl's memory: headers and passwords go through it, so nothing that it frees stays as it was ---------------------------------- */

static void wipe_and_free(void *block) {
  if (block != NULL) text_wipe(block, malloc_usable_size(block));
  free(block);
}

static void *move_and_wipe(void *block, size_t size) {
  if (block == NULL) return malloc(size);
  size_t old = malloc_usable_size(block);
  if (size <= old && size > old / 2) return block;
  void *moved = malloc(size);
  if (moved == NULL) return NULL;
  memcpy(moved, block, old < size ? old : size);
  wipe_and_free(block);
  return moved;
}

purlin_status client_start(const client_options *options) {
  if (atomic_load(&started)) return PURLIN_CONFLICT;
  if (options->max_per_origin == 0 || options->max_in_flight == 0 || options->breaker_failures == 0 ||
      options->user_agent == NULL) {
    return PURLIN_INVALID;
  }
  if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wipe_and_free, move_and_wipe, strdup, calloc) != CURLE_OK)
    return PURLIN_UNAVAILABLE;
  free(stop_items);
  stop_items = calloc(loop_count(), sizeof *stop_items);
  if (stop_items == NULL) return PURLIN_UNAVAILABLE;
  client_settings = *options;
  breaker_reset();
  breaker_metrics();
  atomic_store(&started, true);
  return PURLIN_OK;
}

static void stop_here(void *argument) { engine_stop(argument); }

void client_stop(void) {
  if (!atomic_exchange(&started, false)) return;
  for (size_t i = 0; i < loop_count(); i++) {
    stop_items[i].call = stop_here;
    stop_items[i].argument = loop_at(i);
    loop_post(loop_at(i), &stop_items[i]);
  }
}

const char *client_breaker_state(const char *url) {
  char origin[CLIENT_ORIGIN_BYTES];
  bool loopback;
  return request_origin(url, origin, &loopback) ? breaker_state(origin) : "closed";
}

static const char *method_label(const char *method) {
  static const char *const known[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    if (strcmp(known[i], method) == 0) return known[i];
  }
  return "other";
}

/* ---- Attempts ----------------------------------------------------------------------------------------------------------------------- */

static bool worth_another(const client_call *call) {
  if (call->end == END_NO_CONNECT) return true;
  if (call->end == END_LOST) return call->idempotent;
  return call->end == END_ANSWER && (call->status == 429 || (call->status >= 502 && call->status <= 504));
}

/* Full jitter: anything between nothing and the exponential bound, so that those who failed together do not return
 * together. A Retry-After is a lower bound. */
static uint32_t pause_of(const client_call *call, uint32_t attempt) {
  uint64_t most = attempt < 7 ? (uint64_t)FIRST_PAUSE_MS << attempt : LONGEST_PAUSE_MS;
  uint64_t random;
  if (most > LONGEST_PAUSE_MS) most = LONGEST_PAUSE_MS;
  text_random(&random, sizeof random);
  return (uint32_t)(random % (most + 1)) + call->retry_after_s * 1000;
}

static purlin_status conclude(client_call *call, purlin_http_answer *answer) {
  purlin_ctx *ctx = call->ctx;
  if (call->end == END_FORBIDDEN) return request_refuse(call);
  if (call->end != END_ANSWER) {
    purlin_status status = call->end == END_LOCAL ? call->local : ends[call->end].status;
    const char *detail = call->error[0] != '\0' ? call->error : ends[call->end].text;
    if (status == PURLIN_TOO_LARGE) detail = "the answer is larger than allowed";
    if (status == PURLIN_NO_SPACE) detail = "no space for the answer";
    return purlin_fail(ctx, status, "%s %s: %s", call->method, call->origin, detail);
  }
  answer->status = call->status;
  answer->body_size = (size_t)call->received;
  if (call->media_type != NULL) answer->media_type = call->media_type;
  if (call->location != NULL) answer->location = call->location;
  if (call->body.size == 0) return PURLIN_OK;
  answer->body = purlin_copy_bytes(ctx, call->body.data, call->body.size);
  if (answer->body != NULL) return PURLIN_OK;
  answer->body = "";
  answer->body_size = 0;
  return PURLIN_TOO_LARGE; /* the arena has recorded it */
}

static purlin_status run_attempts(client_call *call, purlin_http_answer *answer) {
  purlin_ctx *ctx = call->ctx;
  uint32_t timeout = call->asked->timeout_ms > 0 ? call->asked->timeout_ms : DEFAULT_TIMEOUT_MS;
  for (uint32_t attempt = 0;; attempt++) {
    purlin_mark mark = purlin_arena_mark(ctx);
    request_reset(call);
    purlin_status status = flight_run(call, timeout);
    if (call->end != END_REFUSED) answer->attempts = attempt + 1;
    if (status != PURLIN_OK) break;
    if (attempt >= call->asked->retries || !worth_another(call) || breaker_refuses(call->origin)) break;
    uint32_t pause = pause_of(call, attempt);
    if (call->retry_after_s > LONGEST_RETRY_AFTER_S || (int64_t)pause >= purlin_time_left_ms(ctx)) break;
    purlin_arena_reset(ctx, mark);
    if (flight_pause(call, pause) != PURLIN_OK || call->end == END_STOPPED) break;
    purlin_count(client_retries_total, 1, method_label(call->method));
  }
  return conclude(call, answer);
}

/* ---- The call ------------------------------------------------------------------------------------------------------------------------ */

static void measure(const client_call *call, uint64_t started_ns) {
  static const char *const classes[] = {"other", "1xx", "2xx", "3xx", "4xx", "5xx"};
  const char *method = method_label(call->method), *outcome = ends[call->end].outcome;
  if (call->end == END_ANSWER) outcome = classes[call->status < 600 ? call->status / 100 : 0];
  purlin_count(client_calls_total, 1, method, outcome);
  purlin_observe(client_call_seconds, (double)(purlin_ticks_ns() - started_ns) / 1e9, method);
}

static purlin_status run_call(client_call *call, purlin_http_answer *answer) {
  engine *e = atomic_load(&started) ? engine_of(call->ctx->loop) : NULL;
  if (e == NULL) return purlin_fail(call->ctx, PURLIN_UNAVAILABLE, "outbound HTTP is not running");
  if (e->call_count >= client_settings.max_in_flight) {
    return purlin_fail(call->ctx, PURLIN_UNAVAILABLE, "too many outbound calls at once");
  }
  call->engine = e;
  purlin_status status = request_open_files(call);
  if (status == PURLIN_OK) {
    uint64_t started_ns = purlin_ticks_ns();
    e->call_count++;
    purlin_count(client_calls_in_flight, 1, PURLIN_NO_LABELS);
    status = run_attempts(call, answer);
    purlin_count(client_calls_in_flight, -1, PURLIN_NO_LABELS);
    e->call_count--;
    measure(call, started_ns);
  }
  request_close_files(call, status == PURLIN_OK && answer->status >= 200 && answer->status < 300);
  request_free(call);
  return status;
}

purlin_status purlin_http(purlin_ctx *ctx, const purlin_http_call *asked, purlin_http_answer *answer) {
  *answer = (purlin_http_answer){.body = "", .media_type = "", .location = ""};
  purlin_status status = context_may_wait(ctx, "calls out");
  if (status == PURLIN_OK) status = purlin_still_wanted(ctx);
  if (status != PURLIN_OK) return status;
  client_call call = {.ctx = ctx, .asked = asked, .body_descriptor = -1, .answer_descriptor = -1};
  status = request_check(&call);
  return status == PURLIN_OK ? run_call(&call, answer) : status;
}
