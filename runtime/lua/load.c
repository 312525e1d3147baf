#include "lua/load.h"

#include "core/text.h"
#include "loop/loop.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SCRIPT_BYTES = 1024 * 1024, LOAD_TIMEOUT_MS = 2000, ENTRIES_LIMIT_BYTES = 1024 * 1024 };

static void hash_of(const buffer *text, uint8_t hash[32]) {
  text_sha256(text->size == 0 ? "" : text->data, text->size, hash);
}

bool script_is_current(const script *s) {
  bool same = true;
  buffer text = {0};
  for (size_t i = 0; same && i < s->source_count; i++) {
    uint8_t hash[32];
    buffer_clear(&text);
    same = load_read(s->sources[i].path, MAX_SCRIPT_BYTES, &text) == 0;
    if (!same) break;
    hash_of(&text, hash);
    same = memcmp(hash, s->sources[i].hash, sizeof hash) == 0;
  }
  buffer_free(&text);
  return same;
}

void script_release(script *s) {
  if (atomic_fetch_sub(&s->references, 1) != 1) return;
  for (size_t i = 0; i < s->source_count; i++) free(s->sources[i].path);
  arena_free(&s->memory);
  free(s->states);
  free(s->file);
  free(s);
}

void script_discard(script *s) {
  for (size_t i = 0; s->states != NULL && i < loop_count(); i++)
    if (s->states[i] != NULL) state_free(s->states[i]);
  script_release(s);
}

/* ---- Running chunks ---------------------------------------------------------------------------------------------------------- */

static void record_source(lua_State *L, const char *path, const buffer *text) {
  script_load *load = run_of(L)->load;
  if (!load->first) return;
  script *s = load->script;
  if (s->source_count == SCRIPT_MAX_SOURCES) luaL_error(L, "it requires too many files");
  char *copy = strdup(path);
  if (copy == NULL) luaL_error(L, "not enough memory");
  s->sources[s->source_count].path = copy;
  hash_of(text, s->sources[s->source_count++].hash);
}

/* Pushes the function of a file. `name` is what messages call it: FILE, without its folder. */
static void push_chunk(lua_State *L, const char *path, const char *name) {
  buffer *text = &state_of(L)->scratch;
  buffer_clear(text);
  int error = load_read(path, MAX_SCRIPT_BYTES, text);
  if (error != 0) luaL_error(L, "cannot read %s: %s", path, strerror(error));
  record_source(L, path, text);
  const char *chunk = lua_pushfstring(L, "@%s", name);
  if (luaL_loadbufferx(L, text->size == 0 ? "" : text->data, text->size, chunk, "t") != LUA_OK) lua_error(L);
  lua_remove(L, -2);
}

static int run_main(lua_State *L) {
  const script_load *load = run_of(L)->load;
  const char *path = lua_pushfstring(L, "%s/%s", load->options->policies, load->script->file);
  push_chunk(L, path, load->script->file);
  lua_call(L, 0, 0);
  return 0;
}

/* ---- require ------------------------------------------------------------------------------------------------------------------ */

/* Letters, digits, '_' and '-', in parts between single dots: no way out of the folder. */
static bool is_module_name(const char *name) {
  bool in_part = false;
  for (; *name != '\0'; name++) {
    bool letter = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') || (*name >= '0' && *name <= '9') ||
                  *name == '_' || *name == '-';
    if (!letter && !(*name == '.' && in_part)) return false;
    in_part = letter;
  }
  return in_part;
}

static const char *module_path(lua_State *L, const char *folder, const char *name) {
  luaL_Buffer path;
  luaL_buffinit(L, &path);
  luaL_addstring(&path, folder);
  luaL_addchar(&path, '/');
  for (; *name != '\0'; name++) luaL_addchar(&path, *name == '.' ? '/' : *name);
  luaL_addstring(&path, ".lua");
  luaL_pushresult(&path);
  return lua_tostring(L, -1);
}

/* require(name): modules that are there; others while the script is loaded. The modules are the first upvalue. */
static int require(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  lua_settop(L, 1);
  lua_pushvalue(L, 1);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) {
    if (lua_islightuserdata(L, -1)) return luaL_error(L, "'%s' requires itself, or what requires it", name);
    return 1;
  }
  const script_load *load = run_of(L)->load;
  if (load == NULL)
    return luaL_error(L, "require(\"%s\") belongs at the top of the script: files are read while it is loaded", name);
  if (load->options->library == NULL) return luaL_error(L, "there is no folder of modules to require from");
  if (!is_module_name(name))
    return luaL_error(L, "'%s' is not the name of a module: letters, digits, '_', '-', with '.' between", name);
  sandbox_check_stack(L);
  const char *path = module_path(L, load->options->library, name);
  lua_pushvalue(L, 1);
  lua_pushlightuserdata(L, L);
  lua_rawset(L, lua_upvalueindex(1)); /* being loaded; stays so after an error, which refuses the script anyhow */
  push_chunk(L, path, path + strlen(load->options->library) + 1);
  lua_pushvalue(L, 1);
  lua_call(L, 1, 1);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_pushboolean(L, 1);
  }
  lua_pushvalue(L, 1);
  lua_pushvalue(L, -2);
  lua_rawset(L, lua_upvalueindex(1));
  return 1;
}

void load_open_require(lua_State *L) {
  lua_newtable(L);
  lua_pushcclosure(L, require, 1);
  lua_setglobal(L, "require");
}

/* ---- One script ---------------------------------------------------------------------------------------------------------------- */

static bool load_state(const script_options *options, script *s, size_t index, buffer *why) {
  budget_slot *slot = budget_slot_at(loop_count());
  script_state *state = state_create(s, options->memory_limit, slot, why);
  if (state == NULL) return false;
  s->states[index] = state;
  state->cpu_limit_ns = (uint64_t)options->cpu_limit_ms * 1000000u;
  script_load load = {options, s, index == 0};
  if (!run_load(state, &load, run_main, NULL, LOAD_TIMEOUT_MS, why)) return false;
  if (state->function_count < s->entry_count) {
    buffer_format(why, "%s:%d: %s is not registered each time that the script is loaded, as it must be", s->file,
                  s->entries[state->function_count].line, s->entries[state->function_count].title);
    return false;
  }
  state->box.slot = budget_slot_at(index);
  return true;
}

static bool name_actor(script *s) {
  buffer name = {0};
  buffer_format(&name, "rule:%s", s->file);
  s->actor = name.failed ? NULL : arena_copy(&s->memory, name.data, name.size);
  buffer_free(&name);
  return s->actor != NULL;
}

script *script_load_file(const script_options *options, const char *file, uint64_t generation, buffer *why) {
  script *s = calloc(1, sizeof *s);
  if (s == NULL) return NULL;
  atomic_init(&s->references, 1);
  arena_init(&s->memory, ENTRIES_LIMIT_BYTES);
  s->file = strdup(file);
  s->states = calloc(loop_count(), sizeof(script_state *));
  s->generation = generation;
  (void)budget_claim(loop_count());
  bool loaded = s->file != NULL && s->states != NULL && name_actor(s);
  for (size_t i = 0; loaded && i < loop_count(); i++) loaded = load_state(options, s, i, why);
  if (loaded) return s;
  script_discard(s);
  return NULL;
}
