/* POSIX extended expressions as automata of up to 64 positions (Glushkov's construction): matching takes time in proportion
 * to the text whatever the expression, needs no memory and no lock. What does not fit is left to regexec: anchors in the
 * middle, GNU's escapes, equivalence classes, long counted repetitions. */
#include "core/schema_parts.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define MAX_POSITIONS 64
#define MAX_STEPS 4096 /* of parsing; nested repetitions parse their atom again for each copy */

/* A position is one set of bytes in the expression. Sets of positions are bits. */
struct schema_automaton {
  uint64_t first, last; /* where a match may begin and end */
  bool empty_matches;
  uint64_t follow[MAX_POSITIONS]; /* what may come after each */
  uint64_t of_byte[256];          /* the positions whose set holds the byte */
};

/* A part of the expression that was read. */
typedef struct part {
  uint64_t first, last;
  bool nullable;
} part;

typedef struct parser {
  const char *at;
  schema_automaton *out;
  unsigned positions, steps, depth;
  bool failed; /* the expression is beyond this, or wrong */
} parser;

static const part nothing = {0, 0, true};

static part give_up(parser *p) {
  p->failed = true;
  return nothing;
}

static void link_parts(parser *p, uint64_t from, uint64_t to) {
  for (; from != 0; from &= from - 1) p->out->follow[__builtin_ctzll(from)] |= to;
}

static part join(parser *p, part a, part b) {
  link_parts(p, a.last, b.first);
  return (part){a.first | (a.nullable ? b.first : 0), b.last | (b.nullable ? a.last : 0), a.nullable && b.nullable};
}

/* ---- Sets of bytes ------------------------------------------------------------------------------------------------------ */

typedef struct byte_set {
  bool has[256];
} byte_set;

static part add_position(parser *p, const byte_set *set) {
  if (p->positions == MAX_POSITIONS) return give_up(p);
  uint64_t bit = UINT64_C(1) << p->positions++;
  for (size_t c = 1; c < 256; c++)
    if (set->has[c]) p->out->of_byte[c] |= bit;
  return (part){bit, bit, false};
}

static part add_byte(parser *p, char c) {
  byte_set set = {{false}};
  set.has[(unsigned char)c] = true;
  return add_position(p, &set);
}

/* "[:alpha:]" at p->at, as the C locale has it. */
static bool add_class(parser *p, byte_set *set) {
  static const struct {
    const char *name;
    int (*holds)(int);
  } classes[] = {{"[:alpha:]", isalpha},   {"[:digit:]", isdigit}, {"[:alnum:]", isalnum},
                 {"[:upper:]", isupper},   {"[:lower:]", islower}, {"[:space:]", isspace},
                 {"[:xdigit:]", isxdigit}, {"[:punct:]", ispunct}, {"[:blank:]", isblank}};
  for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
    size_t size = strlen(classes[i].name);
    if (strncmp(p->at, classes[i].name, size) != 0) continue;
    for (int c = 1; c < 128; c++)
      if (classes[i].holds(c) != 0) set->has[c] = true;
    p->at += size;
    return true;
  }
  return false;
}

/* A set in brackets, after its '['. */
static part read_set(parser *p) {
  byte_set set = {{false}};
  bool negated = *p->at == '^';
  if (negated) p->at++;
  const char *begin = p->at;
  while (*p->at != ']' || p->at == begin) {
    if (*p->at == '\0') return give_up(p);
    if (*p->at == '[' && p->at[1] == ':') {
      if (!add_class(p, &set)) return give_up(p);
      continue;
    }
    if (*p->at == '[' && (p->at[1] == '.' || p->at[1] == '=')) return give_up(p);
    unsigned char low = (unsigned char)*p->at++, high = low;
    if (*p->at == '-' && p->at[1] != ']') {
      high = (unsigned char)p->at[1];
      if (high == '\0' || high == '[' || high < low) return give_up(p);
      p->at += 2;
    }
    for (unsigned c = low; c <= high; c++) set.has[c] = true;
  }
  p->at++;
  for (size_t c = 1; negated && c < 256; c++) set.has[c] = !set.has[c];
  return add_position(p, &set);
}

/* ---- The expression ------------------------------------------------------------------------------------------------------- */

static part read_alternatives(parser *p);

static part read_atom(parser *p) {
  char c = *p->at++;
  if (++p->steps > MAX_STEPS) return give_up(p);
  switch (c) {
  case '(': {
    if (++p->depth > 20) return give_up(p);
    part inside = read_alternatives(p);
    p->depth--;
    if (*p->at != ')') return give_up(p);
    p->at++;
    return inside;
  }
  case '[': return read_set(p);
  case '.': {
    byte_set any;
    memset(any.has, true, sizeof any.has);
    return add_position(p, &any);
  }
  case '\\':
    c = *p->at;
    if (c == '\0' || isalnum((unsigned char)c) || strchr("<>`'_", c) != NULL) return give_up(p);
    p->at++;
    return add_byte(p, c);
  case '*':
  case '+':
  case '?':
  case '{':
  case '^':
  case '$': return give_up(p);
  default: return add_byte(p, c);
  }
}

static bool read_count(parser *p, unsigned *count) {
  if (!isdigit((unsigned char)*p->at)) return false;
  for (*count = 0; isdigit((unsigned char)*p->at); p->at++) {
    *count = *count * 10 + (unsigned)(*p->at - '0');
    if (*count > MAX_POSITIONS) return false;
  }
  return true;
}

/* The atom at `atom`, read once into `one`, from `least` to `most` times (0: no end). p->at is behind the quantifier. */
static part repeat(parser *p, const char *atom, part one, unsigned least, unsigned most) {
  const char *behind = p->at;
  if (most == 0 && least <= 1) {
    link_parts(p, one.last, one.first);
    one.nullable = one.nullable || least == 0;
    return one;
  }
  part all = one;
  all.nullable = one.nullable || least == 0;
  unsigned copies = most == 0 ? least : most;
  for (unsigned i = 1; i < copies && !p->failed; i++) {
    p->at = atom;
    part copy = read_atom(p);
    if (most == 0 && i + 1 == copies) link_parts(p, copy.last, copy.first);
    copy.nullable = copy.nullable || i >= least;
    all = join(p, all, copy);
  }
  p->at = behind;
  return all;
}

static part read_piece(parser *p) {
  const char *atom = p->at;
  part one = read_atom(p);
  unsigned least = 0, most = 0;
  if (p->failed || *p->at == '\0' || strchr("*+?{", *p->at) == NULL) return one;
  char quantifier = *p->at++;
  if (quantifier == '+') least = 1;
  if (quantifier == '?') most = 1;
  if (quantifier == '{') {
    if (!read_count(p, &least)) return give_up(p);
    most = least;
    if (*p->at == ',') {
      p->at++;
      most = 0;
      if (*p->at != '}' && (!read_count(p, &most) || most == 0)) return give_up(p);
    }
    if (*p->at != '}' || (most != 0 && most < least)) return give_up(p);
    if (p->at[-1] != ',' && most == 0) return give_up(p); /* {0}: rare */
    p->at++;
  }
  if (*p->at != '\0' && strchr("*+?{", *p->at) != NULL) return give_up(p); /* one quantifier after another: rare */
  return repeat(p, atom, one, least, most);
}

static part read_alternatives(parser *p) {
  part all = {0, 0, false};
  for (;;) {
    part branch = nothing;
    while (!p->failed && *p->at != '\0' && *p->at != '|' && *p->at != ')') branch = join(p, branch, read_piece(p));
    all = (part){all.first | branch.first, all.last | branch.last, all.nullable || branch.nullable};
    if (p->failed || *p->at != '|') return all;
    p->at++;
  }
}

schema_automaton *schema_automaton_compile(const char *pattern) {
  parser p = {.at = pattern, .out = calloc(1, sizeof(schema_automaton))};
  if (p.out == NULL) return NULL;
  part whole = read_alternatives(&p);
  if (p.failed || *p.at != '\0') {
    free(p.out);
    return NULL;
  }
  p.out->first = whole.first;
  p.out->last = whole.last;
  p.out->empty_matches = whole.nullable;
  return p.out;
}

bool schema_automaton_matches(const schema_automaton *a, const char *text, size_t size) {
  uint64_t may = a->first, at = 0;
  if (size == 0) return a->empty_matches;
  for (size_t i = 0; i < size; i++) {
    at = may & a->of_byte[(unsigned char)text[i]];
    if (at == 0) return false;
    may = 0;
    for (uint64_t rest = at; rest != 0; rest &= rest - 1) may |= a->follow[__builtin_ctzll(rest)];
  }
  return (at & a->last) != 0;
}
