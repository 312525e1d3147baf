#include "lua/value.h"

#include "core/text.h"
#include "lua/sandbox.h"

#include <lauxlib.h>
#include <math.h>
#include <string.h>

enum { MAX_DEPTH = 64, MAX_PATH = 160 };

/* Its address is the registry key of the list metatable. */
static const char list_key;

static int null_to_text(lua_State *L) {
  lua_pushliteral(L, "null");
  return 1;
}

void value_push_null(lua_State *L) { lua_pushlightuserdata(L, NULL); }

void value_open(lua_State *L) {
  lua_createtable(L, 0, 2);
  lua_pushliteral(L, "list");
  lua_setfield(L, -2, "__name");
  lua_pushliteral(L, "list");
  lua_setfield(L, -2, "__metatable");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &list_key);

  value_push_null(L);
  lua_createtable(L, 0, 3);
  lua_pushcfunction(L, null_to_text);
  lua_setfield(L, -2, "__tostring");
  lua_pushliteral(L, "null");
  lua_setfield(L, -2, "__name");
  lua_pushliteral(L, "null");
  lua_setfield(L, -2, "__metatable");
  lua_setmetatable(L, -2);
  lua_pop(L, 1);
}

void value_mark_list(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &list_key);
  lua_setmetatable(L, -2);
}

/* ---- From JSON ------------------------------------------------------------------------------------------------------------- */

static void push(lua_State *L, json_reader *r, json_kind kind, value_nulls nulls);

static void broken(lua_State *L, const json_reader *r) {
  luaL_error(L, "not JSON at byte %d: %s", (int)(r->at - r->start) + 1, r->error == NULL ? "it ends too early" : r->error);
}

static void push_list(lua_State *L, json_reader *r, value_nulls nulls) {
  lua_newtable(L);
  value_mark_list(L);
  lua_Integer count = 0;
  for (json_kind kind = json_next(r); kind != JSON_ARRAY_END; kind = json_next(r)) {
    push(L, r, kind, nulls);
    lua_rawseti(L, -2, ++count);
  }
}

static void push_object(lua_State *L, json_reader *r, value_nulls nulls) {
  lua_newtable(L);
  for (json_kind kind = json_next(r); kind != JSON_OBJECT_END; kind = json_next(r)) {
    if (kind != JSON_KEY) broken(L, r);
    lua_pushlstring(L, r->text, r->text_size);
    kind = json_next(r);
    if (kind == JSON_NULL && nulls == VALUE_DROP_NULLS) lua_pushnil(L);
    else push(L, r, kind, nulls);
    lua_rawset(L, -3);
  }
}

static void push(lua_State *L, json_reader *r, json_kind kind, value_nulls nulls) {
  luaL_checkstack(L, 6, "JSON is nested too deeply");
  switch (kind) {
  case JSON_OBJECT: push_object(L, r, nulls); break;
  case JSON_ARRAY: push_list(L, r, nulls); break;
  case JSON_TEXT: lua_pushlstring(L, r->text, r->text_size); break;
  case JSON_INT: lua_pushinteger(L, r->integer); break;
  case JSON_DOUBLE: lua_pushnumber(L, r->number); break;
  case JSON_TRUE: lua_pushboolean(L, 1); break;
  case JSON_FALSE: lua_pushboolean(L, 0); break;
  case JSON_NULL: value_push_null(L); break;
  default: broken(L, r);
  }
}

void value_push_json(lua_State *L, const char *text, size_t size, value_nulls nulls, arena *memory) {
  json_reader r;
  json_begin(&r, text, size, memory);
  push(L, &r, json_next(&r), nulls);
  if (json_next(&r) != JSON_END) broken(L, &r);
}

/* ---- To JSON --------------------------------------------------------------------------------------------------------------- */

/* Where the writer stands in one table: a name, which the table holds, or an index. */
typedef struct place {
  const char *name; /* NULL: the index */
  size_t name_size;
  lua_Integer index;
} place;

typedef struct writing {
  lua_State *L;
  buffer *out, *why;
  int depth;
  place places[MAX_DEPTH]; /* read when something is refused only */
} writing;

static bool refuse(writing *w, const char *message) {
  buffer path = {.limit = MAX_PATH}; /* "question.rows[3]" */
  for (int i = 0; i < w->depth && i < MAX_DEPTH; i++) {
    const place *p = &w->places[i];
    if (p->name == NULL && p->index == 0) break; /* at the table itself */
    if (p->name == NULL) buffer_format(&path, "[%lld]", (long long)p->index);
    else
      buffer_format(&path, "%s%.*s", i > 0 ? "." : "", (int)(p->name_size < MAX_PATH ? p->name_size : MAX_PATH), p->name);
  }
  if (path.size > 0) buffer_format(w->why, "'%s' ", buffer_end(&path));
  buffer_text(w->why, message);
  buffer_free(&path);
  return false;
}

static bool refuse_type(writing *w, int type) {
  char message[64];
  size_t used = 0;
  const char *parts[] = {"is a ", lua_typename(w->L, type), ", which JSON does not know"};
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
    size_t size = strnlen(parts[i], sizeof message - 1 - used);
    memcpy(message + used, parts[i], size);
    used += size;
  }
  message[used] = '\0';
  return refuse(w, message);
}

static const char MIXED[] = "mixes numbered and named members, or misses some of 1..n";

static bool write_value(writing *w, int index);

static bool write_text(writing *w, int index) {
  size_t size;
  const char *text = lua_tolstring(w->L, index, &size);
  if (!text_is_plain(text, size)) {
    if (memchr(text, '\0', size) != NULL) return refuse(w, "holds a zero byte; send bytes as base64");
    if (!text_is_utf8(text, size)) return refuse(w, "is not valid UTF-8; send bytes as base64");
  }
  buffer_json_text(w->out, text, size);
  return true;
}

static bool write_number(writing *w, int index) {
  if (lua_isinteger(w->L, index)) {
    buffer_int(w->out, lua_tointeger(w->L, index));
    return true;
  }
  double number = lua_tonumber(w->L, index);
  if (!isfinite(number)) return refuse(w, isnan(number) ? "is not a number (NaN)" : "is infinite");
  buffer_double(w->out, number);
  return true;
}

/* `count` members, which must be 1..count. */
static bool write_list(writing *w, int index, lua_Integer count) {
  place *here = &w->places[w->depth - 1];
  buffer_char(w->out, '[');
  for (lua_Integer i = 1; i <= count; i++) {
    if (i > 1) buffer_char(w->out, ',');
    lua_rawgeti(w->L, index, i);
    here->index = i;
    if (!write_value(w, lua_gettop(w->L))) return false;
    lua_pop(w->L, 1);
  }
  buffer_char(w->out, ']');
  return true;
}

static bool write_object(writing *w, int index) {
  place *here = &w->places[w->depth - 1];
  bool first = true;
  buffer_char(w->out, '{');
  for (lua_pushnil(w->L); lua_next(w->L, index) != 0; lua_pop(w->L, 1)) {
    int value = lua_gettop(w->L);
    if (lua_type(w->L, value - 1) != LUA_TSTRING) {
      here->name = NULL;
      return refuse(w, MIXED);
    }
    if (!first) buffer_char(w->out, ',');
    first = false;
    here->name = lua_tolstring(w->L, value - 1, &here->name_size);
    if (!write_text(w, value - 1)) return false;
    buffer_char(w->out, ':');
    if (!write_value(w, value)) return false;
  }
  buffer_char(w->out, '}');
  return true;
}

static bool is_marked_list(lua_State *L, int index) {
  if (!lua_getmetatable(L, index)) return false;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &list_key);
  bool marked = lua_rawequal(L, -1, -2) != 0;
  lua_pop(L, 2);
  return marked;
}

/* Whether the members are exactly 1..count. Anything else counts more members, or others. */
static bool has_only(lua_State *L, int index, lua_Integer count) {
  lua_Integer found = 0;
  for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
    lua_Integer key = lua_isinteger(L, -2) ? lua_tointeger(L, -2) : 0;
    if (key < 1 || key > count) {
      lua_pop(L, 2);
      return false;
    }
    found++;
  }
  return found == count;
}

static bool write_table(writing *w, int index) {
  if (sandbox_is_stopped(w->L)) return refuse(w, "took too long");
  if (w->depth == MAX_DEPTH) return refuse(w, "is nested more than 64 deep, or holds itself");
  w->places[w->depth++] = (place){0};
  bool marked = is_marked_list(w->L, index), done;
  lua_Unsigned length = lua_rawlen(w->L, index);
  lua_Integer count = length > LUA_MAXINTEGER ? LUA_MAXINTEGER : (lua_Integer)length;
  if (!marked && count == 0) done = write_object(w, index);
  else if (has_only(w->L, index, count)) done = write_list(w, index, count);
  else done = refuse(w, MIXED);
  w->depth--;
  return done;
}

static bool write_value(writing *w, int index) {
  if (!lua_checkstack(w->L, 8)) return refuse(w, "needs more memory than the script may use");
  if (w->out->failed) return refuse(w, "is too large");
  int type = lua_type(w->L, index);
  switch (type) {
  case LUA_TNIL: buffer_add(w->out, "null", 4); return true;
  case LUA_TBOOLEAN:
    if (lua_toboolean(w->L, index)) buffer_add(w->out, "true", 4);
    else buffer_add(w->out, "false", 5);
    return true;
  case LUA_TNUMBER: return write_number(w, index);
  case LUA_TSTRING: return write_text(w, index);
  case LUA_TTABLE: return write_table(w, index);
  case LUA_TLIGHTUSERDATA:
    if (lua_touserdata(w->L, index) != NULL) return refuse_type(w, type);
    buffer_add(w->out, "null", 4);
    return true;
  default: return refuse_type(w, type);
  }
}

bool value_to_json(lua_State *L, int index, buffer *out, buffer *why) {
  writing w; /* 64 places are not worth zeroing */
  w.L = L;
  w.out = out;
  w.why = why;
  w.depth = 0;
  int top = lua_gettop(L);
  bool done = write_value(&w, lua_absindex(L, index));
  lua_settop(L, top);
  if (done && out->failed) return refuse(&w, "the value is too large");
  return done;
}
