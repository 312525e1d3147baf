/* pattern.c: Lua's patterns, as the reference manual describes them (6.4.1), in a matcher that the watchdog can stop: the
 * standard one may backtrack for hours inside of one call. */
#include "lua/sandbox.h"

#include <ctype.h>
#include <lauxlib.h>
#include <string.h>

enum { MAX_CAPTURES = 32, MAX_DEPTH = 200, STEPS_BETWEEN_CHECKS = 4096, BYTES_IN_A_STEP = 64, CHECKS_UNWATCHED = 5000 };

typedef struct capture {
  const char *at;
  size_t size;
  enum { OPEN, CLOSED, POSITION } kind;
} capture;

typedef struct matcher {
  lua_State *L;
  const char *subject, *end; /* the whole subject */
  const char *pattern_end;
  int count, depth; /* of captures; of nested calls of match() */
  uint32_t steps, checks;
  capture captures[MAX_CAPTURES];
} matcher;

static const char *match(matcher *m, const char *s, const char *p);

/* Counts a step that looks at so many bytes of a set or a capture: either may have megabytes. */
static void step(matcher *m, size_t bytes) {
  size_t cost = 1 + bytes / BYTES_IN_A_STEP;
  m->steps += cost < STEPS_BETWEEN_CHECKS ? (uint32_t)cost : STEPS_BETWEEN_CHECKS;
  if (m->steps < STEPS_BETWEEN_CHECKS) return;
  m->steps = 0;
  if (sandbox_of(m->L)->slot != NULL) sandbox_check(m->L);
  else if (++m->checks > CHECKS_UNWATCHED) luaL_error(m->L, "pattern too complex for this text");
}

/* ---- One character ---------------------------------------------------------------------------------------------------------- */

/* Behind the single item that begins at p. */
static const char *item_end(const matcher *m, const char *p) {
  char c = *p++;
  if (c == '%') {
    if (p == m->pattern_end) luaL_error(m->L, "malformed pattern (ends with '%%')");
    return p + 1;
  }
  if (c != '[') return p;
  if (p < m->pattern_end && *p == '^') p++;
  const char *first = p;
  for (;; p++) {
    if (p >= m->pattern_end) luaL_error(m->L, "malformed pattern (missing ']')");
    if (*p == '%') p++;                            /* what follows is literal */
    else if (*p == ']' && p > first) return p + 1; /* as the first character it is literal */
  }
}

static bool in_class(int c, char class) {
  bool inside;
  switch (tolower((unsigned char)class)) {
  case 'a': inside = isalpha(c) != 0; break;
  case 'c': inside = iscntrl(c) != 0; break;
  case 'd': inside = isdigit(c) != 0; break;
  case 'g': inside = isgraph(c) != 0; break;
  case 'l': inside = islower(c) != 0; break;
  case 'p': inside = ispunct(c) != 0; break;
  case 's': inside = isspace(c) != 0; break;
  case 'u': inside = isupper(c) != 0; break;
  case 'w': inside = isalnum(c) != 0; break;
  case 'x': inside = isxdigit(c) != 0; break;
  default: return (unsigned char)class == c;
  }
  return isupper((unsigned char)class) ? !inside : inside;
}

/* `p` is at '[', `last` at the ']' that ends the set. */
static bool in_set(int c, const char *p, const char *last) {
  bool wanted = true;
  p++;
  if (*p == '^') {
    wanted = false;
    p++;
  }
  for (; p < last; p++) {
    if (*p == '%') {
      p++;
      if (in_class(c, *p)) return wanted;
    } else if (p[1] == '-' && p + 2 < last) {
      if ((unsigned char)p[0] <= c && c <= (unsigned char)p[2]) return wanted;
      p += 2;
    } else if ((unsigned char)*p == c) {
      return wanted;
    }
  }
  return !wanted;
}

/* Whether the character at s is one of the item p..item_ends. */
static bool fits(const matcher *m, const char *s, const char *p, const char *item_ends) {
  if (s >= m->end) return false;
  int c = (unsigned char)*s;
  switch (*p) {
  case '.': return true;
  case '%': return in_class(c, p[1]);
  case '[': return in_set(c, p, item_ends - 1);
  default: return (unsigned char)*p == c;
  }
}

/* ---- Items and captures ----------------------------------------------------------------------------------------------------- */

/* As many as there are, then fewer until the rest matches. */
static const char *match_most(matcher *m, const char *s, const char *p, const char *item_ends) {
  size_t count = 0;
  while (fits(m, s + count, p, item_ends)) {
    step(m, (size_t)(item_ends - p));
    count++;
  }
  for (;; count--) {
    const char *end = match(m, s + count, item_ends + 1);
    if (end != NULL || count == 0) return end;
  }
}

static const char *match_least(matcher *m, const char *s, const char *p, const char *item_ends) {
  for (;; s++) {
    const char *end = match(m, s, item_ends + 1);
    step(m, (size_t)(item_ends - p));
    if (end != NULL || !fits(m, s, p, item_ends)) return end;
  }
}

static const char *open_capture(matcher *m, const char *s, const char *p, bool position) {
  if (m->count >= MAX_CAPTURES) luaL_error(m->L, "too many captures");
  m->captures[m->count++] = (capture){s, 0, position ? POSITION : OPEN};
  const char *end = match(m, s, p);
  if (end == NULL) m->count--;
  return end;
}

static const char *close_capture(matcher *m, const char *s, const char *p) {
  int open = m->count - 1;
  while (open >= 0 && m->captures[open].kind != OPEN) open--;
  if (open < 0) luaL_error(m->L, "invalid pattern capture");
  m->captures[open].size = (size_t)(s - m->captures[open].at);
  m->captures[open].kind = CLOSED;
  const char *end = match(m, s, p);
  if (end == NULL) m->captures[open].kind = OPEN;
  return end;
}

static const capture *finished_capture(const matcher *m, int index, const char *name) {
  if (index < 0 || index >= m->count || m->captures[index].kind == OPEN)
    luaL_error(m->L, "invalid capture index %%%s", name);
  return &m->captures[index];
}

/* %1 to %9: the same text again. */
static const char *match_again(matcher *m, const char *s, char digit) {
  const char name[] = {digit, '\0'};
  const capture *c = finished_capture(m, digit - '1', name);
  step(m, c->size);
  if (c->kind == POSITION || (size_t)(m->end - s) < c->size || memcmp(c->at, s, c->size) != 0) return NULL;
  return s + c->size;
}

/* %bxy */
static const char *match_balanced(matcher *m, const char *s, const char *p) {
  if (p + 1 >= m->pattern_end) luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
  if (s >= m->end || *s != p[0]) return NULL;
  size_t open = 1;
  for (s++; s < m->end; s++) {
    step(m, 1);
    if (*s == p[1]) {
      if (--open == 0) return s + 1;
    } else if (*s == p[0]) {
      open++;
    }
  }
  return NULL;
}

/* %f[set]: `p` is at the set. */
static bool at_frontier(const matcher *m, const char *s, const char *p, const char *set_end) {
  int before = s == m->subject ? 0 : (unsigned char)s[-1];
  int here = s == m->end ? 0 : (unsigned char)*s;
  return !in_set(before, p, set_end - 1) && in_set(here, p, set_end - 1);
}

/* A '%' that is not a class: moves both on, or leaves *s NULL when it does not match. False: it is an ordinary item. */
static bool match_special(matcher *m, const char **s, const char **p) {
  const char *at = *p + 1;
  if (at >= m->pattern_end) return false;
  if (*at == 'b') {
    *s = match_balanced(m, *s, at + 1);
    *p = at + 3;
    return true;
  }
  if (*at == 'f') {
    if (at + 1 >= m->pattern_end || at[1] != '[') luaL_error(m->L, "missing '[' after '%%f' in pattern");
    const char *set_end = item_end(m, at + 1);
    step(m, (size_t)(set_end - at));
    if (!at_frontier(m, *s, at + 1, set_end)) *s = NULL;
    *p = set_end;
    return true;
  }
  if (!isdigit((unsigned char)*at)) return false;
  *s = match_again(m, *s, *at);
  *p = at + 1;
  return true;
}

/* Where the match of the pattern p.. at s ends; NULL: it does not match. */
static const char *match_here(matcher *m, const char *s, const char *p) {
  while (s != NULL && p < m->pattern_end) {
    step(m, 1);
    if (*p == '(') {
      bool position = p + 1 < m->pattern_end && p[1] == ')';
      return open_capture(m, s, position ? p + 2 : p + 1, position);
    }
    if (*p == ')') return close_capture(m, s, p + 1);
    if (*p == '$' && p + 1 == m->pattern_end) return s == m->end ? s : NULL;
    if (*p == '%' && match_special(m, &s, &p)) continue;
    const char *item_ends = item_end(m, p);
    step(m, (size_t)(item_ends - p));
    char repeat = item_ends < m->pattern_end ? *item_ends : '\0';
    if (repeat == '*') return match_most(m, s, p, item_ends);
    if (repeat == '-') return match_least(m, s, p, item_ends);
    bool one = fits(m, s, p, item_ends);
    if (repeat == '+') return one ? match_most(m, s + 1, p, item_ends) : NULL;
    if (repeat == '?') {
      const char *end = one ? match(m, s + 1, item_ends + 1) : NULL;
      if (end != NULL) return end;
      p = item_ends + 1;
      continue;
    }
    if (!one) return NULL;
    s++;
    p = item_ends;
  }
  return s;
}

static const char *match(matcher *m, const char *s, const char *p) {
  if (m->depth >= MAX_DEPTH) luaL_error(m->L, "pattern too complex");
  m->depth++;
  const char *end = match_here(m, s, p);
  m->depth--;
  return end;
}

/* ---- Results ---------------------------------------------------------------------------------------------------------------- */

static void push_capture(const matcher *m, int index, const char *from, const char *to) {
  if (index == 0 && m->count == 0) {
    lua_pushlstring(m->L, from, (size_t)(to - from));
    return;
  }
  const capture *c = &m->captures[index];
  if (index >= m->count) luaL_error(m->L, "invalid capture index %%%d", index + 1);
  if (c->kind == OPEN) luaL_error(m->L, "unfinished capture");
  if (c->kind == POSITION) lua_pushinteger(m->L, c->at - m->subject + 1);
  else lua_pushlstring(m->L, c->at, c->size);
}

/* All captures, or the whole match when there are none (and `whole` is wanted). */
static int push_captures(const matcher *m, const char *from, const char *to, bool whole) {
  int count = m->count == 0 && whole ? 1 : m->count;
  luaL_checkstack(m->L, count, "too many captures");
  for (int i = 0; i < count; i++) push_capture(m, i, from, to);
  return count;
}

static matcher begin(lua_State *L, const char *subject, size_t size, const char *pattern, size_t pattern_size) {
  sandbox_check_stack(L);
  return (matcher){.L = L, .subject = subject, .end = subject + size, .pattern_end = pattern + pattern_size};
}

static const char *attempt(matcher *m, const char *s, const char *p) {
  m->count = 0;
  m->depth = 0;
  return match(m, s, p);
}

/* The offset that the `init` argument asks for; more than `size`: beyond the end. */
static size_t start_offset(lua_State *L, int argument, size_t size) {
  lua_Integer init = luaL_optinteger(L, argument, 1);
  if (init > 0) return (lua_Unsigned)init - 1 > size ? size + 1 : (size_t)init - 1;
  if (init == 0 || init < -(lua_Integer)size) return 0;
  return size - (size_t)-init;
}

static bool has_specials(const char *pattern, size_t size) {
  for (size_t i = 0; i < size; i++)
    if (pattern[i] != '\0' && strchr("^$*+?.([%-", pattern[i]) != NULL) return true;
  return false;
}

static int find_plain(lua_State *L, const char *s, size_t size, size_t from, const char *p, size_t p_size) {
  const char *at = p_size == 0 ? s + from : memmem(s + from, size - from, p, p_size);
  if (at == NULL) {
    lua_pushnil(L);
    return 1;
  }
  lua_pushinteger(L, at - s + 1);
  lua_pushinteger(L, at - s + (lua_Integer)p_size);
  return 2;
}

static int find_or_match(lua_State *L, bool find) {
  size_t size, p_size;
  const char *s = luaL_checklstring(L, 1, &size), *p = luaL_checklstring(L, 2, &p_size);
  size_t from = start_offset(L, 3, size);
  if (from > size) {
    lua_pushnil(L);
    return 1;
  }
  if (find && (lua_toboolean(L, 4) || !has_specials(p, p_size))) return find_plain(L, s, size, from, p, p_size);
  matcher m = begin(L, s, size, p, p_size);
  bool anchored = p_size > 0 && *p == '^';
  for (const char *at = s + from; at <= m.end; at++) {
    const char *end = attempt(&m, at, p + anchored);
    if (end == NULL && anchored) break;
    if (end == NULL) continue;
    if (!find) return push_captures(&m, at, end, true);
    lua_pushinteger(L, at - s + 1);
    lua_pushinteger(L, end - s);
    return push_captures(&m, at, end, false) + 2;
  }
  lua_pushnil(L);
  return 1;
}

int pattern_find(lua_State *L) { return find_or_match(L, true); }
int pattern_match(lua_State *L) { return find_or_match(L, false); }

/* Upvalues: the subject, the pattern, the offset to go on at, the end of the last match (-1: none). */
static int next_match(lua_State *L) {
  size_t size, p_size;
  const char *s = lua_tolstring(L, lua_upvalueindex(1), &size), *p = lua_tolstring(L, lua_upvalueindex(2), &p_size);
  lua_Integer last = lua_tointeger(L, lua_upvalueindex(4));
  matcher m = begin(L, s, size, p, p_size);
  for (const char *at = s + lua_tointeger(L, lua_upvalueindex(3)); at <= m.end; at++) {
    const char *end = attempt(&m, at, p);
    if (end == NULL || end - s == last) continue;
    lua_pushinteger(L, end - s);
    lua_pushvalue(L, -1);
    lua_replace(L, lua_upvalueindex(3));
    lua_replace(L, lua_upvalueindex(4));
    return push_captures(&m, at, end, true);
  }
  lua_pushinteger(L, (lua_Integer)size + 1);
  lua_replace(L, lua_upvalueindex(3));
  return 0;
}

int pattern_gmatch(lua_State *L) {
  size_t size;
  (void)luaL_checklstring(L, 1, &size);
  (void)luaL_checkstring(L, 2);
  size_t from = start_offset(L, 3, size);
  lua_settop(L, 2);
  lua_pushinteger(L, (lua_Integer)from);
  lua_pushinteger(L, -1);
  lua_pushcclosure(L, next_match, 4);
  return 1;
}

/* ---- gsub ------------------------------------------------------------------------------------------------------------------- */

static void add_template(const matcher *m, luaL_Buffer *out, const char *from, const char *to) {
  size_t size;
  const char *text = lua_tolstring(m->L, 3, &size), *end = text + size;
  while (text < end) {
    const char *percent = memchr(text, '%', (size_t)(end - text));
    if (percent == NULL) percent = end;
    luaL_addlstring(out, text, (size_t)(percent - text));
    text = percent + 2;
    if (percent == end) break;
    if (percent + 1 < end && percent[1] == '%') luaL_addchar(out, '%');
    else if (percent + 1 < end && percent[1] == '0') luaL_addlstring(out, from, (size_t)(to - from));
    else if (percent + 1 < end && isdigit((unsigned char)percent[1])) {
      push_capture(m, percent[1] - '1', from, to);
      (void)luaL_tolstring(m->L, -1, NULL); /* a position is a number */
      lua_remove(m->L, -2);
      luaL_addvalue(out);
    } else {
      luaL_error(m->L, "invalid use of '%%' in replacement string");
    }
  }
}

/* Adds what stands for the match from..to; whether that changes anything. */
static bool add_replacement(const matcher *m, luaL_Buffer *out, const char *from, const char *to) {
  lua_State *L = m->L;
  int type = lua_type(L, 3);
  if (type == LUA_TFUNCTION) {
    lua_pushvalue(L, 3);
    lua_call(L, push_captures(m, from, to, true), 1);
  } else if (type == LUA_TTABLE) {
    push_capture(m, 0, from, to);
    lua_gettable(L, 3);
  } else {
    add_template(m, out, from, to);
    return true;
  }
  if (!lua_toboolean(L, -1)) {
    lua_pop(L, 1);
    luaL_addlstring(out, from, (size_t)(to - from));
    return false;
  }
  if (!lua_isstring(L, -1)) luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
  luaL_addvalue(out);
  return true;
}

int pattern_gsub(lua_State *L) {
  size_t size, p_size;
  const char *s = luaL_checklstring(L, 1, &size), *p = luaL_checklstring(L, 2, &p_size);
  int type = lua_type(L, 3);
  luaL_argexpected(L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE, 3,
                   "string/function/table");
  lua_Integer most = luaL_optinteger(L, 4, (lua_Integer)size + 1), count = 0;
  bool anchored = p_size > 0 && *p == '^', changed = false;
  matcher m = begin(L, s, size, p, p_size);
  const char *at = s, *last = NULL;
  luaL_Buffer out;
  luaL_buffinit(L, &out);
  while (count < most) {
    const char *end = attempt(&m, at, p + anchored);
    if (end != NULL && end != last) {
      count++;
      changed = add_replacement(&m, &out, at, end) || changed;
      at = last = end;
    } else if (at < m.end) {
      luaL_addchar(&out, *at++);
    } else {
      break;
    }
    if (anchored) break;
  }
  luaL_addlstring(&out, at, (size_t)(m.end - at));
  luaL_pushresult(&out);
  if (!changed) {
    lua_pushvalue(L, 1);
    lua_replace(L, -2);
  }
  lua_pushinteger(L, count);
  return 2;
}
