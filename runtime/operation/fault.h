/* fault.h: failures in the words of another protocol. */
#ifndef PURLIN_OPERATION_FAULT_H
#define PURLIN_OPERATION_FAULT_H

#include "operation/operation.h"

/* Turns what was recorded about single fields of an input into one text, as the dialect explains it; `body` is what came, `size` 0 without
 * one; `request` NULL: values are not told, since there are secrets among them. Returns PURLIN_INVALID, or PURLIN_TOO_LARGE. */
PURLIN_CHECKED purlin_status fault_explain(purlin_ctx *ctx, const purlin_request *request, const purlin_dialect *dialect,
                                           const char *body, size_t size);
/* Answers a failure in the shape of a dialect: http_target.fail. */
void fault_answer(purlin_ctx *ctx, purlin_request *request, purlin_status status, const void *dialect);

#endif
