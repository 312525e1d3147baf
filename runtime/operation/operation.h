/* operation.h: the registry of operations and everything that is derived from one.
 *
 * operation/registry.c   full name -> operation
 * operation/binding.c    further addresses of operations
 * operation/object.c     what an operation changes: ETag, If-Match, before and after
 * operation/run.c        one call: nesting, permission, policy, transaction, span, metrics
 * operation/http.c       routes and POST /api/v1/op/NAME
 * operation/fault.c      failures in a dialect
 * operation/openapi.c    /openapi.json
 * operation/policy.c     policy points
 * operation/builtin.c    the runtime's own operations: operations, plugins, jobs, events */
#ifndef PURLIN_OPERATION_OPERATION_H
#define PURLIN_OPERATION_OPERATION_H

#include <purlin/operation.h>
#include <purlin/policy.h>
#include <purlin/route.h>
#include "core/buffer.h"
#include "http/router.h"
#include "loop/context.h"

typedef struct operation {
  const char *name; /* "registry.create_model" */
  const char *plugin;
  struct plugin *owner;
  const purlin_operation *declared;
  const purlin_schema *in, *out;
  struct operation_series *series; /* its metrics */
  bool takes_secrets;              /* its input is wiped when it has been answered */
  const struct operation *shown;   /* the operation that shows the object that this one changes; NULL: none */
  bool shows;                      /* it is such a one */
  purlin_operation *binding;       /* of a binding: what `declared` is, completed from what it binds; NULL: an operation */
  struct operation *next;
} operation;

/* Checks and adds. `why` names file:line of the declaration and what is wrong (no permission, no summary, a broken schema, a name
 * that exists). Before operations_seal; not thread-safe. */
PURLIN_CHECKED purlin_status operations_register(const char *plugin, struct plugin *owner, const purlin_operation *declared,
                                                 buffer *why);
PURLIN_CHECKED purlin_status operations_register_route(const char *plugin, struct plugin *owner, const purlin_route *route,
                                                       buffer *why);
PURLIN_CHECKED purlin_status operations_register_policy(const char *plugin, const purlin_policy *policy, buffer *why);
/* Once after all of them: finds the operations that show what others change, and those that bindings lead to. `why` names file:line of what does not fit. */
PURLIN_CHECKED purlin_status operations_link(buffer *why);
const operation *operation_find(const char *name);
/* Further addresses of operations, in the words of other protocols: no operations by themselves. */
const operation *binding_find(const char *name);
void bindings_visit(void (*visit)(void *to, const operation *op), void *to);
void operations_visit(void (*visit)(void *to, const operation *op), void *to); /* by name */

/* Runs one with decoded input, as the caller of ctx: checks the permission, enters the plugin, opens the transaction. May park. */
PURLIN_CHECKED purlin_status operation_run(purlin_ctx *ctx, const operation *op, const void *in, void *out);
/* The same where the permission was checked already: behind the gate of the operation's own route. */
PURLIN_CHECKED purlin_status operation_run_permitted(purlin_ctx *ctx, const operation *op, const void *in, void *out);
/* The same from JSON to JSON. */
PURLIN_CHECKED purlin_status operation_run_json(purlin_ctx *ctx, const operation *op, purlin_json in, purlin_json *out);

/* Adds every binding and route to a router. `why` names both files and lines of two that collide. */
PURLIN_CHECKED purlin_status operations_route(http_router *router, buffer *why);
/* The document, made once after the start. */
void openapi_render(const http_router *router, buffer *out);

/* Entering a plugin's code: ctx->plugin, plugin_state and operation, restored by the leave. */
typedef struct operation_frame {
  const char *plugin;
  struct plugin *state;
  const char *operation;
} operation_frame;
operation_frame context_enter(purlin_ctx *ctx, const char *plugin, struct plugin *owner, const char *operation);
void context_leave(purlin_ctx *ctx, operation_frame frame);

/* Policy points. Lua answers: JSON to JSON; PURLIN_NOT_FOUND when no policy is loaded for the point. */
typedef purlin_status policy_answer(purlin_ctx *ctx, const char *point, uint32_t timeout_ms, purlin_json question,
                                    purlin_json *answer);
/* `answers`: whether one is loaded, cheaply. Both NULL: none any more. */
void policy_set_answerer(policy_answer *answer, bool (*answers)(const char *point));
/* Whether asking would reach a policy: for points on a hot path, which spare themselves the question otherwise. */
bool policy_is_answered(const purlin_policy *point);
bool policy_exists(const char *point); /* declared by a plugin */
void policies_visit(void (*visit)(void *to, const char *name, const purlin_policy *policy), void *to);

#endif
