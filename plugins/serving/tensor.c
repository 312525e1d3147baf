#include "tensor.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 100 };

typedef struct text {
  const char *data;
  size_t size;
} text;

typedef struct scanner {
  const char *start, *at, *end; /* *end is NUL */
  const tensor_columns *columns;
  tensor_memory memory;
  tensor_request *out;
  uint8_t *given; /* per column: its tensor came */
  size_t given_count;
  bool matrix;
  char *why;
} scanner;

typedef struct tensor {
  text name, datatype;
  size_t shape[2], rank;
  bool has_shape;
  const char *data; /* where it begins, when it came before the shape */
  size_t column;    /* which one it is; columns->count: the matrix */
  size_t rows;
} tensor;

__attribute__((format(printf, 2, 3))) static bool refuse(scanner *s, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(s->why, TENSOR_WHY, format, arguments);
  va_end(arguments);
  return false;
}

static bool malformed(scanner *s, const char *expected) {
  if (s->at >= s->end) (void)refuse(s, "the JSON ends early; expected %s", expected);
  else (void)refuse(s, "byte %zu of the JSON: expected %s", (size_t)(s->at - s->start) + 1, expected);
  return false;
}

/* ---- Words of JSON ------------------------------------------------------------------------------------------------------------------- */

static inline void space(scanner *s) {
  while (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t') s->at++;
}

static inline bool take(scanner *s, char byte) {
  space(s);
  if (*s->at != byte) return false;
  s->at++;
  return true;
}

/* A string's inside, escapes as they are. */
static bool raw_string(scanner *s, text *out, bool *escaped) {
  if (!take(s, '"')) return malformed(s, "a string");
  const char *from = s->at;
  *escaped = false;
  while (*s->at != '"') {
    if ((unsigned char)*s->at < 0x20) return malformed(s, "the end of a string");
    if (*s->at == '\\') {
      *escaped = true;
      s->at++;
      if ((unsigned char)*s->at < 0x20) return malformed(s, "an escape");
    }
    s->at++;
  }
  *out = (text){from, (size_t)(s->at - from)};
  s->at++;
  return true;
}

static int hex(char c) {
  return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool unit(const char *from, const char *end, uint32_t *out) {
  *out = 0;
  for (int i = 0; i < 4; i++) {
    int digit = from + i < end ? hex(from[i]) : -1;
    if (digit < 0) return false;
    *out = *out << 4 | (uint32_t)digit;
  }
  return true;
}

static char *put_utf8(char *to, uint32_t c) {
  if (c < 0x80) *to++ = (char)c;
  else if (c < 0x800) *to++ = (char)(0xc0 | c >> 6), *to++ = (char)(0x80 | (c & 0x3f));
  else if (c < 0x10000)
    *to++ = (char)(0xe0 | c >> 12), *to++ = (char)(0x80 | (c >> 6 & 0x3f)), *to++ = (char)(0x80 | (c & 0x3f));
  else
    *to++ = (char)(0xf0 | c >> 18), *to++ = (char)(0x80 | (c >> 12 & 0x3f)), *to++ = (char)(0x80 | (c >> 6 & 0x3f)),
    *to++ = (char)(0x80 | (c & 0x3f));
  return to;
}

/* "\u00e9" to its bytes: clients escape column names that are not ASCII. */
static bool unescape(scanner *s, text *value) {
  char *to = s->memory.take(s->memory.from, value->size + 1), *begin = to;
  if (!to) return refuse(s, "the request needs too much memory");
  const char *from = value->data, *end = from + value->size;
  while (from < end) {
    if (*from != '\\') {
      *to++ = *from++;
      continue;
    }
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    const char *known = strchr(letters, from[1]);
    uint32_t c = 0, low = 0;
    if (known && from[1]) {
      *to++ = meanings[known - letters];
      from += 2;
      continue;
    }
    if (from[1] != 'u' || !unit(from + 2, end, &c)) return refuse(s, "a string has an escape that is not JSON's");
    from += 6;
    if (c >= 0xd800 && c < 0xdc00 && end - from >= 6 && from[0] == '\\' && from[1] == 'u' && unit(from + 2, end, &low) &&
        low >= 0xdc00 && low < 0xe000) {
      c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
      from += 6;
    }
    to = put_utf8(to, c);
  }
  *value = (text){begin, (size_t)(to - begin)};
  return true;
}

static bool string(scanner *s, text *out) {
  bool escaped = false;
  return raw_string(s, out, &escaped) && (!escaped || unescape(s, out));
}

static bool equal(text a, const char *b) { return strlen(b) == a.size && memcmp(a.data, b, a.size) == 0; }

/* What nobody needs here; brackets must match. */
static bool skip(scanner *s) {
  char open[DEEPEST];
  size_t depth = 0;
  do {
    space(s);
    char c = *s->at;
    text ignored;
    bool escaped;
    if (c == '"') {
      if (!raw_string(s, &ignored, &escaped)) return false;
    } else if (c == '{' || c == '[') {
      if (depth == DEEPEST) return refuse(s, "the JSON is nested more than %d deep", DEEPEST);
      open[depth++] = c == '{' ? '}' : ']';
      s->at++;
    } else if (c == '}' || c == ']') {
      if (depth == 0 || open[depth - 1] != c) return malformed(s, "a value");
      depth--;
      s->at++;
    } else if (depth > 0 && (c == ',' || c == ':')) {
      s->at++;
    } else {
      const char *from = s->at;
      while ((*s->at >= '0' && *s->at <= '9') || (*s->at >= 'a' && *s->at <= 'z') || (*s->at >= 'A' && *s->at <= 'Z') ||
             *s->at == '-' || *s->at == '+' || *s->at == '.')
        s->at++;
      if (s->at == from) return malformed(s, "a value");
    }
  } while (depth > 0);
  return true;
}

/* ---- Numbers ----------------------------------------------------------------------------------------------------------------------------- */

static const double POWERS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static inline bool digit(char c) { return c >= '0' && c <= '9'; }

static bool slow_number(scanner *s, const char *from, double *out) {
  char *end = NULL;
  *out = strtod(from, &end);
  s->at = end;
  return end != from;
}

/* Exact for up to 2^53 and powers of ten up to 22, as nearly all numbers are; the library does the rest. */
static bool number(scanner *s, double *out) {
  const char *from = s->at, *p = from;
  bool negative = *p == '-';
  if (negative) p++;
  if (!digit(*p)) return malformed(s, "a number");
  if (*p == '0' && digit(p[1])) return malformed(s, "a number without a leading 0");
  uint64_t mantissa = 0;
  int digits = 0, exponent = 0;
  for (; digit(*p); p++, digits++) mantissa = mantissa * 10 + (uint64_t)(*p - '0');
  if (*p == '.') {
    if (!digit(*++p)) return malformed(s, "digits after a point");
    for (; digit(*p); p++, digits++, exponent--) mantissa = mantissa * 10 + (uint64_t)(*p - '0');
  }
  if (*p == 'e' || *p == 'E') {
    p++;
    bool minus = *p == '-';
    if (*p == '-' || *p == '+') p++;
    if (!digit(*p)) return malformed(s, "digits in an exponent");
    int value = 0;
    for (; digit(*p); p++) value = value < 10000 ? value * 10 + (*p - '0') : value;
    exponent += minus ? -value : value;
  }
  if (digits > 19 || mantissa > (UINT64_C(1) << 53) || exponent < -22 || exponent > 22) return slow_number(s, from, out);
  double value = (double)mantissa;
  value = exponent < 0 ? value / POWERS[-exponent] : value * POWERS[exponent];
  *out = negative ? -value : value;
  s->at = p;
  return true;
}

static bool word(scanner *s, const char *expected) {
  size_t size = strlen(expected);
  if ((size_t)(s->end - s->at) < size || memcmp(s->at, expected, size) != 0) return false;
  s->at += size;
  return true;
}

typedef enum literal { A_NUMBER, A_FLAG, NOTHING } literal;

static bool value(scanner *s, float *out, double *read, literal *kind) {
  char c = *s->at;
  *kind = A_NUMBER;
  *read = 0;
  if (c == 'n' && word(s, "null")) return *out = NAN, *kind = NOTHING, true;
  if (c == 'N' && word(s, "NaN")) return *out = NAN, *kind = NOTHING, true;
  if (c == 't' && word(s, "true")) return *read = *out = 1, *kind = A_FLAG, true;
  if (c == 'f' && word(s, "false")) return *out = 0, *kind = A_FLAG, true;
  if (!number(s, read)) return false;
  *out = (float)*read;
  if (isinf(*out)) return refuse(s, "a value is out of the range of FP32: %.30g", *read);
  return true;
}

/* ---- Rules -------------------------------------------------------------------------------------------------------------------------- */

tensor_rule tensor_rule_of(const char *datatype) {
  static const tensor_rule rules[] = {
      {TENSOR_FLAG_COLUMN, 0, 1, "BOOL", false},
      {TENSOR_WHOLE_COLUMN, -128, 127, "INT8", false},
      {TENSOR_WHOLE_COLUMN, -32768, 32767, "INT16", false},
      {TENSOR_WHOLE_COLUMN, -2147483648.0, 2147483647.0, "INT32", false},
      {TENSOR_WHOLE_COLUMN, -9223372036854775808.0, 9223372036854775807.0, "INT64", false},
      {TENSOR_WHOLE_COLUMN, 0, 255, "UINT8", false},
      {TENSOR_WHOLE_COLUMN, 0, 65535, "UINT16", false},
      {TENSOR_WHOLE_COLUMN, 0, 4294967295.0, "UINT32", false},
      {TENSOR_WHOLE_COLUMN, 0, 18446744073709551615.0, "UINT64", false},
      {TENSOR_FLOAT_COLUMN, 0, 0, "FP64", false},
  };
  for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
    if (strcmp(rules[i].datatype, datatype) == 0) return rules[i];
  return (tensor_rule){.kind = TENSOR_FLOAT_COLUMN, .datatype = "FP32"};
}

static bool check_value(scanner *s, size_t column, double read, literal kind) {
  const tensor_rule *rule = &s->columns->rules[column];
  const char *name = s->columns->names[column];
  if (rule->kind == TENSOR_FLOAT_COLUMN)
    return kind != A_FLAG || refuse(s, "the column '%s' takes numbers (%s), not true and false", name, rule->datatype);
  if (kind == NOTHING)
    return rule->optional || refuse(s, "a value is missing in the column '%s', which must have all", name);
  if (rule->kind == TENSOR_FLAG_COLUMN)
    return kind == A_FLAG || read == 0 || read == 1 ||
           refuse(s, "the column '%s' takes true and false (BOOL), not %.15g", name, read);
  if (kind == A_FLAG)
    return refuse(s, "the column '%s' takes whole numbers (%s), not true and false", name, rule->datatype);
  if (read != floor(read) || read < rule->least || read > rule->most)
    return refuse(s, "the column '%s' takes whole numbers (%s), not %.15g", name, rule->datatype, read);
  return true;
}

/* Of a column's own tensor. */
static bool check_column_datatype(scanner *s, text datatype, size_t column) {
  if (!s->columns->rules) return true;
  const tensor_rule *rule = &s->columns->rules[column];
  bool flag = equal(datatype, "BOOL"), number = datatype.size > 2 && datatype.data[0] == 'F';
  bool fits = rule->kind == TENSOR_FLAG_COLUMN ? flag : !flag && (rule->kind == TENSOR_FLOAT_COLUMN || !number);
  return fits || refuse(s, "the column '%s' is %s and does not take %.*s", s->columns->names[column], rule->datatype,
                        (int)datatype.size, datatype.data);
}

/* ---- Data ----------------------------------------------------------------------------------------------------------------------------------- */

typedef struct target {
  float *values;
  size_t stride, count, width;
  size_t column; /* the one that this is; columns->count: all, one after the other */
} target;

/* One value; where it is none, which column's it would have been is said first. */
static bool one_value(scanner *s, const target *to, size_t index) {
  size_t columns = s->columns->count, column = to->column < columns ? to->column : index % columns;
  double read;
  literal kind;
  if (value(s, &to->values[index * to->stride], &read, &kind))
    return !s->columns->rules || check_value(s, column, read, kind);
  char what[TENSOR_WHY];
  (void)memccpy(what, s->why, 0, sizeof what);
  return refuse(s, "the column '%.100s', row %zu: %.250s", s->columns->names[column],
                (to->column < columns ? index : index / columns) + 1, what);
}

/* Flat, or nested once with `width` values each. */
static bool data(scanner *s, const target *to) {
  size_t count = 0;
  bool nested = false;
  if (!take(s, '[')) return malformed(s, "the data, a list");
  space(s);
  if (*s->at == '[') nested = true;
  if (*s->at == ']') return s->at++, to->count == 0 || refuse(s, "the data has no values, the shape says %zu", to->count);
  for (;;) {
    size_t before = count;
    if (nested && !take(s, '[')) return malformed(s, "[, as rows before it");
    do {
      space(s);
      if (count == to->count) return refuse(s, "the data has more values than the %zu of the shape", to->count);
      if (!one_value(s, to, count++)) return false;
    } while (take(s, ','));
    if (!take(s, ']')) return malformed(s, ", or ]");
    if (!nested) break;
    if (count - before != to->width)
      return refuse(s, "a row of the data has %zu values, the shape says %zu", count - before, to->width);
    if (take(s, ']')) break;
    if (!take(s, ',')) return malformed(s, ", or ]");
  }
  return count == to->count || refuse(s, "the data has %zu values, the shape says %zu", count, to->count);
}

/* ---- Tensors ----------------------------------------------------------------------------------------------------------------------------------- */

static bool shape(scanner *s, tensor *t) {
  if (!take(s, '[')) return malformed(s, "the shape, a list");
  do {
    double size = 0;
    space(s);
    if (t->rank == 2) return refuse(s, "the shape has more than two dimensions");
    if (!number(s, &size)) return false;
    if (!(size >= 0 && size <= (double)TENSOR_MOST_VALUES) || size != floor(size))
      return refuse(s, "a dimension of the shape is %.15g; whole numbers from 0 to %d are taken", size, TENSOR_MOST_VALUES);
    t->shape[t->rank++] = (size_t)size;
  } while (take(s, ','));
  t->has_shape = true;
  return take(s, ']') || malformed(s, ", or ]");
}

static bool check_datatype(scanner *s, text name) {
  static const char *const known[] = {"FP32",  "FP64",   "INT64",  "INT32",  "INT16", "INT8",
                                      "UINT8", "UINT16", "UINT32", "UINT64", "BOOL",  "FP16"};
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
    if (equal(name, known[i])) return true;
  return refuse(s, "the datatype '%.*s' is not taken; FP32, FP64, BOOL and the INT and UINT types are",
                (int)(name.size < 40 ? name.size : 40), name.data);
}

static int shown(text t) { return (int)(t.size < 100 ? t.size : 100); }

/* Which part of the rows this tensor is. */
static bool place(scanner *s, tensor *t) {
  size_t columns = s->columns->count;
  t->rows = t->shape[0];
  t->column = columns;
  bool narrow = t->rank == 1 || t->shape[1] == 1;
  if (t->rank == 2 && t->shape[1] == columns && !(narrow && s->given_count)) return true;
  for (size_t i = 0; narrow && i < columns; i++)
    if (equal(t->name, s->columns->names[i])) {
      t->column = i;
      return true;
    }
  if (t->rank == 1 && columns == 1) return true;
  if (t->rank == 2 && !narrow)
    return refuse(s, "the tensor '%.*s' has %zu columns; the model takes %zu", shown(t->name), t->name.data, t->shape[1],
                  columns);
  return refuse(
      s,
      "the tensor '%.*s' is no column of the model; send one tensor of shape [n, %zu], or one [n] for each column by its name",
      shown(t->name), t->name.data, columns);
}

static bool make_room(scanner *s, const tensor *t) {
  tensor_request *out = s->out;
  size_t columns = s->columns->count;
  if (out->values)
    return t->rows == out->rows || refuse(s, "the tensor '%.*s' has %zu rows, the one before it %zu", shown(t->name),
                                          t->name.data, t->rows, out->rows);
  if (t->rows == 0) return refuse(s, "the request has no rows");
  if (t->rows > TENSOR_MOST_VALUES / columns)
    return refuse(s, "%zu rows of %zu columns are more than the %d values that are taken at once", t->rows, columns,
                  TENSOR_MOST_VALUES);
  out->rows = t->rows;
  out->values = s->memory.take(s->memory.from, t->rows * columns * sizeof *out->values);
  return out->values != NULL || refuse(s, "the request needs too much memory");
}

static bool tensor_data(scanner *s, tensor *t) {
  size_t columns = s->columns->count;
  if (!place(s, t)) return false;
  bool matrix = t->column == columns;
  if (s->matrix || (matrix && s->given_count))
    return refuse(s, "send one tensor of shape [n, %zu], or one for each column, not both", columns);
  if (!make_room(s, t)) return false;
  if (matrix) {
    s->matrix = true;
    return data(s, &(target){s->out->values, 1, t->rows * columns, t->rank == 2 ? columns : 1, columns});
  }
  if (s->given[t->column]) return refuse(s, "the column '%s' is given twice", s->columns->names[t->column]);
  if (!check_column_datatype(s, t->datatype, t->column)) return false;
  s->given[t->column] = 1;
  s->given_count++;
  return data(s, &(target){s->out->values + t->column, columns, t->rows, 1, t->column});
}

static bool tensor_member(scanner *s, tensor *t, text key, bool *done) {
  if (equal(key, "name")) return string(s, &t->name);
  if (equal(key, "shape")) return t->rank == 0 ? shape(s, t) : refuse(s, "a tensor has two shapes");
  if (equal(key, "datatype")) return string(s, &t->datatype) && check_datatype(s, t->datatype);
  if (!equal(key, "data")) return skip(s);
  if (t->data || *done) return refuse(s, "a tensor has its data twice");
  if (t->name.data && t->has_shape && t->datatype.data) return *done = true, tensor_data(s, t);
  space(s);
  t->data = s->at; /* read when the shape is known */
  return skip(s);
}

typedef bool member_reader(scanner *s, void *to, text key);

static bool object(scanner *s, member_reader *read, void *to) {
  if (!take(s, '{')) return malformed(s, "an object");
  if (take(s, '}')) return true;
  do {
    text key;
    space(s);
    if (!string(s, &key)) return false;
    if (!take(s, ':')) return malformed(s, ":");
    if (!read(s, to, key)) return false;
  } while (take(s, ','));
  return take(s, '}') || malformed(s, ", or }");
}

typedef struct reading {
  tensor tensor;
  bool done;
} reading;

static bool read_tensor_member(scanner *s, void *to, text key) {
  reading *r = to;
  return tensor_member(s, &r->tensor, key, &r->done);
}

static bool one_tensor(scanner *s) {
  reading r = {0};
  if (!object(s, read_tensor_member, &r)) return false;
  tensor *t = &r.tensor;
  if (r.done) return true;
  const char *missing = !t->name.data       ? "name"
                        : !t->has_shape     ? "shape"
                        : !t->datatype.data ? "datatype"
                        : !t->data          ? "data"
                                            : NULL;
  if (missing) return refuse(s, "a tensor of 'inputs' has no '%s'", missing);
  const char *after = s->at;
  s->at = t->data;
  if (!tensor_data(s, t)) return false;
  s->at = after;
  return true;
}

static bool inputs(scanner *s) {
  if (s->matrix || s->given_count) return refuse(s, "the request has 'inputs' twice");
  if (!take(s, '[')) return malformed(s, "the inputs, a list");
  if (take(s, ']')) return true;
  do {
    if (!one_tensor(s)) return false;
  } while (take(s, ','));
  return take(s, ']') || malformed(s, ", or ]");
}

/* ---- The request -------------------------------------------------------------------------------------------------------------------------------- */

/* An id goes back as it came and names a row of the log: printable ASCII that needs no escaping. */
static bool id(scanner *s) {
  text read;
  bool escaped = false;
  if (!raw_string(s, &read, &escaped)) return false;
  bool fine = !escaped && read.size <= TENSOR_LONGEST_ID;
  for (size_t i = 0; fine && i < read.size; i++) fine = read.data[i] > 0x20 && read.data[i] < 0x7f;
  if (!fine)
    return refuse(s, "the id must be at most %d letters, digits and signs of ASCII, without spaces, quotes and backslashes",
                  TENSOR_LONGEST_ID);
  s->out->id = read.size ? read.data : NULL;
  s->out->id_size = read.size;
  return true;
}

static bool read_output_member(scanner *s, void *to, text key) { return equal(key, "name") ? string(s, to) : skip(s); }

static bool one_output(scanner *s) {
  const tensor_columns *c = s->columns;
  text name = {0};
  if (!object(s, read_output_member, &name)) return false;
  if (!name.data) return refuse(s, "an output that is asked for has no 'name'");
  for (size_t i = 0; i < c->output_count; i++)
    if (equal(name, c->outputs[i])) return s->out->wanted |= 1u << i, true;
  return refuse(s, "the model has no output '%.*s'; it has %.100s%s%.100s", shown(name), name.data, c->outputs[0],
                c->output_count > 1 ? " and " : "", c->output_count > 1 ? c->outputs[1] : "");
}

static bool outputs(scanner *s) {
  if (!take(s, '[')) return malformed(s, "the outputs, a list");
  if (take(s, ']')) return true;
  do {
    if (!one_output(s)) return false;
  } while (take(s, ','));
  return take(s, ']') || malformed(s, ", or ]");
}

static bool read_member(scanner *s, void *to, text key) {
  (void)to;
  if (equal(key, "inputs")) return inputs(s);
  if (equal(key, "id")) return id(s);
  if (equal(key, "outputs") && s->columns->output_count > 0) return outputs(s);
  return skip(s); /* parameters */
}

/* Columns that may be left out are missing in all rows. */
static void leave_out(scanner *s) {
  size_t columns = s->columns->count;
  for (size_t i = 0; i < columns; i++) {
    if (s->given[i] || !s->columns->rules[i].optional) continue;
    for (size_t row = 0; row < s->out->rows; row++) s->out->values[row * columns + i] = NAN;
    s->given[i] = 1;
    s->given_count++;
  }
}

static bool complete(scanner *s) {
  size_t columns = s->columns->count;
  if (s->matrix || s->given_count == columns) return true;
  if (s->given_count > 0 && s->columns->rules) leave_out(s);
  if (s->given_count == columns) return true;
  if (s->given_count == 0) return refuse(s, "the request has no 'inputs'; send one tensor of shape [n, %zu]", columns);
  char names[200] = "";
  size_t used = 0, missing = 0;
  for (size_t i = 0; i < columns; i++) {
    if (s->given[i]) continue;
    missing++;
    int wrote = used < sizeof names
                    ? snprintf(names + used, sizeof names - used, "%s%s", missing > 1 ? ", " : "", s->columns->names[i])
                    : 0;
    used += (size_t)wrote;
  }
  return refuse(s, "%zu of the model's %zu columns are missing: %s", missing, columns, names);
}

bool tensor_decode(const char *json, size_t size, const tensor_columns *columns, tensor_memory memory, tensor_request *out,
                   char *why) {
  scanner s = {.start = json, .at = json, .end = json + size, .columns = columns, .memory = memory, .out = out, .why = why};
  why[0] = '\0';
  *out = (tensor_request){0};
  s.given = memory.take(memory.from, columns->count + 1);
  if (!s.given) return refuse(&s, "the request needs too much memory");
  memset(s.given, 0, columns->count + 1);
  if (!object(&s, read_member, NULL)) return false;
  space(&s);
  if (s.at != s.end) return malformed(&s, "the end");
  return complete(&s);
}

/* ---- Numbers to text -------------------------------------------------------------------------------------------------------------------------------- */

static size_t put_whole(uint64_t value, char *out) {
  char digits[20];
  size_t count = 0;
  do digits[count++] = (char)('0' + value % 10);
  while (value /= 10);
  for (size_t i = 0; i < count; i++) out[i] = digits[count - 1 - i];
  return count;
}

/* Most measured values are short decimals: the fewest digits after the point that read back as the same float. */
static size_t put_decimal(float value, char *out) {
  double large = fabs((double)value);
  for (size_t digits = 0; digits <= 7; digits++) {
    uint64_t scaled = (uint64_t)(large * POWERS[digits] + 0.5);
    if (scaled > UINT64_C(999999999)) return 0; /* more than nine digits are never needed: %.9g is as short */
    if ((float)((double)scaled / POWERS[digits]) != (float)large) continue;
    char *to = out;
    if (signbit(value)) *to++ = '-';
    uint64_t power = (uint64_t)POWERS[digits], rest = scaled % power;
    to += put_whole(scaled / power, to);
    if (digits == 0) return (size_t)(to - out);
    *to++ = '.';
    for (uint64_t place = power / 10; place > 0; place /= 10) *to++ = (char)('0' + rest / place % 10);
    return (size_t)(to - out);
  }
  return 0;
}

size_t tensor_format(float value, char *out) {
  if (!isfinite(value)) return memcpy(out, "null", 4), 4;
  if (value == 0 || (fabsf(value) >= 1e-3f && fabsf(value) < 1e9f)) {
    size_t size = put_decimal(value, out);
    if (size) return size;
  }
  char text_of[TENSOR_FLOAT];
  int size = snprintf(text_of, sizeof text_of, "%.9g", (double)value);
  if (size < 0 || (size_t)size >= sizeof text_of) return memcpy(out, "null", 4), 4;
  memcpy(out, text_of, (size_t)size);
  return (size_t)size;
}
