/* drift.h: what the files of this plugin share.
 *
 * statistics.c  PSI and KS of a window of values against percentiles (no SDK)
 * profile.c     what the champion learned from: names and percentiles of its inputs
 * monitors.c    monitors: one for each endpoint
 * evaluate.c    an evaluation: rows in, report, alerts and event out
 * reports.c     looking at reports and alerts
 *
 * A monitor evaluates at every multiple of `every` labelled rows, at exactly that row, however late: what it says depends on the rows and the
 * champion alone, not on when it ran. */
#ifndef DRIFT_H
#define DRIFT_H

#include <purlin/purlin.h>
#include "statistics.h"

enum { DRIFT_MOST_ROWS = 5000 }; /* serving.labelled gives no more at once */

/* An input of the champion, in the order in which it takes them. */
typedef struct profile_column {
  const char *name;
  purlin_doubles quantiles;
} profile_column;
PURLIN_SCHEMA(profile_column, "A column that the champion learned from",
    PURLIN_REQUIRED(name, "Its name"),
    PURLIN_REQUIRED(quantiles, "Its percentiles 0 to 100"));
typedef struct profile {
  PURLIN_LIST_OF(profile_column) columns;
} profile;
PURLIN_SCHEMA(profile, "What the champion learned from", PURLIN_LIST(columns, profile_column, "Its inputs"));

/* The profile of a version of a model, from the signature in the registry and the statistics of a dataset. Before the first write.
 * PURLIN_INVALID when an input is no column of numbers there. May park. */
PURLIN_CHECKED purlin_status profile_load(purlin_ctx *ctx, const char *model, int64_t version, const char *dataset,
                                          int64_t dataset_version, purlin_json *out);

typedef struct monitor {
  const char *id, *project, *endpoint, *model;
  int64_t version;
  const char *dataset;
  int64_t dataset_version;
  double baseline_accuracy;
  int64_t champion_since, every, drift_window, accuracy_window;
  double psi_threshold;
  purlin_opt_double ks_threshold;
  double accuracy_margin;
  int64_t evaluated;
  purlin_time created_at;
  const char *created_by;
} monitor;
PURLIN_SCHEMA(monitor, "A monitor of an endpoint",
    PURLIN_REQUIRED(id, "Its id"),
    PURLIN_REQUIRED(project, "Its project: that of the endpoint"),
    PURLIN_REQUIRED(endpoint, "The endpoint"),
    PURLIN_REQUIRED(model, "The champion's model"),
    PURLIN_REQUIRED(version, "The champion's version"),
    PURLIN_REQUIRED(dataset, "What it learned from"),
    PURLIN_REQUIRED(dataset_version, "Which version of that"),
    PURLIN_REQUIRED(baseline_accuracy, "What it showed on rows that it had not learned from"),
    PURLIN_REQUIRED(champion_since, "Index of the first labelled row that counts as its own"),
    PURLIN_REQUIRED(every, "Labelled rows between two evaluations"),
    PURLIN_REQUIRED(drift_window, "Rows whose inputs are compared"),
    PURLIN_REQUIRED(accuracy_window, "Rows whose predictions are counted"),
    PURLIN_REQUIRED(psi_threshold, "Drift: PSI above this"),
    PURLIN_OPTIONAL(ks_threshold, "Drift: KS above this; absent: KS raises no alert"),
    PURLIN_REQUIRED(accuracy_margin, "Accuracy: this much below the baseline"),
    PURLIN_REQUIRED(evaluated, "Labelled rows at the last evaluation"),
    PURLIN_REQUIRED(created_at, "Since when"),
    PURLIN_REQUIRED(created_by, "By whom"));

/* The monitor of an endpoint, whoever asks; locked for the transaction when `lock`. PURLIN_NOT_FOUND, without a text. May park. */
PURLIN_CHECKED purlin_status monitor_find(purlin_ctx *ctx, const char *endpoint, bool lock, monitor *out);
/* The same for whoever holds `permission` for it; PURLIN_NOT_FOUND and PURLIN_FORBIDDEN are recorded. May park. */
PURLIN_CHECKED purlin_status monitor_reach(purlin_ctx *ctx, const char *endpoint, const char *permission, bool lock,
                                           monitor *out);
PURLIN_CHECKED purlin_status monitor_profile(purlin_ctx *ctx, const monitor *of, profile *out);
/* An endpoint as serving tells the caller: its project, and how many labels it has. */
typedef struct endpoint_out {
  const char *project;
  int64_t labelled;
} endpoint_out;
PURLIN_SCHEMA(endpoint_out, "An endpoint",
    PURLIN_REQUIRED(project, "Its project"),
    PURLIN_REQUIRED(labelled, "How many labels have come"));
/* PURLIN_NOT_FOUND is recorded. May park. */
PURLIN_CHECKED purlin_status endpoint_look(purlin_ctx *ctx, const char *endpoint, endpoint_out *out);
/* Records "no monitor of the endpoint" in place of a bare PURLIN_NOT_FOUND. */
PURLIN_CHECKED purlin_status monitor_named(purlin_ctx *ctx, purlin_status status, const char *endpoint);

typedef struct feature_drift {
  const char *name;
  double psi, ks;
} feature_drift;
PURLIN_SCHEMA(feature_drift, "How far an input is from what the champion learned from",
    PURLIN_REQUIRED(name, "The input"),
    PURLIN_REQUIRED(psi, "Population stability index: 0 is alike"),
    PURLIN_REQUIRED(ks, "Kolmogorov-Smirnov distance, 0 to 1"));
typedef struct feature_list {
  PURLIN_LIST_OF(feature_drift) features;
} feature_list;
PURLIN_SCHEMA(feature_list, "Inputs", PURLIN_LIST(features, feature_drift, "Each input"));

#endif
