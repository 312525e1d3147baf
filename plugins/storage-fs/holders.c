/* Who names blobs: columns of tables of other plugins, which their capability blob_holder tells. What was told once is kept in
 * storage_fs_holders, so that no blob is lost to a plugin that is switched off. */
#include "storage.h"
#include <string.h>

enum { LONGEST_NAME = 64 };

static const char REMEMBER[] = "INSERT IGNORE INTO storage_fs_holders (table_name, column_name) VALUES (?, ?)";
static const char SELECT_ALL[] = "SELECT table_name, column_name FROM storage_fs_holders ORDER BY table_name, column_name";

typedef struct holder {
  const char *table_name, *column_name;
} holder;
PURLIN_SCHEMA(holder, "A column that names blobs",
    PURLIN_REQUIRED(table_name, "Its table"),
    PURLIN_REQUIRED(column_name, "The column"));
typedef PURLIN_LIST_OF(holder) holder_list;

typedef struct probe {
  int64_t named;
} probe;
PURLIN_SCHEMA(probe, "Whether it can be read", PURLIN_REQUIRED(named, "1"));

/* What stands in a statement as it is. */
static bool is_identifier(const char *text) {
  size_t size = strlen(text);
  return size > 0 && size <= LONGEST_NAME && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") == size;
}

typedef purlin_status on_column(purlin_ctx *ctx, void *to, const char *table, const char *column);

static purlin_status one_column(purlin_ctx *ctx, const char *provider, const char *text, size_t size, on_column *on,
                                void *to) {
  char *table = purlin_copy_bytes(ctx, text, size), *point = table ? strchr(table, '.') : NULL;
  if (!table) return PURLIN_TOO_LARGE;
  if (point) *point = '\0';
  if (point && is_identifier(table) && is_identifier(point + 1)) return on(ctx, to, table, point + 1);
  return purlin_fail(ctx, PURLIN_INTERNAL, "'%s' names blobs in '%.*s', expected TABLE.COLUMN", provider, (int)size, text);
}

static purlin_status columns_of(purlin_ctx *ctx, const char *provider, const char *columns, on_column *on, void *to) {
  purlin_status status = PURLIN_OK;
  for (const char *at = columns; *at && status == PURLIN_OK;) {
    at += strspn(at, ", \n");
    size_t size = strcspn(at, ", \n");
    if (size > 0) status = one_column(ctx, provider, at, size, on, to);
    at += size;
  }
  return status;
}

/* Those that the plugins tell that are running now. */
static purlin_status each_column(purlin_ctx *ctx, on_column *on, void *to) {
  purlin_texts names;
  purlin_status status = purlin_providers(ctx, blob_holder, &names);
  for (size_t i = 0; i < names.count && status == PURLIN_OK; i++) {
    const purlin_blob_holder *provider = purlin_use(ctx, blob_holder, names.items[i]);
    if (provider && provider->columns) status = columns_of(ctx, names.items[i], provider->columns, on, to);
    if (status == PURLIN_OK) purlin_clear_failure(ctx); /* it was switched off since it was named */
  }
  return status;
}

static purlin_status remember_column(purlin_ctx *ctx, void *to, const char *table, const char *column) {
  (void)to;
  return purlin_db_run(ctx, REMEMBER, table, column);
}

static purlin_status remember(purlin_ctx *ctx, void *argument) { return each_column(ctx, remember_column, argument); }

purlin_status holders_remember(purlin_ctx *ctx) { return purlin_transaction_apart(ctx, remember, NULL); }

static purlin_status add_column(purlin_ctx *ctx, void *to, const char *table, const char *column) {
  holder_list *all = to;
  for (size_t i = 0; i < all->count; i++)
    if (strcmp(all->items[i].table_name, table) == 0 && strcmp(all->items[i].column_name, column) == 0) return PURLIN_OK;
  holder *items = purlin_alloc_array(ctx, all->count + 1, sizeof *items);
  if (!items) return PURLIN_TOO_LARGE;
  if (all->count > 0) memcpy(items, all->items, all->count * sizeof *items);
  items[all->count++] = (holder){table, column};
  all->items = items;
  return PURLIN_OK;
}

/* Asked for alone, so that the message names who it is. */
static purlin_status try_it(purlin_ctx *ctx, const holder *h) {
  if (!is_identifier(h->table_name) || !is_identifier(h->column_name))
    return purlin_fail(ctx, PURLIN_INTERNAL, "'%s.%s' is no column", h->table_name, h->column_name);
  const char *sql = purlin_format(ctx, "SELECT 1 AS named FROM %s WHERE workspace = '' AND %s = '' LIMIT 1", h->table_name,
                                  h->column_name);
  probe answer;
  if (!sql) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_db_row(ctx, probe, &answer, sql);
  if (status == PURLIN_OK || status == PURLIN_NOT_FOUND) return PURLIN_OK;
  const char *why = purlin_copy(ctx, purlin_failure(ctx));
  return purlin_fail(ctx, status, "nothing is removed while %s.%s cannot be read: %s", h->table_name, h->column_name,
                     why ? why : "");
}

purlin_status holders_condition(purlin_ctx *ctx, const char **condition) {
  holder_list all = {0};
  purlin_status status = purlin_db_list(ctx, holder, &all, SELECT_ALL);
  if (status == PURLIN_OK) status = each_column(ctx, add_column, &all);
  const char *text = "FALSE";
  for (size_t i = 0; i < all.count && status == PURLIN_OK && text; i++) {
    const holder *h = &all.items[i];
    status = try_it(ctx, h);
    text = purlin_format(ctx, "%s OR EXISTS (SELECT 1 FROM %s h WHERE h.workspace = b.workspace AND h.%s = b.sha256)", text,
                         h->table_name, h->column_name);
  }
  *condition = text;
  return status == PURLIN_OK && !text ? PURLIN_TOO_LARGE : status;
}
