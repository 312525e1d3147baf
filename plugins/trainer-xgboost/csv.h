/* csv.h: reads CSV row by row: RFC 4180 with a header line, UTF-8, LF or CRLF, quotes doubled within quotes. Strict: what is
 * malformed is named by line and column. Memory: one row. No threads, no context: runs on a pool. */
#ifndef XGBOOST_CSV_H
#define XGBOOST_CSV_H

#include <purlin/base.h>
#include <stdio.h>

enum { CSV_MOST_COLUMNS = 10000, CSV_LONGEST_ROW = 4 * 1024 * 1024, CSV_ERROR_SIZE = 256 };

typedef struct csv_reader {
  FILE *file;
  int64_t line; /* of the row that is being read, from 1 */
  int64_t next_line;
  char *text; /* the fields of the row, each with its NUL */
  size_t size, capacity;
  size_t *starts; /* where each field begins */
  size_t count, starts_capacity;
  size_t columns; /* of the header; 0 before it was read */
  bool ended;
  char error[CSV_ERROR_SIZE]; /* of CSV_BROKEN */
} csv_reader;

typedef enum csv_result { CSV_ROW, CSV_END, CSV_BROKEN } csv_result;

/* False when the file cannot be opened: `error` says why. Owned: csv_close. */
bool csv_open(csv_reader *reader, const char *path);
/* The next row, the header first. Its fields are borrowed until the next call. */
csv_result csv_next(csv_reader *reader);
const char *csv_field(const csv_reader *reader, size_t index);
void csv_close(csv_reader *reader);

typedef enum csv_value { CSV_NUMBER, CSV_MISSING, CSV_TEXT } csv_value;
/* A field as a number that a float can hold; missing (empty, NA, NaN, nan, null) is NaN. */
csv_value csv_number(const char *field, float *value);

#endif
