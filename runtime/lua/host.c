#include "lua/host.h"

#include "core/status.h"
#include "core/text.h"
#include "db/db.h"

#include <string.h>

/* Its address is the registry key of the metatable of error objects. */
static const char error_key;

void host_add(lua_State *L, const char *name, const luaL_Reg *functions) {
  lua_newtable(L);
  luaL_setfuncs(L, functions, 0);
  lua_setfield(L, -2, name);
}

lua_run *host_run(lua_State *L) {
  lua_run *run = run_of(L);
  if (run == NULL || run->ctx == NULL)
    luaL_error(L, "this is not available while the script is loaded; use it in a function");
  sandbox_check_stack(L);
  return run;
}

purlin_json host_json(lua_State *L, int index, const purlin_schema *schema, const char *what) {
  lua_run *run = host_run(L);
  script_state *state = run->state;
  if (lua_isnoneornil(L, index)) return (purlin_json){"{}", 2};
  buffer_clear(&state->scratch);
  buffer_clear(&state->why);
  if (!value_to_json(L, index, &state->scratch, &state->why)) luaL_error(L, "%s: %s", what, buffer_end(&state->why));
  if (schema != NULL) {
    buffer_clear(&state->why);
    if (value_fit_lists(schema, state->scratch.data, state->scratch.size, &run->ctx->memory, &state->why)) {
      buffer fitted = state->why;
      state->why = state->scratch;
      state->scratch = fitted;
      state->scratch.limit = state->why.limit;
      state->why.limit = 0;
    }
  }
  char *copy = arena_copy(&run->ctx->memory, state->scratch.data, state->scratch.size);
  if (copy == NULL) luaL_error(L, "%s: too large", what);
  return (purlin_json){copy, state->scratch.size};
}

purlin_mark host_mark(const lua_run *run) { return purlin_arena_mark(run->ctx); }

void host_reset(const lua_run *run, purlin_mark mark) {
  if (!db_in_transaction(run->ctx)) purlin_arena_reset(run->ctx, mark);
}

void host_check_options(lua_State *L, int table, const char *const *known) {
  if (!lua_istable(L, table)) return;
  table = lua_absindex(L, table);
  for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
    const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
    const char *best = NULL;
    size_t far = TEXT_FAR, i = 0;
    for (; known[i] != NULL && (name == NULL || strcmp(known[i], name) != 0); i++)
      if (name != NULL && text_is_nearer(name, strlen(name), known[i], &far)) best = known[i];
    if (known[i] != NULL) continue;
    if (name == NULL) luaL_error(L, "options are named, such as { %s = ... }", known[0]);
    if (best != NULL) luaL_error(L, "there is no option '%s'; did you mean '%s'?", name, best);
    luaL_error(L, "there is no option '%s'", name);
  }
}

lua_Integer host_integer_option(lua_State *L, int table, const char *name, lua_Integer initial, lua_Integer least,
                                lua_Integer most) {
  if (!lua_istable(L, table)) return initial;
  int is_integer = 1;
  lua_Integer value = initial;
  if (lua_getfield(L, table, name) != LUA_TNIL) value = lua_tointegerx(L, -1, &is_integer);
  lua_pop(L, 1);
  if (!is_integer || value < least || value > most)
    luaL_error(L, "'%s' must be an integer from %I to %I", name, (LUAI_UACINT)least, (LUAI_UACINT)most);
  return value;
}

/* ---- Errors ----------------------------------------------------------------------------------------------------------------- */

static void push_fields(lua_State *L, const purlin_ctx *ctx) {
  lua_createtable(L, (int)ctx->field_count, 0);
  for (size_t i = 0; i < ctx->field_count; i++) {
    lua_createtable(L, 0, 2);
    lua_pushstring(L, ctx->fields[i].field);
    lua_setfield(L, -2, "field");
    lua_pushstring(L, ctx->fields[i].message);
    lua_setfield(L, -2, "message");
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

int host_raise(lua_State *L, purlin_ctx *ctx, purlin_status status) {
  const status_info *info = status_describe(status);
  const char *message = purlin_failure(ctx);
  lua_createtable(L, 0, 5);
  lua_pushinteger(L, info->http);
  lua_setfield(L, -2, "status");
  lua_pushstring(L, info->type);
  lua_setfield(L, -2, "error");
  lua_pushstring(L, message[0] != '\0' ? message : info->title);
  lua_setfield(L, -2, "message");
  push_fields(L, ctx);
  lua_setfield(L, -2, "fields");
  luaL_where(L, 1);
  lua_setfield(L, -2, "where");
  lua_rawgetp(L, LUA_REGISTRYINDEX, &error_key);
  lua_setmetatable(L, -2);
  purlin_clear_failure(ctx); /* the script may catch it and go on */
  return lua_error(L);
}

static bool is_error_object(lua_State *L, int index) {
  if (!lua_istable(L, index) || !lua_getmetatable(L, index)) return false;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &error_key);
  bool is = lua_rawequal(L, -1, -2) != 0;
  lua_pop(L, 2);
  return is;
}

static const char *raw_text(lua_State *L, int index, const char *name) {
  index = lua_absindex(L, index);
  lua_pushstring(L, name);
  lua_rawget(L, index);
  const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
  lua_pop(L, 1); /* the object still holds it */
  return text;
}

bool host_error_status(lua_State *L, int index, purlin_status *status) {
  if (!is_error_object(L, index)) return false;
  const char *type = raw_text(L, index, "error");
  *status = PURLIN_INTERNAL;
  for (int i = PURLIN_OK + 1; i < PURLIN_STATUS_COUNT; i++)
    if (strcmp(status_describe((purlin_status)i)->type, type) == 0) *status = (purlin_status)i;
  return true;
}

static void add_fields(lua_State *L, int index, luaL_Buffer *text) {
  lua_pushliteral(L, "fields");
  lua_rawget(L, index);
  int fields = lua_gettop(L);
  lua_Integer count = lua_istable(L, fields) ? (lua_Integer)lua_rawlen(L, fields) : 0;
  luaL_buffinit(L, text);
  luaL_addstring(text, raw_text(L, index, "where"));
  luaL_addstring(text, raw_text(L, index, "message"));
  for (lua_Integer i = 1; i <= count; i++) {
    if (lua_rawgeti(L, fields, i) == LUA_TTABLE) {
      const char *field = raw_text(L, -1, "field"), *message = raw_text(L, -1, "message");
      lua_pushfstring(L, "; '%s' %s", field, message);
      lua_remove(L, -2);
      luaL_addvalue(text);
    } else {
      lua_pop(L, 1);
    }
  }
}

const char *host_error_text(lua_State *L, int index) {
  luaL_Buffer text;
  index = lua_absindex(L, index);
  add_fields(L, index, &text);
  luaL_pushresult(&text);
  lua_remove(L, -2);
  return lua_tostring(L, -1);
}

void host_error_record(lua_State *L, int index, purlin_ctx *ctx, purlin_status status) {
  int top = lua_gettop(L);
  index = lua_absindex(L, index);
  lua_pushliteral(L, "fields");
  lua_rawget(L, index);
  lua_Integer count = lua_istable(L, -1) ? (lua_Integer)lua_rawlen(L, -1) : 0;
  (void)!purlin_fail(ctx, status, "%s", raw_text(L, index, "message"));
  for (lua_Integer i = 1; i <= count && i <= CONTEXT_MAX_FIELD_ERRORS; i++) {
    if (lua_rawgeti(L, top + 1, i) == LUA_TTABLE)
      (void)!purlin_fail_field(ctx, raw_text(L, -1, "field"), "%s", raw_text(L, -1, "message"));
    lua_pop(L, 1);
  }
  lua_settop(L, top);
}

static int error_to_text(lua_State *L) {
  if (!is_error_object(L, 1)) return luaL_argerror(L, 1, "an error object expected");
  (void)host_error_text(L, 1);
  return 1;
}

static void open_errors(lua_State *L) {
  lua_createtable(L, 0, 3);
  lua_pushcfunction(L, error_to_text);
  lua_setfield(L, -2, "__tostring");
  lua_pushliteral(L, "error");
  lua_setfield(L, -2, "__name");
  lua_pushliteral(L, "error");
  lua_setfield(L, -2, "__metatable");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &error_key);
}

/* What is not there is more often misspelt than looked for. */
static int unknown_part(lua_State *L) {
  const char *name = luaL_tolstring(L, 2, NULL), *best = NULL;
  size_t far = TEXT_FAR;
  for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1))
    if (lua_type(L, -2) == LUA_TSTRING && text_is_nearer(name, strlen(name), lua_tostring(L, -2), &far))
      best = lua_tostring(L, -2);
  if (best != NULL) return luaL_error(L, "there is no 'purlin.%s'; did you mean 'purlin.%s'?", name, best);
  return luaL_error(L, "there is no 'purlin.%s'", name);
}

void host_open(lua_State *L) {
  static void (*const parts[])(lua_State *) = {
      host_open_log,      host_open_json, host_open_time,   host_open_shared, host_open_metrics,     host_open_operations,
      host_open_database, host_open_http, host_open_secret, host_open_work,   host_open_registration};
  open_errors(L);
  lua_newtable(L);
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) parts[i](L);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, unknown_part);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
  lua_setglobal(L, "purlin");
}
