#include "search/search.h"
#include <string.h>

bool search_is_among(const char *names, const char *text, size_t size) {
  for (const char *at = names; at && *at;) {
    at += strspn(at, ", ");
    size_t length = strcspn(at, ",");
    if (length == size && memcmp(at, text, size) == 0) return true;
    at += length;
  }
  return false;
}

const char *search_first_name(purlin_ctx *ctx, const char *names) {
  return purlin_copy_bytes(ctx, names, strcspn(names, ","));
}

const char *search_unquoted(purlin_ctx *ctx, const char *text, size_t size) {
  char quote = size >= 2 ? text[0] : '\0';
  bool quoted = (quote == '`' || quote == '"' || quote == '\'') && text[size - 1] == quote;
  char *out = purlin_copy_bytes(ctx, quoted ? text + 1 : text, quoted ? size - 2 : size);
  if (!out || !quoted) return out;
  size_t to = 0;
  for (size_t from = 0; from < size - 2; from++) {
    out[to++] = out[from];
    if (out[from] == quote && out[from + 1] == quote) from++;
  }
  out[to] = '\0';
  return out;
}

/* "'metric', 'parameter'", and one more: as clients know it from elsewhere. NULL: no memory. */
static const char *with_name(purlin_ctx *ctx, const char *list, const char *names) {
  const char *name = list ? search_first_name(ctx, names) : NULL;
  return name ? purlin_format(ctx, "%s%s'%s'", list, *list ? ", " : "", name) : NULL;
}

static const char *list_entities(purlin_ctx *ctx, const purlin_search *search) {
  const char *list = "";
  for (size_t i = 0; i < search->entity_count; i++) list = with_name(ctx, list, search->entities[i].names);
  return list ? list : "";
}

static const char *list_keys(purlin_ctx *ctx, const purlin_search_entity *entity) {
  const char *list = "";
  for (size_t i = 0; i < entity->key_count; i++) list = with_name(ctx, list, entity->keys[i].names);
  return list ? list : "";
}

static purlin_status find_entity(search_reader *r, const purlin_search *search, const char *name, search_name *out) {
  for (size_t i = 0; i < search->entity_count; i++) {
    if (!search_is_among(search->entities[i].names, name, strlen(name))) continue;
    out->entity = &search->entities[i];
    return PURLIN_OK;
  }
  r->failed = true;
  return purlin_fail(r->ctx, PURLIN_INVALID, "Invalid entity type '%.100s'. Valid values are [%s]", name,
                     list_entities(r->ctx, search));
}

static purlin_status find_key(search_reader *r, const char *name, search_name *out) {
  const purlin_search_entity *entity = out->entity;
  for (size_t i = 0; i < entity->key_count; i++) {
    if (!search_is_among(entity->keys[i].names, name, strlen(name))) continue;
    out->key = &entity->keys[i];
    out->type = out->key->type;
    return PURLIN_OK;
  }
  r->failed = true;
  const char *what = search_first_name(r->ctx, entity->names);
  return purlin_fail(r->ctx, PURLIN_INVALID, "Invalid %s key '%.200s' specified. Valid keys are [%s]", what ? what : "",
                     name, list_keys(r->ctx, entity));
}

purlin_status search_name_of(search_reader *r, const purlin_search *search, search_name *out) {
  *out = (search_name){.entity = &search->entities[0]};
  search_word word = r->word;
  if (r->failed || word.kind != WORD_NAME) return search_expected(r, "a key");
  search_next(r);
  if (r->failed) return PURLIN_INVALID;
  /* The entity ends at the first dot, unless the word begins with a quote. */
  const char *dot = word.at[0] == '`' ? NULL : memchr(word.at, '.', word.size);
  const char *key = dot ? dot + 1 : word.at;
  const char *name = search_unquoted(r->ctx, key, word.size - (size_t)(key - word.at));
  const char *entity = dot ? purlin_copy_bytes(r->ctx, word.at, (size_t)(dot - word.at)) : NULL;
  if (!name || (dot && !entity)) return r->failed = true, PURLIN_TOO_LARGE;
  purlin_status status = entity ? find_entity(r, search, entity, out) : PURLIN_OK;
  if (status != PURLIN_OK) return status;
  size_t size = out->entity->prefix ? strlen(out->entity->prefix) : 0;
  bool prefixed = size > 0 && strncmp(name, out->entity->prefix, size) == 0 && name[size] == '.';
  if (!out->entity->table || (size > 0 && !prefixed)) return find_key(r, name, out);
  out->name = prefixed ? search_unquoted(r->ctx, name + size + 1, strlen(name + size + 1)) : name;
  if (!out->name) return r->failed = true, PURLIN_TOO_LARGE;
  out->type = out->entity->type;
  return PURLIN_OK;
}
