#include "import.h"
#include <stdio.h>
#include <string.h>

enum { PAGE = 25000, BATCH = 1000 };

/* What a history holds, whatever its order. */
typedef struct summary {
  int64_t points;
  uint64_t digest;
} summary;

static void summarise(summary *s, const char *key, const cJSON *point) {
  char text[128];
  const cJSON *value = member(point, "value");
  int size = cJSON_IsString(value) ? snprintf(text, sizeof text, "%s", value->valuestring)
                                   : snprintf(text, sizeof text, "%.17g", value ? value->valuedouble : 0);
  uint64_t hash = hash_text(hash_text(HASH_BEGIN, key), size > 0 ? text : "");
  (void)snprintf(text, sizeof text, "%lld %lld", (long long)number_of(point, "timestamp"),
                 (long long)number_of(point, "step"));
  s->digest += hash_text(hash, text);
  s->points++;
}

/* A page of a history; its token for the next, "" after the last, in *token. NULL: refused. */
static cJSON *history(server *of, const char *run, const char *key, const char *token) {
  cJSON *page = NULL;
  const char *path =
      say("/api/2.0/mlflow/metrics/get-history?run_id=%s&metric_key=%s&max_results=%d%s%s", escaped(run, false),
          escaped(key, false), PAGE, *token ? "&page_token=" : "", escaped(token, false));
  return ask(of, "GET", path, NULL, &page) ? page : NULL;
}

static bool send_points(importing *of, const char *run, cJSON *metrics) {
  cJSON *body = cJSON_CreateObject();
  add_text(body, "run_id", run);
  (void)cJSON_AddItemToObject(body, "metrics", metrics);
  bool fine = tell(&of->to, "POST", "/api/2.0/mlflow/runs/log-batch", body);
  cJSON_Delete(body);
  return fine;
}

static cJSON *point_of(const char *key, const cJSON *there) {
  cJSON *made = cJSON_CreateObject();
  add_text(made, "key", key);
  (void)cJSON_AddItemToObject(made, "value", exact_value(there));
  (void)cJSON_AddNumberToObject(made, "timestamp", (double)number_of(there, "timestamp"));
  (void)cJSON_AddNumberToObject(made, "step", (double)number_of(there, "step"));
  return made;
}

static bool send_page(importing *of, const char *run, const char *key, const cJSON *page, summary *sum) {
  cJSON *batch = cJSON_CreateArray();
  bool fine = true;
  int count = 0;
  const cJSON *point;
  cJSON_ArrayForEach(point, member(page, "metrics")) {
    summarise(sum, key, point);
    (void)cJSON_AddItemToArray(batch, point_of(key, point));
    if (++count < BATCH || !fine) continue;
    fine = send_points(of, run, batch);
    batch = cJSON_CreateArray();
    count = 0;
  }
  if (count > 0 && fine) return send_points(of, run, batch);
  cJSON_Delete(batch);
  return fine;
}

/* Goes through a history; `to` "": only its sum is wanted. */
static bool walk(importing *of, server *from, const char *there_id, const char *to, const char *key, summary *sum) {
  paging at = {0};
  bool fine = true;
  for (bool more = true; more && fine;) {
    pool_block *mark = pool_mark();
    cJSON *page = history(from, there_id, key, at.token);
    const cJSON *point;
    fine = page != NULL;
    if (fine && *to) fine = send_page(of, to, key, page, sum);
    else cJSON_ArrayForEach(point, member(page, "metrics")) summarise(sum, key, point);
    more = turn_page(&at, from, page, "metrics");
    cJSON_Delete(page);
    pool_release(mark);
  }
  return fine && !at.broken;
}

static bool copy_one(importing *of, const char *there_id, const char *id, const char *key) {
  summary there = {0}, here = {0};
  of->from.message[0] = of->to.message[0] = '\0'; /* one of them is set when it fails */
  if (!walk(of, &of->from, there_id, id, key, &there)) {
    problem(of, "run %s: the metric '%s': %s%s", there_id, key, of->from.message, of->to.message);
    return false;
  }
  of->there[POINTS] += there.points;
  if (!walk(of, &of->to, id, "", key, &here)) {
    problem(of, "run %s: the metric '%s' cannot be read back: %s", there_id, key, of->to.message);
    return false;
  }
  of->here[POINTS] += here.points < there.points ? here.points : there.points;
  /* More than there were: somebody went on with the run here. */
  if (here.points > there.points || (here.points == there.points && here.digest == there.digest)) return true;
  problem(of, "run %s: the metric '%s' differs: %lld points there, %lld here", there_id, key, (long long)there.points,
          (long long)here.points);
  return false;
}

bool import_points(importing *of, const char *there_id, const char *id, const cJSON *latest) {
  bool fine = true;
  const cJSON *metric;
  cJSON_ArrayForEach(metric, latest) {
    fine = copy_one(of, there_id, id, text_of(metric, "key")) && fine;
    progress(of, there_id);
  }
  return fine;
}
