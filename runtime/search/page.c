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

static void put_from(search_page *p) {
  buffer_format(&p->sql.text, " FROM %s", p->from);
  search_order_join(&p->sql, p->search, &p->order, 0);
}

/* Few are written out, so that each is a range of an index. */
static purlin_status put_scope(search_page *p) {
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

purlin_status search_put_where(search_page *p) {
  buffer_format(&p->sql.text, " WHERE %s", p->where);
  for (size_t i = 0; i < p->value_count; i++) search_value(&p->sql, p->values[i]);
  return put_scope(p);
}

static void put_condition(search_page *p) {
  if (p->condition.text.size == 0) return;
  buffer_text(&p->sql.text, " AND (");
  buffer_add(&p->sql.text, p->condition.text.data, p->condition.text.size);
  buffer_char(&p->sql.text, ')');
  for (size_t i = 0; i < p->condition.count; i++) search_value(&p->sql, p->condition.values[i]);
}

static purlin_status compose(search_page *p) {
  buffer_format(&p->sql.text, "SELECT %s", p->columns);
  put_from(p);
  purlin_status status = search_put_where(p);
  if (status != PURLIN_OK) return status;
  put_condition(p);
  if (p->last_values) status = search_order_after(&p->sql, p->search, &p->order, p->last_values);
  if (status != PURLIN_OK) return status;
  search_order_by(&p->sql, p->search, &p->order);
  buffer_text(&p->sql.text, " LIMIT ?");
  search_value(&p->sql, purlin_value_int(p->limit));
  return PURLIN_OK;
}

const purlin_value *search_finished(search_sql *sql, size_t *count) {
  if (sql->too_many) return (void)purlin_fail(sql->ctx, PURLIN_INVALID, "Invalid filter: too many values"), NULL;
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

static purlin_status find_place(search_page *p, const char *id, const char **place) {
  size_t count = 0;
  place_row row;
  buffer_text(&p->sql.text, "SELECT ");
  search_order_values(&p->sql, p->search, &p->order);
  buffer_text(&p->sql.text, " AS place");
  put_from(p);
  buffer_format(&p->sql.text, " WHERE %s = ? LIMIT 1", p->search->id);
  search_value(&p->sql, purlin_value_text(id));
  const purlin_value *statement = search_finished(&p->sql, &count);
  if (!statement) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_db_row_(p->sql.ctx, place_row_schema(), &row, statement, count);
  if (status == PURLIN_OK) *place = row.place;
  return status;
}

/* After the last of the rows; after the one before it when that has just gone; PURLIN_NOT_FOUND when all of them have. */
static purlin_status find_last_place(search_page *p, purlin_texts ids, const char **place) {
  purlin_status status = PURLIN_NOT_FOUND;
  for (size_t count = ids.count; count > 0 && status == PURLIN_NOT_FOUND; count--)
    status = find_place(p, ids.items[count - 1], place);
  return status;
}

/* ---- The rows ---------------------------------------------------------------------------------------------------------------------------------- */

typedef struct found_rows {
  const purlin_schema *schema;
  void *items;
  size_t *count;
} found_rows;

static purlin_status read_statement(search_page *p, const found_rows *rows) {
  size_t count = 0;
  const purlin_value *statement = search_finished(&p->sql, &count);
  return statement         ? purlin_db_list_(p->sql.ctx, rows->schema, rows->items, rows->count, statement, count)
         : p->sql.too_many ? PURLIN_INVALID
                           : PURLIN_TOO_LARGE;
}

/* In one statement. */
static purlin_status read_rows(search_page *p, const found_rows *rows, purlin_texts *ids) {
  const purlin_field *id = schema_find(rows->schema, "id", 2);
  if (!id || id->type != PURLIN_T_TEXT)
    return purlin_fail(p->sql.ctx, PURLIN_INTERNAL, "'%s' has no text 'id'", rows->schema->name);
  purlin_status status = compose(p);
  if (status == PURLIN_OK) status = read_statement(p, rows);
  if (status != PURLIN_OK) return status;
  const char **all = purlin_alloc_array(p->sql.ctx, *rows->count + 1, sizeof *all);
  const char *first = *(const char *const *)rows->items;
  if (!all) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < *rows->count; i++)
    all[i] = *(const char *const *)(const void *)(first + i * rows->schema->struct_size + id->offset);
  *ids = (purlin_texts){all, *rows->count};
  return PURLIN_OK;
}

/* Ids first: what is sorted is short, and only what is told is read. One id more than that is found. */
static purlin_status read_rows_by_id(search_page *p, const found_rows *rows, purlin_texts *ids) {
  purlin_status status = search_find_ids(p, ids);
  if (status != PURLIN_OK) return status;
  size_t told = ids->count < (size_t)p->limit ? ids->count : ids->count - 1;
  const char *list = purlin_list_json(p->sql.ctx, (purlin_texts){ids->items, told});
  if (!list) return PURLIN_TOO_LARGE;
  buffer_format(&p->sql.text,
                "SELECT %s FROM JSON_TABLE(?, '$[*]' COLUMNS (place FOR ORDINALITY, id VARCHAR(64) CHARACTER SET utf8mb4"
                " COLLATE utf8mb4_bin PATH '$')) j STRAIGHT_JOIN %s ON %s = j.id ORDER BY j.place",
                p->columns, p->from, p->search->id);
  search_value(&p->sql, purlin_value_text(list));
  return read_statement(p, rows);
}

static purlin_status run(search_page *p, const found_rows *rows, const char **token, const purlin_search_asked *asked,
                         const char *mark) {
  const char *place = NULL;
  purlin_texts ids = {0};
  purlin_status status = search_order_read(p->sql.ctx, p->search, asked->order, &p->order);
  if (status == PURLIN_OK && asked->page && *asked->page)
    status = read_token(p->sql.ctx, asked->page, mark, &p->last_values);
  if (status == PURLIN_OK) status = search_condition(&p->condition, p->search, asked->condition, &p->parts);
  *token = "";
  *rows->count = 0;
  if (status != PURLIN_OK || (p->search->scope && p->search->scopes.count == 0)) return status;
  status = p->search->walks ? read_rows_by_id(p, rows, &ids) : read_rows(p, rows, &ids);
  if (status != PURLIN_OK || ids.count < (size_t)p->limit) return status;
  ids.count--;
  if (*rows->count > ids.count) *rows->count = ids.count;
  status = find_last_place(p, ids, &place);
  if (status == PURLIN_NOT_FOUND) return PURLIN_OK;
  if (status == PURLIN_OK) *token = token_of(p->sql.ctx, mark, place);
  return status == PURLIN_OK && !*token ? PURLIN_TOO_LARGE : status;
}

purlin_status purlin_db_search_(purlin_ctx *ctx, const purlin_schema *schema, void *items, size_t *item_count,
                                const char **token, const purlin_search *search, const purlin_search_asked *asked,
                                const purlin_value *columns_tables_condition_and_values, size_t count) {
  char mark[65];
  if (count < FIXED || asked->limit < 1)
    return purlin_fail(ctx, PURLIN_INTERNAL, "a search wants columns, tables and a condition");
  search_page *p = purlin_alloc(ctx, sizeof *p);
  purlin_status status = p ? mark_of(ctx, asked, mark) : PURLIN_TOO_LARGE;
  if (status != PURLIN_OK) return status;
  *p = (search_page){.sql = {.ctx = ctx, .text = {.limit = CONTEXT_DEFAULT_LIMIT}, .scopes = search->scopes},
                     .condition = {.ctx = ctx, .text = {.limit = CONTEXT_DEFAULT_LIMIT}, .scopes = search->scopes},
                     .search = search,
                     .columns = columns_tables_condition_and_values[0].as.data,
                     .from = columns_tables_condition_and_values[1].as.data,
                     .where = columns_tables_condition_and_values[2].as.data,
                     .values = columns_tables_condition_and_values + FIXED,
                     .value_count = count - FIXED,
                     .limit = asked->limit + 1};
  status = run(p, &(found_rows){schema, items, item_count}, token, asked, mark);
  buffer_free(&p->sql.text);
  buffer_free(&p->condition.text);
  return status;
}

purlin_status purlin_db_search_after(purlin_ctx *ctx, const char **token, const purlin_search *search,
                                     const purlin_search_asked *asked, const char *tables, const char *id) {
  char mark[65];
  const char *place = NULL;
  search_page *p = purlin_alloc(ctx, sizeof *p);
  *token = "";
  purlin_status status = p ? mark_of(ctx, asked, mark) : PURLIN_TOO_LARGE;
  if (status != PURLIN_OK) return status;
  *p = (search_page){.sql = {.ctx = ctx, .text = {.limit = CONTEXT_DEFAULT_LIMIT}}, .search = search, .from = tables};
  status = search_order_read(ctx, search, asked->order, &p->order);
  if (status == PURLIN_OK) status = find_place(p, id, &place);
  if (status == PURLIN_OK) *token = token_of(ctx, mark, place);
  buffer_free(&p->sql.text);
  if (status == PURLIN_NOT_FOUND) return *token = "", PURLIN_OK;
  return status == PURLIN_OK && !*token ? PURLIN_TOO_LARGE : status;
}
