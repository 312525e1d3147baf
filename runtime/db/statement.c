/* statement.c: preparing, binding, running and fetching. */
#include "db/connection.h"
#include "db/plan.h"

#include <assert.h>
#include <errmsg.h>
#include <mysqld_error.h>
#include <stdlib.h>
#include <string.h>

#include "db/calendar.h"
#include "db/service.h"

#define MOST_UNWANTED_ROWS 2000 /* are read off the wire; of more the server is told to stop */

/* ---- The table: by hash, and a list by last use ---- */

bool db_statements_init(db_statements *statements, size_t most) {
  size_t buckets = 16;
  while (buckets < most) buckets *= 2;
  *statements = (db_statements){.most = most > 0 ? most : 1, .bucket_count = buckets};
  statements->buckets = calloc(buckets, sizeof *statements->buckets);
  return statements->buckets != NULL;
}

static void unlink_statement(db_statements *all, db_statement *s) {
  if (s->newer) s->newer->older = s->older;
  else all->newest = s->older;
  if (s->older) s->older->newer = s->newer;
  else all->oldest = s->newer;
  s->newer = s->older = NULL;
}

static void link_newest(db_statements *all, db_statement *s) {
  s->older = all->newest;
  s->newer = NULL;
  if (all->newest) all->newest->newer = s;
  else all->oldest = s;
  all->newest = s;
}

static void remove_from_bucket(db_statements *all, db_statement *s) {
  db_statement **at = &all->buckets[s->hash & (all->bucket_count - 1)];
  while (*at != s) at = &(*at)->next_of_bucket;
  *at = s->next_of_bucket;
}

static void free_statement(db_statement *s) {
  if (s->stmt) mysql_stmt_close(s->stmt);
  db_plans_free(s->plans);
  free(s->types);
  free(s->cells);
  free(s->sql);
  free(s);
}

void db_statement_drop(db_connection *connection, db_statement *statement) {
  db_statements *all = &connection->statements;
  unlink_statement(all, statement);
  remove_from_bucket(all, statement);
  all->count--;
  free_statement(statement);
}

/* There must be one. */
static void drop_oldest(db_connection *connection) {
  db_statement *oldest = connection->statements.oldest;
  assert(oldest && !oldest->older);
  db_statement_drop(connection, oldest);
}

void db_statements_free(db_statements *statements) {
  for (db_statement *s = statements->newest, *older; s; s = older) {
    older = s->older;
    free_statement(s);
  }
  free(statements->buckets);
  free(statements->binds);
  free(statements->times);
  *statements = (db_statements){0};
}

static db_statement *find(db_statements *all, const char *sql, size_t size, uint64_t hash) {
  db_statement *s = all->buckets[hash & (all->bucket_count - 1)];
  for (; s; s = s->next_of_bucket)
    if (s->hash == hash && s->size == size && memcmp(s->sql, sql, size) == 0) return s;
  return NULL;
}

/* ---- Preparing ---- */

/* Where a cell lies in the packet, and how long it is. */
static size_t length_prefix(unsigned char **at) {
  unsigned char *p = *at;
  switch (p[0]) {
  case 252: *at = p + 3; return (size_t)p[1] | (size_t)p[2] << 8;
  case 253: *at = p + 4; return (size_t)p[1] | (size_t)p[2] << 8 | (size_t)p[3] << 16;
  case 254: {
    uint64_t size;
    memcpy(&size, p + 1, sizeof size);
    *at = p + 9;
    return (size_t)size;
  }
  default: *at = p + 1; return p[0];
  }
}

static size_t fixed_size(uint8_t type) {
  switch (type) {
  case MYSQL_TYPE_TINY: return 1;
  case MYSQL_TYPE_SHORT:
  case MYSQL_TYPE_YEAR: return 2;
  case MYSQL_TYPE_LONG:
  case MYSQL_TYPE_INT24:
  case MYSQL_TYPE_FLOAT: return 4;
  case MYSQL_TYPE_LONGLONG:
  case MYSQL_TYPE_DOUBLE: return 8;
  default: return 0;
  }
}

static void note_cell(void *data, unsigned column, unsigned char **at) {
  db_statement *s = data;
  db_cell *cell = &s->cells[column];
  if (!at) {
    *cell = (db_cell){NULL, 0};
    return;
  }
  cell->size = fixed_size(s->types[column]);
  if (cell->size == 0) cell->size = length_prefix(at);
  cell->data = *at;
  *at += cell->size;
}

static bool note_columns(db_statement *s) {
  MYSQL_FIELD *fields = s->columns ? mariadb_stmt_fetch_fields(s->stmt) : NULL;
  if (s->columns == 0) return true;
  s->types = calloc(s->columns, sizeof *s->types);
  s->cells = calloc(s->columns, sizeof *s->cells);
  if (!fields || !s->types || !s->cells) return false;
  for (unsigned i = 0; i < s->columns; i++) s->types[i] = (uint8_t)fields[i].type;
  return mysql_stmt_attr_set(s->stmt, STMT_ATTR_CB_USER_DATA, s) == 0 &&
         mysql_stmt_attr_set(s->stmt, STMT_ATTR_CB_RESULT, (const void *)(uintptr_t)note_cell) == 0;
}

static db_statement *new_statement(db_connection *connection, const char *sql, size_t size, uint64_t hash) {
  db_statement *s = calloc(1, sizeof *s);
  if (!s) return NULL;
  *s = (db_statement){.connection = connection, .hash = hash, .size = size};
  s->sql = malloc(size + 1);
  s->stmt = mysql_stmt_init(connection->mysql);
  if (!s->sql || !s->stmt) {
    free_statement(s);
    return NULL;
  }
  memcpy(s->sql, sql, size);
  s->sql[size] = '\0';
  return s;
}

/* The server's limit on prepared statements is for all its clients: give back half of ours and try once more. */
static bool prepare_on_server(db_connection *connection, db_statement *s) {
  if (mysql_stmt_prepare(s->stmt, s->sql, s->size) == 0) return true;
  db_connection_failed(connection, mysql_stmt_errno(s->stmt), mysql_stmt_error(s->stmt));
  db_statements *all = &connection->statements;
  if (connection->error != ER_MAX_PREPARED_STMT_COUNT_REACHED || all->count == 0) return false;
  for (size_t half = (all->count + 1) / 2; half > 0; half--) drop_oldest(connection);
  if (mysql_stmt_prepare(s->stmt, s->sql, s->size) == 0) return true;
  return db_connection_failed(connection, mysql_stmt_errno(s->stmt), mysql_stmt_error(s->stmt));
}

db_statement *db_statement_prepare(db_connection *connection, const char *sql, size_t size, uint64_t hash) {
  db_statements *all = &connection->statements;
  db_statement *s = find(all, sql, size, hash);
  if (s) {
    if (all->newest != s) {
      unlink_statement(all, s);
      link_newest(all, s);
    }
    return s;
  }
  while (all->count >= all->most) drop_oldest(connection);
  s = new_statement(connection, sql, size, hash);
  if (!s) {
    db_connection_failed(connection, CR_OUT_OF_MEMORY, "out of memory");
    return NULL;
  }
  if (!prepare_on_server(connection, s)) {
    free_statement(s);
    return NULL;
  }
  s->parameters = (unsigned)mysql_stmt_param_count(s->stmt);
  s->columns = mysql_stmt_field_count(s->stmt);
  if (!note_columns(s)) {
    db_connection_failed(connection, CR_OUT_OF_MEMORY, "out of memory");
    free_statement(s);
    return NULL;
  }
  s->next_of_bucket = all->buckets[hash & (all->bucket_count - 1)];
  all->buckets[hash & (all->bucket_count - 1)] = s;
  link_newest(all, s);
  all->count++;
  return s;
}

/* ---- Running ---- */

void db_statement_bind(const purlin_value *value, MYSQL_BIND *bind, MYSQL_TIME *time) {
  *bind = (MYSQL_BIND){0};
  void *data = (void *)(uintptr_t)value->as.data; /* the connector only reads it */
  switch (value->type) {
  case PURLIN_V_NULL: bind->buffer_type = MYSQL_TYPE_NULL; break;
  case PURLIN_V_INT:
    bind->buffer_type = MYSQL_TYPE_LONGLONG;
    bind->buffer = (void *)(uintptr_t)&value->as.integer;
    break;
  case PURLIN_V_DOUBLE:
    bind->buffer_type = MYSQL_TYPE_DOUBLE;
    bind->buffer = (void *)(uintptr_t)&value->as.number;
    break;
  case PURLIN_V_TEXT:
  case PURLIN_V_BYTES:
    bind->buffer_type = value->type == PURLIN_V_TEXT ? MYSQL_TYPE_STRING : MYSQL_TYPE_BLOB;
    bind->buffer = value->size > 0 ? data : (void *)(uintptr_t) "";
    bind->buffer_length = value->size; /* `length` is NULL: the connector takes this one */
    break;
  case PURLIN_V_TIME:
    calendar_from_us(value->as.integer, time);
    bind->buffer_type = MYSQL_TYPE_DATETIME;
    bind->buffer = time;
    break;
  }
}

static bool make_room(db_statements *all, size_t count) {
  if (count <= all->room) return true;
  size_t room = count < 32 ? 32 : count;
  MYSQL_BIND *binds = realloc(all->binds, room * sizeof *binds);
  if (!binds) return false;
  all->binds = binds;
  MYSQL_TIME *times = realloc(all->times, room * sizeof *times);
  if (!times) return false;
  all->times = times;
  all->room = room;
  return true;
}

/* The server prepares by itself again when a table was altered, and the columns may then be others. The connector keeps the old
 * names with the statement and the new ones with the connection. */
static void notice_alterations(db_statement *s) {
  const MYSQL *mysql = s->connection->mysql;
  const MYSQL_FIELD *old = mariadb_stmt_fetch_fields(s->stmt);
  for (unsigned i = 0; i < s->columns && mysql->fields && mysql->field_count == s->columns; i++) {
    const MYSQL_FIELD *now = &mysql->fields[i];
    bool same = s->types[i] == (uint8_t)now->type && strcmp(now->name, old[i].name) == 0;
    s->types[i] = (uint8_t)now->type;
    if (!same) s->altered = true;
  }
  if (!s->altered) return;
  db_plans_free(s->plans);
  s->plans = NULL;
}

bool db_statement_execute(db_connection *connection, db_statement *statement, const purlin_value *values, size_t count) {
  db_statements *all = &connection->statements;
  if (!make_room(all, count)) return db_connection_failed(connection, CR_OUT_OF_MEMORY, "out of memory");
  for (size_t i = 0; i < count; i++) db_statement_bind(&values[i], &all->binds[i], &all->times[i]);
  if (count > 0 && mysql_stmt_bind_param(statement->stmt, all->binds) != 0)
    return db_connection_failed(connection, mysql_stmt_errno(statement->stmt), mysql_stmt_error(statement->stmt));
  connection->error = 0;
  if (mysql_stmt_execute(statement->stmt) != 0)
    return db_connection_failed(connection, mysql_stmt_errno(statement->stmt), mysql_stmt_error(statement->stmt));
  connection->touched = true;
  if (statement->columns == 0 && mysql_stmt_field_count(statement->stmt) > 0) { /* ... RETURNING tells them only now */
    statement->columns = mysql_stmt_field_count(statement->stmt);
    if (!note_columns(statement)) return db_connection_failed(connection, CR_OUT_OF_MEMORY, "out of memory");
  }
  if (statement->columns > 0) notice_alterations(statement);
  return true;
}

/* ---- Fetching ---- */

db_fetched db_statement_fetch(db_connection *connection, db_statement *statement) {
  int result = mysql_stmt_fetch(statement->stmt);
  if (result == 0) return DB_ROW;
  unsigned error = mysql_stmt_errno(statement->stmt);
  const char *text = mysql_stmt_error(statement->stmt);
  if (error == 0) { /* an error between rows is told on the connection only */
    error = mysql_errno(connection->mysql);
    text = mysql_error(connection->mysql);
  }
  if (result == MYSQL_NO_DATA && error == 0) return DB_END;
  db_connection_failed(connection, error ? error : CR_UNKNOWN_ERROR, text);
  return DB_FAILED;
}

bool db_statement_finish(db_connection *connection, db_statement *statement) {
  for (size_t rows = 0;; rows++) {
    db_fetched fetched = db_statement_fetch(connection, statement);
    if (fetched == DB_END) return true;
    if (fetched == DB_ROW && rows != MOST_UNWANTED_ROWS) continue;
    if (fetched == DB_FAILED) return false;
    if (db_service_kill_query(mysql_thread_id(connection->mysql))) break;
  }
  while (db_statement_fetch(connection, statement) == DB_ROW) {}
  connection->error = 0; /* "interrupted", as was asked for */
  db_connection_absorb_kill(connection);
  return !connection->broken;
}
