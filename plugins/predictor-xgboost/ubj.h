/* ubj.h: Universal Binary JSON, as XGBoost writes it, to the text that parse.c reads. Knows nothing of Purlin. */
#ifndef PREDICTOR_XGBOOST_UBJ_H
#define PREDICTOR_XGBOOST_UBJ_H

#include <stdbool.h>
#include <stddef.h>

/* Whether bytes that begin with '{' are UBJ: a key begins with the type of its length there. */
bool ubj_is(const char *data, size_t size);
/* The same as JSON; numbers read back as they were, what JSON cannot say becomes null. Owned: free. NULL: `why` (a static text) says. */
char *ubj_to_json(const char *data, size_t size, size_t *json_size, const char **why);

#endif
