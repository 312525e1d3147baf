/* model_registry.h: how the protocol tells of registered models and their versions; registered_models.c and model_versions.c share it. */
#ifndef MLFLOW_MODEL_REGISTRY_H
#define MLFLOW_MODEL_REGISTRY_H

#include <purlin/contracts/registry.h>
#include "entities.h"

#define REGISTRY_TEXT(member, text) PURLIN_REQUIRED(member, text, .min_length = 1, .max_length = 1024)

typedef struct told_tag {
  const char *key, *value;
} told_tag;
PURLIN_SCHEMA(told_tag, "A tag", PURLIN_REQUIRED(key, "The key"), PURLIN_REQUIRED(value, "The value"));

typedef struct told_alias {
  const char *alias, *version;
} told_alias;
PURLIN_SCHEMA(told_alias, "An alias",
    PURLIN_REQUIRED(alias, "The alias"),
    PURLIN_REQUIRED(version, "The version it points at"));

/* As it is sent; a value may be left out. */
typedef struct sent_tag {
  const char *key, *value;
} sent_tag;
PURLIN_SCHEMA(sent_tag, "A tag",
    PURLIN_REQUIRED(key, "The key", .min_length = 1, .max_length = 1000),
    PURLIN_DEFAULT(value, "\"\"", "The value", .max_length = 400000));

/* A tag of either side is a key and a value: a list of one is read as the other's. */
_Static_assert(sizeof(sent_tag) == sizeof(registry_tag) && sizeof(told_tag) == sizeof(registry_tag) &&
                   offsetof(sent_tag, value) == offsetof(registry_tag, value) &&
                   offsetof(told_tag, value) == offsetof(registry_tag, value),
               "a tag is a key and a value");

typedef struct told_version {
  const char *name, *version;
  int64_t creation_timestamp, last_updated_timestamp;
  const char *user_id, *current_stage;
  purlin_opt_text description;
  const char *source;
  purlin_opt_text run_id, run_link, model_id;
  const char *status;
  PURLIN_LIST_OF(told_tag) tags;
  purlin_texts aliases;
} told_version;
PURLIN_SCHEMA(told_version, "A version of a registered model",
    PURLIN_REQUIRED(name, "The model"),
    PURLIN_REQUIRED(version, "Its number, as a text"),
    PURLIN_REQUIRED(creation_timestamp, "Since when, in milliseconds since 1970"),
    PURLIN_REQUIRED(last_updated_timestamp, "When it changed last"),
    PURLIN_REQUIRED(user_id, "By whom"),
    PURLIN_REQUIRED(current_stage, "None, Staging, Production or Archived"),
    PURLIN_OPTIONAL(description, "What is special about it"),
    PURLIN_REQUIRED(source, "Where its files are; empty where a training of this server handed them over"),
    PURLIN_OPTIONAL(run_id, "The run that made it"),
    PURLIN_OPTIONAL(run_link, "Where that run is shown"),
    PURLIN_OPTIONAL(model_id, "The logged model that it is"),
    PURLIN_REQUIRED(status, "READY"),
    PURLIN_LIST(tags, told_tag, "Its tags"),
    PURLIN_OPTIONAL(aliases, "Its aliases"));

typedef struct told_versions {
  PURLIN_LIST_OF(told_version) model_versions;
  const char *next_page_token;
} told_versions;
PURLIN_SCHEMA(told_versions, "Versions",
    PURLIN_LIST(model_versions, told_version, "The versions"),
    PURLIN_OPTIONAL(next_page_token, "Asks for the next page"));

typedef struct version_answer {
  told_version model_version;
} version_answer;
PURLIN_SCHEMA(version_answer, "A version", PURLIN_OBJECT(model_version, told_version, "The version"));

/* How a client looks for something. */
typedef struct registry_filter {
  const char *filter;
  int64_t max_results;
  purlin_texts order_by;
  const char *page_token;
} registry_filter;

/* ---- model_versions.c. Failures are recorded in the words of the protocol; those that call operations may park. ------------------------ */

PURLIN_CHECKED purlin_status tell_version(purlin_ctx *ctx, const registry_version *from, told_version *to);
PURLIN_CHECKED purlin_status tell_versions(purlin_ctx *ctx, const registry_version *from, size_t count, told_versions *to);
/* PURLIN_NOT_FOUND as it is said of a version. */
purlin_status no_version(purlin_ctx *ctx, purlin_status status, const char *name, const char *version);
/* A number, and no alias. */
PURLIN_CHECKED purlin_status check_version(purlin_ctx *ctx, const char *version, int64_t *number);
/* "staging" as "Staging". */
PURLIN_CHECKED purlin_status canonical_stage(purlin_ctx *ctx, const char *stage, const char **out);
/* What is looked for, in the operation's words: prompts only where they are asked for, `ties` at the end of an order. */
PURLIN_CHECKED purlin_status registry_asked(purlin_ctx *ctx, const registry_filter *filter, const char *order,
                                            const char *ties, registry_search *out);

/* ---- registered_models.c ---------------------------------------------------------------------------------------------------------------- */

/* Keys that clients may use. */
PURLIN_CHECKED purlin_status check_tags(purlin_ctx *ctx, const sent_tag *tags, size_t count);
/* PURLIN_NOT_FOUND as it is said of a model. */
purlin_status no_model(purlin_ctx *ctx, purlin_status status, const char *name);

#endif
