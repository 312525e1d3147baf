#include "drift.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* At most so many evaluations are computed before they are recorded together: it bounds the memory and the transaction. */
enum { ROUND = 16 };

static const char INSERT_REPORT[] =
    "INSERT INTO drift_reports (workspace, project, monitor_id, labelled, version, accuracy, baseline_accuracy, features, accuracy_alert,"
    " drift_alert, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NOW(6))";
static const char INSERT_ALERT[] =
    "INSERT INTO drift_alerts (id, workspace, project, monitor_id, endpoint, kind, state, labelled, version, feature, value, threshold, features,"
    " created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NOW(6))";
static const char SET_EVALUATED[] = "UPDATE drift_monitors SET evaluated = ? WHERE id = ?";
static const char LAST_ALERTS[] =
    "SELECT accuracy_alert, drift_alert FROM drift_reports WHERE monitor_id = ? AND labelled = ?";

typedef struct alert_payload {
  const char *alert_id, *endpoint, *kind;
  purlin_texts kinds;
  purlin_opt_text accuracy_alert, drift_alert;
  purlin_opt_double accuracy;
  double value, threshold;
  PURLIN_LIST_OF(feature_drift) features;
  int64_t labelled, champion_since;
  double baseline_accuracy;
  const char *model;
  int64_t version;
} alert_payload;
PURLIN_SCHEMA(alert_payload, "What an evaluation found wrong",
    PURLIN_REQUIRED(alert_id, "The alert; that of the accuracy when there are two"),
    PURLIN_REQUIRED(endpoint, "The endpoint"),
    PURLIN_REQUIRED(kind, "accuracy or drift, of that alert"),
    PURLIN_REQUIRED(kinds, "All that is wrong"),
    PURLIN_OPTIONAL(accuracy_alert, "The alert of the accuracy"),
    PURLIN_OPTIONAL(drift_alert, "The alert of the drift"),
    PURLIN_OPTIONAL(accuracy, "In the window; absent until the champion has served a whole one"),
    PURLIN_REQUIRED(value, "What was measured, of that alert"),
    PURLIN_REQUIRED(threshold, "What it was compared with"),
    PURLIN_LIST(features, feature_drift, "The inputs that drifted"),
    PURLIN_REQUIRED(labelled, "Labelled rows at this evaluation"),
    PURLIN_REQUIRED(champion_since, "Since which of them the champion serves"),
    PURLIN_REQUIRED(baseline_accuracy, "What the champion showed on rows that it had not learned from"),
    PURLIN_REQUIRED(model, "The champion's model"),
    PURLIN_REQUIRED(version, "Its version"));
PURLIN_EVENT(alert, alert_payload, "An evaluation of a monitor found drift or too little accuracy; at each evaluation while it lasts");

/* What we need of serving.labelled. */
typedef struct labelled_in {
  const char *endpoint;
  int64_t from, to;
} labelled_in;
PURLIN_SCHEMA(labelled_in, "Which rows",
    PURLIN_REQUIRED(endpoint, "The endpoint"),
    PURLIN_REQUIRED(from, "The first"),
    PURLIN_REQUIRED(to, "Behind the last"));
typedef struct labelled_row {
  purlin_json inputs;
  double prediction, label;
} labelled_row;
PURLIN_SCHEMA(labelled_row, "A labelled prediction",
    PURLIN_REQUIRED(inputs, "What the model was given"),
    PURLIN_REQUIRED(prediction, "What it said"),
    PURLIN_REQUIRED(label, "What was true"));
typedef struct labelled_rows {
  PURLIN_LIST_OF(labelled_row) rows;
} labelled_rows;
PURLIN_SCHEMA(labelled_rows, "Labelled predictions", PURLIN_LIST(rows, labelled_row, "The rows"));

/* One evaluation, computed. */
typedef struct finding {
  int64_t labelled;
  purlin_opt_double accuracy;
  feature_list features; /* every input; none while there are too few rows */
  feature_list drifted;
} finding;

typedef struct evaluation {
  const monitor *of;
  const profile *learned;
  finding findings[ROUND];
  size_t count;
} evaluation;

/* ---- Computing ---------------------------------------------------------------------------------------------------------------------- */

/* A class says itself, a probability says the class that it rounds to. */
static bool is_right(const labelled_row *row) { return floor(row->prediction + 0.5) == row->label; }

/* "[1,null,2.5]" into row `at` of each column; null is missing. The text was written by serving: numbers, commas, brackets. */
static bool spread(const char *text, float *values, size_t columns, size_t rows, size_t at) {
  const char *p = text + strspn(text, "[ ");
  for (size_t i = 0; i < columns; i++) {
    char *end = NULL;
    float value = strncmp(p, "null", 4) == 0 ? NAN : strtof(p, &end);
    const char *after = end ? end : p + 4;
    if (after == p) return false;
    values[i * rows + at] = value;
    p = after + strspn(after, ", ");
  }
  return *p == ']';
}

static purlin_status measure(purlin_ctx *ctx, const evaluation *e, const float *values, size_t rows, finding *f) {
  const monitor *m = e->of;
  size_t columns = e->learned->columns.count;
  f->features.features.items = purlin_alloc_array(ctx, columns, sizeof(feature_drift));
  f->drifted.features.items = purlin_alloc_array(ctx, columns, sizeof(feature_drift));
  float *known = purlin_alloc_array(ctx, rows, sizeof *known);
  if (!f->features.features.items || !f->drifted.features.items || !known) return PURLIN_TOO_LARGE;
  f->features.features.count = columns;
  for (size_t i = 0; i < columns; i++) {
    const profile_column *column = &e->learned->columns.items[i];
    size_t count = 0;
    for (size_t row = 0; row < rows; row++)
      if (!isnan(values[i * rows + row])) known[count++] = values[i * rows + row];
    statistics_bins bins;
    statistics_bins_of(column->quantiles.items, &bins);
    feature_drift drift = {column->name, statistics_psi(&bins, known, count), 0};
    drift.ks = statistics_ks(column->quantiles.items, known, count);
    f->features.features.items[i] = drift;
    if (drift.psi > m->psi_threshold || (m->ks_threshold.state == PURLIN_SET && drift.ks > m->ks_threshold.value))
      f->drifted.features.items[f->drifted.features.count++] = drift;
  }
  return PURLIN_OK;
}

/* A row of other inputs than the champion's counts as missing. */
static purlin_status drift_of(purlin_ctx *ctx, const evaluation *e, const labelled_rows *window, size_t rows, finding *f) {
  size_t columns = e->learned->columns.count, first = window->rows.count - rows;
  float *values = purlin_alloc_array(ctx, columns * rows, sizeof *values);
  if (!values) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < rows; i++)
    if (!spread(window->rows.items[first + i].inputs.text, values, columns, rows, i))
      for (size_t column = 0; column < columns; column++) values[column * rows + i] = NAN;
  return measure(ctx, e, values, rows, f);
}

static void accuracy_of(const labelled_rows *window, size_t rows, finding *f) {
  size_t first = window->rows.count - rows, right = 0;
  for (size_t i = 0; i < rows; i++) right += is_right(&window->rows.items[first + i]);
  f->accuracy = (purlin_opt_double){PURLIN_SET, (double)right / (double)rows};
}

/* How many rows to take for a window of `size` when `missing` of them may not be there: so few that all lie within it. A tenth may be
 * missing, such as predictions whose log entries a crash lost; with more, or too early, there is no verdict: 0. */
static size_t usable(int64_t size, int64_t labelled, int64_t missing) {
  return labelled >= size && missing * 10 <= size ? (size_t)(size - missing) : 0;
}

static purlin_status compute(purlin_ctx *ctx, const evaluation *e, finding *f) {
  const monitor *m = e->of;
  int64_t most = m->drift_window > m->accuracy_window ? m->drift_window : m->accuracy_window;
  int64_t from = f->labelled > most ? f->labelled - most : 0;
  labelled_rows window = {0};
  purlin_status status = purlin_call(ctx, "serving.labelled", labelled_in_schema(),
                                     &(labelled_in){m->endpoint, from, f->labelled}, labelled_rows_schema(), &window);
  if (status != PURLIN_OK) return status;
  int64_t missing = f->labelled - from - (int64_t)window.rows.count;
  if (missing > 0)
    purlin_log(ctx, PURLIN_WARNING, "%lld of the labelled rows %lld to %lld of '%s' are missing", (long long)missing,
               (long long)from, (long long)f->labelled, m->endpoint);
  size_t rows = usable(m->accuracy_window, f->labelled, missing);
  if (rows && f->labelled - m->accuracy_window >= m->champion_since) accuracy_of(&window, rows, f);
  rows = usable(m->drift_window, f->labelled, missing);
  return rows ? drift_of(ctx, e, &window, rows, f) : PURLIN_OK;
}

/* ---- Recording ----------------------------------------------------------------------------------------------------------------------- */

typedef struct alerts_row {
  purlin_opt_text accuracy_alert, drift_alert;
} alerts_row;
PURLIN_SCHEMA(alerts_row, "Alerts of a report",
    PURLIN_OPTIONAL(accuracy_alert, "accuracy"),
    PURLIN_OPTIONAL(drift_alert, "drift"));

static const feature_drift *most_drifted(const feature_list *list) { /* of one or more */
  const feature_drift *most = list->features.items;
  for (size_t i = 1; i < list->features.count; i++)
    if (list->features.items[i].psi > most->psi) most = &list->features.items[i];
  return most;
}

static bool accuracy_is_low(const monitor *m, const finding *f) {
  return f->accuracy.state == PURLIN_SET && f->accuracy.value < m->baseline_accuracy - m->accuracy_margin;
}

/* An alert to be written. */
typedef struct new_alert {
  const char *kind, *feature;
  double value, threshold;
  feature_list features;
  bool ongoing;
} new_alert;

static new_alert accuracy_alert(const monitor *m, const finding *f, bool ongoing) {
  return (new_alert){.kind = "accuracy",
                     .value = f->accuracy.value,
                     .threshold = m->baseline_accuracy - m->accuracy_margin,
                     .ongoing = ongoing};
}

static new_alert drift_alert(const monitor *m, const finding *f, bool ongoing) {
  const feature_drift *worst = most_drifted(&f->drifted);
  new_alert made = {"drift", worst->name, worst->psi, m->psi_threshold, f->drifted, ongoing};
  if (worst->psi <= m->psi_threshold) { /* so it was the KS */
    made.value = worst->ks;
    made.threshold = m->ks_threshold.value;
  }
  return made;
}

static purlin_status raise_alert(purlin_ctx *ctx, const monitor *m, const finding *f, const new_alert *made,
                                 alert_payload *event, purlin_opt_text *id) {
  purlin_json list;
  purlin_status status = purlin_encode(ctx, feature_list_schema(), &made->features, &list);
  *id = (purlin_opt_text){PURLIN_SET, purlin_new_id(ctx, "alr")};
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx, INSERT_ALERT, id->value, purlin_workspace(ctx), m->project, m->id, m->endpoint, made->kind,
                           made->ongoing ? "ongoing" : "raised", f->labelled, m->version, made->feature, made->value,
                           made->threshold, list);
  if (event->alert_id) return status; /* the first one names the event */
  event->alert_id = id->value;
  event->kind = made->kind;
  event->value = made->value;
  event->threshold = made->threshold;
  return status;
}

static purlin_status tell(purlin_ctx *ctx, const monitor *m, const finding *f, alert_payload *event) {
  static const char *const both[] = {"accuracy", "drift"};
  bool low = event->accuracy_alert.state == PURLIN_SET, moved = event->drift_alert.state == PURLIN_SET;
  event->kinds = low ? (purlin_texts){both, moved ? 2 : 1} : (purlin_texts){both + 1, 1};
  event->endpoint = m->endpoint;
  event->accuracy = f->accuracy;
  event->features.items = f->drifted.features.items;
  event->features.count = f->drifted.features.count;
  event->labelled = f->labelled;
  event->champion_since = m->champion_since;
  event->baseline_accuracy = m->baseline_accuracy;
  event->model = m->model;
  event->version = m->version;
  return purlin_emit(ctx, alert, event, m->endpoint);
}

/* One report, its alerts and their event; `up` says which alerts the report before had, and then those of this one. */
static purlin_status record(purlin_ctx *ctx, const monitor *m, const finding *f, alerts_row *up) {
  alert_payload event = {0};
  purlin_status status = PURLIN_OK;
  if (accuracy_is_low(m, f)) {
    const new_alert made = accuracy_alert(m, f, up->accuracy_alert.state == PURLIN_SET);
    status = raise_alert(ctx, m, f, &made, &event, &event.accuracy_alert);
  }
  if (status == PURLIN_OK && f->drifted.features.count > 0) {
    const new_alert made = drift_alert(m, f, up->drift_alert.state == PURLIN_SET);
    status = raise_alert(ctx, m, f, &made, &event, &event.drift_alert);
  }
  *up = (alerts_row){event.accuracy_alert, event.drift_alert};
  purlin_json features;
  if (status == PURLIN_OK) status = purlin_encode(ctx, feature_list_schema(), &f->features, &features);
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx, INSERT_REPORT, purlin_workspace(ctx), m->project, m->id, f->labelled, m->version,
                           f->accuracy, m->baseline_accuracy, features, event.accuracy_alert, event.drift_alert);
  return status == PURLIN_OK && event.alert_id ? tell(ctx, m, f, &event) : status;
}

/* The body of the transaction. What was computed counts only if monitor and champion are still those that it was computed for. */
static purlin_status record_all(purlin_ctx *ctx, void *argument) {
  const evaluation *e = argument;
  monitor now;
  alerts_row up = {0};
  purlin_status status = monitor_find(ctx, e->of->endpoint, true, &now);
  if (status != PURLIN_OK) return monitor_named(ctx, status, e->of->endpoint);
  if (now.evaluated != e->of->evaluated || now.champion_since != e->of->champion_since || now.version != e->of->version)
    return purlin_fail(ctx, PURLIN_CONFLICT, "the monitor of '%s' changed meanwhile; evaluate again", e->of->endpoint);
  status = purlin_db_row(ctx, alerts_row, &up, LAST_ALERTS, now.id, now.evaluated);
  if (status == PURLIN_NOT_FOUND) status = PURLIN_OK; /* the first report */
  for (size_t i = 0; i < e->count && status == PURLIN_OK; i++) status = record(ctx, e->of, &e->findings[i], &up);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, SET_EVALUATED, e->findings[e->count - 1].labelled, now.id);
  return status;
}

/* Evaluates what is due, at most a round of it; `*done` counts. PURLIN_CONFLICT when somebody else was at it. May park. */
static purlin_status evaluate_round(purlin_ctx *ctx, const char *endpoint, int64_t labelled, monitor *of, size_t *done) {
  *done = 0;
  purlin_status status = monitor_find(ctx, endpoint, false, of);
  if (status != PURLIN_OK || of->evaluated + of->every > labelled) return status;
  profile learned = {0};
  evaluation *e = purlin_alloc(ctx, sizeof *e);
  if (!e) return PURLIN_TOO_LARGE;
  e->of = of;
  e->learned = &learned;
  status = monitor_profile(ctx, of, &learned);
  for (int64_t at = of->evaluated + of->every; status == PURLIN_OK && at <= labelled && e->count < ROUND; at += of->every) {
    e->findings[e->count].labelled = at;
    status = compute(ctx, e, &e->findings[e->count]);
    e->count++;
  }
  if (status == PURLIN_OK) status = purlin_transaction(ctx, record_all, e);
  if (status == PURLIN_OK) *done = e->count;
  return status;
}

/* ---- When ------------------------------------------------------------------------------------------------------------------------------ */

typedef struct labelled_event {
  const char *endpoint;
  int64_t labelled;
} labelled_event;
PURLIN_SCHEMA(labelled_event, "Labels came",
    PURLIN_REQUIRED(endpoint, "The endpoint"),
    PURLIN_REQUIRED(labelled, "How many there are now"));

/* Whoever made the monitor gave names: they are looked up within its project, and nowhere else. */
PURLIN_LISTENER(on_labelled, "serving.labelled", labelled_event) {
  size_t done = 0;
  monitor of;
  purlin_status found = monitor_find(ctx, event->endpoint, false, &of);
  if (found != PURLIN_OK) return found == PURLIN_NOT_FOUND ? PURLIN_OK : found; /* nobody watches this endpoint */
  purlin_act_as(ctx, purlin_actor(ctx), purlin_workspace(ctx), of.project);
  do {
    purlin_mark mark = purlin_arena_mark(ctx);
    purlin_status status = evaluate_round(ctx, event->endpoint, event->labelled, &of, &done);
    purlin_arena_reset(ctx, mark);
    if (status == PURLIN_NOT_FOUND) return PURLIN_OK; /* no more */
    if (status != PURLIN_OK) return status;
  } while (done == ROUND);
  return PURLIN_OK;
}

typedef struct evaluate_in {
  const char *endpoint;
  int64_t labelled;
} evaluate_in;
PURLIN_SCHEMA(evaluate_in, "What to evaluate",
    PURLIN_REQUIRED(endpoint, "The endpoint", .max_length = 250),
    PURLIN_REQUIRED(labelled, "Up to so many labelled rows", .min = 0, .max = 9e15));
typedef struct evaluate_out {
  int64_t evaluations, evaluated;
  bool more;
} evaluate_out;
PURLIN_SCHEMA(evaluate_out, "What was evaluated",
    PURLIN_REQUIRED(evaluations, "How many evaluations were due and made"),
    PURLIN_REQUIRED(evaluated, "Labelled rows at the last evaluation"),
    PURLIN_REQUIRED(more, "Whether more are due: call again"));

PURLIN_OPERATION(evaluate, evaluate_in, evaluate_out,
    .summary = "Make the evaluations that are due", .permission = "drift:write", .by_project = true, .effect = PURLIN_CHANGES,
    .http = "POST /api/v1/monitors/{endpoint}/evaluate",
    .description = "Labels do this by themselves; it is for those who changed something and do not want to wait. Doing it twice changes nothing.") {
  monitor of;
  size_t done = 0;
  endpoint_out watched = {0};
  purlin_status status = monitor_reach(ctx, in->endpoint, "drift:write", false, &of);
  if (status == PURLIN_OK) status = endpoint_look(ctx, in->endpoint, &watched);
  if (status != PURLIN_OK) return status;
  int64_t labelled =
      watched.labelled < in->labelled ? watched.labelled : in->labelled; /* never rows that are still to come */
  status = evaluate_round(ctx, in->endpoint, labelled, &of, &done);
  if (status != PURLIN_OK) return monitor_named(ctx, status, in->endpoint);
  out->evaluations = (int64_t)done;
  out->evaluated = of.evaluated + (int64_t)done * of.every;
  out->more = out->evaluated + of.every <= labelled;
  return PURLIN_OK;
}
