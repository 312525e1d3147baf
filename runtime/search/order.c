#include "search/search.h"
#include <stdlib.h>
#include <string.h>

/* ---- Reading -------------------------------------------------------------------------------------------------------------------- */

static purlin_status add_item(search_reader *r, const purlin_search *search, search_order *out) {
  if (out->count == SEARCH_MOST_ORDERS)
    return purlin_fail(r->ctx, PURLIN_INVALID, "Invalid order_by clause: more than %d keys", SEARCH_MOST_ORDERS);
  search_order_item *item = &out->items[out->count];
  purlin_status status = search_name_of(r, search, &item->name);
  if (status != PURLIN_OK) return status;
  if (item->name.entity->no_order || (item->name.key && item->name.key->within))
    return purlin_fail(r->ctx, PURLIN_INVALID, "Invalid order_by entity '%s'",
                       search_first_name(r->ctx, item->name.entity->names));
  const purlin_search_key *key = item->name.key;
  item->sql = key ? key->sql : purlin_format(r->ctx, "o%zu.value", out->count);
  item->never_null = key && key->never_null;
  item->descending = search_take(r, "DESC");
  if (!item->descending) (void)search_take(r, "ASC");
  out->count++;
  return item->sql ? PURLIN_OK : PURLIN_TOO_LARGE;
}

/* What is ordered by already decides nothing more. */
static void drop_needless(search_order *order) {
  const search_name *last = &order->items[order->count - 1].name;
  if (order->decided) {
    order->count--;
    return;
  }
  order->decided = last->key && last->key->unique;
  for (size_t i = 0; i + 1 < order->count; i++)
    if (order->items[i].name.key && order->items[i].name.key == last->key) {
      order->count--;
      return;
    }
}

static purlin_status read_items(purlin_ctx *ctx, const purlin_search *search, const char *order, search_order *out) {
  search_reader r;
  search_read(&r, ctx, order);
  if (r.failed) return PURLIN_INVALID;
  while (r.word.kind != WORD_END) {
    purlin_status status = add_item(&r, search, out);
    if (status != PURLIN_OK) return status;
    drop_needless(out);
    if (search_take(&r, ",")) continue;
    if (r.failed || r.word.kind != WORD_END) return search_expected(&r, "ASC, DESC, ',' or the end of the order");
  }
  return r.failed ? PURLIN_INVALID : PURLIN_OK;
}

purlin_status search_order_read(purlin_ctx *ctx, const purlin_search *search, const char *order, search_order *out) {
  *out = (search_order){0};
  purlin_status status = read_items(ctx, search, order && *order ? order : search->order, out);
  bool more = search->then && out->count < SEARCH_MOST_ORDERS;
  return status == PURLIN_OK && more ? read_items(ctx, search, search->then, out) : status;
}

/* ---- Writing -------------------------------------------------------------------------------------------------------------------------- */

void search_order_join(search_sql *sql, const purlin_search *search, const search_order *order, size_t first) {
  for (size_t i = first; i < order->count; i++) {
    const search_order_item *item = &order->items[i];
    if (item->name.key) continue;
    buffer_format(&sql->text, " LEFT JOIN %s o%zu ON o%zu.%s = %s AND o%zu.name = ?", item->name.entity->table, i, i,
                  item->name.entity->owner, search->id, i);
    search_values(sql, item->name.entity);
    search_value(sql, purlin_value_text(item->name.name));
  }
}

static bool id_descends(const purlin_search *search, const search_order *order) {
  return search->id_follows && order->count > 0 && order->items[order->count - 1].descending;
}

void search_order_by(search_sql *sql, const purlin_search *search, const search_order *order) {
  buffer_text(&sql->text, " ORDER BY ");
  for (size_t i = 0; i < order->count; i++) {
    const search_order_item *item = &order->items[i];
    if (i > 0) buffer_text(&sql->text, ", ");
    if (!item->never_null) buffer_format(&sql->text, "%s IS NULL, ", item->sql);
    buffer_format(&sql->text, "%s%s", item->sql, item->descending ? " DESC" : "");
  }
  if (!order->decided)
    buffer_format(&sql->text, "%s%s%s", order->count > 0 ? ", " : "", search->id,
                  id_descends(search, order) ? " DESC" : "");
}

/* ---- Where a page begins ------------------------------------------------------------------------------------------------------------------ */

/* Values travel as texts: "n" is NULL, any other begins with "v". Times are microseconds since 1970. An array wants one collation. */
#define AS_TEXT "CONVERT(CONCAT('v', %s%s%s) USING utf8mb4) COLLATE utf8mb4_bin"

void search_order_values(search_sql *sql, const purlin_search *search, const search_order *order) {
  buffer_text(&sql->text, "JSON_ARRAY(");
  for (size_t i = 0; i < order->count; i++) {
    const search_order_item *item = &order->items[i];
    bool time = item->name.type == PURLIN_SEARCH_TIME;
    buffer_format(&sql->text, "COALESCE(" AS_TEXT ", 'n'), ", time ? "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', " : "",
                  item->sql, time ? ")" : "");
  }
  buffer_format(&sql->text, AS_TEXT ")", "", search->id, "");
}

static purlin_value value_of(const search_order_item *item, const char *text) {
  switch (item->name.type) {
  case PURLIN_SEARCH_NUMBER: return purlin_value_double(strtod(text, NULL));
  case PURLIN_SEARCH_TIME: return purlin_value_time((purlin_time){strtoll(text, NULL, 10)});
  case PURLIN_SEARCH_TEXT: break;
  }
  return purlin_value_text(text);
}

typedef struct values_row {
  purlin_texts values;
} values_row;
PURLIN_SCHEMA(values_row, "Where a page begins", PURLIN_REQUIRED(values, "Of the row before it"));

static purlin_status refuse(purlin_ctx *ctx) {
  purlin_clear_failure(ctx);
  return purlin_fail(ctx, PURLIN_INVALID, "Invalid page token");
}

static bool are_values(purlin_texts texts, size_t count) {
  if (texts.count != count) return false;
  for (size_t i = 0; i < count; i++)
    if (texts.items[i][0] != 'v' && strcmp(texts.items[i], "n") != 0) return false;
  return texts.items[count - 1][0] == 'v';
}

/* After the row, by this key: greater (or less), or NULL, which comes last. */
static void after(search_sql *sql, const search_order_item *item, const char *text) {
  if (text[0] == 'n') {
    buffer_text(&sql->text, "FALSE");
    return;
  }
  buffer_format(&sql->text, "%s %s ?", item->sql, item->descending ? "<" : ">");
  search_value(sql, value_of(item, text + 1));
  if (!item->never_null) buffer_format(&sql->text, " OR %s IS NULL", item->sql);
}

static void equal(search_sql *sql, const search_order_item *item, const char *text) {
  if (text[0] == 'n') {
    buffer_format(&sql->text, "%s IS NULL", item->sql);
    return;
  }
  buffer_format(&sql->text, "%s = ?", item->sql);
  search_value(sql, value_of(item, text + 1));
}

purlin_status search_order_after(search_sql *sql, const purlin_search *search, const search_order *order,
                                 const char *values) {
  values_row row;
  if (purlin_decode(sql->ctx, values_row_schema(), values, strlen(values), &row) != PURLIN_OK ||
      !are_values(row.values, order->count + 1))
    return refuse(sql->ctx);
  const search_order_item *first = &order->items[0];
  /* Says again what follows from the rest, in a way that an index can use. */
  if (order->count > 0 && first->never_null && row.values.items[0][0] == 'v') {
    buffer_format(&sql->text, " AND %s %s ?", first->sql, first->descending ? "<=" : ">=");
    search_value(sql, value_of(first, row.values.items[0] + 1));
  }
  buffer_text(&sql->text, " AND (");
  for (size_t i = 0; i < order->count; i++) {
    after(sql, &order->items[i], row.values.items[i]);
    buffer_text(&sql->text, " OR (");
    equal(sql, &order->items[i], row.values.items[i]);
    buffer_text(&sql->text, " AND (");
  }
  if (order->decided) buffer_text(&sql->text, "FALSE");
  else {
    buffer_format(&sql->text, "%s %s ?", search->id, id_descends(search, order) ? "<" : ">");
    search_value(sql, purlin_value_text(row.values.items[order->count] + 1));
  }
  for (size_t i = 0; i < order->count; i++) buffer_text(&sql->text, "))");
  buffer_char(&sql->text, ')');
  return PURLIN_OK;
}
