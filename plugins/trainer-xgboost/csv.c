#include "csv.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static csv_result broken(csv_reader *r, const char *what) {
  (void)snprintf(r->error, sizeof r->error, "line %lld: %s", (long long)r->line, what);
  return CSV_BROKEN;
}

bool csv_open(csv_reader *reader, const char *path) {
  *reader = (csv_reader){.file = fopen(path, "rbe"), .next_line = 1};
  if (reader->file) return true;
  (void)snprintf(reader->error, sizeof reader->error, "cannot open %s: %s", path, strerror(errno));
  return false;
}

void csv_close(csv_reader *reader) {
  if (reader->file) (void)fclose(reader->file);
  free(reader->text);
  free(reader->starts);
  *reader = (csv_reader){0};
}

const char *csv_field(const csv_reader *reader, size_t index) { return reader->text + reader->starts[index]; }

static bool put(csv_reader *r, int c) {
  if (r->size == r->capacity) {
    size_t capacity = r->capacity ? r->capacity * 2 : 4096;
    char *text = capacity <= CSV_LONGEST_ROW ? realloc(r->text, capacity) : NULL;
    if (!text) return false;
    r->text = text;
    r->capacity = capacity;
  }
  r->text[r->size++] = (char)c;
  return true;
}

static bool begin_field(csv_reader *r) {
  if (r->count == r->starts_capacity) {
    size_t capacity = r->starts_capacity ? r->starts_capacity * 2 : 32;
    size_t *starts = capacity <= 2 * CSV_MOST_COLUMNS ? reallocarray(r->starts, capacity, sizeof *starts) : NULL;
    if (!starts) return false;
    r->starts = starts;
    r->starts_capacity = capacity;
  }
  r->starts[r->count++] = r->size;
  return true;
}

static int get(csv_reader *r) {
  int c = getc_unlocked(r->file);
  if (c == '\n') r->next_line++;
  return c;
}

/* After the opening quote: everything to the closing one. Returns what follows it, or an error. */
static csv_result read_quoted(csv_reader *r, int *after) {
  for (;;) {
    int c = get(r);
    if (c == EOF) return broken(r, "a quote is not closed");
    if (c == '"') {
      c = get(r);
      if (c != '"') {
        *after = c;
        bool ends = c == ',' || c == '\n' || c == '\r' || c == EOF;
        return ends ? CSV_ROW : broken(r, "text follows a closing quote");
      }
    }
    if (c == '\0') return broken(r, "holds a NUL byte");
    if (!put(r, c)) return broken(r, "the row is too long");
  }
}

/* One field and what ended it: ',', '\n' or EOF. */
static csv_result read_field(csv_reader *r, int *end) {
  if (!begin_field(r)) return broken(r, "too many columns");
  int c = get(r);
  if (c == '"') {
    csv_result result = read_quoted(r, &c);
    if (result != CSV_ROW) return result;
  } else {
    for (; c != ',' && c != '\n' && c != '\r' && c != EOF; c = get(r)) {
      if (c == '"') return broken(r, "a quote in a field that is not quoted");
      if (c == '\0') return broken(r, "holds a NUL byte");
      if (!put(r, c)) return broken(r, "the row is too long");
    }
  }
  if (c == '\r' && (c = get(r)) != '\n') return broken(r, "a carriage return without a line feed");
  *end = c;
  return put(r, '\0') ? CSV_ROW : broken(r, "the row is too long");
}

static void skip_byte_order_mark(csv_reader *r) {
  static const int mark[] = {0xef, 0xbb, 0xbf};
  int c = getc_unlocked(r->file);
  if (c != mark[0]) {
    if (c != EOF) (void)ungetc(c, r->file);
    return;
  }
  if (getc_unlocked(r->file) != mark[1] || getc_unlocked(r->file) != mark[2]) (void)fseek(r->file, 0, SEEK_SET);
}

static csv_result check_row(csv_reader *r) {
  if (r->columns == 0) {
    r->columns = r->count;
    return CSV_ROW;
  }
  if (r->count == r->columns) return CSV_ROW;
  (void)snprintf(r->error, sizeof r->error, "line %lld: %zu fields, the header has %zu", (long long)r->line, r->count,
                 r->columns);
  return CSV_BROKEN;
}

csv_result csv_next(csv_reader *reader) {
  if (reader->ended) return CSV_END;
  if (reader->columns == 0) skip_byte_order_mark(reader);
  int end = ',';
  reader->size = 0;
  reader->count = 0;
  reader->line = reader->next_line;
  while (end == ',') {
    csv_result result = read_field(reader, &end);
    if (result != CSV_ROW) return result;
  }
  reader->ended = end == EOF;
  if (end == EOF && ferror(reader->file)) return broken(reader, strerror(errno));
  bool empty = reader->count == 1 && reader->text[0] == '\0';
  /* The end of a file that ends with a line feed is no row; in a file of one column an empty line is a missing value. */
  if (empty && end == EOF) return CSV_END;
  return check_row(reader);
}

csv_value csv_number(const char *field, float *value) {
  static const char *const missing[] = {"", "NA", "NaN", "nan", "null"};
  *value = NAN;
  for (size_t i = 0; i < sizeof missing / sizeof missing[0]; i++)
    if (strcmp(field, missing[i]) == 0) return CSV_MISSING;
  if (field[strspn(field, "0123456789+-.eE")] != '\0') return CSV_TEXT; /* no blanks, no hexadecimal, no "inf" */
  char *end = NULL;
  float number = strtof(field, &end);
  if (end == field || *end != '\0' || !isfinite(number)) return CSV_TEXT;
  *value = number;
  return CSV_NUMBER;
}
