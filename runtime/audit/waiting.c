/* waiting.c: entries without a number. A change writes its own as one narrow row without other indexes, since that is all that it waits
 * for; the sequencer makes a row of audit_entries of it, with its number, many at a time. Until then whoever lists the log reads it here. */
#include "audit/waiting.h"
#include "core/schema.h"
#include "loop/internal.h"
#include <string.h>

static const char INSERT[] = "INSERT INTO audit_waiting (entry, input, `before`, `after`) VALUES (?, ?, ?, ?)";
static const char INSERT_AND_COMMIT[] =
    "BEGIN NOT ATOMIC INSERT INTO audit_waiting (entry, input, `before`, `after`) VALUES (?, ?, ?, ?); COMMIT; END";
enum { VALUES = 5 };

static const char NEXT[] = "SELECT position, entry, input, `before`, `after` FROM audit_waiting ORDER BY position LIMIT ?";
/* A moment has three or six digits behind its point, or none: text would not compare. */
#define AT "CAST(TRIM(TRAILING 'Z' FROM JSON_VALUE(entry, '$.at')) AS DATETIME(6))"
static const char SELECT_PAGE[] =
    "SELECT position, entry, input, `before`, `after` FROM audit_waiting WHERE JSON_VALUE(entry, '$.workspace') = ? AND position < ?"
    " AND (? = '' OR JSON_VALUE(entry, '$.actor') = ?) AND LEFT(JSON_VALUE(entry, '$.operation'), CHAR_LENGTH(?)) = ?"
    " AND (? = '' OR JSON_VALUE(entry, '$.object') = ?) AND (? = '' OR JSON_VALUE(entry, '$.outcome') = ?)"
    " AND (? = '' OR JSON_VALUE(entry, '$.project') = ?) AND " AT " >= IFNULL(?, '1000-01-01')"
    " AND " AT " < IFNULL(?, '9999-12-31') ORDER BY position DESC LIMIT ?";
static const char REMOVE[] = "DELETE FROM audit_waiting WHERE position BETWEEN ? AND ?";

/* ---- Writing ---------------------------------------------------------------------------------------------------------------------------- */

purlin_status audit_wait(purlin_ctx *ctx, const audit_entry *entry) {
  audit_entry flat = *entry; /* what callers nest stays outside: JSON has a depth at which it is no longer read */
  flat.input = flat.before = flat.after = (purlin_json){NULL, 0};
  purlin_json text;
  purlin_status status = purlin_encode(ctx, audit_entry_schema(), &flat, &text);
  if (status != PURLIN_OK) return status;
  purlin_value values[VALUES] = {{0},
                                 purlin_value_json(text),
                                 purlin_value_json(entry->input),
                                 purlin_value_json(entry->before),
                                 purlin_value_json(entry->after)};
  values[0] = purlin_value_text(INSERT_AND_COMMIT);
  if (db_end_with(ctx, values, VALUES)) return PURLIN_OK;
  values[0] = purlin_value_text(INSERT);
  return purlin_db_run_(ctx, values, VALUES);
}

/* ---- Reading ---------------------------------------------------------------------------------------------------------------------------- */

typedef struct waiting_row {
  int64_t position;
  purlin_json entry, input, before, after;
} waiting_row;
PURLIN_SCHEMA(waiting_row, "An entry that waits for its number",
    PURLIN_REQUIRED(position, "Position"),
    PURLIN_REQUIRED(entry, "All but the following"),
    PURLIN_OPTIONAL(input, "Its input"),
    PURLIN_OPTIONAL(before, "The object before"),
    PURLIN_OPTIONAL(after, "The object after"));
typedef PURLIN_LIST_OF(waiting_row) waiting_rows;

static purlin_status read_entry(purlin_ctx *ctx, const waiting_row *row, audit_entry *entry) {
  const schema_reading reading = {.memory = &ctx->memory, .tolerant = true};
  if (schema_decode(&reading, audit_entry_schema(), row->entry.text, row->entry.size, entry) != PURLIN_OK)
    return purlin_fail(ctx, PURLIN_INTERNAL, "the audit log is damaged: what waits at %lld is no entry",
                       (long long)row->position);
  entry->input = row->input;
  entry->before = row->before;
  entry->after = row->after;
  return PURLIN_OK;
}

static purlin_status read_all(purlin_ctx *ctx, const waiting_rows *rows, waiting_list *out) {
  out->count = rows->count;
  out->items = purlin_alloc_array(ctx, rows->count + 1, sizeof *out->items);
  purlin_status status = out->items ? PURLIN_OK : PURLIN_TOO_LARGE;
  for (size_t i = 0; status == PURLIN_OK && i < rows->count; i++) {
    out->items[i].position = rows->items[i].position;
    status = read_entry(ctx, &rows->items[i], &out->items[i].entry);
  }
  return status;
}

purlin_status waiting_next(purlin_ctx *ctx, int64_t most, waiting_list *out) {
  waiting_rows rows = {0};
  purlin_status status = purlin_db_list(ctx, waiting_row, &rows, NEXT, most);
  return status == PURLIN_OK ? read_all(ctx, &rows, out) : status;
}

purlin_status waiting_find(purlin_ctx *ctx, const audit_filter *f, waiting_list *out) {
  waiting_rows rows = {0};
  purlin_status status = purlin_db_list(ctx, waiting_row, &rows, SELECT_PAGE, AUDIT_FILTER_VALUES(ctx, f));
  return status == PURLIN_OK ? read_all(ctx, &rows, out) : status;
}

purlin_status waiting_remove(purlin_ctx *ctx, const waiting_list *list) {
  purlin_status status = PURLIN_OK;
  for (size_t i = 0, end; status == PURLIN_OK && i < list->count; i = end) { /* each run of positions at once */
    for (end = i + 1; end < list->count && list->items[end].position == list->items[end - 1].position + 1;) end++;
    status = purlin_db_run(ctx, REMOVE, list->items[i].position, list->items[end - 1].position);
  }
  return status;
}
