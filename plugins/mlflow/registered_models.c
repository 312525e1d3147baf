#include "model_registry.h"
#include <string.h>
#include <strings.h>

#define PROMPT_TAG "mlflow.prompt.is_prompt"

/* ---- Telling ---------------------------------------------------------------------------------------------------------------------------- */

typedef struct told_registered_model {
  const char *name;
  int64_t creation_timestamp, last_updated_timestamp;
  const char *user_id;
  purlin_opt_text description;
  PURLIN_LIST_OF(told_version) latest_versions;
  PURLIN_LIST_OF(told_tag) tags;
  PURLIN_LIST_OF(told_alias) aliases;
} told_registered_model;
PURLIN_SCHEMA(told_registered_model, "A registered model",
    PURLIN_REQUIRED(name, "Its name"),
    PURLIN_REQUIRED(creation_timestamp, "Since when, in milliseconds since 1970"),
    PURLIN_REQUIRED(last_updated_timestamp, "When it, or one of its versions, changed last"),
    PURLIN_REQUIRED(user_id, "By whom it was registered"),
    PURLIN_OPTIONAL(description, "What it is for"),
    PURLIN_LIST(latest_versions, told_version, "The newest version of each stage"),
    PURLIN_LIST(tags, told_tag, "Its tags"),
    PURLIN_LIST(aliases, told_alias, "Its aliases"));

typedef struct registered_model_answer {
  told_registered_model registered_model;
} registered_model_answer;
PURLIN_SCHEMA(registered_model_answer, "A registered model",
    PURLIN_OBJECT(registered_model, told_registered_model, "The model"));

typedef struct registered_models_answer {
  PURLIN_LIST_OF(told_registered_model) registered_models;
  const char *next_page_token;
} registered_models_answer;
PURLIN_SCHEMA(registered_models_answer, "Registered models",
    PURLIN_LIST(registered_models, told_registered_model, "The models"),
    PURLIN_OPTIONAL(next_page_token, "Asks for the next page"));

static purlin_status tell_aliases(purlin_ctx *ctx, const registry_model *from, told_registered_model *to) {
  to->aliases.items = purlin_alloc_array(ctx, from->aliases.count + 1, sizeof *to->aliases.items);
  if (!to->aliases.items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < from->aliases.count; i++) {
    const char *number = purlin_format(ctx, "%lld", (long long)from->aliases.items[i].version);
    if (!number) return PURLIN_TOO_LARGE;
    to->aliases.items[to->aliases.count++] = (told_alias){from->aliases.items[i].alias, number};
  }
  return PURLIN_OK;
}

static purlin_status tell(purlin_ctx *ctx, const registry_model *from, told_registered_model *to) {
  told_versions latest = {0};
  *to = (told_registered_model){.name = from->name,
                                .creation_timestamp = mlflow_ms(from->created_at),
                                .last_updated_timestamp = mlflow_ms(from->updated_at),
                                .user_id = from->created_by,
                                .description = mlflow_told(from->description),
                                .tags = {(told_tag *)(void *)from->tags.items, from->tags.count}};
  purlin_status status = tell_versions(ctx, from->latest_versions.items, from->latest_versions.count, &latest);
  to->latest_versions.items = latest.model_versions.items;
  to->latest_versions.count = latest.model_versions.count;
  return status == PURLIN_OK ? tell_aliases(ctx, from, to) : status;
}

purlin_status no_model(purlin_ctx *ctx, purlin_status status, const char *name) {
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "Registered Model with name=%s not found", name) : status;
}

/* ---- Made and read ------------------------------------------------------------------------------------------------------------------------ */

typedef struct create_model_in {
  const char *name;
  purlin_opt_text description;
  PURLIN_LIST_OF(sent_tag) tags;
} create_model_in;
PURLIN_SCHEMA(create_model_in, "A model to register",
    REGISTRY_TEXT(name, "Its name"),
    PURLIN_OPTIONAL(description, "What it is for", .max_length = 20000),
    PURLIN_LIST(tags, sent_tag, "Tags", .max_length = 1000));

typedef struct which_model {
  const char *name;
} which_model;
PURLIN_SCHEMA(which_model, "Which model", REGISTRY_TEXT(name, "Its name"));

static purlin_status find(purlin_ctx *ctx, const char *name, registry_model *out) {
  const registry_which_model which = {name};
  *out = (registry_model){0};
  return purlin_call(ctx, "registry.get_model", registry_which_model_schema(), &which, registry_model_schema(), out);
}

static bool is_prompt(const registry_tag *tags, size_t count) {
  bool prompt = false;
  for (size_t i = 0; i < count; i++)
    if (strcmp(tags[i].key, PROMPT_TAG) == 0) prompt = strcasecmp(tags[i].value, "true") == 0;
  return prompt;
}

/* A name is that of a model or of a prompt: clients are told which it is already. */
static purlin_status exists(purlin_ctx *ctx, const char *name, bool prompt) {
  static const struct {
    const char *title, *text;
  } kinds[] = {{"Registered Model", "registered model"}, {"Prompt", "prompt"}};
  registry_model there;
  purlin_status status = find(ctx, name, &there);
  bool other = status == PURLIN_OK && is_prompt(there.tags.items, there.tags.count) != prompt;
  purlin_clear_failure(ctx);
  if (!other) return purlin_fail(ctx, PURLIN_CONFLICT, "%s (name=%s) already exists.", kinds[prompt].title, name);
  return purlin_fail(
      ctx, PURLIN_CONFLICT,
      "Tried to create a %s with name '%s', but the name is already taken by a %s. MLflow does not allow creating a "
      "model and a prompt with the same name.",
      kinds[prompt].text, name, kinds[!prompt].text);
}

/* What clients take for a path is no name to them. */
static purlin_status check_name(purlin_ctx *ctx, const char *parameter, const char *name) {
  if (!name[strspn(name, " \t\r\n")]) return purlin_fail_field(ctx, parameter, "must not be empty");
  if (strpbrk(name, "/:@"))
    return purlin_fail(ctx, PURLIN_INVALID, "Invalid model name '%s'. Names cannot contain '/' or ':'%s.", name,
                       strpbrk(name, "/:") ? "" : ", nor '@' on this server");
  if (strcmp(name, ".") == 0 || strncmp(name, "..", 2) == 0)
    return purlin_fail(
        ctx, PURLIN_INVALID,
        "Invalid value \"%s\" for parameter '%s' supplied: Names may be treated as files in certain cases, and"
        " must not resolve to other names when treated as such. This name would resolve to '%s'",
        name, parameter, name);
  return PURLIN_OK;
}

purlin_status check_tags(purlin_ctx *ctx, const sent_tag *tags, size_t count) {
  purlin_status status = PURLIN_OK;
  for (size_t i = 0; i < count && status == PURLIN_OK; i++) status = mlflow_check_key(ctx, "key", tags[i].key);
  return status;
}

MLFLOW_BINDING(create_registered_model, create_model_in, registered_model_answer,
               "POST /api/2.0/mlflow/registered-models/create", "registry.create_model") {
  const registry_create_model ask = {
      .name = in->name, .description = in->description, .tags = {(registry_tag *)(void *)in->tags.items, in->tags.count}};
  registry_model made = {0};
  purlin_status status = check_name(ctx, "name", in->name);
  if (status == PURLIN_OK) status = check_tags(ctx, in->tags.items, in->tags.count);
  if (status == PURLIN_OK)
    status =
        purlin_call(ctx, "registry.create_model", registry_create_model_schema(), &ask, registry_model_schema(), &made);
  if (status == PURLIN_CONFLICT) return exists(ctx, in->name, is_prompt(ask.tags.items, ask.tags.count));
  return status == PURLIN_OK ? tell(ctx, &made, &out->registered_model) : status;
}

MLFLOW_BINDING(get_registered_model, which_model, registered_model_answer, "GET /api/2.0/mlflow/registered-models/get",
               "registry.get_model") {
  registry_model found;
  purlin_status status = find(ctx, in->name, &found);
  return status == PURLIN_OK ? tell(ctx, &found, &out->registered_model) : no_model(ctx, status, in->name);
}

typedef struct search_models_in {
  const char *filter;
  int64_t max_results;
  purlin_texts order_by;
  const char *page_token;
} search_models_in;
PURLIN_SCHEMA(search_models_in, "What is looked for",
    PURLIN_DEFAULT(filter, "\"\"", "A condition"),
    PURLIN_DEFAULT(max_results, "100", "At most so many", .min = 1, .max = 1000),
    PURLIN_OPTIONAL(order_by, "Keys, with ASC or DESC", .max_length = 16),
    PURLIN_DEFAULT(page_token, "\"\"", "What came with the page before"));

MLFLOW_BINDING(search_registered_models, search_models_in, registered_models_answer,
               "GET /api/2.0/mlflow/registered-models/search, POST /api/2.0/mlflow/registered-models/search",
               "registry.search_models") {
  const registry_filter filter = {in->filter, in->max_results, in->order_by, in->page_token};
  registry_search ask;
  registry_model_page found = {0};
  purlin_status status = registry_asked(ctx, &filter, "name ASC", "name ASC", &ask);
  if (status == PURLIN_OK)
    status =
        purlin_call(ctx, "registry.search_models", registry_search_schema(), &ask, registry_model_page_schema(), &found);
  if (status != PURLIN_OK) return status;
  out->registered_models.items = purlin_alloc_array(ctx, found.models.count + 1, sizeof *out->registered_models.items);
  out->registered_models.count = found.models.count;
  if (!out->registered_models.items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < found.models.count && status == PURLIN_OK; i++)
    status = tell(ctx, &found.models.items[i], &out->registered_models.items[i]);
  if (found.next_page && *found.next_page) out->next_page_token = found.next_page;
  return status;
}

typedef struct latest_in {
  const char *name;
  purlin_texts stages;
} latest_in;
PURLIN_SCHEMA(latest_in, "The newest version of which stages",
    REGISTRY_TEXT(name, "The model"),
    PURLIN_OPTIONAL(stages, "The stages; all when there is none", .max_length = 16));

static purlin_status latest_of(purlin_ctx *ctx, const char *name, purlin_texts stages, registry_version_page *found) {
  const registry_which_stages ask = {name, stages};
  *found = (registry_version_page){0};
  return no_model(ctx,
                  purlin_call(ctx, "registry.latest_versions", registry_which_stages_schema(), &ask,
                              registry_version_page_schema(), found),
                  name);
}

MLFLOW_BINDING(
    get_latest_versions, latest_in, told_versions,
    "POST /api/2.0/mlflow/registered-models/get-latest-versions, GET /api/2.0/mlflow/registered-models/get-latest-versions",
    "registry.latest_versions") {
  registry_version_page found;
  const char **stages = purlin_alloc_array(ctx, in->stages.count + 1, sizeof *stages);
  purlin_status status = stages ? PURLIN_OK : PURLIN_TOO_LARGE;
  for (size_t i = 0; i < in->stages.count && status == PURLIN_OK; i++)
    status = canonical_stage(ctx, in->stages.items[i], &stages[i]);
  if (status == PURLIN_OK) status = latest_of(ctx, in->name, (purlin_texts){stages, in->stages.count}, &found);
  return status == PURLIN_OK ? tell_versions(ctx, found.versions.items, found.versions.count, out) : status;
}

/* ---- Changed ------------------------------------------------------------------------------------------------------------------------------ */

typedef struct update_model_in {
  const char *name, *description;
} update_model_in;
PURLIN_SCHEMA(update_model_in, "What is to be said about a model",
    REGISTRY_TEXT(name, "The model"),
    PURLIN_DEFAULT(description, "\"\"", "What it is for", .max_length = 20000));

MLFLOW_BINDING(update_registered_model, update_model_in, registered_model_answer,
               "PATCH /api/2.0/mlflow/registered-models/update", "registry.update_model") {
  const registry_update_model ask = {in->name, {PURLIN_SET, in->description}};
  registry_model changed = {0};
  purlin_status status =
      purlin_call(ctx, "registry.update_model", registry_update_model_schema(), &ask, registry_model_schema(), &changed);
  return status == PURLIN_OK ? tell(ctx, &changed, &out->registered_model) : no_model(ctx, status, in->name);
}

typedef struct rename_model_in {
  const char *name, *new_name;
} rename_model_in;
PURLIN_SCHEMA(rename_model_in, "A model and what it is to be called",
    REGISTRY_TEXT(name, "Its name"),
    PURLIN_REQUIRED(new_name, "Its new name", .max_length = 1024));

MLFLOW_BINDING(rename_registered_model, rename_model_in, registered_model_answer,
               "POST /api/2.0/mlflow/registered-models/rename", "registry.rename_model") {
  const registry_rename_model ask = {in->name, in->new_name};
  registry_model changed = {0};
  purlin_status status = check_name(ctx, "new_name", in->new_name);
  if (status == PURLIN_OK)
    status =
        purlin_call(ctx, "registry.rename_model", registry_rename_model_schema(), &ask, registry_model_schema(), &changed);
  if (status == PURLIN_CONFLICT)
    return purlin_fail(ctx, status, "Registered Model (name=%s) already exists.", in->new_name);
  return status == PURLIN_OK ? tell(ctx, &changed, &out->registered_model) : no_model(ctx, status, in->name);
}

MLFLOW_BINDING(delete_registered_model, which_model, purlin_nothing, "DELETE /api/2.0/mlflow/registered-models/delete",
               "registry.delete_model") {
  const registry_which_model ask = {in->name};
  return no_model(
      ctx, purlin_call(ctx, "registry.delete_model", registry_which_model_schema(), &ask, purlin_nothing_schema(), out),
      in->name);
}

typedef struct set_model_tag_in {
  const char *name, *key, *value;
} set_model_tag_in;
PURLIN_SCHEMA(set_model_tag_in, "A tag of a model",
    REGISTRY_TEXT(name, "The model"),
    PURLIN_REQUIRED(key, "The key", .min_length = 1, .max_length = 1000),
    PURLIN_DEFAULT(value, "\"\"", "The value", .max_length = 400000));

MLFLOW_BINDING(set_registered_model_tag, set_model_tag_in, purlin_nothing, "POST /api/2.0/mlflow/registered-models/set-tag",
               "registry.set_model_tag") {
  const registry_set_model_tag ask = {in->name, in->key, in->value};
  purlin_status status = mlflow_check_key(ctx, "key", in->key);
  if (status == PURLIN_OK)
    status =
        purlin_call(ctx, "registry.set_model_tag", registry_set_model_tag_schema(), &ask, purlin_nothing_schema(), out);
  return no_model(ctx, status, in->name);
}

typedef struct delete_model_tag_in {
  const char *name, *key;
} delete_model_tag_in;
PURLIN_SCHEMA(delete_model_tag_in, "A tag of a model",
    REGISTRY_TEXT(name, "The model"),
    PURLIN_REQUIRED(key, "The key", .min_length = 1, .max_length = 1000));

MLFLOW_BINDING(delete_registered_model_tag, delete_model_tag_in, purlin_nothing,
               "DELETE /api/2.0/mlflow/registered-models/delete-tag", "registry.delete_model_tag") {
  const registry_which_model_tag ask = {in->name, in->key};
  return no_model(
      ctx,
      purlin_call(ctx, "registry.delete_model_tag", registry_which_model_tag_schema(), &ask, purlin_nothing_schema(), out),
      in->name);
}

/* ---- Aliases ------------------------------------------------------------------------------------------------------------------------------- */

typedef struct set_alias_in {
  const char *name, *alias, *version;
} set_alias_in;
PURLIN_SCHEMA(set_alias_in, "Where an alias is to point",
    REGISTRY_TEXT(name, "The model"),
    REGISTRY_TEXT(alias, "The alias"),
    REGISTRY_TEXT(version, "The version"));

MLFLOW_BINDING(set_registered_model_alias, set_alias_in, purlin_nothing, "POST /api/2.0/mlflow/registered-models/alias",
               "registry.set_alias") {
  registry_set_alias ask = {.name = in->name, .alias = in->alias};
  registry_alias made = {0};
  purlin_status status = check_version(ctx, in->version, &ask.version);
  if (status == PURLIN_OK)
    status = purlin_call(ctx, "registry.set_alias", registry_set_alias_schema(), &ask, registry_alias_schema(), &made);
  return no_version(ctx, status, in->name, in->version);
}

typedef struct which_alias {
  const char *name, *alias;
} which_alias;
PURLIN_SCHEMA(which_alias, "Which alias",
    REGISTRY_TEXT(name, "The model"),
    REGISTRY_TEXT(alias, "The alias"));

/* Something of a model was not found: whether the model is there, recorded when not. */
static purlin_status model_is_there(purlin_ctx *ctx, const char *name) {
  registry_model there;
  purlin_clear_failure(ctx);
  return no_model(ctx, find(ctx, name, &there), name);
}

/* One that is not there is gone already. */
MLFLOW_BINDING(delete_registered_model_alias, which_alias, purlin_nothing, "DELETE /api/2.0/mlflow/registered-models/alias",
               "registry.delete_alias") {
  const registry_which_alias ask = {in->name, in->alias};
  purlin_status status =
      purlin_call(ctx, "registry.delete_alias", registry_which_alias_schema(), &ask, purlin_nothing_schema(), out);
  return status == PURLIN_NOT_FOUND ? model_is_there(ctx, in->name) : status;
}

static purlin_status newest(purlin_ctx *ctx, const char *name, told_version *out) {
  registry_version_page found;
  const registry_version *newest = NULL;
  purlin_status status = latest_of(ctx, name, (purlin_texts){0}, &found);
  if (status != PURLIN_OK) return status;
  for (size_t i = 0; i < found.versions.count; i++)
    if (!newest || found.versions.items[i].version > newest->version) newest = &found.versions.items[i];
  if (!newest) return purlin_fail(ctx, PURLIN_NOT_FOUND, "Latest version not found for model %s.", name);
  return tell_version(ctx, newest, out);
}

MLFLOW_BINDING(get_model_version_by_alias, which_alias, version_answer, "GET /api/2.0/mlflow/registered-models/alias",
               "registry.get_version") {
  if (strcasecmp(in->alias, "latest") == 0) return newest(ctx, in->name, &out->model_version);
  const registry_which_version which = {in->name, purlin_format(ctx, "@%s", in->alias)};
  registry_version found = {0};
  if (!which.version) return PURLIN_TOO_LARGE;
  purlin_status status =
      purlin_call(ctx, "registry.get_version", registry_which_version_schema(), &which, registry_version_schema(), &found);
  if (status == PURLIN_OK) return tell_version(ctx, &found, &out->model_version);
  if (status != PURLIN_NOT_FOUND) return status;
  status = model_is_there(ctx, in->name);
  return status == PURLIN_OK ? purlin_fail(ctx, PURLIN_INVALID, "Registered model alias %s not found.", in->alias) : status;
}
