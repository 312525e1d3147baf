#include "lua/sandbox.h"

#include "core/text.h"
#include "fiber/fiber.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

/* What a library function may use of the C stack before it calls Lua again, with room for the handler of errors. */
enum { STACK_NEEDED_BYTES = 64 * 1024, STACK_FOR_PARSER_BYTES = 288 * 1024, LARGEST_CHUNK_BYTES = 64 * 1024 };

/* Lua's own error for a want of memory has no place. Only for new blocks: while the stack of a thread is moved, Lua cannot say where
 * it is. lua_getinfo allocates nothing for these. */
static void note_place(sandbox *box) {
  lua_State *L = box->slot != NULL ? atomic_load_explicit(&box->slot->running, memory_order_relaxed) : NULL;
  if (L == NULL || sandbox_of(L) != box) return;
  lua_Debug at;
  for (int level = 0; lua_getstack(L, level, &at) != 0; level++) {
    if (lua_getinfo(L, "Sl", &at) == 0 || at.currentline <= 0) continue;
    (void)snprintf(box->refused_at, sizeof box->refused_at, "%s:%d", at.short_src, at.currentline);
    return;
  }
}

/* As realloc, and nothing stays where it was. */
static void *move_and_wipe(void *block, size_t old_size, size_t size) {
  void *memory = malloc(size);
  if (memory == NULL) return NULL;
  if (block != NULL) {
    memcpy(memory, block, old_size < size ? old_size : size);
    text_wipe(block, old_size);
  }
  free(block);
  return memory;
}

static void *allocate(void *data, void *block, size_t old_size, size_t size) {
  sandbox *box = data;
  if (block == NULL) old_size = 0; /* it then tells the kind of object */
  if (size == 0) {
    if (box->wipes && block != NULL) text_wipe(block, old_size);
    free(block);
    box->used_bytes -= old_size;
    return NULL;
  }
  if (size > old_size && box->used_bytes + (size - old_size) > box->limit_bytes) {
    if (block == NULL) note_place(box);
    return NULL;
  }
  void *memory = box->wipes ? move_and_wipe(block, old_size, size) : realloc(block, size);
  if (memory == NULL) return NULL;
  box->used_bytes += size - old_size;
  return memory;
}

lua_State *sandbox_state(sandbox *box) {
  lua_State *L = lua_newstate(allocate, box);
  if (L != NULL) *(sandbox **)lua_getextraspace(L) = box; /* new coroutines copy it */
  return L;
}

void sandbox_check_stack(lua_State *L) {
  if (fiber_stack_left() < STACK_NEEDED_BYTES)
    luaL_error(L, "stack overflow (too many calls from C and Lua within each other)");
}

void sandbox_check(lua_State *L) {
  sandbox *box = sandbox_of(L);
  if (box->slot != NULL) budget_check(box->slot, L);
}

/* ---- base ------------------------------------------------------------------------------------------------------------------- */

/* The standard function that a guard stands for is its first upvalue. */
static int original(lua_State *L) { return lua_tocfunction(L, lua_upvalueindex(1))(L); }

static int guarded_call(lua_State *L) {
  sandbox_check_stack(L);
  return original(L);
}

/* Puts one text in the place of a function that gives it in pieces. */
static void gather_chunk(lua_State *L) {
  luaL_Buffer text;
  luaL_buffinit(L, &text);
  for (size_t size = 1; size > 0 && luaL_bufflen(&text) <= LARGEST_CHUNK_BYTES;) {
    lua_pushvalue(L, 1);
    lua_call(L, 0, 1);
    if (!lua_isnil(L, -1)) luaL_checktype(L, -1, LUA_TSTRING);
    else lua_pushliteral(L, ""), lua_replace(L, -2);
    size = lua_rawlen(L, -1);
    luaL_addvalue(&text);
  }
  luaL_pushresult(&text);
  lua_replace(L, 1);
  if (!lua_isnil(L, 2)) return;
  lua_pushliteral(L, "=(load)");
  lua_replace(L, 2);
}

/* Bytecode could crash the process: text only. Nothing stops the parser, which looks for each label among all others: little text. */
static int guarded_load(lua_State *L) {
  size_t size;
  if (fiber_stack_left() < STACK_FOR_PARSER_BYTES) luaL_error(L, "stack overflow (load needs more of it)");
  lua_settop(L, lua_isnone(L, 4) ? 3 : 4);
  if (lua_isfunction(L, 1)) gather_chunk(L);
  (void)luaL_checklstring(L, 1, &size);
  if (size > LARGEST_CHUNK_BYTES) luaL_error(L, "load takes at most %d KiB of text", LARGEST_CHUNK_BYTES / 1024);
  lua_pushliteral(L, "t");
  lua_replace(L, 3);
  return original(L);
}

/* Finalizers run where the watchdog cannot see them. */
static int guarded_setmetatable(lua_State *L) {
  if (lua_istable(L, 2)) {
    lua_pushliteral(L, "__gc");
    if (lua_rawget(L, 2) != LUA_TNIL) return luaL_error(L, "__gc is not available; use a variable with <close>");
    lua_pop(L, 1);
  }
  return original(L);
}

static int limited_collectgarbage(lua_State *L) {
  const char *what = luaL_optstring(L, 1, "collect");
  if (strcmp(what, "count") != 0) return luaL_error(L, "collectgarbage(\"%s\") is not available; only \"count\" is", what);
  lua_pushnumber(L, (lua_Number)sandbox_of(L)->used_bytes / 1024.0);
  return 1;
}

static int print(lua_State *L) {
  sandbox_check_stack(L);
  luaL_Buffer text;
  int count = lua_gettop(L);
  luaL_buffinit(L, &text);
  for (int i = 1; i <= count; i++) {
    if (i > 1) luaL_addchar(&text, '\t');
    (void)luaL_tolstring(L, i, NULL);
    luaL_addvalue(&text);
  }
  luaL_pushresult(&text);
  sandbox *box = sandbox_of(L);
  if (box->print != NULL) box->print(L, lua_tostring(L, -1));
  return 0;
}

/* ---- string ----------------------------------------------------------------------------------------------------------------- */

static int limited_rep(lua_State *L) {
  size_t size, separator_size, total;
  const char *text = luaL_checklstring(L, 1, &size);
  lua_Integer wanted = luaL_checkinteger(L, 2);
  const char *separator = luaL_optlstring(L, 3, "", &separator_size);
  if (wanted <= 0 || size + separator_size == 0) {
    lua_pushliteral(L, "");
    return 1;
  }
  size_t count = (size_t)wanted;
  if (__builtin_mul_overflow(size + separator_size, count, &total) || total > SANDBOX_MAX_TEXT)
    return luaL_error(L, "resulting string too large");
  luaL_Buffer buffer;
  char *at = luaL_buffinitsize(L, &buffer, total);
  if (size == 1 && separator_size == 0) {
    memset(at, text[0], count);
  } else {
    for (size_t i = 0; i < count; i++) {
      memcpy(at, text, size);
      at += size;
      if (i + 1 == count) break;
      memcpy(at, separator, separator_size);
      at += separator_size;
    }
  }
  luaL_pushresultsize(&buffer, total - separator_size);
  return 1;
}

/* ---- table ------------------------------------------------------------------------------------------------------------------ */

/* The library asks __len, __index and __newindex in loops in C, where nothing could stop it: plain tables only. */
static void check_plain(lua_State *L, int index) {
  static const char *const refused[] = {"__len", "__index", "__newindex"};
  luaL_checktype(L, index, LUA_TTABLE);
  if (lua_rawlen(L, index) > (lua_Unsigned)SANDBOX_MAX_ITEMS) luaL_error(L, "the table has too many items");
  if (!lua_getmetatable(L, index)) return;
  for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
    lua_pushstring(L, refused[i]);
    if (lua_rawget(L, -2) != LUA_TNIL)
      luaL_argerror(L, index, "a plain table expected, without __len, __index and __newindex");
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

static void check_range(lua_State *L, int first, int last) {
  lua_Integer from = luaL_optinteger(L, first, 1), to = luaL_optinteger(L, last, 0);
  lua_Integer span;
  if (to >= from && (__builtin_sub_overflow(to, from, &span) || span >= SANDBOX_MAX_ITEMS))
    luaL_argerror(L, last, "too many items");
}

static int guarded_list(lua_State *L) { /* insert, remove */
  sandbox_check_stack(L);
  check_plain(L, 1);
  return original(L);
}

/* The order of two items; by the function in the first upvalue, if there is one. The library sorts in C, where nothing but this sees
 * a stop: texts may have megabytes, and the function may be one of C. */
static int is_less(lua_State *L) {
  sandbox_check(L);
  if (lua_isnil(L, lua_upvalueindex(1))) {
    lua_pushboolean(L, lua_compare(L, 1, 2, LUA_OPLT));
    return 1;
  }
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, 2, 1);
  return 1;
}

static int guarded_sort(lua_State *L) {
  sandbox_check_stack(L);
  check_plain(L, 1);
  if (!lua_isnoneornil(L, 2)) luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  lua_pushcclosure(L, is_less, 1);
  return original(L);
}

static int guarded_concat(lua_State *L) {
  check_plain(L, 1);
  check_range(L, 3, 4);
  return original(L);
}

static int guarded_unpack(lua_State *L) {
  if (lua_istable(L, 1)) check_plain(L, 1);
  check_range(L, 2, 3);
  return original(L);
}

static int guarded_move(lua_State *L) {
  check_plain(L, 1);
  if (!lua_isnoneornil(L, 5)) check_plain(L, 5);
  check_range(L, 2, 3);
  return original(L);
}

/* ---- What is there ---------------------------------------------------------------------------------------------------------- */

typedef struct change {
  const char *name;
  lua_CFunction function; /* NULL: removed. A guard finds the standard function in its upvalue */
} change;

static const change base_changes[] = {{"collectgarbage", limited_collectgarbage},
                                      {"dofile", NULL},
                                      {"loadfile", NULL},
                                      {"warn", NULL},
                                      {"print", print},
                                      {"load", guarded_load},
                                      {"setmetatable", guarded_setmetatable},
                                      {"tostring", guarded_call},
                                      {"pcall", guarded_call},
                                      {"xpcall", protected_xpcall},
                                      {"pairs", guarded_call},
                                      {NULL, NULL}};
static const change string_changes[] = {
    {"dump", NULL},           {"rep", limited_rep},       {"format", guarded_call}, {"find", pattern_find},
    {"match", pattern_match}, {"gmatch", pattern_gmatch}, {"gsub", pattern_gsub},   {NULL, NULL}};
static const change table_changes[] = {{"insert", guarded_list},
                                       {"remove", guarded_list},
                                       {"sort", guarded_sort},
                                       {"concat", guarded_concat},
                                       {"unpack", guarded_unpack},
                                       {"move", guarded_move},
                                       {NULL, NULL}};

/* The library's table is on top of the stack; it is popped. */
static void apply(lua_State *L, const change *changes) {
  for (; changes->name != NULL; changes++) {
    if (changes->function == NULL) {
      lua_pushnil(L);
    } else {
      lua_getfield(L, -1, changes->name);
      lua_pushcclosure(L, changes->function, 1);
    }
    lua_setfield(L, -2, changes->name);
  }
  lua_pop(L, 1);
}

void sandbox_open(lua_State *L) {
  luaL_requiref(L, LUA_GNAME, luaopen_base, 1);
  apply(L, base_changes);
  luaL_requiref(L, LUA_STRLIBNAME, luaopen_string, 1);
  apply(L, string_changes);
  luaL_requiref(L, LUA_TABLIBNAME, luaopen_table, 1);
  apply(L, table_changes);
  luaL_requiref(L, LUA_MATHLIBNAME, luaopen_math, 1);
  luaL_requiref(L, LUA_UTF8LIBNAME, luaopen_utf8, 1);
  lua_pop(L, 2);
  if (sandbox_of(L)->slot != NULL) coroutine_open(L);
  /* What strings inherit from is shared by all code of the state. */
  lua_pushliteral(L, "");
  lua_getmetatable(L, -1);
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 2);
}
