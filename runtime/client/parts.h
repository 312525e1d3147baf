/* parts.h: what the files of this folder share. Nobody outside includes it.
 *
 *   client.c    purlin_http(): one call: attempts, retries, what the caller gets
 *   flight.c    one attempt: waiting for its turn at the origin, time-out, cancellation, its end
 *   request.c   one attempt as libcurl sees it: options, headers, bodies and files
 *   engine.c    one multi handle per loop, its sockets and its timer
 *   outbound.c  which addresses may be connected to
 *   breaker.c   circuit breakers, one table for the process
 *
 * Everything but the breakers belongs to one loop and needs no lock. */
#ifndef PURLIN_CLIENT_PARTS_H
#define PURLIN_CLIENT_PARTS_H

#include "client/client.h"
#include "core/buffer.h"
#include "loop/context.h"

#include <curl/curl.h>

#define CLIENT_IDLE_HANDLES 64
#define CLIENT_ORIGIN_BYTES 320 /* "https://" + a host name of 255 bytes + ":65535" */

extern client_options client_settings; /* fixed while the client runs */

/* ---- Breakers ------------------------------------------------------------------------------------------------------------- */

typedef enum breaker_verdict { BREAKER_SUCCESS, BREAKER_FAILURE, BREAKER_NEUTRAL } breaker_verdict;

/* False: refused. *trial: this is the one attempt that is let through after a while. Each admission needs one report. */
bool breaker_admit(const char *origin, bool *trial);
void breaker_report(const char *origin, bool trial, breaker_verdict verdict);
/* Whether breaker_admit would refuse; changes nothing. */
bool breaker_refuses(const char *origin);
const char *breaker_state(const char *origin);
void breaker_reset(void); /* forgets everything */
void breaker_metrics(void);

/* ---- A call ---------------------------------------------------------------------------------------------------------------- */

typedef enum attempt_end {
  END_NONE,
  END_ANSWER,     /* whatever its status */
  END_NO_CONNECT, /* nothing was sent */
  END_UNTRUSTED,  /* its certificate is not valid: nothing was sent, and trying again is no use */
  END_LOST,       /* the connection broke after the request was sent, or part of it */
  END_TIMEOUT,
  END_NONSENSE,  /* no HTTP */
  END_REFUSED,   /* by the breaker */
  END_FORBIDDEN, /* by the allow-list, every address that there is */
  END_LOCAL,     /* our side: `local` says what */
  END_STOPPED    /* cancelled, or client_stop() */
} attempt_end;

typedef enum attempt_phase { PHASE_IDLE, PHASE_QUEUED, PHASE_RUNNING, PHASE_PAUSE } attempt_phase;

typedef struct engine engine;
typedef struct lane lane;

/* One call of purlin_http(), on its fiber's stack. The second half is of the running attempt. */
typedef struct client_call {
  purlin_ctx *ctx;
  engine *engine;
  const purlin_http_call *asked;
  const char *method;
  bool idempotent, sends_body;
  char origin[CLIENT_ORIGIN_BYTES];
  bool loopback;         /* never by a proxy */
  int body_descriptor;   /* -1: none */
  int answer_descriptor; /* -1: none */
  uint64_t body_file_size;

  struct client_call *next, **previous; /* all waiting calls of the engine */
  struct client_call *lane_next;
  lane *lane;
  attempt_phase phase;
  attempt_end end;
  purlin_status local;
  uint64_t launched_ms; /* clock of the loop */
  bool trial;
  bool sent;                 /* the request was begun */
  bool forbidden, permitted; /* an address of its host was refused; another was not */
  CURL *easy;
  struct curl_slist *headers;
  loop_timer timer;
  uint64_t body_sent; /* of the file */
  uint64_t received;
  unsigned status;
  uint32_t retry_after_s; /* 0: none */
  buffer body;
  const char *media_type, *location; /* arena */
  char error[CURL_ERROR_SIZE];
} client_call;

/* ---- Flights ----------------------------------------------------------------------------------------------------------------- */

/* Runs one attempt; parks. The result is in call->end. PURLIN_CANCELLED or PURLIN_TIMEOUT when the context ended it. */
PURLIN_CHECKED purlin_status flight_run(client_call *call, uint32_t timeout_ms);
/* Waits between attempts; parks. Ends early, with END_STOPPED, when the client stops. */
PURLIN_CHECKED purlin_status flight_pause(client_call *call, uint32_t milliseconds);
/* libcurl is done with the call's attempt. */
void flight_done(client_call *call, CURLcode code);
/* Ends every attempt and pause of the engine. */
void flight_stop_all(engine *e);

/* ---- Requests ----------------------------------------------------------------------------------------------------------------- */

/* Reads the URL, the method and the headers; fills in origin, method, ... Records a failure. */
PURLIN_CHECKED purlin_status request_check(client_call *call);
PURLIN_CHECKED purlin_status request_open_files(client_call *call);
/* Closes; removes the answer's file unless it is to be kept. */
void request_close_files(client_call *call, bool keep_answer);
bool request_origin(const char *url, char origin[CLIENT_ORIGIN_BYTES], bool *loopback);
/* Whether it may be connected to this address. */
bool request_permits(const client_call *call, const struct sockaddr *address, size_t size);
/* Records that it may not. */
purlin_status request_refuse(const client_call *call);
/* Sets up call->easy; false: no memory. */
bool request_prepare(client_call *call);
/* Takes what is needed from call->easy once libcurl is done, and says how it ended. */
attempt_end request_collect(client_call *call, CURLcode code);
void request_reset(client_call *call); /* before an attempt */
void request_free(client_call *call);

/* ---- Engines -------------------------------------------------------------------------------------------------------------------- */

struct engine {
  loop *home;
  CURLM *multi; /* NULL: not begun yet, or stopped */
  bool stopped;
  loop_timer timer; /* libcurl's one timer */
  loop_post_item kick;
  bool kick_queued, kick_wanted;
  struct poll **polls; /* by descriptor */
  size_t poll_capacity;
  CURL *idle[CLIENT_IDLE_HANDLES];
  size_t idle_count;
  client_call *calls;
  size_t call_count; /* in purlin_http() */
  lane *lanes;       /* origins that are being talked to */
};

/* The engine of this loop, begun; NULL: stopped, or no memory. */
engine *engine_of(loop *l);
CURL *engine_take_easy(engine *e);
void engine_give_easy(engine *e, CURL *easy, bool answered);
/* What every easy handle needs: where its sockets come from. */
bool engine_own_sockets(client_call *call);
/* On the loop itself, in its own level. */
void engine_stop(loop *l);

#endif
