/* operation.h: declare a function once, use it everywhere.
 *
 *   PURLIN_OPERATION(create_model, create_model_in, model,
 *       .summary = "Register a model",
 *       .permission = "models:write",
 *       .effect = PURLIN_CREATES,
 *       .http = "POST /api/v1/models")
 *   {
 *     ... ctx, in and out are the arguments ...
 *     return PURLIN_OK;
 *   }
 *
 * stands directly above the function's body and is all there is to write. In the plugin `registry` this makes the operation
 * registry.create_model with its HTTP route, its validation, its entry in /openapi.json, `purlin registry create-model`,
 * purlin.op.registry.create_model{...} in Lua, its permission check, its span and its metrics.
 *
 * Since 0.1 unless a comment says otherwise; base.h says what else holds everywhere. */
#ifndef PURLIN_OPERATION_H
#define PURLIN_OPERATION_H

#include <purlin/dialect.h>

PURLIN_BEGIN

typedef enum purlin_effect {
  PURLIN_READS = 0,   /* changes nothing: runs without a transaction */
  PURLIN_CHANGES = 1, /* one transaction, begun at the first write, committed before the answer; runs again on a deadlock */
  PURLIN_CREATES = 2  /* as PURLIN_CHANGES, answered over HTTP with 201 */
} purlin_effect;

typedef purlin_status purlin_operation_run(purlin_ctx *ctx, const void *in, void *out);

typedef struct purlin_operation {
  purlin_declaration declared;
  const char *name; /* of the function; the full name is PLUGIN.NAME */
  purlin_operation_run *run;
  const purlin_schema *(*in)(void);
  const purlin_schema *(*out)(void);
  const char *summary;    /* one line; required */
  const char *permission; /* such as "models:write"; required: an operation without one is refused at start */
  purlin_effect effect;
  const char
      *http; /* "METHOD /path/{field}", or NULL; always reachable as POST /api/v1/op/PLUGIN.NAME. Since 0.2 several, with
                       commas between: "POST /x, GET /x" */
  const char *description;       /* more than a line, for the documentation; may be NULL */
  uint32_t timeout_ms;           /* 0: the server's default */
  const purlin_dialect *dialect; /* of errors at .http; NULL: problem+json */
  bool by_project; /* it asks itself which rows the caller may see and change (<purlin/access.h>): the permission held in
                                    one project lets the caller in. Otherwise it must be held in the whole workspace. */
  const char
      *unaudited; /* why its calls need no entry in the audit log although it changes something: "points of a metric, whose
                                    run is audited". NULL: each call that succeeds is one entry, written with the change. */
  const char *
      object; /* the operation of this plugin, by its function's name, that shows the object that this one changes: its input is
                         taken from this one's by name. With it If-Match holds the object to what the client has read (412 when not), the
                         answer has an ETag, and the audit log tells how the object was before and after. NULL: none */
  bool answers_secret; /* its answer holds a secret that is shown once: it is not kept for a repeated Idempotency-Key */
  const char
      *binds; /* since 0.2; of a binding: the operation that it leads to, "tracking.create_run" (see PURLIN_BINDING) */
  uint32_t max_body; /* since 0.2; bytes of a request's body; 0: 8 MiB. All of it is in memory while it is decoded. */
} purlin_operation;

#ifdef __cplusplus
#define PURLIN_INPUT_(type, pointer) static_cast<const type *>(pointer)
#define PURLIN_OUTPUT_(type, pointer) static_cast<type *>(pointer)
#else
#define PURLIN_INPUT_(type, pointer) (pointer)
#define PURLIN_OUTPUT_(type, pointer) (pointer)
#endif

/* In a path, {field} takes its value from that field of the input. The other fields come from the query string (GET,
 * DELETE) or from the JSON body. `out` is zeroed before the call. `in` and `out` live in the arena. */
#define PURLIN_OPERATION(function, in_type, out_type, ...)                                                                 \
  static purlin_status function(purlin_ctx *ctx, const in_type *in, out_type *out);                                        \
  static purlin_status function##_run_(purlin_ctx *ctx, const void *in, void *out) {                                       \
    return function(ctx, PURLIN_INPUT_(in_type, in), PURLIN_OUTPUT_(out_type, out));                                       \
  }                                                                                                                        \
  static const purlin_operation function##_operation = {.declared = PURLIN_HEAD_(purlin_operation, PURLIN_KIND_OPERATION), \
                                                        .name = #function,                                                 \
                                                        .run = function##_run_,                                            \
                                                        .in = in_type##_schema,                                            \
                                                        .out = out_type##_schema,                                          \
                                                        __VA_ARGS__};                                                      \
  PURLIN_DECLARE_(function##_operation);                                                                                   \
  static purlin_status function(PURLIN_MAYBE_UNUSED purlin_ctx *ctx, PURLIN_MAYBE_UNUSED const in_type *in,                \
                                PURLIN_MAYBE_UNUSED out_type *out)

/* A binding: a further address of an operation, in the words of another protocol. Its function turns the input of that protocol into the
 * operation's, calls it by purlin_call, and turns the answer back:
 *
 *   PURLIN_BINDING(create_run, mlflow_create_run, mlflow_run_answer, "POST /api/2.0/mlflow/runs/create", "tracking.create_run",
 *       .dialect = &mlflow)
 *   {
 *     tracking_create_run ask = {.experiment_id = in->experiment_id, ...};
 *     tracking_run made = {0};
 *     purlin_status status = purlin_call(ctx, "tracking.create_run", tracking_create_run_schema(), &ask, tracking_run_schema(), &made);
 *     return status == PURLIN_OK ? tell_run(ctx, &made, &out->run) : status;
 *   }
 *
 * It is no operation by itself: it has no name to call it by, it needs what the operation needs (.permission, .by_project), runs in a
 * transaction when that does (.effect), and what it does is audited as that. It answers 200. Several addresses stand with commas
 * between them. It may call others than the one that it names, which then ask for their permissions themselves. The operation's plugin
 * must be there: PURLIN_NEEDS_PLUGIN. Since 0.2. */
#define PURLIN_BINDING(function, in_type, out_type, http_, binds_, ...)                                                    \
  PURLIN_OPERATION(function, in_type, out_type, .http = http_, .binds = binds_, __VA_ARGS__)

/* Calls an operation of any plugin by its full name, with the permissions of the calling context, inside its transaction
 * if there is one. `in` (borrowed) and `out` (zeroed; what it points to is arena) are of the given schemas; where the operation was
 * built with others, they are matched field by field, by name. May park. Errors: PURLIN_NOT_FOUND when there is no such operation,
 * PURLIN_FORBIDDEN, PURLIN_UNAUTHENTICATED, PURLIN_INVALID (`in` does not fit), PURLIN_INTERNAL (nested more than 8 deep), and its own. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_call(purlin_ctx *ctx, const char *operation, const purlin_schema *in_schema,
                                                    const void *in, const purlin_schema *out_schema, void *out);

/* The same with JSON on both sides: `in` is checked as from a client (NULL text: {}), `out` is arena. May park. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_call_json(purlin_ctx *ctx, const char *operation, purlin_json in,
                                                         purlin_json *out);

PURLIN_END

#endif
