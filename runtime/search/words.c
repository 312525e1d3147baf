#include "search/search.h"
#include <string.h>
#include <strings.h>

void search_value(search_sql *sql, purlin_value value) {
  if (sql->count == SEARCH_MOST_VALUES) sql->too_many = true;
  else sql->values[sql->count++] = value;
}

void search_values(search_sql *sql, const purlin_search_entity *entity) {
  for (size_t i = 0; i < entity->value_count; i++) search_value(sql, entity->values[i]);
}

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* What a name consists of outside of quotes; bytes above ASCII are letters of some language. */
static bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || (unsigned char)c >= 0x80 ||
         (c != '\0' && strchr("_.-/:@#$%", c));
}

/* Behind the closing quote; NULL: there is none. A doubled one is part of the text. */
static const char *behind_quotes(const char *at) {
  char quote = *at;
  for (at++; *at; at++) {
    if (*at != quote) continue;
    if (at[1] != quote) return at + 1;
    at++;
  }
  return NULL;
}

/* A name, parts of which are quoted: metrics."a b", `run name`. */
static const char *behind_name(const char *at) {
  while (*at) {
    if (*at == '`' || (*at == '"' && at[-1] == '.')) {
      const char *end = behind_quotes(at);
      if (!end) return NULL;
      at = end;
    } else if (is_name(*at)) at++;
    else break;
  }
  return at;
}

static const char *behind_number(const char *at) {
  const char *begin = at;
  if (*at == '-' || *at == '+') at++;
  const char *digits = at;
  while (is_digit(*at) || *at == '.') at++;
  if (at == digits) return begin;
  if ((*at == 'e' || *at == 'E') && (is_digit(at[1]) || ((at[1] == '-' || at[1] == '+') && is_digit(at[2])))) {
    at += 2;
    while (is_digit(*at)) at++;
  }
  return is_name(*at) ? begin : at; /* 2nd is a name */
}

static size_t sign_size(const char *at) {
  static const char *const signs[] = {"!=", "<>", "<=", ">=", "==", "=", "<", ">", "(", ")", ","};
  for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++)
    if (strncmp(at, signs[i], strlen(signs[i])) == 0) return strlen(signs[i]);
  return 0;
}

static void set(search_reader *r, search_word_kind kind, const char *end) {
  r->word = (search_word){kind, r->rest, (size_t)(end - r->rest)};
  r->rest = end;
}

static void fail(search_reader *r, const char *what) {
  if (!r->failed)
    (void)purlin_fail(r->ctx, PURLIN_INVALID, "Invalid filter: %s at position %zu: %.60s", what,
                      (size_t)(r->rest - r->text) + 1, r->rest);
  r->failed = true;
  r->word = (search_word){WORD_END, r->rest, 0};
}

void search_next(search_reader *r) {
  while (is_space(*r->rest)) r->rest++;
  const char *at = r->rest, *end;
  if (r->failed || !*at) {
    set(r, WORD_END, at);
  } else if (*at == '\'' || *at == '"') {
    end = behind_quotes(at);
    if (end) set(r, WORD_TEXT, end);
    else fail(r, "a quote is not closed");
  } else if (sign_size(at) > 0) {
    set(r, WORD_SIGN, at + sign_size(at));
  } else if ((end = behind_number(at)) > at) {
    set(r, WORD_NUMBER, end);
  } else if (is_name(*at) || *at == '`') {
    end = behind_name(at);
    if (end) set(r, WORD_NAME, end);
    else fail(r, "a quote is not closed");
  } else fail(r, "unexpected character");
}

void search_read(search_reader *r, purlin_ctx *ctx, const char *text) {
  *r = (search_reader){.ctx = ctx, .text = text, .rest = text};
  if (strnlen(text, SEARCH_LONGEST + 1) > SEARCH_LONGEST) {
    (void)purlin_fail(ctx, PURLIN_INVALID, "Invalid filter: longer than %d bytes", SEARCH_LONGEST);
    r->failed = true;
    return;
  }
  search_next(r);
}

bool search_take(search_reader *r, const char *word) {
  bool right = r->word.kind == WORD_NAME || r->word.kind == WORD_SIGN;
  if (!right || r->word.size != strlen(word) || strncasecmp(r->word.at, word, r->word.size) != 0) return false;
  search_next(r);
  return true;
}

purlin_status search_expected(search_reader *r, const char *what) {
  if (r->failed) return PURLIN_INVALID;
  r->failed = true;
  if (r->word.kind == WORD_END)
    return purlin_fail(r->ctx, PURLIN_INVALID, "Invalid clause(s) in filter string: expected %s, found the end", what);
  return purlin_fail(r->ctx, PURLIN_INVALID,
                     "Invalid clause(s) in filter string: expected %s at position %zu, found '%.*s'", what,
                     (size_t)(r->word.at - r->text) + 1, (int)(r->word.size < 100 ? r->word.size : 100), r->word.at);
}
