#include "registry.h"
#include <purlin/contracts/logged_models.h>
#include <purlin/contracts/tracking.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A registration while it is looked at. */
typedef struct looking {
  const registry_registration *in;
  place *at;
  registry_version *row; /* to be written */
} looking;

static purlin_status refuse(purlin_ctx *ctx, const looking *l, const char *why) {
  purlin_clear_failure(ctx);
  return purlin_fail(ctx, PURLIN_INVALID, "Invalid model version source: '%.500s'. %s", l->in->source, why);
}

static purlin_status refuse_owner(purlin_ctx *ctx, const looking *l, const char *parameter) {
  const char *why =
      purlin_format(ctx, "The %s request parameter must identify the resource that contains the source.", parameter);
  return why ? refuse(ctx, l, why) : PURLIN_TOO_LARGE;
}

/* One that the caller may not see is as good as none. */
static bool is_unseen(purlin_status status) {
  return status == PURLIN_NOT_FOUND || status == PURLIN_FORBIDDEN || status == PURLIN_INVALID;
}

static bool given(purlin_opt_text text) { return text.state == PURLIN_SET && *text.value; }

/* Where a run keeps its files; NULL: it is not there, or not seen. */
static purlin_status find_run(purlin_ctx *ctx, const char *id, const char **files) {
  const tracking_which_run which = {.run_id = id};
  tracking_run run = {0};
  purlin_status status =
      purlin_call(ctx, "tracking.get_run", tracking_which_run_schema(), &which, tracking_run_schema(), &run);
  *files = status == PURLIN_OK ? run.artifact_uri : NULL;
  if (!is_unseen(status)) return status;
  purlin_clear_failure(ctx);
  return PURLIN_OK;
}

static purlin_status find_logged(purlin_ctx *ctx, const char *id, logged_model *out, bool *found) {
  const logged_model_which which = {.model_id = id};
  *out = (logged_model){0};
  purlin_status status =
      purlin_call(ctx, "tracking.get_logged_model", logged_model_which_schema(), &which, logged_model_schema(), out);
  *found = status == PURLIN_OK;
  if (!is_unseen(status)) return status;
  purlin_clear_failure(ctx);
  return PURLIN_OK;
}

/* ---- Each kind of place ----------------------------------------------------------------------------------------------------------------- */

static purlin_status look_at_logged(purlin_ctx *ctx, looking *l) {
  logged_model logged;
  bool found = false;
  bool named = l->at->kind == PLACE_LOGGED;
  purlin_status status = find_logged(ctx, l->in->logged_model.value, &logged, &found);
  if (status != PURLIN_OK) return status;
  if (!found) return refuse_owner(ctx, l, "model_id");
  if (named && strcmp(l->at->first, l->in->logged_model.value) != 0) return refuse_owner(ctx, l, "model_id");
  if (!named && l->at->kind == PLACE_ARTIFACT && !place_is_within(l->at, logged.artifact_uri))
    return refuse_owner(ctx, l, "model_id");
  if (named) l->row->location = (purlin_opt_text){PURLIN_SET, logged.artifact_uri};
  if (!given(l->row->run_id) && logged.source_run_id && *logged.source_run_id)
    l->row->run_id = (purlin_opt_text){PURLIN_SET, logged.source_run_id};
  return PURLIN_OK;
}

static purlin_status look_at_run(purlin_ctx *ctx, looking *l, const char *files) {
  bool ours = l->at->kind == PLACE_RUN || l->at->kind == PLACE_ARTIFACT;
  if (!ours) return PURLIN_OK;
  if (!files) return refuse_owner(ctx, l, "run_id");
  if (l->at->kind == PLACE_RUN && strcmp(l->at->first, l->in->run_id.value) != 0) return refuse_owner(ctx, l, "run_id");
  if (l->at->kind == PLACE_ARTIFACT && !place_is_within(l->at, files)) return refuse_owner(ctx, l, "run_id");
  return PURLIN_OK;
}

/* "3", "latest", "Production": which number that is. */
static purlin_status resolve_suffix(purlin_ctx *ctx, registry_model *of, const char *suffix, int64_t *number) {
  static const char *const stages[] = {"None", "Staging", "Production", "Archived"};
  purlin_texts one = {NULL, 0};
  if (suffix[strspn(suffix, "0123456789")] == '\0') return registry_resolve(ctx, of, suffix, number);
  for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++)
    if (strcasecmp(suffix, stages[i]) == 0) one = (purlin_texts){&stages[i], 1};
  *number = 0;
  if (one.count == 0 && strcasecmp(suffix, "latest") != 0) return PURLIN_OK;
  purlin_status status = registry_fill_latest(ctx, of, 1, one);
  for (size_t i = 0; status == PURLIN_OK && i < of->latest_versions.count; i++)
    if (of->latest_versions.items[i].version > *number) *number = of->latest_versions.items[i].version;
  return status;
}

static bool differs(purlin_opt_text said, purlin_opt_text is) {
  if (said.state != PURLIN_SET) return false;
  return strcmp(said.value, is.state == PURLIN_SET ? is.value : "") != 0;
}

/* A copy of another version has its files and its origin. */
static purlin_status look_at_version(purlin_ctx *ctx, looking *l) {
  registry_model of;
  registry_version other;
  int64_t number = 0;
  const char *alias = purlin_format(ctx, "@%s", l->at->second);
  if (!alias) return PURLIN_TOO_LARGE;
  purlin_status status = registry_find(ctx, l->at->first, "models:read", false, &of);
  if (status == PURLIN_OK)
    status = l->at->kind == PLACE_ALIAS ? registry_resolve(ctx, &of, alias, &number)
                                        : resolve_suffix(ctx, &of, l->at->second, &number);
  if (status == PURLIN_OK) status = registry_version_of(ctx, &of, number, &other);
  if (status == PURLIN_OK) status = registry_fill_versions(ctx, &other, 1);
  if (status != PURLIN_OK) return status;
  if (registry_is_prompt(other.tags.items, other.tags.count))
    return refuse(ctx, l, "Prompt versions cannot be used as model version sources.");
  if (differs(l->in->run_id, other.run_id) || differs(l->in->logged_model, other.logged_model))
    return refuse(ctx, l, "The run_id and model_id request parameters must match the referenced model version.");
  const char *source = purlin_format(ctx, "models:/%s/%lld", of.name, (long long)number);
  if (!source) return PURLIN_TOO_LARGE;
  l->row->source = (purlin_opt_text){PURLIN_SET, source};
  l->row->location = other.location.state == PURLIN_SET ? other.location : other.source;
  l->row->run_id = other.run_id;
  l->row->logged_model = other.logged_model;
  l->row->framework = other.framework;
  l->row->sha256 = other.sha256;
  l->row->size = other.size;
  l->row->signature = other.signature;
  return PURLIN_OK;
}

static purlin_status look(purlin_ctx *ctx, looking *l) {
  const char *files = NULL;
  if (l->at->kind == PLACE_VERSION || l->at->kind == PLACE_ALIAS) return look_at_version(ctx, l);
  purlin_status status = given(l->in->run_id) ? find_run(ctx, l->in->run_id.value, &files) : PURLIN_OK;
  if (status != PURLIN_OK) return status;
  if (given(l->in->logged_model) && l->at->kind == PLACE_RUN) return refuse_owner(ctx, l, "model_id");
  if (given(l->in->logged_model)) return look_at_logged(ctx, l);
  if (l->at->kind == PLACE_LOGGED) return refuse_owner(ctx, l, "model_id");
  return look_at_run(ctx, l, files);
}

/* A prompt has no files: its clients say one of two words. */
static bool is_placeholder(const char *source) {
  return strcmp(source, "dummy-source") == 0 || strcmp(source, "prompt-template") == 0;
}

static purlin_status check_source(purlin_ctx *ctx, looking *l) {
  if (registry_is_prompt(l->in->tags.items, l->in->tags.count))
    return is_placeholder(l->in->source)
               ? PURLIN_OK
               : purlin_fail(ctx, PURLIN_INVALID,
                             "Invalid prompt source: '%.500s'. Prompt sources must use an MLflow placeholder.",
                             l->in->source);
  if (!place_read(l->in->source, l->at))
    return refuse(ctx, l,
                  "It must be a runs:/, models:/ or mlflow-artifacts:/ URI or one of another store, with an absolute path, "
                  "without relative path references, '#', '?' and control characters.");
  return look(ctx, l);
}

purlin_status registry_read_source(purlin_ctx *ctx, const registry_registration *in, registry_version *row) {
  looking l = {in, purlin_alloc(ctx, sizeof(place)), row};
  return l.at ? check_source(ctx, &l) : PURLIN_TOO_LARGE;
}

PURLIN_OPERATION(register_version, registry_registration, registry_version,
    .summary = "Register a version by where its files are", .permission = "models:write", .by_project = true, .effect = PURLIN_CREATES,
    .http = "POST /api/v1/models/{name}/registrations",
    .description = "Files of a run or a logged model must be ones that you may see. A place in another store is kept for clients; this server never goes there.") {
  registry_model of;
  registry_version row = {.source = {PURLIN_SET, in->source},
                          .run_id = in->run_id,
                          .run_link = in->run_link,
                          .logged_model = in->logged_model,
                          .description = in->description,
                          .version = in->number.state == PURLIN_SET ? in->number.value : 0,
                          .metrics = {"{}", 2}};
  row.tags.items = in->tags.items;
  row.tags.count = in->tags.count;
  if ((in->run_id.state == PURLIN_SET && strlen(in->run_id.value) > 256) ||
      (in->run_link.state == PURLIN_SET && strlen(in->run_link.value) > 2048) ||
      (in->logged_model.state == PURLIN_SET && strlen(in->logged_model.value) > 64))
    return purlin_fail(ctx, PURLIN_INVALID, "run_id, run_link or logged_model is too long");
  purlin_status status = registry_find(ctx, in->name, "models:write", false, &of);
  if (status == PURLIN_OK) status = registry_read_source(ctx, in, &row);
  if (status == PURLIN_OK) status = registry_find(ctx, in->name, "models:write", true, &of);
  return status == PURLIN_OK ? registry_add_version(ctx, &of, &row, out) : status;
}
