/* reseal.c: rotation. An operator puts a new key first and restarts each node; here each row that another of this node's keys sealed is
 * sealed with the first. Rows are read in order of their primary key and written where they still are what was read, a hundred in a
 * transaction: a crash leaves rows of the one kind and of the other, both of which open, and two nodes at once do some work twice. After
 * the first pass that leaves nothing it rests until the next start, so that nodes that were not restarted yet, whose first key is the
 * old one, do not undo it for ever; the last one to be restarted finishes. */
#include "db/db.h"
#include "loop/context.h"
#include "observe/log.h"
#include "secrets/keyring.h"
#include "secrets/secrets.h"
#include <purlin/database.h>
#include <purlin/metric.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

PURLIN_COUNTER(secrets_resealed_total, "Rows that were sealed with the first key in place of an older one", "table");
PURLIN_GAUGE(secrets_to_reseal, "Rows that an older key of this node sealed, as of its last look", "table");

enum { BATCH = 100, EVERY_MS = 30000 };

static sealed_column *columns;
static atomic_bool stopping, finished_all; /* until the next start */

const sealed_column *sealed_columns(void) { return columns; }

/* ---- Declarations ----------------------------------------------------------------------------------------------------------------------- */

static bool is_name(const char *text, size_t size) {
  for (size_t i = 0; i < size; i++)
    if (!(text[i] >= 'a' && text[i] <= 'z') && !(text[i] >= '0' && text[i] <= '9') && text[i] != '_') return false;
  return size > 0 && size <= 64;
}

/* A table of the plugin: "PLUGIN_...", where '-' is '_'. */
static bool is_own(const char *plugin, const char *table) {
  for (; *plugin; plugin++, table++)
    if (*table != (*plugin == '-' ? '_' : *plugin)) return false;
  return *table == '_';
}

static bool take_keys(sealed_column *c, const char *keys) {
  while (c->key_count < sizeof c->key_columns / sizeof c->key_columns[0]) {
    size_t size = strcspn(keys, ", ");
    if (!is_name(keys, size)) return false;
    memcpy(c->key_columns[c->key_count], keys, size);
    c->key_columns[c->key_count++][size] = '\0';
    keys += size;
    keys += strspn(keys, ", ");
    if (!*keys) return true;
  }
  return false;
}

purlin_status secrets_register(const char *plugin, const purlin_sealed *declared, buffer *why) {
  sealed_column *c = calloc(1, sizeof *c), **end = &columns;
  if (!c) return PURLIN_UNAVAILABLE;
  c->declared = declared;
  bool fine = declared->table && declared->keys && declared->column && is_name(declared->table, strlen(declared->table)) &&
              is_name(declared->column, strlen(declared->column)) && is_own(plugin, declared->table) &&
              take_keys(c, declared->keys);
  if (!fine) {
    buffer_format(
        why,
        "%s:%u: PURLIN_SEALED of the plugin '%s' wants a table whose name begins with the plugin's, one to four columns of its key, and a column",
        declared->declared.file, declared->declared.line, plugin);
    free(c);
    return PURLIN_INVALID;
  }
  while (*end) end = &(*end)->next;
  *end = c;
  return PURLIN_OK;
}

/* ---- Rows --------------------------------------------------------------------------------------------------------------------------------- */

typedef struct sealed_row {
  const char *key0, *key1, *key2, *key3;
  purlin_bytes sealed;
} sealed_row;
PURLIN_SCHEMA(sealed_row, "A row with something sealed",
    PURLIN_OPTIONAL(key0, "Of its key"), PURLIN_OPTIONAL(key1, "Of its key"), PURLIN_OPTIONAL(key2, "Of its key"),
    PURLIN_OPTIONAL(key3, "Of its key"), PURLIN_REQUIRED(sealed, "It", .secret = true));
typedef PURLIN_LIST_OF(sealed_row) sealed_rows;

typedef struct row_count {
  int64_t rows;
} row_count;
PURLIN_SCHEMA(row_count, "How many", PURLIN_REQUIRED(rows, "Rows"));

static const char *const *keys_of(const sealed_row *row) { return &row->key0; }
_Static_assert(offsetof(sealed_row, key3) == 3 * sizeof(const char *), "one behind the other");

/* Keys of this node but the first; "" when there is one only. */
static const char *older_keys(void) {
  const char *comma = strchr(purlin_secret_keys(), ',');
  return comma ? comma + 1 : "";
}

static void add_keys(buffer *sql, const sealed_column *c, const char *before, const char *after) {
  for (size_t i = 0; i < c->key_count; i++)
    buffer_format(sql, "%s%s%s", i ? ", " : "", before, after ? after : c->key_columns[i]);
}

static void select_sql(buffer *sql, const sealed_column *c, bool first) {
  buffer_text(sql, "SELECT ");
  for (size_t i = 0; i < c->key_count; i++) buffer_format(sql, "CAST(%s AS CHAR) AS key%zu, ", c->key_columns[i], i);
  buffer_format(sql, "%s AS sealed FROM %s WHERE FIND_IN_SET(LOWER(HEX(SUBSTRING(%s, 2, 8))), ?)", c->declared->column,
                c->declared->table, c->declared->column);
  if (!first) {
    buffer_text(sql, " AND (");
    add_keys(sql, c, "", NULL);
    buffer_text(sql, ") > (");
    add_keys(sql, c, "", "?");
    buffer_text(sql, ")");
  }
  buffer_text(sql, " ORDER BY ");
  add_keys(sql, c, "", NULL);
  buffer_format(sql, " LIMIT %d", BATCH);
}

static void update_sql(buffer *sql, const sealed_column *c) {
  buffer_format(sql, "UPDATE %s SET %s = ? WHERE %s = ?", c->declared->table, c->declared->column, c->declared->column);
  for (size_t i = 0; i < c->key_count; i++) buffer_format(sql, " AND %s = ?", c->key_columns[i]);
}

/* A text in the arena; NULL without memory. */
static const char *finished(purlin_ctx *ctx, buffer *sql) {
  const char *text = sql->failed ? NULL : purlin_copy_bytes(ctx, sql->data, sql->size);
  buffer_free(sql);
  return text;
}

/* ---- A batch -------------------------------------------------------------------------------------------------------------------------------- */

typedef struct batch {
  const sealed_column *column;
  const char *update;
  sealed_rows rows;
  purlin_bytes *fresh; /* one for each row; NULL data where it does not open */
  uint64_t changed;
} batch;

static purlin_status read_batch(purlin_ctx *ctx, batch *b, const sealed_row *after) {
  buffer sql = {0};
  select_sql(&sql, b->column, !after);
  const char *text = finished(ctx, &sql);
  if (!text) return PURLIN_TOO_LARGE;
  purlin_value values[6] = {purlin_value_text(text), purlin_value_text(older_keys())};
  size_t count = 2;
  for (size_t i = 0; after && i < b->column->key_count; i++) values[count++] = purlin_value_text(keys_of(after)[i]);
  return purlin_db_list_(ctx, sealed_row_schema(), (void *)&b->rows.items, &b->rows.count, values, count);
}

/* What does not open is told and left: it would not open for its plugin either. */
static purlin_status seal_row(purlin_ctx *ctx, const sealed_column *c, const sealed_row *row, purlin_bytes *fresh) {
  const char *of = purlin_seal_name(ctx, c->declared->table, c->key_count, keys_of(row));
  purlin_secret open;
  if (!of) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_unseal(ctx, of, row->sealed, &open);
  if (status == PURLIN_TOO_LARGE) return status;
  if (status != PURLIN_OK) {
    purlin_log(ctx, PURLIN_WARNING, "%s", purlin_failure(ctx));
    purlin_clear_failure(ctx);
    return PURLIN_OK;
  }
  status = purlin_seal(ctx, of, open.text, open.size, fresh);
  purlin_secret_wipe(ctx, &open);
  return status;
}

static purlin_status seal_batch(purlin_ctx *ctx, batch *b) {
  b->fresh = purlin_alloc_array(ctx, b->rows.count + 1, sizeof *b->fresh);
  purlin_status status = b->fresh ? PURLIN_OK : PURLIN_TOO_LARGE;
  for (size_t i = 0; i < b->rows.count && status == PURLIN_OK; i++) {
    status = seal_row(ctx, b->column, &b->rows.items[i], &b->fresh[i]);
    if (status == PURLIN_OK) status = purlin_yield(ctx);
  }
  return status;
}

/* Only what is still there as it was read. */
static purlin_status write_batch(purlin_ctx *ctx, void *argument) {
  batch *b = argument;
  b->changed = 0;
  for (size_t i = 0; i < b->rows.count; i++) {
    const sealed_row *row = &b->rows.items[i];
    if (!b->fresh[i].data) continue;
    purlin_value values[7] = {purlin_value_text(b->update), purlin_value_bytes(b->fresh[i]),
                              purlin_value_bytes(row->sealed)};
    size_t count = 3;
    for (size_t key = 0; key < b->column->key_count; key++) values[count++] = purlin_value_text(keys_of(row)[key]);
    purlin_status status = purlin_db_run_(ctx, values, count);
    if (status != PURLIN_OK) return status;
    b->changed += purlin_affected(ctx);
  }
  return PURLIN_OK;
}

static purlin_status count_left(purlin_ctx *ctx, const sealed_column *c, uint64_t *left) {
  row_count row = {0};
  buffer sql = {0};
  buffer_format(&sql, "SELECT COUNT(*) AS `rows` FROM %s WHERE FIND_IN_SET(LOWER(HEX(SUBSTRING(%s, 2, 8))), ?)",
                c->declared->table, c->declared->column);
  const char *text = finished(ctx, &sql);
  if (!text) return PURLIN_TOO_LARGE;
  const purlin_value values[] = {purlin_value_text(text), purlin_value_text(older_keys())};
  purlin_status status = purlin_db_row_(ctx, row_count_schema(), &row, values, 2);
  if (status == PURLIN_OK) *left = (uint64_t)row.rows;
  return status;
}

static bool keep_keys(purlin_ctx *ctx, const sealed_row *row, char *place, size_t size, sealed_row *out) {
  const char **to = &out->key0;
  size_t at = 0;
  for (size_t i = 0; i < 4; i++) {
    const char *key = keys_of(row)[i];
    size_t length = key ? strlen(key) + 1 : 0;
    if (length > size - at) return purlin_fail(ctx, PURLIN_TOO_LARGE, "a key of a sealed row is too long"), false;
    if (key) memcpy(place + at, key, length);
    to[i] = key ? place + at : NULL;
    at += length;
  }
  return true;
}

purlin_status secrets_reseal(purlin_ctx *ctx, const sealed_column *c, uint64_t *sealed, uint64_t *left) {
  char place[8192];
  sealed_row last = {0};
  purlin_status status = PURLIN_OK;
  *sealed = *left = 0;
  if (!*older_keys()) return PURLIN_OK;
  buffer sql = {0};
  update_sql(&sql, c);
  const char *update = finished(ctx, &sql);
  bool more = update != NULL;
  for (bool first = true; more && status == PURLIN_OK && !atomic_load(&stopping); first = false) {
    purlin_mark mark = purlin_arena_mark(ctx);
    batch b = {.column = c, .update = update};
    status = read_batch(ctx, &b, first ? NULL : &last);
    if (status == PURLIN_OK) status = seal_batch(ctx, &b);
    if (status == PURLIN_OK) status = purlin_transaction(ctx, write_batch, &b);
    if (status == PURLIN_OK) *sealed += b.changed;
    more = b.rows.count == BATCH;
    if (status == PURLIN_OK && more && !keep_keys(ctx, &b.rows.items[BATCH - 1], place, sizeof place, &last))
      status = PURLIN_TOO_LARGE;
    purlin_arena_reset(ctx, mark);
  }
  if (!update) return PURLIN_TOO_LARGE;
  return status == PURLIN_OK ? count_left(ctx, c, left) : status;
}

/* ---- In the background ------------------------------------------------------------------------------------------------------------------------- */

static void round_of_all(purlin_ctx *ctx, void *argument) {
  (void)argument;
  if (ctx->loop != loop_at(0) || atomic_load(&finished_all)) return;
  bool all = true;
  for (const sealed_column *c = columns; c; c = c->next) {
    const char *table = c->declared->table;
    uint64_t sealed = 0, left = 0;
    purlin_status status = secrets_reseal(ctx, c, &sealed, &left);
    if (sealed > 0) purlin_count(secrets_resealed_total, (double)sealed, table);
    if (status == PURLIN_OK) purlin_gauge(secrets_to_reseal, (double)left, table);
    if (sealed > 0 || left > 0)
      purlin_log(ctx, left > 0 ? PURLIN_WARNING : PURLIN_INFO,
                 "%llu rows of %s were sealed with the first key; %llu are left", (unsigned long long)sealed, table,
                 (unsigned long long)left);
    if (atomic_load(&stopping)) return;
    if (status != PURLIN_OK) purlin_log(ctx, PURLIN_WARNING, "%s are not sealed anew: %s", table, purlin_failure(ctx));
    all = all && status == PURLIN_OK && left == 0;
  }
  if (all) atomic_store(&finished_all, true);
}

static const char NAME[] = "secrets.reseal";

purlin_status secrets_start(purlin_ctx *ctx) {
  atomic_store(&finished_all, false);
  atomic_store(&stopping, false);
  if (!columns || !*older_keys()) return PURLIN_OK;
  purlin_status status = purlin_background(ctx, NAME, EVERY_MS, round_of_all, NULL);
  if (status == PURLIN_OK) purlin_background_wake(ctx, NAME);
  return status;
}

void secrets_rest(purlin_ctx *ctx) {
  atomic_store(&stopping, true);
  if (purlin_background_stop(ctx, NAME) != PURLIN_OK) purlin_log(ctx, PURLIN_WARNING, "sealed rows are still being read");
}
