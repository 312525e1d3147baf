#include "model_registry.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MOST_VERSIONS_AT_ONCE = 10000 }; /* clients then ask for the next page */

#define PROMPT_TAG "mlflow.prompt.is_prompt"

/* ---- Telling ---------------------------------------------------------------------------------------------------------------------------- */

purlin_status tell_version(purlin_ctx *ctx, const registry_version *from, told_version *to) {
  const char *number = purlin_format(ctx, "%lld", (long long)from->version);
  if (!number) return PURLIN_TOO_LARGE;
  *to = (told_version){.name = from->name,
                       .version = number,
                       .creation_timestamp = mlflow_ms(from->created_at),
                       .last_updated_timestamp = mlflow_ms(from->updated_at),
                       .user_id = from->created_by,
                       .current_stage = from->stage,
                       .description = mlflow_told(from->description),
                       .source = from->source.state == PURLIN_SET ? from->source.value : "",
                       .run_id = mlflow_told(from->run_id),
                       .run_link = mlflow_told(from->run_link),
                       .model_id = mlflow_told(from->logged_model),
                       .status = "READY",
                       .tags = {(told_tag *)(void *)from->tags.items, from->tags.count},
                       .aliases = from->aliases};
  return PURLIN_OK;
}

purlin_status tell_versions(purlin_ctx *ctx, const registry_version *from, size_t count, told_versions *to) {
  to->model_versions.items = purlin_alloc_array(ctx, count, sizeof *to->model_versions.items);
  to->model_versions.count = count;
  purlin_status status = to->model_versions.items || count == 0 ? PURLIN_OK : PURLIN_TOO_LARGE;
  for (size_t i = 0; i < count && status == PURLIN_OK; i++)
    status = tell_version(ctx, &from[i], &to->model_versions.items[i]);
  return status;
}

purlin_status no_version(purlin_ctx *ctx, purlin_status status, const char *name, const char *version) {
  if (status != PURLIN_NOT_FOUND) return status;
  return purlin_fail(ctx, status, "Model Version (name=%s, version=%s) not found", name, version);
}

/* ---- Asking ----------------------------------------------------------------------------------------------------------------------------- */

purlin_status check_version(purlin_ctx *ctx, const char *version, int64_t *number) {
  char *end = NULL;
  errno = 0;
  long long value = strtoll(version, &end, 10);
  if (errno || end == version || *end)
    return purlin_fail(ctx, PURLIN_INVALID, "Parameter 'version' must be an integer, got '%.100s'.", version);
  *number = value;
  return value >= 1 ? PURLIN_OK : PURLIN_NOT_FOUND;
}

purlin_status canonical_stage(purlin_ctx *ctx, const char *stage, const char **out) {
  static const char *const stages[] = {"None", "Staging", "Production", "Archived"};
  for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++)
    if (strcasecmp(stage, stages[i]) == 0) return *out = stages[i], PURLIN_OK;
  return purlin_fail(ctx, PURLIN_INVALID,
                     "Invalid Model Version stage: %.100s. Value must be one of None, Staging, Production, Archived.",
                     stage);
}

/* Models and prompts are kept alike: who says nothing of prompts wants none. */
static const char *condition_of(purlin_ctx *ctx, const char *filter) {
  if (strstr(filter, PROMPT_TAG)) return filter;
  if (!filter[strspn(filter, " \t\r\n")]) return "tag.`" PROMPT_TAG "` != 'true'";
  return purlin_format(ctx, "(%s) AND tag.`" PROMPT_TAG "` != 'true'", filter);
}

static const char *order_of(purlin_ctx *ctx, const purlin_texts *keys, const char *ties) {
  const char *order = "";
  for (size_t i = 0; i < keys->count && order; i++) order = purlin_format(ctx, "%s%s, ", order, keys->items[i]);
  return order ? purlin_format(ctx, "%s%s", order, ties) : NULL;
}

purlin_status registry_asked(purlin_ctx *ctx, const registry_filter *filter, const char *order, const char *ties,
                             registry_search *out) {
  const char *condition = condition_of(ctx, filter->filter);
  if (filter->order_by.count > 0) order = order_of(ctx, &filter->order_by, ties);
  if (!condition || !order) return PURLIN_TOO_LARGE;
  int64_t limit = filter->max_results < MOST_VERSIONS_AT_ONCE ? filter->max_results : MOST_VERSIONS_AT_ONCE;
  *out = (registry_search){condition, order, filter->page_token, limit};
  return PURLIN_OK;
}

/* ---- Made and read ------------------------------------------------------------------------------------------------------------------------ */

typedef struct create_version_in {
  const char *name, *source;
  purlin_opt_text run_id, run_link, description, model_id;
  PURLIN_LIST_OF(sent_tag) tags;
} create_version_in;
PURLIN_SCHEMA(create_version_in, "A version to register",
    REGISTRY_TEXT(name, "The model"),
    PURLIN_REQUIRED(source, "Where its files are", .max_length = 8192),
    PURLIN_OPTIONAL(run_id, "The run that made it", .max_length = 256),
    PURLIN_OPTIONAL(run_link, "Where that run is shown", .max_length = 2048),
    PURLIN_OPTIONAL(description, "What is special about it", .max_length = 20000),
    PURLIN_OPTIONAL(model_id, "The logged model that it is", .max_length = 64),
    PURLIN_LIST(tags, sent_tag, "Tags", .max_length = 1000));

MLFLOW_BINDING(create_model_version, create_version_in, version_answer, "POST /api/2.0/mlflow/model-versions/create",
               "registry.register_version") {
  const registry_registration ask = {.name = in->name,
                                     .source = in->source,
                                     .run_id = mlflow_meant(in->run_id),
                                     .run_link = mlflow_meant(in->run_link),
                                     .logged_model = mlflow_meant(in->model_id),
                                     .description = mlflow_meant(in->description),
                                     .tags = {(registry_tag *)(void *)in->tags.items, in->tags.count}};
  registry_version made = {0};
  purlin_status status = check_tags(ctx, in->tags.items, in->tags.count);
  if (status == PURLIN_OK)
    status = purlin_call(ctx, "registry.register_version", registry_registration_schema(), &ask, registry_version_schema(),
                         &made);
  if (status == PURLIN_OK) return tell_version(ctx, &made, &out->model_version);
  bool other = strncmp(in->source, "models:/", 8) == 0; /* it may be that one that is not there, and is told of */
  return other ? status : no_model(ctx, status, in->name);
}

typedef struct which_version {
  const char *name, *version;
} which_version;
PURLIN_SCHEMA(which_version, "Which version",
    REGISTRY_TEXT(name, "The model"),
    REGISTRY_TEXT(version, "Its number"));

static purlin_status find(purlin_ctx *ctx, const char *name, const char *version, registry_version *out) {
  int64_t number = 0;
  const registry_which_version which = {name, version};
  purlin_status status = check_version(ctx, version, &number);
  *out = (registry_version){0};
  if (status == PURLIN_OK)
    status =
        purlin_call(ctx, "registry.get_version", registry_which_version_schema(), &which, registry_version_schema(), out);
  return no_version(ctx, status, name, version);
}

MLFLOW_BINDING(get_model_version, which_version, version_answer, "GET /api/2.0/mlflow/model-versions/get",
               "registry.get_version") {
  registry_version found;
  purlin_status status = find(ctx, in->name, in->version, &found);
  return status == PURLIN_OK ? tell_version(ctx, &found, &out->model_version) : status;
}

typedef struct download_answer {
  const char *artifact_uri;
} download_answer;
PURLIN_SCHEMA(download_answer, "Where files are", PURLIN_REQUIRED(artifact_uri, "Where they are"));

MLFLOW_BINDING(get_model_version_download_uri, which_version, download_answer,
               "GET /api/2.0/mlflow/model-versions/get-download-uri", "registry.get_version") {
  registry_version found;
  purlin_status status = find(ctx, in->name, in->version, &found);
  if (status != PURLIN_OK) return status;
  const purlin_opt_text *at = found.location.state == PURLIN_SET ? &found.location : &found.source;
  if (at->state != PURLIN_SET)
    return purlin_fail(ctx, PURLIN_NOT_FOUND,
                       "Model Version (name=%s, version=%s) was trained here and has no source to load from", in->name,
                       in->version);
  out->artifact_uri = at->value;
  return PURLIN_OK;
}

typedef struct search_versions_in {
  const char *filter;
  int64_t max_results;
  purlin_texts order_by;
  const char *page_token;
} search_versions_in;
PURLIN_SCHEMA(search_versions_in, "What is looked for",
    PURLIN_DEFAULT(filter, "\"\"", "A condition"),
    PURLIN_DEFAULT(max_results, "10000", "At most so many; a page has 10,000 at most", .min = 1, .max = 200000),
    PURLIN_OPTIONAL(order_by, "Keys, with ASC or DESC", .max_length = 16),
    PURLIN_DEFAULT(page_token, "\"\"", "What came with the page before"));

MLFLOW_BINDING(search_model_versions, search_versions_in, told_versions,
               "GET /api/2.0/mlflow/model-versions/search, POST /api/2.0/mlflow/model-versions/search",
               "registry.search_versions") {
  const registry_filter filter = {in->filter, in->max_results, in->order_by, in->page_token};
  registry_search ask;
  registry_version_page found = {0};
  purlin_status status = registry_asked(ctx, &filter, "", "name ASC, version_number DESC", &ask);
  if (status == PURLIN_OK)
    status = purlin_call(ctx, "registry.search_versions", registry_search_schema(), &ask, registry_version_page_schema(),
                         &found);
  if (status == PURLIN_OK) status = tell_versions(ctx, found.versions.items, found.versions.count, out);
  if (status == PURLIN_OK && found.next_page && *found.next_page) out->next_page_token = found.next_page;
  return status;
}

/* ---- Changed ------------------------------------------------------------------------------------------------------------------------------ */

typedef struct update_version_in {
  const char *name, *version;
  purlin_opt_text description;
} update_version_in;
PURLIN_SCHEMA(update_version_in, "What is to be said about a version",
    REGISTRY_TEXT(name, "The model"),
    REGISTRY_TEXT(version, "Its number"),
    PURLIN_OPTIONAL(description, "What is special about it", .max_length = 20000));

MLFLOW_BINDING(update_model_version, update_version_in, version_answer, "PATCH /api/2.0/mlflow/model-versions/update",
               "registry.update_version") {
  int64_t number = 0;
  const registry_update_version ask = {in->name, in->version, in->description};
  registry_version changed = {0};
  purlin_status status = check_version(ctx, in->version, &number);
  if (status == PURLIN_OK)
    status = purlin_call(ctx, "registry.update_version", registry_update_version_schema(), &ask, registry_version_schema(),
                         &changed);
  if (status == PURLIN_OK) return tell_version(ctx, &changed, &out->model_version);
  return no_version(ctx, status, in->name, in->version);
}

MLFLOW_BINDING(delete_model_version, which_version, purlin_nothing, "DELETE /api/2.0/mlflow/model-versions/delete",
               "registry.delete_version") {
  int64_t number = 0;
  const registry_which_version ask = {in->name, in->version};
  purlin_status status = check_version(ctx, in->version, &number);
  if (status == PURLIN_OK)
    status =
        purlin_call(ctx, "registry.delete_version", registry_which_version_schema(), &ask, purlin_nothing_schema(), out);
  return no_version(ctx, status, in->name, in->version);
}

typedef struct transition_in {
  const char *name, *version, *stage;
  bool archive_existing_versions;
} transition_in;
PURLIN_SCHEMA(transition_in, "Where a version is to stand",
    REGISTRY_TEXT(name, "The model"),
    REGISTRY_TEXT(version, "Its number"),
    PURLIN_REQUIRED(stage, "The stage", .min_length = 1),
    PURLIN_DEFAULT(archive_existing_versions, "false", "Whether other versions of that stage are archived"));

MLFLOW_BINDING(transition_model_version_stage, transition_in, version_answer,
               "POST /api/2.0/mlflow/model-versions/transition-stage", "registry.set_stage") {
  int64_t number = 0;
  registry_set_stage ask = {.name = in->name, .version = in->version, .archive_others = in->archive_existing_versions};
  registry_version moved = {0};
  purlin_status status = canonical_stage(ctx, in->stage, &ask.stage);
  if (status == PURLIN_OK) status = check_version(ctx, in->version, &number);
  if (status != PURLIN_OK) return no_version(ctx, status, in->name, in->version);
  bool active = strcmp(ask.stage, "Staging") == 0 || strcmp(ask.stage, "Production") == 0;
  if (in->archive_existing_versions && !active)
    return purlin_fail(ctx, PURLIN_INVALID,
                       "Model version transition cannot archive existing model versions because '%.100s' is not an Active "
                       "stage. Valid stages are ['Staging', 'Production']",
                       in->stage);
  status = purlin_call(ctx, "registry.set_stage", registry_set_stage_schema(), &ask, registry_version_schema(), &moved);
  if (status == PURLIN_OK) return tell_version(ctx, &moved, &out->model_version);
  return no_version(ctx, status, in->name, in->version);
}

typedef struct set_version_tag_in {
  const char *name, *version, *key, *value;
} set_version_tag_in;
PURLIN_SCHEMA(set_version_tag_in, "A tag of a version",
    REGISTRY_TEXT(name, "The model"),
    REGISTRY_TEXT(version, "Its number"),
    PURLIN_REQUIRED(key, "The key", .min_length = 1, .max_length = 1000),
    PURLIN_DEFAULT(value, "\"\"", "The value", .max_length = 400000));

MLFLOW_BINDING(set_model_version_tag, set_version_tag_in, purlin_nothing, "POST /api/2.0/mlflow/model-versions/set-tag",
               "registry.set_version_tag") {
  int64_t number = 0;
  const registry_set_version_tag ask = {in->name, in->version, in->key, in->value};
  purlin_status status = mlflow_check_key(ctx, "key", in->key);
  if (status == PURLIN_OK) status = check_version(ctx, in->version, &number);
  if (status == PURLIN_OK)
    status =
        purlin_call(ctx, "registry.set_version_tag", registry_set_version_tag_schema(), &ask, purlin_nothing_schema(), out);
  return no_version(ctx, status, in->name, in->version);
}

typedef struct delete_version_tag_in {
  const char *name, *version, *key;
} delete_version_tag_in;
PURLIN_SCHEMA(delete_version_tag_in, "A tag of a version",
    REGISTRY_TEXT(name, "The model"),
    REGISTRY_TEXT(version, "Its number"),
    PURLIN_REQUIRED(key, "The key", .min_length = 1, .max_length = 1000));

MLFLOW_BINDING(delete_model_version_tag, delete_version_tag_in, purlin_nothing,
               "DELETE /api/2.0/mlflow/model-versions/delete-tag", "registry.delete_version_tag") {
  int64_t number = 0;
  const registry_which_version_tag ask = {in->name, in->version, in->key};
  purlin_status status = check_version(ctx, in->version, &number);
  if (status == PURLIN_OK)
    status = purlin_call(ctx, "registry.delete_version_tag", registry_which_version_tag_schema(), &ask,
                         purlin_nothing_schema(), out);
  return no_version(ctx, status, in->name, in->version);
}
