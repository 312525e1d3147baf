/* cors.c: which pages of other origins may call us from a browser (the Fetch standard, "CORS protocol").
 *
 * Without configuration none: a browser keeps the answer from the page. With it, an allowed origin is answered by name, never by
 * "*", so that caches and credentials behave; a preflight is answered here and reaches no handler. */
#include "http/connection.h"

#include "core/text.h"

#include <stdio.h>
#include <stdlib.h>

static struct {
  char **origins; /* written at start only */
  size_t count;
  bool credentials;
  char max_age[16];
} allowed;

/* scheme://host[:port], as a browser writes it: no path, no wildcard. */
static bool is_origin(const char *text) {
  const char *host = strstr(text, "://");
  if (host == NULL || host == text || strlen(text) > 300) return false;
  host += 3;
  return *host != '\0' && strpbrk(host, "/?#@* \t\r\n") == NULL;
}

purlin_status cors_start(const http_options *options, buffer *why) {
  cors_end();
  if (options->cors_origin_count == 0) return PURLIN_OK;
  allowed.origins = calloc(options->cors_origin_count, sizeof *allowed.origins);
  if (allowed.origins == NULL) return PURLIN_UNAVAILABLE;
  for (; allowed.count < options->cors_origin_count; allowed.count++) {
    const char *origin = options->cors_origins[allowed.count];
    if (!is_origin(origin)) {
      buffer_format(why, "cors: '%s' is no origin; write it as \"https://app.example.org\"", origin);
      return PURLIN_INVALID;
    }
    allowed.origins[allowed.count] = strdup(origin);
    if (allowed.origins[allowed.count] == NULL) return PURLIN_UNAVAILABLE;
  }
  allowed.credentials = options->cors_credentials;
  (void)snprintf(allowed.max_age, sizeof allowed.max_age, "%u", options->cors_max_age_s);
  return PURLIN_OK;
}

void cors_end(void) {
  for (size_t i = 0; i < allowed.count; i++) free(allowed.origins[i]);
  free(allowed.origins);
  allowed.origins = NULL;
  allowed.count = 0;
}

static bool is_allowed(const char *origin) {
  for (size_t i = 0; i < allowed.count; i++)
    if (strcmp(allowed.origins[i], origin) == 0) return true;
  return false;
}

bool cors_shares(const purlin_request *request) {
  const char *origin = allowed.count > 0 && allowed.credentials ? purlin_header(request, "origin") : NULL;
  return origin != NULL && is_allowed(origin);
}

typedef struct header {
  const char *name, *value; /* NULL: not sent */
} header;

static purlin_status set_all(purlin_ctx *ctx, purlin_request *request, const header *headers, size_t count) {
  purlin_status status = PURLIN_OK;
  for (size_t i = 0; i < count && status == PURLIN_OK; i++)
    if (headers[i].value != NULL) status = purlin_set_header(ctx, request, headers[i].name, headers[i].value);
  return status;
}

static purlin_status answer_preflight(purlin_ctx *ctx, purlin_request *request) {
  const char *methods = request->match.allow;
  const header headers[] = {
      {"Access-Control-Allow-Methods", methods},
      {"Access-Control-Allow-Headers",
       "Authorization, Content-Type, Idempotency-Key, If-Match, Purlin-Project, Purlin-Workspace, Traceparent"},
      {"Access-Control-Max-Age", allowed.max_age}};
  if (methods == NULL) return purlin_fail(ctx, PURLIN_NOT_FOUND, "there is nothing at %.200s", purlin_path(request));
  purlin_status status = set_all(ctx, request, headers, sizeof headers / sizeof headers[0]);
  return status == PURLIN_OK ? purlin_respond_bytes(ctx, request, 204, NULL, "", 0) : status;
}

purlin_status cors_apply(purlin_ctx *ctx, purlin_request *request, bool *answered) {
  *answered = false;
  if (allowed.count == 0) return PURLIN_OK;
  purlin_status status = purlin_set_header(ctx, request, "Vary", "Origin");
  const char *origin = purlin_header(request, "origin");
  if (status != PURLIN_OK || origin == NULL || !is_allowed(origin)) return status;
  const header headers[] = {
      {"Access-Control-Allow-Origin", origin},
      {"Access-Control-Allow-Credentials", allowed.credentials ? "true" : NULL},
      {"Access-Control-Expose-Headers", "Content-Range, ETag, RateLimit, RateLimit-Policy, Retry-After"}};
  status = set_all(ctx, request, headers, sizeof headers / sizeof headers[0]);
  bool preflight =
      request->head.method == METHOD_OPTIONS && purlin_header(request, "access-control-request-method") != NULL;
  if (status != PURLIN_OK || !preflight) return status;
  *answered = true;
  return answer_preflight(ctx, request);
}
