/* mlflow.h: what the files of this plugin share.
 *
 * MLflow's REST protocol, so that its clients work unchanged: addresses, words and errors. It keeps nothing: each binding turns a request
 * into a call of an operation of tracking, registry, artifacts, traces or accounts, and the answer back.
 *
 * dialect.c      errors, and how input is read
 * server.c       what a client asks of the server itself: /health, /version
 * experiments.c  one file per subject from here on
 * registered_models.c, model_versions.c  share model_registry.h */
#ifndef MLFLOW_H
#define MLFLOW_H

#include <purlin/purlin.h>

extern const purlin_dialect mlflow;

/* A binding in this dialect: POST /api/2.0/... is at /ajax-api/2.0/... too. */
#define MLFLOW_BINDING(function, in_type, out_type, http, binds)                                                           \
  PURLIN_BINDING(function, in_type, out_type, http, binds, .dialect = &mlflow)

/* An answer without content, {}: purlin_nothing. */

/* Times are milliseconds since 1970 there. 0 is a time like any other for MLflow, and "no time" here: it becomes the first microsecond. */
static inline purlin_time mlflow_time(int64_t ms) { return (purlin_time){ms == 0 ? 1 : ms * 1000}; }
static inline int64_t mlflow_ms(purlin_time time) {
  return time.unix_us >= 0 ? time.unix_us / 1000 : -((-time.unix_us + 999) / 1000);
}

/* What is null is left out of an answer. */
static inline purlin_opt_text mlflow_told(purlin_opt_text text) {
  return text.state == PURLIN_SET ? text : (purlin_opt_text){PURLIN_ABSENT, NULL};
}
/* What is sent as "" was not meant. */
static inline purlin_opt_text mlflow_meant(purlin_opt_text text) {
  return text.state == PURLIN_SET && *text.value ? text : (purlin_opt_text){PURLIN_ABSENT, NULL};
}

#endif
