#include "audit/internal.h"
#include "audit/waiting.h"
#include "core/text.h"
#include "http/server.h"
#include "loop/internal.h"
#include <purlin/metric.h>
#include <stdatomic.h>
#include <string.h>

PURLIN_COUNTER(audit_entries_total, "Entries written into the audit log, with their change", "operation");

/* Encoding and hashing more than this take too long for a loop. */
enum { MOST_TEXT = 250, MOST_HERE = 128 * 1024 };

static atomic_bool enabled;
static audit_credential *credential_of;

void audit_enable(void) { atomic_store(&enabled, true); }
bool audit_is_enabled(void) { return atomic_load_explicit(&enabled, memory_order_relaxed); }
void audit_set_credential(audit_credential *credential) { credential_of = credential; }

/* ---- The parts of an entry -------------------------------------------------------------------------------------------------------- */

/* As much of a text as its column holds, whole characters only. */
static size_t fitting(const char *text, size_t size, size_t most) {
  if (size <= most) return size;
  while (most > 0 && ((unsigned char)text[most] & 0xc0) == 0x80) most--;
  return most;
}

static const char *fit(purlin_ctx *ctx, const char *text) {
  size_t size = text ? strlen(text) : 0;
  return size <= MOST_TEXT ? text : purlin_copy_bytes(ctx, text, fitting(text, size, MOST_TEXT));
}

static const char *unless_empty(const char *text) { return text && *text ? text : NULL; }

static const char *actor_of(const purlin_ctx *ctx) { return ctx->who || !ctx->exchange ? ctx->actor : "nobody"; }

/* An input, encoded on a loop or, when it is large, on a thread of the pool. */
typedef struct encoding {
  const purlin_schema *schema;
  const void *in;
  buffer *text;
  char hash[65];
} encoding;

static purlin_status encode(void *argument) {
  encoding *e = argument;
  schema_encode(e->schema, e->in, SCHEMA_PUBLIC, e->text);
  if (!e->text->failed) purlin_sha256(e->text->data, e->text->size, e->hash);
  return e->text->failed ? PURLIN_TOO_LARGE : PURLIN_OK;
}

static purlin_status no_memory(purlin_ctx *ctx) {
  return purlin_fail(ctx, PURLIN_TOO_LARGE, "the entry of the audit log needs more memory than there is");
}

/* Longer than AUDIT_MOST_INPUT: {"cut": "its beginning"}, in the arena. `to` keeps NULL without memory. */
static void cut_text(purlin_ctx *ctx, const char *text, size_t size, purlin_json *to) {
  buffer cut = {0};
  *to = (purlin_json){NULL, 0};
  buffer_text(&cut, "{\"cut\":");
  buffer_json_text(&cut, text, fitting(text, size, AUDIT_MOST_INPUT));
  buffer_char(&cut, '}');
  if (!cut.failed) *to = (purlin_json){purlin_copy_bytes(ctx, cut.data, cut.size), cut.size};
  buffer_free(&cut);
}

static purlin_status take_text(purlin_ctx *ctx, audit_entry *entry, const char *text, size_t size, const char *hash) {
  entry->input_bytes = (int64_t)size;
  entry->input_hash = purlin_copy(ctx, hash);
  if (size <= AUDIT_MOST_INPUT) entry->input = (purlin_json){purlin_copy_bytes(ctx, text, size), size};
  else cut_text(ctx, text, size, &entry->input);
  return entry->input.text && entry->input_hash ? PURLIN_OK : no_memory(ctx);
}

static purlin_status cut_object(purlin_ctx *ctx, purlin_json *object) {
  const purlin_json whole = *object;
  if (whole.text && whole.size > AUDIT_MOST_INPUT) cut_text(ctx, whole.text, whole.size, object);
  return object->text || !whole.text ? PURLIN_OK : no_memory(ctx);
}

static purlin_status take_input(purlin_ctx *ctx, audit_entry *entry, const purlin_schema *schema, const void *in) {
  encoding e = {.schema = schema, .in = in, .text = context_scratch()};
  e.text->limit = MOST_HERE;
  if (encode(&e) == PURLIN_OK) return take_text(ctx, entry, e.text->data, e.text->size, e.hash);
  buffer large = {.limit = CONTEXT_DEFAULT_LIMIT};
  e.text = &large;
  purlin_status status = ctx->transaction_open ? encode(&e) : purlin_offload(ctx, PURLIN_POOL_CPU, encode, &e);
  if (status == PURLIN_OK) status = take_text(ctx, entry, large.data, large.size, e.hash);
  else if (status == PURLIN_TOO_LARGE) status = purlin_fail(ctx, status, "the input does not fit into the audit log");
  buffer_free(&large);
  return status;
}

static void describe(purlin_ctx *ctx, audit_entry *entry) {
  entry->at = (purlin_time){purlin_now_us()};
  entry->workspace = fit(ctx, ctx->workspace);
  entry->project = fit(ctx, unless_empty(ctx->project));
  if (!entry->actor) entry->actor = actor_of(ctx);
  entry->actor = fit(ctx, entry->actor);
  entry->credential = fit(ctx, unless_empty(credential_of ? credential_of(ctx) : NULL));
  entry->address = unless_empty(http_context_address(ctx));
  entry->operation = fit(ctx, entry->operation);
  entry->object = fit(ctx, unless_empty(entry->object));
  entry->trace_id = ctx->trace.trace_id;
}

audit_entry *audit_prepare(purlin_ctx *ctx, const char *operation, const purlin_schema *schema, const void *in) {
  audit_entry *entry = purlin_alloc(ctx, sizeof *entry);
  if (!entry) return NULL;
  entry->operation = operation;
  entry->outcome = "done";
  describe(ctx, entry);
  entry->id = purlin_new_id(ctx, "aud");
  if (!entry->id || (schema && take_input(ctx, entry, schema, in) != PURLIN_OK)) return NULL;
  return entry;
}

const char *audit_object(const purlin_schema *schema, const void *value) {
  static const char *const names[] = {"id", "name"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    const purlin_field *field = schema_find(schema, names[i], strlen(names[i]));
    if (!field || field->type != PURLIN_T_TEXT || field->secret) continue;
    const char *text = *(const char *const *)(const void *)((const char *)value + field->offset);
    if (text && *text) return text;
  }
  return "";
}

/* ---- From an entry to a row ---------------------------------------------------------------------------------------------------------- */

void audit_leaf(const audit_entry *entry, uint8_t leaf[32]) {
  buffer *text = context_scratch();
  schema_encode(audit_entry_schema(), entry, SCHEMA_PUBLIC, text);
  tree_hash hash = tree_leaf(text->data, text->size);
  memcpy(leaf, hash.bytes, sizeof hash.bytes);
}

purlin_status audit_write(purlin_ctx *ctx, const audit_entry *given) {
  audit_entry entry = *given; /* a transaction that runs again cuts again */
  purlin_status status = cut_object(ctx, &entry.before);
  if (status == PURLIN_OK) status = cut_object(ctx, &entry.after);
  if (status == PURLIN_OK) status = audit_wait(ctx, &entry);
  if (status == PURLIN_OK) purlin_count(audit_entries_total, 1, entry.operation);
  return status;
}

/* ---- What plugins write ----------------------------------------------------------------------------------------------------------------- */

purlin_status purlin_audit(purlin_ctx *ctx, const purlin_audit_entry *given) {
  if (!audit_is_enabled()) return PURLIN_OK;
  audit_entry entry = {.operation = given->operation ? given->operation : ctx->operation,
                       .object = given->object,
                       .actor = given->actor,
                       .before = given->before,
                       .after = given->after,
                       .outcome = given->outcome == PURLIN_AUDIT_DONE ? "done" : "refused"};
  describe(ctx, &entry);
  if (given->detail.text) {
    char hash[65];
    purlin_sha256(given->detail.text, given->detail.size, hash);
    purlin_status status = take_text(ctx, &entry, given->detail.text, given->detail.size, hash);
    if (status != PURLIN_OK && given->outcome == PURLIN_AUDIT_DONE) return status;
  }
  if (given->outcome != PURLIN_AUDIT_DONE) {
    audit_apart(&entry);
    return PURLIN_OK;
  }
  entry.id = purlin_new_id(ctx, "aud");
  return entry.id ? audit_write(ctx, &entry) : PURLIN_TOO_LARGE;
}

void audit_refused(purlin_ctx *ctx, const char *operation, purlin_status status) {
  if (!audit_is_enabled() || (status != PURLIN_UNAUTHENTICATED && status != PURLIN_FORBIDDEN)) return;
  audit_entry entry = {.operation = operation, .outcome = status == PURLIN_FORBIDDEN ? "forbidden" : "unauthenticated"};
  describe(ctx, &entry);
  audit_apart(&entry);
}
