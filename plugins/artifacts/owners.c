#include "artifacts.h"
#include <string.h>

static const struct {
  const char *kind, *operation;
} owners[] = {
    {"run", "tracking.locate_run"},
    {"model", "tracking.locate_logged_model"},
    {"trace", "traces.locate"},
};

static purlin_status not_found(purlin_ctx *ctx, const artifacts_place *place) {
  return purlin_fail(ctx, PURLIN_NOT_FOUND, "no %s '%s'", place->kind, place->owner);
}

static purlin_status ask(purlin_ctx *ctx, const artifacts_place *place, artifacts_owner *out) {
  const artifacts_which_owner which = {place->owner};
  for (size_t i = 0; i < sizeof owners / sizeof owners[0]; i++)
    if (strcmp(owners[i].kind, place->kind) == 0)
      return purlin_call(ctx, owners[i].operation, artifacts_which_owner_schema(), &which, artifacts_owner_schema(), out);
  return PURLIN_NOT_FOUND;
}

/* What follows "mlflow-artifacts:", an authority and slashes; NULL: it is of another scheme. */
static const char *within(const char *uri) {
  static const char scheme[] = "mlflow-artifacts:";
  if (strncmp(uri, scheme, sizeof scheme - 1) != 0) return NULL;
  uri += sizeof scheme - 1;
  if (strncmp(uri, "//", 2) == 0) uri += 2 + strcspn(uri + 2, "/");
  return uri + strspn(uri, "/");
}

static bool is_at(const char *uri, const char *wanted) {
  const char *path = within(uri), *other = within(wanted);
  return path && other && strcmp(path, other) == 0;
}

/* Ids are printable ASCII: the columns hold nothing else. */
static bool is_id(const char *text) {
  size_t size = 0;
  for (; text[size] > ' ' && text[size] < 0x7f && text[size] != '/'; size++) continue;
  return text[size] == '\0' && size > 0 && size <= 64;
}

purlin_status artifacts_check_path(purlin_ctx *ctx, const char *path) {
  const char *fault = path_fault(path);
  return fault ? purlin_fail(ctx, PURLIN_INVALID, "Invalid path: %s", fault) : PURLIN_OK;
}

purlin_status artifacts_find_owner(purlin_ctx *ctx, const artifacts_place *place, artifacts_wish wish,
                                   artifacts_owner *out) {
  if (*place->path) {
    purlin_status fine = artifacts_check_path(ctx, place->path);
    if (fine != PURLIN_OK) return fine;
  }
  if (!is_id(place->owner)) return not_found(ctx, place);
  purlin_status status = ask(ctx, place, out);
  if (status == PURLIN_OK && place->uri && *place->uri && !is_at(out->uri, place->uri)) status = PURLIN_NOT_FOUND;
  if (status == PURLIN_OK && wish == ARTIFACTS_CHANGE)
    status = purlin_reach(ctx, "runs:write", "runs:read", out->project, out->experiment_id);
  if (status == PURLIN_NOT_FOUND) return not_found(ctx, place);
  if (status != PURLIN_OK || wish == ARTIFACTS_READ) return status;
  if (strcmp(out->lifecycle, "active") != 0)
    return purlin_fail(ctx, PURLIN_CONFLICT, "The %s %s must be in the 'active' state. Current state is %s.", place->kind,
                       place->owner, out->lifecycle);
  if (!within(out->uri))
    return purlin_fail(ctx, PURLIN_CONFLICT, "the %s %s keeps its files at %s", place->kind, place->owner, out->uri);
  return PURLIN_OK;
}
