/* cell.c: values of the binary protocol as plain C values. */
#include "db/plan.h"

#include <math.h>
#include <string.h>

#include "core/text.h"
#include "db/calendar.h"

#define BINARY_CHARACTER_SET 63

db_column db_column_of(const MYSQL_FIELD *field) {
  db_column column = {.type = (uint8_t)field->type, .is_unsigned = (field->flags & UNSIGNED_FLAG) != 0};
  switch (field->type) {
  case MYSQL_TYPE_NULL: column.kind = COLUMN_NULL; break;
  case MYSQL_TYPE_TINY:
  case MYSQL_TYPE_SHORT:
  case MYSQL_TYPE_YEAR:
  case MYSQL_TYPE_INT24:
  case MYSQL_TYPE_LONG:
  case MYSQL_TYPE_LONGLONG: column.kind = COLUMN_INT; break;
  case MYSQL_TYPE_FLOAT:
  case MYSQL_TYPE_DOUBLE: column.kind = COLUMN_DOUBLE; break;
  case MYSQL_TYPE_DECIMAL:
  case MYSQL_TYPE_NEWDECIMAL: column.kind = COLUMN_DECIMAL; break;
  case MYSQL_TYPE_DATE:
  case MYSQL_TYPE_DATETIME:
  case MYSQL_TYPE_TIMESTAMP: column.kind = COLUMN_DATE; break;
  case MYSQL_TYPE_BIT: column.kind = COLUMN_BIT; break;
  case MYSQL_TYPE_TIME:
  case MYSQL_TYPE_GEOMETRY: column.kind = COLUMN_OTHER; break;
  default: column.kind = field->charsetnr == BINARY_CHARACTER_SET ? COLUMN_BYTES : COLUMN_TEXT; break;
  }
  return column;
}

static bool whole(double number, int64_t *value) {
  const double lowest = (double)INT64_MIN; /* exact: a power of two; the highest is just below its opposite */
  if (number != floor(number) || number < lowest || number >= -lowest) return false;
  *value = (int64_t)number;
  return true;
}

static bool int_of_bits(const db_cell *cell, int64_t *value) {
  uint64_t bits = 0;
  for (size_t i = 0; i < cell->size && i < 8; i++) bits = bits << 8 | cell->data[i];
  *value = (int64_t)bits;
  return bits <= INT64_MAX;
}

/* "12" and "12.000" are whole; COUNT, SUM and ROUND come as such. */
static bool int_of_decimal(const db_cell *cell, int64_t *value) {
  const char *text = (const char *)cell->data;
  const char *point = memchr(text, '.', cell->size);
  size_t size = point ? (size_t)(point - text) : cell->size;
  for (size_t i = size + 1; i < cell->size; i++)
    if (text[i] != '0') return false;
  return text_to_int(text, size, value);
}

static bool int_of_integer(const db_column *column, const db_cell *cell, int64_t *value) {
  uint64_t bits = 0;
  memcpy(&bits, cell->data, cell->size); /* little endian, as both our architectures */
  if (column->is_unsigned || column->type == MYSQL_TYPE_YEAR) {
    *value = (int64_t)bits;
    return bits <= INT64_MAX;
  }
  unsigned shift = (unsigned)(8 - cell->size) * 8;
  *value = (int64_t)(bits << shift) >> shift;
  return true;
}

static double double_of(const db_column *column, const db_cell *cell) {
  if (column->type == MYSQL_TYPE_FLOAT) {
    float number;
    memcpy(&number, cell->data, sizeof number);
    return (double)number;
  }
  double number;
  memcpy(&number, cell->data, sizeof number);
  return number;
}

bool db_cell_int(const db_column *column, const db_cell *cell, int64_t *value) {
  switch (column->kind) {
  case COLUMN_INT: return int_of_integer(column, cell, value);
  case COLUMN_DECIMAL: return int_of_decimal(cell, value);
  case COLUMN_DOUBLE: return whole(double_of(column, cell), value);
  case COLUMN_BIT: return int_of_bits(cell, value);
  default: return false;
  }
}

bool db_cell_double(const db_column *column, const db_cell *cell, double *value) {
  int64_t integer;
  switch (column->kind) {
  case COLUMN_DOUBLE: *value = double_of(column, cell); return true;
  case COLUMN_DECIMAL: return text_to_double((const char *)cell->data, cell->size, value);
  case COLUMN_INT:
    if (column->is_unsigned && cell->size == 8) {
      uint64_t bits;
      memcpy(&bits, cell->data, sizeof bits);
      *value = (double)bits;
      return true;
    }
    if (!int_of_integer(column, cell, &integer)) return false;
    *value = (double)integer;
    return true;
  default: return false;
  }
}

/* Length 0 is the zero date, 4 a date, 7 with a time, 11 with microseconds. */
bool db_cell_time(const db_cell *cell, int64_t *unix_us) {
  const uint8_t *d = cell->data;
  *unix_us = 0;
  if (cell->size < 4) return cell->size == 0;
  unsigned year = d[0] | (unsigned)d[1] << 8;
  if (year == 0 || d[2] == 0 || d[3] == 0) return false;
  int64_t seconds = calendar_days(year, d[2], d[3]) * 86400;
  if (cell->size >= 7) seconds += d[4] * 3600 + d[5] * 60 + d[6];
  uint32_t microseconds = 0;
  if (cell->size >= 11) memcpy(&microseconds, d + 7, sizeof microseconds);
  *unix_us = seconds * 1000000 + microseconds;
  return true;
}
