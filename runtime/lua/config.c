/* config.c: purlin.lua, run once in a closed environment; see script.h. */
#include "lua/script.h"

#include "core/arena.h"
#include "core/text.h"
#include "lua/load.h"
#include "lua/sandbox.h"
#include "lua/value.h"
#include "secrets/file.h"

#include <lauxlib.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
  MEMORY_LIMIT_BYTES = 32 * 1024 * 1024,
  INSTRUCTION_LIMIT = 50 * 1000 * 1000,
  MAX_CONFIG_BYTES = 1024 * 1024,
  MAX_SECRET_BYTES = 64 * 1024,
  MAX_SECTION_BYTES = 1024 * 1024,
  MAX_SECTIONS = 1000
};

struct config {
  arena memory;
  config_section *sections;
  size_t count, capacity;
  buffer warnings;
};

/* While the file runs. The sandbox is its first member, so sandbox_of() finds it. */
typedef struct loading {
  sandbox box;
  config *c;
  const char *path, *chunk; /* the path, and what Lua calls it in messages (it shortens long names its own way) */
  const char *const *kinds;
  size_t kind_count;
  buffer json, problem;
} loading;

static loading *loading_of(lua_State *L) { return (loading *)sandbox_of(L); }

/* ---- Sections --------------------------------------------------------------------------------------------------------------- */

static int line_of_caller(lua_State *L) {
  lua_Debug where;
  return lua_getstack(L, 1, &where) && lua_getinfo(L, "l", &where) ? where.currentline : 0;
}

static bool grow(config *c) {
  if (c->count < c->capacity) return true;
  size_t capacity = c->capacity == 0 ? 16 : c->capacity * 2;
  config_section *sections = realloc(c->sections, capacity * sizeof *sections);
  if (sections == NULL) return false;
  c->sections = sections;
  c->capacity = capacity;
  return true;
}

static const char *kept(lua_State *L, const char *text, size_t size) {
  const char *copy = arena_copy(&loading_of(L)->c->memory, text, size);
  if (copy == NULL) luaL_error(L, "out of memory");
  return copy;
}

static bool same_name(const char *a, const char *b) { return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0; }

static void refuse_twice(lua_State *L, const char *kind, const char *name) {
  const config *c = loading_of(L)->c;
  for (size_t i = 0; i < c->count; i++) {
    const config_section *s = &c->sections[i];
    if (strcmp(s->kind, kind) != 0 || !same_name(s->name, name)) continue;
    if (name == NULL) luaL_error(L, "%s is configured twice; the first time in line %d", kind, s->line);
    else luaL_error(L, "%s \"%s\" is configured twice; the first time in line %d", kind, name, s->line);
  }
}

/* Adds a section whose table is `{}` so far. Returns its index. */
static size_t add_section(lua_State *L, const char *kind, const char *name) {
  loading *l = loading_of(L);
  refuse_twice(L, kind, name);
  if (l->c->count >= MAX_SECTIONS || !grow(l->c)) luaL_error(L, "too many sections");
  config_section section = {.kind = kept(L, kind, strlen(kind)),
                            .file = l->path,
                            .line = line_of_caller(L),
                            .json = "{}",
                            .json_size = 2,
                            .warnings = &l->c->warnings};
  if (name != NULL) section.name = kept(L, name, strlen(name));
  l->c->sections[l->c->count] = section;
  return l->c->count++;
}

static void fill_section(lua_State *L, size_t index, int table) {
  loading *l = loading_of(L);
  config_section *s = &l->c->sections[index];
  buffer_clear(&l->json);
  buffer_clear(&l->problem);
  if (!value_to_json(L, table, &l->json, &l->problem)) luaL_error(L, "%s: %s", s->kind, buffer_end(&l->problem));
  if (l->json.data[0] != '{') luaL_error(L, "%s wants named members, such as { port = 8080 }, not a list", s->kind);
  s->json_size = l->json.size;
  s->json = kept(L, l->json.data, l->json.size);
}

/* server{...}. Upvalue: the kind. */
static int section(lua_State *L) {
  const char *kind = lua_tostring(L, lua_upvalueindex(1));
  if (!lua_istable(L, 1) || lua_gettop(L) != 1) return luaL_error(L, "%s wants one table: %s{ ... }", kind, kind);
  size_t index = add_section(L, kind, NULL);
  fill_section(L, index, 1);
  return 0;
}

/* The table of plugin "NAME" {...}. Upvalues: the section's index, whether the table has come. */
static int named_table(lua_State *L) {
  if (!lua_istable(L, 1) || lua_toboolean(L, lua_upvalueindex(2)))
    return luaL_error(L, "after its name a plugin wants one table: plugin \"NAME\" { ... }");
  lua_pushboolean(L, 1);
  lua_replace(L, lua_upvalueindex(2));
  fill_section(L, (size_t)lua_tointeger(L, lua_upvalueindex(1)), 1);
  return 0;
}

/* plugin "NAME" {...}, plugin("NAME", {...}), and plugin "NAME" alone, which configures nothing. */
static int named_section(lua_State *L) {
  const char *kind = lua_tostring(L, lua_upvalueindex(1));
  if (lua_type(L, 1) != LUA_TSTRING || lua_gettop(L) > 2 || (lua_gettop(L) == 2 && !lua_istable(L, 2)))
    return luaL_error(L, "%s wants a name and a table: %s \"NAME\" { ... }", kind, kind);
  size_t index = add_section(L, kind, lua_tostring(L, 1));
  if (lua_gettop(L) == 2) {
    fill_section(L, index, 2);
    return 0;
  }
  lua_pushinteger(L, (lua_Integer)index);
  lua_pushboolean(L, 0);
  lua_pushcclosure(L, named_table, 2);
  return 1;
}

/* ---- env(), file(), credential() ------------------------------------------------------------------------------------------------------- */

static int from_environment(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  const char *value = getenv(name);
  if (value != NULL) lua_pushstring(L, value);
  else if (lua_gettop(L) >= 2) lua_pushvalue(L, 2);
  else
    return luaL_error(L, "the environment has no variable %s; set it, or give a default: env(\"%s\", DEFAULT)", name, name);
  return 1;
}

/* A path that is not absolute begins at the folder of the configuration. */
static const char *resolve(lua_State *L, const char *path) {
  const char *own = loading_of(L)->path, *slash = strrchr(own, '/');
  if (path[0] == '/' || slash == NULL) return path;
  lua_pushlstring(L, own, (size_t)(slash - own) + 1);
  lua_pushstring(L, path);
  lua_concat(L, 2);
  return lua_tostring(L, -1);
}

/* The text of a file that holds a secret, without the end of its last line. */
static int push_secret(lua_State *L, const char *path) {
  loading *l = loading_of(L);
  buffer_clear(&l->json);
  buffer_clear(&l->problem);
  if (!secret_file_read(path, MAX_SECRET_BYTES, &l->json, &l->problem)) return luaL_error(L, "%s", buffer_end(&l->problem));
  size_t size = l->json.size;
  if (size > 0 && l->json.data[size - 1] == '\n') size--; /* as editors leave it */
  if (size > 0 && l->json.data[size - 1] == '\r') size--;
  lua_pushlstring(L, size == 0 ? "" : l->json.data, size);
  text_wipe(l->json.data, l->json.size);
  return 1;
}

/* file("PATH") */
static int from_file(lua_State *L) { return push_secret(L, resolve(L, luaL_checkstring(L, 1))); }

/* credential("NAME"): what systemd passes by LoadCredential= and LoadCredentialEncrypted=. */
static int from_credential(lua_State *L) {
  char path[PATH_MAX];
  loading *l = loading_of(L);
  buffer_clear(&l->problem);
  if (!secret_credential_path(luaL_checkstring(L, 1), path, &l->problem))
    return luaL_error(L, "%s", buffer_end(&l->problem));
  return push_secret(L, path);
}

/* ---- The environment -------------------------------------------------------------------------------------------------------- */

static const char *const extra_names[] = {"env", "file", "credential"};

static int unknown_name(lua_State *L) {
  const loading *l = loading_of(L);
  const char *name = luaL_tolstring(L, 2, NULL), *section = NULL, *function = NULL;
  size_t size = strlen(name), far = TEXT_FAR;
  for (size_t i = 0; i < l->kind_count; i++)
    if (text_is_nearer(name, size, l->kinds[i], &far)) section = l->kinds[i];
  for (size_t i = 0; i < sizeof extra_names / sizeof extra_names[0]; i++)
    if (text_is_nearer(name, size, extra_names[i], &far)) function = extra_names[i];
  if (function != NULL) return luaL_error(L, "there is no function '%s'; did you mean '%s'?", name, function);
  if (section != NULL) return luaL_error(L, "there is no section '%s'; did you mean '%s'?", name, section);
  luaL_Buffer known;
  luaL_buffinit(L, &known);
  for (size_t i = 0; i < l->kind_count; i++) {
    if (i > 0) luaL_addstring(&known, ", ");
    luaL_addstring(&known, l->kinds[i]);
  }
  luaL_pushresult(&known);
  return luaL_error(L, "there is no section '%s'; there are %s", name, lua_tostring(L, -1));
}

static int refuse_global(lua_State *L) {
  const loading *l = loading_of(L);
  const char *name = luaL_tolstring(L, 2, NULL);
  for (size_t i = 0; i < l->kind_count; i++)
    if (strcmp(name, l->kinds[i]) == 0) return luaL_error(L, "'%s' is a section, so without '=': %s{ ... }", name, name);
  return luaL_error(L, "'%s = ...' configures nothing; write 'local %s = ...' for a variable", name, name);
}

/* Globals are an empty table that reads `names` and then complains, so that assignments are always noticed. */
static void close_environment(lua_State *L, const loading *l) {
  static const char *const removed[] = {"collectgarbage", "load",   "pcall",  "xpcall", "print",    "setmetatable",
                                        "getmetatable",   "rawset", "rawget", "_G",     "coroutine"};
  lua_pushglobaltable(L);
  for (size_t i = 0; i < sizeof removed / sizeof removed[0]; i++) {
    lua_pushnil(L);
    lua_setfield(L, -2, removed[i]);
  }
  for (size_t i = 0; i < l->kind_count; i++) {
    lua_pushstring(L, l->kinds[i]);
    lua_pushcclosure(L, strcmp(l->kinds[i], "plugin") == 0 ? named_section : section, 1);
    lua_setfield(L, -2, l->kinds[i]);
  }
  lua_pushcfunction(L, from_environment);
  lua_setfield(L, -2, "env");
  lua_pushcfunction(L, from_file);
  lua_setfield(L, -2, "file");
  lua_pushcfunction(L, from_credential);
  lua_setfield(L, -2, "credential");
  lua_createtable(L, 0, 1); /* unknown names */
  lua_pushcfunction(L, unknown_name);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);

  lua_newtable(L); /* the environment itself */
  lua_createtable(L, 0, 3);
  lua_pushvalue(L, -3);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, refuse_global);
  lua_setfield(L, -2, "__newindex");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_setmetatable(L, -2);
  lua_remove(L, -2);
}

static void too_long(lua_State *L, lua_Debug *where) {
  (void)where;
  luaL_error(L, "the configuration takes too long; is there an endless loop?");
}

/* Message handler: the text, behind PATH:LINE. */
static int explain(lua_State *L) {
  const loading *l = loading_of(L);
  const char *text = lua_tostring(L, 1);
  size_t size = strlen(l->chunk);
  if (text == NULL) text = lua_pushfstring(L, "an error that is a %s", luaL_typename(L, 1));
  if (strncmp(text, l->chunk, size) == 0 && text[size] == ':') {
    lua_pushfstring(L, "%s%s", l->path, text + size);
    return 1;
  }
  lua_Debug where;
  for (int level = 0; lua_getstack(L, level, &where); level++) {
    if (!lua_getinfo(L, "l", &where) || where.currentline <= 0) continue;
    lua_pushfstring(L, "%s:%d: %s", l->path, where.currentline, text);
    return 1;
  }
  lua_pushfstring(L, "%s: %s", l->path, text);
  return 1;
}

/* Protected. The argument is the text of the file, as a buffer. */
static int run_file(lua_State *L) {
  const buffer *text = lua_touserdata(L, 1);
  const loading *l = loading_of(L);
  sandbox_open(L);
  value_open(L);
  const char *chunk = lua_pushfstring(L, "@%s", l->chunk);
  if (luaL_loadbufferx(L, text->size == 0 ? "" : text->data, text->size, chunk, "t") != LUA_OK) return lua_error(L);
  close_environment(L, l);
  (void)lua_setupvalue(L, -2, 1);
  lua_sethook(L, too_long, LUA_MASKCOUNT, INSTRUCTION_LIMIT);
  lua_call(L, 0, 0);
  lua_sethook(L, NULL, 0, 0);
  return 0;
}

/* ---- Loading ---------------------------------------------------------------------------------------------------------------- */

static purlin_status run(loading *l, buffer *text, buffer *why) {
  lua_State *L = sandbox_state(&l->box);
  if (L == NULL) {
    buffer_format(why, "%s: out of memory", l->path);
    return PURLIN_UNAVAILABLE;
  }
  lua_pushcfunction(L, explain);
  lua_pushcfunction(L, run_file);
  lua_pushlightuserdata(L, text);
  int status = lua_pcall(L, 1, 0, 1);
  if (status == LUA_ERRMEM)
    buffer_format(why, "%s: the configuration needs more than %d MiB of memory", l->path, MEMORY_LIMIT_BYTES >> 20);
  else if (status != LUA_OK) buffer_text(why, lua_isstring(L, -1) ? lua_tostring(L, -1) : "an error without a text");
  lua_close(L);
  return status == LUA_OK ? PURLIN_OK : PURLIN_INVALID;
}

static void wipe_and_free(buffer *b) {
  if (b->data != NULL) text_wipe(b->data, b->capacity);
  buffer_free(b);
}

purlin_status config_load(const char *path, const char *const *kinds, size_t kind_count, config **out, buffer *why) {
  *out = NULL;
  buffer text = {0};
  int error = load_read(path, MAX_CONFIG_BYTES, &text);
  if (error != 0) {
    buffer_format(why, "cannot read the configuration %s: %s", path, strerror(error));
    buffer_free(&text);
    return error == ENOENT ? PURLIN_NOT_FOUND : PURLIN_INVALID;
  }
  config *c = calloc(1, sizeof *c);
  purlin_status status = PURLIN_UNAVAILABLE;
  if (c != NULL) {
    arena_init(&c->memory, (size_t)MAX_SECTIONS * MAX_SECTION_BYTES);
    loading l = {.box = {.limit_bytes = MEMORY_LIMIT_BYTES, .wipes = true},
                 .c = c,
                 .kinds = kinds,
                 .kind_count = kind_count,
                 .json = {.limit = MAX_SECTION_BYTES}};
    l.path = arena_copy(&c->memory, path, strlen(path));
    if (l.path != NULL) {
      const char *slash = strrchr(l.path, '/');
      l.chunk = slash == NULL || strlen(l.path) < LUA_IDSIZE ? l.path : slash + 1;
      status = run(&l, &text, why);
    }
    wipe_and_free(&l.json);
    buffer_free(&l.problem);
  }
  wipe_and_free(&text);
  if (status == PURLIN_OK) *out = c;
  else config_free(c);
  return status;
}

size_t config_count(const config *c) { return c->count; }
const char *config_warnings(const config *c) { return c->warnings.size > 0 ? c->warnings.data : ""; }
const config_section *config_at(const config *c, size_t index) { return &c->sections[index]; }

void config_free(config *c) {
  if (c == NULL) return;
  arena_free(&c->memory);
  buffer_free(&c->warnings);
  free(c->sections);
  free(c);
}
