/* registry.h: what the files of this plugin share.
 *
 * models.c    models
 * versions.c  versions: immutable, numbered from 1 within a model
 * aliases.c   names that point at versions and may move */
#ifndef REGISTRY_H
#define REGISTRY_H

#include <purlin/purlin.h>

#define REGISTRY_NAME_RULE .pattern = "[^/:@]+", .min_length = 1, .max_length = 250

typedef struct model {
  const char *id, *project, *name;
  purlin_opt_text description;
  int64_t versions;
  purlin_time created_at;
  const char *created_by;
} model;
PURLIN_SCHEMA(model, "A registered model",
    PURLIN_REQUIRED(id, "Its id"),
    PURLIN_REQUIRED(project, "Its project"),
    PURLIN_REQUIRED(name, "Its name, unique in the workspace"),
    PURLIN_OPTIONAL(description, "What it is for"),
    PURLIN_REQUIRED(versions, "The number of its newest version; 0: none yet"),
    PURLIN_REQUIRED(created_at, "When it was registered"),
    PURLIN_REQUIRED(created_by, "By whom"));

/* The model of this name, for whoever holds `permission` for it; locked for the transaction when `lock`. PURLIN_NOT_FOUND and
 * PURLIN_FORBIDDEN are recorded. May park. */
PURLIN_CHECKED purlin_status registry_model(purlin_ctx *ctx, const char *name, const char *permission, bool lock,
                                            model *out);

/* "7", or "@champion": the number of a version that exists. PURLIN_NOT_FOUND and PURLIN_INVALID are recorded. May park. */
PURLIN_CHECKED purlin_status registry_resolve(purlin_ctx *ctx, const model *of, const char *version, int64_t *number);

#endif
