#include "csv.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct csv {
  const char *const *names;
  size_t count;
  csv_row *row;
  void *to;
  size_t *place; /* per column of the file: which chosen one it is, or `count` */
  size_t columns, field, length;
  long long line;
  bool header_done, quoted, after_quote;
  float *values;
  char why[CSV_WHY];
  char text[CSV_LONGEST_FIELD + 1];
};

csv *csv_new(const char *const *names, size_t count, csv_row *row, void *to) {
  csv *c = calloc(1, sizeof *c);
  if (!c) return NULL;
  c->names = names;
  c->count = count;
  c->row = row;
  c->to = to;
  c->line = 1;
  c->values = calloc(count + 1, sizeof *c->values);
  if (c->values) return c;
  csv_free(c);
  return NULL;
}

void csv_free(csv *c) {
  if (!c) return;
  free(c->place);
  free(c->values);
  free(c);
}

const char *csv_why(const csv *c) { return c->why; }

__attribute__((format(printf, 2, 3))) static bool refuse(csv *c, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(c->why, sizeof c->why, format, arguments);
  va_end(arguments);
  return false;
}

static bool end_header_field(csv *c) {
  size_t *grown = realloc(c->place, (c->columns + 1) * sizeof *grown);
  if (!grown) return refuse(c, "out of memory");
  c->place = grown;
  const char *name = c->text;
  if (c->columns == 0 && c->length >= 3 && memcmp(name, "\xef\xbb\xbf", 3) == 0) name += 3;
  size_t at = 0;
  while (at < c->count && strcmp(c->names[at], name) != 0) at++;
  c->place[c->columns++] = at;
  return true;
}

static bool end_field(csv *c) {
  c->text[c->length] = '\0';
  bool fine = true;
  if (!c->header_done) fine = end_header_field(c);
  else if (c->field >= c->columns) fine = refuse(c, "line %lld has more fields than the header", c->line);
  else if (c->place[c->field] < c->count) {
    char *end = c->text;
    float value = c->length ? strtof(c->text, &end) : NAN;
    if (*end != '\0' || (c->length && !isfinite(value)))
      fine = refuse(c, "line %lld: '%.40s' in the column '%.100s' is not a number", c->line, c->text,
                    c->names[c->place[c->field]]);
    c->values[c->place[c->field]] = value;
  }
  c->field++;
  c->length = 0;
  c->after_quote = false;
  return fine;
}

static bool check_header(csv *c) {
  c->header_done = true;
  for (size_t i = 0; i < c->count; i++) {
    size_t at = 0;
    while (at < c->columns && c->place[at] != i) at++;
    if (at == c->columns) return refuse(c, "the dataset has no column '%.100s'", c->names[i]);
  }
  return true;
}

static bool end_line(csv *c) {
  bool empty = c->field == 0 && c->length == 0 && !c->after_quote;
  if (empty && c->columns != 1) return c->line++, true;
  if (!end_field(c)) return false;
  if (!c->header_done) {
    if (!check_header(c)) return false;
  } else {
    if (c->field != c->columns) return refuse(c, "line %lld has fewer fields than the header", c->line);
    if (!c->row(c->to, c->values)) return false;
  }
  c->field = 0;
  c->line++;
  return true;
}

static bool add(csv *c, char byte) {
  if (c->length == CSV_LONGEST_FIELD)
    return refuse(c, "line %lld: a field is longer than %d bytes", c->line, CSV_LONGEST_FIELD);
  c->text[c->length++] = byte;
  return true;
}

static bool take(csv *c, char byte) {
  if (c->quoted) {
    if (byte != '"') return add(c, byte);
    c->quoted = false;
    c->after_quote = true;
    return true;
  }
  switch (byte) {
  case '"': c->quoted = true; return c->after_quote ? add(c, byte) : true; /* "" within quotes */
  case ',': return end_field(c);
  case '\n': return end_line(c);
  case '\r': return true;
  default: return add(c, byte);
  }
}

bool csv_feed(csv *c, const char *data, size_t size) {
  for (size_t i = 0; i < size; i++)
    if (!take(c, data[i])) return false;
  return true;
}

bool csv_end(csv *c) {
  if ((c->field || c->length || c->after_quote) && !end_line(c)) return false;
  return c->header_done || refuse(c, "the dataset is empty");
}
