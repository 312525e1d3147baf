/* Routes of scripts on the real server, asked by scripts with the real client. */
#include "lua_harness.h"

#include "client/client.h"
#include "client/outbound.h"
#include "http/server.h"

static bool text_has(const char *text, const char *part) { return strstr(text, part) != NULL; }

static unsigned routers;

static purlin_status gate(purlin_ctx *ctx, purlin_request *request, const http_target *target) {
  if (strcmp(target->permission, "public") == 0 || purlin_header(request, "x-admin") != NULL) return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_FORBIDDEN, "this needs the permission '%s'", target->permission);
}

static void make_router(void) {
  buffer why = {0};
  http_router *router = http_router_create();
  CHECK(router != NULL && script_routes(router, &why) == PURLIN_OK);
  if (why.size > 0) print_error("%s\n", buffer_end(&why));
  buffer_free(&why);
  http_set_router(router);
  http_router_release(router);
  routers++;
}

static void drained(void *argument) { fiber_resume(argument); }

static void serve(purlin_ctx *ctx, context_run *test) {
  buffer why = {0};
  http_options server;
  http_options_default(&server);
  server.address = "127.0.0.1";
  server.port = 0;
  client_options client;
  client_options_default(&client);
  http_set_gate(gate);
  make_router();
  CHECK(http_start(&server, &why) == PURLIN_OK);
  CHECK(outbound_begin((const char *const[]){"127.0.0.1"}, 1, &why) == PURLIN_OK);
  CHECK(client_start(&client) == PURLIN_OK);
  test(ctx, NULL);
  client_stop();
  http_drain(1000, drained, ctx->fiber);
  fiber_park();
  outbound_end();
  buffer_free(&why);
}

static unsigned call(purlin_ctx *ctx, const char *method, const char *path, const char *body, const char *header,
                     const char **answered) {
  purlin_http_answer answer = {0};
  const char *const headers[] = {header, NULL};
  const char *url = purlin_format(ctx, "http://127.0.0.1:%u%s", http_port(), path);
  CHECK(
      purlin_http(
          ctx,
          &(purlin_http_call){
              .method = method, .url = url, .headers = headers, .body = body, .body_size = body == NULL ? 0 : strlen(body)},
          &answer) == PURLIN_OK);
  *answered = purlin_format(ctx, "%s %s", answer.media_type, answer.body);
  return answer.status;
}

static void expect(purlin_ctx *ctx, const char *path, unsigned status, const char *answer) {
  const char *answered;
  unsigned got = call(ctx, "GET", path, NULL, NULL, &answered);
  bool right = got == status && text_has(answered, answer);
  if (!right) print_error("%s\nwanted: %u %s\ngot:    %u %s\n", path, status, answer, got, answered);
  CHECK(right);
}

static void routes(purlin_ctx *ctx, void *unused) {
  (void)unused;
  const char *answered;
  expect(ctx, "/hello", 200, "application/json {\"hello\":\"world\"}");
  expect(ctx, "/text", 200, "text/plain; charset=utf-8 plain");
  expect(ctx, "/made", 201, "text/csv a,b");
  expect(ctx, "/empty", 204, " ");
  expect(ctx, "/items/a%20b?n=5", 200, "{\"parts\":[\"GET\",\"/items/a%20b\",\"a b\",\"5\",\"nil\",\"127.0.0.1\"]}");
  CHECK(call(ctx, "POST", "/echo", "{\"n\":[1,2]}", "X-Thing: yes", &answered) == 200);
  CHECK(text_has(answered, "\"n\":2") && text_has(answered, "\"thing\":\"yes\"") && text_has(answered, "\"size\":11"));
  CHECK(call(ctx, "POST", "/echo", "{", NULL, &answered) == 500);
  CHECK(call(ctx, "POST", "/late/job", "first read while a job is put into the queue", NULL, &answered) == 200);
  CHECK(text_has(answered, " first read while a job is put into the queue"));
  CHECK(call(ctx, "POST", "/late/call", "first read while a call is made", NULL, &answered) == 200);
  CHECK(text_has(answered, " first read while a call is made"));
  expect(ctx, "/missing", 404, "no model named '7'");
  expect(ctx, "/invalid", 400, "{\"field\":\"a\"");
  expect(ctx, "/broken", 500, "application/problem+json");
  CHECK(call(ctx, "GET", "/broken", NULL, NULL, &answered) == 500 && !text_has(answered, "secret"));
  expect(ctx, "/number", 500, "problem");
  expect(ctx, "/endless", 504, "problem");
  expect(ctx, "/kept", 200, "first");
  expect(ctx, "/kept", 200, "GET /kept"); /* a request that was kept stands for the one that runs */
  expect(ctx, "/admin", 403, "this needs the permission 'admin:all'");
  CHECK(call(ctx, "GET", "/admin", NULL, "X-Admin: 1", &answered) == 200);
  expect(ctx, "/relay", 200, "200 {\"hello\":\"world\"} application/json 404");
  expect(ctx, "/absent", 404, "problem");
}

static void changed(purlin_ctx *ctx, void *unused) {
  (void)unused;
  buffer why = {0};
  CHECK(routers == 1);
  expect(ctx, "/hello", 200, "world");
  write_script("w.lua", "purlin.route('GET /hello', { permission = 'public' }, function() return 'changed' end)");
  CHECK(script_reload(ctx, &why) == PURLIN_OK && routers == 1); /* the same routes: no router is needed */
  expect(ctx, "/hello", 200, "changed");
  write_script("w.lua",
               "purlin.route('GET /new', { permission = 'public', summary = 'New' }, function() return 'new' end)");
  CHECK(script_reload(ctx, &why) == PURLIN_OK && routers == 2);
  expect(ctx, "/new", 200, "new");
  expect(ctx, "/hello", 404, "");
  buffer_free(&why);
}

static const char web_script[] =
    "local function route(http, f) purlin.route(http, { permission = 'public' }, f) end\n"
    "route('GET /hello', function() return { body = { hello = 'world' } } end)\n"
    "route('GET /text', function() return 'plain' end)\n"
    "route('GET /made', function() return { status = 201, media_type = 'text/csv', headers = { ['X-A'] = 'b' }, body = "
    "'a,b' } end)\n"
    "route('GET /empty', function() return { status = 204 } end)\n"
    "route('GET /items/{id}', function(r)\n"
    "  return { body = { parts = { r.method, r.path, r:parameter('id'), r:query('n'), tostring(r:query('m')), r.address } "
    "} } end)\n"
    "route('POST /echo', function(r) local j = r:json() return { body = { n = #j.n, thing = r:header('x-thing'), size = "
    "#r.body } } end)\n"
    "local function late(r, options)\n"
    "  return setmetatable(options, { __index = function(_, name) assert(#r.body > 0) end }) end\n"
    "route('POST /late/job', function(r) purlin.jobs.enqueue('demo.work', {}, late(r, {})) return r.body end)\n"
    "route('POST /late/call', function(r)\n"
    "  purlin.http.get(late(r, { url = 'http://' .. r:header('host') .. '/hello' })) return r.body end)\n"
    "route('GET /missing', function() purlin.op.demo.missing{ a = 7 } end)\n"
    "route('GET /invalid', function() purlin.op.demo.add{ a = 'x' } end)\n"
    "route('GET /broken', function() error('secret') end)\n"
    "route('GET /number', function() return 1 end)\n"
    "route('GET /endless', function() while true do end end)\n"
    "local kept\n"
    "route('GET /kept', function(r)\n"
    "  if not kept then kept = r return 'first' end return kept.method .. ' ' .. kept.path end)\n"
    "purlin.route('GET /admin', { permission = 'admin:all' }, function() return 'admin' end)\n"
    "route('GET /relay', function(r)\n"
    "  local port = r:header('host'):match(':(%d+)$')\n"
    "  local a = purlin.http.get{ url = 'http://127.0.0.1:' .. port .. '/hello', timeout_ms = 2000 }\n"
    "  local b = purlin.http.request{ method = 'PUT', url = 'http://127.0.0.1:' .. port .. '/nothing', json = {}, headers "
    "= { A = 'b' } }\n"
    "  local ok, e = pcall(purlin.http.get, { url = 'nonsense' })\n"
    "  assert(not ok and e.status == 400)\n"
    "  return a.status .. ' ' .. a.body .. ' ' .. a.media_type .. ' ' .. b.status\n"
    "end)\n";

static void serve_routes(purlin_ctx *ctx, void *unused) {
  (void)unused;
  if (start_status != PURLIN_OK) print_error("%s\n", buffer_end(&start_why));
  CHECK(start_status == PURLIN_OK);
  serve(ctx, routes);
}

static void serve_changes(purlin_ctx *ctx, void *unused) {
  (void)unused;
  script_on_routes(make_router);
  serve(ctx, changed);
}

static void scripts_answer_requests(void **unused) {
  (void)unused;
  routers = 0;
  options.cpu_limit_ms = 50;
  write_script("w.lua", web_script);
  run_on(2, serve_routes);
}

static void routes_change_with_their_script(void **unused) {
  (void)unused;
  routers = 0;
  write_script("w.lua", "purlin.route('GET /hello', { permission = 'public' }, function() return 'world' end)");
  run_on(2, serve_changes);
}

/* ---- Who asks -------------------------------------------------------------------------------------------------------------------------- */

static const char who_script[] =
    "local function who() return tostring(purlin.actor()) .. ' ' .. tostring(purlin.permitted('models:read')) end\n"
    "purlin.route('GET /public', { permission = 'public' }, who)\n"
    "purlin.route('GET /optional', { permission = 'public', identity = 'optional' }, who)\n";

static void recognised(purlin_ctx *ctx, void *unused) {
  (void)unused;
  static const struct {
    const char *path, *header;
    unsigned status;
    const char *says;
  } cases[] = {
      {"/public", NULL, 200, "nil false"},
      {"/public", "Authorization: Bearer right", 200, "nil false"},
      {"/public", "Authorization: Bearer wrong", 200, "nil false"},
      {"/optional", NULL, 200, "nil false"},
      {"/optional", "Authorization: Bearer right", 200, "user:caller true"},
      {"/optional", "Authorization: Bearer wrong", 401, "the token is not valid"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const char *answered;
    unsigned status = call(ctx, "GET", cases[i].path, NULL, cases[i].header, &answered);
    bool right = status == cases[i].status && text_has(answered, cases[i].says);
    if (!right) print_error("%s %s: %u %s\n", cases[i].path, cases[i].header, status, answered);
    CHECK(right);
  }
}

static void serve_recognised(purlin_ctx *ctx, void *unused) {
  (void)unused;
  serve(ctx, recognised);
}

static void public_routes_know_their_caller_when_they_ask(void **unused) {
  (void)unused;
  write_script("w.lua", who_script);
  run_on(2, serve_recognised);
}

/* ---- Writing --------------------------------------------------------------------------------------------------------------------------- */

static const char writing_script[] =
    "local function route(path, f) purlin.route('GET ' .. path, { permission = 'public' }, f) end\n"
    "local function refused(...) local ok, problem = pcall(...) return ok and 'done' or tostring(problem) end\n"
    "local execute, all = purlin.db.execute, purlin.db.execute_all\n"
    "route('/one', function() local n, id = execute('INSERT INTO t VALUES (?, ?, ?)', 1, 'x', nil) return n .. ' ' .. id "
    "end)\n"
    "route('/all', function()\n"
    "  local n = all{ { 'UPDATE t SET a = ?, b = ?', purlin.null, 2.5 }, { 'DELETE FROM t WHERE b = ?', 5 } }\n"
    "  return #n .. ' ' .. n[1] end)\n"
    "route('/undone', function() all{ { 'UPDATE t SET a = 1' }, { 'INSERT INTO broken VALUES (1)' }, { 'DELETE FROM t' } } "
    "end)\n"
    "route('/read', function() return refused(execute, 'SELECT 1') end)\n"
    "route('/drop', function() return refused(execute, 'DROP TABLE t') end)\n"
    "route('/two', function() return refused(execute, 'DELETE FROM t; DELETE FROM s') end)\n"
    "route('/hidden', function() return refused(execute, '/*! DROP TABLE t */') end)\n"
    "route('/zero', function() return refused(execute, 'DELETE FROM t -- \\0\\n RETURNING a') end)\n"
    "route('/value', function() return refused(execute, 'DELETE FROM t WHERE a = ?', {}) end)\n"
    "route('/none', function() return refused(all, {}) end)\n"
    "route('/list', function() return refused(all, { 'DELETE FROM t' }) end)\n"
    "purlin.policy('demo.promote', function() return { promote = true, reason = refused(execute, 'DELETE FROM t') } end)\n"
    "route('/policy', function() return purlin.op.demo.nest{ a = 1 }.actor end)\n";

static void written(purlin_ctx *ctx, void *unused) {
  (void)unused;
  statements_run = transactions_run = 0;
  expect(ctx, "/one", 200, "2 41");
  CHECK(strcmp(last_sql, "INSERT INTO t VALUES (?, ?, ?)") == 0 && strcmp(last_values, "i1 tx n ") == 0);
  CHECK(statements_run == 1 && transactions_run == 1);
  expect(ctx, "/all", 200, "2 2");
  CHECK(strcmp(last_sql, "DELETE FROM t WHERE b = ?") == 0 && strcmp(last_values, "i5 ") == 0);
  CHECK(statements_run == 3 && transactions_run == 2);
  expect(ctx, "/undone", 409, "it exists already");
  CHECK(statements_run == 5 && transactions_run == 3); /* the third statement did not run */
  expect(ctx, "/read", 200, "only INSERT, UPDATE, DELETE and REPLACE are allowed");
  expect(ctx, "/drop", 200, "only INSERT");
  expect(ctx, "/two", 200, "one statement at a time");
  expect(ctx, "/hidden", 200, "comments that MariaDB runs");
  expect(ctx, "/zero", 200, "a statement holds a zero byte");
  expect(ctx, "/value", 200, "a text, number, boolean or nil expected");
  expect(ctx, "/none", 200, "1 to 100 statements expected");
  expect(ctx, "/list", 200, "statement 1 is no table");
  expect(ctx, "/other", 200, "the script may not write; lua { writers = { \"other.lua\" } }");
  const char *answered;
  CHECK(call(ctx, "GET", "/policy", NULL, "Authorization: Bearer right", &answered) == 200);
  CHECK(text_has(answered, "a policy only decides"));
  CHECK(statements_run == 5 && transactions_run == 3);
}

static void serve_written(purlin_ctx *ctx, void *unused) {
  (void)unused;
  serve(ctx, written);
}

static void only_named_scripts_write(void **unused) {
  (void)unused;
  static const char *const writers[] = {"else.lua", "w.lua"};
  options.writers = writers;
  options.writer_count = 2;
  write_script("w.lua", writing_script);
  write_script("other.lua", "purlin.route('GET /other', { permission = 'public' }, function()\n"
                            "  return select(2, pcall(purlin.db.execute, 'DELETE FROM t')) end)");
  run_on(2, serve_written);
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(scripts_answer_requests), TEST(routes_change_with_their_script),
                                     TEST(public_routes_know_their_caller_when_they_ask), TEST(only_named_scripts_write)};
  return cmocka_run_group_tests(tests, before_all, after_all);
}
