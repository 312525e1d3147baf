/* host_database.c: purlin.db.query(sql, ...) reads, for every script. Changes belong to operations, which check, audit and announce them;
 * purlin.db.execute changes rows for the scripts that the configuration names, where no operation is: in rules, routes and what comes
 * round. Each call is one transaction, and no Lua runs while it is open. */
#include "lua/host.h"

#include "db/db.h"
#include "lua/generation.h"

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

static bool is_one_of(const char *p, size_t size, const char *const *words) {
  while (*words != NULL && !is_word(p, size, *words)) words++;
  return *words != NULL;
}

/* What a statement may be. */
typedef struct statement_rule {
  const char *const *first, *const *forbidden; /* words */
  const char *refusal_of_first, *refusal_of_forbidden;
} statement_rule;

static const statement_rule READING = {.first = (const char *const[]){"select", "with", NULL},
                                       .forbidden = (const char *const[]){"into", "update", "lock", NULL},
                                       .refusal_of_first =
                                           "only SELECT is allowed; change things by operations, or by purlin.db.execute",
                                       .refusal_of_forbidden = "SELECT ... INTO and locking reads are not allowed"};
static const statement_rule WRITING = {.first = (const char *const[]){"insert", "update", "delete", "replace", NULL},
                                       .forbidden = (const char *const[]){"outfile", "dumpfile", "returning", NULL},
                                       .refusal_of_first = "only INSERT, UPDATE, DELETE and REPLACE are allowed",
                                       .refusal_of_forbidden = "OUTFILE, DUMPFILE and RETURNING are not allowed"};

/* Why the statement is not one of its kind; NULL: it is. */
static const char *refuse(const char *sql, const statement_rule *rule) {
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
    if (first && !is_one_of(p, size, rule->first)) return rule->refusal_of_first;
    if (!first && is_one_of(p, size, rule->forbidden)) return rule->refusal_of_forbidden;
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
  const char *sql = luaL_checkstring(L, 1), *refusal = refuse(sql, &READING);
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

/* ---- Writing --------------------------------------------------------------------------------------------------------------------- */

enum { MAX_STATEMENTS = 100 };

typedef struct statement {
  purlin_value values[1 + MAX_VALUES]; /* the statement itself, then what stands for each '?' */
  size_t count;
  int64_t affected, inserted;
} statement;

typedef struct statement_list {
  statement *items;
  size_t count;
} statement_list;

static void check_writer(lua_State *L, const lua_run *run) {
  const script_options *settings = script_settings();
  const char *file = state_of(L)->file;
  if (run->decides) luaL_error(L, "a policy only decides: it may not write");
  for (size_t i = 0; i < settings->writer_count; i++)
    if (strcmp(settings->writers[i], file) == 0) return;
  luaL_error(L, "the script may not write; lua { writers = { \"%s\" } } in purlin.lua lets it", file);
}

/* In the arena: another run may change the tables that the texts came from. */
static purlin_value kept_value(lua_State *L, int index, purlin_ctx *ctx) {
  purlin_value value = bound(L, index);
  if (value.type != PURLIN_V_TEXT) return value;
  value.as.data = purlin_copy_bytes(ctx, value.as.data, value.size);
  if (value.as.data == NULL) luaL_error(L, "too large");
  return value;
}

/* From the statement at `first` and the values behind it, up to `last`. */
static void take_statement(lua_State *L, int first, int last, purlin_ctx *ctx, statement *s) {
  if (lua_type(L, first) != LUA_TSTRING) luaL_error(L, "a statement is a text, not a %s", luaL_typename(L, first));
  const char *text = lua_tostring(L, first), *refusal = refuse(text, &WRITING);
  if (strlen(text) != lua_rawlen(L, first)) luaL_error(L, "a statement holds a zero byte"); /* the look at it ended there */
  if (refusal != NULL) luaL_error(L, "%s", refusal);
  if (last - first > MAX_VALUES) luaL_error(L, "too many values");
  for (int i = first; i <= last; i++) s->values[s->count++] = kept_value(L, i, ctx);
}

static purlin_status run_statements(purlin_ctx *ctx, void *argument) {
  const statement_list *list = argument;
  for (size_t i = 0; i < list->count; i++) {
    statement *s = &list->items[i];
    purlin_status status = purlin_db_run_(ctx, s->values, s->count);
    if (status != PURLIN_OK) return status;
    s->affected = (int64_t)purlin_affected(ctx);
    s->inserted = purlin_inserted(ctx);
  }
  return PURLIN_OK;
}

static void commit(lua_State *L, lua_run *run, statement_list *list) {
  run_set_aside(run);
  purlin_status status = purlin_transaction(run->ctx, run_statements, list);
  run_go_on(run, L);
  if (status != PURLIN_OK) (void)host_raise(L, run->ctx, status);
}

/* execute(sql, ...): how many rows it found and changed, and the AUTO_INCREMENT value that it made. */
static int execute(lua_State *L) {
  (void)luaL_checkstring(L, 1);
  lua_run *run = host_run(L);
  check_writer(L, run);
  purlin_mark mark = host_mark(run);
  statement_list list = {purlin_alloc_array(run->ctx, 1, sizeof(statement)), 1};
  if (list.items == NULL) return luaL_error(L, "too large");
  take_statement(L, 1, lua_gettop(L), run->ctx, list.items);
  commit(L, run, &list);
  lua_pushinteger(L, list.items->affected);
  lua_pushinteger(L, list.items->inserted);
  host_reset(run, mark);
  return 2;
}

/* execute_all{ {sql, ...}, ... }: all or none; the list of how many rows each found and changed. */
static int execute_all(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_run *run = host_run(L);
  check_writer(L, run);
  size_t count = lua_rawlen(L, 1);
  luaL_argcheck(L, count > 0 && count <= MAX_STATEMENTS, 1, "1 to 100 statements expected");
  purlin_mark mark = host_mark(run);
  statement_list list = {purlin_alloc_array(run->ctx, count, sizeof(statement)), count};
  if (list.items == NULL) return luaL_error(L, "too large");
  for (size_t i = 0; i < count; i++) {
    if (lua_rawgeti(L, 1, (lua_Integer)i + 1) != LUA_TTABLE) return luaL_error(L, "statement %d is no table", (int)i + 1);
    lua_Integer last = 1; /* a nil among the values ends no list: the highest index counts */
    for (lua_pushnil(L); lua_next(L, 2) != 0; lua_pop(L, 1))
      if (lua_isinteger(L, -2) && lua_tointeger(L, -2) > last) last = lua_tointeger(L, -2);
    if (last > MAX_VALUES + 1) return luaL_error(L, "too many values");
    luaL_checkstack(L, MAX_VALUES + 1, NULL);
    for (lua_Integer k = 1; k <= last; k++) (void)lua_rawgeti(L, 2, k);
    take_statement(L, 3, lua_gettop(L), run->ctx, &list.items[i]);
    lua_settop(L, 1);
  }
  commit(L, run, &list);
  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    lua_pushinteger(L, list.items[i].affected);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  host_reset(run, mark);
  return 1;
}

void host_open_database(lua_State *L) {
  static const luaL_Reg functions[] = {{"query", query}, {"execute", execute}, {"execute_all", execute_all}, {NULL, NULL}};
  host_add(L, "db", functions);
}
