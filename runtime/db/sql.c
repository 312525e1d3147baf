/* sql.c: a scanner for MariaDB's lexical rules, just deep enough to skip texts and comments. */
#include "db/sql.h"

#include <string.h>
#include <strings.h>

typedef enum token_kind { TOKEN_END, TOKEN_BLANK, TOKEN_WORD, TOKEN_SEMICOLON, TOKEN_OTHER } token_kind;

static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$' || (c & 0x80);
}

static const char *skip_line(const char *at, const char *end) {
  const char *newline = memchr(at, '\n', (size_t)(end - at));
  return newline ? newline + 1 : end;
}

/* A text or a quoted name; a doubled quote stands for itself, a backslash escapes in texts only. */
static const char *skip_quoted(const char *at, const char *end) {
  char quote = *at++;
  while (at < end) {
    if (*at == '\\' && quote != '`' && end - at > 1) {
      at += 2;
    } else if (*at != quote) {
      at++;
    } else if (end - at > 1 && at[1] == quote) {
      at += 2;
    } else {
      return at + 1;
    }
  }
  return end;
}

static const char *skip_comment(const char *at, const char *end) {
  for (at += 2; end - at > 1; at++)
    if (at[0] == '*' && at[1] == '/') return at + 2;
  return end;
}

/* The server runs what stands in a comment that starts so: to us it is text like any other. */
static bool is_hidden_code(const char *at, const char *end) {
  return (end - at > 2 && at[2] == '!') || (end - at > 3 && at[2] == 'M' && at[3] == '!');
}

static token_kind next_token(const char **at, const char *end) {
  const char *p = *at;
  if (p == end) return TOKEN_END;
  bool two = end - p > 1;
  if (is_blank(*p)) {
    while (p < end && is_blank(*p)) p++;
    *at = p;
    return TOKEN_BLANK;
  }
  if (*p == '#' || (two && p[0] == '-' && p[1] == '-' && (end - p == 2 || is_blank(p[2])))) {
    *at = skip_line(p, end);
    return TOKEN_BLANK;
  }
  if (two && p[0] == '/' && p[1] == '*') {
    *at = skip_comment(p, end);
    return is_hidden_code(p, end) ? TOKEN_OTHER : TOKEN_BLANK;
  }
  if (*p == '\'' || *p == '"' || *p == '`') {
    *at = skip_quoted(p, end);
    return TOKEN_OTHER;
  }
  if (is_word(*p)) {
    while (p < end && is_word(*p)) p++;
    *at = p;
    return TOKEN_WORD;
  }
  *at = p + 1;
  return *p == ';' ? TOKEN_SEMICOLON : TOKEN_OTHER;
}

static bool word_is(const char *word, const char *end, const char *expected) {
  size_t size = (size_t)(end - word);
  return strlen(expected) == size && strncasecmp(word, expected, size) == 0;
}

static const struct {
  const char *word;
  sql_kind kind;
} first_words[] = {
    {"SELECT", SQL_READS},     {"INSERT", SQL_WRITES},     {"UPDATE", SQL_WRITES},    {"DELETE", SQL_WRITES},
    {"WITH", SQL_READS},       {"REPLACE", SQL_WRITES},    {"SHOW", SQL_READS},       {"EXPLAIN", SQL_READS},
    {"DESCRIBE", SQL_READS},   {"DESC", SQL_READS},        {"VALUES", SQL_READS},     {"DO", SQL_READS},
    {"CREATE", SQL_DEFINES},   {"ALTER", SQL_DEFINES},     {"DROP", SQL_DEFINES},     {"TRUNCATE", SQL_DEFINES},
    {"RENAME", SQL_DEFINES},   {"GRANT", SQL_DEFINES},     {"REVOKE", SQL_DEFINES},   {"ANALYZE", SQL_DEFINES},
    {"OPTIMIZE", SQL_DEFINES}, {"FLUSH", SQL_DEFINES},     {"BEGIN", SQL_CONTROLS},   {"START", SQL_CONTROLS},
    {"COMMIT", SQL_CONTROLS},  {"ROLLBACK", SQL_CONTROLS}, {"SET", SQL_CONTROLS},     {"SAVEPOINT", SQL_CONTROLS},
    {"RELEASE", SQL_CONTROLS}, {"LOCK", SQL_CONTROLS},     {"UNLOCK", SQL_CONTROLS},  {"USE", SQL_CONTROLS},
    {"CALL", SQL_CONTROLS},    {"XA", SQL_CONTROLS},       {"PREPARE", SQL_CONTROLS}, {"EXECUTE", SQL_CONTROLS},
};

static sql_kind kind_of_first(const char *word, const char *end) {
  for (size_t i = 0; i < sizeof first_words / sizeof first_words[0]; i++)
    if (word_is(word, end, first_words[i].word)) return first_words[i].kind;
  return SQL_WRITES; /* unknown: the careful side */
}

/* A read that locks, or that stores its result, counts as a write. */
static bool locks_or_stores(const char *at, const char *end) {
  bool after_for = false, after_lock = false;
  for (;;) {
    const char *start = at;
    token_kind token = next_token(&at, end);
    if (token == TOKEN_END) return false;
    if (token == TOKEN_BLANK) continue;
    bool word = token == TOKEN_WORD;
    if (word && after_for && word_is(start, at, "UPDATE")) return true;
    if (word && after_lock && word_is(start, at, "IN")) return true;
    if (word && word_is(start, at, "INTO")) return true;
    after_for = word && word_is(start, at, "FOR");
    after_lock = word && word_is(start, at, "LOCK");
  }
}

sql_kind sql_classify(const char *sql, size_t size) {
  const char *at = sql, *end = sql + size;
  for (;;) {
    const char *start = at;
    token_kind token = next_token(&at, end);
    if (token == TOKEN_END) return SQL_CONTROLS; /* nothing at all: refused with a message */
    if (token != TOKEN_WORD) continue;
    sql_kind kind = kind_of_first(start, at);
    return kind == SQL_READS && locks_or_stores(at, end) ? SQL_WRITES : kind;
  }
}

bool sql_next(sql_script *script, const char **statement, size_t *size) {
  const char *first = NULL, *last = NULL;
  for (;;) {
    const char *start = script->at;
    token_kind token = next_token(&script->at, script->end);
    if (token == TOKEN_WORD || token == TOKEN_OTHER) {
      if (!first) first = start;
      last = script->at;
    } else if (token == TOKEN_END || (token == TOKEN_SEMICOLON && first)) {
      if (!first) return false;
      *statement = first;
      *size = (size_t)(last - first);
      return true;
    }
  }
}

bool sql_is_breaking(const char *script) {
  static const char mark[] = "-- breaking:";
  for (const char *line = script; *line; line += strcspn(line, "\n"), line += *line == '\n')
    if (strncmp(line, mark, sizeof mark - 1) == 0) return true;
  return false;
}

static bool is_one_of(const char *word, const char *end, const char *const *list) {
  for (; *list; list++)
    if (word_is(word, end, *list)) return true;
  return false;
}

bool sql_narrows(const char *sql, size_t size) {
  static const char *const takes[] = {"DROP", "RENAME", "CHANGE", "MODIFY", "TRUNCATE", NULL};
  static const char *const indexes[] = {"INDEX", "KEY", "FOREIGN", "CONSTRAINT", "CHECK", NULL};
  const char *at = sql, *end = sql + size;
  bool taking = false; /* the word before was one of them */
  for (;;) {
    const char *start = at;
    token_kind token = next_token(&at, end);
    if (token == TOKEN_BLANK) continue;
    bool word = token == TOKEN_WORD;
    if (taking && !(word && is_one_of(start, at, indexes))) return true;
    if (token == TOKEN_END) return false;
    taking = word && is_one_of(start, at, takes);
  }
}

size_t sql_excerpt(const char *sql, size_t size, size_t most) {
  const char *newline = memchr(sql, '\n', size);
  size_t shown = newline ? (size_t)(newline - sql) : size;
  if (shown <= most) return shown;
  while (most > 0 && ((unsigned char)sql[most] & 0xc0) == 0x80) most--; /* never half a character */
  return most;
}
