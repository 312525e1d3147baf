#include "operation/object.h"
#include "access/access.h"
#include "core/schema.h"
#include "core/text.h"
#include "db/db.h"
#include <stdlib.h>
#include <string.h>

/* ---- Showing -------------------------------------------------------------------------------------------------------------------- */

purlin_status object_text(purlin_ctx *ctx, const purlin_schema *schema, const void *value, purlin_json *out) {
  buffer text = {.limit = CONTEXT_DEFAULT_LIMIT};
  schema_encode(schema, value, SCHEMA_PUBLIC, &text);
  const char *kept = text.failed ? NULL : purlin_copy_bytes(ctx, text.data, text.size);
  *out = (purlin_json){kept, text.size};
  buffer_free(&text);
  return kept ? PURLIN_OK : purlin_fail(ctx, PURLIN_TOO_LARGE, "the object does not fit into memory");
}

static void complain(void *to, const char *field, const char *message) {
  (void)purlin_fail_field(to, field, "%s", message);
}

/* The input of the operation that shows: the fields that both have, and defaults. */
static purlin_status input_for(purlin_ctx *ctx, const operation *op, const void *in, void *shown_in) {
  const purlin_schema *from = op->in, *to = op->shown->in;
  uint64_t was_set[SCHEMA_MAX_FIELDS / 64] = {0};
  for (size_t i = 0; i < to->field_count; i++) {
    const purlin_field *field = schema_field(to, i), *given = schema_find(from, field->name, strlen(field->name));
    if (!given || given->type != field->type) continue;
    memcpy((char *)shown_in + field->offset, (const char *)in + given->offset, field->size);
    was_set[i / 64] |= UINT64_C(1) << (i % 64);
  }
  const schema_reading reading = {.memory = &ctx->memory, .complain = complain, .complain_to = ctx};
  return schema_finish(&reading, to, shown_in, was_set);
}

/* No text, and nothing recorded, when there is no such object. */
static purlin_status show(purlin_ctx *ctx, const operation *op, const void *in, purlin_json *out) {
  void *shown_in = purlin_alloc(ctx, op->shown->in->struct_size), *answer = purlin_alloc(ctx, op->shown->out->struct_size);
  if (!shown_in || !answer) return PURLIN_TOO_LARGE;
  *out = (purlin_json){0};
  purlin_status status = input_for(ctx, op, in, shown_in);
  if (status == PURLIN_OK) status = operation_run(ctx, op->shown, shown_in, answer);
  if (status == PURLIN_OK) return object_text(ctx, op->shown->out, answer, out);
  if (status != PURLIN_NOT_FOUND) return status;
  purlin_clear_failure(ctx);
  return PURLIN_OK;
}

/* The log tells what there was, also where whoever changes it may not look. */
static purlin_status show_to_log(purlin_ctx *ctx, const operation *op, const void *in, purlin_json *out) {
  const identity *who = access_see_all(ctx);
  if (!who) return PURLIN_TOO_LARGE;
  purlin_status status = show(ctx, op, in, out);
  access_see_as(ctx, who);
  return status;
}

/* ---- If-Match -------------------------------------------------------------------------------------------------------------------- */

void object_etag(purlin_json text, char etag[OBJECT_ETAG_SIZE]) {
  char digits[65];
  purlin_sha256(text.text, text.size, digits);
  etag[0] = etag[OBJECT_ETAG_SIZE - 2] = '"';
  memcpy(etag + 1, digits, OBJECT_ETAG_SIZE - 3);
  etag[OBJECT_ETAG_SIZE - 1] = '\0';
}

/* RFC 9110, 8.8.3 and 13.1: entity tags with commas between. What is malformed lists nothing. */
bool object_is_listed(const char *header, const char *etag, bool weak) {
  size_t size = strlen(etag);
  if (strcmp(header, "*") == 0) return true;
  for (const char *at = header + strspn(header, " \t,"); *at; at += strspn(at, " \t,")) {
    bool is_weak = strncmp(at, "W/", 2) == 0;
    if (is_weak) at += 2;
    const char *end = *at == '"' ? strchr(at + 1, '"') : NULL;
    if (!end) return false;
    if ((weak || !is_weak) && (size_t)(end + 1 - at) == size && memcmp(at, etag, size) == 0) return true;
    at = end + 1;
  }
  return false;
}

static purlin_status compare(purlin_ctx *ctx, const object_change *change) {
  char etag[OBJECT_ETAG_SIZE];
  if (!change->before.text) return purlin_fail(ctx, PURLIN_PRECONDITION, "there is nothing here that If-Match could match");
  object_etag(change->before, etag);
  if (object_is_listed(change->if_match, etag, false)) return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_PRECONDITION, "it has changed since: its ETag is %s; read it again", etag);
}

/* ---- One change ------------------------------------------------------------------------------------------------------------------- */

void object_change_forget(object_change *c) {
  free(c->held);
  c->held = NULL;
  c->before = (purlin_json){0};
}

static purlin_status read_before(purlin_ctx *ctx, void *argument) {
  object_change *c = argument;
  purlin_json text;
  object_change_forget(c);
  purlin_status status = c->if_match ? show(ctx, c->op, c->in, &text) : show_to_log(ctx, c->op, c->in, &text);
  if (status != PURLIN_OK || !text.text) return status;
  c->held = malloc(text.size + 1);
  if (!c->held) return purlin_fail(ctx, PURLIN_TOO_LARGE, "the object does not fit into memory");
  memcpy(c->held, text.text, text.size);
  c->held[text.size] = '\0';
  c->before = (purlin_json){c->held, text.size};
  return PURLIN_OK;
}

static purlin_status look(purlin_ctx *ctx, void *argument) {
  object_change *c = argument;
  c->looked = true;
  purlin_status status = db_lock_and_read(ctx, read_before, c);
  if (status == PURLIN_OK && c->if_match) status = c->refused = compare(ctx, c);
  return status;
}

purlin_status object_change_begin(purlin_ctx *ctx, object_change *c) {
  if (c->if_match && !c->op->shown)
    return purlin_fail(ctx, PURLIN_INVALID, "%s changes no object that If-Match could be compared with", c->op->name);
  c->looked = false;
  c->refused = PURLIN_OK;
  object_change_forget(c);
  c->after = (purlin_json){0};
  if (c->op->shown && (c->if_match || c->recorded)) db_at_first_write(ctx, look, c);
  return PURLIN_OK;
}

bool object_is_answered(const operation *op) {
  return op->shows || (op->shown && schema_layout(op->out) == schema_layout(op->shown->out));
}

purlin_status object_change_end(purlin_ctx *ctx, object_change *c, purlin_status status, const void *out) {
  /* It may be part of a transaction that goes on, and writes when `c` is no more. */
  if (c->op->shown && (c->if_match || c->recorded) && !c->looked) db_at_first_write(ctx, NULL, NULL);
  if (c->if_match && c->refused != PURLIN_OK)
    return status == c->refused ? status : compare(ctx, c);                    /* whatever was made of it */
  if (status == PURLIN_OK && c->if_match && !c->looked) status = look(ctx, c); /* it has written nothing */
  if (status != PURLIN_OK || !c->recorded) return status;
  bool tells = object_is_answered(c->op) || c->op->declared->effect == PURLIN_CREATES;
  if (tells && !c->op->declared->answers_secret) return object_text(ctx, c->op->out, out, &c->after);
  return c->op->shown ? show_to_log(ctx, c->op, c->in, &c->after) : PURLIN_OK;
}

/* ---- At start ----------------------------------------------------------------------------------------------------------------------- */

static purlin_status refuse(const operation *op, buffer *why, const char *what) {
  const purlin_declaration *at = &op->declared->declared;
  buffer_format(why, "%s:%u: '%s' names '%s' as showing its object, %s", at->file, at->line, op->name, op->declared->object,
                what);
  return PURLIN_INVALID;
}

purlin_status object_check(const operation *op, buffer *why) {
  if (!op->shown) return refuse(op, why, "which is no operation of its plugin");
  if (op->shown->declared->effect != PURLIN_READS) return refuse(op, why, "which changes something itself");
  for (size_t i = 0; i < op->shown->in->field_count; i++) {
    const purlin_field *field = schema_field(op->shown->in, i);
    const purlin_field *given = schema_find(op->in, field->name, strlen(field->name));
    if (field->required && (!given || given->type != field->type)) return refuse(op, why, "whose input it cannot give");
  }
  return PURLIN_OK;
}
