/* Routes of scripts on the real server, asked by scripts with the real client. */
#include "lua_harness.h"

#include "client/client.h"
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
  CHECK(client_start(&client) == PURLIN_OK);
  test(ctx, NULL);
  client_stop();
  http_drain(1000, drained, ctx->fiber);
  fiber_park();
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

int main(void) {
  const struct CMUnitTest tests[] = {TEST(scripts_answer_requests), TEST(routes_change_with_their_script)};
  return cmocka_run_group_tests(tests, before_all, after_all);
}
