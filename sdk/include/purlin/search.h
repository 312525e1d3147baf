/* search.h: what a client looks for, in its own words: a condition, an order and a page, as one parameterised statement.
 *
 *   static const purlin_search_key keys[] = {
 *       {.names = "run_id", .sql = "r.id"},
 *       {.names = "start_time, created", .sql = "r.created_at", .type = PURLIN_SEARCH_TIME, .never_null = true}};
 *   static const purlin_search_entity entities[] = {
 *       {.names = "attribute, attr, run", .keys = keys, .key_count = 2},
 *       {.names = "metric, metrics", .table = "tracking_latest_metrics", .owner = "run_id", .type = PURLIN_SEARCH_NUMBER}};
 *   static const purlin_search runs_search = {.entities = entities, .entity_count = 2, .id = "r.id", .order = "start_time DESC"};
 *   ...
 *   purlin_db_search(ctx, run, &out->runs, &out->next_page_token, &runs_search, &asked,
 *                    "r.id, r.name", "tracking_runs r", "r.workspace = ?", purlin_workspace(ctx));
 *
 * A condition:  metrics.accuracy > 0.9 AND (params.depth = '6' OR NOT tags.`stage` LIKE 'dev%') AND run_id IN ('a', 'b')
 *   [entity.]key with = != < <= > >= LIKE ILIKE RLIKE IN NOT IN, IS NULL and IS NOT NULL; AND, OR, NOT and parentheses. A key without an
 *   entity is one of the first. Keys may stand in `...` or "...", texts in '...' or "...", with a quote doubled within. Words of the
 *   language are in any case.
 * An order:     metrics.accuracy DESC, start_time       what has no value comes last, whatever the direction
 * A page is found by the values of the last row before it: it costs the same however far it is, and rows that come or go meanwhile
 * shift nothing.
 *
 * Since 0.2; base.h says what else holds everywhere. */
#ifndef PURLIN_SEARCH_H
#define PURLIN_SEARCH_H

#include <purlin/database.h>

PURLIN_BEGIN

typedef enum purlin_search_type {
  PURLIN_SEARCH_TEXT = 0,
  PURLIN_SEARCH_NUMBER = 1,
  PURLIN_SEARCH_TIME = 2 /* a DATETIME(6); clients say milliseconds since 1970 */
} purlin_search_type;

/* What can be asked for by a name of its own. */
typedef struct purlin_search_key {
  const char *names; /* with commas between: what clients call it; the first in messages */
  const char *sql;   /* a column, or an expression without '?' */
  purlin_search_type type;
  bool never_null; /* lets an index give the order */
  bool lenient;    /* != and NOT IN hold where it is NULL, too */
  bool unique;     /* no two rows that can be found have the same: what follows in an order decides nothing */
  /* It is not of the row but of others that belong to it: "EXISTS (SELECT 1 FROM t x WHERE x.run_id = r.id AND ", which a comparison and a
   * ')' follow. Then nothing is ordered by it. NULL: it is of the row. */
  const char *within;
} purlin_search_key;

typedef struct purlin_search_entity {
  const char *names; /* with commas between: "metric, metrics" */
  /* Either keys, */
  const purlin_search_key *keys;
  size_t key_count;
  /* or rows of a name and a value in a table, whatever the name: columns `name` and `value`, and one that names whose they are. With a
   * prefix, both. */
  const char *table, *owner;
  purlin_search_type type; /* of the value */
  const char *lenient;     /* names, with commas between: for these != and NOT IN hold where there is no row, too */
  bool no_order;           /* nothing is ordered by it */
  /* Of the '?' in `table`, which may be a query in parentheses: "(SELECT run_id, name, value FROM ... WHERE dataset = ?)". Borrowed. */
  const purlin_value *values;
  size_t value_count;
  const char
      *scope; /* a column of `table` with the same as the search's scope, first in an index with name and value; or NULL */
  /* Of an entity with keys and a table: what the names of rows have in front, and a dot: "attributes". */
  const char *prefix;
  const char *number; /* of texts: a column of `table` that numbers are compared with; or NULL */
  bool vast; /* `table` has far more rows than are sought among: each of those is looked up, it is never read whole */
  /* Where purlin_search.walks is said, and there is one row of an owner and name at most: that index. Of texts it holds, in place of the
   * value, `leading`, a column with its first 64 characters, and then `walked` and the owner; NULL: nothing is looked for by it. */
  const char *index, *leading, *walked;
} purlin_search_entity;

typedef struct purlin_search {
  const purlin_search_entity *entities;
  size_t entity_count;
  const char *id;    /* a column that is never NULL and tells rows apart; the last word of any order */
  const char *order; /* without another one, such as "start_time DESC" */
  const char *then;  /* what follows any other order, before the id; NULL: nothing */
  const char
      *scope; /* a column that says within what is looked: only rows where it is one of `scopes`; NULL: there is none */
  purlin_texts scopes; /* none: nothing is found */
  bool id_follows;     /* the id goes the way of the last key: an index over both gives that order in either direction */
  /* The key's SQL that an index of the rows is ordered by within a scope, and so is `walked` of entities. Then ids, of utf8mb4_bin, are
   * found first, along whichever index is the shortest way, and rows are read by them; id_follows belongs to it. NULL: the database chooses
   * a way by itself. */
  const char *walks;
} purlin_search;

/* What a client asks for. Texts may be NULL or empty. */
typedef struct purlin_search_asked {
  const char *condition;
  const char *order; /* with commas between */
  const char *page;  /* the token that came with the page before */
  int64_t limit;     /* rows; at least 1 */
} purlin_search_asked;

/* Reads a page of rows into a list. `token` receives what asks for the next page, "" after the last; arena. What follows `asked`: the
 * columns, the tables, a condition that holds for all, and the values of its '?'. The rows' schema has the member `id`, a text, that is
 * the search's id. May park. Errors: PURLIN_INVALID (what is wrong, and where, is recorded), and those of statements. */
#define purlin_db_search(ctx, type, list, token, search, asked, ...)                                                       \
  purlin_db_search_(ctx, type##_schema(), (void *)&(list)->items, &(list)->count, token, search, asked,                    \
                    PURLIN_VALUES_(__VA_ARGS__))
PURLIN_API PURLIN_CHECKED purlin_status purlin_db_search_(purlin_ctx *ctx, const purlin_schema *schema, void *items,
                                                          size_t *item_count, const char **token,
                                                          const purlin_search *search, const purlin_search_asked *asked,
                                                          const purlin_value *columns_tables_condition_and_values,
                                                          size_t count);

/* What asks for the rows behind one of those that were read, for callers that tell fewer of them: the tables as in purlin_db_search, and
 * the row's id. Arena; "" where it has gone. May park. Errors: as there. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_db_search_after(purlin_ctx *ctx, const char **token,
                                                               const purlin_search *search,
                                                               const purlin_search_asked *asked, const char *tables,
                                                               const char *id);

PURLIN_END

#endif
