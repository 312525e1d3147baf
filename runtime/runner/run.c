/* run.c: one run: a loop of our own, the HTTP client, one fiber. What it has to say goes to the server; its log is JSON lines
 * on stderr. */
#include "client/client.h"
#include "client/outbound.h"
#include "core/schema.h"
#include "loop/context.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "runner/runner.h"
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define LARGEST_MESSAGE ((size_t)16 * 1024 * 1024)

typedef struct message {
  purlin_json configuration, input;
} message;
PURLIN_SCHEMA(message, "The one message",
    PURLIN_OPTIONAL(configuration, "The plugin's section of purlin.lua"),
    PURLIN_OPTIONAL(input, "What the contract says"));

typedef struct running {
  const char *path, *contract, *name;
  buffer text;     /* the message */
  purlin_ctx *ctx; /* while it runs */
  bool cancelled;
  int exit_code;
  loop_post_item begin;
  uv_signal_t signals[2];
} running;

const char *runner_failure(purlin_ctx *ctx) {
  const char *text = ctx->field_count > 0 ? "" : purlin_copy(ctx, ctx->failure ? ctx->failure : "");
  for (size_t i = 0; i < ctx->field_count && text; i++) {
    const context_field_error *field = &ctx->fields[i];
    text =
        purlin_format(ctx, "%s%s%s%s%s", text, i > 0 ? "; " : "", field->field, *field->field ? ": " : "", field->message);
  }
  return text ? text : "out of memory";
}

purlin_status runner_refuse(purlin_ctx *ctx, purlin_status status, const char *what) {
  const char *why = runner_failure(ctx);
  purlin_clear_failure(ctx); /* the fields are in the text now */
  return purlin_fail(ctx, status, "%s: %s", what, why);
}

static purlin_status configure(purlin_ctx *ctx, plugin *p, purlin_json configuration) {
  const purlin_schema *schema = p->manifest->configuration ? p->manifest->configuration() : purlin_nothing_schema();
  void *decoded = purlin_alloc(ctx, schema->struct_size);
  if (!decoded) return PURLIN_TOO_LARGE;
  const char *text = configuration.text ? configuration.text : "{}";
  purlin_status status = purlin_decode(ctx, schema, text, configuration.text ? configuration.size : 2, decoded);
  if (status != PURLIN_OK) return runner_refuse(ctx, status, "the configuration is not valid");
  p->configuration = decoded;
  return PURLIN_OK;
}

purlin_status runner_open(purlin_ctx *ctx, const char *path, purlin_json configuration, plugin **out) {
  buffer why = {0};
  purlin_status status = plugin_open(path, true, out, &why);
  if (status != PURLIN_OK) status = purlin_fail(ctx, status, "%s", buffer_end(&why));
  buffer_free(&why);
  if (status != PURLIN_OK) return status;
  status = configure(ctx, *out, configuration);
  if (status == PURLIN_OK) return status;
  plugin_free(*out);
  *out = NULL;
  return status;
}

static int obey(purlin_ctx *ctx, const running *r) {
  message asked = {0};
  if (purlin_decode(ctx, message_schema(), r->text.data ? r->text.data : "", r->text.size, &asked) != PURLIN_OK) {
    purlin_log(ctx, PURLIN_ERROR, "the message on stdin is not valid: %s", runner_failure(ctx));
    return RUNNER_USAGE;
  }
  if (strcmp(r->contract, "trainer") == 0) return runner_train(ctx, r->path, r->name, asked.configuration, asked.input);
  purlin_log(ctx, PURLIN_ERROR, "the contract '%s' cannot run contained", r->contract);
  return RUNNER_USAGE;
}

static void run(purlin_ctx *ctx, void *argument) {
  running *r = argument;
  r->ctx = ctx;
  ctx->cancelled = r->cancelled;
  r->exit_code = obey(ctx, r);
  r->ctx = NULL;
  client_stop();
  loops_stop();
}

static void begin(void *argument) {
  running *r = argument;
  if (context_start("runner", "run", run, r) != PURLIN_OK) loops_stop();
}

static void on_signal(uv_signal_t *watcher, int number) {
  (void)number;
  running *r = watcher->data;
  if (!r->cancelled) log_write(PURLIN_INFO, "runner", "asked to stop");
  r->cancelled = true;
  if (r->ctx) context_cancel(r->ctx);
}

/* A plugin in a process of its own may open sockets as it likes: what it may reach is for the sandbox that it is in to say. And the server,
 * which it reports to, is often on this machine. */
static bool grant_everything(void) {
  static const char *const everything[] = {"0.0.0.0/0", "::/0"};
  buffer why = {0};
  purlin_status status = outbound_begin(everything, sizeof everything / sizeof everything[0], &why);
  buffer_free(&why);
  return status == PURLIN_OK;
}

static bool start(running *r) {
  static const int numbers[] = {SIGTERM, SIGINT};
  if (log_start(&(log_options){
          .descriptor = STDERR_FILENO, .format = LOG_JSON, .level = PURLIN_INFO, .access_descriptor = -1}) != PURLIN_OK)
    return false;
  if (loops_create(1) != PURLIN_OK || metrics_register_own() != PURLIN_OK) return false;
  client_options client;
  client_options_default(&client);
  client.environment_proxies = true;
  client.breaker_open_ms = 1000; /* there is one server, and trainers wait for it themselves */
  if (!grant_everything() || client_start(&client) != PURLIN_OK) return false;
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
    r->signals[i].data = r;
    if (uv_signal_init(loop_uv(loop_at(0)), &r->signals[i]) != 0) return false;
    if (uv_signal_start(&r->signals[i], on_signal, numbers[i]) != 0) return false;
    uv_unref((uv_handle_t *)&r->signals[i]);
  }
  return true;
}

int runner_run(const char *path, const char *contract, const char *name) {
  static running r; /* libuv's handles outlive this call's frame until the loops are destroyed */
  r = (running){.path = path, .contract = contract, .name = name, .exit_code = RUNNER_FAILED};
  if (!start(&r)) {
    log_write(PURLIN_ERROR, "runner", "cannot start: memory or a limit of processes is short");
    log_stop();
    return RUNNER_FAILED;
  }
  if (runner_read_input(&r.text, LARGEST_MESSAGE)) {
    r.begin = (loop_post_item){.call = begin, .argument = &r};
    loop_post(loop_at(0), &r.begin);
    loops_run();
  } else
    log_write(PURLIN_ERROR, "runner", "the message on stdin cannot be read, or is larger than %zu bytes", LARGEST_MESSAGE);
  loops_destroy();
  outbound_end();
  buffer_free(&r.text);
  log_stop();
  return r.exit_code;
}
