/* value.h: JSON text <-> Lua values.
 *
 *   null     purlin.null (a light userdata, true in conditions), or nil where a member that is null is better left out
 *   list     a table with the list metatable (purlin.array), so that an empty one stays a list; other tables with
 *            members 1..n are lists too
 *   object   every other table; an empty table is an object
 *   integer  exact 64-bit integers stay integers; numbers with a fraction or an exponent are floats */
#ifndef PURLIN_LUA_VALUE_H
#define PURLIN_LUA_VALUE_H

#include <purlin/schema.h>
#include <lua.h>
#include "core/buffer.h"
#include "core/json.h"

typedef enum value_nulls {
  VALUE_KEEP_NULLS, /* a member that is null becomes purlin.null: what is decoded encodes the same */
  VALUE_DROP_NULLS  /* a member that is null is left out, so that `if question.champion` means what it says */
} value_nulls;

/* Once per Lua state: the metatables of lists and of null. Raises Lua errors. */
void value_open(lua_State *L);
/* Pushes purlin.null. */
void value_push_null(lua_State *L);
/* Marks the table on top of the stack as a list. */
void value_mark_list(lua_State *L);

/* Pushes what the text says. Texts with escapes pass through `memory`. Raises a Lua error on broken JSON and on lack of memory. */
void value_push_json(lua_State *L, const char *text, size_t size, value_nulls nulls, arena *memory);

/* Appends the value at `index` as JSON. Never raises a Lua error and never runs Lua code (metamethods are not asked). False:
 * `why` says which member cannot be JSON and why. Needs a few free stack slots for each level. */
bool value_to_json(lua_State *L, int index, buffer *out, buffer *why);

/* Lua writes an empty list as {}, which is an object: where the schema wants a list, "{}" becomes "[]". True when `out` holds a
 * corrected text; false when the text is right as it is (`out` is then untouched). */
bool value_fit_lists(const purlin_schema *schema, const char *json, size_t size, arena *memory, buffer *out);

#endif
