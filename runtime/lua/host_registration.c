/* host_registration.c: what a script says about itself while it is loaded: purlin.policy, purlin.on, purlin.route, purlin.every; and
 * require. */
#include "lua/host.h"

#include "core/text.h"
#include "jobs/cron.h"
#include "lua/load.h"
#include "operation/operation.h"

#include <math.h>

#include <string.h>

enum { MOST_PERIODIC_NAME = 100 };

static const char *kept(lua_State *L, const char *text) {
  const char *copy = arena_copy(&run_of(L)->load->script->memory, text, strlen(text));
  if (copy == NULL) luaL_error(L, "it registers too much");
  return copy == NULL ? "" : copy;
}

static int line_of_caller(lua_State *L) {
  lua_Debug where;
  return lua_getstack(L, 1, &where) && lua_getinfo(L, "l", &where) ? where.currentline : 0;
}

static void check_new(lua_State *L, const script *s, entry_kind kind, const char *what, const char *name) {
  for (size_t i = 0; i < s->entry_count; i++)
    if (s->entries[i].kind == kind && strcmp(s->entries[i].name, name) == 0)
      luaL_error(L, "purlin.%s(\"%s\") was said already in line %d", what, name, s->entries[i].line);
  if (s->entry_count == RUN_MAX_ENTRIES) luaL_error(L, "it registers too much");
}

static void check_same(lua_State *L, const script *s, size_t index, entry_kind kind, const char *name) {
  if (index >= s->entry_count || s->entries[index].kind != kind || strcmp(s->entries[index].name, name) != 0)
    luaL_error(L, "'%s' is not registered each time that the script is loaded, as it must be", name);
}

/* Adds an entry whose name and function are these arguments: to the script when this is the first of its states. */
static script_entry *add(lua_State *L, entry_kind kind, const char *what, int name_at, int function) {
  const char *name = luaL_checkstring(L, name_at);
  luaL_checktype(L, function, LUA_TFUNCTION);
  script_state *state = state_of(L);
  const script_load *load = run_of(L)->load;
  script *s = load->script;
  if (load->first) {
    check_new(L, s, kind, what, name);
    const char *title = kept(L, lua_pushfstring(L, "%s %s", kind == ENTRY_RULE ? "rule" : what, name));
    s->entries[s->entry_count++] =
        (script_entry){.kind = kind, .name = kept(L, name), .title = title, .line = line_of_caller(L)};
  }
  check_same(L, s, state->function_count, kind, name);
  lua_pushvalue(L, function);
  state->functions[state->function_count] = luaL_ref(L, LUA_REGISTRYINDEX);
  return &s->entries[state->function_count++];
}

static void check_loading(lua_State *L, const char *what) {
  if (run_of(L)->load == NULL)
    luaL_error(L, "purlin.%s belongs at the top of the script, not in a function that runs later", what);
}

typedef struct nearest {
  const char *name, *best;
  size_t far;
} nearest;

static void look_at_point(void *to, const char *name, const purlin_policy *policy) {
  (void)policy;
  nearest *n = to;
  if (text_is_nearer(n->name, strlen(n->name), name, &n->far)) n->best = name;
}

static int refuse_point(lua_State *L, const char *point) {
  nearest n = {.name = point, .far = TEXT_FAR};
  policies_visit(look_at_point, &n);
  if (n.best == NULL) return luaL_error(L, "no plugin has a policy point '%s'", point);
  return luaL_error(L, "no plugin has a policy point '%s'; did you mean '%s'?", point, n.best);
}

static int register_policy(lua_State *L) {
  check_loading(L, "policy");
  const char *point = luaL_checkstring(L, 1);
  if (!policy_exists(point)) return refuse_point(L, point);
  (void)add(L, ENTRY_POLICY, "policy", 1, 2);
  return 0;
}

static int register_rule(lua_State *L) {
  check_loading(L, "on");
  const char *event = luaL_checkstring(L, 1);
  luaL_argcheck(L, strchr(event, '.') != NULL, 1, "a full name expected, such as \"drift.alert\"");
  (void)add(L, ENTRY_RULE, "on", 1, 2);
  return 0;
}

static const char *option(lua_State *L, int table, const char *name, const char *initial) {
  int type = lua_getfield(L, table, name);
  const char *said = type == LUA_TNIL ? initial : type == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
  if (said == NULL) {
    if (type == LUA_TNIL) luaL_error(L, "the option '%s' is missing", name);
    luaL_error(L, "the option '%s' is a text, not a %s", name, luaL_typename(L, -1));
    return NULL;
  }
  const char *text = kept(L, said);
  lua_pop(L, 1);
  return text;
}

static bool wants_identity(lua_State *L, const char *permission) {
  const char *choice = option(L, 2, "identity", "none");
  bool optional = strcmp(choice, "optional") == 0;
  if (!optional && strcmp(choice, "none") != 0) luaL_error(L, "the option 'identity' is \"optional\" or \"none\"");
  if (optional && strcmp(permission, "public") != 0)
    luaL_error(L, "identity = \"optional\" belongs to a public route; one with a permission knows its caller");
  return optional;
}

static int register_route(lua_State *L) {
  check_loading(L, "route");
  luaL_checktype(L, 2, LUA_TTABLE);
  static const char *const known[] = {"permission", "summary", "timeout_ms", "identity", NULL};
  host_check_options(L, 2, known);
  const char *permission = option(L, 2, "permission", NULL), *summary = option(L, 2, "summary", "A route of a Lua script");
  bool wants_caller = wants_identity(L, permission);
  uint32_t timeout_ms = (uint32_t)host_integer_option(L, 2, "timeout_ms", 0, 0, 600000);
  script_entry *entry = add(L, ENTRY_ROUTE, "route", 1, 3);
  if (!run_of(L)->load->first) return 0; /* other threads may read it soon */
  entry->permission = permission;
  entry->summary = summary;
  entry->timeout_ms = timeout_ms;
  entry->wants_caller = wants_caller;
  return 0;
}

/* 30 and "@every 30s" are the same. */
static const char *expression_of(lua_State *L) {
  if (lua_type(L, 1) != LUA_TNUMBER) return luaL_checkstring(L, 1);
  lua_Number seconds = lua_tonumber(L, 1);
  luaL_argcheck(L, seconds >= 1 && seconds <= 366 * 86400.0 && floor(seconds) == seconds, 1,
                "whole seconds expected, from 1 to 366 days, or a text such as \"15 3 * * *\"");
  return lua_pushfstring(L, "@every %Is", (LUAI_UACINT)seconds);
}

static int register_periodic(lua_State *L) {
  static const char *const known[] = {"time_zone", NULL};
  check_loading(L, "every");
  if (!lua_isnoneornil(L, 4)) luaL_checktype(L, 4, LUA_TTABLE);
  lua_settop(L, 4);
  host_check_options(L, 4, known);
  size_t size;
  (void)luaL_checklstring(L, 2, &size);
  luaL_argcheck(L, size > 0 && size <= MOST_PERIODIC_NAME, 2, "a name of 1 to 100 bytes expected");
  const char *expression = expression_of(L);
  const char *time_zone = lua_istable(L, 4) ? option(L, 4, "time_zone", "UTC") : "UTC";
  cron *when = NULL;
  buffer *why = &state_of(L)->why;
  buffer_clear(why);
  if (cron_parse(expression, time_zone, &when, why) != PURLIN_OK) return luaL_error(L, "purlin.every: %s", buffer_end(why));
  cron_free(when);
  script_entry *entry = add(L, ENTRY_PERIODIC, "every", 2, 3);
  if (!run_of(L)->load->first) return 0;
  entry->expression = kept(L, expression);
  entry->time_zone = time_zone;
  return 0;
}

void host_open_registration(lua_State *L) {
  static const luaL_Reg functions[] = {{"policy", register_policy},
                                       {"on", register_rule},
                                       {"route", register_route},
                                       {"every", register_periodic},
                                       {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
  load_open_require(L);
}
