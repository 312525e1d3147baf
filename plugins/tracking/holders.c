#include "purge.h"
#include <string.h>

enum { LONGEST_NAME = 64 };

/* What stands in a statement as it is. */
static bool is_identifier(const char *text) {
  size_t size = strlen(text);
  return size > 0 && size <= LONGEST_NAME && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") == size;
}

static purlin_status add_column(purlin_ctx *ctx, const purge_kind *kind, const char *provider, char *column,
                                const char **sql) {
  char *point = strchr(column, '.');
  if (point) *point = '\0';
  if (!point || !is_identifier(column) || !is_identifier(point + 1))
    return purlin_fail(ctx, PURLIN_INTERNAL, "'%s' names runs in '%s', expected TABLE.COLUMN", provider, column);
  *sql = purlin_format(ctx, "%s OR EXISTS (SELECT 1 FROM %s h WHERE h.workspace = %s.workspace AND h.%s = %s.id)", *sql,
                       column, kind->table, point + 1, kind->table);
  return *sql ? PURLIN_OK : PURLIN_TOO_LARGE;
}

static purlin_status add_columns(purlin_ctx *ctx, const purge_kind *kind, const char *provider, const char *columns,
                                 const char **sql) {
  purlin_status status = PURLIN_OK;
  for (const char *at = columns; *at && status == PURLIN_OK;) {
    at += strspn(at, ", \n");
    size_t size = strcspn(at, ", \n");
    char *column = purlin_copy_bytes(ctx, at, size);
    if (!column) return PURLIN_TOO_LARGE;
    if (size > 0) status = add_column(ctx, kind, provider, column, sql);
    at += size;
  }
  return status;
}

purlin_status purge_held(purlin_ctx *ctx, const purge_kind *kind, const char **sql) {
  purlin_texts names = {NULL, 0};
  *sql = "FALSE";
  if (kind == &purge_kinds[PURGE_EXPERIMENT]) return PURLIN_OK;
  purlin_status status = purlin_providers(ctx, run_holder, &names);
  for (size_t i = 0; i < names.count && status == PURLIN_OK; i++) {
    const purlin_run_holder *provider = purlin_use(ctx, run_holder, names.items[i]);
    if (provider) status = add_columns(ctx, kind, names.items[i], provider->columns, sql);
    if (status == PURLIN_OK) purlin_clear_failure(ctx); /* it was switched off since it was named */
  }
  return status;
}
