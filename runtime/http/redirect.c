/* redirect.c: the port in the clear beside TLS. It sends those who read over to https and refuses the rest: a request that changes
 * something has shown its secrets by the time that a redirect could be answered, and should fail where its author sees it. */
#include "http/connection.h"

#include <string.h>

static bool only_reads(http_method_index method) {
  return method == METHOD_GET || method == METHOD_HEAD || method == METHOD_OPTIONS;
}

/* Of a Host header, which strict.c has found well formed. */
static size_t without_port(const char *host) {
  const char *end = host[0] == '[' ? strchr(host, ']') : NULL;
  return end != NULL ? (size_t)(end + 1 - host) : strcspn(host, ":");
}

/* "https://HOST[:PORT]"; NULL: neither the settings nor the request name a host. */
static const char *where_to(purlin_ctx *ctx, purlin_request *request) {
  if (http_settings.redirect_to != NULL) return http_settings.redirect_to;
  const char *host = purlin_header(request, "host");
  if (host == NULL || host[0] == '\0') return NULL;
  unsigned port = http_port();
  if (port == 443) return purlin_format(ctx, "https://%.*s", (int)without_port(host), host);
  return purlin_format(ctx, "https://%.*s:%u", (int)without_port(host), host, port);
}

static purlin_status answer_redirect(purlin_ctx *ctx, purlin_request *request, const http_target *target) {
  (void)target;
  const char *to = where_to(ctx, request);
  if (to == NULL || !only_reads(request->head.method))
    return purlin_fail(ctx, PURLIN_INVALID, "this port only redirects to https; send %s requests there",
                       purlin_method(request));
  const http_slice path = request->head.path, query = request->head.query;
  const char *address = purlin_format(ctx, "%s%.*s%s%.*s", to, path.size == 0 ? 1 : (int)path.size,
                                      path.size == 0 ? "/" : request->text + path.at, query.size == 0 ? "" : "?",
                                      (int)query.size, query.size == 0 ? "" : request->text + query.at);
  if (address == NULL) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_set_header(ctx, request, "Location", address);
  return status == PURLIN_OK ? purlin_respond_bytes(ctx, request, 308, NULL, "", 0) : status;
}

http_target http_target_redirect = {
    .name = "redirect", .plugin = "http", .permission = "public", .handle = answer_redirect};

/* Where a request on that port leads; `found` is where it would on the other. */
const http_target *redirect_target(const http_head *head, const char *raw, const http_target *found) {
  static const char *const probes[] = {"/healthz", "/readyz"};
  if (!http_settings.redirect_health || found == NULL || !only_reads(head->method)) return &http_target_redirect;
  for (size_t i = 0; i < sizeof probes / sizeof probes[0]; i++)
    if (head->path.size == strlen(probes[i]) && memcmp(raw + head->path.at, probes[i], head->path.size) == 0) return found;
  return &http_target_redirect;
}
