/* host_database.c: purlin.db.query(sql, ...): reading. Changes belong to operations, which check, audit and announce them. */
#include "lua/host.h"

#include "db/db.h"

#include <ctype.h>
#include <math.h>
#include <string.h>
#include <strings.h>

enum { MAX_VALUES = 64, MAX_ROWS = 10000 };

/* Behind a quoted text or a comment that begins at p, or p when none does. NULL: a comment that MariaDB would run. */
static const char *skip_quiet(const char *p) {
  if (p[0] == '-' && p[1] == '-' && (unsigned char)p[2] <= ' ') return p + strcspn(p, "\n");
  if (p[0] == '#') return p + strcspn(p, "\n");
  if (p[0] == '/' && p[1] == '*') {
    if (p[2] == '!' || p[2] == 'M') return NULL;
    const char *end = strstr(p + 2, "*/");
    return end == NULL ? p + strlen(p) : end + 2;
  }
  if (*p != '\'' && *p != '"' && *p != '`') return p;
  for (const char *q = p + 1; *q != '\0'; q++) {
    if (*q == '\\' && *p != '`' && q[1] != '\0') q++;
    else if (*q == *p && q[1] == *p) q++;
    else if (*q == *p) return q + 1;
  }
  return p + strlen(p);
}

static bool is_word(const char *p, size_t size, const char *word) {
  return size == strlen(word) && strncasecmp(p, word, size) == 0;
}

/* Why the statement is not one that only reads; NULL: it is. */
static const char *refuse_writing(const char *sql) {
  bool first = true;
  for (const char *p = sql; *p != '\0';) {
    const char *behind = skip_quiet(p);
    if (behind == NULL) return "comments that MariaDB runs are not allowed";
    if (behind > p) {
      p = behind;
      continue;
    }
    if (!isalpha((unsigned char)*p)) {
      if (*p == ';' && p[1 + strspn(p + 1, " \t\r\n;")] != '\0') return "one statement at a time";
      p++;
      continue;
    }
    size_t size = 1;
    while (isalnum((unsigned char)p[size]) || p[size] == '_' || p[size] == '$') size++;
    if (first && !is_word(p, size, "select") && !is_word(p, size, "with"))
      return "only SELECT is allowed; change things by operations";
    if (is_word(p, size, "into")) return "SELECT ... INTO is not allowed";
    if (is_word(p, size, "update") || is_word(p, size, "lock")) return "locking reads are not allowed";
    first = false;
    p += size;
  }
  return first ? "a statement is expected" : NULL;
}

static purlin_value bound(lua_State *L, int index) {
  purlin_value value = {.type = PURLIN_V_NULL};
  int type = lua_type(L, index);
  if (type == LUA_TBOOLEAN || lua_isinteger(L, index)) {
    value.type = PURLIN_V_INT;
    value.as.integer = type == LUA_TBOOLEAN ? lua_toboolean(L, index) : lua_tointeger(L, index);
  } else if (type == LUA_TNUMBER) {
    value.as.number = lua_tonumber(L, index);
    if (isfinite(value.as.number)) value.type = PURLIN_V_DOUBLE;
  } else if (type == LUA_TSTRING) {
    value.type = PURLIN_V_TEXT;
    value.as.data = lua_tolstring(L, index, &value.size);
  } else if (type != LUA_TNIL && (type != LUA_TLIGHTUSERDATA || lua_touserdata(L, index) != NULL)) {
    luaL_argerror(L, index, "a text, number, boolean or nil expected");
  }
  return value;
}

static int query(lua_State *L) {
  const char *sql = luaL_checkstring(L, 1), *refusal = refuse_writing(sql);
  if (refusal != NULL) return luaL_argerror(L, 1, refusal);
  int count = lua_gettop(L) - 1;
  luaL_argcheck(L, count <= MAX_VALUES, 2, "too many values");
  purlin_value values[MAX_VALUES];
  for (int i = 0; i < count; i++) values[i] = bound(L, i + 2);
  lua_run *run = host_run(L);
  purlin_mark mark = host_mark(run);
  purlin_json rows = {0};
  run_set_aside(run);
  purlin_status status = db_query_json(run->ctx, sql, values, (size_t)count, MAX_ROWS, &rows);
  run_go_on(run, L);
  if (status != PURLIN_OK) return host_raise(L, run->ctx, status);
  value_push_json(L, rows.text, rows.size, VALUE_DROP_NULLS, &run->ctx->memory);
  host_reset(run, mark);
  return 1;
}

void host_open_database(lua_State *L) {
  static const luaL_Reg functions[] = {{"query", query}, {NULL, NULL}};
  host_add(L, "db", functions);
}
