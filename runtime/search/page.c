#include "search/search.h"
#include "core/schema.h"
#include "core/text.h"
#include <string.h>

enum { FIXED = 3, LONGEST_TOKEN = 64 * 1024, MARK_SIZE = 16, MOST_SCOPES = 64 };

/* ---- The token: base64url of a mark of what was asked, and the values of the last row --------------------------------------------- */

/* Of the condition and the order: a token goes on with the same question only. */
static purlin_status mark_of(purlin_ctx *ctx, const purlin_search_asked *asked, char mark[65]) {
  const char *all =
      purlin_format(ctx, "%s\n%s", asked->condition ? asked->condition : "", asked->order ? asked->order : "");
  if (!all) return PURLIN_TOO_LARGE;
  purlin_sha256(all, strlen(all), mark);
  mark[MARK_SIZE] = '\0';
  return PURLIN_OK;
}

static void to_url_alphabet(char *text) {
  for (; *text; text++) {
    if (*text == '+') *text = '-';
    else if (*text == '/') *text = '_';
    else if (*text == '=') *text = '\0';
  }
}

static const char *token_of(purlin_ctx *ctx, const char *mark, const char *values) {
  const char *plain = purlin_format(ctx, "%s%s", mark, values);
  char *token = plain ? purlin_alloc(ctx, text_base64_size(strlen(plain)) + 1) : NULL;
  if (!token) return NULL;
  text_base64(plain, strlen(plain), token);
  to_url_alphabet(token);
  return token;
}

static purlin_status refuse(purlin_ctx *ctx, const char *why) {
  return purlin_fail(ctx, PURLIN_INVALID, "Invalid page token%s", why);
}

/* `values` is what search_order_after takes. */
static purlin_status read_token(purlin_ctx *ctx, const char *token, const char *mark, const char **values) {
  size_t size = strnlen(token, LONGEST_TOKEN + 1), got = 0;
  if (size > LONGEST_TOKEN) return refuse(ctx, "");
  char *padded = purlin_alloc(ctx, size + 5), *plain = purlin_alloc(ctx, size + 1);
  if (!padded || !plain) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < size; i++) padded[i] = token[i] == '-' ? '+' : token[i] == '_' ? '/' : token[i];
  while (size % 4) padded[size++] = '=';
  if (!text_unbase64(padded, size, plain, &got) || got < MARK_SIZE || memchr(plain, '\0', got)) return refuse(ctx, "");
  if (memcmp(plain, mark, MARK_SIZE) != 0) return refuse(ctx, ": it belongs to another search");
  *values = purlin_format(ctx, "{\"values\":%s}", plain + MARK_SIZE);
  return *values ? PURLIN_OK : PURLIN_TOO_LARGE;
}

/* ---- The statement ---------------------------------------------------------------------------------------------------------------------- */

typedef struct page {
  search_sql sql;
  const purlin_search *search;
  search_order order;
  const char *columns, *from, *where;
  const purlin_value *values; /* of where */
  size_t value_count;
} page;

static void put_from(page *p) {
  buffer_format(&p->sql.text, " FROM %s", p->from);
  search_order_join(&p->sql, p->search, &p->order);
}

/* Few are written out, so that each is a range of an index. */
static purlin_status put_scope(page *p) {
  purlin_texts scopes = p->sql.scopes;
  if (!p->search->scope) return PURLIN_OK;
  if (scopes.count > MOST_SCOPES) {
    const char *list = purlin_list_json(p->sql.ctx, scopes);
    if (!list) return PURLIN_TOO_LARGE;
    buffer_format(&p->sql.text,
                  " AND %s IN (SELECT s.id FROM JSON_TABLE(?, '$[*]' COLUMNS (id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE"
                  " utf8mb4_bin PATH '$')) s)",
                  p->search->scope);
    search_value(&p->sql, purlin_value_text(list));
    return PURLIN_OK;
  }
  buffer_format(&p->sql.text, " AND %s", p->search->scope);
  for (size_t i = 0; i < scopes.count; i++) {
    buffer_text(&p->sql.text, i > 0 ? ",?" : scopes.count == 1 ? " = ?" : " IN (?");
    search_value(&p->sql, purlin_value_text(scopes.items[i]));
  }
  if (scopes.count != 1) buffer_char(&p->sql.text, ')');
  return PURLIN_OK;
}

static purlin_status compose(page *p, const purlin_search_asked *asked, const char *last_values) {
  buffer_format(&p->sql.text, "SELECT %s", p->columns);
  put_from(p);
  buffer_format(&p->sql.text, " WHERE %s", p->where);
  for (size_t i = 0; i < p->value_count; i++) search_value(&p->sql, p->values[i]);
  purlin_status scoped = put_scope(p);
  if (scoped != PURLIN_OK) return scoped;
  purlin_status status = search_filter(&p->sql, p->search, asked->condition);
  if (status == PURLIN_OK && last_values) status = search_order_after(&p->sql, p->search, &p->order, last_values);
  if (status != PURLIN_OK) return status;
  search_order_by(&p->sql, p->search, &p->order);
  buffer_text(&p->sql.text, " LIMIT ?");
  search_value(&p->sql, purlin_value_int(asked->limit + 1));
  return p->sql.too_many ? purlin_fail(p->sql.ctx, PURLIN_INVALID, "Invalid filter: too many values") : PURLIN_OK;
}

/* The statement and its values, as statements are run. NULL: no memory, recorded. */
static const purlin_value *finished(search_sql *sql, size_t *count) {
  purlin_value *all = purlin_alloc_array(sql->ctx, sql->count + 1, sizeof *all);
  const char *text = sql->text.failed ? NULL : purlin_copy_bytes(sql->ctx, sql->text.data, sql->text.size);
  if (!all || !text) return NULL;
  all[0] = purlin_value_text(text);
  memcpy(all + 1, sql->values, sql->count * sizeof *all);
  *count = sql->count + 1;
  sql->text.size = sql->count = 0;
  return all;
}

/* ---- Where the next page begins ------------------------------------------------------------------------------------------------------------ */

typedef struct place_row {
  const char *place;
} place_row;
PURLIN_SCHEMA(place_row, "The values that a row is ordered by", PURLIN_REQUIRED(place, "A JSON array"));

static purlin_status find_place(page *p, const char *id, const char **place) {
  size_t count = 0;
  place_row row;
  buffer_text(&p->sql.text, "SELECT ");
  search_order_values(&p->sql, p->search, &p->order);
  buffer_text(&p->sql.text, " AS place");
  put_from(p);
  buffer_format(&p->sql.text, " WHERE %s = ? LIMIT 1", p->search->id);
  search_value(&p->sql, purlin_value_text(id));
  const purlin_value *statement = finished(&p->sql, &count);
  if (!statement) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_db_row_(p->sql.ctx, place_row_schema(), &row, statement, count);
  if (status == PURLIN_OK) *place = row.place;
  return status;
}

/* After the last of the rows; after the one before it when that has just gone. */
static purlin_status find_last_place(page *p, const purlin_schema *schema, const char *rows, size_t count,
                                     const char **place) {
  const purlin_field *id = schema_find(schema, "id", 2);
  if (!id || id->type != PURLIN_T_TEXT)
    return purlin_fail(p->sql.ctx, PURLIN_INTERNAL, "'%s' has no text 'id'", schema->name);
  purlin_status status = PURLIN_NOT_FOUND;
  while (count > 0 && status == PURLIN_NOT_FOUND) {
    const char *row = rows + --count * schema->struct_size;
    status = find_place(p, *(const char *const *)(const void *)(row + id->offset), place);
  }
  return status;
}

static purlin_status run(page *p, const purlin_schema *schema, void *items, size_t *item_count, const char **token,
                         const purlin_search_asked *asked, const char *mark) {
  const char *values = NULL, *place = NULL;
  size_t count = 0;
  purlin_status status = search_order_read(p->sql.ctx, p->search, asked->order, &p->order);
  if (status == PURLIN_OK && asked->page && *asked->page) status = read_token(p->sql.ctx, asked->page, mark, &values);
  if (status == PURLIN_OK) status = compose(p, asked, values);
  *token = "";
  if (status != PURLIN_OK) return status;
  if (p->search->scope && p->search->scopes.count == 0) {
    *item_count = 0;
    return PURLIN_OK;
  }
  const purlin_value *statement = finished(&p->sql, &count);
  if (!statement) return PURLIN_TOO_LARGE;
  status = purlin_db_list_(p->sql.ctx, schema, items, item_count, statement, count);
  *token = "";
  if (status != PURLIN_OK || *item_count <= (size_t)asked->limit) return status;
  *item_count = (size_t)asked->limit;
  status = find_last_place(p, schema, *(const char *const *)items, *item_count, &place);
  if (status == PURLIN_NOT_FOUND) return PURLIN_OK; /* all of them have gone */
  if (status == PURLIN_OK) *token = token_of(p->sql.ctx, mark, place);
  return status == PURLIN_OK && !*token ? PURLIN_TOO_LARGE : status;
}

purlin_status purlin_db_search_(purlin_ctx *ctx, const purlin_schema *schema, void *items, size_t *item_count,
                                const char **token, const purlin_search *search, const purlin_search_asked *asked,
                                const purlin_value *columns_tables_condition_and_values, size_t count) {
  char mark[65];
  if (count < FIXED || asked->limit < 1)
    return purlin_fail(ctx, PURLIN_INTERNAL, "a search wants columns, tables and a condition");
  page *p = purlin_alloc(ctx, sizeof *p);
  purlin_status status = p ? mark_of(ctx, asked, mark) : PURLIN_TOO_LARGE;
  if (status != PURLIN_OK) return status;
  *p = (page){.sql = {.ctx = ctx, .text = {.limit = CONTEXT_DEFAULT_LIMIT}, .scopes = search->scopes},
              .search = search,
              .columns = columns_tables_condition_and_values[0].as.data,
              .from = columns_tables_condition_and_values[1].as.data,
              .where = columns_tables_condition_and_values[2].as.data,
              .values = columns_tables_condition_and_values + FIXED,
              .value_count = count - FIXED};
  status = run(p, schema, items, item_count, token, asked, mark);
  buffer_free(&p->sql.text);
  return status;
}
