/* host_registration.c: what a script says about itself while it is loaded: purlin.policy, purlin.on, purlin.route; and require. */
#include "lua/host.h"

#include "lua/load.h"
#include "operation/operation.h"

#include <string.h>

static const char *kept(lua_State *L, const char *text) {
  const char *copy = arena_copy(&run_of(L)->load->script->memory, text, strlen(text));
  if (copy == NULL) luaL_error(L, "it registers too much");
  return copy;
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

/* Adds an entry whose function is the argument `function`: to the script when this is the first of its states. */
static script_entry *add(lua_State *L, entry_kind kind, const char *what, int function) {
  const char *name = luaL_checkstring(L, 1);
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

static int register_policy(lua_State *L) {
  check_loading(L, "policy");
  const char *point = luaL_checkstring(L, 1);
  if (!policy_exists(point)) return luaL_error(L, "no plugin has a policy point '%s'", point);
  (void)add(L, ENTRY_POLICY, "policy", 2);
  return 0;
}

static int register_rule(lua_State *L) {
  check_loading(L, "on");
  const char *event = luaL_checkstring(L, 1);
  luaL_argcheck(L, strchr(event, '.') != NULL, 1, "a full name expected, such as \"drift.alert\"");
  (void)add(L, ENTRY_RULE, "on", 2);
  return 0;
}

static const char *option(lua_State *L, const char *name, const char *initial) {
  int type = lua_getfield(L, 2, name);
  if (type != LUA_TSTRING && (type != LUA_TNIL || initial == NULL)) luaL_error(L, "the route needs '%s', a text", name);
  const char *text = kept(L, type == LUA_TNIL ? initial : lua_tostring(L, -1));
  lua_pop(L, 1);
  return text;
}

static int register_route(lua_State *L) {
  check_loading(L, "route");
  luaL_checktype(L, 2, LUA_TTABLE);
  const char *permission = option(L, "permission", NULL), *summary = option(L, "summary", "A route of a Lua script");
  uint32_t timeout_ms = (uint32_t)host_integer_option(L, 2, "timeout_ms", 0, 0, 600000);
  script_entry *entry = add(L, ENTRY_ROUTE, "route", 3);
  if (!run_of(L)->load->first) return 0; /* other threads may read it soon */
  entry->permission = permission;
  entry->summary = summary;
  entry->timeout_ms = timeout_ms;
  return 0;
}

void host_open_registration(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"policy", register_policy}, {"on", register_rule}, {"route", register_route}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
  load_open_require(L);
}
