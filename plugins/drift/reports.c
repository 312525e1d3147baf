#include "drift.h"

static const char SELECT_REPORTS[] =
    "SELECT r.labelled, r.version, r.accuracy, r.baseline_accuracy, JSON_EXTRACT(r.features, '$.features') AS features, r.accuracy_alert,"
    " r.drift_alert, r.created_at FROM drift_reports r WHERE r.monitor_id = ? AND r.labelled < ? ORDER BY r.labelled DESC LIMIT ?";
static const char ANSWER[] = "UPDATE drift_alerts SET answer = ? WHERE workspace = ? AND endpoint = ? AND labelled = ?";
static const char SELECT_ALERTS[] =
    "SELECT id, endpoint, kind, state, labelled, version, feature, value, threshold, JSON_EXTRACT(features, '$.features') AS features, answer,"
    " created_at FROM drift_alerts WHERE workspace = ? AND " PURLIN_VISIBLE(
        "project",
        "monitor_id") " AND (? = '' OR endpoint = ?) AND (? = '' OR kind = ?) AND labelled < ?"
                      " ORDER BY labelled DESC FETCH FIRST ? ROWS WITH TIES"; /* a page ends between evaluations, so that the next one misses nothing */

typedef struct report {
  int64_t labelled, version;
  purlin_opt_double accuracy;
  double baseline_accuracy;
  PURLIN_LIST_OF(feature_drift) features;
  purlin_opt_text accuracy_alert, drift_alert;
  purlin_time created_at;
} report;
PURLIN_SCHEMA(report, "One evaluation of a monitor",
    PURLIN_REQUIRED(labelled, "Labelled rows at this evaluation"),
    PURLIN_REQUIRED(version, "The champion's version"),
    PURLIN_OPTIONAL(accuracy, "In the window; absent until the champion has served a whole one"),
    PURLIN_REQUIRED(baseline_accuracy, "What it was compared with"),
    PURLIN_LIST(features, feature_drift, "Each input"),
    PURLIN_OPTIONAL(accuracy_alert, "The alert of the accuracy"),
    PURLIN_OPTIONAL(drift_alert, "The alert of the drift"),
    PURLIN_REQUIRED(created_at, "When"));

typedef struct list_reports_in {
  const char *endpoint;
  int64_t before, limit;
} list_reports_in;
PURLIN_SCHEMA(list_reports_in, "Which page",
    PURLIN_REQUIRED(endpoint, "The endpoint", .max_length = 250),
    PURLIN_DEFAULT(before, "9000000000000000", "Those before so many labelled rows", .min = 1, .max = 9e15),
    PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = 1000));
typedef struct report_page {
  PURLIN_LIST_OF(report) reports;
} report_page;
PURLIN_SCHEMA(report_page, "Evaluations, newest first", PURLIN_LIST(reports, report, "The evaluations"));

PURLIN_OPERATION(list_reports, list_reports_in, report_page,
    .summary = "The evaluations of an endpoint's monitor", .permission = "drift:read", .by_project = true, .http = "GET /api/v1/monitors/{endpoint}/reports") {
  monitor of;
  purlin_status status = monitor_reach(ctx, in->endpoint, "drift:read", false, &of);
  if (status != PURLIN_OK) return status;
  return purlin_db_list(ctx, report, &out->reports, SELECT_REPORTS, of.id, in->before, in->limit);
}

typedef struct alert_row {
  const char *id, *endpoint, *kind, *state;
  int64_t labelled, version;
  purlin_opt_text feature;
  double value, threshold;
  PURLIN_LIST_OF(feature_drift) features;
  purlin_opt_text answer;
  purlin_time created_at;
} alert_row;
PURLIN_SCHEMA(alert_row, "An alert",
    PURLIN_REQUIRED(id, "Its id"),
    PURLIN_REQUIRED(endpoint, "The endpoint"),
    PURLIN_REQUIRED(kind, "accuracy or drift"),
    PURLIN_REQUIRED(state, "raised, or ongoing when it was up at the evaluation before"),
    PURLIN_REQUIRED(labelled, "Labelled rows at the evaluation"),
    PURLIN_REQUIRED(version, "The champion's version"),
    PURLIN_OPTIONAL(feature, "The input that drifted most"),
    PURLIN_REQUIRED(value, "Its PSI or KS, or the accuracy"),
    PURLIN_REQUIRED(threshold, "What that was compared with"),
    PURLIN_LIST(features, feature_drift, "All inputs that drifted"),
    PURLIN_OPTIONAL(answer, "What was done about it"),
    PURLIN_REQUIRED(created_at, "When"));

typedef struct list_alerts_in {
  const char *endpoint, *kind;
  int64_t before, limit;
} list_alerts_in;
PURLIN_SCHEMA(list_alerts_in, "Which alerts",
    PURLIN_DEFAULT(endpoint, "\"\"", "Of this endpoint", .max_length = 250),
    PURLIN_DEFAULT(kind, "\"\"", "accuracy or drift", .max_length = 16),
    PURLIN_DEFAULT(before, "9000000000000000", "Those before so many labelled rows", .min = 1, .max = 9e15),
    PURLIN_DEFAULT(limit, "100", "At most so many, and those at the same number of rows as the last", .min = 1, .max = 1000));
typedef struct alert_page {
  PURLIN_LIST_OF(alert_row) alerts;
} alert_page;
PURLIN_SCHEMA(alert_page, "Alerts, newest first", PURLIN_LIST(alerts, alert_row, "The alerts"));

PURLIN_OPERATION(list_alerts, list_alerts_in, alert_page,
    .summary = "The alerts that you may see", .permission = "drift:read", .by_project = true, .http = "GET /api/v1/alerts") {
  return purlin_db_list(ctx, alert_row, &out->alerts, SELECT_ALERTS, purlin_workspace(ctx),
                        PURLIN_VISIBLE_TO(ctx, "drift:read"), in->endpoint, in->endpoint, in->kind, in->kind, in->before,
                        in->limit);
}

typedef struct answer_in {
  const char *endpoint;
  int64_t labelled;
  const char *answer;
} answer_in;
PURLIN_SCHEMA(answer_in, "What was done about the alerts of an evaluation",
    PURLIN_REQUIRED(endpoint, "The endpoint", .max_length = 250),
    PURLIN_REQUIRED(labelled, "Labelled rows at the evaluation", .min = 0, .max = 9e15),
    PURLIN_REQUIRED(answer, "In words", .min_length = 1, .max_length = 500));

typedef struct answered {
  int64_t alerts;
} answered;
PURLIN_SCHEMA(answered, "What was answered", PURLIN_REQUIRED(alerts, "How many alerts"));

PURLIN_OPERATION(answer_alerts, answer_in, answered,
    .summary = "Note what was done about the alerts of an evaluation", .permission = "drift:write", .by_project = true, .effect = PURLIN_CHANGES,
    .http = "PUT /api/v1/monitors/{endpoint}/alerts/{labelled}/answer") {
  monitor of;
  purlin_status status = monitor_reach(ctx, in->endpoint, "drift:write", false, &of);
  if (status != PURLIN_OK) return status;
  status = purlin_db_run(ctx, ANSWER, in->answer, purlin_workspace(ctx), in->endpoint, in->labelled);
  out->alerts = (int64_t)purlin_affected(ctx);
  if (status == PURLIN_OK && out->alerts == 0)
    return purlin_fail(ctx, PURLIN_NOT_FOUND, "the endpoint '%s' has no alert at %lld labelled rows", in->endpoint,
                       (long long)in->labelled);
  return status;
}
