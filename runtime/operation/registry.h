/* registry.h: what the files of operation/ share: the tables of operations, routes and policy points. */
#ifndef PURLIN_OPERATION_REGISTRY_H
#define PURLIN_OPERATION_REGISTRY_H

#include "operation/operation.h"
#include "core/schema.h"
#include "observe/metrics.h"
#include <stdatomic.h>

#define OPERATION_BUCKETS 512
/* The plugin name of the runtime's own declarations. */
#define OPERATION_BUILTIN "purlin"

/* The handles of an operation's metrics, found at its first calls: counting is then a few additions. */
typedef struct operation_series {
  _Atomic(metrics_series *) succeeded, duration;
} operation_series;

typedef struct registered_route {
  const char *name, *plugin;
  struct plugin *owner;
  const purlin_route *route;
  struct registered_route *next;
} registered_route;

typedef struct registered_policy {
  const char *name;
  const purlin_policy *policy;
  struct registered_policy *next;
} registered_policy;

/* Takes an operation that was declared as a binding; and once all are known, finds what each leads to. `why` names file:line. */
PURLIN_CHECKED purlin_status binding_register(operation *binding, buffer *why);
PURLIN_CHECKED purlin_status bindings_link(buffer *why);

const registered_route *routes_first(void);
const registered_policy *policies_first(void);
const registered_policy *policy_of(const purlin_policy *declared);

#endif
