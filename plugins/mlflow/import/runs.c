#include "import.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEARCH "/api/2.0/mlflow/runs/search"
#define PARENT "mlflow.parentRunId"
enum { PAGE = 200, BATCH = 100 };

/* ---- What is here already ------------------------------------------------------------------------------------------------------- */

static cJSON *search(const char *experiment, const char *filter, const char *token, int size) {
  cJSON *body = cJSON_CreateObject(), *ids = cJSON_AddArrayToObject(body, "experiment_ids");
  (void)cJSON_AddItemToArray(ids, cJSON_CreateString(experiment));
  add_text(body, "filter", filter);
  add_text(body, "run_view_type", "ALL");
  add_text(body, "page_token", token);
  (void)cJSON_AddNumberToObject(body, "max_results", size);
  cJSON *order = cJSON_AddArrayToObject(body, "order_by");
  (void)cJSON_AddItemToArray(order, cJSON_CreateString("attributes.start_time ASC"));
  return body;
}

typedef void visitor(importing *of, const cJSON *run, const char *experiment, map *states);

/* Runs may be large: a page that is refused for that is asked for again, smaller. */
static bool ask_page(server *s, const char *experiment, const char *filter, const char *token, int *size, cJSON **page) {
  for (;; *size /= 4) {
    cJSON *body = search(experiment, filter, token, *size);
    bool fine = ask(s, "POST", SEARCH, body, page);
    cJSON_Delete(body);
    if (fine || !s->too_large || *size < 4) return fine;
  }
}

static bool each_run(importing *of, server *s, const char *experiment, const char *filter, visitor *visit, const char *id,
                     map *states) {
  paging at = {0};
  int size = PAGE;
  bool more = true;
  while (more) {
    pool_block *mark = pool_mark();
    cJSON *page = NULL;
    if (!ask_page(s, experiment, filter, at.token, &size, &page)) return false;
    const cJSON *run;
    cJSON_ArrayForEach(run, member(page, "runs")) visit(of, run, id, states);
    more = turn_page(&at, s, page, "runs");
    cJSON_Delete(page);
    pool_release(mark);
  }
  return !at.broken;
}

static const cJSON *info_of(const cJSON *run) { return member(run, "info"); }
static const cJSON *list_of(const cJSON *run, const char *name) { return member(member(run, "data"), name); }

static void note_known(importing *of, const cJSON *run, const char *experiment, map *states) {
  (void)experiment;
  const char *source = value_of(list_of(run, "tags"), TAG_SOURCE), *state = value_of(list_of(run, "tags"), TAG_STATE);
  const char *id = text_of(info_of(run), "run_id"), *begin = say("%s/runs/", of->source);
  if (!source || strncmp(source, begin, strlen(begin)) != 0) return;
  map_put(&of->runs, source + strlen(begin), id);
  if (state) map_put(states, id, state);
}

/* ---- Making --------------------------------------------------------------------------------------------------------------------- */

static cJSON *get_run(server *s, const char *id) {
  cJSON *answer = NULL;
  return ask(s, "GET", say("/api/2.0/mlflow/runs/get?run_id=%s", escaped(id, false)), NULL, &answer) ? answer : NULL;
}

static bool keeps_id(const char *there) { return strlen(there) == 32 && strspn(there, "0123456789abcdef") == 32; }

/* Makes a run, in Purlin's own words: MLflow's have none for an id. "": refused. */
static const char *create(importing *of, const cJSON *info, const char *experiment, const char *id) {
  cJSON *body = cJSON_CreateObject(), *made = NULL, *tags = cJSON_AddArrayToObject(body, "tags");
  add_text(body, "experiment_id", experiment);
  add_text(body, "id", id);
  add_text(body, "user", text_of(info, "user_id"));
  add_text(body, "name", text_of(info, "run_name"));
  if (number_of(info, "start_time") > 0) add_text(body, "started_at", as_time(number_of(info, "start_time")));
  (void)cJSON_AddItemToArray(tags, pair(TAG_SOURCE, say("%s/runs/%s", of->source, text_of(info, "run_id"))));
  bool fine = ask(&of->to, "POST", "/api/v1/op/tracking.create_run", body, &made);
  const char *ours = fine ? say("%s", text_of(made, "id")) : "";
  cJSON_Delete(body);
  cJSON_Delete(made);
  return ours;
}

/* The same id here is the same run, whatever the server was called when it was copied. */
static const char *adopt(importing *of, const char *there) {
  cJSON *ours = get_run(&of->to, there);
  const char *id = ours ? there : "";
  cJSON_Delete(ours);
  return id;
}

/* Ours of one of theirs; made, without what is in it, when there is none. "" : a problem was told. Lives as long as the map. */
static const char *ensure(importing *of, const cJSON *run, const char *experiment) {
  const cJSON *info = info_of(run);
  const char *there = text_of(info, "run_id"), *id = map_get(&of->runs, there);
  if (id) return id;
  id = create(of, info, experiment, keeps_id(there) ? there : "");
  if (!*id && of->to.status == 409) id = adopt(of, there);
  if (!*id && of->to.status == 404) id = create(of, info, experiment, ""); /* another workspace has it */
  if (*id) map_put(&of->runs, there, id);
  else problem(of, "run %s: %s", there, of->to.message);
  return *id ? map_get(&of->runs, there) : "";
}

const char *import_ensure_run(importing *of, const char *there_id) {
  const char *known = map_get(&of->runs, there_id), *id = "";
  if (known || of->dry) return known ? known : "";
  cJSON *answer = get_run(&of->from, there_id);
  const cJSON *run = member(answer, "run");
  const char *experiment = map_get(&of->experiments, text_of(info_of(run), "experiment_id"));
  if (run && experiment) id = ensure(of, run, experiment);
  cJSON_Delete(answer);
  return id;
}

/* ---- What is in it ---------------------------------------------------------------------------------------------------------------- */

static bool send_list(importing *of, const char *path, const char *id, const char *name, cJSON *list) {
  cJSON *body = cJSON_CreateObject();
  add_text(body, "run_id", id);
  (void)cJSON_AddItemToObject(body, name, list);
  bool fine = tell(&of->to, "POST", path, body);
  if (!fine) problem(of, "run %s: %s: %s", id, name, of->to.message);
  cJSON_Delete(body);
  return fine;
}

/* The value of a tag as it is to be here; NULL: it is not copied. */
static const char *tag_here(importing *of, const char *id, const cJSON *tag) {
  const char *key = text_of(tag, "key"), *value = text_of(tag, "value");
  if (is_ours(key)) return NULL;
  if (strcmp(key, PARENT) != 0) return value;
  const char *parent = map_get(&of->runs, value);
  if (!parent) map_put(&of->parents, id, value);
  return parent ? parent : value;
}

static bool copy_pairs(importing *of, const cJSON *run, const char *id, const char *name) {
  cJSON *batch = cJSON_CreateArray();
  bool fine = true, tags = strcmp(name, "tags") == 0;
  const cJSON *one;
  cJSON_ArrayForEach(one, list_of(run, name)) {
    const char *value = tags ? tag_here(of, id, one) : text_of(one, "value");
    if (value) (void)cJSON_AddItemToArray(batch, pair(text_of(one, "key"), value));
    if (cJSON_GetArraySize(batch) < BATCH) continue;
    fine = send_list(of, "/api/2.0/mlflow/runs/log-batch", id, name, batch) && fine;
    batch = cJSON_CreateArray();
  }
  if (cJSON_GetArraySize(batch) > 0) return send_list(of, "/api/2.0/mlflow/runs/log-batch", id, name, batch) && fine;
  cJSON_Delete(batch);
  return fine;
}

static bool has_model(const cJSON *list, const char *id) {
  const cJSON *one;
  cJSON_ArrayForEach(one, list) {
    if (strcmp(text_of(one, "model_id"), id) == 0) return true;
  }
  return false;
}

/* Of a list of logged models, those that are here by their ids here, but for those that are noted already. */
static cJSON *models_here(importing *of, const cJSON *there, const cJSON *noted) {
  cJSON *list = cJSON_CreateArray();
  const cJSON *one;
  cJSON_ArrayForEach(one, there) {
    const char *id = map_get(&of->models, text_of(one, "model_id"));
    cJSON *copy = id && !has_model(noted, id) ? cJSON_Duplicate(one, true) : NULL;
    if (copy) (void)cJSON_ReplaceItemInObjectCaseSensitive(copy, "model_id", cJSON_CreateString(id));
    if (copy) (void)cJSON_AddItemToArray(list, copy);
  }
  return list;
}

static bool copy_inputs(importing *of, const cJSON *run, const char *id, const cJSON *ours) {
  bool fine = true;
  const cJSON *inputs = member(run, "inputs"), *datasets = member(inputs, "dataset_inputs");
  if (cJSON_GetArraySize(datasets) > 0)
    fine = send_list(of, "/api/2.0/mlflow/runs/log-inputs", id, "datasets", cJSON_Duplicate(datasets, true));
  cJSON *models = models_here(of, member(inputs, "model_inputs"), member(member(ours, "inputs"), "model_inputs"));
  if (cJSON_GetArraySize(models) > 0) fine = send_list(of, "/api/2.0/mlflow/runs/log-inputs", id, "models", models) && fine;
  else cJSON_Delete(models);
  models =
      models_here(of, member(member(run, "outputs"), "model_outputs"), member(member(ours, "outputs"), "model_outputs"));
  if (cJSON_GetArraySize(models) > 0) fine = send_list(of, "/api/2.0/mlflow/runs/outputs", id, "models", models) && fine;
  else cJSON_Delete(models);
  return fine;
}

static bool move(importing *of, const char *id, const char *where) {
  cJSON *body = cJSON_CreateObject();
  add_text(body, "run_id", id);
  bool fine = tell(&of->to, "POST", say("/api/2.0/mlflow/runs/%s", where), body);
  if (!fine) problem(of, "run %s: %s: %s", id, where, of->to.message);
  cJSON_Delete(body);
  return fine;
}

static bool end(importing *of, const cJSON *info, const char *id) {
  cJSON *body = cJSON_CreateObject();
  add_text(body, "run_id", id);
  add_text(body, "status", text_of(info, "status"));
  add_text(body, "run_name", text_of(info, "run_name"));
  if (number_of(info, "end_time") != 0)
    (void)cJSON_AddNumberToObject(body, "end_time", (double)number_of(info, "end_time"));
  bool fine = tell(&of->to, "POST", "/api/2.0/mlflow/runs/update", body);
  if (!fine) problem(of, "run %s: its status: %s", id, of->to.message);
  cJSON_Delete(body);
  return fine;
}

/* ---- Reading back ------------------------------------------------------------------------------------------------------------------- */

/* How many of theirs are here with the same value. */
static int64_t count_pairs(importing *of, const cJSON *there, const cJSON *here, const char *id, int64_t *all) {
  int64_t same = 0;
  const cJSON *one;
  map values = {0};
  cJSON_ArrayForEach(one, here) map_put(&values, text_of(one, "key"), text_of(one, "value"));
  cJSON_ArrayForEach(one, there) {
    const char *key = text_of(one, "key"), *value = text_of(one, "value"), *kept = map_get(&values, key);
    if (is_ours(key)) continue;
    ++*all;
    const char *parent = strcmp(key, PARENT) == 0 ? map_get(&of->runs, value) : NULL;
    if (kept && (strcmp(kept, value) == 0 || (parent && strcmp(kept, parent) == 0))) same++;
    else problem(of, "run %s: '%s' is not here as it was there", id, key);
  }
  map_free(&values);
  return same;
}

static int64_t count_metrics(importing *of, const cJSON *there, const cJSON *here, const char *id, int64_t *all) {
  int64_t same = 0;
  const cJSON *one;
  map steps = {0};
  cJSON_ArrayForEach(one, here) map_put(&steps, text_of(one, "key"), say("%lld", (long long)number_of(one, "step")));
  cJSON_ArrayForEach(one, there) {
    const char *step = map_get(&steps, text_of(one, "key"));
    ++*all;
    if (step && strtoll(step, NULL, 10) >= number_of(one, "step")) same++;
    else problem(of, "run %s: the metric '%s' is not here as it was there", id, text_of(one, "key"));
  }
  map_free(&steps);
  return same;
}

static bool compare(importing *of, const cJSON *run, const cJSON *ours) {
  const char *id = text_of(info_of(run), "run_id");
  int64_t before = of->problems;
  of->here[PARAMETERS] += count_pairs(of, list_of(run, "params"), list_of(ours, "params"), id, &of->there[PARAMETERS]);
  of->here[TAGS] += count_pairs(of, list_of(run, "tags"), list_of(ours, "tags"), id, &of->there[TAGS]);
  of->here[METRICS] += count_metrics(of, list_of(run, "metrics"), list_of(ours, "metrics"), id, &of->there[METRICS]);
  int there = cJSON_GetArraySize(member(member(run, "inputs"), "dataset_inputs")),
      here = cJSON_GetArraySize(member(member(ours, "inputs"), "dataset_inputs"));
  of->there[DATASETS] += there;
  of->here[DATASETS] += here < there ? here : there;
  if (here < there) problem(of, "run %s: %d datasets there, %d here", id, there, here);
  static const char *const kept[] = {"status", "run_name", "user_id"};
  for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
    if (strcmp(text_of(info_of(run), kept[i]), text_of(info_of(ours), kept[i])) != 0 && *text_of(info_of(run), kept[i]))
      problem(of, "run %s: its %s is '%s' there, '%s' here", id, kept[i], text_of(info_of(run), kept[i]),
              text_of(info_of(ours), kept[i]));
  static const char *const times[] = {"start_time", "end_time"};
  for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
    if (number_of(info_of(run), times[i]) != number_of(info_of(ours), times[i]) && number_of(info_of(run), times[i]) != 0)
      problem(of, "run %s: its %s differs", id, times[i]);
  return of->problems == before;
}

/* ---- One run -------------------------------------------------------------------------------------------------------------------------- */

/* What it was copied from: another one, and it is copied again. */
static const char *digest_of(const cJSON *run, bool artifacts) {
  char *text = cJSON_PrintUnformatted(run);
  uint64_t hash = hash_text(HASH_BEGIN, text ? text : "");
  cJSON_free(text);
  return say("%016llx%s", (unsigned long long)hash, artifacts ? "" : "-");
}

static cJSON *read_ours(importing *of, const char *id) {
  cJSON *answer = get_run(&of->to, id);
  if (!answer) problem(of, "run %s cannot be read: %s", id, of->to.message);
  return answer;
}

static bool is_deleted(const cJSON *run) { return strcmp(text_of(info_of(run), "lifecycle_stage"), "deleted") == 0; }

static void keep_state(importing *of, const char *id, const char *digest, const int64_t before[KINDS]) {
  cJSON *list = cJSON_CreateArray();
  (void)cJSON_AddItemToArray(
      list,
      pair(TAG_STATE, say("%s %lld %lld %lld", digest, (long long)(of->here[POINTS] - before[POINTS]),
                          (long long)(of->here[FILES] - before[FILES]), (long long)(of->here[BYTES] - before[BYTES]))));
  (void)send_list(of, "/api/2.0/mlflow/runs/log-batch", id, "tags", list);
}

static void copy(importing *of, const cJSON *run, const char *id, const char *digest) {
  int64_t before[KINDS];
  memcpy(before, of->here, sizeof before);
  const char *there_id = text_of(info_of(run), "run_id");
  cJSON *answer = read_ours(of, id);
  if (!answer) return;
  const char *uri = say("%s", text_of(info_of(member(answer, "run")), "artifact_uri"));
  bool fine = !is_deleted(member(answer, "run")) || move(of, id, "restore"); /* what is deleted takes nothing */
  fine = fine && copy_pairs(of, run, id, "params");
  fine = copy_pairs(of, run, id, "tags") && fine;
  fine = import_points(of, there_id, id, list_of(run, "metrics")) && fine;
  fine = copy_inputs(of, run, id, member(answer, "run")) && fine;
  cJSON_Delete(answer);
  fine = import_files(of, false, there_id, id, uri) && fine;
  fine = end(of, info_of(run), id) && fine;
  answer = read_ours(of, id);
  fine = answer && compare(of, run, member(answer, "run")) && fine;
  cJSON_Delete(answer);
  if (fine) keep_state(of, id, digest, before);
  if (is_deleted(run)) (void)move(of, id, "delete");
  if (fine) of->here[RUNS]++;
  of->copied++;
}

/* Copied before, and whole: what was counted then is counted again. */
static bool is_unchanged(importing *of, const cJSON *run, const char *id, const char *digest, const char *state) {
  long long points = 0, files = 0, bytes = 0;
  size_t size = strlen(digest);
  if (!state || of->checksums || strncmp(state, digest, size) != 0 ||
      sscanf(state + size, " %lld %lld %lld", &points, &files, &bytes) != 3)
    return false;
  cJSON *answer = read_ours(of, id);
  bool same = answer && compare(of, run, member(answer, "run"));
  cJSON_Delete(answer);
  if (!same) return true; /* told: whoever changed it here may have wanted to */
  of->there[POINTS] += points;
  of->here[POINTS] += points;
  of->there[FILES] += files;
  of->here[FILES] += files;
  of->there[BYTES] += bytes;
  of->here[BYTES] += bytes;
  of->here[RUNS]++;
  of->unchanged++;
  return true;
}

static void count_only(importing *of, const cJSON *run) {
  of->there[PARAMETERS] += cJSON_GetArraySize(list_of(run, "params"));
  of->there[TAGS] += cJSON_GetArraySize(list_of(run, "tags"));
  of->there[METRICS] += cJSON_GetArraySize(list_of(run, "metrics"));
  of->there[DATASETS] += cJSON_GetArraySize(member(member(run, "inputs"), "dataset_inputs"));
}

static void import_run(importing *of, const cJSON *run, const char *experiment, map *states) {
  pool_block *mark = pool_mark();
  of->there[RUNS]++;
  progress(of, text_of(info_of(run), "run_id"));
  if (of->dry) count_only(of, run);
  const char *id = of->dry ? "" : ensure(of, run, experiment), *digest = digest_of(run, of->artifacts);
  if (*id && !is_unchanged(of, run, id, digest, map_get(states, id))) copy(of, run, id, digest);
  pool_release(mark);
}

void import_runs(importing *of, const cJSON *there, const char *id) {
  const char *there_id = text_of(there, "experiment_id");
  const char *filter = say("tags.`" TAG_SOURCE "` LIKE '%s/runs/%%'", of->source);
  map states = {0};
  bool fine = !*id || each_run(of, &of->to, id, filter, note_known, id, &states);
  if (!fine) problem(of, "the runs of experiment '%s' here: %s", text_of(there, "name"), of->to.message);
  if (fine) import_models(of, there_id, id);
  if (fine && !each_run(of, &of->from, there_id, "", import_run, id, &states))
    problem(of, "the runs of experiment '%s': %s", text_of(there, "name"), of->from.message);
  map_free(&states);
}

/* Those whose parent came after them, and under another id. */
void import_parents(importing *of) {
  for (size_t i = 0; i < of->parents.room; i++) {
    const map_entry *child = &of->parents.entries[i];
    const char *parent = child->key ? map_get(&of->runs, child->value) : NULL;
    if (!parent || strcmp(parent, child->value) == 0) continue;
    cJSON *list = cJSON_CreateArray();
    (void)cJSON_AddItemToArray(list, pair(PARENT, parent));
    (void)send_list(of, "/api/2.0/mlflow/runs/log-batch", child->key, "tags", list);
  }
  map_free(&of->parents);
}
