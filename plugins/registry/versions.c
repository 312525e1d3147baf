#include "registry.h"
#include <purlin/contracts/predictor.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define VERSION_COLUMNS                                                                                                           \
  "m.name AS name, v.version, v.framework, v.sha256, v.size, v.signature, v.run_id, v.training_id, v.dataset, v.dataset_version," \
  " v.description, v.metrics, v.created_at, v.created_by"

static const char INSERT[] =
    "INSERT INTO registry_versions (id, workspace, project, model_id, version, framework, sha256, size, signature, run_id, training_id,"
    " dataset, dataset_version, description, metrics, created_at, created_by)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NOW(6), ?)";
static const char COUNT_UP[] = "UPDATE registry_models SET versions = ? WHERE id = ?";
static const char SELECT_ONE[] =
    "SELECT " VERSION_COLUMNS " FROM registry_versions v JOIN registry_models m ON m.id = v.model_id"
    " WHERE v.model_id = ? AND v.version = ?";
static const char SELECT_PAGE[] =
    "SELECT " VERSION_COLUMNS " FROM registry_versions v JOIN registry_models m ON m.id = v.model_id"
    " WHERE v.model_id = ? AND v.version < ? ORDER BY v.version DESC LIMIT ?";
static const char SELECT_ALIAS[] = "SELECT version FROM registry_aliases WHERE model_id = ? AND alias = ?";

typedef struct version {
  const char *name;
  int64_t version;
  const char *framework, *sha256;
  int64_t size;
  purlin_json signature;
  purlin_opt_text run_id, training_id, dataset;
  purlin_opt_int dataset_version;
  purlin_opt_text description;
  purlin_json metrics;
  purlin_time created_at;
  const char *created_by;
} version;
PURLIN_SCHEMA(version, "A version of a model; it never changes",
    PURLIN_REQUIRED(name, "The model"),
    PURLIN_REQUIRED(version, "Its number, from 1"),
    PURLIN_REQUIRED(framework, "Which predictor serves it"),
    PURLIN_REQUIRED(sha256, "Its bytes, by their SHA-256"),
    PURLIN_REQUIRED(size, "How many bytes"),
    PURLIN_REQUIRED(signature, "What it takes and gives"),
    PURLIN_OPTIONAL(run_id, "The run that made it"),
    PURLIN_OPTIONAL(training_id, "The training job that made it"),
    PURLIN_OPTIONAL(dataset, "The dataset that it learned from"),
    PURLIN_OPTIONAL(dataset_version, "Which version of it"),
    PURLIN_OPTIONAL(description, "What is special about it"),
    PURLIN_REQUIRED(metrics, "How it did, as an object of numbers"),
    PURLIN_REQUIRED(created_at, "When"),
    PURLIN_REQUIRED(created_by, "By whom"));

typedef struct create_version_in {
  const char *name, *framework, *sha256;
  int64_t size;
  purlin_signature signature;
  purlin_opt_text run_id, training_id, dataset;
  purlin_opt_int dataset_version;
  purlin_opt_text description;
  purlin_json metrics;
} create_version_in;
PURLIN_SCHEMA(create_version_in, "A version to register",
    PURLIN_REQUIRED(name, "The model", .max_length = 250),
    PURLIN_REQUIRED(framework, "Which predictor serves it", .max_length = 100),
    PURLIN_REQUIRED(sha256, "Its bytes in storage", .pattern = "[0-9a-f]{64}"),
    PURLIN_REQUIRED(size, "How many bytes", .min = 1, .max = 9e15),
    PURLIN_OBJECT(signature, purlin_signature, "What it takes and gives"),
    PURLIN_OPTIONAL(run_id, "The run that made it", .max_length = 64),
    PURLIN_OPTIONAL(training_id, "The training job that made it", .max_length = 64),
    PURLIN_OPTIONAL(dataset, "The dataset that it learned from", .max_length = 250),
    PURLIN_OPTIONAL(dataset_version, "Which version of it", .min = 1, .max = 9e15),
    PURLIN_OPTIONAL(description, "What is special about it", .max_length = 5000),
    PURLIN_DEFAULT(metrics, "{}", "How it did, as an object of numbers", .max_length = 60000));

typedef struct version_event {
  const char *name;
  int64_t version;
  purlin_opt_text training_id;
} version_event;
PURLIN_SCHEMA(version_event, "A version of a model",
    PURLIN_REQUIRED(name, "The model"),
    PURLIN_REQUIRED(version, "Its number"),
    PURLIN_OPTIONAL(training_id, "The training job that made it"));
PURLIN_EVENT(version_created, version_event, "A version of a model was registered");

static purlin_status find(purlin_ctx *ctx, const model *of, int64_t number, version *out) {
  purlin_status status = purlin_db_row(ctx, version, out, SELECT_ONE, of->id, number);
  if (status == PURLIN_NOT_FOUND)
    return purlin_fail(ctx, status, "the model '%s' has no version %lld", of->name, (long long)number);
  return status;
}

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

PURLIN_OPERATION(create_version, create_version_in, version,
    .summary = "Register a version of a model", .permission = "models:write", .by_project = true, .effect = PURLIN_CREATES,
    .http = "POST /api/v1/models/{name}/versions") {
  model of;
  purlin_status status = check_columns(ctx, &in->signature);
  if (status == PURLIN_OK && in->metrics.text && in->metrics.text[0] != '{')
    status = purlin_fail_field(ctx, "metrics", "expected an object");
  if (status != PURLIN_OK) return status;
  status = registry_model(ctx, in->name, "models:write", true, &of); /* locked: numbers have no gaps and no twins */
  if (status != PURLIN_OK) return status;
  int64_t number = of.versions + 1;
  purlin_json signature;
  status = purlin_encode(ctx, purlin_signature_schema(), &in->signature, &signature);
  if (status != PURLIN_OK) return status;
  status = purlin_db_run(ctx, INSERT, purlin_new_id(ctx, "ver"), purlin_workspace(ctx), of.project, of.id, number,
                         in->framework, in->sha256, in->size, signature, in->run_id, in->training_id, in->dataset,
                         in->dataset_version, in->description, in->metrics, purlin_actor(ctx));
  if (status == PURLIN_OK) status = purlin_db_run(ctx, COUNT_UP, number, of.id);
  if (status != PURLIN_OK) return status;
  const version_event event = {in->name, number, in->training_id};
  status = purlin_emit(ctx, version_created, &event, in->name);
  return status == PURLIN_OK ? find(ctx, &of, number, out) : status;
}

typedef struct number_row {
  int64_t version;
} number_row;
PURLIN_SCHEMA(number_row, "A number", PURLIN_REQUIRED(version, "The version"));

static purlin_status resolve_alias(purlin_ctx *ctx, const model *of, const char *alias, int64_t *number) {
  number_row row;
  purlin_status status = purlin_db_row(ctx, number_row, &row, SELECT_ALIAS, of->id, alias);
  if (status == PURLIN_NOT_FOUND) return purlin_fail(ctx, status, "the model '%s' has no alias '%s'", of->name, alias);
  if (status == PURLIN_OK) *number = row.version;
  return status;
}

purlin_status registry_resolve(purlin_ctx *ctx, const model *of, const char *text, int64_t *number) {
  if (text[0] == '@') return resolve_alias(ctx, of, text + 1, number);
  char *end = NULL;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  if (errno || end == text || *end || value < 1)
    return purlin_fail_field(ctx, "version", "expected a number from 1, or @ and an alias");
  *number = value;
  return PURLIN_OK;
}

typedef struct get_version_in {
  const char *name, *version;
} get_version_in;
PURLIN_SCHEMA(get_version_in, "Which version",
    PURLIN_REQUIRED(name, "The model", .max_length = 250),
    PURLIN_REQUIRED(version, "Its number, or @ and an alias", .max_length = 251));

PURLIN_OPERATION(get_version, get_version_in, version,
    .summary = "A version of a model", .permission = "models:read", .by_project = true, .http = "GET /api/v1/models/{name}/versions/{version}") {
  model of;
  int64_t number = 0;
  purlin_status status = registry_model(ctx, in->name, "models:read", false, &of);
  if (status == PURLIN_OK) status = registry_resolve(ctx, &of, in->version, &number);
  return status == PURLIN_OK ? find(ctx, &of, number, out) : status;
}

typedef struct list_versions_in {
  const char *name;
  int64_t before, limit;
} list_versions_in;
PURLIN_SCHEMA(list_versions_in, "Which page",
    PURLIN_REQUIRED(name, "The model", .max_length = 250),
    PURLIN_DEFAULT(before, "9000000000000000", "Versions with smaller numbers", .min = 1, .max = 9e15),
    PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = 1000));

typedef struct version_page {
  PURLIN_LIST_OF(version) versions;
} version_page;
PURLIN_SCHEMA(version_page, "Versions, newest first", PURLIN_LIST(versions, version, "The versions"));

PURLIN_OPERATION(list_versions, list_versions_in, version_page,
    .summary = "The versions of a model", .permission = "models:read", .by_project = true, .http = "GET /api/v1/models/{name}/versions") {
  model of;
  purlin_status status = registry_model(ctx, in->name, "models:read", false, &of);
  if (status != PURLIN_OK) return status;
  return purlin_db_list(ctx, version, &out->versions, SELECT_PAGE, of.id, in->before, in->limit);
}
