/* Policies, rules and reloads on real loops, the host API, and scripts that wait in every place where Lua calls back. */
#include "lua_harness.h"

static bool text_has(const char *text, const char *part) { return strstr(text, part) != NULL; }

static purlin_status decide(purlin_ctx *ctx, double score, const char *champion, promote_answer *answer) {
  promote_question question = {.score = score};
  if (champion != NULL) question.champion = (purlin_opt_text){PURLIN_SET, champion};
  *answer = (promote_answer){0};
  purlin_clear_failure(ctx);
  return purlin_decide(ctx, promote, &question, answer);
}

/* Asks and compares the reason. */
static void expect(purlin_ctx *ctx, const char *reason) {
  promote_answer answer;
  purlin_status status = decide(ctx, 0.5, NULL, &answer);
  bool right = status == PURLIN_OK && strcmp(answer.reason, reason) == 0;
  if (!right) print_error("wanted: %s\ngot:    %s\n", reason, status == PURLIN_OK ? answer.reason : purlin_failure(ctx));
  CHECK(right);
}

static void reload(purlin_ctx *ctx, purlin_status wanted, const char *says) {
  buffer why = {0};
  purlin_status status = script_reload(ctx, &why);
  bool right = status == wanted && text_has(buffer_end(&why), says);
  if (!right) print_error("wanted: %d %s\ngot:    %d %s\n", (int)wanted, says, (int)status, buffer_end(&why));
  CHECK(right);
  buffer_free(&why);
}

static void policy(const char *body) {
  buffer text = {0};
  buffer_format(&text, "purlin.policy('demo.promote', function(question)\n%s\nend)", body);
  write_script("p.lua", buffer_end(&text));
  buffer_free(&text);
}

/* A policy whose answer is the text that `body` returns. */
static void says(purlin_ctx *ctx, const char *body, const char *wanted) {
  buffer text = {0};
  buffer_format(&text, "local function f() %s end\nreturn { promote = true, reason = tostring((f())) }", body);
  policy(buffer_end(&text));
  buffer_free(&text);
  reload(ctx, PURLIN_OK, "");
  promote_answer answer;
  purlin_status status = decide(ctx, 0.5, NULL, &answer);
  bool right = status == PURLIN_OK && strcmp(answer.reason, wanted) == 0;
  if (!right)
    print_error("%s\nwanted: %s\ngot:    %s\n", body, wanted, status == PURLIN_OK ? answer.reason : purlin_failure(ctx));
  CHECK(right);
}

/* ---- Policies -------------------------------------------------------------------------------------------------------------------------- */

static void asked(purlin_ctx *ctx, void *unused) {
  (void)unused;
  promote_answer answer;
  CHECK(start_status == PURLIN_OK);
  CHECK(decide(ctx, 0.75, "m1", &answer) == PURLIN_OK);
  CHECK(answer.promote && strcmp(answer.reason, "0.75 m1 rule:p.lua default") == 0);
  CHECK(answer.notes.items != NULL && answer.notes.count == 0); /* {} where a list is wanted */
  CHECK(decide(ctx, 0.25, NULL, &answer) == PURLIN_OK);
  CHECK(!answer.promote && strcmp(answer.reason, "0.25 nil rule:p.lua default") == 0); /* null is nil */
  CHECK(strcmp(ctx->actor, "system") == 0 && ctx->who == &who_of_test);                /* the caller is itself again */
  CHECK(ctx->lua == NULL && ctx->nesting == 0 && ctx->deadline_ms == UINT64_MAX);
  promote_question question = {0};
  CHECK(purlin_decide(ctx, second, &question, &answer) == PURLIN_OK);
  CHECK(strcmp(answer.reason, "fallback") == 0); /* nobody answers it */
}

static void a_policy_answers(void **unused) {
  (void)unused;
  policy(
      "return { promote = question.score > 0.5, notes = {}, reason = question.score .. ' ' .. tostring(question.champion)\n"
      "  .. ' ' .. purlin.actor() .. ' ' .. purlin.workspace() }");
  run(asked);
}

static void failing(purlin_ctx *ctx, void *unused) {
  (void)unused;
  promote_answer answer;
  double before = metrics_value("purlin_lua_failures_total");
  CHECK(decide(ctx, 0, NULL, &answer) == PURLIN_INTERNAL);
  CHECK(text_has(purlin_failure(ctx), "policy demo.promote: p.lua:2: oops"));
  CHECK(metrics_value("purlin_lua_failures_total") == (before != before ? 0 : before) + 1);
  promote_question question = {0};
  CHECK(purlin_decide(ctx, second, &question, &answer) == PURLIN_OK);
  CHECK(strcmp(answer.reason, "failure") == 0);
}

static void a_failing_policy_is_a_failure(void **unused) {
  (void)unused;
  policy("error('oops')");
  write_script("q.lua", "purlin.policy('demo.second', function() return { promote = 'perhaps' } end)");
  run(failing);
}

static void nested(purlin_ctx *ctx, void *unused) {
  (void)unused;
  promote_answer answer;
  CHECK(decide(ctx, 3, NULL, &answer) == PURLIN_OK);
  CHECK(strcmp(answer.reason, "3210") == 0);
  CHECK(decide(ctx, 30, NULL, &answer) == PURLIN_INTERNAL);
  CHECK(text_has(purlin_failure(ctx), "nested more than 8 deep") || text_has(purlin_failure(ctx), "Internal"));
  CHECK(ctx->nesting == 0 && ctx->lua == NULL);
}

static void policies_and_operations_nest(void **unused) {
  (void)unused;
  policy("local n = question.score // 1 | 0\n"
         "return { promote = true, reason = n .. (n > 0 and purlin.op.demo.nest{ a = n - 1 }.actor or '') }");
  run(nested);
}

/* ---- The host API ------------------------------------------------------------------------------------------------------------------------ */

static void api(purlin_ctx *ctx, void *unused) {
  (void)unused;
  says(ctx, "return purlin.op.demo.add{ a = 2, b = 40 }.sum", "42");
  says(ctx, "local r = purlin.op.demo.add{ a = 1, tags = {} }; return r.sum .. r.tags .. tostring(r.nothing) .. r.actor",
       "20nilrule:p.lua");
  says(ctx, "local ok, e = pcall(purlin.op.demo.missing, { a = 9 }); return e.status .. e.error .. e.message .. #e.fields",
       "404not-foundno model named '9'0");
  says(ctx,
       "local ok, e = pcall(purlin.op.demo.add, { a = 9999, c = 1 }); return e.status .. ' ' .. #e.fields .. ' ' .. "
       "#e.fields[1].field",
       "400 2 1");
  says(ctx, "local ok, e = pcall(purlin.op.demo.refused, { a = 1 }); return e.status", "403");
  says(ctx, "local ok, e = pcall(function() purlin.op.demo.missing{ a = 9 } end); return tostring(e)",
       "p.lua:2: no model named '9'");
  says(ctx, "return select(2, pcall(purlin.op.demo.absent, {}))", "there is no operation 'demo.absent'");
  says(ctx, "return select(2, pcall(purlin.op.demo.add, 1))", "demo.add wants one table: purlin.op.demo.add{ ... }");
  says(ctx, "for i = 1, 1000 do purlin.op.demo.add{ a = i % 1000, tags = { ('x'):rep(60000) } } end; return 'flat'",
       "flat");
  says(ctx,
       "local r = purlin.db.query('SELECT id, name FROM t WHERE a = ? AND b = ?', 5, nil, 1.5, 'x', true)[1]; return r.id "
       ".. r.name .. tostring(r.gone)",
       "7a\xc3\xa9nil");
  CHECK(strcmp(last_values, "i5 n d1.5 tx i1 ") == 0);
  says(
      ctx, "return select(2, pcall(function() purlin.db.query('DELETE FROM t') end))",
      "p.lua:2: bad argument #1 to 'query' (only SELECT is allowed; change things by operations, or by purlin.db.execute)");
  says(ctx, "return pcall(purlin.db.query, 'SELECT 1; DROP TABLE t')", "false");
  says(ctx, "return pcall(purlin.db.query, \"SELECT '; DELETE', `into` FROM t -- into\\n;\")", "true");
  says(ctx, "return pcall(purlin.db.query, \"SELECT 1--1 INTO OUTFILE 'x'\")", "false");
  says(ctx, "return pcall(purlin.db.query, 'SELECT 1 /*! INTO OUTFILE */')", "false");
  says(ctx, "return pcall(purlin.db.query, '(SELECT 1) FOR UPDATE')", "false");
  says(ctx, "return pcall(purlin.db.query, '')", "false");
  says(ctx, "return purlin.jobs.enqueue('reports.send', { to = 'x' }, { priority = 3, delay_ms = 10, unique_key = 'k' })",
       "job_1");
  CHECK(strcmp(last_job, "reports.send {\"to\":\"x\"} 3 10 k") == 0);
  says(ctx, "return pcall(purlin.jobs.enqueue, 'reports.send', {}, { priority = 'high' })", "false");
  says(ctx, "purlin.events.emit('rule.seen', 'key', { n = 1 })", "nil");
  CHECK(strcmp(last_event, "rule.seen key {\"n\":1}") == 0);
  says(ctx, "return tostring('Bearer ' .. purlin.secret('token') .. '!')", "the secret 'token'");
  says(ctx, "return pcall(purlin.json.encode, { purlin.secret('token') })", "false");
  says(ctx, "return pcall(function() return purlin.secret('token') .. purlin.secret('token') end)", "false");
  says(ctx, "return pcall(purlin.secret, '')", "false");
  says(ctx, "return pcall(purlin.secret, 7)", "false");
  says(ctx, "return pcall(purlin.secret, 'a\\0b')", "false");
  says(ctx, "return select(2, pcall(purlin.http.get, { url = 'x', headers = { A = purlin.secret('other') } })).status",
       "404");
  says(ctx,
       "return select(2, pcall(purlin.http.get, { url = 'x', headers = { A = purlin.secret('vault:token') } })).status",
       "503");
  says(ctx, "return select(2, pcall(purlin.http.get, { url = 'x', headers = { A = purlin.secret('token') .. '\\n' } }))",
       "a header holds a control character");
  CHECK(ctx->secrets == NULL);
  says(ctx, "return purlin.time.format(0.5) .. purlin.time.parse('1970-01-01T00:01:00Z')", "1970-01-01T00:00:00.500Z60.0");
  says(ctx, "local a = purlin.time.monotonic(); purlin.time.sleep(0.02); return purlin.time.monotonic() - a >= 0.019",
       "true");
  says(ctx, "return math.abs(purlin.time.now() - purlin.time.parse(purlin.time.format())) < 1", "true");
  says(ctx, "purlin.log.info('%d of %s', 3, 'x'); purlin.log.warning(nil); print('a', 1, {})", "nil");
}

static void scripts_reach_the_host(void **unused) {
  (void)unused;
  options.cpu_limit_ms = 20000; /* sanitizers are slow */
  run(api);
}

static void values(purlin_ctx *ctx, void *unused) {
  (void)unused;
  static const char *const round_trips[] = {"{}",
                                            "[]",
                                            "[1,2,3]",
                                            "[[],{},[[]]]",
                                            "null",
                                            "[null,1,null]",
                                            "true",
                                            "\"a\\u00e9\\n\\\"\"",
                                            "9223372036854775807",
                                            "-9223372036854775808",
                                            "0.1",
                                            "1e300",
                                            "{\"a\":null}",
                                            "{\"a\":{\"b\":[{\"c\":\"\"}]}}",
                                            "12345678901234567890123"};
  buffer text = {0};
  for (size_t i = 0; i < sizeof round_trips / sizeof round_trips[0]; i++) {
    buffer_clear(&text);
    buffer_format(&text,
                  "local j = purlin.json; local once = j.encode(j.decode([==[%s]==])); return once == "
                  "j.encode(j.decode(once)) and once",
                  round_trips[i]);
    const char *wanted = strcmp(round_trips[i], "1e300") == 0 ? "1e+300" : round_trips[i];
    if (strcmp(round_trips[i], "\"a\\u00e9\\n\\\"\"") == 0) wanted = "\"a\xc3\xa9\\n\\\"\"";
    if (strncmp(wanted, "1234567890123", 13) == 0) continue; /* a float: checked below */
    says(ctx, buffer_end(&text), wanted);
  }
  buffer_free(&text);
  says(ctx,
       "return math.type(purlin.json.decode('12345678901234567890123')) .. math.type(purlin.json.decode('1.0')) .. "
       "math.type(purlin.json.decode('1'))",
       "floatfloatinteger");
  says(ctx, "return purlin.json.encode{ purlin.array(), purlin.array{ 1 }, {}, purlin.null }", "[[],[1],{},null]");
  says(ctx, "local t = purlin.json.decode('[1]'); t[1] = nil; return purlin.json.encode(t)", "[]");
  says(ctx, "return tostring(purlin.null) .. tostring(purlin.null == purlin.json.decode('null'))", "nulltrue");
  says(ctx, "return select(2, pcall(purlin.json.encode, { rows = { 1, { deep = { x = print } } } }))",
       "json.encode: 'rows[2].deep.x' is a function, which JSON does not know");
  says(ctx, "return select(2, pcall(purlin.json.encode, { a = { 1, 2, [4] = 3 } }))",
       "json.encode: 'a' mixes numbered and named members, or misses some of 1..n");
  says(ctx, "return select(2, pcall(purlin.json.encode, { a = { { 1 / 0 } } }))", "json.encode: 'a[1][1]' is infinite");
  says(ctx, "return select(2, pcall(purlin.json.decode, '{\"a\":}'))", "not JSON at byte 6: expected a value");
  says(ctx, "return pcall(purlin.json.decode, '[1,2')", "false");
}

static void json_goes_round(void **unused) {
  (void)unused;
  run(values);
}

static void shared(purlin_ctx *ctx, void *unused) {
  (void)unused;
  says(ctx, "local s = purlin.shared; s.set('k', { a = { 1, 'x' } }); local v = s.get('k'); return v.a[1] .. v.a[2]", "1x");
  says(ctx, "return purlin.shared.get('k').a[2]", "x"); /* another script by now */
  says(ctx, "local v, version = purlin.shared.get('none'); return tostring(v) .. version", "nil0");
  says(ctx, "return purlin.shared.incr('n') .. purlin.shared.incr('n', 2.5) .. purlin.shared.get('n')", "1.03.53.5");
  says(ctx, "return pcall(purlin.shared.incr, 'k')", "false");
  says(ctx,
       "local s = purlin.shared; local _, v = s.get('c'); local a, b = s.cas('c', v, 1), s.cas('c', v, 2); return "
       "tostring(a) .. tostring(b) .. s.get('c')",
       "truefalse1");
  says(ctx,
       "local s = purlin.shared; s.set('t', 1, 0.03); local a = s.get('t'); purlin.time.sleep(0.05); return a .. "
       "tostring((s.get('t')))",
       "1nil");
  says(ctx, "return tostring(purlin.shared.delete('k')) .. tostring(purlin.shared.delete('k'))", "truefalse");
  says(ctx, "return pcall(purlin.shared.set, 'big', ('x'):rep(300000))", "false");
  says(ctx, "return pcall(purlin.shared.set, '', 1)", "false");
  says(ctx,
       "local e, big = nil, ('x'):rep(250000); for i = 1, 1000 do local ok, why = pcall(purlin.shared.set, 'f' .. i, big); "
       "if not ok then e = why break end end\n"
       "for i = 1, 1000 do purlin.shared.delete('f' .. i) end; return e",
       "shared: there is no room left (64 MiB in all)");
}

static void values_are_shared(void **unused) {
  (void)unused;
  options.cpu_limit_ms = 20000; /* sanitizers are slow */
  run(shared);
}

static void rule_metrics(purlin_ctx *ctx, void *unused) {
  (void)unused;
  says(ctx,
       "purlin.metrics.count('seen_total', 2, { endpoint = 'a', kind = 'b' }); purlin.metrics.count('seen_total', 3, { "
       "kind = 'c', endpoint = 'd' })",
       "nil");
  CHECK(metrics_value("purlin_rule_seen_total") == 5);
  says(ctx, "purlin.metrics.gauge('level', 1.5); purlin.metrics.observe('wait_seconds', 0.1)", "nil");
  CHECK(metrics_value("purlin_rule_level") == 1.5);
  says(ctx, "return pcall(purlin.metrics.count, 'seen_total', 1, { other = 'a' })", "false");
  says(ctx, "return pcall(purlin.metrics.gauge, 'seen_total', 1)", "false");
  says(ctx, "return pcall(purlin.metrics.count, 'no good', 1)", "false");
  says(ctx, "return pcall(purlin.metrics.count, 'down_total', -1)", "false");
}

static void scripts_record_metrics(void **unused) {
  (void)unused;
  run(rule_metrics);
}

/* ---- Waiting where Lua calls back -------------------------------------------------------------------------------------------------------- */

static void waiting(purlin_ctx *ctx, void *unused) {
  (void)unused;
  says(ctx,
       "local t = { 3, 1, 2 }; table.sort(t, function(a, b) purlin.time.sleep(0.001); return a < b end); return "
       "table.concat(t)",
       "123");
  says(ctx, "return (('abc'):gsub('.', function(c) purlin.time.sleep(0.001); return c:upper() end))", "ABC");
  says(ctx,
       "local t = setmetatable({}, { __index = function(_, k) purlin.time.sleep(0.001); return k .. '!' end }); return t.x",
       "x!");
  says(ctx,
       "local t = setmetatable({}, { __add = function(_, b) return purlin.op.demo.add{ a = b, b = 1 }.sum end }); return t "
       "+ 1",
       "2");
  says(ctx,
       "local f = coroutine.wrap(function() for i = 1, 3 do purlin.time.sleep(0.001); coroutine.yield(i) end end); return "
       "f() .. f() .. f()",
       "123");
  says(ctx, "return select(2, pcall(function() purlin.time.sleep(0.001); error('late', 0) end))", "late");
  says(ctx,
       "local r; do local x <close> = setmetatable({}, { __close = function() purlin.time.sleep(0.001); r = 'closed' end "
       "}) end; return r",
       "closed");
  says(ctx, "for k in (function() purlin.time.sleep(0.001); return 1 end) do return k end", "1");
}

static void a_script_may_wait_anywhere(void **unused) {
  (void)unused;
  run(waiting);
}

/* Many runs of one state wait at once. */
enum { MANY = 200 };
static atomic_int finished, right_answers;

static void one_of_many(purlin_ctx *ctx, void *argument) {
  char wanted[32];
  (void)snprintf(wanted, sizeof wanted, "%d", (int)(intptr_t)argument);
  ctx->who = &who_of_test;
  promote_answer answer;
  if (decide(ctx, (double)(intptr_t)argument, NULL, &answer) == PURLIN_OK && strcmp(answer.reason, wanted) == 0)
    atomic_fetch_add(&right_answers, 1);
  else print_error("%s: %s\n", wanted, purlin_failure(ctx));
  atomic_fetch_add(&finished, 1);
}

static void start_many(void *argument) {
  (void)argument;
  for (intptr_t i = 0; i < MANY; i++) CHECK(context_start("tests", "one of many", one_of_many, (void *)i) == PURLIN_OK);
}

static void many(purlin_ctx *ctx, void *unused) {
  (void)unused;
  CHECK(start_status == PURLIN_OK);
  loop_post_item items[2];
  for (size_t i = 0; i < loop_count(); i++) {
    items[i] = (loop_post_item){.call = start_many};
    loop_post(loop_at(i), &items[i]);
  }
  /* Meanwhile the script changes again and again; every run keeps the version that it began with. */
  for (int i = 0; atomic_load(&finished) < MANY * (int)loop_count() && i < 2000; i++) {
    if (i % 5 == 0) {
      char text[600];
      (void)snprintf(text, sizeof text, "-- version %d\n%s", i,
                     "purlin.policy('demo.promote', function(q)\n  local n = q.score // 1 | 0\n"
                     "  local t = { n, n, n, n }\n"
                     "  table.sort(t, function(a, b) purlin.time.sleep(0.001 * (n % 7)); return a < b end)\n"
                     "  local c = coroutine.wrap(function() purlin.time.sleep(0.002); coroutine.yield(purlin.op.demo.add{ "
                     "a = n, b = 0 }.sum) end)\n"
                     "  return { promote = true, reason = tostring(c()) }\nend)");
      write_script("p.lua", text);
      reload(ctx, PURLIN_OK, "");
    }
    CHECK(purlin_sleep(ctx, 2) == PURLIN_OK);
  }
  CHECK(atomic_load(&finished) == MANY * (int)loop_count());
  CHECK(atomic_load(&right_answers) == MANY * (int)loop_count());
}

static void many_runs_wait_at_once(void **unused) {
  (void)unused;
  atomic_store(&finished, 0);
  atomic_store(&right_answers, 0);
  options.cpu_limit_ms = 5000;
  policy("return { promote = true, reason = tostring(question.score // 1 | 0) }");
  run_on(2, many);
}

/* ---- Reloading ---------------------------------------------------------------------------------------------------------------------------- */

static void reloads(purlin_ctx *ctx, void *unused) {
  (void)unused;
  expect(ctx, "one 1");
  expect(ctx, "one 2"); /* its locals live on */
  reload(ctx, PURLIN_OK, "");
  expect(ctx, "one 3"); /* nothing has changed: still the same */
  write_module("tools/names.lua", "return { name = 'two' }");
  reload(ctx, PURLIN_OK, "");
  expect(ctx, "two 1"); /* what it requires has changed */
  write_script("p.lua", "purlin.policy('demo.promote', function() return {");
  reload(ctx, PURLIN_INVALID, "p.lua:1: unexpected symbol near <eof>");
  expect(ctx, "two 2"); /* the old one stays */
  buffer described = {0};
  script_describe(&described);
  CHECK(text_has(buffer_end(&described),
                 "{\"name\":\"p\",\"file\":\"p.lua\",\"state\":\"outdated\",\"error\":\"p.lua:1: unexpected symbol"));
  CHECK(text_has(buffer_end(&described), "\"policies\":[\"demo.promote\"],\"rules\":[],\"routes\":[]"));
  buffer_free(&described);
  write_script("a.lua", "purlin.policy('demo.promote', function() return { promote = true, reason = 'a' } end)");
  policy("return { promote = true, reason = 'p' }");
  reload(ctx, PURLIN_INVALID, "p.lua:1: 'demo.promote' is answered already in a.lua:1");
  expect(ctx, "a");
  remove_script("a.lua");
  reload(ctx, PURLIN_OK, "");
  expect(ctx, "p");
  remove_script("p.lua");
  reload(ctx, PURLIN_OK, "");
  expect(ctx, "");
}

static void scripts_reload(void **unused) {
  (void)unused;
  write_module("tools/names.lua", "return { name = 'one' }");
  write_script(".hidden.lua", "error('not a script')");
  write_script("notes.txt", "error('not a script')");
  write_script(
      "p.lua",
      "local names, n = require 'tools.names', 0\n"
      "assert(names == require('tools.names'))\n"
      "purlin.policy('demo.promote', function() n = n + 1 return { promote = true, reason = names.name .. ' ' .. n } end)");
  run(reloads);
}

static void partly(purlin_ctx *ctx, void *unused) {
  (void)unused;
  CHECK(start_status == PURLIN_INVALID);
  CHECK(text_has(buffer_end(&start_why), "bad.lua:2: attempt to call a nil value (global 'oops')\nstack traceback:"));
  expect(ctx, "good");
  buffer described = {0};
  script_describe(&described);
  CHECK(text_has(buffer_end(&described),
                 "{\"name\":\"bad\",\"file\":\"bad.lua\",\"state\":\"refused\",\"error\":\"bad.lua:2:"));
  CHECK(text_has(buffer_end(&described), "\"file\":\"p.lua\",\"state\":\"running\",\"generation\":1"));
  buffer_free(&described);
}

static void a_bad_script_refuses_itself_alone(void **unused) {
  (void)unused;
  write_script("bad.lua", "\noops()");
  policy("return { promote = true, reason = 'good' }");
  run(partly);
}

static void without_folder(purlin_ctx *ctx, void *unused) {
  (void)unused;
  CHECK(start_status == PURLIN_INVALID &&
        text_has(buffer_end(&start_why), "cannot read the folder of policies /nowhere: No such file"));
  expect(ctx, "");
}

static void a_missing_folder_is_said(void **unused) {
  (void)unused;
  options.policies = "/nowhere";
  run(without_folder);
}

static void no_scripts(purlin_ctx *ctx, void *unused) {
  (void)unused;
  CHECK(start_status == PURLIN_OK);
  expect(ctx, "");
}

static void no_folder_means_no_scripts(void **unused) {
  (void)unused;
  options.policies = NULL;
  run(no_scripts);
}

static void watched(purlin_ctx *ctx, void *unused) {
  (void)unused;
  CHECK(script_watch() == PURLIN_OK);
  expect(ctx, "one");
  policy("return { promote = true, reason = 'two' }");
  promote_answer answer = {0};
  for (int i = 0; i < 100 && (decide(ctx, 1, NULL, &answer) != PURLIN_OK || strcmp(answer.reason, "two") != 0); i++)
    CHECK(purlin_sleep(ctx, 50) == PURLIN_OK);
  expect(ctx, "two");
}

static void changes_are_seen(void **unused) {
  (void)unused;
  policy("return { promote = true, reason = 'one' }");
  run_on(2, watched);
}

/* ---- Rules ---------------------------------------------------------------------------------------------------------------------------------- */

static const struct events_listener *listener(const char *name) {
  for (size_t i = 0; i < listener_count; i++)
    if (strcmp(listeners[i].name, name) == 0) return &listeners[i];
  return NULL;
}

static purlin_status deliver(purlin_ctx *ctx, const struct events_listener *to, const char *payload) {
  event_record event = {.sequence = 12,
                        .id = "evt_1",
                        .name = "drift.alert",
                        .key = "monitor 1",
                        .workspace = "acme",
                        .project = "main",
                        .actor = "job:1",
                        .trace_id = "",
                        .at = {1500000},
                        .payload = {payload, strlen(payload)}};
  purlin_clear_failure(ctx);
  return to->run(ctx, &event, to->argument);
}

static void rules(purlin_ctx *ctx, void *unused) {
  (void)unused;
  const struct events_listener *alert = listener("rule:r.lua:drift.alert"), *other = listener("rule:r.lua:drift.other");
  CHECK(alert != NULL && other != NULL && listener_count == 2);
  if (alert == NULL || other == NULL) return;
  CHECK(deliver(ctx, alert, "{\"score\":0.9,\"none\":null}") == PURLIN_OK);
  CHECK(strcmp(last_event,
               "rule.seen monitor 1 {\"text\":\"12 evt_1 drift.alert acme main job:1 1.5 0.9 nil rule:r.lua acme\"}") == 0);
  CHECK(strcmp(ctx->workspace, "default") == 0);
  CHECK(deliver(ctx, other, "{}") == PURLIN_INTERNAL);
  CHECK(text_has(purlin_failure(ctx), "rule drift.other: r.lua:6: no model named '1'"));
  write_script("r.lua", "purlin.on('drift.alert', function() error('changed') end)");
  reload(ctx, PURLIN_OK, "");
  CHECK(listener_count == 2 && alert->active && !other->active); /* kept: the cursor goes on */
  CHECK(deliver(ctx, alert, "{}") == PURLIN_INTERNAL && text_has(purlin_failure(ctx), "r.lua:1: changed"));
  CHECK(deliver(ctx, other, "{}") == PURLIN_OK); /* one that was on its way */
  remove_script("r.lua");
  reload(ctx, PURLIN_OK, "");
  CHECK(!alert->active);
}

static void rules_hear_events(void **unused) {
  (void)unused;
  write_script("r.lua",
               "purlin.on('drift.alert', function(e)\n"
               "  purlin.events.emit('rule.seen', e.key, { text = table.concat({ e.sequence, e.id, e.name, e.workspace, "
               "e.project, e.actor,\n"
               "    e.at, e.payload.score, tostring(e.payload.none), purlin.actor(), purlin.workspace() }, ' ') })\n"
               "end)\n"
               "purlin.on('drift.other', function(e)\n"
               "  purlin.op.demo.missing{ a = 1 }\n"
               "end)\n");
  run(rules);
}

/* ---- The library that is shipped ---------------------------------------------------------------------------------------------------------------- */

static void library(purlin_ctx *ctx, void *unused) {
  (void)unused;
  CHECK(start_status == PURLIN_OK);
  expect(ctx, "truefalsetruefalse");
}

static void the_library_works(void **unused) {
  (void)unused;
  options.library = "lua";
  write_script(
      "p.lua",
      "local throttle = require 'throttle'\n"
      "purlin.policy('demo.promote', function()\n"
      "  local a, b = throttle('x', 0.05), throttle('x', 10)\n"
      "  purlin.time.sleep(0.08)\n"
      "  local c = throttle('x', 10)\n"
      "  throttle.forget('y')\n"
      "  return { promote = true, reason = tostring(a) .. tostring(b) .. tostring(c) .. tostring(throttle('x', 10)) }\n"
      "end)");
  run(library);
}

/* ---- Figures -------------------------------------------------------------------------------------------------------------------------------- */

static uint64_t cpu_ns(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t each_ns(purlin_ctx *ctx, const purlin_policy *policy_asked) {
  enum { ROUNDS = 20000 };
  promote_question question = {.score = 0.75, .champion = {PURLIN_SET, "m1"}};
  promote_answer answer;
  uint64_t began = cpu_ns();
  for (int i = 0; i < ROUNDS; i++) {
    purlin_mark mark = purlin_arena_mark(ctx);
    CHECK(purlin_decide_(ctx, policy_asked, &question, &answer) == PURLIN_OK);
    purlin_arena_reset(ctx, mark);
  }
  return (cpu_ns() - began) / ROUNDS;
}

static void figures(purlin_ctx *ctx, void *unused) {
  (void)unused;
  uint64_t without = each_ns(ctx, &second_policy), with = each_ns(ctx, &promote_policy);
  CHECK(without < with);
  print_message("CPU time of a policy: %llu ns, of which %llu ns for question and answer without Lua\n",
                (unsigned long long)with, (unsigned long long)without);
}

static void how_long_a_policy_takes(void **unused) {
  (void)unused;
  policy("return { promote = question.score > 0.5, reason = 'better than ' .. question.champion }");
  run(figures);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_policy_answers),
      TEST(a_failing_policy_is_a_failure),
      TEST(policies_and_operations_nest),
      TEST(scripts_reach_the_host),
      TEST(json_goes_round),
      TEST(values_are_shared),
      TEST(scripts_record_metrics),
      TEST(a_script_may_wait_anywhere),
      TEST(many_runs_wait_at_once),
      TEST(scripts_reload),
      TEST(a_bad_script_refuses_itself_alone),
      TEST(a_missing_folder_is_said),
      TEST(no_folder_means_no_scripts),
      TEST(changes_are_seen),
      TEST(rules_hear_events),
      TEST(the_library_works),
      TEST(how_long_a_policy_takes),
  };
  return cmocka_run_group_tests(tests, before_all, after_all);
}
