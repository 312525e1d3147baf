#include "ctl/ctl.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

cJSON *catalogue_load(const session *s, int *code) {
  buffer answer = {0};
  unsigned http = 0;
  cJSON *document = NULL;
  *code = CTL_UNREACHABLE;
  if (session_request(s, "GET", "/openapi.json", NULL, &http, &answer)) {
    document = http == 200 ? cJSON_ParseWithLength(answer.data, answer.size) : NULL;
    bool is_ours = cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(document, "paths"));
    if (!is_ours) {
      cJSON_Delete(document);
      document = NULL;
    }
    if (!document && http >= 400 && answer.size > 0 && answer.data[0] == '{') {
      session_complain(s, http, &answer);
      *code = CTL_FAILED;
    } else if (!document)
      (void)fprintf(stderr, "purlin: what answers at %s is no Purlin server (/openapi.json: %u)\n", s->server, http);
  }
  buffer_free(&answer);
  return document;
}

static const cJSON *follow(const cJSON *document, const cJSON *schema) {
  const char *reference = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(schema, "$ref"));
  const char *name = reference ? strrchr(reference, '/') : NULL;
  if (!name) return schema;
  const cJSON *components = cJSON_GetObjectItemCaseSensitive(document, "components");
  return cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(components, "schemas"), name + 1);
}

static const cJSON *body_of(const cJSON *document, const cJSON *operation) {
  const cJSON *content =
      cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(operation, "requestBody"), "content");
  const cJSON *json = cJSON_GetObjectItemCaseSensitive(content, "application/json");
  return json ? follow(document, cJSON_GetObjectItemCaseSensitive(json, "schema")) : NULL;
}

static bool describe(const cJSON *document, const cJSON *operation, catalogue_entry *out) {
  if (!cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(operation, "x-operation"))) return false;
  *out = (catalogue_entry){
      .id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(operation, "operationId")),
      .summary = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(operation, "summary")),
      .permission = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(operation, "x-permission")),
      .parameters = cJSON_GetObjectItemCaseSensitive(operation, "parameters"),
      .body = body_of(document, operation),
  };
  return out->id && strchr(out->id, '.') && out->summary;
}

static int by_id(const void *a, const void *b) {
  const catalogue_entry *x = a, *y = b;
  return strcmp(x->id, y->id);
}

void catalogue_visit(const cJSON *document, void (*visit)(void *to, const catalogue_entry *entry), void *to) {
  const cJSON *path, *operation;
  size_t room = 0, count = 0;
  cJSON_ArrayForEach(path, cJSON_GetObjectItemCaseSensitive(document, "paths")) room += (size_t)cJSON_GetArraySize(path);
  catalogue_entry *all = calloc(room + 1, sizeof *all);
  if (!all) return;
  cJSON_ArrayForEach(path, cJSON_GetObjectItemCaseSensitive(document, "paths"))
      cJSON_ArrayForEach(operation, path) if (count < room && describe(document, operation, &all[count])) count++;
  qsort(all, count, sizeof *all, by_id);
  for (size_t i = 0; i < count; i++) visit(to, &all[i]);
  free(all);
}

/* "create-model" and "create_model" are the same. */
static bool same_name(const char *id, const char *plugin, const char *operation) {
  size_t size = strlen(plugin);
  if (strncmp(id, plugin, size) != 0 || id[size] != '.') return false;
  for (id += size + 1; *id && *operation; id++, operation++)
    if (*id != *operation && !(*id == '_' && *operation == '-')) return false;
  return *id == *operation;
}

typedef struct search {
  const char *plugin, *operation;
  catalogue_entry *out;
  bool found;
} search;

static void match(void *to, const catalogue_entry *entry) {
  search *s = to;
  if (s->found || !same_name(entry->id, s->plugin, s->operation)) return;
  *s->out = *entry;
  s->found = true;
}

bool catalogue_find(const cJSON *document, const char *plugin, const char *operation, catalogue_entry *out) {
  search s = {plugin, operation, out, false};
  catalogue_visit(document, match, &s);
  return s.found;
}

static bool is_required(const cJSON *list, const char *name) {
  const cJSON *item;
  cJSON_ArrayForEach(item, list) if (cJSON_IsString(item) && strcmp(item->valuestring, name) == 0) return true;
  return false;
}

void catalogue_fields(const catalogue_entry *entry,
                      void (*visit)(void *to, const char *name, const cJSON *schema, bool required), void *to) {
  const cJSON *item, *required = cJSON_GetObjectItemCaseSensitive(entry->body, "required");
  cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(entry->body, "properties")) {
    if (item->string) visit(to, item->string, item, is_required(required, item->string));
  }
  if (entry->body) return;
  cJSON_ArrayForEach(item, entry->parameters) {
    const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "name"));
    bool asked = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, "required"));
    if (name) visit(to, name, cJSON_GetObjectItemCaseSensitive(item, "schema"), asked);
  }
}
