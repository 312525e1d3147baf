/* plan.h: from the columns of a statement to the members of a struct.
 *
 * Worked out once per statement and schema: each column is a member of the same name, each required member has a column, and
 * each pair of types has a conversion. Members that are not selected stay absent (zero). */
#ifndef PURLIN_DB_PLAN_H
#define PURLIN_DB_PLAN_H

#include "core/arena.h"
#include "db/statement.h"

/* What a column holds, whatever its exact SQL type. */
typedef enum column_kind {
  COLUMN_NULL,
  COLUMN_INT,
  COLUMN_DOUBLE,
  COLUMN_DECIMAL,
  COLUMN_TEXT,
  COLUMN_BYTES,
  COLUMN_DATE,
  COLUMN_BIT,
  COLUMN_OTHER,
  COLUMN_KINDS
} column_kind;

typedef struct db_column {
  column_kind kind;
  uint8_t type; /* enum_field_types */
  bool is_unsigned;
} db_column;

db_column db_column_of(const MYSQL_FIELD *field);
/* The plain values of cells that are not NULL. False: out of range, not a number. */
bool db_cell_int(const db_column *column, const db_cell *cell, int64_t *value);
bool db_cell_double(const db_column *column, const db_cell *cell, double *value);
bool db_cell_time(const db_cell *cell, int64_t *unix_us);

/* The plan for this schema, made now if need be. NULL: the failure is recorded (PURLIN_INTERNAL). */
const db_plan *db_plan_for(purlin_ctx *ctx, db_statement *statement, const purlin_schema *schema);
/* Converts the statement's current row into *out, which it zeroes; texts go to `memory`. */
PURLIN_CHECKED purlin_status db_plan_read(purlin_ctx *ctx, const db_plan *plan, const db_statement *statement,
                                          arena *memory, void *out);
void db_plans_free(db_plan *plans);

#endif
