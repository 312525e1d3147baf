#include "registry.h"
#include <string.h>

static const struct {
  const char *set, *unset, *usage;
} statements[] = {
    [REGISTRY_MODEL_TAGS] =
        {"INSERT INTO registry_model_tags (workspace, project, model_id, name, value) VALUES (?, ?, ?, ?, ?)"
         " ON DUPLICATE KEY UPDATE value = VALUES(value)",
         "DELETE FROM registry_model_tags WHERE model_id = ? AND name = ?",
         "SELECT COUNT(*) AS tags, COALESCE(SUM(LENGTH(value)), 0) AS bytes FROM registry_model_tags WHERE model_id = ?"},
    [REGISTRY_VERSION_TAGS] =
        {"INSERT INTO registry_version_tags (workspace, project, version_id, name, value) VALUES (?, ?, ?, ?, ?)"
         " ON DUPLICATE KEY UPDATE value = VALUES(value)",
         "DELETE FROM registry_version_tags WHERE version_id = ? AND name = ?",
         "SELECT COUNT(*) AS tags, COALESCE(SUM(LENGTH(value)), 0) AS bytes FROM registry_version_tags WHERE version_id = ?"},
};

static const char SELECT_ONE[] = "SELECT name AS `key`, value FROM registry_model_tags WHERE model_id = ? AND name = ?";

typedef struct usage_row {
  int64_t tags, bytes;
} usage_row;
PURLIN_SCHEMA(usage_row, "What an object's tags take",
    PURLIN_REQUIRED(tags, "tags"),
    PURLIN_REQUIRED(bytes, "bytes of values"));

typedef struct tag_event {
  const char *name;
  purlin_opt_int version;
  const char *key;
  purlin_opt_text value;
  bool prompt;
} tag_event;
PURLIN_SCHEMA(tag_event, "A tag of a model or a version",
    PURLIN_REQUIRED(name, "The model"),
    PURLIN_OPTIONAL(version, "The version, if it is one's"),
    PURLIN_REQUIRED(key, "The key"),
    PURLIN_OPTIONAL(value, "The value, unless it is long"),
    PURLIN_REQUIRED(prompt, "Whether it is a prompt, and no model"));
PURLIN_EVENT(model_tag_set, tag_event, "A model has a tag");
PURLIN_EVENT(model_tag_deleted, tag_event, "A model has a tag no more");
PURLIN_EVENT(version_tag_set, tag_event, "A version has a tag");
PURLIN_EVENT(version_tag_deleted, tag_event, "A version has a tag no more");

size_t registry_event_tags(const registry_tag *tags, size_t count) {
  size_t bytes = 0;
  for (size_t i = 0; i < count && bytes <= REGISTRY_EVENT_TEXT_BYTES; i++)
    bytes += strlen(tags[i].key) + strlen(tags[i].value);
  return bytes <= REGISTRY_EVENT_TEXT_BYTES ? count : 0;
}

/* Whoever reads an object reads all of its tags. The object is locked, or not seen by others yet. */
static purlin_status check_usage(purlin_ctx *ctx, registry_tagged what, const char *owner) {
  usage_row used;
  purlin_status status = purlin_db_row(ctx, usage_row, &used, statements[what].usage, owner);
  if (status != PURLIN_OK) return status;
  if (used.tags > REGISTRY_MOST_TAGS) return purlin_fail(ctx, PURLIN_INVALID, "at most %d tags", REGISTRY_MOST_TAGS);
  if (used.bytes > REGISTRY_MOST_TAG_BYTES)
    return purlin_fail(ctx, PURLIN_INVALID, "the values of all tags have at most %d bytes", REGISTRY_MOST_TAG_BYTES);
  return PURLIN_OK;
}

purlin_status registry_set_tags(purlin_ctx *ctx, registry_tagged what, const char *owner, const char *project,
                                const registry_tag *tags, size_t count) {
  purlin_status status = PURLIN_OK;
  if (count > REGISTRY_MOST_TAGS) return purlin_fail(ctx, PURLIN_INVALID, "at most %d tags", REGISTRY_MOST_TAGS);
  for (size_t i = 0; i < count && status == PURLIN_OK; i++) {
    status = registry_check_tag(ctx, tags[i].key, tags[i].value);
    if (status == PURLIN_OK)
      status = purlin_db_run(ctx, statements[what].set, purlin_workspace(ctx), project, owner, tags[i].key, tags[i].value);
  }
  return status == PURLIN_OK && count > 0 ? check_usage(ctx, what, owner) : status;
}

typedef struct tag_row {
  const char *key, *value;
} tag_row;
PURLIN_SCHEMA(tag_row, "A tag", PURLIN_REQUIRED(key, "key"), PURLIN_REQUIRED(value, "value"));

purlin_status registry_find_prompt(purlin_ctx *ctx, const char *model_id, bool *prompt) {
  tag_row row;
  purlin_status status = purlin_db_row(ctx, tag_row, &row, SELECT_ONE, model_id, REGISTRY_PROMPT_TAG);
  *prompt = status == PURLIN_OK && registry_is_prompt(&(registry_tag){row.key, row.value}, 1);
  return status == PURLIN_NOT_FOUND ? PURLIN_OK : status;
}

/* ---- Of models -------------------------------------------------------------------------------------------------------------------------- */

static purlin_opt_text short_text(const char *text) {
  return strlen(text) <= REGISTRY_EVENT_TEXT_BYTES ? (purlin_opt_text){PURLIN_SET, text} : (purlin_opt_text){0};
}

PURLIN_OPERATION(set_model_tag, registry_set_model_tag, purlin_nothing,
    .summary = "Tag a model", .permission = "models:write", .by_project = true, .effect = PURLIN_CHANGES, .object = "get_model",
    .http = "PUT /api/v1/models/{name}/tags") {
  registry_model of;
  const registry_tag tag = {in->key, in->value};
  tag_event event = {.name = in->name, .key = in->key, .value = short_text(in->value)};
  purlin_status status = registry_find(ctx, in->name, "models:write", true, &of);
  if (status == PURLIN_OK) status = registry_set_tags(ctx, REGISTRY_MODEL_TAGS, of.id, of.project, &tag, 1);
  if (status == PURLIN_OK) status = registry_find_prompt(ctx, of.id, &event.prompt);
  return status == PURLIN_OK ? purlin_emit(ctx, model_tag_set, &event, in->name) : status;
}

PURLIN_OPERATION(delete_model_tag, registry_which_model_tag, purlin_nothing,
    .summary = "Remove a tag of a model", .permission = "models:write", .by_project = true, .effect = PURLIN_CHANGES, .object = "get_model",
    .http = "DELETE /api/v1/models/{name}/tags",
    .description = "One that is not there is removed already.") {
  registry_model of;
  tag_event event = {.name = in->name, .key = in->key};
  purlin_status status = registry_find(ctx, in->name, "models:write", true, &of);
  if (status == PURLIN_OK) status = registry_find_prompt(ctx, of.id, &event.prompt);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, statements[REGISTRY_MODEL_TAGS].unset, of.id, in->key);
  if (status != PURLIN_OK || purlin_affected(ctx) == 0) return status;
  return purlin_emit(ctx, model_tag_deleted, &event, in->name);
}

/* ---- Of versions ------------------------------------------------------------------------------------------------------------------------ */

PURLIN_OPERATION(set_version_tag, registry_set_version_tag, purlin_nothing,
    .summary = "Tag a version of a model", .permission = "models:write", .by_project = true, .effect = PURLIN_CHANGES, .object = "get_version",
    .http = "PUT /api/v1/models/{name}/versions/{version}/tags") {
  registry_model of;
  registry_version row;
  const registry_tag tag = {in->key, in->value};
  tag_event event = {.name = in->name, .key = in->key, .value = short_text(in->value)};
  purlin_status status = registry_find_version(ctx, in->name, in->version, "models:write", true, &of, &row);
  if (status == PURLIN_OK) status = registry_set_tags(ctx, REGISTRY_VERSION_TAGS, row.id, of.project, &tag, 1);
  if (status == PURLIN_OK) status = registry_find_prompt(ctx, of.id, &event.prompt);
  if (status != PURLIN_OK) return status;
  event.version = (purlin_opt_int){PURLIN_SET, row.version};
  return purlin_emit(ctx, version_tag_set, &event, in->name);
}

PURLIN_OPERATION(delete_version_tag, registry_which_version_tag, purlin_nothing,
    .summary = "Remove a tag of a version", .permission = "models:write", .by_project = true, .effect = PURLIN_CHANGES, .object = "get_version",
    .http = "DELETE /api/v1/models/{name}/versions/{version}/tags",
    .description = "One that is not there is removed already.") {
  registry_model of;
  registry_version row;
  tag_event event = {.name = in->name, .key = in->key};
  purlin_status status = registry_find_version(ctx, in->name, in->version, "models:write", true, &of, &row);
  if (status == PURLIN_OK) status = registry_find_prompt(ctx, of.id, &event.prompt);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, statements[REGISTRY_VERSION_TAGS].unset, row.id, in->key);
  if (status != PURLIN_OK || purlin_affected(ctx) == 0) return status;
  event.version = (purlin_opt_int){PURLIN_SET, row.version};
  return purlin_emit(ctx, version_tag_deleted, &event, in->name);
}
