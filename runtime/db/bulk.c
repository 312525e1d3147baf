/* bulk.c: many rows in one statement, by MariaDB's bulk protocol.
 *
 * The connector asks for each row's parameters by a callback while it writes the packet, so nothing is copied before. Packets
 * are bounded; more than one, or none, the rows are one transaction. */
#include "db/call.h"

#include <string.h>

#include "core/schema.h"
#include "db/instruments.h"

#define PACKET_ROWS 5000
#define MANY_ROWS 100 /* from so many on: LANE_BULK */
#define PACKET_BYTES ((size_t)4 * 1024 * 1024)

typedef struct bulk {
  purlin_ctx *ctx;
  const purlin_schema *schema;
  const char *items;
  size_t count;
  const char *sql;
  size_t done;   /* rows of packets that were sent */
  size_t packet; /* rows of the current packet */
  MYSQL_TIME *times;
  bool no_memory;
} bulk;

/* ---- One member as a value ---- */

static purlin_value json_of(purlin_ctx *ctx, const purlin_field *field, const void *member, bool *no_memory) {
  purlin_field alone = *field;
  alone.offset = 0;
  const purlin_schema schema = {field->size, (uint32_t)sizeof alone, 1, field->name, field->name, &alone};
  buffer text = {0};
  schema_encode(&schema, member, SCHEMA_WITH_SECRETS, &text);
  size_t skipped = strlen(field->name) + 4; /* {"name": */
  purlin_value value = {.type = PURLIN_V_NULL};
  if (!text.failed && text.size > skipped + 1) {
    size_t size = text.size - skipped - 1;
    value =
        (purlin_value){.type = PURLIN_V_TEXT, .as.data = purlin_copy_bytes(ctx, text.data + skipped, size), .size = size};
  }
  if (text.failed || (value.type == PURLIN_V_TEXT && !value.as.data)) *no_memory = true;
  buffer_free(&text);
  return value;
}

static purlin_value enum_of(const purlin_field *field, unsigned index) {
  purlin_value value = {.type = PURLIN_V_NULL};
  const char *name;
  size_t size;
  if (schema_choice_name(field->choices, index, &name, &size))
    value = (purlin_value){.type = PURLIN_V_TEXT, .as.data = name, .size = size};
  return value;
}

static purlin_value value_of(bulk *b, const purlin_field *field, const void *member) {
  switch (field->type) {
  case PURLIN_T_BOOL: return purlin_value_bool(*(const bool *)member);
  case PURLIN_T_INT: return purlin_value_int(*(const int64_t *)member);
  case PURLIN_T_DOUBLE: return purlin_value_double(*(const double *)member);
  case PURLIN_T_TEXT: return purlin_value_text(*(const char *const *)member);
  case PURLIN_T_ENUM: return enum_of(field, *(const unsigned *)member);
  case PURLIN_T_OPT_BOOL: return purlin_value_opt_bool(*(const purlin_opt_bool *)member);
  case PURLIN_T_OPT_INT: return purlin_value_opt_int(*(const purlin_opt_int *)member);
  case PURLIN_T_OPT_DOUBLE: return purlin_value_opt_double(*(const purlin_opt_double *)member);
  case PURLIN_T_OPT_TEXT: return purlin_value_opt_text(*(const purlin_opt_text *)member);
  case PURLIN_T_TIME: return purlin_value_time(*(const purlin_time *)member);
  case PURLIN_T_JSON: return purlin_value_json(*(const purlin_json *)member);
  case PURLIN_T_BYTES: return purlin_value_bytes(*(const purlin_bytes *)member);
  default: return json_of(b->ctx, field, member, &b->no_memory);
  }
}

/* The types are sent once for all rows, so a NULL keeps its field's type and is told by an indicator. */
static enum enum_field_types type_of(const purlin_field *field) {
  switch (field->type) {
  case PURLIN_T_BOOL:
  case PURLIN_T_INT:
  case PURLIN_T_OPT_BOOL:
  case PURLIN_T_OPT_INT: return MYSQL_TYPE_LONGLONG;
  case PURLIN_T_DOUBLE:
  case PURLIN_T_OPT_DOUBLE: return MYSQL_TYPE_DOUBLE;
  case PURLIN_T_TIME: return MYSQL_TYPE_DATETIME;
  case PURLIN_T_BYTES: return MYSQL_TYPE_BLOB;
  default: return MYSQL_TYPE_STRING;
  }
}

/* ---- What the connector asks for ---- */

/* Plain values are bound where they lie in the item; others in the row's own room. */
static void bind_member(bulk *b, const purlin_field *field, const void *member, MYSQL_BIND *bind, MYSQL_TIME *time,
                        purlin_value *value) {
  static char present = STMT_INDICATOR_NONE, null = STMT_INDICATOR_NULL;
  *value = value_of(b, field, member);
  if (value->type == PURLIN_V_NULL) {
    bind->u.indicator = &null;
    bind->buffer_length = 0;
    bind->length = &bind->buffer_length;
    return;
  }
  db_statement_bind(value, bind, time);
  bind->buffer_type = type_of(field);
  bind->length = &bind->buffer_length;
  bind->u.indicator = &present;
}

typedef struct bulk_row {
  bulk *bulk;
  purlin_value *values;
} bulk_row;

static my_bool give_row(void *data, MYSQL_BIND *binds, unsigned row) {
  bulk_row *r = data;
  bulk *b = r->bulk;
  const char *item = b->items + (b->done + row) * b->schema->struct_size;
  for (size_t i = 0; i < b->schema->field_count; i++) {
    const purlin_field *field = schema_field(b->schema, i);
    bind_member(b, field, item + field->offset, &binds[i], &b->times[i], &r->values[i]);
  }
  return b->no_memory;
}

static bool set(MYSQL_STMT *stmt, enum enum_stmt_attr_type attribute, const void *value) {
  return mysql_stmt_attr_set(stmt, attribute, value) == 0;
}

static bool execute_packet(db_call *call) {
  bulk_row *row = call->argument;
  bulk *b = row->bulk;
  db_connection *c = call->session->connection;
  MYSQL_STMT *stmt = call->statement->stmt;
  MYSQL_BIND *binds = purlin_alloc_array(b->ctx, call->count, sizeof *binds);
  if (!binds) return db_connection_failed(c, 0, "out of memory");
  for (size_t i = 0; i < call->count; i++) binds[i].buffer_type = type_of(schema_field(b->schema, i));
  unsigned rows = (unsigned)b->packet, none = 0;
  c->error = 0;
  bool done = set(stmt, STMT_ATTR_ARRAY_SIZE, &rows) && mysql_stmt_bind_param(stmt, binds) == 0 &&
              set(stmt, STMT_ATTR_CB_USER_DATA, row) && set(stmt, STMT_ATTR_CB_PARAM, (const void *)(uintptr_t)give_row) &&
              mysql_stmt_execute(stmt) == 0;
  if (!done) db_connection_failed(c, mysql_stmt_errno(stmt), mysql_stmt_error(stmt));
  set(stmt, STMT_ATTR_CB_PARAM, NULL);
  set(stmt, STMT_ATTR_ARRAY_SIZE, &none);
  if (!done) return false;
  c->touched = true;
  if (mysql_stmt_field_count(stmt) == 0) return true;
  c->broken = true; /* rows that nobody reads */
  return db_connection_failed(c, 0, "a bulk statement cannot return rows");
}

/* ---- Packets ---- */

static size_t item_bytes(const bulk *b, size_t index) {
  const char *item = b->items + index * b->schema->struct_size;
  size_t bytes = 0;
  for (size_t i = 0; i < b->schema->field_count; i++) {
    const purlin_field *field = schema_field(b->schema, i);
    const void *member = item + field->offset;
    const char *text = NULL;
    if (field->type == PURLIN_T_TEXT) text = *(const char *const *)member;
    if (field->type == PURLIN_T_OPT_TEXT) text = ((const purlin_opt_text *)member)->value;
    bytes += text ? strlen(text) + 9 : 16;
    if (field->type == PURLIN_T_JSON) bytes += ((const purlin_json *)member)->size;
    if (field->type == PURLIN_T_BYTES) bytes += ((const purlin_bytes *)member)->size;
    if (field->type == PURLIN_T_TEXTS) bytes += ((const purlin_texts *)member)->count * 64;
    if (field->type == PURLIN_T_DOUBLES) bytes += ((const purlin_doubles *)member)->count * 20;
  }
  return bytes;
}

static void choose_packet(bulk *b) {
  size_t bytes = 0;
  b->packet = 0;
  while (b->done + b->packet < b->count && b->packet < PACKET_ROWS && bytes < PACKET_BYTES)
    bytes += item_bytes(b, b->done + b->packet++);
}

static purlin_status send_packet(bulk *b, uint64_t *affected) {
  db_call call;
  purlin_status status = db_call_check(&call, b->ctx, b->sql, strlen(b->sql));
  if (status != PURLIN_OK) return status;
  bulk_row row = {.bulk = b};
  call.count = b->schema->field_count;
  row.values = purlin_alloc_array(b->ctx, call.count, sizeof *row.values);
  b->times = purlin_alloc_array(b->ctx, call.count, sizeof *b->times);
  if (!row.values || !b->times) return PURLIN_TOO_LARGE;
  call.argument = &row;
  status = db_call_execute(&call, execute_packet);
  if (b->no_memory) return purlin_fail(b->ctx, PURLIN_TOO_LARGE, "no memory for the rows");
  if (status == PURLIN_OK) *affected += mysql_stmt_affected_rows(call.statement->stmt);
  if (status == PURLIN_OK) return db_call_end(&call, PURLIN_OK);
  db_instruments_query(status, purlin_ticks_ns() - call.started_ns);
  return status;
}

static purlin_status send_all(purlin_ctx *ctx, void *argument) {
  bulk *b = argument;
  uint64_t affected = 0;
  for (b->done = 0; b->done < b->count; b->done += b->packet) {
    purlin_mark mark = purlin_arena_mark(ctx);
    choose_packet(b);
    purlin_status status = send_packet(b, &affected);
    purlin_arena_reset(ctx, mark);
    if (status != PURLIN_OK) return status;
  }
  ctx->db->affected = affected;
  return PURLIN_OK;
}

purlin_status purlin_db_bulk_(purlin_ctx *ctx, const purlin_schema *schema, const void *items, size_t item_count,
                              const char *sql) {
  if (item_count == 0) return PURLIN_OK;
  bulk b = {.ctx = ctx, .schema = schema, .items = items, .count = item_count, .sql = sql};
  db_session *session = db_session_of(ctx);
  if (!session) return PURLIN_UNAVAILABLE;
  session->bulk = item_count >= MANY_ROWS;
  purlin_status status = db_transact(ctx, send_all, &b);
  session->bulk = false;
  return status;
}
