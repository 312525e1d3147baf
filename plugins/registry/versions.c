#include "registry.h"
#include <purlin/contracts/predictor.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FROM_VERSIONS "registry_versions v"

static const char INSERT[] =
    "INSERT INTO registry_versions (id, workspace, project, model_id, model_name, version, framework, sha256, size, signature, source, location,"
    " run_id, run_link, logged_model, training_id, dataset, dataset_version, description, metrics, created_at, updated_at, created_by)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NOW(6), NOW(6), ?)";
static const char COUNT_UP[] = "UPDATE registry_models SET versions = ?, updated_at = NOW(6) WHERE id = ?";
static const char SELECT_ONE[] =
    "SELECT " REGISTRY_VERSION_COLUMNS " FROM " FROM_VERSIONS " WHERE v.model_id = ? AND v.version = ?";
static const char SELECT_PAGE[] = "SELECT " REGISTRY_VERSION_COLUMNS " FROM " FROM_VERSIONS
                                  " WHERE v.model_id = ? AND v.version < ? ORDER BY v.version DESC LIMIT ?";
static const char SELECT_ALIAS[] = "SELECT version FROM registry_aliases WHERE model_id = ? AND alias = ?";
static const char VISIBLE[] = PURLIN_VISIBLE("v.project", "v.model_id");
static const char DESCRIBE[] = "UPDATE registry_versions SET description = ?, updated_at = NOW(6) WHERE id = ?";
static const char DELETE_TAGS[] = "DELETE FROM registry_version_tags WHERE version_id = ?";
static const char DELETE_ALIASES[] = "DELETE FROM registry_aliases WHERE model_id = ? AND version = ?";
static const char DELETE[] = "DELETE FROM registry_versions WHERE id = ?";

typedef struct version_event {
  const char *name;
  int64_t version;
  purlin_opt_text training_id, source, run_id, description;
  bool prompt;
  PURLIN_LIST_OF(registry_tag) tags;
} version_event;
PURLIN_SCHEMA(version_event, "A version of a model",
    PURLIN_REQUIRED(name, "The model"),
    PURLIN_REQUIRED(version, "Its number"),
    PURLIN_OPTIONAL(training_id, "The training job that made it"),
    PURLIN_OPTIONAL(source, "Where its files are"),
    PURLIN_OPTIONAL(run_id, "The run that made it"),
    PURLIN_OPTIONAL(description, "What is special about it"),
    PURLIN_REQUIRED(prompt, "Whether it is one of a prompt, and no model"),
    PURLIN_LIST(tags, registry_tag, "Its tags; none when they are long"));
PURLIN_EVENT(version_created, version_event, "A version of a model was registered");
PURLIN_EVENT(version_deleted, version_event, "A version of a model was deleted");

/* ---- What others use -------------------------------------------------------------------------------------------------------------------- */

purlin_status registry_version_of(purlin_ctx *ctx, const registry_model *of, int64_t number, registry_version *out) {
  purlin_status status = purlin_db_row(ctx, registry_version, out, SELECT_ONE, of->id, number);
  if (status == PURLIN_NOT_FOUND)
    return purlin_fail(ctx, status, "the model '%s' has no version %lld", of->name, (long long)number);
  return status;
}

typedef struct number_row {
  int64_t version;
} number_row;
PURLIN_SCHEMA(number_row, "A number", PURLIN_REQUIRED(version, "The version"));

static purlin_status resolve_alias(purlin_ctx *ctx, const registry_model *of, const char *alias, int64_t *number) {
  number_row row;
  purlin_status status = purlin_db_row(ctx, number_row, &row, SELECT_ALIAS, of->id, alias);
  if (status == PURLIN_NOT_FOUND) return purlin_fail(ctx, status, "the model '%s' has no alias '%s'", of->name, alias);
  if (status == PURLIN_OK) *number = row.version;
  return status;
}

purlin_status registry_resolve(purlin_ctx *ctx, const registry_model *of, const char *text, int64_t *number) {
  if (text[0] == '@') return resolve_alias(ctx, of, text + 1, number);
  char *end = NULL;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  if (errno || end == text || *end || value < 1)
    return purlin_fail_field(ctx, "version", "expected a number from 1, or @ and an alias");
  *number = value;
  return PURLIN_OK;
}

purlin_status registry_find_version(purlin_ctx *ctx, const char *name, const char *version, const char *permission,
                                    bool lock, registry_model *of, registry_version *out) {
  int64_t number = 0;
  purlin_status status = registry_find(ctx, name, permission, lock, of);
  if (status == PURLIN_OK) status = registry_resolve(ctx, of, version, &number);
  return status == PURLIN_OK ? registry_version_of(ctx, of, number, out) : status;
}

static purlin_status insert(purlin_ctx *ctx, const registry_model *of, const registry_version *row, const char *id,
                            int64_t number) {
  purlin_status status = purlin_db_run(ctx, INSERT, id, purlin_workspace(ctx), of->project, of->id, of->name, number,
                                       row->framework, row->sha256, row->size, row->signature, row->source, row->location,
                                       row->run_id, row->run_link, row->logged_model, row->training_id, row->dataset,
                                       row->dataset_version, row->description, row->metrics, purlin_actor(ctx));
  if (status == PURLIN_OK) status = purlin_db_run(ctx, COUNT_UP, number, of->id);
  if (status == PURLIN_OK && row->sha256.state == PURLIN_SET) status = registry_keep_bytes(ctx, row->sha256.value);
  return status;
}

purlin_status registry_add_version(purlin_ctx *ctx, const registry_model *of, const registry_version *row,
                                   registry_version *out) {
  const char *id = purlin_new_id(ctx, "ver");
  /* The model is locked: numbers have no twins, and none comes twice; gaps only where versions were brought from elsewhere. */
  int64_t number = row->version > 0 ? row->version : of->versions + 1;
  if (number <= of->versions)
    return purlin_fail(ctx, PURLIN_CONFLICT, "'%s' has, or had, a version %lld: the next one is %lld", of->name,
                       (long long)number, (long long)of->versions + 1);
  purlin_status status = registry_check_description(ctx, row->description);
  if (status == PURLIN_OK) status = insert(ctx, of, row, id, number);
  if (status == PURLIN_OK)
    status = registry_set_tags(ctx, REGISTRY_VERSION_TAGS, id, of->project, row->tags.items, row->tags.count);
  if (status != PURLIN_OK) return status;
  version_event event = {.name = of->name,
                         .version = number,
                         .training_id = row->training_id,
                         .source = row->source,
                         .run_id = row->run_id,
                         .description = row->description,
                         .prompt = registry_is_prompt(row->tags.items, row->tags.count)};
  event.tags.items = row->tags.items;
  event.tags.count = registry_event_tags(row->tags.items, row->tags.count);
  status = purlin_emit(ctx, version_created, &event, of->name);
  if (status == PURLIN_OK) status = registry_version_of(ctx, of, number, out);
  return status == PURLIN_OK ? registry_fill_versions(ctx, out, 1) : status;
}

/* ---- Making: bytes with a signature ----------------------------------------------------------------------------------------------------- */

typedef struct create_version_in {
  const char *name, *framework, *sha256;
  int64_t size;
  purlin_signature signature;
  purlin_opt_text source, run_id, training_id, dataset;
  purlin_opt_int dataset_version;
  purlin_opt_text description;
  purlin_json metrics;
} create_version_in;
PURLIN_SCHEMA(create_version_in, "A version to register",
    REGISTRY_NAME(name, "The model"),
    PURLIN_REQUIRED(framework, "Which predictor serves it", .max_length = 100),
    PURLIN_REQUIRED(sha256, "Its bytes in storage", .pattern = "[0-9a-f]{64}"),
    PURLIN_REQUIRED(size, "How many bytes", .min = 1, .max = 9e15),
    PURLIN_OBJECT(signature, purlin_signature, "What it takes and gives"),
    PURLIN_OPTIONAL(source, "Where its files are, for clients that load it from there", .max_length = 2048),
    PURLIN_OPTIONAL(run_id, "The run that made it", .max_length = 64),
    PURLIN_OPTIONAL(training_id, "The training job that made it", .max_length = 64),
    PURLIN_OPTIONAL(dataset, "The dataset that it learned from", .max_length = 250),
    PURLIN_OPTIONAL(dataset_version, "Which version of it", .min = 1, .max = 9e15),
    REGISTRY_DESCRIPTION(description, "What is special about it"),
    PURLIN_DEFAULT(metrics, "{}", "How it did, as an object of numbers", .max_length = 60000));

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* Columns are told apart by name, and clients send them by it. */
static purlin_status check_columns(purlin_ctx *ctx, const purlin_signature *signature) {
  size_t count = signature->inputs.count;
  const char **names = purlin_alloc_array(ctx, count, sizeof *names);
  if (!names) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < count; i++) names[i] = signature->inputs.items[i].name;
  qsort((void *)names, count, sizeof *names, by_text);
  for (size_t i = 1; i < count; i++)
    if (strcmp(names[i], names[i - 1]) == 0)
      return purlin_fail_field(ctx, "signature.inputs", "two columns are named '%s'", names[i]);
  return PURLIN_OK;
}

PURLIN_OPERATION(create_version, create_version_in, registry_version,
    .summary = "Register a version of a model", .permission = "models:write", .by_project = true, .effect = PURLIN_CREATES,
    .http = "POST /api/v1/models/{name}/versions") {
  registry_model of;
  registry_version row = {.framework = {PURLIN_SET, in->framework},
                          .sha256 = {PURLIN_SET, in->sha256},
                          .size = {PURLIN_SET, in->size},
                          .source = in->source,
                          .run_id = in->run_id,
                          .training_id = in->training_id,
                          .dataset = in->dataset,
                          .dataset_version = in->dataset_version,
                          .description = in->description,
                          .metrics = in->metrics};
  purlin_status status = check_columns(ctx, &in->signature);
  if (status == PURLIN_OK && in->metrics.text && in->metrics.text[0] != '{')
    status = purlin_fail_field(ctx, "metrics", "expected an object");
  if (status == PURLIN_OK) status = purlin_encode(ctx, purlin_signature_schema(), &in->signature, &row.signature);
  const registry_registration from = {.name = in->name, .source = in->source.value, .run_id = in->run_id};
  if (status == PURLIN_OK && in->source.state == PURLIN_SET) status = registry_read_source(ctx, &from, &row);
  if (status == PURLIN_OK) status = registry_find(ctx, in->name, "models:write", true, &of);
  return status == PURLIN_OK ? registry_add_version(ctx, &of, &row, out) : status;
}

/* ---- Looking ---------------------------------------------------------------------------------------------------------------------------- */

PURLIN_OPERATION(get_version, registry_which_version, registry_version,
    .summary = "A version of a model", .permission = "models:read", .by_project = true, .http = "GET /api/v1/models/{name}/versions/{version}") {
  registry_model of;
  purlin_status status = registry_find_version(ctx, in->name, in->version, "models:read", false, &of, out);
  return status == PURLIN_OK ? registry_fill_versions(ctx, out, 1) : status;
}

typedef struct list_versions_in {
  const char *name;
  int64_t before, limit;
} list_versions_in;
PURLIN_SCHEMA(list_versions_in, "Which page",
    REGISTRY_NAME(name, "The model"),
    PURLIN_DEFAULT(before, "9000000000000000", "Versions with smaller numbers", .min = 1, .max = 9e15),
    PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = 1000));

PURLIN_OPERATION(list_versions, list_versions_in, registry_version_page,
    .summary = "The versions of a model, newest first", .permission = "models:read", .by_project = true, .http = "GET /api/v1/models/{name}/versions") {
  registry_model of;
  purlin_status status = registry_find(ctx, in->name, "models:read", false, &of);
  if (status == PURLIN_OK)
    status = purlin_db_list(ctx, registry_version, &out->versions, SELECT_PAGE, of.id, in->before, in->limit);
  return status == PURLIN_OK ? registry_fill_versions(ctx, out->versions.items, out->versions.count) : status;
}

static const purlin_search_key search_keys[] = {
    {.names = "name", .sql = "v.model_name", .never_null = true},
    {.names = "version_number, version", .sql = "v.version", .type = PURLIN_SEARCH_NUMBER, .never_null = true},
    {.names = "run_id", .sql = "v.run_id", .lenient = true},
    {.names = "source_path, source", .sql = "v.source"},
    {.names = "stage, current_stage", .sql = "v.stage", .never_null = true},
    {.names = "creation_timestamp, creation_time, created_at",
     .sql = "v.created_at",
     .type = PURLIN_SEARCH_TIME,
     .never_null = true},
    {.names = "last_updated_timestamp, last_updated_time, updated_at",
     .sql = "v.updated_at",
     .type = PURLIN_SEARCH_TIME,
     .never_null = true},
    {.names = "id", .sql = "v.id", .never_null = true, .unique = true},
};
static const purlin_search_entity search_entities[] = {
    {.names = "attribute, attr", .keys = search_keys, .key_count = sizeof search_keys / sizeof search_keys[0]},
    {.names = "tag, tags",
     .table = "registry_version_tags",
     .owner = "version_id",
     .scope = "workspace",
     .lenient = REGISTRY_PROMPT_TAG},
};
static const purlin_search version_search = {.entities = search_entities,
                                             .entity_count = sizeof search_entities / sizeof search_entities[0],
                                             .id = "v.id",
                                             .scope = "v.workspace",
                                             .order = "last_updated_timestamp DESC, version_number DESC, id DESC"};

PURLIN_OPERATION(search_versions, registry_search, registry_version_page,
    .summary = "Look for versions", .permission = "models:read", .by_project = true, .http = "POST /api/v1/versions/search",
    .description = "By name, version_number, run_id, source_path, stage, creation_timestamp, last_updated_timestamp and tags.") {
  const char *workspace = purlin_workspace(ctx);
  const purlin_search_asked asked = {in->condition, in->order, in->page, in->limit};
  purlin_search search = version_search;
  search.scopes = (purlin_texts){&workspace, 1};
  purlin_status status =
      purlin_db_search(ctx, registry_version, &out->versions, &out->next_page, &search, &asked, REGISTRY_VERSION_COLUMNS,
                       FROM_VERSIONS, VISIBLE, PURLIN_VISIBLE_TO(ctx, "models:read"));
  return status == PURLIN_OK ? registry_fill_versions(ctx, out->versions.items, out->versions.count) : status;
}

/* ---- Changing what is said about it ----------------------------------------------------------------------------------------------------- */

PURLIN_OPERATION(update_version, registry_update_version, registry_version,
    .summary = "Describe a version anew", .permission = "models:write", .by_project = true, .effect = PURLIN_CHANGES, .object = "get_version",
    .http = "PATCH /api/v1/models/{name}/versions/{version}") {
  registry_model of;
  registry_version row;
  purlin_status status = registry_check_description(ctx, in->description);
  if (status == PURLIN_OK) status = registry_find_version(ctx, in->name, in->version, "models:write", true, &of, &row);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, DESCRIBE, in->description, row.id);
  if (status == PURLIN_OK) status = registry_version_of(ctx, &of, row.version, out);
  return status == PURLIN_OK ? registry_fill_versions(ctx, out, 1) : status;
}

PURLIN_OPERATION(delete_version, registry_which_version, purlin_nothing,
    .summary = "Delete a version", .permission = "models:write", .by_project = true, .effect = PURLIN_CHANGES, .object = "get_version",
    .http = "DELETE /api/v1/models/{name}/versions/{version}",
    .description = "With its tags and aliases. Its number is not used again. What was deployed goes on serving.") {
  registry_model of;
  registry_version row;
  purlin_status status = registry_find_version(ctx, in->name, in->version, "models:write", true, &of, &row);
  if (status == PURLIN_OK) status = registry_fill_versions(ctx, &row, 1);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, DELETE_TAGS, row.id);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, DELETE_ALIASES, of.id, row.version);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, DELETE, row.id);
  if (status == PURLIN_OK) status = registry_touch(ctx, of.id);
  if (status != PURLIN_OK) return status;
  const version_event event = {.name = in->name,
                               .version = row.version,
                               .training_id = row.training_id,
                               .prompt = registry_is_prompt(row.tags.items, row.tags.count)};
  return purlin_emit(ctx, version_deleted, &event, in->name);
}
