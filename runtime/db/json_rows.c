/* json_rows.c: free-form rows as JSON, for scripts that have no schema. */
#include "db/call.h"

#include <string.h>

#include "core/text.h"

static bool is_json(const MYSQL_FIELD *field) {
  MARIADB_CONST_STRING format = {0};
  if (mariadb_field_attr(&format, field, MARIADB_FIELD_ATTR_FORMAT_NAME) != 0) return false;
  return format.length == 4 && memcmp(format.str, "json", 4) == 0;
}

/* TINYINT(1) is what BOOLEAN is. */
static bool is_bool(const MYSQL_FIELD *field) { return field->type == MYSQL_TYPE_TINY && field->length == 1; }

static void add_base64(buffer *out, const db_cell *cell) {
  size_t size = text_base64_size(cell->size);
  buffer_char(out, '"');
  if (buffer_reserve(out, size + 1)) {
    text_base64(cell->data, cell->size, out->data + out->size);
    out->size += size;
  }
  buffer_char(out, '"');
}

static void add_integer(buffer *out, const MYSQL_FIELD *field, const db_column *column, const db_cell *cell) {
  int64_t value;
  if (!db_cell_int(column, cell, &value)) {
    double number = 0; /* above 2^63: as near as a double comes */
    if (db_cell_double(column, cell, &number)) buffer_double(out, number);
    else buffer_text(out, "null");
  } else if (is_bool(field)) {
    buffer_text(out, value ? "true" : "false");
  } else {
    buffer_int(out, value);
  }
}

static void add_cell(buffer *out, const MYSQL_FIELD *field, const db_cell *cell) {
  if (!cell->data) {
    buffer_text(out, "null");
    return;
  }
  db_column column = db_column_of(field);
  int64_t time;
  double number;
  char text[32];
  switch (column.kind) {
  case COLUMN_INT:
  case COLUMN_BIT: add_integer(out, field, &column, cell); break;
  case COLUMN_DOUBLE:
    if (db_cell_double(&column, cell, &number)) buffer_double(out, number);
    break;
  case COLUMN_DECIMAL: buffer_add(out, cell->data, cell->size); break;
  case COLUMN_DATE:
    if (db_cell_time(cell, &time)) {
      size_t size = text_from_time(time, text);
      buffer_json_text(out, text, size);
    } else {
      buffer_text(out, "null");
    }
    break;
  case COLUMN_TEXT:
    if (is_json(field)) buffer_add(out, cell->data, cell->size);
    else buffer_json_text(out, (const char *)cell->data, cell->size);
    break;
  case COLUMN_BYTES: add_base64(out, cell); break;
  default: buffer_text(out, "null"); break;
  }
}

static void add_row(buffer *out, const db_statement *statement) {
  const MYSQL_FIELD *fields = mariadb_stmt_fetch_fields(statement->stmt);
  buffer_char(out, '{');
  for (unsigned i = 0; i < statement->columns; i++) {
    if (i > 0) buffer_char(out, ',');
    buffer_json_text(out, fields[i].name, strlen(fields[i].name));
    buffer_char(out, ':');
    add_cell(out, &fields[i], &statement->cells[i]);
  }
  buffer_char(out, '}');
}

static purlin_status read_rows(db_call *call, size_t max_rows, buffer *out, bool *failed) {
  buffer_char(out, '[');
  for (size_t rows = 0; call->statement->columns > 0; rows++) {
    db_fetched fetched = db_call_fetch(call);
    if (fetched == DB_END) break;
    *failed = fetched == DB_FAILED;
    if (*failed) return PURLIN_OK;
    if (rows == max_rows) return purlin_fail(call->ctx, PURLIN_TOO_LARGE, "more than %zu rows", max_rows);
    if (rows > 0) buffer_char(out, ',');
    add_row(out, call->statement);
    if (out->failed) return purlin_fail(call->ctx, PURLIN_TOO_LARGE, "the rows are too large");
    if (rows % 64 == 63) context_fairness(call->ctx);
  }
  buffer_char(out, ']');
  return PURLIN_OK;
}

purlin_status db_query_json(purlin_ctx *ctx, const char *sql, const purlin_value *values, size_t count, size_t max_rows,
                            purlin_json *rows) {
  *rows = (purlin_json){0};
  purlin_value *all = purlin_alloc_array(ctx, count + 1, sizeof *all);
  if (!all) return PURLIN_TOO_LARGE;
  all[0] = purlin_value_text(sql);
  if (count > 0) memcpy(all + 1, values, count * sizeof *all);
  db_call call;
  purlin_status status = db_call_begin(&call, ctx, all, count + 1);
  if (status != PURLIN_OK) return status;
  buffer out = {.limit = (size_t)16 * 1024 * 1024};
  bool failed = false;
  status = read_rows(&call, max_rows, &out, &failed);
  status = failed ? db_call_fail(&call) : db_call_end(&call, status);
  if (status == PURLIN_OK) {
    rows->text = purlin_copy_bytes(ctx, out.data, out.size);
    rows->size = out.size;
    if (!rows->text) status = PURLIN_TOO_LARGE;
  }
  buffer_free(&out);
  return status;
}
