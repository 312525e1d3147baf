/* One attempt: it waits for its turn at the origin (a lane: so many connections per loop and origin), runs, and ends by an
 * answer, an error, its time-out, a cancellation or the end of the client. However it ends, release() undoes it. */
#include "client/parts.h"

#include <stdlib.h>
#include <string.h>

#define SLOW_MS 1000 /* a context's deadline is held against the origin only if the origin had that long */

struct lane {
  lane *next;
  engine *engine;
  size_t active;
  client_call *first, **last; /* waiting */
  char origin[];
};

/* ---- Lanes ---------------------------------------------------------------------------------------------------------------------- */

static lane *lane_find(const engine *e, const char *origin) {
  lane *l = e->lanes;
  while (l != NULL && strcmp(l->origin, origin) != 0) l = l->next;
  return l;
}

static lane *lane_make(engine *e, const char *origin) {
  size_t size = strlen(origin) + 1;
  lane *l = calloc(1, sizeof *l + size);
  if (l == NULL) return NULL;
  memcpy(l->origin, origin, size);
  l->engine = e;
  l->last = &l->first;
  l->next = e->lanes;
  e->lanes = l;
  return l;
}

static void lane_free_if_idle(lane *l) {
  if (l->active > 0 || l->first != NULL) return;
  lane **place = &l->engine->lanes;
  while (*place != l) place = &(*place)->next;
  *place = l->next;
  free(l);
}

static void lane_queue(lane *l, client_call *call) {
  call->phase = PHASE_QUEUED;
  call->lane_next = NULL;
  *l->last = call;
  l->last = &call->lane_next;
}

static void lane_unqueue(lane *l, client_call *call) {
  client_call **place = &l->first;
  while (*place != call) place = &(*place)->lane_next;
  *place = call->lane_next;
  if (l->last == &call->lane_next) l->last = place;
  call->phase = PHASE_IDLE;
}

/* ---- Running and ending ------------------------------------------------------------------------------------------------------------ */

static void list_in(client_call *call) {
  engine *e = call->engine;
  call->next = e->calls;
  call->previous = &e->calls;
  if (e->calls != NULL) e->calls->previous = &call->next;
  e->calls = call;
}

static void list_out(client_call *call) {
  *call->previous = call->next;
  if (call->next != NULL) call->next->previous = call->previous;
  call->previous = NULL;
}

static breaker_verdict verdict_of(const client_call *call) {
  switch (call->end) {
  case END_ANSWER: return call->status >= 502 && call->status <= 504 ? BREAKER_FAILURE : BREAKER_SUCCESS;
  case END_NO_CONNECT:
  case END_UNTRUSTED:
  case END_LOST:
  case END_TIMEOUT:
  case END_NONSENSE: return BREAKER_FAILURE;
  default: return BREAKER_NEUTRAL;
  }
}

static void give_back(client_call *call) {
  curl_slist_free_all(call->headers);
  call->headers = NULL;
  engine_give_easy(call->engine, call->easy, call->end == END_ANSWER);
  call->easy = NULL;
}

static bool fail_locally(client_call *call) {
  call->end = END_LOCAL;
  call->local = PURLIN_UNAVAILABLE;
  return false;
}

/* False: it ended at once. */
static bool launch(client_call *call) {
  engine *e = call->engine;
  if (!breaker_admit(call->origin, &call->trial)) {
    call->end = END_REFUSED;
    return false;
  }
  call->easy = engine_take_easy(e);
  bool begun = call->easy != NULL && request_prepare(call) && curl_multi_add_handle(e->multi, call->easy) == CURLM_OK;
  if (!begun) {
    breaker_report(call->origin, call->trial, BREAKER_NEUTRAL);
    bool running = fail_locally(call);
    if (call->easy != NULL) give_back(call);
    return running;
  }
  call->phase = PHASE_RUNNING;
  call->launched_ms = loop_now_ms(e->home);
  call->lane->active++;
  return true;
}

static void forget(client_call *call) {
  if (loop_timer_active(&call->timer)) loop_timer_stop(&call->timer);
  list_out(call);
  call->phase = PHASE_IDLE;
}

/* Lets those go on who wait for a connection to this origin. */
static void lane_pump(lane *l) {
  while (l->first != NULL && l->active < client_settings.max_per_origin) {
    client_call *call = l->first;
    lane_unqueue(l, call);
    if (launch(call)) continue;
    forget(call);
    fiber_wake(call->ctx->fiber);
  }
  lane_free_if_idle(l);
}

static void release(client_call *call, attempt_end end, bool slow_enough) {
  lane *l = call->lane;
  call->end = end;
  call->lane = NULL;
  if (call->phase == PHASE_RUNNING) {
    (void)curl_multi_remove_handle(call->engine->multi, call->easy);
    give_back(call);
    l->active--;
    breaker_report(call->origin, call->trial, slow_enough ? verdict_of(call) : BREAKER_NEUTRAL);
  } else if (call->phase == PHASE_QUEUED) {
    lane_unqueue(l, call);
  }
  forget(call);
  if (l != NULL && !call->engine->stopped) lane_pump(l);
}

static void end_call(client_call *call, attempt_end end) {
  release(call, end, true);
  fiber_wake(call->ctx->fiber);
}

void flight_done(client_call *call, CURLcode code) { end_call(call, request_collect(call, code)); }

static void on_timeout(loop_timer *timer) {
  client_call *call = (client_call *)(void *)((char *)timer - offsetof(client_call, timer));
  end_call(call, call->phase == PHASE_PAUSE ? END_NONE : END_TIMEOUT);
}

static bool undo(purlin_ctx *ctx, void *argument) {
  client_call *call = argument;
  bool slow = loop_now_ms(call->engine->home) - call->launched_ms >= SLOW_MS;
  if (ctx->cancelled) {
    release(call, END_STOPPED, true);
  } else {
    release(call, END_TIMEOUT, slow);
  }
  return true;
}

purlin_status flight_run(client_call *call, uint32_t timeout_ms) {
  engine *e = call->engine;
  call->end = END_STOPPED;
  if (e->stopped) return PURLIN_OK;
  lane *l = lane_find(e, call->origin);
  if (l == NULL) l = lane_make(e, call->origin);
  if (l == NULL) {
    (void)fail_locally(call);
    return PURLIN_OK;
  }
  call->lane = l;
  if (l->active < client_settings.max_per_origin) {
    if (!launch(call)) {
      lane_free_if_idle(l);
      return PURLIN_OK;
    }
  } else if (breaker_refuses(call->origin)) {
    call->end = END_REFUSED;
    return PURLIN_OK;
  } else {
    lane_queue(l, call);
  }
  list_in(call);
  loop_timer_start(e->home, &call->timer, timeout_ms, on_timeout);
  return context_park(call->ctx, undo, call);
}

purlin_status flight_pause(client_call *call, uint32_t milliseconds) {
  engine *e = call->engine;
  call->end = END_STOPPED;
  if (e->stopped) return PURLIN_OK;
  call->phase = PHASE_PAUSE;
  call->lane = NULL;
  list_in(call);
  loop_timer_start(e->home, &call->timer, milliseconds, on_timeout);
  return context_park(call->ctx, undo, call);
}

void flight_stop_all(engine *e) {
  while (e->calls != NULL) end_call(e->calls, END_STOPPED);
  while (e->lanes != NULL) {
    lane *l = e->lanes;
    e->lanes = l->next;
    free(l);
  }
}
