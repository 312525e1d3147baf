/* host_work.c: purlin.jobs.enqueue and purlin.events.emit. */
#include "lua/host.h"

#include "events/events.h"
#include "jobs/jobs.h"

static int enqueue(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  lua_run *run = host_run(L);
  purlin_enqueue_options options = {0};
  static const char *const known[] = {"priority", "delay_ms", "unique_key", NULL};
  if (!lua_isnoneornil(L, 3)) luaL_checktype(L, 3, LUA_TTABLE);
  host_check_options(L, 3, known);
  options.priority = (int32_t)host_integer_option(L, 3, "priority", 0, INT32_MIN, INT32_MAX);
  options.delay_ms = (uint32_t)host_integer_option(L, 3, "delay_ms", 0, 0, UINT32_MAX);
  if (lua_istable(L, 3) && lua_getfield(L, 3, "unique_key") != LUA_TNIL) options.unique_key = luaL_checkstring(L, -1);
  purlin_mark mark = host_mark(run);
  purlin_json payload = host_json(L, 2, NULL, name);
  const char *id = NULL;
  run_set_aside(run);
  purlin_status status = jobs_enqueue_json(run->ctx, name, payload, &options, &id);
  run_go_on(run, L);
  if (status != PURLIN_OK) return host_raise(L, run->ctx, status);
  lua_pushstring(L, id);
  host_reset(run, mark);
  return 1;
}

static int emit(lua_State *L) {
  const char *name = luaL_checkstring(L, 1), *key = luaL_checkstring(L, 2);
  lua_run *run = host_run(L);
  purlin_mark mark = host_mark(run);
  purlin_json payload = host_json(L, 3, NULL, name);
  run_set_aside(run);
  purlin_status status = events_emit_json(run->ctx, name, key, payload);
  run_go_on(run, L);
  if (status != PURLIN_OK) return host_raise(L, run->ctx, status);
  host_reset(run, mark);
  return 0;
}

void host_open_work(lua_State *L) {
  static const luaL_Reg jobs[] = {{"enqueue", enqueue}, {NULL, NULL}};
  static const luaL_Reg events[] = {{"emit", emit}, {NULL, NULL}};
  host_add(L, "jobs", jobs);
  host_add(L, "events", events);
}
