#include "ctl/ctl.h"
#include <stdio.h>
#include <string.h>

cJSON *catalogue_load(const session *s) {
  buffer answer = {0};
  unsigned http = 0;
  cJSON *document = NULL;
  if (session_request(s, "GET", "/openapi.json", NULL, &http, &answer)) {
    if (http == 200) document = cJSON_ParseWithLength(answer.data, answer.size);
    if (!document) session_complain(http, &answer);
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

void catalogue_visit(const cJSON *document, void (*visit)(void *to, const catalogue_entry *entry), void *to) {
  const cJSON *path, *operation;
  cJSON_ArrayForEach(path, cJSON_GetObjectItemCaseSensitive(document, "paths")) {
    cJSON_ArrayForEach(operation, path) {
      if (!cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(operation, "x-operation"))) continue;
      const catalogue_entry entry = {
          .id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(operation, "operationId")),
          .summary = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(operation, "summary")),
          .permission = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(operation, "x-permission")),
          .parameters = cJSON_GetObjectItemCaseSensitive(operation, "parameters"),
          .body = body_of(document, operation),
      };
      if (entry.id && entry.summary) visit(to, &entry);
    }
  }
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
