/* http_constant.c: the smallest honest server: one loop, a constant JSON answer behind a gate that checks a token, an access log and
 * metrics. What a request costs here, no request can cost less; it is measured against nginx `return 200`.
 *
 *   http_constant [PORT [LOOPS [ACCESS_LOG]]]      GET /constant with "Authorization: Bearer benchmark" */
#include "core/text.h"
#include "http/server.h"
#include "loop/context.h"
#include "loop/loop.h"
#include "observe/log.h"
#include "observe/metrics.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static purlin_status constant(purlin_ctx *ctx, purlin_request *request, const http_target *target) {
  (void)target;
  static const char answer[] =
      "{\"id\":42,\"name\":\"churn\",\"project\":\"default\",\"created_at\":\"2026-05-01T12:00:00Z\"}";
  return purlin_respond_bytes(ctx, request, 200, "application/json", answer, sizeof answer - 1);
}

static purlin_status gate(purlin_ctx *ctx, purlin_request *request, const http_target *target) {
  (void)target;
  static const char expected[] = "Bearer benchmark";
  const char *header = purlin_header(request, "authorization");
  if (header != NULL && strlen(header) == sizeof expected - 1 && text_equal_secret(header, expected, sizeof expected - 1)) {
    ctx->actor = "token:benchmark";
    return PURLIN_OK;
  }
  return purlin_fail(ctx, PURLIN_UNAUTHENTICATED, "send the header 'Authorization: Bearer benchmark'");
}

static void on_drained(void *argument) {
  (void)argument;
  loops_stop();
}

static void on_signal(uv_signal_t *handle, int number) {
  (void)number;
  uv_close((uv_handle_t *)handle, NULL);
  http_drain(1000, on_drained, NULL);
}

static void watch_signal(uv_signal_t *handle, int number) {
  if (uv_signal_init(loop_uv(loop_at(0)), handle) != 0 || uv_signal_start(handle, on_signal, number) != 0) exit(1);
  uv_unref((uv_handle_t *)handle);
}

static purlin_status serve(const http_options *options, buffer *why) {
  static http_target target = {.name = "bench.constant", .plugin = "bench", .permission = "public", .handle = constant};
  http_router *router = http_router_create();
  if (router == NULL) return PURLIN_UNAVAILABLE;
  purlin_status status = http_router_add(router, "GET /constant", &target, why);
  http_set_router(router);
  http_router_release(router);
  http_set_gate(gate);
  return status != PURLIN_OK ? status : http_start(options, why);
}

int main(int count, char **arguments) {
  http_options options;
  http_options_default(&options);
  options.port = count > 1 ? (uint16_t)strtoul(arguments[1], NULL, 10) : 0;
  size_t loops = count > 2 ? strtoul(arguments[2], NULL, 10) : 1;
  int access = count > 3 ? open(arguments[3], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;
  const log_options logs = {.descriptor = 2, .format = LOG_AUTO, .level = PURLIN_INFO, .access_descriptor = access};
  buffer why = {0};
  if (log_start(&logs) != PURLIN_OK || metrics_register_own() != PURLIN_OK || loops_create(loops) != PURLIN_OK) return 1;
  if (serve(&options, &why) != PURLIN_OK) {
    fprintf(stderr, "%s\n", buffer_end(&why));
    return 1;
  }
  static uv_signal_t terminate, interrupt;
  watch_signal(&terminate, SIGTERM);
  watch_signal(&interrupt, SIGINT);
  printf("%u\n", http_port());
  fflush(stdout);
  loops_run();
  loops_destroy();
  log_stop();
  buffer_free(&why);
  return 0;
}
