#include "registry.h"
#include <string.h>

static const char MOVE[] = "UPDATE registry_versions SET stage = ?, updated_at = NOW(6) WHERE id = ?";
static const char ARCHIVE[] =
    "UPDATE registry_versions SET stage = 'Archived', updated_at = NOW(6) WHERE model_id = ? AND stage = ? AND version <> ?";

typedef struct stage_event {
  const char *name;
  int64_t version;
  const char *stage, *before;
} stage_event;
PURLIN_SCHEMA(stage_event, "Where a version stands",
    PURLIN_REQUIRED(name, "The model"),
    PURLIN_REQUIRED(version, "Its version"),
    PURLIN_REQUIRED(stage, "The stage"),
    PURLIN_REQUIRED(before, "The stage before"));
PURLIN_EVENT(stage_changed, stage_event, "A version has another stage");

static bool is_stage(const char *text) {
  return strcmp(text, "None") == 0 || strcmp(text, "Staging") == 0 || strcmp(text, "Production") == 0 ||
         strcmp(text, "Archived") == 0;
}

PURLIN_OPERATION(set_stage, registry_set_stage, registry_version,
    .summary = "Move a version to another stage", .permission = "models:write", .by_project = true, .effect = PURLIN_CHANGES, .object = "get_version",
    .http = "PUT /api/v1/models/{name}/versions/{version}/stage",
    .description = "A label, as older clients of MLflow use it; aliases say the same and more. It deploys nothing.") {
  registry_model of;
  registry_version row;
  if (!is_stage(in->stage)) return purlin_fail_field(ctx, "stage", "expected one of " REGISTRY_STAGES);
  purlin_status status = registry_find_version(ctx, in->name, in->version, "models:write", true, &of, &row);
  if (status == PURLIN_OK && in->archive_others) status = purlin_db_run(ctx, ARCHIVE, of.id, in->stage, row.version);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, MOVE, in->stage, row.id);
  if (status == PURLIN_OK) status = registry_touch(ctx, of.id);
  const stage_event event = {in->name, row.version, in->stage, row.stage};
  if (status == PURLIN_OK) status = purlin_emit(ctx, stage_changed, &event, in->name);
  if (status == PURLIN_OK) status = registry_version_of(ctx, &of, row.version, out);
  return status == PURLIN_OK ? registry_fill_versions(ctx, out, 1) : status;
}

PURLIN_OPERATION(latest_versions, registry_which_stages, registry_version_page,
    .summary = "The newest version of each stage", .permission = "models:read", .by_project = true, .http = "GET /api/v1/models/{name}/latest") {
  registry_model of;
  for (size_t i = 0; i < in->stages.count; i++)
    if (!is_stage(in->stages.items[i])) return purlin_fail_field(ctx, "stages", "expected some of " REGISTRY_STAGES);
  purlin_status status = registry_find(ctx, in->name, "models:read", false, &of);
  if (status == PURLIN_OK) status = registry_fill_latest(ctx, &of, 1, in->stages);
  if (status != PURLIN_OK) return status;
  out->versions.items = of.latest_versions.items;
  out->versions.count = of.latest_versions.count;
  return PURLIN_OK;
}
