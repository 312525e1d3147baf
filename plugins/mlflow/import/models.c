#include "import.h"
#include <stdio.h>
#include <string.h>

#define MODELS_PATH "/api/2.0/mlflow/logged-models"
enum { PAGE = 50, BATCH = 1000 };

static cJSON *search(const char *experiment, const char *token) {
  cJSON *body = cJSON_CreateObject(), *ids = cJSON_AddArrayToObject(body, "experiment_ids");
  (void)cJSON_AddItemToArray(ids, cJSON_CreateString(experiment));
  (void)cJSON_AddNumberToObject(body, "max_results", PAGE);
  add_text(body, "page_token", token);
  return body;
}

typedef void visitor(importing *of, const cJSON *model, const char *experiment, map *states);

/* False: refused; a server that knows no logged models says 404. */
static bool each_model(importing *of, server *s, const char *experiment, visitor *visit, const char *id, map *states) {
  paging at = {0};
  bool more = true;
  while (more) {
    pool_block *mark = pool_mark();
    cJSON *body = search(experiment, at.token), *page = NULL;
    bool fine = ask(s, "POST", MODELS_PATH "/search", body, &page);
    cJSON_Delete(body);
    if (!fine) return false;
    const cJSON *model;
    cJSON_ArrayForEach(model, member(page, "models")) visit(of, model, id, states);
    more = turn_page(&at, s, page, "models");
    cJSON_Delete(page);
    pool_release(mark);
  }
  return !at.broken;
}

static const cJSON *info_of(const cJSON *model) { return member(model, "info"); }

static void note_known(importing *of, const cJSON *model, const char *experiment, map *states) {
  (void)experiment;
  const cJSON *tags = member(info_of(model), "tags");
  const char *source = value_of(tags, TAG_SOURCE), *state = value_of(tags, TAG_STATE);
  const char *begin = say("%s/models/", of->source);
  if (!source || strncmp(source, begin, strlen(begin)) != 0) return;
  map_put(&of->models, source + strlen(begin), text_of(info_of(model), "model_id"));
  if (state) map_put(states, text_of(info_of(model), "model_id"), state);
}

static cJSON *tags_of(importing *of, const cJSON *info) {
  cJSON *list = cJSON_CreateArray();
  const cJSON *tag;
  cJSON_ArrayForEach(tag, member(info, "tags")) {
    if (!is_ours(text_of(tag, "key"))) (void)cJSON_AddItemToArray(list, pair(text_of(tag, "key"), text_of(tag, "value")));
  }
  (void)cJSON_AddItemToArray(list, pair(TAG_SOURCE, say("%s/models/%s", of->source, text_of(info, "model_id"))));
  return list;
}

/* Makes one, in Purlin's own words: MLflow's have none for an id. "": refused. */
static const char *create(importing *of, const cJSON *model, const char *experiment, const char *id) {
  const cJSON *info = info_of(model), *params = member(member(model, "data"), "params");
  cJSON *body = cJSON_CreateObject(), *made = NULL;
  const char *run = text_of(info, "source_run_id");
  add_text(body, "experiment_id", experiment);
  add_text(body, "id", id);
  add_text(body, "name", text_of(info, "name"));
  add_text(body, "model_type", text_of(info, "model_type"));
  if (*run) add_text(body, "source_run_id", import_ensure_run(of, run));
  if (params) (void)cJSON_AddItemToObject(body, "parameters", cJSON_Duplicate(params, true));
  (void)cJSON_AddItemToObject(body, "tags", tags_of(of, info));
  bool fine = ask(&of->to, "POST", "/api/v1/op/tracking.create_logged_model", body, &made);
  const char *ours = fine ? say("%s", text_of(made, "id")) : "";
  cJSON_Delete(body);
  cJSON_Delete(made);
  return ours;
}

static cJSON *get_model(server *s, const char *id) {
  cJSON *answer = NULL;
  return ask(s, "GET", say(MODELS_PATH "/%s", escaped(id, false)), NULL, &answer) ? answer : NULL;
}

/* As of runs: the same id here is the same model. */
static const char *ensure(importing *of, const cJSON *model, const char *experiment) {
  const char *there = text_of(info_of(model), "model_id"), *id = map_get(&of->models, there);
  if (id || of->dry) return id ? id : "";
  bool keeps = strlen(there) == 34 && strncmp(there, "m-", 2) == 0 && strspn(there + 2, "0123456789abcdef") == 32;
  id = create(of, model, experiment, keeps ? there : "");
  if (!*id && of->to.status == 409) {
    cJSON *ours = get_model(&of->to, there);
    if (ours) id = there;
    cJSON_Delete(ours);
  }
  if (!*id && of->to.status == 404) id = create(of, model, experiment, "");
  if (*id) map_put(&of->models, there, id);
  else problem(of, "logged model %s: %s", there, of->to.message);
  return id;
}

/* Its metrics are points of runs, which name it. */
static bool copy_metrics(importing *of, const cJSON *model, const char *id) {
  bool fine = true;
  const cJSON *metric;
  cJSON_ArrayForEach(metric, member(member(model, "data"), "metrics")) {
    const char *run = import_ensure_run(of, text_of(metric, "run_id"));
    if (!*run) continue;
    cJSON *body = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(body, "metrics"),
          *copy = cJSON_Duplicate(metric, true);
    add_text(body, "run_id", run);
    cJSON_DeleteItemFromObjectCaseSensitive(copy, "run_id");
    cJSON_DeleteItemFromObjectCaseSensitive(copy, "model_id");
    add_text(copy, "model_id", id);
    (void)cJSON_ReplaceItemInObjectCaseSensitive(copy, "value", exact_value(metric));
    (void)cJSON_AddItemToArray(list, copy);
    if (!tell(&of->to, "POST", "/api/2.0/mlflow/runs/log-batch", body)) {
      problem(of, "logged model %s: its metric '%s': %s", id, text_of(metric, "key"), of->to.message);
      fine = false;
    }
    cJSON_Delete(body);
  }
  return fine;
}

static bool finalize(importing *of, const cJSON *info, const char *id) {
  const char *status = text_of(info, "status");
  if (strcmp(status, "LOGGED_MODEL_READY") != 0 && strcmp(status, "LOGGED_MODEL_UPLOAD_FAILED") != 0) return true;
  cJSON *body = cJSON_CreateObject();
  add_text(body, "model_id", id);
  add_text(body, "status", status);
  bool fine = tell(&of->to, "PATCH", say(MODELS_PATH "/%s", escaped(id, false)), body);
  if (!fine) problem(of, "logged model %s: its status: %s", id, of->to.message);
  cJSON_Delete(body);
  return fine;
}

static bool tag(importing *of, const char *id, cJSON *list) {
  cJSON *body = cJSON_CreateObject();
  add_text(body, "model_id", id);
  (void)cJSON_AddItemToObject(body, "tags", list);
  bool fine = tell(&of->to, "PATCH", say(MODELS_PATH "/%s/tags", escaped(id, false)), body);
  if (!fine) problem(of, "logged model %s: its tags: %s", id, of->to.message);
  cJSON_Delete(body);
  return fine;
}

static cJSON *state_tag(const importing *of, const char *digest, const int64_t before[KINDS]) {
  cJSON *list = cJSON_CreateArray();
  (void)cJSON_AddItemToArray(list, pair(TAG_STATE, say("%s %lld %lld", digest, (long long)(of->here[FILES] - before[FILES]),
                                                       (long long)(of->here[BYTES] - before[BYTES]))));
  return list;
}

/* As it was when it was copied, and whole. */
static bool is_unchanged(importing *of, const char *digest, const char *state) {
  long long files = 0, bytes = 0;
  size_t size = strlen(digest);
  if (!state || of->checksums || strncmp(state, digest, size) != 0 ||
      sscanf(state + size, " %lld %lld", &files, &bytes) != 2)
    return false;
  of->there[FILES] += files;
  of->here[FILES] += files;
  of->there[BYTES] += bytes;
  of->here[BYTES] += bytes;
  return true;
}

static cJSON *read_ours(importing *of, const char *id) {
  cJSON *answer = get_model(&of->to, id);
  if (!answer) problem(of, "logged model %s cannot be read: %s", id, of->to.message);
  return answer;
}

static bool copy(importing *of, const cJSON *model, const char *id, const char *digest) {
  int64_t before[KINDS];
  memcpy(before, of->here, sizeof before);
  cJSON *answer = read_ours(of, id);
  if (!answer) return false;
  const char *uri = say("%s", text_of(info_of(member(answer, "model")), "artifact_uri"));
  cJSON_Delete(answer);
  bool fine = import_files(of, true, text_of(info_of(model), "model_id"), id, uri);
  fine = copy_metrics(of, model, id) && fine;
  fine = tag(of, id, tags_of(of, info_of(model))) && fine;
  fine = finalize(of, info_of(model), id) && fine;
  return fine && tag(of, id, state_tag(of, digest, before));
}

static void import_model(importing *of, const cJSON *model, const char *experiment, map *states) {
  pool_block *mark = pool_mark();
  const char *there = text_of(info_of(model), "model_id");
  char *text = cJSON_PrintUnformatted(model);
  const char *digest =
      say("%016llx%s", (unsigned long long)hash_text(HASH_BEGIN, text ? text : ""), of->artifacts ? "" : "-");
  cJSON_free(text);
  of->there[LOGGED_MODELS]++;
  progress(of, there);
  const char *id = ensure(of, model, experiment);
  if (*id && !of->dry && (is_unchanged(of, digest, map_get(states, id)) || copy(of, model, id, digest)))
    of->here[LOGGED_MODELS]++;
  pool_release(mark);
}

void import_models(importing *of, const char *there_id, const char *id) {
  map states = {0};
  if (!of->has_models) return;
  bool fine = !*id || each_model(of, &of->to, id, note_known, id, &states);
  if (!fine) problem(of, "the logged models here: %s", of->to.message);
  if (fine && !each_model(of, &of->from, there_id, import_model, id, &states)) {
    if (of->from.status == 404) of->has_models = false; /* MLflow 2 */
    else problem(of, "the logged models of experiment %s: %s", there_id, of->from.message);
  }
  map_free(&states);
}
