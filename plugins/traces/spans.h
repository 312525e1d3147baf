/* spans.h: spans on their way into the database, and what follows from them for their traces: the inside of spans.c and fit.c. */
#ifndef TRACES_SPANS_H
#define TRACES_SPANS_H

#include "otlp.h"
#include "traces.h"

typedef struct span_row {
  const char *workspace, *project;
  int64_t trace;
  const char *span_id, *parent_id, *name, *type;
  int64_t kind;
  const char *status, *status_message, *trace_state;
  int64_t start_ns, end_ns;
  purlin_json attributes, events, links, resource, scope;
  purlin_opt_int input_tokens, output_tokens, total_tokens;
  purlin_opt_double input_cost, output_cost, total_cost;
} span_row;
PURLIN_SCHEMA(span_row, "A span, as its row",
    PURLIN_REQUIRED(workspace, "workspace"),
    PURLIN_REQUIRED(project, "project"),
    PURLIN_REQUIRED(trace, "trace"),
    PURLIN_REQUIRED(span_id, "id"),
    PURLIN_REQUIRED(parent_id, "parent"),
    PURLIN_REQUIRED(name, "name"),
    PURLIN_REQUIRED(type, "type"),
    PURLIN_REQUIRED(kind, "kind"),
    PURLIN_REQUIRED(status, "status"),
    PURLIN_REQUIRED(status_message, "why"),
    PURLIN_REQUIRED(trace_state, "state"),
    PURLIN_REQUIRED(start_ns, "start"),
    PURLIN_REQUIRED(end_ns, "end"),
    PURLIN_REQUIRED(attributes, "attributes"),
    PURLIN_REQUIRED(events, "events"),
    PURLIN_REQUIRED(links, "links"),
    PURLIN_REQUIRED(resource, "resource"),
    PURLIN_REQUIRED(scope, "scope"),
    PURLIN_OPTIONAL(input_tokens, "tokens"),
    PURLIN_OPTIONAL(output_tokens, "tokens"),
    PURLIN_OPTIONAL(total_tokens, "tokens"),
    PURLIN_OPTIONAL(input_cost, "cost"),
    PURLIN_OPTIONAL(output_cost, "cost"),
    PURLIN_OPTIONAL(total_cost, "cost"));

/* A span that is in order, and what its attributes say for its trace. */
typedef struct span_fitted {
  const char *trace_id;
  span_row row;
  purlin_json inputs, outputs, session, user; /* values of attributes; text NULL: none */
} span_fitted;

/* Fits a span into its row. PURLIN_INVALID, with *why it does not (nothing is recorded), and PURLIN_TOO_LARGE. Does not park. */
PURLIN_CHECKED purlin_status span_fit(purlin_ctx *ctx, const traces_span *in, span_fitted *out, const char **why);

/* The value of an attribute as a text of its own: what it is, or as JSON. Arena; NULL: no memory. */
const char *span_text(purlin_ctx *ctx, purlin_json value);
/* The beginning of what was asked (`role` "user") or answered ("assistant"). */
const char *span_preview(purlin_ctx *ctx, purlin_json value, const char *role);

#endif
