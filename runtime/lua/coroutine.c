/* coroutine.c: coroutines that the watchdog can follow: it must know which one runs, and none may swallow a stop. */
#include "lua/sandbox.h"

#include <lauxlib.h>
#include <lualib.h>

static void announce(lua_State *L) {
  sandbox *box = sandbox_of(L);
  if (box->slot != NULL) budget_switch(box->slot, L);
}

static lua_State *to_coroutine(lua_State *L) {
  lua_State *co = lua_tothread(L, 1);
  luaL_argexpected(L, co != NULL, 1, "coroutine");
  return co;
}

static bool fits(lua_State *L, int count) { return lua_checkstack(L, count) != 0; }

/* Resumes with the `count` values on top of L. Returns how many results are on top of L, or -1 with the error there. A stop is
 * raised again in L, whatever the coroutine made of it. */
static int resume(lua_State *L, lua_State *co, int count) {
  sandbox_check_stack(L);
  if (!fits(co, count)) {
    lua_pushliteral(L, "too many arguments to resume");
    return -1;
  }
  lua_xmove(L, co, count);
  announce(co);
  int results;
  int status = lua_resume(co, L, count, &results);
  announce(L);
  sandbox_check(L);
  if (status != LUA_OK && status != LUA_YIELD) {
    lua_xmove(co, L, 1);
    return -1;
  }
  if (!fits(L, results + 1)) {
    lua_pop(co, results);
    lua_pushliteral(L, "too many results to resume");
    return -1;
  }
  lua_xmove(co, L, results);
  return results;
}

static int coroutine_resume(lua_State *L) {
  lua_State *co = to_coroutine(L);
  int results = resume(L, co, lua_gettop(L) - 1);
  lua_pushboolean(L, results >= 0);
  if (results < 0) results = 1;
  lua_insert(L, -(results + 1));
  return results + 1;
}

static int wrapped(lua_State *L) {
  lua_State *co = lua_tothread(L, lua_upvalueindex(1));
  int results = resume(L, co, lua_gettop(L));
  if (results >= 0) return results;
  int status = lua_status(co);
  if (status != LUA_OK && status != LUA_YIELD) { /* it died: close its variables */
    announce(co);
    status = lua_resetthread(co);
    announce(L);
    sandbox_check(L);
    lua_xmove(co, L, 1);
  }
  if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
  }
  return lua_error(L);
}

static int coroutine_wrap(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_State *co = lua_newthread(L);
  lua_pushvalue(L, 1);
  lua_xmove(L, co, 1);
  lua_pushcclosure(L, wrapped, 1);
  return 1;
}

/* Whether it waits at a yield, or has not begun. */
static bool is_suspended(lua_State *L, lua_State *co) {
  if (co == L) return false;
  if (lua_status(co) == LUA_YIELD) return true;
  lua_Debug ignored;
  return lua_status(co) == LUA_OK && lua_getstack(co, 0, &ignored) == 0 && lua_gettop(co) > 0;
}

/* One that died by an error keeps what it has not closed: after a stop its hook could not be armed again. */
static int coroutine_close(lua_State *L) {
  lua_State *co = to_coroutine(L);
  lua_Debug ignored;
  int status = lua_status(co);
  if (status != LUA_OK && status != LUA_YIELD) {
    lua_pushboolean(L, 0);
    lua_pushliteral(L, "the coroutine has ended by an error");
    return 2;
  }
  if (!is_suspended(L, co) && (co == L || lua_getstack(co, 0, &ignored) != 0))
    return luaL_error(L, "cannot close a running coroutine");
  sandbox_check_stack(L);
  announce(co);
  status = lua_resetthread(co);
  announce(L);
  sandbox_check(L);
  lua_pushboolean(L, status == LUA_OK);
  if (status == LUA_OK) return 1;
  lua_xmove(co, L, 1);
  return 2;
}

void coroutine_open(lua_State *L) {
  static const luaL_Reg changes[] = {
      {"resume", coroutine_resume}, {"wrap", coroutine_wrap}, {"close", coroutine_close}, {NULL, NULL}};
  luaL_requiref(L, "coroutine", luaopen_coroutine, 1);
  luaL_setfuncs(L, changes, 0);
  lua_pop(L, 1);
}

/* ---- xpcall ----------------------------------------------------------------------------------------------------------------- */

/* A handler runs where hooks are off when the error came from a hook: after a stop it must not run at all. */
static int handle(lua_State *L) {
  if (sandbox_is_stopped(L)) return 1;
  sandbox_check_stack(L);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, 1);
  return 1;
}

/* The stack holds: the function, the handler, true, results. */
static int finish(lua_State *L, int status, lua_KContext extra) {
  if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(L) - (int)extra;
  lua_pushboolean(L, 0);
  lua_pushvalue(L, -2);
  return 2;
}

int protected_xpcall(lua_State *L) {
  int count = lua_gettop(L);
  sandbox_check_stack(L);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_pushvalue(L, 2);
  lua_pushcclosure(L, handle, 1);
  lua_replace(L, 2);
  lua_pushboolean(L, 1);
  lua_pushvalue(L, 1);
  lua_rotate(L, 3, 2);
  return finish(L, lua_pcallk(L, count - 2, LUA_MULTRET, 2, 2, finish), 2);
}
