#include "import.h"
#include <stdio.h>
#include <string.h>

#define SEARCH "/api/2.0/mlflow/experiments/search"

/* What is here already: by the tag that an earlier import gave it, and by name. */
typedef struct known_experiments {
  map by_source, by_name, deleted;
  map there; /* names */
} known_experiments;

static void note_known(const cJSON *page, known_experiments *known) {
  const cJSON *one;
  cJSON_ArrayForEach(one, member(page, "experiments")) {
    const char *id = text_of(one, "experiment_id"), *source = value_of(member(one, "tags"), TAG_SOURCE);
    if (source) map_put(&known->by_source, source, id);
    map_put(&known->by_name, text_of(one, "name"), id);
    if (strcmp(text_of(one, "lifecycle_stage"), "deleted") == 0) map_put(&known->deleted, id, "");
  }
}

static cJSON *search(const char *token) {
  cJSON *body = cJSON_CreateObject();
  (void)cJSON_AddNumberToObject(body, "max_results", 1000);
  (void)cJSON_AddStringToObject(body, "view_type", "ALL");
  add_text(body, "page_token", token);
  return body;
}

/* Asks a server for all of its experiments, page by page. False: refused. */
static bool each_page(importing *of, server *s, void (*visit)(importing *of, const cJSON *page, void *to), void *to) {
  paging at = {0};
  bool more = true;
  while (more) {
    pool_block *mark = pool_mark();
    cJSON *body = search(at.token), *page = NULL;
    bool fine = ask(s, "POST", SEARCH, body, &page);
    cJSON_Delete(body);
    if (!fine) return false;
    visit(of, page, to);
    more = turn_page(&at, s, page, "experiments");
    cJSON_Delete(page);
    pool_release(mark);
  }
  return !at.broken;
}

static void visit_known(importing *of, const cJSON *page, void *to) {
  (void)of;
  note_known(page, to);
}

static bool is_chosen(const importing *of, const char *name) {
  for (size_t i = 0; i < of->only_count; i++)
    if (strcmp(of->only[i], name) == 0) return true;
  return of->only_count == 0;
}

static void set_tag(importing *of, const char *id, const char *key, const char *value) {
  cJSON *body = pair(key, value);
  add_text(body, "experiment_id", id);
  if (!tell(&of->to, "POST", "/api/2.0/mlflow/experiments/set-experiment-tag", body))
    problem(of, "experiment %s: the tag %s: %s", id, key, of->to.message);
  cJSON_Delete(body);
}

/* It says from the beginning where it came from: who is stopped now knows it again. */
static const char *create(importing *of, const cJSON *there, const char *source) {
  cJSON *body = cJSON_CreateObject(), *made = NULL;
  add_text(body, "name", text_of(there, "name"));
  (void)cJSON_AddItemToArray(cJSON_AddArrayToObject(body, "tags"), pair(TAG_SOURCE, source));
  bool fine = ask(&of->to, "POST", "/api/2.0/mlflow/experiments/create", body, &made);
  const char *id = fine ? say("%s", text_of(made, "experiment_id")) : "";
  if (!fine) problem(of, "experiment '%s': %s", text_of(there, "name"), of->to.message);
  cJSON_Delete(body);
  cJSON_Delete(made);
  return id;
}

static void move(importing *of, const char *id, const char *where) {
  cJSON *body = cJSON_CreateObject();
  add_text(body, "experiment_id", id);
  if (!tell(&of->to, "POST", say("/api/2.0/mlflow/experiments/%s", where), body))
    problem(of, "experiment %s: %s: %s", id, where, of->to.message);
  cJSON_Delete(body);
}

static void copy_tags(importing *of, const cJSON *there, const char *id) {
  const cJSON *tag;
  cJSON_ArrayForEach(tag, member(there, "tags")) {
    const char *key = text_of(tag, "key");
    if (!is_ours(key)) set_tag(of, id, key, text_of(tag, "value"));
  }
}

/* Every server has one: runs of both stand in it, and of itself nothing is changed. */
static bool is_default(const cJSON *there) { return strcmp(text_of(there, "name"), "Default") == 0; }

/* The experiment here that is the copy of one there, made if there is none; "": there can be none, or not yet. */
static const char *find_or_create(importing *of, const cJSON *there, const known_experiments *known) {
  const char *name = text_of(there, "name");
  const char *source = say("%s/experiments/%s", of->source, text_of(there, "experiment_id"));
  const char *id = map_get(&known->by_source, source), *other = map_get(&known->by_name, name);
  if (!id && is_default(there)) id = other;
  if (id) return id;
  if (of->dry) return "";
  if (!other) return create(of, there, source);
  problem(
      of,
      "experiment '%s': there is one of that name here, which did not come from there; rename one of them. The same server under"
      " another address is told by --as",
      name);
  return "";
}

/* Makes it, when it is not here, so that runs of others may refer to what is in it. */
static void make(importing *of, const cJSON *there, known_experiments *known) {
  const char *there_id = text_of(there, "experiment_id"), *name = text_of(there, "name");
  of->there[EXPERIMENTS]++;
  map_put(&known->there, name, "");
  progress(of, name);
  const char *id = find_or_create(of, there, known);
  if (!*id) return;
  map_put(&of->experiments, there_id, id);
  if (of->dry) return;
  of->here[EXPERIMENTS]++;
  if (is_default(there)) return;
  if (map_get(&known->deleted, id)) move(of, id, "restore"); /* what is deleted takes no runs */
  copy_tags(of, there, id);
}

static void fill(importing *of, const cJSON *there) {
  const char *id = map_get(&of->experiments, text_of(there, "experiment_id"));
  if (!id && !of->dry) return; /* told */
  import_runs(of, there, id ? id : "");
  if (!of->dry && !is_default(there) && strcmp(text_of(there, "lifecycle_stage"), "deleted") == 0) move(of, id, "delete");
}

static void each_chosen(importing *of, const cJSON *page, known_experiments *known) {
  const cJSON *one;
  cJSON_ArrayForEach(one, member(page, "experiments")) {
    if (!is_chosen(of, text_of(one, "name"))) continue;
    pool_block *mark = pool_mark();
    if (known) make(of, one, known);
    else fill(of, one);
    pool_release(mark);
  }
}

static void visit_to_make(importing *of, const cJSON *page, void *to) { each_chosen(of, page, to); }

static void visit_to_fill(importing *of, const cJSON *page, void *to) {
  (void)to;
  each_chosen(of, page, NULL);
}

/* Names that were asked for may be misspelt. */
static void tell_missing(importing *of, const known_experiments *known) {
  for (size_t i = 0; i < of->only_count; i++)
    if (!map_get(&known->there, of->only[i])) problem(of, "there is no experiment '%s'", of->only[i]);
}

void import_experiments(importing *of) {
  known_experiments known = {0};
  if (!each_page(of, &of->to, visit_known, &known)) problem(of, "the experiments of %s: %s", of->to.name, of->to.message);
  else if (!each_page(of, &of->from, visit_to_make, &known) || !each_page(of, &of->from, visit_to_fill, NULL))
    problem(of, "the experiments of %s: %s", of->from.name, of->from.message);
  if (!of->dry) tell_missing(of, &known);
  import_parents(of);
  map_free(&known.there);
  map_free(&known.by_source);
  map_free(&known.by_name);
  map_free(&known.deleted);
}
