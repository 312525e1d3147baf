/* tensor.h: requests of the Open Inference Protocol (v2, JSON) to rows of numbers, and numbers to text: the hot path.
 *
 * One pass over the text, no tree; memory only for the values and, where a name has escapes, for the name. A request gives either one
 * tensor [n, columns], under any name, or one tensor per column, by its name, [n] or [n, 1]. Data may be flat or nested. null and NaN
 * are missing values. What a column's rule does not allow is refused with the column's name. */
#ifndef SERVING_TENSOR_H
#define SERVING_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  TENSOR_MOST_VALUES = 1000000,
  TENSOR_LONGEST_ID = 100,
  TENSOR_WHY = 400,
  TENSOR_FLOAT = 24,
  TENSOR_MOST_OUTPUTS = 2
};

/* What a column takes. */
typedef struct tensor_rule {
  enum { TENSOR_FLOAT_COLUMN, TENSOR_WHOLE_COLUMN, TENSOR_FLAG_COLUMN } kind;
  double least, most; /* of whole numbers */
  const char *datatype;
  bool optional; /* it may be left out, and whole numbers and flags may be missing in it */
} tensor_rule;
/* The rule of a datatype of the protocol. */
tensor_rule tensor_rule_of(const char *datatype);

typedef struct tensor_columns {
  const char *const *names;
  size_t count;
  const tensor_rule *rules;                 /* one for each; NULL: numbers are taken as they come */
  const char *outputs[TENSOR_MOST_OUTPUTS]; /* what a request may ask for by name, */
  size_t output_count;                      /* 0: what it asks for is not looked at */
} tensor_columns;

/* Where memory comes from: zeroed or not, never freed; NULL when there is none. */
typedef struct tensor_memory {
  void *(*take)(void *from, size_t size);
  void *from;
} tensor_memory;

typedef struct tensor_request {
  const char *id; /* into the text, without quotes; needs no escaping; NULL: absent */
  size_t id_size;
  float *values; /* rows * columns */
  size_t rows;
  unsigned wanted; /* a bit for each output that was asked for; 0: all */
} tensor_request;

/* `json` must be followed by a NUL. False: `why` (TENSOR_WHY bytes) names what is wrong. */
bool tensor_decode(const char *json, size_t size, const tensor_columns *columns, tensor_memory memory, tensor_request *out,
                   char *why);

/* The shortest simple text that reads back as the same float, or %.9g; "null" for what JSON cannot say. Writes at most TENSOR_FLOAT
 * bytes, no NUL; returns how many. */
size_t tensor_format(float value, char *out);

#endif
