#include "ctl/ctl.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WIDEST_CELL = 48, MOST_COLUMNS = 32 };

/* ---- Help -------------------------------------------------------------------------------------------------------------------------------- */

static const char *type_name(const cJSON *schema) {
  const cJSON *type = cJSON_GetObjectItemCaseSensitive(schema, "type");
  if (cJSON_IsArray(type)) type = type->child;
  return cJSON_IsString(type) ? type->valuestring : "any";
}

static void print_field(void *to, const char *name, const cJSON *schema, bool required) {
  (void)to;
  char flag[300];
  (void)snprintf(flag, sizeof flag, "--%s", name);
  for (char *at = flag; *at; at++)
    if (*at == '_') *at = '-';
  const char *description = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(schema, "description"));
  print(stdout, "  %-22s %-8s %s%s\n", flag, type_name(schema), description ? description : "",
        required ? " (required)" : "");
}

static void print_help(const catalogue_entry *entry) {
  print(stdout, "%s: %s\n\nNeeds the permission %s.\n\n", entry->id, entry->summary,
        entry->permission ? entry->permission : "");
  catalogue_fields(entry, print_field, NULL);
  (void)printf("\nOr the whole input as JSON: one argument that begins with '{', or '-' for standard input.\n");
}

/* ---- Flags to JSON ---------------------------------------------------------------------------------------------------------------------------- */

typedef struct lookup {
  const char *flag;
  const char *name;
  const cJSON *schema;
} lookup;

static bool same_flag(const char *flag, const char *name) {
  for (; *flag && *name; flag++, name++)
    if (*flag != *name && !(*flag == '-' && *name == '_')) return false;
  return *flag == *name;
}

static void match(void *to, const char *name, const cJSON *schema, bool required) {
  (void)required;
  lookup *l = to;
  if (!l->name && same_flag(l->flag, name)) *l = (lookup){l->flag, name, schema};
}

static cJSON *to_value(const char *type, const char *text) {
  if (strcmp(type, "string") == 0) return cJSON_CreateString(text);
  return cJSON_ParseWithOpts(text, NULL, 1); /* numbers, true, objects */
}

static bool set(cJSON *input, const lookup *l, const char *text) {
  const char *type = type_name(l->schema);
  cJSON *value;
  if (strcmp(type, "array") == 0 && text[0] != '[') { /* a repeated flag */
    cJSON *list = cJSON_GetObjectItemCaseSensitive(input, l->name);
    if (!list) list = cJSON_AddArrayToObject(input, l->name);
    value = to_value(type_name(cJSON_GetObjectItemCaseSensitive(l->schema, "items")), text);
    return value && cJSON_AddItemToArray(list, value);
  }
  value = to_value(type, text);
  if (!value && strcmp(type, "any") == 0) value = cJSON_CreateString(text);
  if (!value) return false;
  cJSON_DeleteItemFromObjectCaseSensitive(input, l->name);
  return cJSON_AddItemToObject(input, l->name, value);
}

static cJSON *whole_input(const char *argument) {
  if (strcmp(argument, "-") != 0) return cJSON_ParseWithOpts(argument, NULL, 1);
  buffer text = {.limit = 64 * 1024 * 1024};
  char block[65536];
  for (size_t size; (size = fread(block, 1, sizeof block, stdin)) > 0;) buffer_add(&text, block, size);
  cJSON *input = text.failed ? NULL : cJSON_ParseWithLength(text.data, text.size);
  buffer_free(&text);
  return input;
}

static cJSON *to_input(const catalogue_entry *entry, int count, char **arguments) {
  if (count == 1 && (arguments[0][0] == '{' || strcmp(arguments[0], "-") == 0)) {
    cJSON *input = whole_input(arguments[0]);
    if (!input) (void)fprintf(stderr, "purlin: the input is not JSON\n");
    return input;
  }
  cJSON *input = cJSON_CreateObject();
  for (int i = 0; i < count && input; i += 2) {
    lookup l = {.flag = strncmp(arguments[i], "--", 2) == 0 ? arguments[i] + 2 : ""};
    catalogue_fields(entry, match, &l);
    const char *wrong = !l.name                             ? "is not known here"
                        : i + 1 == count                    ? "needs a value"
                        : !set(input, &l, arguments[i + 1]) ? "has a value of another type"
                                                            : NULL;
    if (!wrong) continue;
    print(stderr, "purlin: %s %s; --help lists the fields of %s\n", arguments[i], wrong, entry->id);
    cJSON_Delete(input);
    input = NULL;
  }
  return input;
}

/* ---- The answer: a table when it is one list of objects, else JSON ------------------------------------------------------------------------------- */

/* At most `size` - 1 bytes, in one line. */
static void cell(const cJSON *value, char *out, size_t size) {
  buffer text = {0};
  if (cJSON_IsString(value)) add_visible(&text, value->valuestring, strlen(value->valuestring), "");
  else if (value && !cJSON_IsNull(value) && !cJSON_IsObject(value) && !cJSON_IsArray(value)) {
    char *printed = cJSON_PrintUnformatted(value);
    if (printed) buffer_text(&text, printed);
    cJSON_free(printed);
  }
  size_t shown = text.size < size - 1 ? text.size : size - 1;
  while (shown < text.size && shown > 0 && ((unsigned char)text.data[shown] & 0xc0) == 0x80) shown--; /* whole characters */
  memcpy(out, buffer_end(&text), shown);
  out[shown] = '\0';
  buffer_free(&text);
}

static const cJSON *only_list(const cJSON *answer) {
  const cJSON *first = answer ? answer->child : NULL;
  return first && !first->next && cJSON_IsArray(first) && (!first->child || cJSON_IsObject(first->child)) ? first : NULL;
}

static void print_table(const cJSON *list) {
  const char *names[MOST_COLUMNS];
  int widths[MOST_COLUMNS];
  size_t columns = 0;
  const cJSON *row, *item;
  cJSON_ArrayForEach(item, list->child) {
    if (columns == MOST_COLUMNS || cJSON_IsObject(item) || cJSON_IsArray(item)) continue;
    names[columns] = item->string;
    widths[columns++] = (int)strlen(item->string);
  }
  char text[WIDEST_CELL + 1];
  cJSON_ArrayForEach(row, list) for (size_t i = 0; i < columns; i++) {
    cell(cJSON_GetObjectItemCaseSensitive(row, names[i]), text, sizeof text);
    if ((int)strlen(text) > widths[i]) widths[i] = (int)strlen(text);
  }
  for (size_t i = 0; i < columns; i++) print(stdout, "%-*s  ", widths[i], names[i]);
  (void)printf("\n");
  cJSON_ArrayForEach(row, list) {
    for (size_t i = 0; i < columns; i++) {
      cell(cJSON_GetObjectItemCaseSensitive(row, names[i]), text, sizeof text);
      (void)printf("%-*s  ", widths[i], text);
    }
    (void)printf("\n");
  }
  if (columns == 0) (void)printf("(none)\n");
}

static void print_answer(const session *s, buffer *answer) {
  cJSON *parsed = cJSON_ParseWithLength(answer->data, answer->size);
  const cJSON *list = only_list(parsed);
  if (list && !s->json) {
    print_table(list);
  } else {
    char *text = s->json ? NULL : cJSON_Print(parsed);
    if (text) print_visible(stdout, text, strlen(text));
    else print_visible(stdout, answer->data, answer->size);
    (void)printf("\n");
    cJSON_free(text);
  }
  cJSON_Delete(parsed);
}

int call_operation(const session *s, const catalogue_entry *entry, int count, char **arguments) {
  if (count > 0 && (strcmp(arguments[0], "--help") == 0 || strcmp(arguments[0], "-h") == 0)) return print_help(entry), 0;
  cJSON *input = to_input(entry, count, arguments);
  char *body = input ? cJSON_PrintUnformatted(input) : NULL;
  cJSON_Delete(input);
  if (!body) return 2;
  buffer path = {0}, answer = {0};
  unsigned http = 0;
  buffer_format(&path, "/api/v1/op/%s", entry->id);
  bool answered = session_request(s, "POST", buffer_end(&path), body, &http, &answer);
  bool fine = answered && http >= 200 && http < 300;
  if (fine) print_answer(s, &answer);
  else if (answered) session_complain(http, &answer);
  buffer_free(&path);
  buffer_free(&answer);
  cJSON_free(body);
  return fine ? 0 : 1;
}
