#include "daemon/daemon.h"
#include "access/access.h"
#include "core/text.h"
#include "db/db.h"
#include "http/server.h"
#include "http/tls.h"
#include "lua/script.h"
#include "observe/metrics.h"
#include "operation/operation.h"
#include "plugin/host.h"
#include <purlin/route.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static _Atomic(const char *) starting = "the process begins";
static _Atomic(const http_router *) current_router;

void health_set_starting(const char *step) { atomic_store(&starting, step); }
void health_set_router(const http_router *router) { atomic_store(&current_router, router); }

PURLIN_ROUTE(server_alive, "GET /healthz", .summary = "Whether the process is alive", .permission = "public", .answer = "application/json") {
  static const char ok[] = "{\"status\":\"ok\"}";
  return purlin_respond_bytes(ctx, request, 200, "application/json", ok, sizeof ok - 1);
}

typedef struct ready_check {
  const char *name;
  bool ready;
  purlin_opt_text detail;
} ready_check;
PURLIN_SCHEMA(ready_check, "One thing that has to be ready",
    PURLIN_REQUIRED(name, "What"),
    PURLIN_REQUIRED(ready, "Whether it is; of scripts also when some are refused: the others work, and the server is degraded"),
    PURLIN_OPTIONAL(detail, "What is not ready, and why"));

typedef struct readiness {
  const char *status;
  PURLIN_LIST_OF(ready_check) checks;
} readiness;
PURLIN_SCHEMA(readiness, "Whether requests are welcome",
    PURLIN_REQUIRED(status, "ready, degraded (requests are welcome, but something wants to be looked at) or not ready"),
    PURLIN_LIST(checks, ready_check, "What was looked at: told to those of server.monitors, and to whoever holds metrics:read in the workspace 'default'"));

static void add(purlin_ctx *ctx, readiness *r, const char *name, const char *detail) {
  ready_check *check = &r->checks.items[r->checks.count++];
  *check = (ready_check){.name = name, .ready = detail == NULL};
  if (!detail) return;
  check->detail = (purlin_opt_text){PURLIN_SET, purlin_copy(ctx, detail)};
  r->status = "not ready";
}

static void add_database(purlin_ctx *ctx, readiness *r) {
  buffer why = {0};
  bool ready = db_ready(&why);
  add(ctx, r, "database", ready ? NULL : why.size ? buffer_end(&why) : "no connection");
  buffer_free(&why);
}

static void add_plugins(purlin_ctx *ctx, readiness *r, size_t room) {
  for (const plugin *p = plugins_first(); p && room > 0; p = p->next, room--)
    add(ctx, r, p->name, p->state == PLUGIN_STARTED ? NULL : p->error ? p->error : plugin_state_name(p->state));
}

/* A refused script costs what it would have done, not the server: so this changes a status of ready to degraded, and no more. */
static void add_scripts(purlin_ctx *ctx, readiness *r) {
  buffer names = {0};
  add(ctx, r, "scripts", NULL);
  if (script_refusals(&names)) {
    ready_check *check = &r->checks.items[r->checks.count - 1];
    const char *detail = purlin_format(ctx, "refused: %s; the operation scripts.list tells why", buffer_end(&names));
    check->detail = (purlin_opt_text){PURLIN_SET, detail};
    if (strcmp(r->status, "ready") == 0) r->status = "degraded";
  }
  buffer_free(&names);
}

/* Nor does a certificate that wants to be looked at. Left out where all is well, as it is without TLS. */
static void add_tls(purlin_ctx *ctx, readiness *r) {
  buffer why = {0};
  if (tls_complaint(&why)) {
    const char *before = r->status;
    add(ctx, r, "tls", buffer_end(&why));
    r->status = strcmp(before, "ready") == 0 ? "degraded" : before;
  }
  buffer_free(&why);
}

/* Names of plugins and errors of the database are of all workspaces, and nobody else's business. */
static bool is_of_default(const purlin_ctx *ctx) { return strcmp(purlin_workspace(ctx), "default") == 0; }

/* Who somebody is takes the database: without it only monitors are told what is the matter. */
static bool may_see_checks(purlin_ctx *ctx, purlin_request *request) {
  if (http_request_is_monitor(request)) return true;
  buffer why = {0};
  bool known = atomic_load(&starting) == NULL && db_ready(&why) && access_shows(ctx, request, "metrics:read");
  buffer_free(&why);
  return known && is_of_default(ctx);
}

PURLIN_ROUTE(server_ready, "GET /readyz", .summary = "Whether the server is ready, and what is not", .permission = "public", .out = readiness_schema) {
  enum { MOST_CHECKS = 260 };
  readiness r = {.status = "ready"};
  r.checks.items = purlin_alloc_array(ctx, MOST_CHECKS + 4, sizeof(ready_check));
  if (!r.checks.items) return PURLIN_TOO_LARGE;
  add(ctx, &r, "start", atomic_load(&starting));
  add_database(ctx, &r);
  add_plugins(ctx, &r, MOST_CHECKS);
  add_scripts(ctx, &r);
  add_tls(ctx, &r);
  bool ready = strcmp(r.status, "not ready") != 0;
  if (!may_see_checks(ctx, request)) r.checks.count = 0;
  if (!ready) {
    purlin_status status = purlin_set_header(ctx, request, "Retry-After", "1");
    if (status != PURLIN_OK) return status;
  }
  return purlin_respond(ctx, request, ready ? 200 : 503, readiness_schema(), &r);
}

static purlin_status respond_buffer(purlin_ctx *ctx, purlin_request *request, const char *media_type, buffer *body) {
  purlin_status status =
      body->failed ? PURLIN_UNAVAILABLE : purlin_respond_bytes(ctx, request, 200, media_type, body->data, body->size);
  buffer_free(body);
  return status;
}

PURLIN_ROUTE(server_metrics, "GET /metrics", .summary = "Numbers for Prometheus", .permission = "metrics:read", .for_monitors = true, .answer = "text/plain") {
  if (!http_request_is_monitor(request) && !is_of_default(ctx))
    return purlin_fail(ctx, PURLIN_FORBIDDEN,
                       "the metrics are those of all workspaces: they are read from the workspace 'default'");
  const char *accept = purlin_header(request, "accept");
  bool open = accept && strstr(accept, "application/openmetrics-text");
  buffer body = {0};
  if (open) metrics_render_open(&body);
  else metrics_render(&body);
  return respond_buffer(ctx, request,
                        open ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                             : "text/plain; version=0.0.4; charset=utf-8",
                        &body);
}

PURLIN_ROUTE(server_openapi, "GET /openapi.json", .summary = "This API as OpenAPI 3.1", .permission = "public", .answer = "application/json") {
  const http_router *router = atomic_load(&current_router);
  if (!router) return purlin_fail(ctx, PURLIN_UNAVAILABLE, "the server is starting");
  buffer body = {0};
  openapi_render(router, &body);
  return respond_buffer(ctx, request, "application/json", &body);
}

/* What of a page the browser may run or apply, as Content-Security-Policy names it: the hash of what stands between two of its tags. */
static void allow_inline(buffer *policy, const char *directive, const char *page, const char *begin, const char *end) {
  const char *from = strstr(page, begin), *to = from ? strstr(from, end) : NULL;
  if (!to) return;
  uint8_t hash[32];
  char digest[48];
  from += strlen(begin);
  text_sha256(from, (size_t)(to - from), hash);
  text_base64(hash, sizeof hash, digest);
  buffer_format(policy, "; %s 'sha256-%s'", directive, digest);
}

/* A page's own script and style, and what that script asks this server for. */
static purlin_status respond_page(purlin_ctx *ctx, purlin_request *request, const char *page) {
  buffer policy = {0};
  buffer_text(&policy,
              "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
  allow_inline(&policy, "script-src", page, "<script>", "</script>");
  allow_inline(&policy, "style-src", page, "<style>", "</style>");
  purlin_status status =
      policy.failed ? PURLIN_UNAVAILABLE : purlin_set_header(ctx, request, "Content-Security-Policy", buffer_end(&policy));
  buffer_free(&policy);
  if (status == PURLIN_OK) status = purlin_set_header(ctx, request, "Cache-Control", "public, max-age=3600");
  if (status != PURLIN_OK) return status;
  return purlin_respond_bytes(ctx, request, 200, "text/html; charset=utf-8", page, strlen(page));
}

PURLIN_ROUTE(server_home, "GET /", .summary = "What this server is, for a browser", .permission = "public", .answer = "text/html") {
  return respond_page(ctx, request, home_page);
}

PURLIN_ROUTE(server_docs, "GET /docs", .summary = "This API, to be read in a browser", .permission = "public", .answer = "text/html") {
  return respond_page(ctx, request, docs_page);
}
