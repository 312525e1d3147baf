/* predictor.h: the contract of predictors: from a model's bytes and rows of numbers to predictions.
 *
 * Since 0.1 unless a comment says otherwise; base.h says what else holds everywhere. */
#ifndef PURLIN_CONTRACTS_PREDICTOR_H
#define PURLIN_CONTRACTS_PREDICTOR_H

#include <purlin/plugin.h>

PURLIN_BEGIN

#define PURLIN_CONTRACT_predictor 1u

/* One input column or output of a model, in the terms of the Open Inference Protocol. */
typedef struct purlin_tensor_spec {
  const char *name, *datatype;
  purlin_opt_bool optional; /* since 0.2 */
} purlin_tensor_spec;
PURLIN_SCHEMA(purlin_tensor_spec, "A column of a model",
    PURLIN_REQUIRED(name, "Its name", .max_length = 250),
    PURLIN_DEFAULT(datatype, "\"FP32\"", "Its type", .choices = "BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, FP32, FP64"),
    PURLIN_OPTIONAL(optional, "Whether it may be missing from a request, or from rows of it where it is a whole number or true or false; numbers with a point may be missing anyway"));

typedef struct purlin_signature {
  PURLIN_LIST_OF(purlin_tensor_spec) inputs; /* in the order in which the model takes them */
  PURLIN_LIST_OF(purlin_tensor_spec) outputs;
} purlin_signature;
PURLIN_SCHEMA(purlin_signature, "What a model takes and gives",
    PURLIN_LIST(inputs, purlin_tensor_spec, "Columns of a row", .min_length = 1, .max_length = 10000),
    PURLIN_LIST(outputs, purlin_tensor_spec, "Values per row", .max_length = 1000));

/* A loaded model; immutable, used by every loop at once. */
typedef struct purlin_model purlin_model;

typedef struct purlin_predictor {
  uint32_t size;
  const char *summary;
  /* Loads a model from bytes (borrowed). `outputs` tells how many values it gives per row, `memory_bytes` what it holds.
   * *model is owned: unload. May park (loads on a pool).
   * Errors: PURLIN_INVALID (not such a model, or other columns than the signature's: says which). */
  purlin_status (*load)(purlin_ctx *ctx, const void *data, size_t size, const purlin_signature *signature,
                        purlin_model **model, size_t *outputs, size_t *memory_bytes);
  /* Ends a model that load gave. Any thread; does not park. */
  void (*unload)(purlin_model *model);
  /* rows * columns values, row by row; NaN is missing. Fills rows * outputs values. Any thread, does not park; long batches are sent to
   * a pool by the caller. Errors: PURLIN_INTERNAL. */
  purlin_status (*predict)(const purlin_model *model, const float *values, size_t rows, size_t columns, float *out);
  /* Since 0.2; NULL: it cannot. Which columns the bytes of a model take, in its own words, or as f0, f1, ... where it has none, and
   * whether it gives a class (an output of INT64) or probabilities and amounts (FP32): fills the signature; arena. May park. Errors: PURLIN_INVALID (not such a model). */
  purlin_status (*describe)(purlin_ctx *ctx, const void *data, size_t size, purlin_signature *signature);
} purlin_predictor;

PURLIN_END

#endif
