#include "scan.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct gathered {
  char *name;
  int64_t missing, numbers;
  bool text;                              /* some value is not a number */
  double minimum, maximum, mean, squares; /* Welford */
  double *sample;                         /* a uniform sample of SCAN_SAMPLE values */
} gathered;

typedef enum scan_state { AT_FIELD, IN_PLAIN, IN_QUOTED, AFTER_QUOTE } scan_state;

struct scan {
  scan_state state;
  bool carriage; /* the last byte was a CR outside quotes */
  bool header_done;
  int64_t line, rows;
  size_t field, columns; /* index of the field being read; how many the header had */
  size_t length;
  uint64_t random;
  gathered *items;
  char value[SCAN_LONGEST_FIELD + 1];
};

purlin_status scan_begin(purlin_ctx *ctx, scan **out) {
  scan *s = calloc(1, sizeof *s);
  if (s) s->items = calloc(SCAN_MOST_COLUMNS, sizeof *s->items);
  if (!s || !s->items) {
    free(s);
    return purlin_fail(ctx, PURLIN_UNAVAILABLE, "out of memory");
  }
  s->line = 1;
  s->random = UINT64_C(0x9e3779b97f4a7c15);
  *out = s;
  return PURLIN_OK;
}

void scan_free(scan *s) {
  if (!s) return;
  for (size_t i = 0; i < SCAN_MOST_COLUMNS; i++) {
    free(s->items[i].name);
    free(s->items[i].sample);
  }
  free(s->items);
  free(s);
}

/* xorshift: a sample has to be uniform, not unpredictable; a fixed seed makes the same bytes give the same statistics. */
static uint64_t next_random(scan *s) {
  s->random ^= s->random << 13;
  s->random ^= s->random >> 7;
  s->random ^= s->random << 17;
  return s->random;
}

static bool add_number(scan *s, gathered *g, double value) {
  g->numbers++;
  if (g->numbers == 1 || value < g->minimum) g->minimum = value;
  if (g->numbers == 1 || value > g->maximum) g->maximum = value;
  double delta = value - g->mean;
  g->mean += delta / (double)g->numbers;
  g->squares += delta * (value - g->mean);
  if (!g->sample && !(g->sample = malloc(SCAN_SAMPLE * sizeof *g->sample))) return false;
  uint64_t place = (uint64_t)g->numbers - 1;
  if (place >= SCAN_SAMPLE) place = next_random(s) % (uint64_t)g->numbers;
  if (place < SCAN_SAMPLE) g->sample[place] = value;
  return true;
}

/* How many bytes the character at `p` has; 0: this is no UTF-8 (overlong forms, halves of pairs and beyond U+10FFFF are none). */
static size_t character(const unsigned char *p) {
  if (p[0] < 0x80) return 1;
  size_t size = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
  if (p[0] < 0xc2 || p[0] > 0xf4) return 0;
  for (size_t i = 1; i < size; i++)
    if ((p[i] & 0xc0) != 0x80) return 0;
  bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
  bool outside = (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf4 && p[1] > 0x8f);
  return overlong || outside ? 0 : size;
}

bool scan_is_name(const char *text) {
  size_t size = strlen(text);
  if (size == 0 || size > SCAN_LONGEST_NAME) return false;
  for (size_t at = 0, step; at < size; at += step)
    if ((step = character((const unsigned char *)text + at)) == 0) return false;
  return true;
}

static purlin_status end_header_field(purlin_ctx *ctx, scan *s) {
  if (s->columns == SCAN_MOST_COLUMNS)
    return purlin_fail(ctx, PURLIN_INVALID, "line 1: more than %d columns", SCAN_MOST_COLUMNS);
  const char *name = s->value;
  if (s->columns == 0 && s->length >= 3 && memcmp(name, "\xef\xbb\xbf", 3) == 0) name += 3; /* a byte order mark */
  if (*name == '\0') return purlin_fail(ctx, PURLIN_INVALID, "line 1: column %zu has no name", s->columns + 1);
  if (!scan_is_name(name))
    return purlin_fail(ctx, PURLIN_INVALID, "line 1: the name of column %zu is not UTF-8, or longer than %d bytes",
                       s->columns + 1, SCAN_LONGEST_NAME);
  for (size_t i = 0; i < s->columns; i++)
    if (strcmp(s->items[i].name, name) == 0)
      return purlin_fail(ctx, PURLIN_INVALID, "line 1: two columns are named '%s'", name);
  s->items[s->columns].name = strdup(name);
  if (!s->items[s->columns++].name) return purlin_fail(ctx, PURLIN_UNAVAILABLE, "out of memory");
  return PURLIN_OK;
}

static purlin_status end_field(purlin_ctx *ctx, scan *s) {
  s->value[s->length] = '\0';
  purlin_status status = PURLIN_OK;
  if (!s->header_done) {
    status = end_header_field(ctx, s);
  } else if (s->field >= s->columns) {
    status = purlin_fail(ctx, PURLIN_INVALID, "line %lld: more than the %zu fields of the header", (long long)s->line,
                         s->columns);
  } else if (s->length == 0) {
    s->items[s->field].missing++;
  } else if (!s->items[s->field].text) {
    char *end = NULL;
    double value = strtod(s->value, &end);
    if (*end != '\0' || !isfinite(value)) s->items[s->field].text = true;
    else if (!add_number(s, &s->items[s->field], value)) status = purlin_fail(ctx, PURLIN_UNAVAILABLE, "out of memory");
  }
  s->field++;
  s->length = 0;
  s->state = AT_FIELD;
  return status;
}

static purlin_status end_line(purlin_ctx *ctx, scan *s) {
  bool empty = s->field == 0 && s->length == 0 && s->state == AT_FIELD;
  if (empty && (s->header_done ? s->columns != 1 : true)) {
    s->line++; /* an empty line is no row */
    return PURLIN_OK;
  }
  purlin_status status = end_field(ctx, s);
  if (status != PURLIN_OK) return status;
  if (s->header_done && s->field != s->columns)
    return purlin_fail(ctx, PURLIN_INVALID, "line %lld: expected %zu fields, found %zu", (long long)s->line, s->columns,
                       s->field);
  if (s->header_done) s->rows++;
  s->header_done = true;
  s->field = 0;
  s->line++;
  return PURLIN_OK;
}

static purlin_status add_byte(purlin_ctx *ctx, scan *s, char byte) {
  if (s->length == SCAN_LONGEST_FIELD)
    return purlin_fail(ctx, PURLIN_INVALID, "line %lld: field %zu is longer than %d bytes", (long long)s->line,
                       s->field + 1, SCAN_LONGEST_FIELD);
  if (byte == '\0') return purlin_fail(ctx, PURLIN_INVALID, "line %lld: a NUL byte; is this text?", (long long)s->line);
  s->value[s->length++] = byte;
  return PURLIN_OK;
}

static purlin_status take(purlin_ctx *ctx, scan *s, char byte) {
  if (s->state == IN_QUOTED) {
    if (byte == '"') s->state = AFTER_QUOTE;
    else return add_byte(ctx, s, byte);
    return PURLIN_OK;
  }
  if (s->state == AFTER_QUOTE && byte == '"') {
    s->state = IN_QUOTED;
    return add_byte(ctx, s, byte);
  }
  bool after_carriage = s->carriage;
  s->carriage = byte == '\r';
  if (byte == '\r')
    return after_carriage ? purlin_fail(ctx, PURLIN_INVALID, "line %lld: a stray carriage return", (long long)s->line)
                          : PURLIN_OK;
  if (byte == '\n') return end_line(ctx, s);
  if (after_carriage) return purlin_fail(ctx, PURLIN_INVALID, "line %lld: a stray carriage return", (long long)s->line);
  if (byte == ',') return end_field(ctx, s);
  if (s->state == AFTER_QUOTE)
    return purlin_fail(ctx, PURLIN_INVALID, "line %lld: text after a closing quote", (long long)s->line);
  if (byte == '"' && s->state == AT_FIELD) {
    s->state = IN_QUOTED;
    return PURLIN_OK;
  }
  if (byte == '"')
    return purlin_fail(ctx, PURLIN_INVALID, "line %lld: a quote inside a field without quotes", (long long)s->line);
  s->state = IN_PLAIN;
  return add_byte(ctx, s, byte);
}

purlin_status scan_feed(purlin_ctx *ctx, scan *s, const char *data, size_t size) {
  for (size_t i = 0; i < size; i++) {
    purlin_status status = take(ctx, s, data[i]);
    if (status != PURLIN_OK) return status;
  }
  return PURLIN_OK;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static bool percentiles(purlin_ctx *ctx, gathered *g, purlin_doubles *out) {
  size_t count = g->numbers < SCAN_SAMPLE ? (size_t)g->numbers : SCAN_SAMPLE;
  double *values = purlin_alloc_array(ctx, SCAN_QUANTILES, sizeof *values);
  if (!values) return false;
  qsort(g->sample, count, sizeof *g->sample, by_value);
  for (size_t i = 0; i < SCAN_QUANTILES; i++) values[i] = g->sample[(count - 1) * i / (SCAN_QUANTILES - 1)];
  values[0] = g->minimum;
  values[SCAN_QUANTILES - 1] = g->maximum;
  *out = (purlin_doubles){values, SCAN_QUANTILES};
  return true;
}

static bool describe(purlin_ctx *ctx, gathered *g, column *out) {
  *out = (column){.name = purlin_copy(ctx, g->name), .type = g->text ? "text" : "number", .missing = g->missing};
  if (!out->name) return false;
  if (g->text || g->numbers == 0) return true;
  out->minimum = (purlin_opt_double){PURLIN_SET, g->minimum};
  out->maximum = (purlin_opt_double){PURLIN_SET, g->maximum};
  out->mean = (purlin_opt_double){PURLIN_SET, g->mean};
  out->deviation = (purlin_opt_double){PURLIN_SET, g->numbers > 1 ? sqrt(g->squares / (double)(g->numbers - 1)) : 0};
  return percentiles(ctx, g, &out->quantiles);
}

purlin_status scan_end(purlin_ctx *ctx, scan *s, columns *out, int64_t *rows) {
  if (s->state == IN_QUOTED)
    return purlin_fail(ctx, PURLIN_INVALID, "line %lld: a quote is not closed", (long long)s->line);
  purlin_status status =
      s->field || s->length || s->state != AT_FIELD ? end_line(ctx, s) : PURLIN_OK; /* no newline at the end */
  if (status != PURLIN_OK) return status;
  if (!s->header_done) return purlin_fail(ctx, PURLIN_INVALID, "the file is empty; expected CSV with a header line");
  if (s->rows == 0) return purlin_fail(ctx, PURLIN_INVALID, "there is a header line and no row");
  column *items = purlin_alloc_array(ctx, s->columns, sizeof *items);
  if (!items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < s->columns; i++)
    if (!describe(ctx, &s->items[i], &items[i])) return PURLIN_TOO_LARGE;
  out->columns.items = items;
  out->columns.count = s->columns;
  *rows = s->rows;
  return PURLIN_OK;
}
