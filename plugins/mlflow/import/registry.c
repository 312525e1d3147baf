#include "import.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REGISTERED "/api/2.0/mlflow/registered-models"
#define VERSION_PATH "/api/2.0/mlflow/model-versions"
enum { PAGE = 200, MOST_VERSIONS = 200000, DEEPEST = 50 };

/* ---- From sources there to sources here ------------------------------------------------------------------------------------------ */

static const char *run_uri(server *s, const char *run) {
  cJSON *answer = NULL;
  if (!ask(s, "GET", say("/api/2.0/mlflow/runs/get?run_id=%s", escaped(run, false)), NULL, &answer)) return "";
  const char *uri = say("%s", text_of(member(member(answer, "run"), "info"), "artifact_uri"));
  cJSON_Delete(answer);
  return uri;
}

/* "mlflow-artifacts://host:port/1/..." is "mlflow-artifacts:/1/...". */
static const char *plain_uri(const char *uri) {
  static const char scheme[] = "mlflow-artifacts://";
  if (strncmp(uri, scheme, sizeof scheme - 1) != 0) return uri;
  const char *path = strchr(uri + sizeof scheme - 1, '/');
  return path ? say("mlflow-artifacts:%s", path) : uri;
}

/* The path of a source below its run's files, with its slash; NULL: it is not below them. */
static const char *below_run(importing *of, const char *source, const char *run) {
  const char *prefix = say("runs:/%s", run);
  size_t size = strlen(prefix);
  if (strncmp(source, prefix, size) == 0) return source + size;
  prefix = plain_uri(run_uri(&of->from, run));
  source = plain_uri(source);
  size = strlen(prefix);
  return size > 0 && strncmp(source, prefix, size) == 0 && (source[size] == '/' || !source[size]) ? source + size : NULL;
}

/* Where the files of a version are here; NULL: they were not copied, and what was said there means nothing here. */
static const char *source_here(importing *of, const cJSON *version) {
  const char *source = text_of(version, "source"), *run = text_of(version, "run_id"), *model = text_of(version, "model_id");
  if (strncmp(source, "models:/m-", 10) == 0) model = source + 8;
  const char *logged = *model ? map_get(&of->models, model) : NULL;
  if (logged) return say("models:/%s", logged);
  const char *ours = *run ? map_get(&of->runs, run) : NULL, *below = *run ? below_run(of, source, run) : NULL;
  if (ours && below) {
    const char *uri = run_uri(&of->to, ours);
    return *uri ? say("%s%s", uri, below) : NULL;
  }
  static const char *const reached[] = {
      "s3:", "gs:", "abfss:", "wasbs:", "hdfs:", "dbfs:", "http:", "https:", "models:/", "dummy-source", "prompt-template"};
  for (size_t i = 0; i < sizeof reached / sizeof reached[0]; i++)
    if (strncmp(source, reached[i], strlen(reached[i])) == 0 && strncmp(source, "models:/m-", 10) != 0) return source;
  return NULL;
}

/* ---- Versions ------------------------------------------------------------------------------------------------------------------------ */

static cJSON *tags_of(const cJSON *of, const char *source) {
  cJSON *list = cJSON_CreateArray();
  const cJSON *tag;
  cJSON_ArrayForEach(tag, member(of, "tags")) {
    if (!is_ours(text_of(tag, "key"))) (void)cJSON_AddItemToArray(list, pair(text_of(tag, "key"), text_of(tag, "value")));
  }
  (void)cJSON_AddItemToArray(list, pair(TAG_SOURCE, source));
  return list;
}

/* Registers a version with the number that it has there. In Purlin's own words: MLflow's have none for that. */
static bool create(importing *of, const char *name, const cJSON *version, const char *files, const char *source) {
  cJSON *body = cJSON_CreateObject();
  const char *run = map_get(&of->runs, text_of(version, "run_id"));
  add_text(body, "name", name);
  add_text(body, "source", files);
  add_text(body, "run_id", run ? run : "");
  if (strncmp(files, "models:/m-", 10) == 0) add_text(body, "logged_model", files + 8);
  add_text(body, "description", text_of(version, "description"));
  (void)cJSON_AddNumberToObject(body, "number", (double)number_of(version, "version"));
  (void)cJSON_AddItemToObject(body, "tags", tags_of(version, source));
  bool fine = tell(&of->to, "POST", "/api/v1/op/registry.register_version", body);
  if (!fine) problem(of, "model '%s', version %s: %s", name, text_of(version, "version"), of->to.message);
  cJSON_Delete(body);
  return fine;
}

static void set_stage(importing *of, const char *name, const cJSON *version) {
  const char *stage = text_of(version, "current_stage");
  if (!*stage || strcmp(stage, "None") == 0) return;
  cJSON *body = cJSON_CreateObject();
  add_text(body, "name", name);
  add_text(body, "version", text_of(version, "version"));
  add_text(body, "stage", stage);
  (void)cJSON_AddBoolToObject(body, "archive_existing_versions", false);
  if (!tell(&of->to, "POST", VERSION_PATH "/transition-stage", body))
    problem(of, "model '%s', version %s: its stage: %s", name, text_of(version, "version"), of->to.message);
  cJSON_Delete(body);
}

static cJSON *read_version(importing *of, const char *name, const char *number) {
  cJSON *answer = NULL;
  const char *path = say(VERSION_PATH "/get?name=%s&version=%s", escaped(name, false), escaped(number, false));
  return ask(&of->to, "GET", path, NULL, &answer) ? answer : NULL;
}

/* Whether version N here is the copy of version N there. */
static bool is_whole(importing *of, const char *name, const cJSON *version, const char *source) {
  const char *number = text_of(version, "version");
  cJSON *answer = read_version(of, name, number);
  const cJSON *ours = member(answer, "model_version"), *tag;
  const char *from = value_of(member(ours, "tags"), TAG_SOURCE);
  bool whole = from && strcmp(from, source) == 0;
  if (ours && !whole) problem(of, "model '%s': version %s here is another one", name, number);
  if (!ours) problem(of, "model '%s': version %s is not here", name, number);
  const cJSON *expected = whole ? member(version, "tags") : NULL;
  cJSON_ArrayForEach(tag, expected) {
    const char *kept = value_of(member(ours, "tags"), text_of(tag, "key"));
    if (is_ours(text_of(tag, "key")) || (kept && strcmp(kept, text_of(tag, "value")) == 0)) continue;
    problem(of, "model '%s', version %s: the tag '%s' is not here as it was there", name, number, text_of(tag, "key"));
    whole = false;
  }
  const char *stage = text_of(version, "current_stage");
  if (whole && *stage && strcmp(stage, text_of(ours, "current_stage")) != 0) {
    problem(of, "model '%s', version %s: it is in the stage %s, not %s", name, number, text_of(ours, "current_stage"),
            stage);
    whole = false;
  }
  cJSON_Delete(answer);
  return whole;
}

static void import_version(importing *of, const char *name, const cJSON *version) {
  const char *number = text_of(version, "version");
  const char *source = say("%s/model-versions/%s/%s", of->source, name, number);
  of->there[VERSIONS]++;
  progress(of, name);
  if (of->dry) return;
  cJSON *known = read_version(of, name, number);
  if (!known) {
    const char *files = source_here(of, version);
    if (!files)
      return problem(of, "model '%s', version %s: its files at %s are not a copied run's or logged model's", name, number,
                     text_of(version, "source"));
    if (!create(of, name, version, files, source)) return;
    known = read_version(of, name, number);
  }
  const cJSON *ours = member(known, "model_version");
  if (ours && strcmp(text_of(ours, "current_stage"), text_of(version, "current_stage")) != 0) set_stage(of, name, version);
  cJSON_Delete(known);
  if (is_whole(of, name, version, source)) of->here[VERSIONS]++;
}

static int by_number(const void *one, const void *other) {
  int64_t a = number_of(*(const cJSON *const *)one, "version"), b = number_of(*(const cJSON *const *)other, "version");
  return a < b ? -1 : a > b;
}

/* All versions of a model. NULL: refused. */
static cJSON *versions_of(server *s, const char *name) {
  cJSON *all = cJSON_CreateArray();
  paging at = {0};
  const char *quote = strchr(name, '\'') ? "\"" : "'", *filter = say("name=%s%s%s", quote, name, quote);
  bool more = true;
  for (int count = 0; more && count <= MOST_VERSIONS;) {
    cJSON *page = NULL;
    const char *path = say(VERSION_PATH "/search?max_results=%d&filter=%s%s%s", PAGE, escaped(filter, false),
                           *at.token ? "&page_token=" : "", escaped(at.token, false));
    if (!ask(s, "GET", path, NULL, &page)) return cJSON_Delete(all), NULL;
    more = turn_page(&at, s, page, "model_versions");
    cJSON *list = cJSON_GetObjectItemCaseSensitive(page, "model_versions");
    for (; cJSON_GetArraySize(list) > 0; count++) (void)cJSON_AddItemToArray(all, cJSON_DetachItemFromArray(list, 0));
    cJSON_Delete(page);
  }
  if (!more && !at.broken) return all;
  if (more) (void)snprintf(s->message, sizeof s->message, "it has more than %d versions", MOST_VERSIONS);
  return cJSON_Delete(all), NULL;
}

static void import_versions(importing *of, const char *name, const cJSON *there) {
  size_t count = (size_t)cJSON_GetArraySize(there), at = 0;
  const cJSON **sorted = calloc(count + 1, sizeof *sorted), *one;
  if (!sorted) return problem(of, "model '%s': out of memory", name);
  cJSON_ArrayForEach(one, there) sorted[at++] = one;
  qsort(sorted, count, sizeof *sorted, by_number);
  for (size_t i = 0; i < count; i++) import_version(of, name, sorted[i]);
  free(sorted);
}

/* ---- Models --------------------------------------------------------------------------------------------------------------------------- */

static cJSON *read_model(server *s, const char *name) {
  cJSON *answer = NULL;
  return ask(s, "GET", say(REGISTERED "/get?name=%s", escaped(name, false)), NULL, &answer) ? answer : NULL;
}

/* False: it cannot be made, or is here already and did not come from there. */
static bool make(importing *of, const cJSON *model, const char *source) {
  const char *name = text_of(model, "name");
  cJSON *answer = read_model(&of->to, name);
  const cJSON *ours = member(answer, "registered_model");
  const char *from = ours ? value_of(member(ours, "tags"), TAG_SOURCE) : NULL;
  bool there = ours != NULL, same = from && strcmp(from, source) == 0;
  cJSON_Delete(answer);
  if (there && !same)
    problem(
        of,
        "model '%s': there is one of that name here, which did not come from there; the same server under another address is told"
        " by --as",
        name);
  if (there) return same;
  cJSON *body = cJSON_CreateObject();
  add_text(body, "name", name);
  add_text(body, "description", text_of(model, "description"));
  (void)cJSON_AddItemToObject(body, "tags", tags_of(model, source));
  bool made = tell(&of->to, "POST", REGISTERED "/create", body);
  if (!made) problem(of, "model '%s': %s", name, of->to.message);
  cJSON_Delete(body);
  return made;
}

/* The aliases of a model as {alias: version}. */
static void note_aliases(const cJSON *model, map *out) {
  const cJSON *one;
  cJSON_ArrayForEach(one, member(model, "aliases"))
      map_put(out, text_of(one, "alias"), say("%lld", (long long)number_of(one, "version")));
}

static void import_aliases(importing *of, const cJSON *model) {
  const char *name = text_of(model, "name");
  map there = {0}, here = {0};
  note_aliases(model, &there);
  of->there[ALIASES] += (int64_t)there.count;
  for (size_t i = 0; i < there.room && !of->dry; i++) {
    if (!there.entries[i].key) continue;
    cJSON *body = cJSON_CreateObject();
    add_text(body, "name", name);
    add_text(body, "alias", there.entries[i].key);
    add_text(body, "version", there.entries[i].value);
    if (!tell(&of->to, "POST", REGISTERED "/alias", body))
      problem(of, "model '%s': the alias '%s': %s", name, there.entries[i].key, of->to.message);
    cJSON_Delete(body);
  }
  cJSON *answer = of->dry ? NULL : read_model(&of->to, name);
  note_aliases(member(answer, "registered_model"), &here);
  cJSON_Delete(answer);
  for (size_t i = 0; i < there.room; i++) {
    const char *version = there.entries[i].key ? map_get(&here, there.entries[i].key) : NULL;
    if (version && strcmp(version, there.entries[i].value) == 0) of->here[ALIASES]++;
  }
  map_free(&there);
  map_free(&here);
}

/* Of a choice of experiments: only what came from them. */
static bool is_chosen(const importing *of, const cJSON *versions) {
  if (of->only_count == 0) return true;
  const cJSON *one;
  cJSON_ArrayForEach(one, versions) {
    if (!*text_of(one, "run_id") || !map_get(&of->runs, text_of(one, "run_id"))) return false;
  }
  return cJSON_GetArraySize(versions) > 0;
}

static void import_one(importing *of, const char *name, int depth);

/* Versions that are copies of other models' are registered by their names: those models first. */
static void import_origins(importing *of, const cJSON *versions, int depth) {
  static const char scheme[] = "models:/";
  const cJSON *one;
  if (depth == DEEPEST) return;
  cJSON_ArrayForEach(one, versions) {
    const char *source = text_of(one, "source"), *name = source + sizeof scheme - 1, *slash;
    if (strncmp(source, scheme, sizeof scheme - 1) != 0 || !(slash = strchr(name, '/'))) continue;
    import_one(of, say("%.*s", (int)(slash - name), name), depth + 1);
  }
}

static void import_model(importing *of, const cJSON *model, const cJSON *versions, int depth) {
  const char *name = text_of(model, "name");
  of->there[MODELS]++;
  progress(of, name);
  if (!of->dry && !make(of, model, say("%s/models/%s", of->source, name))) {
    of->there[VERSIONS] += cJSON_GetArraySize(versions);
    of->there[ALIASES] += cJSON_GetArraySize(member(model, "aliases"));
    return;
  }
  of->here[MODELS] += !of->dry;
  import_origins(of, versions, depth);
  import_versions(of, name, versions);
  import_aliases(of, model);
}

static void import_one(importing *of, const char *name, int depth) {
  if (map_get(&of->models_met, name)) return;
  map_put(&of->models_met, name, "");
  cJSON *answer = read_model(&of->from, name), *versions = answer ? versions_of(&of->from, name) : NULL;
  const cJSON *model = member(answer, "registered_model");
  if (!versions) problem(of, "model '%s': %s", name, of->from.message);
  else if (is_chosen(of, versions)) import_model(of, model, versions, depth);
  cJSON_Delete(versions);
  cJSON_Delete(answer);
}

static void import_found(importing *of, const char *filter) {
  paging at = {0};
  bool more = true;
  while (more) {
    cJSON *page = NULL;
    pool_block *mark = pool_mark();
    const char *path = say(REGISTERED "/search?max_results=%d%s%s%s%s", PAGE, *filter ? "&filter=" : "",
                           escaped(filter, false), *at.token ? "&page_token=" : "", escaped(at.token, false));
    if (!ask(&of->from, "GET", path, NULL, &page)) {
      if (!*filter) problem(of, "the registered models: %s", of->from.message);
      return;
    }
    const cJSON *one;
    cJSON_ArrayForEach(one, member(page, "registered_models")) import_one(of, text_of(one, "name"), 0);
    more = turn_page(&at, &of->from, page, "registered_models");
    cJSON_Delete(page);
    pool_release(mark);
  }
  if (at.broken) problem(of, "the registered models: %s", of->from.message);
}

/* Prompts are registered models that a search without a filter leaves out in MLflow 3; in 2 the first search has them. */
void import_registry(importing *of) {
  import_found(of, "");
  if (of->has_models) import_found(of, "tags.`mlflow.prompt.is_prompt` = 'true'");
}
