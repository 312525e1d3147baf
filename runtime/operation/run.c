#include "operation/object.h"
#include "operation/once.h"
#include "access/access.h"
#include "audit/audit.h"
#include "core/schema.h"
#include "core/text.h"
#include "db/db.h"
#include <string.h>

PURLIN_COUNTER(operations_total, "Operations run, by outcome", "operation, outcome");
PURLIN_HISTOGRAM(operation_duration_seconds, "From the call of an operation to its answer, waiting included", "operation");

enum { MOST_NESTED = 8, STACK_NEEDED_BYTES = 64 * 1024 };

operation_frame context_enter(purlin_ctx *ctx, const char *plugin, struct plugin *owner, const char *name) {
  operation_frame frame = {ctx->plugin, ctx->plugin_state, ctx->operation};
  ctx->plugin = plugin;
  ctx->plugin_state = owner;
  ctx->operation = name;
  ctx->nesting++;
  return frame;
}

void context_leave(purlin_ctx *ctx, operation_frame frame) {
  ctx->nesting--;
  ctx->plugin = frame.plugin;
  ctx->plugin_state = frame.state;
  ctx->operation = frame.operation;
}

static void complain(void *to, const char *field, const char *message) {
  (void)purlin_fail_field(to, field, "%s", message);
}

typedef struct call {
  const operation *op;
  const void *in;
  void *out;
  audit_entry *entry; /* NULL: it is part of another call's, or needs none */
  once *once;         /* NULL: it may run as often as it is called */
  object_change change;
} call;

/* What runs again on a deadlock: so the answer starts from zero each time. */
static purlin_status run_body(purlin_ctx *ctx, void *argument) {
  call *c = argument;
  memset(c->out, 0, c->op->out->struct_size);
  purlin_status status = object_change_begin(ctx, &c->change);
  if (status == PURLIN_OK) status = c->op->declared->run(ctx, c->in, c->out);
  status = object_change_end(ctx, &c->change, status, c->out);
  if (status == PURLIN_OK && c->once) status = once_keep(ctx, c->once, c->op, c->out);
  if (status != PURLIN_OK || !c->entry) return status;
  const char *object = audit_object(c->op->out, c->out);
  c->entry->object = *object ? object : audit_object(c->op->in, c->in);
  c->entry->before = c->change.before;
  c->entry->after = c->change.after;
  return audit_write(ctx, c->entry);
}

/* The outermost operation that changes something writes one entry for all that it calls. */
static purlin_status run_audited(purlin_ctx *ctx, call *c) {
  c->entry = audit_prepare(ctx, c->op->name, c->op->in, c->in);
  if (!c->entry) return ctx->failure_status != PURLIN_OK ? ctx->failure_status : PURLIN_TOO_LARGE;
  c->change.recorded = true;
  ctx->audited = true;
  purlin_status status = db_transact(ctx, run_body, c);
  ctx->audited = false;
  return status;
}

static purlin_status run_with_effect(purlin_ctx *ctx, call *c) {
  const purlin_operation *declared = c->op->declared;
  bool audited = audit_is_enabled() && !ctx->audited && !declared->unaudited;
  if (declared->effect != PURLIN_READS) return audited ? run_audited(ctx, c) : db_transact(ctx, run_body, c);
  bool before = ctx->reads_only; /* who called it may be one that reads, or a pure job */
  if (!db_in_transaction(ctx)) db_set_read_only(ctx, true);
  purlin_status status = run_body(ctx, c);
  db_set_read_only(ctx, before);
  return status;
}

static metrics_series *remembered(_Atomic(metrics_series *) *place, const purlin_metric *metric,
                                  const char *const *labels) {
  metrics_series *series = atomic_load_explicit(place, memory_order_acquire);
  if (series) return series;
  series = metrics_series_of(metric, labels);
  atomic_store_explicit(place, series, memory_order_release);
  return series;
}

static void count(const operation *op, purlin_status status, uint64_t began_ns) {
  const char *const labels[] = {op->name, status == PURLIN_OK ? "ok" : purlin_status_text(status)};
  if (status == PURLIN_OK) metrics_series_add(remembered(&op->series->succeeded, &operations_total_metric, labels), 1);
  else purlin_metric_add(&operations_total_metric, 1, labels);
  double seconds = (double)(purlin_ticks_ns() - began_ns) / 1e9;
  metrics_series_observe(remembered(&op->series->duration, &operation_duration_seconds_metric, labels), seconds);
}

purlin_status operation_run(purlin_ctx *ctx, const operation *op, const void *in, void *out) {
  purlin_status status = access_require(ctx, op->declared->permission, op->declared->by_project);
  return status == PURLIN_OK ? operation_run_permitted(ctx, op, in, out) : status;
}

purlin_status operation_run_permitted(purlin_ctx *ctx, const operation *op, const void *in, void *out) {
  if (ctx->nesting >= MOST_NESTED)
    return purlin_fail(ctx, PURLIN_INTERNAL, "%s: operations are nested more than %d deep", op->name, MOST_NESTED);
  if (fiber_stack_left() < STACK_NEEDED_BYTES)
    return purlin_fail(ctx, PURLIN_INTERNAL, "%s: too little stack is left", op->name);

  uint64_t began_ns = purlin_ticks_ns();
  operation_frame frame = context_enter(ctx, op->plugin, op->owner, op->name);
  call c = {.op = op, .in = in, .out = out, .once = ctx->once, .change = {.op = op, .in = in, .if_match = ctx->if_match}};
  ctx->once = NULL;
  ctx->if_match = NULL;
  purlin_status status = run_with_effect(ctx, &c);
  object_change_forget(&c.change);
  context_leave(ctx, frame);
  count(op, status, began_ns);
  return status;
}

purlin_status operation_run_json(purlin_ctx *ctx, const operation *op, purlin_json in, purlin_json *out) {
  /* Before the input is looked at: who may not call must not learn what the input would have to be. */
  purlin_status status = access_require(ctx, op->declared->permission, op->declared->by_project);
  if (status != PURLIN_OK) return status;
  void *input = purlin_alloc(ctx, op->in->struct_size), *output = purlin_alloc(ctx, op->out->struct_size);
  if (!input || !output) return PURLIN_TOO_LARGE;
  if (in.text) status = purlin_decode(ctx, op->in, in.text, in.size, input);
  else status = purlin_decode(ctx, op->in, "{}", 2, input);
  if (status == PURLIN_OK) status = operation_run(ctx, op, input, output);
  if (status == PURLIN_OK) status = purlin_encode(ctx, op->out, output, out);
  if (op->takes_secrets) schema_wipe(op->in, input);
  return status;
}

static const operation *find_or_fail(purlin_ctx *ctx, const char *name, purlin_status *status) {
  const operation *op = operation_find(name);
  if (!op) *status = purlin_fail(ctx, PURLIN_NOT_FOUND, "no operation named '%s'", name);
  return op;
}

/* With its secrets, since it goes nowhere but to the operation; to be wiped. */
static purlin_status encode_whole(purlin_ctx *ctx, const purlin_schema *schema, const void *value, purlin_json *out) {
  buffer text = {.limit = CONTEXT_DEFAULT_LIMIT};
  schema_encode(schema, value, SCHEMA_WITH_SECRETS, &text);
  const char *kept = text.failed ? NULL : purlin_copy_bytes(ctx, text.data, text.size);
  *out = (purlin_json){kept, kept ? text.size : 0};
  if (text.size > 0) text_wipe(text.data, text.size);
  buffer_free(&text);
  return kept ? PURLIN_OK : purlin_fail(ctx, PURLIN_TOO_LARGE, "the input does not fit into memory");
}

/* The rules hold whoever calls; and who may not call must not learn them. */
static purlin_status call_as_it_is(purlin_ctx *ctx, const operation *op, const void *in, void *out) {
  const schema_reading reading = {.memory = &ctx->memory, .complain = complain, .complain_to = ctx};
  purlin_status status = access_require(ctx, op->declared->permission, op->declared->by_project);
  if (status == PURLIN_OK) status = schema_validate(&reading, op->in, in);
  return status == PURLIN_OK ? operation_run_permitted(ctx, op, in, out) : status;
}

purlin_status purlin_call(purlin_ctx *ctx, const char *name, const purlin_schema *in_schema, const void *in,
                          const purlin_schema *out_schema, void *out) {
  purlin_status status = PURLIN_OK;
  const operation *op = find_or_fail(ctx, name, &status);
  if (!op) return status;
  if (schema_layout(in_schema) == schema_layout(op->in) && schema_layout(out_schema) == schema_layout(op->out))
    return call_as_it_is(ctx, op, in, out);
  /* Built against another version of the contract: by name, field by field, through JSON. */
  purlin_json asked, answered = {0};
  status = encode_whole(ctx, in_schema, in, &asked);
  if (status == PURLIN_OK) status = operation_run_json(ctx, op, asked, &answered);
  if (asked.size > 0) text_wipe((char *)(uintptr_t)asked.text, asked.size);
  if (status == PURLIN_OK) status = purlin_decode_stored(ctx, out_schema, answered.text, answered.size, out);
  return status;
}

purlin_status purlin_call_json(purlin_ctx *ctx, const char *name, purlin_json in, purlin_json *out) {
  purlin_status status = PURLIN_OK;
  const operation *op = find_or_fail(ctx, name, &status);
  return op ? operation_run_json(ctx, op, in, out) : status;
}
