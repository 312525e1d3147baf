#include "search/search.h"
#include "core/text.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Operators, as clients write them and as SQL. `%s` stands for the column, `?` for the value. */
typedef struct operator{
  const char *word; /* of two words: the second follows the first */
  const char *sql;
  bool text, number; /* for which values */
  bool differs;
}
operator;

static const operator operators[] = {
    {"=", "%s = ?", true, true, false},          {"==", "%s = ?", true, true, false},
    {"!=", "%s <> ?", true, true, true},         {"<>", "%s <> ?", true, true, true},
    {"<", "%s < ?", false, true, false},         {"<=", "%s <= ?", false, true, false},
    {">", "%s > ?", false, true, false},         {">=", "%s >= ?", false, true, false},
    {"LIKE", "%s LIKE ?", true, false, false},   {"ILIKE", "LOWER(%s) LIKE LOWER(?)", true, false, false},
    {"RLIKE", "%s RLIKE ?", true, false, false},
};

typedef struct compiler {
  search_reader reader;
  search_sql *sql;
  const purlin_search *search;
  search_parts *parts;
  search_part part; /* the one that is being read; complete when it is one of rows */
  unsigned depth;
} compiler;

/* ---- Values ------------------------------------------------------------------------------------------------------------------------ */

static const char *described(purlin_ctx *ctx, const search_name *name) {
  const char *entity = search_first_name(ctx, name->entity->names);
  const char *key = name->key ? search_first_name(ctx, name->key->names) : name->name;
  const char *all = entity && key ? purlin_format(ctx, "%s '%s'", entity, key) : NULL;
  return all ? all : "it";
}

static purlin_status wrong_value(compiler *c, const search_name *name) {
  const search_word *word = &c->reader.word;
  c->reader.failed = true;
  return purlin_fail(c->reader.ctx, PURLIN_INVALID, "Expected a %s value for %s. Found %.*s",
                     name->type == PURLIN_SEARCH_TEXT ? "quoted string" : "numeric", described(c->reader.ctx, name),
                     word->kind == WORD_END ? 7 : (int)(word->size < 100 ? word->size : 100),
                     word->kind == WORD_END ? "the end" : word->at);
}

static purlin_status take_text(compiler *c, const search_word *word) {
  const char *text = search_unquoted(c->reader.ctx, word->at, word->size);
  if (!text) return PURLIN_TOO_LARGE;
  search_value(c->sql, purlin_value_text(text));
  return PURLIN_OK;
}

static purlin_status take_number(compiler *c, const search_name *name, const search_word *word) {
  char digits[64];
  if (word->size >= sizeof digits) return wrong_value(c, name);
  memcpy(digits, word->at, word->size);
  digits[word->size] = '\0';
  char *end;
  double value = strtod(digits, &end);
  if (*end != '\0' || !isfinite(value)) return wrong_value(c, name);
  if (name->type == PURLIN_SEARCH_NUMBER) {
    search_value(c->sql, purlin_value_double(value));
    return PURLIN_OK;
  }
  /* Milliseconds; beyond the years that a DATETIME holds, its border. */
  double most = 253402300799999.0;
  int64_t ms = value > most ? (int64_t)most : value < 1 ? 0 : (int64_t)value;
  search_value(c->sql, purlin_value_time((purlin_time){ms > 0 ? ms * 1000 : 1}));
  return PURLIN_OK;
}

static purlin_status take_value(compiler *c, const search_name *name) {
  search_word word = c->reader.word;
  bool text = name->type == PURLIN_SEARCH_TEXT;
  if (c->reader.failed) return PURLIN_INVALID;
  if (word.kind != (text ? WORD_TEXT : WORD_NUMBER)) return wrong_value(c, name);
  purlin_status status = text ? take_text(c, &word) : take_number(c, name, &word);
  if (status == PURLIN_OK) search_next(&c->reader);
  return status;
}

/* ---- Comparisons --------------------------------------------------------------------------------------------------------------------- */

void search_put_pattern(buffer *out, const char *pattern, const char *column) {
  for (const char *at = pattern; *at; at++) {
    if (at[0] == '%' && at[1] == 's') {
      buffer_text(out, column);
      at++;
    } else buffer_char(out, *at);
  }
}

/* Of an entity of rows: whether there is one of that name, whose value ... */
static void open_rows(compiler *c, const search_name *name, bool exists) {
  /* The database turns EXISTS into a join, in the order that it likes; a count is none. */
  buffer_format(&c->sql->text, "%s%s FROM %s x WHERE x.%s = %s AND x.name = ?", exists ? "" : "NOT ",
                name->entity->vast ? "(SELECT COUNT(*)" : "EXISTS (SELECT 1", name->entity->table, name->entity->owner,
                c->search->id);
  search_values(c->sql, name->entity);
  search_value(c->sql, purlin_value_text(name->name));
  if (!name->entity->scope || c->sql->scopes.count != 1) return;
  buffer_format(&c->sql->text, " AND x.%s = ?", name->entity->scope);
  search_value(c->sql, purlin_value_text(c->sql->scopes.items[0]));
}

/* Where there is none, none is equal. Asked of one row after the other: nearly all of them are there, and a page is soon full. */
static bool is_lenient(const search_name *name) {
  const char *names = name->entity->lenient;
  return !name->key && names && search_is_among(names, name->name, strlen(name->name));
}

static void open_lenient(compiler *c) { buffer_text(&c->sql->text, "COALESCE((SELECT x.value"); }

static void close_lenient(compiler *c, const search_name *name) {
  buffer_format(&c->sql->text, " FROM %s x WHERE x.%s = %s AND x.name = ?), TRUE)", name->entity->table,
                name->entity->owner, c->search->id);
  search_values(c->sql, name->entity);
  search_value(c->sql, purlin_value_text(name->name));
}

static void open_key(compiler *c, const search_name *name, bool differs) {
  if (name->key->within) buffer_text(&c->sql->text, name->key->within);
  if (differs && name->key->lenient) buffer_format(&c->sql->text, "%s IS NULL OR ", name->key->sql);
}

static void close_key(compiler *c, const search_name *name) {
  if (name->key->within) buffer_char(&c->sql->text, ')');
}

static const operator* find_operator(compiler *c) {
  const search_word *word = &c->reader.word;
  if (c->reader.failed || (word->kind != WORD_SIGN && word->kind != WORD_NAME)) return NULL;
  for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++)
    if (word->size == strlen(operators[i].word) && strncasecmp(word->at, operators[i].word, word->size) == 0)
      return &operators[i];
  return NULL;
}

static bool fits(const operator* found, const search_name *name) {
  return name->type == PURLIN_SEARCH_TEXT ? found->text : found->number;
}

static purlin_status wrong_operator(compiler *c, const search_name *name, const operator* found) {
  c->reader.failed = true;
  return purlin_fail(c->reader.ctx, PURLIN_INVALID, "Invalid comparator '%s' for %s", found->word,
                     described(c->reader.ctx, name));
}

static purlin_status compare(compiler *c, search_name *name) {
  const operator* found = find_operator(c);
  if (!found) return search_expected(&c->reader, "a comparison operator");
  bool either = !name->key && name->entity->number;
  if (!either && !fits(found, name)) return wrong_operator(c, name, found);
  search_next(&c->reader);
  if (either && !c->reader.failed && c->reader.word.kind == WORD_NUMBER) name->type = PURLIN_SEARCH_NUMBER;
  if (!fits(found, name)) return wrong_operator(c, name, found);
  buffer *out = &c->sql->text;
  if (name->key) {
    open_key(c, name, found->differs);
    search_put_pattern(out, found->sql, name->key->sql);
    purlin_status status = take_value(c, name);
    close_key(c, name);
    return status;
  }
  bool lenient = found->differs && is_lenient(name);
  bool number = name->entity->number && name->type == PURLIN_SEARCH_NUMBER;
  if (lenient) {
    open_lenient(c);
    buffer_text(out, " <> ?");
  } else {
    open_rows(c, name, true);
    buffer_text(out, " AND ");
    if (number) buffer_text(out, "x.");
    search_put_pattern(out, found->sql, number ? name->entity->number : "x.value");
  }
  purlin_status status = take_value(c, name);
  if (lenient) close_lenient(c, name);
  else buffer_char(out, ')');
  if (status == PURLIN_OK && c->depth == 0 && !lenient && !number && !c->sql->too_many) {
    c->part.entity = name->entity;
    c->part.name = name->name;
    c->part.pattern = found->sql;
    c->part.value = c->sql->values[c->sql->count - 1];
    c->part.equal = found == &operators[0] || found == &operators[1];
  }
  return status;
}

static purlin_status take_list(compiler *c, const search_name *name) {
  buffer *out = &c->sql->text;
  if (!search_take(&c->reader, "(")) return search_expected(&c->reader, "a list in parentheses");
  buffer_text(out, " IN (");
  for (bool first = true;; first = false) {
    buffer_text(out, first ? "?" : ",?");
    purlin_status status = take_value(c, name);
    if (status != PURLIN_OK) return status;
    if (!search_take(&c->reader, ",")) break;
  }
  buffer_char(out, ')');
  return search_take(&c->reader, ")") ? PURLIN_OK : search_expected(&c->reader, "',' or ')'");
}

static purlin_status compare_with_list(compiler *c, const search_name *name, bool within) {
  buffer *out = &c->sql->text;
  if (name->key) {
    open_key(c, name, !within);
    buffer_format(out, "%s%s", name->key->sql, within ? "" : " NOT");
    purlin_status status = take_list(c, name);
    close_key(c, name);
    return status;
  }
  bool lenient = !within && is_lenient(name);
  if (lenient) open_lenient(c);
  else {
    open_rows(c, name, true);
    buffer_text(out, " AND x.value");
  }
  if (!within) buffer_text(out, " NOT");
  purlin_status status = take_list(c, name);
  if (lenient) close_lenient(c, name);
  else buffer_char(out, ')');
  return status;
}

static purlin_status compare_with_null(compiler *c, const search_name *name) {
  bool there = search_take(&c->reader, "NOT");
  if (!search_take(&c->reader, "NULL")) return search_expected(&c->reader, "NULL or NOT NULL");
  if (name->key) {
    open_key(c, name, false);
    buffer_format(&c->sql->text, "%s IS %sNULL", name->key->sql, there ? "NOT " : "");
    close_key(c, name);
    return PURLIN_OK;
  }
  open_rows(c, name, there);
  buffer_char(&c->sql->text, ')');
  return PURLIN_OK;
}

static purlin_status comparison(compiler *c) {
  search_name name;
  purlin_status status = search_name_of(&c->reader, c->search, &name);
  if (status != PURLIN_OK) return status;
  if (search_take(&c->reader, "IS")) return compare_with_null(c, &name);
  if (search_take(&c->reader, "IN")) return compare_with_list(c, &name, true);
  if (!search_take(&c->reader, "NOT")) return compare(c, &name);
  if (!search_take(&c->reader, "IN")) return search_expected(&c->reader, "IN");
  return compare_with_list(c, &name, false);
}

/* ---- Conditions ------------------------------------------------------------------------------------------------------------------------ */

static purlin_status any_of(compiler *c);

static purlin_status nested(compiler *c, purlin_status (*inner)(compiler *c)) {
  if (++c->depth > SEARCH_DEEPEST) {
    c->reader.failed = true;
    return purlin_fail(c->reader.ctx, PURLIN_INVALID, "Invalid filter: nested more than %d deep", SEARCH_DEEPEST);
  }
  purlin_status status = inner(c);
  c->depth--;
  return status;
}

static purlin_status one(compiler *c) {
  if (search_take(&c->reader, "NOT")) {
    buffer_text(&c->sql->text, "NOT ");
    return nested(c, one);
  }
  buffer_char(&c->sql->text, '(');
  purlin_status status;
  if (search_take(&c->reader, "(")) {
    status = nested(c, any_of);
    if (status == PURLIN_OK && !search_take(&c->reader, ")")) status = search_expected(&c->reader, "')'");
  } else status = comparison(c);
  buffer_char(&c->sql->text, ')');
  return status;
}

/* One, and what it is where it stands for itself. */
static purlin_status part(compiler *c) {
  if (c->depth > 0) return one(c);
  c->part = (search_part){.text_at = c->sql->text.size, .value_at = c->sql->count};
  purlin_status status = one(c);
  c->part.text_size = c->sql->text.size - c->part.text_at;
  c->part.value_count = c->sql->count - c->part.value_at;
  if (c->parts->count == SEARCH_MOST_PARTS) c->parts->all = false;
  else c->parts->items[c->parts->count++] = c->part;
  return status;
}

static purlin_status all_of(compiler *c) {
  purlin_status status = part(c);
  while (status == PURLIN_OK && search_take(&c->reader, "AND")) {
    buffer_text(&c->sql->text, " AND ");
    status = part(c);
  }
  return status;
}

static purlin_status any_of(compiler *c) {
  purlin_status status = all_of(c);
  while (status == PURLIN_OK && search_take(&c->reader, "OR")) {
    buffer_text(&c->sql->text, " OR ");
    if (c->depth == 0) c->parts->all = false;
    status = all_of(c);
  }
  return status;
}

purlin_status search_condition(search_sql *sql, const purlin_search *search, const char *condition, search_parts *parts) {
  compiler c = {.sql = sql, .search = search, .parts = parts};
  parts->count = 0;
  parts->all = true;
  search_read(&c.reader, sql->ctx, condition ? condition : "");
  if (c.reader.failed) return PURLIN_INVALID;
  if (c.reader.word.kind == WORD_END) return PURLIN_OK;
  purlin_status status = any_of(&c);
  if (status == PURLIN_OK && (c.reader.failed || c.reader.word.kind != WORD_END))
    status = search_expected(&c.reader, "AND, OR or the end");
  if (status == PURLIN_OK && sql->too_many)
    status = purlin_fail(sql->ctx, PURLIN_INVALID, "Invalid filter: more than %d values", SEARCH_MOST_VALUES);
  return status;
}

purlin_status search_filter(search_sql *sql, const purlin_search *search, const char *condition) {
  search_parts parts;
  size_t before = sql->text.size;
  buffer_text(&sql->text, " AND (");
  size_t begun = sql->text.size;
  purlin_status status = search_condition(sql, search, condition, &parts);
  if (sql->text.size == begun) sql->text.size = before; /* there is none */
  else buffer_char(&sql->text, ')');
  return status;
}
