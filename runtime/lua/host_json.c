/* host_json.c: purlin.json.{encode,decode}, purlin.array, purlin.null. */
#include "lua/host.h"

static int encode(lua_State *L) {
  script_state *state = state_of(L);
  luaL_checkany(L, 1);
  buffer_clear(&state->scratch);
  buffer_clear(&state->why);
  if (!value_to_json(L, 1, &state->scratch, &state->why)) return luaL_error(L, "json.encode: %s", buffer_end(&state->why));
  lua_pushlstring(L, state->scratch.data, state->scratch.size);
  return 1;
}

/* The arena outlives an error: it is the context's, or while a script is loaded that of its entries. */
static int decode(lua_State *L) {
  size_t size;
  const char *text = luaL_checklstring(L, 1, &size);
  const lua_run *run = run_of(L);
  arena *memory = run != NULL && run->ctx != NULL ? &run->ctx->memory : &state_of(L)->memory;
  purlin_mark mark = arena_mark(memory);
  value_push_json(L, text, size, VALUE_KEEP_NULLS, memory);
  arena_reset(memory, mark);
  return 1;
}

static int array(lua_State *L) {
  if (lua_isnoneornil(L, 1)) lua_newtable(L);
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  if (lua_getmetatable(L, 1)) return luaL_argerror(L, 1, "a table without a metatable expected");
  value_mark_list(L);
  return 1;
}

void host_open_json(lua_State *L) {
  static const luaL_Reg functions[] = {{"encode", encode}, {"decode", decode}, {NULL, NULL}};
  host_add(L, "json", functions);
  lua_pushcfunction(L, array);
  lua_setfield(L, -2, "array");
  value_push_null(L);
  lua_setfield(L, -2, "null");
}
