/* search.h: the inside of <purlin/search.h>.
 *
 * search/words.c    a text into words
 * search/names.c    what a word means: entities and keys
 * search/filter.c   a condition into SQL
 * search/order.c    an order into SQL, and where in it a page begins
 * search/way.c      along which index the rows of a page are found
 * search/page.c     the statement, its rows, and the token of the next page */
#ifndef PURLIN_SEARCH_SEARCH_H
#define PURLIN_SEARCH_SEARCH_H

#include <purlin/search.h>
#include "core/buffer.h"
#include "loop/context.h"

enum {
  SEARCH_LONGEST = 64 * 1024, /* bytes of a condition or an order */
  SEARCH_MOST_VALUES = 1000,  /* '?' of a statement */
  SEARCH_DEEPEST = 32,        /* parentheses and NOTs within each other */
  SEARCH_MOST_ORDERS = 16
};

/* SQL being put together, and the values of its '?'. */
typedef struct search_sql {
  purlin_ctx *ctx;
  buffer text;
  purlin_value values[SEARCH_MOST_VALUES];
  size_t count;
  bool too_many;
  purlin_texts scopes;
} search_sql;

void search_value(search_sql *sql, purlin_value value);
/* Those of an entity's table. */
void search_values(search_sql *sql, const purlin_search_entity *entity);

/* ---- Words ---- */

typedef enum search_word_kind {
  WORD_END,
  WORD_NAME, /* a key or a word of the language, as it stands: metrics.`a b`, AND */
  WORD_TEXT, /* 'x' or "x" */
  WORD_NUMBER,
  WORD_SIGN /* = != < <= > >= ( ) , */
} search_word_kind;

typedef struct search_word {
  search_word_kind kind;
  const char *at; /* in the text, quotes included */
  size_t size;
} search_word;

typedef struct search_reader {
  purlin_ctx *ctx;
  const char *text, *rest;
  search_word word; /* the one that is to be read next */
  bool failed;      /* and recorded */
} search_reader;

void search_read(search_reader *reader, purlin_ctx *ctx, const char *text);
void search_next(search_reader *reader);
/* Whether the next word is this one of the language, or this sign; then it is taken. */
bool search_take(search_reader *reader, const char *word);
/* Records that something else was expected here; the failure of the whole. */
purlin_status search_expected(search_reader *reader, const char *what);

/* ---- Names ---- */

/* A word without its quotes, if it has any; a doubled quote within is one. Arena; NULL: no memory. */
const char *search_unquoted(purlin_ctx *ctx, const char *text, size_t size);

typedef struct search_name {
  const purlin_search_entity *entity;
  const purlin_search_key *key; /* NULL: of an entity of rows */
  const char *name;             /* of its row */
  purlin_search_type type;
} search_name;

/* What the next word, a name, means; it is taken. */
purlin_status search_name_of(search_reader *reader, const purlin_search *search, search_name *out);
/* Whether a name of `size` bytes is among names with commas between. */
bool search_is_among(const char *names, const char *text, size_t size);
/* The first of the names that something has. */
const char *search_first_name(purlin_ctx *ctx, const char *names);

/* ---- Parts of the statement ---- */

/* Appends " AND (...)" for the condition, nothing for none. */
purlin_status search_filter(search_sql *sql, const purlin_search *search, const char *condition);

/* What a condition consists of when that is all joined by AND. */
typedef struct search_part {
  size_t text_at, text_size, value_at, value_count; /* in the compiled condition */
  /* Of an entity of rows: it has one of that name whose value compares so; NULL: something else. */
  const purlin_search_entity *entity;
  const char *name, *pattern; /* "%s > ?" */
  purlin_value value;
  bool equal;
} search_part;
enum { SEARCH_MOST_PARTS = 16 };
typedef struct search_parts {
  search_part items[SEARCH_MOST_PARTS];
  size_t count;
  bool all; /* the condition is these and nothing else */
} search_parts;
/* Writes the condition itself, nothing for none. */
purlin_status search_condition(search_sql *sql, const purlin_search *search, const char *condition, search_parts *parts);
/* What is written for "%s > ?" and "x.value". */
void search_put_pattern(buffer *out, const char *pattern, const char *column);

typedef struct search_order_item {
  search_name name;
  const char *sql; /* the expression that is ordered by */
  bool descending, never_null;
} search_order_item;

typedef struct search_order {
  search_order_item items[SEARCH_MOST_ORDERS];
  size_t count;
  bool decided; /* by the last of them: no two rows are alike */
} search_order;

purlin_status search_order_read(purlin_ctx *ctx, const purlin_search *search, const char *order, search_order *out);
/* Appends the joins that the order needs, from this item on; before the WHERE. */
void search_order_join(search_sql *sql, const purlin_search *search, const search_order *order, size_t first);
/* Appends " AND (...)": only what comes after the row with these values (JSON: as search_order_values selects them). */
purlin_status search_order_after(search_sql *sql, const purlin_search *search, const search_order *order,
                                 const char *values);
/* Appends " ORDER BY ...". */
void search_order_by(search_sql *sql, const purlin_search *search, const search_order *order);
/* Appends an expression for a JSON array of the values of a row, its id last. */
void search_order_values(search_sql *sql, const purlin_search *search, const search_order *order);

/* ---- A page ---- */

typedef struct search_page {
  search_sql sql;       /* the statement that is put together next */
  search_sql condition; /* compiled */
  search_parts parts;
  const purlin_search *search;
  search_order order;
  const char *columns, *from, *where;
  const purlin_value *values; /* of where */
  size_t value_count;
  int64_t limit;           /* rows that are looked for: one more than are told */
  const char *last_values; /* of the row before the page; NULL: it is the first */
} search_page;

/* The statement and its values, as statements are run; begins the next one. NULL: no memory, recorded. */
const purlin_value *search_finished(search_sql *sql, size_t *count);
/* Appends the condition that holds for all, with the scopes. */
purlin_status search_put_where(search_page *p);
/* The ids of the rows of the page, in its order. May park. */
purlin_status search_find_ids(search_page *p, purlin_texts *ids);

#endif
