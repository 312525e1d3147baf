#include "logged.h"
#include "serving.h"
#include <string.h>

#define ENDPOINT_COLUMNS                                                                                                   \
  "e.name, e.project, e.deployment, d.model, d.version, e.labelled, d.cause, e.created_at, e.created_by, d.deployed_at, d.deployed_by"
#define FROM_ENDPOINTS                                                                                                     \
  " FROM serving_endpoints e JOIN serving_deployments d ON d.endpoint_id = e.id AND d.number = e.deployment"
#define SOURCE_COLUMNS "model, version, framework, sha256, size, signature"

static const char MAKE[] =
    "INSERT INTO serving_endpoints (id, workspace, project, name, created_at, created_by) VALUES (?, ?, ?, ?, NOW(6), ?)"
    " ON DUPLICATE KEY UPDATE name = VALUES(name)"; /* locks the row that is there, at once for writing */
static const char FIND[] =
    "SELECT id, project, deployment, labelled FROM serving_endpoints WHERE workspace = ? AND name = ?";
static const char FIND_LOCKED[] =
    "SELECT id, project, deployment, labelled FROM serving_endpoints WHERE workspace = ? AND name = ? FOR UPDATE";
static const char ADD[] =
    "INSERT INTO serving_deployments (endpoint_id, number, workspace, project, model, version, framework, sha256, size,"
    " signature, cause, deployed_at, deployed_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NOW(6), ?)";
static const char SWITCH[] = "UPDATE serving_endpoints SET deployment = ? WHERE id = ?";
static const char SELECT_ONE[] = "SELECT " ENDPOINT_COLUMNS FROM_ENDPOINTS " WHERE e.workspace = ? AND e.name = ?";
static const char SELECT_PAGE[] =
    "SELECT " ENDPOINT_COLUMNS FROM_ENDPOINTS
    " WHERE e.workspace = ? AND " PURLIN_VISIBLE("e.project", "e.id") " AND e.name > ? ORDER BY e.name LIMIT ?";
static const char SELECT_SOURCE[] =
    "SELECT " SOURCE_COLUMNS " FROM serving_deployments WHERE endpoint_id = ? AND number = ?";
static const char SELECT_BEFORE[] =
    "SELECT b.model, b.version, b.framework, b.sha256, b.size, b.signature FROM serving_deployments b JOIN serving_deployments now ON now.endpoint_id = b.endpoint_id"
    " WHERE now.endpoint_id = ? AND now.number = ? AND b.number < now.number AND (b.version <> now.version OR b.model <> now.model)"
    " ORDER BY b.number DESC LIMIT 1";
static const char LEAVE[] =
    "INSERT INTO serving_leftovers (endpoint_id, workspace, project, name, deleted_at, deleted_by) VALUES (?, ?, ?, ?, NOW(6), ?)";
static const char SELECT_LEFT[] = "SELECT deleted_at FROM serving_leftovers WHERE endpoint_id = ?";
static const char DELETE_DEPLOYMENTS[] = "DELETE FROM serving_deployments WHERE endpoint_id = ?";
static const char DELETE_ENDPOINT[] = "DELETE FROM serving_endpoints WHERE id = ?";
static const char SELECT_HISTORY[] =
    "SELECT number, model, version, cause, deployed_at, deployed_by FROM serving_deployments"
    " WHERE endpoint_id = ? AND number < ? ORDER BY number DESC LIMIT ?";

typedef struct endpoint_out {
  const char *name, *project;
  int64_t deployment;
  const char *model;
  int64_t version, labelled;
  const char *cause;
  purlin_time created_at;
  const char *created_by;
  purlin_time deployed_at;
  const char *deployed_by;
} endpoint_out;
PURLIN_SCHEMA(endpoint_out, "An endpoint",
    PURLIN_REQUIRED(name, "Its name, unique in the workspace"),
    PURLIN_REQUIRED(project, "Its project"),
    PURLIN_REQUIRED(deployment, "The number of the deployment that serves"),
    PURLIN_REQUIRED(model, "The model that serves"),
    PURLIN_REQUIRED(version, "Its version"),
    PURLIN_REQUIRED(labelled, "How many labels have come"),
    PURLIN_REQUIRED(cause, "Why this version was deployed"),
    PURLIN_REQUIRED(created_at, "Since when there is the endpoint"),
    PURLIN_REQUIRED(created_by, "Who made it"),
    PURLIN_REQUIRED(deployed_at, "Since when this version serves"),
    PURLIN_REQUIRED(deployed_by, "Who deployed it"));

typedef struct deployment_switch {
  const char *endpoint, *model;
  int64_t version, deployment;
  const char *cause;
} deployment_switch;
PURLIN_SCHEMA(deployment_switch, "An endpoint serves another version",
    PURLIN_REQUIRED(endpoint, "The endpoint"),
    PURLIN_REQUIRED(model, "The model"),
    PURLIN_REQUIRED(version, "Its version"),
    PURLIN_REQUIRED(deployment, "The number of the deployment"),
    PURLIN_REQUIRED(cause, "Why"));
PURLIN_EVENT(deployed, deployment_switch, "An endpoint serves another version");

/* ---- What others use -------------------------------------------------------------------------------------------------------------------- */

static purlin_status row_of(purlin_ctx *ctx, const char *name, bool lock, endpoint_row *out) {
  return lock ? purlin_db_row(ctx, endpoint_row, out, FIND_LOCKED, purlin_workspace(ctx), name)
              : purlin_db_row(ctx, endpoint_row, out, FIND, purlin_workspace(ctx), name);
}

purlin_status endpoint_find(purlin_ctx *ctx, const char *name, const char *permission, bool lock, endpoint_row *out) {
  purlin_status status = row_of(ctx, name, lock, out);
  if (status == PURLIN_OK) status = purlin_reach(ctx, permission, "models:read", out->project, out->id);
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "no endpoint named '%s'", name) : status;
}

/* One that has served nothing is being made, in the caller's project. A name is unique in the workspace, so it may be taken by what they
 * do not see. */
static purlin_status may_deploy(purlin_ctx *ctx, const char *name, const endpoint_row *row) {
  if (row->deployment == 0) return purlin_require_on(ctx, "models:deploy", row->project, NULL);
  purlin_status status = purlin_reach(ctx, "models:deploy", "models:read", row->project, row->id);
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, PURLIN_CONFLICT, "an endpoint named '%s' exists already", name)
                                    : status;
}

purlin_status endpoint_source(purlin_ctx *ctx, const endpoint_row *of, source *out) {
  return purlin_db_row(ctx, source, out, SELECT_SOURCE, of->id, of->deployment);
}

purlin_status registry_source(purlin_ctx *ctx, const char *model, const char *version, source *out) {
  const registry_which_version which = {model, version};
  registry_version found = {0};
  purlin_status status =
      purlin_call(ctx, "registry.get_version", registry_which_version_schema(), &which, registry_version_schema(), &found);
  if (status != PURLIN_OK) return status;
  if (found.sha256.state != PURLIN_SET || found.framework.state != PURLIN_SET || !found.signature.text)
    return logged_source(ctx, &found, out);
  *out = (source){model, found.version, found.framework.value, found.sha256.value, found.size.value, found.signature};
  return PURLIN_OK;
}

PURLIN_OPERATION(get_signature, registry_which_version, purlin_signature,
    .summary = "What a version of a model takes and gives", .permission = "models:read", .by_project = true, .http = "GET /api/v1/models/{name}/versions/{version}/signature",
    .description = "Of one that a client of MLflow logged it is read out of its files, as it is for a deployment.") {
  source of;
  purlin_status status = registry_source(ctx, in->name, in->version, &of);
  if (status != PURLIN_OK) return status;
  return purlin_decode_stored(ctx, purlin_signature_schema(), of.signature.text, of.signature.size, out);
}

/* ---- Deploying ------------------------------------------------------------------------------------------------------------------------------- */

typedef struct switching {
  const char *endpoint;
  const source *to;
  const char *cause;
} switching;

static purlin_status make_switch(purlin_ctx *ctx, const switching *s, const endpoint_row *row, endpoint_out *out) {
  int64_t number = row->deployment + 1;
  const source *to = s->to;
  purlin_status status =
      purlin_db_run(ctx, ADD, row->id, number, purlin_workspace(ctx), row->project, to->model, to->version, to->framework,
                    to->sha256, to->size, to->signature, s->cause, purlin_actor(ctx));
  if (status == PURLIN_OK) status = purlin_db_run(ctx, SWITCH, number, row->id);
  const deployment_switch event = {s->endpoint, to->model, to->version, number, s->cause};
  if (status == PURLIN_OK) status = purlin_emit(ctx, deployed, &event, s->endpoint);
  if (status == PURLIN_OK) status = purlin_db_row(ctx, endpoint_out, out, SELECT_ONE, purlin_workspace(ctx), s->endpoint);
  if (status == PURLIN_OK) endpoint_suspect(purlin_workspace(ctx), s->endpoint);
  return status;
}

/* A model that does not load never gets as far as the database. */
static purlin_status check_loads(purlin_ctx *ctx, const source *from) {
  served *s = NULL;
  purlin_status status = served_load(ctx, from, &s);
  served_leave(s);
  return status;
}

typedef struct deploy_in {
  const char *name, *model, *version, *cause;
} deploy_in;
PURLIN_SCHEMA(deploy_in, "What is to serve where",
    PURLIN_REQUIRED(name, "The endpoint; it is made when it is not there", SERVING_NAME_RULE),
    PURLIN_REQUIRED(model, "The model", .max_length = 250),
    PURLIN_REQUIRED(version, "Its version: a number, or @ and an alias", .max_length = 251),
    PURLIN_DEFAULT(cause, "\"\"", "Why, in words", .max_length = 500));

static purlin_status deploy_to(purlin_ctx *ctx, const deploy_in *in, endpoint_out *out) {
  source to;
  purlin_status status = registry_source(ctx, in->model, in->version, &to);
  if (status == PURLIN_OK) status = check_loads(ctx, &to);
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx, MAKE, purlin_new_id(ctx, "end"), purlin_workspace(ctx), purlin_project(ctx), in->name,
                           purlin_actor(ctx));
  endpoint_row row = {0};
  if (status == PURLIN_OK) status = row_of(ctx, in->name, true, &row);
  if (status == PURLIN_OK) status = may_deploy(ctx, in->name, &row);
  return status == PURLIN_OK ? make_switch(ctx, &(switching){in->name, &to, in->cause}, &row, out) : status;
}

PURLIN_OPERATION(deploy, deploy_in, endpoint_out,
    .summary = "Let an endpoint serve a version of a model", .permission = "models:deploy", .by_project = true, .effect = PURLIN_CREATES, .object = "get_endpoint",
    .http = "POST /api/v1/endpoints",
    .description = "The model is loaded first: one that does not load is refused and what serves goes on serving. The switch costs no request.") {
  return deploy_to(ctx, in, out);
}

typedef struct deploy_model_in {
  const char *model, *endpoint, *cause;
} deploy_model_in;
PURLIN_SCHEMA(deploy_model_in, "Which model of the registry is to serve",
    PURLIN_REQUIRED(model, "The model: churn@champion, churn/3, or churn for its newest version", .min_length = 1, .max_length = 2100),
    PURLIN_DEFAULT(endpoint, "\"\"", "The endpoint; named as the model if it is left out", .pattern = "[^/:@]*", .max_length = 250),
    PURLIN_DEFAULT(cause, "\"\"", "Why, in words", .max_length = 500));

static purlin_status newest_version(purlin_ctx *ctx, const char *model, int64_t *out) {
  const registry_which_model which = {model};
  registry_model found = {0};
  purlin_status status =
      purlin_call(ctx, "registry.get_model", registry_which_model_schema(), &which, registry_model_schema(), &found);
  if (status != PURLIN_OK) return status;
  for (size_t i = 0; i < found.latest_versions.count; i++) /* the newest of each stage */
    if (found.latest_versions.items[i].version > *out) *out = found.latest_versions.items[i].version;
  return *out > 0 ? PURLIN_OK : purlin_fail(ctx, PURLIN_CONFLICT, "the model '%s' has no versions yet", model);
}

/* "churn@champion", "churn/3" or "churn", which is its newest version. */
static purlin_status read_reference(purlin_ctx *ctx, const char *text, deploy_in *out) {
  const char *sign = strpbrk(text, "@/"); /* neither is in a model's name */
  if (sign && (sign == text || !sign[1]))
    return purlin_fail_field(ctx, "model",
                             "expected a model and its version: churn@champion, churn/3, or churn for the newest");
  out->model = sign ? purlin_copy_bytes(ctx, text, (size_t)(sign - text)) : text;
  if (!out->model) return PURLIN_TOO_LARGE;
  if (sign && strcmp(sign, "/latest") != 0) {
    out->version = *sign == '@' ? sign : sign + 1;
    return PURLIN_OK;
  }
  int64_t number = 0;
  purlin_status status = newest_version(ctx, out->model, &number);
  out->version = status == PURLIN_OK ? purlin_format(ctx, "%lld", (long long)number) : "";
  return out->version ? status : PURLIN_TOO_LARGE;
}

PURLIN_OPERATION(deploy_model, deploy_model_in, endpoint_out,
    .summary = "Let an endpoint serve a model of the registry: churn@champion, churn/3, or churn for its newest version", .permission = "models:deploy",
    .by_project = true, .effect = PURLIN_CREATES, .http = "POST /api/v1/deployments",
    .description = "As deploy. Models that a client of MLflow logged as XGBoost are served with the signature that they were logged with.") {
  deploy_in ask = {.cause = in->cause};
  purlin_status status = read_reference(ctx, in->model, &ask);
  if (status != PURLIN_OK) return status;
  ask.name = *in->endpoint ? in->endpoint : ask.model;
  if (strlen(ask.name) > 250) return purlin_fail_field(ctx, "endpoint", "is required where the model's name is this long");
  return deploy_to(ctx, &ask, out);
}

typedef struct rollback_in {
  const char *name, *cause;
} rollback_in;
PURLIN_SCHEMA(rollback_in, "What is to go back",
    PURLIN_REQUIRED(name, "The endpoint", .max_length = 250),
    PURLIN_DEFAULT(cause, "\"rollback\"", "Why, in words", .max_length = 500));

PURLIN_OPERATION(rollback, rollback_in, endpoint_out,
    .summary = "Let an endpoint serve the version that it served before", .permission = "models:deploy", .by_project = true, .effect = PURLIN_CHANGES, .object = "get_endpoint",
    .http = "POST /api/v1/endpoints/{name}/rollback") {
  endpoint_row row, locked;
  source before;
  purlin_status status = endpoint_find(ctx, in->name, "models:deploy", false, &row);
  if (status != PURLIN_OK) return status;
  status = purlin_db_row(ctx, source, &before, SELECT_BEFORE, row.id, row.deployment);
  if (status == PURLIN_NOT_FOUND)
    return purlin_fail(ctx, PURLIN_CONFLICT, "the endpoint '%s' has served no other version before", in->name);
  if (status == PURLIN_OK) status = check_loads(ctx, &before);
  if (status == PURLIN_OK) status = endpoint_find(ctx, in->name, "models:deploy", true, &locked);
  if (status == PURLIN_OK && locked.deployment != row.deployment)
    return purlin_fail(ctx, PURLIN_CONFLICT, "somebody else has just deployed to '%s'; look again", in->name);
  return status == PURLIN_OK ? make_switch(ctx, &(switching){in->name, &before, in->cause}, &locked, out) : status;
}

/* ---- Deleting ---------------------------------------------------------------------------------------------------------------------------------- */

typedef struct deletion {
  const char *endpoint;
  purlin_time deleted_at;
} deletion;
PURLIN_SCHEMA(deletion, "An endpoint is gone",
    PURLIN_REQUIRED(endpoint, "The endpoint"),
    PURLIN_REQUIRED(deleted_at, "Since when; one of this name that was made later is another"));
PURLIN_EVENT(deleted, deletion, "An endpoint was deleted, with its history, its prediction log and its labels");

typedef struct left_row {
  purlin_time deleted_at;
} left_row;
PURLIN_SCHEMA(left_row, "When it was deleted", PURLIN_REQUIRED(deleted_at, "time"));

typedef struct delete_endpoint_in {
  const char *name;
} delete_endpoint_in;
PURLIN_SCHEMA(delete_endpoint_in, "Which endpoint", PURLIN_REQUIRED(name, "Its name", .max_length = 250));

PURLIN_OPERATION(delete_endpoint, delete_endpoint_in, purlin_nothing,
    .summary = "Delete an endpoint", .permission = "models:deploy", .by_project = true, .effect = PURLIN_CHANGES, .object = "get_endpoint", .http = "DELETE /api/v1/endpoints/{name}",
    .description = "It serves no more, and its history is gone. Its prediction log and its labels are swept in the background.") {
  endpoint_row row;
  left_row left;
  purlin_status status = endpoint_find(ctx, in->name, "models:deploy", true, &row);
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx, LEAVE, row.id, purlin_workspace(ctx), row.project, in->name, purlin_actor(ctx));
  if (status == PURLIN_OK) status = purlin_db_row(ctx, left_row, &left, SELECT_LEFT, row.id);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, DELETE_DEPLOYMENTS, row.id);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, DELETE_ENDPOINT, row.id);
  if (status != PURLIN_OK) return status;
  const deletion event = {in->name, left.deleted_at};
  status = purlin_emit(ctx, deleted, &event, in->name);
  if (status == PURLIN_OK) endpoint_suspect(purlin_workspace(ctx), in->name);
  return status;
}

/* ---- Looking ---------------------------------------------------------------------------------------------------------------------------------- */

typedef struct get_endpoint_in {
  const char *name;
} get_endpoint_in;
PURLIN_SCHEMA(get_endpoint_in, "Which endpoint", PURLIN_REQUIRED(name, "Its name", .max_length = 250));

PURLIN_OPERATION(get_endpoint, get_endpoint_in, endpoint_out,
    .summary = "An endpoint and what it serves", .permission = "models:read", .by_project = true, .http = "GET /api/v1/endpoints/{name}") {
  endpoint_row row;
  purlin_status status = endpoint_find(ctx, in->name, "models:read", false, &row);
  if (status == PURLIN_OK) status = purlin_db_row(ctx, endpoint_out, out, SELECT_ONE, purlin_workspace(ctx), in->name);
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "no endpoint named '%s'", in->name) : status;
}

typedef struct list_endpoints_in {
  const char *after;
  int64_t limit;
} list_endpoints_in;
PURLIN_SCHEMA(list_endpoints_in, "Which page",
    PURLIN_DEFAULT(after, "\"\"", "Names after this one"),
    PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = 1000));
typedef struct endpoint_page {
  PURLIN_LIST_OF(endpoint_out) endpoints;
} endpoint_page;
PURLIN_SCHEMA(endpoint_page, "Endpoints, by name", PURLIN_LIST(endpoints, endpoint_out, "The endpoints"));

PURLIN_OPERATION(list_endpoints, list_endpoints_in, endpoint_page,
    .summary = "The endpoints that you may see", .permission = "models:read", .by_project = true, .http = "GET /api/v1/endpoints") {
  return purlin_db_list(ctx, endpoint_out, &out->endpoints, SELECT_PAGE, purlin_workspace(ctx),
                        PURLIN_VISIBLE_TO(ctx, "models:read"), in->after, in->limit);
}

typedef struct deployment {
  int64_t number;
  const char *model;
  int64_t version;
  const char *cause;
  purlin_time deployed_at;
  const char *deployed_by;
} deployment;
PURLIN_SCHEMA(deployment, "A deployment",
    PURLIN_REQUIRED(number, "Its number, from 1"),
    PURLIN_REQUIRED(model, "The model"),
    PURLIN_REQUIRED(version, "Its version"),
    PURLIN_REQUIRED(cause, "Why"),
    PURLIN_REQUIRED(deployed_at, "When"),
    PURLIN_REQUIRED(deployed_by, "By whom"));

typedef struct list_deployments_in {
  const char *name;
  int64_t before, limit;
} list_deployments_in;
PURLIN_SCHEMA(list_deployments_in, "Which page",
    PURLIN_REQUIRED(name, "The endpoint", .max_length = 250),
    PURLIN_DEFAULT(before, "9000000000000000", "Deployments with smaller numbers", .min = 1, .max = 9e15),
    PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = 1000));
typedef struct deployment_page {
  PURLIN_LIST_OF(deployment) deployments;
} deployment_page;
PURLIN_SCHEMA(deployment_page, "Deployments, newest first", PURLIN_LIST(deployments, deployment, "The deployments"));

PURLIN_OPERATION(list_deployments, list_deployments_in, deployment_page,
    .summary = "What an endpoint has served", .permission = "models:read", .by_project = true, .http = "GET /api/v1/endpoints/{name}/deployments") {
  endpoint_row row;
  purlin_status status = endpoint_find(ctx, in->name, "models:read", false, &row);
  return status == PURLIN_OK
             ? purlin_db_list(ctx, deployment, &out->deployments, SELECT_HISTORY, row.id, in->before, in->limit)
             : status;
}
