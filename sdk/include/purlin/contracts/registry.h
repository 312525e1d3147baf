/* registry.h: what the operations of the plugin `registry` take and give, for those that call them from C.
 *
 *   registry_which_version which = {.name = "churn", .version = "@champion"};
 *   registry_version found = {0};
 *   status = purlin_call(ctx, "registry.get_version", registry_which_version_schema(), &which, registry_version_schema(), &found);
 *
 * Who includes this and says PURLIN_NEEDS_PLUGIN(registry, "registry") passes structs as they are: nothing is encoded on the way. What
 * each operation does, and which permission it wants, stands where it is declared, in plugins/registry.
 *
 * Since 0.2. */
#ifndef PURLIN_CONTRACTS_REGISTRY_H
#define PURLIN_CONTRACTS_REGISTRY_H

#include <purlin/operation.h>

PURLIN_BEGIN

/* ---- Words that several share --------------------------------------------------------------------------------------------- */

/* Lengths are bytes; of characters a name has at most 256, a key 250, a value 100,000, an alias 255. */
#define REGISTRY_NAME(member, text) PURLIN_REQUIRED(member, text, .max_length = 1024)
#define REGISTRY_VERSION(member) PURLIN_REQUIRED(member, "Its number, or @ and an alias", .max_length = 1024)
#define REGISTRY_DESCRIPTION(member, text) PURLIN_OPTIONAL(member, text ", at most 5000 characters", .max_length = 20000)
#define REGISTRY_STAGES "None, Staging, Production, Archived"

typedef struct registry_tag {
  const char *key, *value;
} registry_tag;
PURLIN_SCHEMA(registry_tag, "A tag",
    PURLIN_REQUIRED(key, "The key", .min_length = 1, .max_length = 1000),
    PURLIN_REQUIRED(value, "The value", .max_length = 400000));

typedef struct registry_alias {
  const char *alias;
  int64_t version;
  purlin_time updated_at;
  const char *updated_by;
} registry_alias;
PURLIN_SCHEMA(registry_alias, "A name for a version",
    PURLIN_REQUIRED(alias, "The name"),
    PURLIN_REQUIRED(version, "The version it points at"),
    PURLIN_REQUIRED(updated_at, "Since when"),
    PURLIN_REQUIRED(updated_by, "Who moved it there"));

/* A condition, an order and a page, as <purlin/search.h> understands them. */
typedef struct registry_search {
  const char *condition, *order, *page;
  int64_t limit;
} registry_search;
PURLIN_SCHEMA(registry_search, "What is looked for",
    PURLIN_DEFAULT(condition, "\"\"", "Which, such as name LIKE 'churn%' AND tags.task = 'test'; all without it"),
    PURLIN_DEFAULT(order, "\"\"", "Keys with commas between, such as last_updated_timestamp DESC"),
    PURLIN_DEFAULT(page, "\"\"", "What came as next_page with the page before"),
    PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = 10000));

/* ---- Versions ---------------------------------------------------------------------------------------------------------------- */

/* Of two kinds: a training hands over bytes with a signature; a client registers the place where its files are. What the one has the other
 * may not have. */
typedef struct registry_version {
  const char *id, *name;
  int64_t version;
  purlin_opt_text framework, sha256;
  purlin_opt_int size;
  purlin_json signature;
  purlin_opt_text source, location, run_id, run_link, logged_model, training_id, dataset;
  purlin_opt_int dataset_version;
  purlin_opt_text description;
  purlin_json metrics;
  const char *stage;
  purlin_time created_at, updated_at;
  const char *created_by;
  PURLIN_LIST_OF(registry_tag) tags;
  purlin_texts aliases;
} registry_version;
PURLIN_SCHEMA(registry_version, "A version of a model; what it consists of never changes",
    PURLIN_REQUIRED(id, "Its id"),
    PURLIN_REQUIRED(name, "The model"),
    PURLIN_REQUIRED(version, "Its number, from 1"),
    PURLIN_OPTIONAL(framework, "Which predictor serves it"),
    PURLIN_OPTIONAL(sha256, "Its bytes, by their SHA-256"),
    PURLIN_OPTIONAL(size, "How many bytes"),
    PURLIN_OPTIONAL(signature, "What it takes and gives"),
    PURLIN_OPTIONAL(source, "Where its files were when it was registered"),
    PURLIN_OPTIONAL(location, "Where they are, when the source names another version or a logged model"),
    PURLIN_OPTIONAL(run_id, "The run that made it"),
    PURLIN_OPTIONAL(run_link, "Where that run is shown, when it is one of another server"),
    PURLIN_OPTIONAL(logged_model, "The logged model that it is"),
    PURLIN_OPTIONAL(training_id, "The training job that made it"),
    PURLIN_OPTIONAL(dataset, "The dataset that it learned from"),
    PURLIN_OPTIONAL(dataset_version, "Which version of it"),
    PURLIN_OPTIONAL(description, "What is special about it"),
    PURLIN_REQUIRED(metrics, "How it did, as an object of numbers"),
    PURLIN_REQUIRED(stage, "Where it stands", .choices = REGISTRY_STAGES),
    PURLIN_REQUIRED(created_at, "When"),
    PURLIN_REQUIRED(updated_at, "When its description or its stage changed last"),
    PURLIN_REQUIRED(created_by, "By whom"),
    PURLIN_LIST(tags, registry_tag, "Its tags, by key"),
    PURLIN_OPTIONAL(aliases, "Its aliases"));

typedef struct registry_version_page {
  PURLIN_LIST_OF(registry_version) versions;
  const char *next_page;
} registry_version_page;
PURLIN_SCHEMA(registry_version_page, "Versions",
    PURLIN_LIST(versions, registry_version, "The versions"),
    PURLIN_OPTIONAL(next_page, "Asks for the next page; empty after the last"));

/* registry.get_version, registry.delete_version */
typedef struct registry_which_version {
  const char *name, *version;
} registry_which_version;
PURLIN_SCHEMA(registry_which_version, "Which version",
    REGISTRY_NAME(name, "The model"),
    REGISTRY_VERSION(version));

/* registry.register_version */
typedef struct registry_registration {
  const char *name, *source;
  purlin_opt_text run_id, run_link, logged_model, description;
  PURLIN_LIST_OF(registry_tag) tags;
  purlin_opt_int number;
} registry_registration;
PURLIN_SCHEMA(registry_registration, "A version whose files are somewhere",
    REGISTRY_NAME(name, "The model"),
    PURLIN_REQUIRED(source, "Where its files are: runs:/ID/PATH, models:/ID, models:/NAME/VERSION, mlflow-artifacts:/PATH, or a URI of another store", .min_length = 1, .max_length = 8192),
    PURLIN_OPTIONAL(run_id, "The run that made it", .max_length = 256),
    PURLIN_OPTIONAL(run_link, "Where that run is shown, when it is one of another server", .max_length = 2048),
    PURLIN_OPTIONAL(logged_model, "The logged model that it is", .max_length = 64),
    REGISTRY_DESCRIPTION(description, "What is special about it"),
    PURLIN_LIST(tags, registry_tag, "Its tags", .max_length = 1000),
    PURLIN_OPTIONAL(number, "The number that it had on another server, larger than all there were; absent: the next", .min = 1, .max = 1e9));

/* registry.update_version */
typedef struct registry_update_version {
  const char *name, *version;
  purlin_opt_text description;
} registry_update_version;
PURLIN_SCHEMA(registry_update_version, "What is to be said about a version",
    REGISTRY_NAME(name, "The model"),
    REGISTRY_VERSION(version),
    REGISTRY_DESCRIPTION(description, "What is special about it"));

/* registry.set_stage */
typedef struct registry_set_stage {
  const char *name, *version, *stage;
  bool archive_others;
} registry_set_stage;
PURLIN_SCHEMA(registry_set_stage, "Where a version is to stand",
    REGISTRY_NAME(name, "The model"),
    REGISTRY_VERSION(version),
    PURLIN_REQUIRED(stage, "The stage", .choices = REGISTRY_STAGES),
    PURLIN_DEFAULT(archive_others, "false", "Whether other versions of that stage are archived"));

/* registry.latest_versions */
typedef struct registry_which_stages {
  const char *name;
  purlin_texts stages;
} registry_which_stages;
PURLIN_SCHEMA(registry_which_stages, "The newest version of which stages",
    REGISTRY_NAME(name, "The model"),
    PURLIN_OPTIONAL(stages, "The stages; all when there is none", .max_length = 16));

/* registry.set_version_tag */
typedef struct registry_set_version_tag {
  const char *name, *version, *key, *value;
} registry_set_version_tag;
PURLIN_SCHEMA(registry_set_version_tag, "A tag of a version",
    REGISTRY_NAME(name, "The model"),
    REGISTRY_VERSION(version),
    PURLIN_REQUIRED(key, "The key", .min_length = 1, .max_length = 1000),
    PURLIN_REQUIRED(value, "The value", .max_length = 400000));

/* registry.delete_version_tag */
typedef struct registry_which_version_tag {
  const char *name, *version, *key;
} registry_which_version_tag;
PURLIN_SCHEMA(registry_which_version_tag, "Which tag of a version",
    REGISTRY_NAME(name, "The model"),
    REGISTRY_VERSION(version),
    PURLIN_REQUIRED(key, "The key", .min_length = 1, .max_length = 1000));

/* ---- Models -------------------------------------------------------------------------------------------------------------------- */

typedef struct registry_model {
  const char *id, *project, *name;
  purlin_opt_text description;
  int64_t versions;
  purlin_time created_at, updated_at;
  const char *created_by;
  PURLIN_LIST_OF(registry_tag) tags;
  PURLIN_LIST_OF(registry_alias) aliases;
  PURLIN_LIST_OF(registry_version) latest_versions;
} registry_model;
PURLIN_SCHEMA(registry_model, "A registered model",
    PURLIN_REQUIRED(id, "Its id"),
    PURLIN_REQUIRED(project, "Its project"),
    PURLIN_REQUIRED(name, "Its name, unique in the workspace"),
    PURLIN_OPTIONAL(description, "What it is for"),
    PURLIN_REQUIRED(versions, "The number of its newest version; 0: none yet. One that was deleted counts, and its number is not used again"),
    PURLIN_REQUIRED(created_at, "When it was registered"),
    PURLIN_REQUIRED(updated_at, "When it, or one of its versions, changed last"),
    PURLIN_REQUIRED(created_by, "By whom"),
    PURLIN_LIST(tags, registry_tag, "Its tags, by key"),
    PURLIN_LIST(aliases, registry_alias, "Its aliases, by name"),
    PURLIN_LIST(latest_versions, registry_version, "The newest version of each stage"));

typedef struct registry_model_page {
  PURLIN_LIST_OF(registry_model) models;
  const char *next_page;
} registry_model_page;
PURLIN_SCHEMA(registry_model_page, "Models",
    PURLIN_LIST(models, registry_model, "The models"),
    PURLIN_OPTIONAL(next_page, "Asks for the next page; empty after the last"));

/* registry.get_model, registry.delete_model */
typedef struct registry_which_model {
  const char *name;
} registry_which_model;
PURLIN_SCHEMA(registry_which_model, "Which model", REGISTRY_NAME(name, "Its name"));

/* registry.create_model */
typedef struct registry_create_model {
  const char *name;
  purlin_opt_text description;
  PURLIN_LIST_OF(registry_tag) tags;
} registry_create_model;
PURLIN_SCHEMA(registry_create_model, "A model to register",
    PURLIN_REQUIRED(name, "Unique in the workspace", .pattern = "[^/:@]+", .min_length = 1, .max_length = 1024),
    REGISTRY_DESCRIPTION(description, "What it is for"),
    PURLIN_LIST(tags, registry_tag, "Its tags", .max_length = 1000));

/* registry.update_model */
typedef struct registry_update_model {
  const char *name;
  purlin_opt_text description;
} registry_update_model;
PURLIN_SCHEMA(registry_update_model, "What is to be said about a model",
    REGISTRY_NAME(name, "The model"),
    REGISTRY_DESCRIPTION(description, "What it is for"));

/* registry.rename_model */
typedef struct registry_rename_model {
  const char *name, *new_name;
} registry_rename_model;
PURLIN_SCHEMA(registry_rename_model, "A model and what it is to be called",
    REGISTRY_NAME(name, "Its name"),
    PURLIN_REQUIRED(new_name, "Its new name", .pattern = "[^/:@]+", .min_length = 1, .max_length = 1024));

/* registry.set_model_tag */
typedef struct registry_set_model_tag {
  const char *name, *key, *value;
} registry_set_model_tag;
PURLIN_SCHEMA(registry_set_model_tag, "A tag of a model",
    REGISTRY_NAME(name, "The model"),
    PURLIN_REQUIRED(key, "The key", .min_length = 1, .max_length = 1000),
    PURLIN_REQUIRED(value, "The value", .max_length = 400000));

/* registry.delete_model_tag */
typedef struct registry_which_model_tag {
  const char *name, *key;
} registry_which_model_tag;
PURLIN_SCHEMA(registry_which_model_tag, "Which tag of a model",
    REGISTRY_NAME(name, "The model"),
    PURLIN_REQUIRED(key, "The key", .min_length = 1, .max_length = 1000));

/* ---- Aliases ------------------------------------------------------------------------------------------------------------------- */

/* registry.set_alias */
typedef struct registry_set_alias {
  const char *name, *alias;
  int64_t version;
} registry_set_alias;
PURLIN_SCHEMA(registry_set_alias, "Where an alias is to point",
    REGISTRY_NAME(name, "The model"),
    PURLIN_REQUIRED(alias, "The alias; neither latest nor v and digits", .min_length = 1, .max_length = 1020),
    PURLIN_REQUIRED(version, "The version", .min = 1, .max = 9e15));

/* registry.get_alias, registry.delete_alias */
typedef struct registry_which_alias {
  const char *name, *alias;
} registry_which_alias;
PURLIN_SCHEMA(registry_which_alias, "Which alias",
    REGISTRY_NAME(name, "The model"),
    PURLIN_REQUIRED(alias, "The alias", .max_length = 1020));

PURLIN_END

#endif
