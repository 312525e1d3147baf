#include "operation/registry.h"
#include <stdlib.h>
#include <string.h>

/* Written at start only, as the tables of registry.c. */
static operation *bindings;

/* Takes the declaration as it stands; what it leads to is known once all plugins are. */
purlin_status binding_register(operation *binding, buffer *why) {
  const purlin_declaration *at = &binding->declared->declared;
  if (!binding->declared->http) {
    buffer_format(why, "%s:%u: the binding '%s' has no address", at->file, at->line, binding->name);
    return PURLIN_INVALID;
  }
  if (binding_find(binding->name)) {
    buffer_format(why, "%s:%u: the binding '%s' exists already", at->file, at->line, binding->name);
    return PURLIN_CONFLICT;
  }
  binding->binding = malloc(sizeof *binding->binding);
  if (!binding->binding) return PURLIN_UNAVAILABLE;
  *binding->binding = *binding->declared;
  binding->declared = binding->binding;
  binding->next = bindings;
  bindings = binding;
  return PURLIN_OK;
}

static purlin_status refuse(const operation *binding, const char *what, buffer *why) {
  const purlin_declaration *at = &binding->declared->declared;
  buffer_format(why, "%s:%u: the binding '%s' leads to '%s', which %s", at->file, at->line, binding->name,
                binding->declared->binds, what);
  return PURLIN_INVALID;
}

/* Whoever may call the operation may call it by this address, and what it does is written down as that. */
static purlin_status link_binding(operation *binding, buffer *why) {
  purlin_operation *own = binding->binding;
  const operation *to = operation_find(own->binds);
  if (!to) return refuse(binding, "does not exist", why);
  if (to->declared->effect != PURLIN_READS && strstr(own->http, "GET "))
    return refuse(binding, "changes something, and is bound to GET; use another method", why);
  own->permission = to->declared->permission;
  own->by_project = to->declared->by_project;
  own->effect = to->declared->effect;
  own->answers_secret = to->declared->answers_secret;
  own->unaudited = "the operation that it leads to has its entry";
  own->object = NULL;
  if (!own->summary) own->summary = to->declared->summary;
  if (own->timeout_ms == 0) own->timeout_ms = to->declared->timeout_ms;
  return PURLIN_OK;
}

purlin_status bindings_link(buffer *why) {
  purlin_status status = PURLIN_OK;
  for (operation *b = bindings; b && status == PURLIN_OK; b = b->next) status = link_binding(b, why);
  return status;
}

const operation *binding_find(const char *name) {
  const operation *b = bindings;
  while (b && strcmp(b->name, name) != 0) b = b->next;
  return b;
}

void bindings_visit(void (*visit)(void *to, const operation *op), void *to) {
  for (const operation *b = bindings; b; b = b->next) visit(to, b);
}
