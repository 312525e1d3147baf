#include "drift.h"

#define MONITOR_COLUMNS                                                                                                                          \
  "id, project, endpoint, model, version, dataset, dataset_version, baseline_accuracy, champion_since, evaluate_every AS `every`, drift_window," \
  " accuracy_window, psi_threshold, ks_threshold, accuracy_margin, evaluated, created_at, created_by"

static const char SELECT_ONE[] = "SELECT " MONITOR_COLUMNS " FROM drift_monitors WHERE workspace = ? AND endpoint = ?";
static const char SELECT_LOCKED[] =
    "SELECT " MONITOR_COLUMNS " FROM drift_monitors WHERE workspace = ? AND endpoint = ? FOR UPDATE";
static const char SELECT_PAGE[] = "SELECT " MONITOR_COLUMNS " FROM drift_monitors WHERE workspace = ? AND " PURLIN_VISIBLE(
    "project", "id") " AND endpoint > ? ORDER BY endpoint LIMIT ?";
static const char SELECT_PROFILE[] = "SELECT profile FROM drift_monitors WHERE id = ?";
static const char INSERT[] =
    "INSERT INTO drift_monitors (id, workspace, project, endpoint, model, version, dataset, dataset_version, baseline_accuracy, champion_since,"
    " evaluate_every, drift_window, accuracy_window, psi_threshold, ks_threshold, accuracy_margin, evaluated, profile, created_at, created_by)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NOW(6), ?)";
static const char CROWN[] =
    "UPDATE drift_monitors SET model = ?, version = ?, dataset = ?, dataset_version = ?, baseline_accuracy = ?,"
    " champion_since = ?, profile = ? WHERE workspace = ? AND endpoint = ?";

static const char DELETE_REPORTS[] = "DELETE FROM drift_reports WHERE monitor_id = ?";
static const char DELETE_ALERTS[] = "DELETE FROM drift_alerts WHERE monitor_id = ?";
static const char DELETE_MONITOR[] = "DELETE FROM drift_monitors WHERE id = ?";

purlin_status monitor_find(purlin_ctx *ctx, const char *endpoint, bool lock, monitor *out) {
  return lock ? purlin_db_row(ctx, monitor, out, SELECT_LOCKED, purlin_workspace(ctx), endpoint)
              : purlin_db_row(ctx, monitor, out, SELECT_ONE, purlin_workspace(ctx), endpoint);
}

purlin_status monitor_named(purlin_ctx *ctx, purlin_status status, const char *endpoint) {
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "no monitor of the endpoint '%s'", endpoint) : status;
}

purlin_status monitor_reach(purlin_ctx *ctx, const char *endpoint, const char *permission, bool lock, monitor *out) {
  purlin_status status = monitor_find(ctx, endpoint, lock, out);
  if (status == PURLIN_OK) status = purlin_reach(ctx, permission, "drift:read", out->project, out->id);
  return monitor_named(ctx, status, endpoint);
}

typedef struct endpoint_in {
  const char *name;
} endpoint_in;
PURLIN_SCHEMA(endpoint_in, "Which endpoint", PURLIN_REQUIRED(name, "Its name"));

purlin_status endpoint_look(purlin_ctx *ctx, const char *endpoint, endpoint_out *out) {
  return purlin_call(ctx, "serving.get_endpoint", endpoint_in_schema(), &(endpoint_in){endpoint}, endpoint_out_schema(),
                     out);
}

typedef struct profile_row {
  purlin_json profile;
} profile_row;
PURLIN_SCHEMA(profile_row, "A profile", PURLIN_REQUIRED(profile, "As JSON"));

purlin_status monitor_profile(purlin_ctx *ctx, const monitor *of, profile *out) {
  profile_row row;
  purlin_status status = purlin_db_row(ctx, profile_row, &row, SELECT_PROFILE, of->id);
  return status == PURLIN_OK ? purlin_decode_stored(ctx, profile_schema(), row.profile.text, row.profile.size, out)
                             : status;
}

typedef struct create_monitor_in {
  const char *endpoint, *model;
  int64_t version;
  const char *dataset;
  int64_t dataset_version;
  double baseline_accuracy;
  int64_t since, every, drift_window, accuracy_window;
  double psi_threshold;
  purlin_opt_double ks_threshold;
  double accuracy_margin;
} create_monitor_in;
PURLIN_SCHEMA(create_monitor_in, "An endpoint to watch",
    PURLIN_REQUIRED(endpoint, "The endpoint", .min_length = 1, .max_length = 250),
    PURLIN_REQUIRED(model, "The model that it serves", .max_length = 250),
    PURLIN_REQUIRED(version, "Which version", .min = 1, .max = 9e15),
    PURLIN_REQUIRED(dataset, "What that learned from", .max_length = 250),
    PURLIN_REQUIRED(dataset_version, "Which version of it", .min = 1, .max = 9e15),
    PURLIN_REQUIRED(baseline_accuracy, "What it showed on rows that it had not learned from", .min = 0, .max = 1),
    PURLIN_DEFAULT(since, "0", "Watch the labelled rows from this index on", .min = 0, .max = 9e15),
    PURLIN_DEFAULT(every, "250", "Labelled rows between two evaluations", .min = 1, .max = 1000000),
    PURLIN_DEFAULT(drift_window, "1000", "Compare the inputs of the last so many rows", .min = 10, .max = DRIFT_MOST_ROWS),
    PURLIN_DEFAULT(accuracy_window, "500", "Count the last so many predictions", .min = 10, .max = DRIFT_MOST_ROWS),
    PURLIN_DEFAULT(psi_threshold, "2", "Drift when the PSI of an input is above this", .min = 0.001, .max = 1000),
    PURLIN_OPTIONAL(ks_threshold, "Drift also when the KS of an input is above this", .min = 0.001, .max = 1),
    PURLIN_DEFAULT(accuracy_margin, "0.05", "Alert when accuracy is this much below the baseline", .min = 0.001, .max = 1));

PURLIN_OPERATION(create_monitor, create_monitor_in, monitor,
    .summary = "Watch an endpoint", .permission = "drift:write", .by_project = true, .effect = PURLIN_CREATES, .http = "POST /api/v1/monitors") {
  purlin_json learned;
  endpoint_out watched = {0};
  purlin_status status = endpoint_look(ctx, in->endpoint, &watched);
  if (status == PURLIN_OK) status = purlin_require_on(ctx, "drift:write", watched.project, NULL);
  if (status == PURLIN_OK) status = profile_load(ctx, in->model, in->version, in->dataset, in->dataset_version, &learned);
  if (status != PURLIN_OK) return status;
  status = purlin_db_run(ctx, INSERT, purlin_new_id(ctx, "mon"), purlin_workspace(ctx), watched.project, in->endpoint,
                         in->model, in->version, in->dataset, in->dataset_version, in->baseline_accuracy, in->since,
                         in->every, in->drift_window, in->accuracy_window, in->psi_threshold, in->ks_threshold,
                         in->accuracy_margin, in->since - in->since % in->every, learned, purlin_actor(ctx));
  if (status == PURLIN_CONFLICT) return purlin_fail(ctx, status, "the endpoint '%s' has a monitor already", in->endpoint);
  return status == PURLIN_OK ? monitor_find(ctx, in->endpoint, false, out) : status;
}

typedef struct monitor_in {
  const char *endpoint;
} monitor_in;
PURLIN_SCHEMA(monitor_in, "Which monitor", PURLIN_REQUIRED(endpoint, "The endpoint", .max_length = 250));

PURLIN_OPERATION(get_monitor, monitor_in, monitor,
    .summary = "The monitor of an endpoint", .permission = "drift:read", .by_project = true, .http = "GET /api/v1/monitors/{endpoint}") {
  return monitor_reach(ctx, in->endpoint, "drift:read", false, out);
}

typedef struct list_monitors_in {
  const char *after;
  int64_t limit;
} list_monitors_in;
PURLIN_SCHEMA(list_monitors_in, "Which page",
    PURLIN_DEFAULT(after, "\"\"", "Endpoints after this one"),
    PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = 1000));
typedef struct monitor_page {
  PURLIN_LIST_OF(monitor) monitors;
} monitor_page;
PURLIN_SCHEMA(monitor_page, "Monitors, by endpoint", PURLIN_LIST(monitors, monitor, "The monitors"));

PURLIN_OPERATION(list_monitors, list_monitors_in, monitor_page,
    .summary = "The monitors that you may see", .permission = "drift:read", .by_project = true, .http = "GET /api/v1/monitors") {
  return purlin_db_list(ctx, monitor, &out->monitors, SELECT_PAGE, purlin_workspace(ctx),
                        PURLIN_VISIBLE_TO(ctx, "drift:read"), in->after, in->limit);
}

typedef struct set_champion_in {
  const char *endpoint, *model;
  int64_t version;
  const char *dataset;
  int64_t dataset_version;
  double baseline_accuracy;
  int64_t since;
} set_champion_in;
PURLIN_SCHEMA(set_champion_in, "What the endpoint serves from now on",
    PURLIN_REQUIRED(endpoint, "The endpoint", .max_length = 250),
    PURLIN_REQUIRED(model, "The model", .max_length = 250),
    PURLIN_REQUIRED(version, "Its version", .min = 1, .max = 9e15),
    PURLIN_REQUIRED(dataset, "What it learned from", .max_length = 250),
    PURLIN_REQUIRED(dataset_version, "Which version of that", .min = 1, .max = 9e15),
    PURLIN_REQUIRED(baseline_accuracy, "What it showed on rows that it had not learned from", .min = 0, .max = 1),
    PURLIN_REQUIRED(since, "Labelled rows so far: those from this index on count as its own", .min = 0, .max = 9e15));

PURLIN_OPERATION(set_champion, set_champion_in, monitor,
    .summary = "Compare with another champion from now on", .permission = "drift:write", .by_project = true, .effect = PURLIN_CHANGES, .object = "get_monitor",
    .http = "PUT /api/v1/monitors/{endpoint}/champion",
    .description = "Its profile replaces the old one and its accuracy is counted from nothing. Call it after a deployment.") {
  purlin_json learned;
  purlin_status status = monitor_reach(ctx, in->endpoint, "drift:write", false, out);
  if (status == PURLIN_OK) status = profile_load(ctx, in->model, in->version, in->dataset, in->dataset_version, &learned);
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx, CROWN, in->model, in->version, in->dataset, in->dataset_version, in->baseline_accuracy,
                           in->since, learned, purlin_workspace(ctx), in->endpoint);
  if (status != PURLIN_OK) return status;
  return monitor_named(ctx, monitor_find(ctx, in->endpoint, false, out), in->endpoint);
}

/* ---- Their end ------------------------------------------------------------------------------------------------------------------------- */

static purlin_status remove_monitor(purlin_ctx *ctx, const monitor *of) {
  purlin_status status = purlin_db_run(ctx, DELETE_REPORTS, of->id);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, DELETE_ALERTS, of->id);
  return status == PURLIN_OK ? purlin_db_run(ctx, DELETE_MONITOR, of->id) : status;
}

PURLIN_OPERATION(delete_monitor, monitor_in, purlin_nothing,
    .summary = "Watch an endpoint no more", .permission = "drift:write", .by_project = true, .effect = PURLIN_CHANGES, .object = "get_monitor", .http = "DELETE /api/v1/monitors/{endpoint}",
    .description = "Its reports and alerts go with it.") {
  monitor of;
  purlin_status status = monitor_reach(ctx, in->endpoint, "drift:write", true, &of);
  return status == PURLIN_OK ? remove_monitor(ctx, &of) : status;
}

typedef struct deleted_event {
  const char *endpoint;
  purlin_time deleted_at;
} deleted_event;
PURLIN_SCHEMA(deleted_event, "An endpoint is gone",
    PURLIN_REQUIRED(endpoint, "The endpoint"),
    PURLIN_REQUIRED(deleted_at, "Since when"));

/* A monitor that was made later is of another endpoint with the same name. */
static purlin_status remove_older(purlin_ctx *ctx, void *argument) {
  const deleted_event *event = argument;
  monitor of;
  purlin_status status = monitor_find(ctx, event->endpoint, true, &of);
  if (status == PURLIN_NOT_FOUND) return PURLIN_OK;
  if (status != PURLIN_OK || of.created_at.unix_us > event->deleted_at.unix_us) return status;
  return remove_monitor(ctx, &of);
}

PURLIN_LISTENER(on_deleted, "serving.deleted", deleted_event) {
  deleted_event gone = *event;
  return purlin_transaction(ctx, remove_older, &gone);
}
