/* scan.h: reads CSV once, in pieces of any size, and tells its columns: type, missing values, moments, percentiles. Memory is bounded by
 * the number of columns. Strict: RFC 4180 with a header line; each line has as many fields as the header. */
#ifndef DATASETS_SCAN_H
#define DATASETS_SCAN_H

#include <purlin/purlin.h>

enum {
  SCAN_MOST_COLUMNS = 1000,
  SCAN_LONGEST_FIELD = 4096,
  SCAN_LONGEST_NAME = 250,
  SCAN_SAMPLE = 10000,
  SCAN_QUANTILES = 101
};

typedef struct column {
  const char *name, *type;
  int64_t missing;
  purlin_opt_double minimum, maximum, mean, deviation;
  purlin_doubles quantiles;
} column;
PURLIN_SCHEMA(column, "A column and its statistics",
    PURLIN_REQUIRED(name, "Its name"),
    PURLIN_REQUIRED(type, "number, or text", .choices = "number, text"),
    PURLIN_REQUIRED(missing, "How many rows have no value"),
    PURLIN_OPTIONAL(minimum, "Smallest value"),
    PURLIN_OPTIONAL(maximum, "Largest value"),
    PURLIN_OPTIONAL(mean, "Mean"),
    PURLIN_OPTIONAL(deviation, "Standard deviation"),
    PURLIN_OPTIONAL(quantiles, "The percentiles 0 to 100"));

typedef struct columns {
  PURLIN_LIST_OF(column) columns;
} columns;
PURLIN_SCHEMA(columns, "The columns of a version", PURLIN_LIST(columns, column, "In their order", .max_length = 1000));

typedef struct scan scan;

PURLIN_CHECKED purlin_status scan_begin(purlin_ctx *ctx, scan **out); /* owned: scan_free */
/* PURLIN_INVALID, recorded with the line, as soon as something is wrong. Does not park. */
PURLIN_CHECKED purlin_status scan_feed(purlin_ctx *ctx, scan *s, const char *data, size_t size);
PURLIN_CHECKED purlin_status scan_end(purlin_ctx *ctx, scan *s, columns *out, int64_t *rows); /* out: arena */
void scan_free(scan *s);
/* Whether a text is UTF-8, not empty, and no longer than a name may be. */
bool scan_is_name(const char *text);

#endif
