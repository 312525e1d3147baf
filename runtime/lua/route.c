/* route.c: purlin.route("GET /hello/{name}", { permission = "public" }, function(request) return { body = {...} } end). */
#include "access/access.h"
#include "http/server.h"
#include "lua/generation.h"
#include "lua/host.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_BODY_BYTES = 8 * 1024 * 1024 };

/* A route that some generation had; routers may lead to it until the end. */
typedef struct route {
  http_target target;
  char *file, *http, *permission, *name;
  bool current, wants_caller;
  struct route *next;
} route;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static route *routes;

/* ---- The request ---------------------------------------------------------------------------------------------------------------- */

typedef struct route_call {
  purlin_request *request;
  int function;
  const char *body; /* once it was asked for */
  size_t body_size;
} route_call;

/* The request object is empty: it stands for the request of the run that asks it, so one that was kept leads nowhere else. */
static const char request_key;

static route_call *call_of(lua_State *L) {
  lua_run *run = host_run(L);
  if (run->request == NULL) luaL_error(L, "there is no request here");
  return run->request;
}

static void push_body(lua_State *L) {
  route_call *call = call_of(L);
  lua_run *run = run_of(L);
  if (call->body == NULL) {
    run_set_aside(run);
    purlin_status status = purlin_read_all(run->ctx, call->request, MAX_BODY_BYTES, &call->body, &call->body_size);
    run_go_on(run, L);
    if (status != PURLIN_OK) (void)host_raise(L, run->ctx, status);
  }
  lua_pushlstring(L, call->body, call->body_size);
}

static int request_header(lua_State *L) {
  lua_pushstring(L, purlin_header(call_of(L)->request, luaL_checkstring(L, 2)));
  return 1;
}

static int request_query(lua_State *L) {
  lua_pushstring(L, purlin_query_value(call_of(L)->request, luaL_checkstring(L, 2)));
  return 1;
}

static int request_parameter(lua_State *L) {
  lua_pushstring(L, purlin_parameter(call_of(L)->request, luaL_checkstring(L, 2)));
  return 1;
}

static int request_json(lua_State *L) {
  push_body(L);
  const route_call *call = call_of(L);
  value_push_json(L, call->body, call->body_size, VALUE_DROP_NULLS, &run_of(L)->ctx->memory);
  return 1;
}

/* Members are made when they are asked for. The methods are the first upvalue. */
static int request_member(lua_State *L) {
  const char *name = luaL_checkstring(L, 2);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
  if (strcmp(name, "method") == 0) lua_pushstring(L, purlin_method(call_of(L)->request));
  else if (strcmp(name, "path") == 0) lua_pushstring(L, purlin_path(call_of(L)->request));
  else if (strcmp(name, "body") == 0) push_body(L);
  else if (strcmp(name, "address") == 0) lua_pushstring(L, http_request_address(call_of(L)->request));
  else return luaL_error(L, "a request has no '%s'", name);
  return 1;
}

/* Pushes the metatable of requests, made at first. */
static void push_metatable(lua_State *L) {
  static const luaL_Reg methods[] = {{"header", request_header},
                                     {"query", request_query},
                                     {"parameter", request_parameter},
                                     {"json", request_json},
                                     {NULL, NULL}};
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &request_key) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_createtable(L, 0, 3);
  luaL_newlib(L, methods);
  lua_pushcclosure(L, request_member, 1);
  lua_setfield(L, -2, "__index");
  lua_pushliteral(L, "request");
  lua_setfield(L, -2, "__name");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &request_key);
}

/* ---- The answer ----------------------------------------------------------------------------------------------------------------- */

static unsigned take_status(lua_State *L, int table) {
  lua_Integer status = host_integer_option(L, table, "status", 200, 200, 599);
  return (unsigned)status;
}

static void take_headers(lua_State *L, int table, purlin_ctx *ctx, purlin_request *request) {
  if (lua_getfield(L, table, "headers") == LUA_TTABLE) {
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
      if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING) luaL_error(L, "'headers' wants texts");
      purlin_status status = purlin_set_header(ctx, request, lua_tostring(L, -2), lua_tostring(L, -1));
      if (status != PURLIN_OK) (void)host_raise(L, ctx, status);
    }
  }
  lua_pop(L, 1);
}

/* Answers with the value at `index`: a text, or { status=, headers=, media_type=, body= a text, or a value to be sent as JSON }. */
static int respond(lua_State *L, int index) {
  purlin_ctx *ctx = run_of(L)->ctx;
  purlin_request *request = call_of(L)->request;
  unsigned http_status = 200;
  const char *type = NULL;
  if (lua_istable(L, index)) {
    http_status = take_status(L, index);
    take_headers(L, index, ctx, request);
    if (lua_getfield(L, index, "media_type") != LUA_TNIL) type = luaL_checkstring(L, -1);
    lua_getfield(L, index, "body");
    index = lua_gettop(L);
  } else if (lua_type(L, index) != LUA_TSTRING) {
    return luaL_error(L, "the route must return a text or a table, not %s", luaL_typename(L, index));
  }
  size_t size = 0;
  const char *body = "";
  if (lua_type(L, index) == LUA_TSTRING) {
    body = lua_tolstring(L, index, &size);
    if (type == NULL) type = "text/plain; charset=utf-8";
  } else if (!lua_isnil(L, index)) {
    script_state *state = state_of(L);
    buffer_clear(&state->scratch);
    buffer_clear(&state->why);
    if (!value_to_json(L, index, &state->scratch, &state->why))
      return luaL_error(L, "the body: %s", buffer_end(&state->why));
    body = state->scratch.data;
    size = state->scratch.size;
  }
  purlin_status status =
      purlin_respond_bytes(ctx, request, http_status, type == NULL ? "application/json" : type, body, size);
  return status == PURLIN_OK ? 0 : host_raise(L, ctx, status);
}

static int run_route(lua_State *L) {
  route_call *call = lua_touserdata(L, 1);
  run_of(L)->request = call;
  lua_rawgeti(L, LUA_REGISTRYINDEX, call->function);
  (void)lua_newuserdatauv(L, 0, 0);
  push_metatable(L);
  lua_setmetatable(L, -2);
  lua_call(L, 1, 1);
  return respond(L, lua_gettop(L));
}

static purlin_status handle(purlin_ctx *ctx, purlin_request *request, const http_target *target) {
  const route *r = target->argument;
  purlin_status status = r->wants_caller ? access_recognise(ctx, request) : PURLIN_OK;
  if (status != PURLIN_OK) return status;
  found_entry found; /* after what parks */
  if (!generation_entry(r->file, ENTRY_ROUTE, r->http, &found))
    return purlin_fail(ctx, PURLIN_NOT_FOUND, "there is nothing here");
  route_call call = {.request = request, .function = found.function};
  return run_script(ctx, &(run_call){.state = found.state,
                                     .name = found.entry->title,
                                     .line = found.entry->line,
                                     .kind = "route",
                                     .pass_errors = true,
                                     .body = run_route,
                                     .argument = &call});
}

/* ---- Routes --------------------------------------------------------------------------------------------------------------------- */

static bool is_route(const route *r, const script *s, const script_entry *entry) {
  return strcmp(r->file, s->file) == 0 && strcmp(r->http, entry->name) == 0 &&
         strcmp(r->permission, entry->permission) == 0 && r->target.timeout_ms == entry->timeout_ms &&
         r->wants_caller == entry->wants_caller;
}

static void free_route(route *r) {
  if (r == NULL) return;
  free(r->file);
  free(r->http);
  free(r->permission);
  free(r->name);
  free(r);
}

static route *make_route(const script *s, const script_entry *entry) {
  route *r = calloc(1, sizeof *r);
  if (r == NULL) return NULL;
  r->file = strdup(s->file);
  r->http = strdup(entry->name);
  r->permission = strdup(entry->permission);
  r->name = strdup(entry->title);
  if (r->file == NULL || r->http == NULL || r->permission == NULL || r->name == NULL) {
    free_route(r);
    return NULL;
  }
  r->target = (http_target){.name = r->name,
                            .plugin = "lua",
                            .permission = r->permission,
                            .handle = handle,
                            .argument = r,
                            .timeout_ms = entry->timeout_ms};
  r->wants_caller = entry->wants_caller;
  r->next = routes;
  routes = r;
  return r;
}

static route *route_of(const script *s, const script_entry *entry) {
  for (route *r = routes; r != NULL; r = r->next)
    if (is_route(r, s, entry)) return r;
  return make_route(s, entry);
}

static bool is_in(const generation *g, const route *r) {
  for (size_t i = 0; i < g->count; i++)
    for (size_t j = 0; j < g->scripts[i]->entry_count; j++)
      if (g->scripts[i]->entries[j].kind == ENTRY_ROUTE && is_route(r, g->scripts[i], &g->scripts[i]->entries[j]))
        return true;
  return false;
}

bool routes_follow(const generation *g) {
  bool changed = false;
  (void)pthread_mutex_lock(&lock);
  for (size_t i = 0; i < g->count; i++)
    for (size_t j = 0; j < g->scripts[i]->entry_count; j++)
      if (g->scripts[i]->entries[j].kind == ENTRY_ROUTE) (void)route_of(g->scripts[i], &g->scripts[i]->entries[j]);
  for (route *r = routes; r != NULL; r = r->next) {
    bool now = is_in(g, r);
    changed = changed || now != r->current;
    r->current = now;
  }
  (void)pthread_mutex_unlock(&lock);
  return changed;
}

purlin_status script_routes(http_router *router, buffer *why) {
  purlin_status status = PURLIN_OK;
  (void)pthread_mutex_lock(&lock);
  for (route *r = routes; r != NULL && status == PURLIN_OK; r = r->next)
    if (r->current) status = http_router_add(router, r->http, &r->target, why);
  (void)pthread_mutex_unlock(&lock);
  return status;
}

void routes_end(void) {
  (void)pthread_mutex_lock(&lock);
  while (routes != NULL) {
    route *next = routes->next;
    free_route(routes);
    routes = next;
  }
  (void)pthread_mutex_unlock(&lock);
}
