/* host_operations.c: purlin.op.PLUGIN.NAME{...}, purlin.workspace() and the like. */
#include "lua/host.h"

#include "operation/operation.h"

/* Calls the operation that the first upvalue names. */
static int call_operation(lua_State *L) {
  const char *name = lua_tostring(L, lua_upvalueindex(1));
  if (lua_gettop(L) > 1 || !(lua_isnoneornil(L, 1) || lua_istable(L, 1)))
    return luaL_error(L, "%s wants one table: purlin.op.%s{ ... }", name, name);
  const operation *op = operation_find(name);
  if (op == NULL) return luaL_error(L, "there is no operation '%s'", name);
  lua_run *run = host_run(L);
  purlin_mark mark = host_mark(run);
  purlin_json in = host_json(L, 1, op->in, name), out = {0};
  run_set_aside(run);
  purlin_status status = operation_run_json(run->ctx, op, in, &out);
  run_go_on(run, L);
  if (status != PURLIN_OK) return host_raise(L, run->ctx, status);
  value_push_json(L, out.text, out.size, VALUE_DROP_NULLS, &run->ctx->memory);
  host_reset(run, mark);
  return 1;
}

/* A member of purlin.op.PLUGIN: made when it is first asked for, then kept. The plugin's name is the first upvalue. */
static int find_operation(lua_State *L) {
  (void)luaL_checkstring(L, 2);
  lua_pushfstring(L, "%s.%s", lua_tostring(L, lua_upvalueindex(1)), lua_tostring(L, 2));
  lua_pushcclosure(L, call_operation, 1);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, -2);
  lua_rawset(L, 1);
  return 1;
}

static void set_finder(lua_State *L) { /* the table below the closure on top */
  lua_createtable(L, 0, 2);
  lua_insert(L, -2);
  lua_setfield(L, -2, "__index");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_setmetatable(L, -2);
}

static int find_plugin(lua_State *L) {
  (void)luaL_checkstring(L, 2);
  lua_newtable(L);
  lua_pushvalue(L, 2);
  lua_pushcclosure(L, find_operation, 1);
  set_finder(L);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, -2);
  lua_rawset(L, 1);
  return 1;
}

static int workspace(lua_State *L) {
  lua_pushstring(L, purlin_workspace(host_run(L)->ctx));
  return 1;
}

static int project(lua_State *L) {
  lua_pushstring(L, purlin_project(host_run(L)->ctx));
  return 1;
}

/* nil: nobody is known, as in a public route that did not ask. */
static int actor(lua_State *L) {
  const purlin_ctx *ctx = host_run(L)->ctx;
  lua_pushstring(L, ctx->who == NULL ? NULL : purlin_actor(ctx));
  return 1;
}

static int permitted(lua_State *L) {
  const char *permission = luaL_checkstring(L, 1);
  lua_pushboolean(L, purlin_permitted(host_run(L)->ctx, permission));
  return 1;
}

void host_open_operations(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"workspace", workspace}, {"project", project}, {"actor", actor}, {"permitted", permitted}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
  lua_newtable(L);
  lua_pushcfunction(L, find_plugin);
  set_finder(L);
  lua_setfield(L, -2, "op");
}
