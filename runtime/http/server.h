/* server.h: HTTP/1.1 on llhttp.
 *
 * A connection costs a struct and no fiber. When a request's header is complete, the router finds its target and the
 * target's handler runs in a fiber with a context; its answer is appended to the connection's output, which is written
 * once per turn of the loop. Bodies stream both ways with bounded memory. What the parser lets through and should not is
 * refused in http/strict.c. */
#ifndef PURLIN_HTTP_SERVER_H
#define PURLIN_HTTP_SERVER_H

#include <purlin/route.h>
#include "loop/context.h"
#include "http/router.h"

/* The server's own port, and the one in the clear beside TLS. */
enum { HTTP_OWN, HTTP_REDIRECT, HTTP_LISTENERS };

typedef struct http_options {
  const char *address;         /* "127.0.0.1", "::", ... */
  uint16_t port;               /* 0: any; http_port() tells */
  int passed[HTTP_LISTENERS];  /* listening TCP sockets that were passed on, instead of address and port; -1: none */
  bool held;                   /* nothing is accepted before http_accept: clients wait in the queue */
  size_t max_url;              /* 8 KiB */
  size_t max_header_bytes;     /* 32 KiB */
  size_t max_headers;          /* 100 */
  uint64_t max_body;           /* 8 MiB unless the target says otherwise */
  size_t max_connections;      /* per process: 10,000 */
  size_t max_per_address;      /* connections of one address (of IPv6: /64), but for trusted proxies: 512; 0: no limit */
  size_t max_pipelined;        /* requests of one connection before others have their turn: 64 */
  uint32_t header_timeout_ms;  /* 10 s from the first byte */
  uint32_t idle_timeout_ms;    /* 75 s */
  uint32_t body_timeout_ms;    /* without progress: 20 s; also the minimum rate: 1 KiB/s over that time */
  uint32_t write_timeout_ms;   /* without progress: 30 s */
  uint32_t request_timeout_ms; /* default deadline of a context: 30 s */
  uint32_t drain_idle_ms;      /* of a server that drains: 300 ms */
  uint32_t stream_life_ms;     /* of server-sent events: 10 min. Clients come back by themselves, if they still may */
  const char *server;          /* value of Server:, NULL: none */
  const char *const *trusted_proxies; /* addresses and networks ("10.0.0.0/8") whose X-Forwarded-For is believed */
  size_t trusted_proxy_count;
  const char *const *monitors; /* addresses and networks of those that may see what is shown to monitors only */
  size_t monitor_count;
  const char *const *cors_origins; /* "https://app.example.org": whose pages may call us from a browser */
  size_t cors_origin_count;
  bool cors_credentials;   /* with cookies and client certificates */
  uint32_t cors_max_age_s; /* how long a browser may keep the answer to a preflight */

  /* TLS, and a port in the clear beside it */
  bool tls;                     /* the port speaks TLS, as tls_begin (tls.h) has been told */
  const char *strict_transport; /* over TLS: value of Strict-Transport-Security, NULL: none */
  int32_t redirect_port;        /* a port in the clear beside it, which sends to `redirect_to`; -1: none, 0: any */
  const char *redirect_to;      /* "https://HOST[:PORT]"; NULL: to the host that was asked, at the port of TLS */
  bool redirect_health;         /* whether probes (GET /healthz, /readyz) are answered there */
} http_options;

void http_options_default(http_options *options);

/* Opens the listening socket (once; handed to all loops) and begins to accept on every loop. Before loops_run or on
 * loop 0. `why` names address and reason ("port 8080 on 127.0.0.1 is in use by another program"). */
PURLIN_CHECKED purlin_status http_start(const http_options *options, buffer *why);
uint16_t http_port(void);
uint16_t http_redirect_port(void); /* 0: none */

/* Begins to accept where options.held was set; after that nothing. On loop 0. */
void http_accept(void);
/* A listening socket's descriptor, the server's; -1: it does not listen there. */
int http_listener(int which);
/* Somebody else holds the socket, too, as they do one that was passed on: at the end clients wait in its queue for the next process. Of
 * one that is only ours, those in the queue are served before it closes. */
void http_listener_kept(int which);
/* Whether a listening socket is one that `address` and `port` would make (of port 0, any port). */
bool http_listener_fits(int descriptor, const char *address, uint16_t port);

/* Stops accepting; lets requests in flight end, and those that are on their way: an idle connection is closed when no request has come on
 * it for drain_idle_ms (a client told by no `Connection: close` may be sending one just now), and what is answered from now on says
 * `Connection: close`. Closes the rest after `grace_ms`; then calls `done` on loop 0. */
void http_drain(uint32_t grace_ms, void (*done)(void *argument), void *argument);

/* After the loops: frees what http_start made for the whole process. */
void http_end(void);

/* The table of routes; a new one replaces the old at once on every loop, requests in flight keep theirs. Takes a reference of its
 * own and leaves the caller's. */
void http_set_router(http_router *router);

/* What stands before every target: authenticates, sets who/workspace/permission, checks the target's permission. Runs in the
 * request's fiber, before the body is read. An error is answered as a problem. One for the process, set at start. */
typedef purlin_status http_gate(purlin_ctx *ctx, purlin_request *request, const http_target *target);
void http_set_gate(http_gate *gate);

/* The target that a request was routed to. */
const http_target *http_request_target(const purlin_request *request);
/* The client's address, without port: the peer's, or what a trusted proxy says. */
const char *http_request_address(const purlin_request *request);
/* The same of the request that a context answers; "" outside of one. */
const char *http_context_address(const purlin_ctx *ctx);
/* Whether the client's address is one of options.monitors. */
bool http_request_is_monitor(const purlin_request *request);

/* The body holds secrets: what is read of it from now on is zeroed where it came from, and in what purlin_read_all outgrew or gave up; what
 * it returns is for the caller to zero. */
void http_request_wipes(purlin_request *request);

/* The name in the certificate that the client has shown and that was verified (tls.h); NULL: none, or it has ended meanwhile. */
const char *http_request_certificate(const purlin_request *request);

/* Whether its method changes nothing: GET and HEAD. */
bool http_request_only_reads(const purlin_request *request);
/* Whether the page that made a browser ask, if one did, may see what the browser's user sees; what changes something asks
 * purlin_same_origin instead. */
bool http_browser_may_read(const purlin_request *request);
/* Whether a page of another origin made a browser ask; false where no browser says so. */
bool http_another_page_asks(const purlin_request *request);

/* Each pair of the query string, decoded (texts end with NUL and live until the handler returns). A broken escape is skipped. */
void http_query_each(purlin_ctx *ctx, purlin_request *request,
                     void (*each)(void *to, const char *name, const char *value, size_t size), void *to);

/* Writes the context's recorded failure as application/problem+json, with Retry-After where recorded; 5xx texts are logged and
 * replaced by the title. For compatibility routes a target may bring its own writer. */
void http_problem(purlin_ctx *ctx, purlin_request *request, purlin_status status);
/* Sets Retry-After where the context has recorded one; http_problem does it by itself. */
void http_retry_after(purlin_ctx *ctx, purlin_request *request);

/* ---- Streams without a fiber: server-sent events -------------------------------------------------------------------------- */

typedef struct http_stream http_stream;
/* From a route's handler: begins a text/event-stream answer and detaches it from the fiber; the handler then returns.
 * `closed(argument)` is called exactly once, on the loop and never inside a call below, however the stream ends: the client has
 * gone, the server drains, its life is over, http_stream_close. Until then the pointer is good, and sending to an ended stream is
 * false; after it the stream is gone. A comment is sent when nothing was for 15 s. */
PURLIN_CHECKED purlin_status http_stream_open(purlin_ctx *ctx, purlin_request *request, void (*closed)(void *argument),
                                              void *argument, http_stream **stream);
/* On the stream's loop. False when more than 1 MiB waits already: the client is too slow, the stream is closed. Without `data` (NULL)
 * the client only notes the id. */
bool http_stream_send(http_stream *stream, const char *id, const char *event, const char *data, size_t size);
size_t http_stream_unsent(const http_stream *stream); /* bytes that the client has not taken yet */
void http_stream_close(http_stream *stream);

#endif
