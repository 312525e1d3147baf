/* What scripts cannot do: leave their state, keep a loop, take memory without end, overflow a stack. Each case is a policy that tries. */
#include "lua_harness.h"

static bool text_has(const char *text, const char *part) { return strstr(text, part) != NULL; }

/* Asks demo.promote and returns what came. The answer is "" unless there was one. */
static purlin_status ask(purlin_ctx *ctx, char answered[256]) {
  promote_question question = {.score = 0.5};
  promote_answer answer = {0};
  purlin_clear_failure(ctx);
  purlin_status status = purlin_decide(ctx, promote, &question, &answer);
  (void)snprintf(answered, 256, "%s", status == PURLIN_OK ? answer.reason : "");
  return status;
}

static void replace(purlin_ctx *ctx, const char *body) {
  buffer text = {0}, why = {0};
  buffer_format(&text, "purlin.policy('demo.promote', function(q)\n%s\nend)", body);
  write_script("p.lua", buffer_end(&text));
  purlin_status status = script_reload(ctx, &why);
  if (status != PURLIN_OK) print_error("%s\n%s\n", body, buffer_end(&why));
  CHECK(status == PURLIN_OK);
  buffer_free(&text);
  buffer_free(&why);
}

/* ---- What is not there ------------------------------------------------------------------------------------------------------------------ */

static const char *const absent[] = {
    "return io",
    "return os",
    "return debug",
    "return package",
    "return dofile",
    "return loadfile",
    "return string.dump",
    "return ('').dump",
    "return warn",
    "return jit",
    "return ffi",
    "return newproxy",
    "return getfenv",
    "return utf8 == nil or nil",
    "return getmetatable('') or nil",
    "return getmetatable(purlin.op) or nil",
    "return _G.io",
    "return _ENV.os",
    "return load('return io')()",
    "return load('return os', 'x', 'bt', _G)()",
    "return load(function() return nil end)()",
};

static void nothing_leads_out(purlin_ctx *ctx, void *unused) {
  (void)unused;
  buffer body = {0};
  for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++)
    buffer_format(&body,
                  "do local v = (function() %s end)(); if v then return { promote = true, reason = [[%s]] .. ' gives ' .. "
                  "type(v) } end end\n",
                  absent[i], absent[i]);
  buffer_text(&body, "return { promote = true, reason = 'closed' }");
  replace(ctx, buffer_end(&body));
  char answered[256];
  CHECK(ask(ctx, answered) == PURLIN_OK);
  if (strcmp(answered, "closed") != 0) print_error("%s\n", answered);
  CHECK(strcmp(answered, "closed") == 0);
  buffer_free(&body);
}

static void a_script_finds_no_way_out(void **unused) {
  (void)unused;
  run(nothing_leads_out);
}

/* ---- What is refused -------------------------------------------------------------------------------------------------------------------- */

typedef struct attempt {
  const char *body, *says;
} attempt;

static const attempt excesses[] = {
    {"setmetatable({}, { __gc = function() end })", "__gc is not available"},
    {"getmetatable('').__index = nil", "index a boolean"},
    {"setmetatable('', {})", "table expected"},
    {"setmetatable(purlin.array(), {})", "protected metatable"},
    {"load('\\27Lua')()", "call a nil value"},
    {"local f, why = load('\\27Lua', 'x', 'b'); error(why)", "attempt to load a binary chunk (mode is 't')"},
    {"collectgarbage()", "not available"},
    {"collectgarbage('stop')", "not available"},
    {"('x'):rep(1e10)", "too large"},
    {"('x'):rep(1e9, 'y')", "too large"},
    {"local t = {}; for i = 1, 1e9 do t[i] = i end", "more than its 16384 KiB"},
    {"local s = 'x'; while true do s = s .. s end", "more than its 16384 KiB"},
    {"local t = {}; for i = 1, 1e9 do t[i] = coroutine.create(print) end", "more than its 16384 KiB"},
    {"table.insert(setmetatable({}, { __len = function() return 1e15 end }), 1, 2)", "plain table expected"},
    {"table.concat(setmetatable({}, { __index = tostring }), '', 1, 1e9)", "plain table expected"},
    {"local t = { 1 }; for k = 1, 50 do t[2 ^ k | 0] = 1 end; t[3] = 1; table.insert(t, 1, 1)", ""},
    {"table.move({}, 1, math.maxinteger - 1, 2)", "too many items"},
    {"table.concat({}, '', 1, 1e10 // 1 | 0)", "too many items"},
    {"table.unpack({}, 1, 1e8 // 1 | 0)", "too many"},
    {"table.unpack({}, math.mininteger, math.maxinteger)", "too many"},
    {"local function f() return f() + 1 end; f()", ""},
    {"local function f(s) return (s:gsub('.', f)) end; f('x')", "stack overflow"},
    {"local t = setmetatable({}, {}); getmetatable(t).__tostring = function() return tostring(t) end; tostring(t)",
     "stack overflow"},
    {"local t = setmetatable({}, {}); getmetatable(t).__tostring = function() return ('%s'):format(t) end; tostring(t)",
     "stack overflow"},
    {"local t = setmetatable({}, {}); getmetatable(t).__index = function(_, k) return t[k + 1] end; return t[1]",
     "overflow"},
    {"local t = setmetatable({}, {}); getmetatable(t).__pairs = function(x) return pairs(x) end; pairs(t)", "overflow"},
    {"local t = setmetatable({}, {}); getmetatable(t).__add = function(x) return x + x end; return t + t", "overflow"},
    {"local t = setmetatable({}, {}); getmetatable(t).__eq = function(x, y) return x == y end; return t == "
     "setmetatable({}, getmetatable(t))",
     "overflow"},
    {"local function f() table.sort({ 1, 2, 3 }, f) end; f()", "overflow"},
    {"local function f() coroutine.wrap(f)() end; f()", "overflow"},
    {"local function f() local ok, e = pcall(f); if not ok then error(e, 0) end end; f()", "overflow"},
    {"load('return ' .. ('('):rep(190) .. '1' .. (')'):rep(190))(); error('went well')", "went well"},
    {"load('return ' .. ('{'):rep(190) .. (' }'):rep(190))(); error('went well')", "went well"},
    {"local f, why = load('return ' .. ('('):rep(1000) .. '1'); error(why)", "overflow"},
    {"load(('x'):rep(70000))", "load takes at most 64 KiB"},
    {"load(function() return ('x'):rep(100) end)", "load takes at most 64 KiB"},
    {"load(function() return {} end)", "string expected, got table"},
    {"local n = 0; local f = load(function() n = n + 1; return ({ 'return ', '1 + ', '2' })[n] end); error('gives ' "
     ".. f())",
     "gives 3"},
    {"return require('io')", "belongs at the top"},
    {"purlin.policy('demo.promote', print)", "belongs at the top"},
    {"purlin.on('x.y', print)", "belongs at the top"},
    {"coroutine.yield(1)", "attempt to yield"},
    {"error(setmetatable({}, { __tostring = function() error('again') end }))", ""},
    {"purlin.json.encode(setmetatable({}, { __pairs = error }))", "the policy must return a table"},
    {"local t = {}; t.t = t; purlin.json.encode(t)", "nested more than 64 deep"},
    {"purlin.json.decode(('['):rep(200))", "not JSON"},
    {"return 1", "must return a table, not number"},
    {"return", "must return a table, not nil"},
    {"return { promote = print }", "'promote' is a function"},
    {"return { promote = true, reason = '\\0' }", "zero byte"},
};

static void each_is_refused(purlin_ctx *ctx, void *unused) {
  (void)unused;
  for (size_t i = 0; i < sizeof excesses / sizeof excesses[0]; i++) {
    char answered[256];
    replace(ctx, excesses[i].body);
    uint64_t began = purlin_ticks_ns();
    purlin_status status = ask(ctx, answered);
    uint64_t took_ms = (purlin_ticks_ns() - began) / 1000000;
    const char *failure = purlin_failure(ctx);
    if (status != PURLIN_INTERNAL || !text_has(failure, excesses[i].says) || took_ms > 1500)
      print_error("%s\nin %llu ms: %d %s\n", excesses[i].body, (unsigned long long)took_ms, (int)status, failure);
    CHECK(status == PURLIN_INTERNAL && text_has(failure, excesses[i].says));
  }
}

static void what_goes_too_far_is_refused(void **unused) {
  (void)unused;
  options.cpu_limit_ms = 5000; /* these end by themselves */
  run(each_is_refused);
}

/* ---- What is stopped -------------------------------------------------------------------------------------------------------------------- */

static const char *const endless[] = {
    "while true do end",
    "repeat until false",
    "for i = 1, math.maxinteger do end",
    "local function f() return f() end; return f()",
    "while true do pcall(function() while true do end end) end",
    "while true do pcall(error) end",
    "pcall(pcall, pcall, pcall, function() while true do end end); while true do end",
    "xpcall(function() while true do end end, function() while true do end end)",
    "xpcall(error, function() while true do end end)",
    "local function f() local ok, e = xpcall(f, f); if not ok then error(e, 0) end end; f()",
    "while true do xpcall(function() while true do end end, function(e) return e end) end",
    "coroutine.wrap(function() while true do end end)()",
    "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
    "local c = coroutine.create(function() while true do coroutine.yield() end end); while true do coroutine.resume(c) end",
    "local a; a = function() while true do pcall(coroutine.wrap(a)) end end; a()",
    ("local t = { __close = function() while true do end end }; coroutine.wrap(function() local x <close> = "
     "setmetatable({}, t); t.__close() end)()"),
    "local x <close> = setmetatable({}, { __close = function() while true do end end }); while true do end",
    "table.sort({ 3, 2, 1 }, function() while true do end end)",
    "('x'):rep(1000):gsub('.', function() while true do end end)",
    "return setmetatable({}, { __index = function() while true do end end }).x",
    "for _ in function() return 1 end do end",
    "local s = ('a'):rep(40); s:find(('a?'):rep(40) .. ('a'):rep(40) .. 'b')",
    "local s = ('a'):rep(5000); s:find(('.-'):rep(20) .. 'b')",
    "('a'):rep(100000):gsub('.-b', '')",
    "for _ in ('a'):rep(100000):gmatch('.-.-b') do end",
    "local s = ('a'):rep(100000); s:match('%b' .. 'ab' .. '.*.*.*b')",
    "while true do purlin.time.now() end",
    "while true do pcall(purlin.op.demo.add, { a = 'x' }) end",
    "while true do string.rep('', 1e9) end",
    "load(function() while true do end end)",
    "tostring(setmetatable({}, { __tostring = function() while true do end end }))",
    "goto again; ::again:: goto again",
    "error(setmetatable({}, { __tostring = function() while true do end end }))",
    /* No instruction of Lua is run between the steps of these: each is one call of a library function. */
    "local s, t = ('x'):rep(2000000), {}; for i = 1, 20000 do t[i] = s end; table.sort(t)",
    "local s, t = ('x'):rep(2000000) .. 'y', {}; for i = 1, 20000 do t[i] = s end; pcall(table.sort, t, string.find)",
    "('x'):rep(100000):find('[' .. ('a'):rep(1000000) .. ']')",
    "('x'):rep(100000):find('%f[' .. ('a'):rep(1000000) .. ']y')",
    "local t, l = {}, {}; for i = 1, 100000 do t[i + 0.5] = 1 end; for i = 1, 100000 do t[i + 0.5] = nil end; t.x = 1; "
    "for i = 1, 100000 do l[i] = t end; purlin.json.encode(l)",
};

static void each_is_stopped(purlin_ctx *ctx, void *unused) {
  (void)unused;
  for (size_t i = 0; i < sizeof endless / sizeof endless[0]; i++) {
    char answered[256];
    replace(ctx, endless[i]);
    uint64_t began = purlin_ticks_ns();
    purlin_status status = ask(ctx, answered);
    uint64_t took_ms = (purlin_ticks_ns() - began) / 1000000;
    bool stopped = status == PURLIN_TIMEOUT && took_ms < 5000;
    if (!stopped)
      print_error("%s\nin %llu ms: %d %s\n", endless[i], (unsigned long long)took_ms, (int)status, purlin_failure(ctx));
    CHECK(stopped);
    /* The state is none the worse for it. */
    replace(ctx, "return { promote = true, reason = 'fine' }");
    CHECK(ask(ctx, answered) == PURLIN_OK && strcmp(answered, "fine") == 0);
  }
}

static void endless_scripts_are_stopped(void **unused) {
  (void)unused;
  options.cpu_limit_ms = 30;
  run(each_is_stopped);
}

/* A coroutine that a stop has killed, or only passed, does no harm to later runs of the same state. */
static void survivors(purlin_ctx *ctx, void *unused) {
  (void)unused;
  char answered[256];
  CHECK(start_status == PURLIN_OK);
  CHECK(ask(ctx, answered) == PURLIN_TIMEOUT);
  for (int i = 0; i < 3; i++) {
    CHECK(ask(ctx, answered) == PURLIN_OK);
    CHECK(strcmp(answered, i == 0 ? "1 false" : i == 1 ? "2 false" : "3 false") == 0);
  }
}

static void what_outlives_a_stop_still_works(void **unused) {
  (void)unused;
  options.cpu_limit_ms = 30;
  write_script("p.lua", "local n = 0\n"
                        "local counter = coroutine.wrap(function() while true do coroutine.yield(n) end end)\n"
                        "local doomed = coroutine.create(function() local x <close> = setmetatable({}, { __close = "
                        "function() while true do end end }) while true do end end)\n"
                        "local first = true\n"
                        "purlin.policy('demo.promote', function()\n"
                        "  if first then first = false; counter(); coroutine.resume(doomed) end\n"
                        "  n = n + 1\n"
                        "  local value = counter()\n"
                        "  return { promote = true, reason = value .. ' ' .. tostring((coroutine.close(doomed))) }\n"
                        "end)");
  run(survivors);
}

static void late(purlin_ctx *ctx, void *unused) {
  (void)unused;
  promote_question question = {0};
  promote_answer answer;
  uint64_t began = purlin_ticks_ns();
  CHECK(purlin_decide(ctx, second, &question, &answer) == PURLIN_OK);
  CHECK(strcmp(answer.reason, "failure") == 0);
  uint64_t took_ms = (purlin_ticks_ns() - began) / 1000000;
  CHECK(took_ms >= 290 && took_ms < 2000);
}

/* Waiting counts against the time of the policy point, and catching the error does not help. */
static void a_policy_that_waits_too_long(void **unused) {
  (void)unused;
  write_script("p.lua", "purlin.policy('demo.second', function() while true do pcall(purlin.time.sleep, 0.05) end end)");
  run(late);
}

static void busy_until_late(void **unused) {
  (void)unused;
  options.cpu_limit_ms = 100000;
  write_script("p.lua", "purlin.policy('demo.second', function() while true do end end)");
  run(late);
}

static void cancel_soon(loop_timer *timer);
typedef struct cancelling {
  loop_timer timer;
  purlin_ctx *ctx;
} cancelling;
static void cancel_soon(loop_timer *timer) { context_cancel(((cancelling *)(void *)timer)->ctx); }

static void cancelled(purlin_ctx *ctx, void *unused) {
  (void)unused;
  cancelling soon = {.ctx = ctx};
  char answered[256];
  loop_timer_start(ctx->loop, &soon.timer, 20, cancel_soon);
  CHECK(ask(ctx, answered) == PURLIN_CANCELLED);
}

static void a_cancelled_policy_ends(void **unused) {
  (void)unused;
  write_script("p.lua", "purlin.policy('demo.promote', function() while true do pcall(purlin.time.sleep, 1) end end)");
  run(cancelled);
}

/* ---- Loading ------------------------------------------------------------------------------------------------------------------------------ */

static const attempt unloadable[] = {
    {"x = = 1", "p.lua:1: unexpected symbol"},
    {"local t = nil\nprint(t.x)", "p.lua:2: attempt to index a nil value"},
    {"while true do end", "p.lua:1: stopped: it used more CPU time"},
    {"local t = {} for i = 1, 1e9 do t[i] = i end", "more than its 16384 KiB of memory"},
    {"purlin.policy('demo.promot', print)",
     "p.lua:1: no plugin has a policy point 'demo.promot'; did you mean 'demo.promote'?"},
    {"purlin.policy('demo.unheard_of', print)", "p.lua:1: no plugin has a policy point 'demo.unheard_of'"},
    {"purlin.polcy('demo.promote', print)", "p.lua:1: there is no 'purlin.polcy'; did you mean 'purlin.policy'?"},
    {"purlin.nonsense()", "p.lua:1: there is no 'purlin.nonsense'"},
    {"purlin.route('GET /x', { permision = 'public' }, print)",
     "p.lua:1: there is no option 'permision'; did you mean 'permission'?"},
    {"purlin.route('GET /x', { 'public' }, print)", "options are named, such as { permission = ... }"},
    {"purlin.route('GET /x', { permission = 1 }, print)", "the option 'permission' is a text, not a number"},
    {"purlin.route('GET /x', { permission = 'a:b', identity = 'optional' }, print)", "belongs to a public route"},
    {"purlin.route('GET /x', { permission = 'public', identity = 'maybe' }, print)", "\"optional\" or \"none\""},
    {"purlin.every(0, 'n', print)", "p.lua:1: bad argument #1 to 'every' (whole seconds expected"},
    {"purlin.every(1.5, 'n', print)", "whole seconds expected"},
    {"purlin.every('61 * * * *', 'n', print)", "p.lua:1: purlin.every: "},
    {"purlin.every('@every never', 'n', print)", "p.lua:1: purlin.every: "},
    {"purlin.every(1, '', print)", "bad argument #2 to 'every'"},
    {"purlin.every(1, 'n')", "bad argument #3 to 'every'"},
    {"purlin.every(1, 'n', print, { time_zone = 'Mars/Olympus' })", "p.lua:1: purlin.every: "},
    {"purlin.every(1, 'n', print, { zone = 'UTC' })", "there is no option 'zone'"},
    {"purlin.every(1, 'n', print) purlin.every(2, 'n', print)", "purlin.every(\"n\") was said already in line 1"},
    {"purlin.policy('demo.promote')", "function expected"},
    {"purlin.policy('demo.promote', print)\npurlin.policy('demo.promote', print)",
     "p.lua:2: purlin.policy(\"demo.promote\") was said already in line 1"},
    {"purlin.on('alert', print)", "a full name expected"},
    {"purlin.route('GET /x', {}, print)", "the option 'permission' is missing"},
    {"purlin.time.sleep(1)", "not available while the script is loaded"},
    {"purlin.op.demo.add{ a = 1 }", "not available while the script is loaded"},
    {"require('../secret')", "'../secret' is not the name of a module"},
    {"require('/etc/passwd')", "is not the name of a module"},
    {"require('..tools')", "is not the name of a module"},
    {"require('tools..x')", "is not the name of a module"},
    {"require('tools.')", "is not the name of a module"},
    {"require('')", "is not the name of a module"},
    {"require('absent')", "No such file"},
    {"require('broken')", "broken.lua:1:"},
    {"require('circle')", "'circle' requires itself"},
    {"require('bytecode')", "attempt to load a binary chunk"},
    {"local n = (purlin.shared.incr('loads'))\npurlin.on('a.b' .. n, print)", "not registered each time"},
    {"\x1bLua", "attempt to load a binary chunk"},
};

static void each_fails_to_load(purlin_ctx *ctx, void *unused) {
  (void)unused;
  write_module("broken.lua", "oops(");
  write_module("circle.lua", "require 'circle'");
  write_module("bytecode.lua", "\x1bLua");
  for (size_t i = 0; i < sizeof unloadable / sizeof unloadable[0]; i++) {
    buffer why = {0};
    write_script("p.lua", unloadable[i].body);
    purlin_status status = script_reload(ctx, &why);
    bool right = status == PURLIN_INVALID && text_has(buffer_end(&why), unloadable[i].says);
    if (!right) print_error("%s\nis answered by: %s\n", unloadable[i].body, buffer_end(&why));
    CHECK(right);
    buffer_free(&why);
  }
}

static void scripts_that_fail_to_load_are_explained(void **unused) {
  (void)unused;
  run_on(2, each_fails_to_load);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_script_finds_no_way_out),    TEST(what_goes_too_far_is_refused),
      TEST(endless_scripts_are_stopped),  TEST(what_outlives_a_stop_still_works),
      TEST(a_policy_that_waits_too_long), TEST(busy_until_late),
      TEST(a_cancelled_policy_ends),      TEST(scripts_that_fail_to_load_are_explained),
  };
  return cmocka_run_group_tests(tests, before_all, after_all);
}
