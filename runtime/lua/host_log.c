/* host_log.c: purlin.log.{debug,info,warning,error}(format, ...) and print(). */
#include "lua/host.h"

#include "observe/log.h"

static void record(lua_State *L, purlin_level level, const char *text) {
  const lua_run *run = run_of(L);
  if (run != NULL && run->ctx != NULL) purlin_log(run->ctx, level, "%s: %s", state_of(L)->file, text);
  else log_write(level, "lua", "%s: %s", state_of(L)->file, text);
}

void host_print(lua_State *L, const char *text) { record(L, PURLIN_INFO, text); }

/* One value is logged as it is; more are a format of string.format and its values. */
static int log_at(lua_State *L, purlin_level level) {
  if (!log_enabled(level)) return 0;
  sandbox_check_stack(L);
  if (lua_gettop(L) > 1) {
    lua_getglobal(L, "string");
    lua_getfield(L, -1, "format");
    lua_insert(L, 1);
    lua_pop(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
  }
  record(L, level, luaL_tolstring(L, 1, NULL));
  return 0;
}

static int log_debug(lua_State *L) { return log_at(L, PURLIN_DEBUG); }
static int log_info(lua_State *L) { return log_at(L, PURLIN_INFO); }
static int log_warning(lua_State *L) { return log_at(L, PURLIN_WARNING); }
static int log_error(lua_State *L) { return log_at(L, PURLIN_ERROR); }

void host_open_log(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"debug", log_debug}, {"info", log_info}, {"warning", log_warning}, {"error", log_error}, {NULL, NULL}};
  host_add(L, "log", functions);
}
