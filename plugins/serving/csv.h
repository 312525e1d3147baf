/* csv.h: chosen columns out of CSV that a dataset's upload has checked (RFC 4180, a header line), fed in pieces of any size. */
#ifndef SERVING_CSV_H
#define SERVING_CSV_H

#include <stdbool.h>
#include <stddef.h>

enum { CSV_LONGEST_FIELD = 4096, CSV_WHY = 300 };

/* A row's chosen columns, NaN where there is no value; false stops the reading. */
typedef bool csv_row(void *to, const float *values);

typedef struct csv csv;
/* NULL without memory. Owned: csv_free. `names` borrowed until then. */
csv *csv_new(const char *const *names, size_t count, csv_row *row, void *to);
/* False: `csv_why` tells, or the row function stopped (then it is ""). */
bool csv_feed(csv *c, const char *data, size_t size);
bool csv_end(csv *c);
const char *csv_why(const csv *c);
void csv_free(csv *c);

#endif
