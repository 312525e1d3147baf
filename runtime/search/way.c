#include "search/search.h"
#include <string.h>

/* Which way: what decides is how few rows a way touches.
 *
 * A part of the condition that few rows fulfil is walked first, and what it finds is sorted. Otherwise an index that has the order is walked
 * until the page is full: that of the value that is ordered by, that of a text that is asked for (within it rows stand in the order of
 * search->walks), or that of the rows themselves. Each row met is held against the other parts by the primary keys of their tables. */

enum { FEW = 1000 };

/* The table that is walked first. */
typedef struct way {
  const purlin_search_entity *entity; /* NULL: the rows themselves */
  const char *alias, *name;
  const search_part *part; /* which it stands for; NULL: only for what is ordered by */
  size_t first_order;      /* what is ordered by before this is in it */
  bool sorted;             /* by the order's first key only, whose value comes along */
  const char *extra;       /* one more condition */
  purlin_value bound;      /* its value; PURLIN_V_NULL: it has none */
} way;

/* ---- The statement ------------------------------------------------------------------------------------------------------------ */

static void put_parts(search_page *p, const way *w) {
  for (size_t i = 0; p->parts.all && i < p->parts.count; i++) {
    const search_part *part = &p->parts.items[i];
    if (!part->entity || part == w->part) continue;
    char column[32];
    (void)snprintf(column, sizeof column, "c%zu.value", i);
    buffer_format(&p->sql.text, " STRAIGHT_JOIN %s c%zu ON c%zu.%s = ", part->entity->table, i, i, part->entity->owner);
    if (w->entity) buffer_format(&p->sql.text, "%s.%s", w->alias, w->entity->owner);
    else buffer_text(&p->sql.text, p->search->id);
    buffer_format(&p->sql.text, " AND c%zu.name = ? AND ", i);
    search_put_pattern(&p->sql.text, part->pattern, column);
    search_values(&p->sql, part->entity);
    search_value(&p->sql, purlin_value_text(part->name));
    search_value(&p->sql, part->value);
  }
}

static void put_tables(search_page *p, const way *w) {
  const purlin_search_entity *entity = w->entity;
  if (entity) buffer_format(&p->sql.text, " FROM %s %s FORCE INDEX (%s)", entity->table, w->alias, entity->index);
  else buffer_format(&p->sql.text, " FROM %s", p->from);
  put_parts(p, w);
  if (entity)
    buffer_format(&p->sql.text, " STRAIGHT_JOIN %s ON %s = %s.%s", p->from, p->search->id, w->alias, entity->owner);
  search_order_join(&p->sql, p->search, &p->order, w->first_order);
}

/* That the walked rows are of the scope and the name, and fulfil their part. */
static void put_walked(search_sql *sql, const way *w) {
  const char *alias = w->alias;
  buffer_format(&sql->text, " AND %s.%s = ? AND %s.name = ? AND ", alias, w->entity->scope, alias);
  search_value(sql, purlin_value_text(sql->scopes.items[0]));
  search_value(sql, purlin_value_text(w->name));
  if (!w->part) {
    buffer_format(&sql->text, "%s.value IS NOT NULL", alias);
    return;
  }
  char column[32];
  (void)snprintf(column, sizeof column, "%s.value", alias);
  bool whole = w->entity->type != PURLIN_SEARCH_TEXT || w->part->value.size >= 64;
  if (w->entity->type == PURLIN_SEARCH_TEXT) {
    buffer_format(&sql->text, "%s.%s = LEFT(?, 64)%s", alias, w->entity->leading, whole ? " AND " : "");
    search_value(sql, w->part->value);
  }
  if (!whole) return;
  search_put_pattern(&sql->text, w->part->pattern, column);
  search_value(sql, w->part->value);
}

/* What is no part, or is not joined. */
static void put_rest(search_page *p) {
  const search_sql *c = &p->condition;
  if (p->parts.all) {
    for (size_t i = 0; i < p->parts.count; i++) {
      const search_part *part = &p->parts.items[i];
      if (part->entity) continue;
      buffer_text(&p->sql.text, " AND ");
      buffer_add(&p->sql.text, c->text.data + part->text_at, part->text_size);
      for (size_t k = 0; k < part->value_count; k++) search_value(&p->sql, c->values[part->value_at + k]);
    }
    return;
  }
  buffer_text(&p->sql.text, " AND (");
  buffer_add(&p->sql.text, c->text.data, c->text.size);
  buffer_char(&p->sql.text, ')');
  for (size_t i = 0; i < c->count; i++) search_value(&p->sql, c->values[i]);
}

/* Along the index of a text the order is that of its own columns. */
static void rename_order(const search_page *p, const way *w, purlin_search *search, search_order *order) {
  *search = *p->search;
  *order = p->order;
  if (!w->entity || w->first_order > 0 || !w->entity->walked || !w->part || !w->part->equal) return;
  if (order->count != 1 || strcmp(order->items[0].sql, search->walks) != 0) return;
  const char *by = purlin_format(p->sql.ctx, "%s.%s", w->alias, w->entity->walked);
  const char *id = purlin_format(p->sql.ctx, "%s.%s", w->alias, w->entity->owner);
  if (!by || !id) return; /* it takes longer, and the next allocation tells of the memory */
  order->items[0].sql = by;
  search->id = id;
}

typedef struct id_row {
  const char *id;
  purlin_opt_double value;
} id_row;
PURLIN_SCHEMA(id_row, "A row that was found",
    PURLIN_REQUIRED(id, "its id"),
    PURLIN_OPTIONAL(value, "what it is ordered by"));
typedef PURLIN_LIST_OF(id_row) id_rows;

static purlin_status walk(search_page *p, const way *w, size_t limit, id_rows *out) {
  purlin_search search;
  search_order order;
  rename_order(p, w, &search, &order);
  buffer_format(&p->sql.text, "SELECT %s AS id", p->search->id);
  if (w->sorted) buffer_format(&p->sql.text, ", %s AS value", p->order.items[0].sql);
  put_tables(p, w);
  purlin_status status = search_put_where(p);
  if (w->entity) put_walked(&p->sql, w);
  put_rest(p);
  if (status == PURLIN_OK && p->last_values) status = search_order_after(&p->sql, &search, &order, p->last_values);
  if (status != PURLIN_OK) return status;
  if (w->extra) buffer_text(&p->sql.text, w->extra);
  if (w->bound.type != PURLIN_V_NULL) search_value(&p->sql, w->bound);
  if (w->sorted)
    buffer_format(&p->sql.text, " ORDER BY %s%s", order.items[0].sql, order.items[0].descending ? " DESC" : "");
  else search_order_by(&p->sql, &search, &order);
  buffer_text(&p->sql.text, " LIMIT ?");
  search_value(&p->sql, purlin_value_int((int64_t)limit));
  size_t count = 0;
  const purlin_value *statement = search_finished(&p->sql, &count);
  if (!statement) return p->sql.too_many ? PURLIN_INVALID : PURLIN_TOO_LARGE;
  return purlin_db_list_(p->sql.ctx, id_row_schema(), (void *)&out->items, &out->count, statement, count);
}

/* ---- Which way --------------------------------------------------------------------------------------------------------------------- */

typedef struct count_row {
  int64_t count;
} count_row;
PURLIN_SCHEMA(count_row, "How many rows there are", PURLIN_REQUIRED(count, "rows"));

static bool can_walk(const search_page *p, const search_part *part) {
  if (!p->parts.all || !part->entity || !part->entity->index || p->sql.scopes.count != 1) return false;
  return part->entity->type == PURLIN_SEARCH_NUMBER || (part->equal && part->entity->leading);
}

/* How many fulfil a part; FEW for more. */
static purlin_status count_part(search_page *p, const way *w, int64_t *out) {
  count_row row;
  size_t count = 0;
  buffer_format(&p->sql.text, "SELECT COUNT(*) AS count FROM (SELECT 1 FROM %s %s FORCE INDEX (%s) WHERE TRUE",
                w->entity->table, w->alias, w->entity->index);
  put_walked(&p->sql, w);
  buffer_text(&p->sql.text, " LIMIT ?) n");
  search_value(&p->sql, purlin_value_int(FEW));
  const purlin_value *statement = search_finished(&p->sql, &count);
  if (!statement) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_db_row_(p->sql.ctx, count_row_schema(), &row, statement, count);
  *out = status == PURLIN_OK ? row.count : 0;
  return status;
}

/* Along the part that the fewest fulfil, if those are few. */
static purlin_status choose_few(search_page *p, way *w) {
  int64_t least = FEW;
  for (size_t i = 0; i < p->parts.count; i++) {
    const search_part *part = &p->parts.items[i];
    const way along = {.entity = part->entity, .alias = "d", .name = part->name, .part = part};
    int64_t count = 0;
    if (!can_walk(p, part)) continue;
    purlin_status status = count_part(p, &along, &count);
    if (status != PURLIN_OK) return status;
    if (count >= least) continue;
    least = count;
    *w = along;
  }
  return PURLIN_OK;
}

/* Along a text that is asked for: rows with it stand in the order of the page. */
static void choose_text(const search_page *p, way *w) {
  if (p->order.count != 1 || strcmp(p->order.items[0].sql, p->search->walks) != 0) return;
  for (size_t i = 0; i < p->parts.count && !w->entity; i++) {
    const search_part *part = &p->parts.items[i];
    if (can_walk(p, part) && part->equal && part->entity->walked)
      *w = (way){.entity = part->entity, .alias = "d", .name = part->name, .part = part};
  }
}

/* ---- Along the value that is ordered by ------------------------------------------------------------------------------------------------ */

static bool orders_by_value(const search_page *p) {
  static const char none[] = "{\"values\":[\"n\"";
  const search_name *first = &p->order.items[0].name;
  bool past = p->last_values && strncmp(p->last_values, none, sizeof none - 1) == 0; /* what has a value is behind */
  return p->order.count > 0 && !first->key && first->type == PURLIN_SEARCH_NUMBER && first->entity->index &&
         first->entity->value_count == 0 && p->sql.scopes.count == 1 && !past;
}

static bool are_tied(const id_rows *rows, size_t a, size_t b) {
  return rows->items[a].value.value == rows->items[b].value.value;
}

static bool has_ties(const id_rows *rows) {
  for (size_t i = 1; i < rows->count; i++)
    if (are_tied(rows, i - 1, i)) return true;
  return false;
}

/* Those that were found, in the whole order. */
static purlin_status sort(search_page *p, id_rows *found) {
  size_t count = 0;
  const char **ids = purlin_alloc_array(p->sql.ctx, found->count + 1, sizeof *ids);
  for (size_t i = 0; i < found->count && ids; i++) ids[i] = found->items[i].id;
  const char *list = ids ? purlin_list_json(p->sql.ctx, (purlin_texts){ids, found->count}) : NULL;
  if (!list) return PURLIN_TOO_LARGE;
  buffer_format(
      &p->sql.text,
      "SELECT %s AS id FROM JSON_TABLE(?, '$[*]' COLUMNS (id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
      " PATH '$')) j STRAIGHT_JOIN %s ON %s = j.id",
      p->search->id, p->from, p->search->id);
  search_value(&p->sql, purlin_value_text(list));
  search_order_join(&p->sql, p->search, &p->order, 0);
  search_order_by(&p->sql, p->search, &p->order);
  const purlin_value *statement = search_finished(&p->sql, &count);
  if (!statement) return PURLIN_TOO_LARGE;
  return purlin_db_list_(p->sql.ctx, id_row_schema(), (void *)&found->items, &found->count, statement, count);
}

/* A part that asks for the value that is ordered by: then every row has it. */
static const search_part *part_of_order(const search_page *p) {
  const search_name *first = &p->order.items[0].name;
  for (size_t i = 0; p->parts.all && i < p->parts.count; i++)
    if (p->parts.items[i].entity == first->entity && strcmp(p->parts.items[i].name, first->name) == 0)
      return &p->parts.items[i];
  return NULL;
}

/* By the value alone, which the index has. Only where values are the same do the other keys decide: then what was found is sorted, or, where
 * the page would end among the same values, looked for again, sorted, as far as that value reaches. What has no value comes last. */
static purlin_status walk_values(search_page *p, id_rows *out, id_rows *without) {
  const search_order_item *first = &p->order.items[0];
  way w = {.entity = first->name.entity, .alias = "o0", .name = first->name.name, .first_order = 1, .sorted = true};
  w.part = part_of_order(p);
  size_t limit = (size_t)p->limit;
  purlin_status status = walk(p, &w, limit, out);
  if (status != PURLIN_OK) return status;
  if (out->count == limit && are_tied(out, limit - 2, limit - 1)) {
    w.sorted = false;
    w.extra = first->descending ? " AND o0.value >= ?" : " AND o0.value <= ?";
    w.bound = purlin_value_double(out->items[limit - 1].value.value);
    status = walk(p, &w, limit, out);
  } else if (has_ties(out)) status = sort(p, out);
  if (status != PURLIN_OK || out->count == limit || w.part) return status;
  return walk(p, &(way){.extra = " AND o0.value IS NULL"}, limit - out->count, without);
}

purlin_status search_find_ids(search_page *p, purlin_texts *ids) {
  way w = {0};
  id_rows found = {0}, more = {0};
  purlin_status status = choose_few(p, &w);
  if (status != PURLIN_OK) return status;
  if (!w.entity && orders_by_value(p)) status = walk_values(p, &found, &more);
  else {
    if (!w.entity) choose_text(p, &w);
    status = walk(p, &w, (size_t)p->limit, &found);
  }
  const char **all = purlin_alloc_array(p->sql.ctx, found.count + more.count + 1, sizeof *all);
  if (status != PURLIN_OK || !all) return status == PURLIN_OK ? PURLIN_TOO_LARGE : status;
  for (size_t i = 0; i < found.count; i++) all[i] = found.items[i].id;
  for (size_t i = 0; i < more.count; i++) all[found.count + i] = more.items[i].id;
  *ids = (purlin_texts){all, found.count + more.count};
  return PURLIN_OK;
}
