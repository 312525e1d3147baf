#include "secrets/secrets.h"
#include <purlin/context.h>
#include <purlin/database.h>
#include <purlin/operation.h>
#include <string.h>

typedef struct sealed_count {
  const char *table, *key;
  int64_t rows;
  const char *state;
} sealed_count;
PURLIN_SCHEMA(sealed_count, "What a key sealed in a table",
    PURLIN_REQUIRED(table, "The table"),
    PURLIN_REQUIRED(key, "The key's id"),
    PURLIN_REQUIRED(rows, "How many rows, of all workspaces"),
    PURLIN_OPTIONAL(state, "current: of the first key; older: of another one of this node, which will be sealed anew; unknown: of a key "
                    "that this node does not have"));
typedef PURLIN_LIST_OF(sealed_count) sealed_counts;

typedef struct secrets_state {
  const char *key;
  purlin_texts older_keys;
  int64_t left, unknown;
  PURLIN_LIST_OF(sealed_count) sealed;
} secrets_state;
PURLIN_SCHEMA(secrets_state, "The keys of the node that answers, and what they sealed",
    PURLIN_REQUIRED(key, "The id of the key that seals"),
    PURLIN_REQUIRED(older_keys, "Those that open, too"),
    PURLIN_REQUIRED(left, "Rows that older keys sealed: when it is 0 on every node, these may be taken away"),
    PURLIN_REQUIRED(unknown, "Rows that this node cannot open"),
    PURLIN_LIST(sealed, sealed_count, "By table and key"));

static bool has(purlin_texts list, const char *text) {
  for (size_t i = 0; i < list.count; i++)
    if (strcmp(list.items[i], text) == 0) return true;
  return false;
}

static purlin_status tell_keys(purlin_ctx *ctx, secrets_state *out) {
  char *ids = purlin_copy(ctx, purlin_secret_keys());
  size_t count = 0;
  if (!ids) return PURLIN_TOO_LARGE;
  for (const char *at = ids; *at; at++) count += *at == ',';
  const char **older = purlin_alloc_array(ctx, count + 1, sizeof *older);
  if (!older) return PURLIN_TOO_LARGE;
  out->key = ids;
  out->older_keys.items = older;
  for (char *comma = strchr(ids, ','); comma; comma = strchr(comma, ',')) {
    *comma++ = '\0';
    older[out->older_keys.count++] = comma;
  }
  return PURLIN_OK;
}

static purlin_status count_column(purlin_ctx *ctx, const sealed_column *c, sealed_counts *counts) {
  const char *sql =
      purlin_format(ctx,
                    "SELECT '%s' AS `table`, LOWER(HEX(SUBSTRING(%s, 2, 8))) AS `key`, COUNT(*) AS `rows` FROM %s"
                    " WHERE LENGTH(%s) > 0 GROUP BY 2 ORDER BY 2 LIMIT 100",
                    c->declared->table, c->declared->column, c->declared->table, c->declared->column);
  if (!sql) return PURLIN_TOO_LARGE;
  const purlin_value value = purlin_value_text(sql);
  return purlin_db_list_(ctx, sealed_count_schema(), (void *)&counts->items, &counts->count, &value, 1);
}

static purlin_status add_counts(purlin_ctx *ctx, const sealed_counts *counts, secrets_state *out) {
  sealed_count *all = purlin_alloc_array(ctx, out->sealed.count + counts->count + 1, sizeof *all);
  if (!all) return PURLIN_TOO_LARGE;
  if (out->sealed.count > 0) memcpy(all, out->sealed.items, out->sealed.count * sizeof *all);
  for (size_t i = 0; i < counts->count; i++) {
    sealed_count *one = &all[out->sealed.count++];
    *one = counts->items[i];
    bool current = strcmp(one->key, out->key) == 0, older = has(out->older_keys, one->key);
    one->state = current ? "current" : older ? "older" : "unknown";
    if (older) out->left += one->rows;
    else if (!current) out->unknown += one->rows;
  }
  out->sealed.items = all;
  return PURLIN_OK;
}

PURLIN_OPERATION(secrets_status, purlin_nothing, secrets_state,
    .summary = "Which keys seal secrets, and how many rows are still sealed with older ones", .permission = "server:read",
    .http = "GET /api/v1/secrets-status",
    .description = "To change the key: put a new one first in `secrets { keys = { ... } }` on every node, restart them one after the other, "
                   "wait until `left` is 0, take the old one away.") {
  purlin_status status = tell_keys(ctx, out);
  for (const sealed_column *c = sealed_columns(); c && status == PURLIN_OK; c = c->next) {
    sealed_counts counts = {0};
    status = count_column(ctx, c, &counts);
    if (status == PURLIN_OK) status = add_counts(ctx, &counts, out);
  }
  return status;
}
