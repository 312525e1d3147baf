/* host_secret.c: purlin.secret("NAME"), which stands for a value that no script has.
 *
 * What a script holds is the name, with a text before and behind it: "Bearer " .. purlin.secret("slack-token"). Only purlin.http puts the
 * value in its place, in a header, when it sends. A script cannot log, store, compare or answer the value, also not by mistake; and
 * as Lua texts live until some collection, nothing of it stays in the memory of scripts. */
#include "lua/host.h"

#include "secrets/secrets.h"
#include <purlin/contracts/secrets.h>

#include <string.h>

/* Its address is the registry key of the metatable. */
static const char secret_key;

enum { BEFORE = 1, NAME, BEHIND, PARTS = 3 };

static bool is_secret(lua_State *L, int index) {
  if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index)) return false;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &secret_key);
  bool is = lua_rawequal(L, -1, -2) != 0;
  lua_pop(L, 2);
  return is;
}

/* Of the three texts on top of the stack, which it takes. */
static int push_new(lua_State *L) {
  int first = lua_gettop(L) - PARTS + 1;
  (void)lua_newuserdatauv(L, 0, PARTS);
  for (int part = BEFORE; part <= PARTS; part++) {
    lua_pushvalue(L, first + part - BEFORE);
    (void)lua_setiuservalue(L, -2, part);
  }
  lua_rawgetp(L, LUA_REGISTRYINDEX, &secret_key);
  lua_setmetatable(L, -2);
  return 1;
}

static int new_secret(lua_State *L) {
  size_t size = 0;
  luaL_checktype(L, 1, LUA_TSTRING);
  const char *name = lua_tolstring(L, 1, &size);
  if (size == 0 || size > 200 || strlen(name) != size) return luaL_argerror(L, 1, "the name of a secret expected");
  lua_pushliteral(L, "");
  lua_pushvalue(L, 1);
  lua_pushliteral(L, "");
  return push_new(L);
}

/* TEXT .. secret and secret .. TEXT */
static int concat(lua_State *L) {
  int at = is_secret(L, 1) ? 1 : 2, text = 3 - at;
  if (!is_secret(L, at) || lua_type(L, text) != LUA_TSTRING) return luaL_error(L, "a secret goes together with texts only");
  for (int part = BEFORE; part <= PARTS; part++) {
    if (part == BEFORE && at == 2) lua_pushvalue(L, 1);
    (void)lua_getiuservalue(L, at, part);
    if (part == BEFORE && at == 2) lua_concat(L, 2);
    if (part == BEHIND && at == 1) {
      lua_pushvalue(L, 2);
      lua_concat(L, 2);
    }
  }
  return push_new(L);
}

static int to_text(lua_State *L) {
  if (!is_secret(L, 1)) return luaL_argerror(L, 1, "a secret expected");
  (void)lua_getiuservalue(L, 1, NAME);
  lua_pushfstring(L, "the secret '%s'", lua_tostring(L, -1));
  return 1;
}

/* "HEADER: BEFORE value BEHIND", in pages of secrets. */
static purlin_status build(purlin_ctx *ctx, const char *const parts[4], const char *name, purlin_secret *out) {
  purlin_secret value;
  purlin_status status = purlin_named_secret(ctx, name, &value);
  if (status != PURLIN_OK) return status;
  size_t size = value.size, sizes[4];
  for (size_t i = 0; i < 4; i++) size += sizes[i] = strlen(parts[i]);
  char *at = secrets_room(ctx, size, out);
  for (size_t i = 0; i < 4 && at; i++) {
    memcpy(at, parts[i], sizes[i]);
    at += sizes[i];
    if (i == 2) memcpy(at, value.text, value.size), at += value.size;
  }
  purlin_secret_wipe(ctx, &value);
  return at ? PURLIN_OK : PURLIN_TOO_LARGE;
}

bool host_secret_header(lua_State *L, int index, const char *header, purlin_secret *line) {
  if (!is_secret(L, index)) return false;
  index = lua_absindex(L, index);
  lua_run *run = host_run(L);
  for (int part = BEFORE; part <= PARTS; part++) (void)lua_getiuservalue(L, index, part);
  const char *const parts[4] = {header, ": ", lua_tostring(L, -3), lua_tostring(L, -1)};
  const char *name = lua_tostring(L, -2);
  run_set_aside(run);
  purlin_status status = build(run->ctx, parts, name, line);
  run_go_on(run, L);
  if (status != PURLIN_OK) (void)host_raise(L, run->ctx, status);
  lua_pop(L, PARTS);
  return true;
}

void host_open_secret(lua_State *L) {
  lua_createtable(L, 0, 4);
  lua_pushcfunction(L, concat);
  lua_setfield(L, -2, "__concat");
  lua_pushcfunction(L, to_text);
  lua_setfield(L, -2, "__tostring");
  lua_pushliteral(L, "secret");
  lua_setfield(L, -2, "__name");
  lua_pushliteral(L, "secret");
  lua_setfield(L, -2, "__metatable");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &secret_key);
  lua_pushcfunction(L, new_secret);
  lua_setfield(L, -2, "secret");
}
