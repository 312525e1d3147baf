/* registry.h: what the files of this plugin share.
 *
 * models.c    models: made, described, renamed, deleted, looked for
 * versions.c  versions: numbered from 1 within a model; what a training made is immutable
 * sources.c   versions whose files are elsewhere, and which places may be named
 * place.c     whether a place is a well-formed one (no database)
 * stages.c    where versions stand, and the newest of each stage
 * aliases.c   names that point at versions and may move
 * tags.c      tags of models and versions
 * details.c   the tags, aliases and newest versions of many at once
 * bytes.c     bytes of versions stay in storage
 * rules.c     names, keys and how long they may be (no database) */
#ifndef REGISTRY_H
#define REGISTRY_H

#include <purlin/purlin.h>
#include <purlin/contracts/registry.h>
#include <purlin/search.h>
#include "place.h"

enum {
  REGISTRY_NAME_LONGEST = 256, /* characters, here and below */
  REGISTRY_KEY_LONGEST = 250,
  REGISTRY_VALUE_LONGEST = 100000,
  REGISTRY_ALIAS_LONGEST = 255,
  REGISTRY_MOST_TAGS = 1000,                 /* of one model or version, */
  REGISTRY_MOST_TAG_BYTES = 4 * 1024 * 1024, /* with so many bytes of values in all */
  REGISTRY_EVENT_TEXT_BYTES = 32 * 1024      /* what is longer is left out of an event */
};

#define REGISTRY_PROMPT_TAG "mlflow.prompt.is_prompt" /* as MLflow's clients tell prompts from models */

/* ---- models.c ------------------------------------------------------------------------------------------------------------------------- */

/* The model of this name, for whoever holds `permission` for it, without its lists; locked for the transaction when `lock`.
 * PURLIN_NOT_FOUND and PURLIN_FORBIDDEN are recorded. May park. */
PURLIN_CHECKED purlin_status registry_find(purlin_ctx *ctx, const char *name, const char *permission, bool lock,
                                           registry_model *out);
/* The same with its lists. */
PURLIN_CHECKED purlin_status registry_find_whole(purlin_ctx *ctx, const char *name, const char *permission,
                                                 registry_model *out);
/* For a change of one of its versions. May park. */
PURLIN_CHECKED purlin_status registry_touch(purlin_ctx *ctx, const char *model_id);

/* ---- versions.c ----------------------------------------------------------------------------------------------------------------------- */

#define REGISTRY_VERSION_COLUMNS                                                                                                   \
  "v.id, v.model_name AS name, v.version, v.framework, v.sha256, v.size, v.signature, v.source, v.location, v.run_id, v.run_link," \
  " v.logged_model, v.training_id, v.dataset, v.dataset_version, v.description, v.metrics, v.stage, v.created_at, v.updated_at,"   \
  " v.created_by"

/* "7", or "@champion": the number of a version; of a number it is not known whether it exists. PURLIN_NOT_FOUND and PURLIN_INVALID are
 * recorded. May park. */
PURLIN_CHECKED purlin_status registry_resolve(purlin_ctx *ctx, const registry_model *of, const char *version,
                                              int64_t *number);
/* A version, without its lists. PURLIN_NOT_FOUND is recorded. May park. */
PURLIN_CHECKED purlin_status registry_version_of(purlin_ctx *ctx, const registry_model *of, int64_t number,
                                                 registry_version *out);
/* Both at once, for whoever holds `permission`; the model is locked when `lock`. May park. */
PURLIN_CHECKED purlin_status registry_find_version(purlin_ctx *ctx, const char *name, const char *version,
                                                   const char *permission, bool lock, registry_model *of,
                                                   registry_version *out);
/* Writes a version of a locked model with the number of `row`, 0: the next one, and tells of it; `row` needs no id or time. Fills `out`. May park. */
PURLIN_CHECKED purlin_status registry_add_version(purlin_ctx *ctx, const registry_model *of, const registry_version *row,
                                                  registry_version *out);

/* ---- sources.c ------------------------------------------------------------------------------------------------------------------------ */

/* Whether the version's files may be where the registration says, which fills what the row learns from there. PURLIN_INVALID is recorded;
 * `in` and what it names are borrowed. May park. */
PURLIN_CHECKED purlin_status registry_read_source(purlin_ctx *ctx, const registry_registration *in, registry_version *row);

/* ---- details.c ------------------------------------------------------------------------------------------------------------------------ */

/* The lists of each: a few statements for a hundred of them. May park. */
PURLIN_CHECKED purlin_status registry_fill_models(purlin_ctx *ctx, registry_model *models, size_t count);
PURLIN_CHECKED purlin_status registry_fill_versions(purlin_ctx *ctx, registry_version *versions, size_t count);
/* The newest version of each of these stages (NULL items: of all), for each model. May park. */
PURLIN_CHECKED purlin_status registry_fill_latest(purlin_ctx *ctx, registry_model *models, size_t count,
                                                  purlin_texts stages);

/* ---- tags.c --------------------------------------------------------------------------------------------------------------------------- */

typedef enum registry_tagged { REGISTRY_MODEL_TAGS, REGISTRY_VERSION_TAGS } registry_tagged;
/* Sets tags of a model or a version, the last of each key. May park. PURLIN_INVALID is recorded. */
PURLIN_CHECKED purlin_status registry_set_tags(purlin_ctx *ctx, registry_tagged what, const char *owner,
                                               const char *project, const registry_tag *tags, size_t count);
/* Whether a model is a prompt. May park. */
PURLIN_CHECKED purlin_status registry_find_prompt(purlin_ctx *ctx, const char *model_id, bool *prompt);
/* Those that fit into an event; none when not all do. */
size_t registry_event_tags(const registry_tag *tags, size_t count);

/* ---- bytes.c --------------------------------------------------------------------------------------------------------------------------- */

/* In the transaction that writes a version: its bytes stay. PURLIN_UNAVAILABLE, recorded, while they are being removed. May park. */
PURLIN_CHECKED purlin_status registry_keep_bytes(purlin_ctx *ctx, const char *sha256);

/* ---- rules.c -------------------------------------------------------------------------------------------------------------------------- */

size_t registry_characters(const char *text);
/* Each records PURLIN_INVALID. None parks. */
PURLIN_CHECKED purlin_status registry_check_name(purlin_ctx *ctx, const char *name);
PURLIN_CHECKED purlin_status registry_check_alias(purlin_ctx *ctx, const char *alias);
PURLIN_CHECKED purlin_status registry_check_tag(purlin_ctx *ctx, const char *key, const char *value);
PURLIN_CHECKED purlin_status registry_check_description(purlin_ctx *ctx, purlin_opt_text description);
/* Whether a tag says that this is a prompt: a text with its versions, and no model. */
bool registry_is_prompt(const registry_tag *tags, size_t count);

#endif
