/* statement.h: prepared statements of one connection, and their rows as raw cells.
 *
 * The binary protocol's rows are not copied into bound buffers: a callback notes where each cell lies in the packet, and
 * the plan (plan.h) converts straight from there into the caller's struct. */
#ifndef PURLIN_DB_STATEMENT_H
#define PURLIN_DB_STATEMENT_H

#include <purlin/database.h>
#include <mysql.h>

typedef struct db_connection db_connection;
typedef struct db_plan db_plan;

typedef struct db_cell {
  const uint8_t *data;
  size_t size;
} db_cell; /* data NULL: the value is NULL */

typedef struct db_statement {
  MYSQL_STMT *stmt;
  db_connection *connection;
  struct db_statement *newer, *older; /* by last use */
  struct db_statement *next_of_bucket;
  uint64_t hash;
  size_t size;
  char *sql;
  unsigned parameters, columns;
  uint8_t *types; /* enum_field_types of the columns, as the last execution told them */
  db_cell *cells; /* of the last fetched row; valid until the next call */
  bool altered;   /* it no longer has the columns that it was prepared with */
  db_plan *plans; /* one per schema that its rows were read into */
} db_statement;

typedef struct db_statements {
  db_statement **buckets; /* a power of two of them */
  size_t bucket_count, count, most;
  db_statement *newest, *oldest;
  MYSQL_BIND *binds; /* room for the parameters of any statement, kept */
  MYSQL_TIME *times;
  size_t room;
} db_statements;

bool db_statements_init(db_statements *statements, size_t most);
/* Forgets them on our side; the server does when the connection closes. Call after mysql_close. */
void db_statements_free(db_statements *statements);

/* The prepared statement for this text, prepared now if need be. NULL: connection->error tells. May park. */
db_statement *db_statement_prepare(db_connection *connection, const char *sql, size_t size, uint64_t hash);
/* Closes one, here and on the server. */
void db_statement_drop(db_connection *connection, db_statement *statement);
/* Binds and runs. False: connection->error tells. `count` must be statement->parameters. May park. */
bool db_statement_execute(db_connection *connection, db_statement *statement, const purlin_value *values, size_t count);

/* The next row into statement->cells. */
typedef enum db_fetched { DB_ROW, DB_END, DB_FAILED } db_fetched;
db_fetched db_statement_fetch(db_connection *connection, db_statement *statement);
/* Reads the rest of the rows off the wire. False: connection->error tells. */
bool db_statement_finish(db_connection *connection, db_statement *statement);

/* One value as the connector wants it; `time` is room for a date. */
void db_statement_bind(const purlin_value *value, MYSQL_BIND *bind, MYSQL_TIME *time);

#endif
