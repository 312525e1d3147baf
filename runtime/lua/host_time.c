/* host_time.c: purlin.time: seconds since 1970 as a number, and RFC 3339 texts. */
#include "lua/host.h"

#include "core/text.h"

#include <math.h>

static int now(lua_State *L) {
  lua_pushnumber(L, (lua_Number)purlin_now_us() / 1e6);
  return 1;
}

static int monotonic(lua_State *L) {
  lua_pushnumber(L, (lua_Number)purlin_ticks_ns() / 1e9);
  return 1;
}

static int wait(lua_State *L) {
  lua_Number seconds = luaL_checknumber(L, 1);
  luaL_argcheck(L, seconds >= 0 && seconds <= 86400, 1, "seconds expected, from 0 to 86400");
  lua_run *run = host_run(L);
  run_set_aside(run);
  purlin_status status = purlin_sleep(run->ctx, (uint32_t)(seconds * 1000));
  run_go_on(run, L);
  return status == PURLIN_OK ? 0 : host_raise(L, run->ctx, status);
}

static int format(lua_State *L) {
  lua_Number seconds = luaL_optnumber(L, 1, (lua_Number)purlin_now_us() / 1e6);
  luaL_argcheck(L, seconds > -62135596800.0 && seconds < 253402300800.0, 1, "a time from year 1 to 9999 expected");
  char text[32];
  lua_pushlstring(L, text, text_from_time((int64_t)llround(seconds * 1e6), text));
  return 1;
}

static int parse(lua_State *L) {
  size_t size;
  const char *text = luaL_checklstring(L, 1, &size);
  int64_t unix_us;
  if (!text_to_time(text, size, &unix_us)) return luaL_argerror(L, 1, "a time such as 2024-05-01T12:00:00Z expected");
  lua_pushnumber(L, (lua_Number)unix_us / 1e6);
  return 1;
}

void host_open_time(lua_State *L) {
  static const luaL_Reg functions[] = {{"now", now},       {"monotonic", monotonic}, {"sleep", wait},
                                       {"format", format}, {"parse", parse},         {NULL, NULL}};
  host_add(L, "time", functions);
}
