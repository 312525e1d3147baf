#include "daemon/daemon.h"
#include "access/access.h"
#include "access/quota.h"
#include "audit/audit.h"
#include "client/client.h"
#include "client/outbound.h"
#include "core/places.h"
#include "daemon/settings.h"
#include "daemon/state.h"
#include "db/db.h"
#include "events/events.h"
#include "http/server.h"
#include "http/tls.h"
#include "jobs/jobs.h"
#include "loop/background.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "operation/operation.h"
#include "plugin/lifecycle.h"
#include "process/process.h"
#include "secrets/secrets.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOLD_MS 20000u
#define REST_MS 30000u

/* What the steps of one start share. Each step says in `why` what is wrong; the first that does ends the start. */
typedef struct starting {
  daemon_arguments arguments;
  settings settings;
  db_options database;
  buffer why;
  int exit_code;
  loop_timer hold; /* until the server accepts, ready or not */
  bool stopping;
  uv_signal_t signals[3];
} starting;

static int complain(starting *s, int exit_code) {
  (void)fprintf(stderr, "purlind: %s\n", s->why.size ? buffer_end(&s->why) : "cannot start");
  return exit_code;
}

/* ---- Before there are threads ---------------------------------------------------------------------------------------------------------- */

/* One daemon per state directory: two would take each other's files. And none on what a restore has not finished. */
static purlin_status take_state(starting *s) {
  purlin_status status = state_take(s->settings.server.state, &s->settings.memory, &s->settings.server.state, &s->why);
  return status == PURLIN_OK ? state_check_whole(s->settings.server.state, &s->why) : status;
}

static purlin_status take_environment(starting *s) { return notify_begin(&s->why) ? PURLIN_OK : PURLIN_INVALID; }

static purlin_status open_keys(starting *s) { return settings_open_keys(&s->settings, false, &s->why); }

static const char *find_runner(starting *s) {
  char runner[PATH_MAX];
  const char *given = s->arguments.runner;
  if (!given) given = places_find_program("purlin-runner", runner, sizeof runner) ? runner : "purlin-runner";
  return arena_copy(&s->settings.memory, given, strlen(given));
}

static purlin_status fork_spawner(starting *s) {
  const char *runner = find_runner(s);
  return runner ? process_spawner_fork(runner, &s->why) : PURLIN_UNAVAILABLE;
}

/* One that is a unit of its own, if we are told of it, outlives us, and so do trainings. Without it a daemon serves all the same. */
static purlin_status start_spawner(starting *s) {
  const char *address = getenv("PURLIN_SPAWNER"), *runner = find_runner(s);
  if (!address || !*address) return fork_spawner(s);
  purlin_status status = runner ? process_spawner_connect(address, runner, &s->why) : PURLIN_UNAVAILABLE;
  if (status == PURLIN_OK || status == PURLIN_CONFLICT) return status;
  (void)fprintf(stderr, "purlind: warning: %s; children are started by a spawner within this service\n",
                buffer_end(&s->why));
  buffer_clear(&s->why);
  return fork_spawner(s);
}

static void tell_ready(void) { notify_systemd("READY=1"); }

/* The program of purlin-spawner.service: it reads no configuration. */
static int be_spawner(starting *s) {
  const char *address = getenv("PURLIN_SPAWNER");
  if (!notify_begin(&s->why)) return complain(s, 1);
  if (!address || !*address) address = "/run/purlin/spawner.sock";
  return process_spawner_serve(address, tell_ready, &s->why) == PURLIN_OK ? 0 : complain(s, 1);
}

static purlin_status start_log(starting *s) {
  static const char *const levels[] = {"debug", "info", "warning", "error"};
  const log_settings *configured = &s->settings.log;
  log_options options = {.descriptor = STDERR_FILENO, .access_descriptor = -1};
  for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
    if (strcmp(levels[i], configured->level) == 0) options.level = (purlin_level)i;
  if (strcmp(configured->format, "json") == 0) options.format = LOG_JSON;
  if (strcmp(configured->format, "human") == 0) options.format = LOG_HUMAN;
  if (strcmp(configured->access, "stderr") == 0) options.access_descriptor = STDERR_FILENO;
  else if (strcmp(configured->access, "off") != 0) {
    options.access_descriptor = open(configured->access, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (options.access_descriptor < 0) {
      buffer_format(&s->why, "cannot open the access log %s: %s", configured->access, strerror(errno));
      return PURLIN_UNAVAILABLE;
    }
  }
  return log_start(&options);
}

/* Before whatever counts: the database resolves its series when it starts. */
static purlin_status start_metrics(starting *s) {
  purlin_status status = metrics_register_own();
  if (status != PURLIN_OK) buffer_text(&s->why, "the metrics cannot be registered");
  return status;
}

/* Before there are threads, which only read it. */
static purlin_status grant_outbound(starting *s) { return settings_use_outbound(&s->settings, &s->why); }

static purlin_status start_rates(starting *s) {
  purlin_status status = rates_start(&s->settings.limits);
  if (status != PURLIN_OK) buffer_text(&s->why, "no memory to count requests");
  return status;
}

static purlin_status start_database(starting *s) {
  const database_settings *configured = &s->settings.database;
  db_options_default(&s->database);
  s->database.connections = (size_t)configured->connections;
  s->database.database = configured->name;
  if (s->arguments.dev) {
    purlin_status status = db_dev_start(s->settings.server.state, &s->database, &s->why);
    if (status != PURLIN_OK) return status;
  } else {
    s->database.socket = configured->socket;
    s->database.host = configured->host;
    s->database.port = (uint16_t)configured->port;
    s->database.user = configured->user;
    s->database.password = configured->password;
    s->database.tls_ca = configured->tls_ca;
    s->database.tls_certificate = configured->tls_certificate;
    s->database.tls_key = configured->tls_key;
  }
  purlin_status status = db_start(&s->database, &s->why);
  if (status != PURLIN_OK && !s->arguments.dev)
    buffer_text(&s->why, " ('purlin setup' makes database and user, 'purlin doctor' says what is wrong)");
  return status;
}

/* ---- Loops, server, plugins: still before anything runs ------------------------------------------------------------------------------------- */

static size_t loops_wanted(const starting *s) {
  if (s->settings.server.loops > 0) return (size_t)s->settings.server.loops;
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  return cores > 0 ? (size_t)cores : 1;
}

static purlin_status start_loops(starting *s) {
  purlin_status status = fiber_process_init();
  if (status == PURLIN_OK) status = loops_create(loops_wanted(s));
  client_options client;
  client_options_default(&client);
  client.environment_proxies = s->settings.outbound.environment_proxies;
  if (status == PURLIN_OK) status = client_start(&client);
  if (status == PURLIN_OK) status = process_start();
  char runs[PATH_MAX + 8];
  (void)snprintf(runs, sizeof runs, "%s/runs", s->settings.server.state);
  process_set_runs(runs);
  if (status != PURLIN_OK) buffer_text(&s->why, "the event loops cannot be made; is memory or a limit of processes short?");
  return status;
}

static purlin_status open_plugins(starting *s) {
  const plugins_settings *configured = &s->settings.plugins;
  const plugins_options options = {.folders = configured->folders.items,
                                   .folder_count = configured->folders.count,
                                   .disabled = configured->disabled.items,
                                   .disabled_count = configured->disabled.count};
  return plugins_load(&options, &s->why);
}

static purlin_status load_plugins(starting *s) {
  purlin_status status = open_plugins(s);
  if (status == PURLIN_OK) status = plugins_configure(s->settings.file, &s->why);
  if (status == PURLIN_OK) status = plugins_register(&s->why);
  return status;
}

/* Every route once, so that a collision is found by --check too. */
static purlin_status make_router(starting *s, http_router **router) {
  *router = http_router_create();
  if (!*router) return PURLIN_UNAVAILABLE;
  return operations_route(*router, &s->why);
}

static purlin_status handle_starting(purlin_ctx *ctx, purlin_request *request, const http_target *target) {
  (void)request;
  (void)target;
  purlin_retry_after(ctx, 1);
  return purlin_fail(ctx, PURLIN_UNAVAILABLE, "the server is starting");
}

static purlin_status handle_health(purlin_ctx *ctx, purlin_request *request, const http_target *target) {
  const purlin_route *route = target->argument;
  /* Nobody can be known before the plugins that know people have started. */
  if (route->for_monitors && !http_request_is_monitor(request)) return handle_starting(ctx, request, target);
  return route->run(ctx, request);
}

/* Until everything has started, only the health routes answer; all else is 503. */
static void add_health(void *to, const plugin *p, const purlin_declaration *declared) {
  (void)p;
  const purlin_route *route = (const void *)declared;
  if (strcmp(route->http, "GET /healthz") != 0 && strcmp(route->http, "GET /readyz") != 0 &&
      strcmp(route->http, "GET /metrics") != 0)
    return;
  static http_target targets[3];
  static size_t count;
  if (count == sizeof targets / sizeof targets[0]) return;
  http_target *target = &targets[count++];
  *target = (http_target){
      .name = route->name, .plugin = "purlin", .permission = "public", .handle = handle_health, .argument = route};
  buffer why = {0};
  if (http_router_add(to, route->http, target, &why) != PURLIN_OK)
    log_write(PURLIN_ERROR, "daemon", "%s", buffer_end(&why));
  buffer_free(&why);
}

static purlin_status listen_early(starting *s) {
  static http_target not_yet[] = {
      {.name = "starting", .plugin = "purlin", .permission = "public", .handle = handle_starting},
      {.name = "starting", .plugin = "purlin", .permission = "public", .handle = handle_starting},
      {.name = "starting", .plugin = "purlin", .permission = "public", .handle = handle_starting},
      {.name = "starting", .plugin = "purlin", .permission = "public", .handle = handle_starting}};
  static const char *const rest[] = {"GET /{rest...}", "POST /{rest...}", "PUT /{rest...}", "DELETE /{rest...}"};
  http_router *router = http_router_create();
  if (!router) return PURLIN_UNAVAILABLE;
  plugin_visit(plugins_first(), PURLIN_KIND_ROUTE, add_health, router);
  for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++) {
    purlin_status status = http_router_add(router, rest[i], &not_yet[i], &s->why);
    if (status != PURLIN_OK) return status;
  }
  http_set_router(router);
  http_router_release(router);
  const server_settings *configured = &s->settings.server;
  http_options options;
  http_options_default(&options);
  options.address = configured->address;
  options.port = (uint16_t)configured->port;
  options.trusted_proxies = configured->trusted_proxies.items;
  options.trusted_proxy_count = configured->trusted_proxies.count;
  options.monitors = configured->monitors.items;
  options.monitor_count = configured->monitors.count;
  options.cors_origins = s->settings.cors.origins.items;
  options.cors_origin_count = s->settings.cors.origins.count;
  options.cors_credentials = s->settings.cors.credentials;
  options.cors_max_age_s = (uint32_t)s->settings.cors.max_age_seconds;
  options.max_body = (uint64_t)configured->max_body_bytes;
  options.max_connections = limits_connections((size_t)configured->max_connections);
  options.max_per_address = (size_t)configured->max_connections_per_address;
  options.request_timeout_ms = (uint32_t)configured->request_timeout_ms;
  options.idle_timeout_ms = (uint32_t)configured->idle_timeout_ms;
  options.write_timeout_ms = (uint32_t)configured->write_timeout_ms;
  purlin_status status = secure_begin(&s->settings, &options, &s->why);
  if (status == PURLIN_OK) passed_choose(&options);
  if (status == PURLIN_OK) status = http_start(&options, &s->why);
  if (status == PURLIN_CONFLICT) buffer_text(&s->why, "; server.port of purlin.lua, or --port, chooses another");
  if (status == PURLIN_OK) passed_store();
  return status;
}

static void announce(starting *s) {
  char url[300];
  const server_settings *configured = &s->settings.server;
  bool six = strchr(configured->address, ':') != NULL;
  (void)snprintf(url, sizeof url, six ? "%s://[%s]:%u" : "%s://%s:%u", secure_is_on(&s->settings) ? "https" : "http",
                 configured->address, http_port());
  settings_announce(configured->state, configured->url ? configured->url : url);
}

/* ---- On loop 0: what parks ------------------------------------------------------------------------------------------------------------------------ */

static script_options options_of_scripts(const starting *s) {
  const lua_settings *configured = &s->settings.lua;
  script_options options;
  script_options_default(&options);
  options.policies = configured->policies;
  options.library = configured->library;
  options.writers = configured->writers.items;
  options.writer_count = configured->writers.count;
  options.memory_limit = (size_t)configured->memory_mb * 1024 * 1024;
  options.timeout_ms = (uint32_t)configured->timeout_ms;
  return options;
}

static purlin_status begin_work(purlin_ctx *ctx, starting *s) {
  const script_options scripts = options_of_scripts(s);
  jobs_options jobs;
  jobs_options_default(&jobs);
  jobs.concurrency = (size_t)s->settings.jobs.concurrency;
  jobs.lease_ms = (uint32_t)s->settings.jobs.lease_seconds * 1000;

  buffer why = {0};
  health_set_starting("policies are loaded");
  /* A policy that does not load refuses itself alone: it is logged and listed, the server goes on. */
  if (script_start(ctx, &scripts, &why) != PURLIN_OK) log_write(PURLIN_ERROR, "lua", "%s", buffer_end(&why));
  buffer_free(&why);
  if (scripts.policies && script_watch() != PURLIN_OK)
    log_write(PURLIN_WARNING, "lua", "the folder of policies is not watched; send SIGHUP after a change");
  health_set_starting("the queue starts");
  purlin_status status = events_start();
  if (status == PURLIN_OK) status = jobs_start(&jobs);
  if (status != PURLIN_OK) buffer_text(&s->why, "the queue of jobs and events cannot start");
  return status;
}

/* Makes the router of everything there is and switches to it. The one before stays until the next switch: /openapi.json may be reading
 * it on another loop. */
static purlin_status serve_routes(starting *s) {
  static http_router *current, *previous;
  http_router *router = NULL;
  purlin_status status = make_router(s, &router);
  if (status == PURLIN_OK) status = script_routes(router, &s->why);
  if (status != PURLIN_OK) {
    if (router) http_router_release(router);
    return status;
  }
  http_set_router(router);
  health_set_router(router);
  if (previous) http_router_release(previous);
  previous = current;
  current = router;
  return PURLIN_OK;
}

/* A reload of scripts brought routes. */
static starting *running;

static void rebuild_routes(void) {
  buffer_clear(&running->why);
  if (serve_routes(running) != PURLIN_OK)
    log_write(PURLIN_ERROR, "lua", "the routes stay as they were: %s", buffer_end(&running->why));
}

static purlin_status begin_audit(purlin_ctx *ctx, starting *s) {
  audit_options audit;
  audit_options_default(&audit);
  audit.state = s->settings.server.state;
  audit.head_ms = (uint32_t)s->settings.audit.head_seconds * 1000;
  audit.retention_days = s->settings.audit.retention_days;
  return audit_start(ctx, &audit, &s->why);
}

static purlin_status start_everything(purlin_ctx *ctx, starting *s) {
  access_identify(ctx, "system", "default", "default");
  health_set_starting("migrations and plugins start");
  purlin_status status = plugins_start(ctx, &s->why);
  if (status == PURLIN_OK) status = access_start(ctx, s->settings.server.state, &s->why);
  if (status == PURLIN_OK) status = quotas_start(ctx);
  if (status == PURLIN_OK) status = begin_audit(ctx, s);
  if (status == PURLIN_OK) status = secrets_start(ctx);
  if (status == PURLIN_OK) status = begin_work(ctx, s);
  if (status == PURLIN_OK) status = serve_routes(s);
  if (status != PURLIN_OK) return status;
  script_on_routes(rebuild_routes);
  tls_watch();
  health_set_starting(NULL);
  return PURLIN_OK;
}

/* The last step on the loops: what is open is closed, so that they can end. */
static void end_loops(starting *s) {
  client_stop();
  for (size_t i = 0; i < sizeof s->signals / sizeof s->signals[0]; i++)
    if (!uv_is_closing((uv_handle_t *)&s->signals[i])) uv_close((uv_handle_t *)&s->signals[i], NULL);
  loops_stop();
}

static void run_start(purlin_ctx *ctx, void *argument) {
  starting *s = argument;
  purlin_status status = start_everything(ctx, s);
  if (status == PURLIN_OK) {
    loop_timer_stop(&s->hold);
    http_accept();
    log_write(PURLIN_INFO, "daemon", "ready at %s", purlin_server_url());
    notify_ready();
    return;
  }
  if (s->why.size == 0) buffer_text(&s->why, purlin_failure(ctx));
  s->exit_code = complain(s, 1);
  end_loops(s);
}

/* ---- Stopping: no new requests, then jobs, events, plugins ---------------------------------------------------------------------------------------------- */

static void run_stop(purlin_ctx *ctx, void *argument) {
  access_identify(ctx, "system", "default", "default");
  script_rest(ctx);
  quotas_stop(ctx);
  secrets_rest(ctx);
  plugins_stop(ctx);
  log_write(PURLIN_INFO, "daemon", "stopped");
  end_loops(argument);
}

static void stop_plugins(void *argument) {
  if (context_start("purlin", "stop", run_stop, argument) != PURLIN_OK) end_loops(argument);
}

static void stop_audit(void *argument) { audit_drain(stop_plugins, argument); }
static void stop_events(void *argument) { events_drain(stop_audit, argument); }
static void stop_jobs(void *argument) {
  starting *s = argument;
  jobs_drain((uint32_t)s->settings.server.drain_seconds * 1000, stop_events, s);
}

static void on_stop(uv_signal_t *signal_watcher, int number) {
  (void)number;
  starting *s = signal_watcher->data;
  if (s->stopping) _exit(130); /* asked twice: at once */
  s->stopping = true;
  log_write(PURLIN_INFO, "daemon", "stopping");
  /* Requests, then jobs, then what plugins end, and the spawner its children. */
  notify_stopping((uint64_t)s->settings.server.drain_seconds * 2000 + REST_MS);
  health_set_starting("the server stops");
  http_drain((uint32_t)s->settings.server.drain_seconds * 1000, stop_jobs, s);
}

static void run_reload(purlin_ctx *ctx, void *argument) {
  (void)argument;
  buffer why = {0};
  tls_reload(ctx);
  if (script_reload(ctx, &why) != PURLIN_OK) log_write(PURLIN_ERROR, "lua", "%s", buffer_end(&why));
  else log_write(PURLIN_INFO, "lua", "policies reloaded");
  buffer_free(&why);
  notify_systemd("READY=1");
}

static void on_reload(uv_signal_t *signal_watcher, int number) {
  (void)signal_watcher;
  (void)number;
  notify_reloading();
  if (context_start("purlin", "reload", run_reload, NULL) != PURLIN_OK)
    log_write(PURLIN_ERROR, "lua", "no fiber for the reload");
}

static purlin_status watch_signals(starting *s) {
  static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
    uv_signal_t *watcher = &s->signals[i];
    watcher->data = s;
    if (uv_signal_init(loop_uv(loop_at(0)), watcher) != 0) return PURLIN_UNAVAILABLE;
    if (uv_signal_start(watcher, numbers[i] == SIGHUP ? on_reload : on_stop, numbers[i]) != 0) return PURLIN_UNAVAILABLE;
    uv_unref((uv_handle_t *)watcher);
  }
  return PURLIN_OK;
}

/* ---- The program --------------------------------------------------------------------------------------------------------------------------------------------- */

/* Whoever calls through a socket that was passed on waits in its queue, instead of being told that the server starts; but not so long that
 * nobody learns it. */
static void on_hold_over(loop_timer *timer) {
  (void)timer;
  http_accept();
}

static void begin_on_loop(void *argument) {
  starting *s = argument;
  running = s;
  notify_begin_watchdog();
  loop_timer_start(loop_at(0), &s->hold, HOLD_MS, on_hold_over);
  if (context_start("purlin", "start", run_start, s) == PURLIN_OK) return;
  s->exit_code = complain(s, 1);
  end_loops(s);
}

static int serve(starting *s) {
  typedef purlin_status step(starting * s);
  static step *const steps[] = {take_environment, grant_outbound, take_state,    start_rates,    start_spawner,
                                open_keys,        start_log,      start_metrics, start_database, start_loops,
                                load_plugins,     listen_early,   watch_signals};
  for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
    if (steps[i](s) != PURLIN_OK) {
      process_stop();
      db_dev_stop();
      return complain(s, 1);
    }
  if (s->settings.file && *config_warnings(s->settings.file))
    log_write(PURLIN_WARNING, "daemon", "%s", config_warnings(s->settings.file));
  announce(s);
  access_init();
  audit_enable();
  static loop_post_item begin;
  begin = (loop_post_item){.call = begin_on_loop, .argument = s};
  loop_post(loop_at(0), &begin);
  loops_run();
  access_end();
  quotas_end();
  rates_end();
  outbound_end();
  http_end();
  script_stop();
  loops_destroy();
  tls_end();
  backgrounds_free();
  db_stop();
  secrets_close();
  process_stop();
  db_dev_stop();
  log_stop();
  return s->exit_code;
}

/* Scripts are loaded as they would be at the start, but on one loop, which never runs. */
static purlin_status check_scripts(starting *s, size_t *count) {
  const script_options options = options_of_scripts(s);
  purlin_status status = loops_create(1);
  if (status == PURLIN_OK) status = script_check(&options, count, &s->why);
  loops_destroy();
  return status;
}

static int check(starting *s) {
  size_t scripts = 0, count = 0;
  http_router *router = NULL;
  purlin_status status = secure_check(&s->settings, &s->why);
  if (status == PURLIN_OK) status = settings_use_outbound(&s->settings, &s->why);
  if (status == PURLIN_OK) status = settings_open_keys(&s->settings, true, &s->why);
  if (status == PURLIN_OK) status = fork_spawner(s);
  if (status == PURLIN_OK) status = start_metrics(s);
  if (status == PURLIN_OK) status = load_plugins(s);
  if (status == PURLIN_OK) status = make_router(s, &router);
  if (status == PURLIN_OK) status = check_scripts(s, &scripts);
  if (router) http_router_release(router);
  process_stop();
  if (status != PURLIN_OK) return complain(s, 1);
  for (const plugin *p = plugins_first(); p; p = p->next) count++;
  if (s->settings.file && *config_warnings(s->settings.file))
    (void)fprintf(stderr, "warning: %s\n", config_warnings(s->settings.file));
  (void)printf("purlind: the configuration is valid; %zu plugins, %zu script%s\n", count - 1, scripts,
               scripts == 1 ? "" : "s");
  return 0;
}

/* What the upgrade's pre-flight asks of the new release: nothing is configured or started for it. */
static int list_migrations(starting *s) {
  if (open_plugins(s) != PURLIN_OK) return complain(s, 1);
  buffer out = {0};
  plugins_list_migrations(&out);
  bool whole = !out.failed && fwrite(out.data, 1, out.size, stdout) == out.size && fflush(stdout) == 0;
  buffer_free(&out);
  return whole ? 0 : 1;
}

int purlin_daemon_main(int count, char **arguments) {
  static starting s;
  if (count > 2 && strcmp(arguments[1], "__complete") == 0) {
    (void)manual_complete_options(&daemon_manual, count - 2, arguments + 2, stdout);
    return 0;
  }
  if (!daemon_arguments_parse(count, arguments, &s.arguments, &s.why)) return complain(&s, 2);
  if (s.arguments.help || s.arguments.version) {
    if (s.arguments.help) manual_help(&daemon_manual, stdout);
    else (void)puts("purlind " PURLIN_VERSION);
    return 0;
  }
  if (s.arguments.spawner) return be_spawner(&s);
  if (settings_load(&s.arguments, &s.settings, &s.why) != PURLIN_OK) return complain(&s, 1);
  int exit_code = s.arguments.check ? check(&s) : s.arguments.migrations ? list_migrations(&s) : serve(&s);
  settings_free(&s.settings);
  buffer_free(&s.why);
  return exit_code;
}
