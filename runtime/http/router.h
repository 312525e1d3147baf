/* router.h: from method and path to a target, by a tree of path segments. Built once, then read-only, shared by all loops. */
#ifndef PURLIN_HTTP_ROUTER_H
#define PURLIN_HTTP_ROUTER_H

#include <purlin/route.h>
#include "core/buffer.h"

/* What a route leads to. Owned by whoever adds it (operation/, daemon/), lives at least as long as the router. */
typedef struct http_target {
  const char *name; /* "registry.create_model": for metrics, spans and logs */
  const char *plugin;
  const char *permission; /* "public": anyone */
  bool admits_itself;     /* it asks the gate's questions itself, once it knows what is wanted */
  bool for_monitors;      /* whoever watches the server (http_request_is_monitor) needs no permission */
  bool by_project;        /* held in one project is enough: it looks at rows itself */
  bool yields;            /* answers where no other target does; its path has no parameters */
  purlin_status (*handle)(purlin_ctx *ctx, purlin_request *request, const struct http_target *target);
  const void *argument; /* the operation, the purlin_route, ... */
  uint64_t max_body;    /* 0: default */
  uint32_t timeout_ms;  /* 0: default; UINT32_MAX: none */
  /* Answers a failure in the target's own shape, its dialect, instead of problem+json; both may be NULL. */
  void (*fail)(purlin_ctx *ctx, purlin_request *request, purlin_status status, const void *dialect);
  const void *dialect;
  void *series; /* metrics of this target, made by the server */
} http_target;

typedef struct http_router http_router;

http_router *http_router_create(void); /* with one reference; NULL: no memory */
void http_router_retain(http_router *router);
void http_router_release(http_router *router);

/* Adds "GET /api/v1/models/{name}". Parameters match one segment; a last {rest...} matches what remains, slashes included.
 * Literal segments win over parameters. PURLIN_CONFLICT when the same route exists: `why` names both targets;
 * PURLIN_INVALID for a malformed pattern. */
PURLIN_CHECKED purlin_status http_router_add(http_router *router, const char *method_and_path, http_target *target,
                                             buffer *why);

#define HTTP_MAX_PARAMETERS 8
typedef struct http_match {
  http_target *target;
  size_t parameter_count;
  struct {
    const char *name;
    const char *value;
    size_t size;
  } parameters[HTTP_MAX_PARAMETERS]; /* raw, still percent-encoded */
  const char *allow;                 /* on PURLIN_NOT_ALLOWED: value of Allow, of the router */
  const http_target *family; /* without a target: one of those below the same address, if all there speak one dialect */
} http_match;

/* PURLIN_OK, PURLIN_NOT_FOUND or PURLIN_NOT_ALLOWED. HEAD matches GET. */
purlin_status http_router_find(const http_router *router, const char *method, const char *path, size_t path_size,
                               http_match *match);

/* Every route, in order of path and method. */
void http_router_visit(const http_router *router,
                       void (*visit)(void *to, const char *method, const char *path, const http_target *target), void *to);

#endif
