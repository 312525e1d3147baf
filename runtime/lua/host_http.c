/* host_http.c: purlin.http.{get,post,request}{ url=, method=, headers=, body=, json=, timeout_ms=, retries= }. */
#include "lua/host.h"

#include <purlin/http.h>

#include <string.h>

enum { MAX_HEADERS = 64, MAX_ANSWER_BYTES = 4 * 1024 * 1024, MAX_SECRETS = 8 };

static const char *text_option(lua_State *L, const char *name, const char *initial) {
  int type = lua_getfield(L, 1, name);
  if (type == LUA_TNIL) return initial;
  if (type != LUA_TSTRING) luaL_error(L, "'%s' must be a text", name);
  return lua_tostring(L, -1); /* stays on the stack */
}

static bool is_clean(const char *text) {
  for (; *text != '\0'; text++)
    if ((unsigned char)*text < ' ' && *text != '\t') return false;
  return true;
}

/* Headers with secrets in them, until the call is over. */
typedef struct open_headers {
  purlin_secret lines[MAX_SECRETS];
  size_t count;
} open_headers;

static void wipe_headers(purlin_ctx *ctx, open_headers *open) {
  while (open->count > 0) purlin_secret_wipe(ctx, &open->lines[--open->count]);
}

/* { ["Name"] = "value" } as "Name: value" texts, which stay on the Lua stack, or among `open` where the value is a secret. */
static void headers_option(lua_State *L, const char **headers, size_t count, open_headers *open) {
  if (lua_getfield(L, 1, "headers") == LUA_TNIL) return;
  int table = lua_gettop(L);
  luaL_checktype(L, table, LUA_TTABLE);
  luaL_checkstack(L, MAX_HEADERS + 4, NULL);
  lua_pushnil(L);
  while (lua_next(L, table) != 0) {
    int at = lua_gettop(L); /* the key below the value */
    purlin_secret line;
    if (count >= MAX_HEADERS) luaL_error(L, "too many headers");
    if (lua_type(L, at - 1) == LUA_TSTRING && host_secret_header(L, at, lua_tostring(L, at - 1), &line)) {
      if (open->count >= MAX_SECRETS) luaL_error(L, "too many headers with secrets");
      open->lines[open->count++] = line;
      headers[count] = line.text;
      lua_pushliteral(L, "");
    } else {
      if (lua_type(L, at - 1) != LUA_TSTRING || !lua_isstring(L, at)) luaL_error(L, "'headers' wants texts");
      headers[count] = lua_pushfstring(L, "%s: %s", lua_tostring(L, at - 1), lua_tostring(L, at));
    }
    if (!is_clean(headers[count])) {
      wipe_headers(host_run(L)->ctx, open);
      luaL_error(L, "a header holds a control character");
    }
    count++;
    lua_rotate(L, at - 1, 1); /* the text below the key */
    lua_pop(L, 1);
  }
}

static void push_answer(lua_State *L, const purlin_http_answer *answer) {
  lua_createtable(L, 0, 4);
  lua_pushinteger(L, answer->status);
  lua_setfield(L, -2, "status");
  lua_pushlstring(L, answer->body, answer->body_size);
  lua_setfield(L, -2, "body");
  lua_pushstring(L, answer->media_type);
  lua_setfield(L, -2, "media_type");
  lua_pushstring(L, answer->location);
  lua_setfield(L, -2, "location");
}

static int request_as(lua_State *L, const char *method) {
  static const char json_type[] = "Content-Type: application/json";
  static const char *const known[] = {"url", "method", "headers", "body", "json", "timeout_ms", "retries", NULL};
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  host_check_options(L, 1, known);
  lua_run *run = host_run(L);
  const char *headers[MAX_HEADERS + 1] = {0};
  purlin_http_call call = {.headers = headers, .max_answer = MAX_ANSWER_BYTES};
  call.method = text_option(L, "method", method);
  call.url = text_option(L, "url", NULL);
  if (call.url == NULL) return luaL_error(L, "'url' is missing");
  call.body = text_option(L, "body", NULL);
  if (call.body != NULL) call.body_size = lua_rawlen(L, -1);
  bool is_json = lua_getfield(L, 1, "json") != LUA_TNIL;
  int json_index = lua_gettop(L);
  if (is_json) headers[0] = json_type;
  open_headers open = {0};
  headers_option(L, headers, is_json ? 1 : 0, &open);
  call.timeout_ms = (uint32_t)host_integer_option(L, 1, "timeout_ms", 10000, 1, 600000);
  call.retries = (uint32_t)host_integer_option(L, 1, "retries", 0, 0, 10);
  purlin_mark mark = host_mark(run);
  if (is_json) {
    purlin_json json = host_json(L, json_index, NULL, "'json'");
    call.body = json.text;
    call.body_size = json.size;
  }
  purlin_http_answer answer = {0};
  run_set_aside(run);
  purlin_status status = purlin_http(run->ctx, &call, &answer);
  wipe_headers(run->ctx, &open);
  run_go_on(run, L);
  if (status != PURLIN_OK) return host_raise(L, run->ctx, status);
  push_answer(L, &answer);
  host_reset(run, mark);
  return 1;
}

static int get(lua_State *L) { return request_as(L, "GET"); }
static int post(lua_State *L) { return request_as(L, "POST"); }

void host_open_http(lua_State *L) {
  static const luaL_Reg functions[] = {{"get", get}, {"post", post}, {"request", get}, {NULL, NULL}};
  host_add(L, "http", functions);
}
