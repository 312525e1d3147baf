/* http.h: outbound HTTP.
 *
 *   purlin_http_answer answer;
 *   purlin_status status = purlin_http(ctx, &(purlin_http_call){
 *       .method = "POST", .url = url, .body = body, .body_size = size, .timeout_ms = 5000, .retries = 3}, &answer);
 *
 * Each origin (scheme, host, port) has a circuit breaker; the trace context travels along; time-outs are never longer than
 * the context's deadline. Certificates are always verified. Redirects are not followed.
 *
 * Addresses that are private, loopback, link-local, or otherwise of no use in the Internet are refused with PURLIN_FORBIDDEN, unless
 * outbound { allow = { ... } } in purlin.lua grants them. It is the address that is judged, after the name was resolved.
 *
 * Since 0.1 unless a comment says otherwise; base.h says what else holds everywhere. */
#ifndef PURLIN_HTTP_H
#define PURLIN_HTTP_H

#include <purlin/base.h>

PURLIN_BEGIN

typedef struct purlin_http_call {
  const char *method;         /* NULL: GET */
  const char *url;            /* http:// or https:// */
  const char *const *headers; /* "Name: value", ended by NULL; may be NULL */
  const void *body;           /* borrowed until the call returns */
  size_t body_size;
  const char *body_file;   /* instead of body: a file that is streamed */
  const char *answer_file; /* stream the body of a 2xx answer into this file, which must not exist yet (0600, not
                                       synced); it is there when the status is 2xx, and else removed */
  size_t max_answer;       /* bytes kept in memory; 0: 1 MiB; with answer_file: bytes on disk, 0: no limit */
  uint32_t timeout_ms;     /* of each attempt; 0: 30 s */
  uint32_t retries;        /* further attempts after a failed connect, 429, 502, 503, 504 and, for GET, HEAD, PUT and
                                       DELETE, a lost connection; exponential backoff with jitter from 100 ms, Retry-After obeyed */
} purlin_http_call;

typedef struct purlin_http_answer {
  unsigned status;        /* of the last attempt; 0 when there was none */
  const char *body;       /* arena, a NUL follows; "" when it went to a file */
  size_t body_size;       /* bytes, wherever they went */
  const char *media_type; /* arena; "" when absent */
  const char *location;   /* arena; "" when absent */
  uint32_t attempts;
} purlin_http_answer;

/* Calls and waits. PURLIN_OK means that an answer came, of whatever status. `call` is borrowed. May park.
 * Errors: PURLIN_UNAVAILABLE (cannot connect, or the circuit breaker is open), PURLIN_TIMEOUT, PURLIN_CANCELLED,
 * PURLIN_TOO_LARGE, PURLIN_FORBIDDEN (an address that is not granted; nothing was sent), PURLIN_INVALID (URL, method, headers), PURLIN_NO_SPACE, PURLIN_CONFLICT (answer_file exists),
 * PURLIN_INTERNAL (a transaction is open), PURLIN_BAD_UPSTREAM (no HTTP, or the connection was lost after the request was sent). */
PURLIN_API PURLIN_CHECKED purlin_status purlin_http(purlin_ctx *ctx, const purlin_http_call *call,
                                                    purlin_http_answer *answer);

struct sockaddr;
/* The same judgement for whoever has sockets of its own: whether this process may connect to `address`, to which `host` ("" or NULL:
 * unknown) was resolved. Ask with what connect() will be given, at the last moment: in libcurl's CURLOPT_OPENSOCKETFUNCTION, say.
 * False is logged and counted. Borrowed. Any thread; never parks. */
PURLIN_API PURLIN_CHECKED bool purlin_outbound_permits(const char *host, uint16_t port, const struct sockaddr *address,
                                                       size_t size);
/* Records that and what would grant it, without the address; returns PURLIN_FORBIDDEN. */
PURLIN_API purlin_status purlin_outbound_refused(purlin_ctx *ctx, const char *host, uint16_t port);

PURLIN_END

#endif
