/* route.h: HTTP by hand, for what is not a function from JSON to JSON: uploads and downloads that stream, protocols of
 * others, the prediction hot path. Everything else is an operation.
 *
 *   PURLIN_ROUTE(upload_version, "POST /api/v1/datasets/{name}/versions",
 *       .summary = "Upload a version of a dataset", .permission = "datasets:write", .body = "text/csv",
 *       .out = dataset_version_schema)
 *   {
 *     char block[64 * 1024]; size_t got;
 *     for (;;) {
 *       purlin_status status = purlin_read(ctx, request, block, sizeof block, &got);
 *       if (status != PURLIN_OK) return status;
 *       if (got == 0) break;
 *       ...
 *     }
 *     return purlin_respond(ctx, request, 201, dataset_version_schema(), &version);
 *   }
 *
 * A route that returns an error before it has begun its answer is answered with problem+json, or in its dialect.
 *
 * Since 0.1 unless a comment says otherwise; base.h says what else holds everywhere. */
#ifndef PURLIN_ROUTE_H
#define PURLIN_ROUTE_H

#include <purlin/dialect.h>

PURLIN_BEGIN

/* A request being answered; valid until the route's function returns. */
typedef struct purlin_request purlin_request;

typedef purlin_status purlin_route_run(purlin_ctx *ctx, purlin_request *request);

typedef struct purlin_route {
  purlin_declaration declared;
  const char *name;
  purlin_route_run *run;
  const char *http;                    /* "METHOD /path/{parameter}"; a last "{parameter...}" takes the rest of the path */
  const char *summary;                 /* one line; required */
  const char *permission;              /* required; "public" when anyone may; "callback" when a token in the path decides */
  const purlin_schema *(*query)(void); /* of the query string, for the documentation and purlin_query_decode; may be NULL */
  const char *body;                    /* media type of the request's body; NULL: none */
  const purlin_schema *(*in)(void);    /* of the body, when it is JSON; for the documentation; may be NULL */
  const purlin_schema *(*out)(void);   /* of the answer, when it is JSON; may be NULL */
  const char *answer;                  /* media type of the answer when it is not JSON */
  uint64_t max_body;                   /* bytes; 0: the server's default (8 MiB); UINT64_MAX: no limit */
  uint32_t timeout_ms;                 /* for the whole request; 0: the server's default; UINT32_MAX: none */
  const purlin_dialect *dialect;       /* of its errors; NULL: problem+json */
  bool by_project;                     /* as in purlin_operation */
  bool for_monitors;                   /* whoever asks from an address of server.monitors needs no permission */
} purlin_route;

#define PURLIN_ROUTE(function, http_, ...)                                                                                 \
  static purlin_status function(purlin_ctx *ctx, purlin_request *request);                                                 \
  static const purlin_route function##_route = {.declared = PURLIN_HEAD_(purlin_route, PURLIN_KIND_ROUTE),                 \
                                                .name = #function,                                                         \
                                                .run = function,                                                           \
                                                .http = http_,                                                             \
                                                __VA_ARGS__};                                                              \
  PURLIN_DECLARE_(function##_route);                                                                                       \
  static purlin_status function(PURLIN_MAYBE_UNUSED purlin_ctx *ctx, PURLIN_MAYBE_UNUSED purlin_request *request)

/* ---- The request. Texts live until the route returns. None of these parks unless it says so. ------------------------------- */

/* Of the request line and the headers. None fails; without memory a parameter is "" and a query value NULL. */
PURLIN_API const char *purlin_parameter(const purlin_request *request,
                                        const char *name); /* from the path, decoded; never NULL for a declared one */
PURLIN_API const char *purlin_query_value(const purlin_request *request, const char *name); /* decoded; NULL when absent */
PURLIN_API const char *purlin_header(const purlin_request *request, const char *name);      /* any case; NULL when absent */
PURLIN_API const char *purlin_method(const purlin_request *request);
PURLIN_API const char *purlin_path(const purlin_request *request);    /* as sent, without the query */
PURLIN_API const char *purlin_address(const purlin_request *request); /* of the client, without port */
/* For what a browser sends. The cookie of that name; arena; NULL when there is none, or several. */
PURLIN_API const char *purlin_cookie(const purlin_request *request, const char *name);
/* The name of the cookie that a session of a browser has: "__Host-purlin-session" over TLS, also that of a trusted proxy, and
 * "purlin-session" in the clear from this very host; NULL in the clear from elsewhere, where there can be none. Static. */
PURLIN_API const char *purlin_session_cookie(const purlin_request *request);
/* Whether a page of this very server asked, or what is no browser and says so by the header "Purlin-Csrf: 1". The gate asks it of each
 * request that comes with a session's cookie and is neither GET nor HEAD; public routes that begin or end a session ask it themselves. */
PURLIN_API bool purlin_same_origin(const purlin_request *request);
/* Where the client has reached this server: "https://purlin.example.org", by its Host header and whether TLS is spoken, also that of a trusted
 * proxy; for addresses that go back to this very client. Arena; "" without a Host header; NULL as purlin_alloc. Since 0.2. */
PURLIN_API const char *purlin_origin(const purlin_request *request);
/* Bytes of the body, 0 without one, -1 when it is chunked: not known. */
PURLIN_API int64_t purlin_content_length(const purlin_request *request);

/* Decodes the query string by a schema: texts become numbers, booleans and lists (a repeated key) as the schema says; what `out` points
 * to is arena. Errors: PURLIN_INVALID (one message per parameter), PURLIN_TOO_LARGE. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_query_decode(purlin_ctx *ctx, purlin_request *request,
                                                            const purlin_schema *schema, void *out);

/* Reads up to `size` bytes of the body; `*got` is 0 at its end. Memory stays bounded: the client is held back while
 * nobody reads. May park. Errors: PURLIN_TOO_LARGE, PURLIN_INVALID (a broken body), PURLIN_CANCELLED, PURLIN_TIMEOUT. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_read(purlin_ctx *ctx, purlin_request *request, void *buffer, size_t size,
                                                    size_t *got);
/* Reads the whole body, at most `limit` bytes, into the arena (a NUL follows it); "" and 0 without one. May park. Errors as above. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_read_all(purlin_ctx *ctx, purlin_request *request, size_t limit,
                                                        const char **body, size_t *size);

/* ---- The answer: either one call, or begin, write ... write. The end of the route's function ends it. --------------------- */

/* Adds a header to the answer; before it begins. Both texts are copied. Does not park.
 * Errors: PURLIN_INVALID (a control character, or a header that the server sets), PURLIN_INTERNAL (the answer has begun),
 * PURLIN_TOO_LARGE. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_set_header(purlin_ctx *ctx, purlin_request *request, const char *name,
                                                          const char *value);
/* A whole answer from a schema, or of raw bytes (copied; media_type NULL: none said). `http_status`: 200 to 599. Neither parks.
 * Errors, here and below: PURLIN_CANCELLED when the client has gone, PURLIN_INTERNAL (answered already, no such status),
 * PURLIN_TOO_LARGE. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_respond(purlin_ctx *ctx, purlin_request *request, unsigned http_status,
                                                       const purlin_schema *schema, const void *value);
PURLIN_API PURLIN_CHECKED purlin_status purlin_respond_bytes(purlin_ctx *ctx, purlin_request *request, unsigned http_status,
                                                             const char *media_type, const void *data, size_t size);
/* Begins an answer that streams. `length` in bytes, or -1 when it is not known (chunked). Does not park. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_respond_begin(purlin_ctx *ctx, purlin_request *request, unsigned http_status,
                                                             const char *media_type, int64_t length);
/* Sends more of it (copied); waits while the client is slow. May park. Errors: PURLIN_CANCELLED when the client has gone,
 * PURLIN_TIMEOUT, PURLIN_INTERNAL (not begun, or more than `length`). */
PURLIN_API PURLIN_CHECKED purlin_status purlin_write(purlin_ctx *ctx, purlin_request *request, const void *data,
                                                     size_t size);

/* The byte range that the client asks for of something `total` bytes long: *first and *length say what to send, and the
 * return what to answer: 200 (no range asked, or one that must be ignored), 206 or 416. Sets Content-Range and
 * Accept-Ranges; call it before the answer begins. `etag` (quoted, may be NULL) is compared with If-Range and sent. Does not park;
 * cannot fail: what is wrong with the header is ignored, as HTTP wants it. */
PURLIN_API unsigned purlin_range(purlin_ctx *ctx, purlin_request *request, uint64_t total, const char *etag,
                                 uint64_t *first, uint64_t *length);

PURLIN_END

#endif
