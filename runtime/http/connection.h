/* connection.h: the inside of the HTTP server: what its files share.
 *
 *   server.c      the listening socket, accepting and handing out, draining, the router and the gate
 *   home.c        what every loop has of its own: read buffer, pools, date, sweep of time-outs
 *   connection.c  one connection: bytes in, requests started one after the other, closing
 *   output.c      bytes out: one write per turn, the rest when the socket takes it
 *   tls_*.c       records in and out, where the connection is not in the clear: tls.h
 *   exchange.c    one request and its answer, in a fiber: gate, target, failure, metrics, access log
 *   request.c     what a handler asks of its request; query.c the query string; body.c the body
 *   answer.c      what a handler answers; page.c, range.c, problem.c, stream.c
 *   proxy.c       whom a proxy speaks for; crowd.c how many connections one address has
 *   series.c      metrics
 *
 * Everything of a connection happens on its loop. A fiber may be in the middle of a call while its connection closes: the
 * struct stays until the exchange has ended, and `state` tells. */
#ifndef PURLIN_HTTP_CONNECTION_H
#define PURLIN_HTTP_CONNECTION_H

#include "core/buffer.h"
#include "http/head.h"
#include "http/server.h"
#include "http/tls.h"
#include "loop/context.h"
#include "loop/loop.h"

#include <netinet/in.h>
#include <stdatomic.h>

#define HTTP_READ_BUFFER ((size_t)64 * 1024)
#define HTTP_INPUT_LIMIT ((size_t)64 * 1024)  /* unread bytes of a connection at which we stop reading from it */
#define HTTP_OUTPUT_HIGH ((size_t)128 * 1024) /* unsent bytes at which a writer waits and no further request starts */
#define HTTP_OUTPUT_LOW ((size_t)32 * 1024)   /* ... and goes on */
#define HTTP_SKIP_LIMIT ((size_t)64 * 1024)   /* of an unread body that is thrown away to keep the connection */
#define HTTP_LINGER_MS 2000
#define HTTP_MINIMUM_RATE 1024 /* bytes per second of a body, over body_timeout_ms */

typedef struct http_home http_home;
typedef struct http_connection http_connection;
typedef struct http_exchange http_exchange;
typedef struct tls_session tls_session;

/* ---- One loop's part ------------------------------------------------------------------------------------------------------ */

/* The router as one loop holds it, so that taking it for a request costs no atomic operation. */
typedef struct http_routing {
  http_router *router;
  size_t uses; /* by requests in flight, and one by the home while it is the current one */
} http_routing;

#define HTTP_SPARE_BUFFERS 64
#define HTTP_SPARE_EXCHANGES 64

struct http_home {
  loop *loop; /* NULL: not initialised */
  size_t index;
  http_connection *connections; /* open ones */
  size_t count;
  char *read_buffer;  /* HTTP_READ_BUFFER bytes, used during a read callback */
  http_field *fields; /* room for a head being parsed: max_headers */
  buffer spare_buffers[HTTP_SPARE_BUFFERS];
  size_t spare_buffer_count;
  http_exchange *spare_exchanges;
  size_t spare_exchange_count;
  buffer scratch; /* for texts that are made and used without parking */
  http_routing *routing;
  unsigned routing_generation;
  bool draining;
  SSL_CTX *tls; /* the newest that this loop has met, and the room to open records into; NULL without TLS */
  unsigned tls_generation;
  char *opened;
  loop_timer sweep, drain;
  uint64_t date_due_ms;                   /* when the text below grows old */
  uint16_t fixed_size, fixed_secure_size; /* in the clear, and over TLS */
  char fixed
      [384]; /* "Date: ...\r\nServer: ...\r\nX-Content-Type-Options: nosniff\r\n", then "Strict-Transport-Security: ...\r\n" */
};

http_home *http_home_here(void);                        /* of the calling loop; NULL: no memory */
void http_home_release(http_home *home);                /* frees what it holds; no connection is left */
buffer http_home_take_buffer(http_home *home);          /* empty, perhaps with memory */
void http_home_give_buffer(http_home *home, buffer *b); /* zeroes *b */
void http_home_begin_sweep(http_home *home);
const char *http_home_fixed(http_home *home, bool secure, size_t *size);
http_routing *http_home_take_routing(http_home *home); /* NULL: none was set */
void http_home_give_routing(http_routing *routing);

/* ---- A connection ----------------------------------------------------------------------------------------------------------- */

typedef enum connection_state {
  CONNECTION_WAITING,   /* for the next head, or for the rest of it */
  CONNECTION_RUNNING,   /* a request is being answered */
  CONNECTION_SKIPPING,  /* it was answered; the rest of its body is thrown away */
  CONNECTION_STREAMING, /* server-sent events: no fiber, no further request */
  CONNECTION_ENDING,    /* what is left of the output is sent, then it closes */
  CONNECTION_CLOSED     /* the handle is closing; waits for whoever still points here */
} connection_state;

/* A write that the socket did not take at once. */
typedef struct http_sending {
  uv_write_t request;
  buffer data;
} http_sending;

struct http_connection {
  uv_tcp_t tcp;
  http_home *home;
  http_connection *next, *previous;
  loop_post_item later; /* a turn at the end of the loop's turn */
  loop_post_item again; /* a turn in the loop's next turn; before that, the way to its loop */
  http_exchange *exchange;
  http_stream *stream;
  tls_session *tls; /* NULL: in the clear */
  http_sending *sending;
  const char *in; /* unread bytes: in `input`, or during a read callback in the loop's read buffer */
  size_t in_size;
  buffer input, output;
  http_scan scan;
  http_body body;
  uint64_t due_ms;          /* when the sweep acts on the state */
  uint64_t write_due_ms;    /* when `sending` must have moved */
  size_t last_queue;        /* bytes of `sending` that were left when the sweep looked */
  uint32_t answered;        /* requests in this turn */
  uint32_t skipped;         /* bytes of the body thrown away */
  int accepted;             /* the descriptor on its way to its loop */
  uint8_t state;            /* connection_state */
  bool handle_open, closed; /* uv_tcp_t is initialised; its close has been reported */
  bool reading, processing, later_queued, again_queued;
  bool secure;      /* it came to the port that speaks TLS ... */
  bool redirects;   /* ... or to the one beside it, which sends over there */
  bool peer_done;   /* the peer has sent its last byte */
  bool close_after; /* the answer being made is the last one */
  bool linger;      /* there may be input that we do not read: close in a way that the answer still arrives */
  bool shut;        /* we have sent our last byte */
  char address[INET6_ADDRSTRLEN];
};

_Static_assert(sizeof(http_connection) <= 960, "an idle connection costs less than 1 KiB");

/* Opens an accepted descriptor on the calling loop. Takes the connection. */
void connection_open(http_connection *c);
/* Goes on with whatever can go on: starts requests, resumes the fiber that waits, flushes, reads or stops to read. From the
 * loop's own level. */
void connection_turn(http_connection *c);
/* Asks for a turn at the end of the loop's turn; from anywhere on the loop. */
void connection_later(http_connection *c);
/* Closes at once; cancels the request that runs. */
void connection_close(http_connection *c);
/* The same where no answer is cut off: a client on TLS can tell it from an attacker who has cut the line. */
void connection_close_politely(http_connection *c);
/* Closes when the output is sent. */
void connection_end(http_connection *c);
/* The exchange has ended and is gone. */
void connection_exchange_ended(http_connection *c);
/* Frees it when nobody points to it any more. */
void connection_unused(http_connection *c);
/* Answers a head that is no request, without a fiber, and ends the connection. */
void connection_refuse(http_connection *c, http_refusal refusal);
/* Bytes of requests; they stay valid until this returns. */
void connection_received(http_connection *c, const char *data, size_t size);
/* The peer has sent its last byte. */
void connection_end_of_input(http_connection *c);
/* From now on the idle time-out counts. */
void connection_wait_idle(http_connection *c);
void connection_sweep(http_connection *c, uint64_t now_ms);
/* Starts or stops to read, by how much waits unread. */
void connection_adjust_reading(http_connection *c);
static inline bool connection_gone(const http_connection *c) { return c->state == CONNECTION_CLOSED; }

/* output.c */
buffer *connection_output(http_connection *c); /* where to append; never NULL */
void connection_flush(http_connection *c);     /* may close the connection */
size_t connection_unsent(const http_connection *c);

/* tls_session.c */
tls_session *tls_session_make(http_home *home); /* NULL: no memory */
void tls_session_free(tls_session *t);          /* NULL is fine */
/* What came from the socket; it stays valid until this returns. May end the connection, and may find that it is in the clear. */
void tls_session_received(http_connection *c, const char *data, size_t size);
/* The output becomes records. False: the connection is closed. */
bool tls_session_seal(http_connection *c);
/* Sends close_notify, once, if that can still be sent. */
void tls_session_say_goodbye(http_connection *c);
/* Whether the peer takes what we send: handshakes and key updates are answered without any request. */
bool tls_session_may_read(const http_connection *c);

/* ---- An exchange ------------------------------------------------------------------------------------------------------------- */

typedef enum answer_state { ANSWER_NONE, ANSWER_STREAMING, ANSWER_WHOLE, ANSWER_DETACHED } answer_state;

typedef struct answer_header {
  struct answer_header *next;
  size_t size;
  char text[]; /* "Name: value\r\n" */
} answer_header;

struct purlin_request {
  http_connection *connection;
  purlin_ctx *ctx;
  const http_target *target;
  http_routing *routing;
  http_match match;
  const char *text; /* the head, in the arena; every name and value in it ends with NUL */
  http_head head;
  size_t text_size;

  /* the body */
  bool reading;              /* the fiber waits for bytes */
  bool wipes;                /* what was read of it is zeroed where it was read from */
  bool expects;              /* the client waits for 100 Continue */
  purlin_status body_failed; /* PURLIN_OK: not */
  uint64_t max_body;
  uint64_t wait_began_ms; /* while reading */
  uint64_t waited_ms;     /* in this window of body_timeout_ms */
  uint64_t window_bytes;

  uint64_t began_ns; /* purlin_ticks_ns */

  /* the answer */
  bool writing; /* the fiber waits for the socket */
  bool no_body; /* HEAD, 204, 304 */
  bool chunked;
  uint8_t answer; /* answer_state */
  uint16_t status;
  int64_t left;  /* of a streamed answer whose length was told; -1: not told */
  uint64_t sent; /* bytes of the answer's body */
  answer_header *headers, **headers_end;
  bool has_type, has_challenge; /* Content-Type, WWW-Authenticate among them */

  char client[INET6_ADDRSTRLEN]; /* where http_request_address writes what a proxy says */
};

struct http_exchange {
  purlin_request request;
  purlin_ctx context;
  const char *raw;     /* the head in the connection's input, until the fiber has copied it */
  http_exchange *next; /* among the spare ones */
};

/* Starts the request whose head was parsed; its bytes at `raw` stay valid until this returns. */
void exchange_start(http_connection *c, const http_head *head, const char *raw, size_t size);
/* What the sweep does to one whose client sends its body too slowly. */
void exchange_sweep(http_exchange *x, uint64_t now_ms);
/* body.c: resumes the fiber that waits for the body, or for the socket. */
void exchange_resume(http_exchange *x);

/* ---- Answers ------------------------------------------------------------------------------------------------------------------- */

const char *http_reason(unsigned status);
/* Appends status line and headers. `length` -1: not known. False when the connection is gone or memory is short. */
bool answer_head(purlin_request *request, unsigned status, const char *media_type, int64_t length);
/* page.c: what a browser is told beside, where the answer is a page. */
void page_headers(const purlin_request *request, const char *media_type, buffer *out);
/* Ends what the handler has begun: the last chunk, or the end of the connection when too little was sent. */
void answer_finish(purlin_request *request, purlin_status status);
void answer_abort(purlin_request *request);
/* A problem in the given status and words (static or arena). */
void problem_answer(purlin_request *request, unsigned status, const char *type, const char *title, const char *detail);

/* stream.c */
void stream_connection_closed(http_connection *c);
void stream_sweep(http_stream *stream, uint64_t now_ms);

/* series.c */
/* ---- Proxies ---------------------------------------------------------------------------------------------------------------------- */

PURLIN_CHECKED purlin_status proxies_start(const http_options *options, buffer *why);
void proxies_end(void);
struct in6_addr;
bool proxies_trust(const struct in6_addr *address);
/* The client's address: the peer's, or one written to `out`. */
const char *proxies_client(const purlin_request *request, char out[INET6_ADDRSTRLEN]);
/* Whether what the peer says about the client is believed. */
bool proxies_trust_peer(const purlin_request *request);

/* ---- Crowds: connections of one address ----------------------------------------------------------------------------------------------- */

/* One more. False: it has as many as it may, or there is no memory. Any loop. */
PURLIN_CHECKED bool crowd_enter(const char *address);
/* For each that entered. */
void crowd_leave(const char *address);

/* ---- Other origins ------------------------------------------------------------------------------------------------------------------ */

PURLIN_CHECKED purlin_status cors_start(const http_options *options, buffer *why);
void cors_end(void);
/* Sets what a browser wants to see; a preflight is answered, and then there is nothing more to do. */
PURLIN_CHECKED purlin_status cors_apply(purlin_ctx *ctx, purlin_request *request, bool *answered);
/* Whether the page that asked may see what the browser's user sees: cors { credentials = true }. */
bool cors_shares(const purlin_request *request);

void *series_of_target(const char *name);
void series_count(void *series, http_method_index method, unsigned status, double seconds);
void series_count_refused(unsigned status);
void series_connections(double by);
void series_turned_away(const char *limit);
void series_bytes(uint64_t received, uint64_t sent);

/* ---- The server ------------------------------------------------------------------------------------------------------------------ */

extern http_options http_settings; /* of the running server */
http_limits http_settings_limits(void);
http_router *http_current_router(unsigned *generation); /* retained; NULL: none */
unsigned http_router_generation(void);
http_gate *http_current_gate(void);
void http_connection_freed(size_t loop_index, const char *address);
extern http_target http_target_missing; /* 404 and 405 */
extern http_target http_target_redirect;
/* redirect.c: where a request in the clear leads beside TLS; `found` (NULL: nowhere) is where it would over TLS. */
const http_target *redirect_target(const http_head *head, const char *raw, const http_target *found);

#endif
