#include "ctl/ctl.h"
#include "core/text.h"
#include <stdio.h>
#include <string.h>

/* ---- Help -------------------------------------------------------------------------------------------------------------------------------- */

static const char *type_name(const cJSON *schema) {
  const cJSON *type = cJSON_GetObjectItemCaseSensitive(schema, "type");
  if (cJSON_IsArray(type)) type = type->child;
  return cJSON_IsString(type) ? type->valuestring : "any";
}

static void flag_of(buffer *out, const char *name) {
  buffer_text(out, "--");
  for (; *name; name++) buffer_char(out, *name == '_' ? '-' : *name);
}

static void measure_field(void *to, const char *name, const cJSON *schema, bool required) {
  (void)schema;
  (void)required;
  size_t *widest = to, width = strlen(name) + 2;
  if (width > *widest) *widest = width;
}

static void add_json(buffer *out, const char *before, const cJSON *value) {
  char *text = value ? cJSON_PrintUnformatted(value) : NULL;
  if (text) buffer_format(out, "%s%s", before, text);
  cJSON_free(text);
}

static void add_choices(buffer *out, const cJSON *schema) {
  const cJSON *choice;
  bool first = true;
  cJSON_ArrayForEach(choice, cJSON_GetObjectItemCaseSensitive(schema, "enum")) {
    if (!cJSON_IsString(choice)) continue;
    buffer_format(out, "%s%s", first ? "; one of " : ", ", choice->valuestring);
    first = false;
  }
}

static void print_field(void *to, const char *name, const cJSON *schema, bool required) {
  const size_t *widest = to;
  const char *description = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(schema, "description"));
  buffer line = {0}, shown = {0};
  flag_of(&line, name);
  while (line.size < *widest) buffer_char(&line, ' ');
  buffer_format(&line, "  %-8s %s", type_name(schema), description ? description : "");
  add_choices(&line, schema);
  if (required) buffer_text(&line, " (required)");
  else add_json(&line, " (default ", cJSON_GetObjectItemCaseSensitive(schema, "default"));
  if (!required && cJSON_HasObjectItem(schema, "default")) buffer_char(&line, ')');
  display_add(&shown, line.data, line.size);
  (void)printf("  %s\n", buffer_end(&shown));
  buffer_free(&line);
  buffer_free(&shown);
}

int call_help(const catalogue_entry *entry) {
  size_t widest = 0;
  display_text(stdout, entry->id);
  (void)fputs(": ", stdout);
  display_text(stdout, entry->summary);
  const char *permission = entry->permission ? entry->permission : "public";
  if (strcmp(permission, "public") == 0) (void)puts("\n\nFor everybody.\n");
  else if (strcmp(permission, "authenticated") == 0) (void)puts("\n\nFor whoever is logged in, or has a key.\n");
  else {
    (void)fputs("\n\nNeeds the permission ", stdout);
    display_text(stdout, permission);
    (void)puts(".\n");
  }
  catalogue_fields(entry, measure_field, &widest);
  if (widest == 0) (void)puts("It takes nothing.");
  catalogue_fields(entry, print_field, &widest);
  if (widest > 0)
    (void)puts("\nOr the whole input as JSON: one argument that begins with '{', or '-' for standard input.\n"
               "A list is a flag for each item, or JSON. --json prints the answer as JSON.");
  return CTL_FINE;
}

/* ---- Flags to JSON ---------------------------------------------------------------------------------------------------------------------------- */

/* A flag's field; or, when there is none, the one that may have been meant. */
typedef struct lookup {
  const char *flag; /* with '_' for '-' */
  const char *name;
  const cJSON *schema;
  const char *meant;
  size_t far;
} lookup;

static void match(void *to, const char *name, const cJSON *schema, bool required) {
  (void)required;
  lookup *l = to;
  if (strcmp(l->flag, name) == 0) {
    l->name = name;
    l->schema = schema;
  }
  if (text_is_nearer(l->flag, strlen(l->flag), name, &l->far)) l->meant = name;
}

static cJSON *to_value(const char *type, const char *text) {
  if (strcmp(type, "string") == 0) return cJSON_CreateString(text);
  return cJSON_ParseWithOpts(text, NULL, 1); /* numbers, true, objects */
}

static bool is_type(const cJSON *value, const char *type) {
  if (strcmp(type, "boolean") == 0) return cJSON_IsBool(value);
  if (strcmp(type, "integer") == 0 || strcmp(type, "number") == 0) return cJSON_IsNumber(value);
  if (strcmp(type, "object") == 0) return cJSON_IsObject(value);
  return strcmp(type, "array") != 0 || cJSON_IsArray(value);
}

/* False: the text is no value of the field's type. */
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
  if (!value || !is_type(value, type)) {
    cJSON_Delete(value);
    return false;
  }
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

static int refuse_flag(const catalogue_entry *entry, const lookup *l, const char *flag) {
  buffer meant = {0};
  if (l->meant) flag_of(&meant, l->meant);
  (void)fprintf(stderr, "purlin: %s is not known here; %s", flag,
                l->meant ? "did you mean " : "--help lists the fields of ");
  display_text(stderr, l->meant ? buffer_end(&meant) : entry->id);
  (void)fputs(l->meant ? "?\n" : "\n", stderr);
  buffer_free(&meant);
  return CTL_USAGE;
}

/* Takes one flag: "--limit 5", "--limit=5", and of a boolean "--registers" alone. Advances *at. */
static int take_flag(const catalogue_entry *entry, int count, char **arguments, int *at, cJSON *input) {
  static char yes[] = "true";
  char *argument = arguments[*at], *value = strchr(argument, '=');
  if (strncmp(argument, "--", 2) != 0) {
    (void)fprintf(stderr, "purlin: '%s' is not expected; a field is said as --FIELD VALUE, see --help\n", argument);
    return CTL_USAGE;
  }
  if (value) *value++ = '\0';
  buffer flag = {0};
  for (const char *c = argument + 2; *c; c++) buffer_char(&flag, *c == '-' ? '_' : *c);
  lookup l = {.flag = buffer_end(&flag), .far = TEXT_FAR};
  catalogue_fields(entry, match, &l);
  int code = l.name ? CTL_FINE : refuse_flag(entry, &l, argument);
  buffer_free(&flag);
  if (code != CTL_FINE) return code;
  bool alone = !value && (*at + 1 == count || strncmp(arguments[*at + 1], "--", 2) == 0);
  if (alone && strcmp(type_name(l.schema), "boolean") == 0) value = yes;
  else if (!value && *at + 1 == count) {
    (void)fprintf(stderr, "purlin: %s needs a value\n", argument);
    return CTL_USAGE;
  } else if (!value) value = arguments[++*at];
  ++*at;
  if (set(input, &l, value)) return CTL_FINE;
  const char *type = type_name(l.schema);
  (void)fprintf(stderr, "purlin: %s wants a", argument);
  (void)fputs(type[0] && strchr("aeio", type[0]) ? "n " : " ", stderr);
  display_text(stderr, type);
  (void)fprintf(stderr, ", not '%s'\n", value);
  return CTL_USAGE;
}

/* The input that the arguments say; NULL: the exit code says why, which is on stderr. */
static int to_input(session *s, const catalogue_entry *entry, int count, char **arguments, cJSON **out) {
  cJSON *input = NULL;
  int code = CTL_FINE;
  for (int i = 0; i < count && code == CTL_FINE;) {
    const char *argument = arguments[i];
    lookup own = {.flag = "json", .far = 0};
    catalogue_fields(entry, match, &own);
    if (strcmp(argument, "--json") == 0 && !own.name) {
      s->json = true;
      i++;
    } else if (!input && (argument[0] == '{' || strcmp(argument, "-") == 0)) {
      input = whole_input(argument);
      i++;
      if (input && cJSON_IsObject(input)) continue;
      (void)fprintf(stderr, "purlin: the input is no JSON object\n");
      code = CTL_USAGE;
    } else {
      if (!input) input = cJSON_CreateObject();
      code = input ? take_flag(entry, count, arguments, &i, input) : CTL_FAILED;
    }
  }
  if (!input && code == CTL_FINE) input = cJSON_CreateObject();
  if (code == CTL_FINE) {
    *out = input;
    return input ? CTL_FINE : CTL_FAILED;
  }
  cJSON_Delete(input);
  return code;
}

/* ---- The call ----------------------------------------------------------------------------------------------------------------------------------- */

int call_operation(session *s, const catalogue_entry *entry, int count, char **arguments) {
  cJSON *input = NULL;
  int code = to_input(s, entry, count, arguments, &input);
  if (!input) return code;
  char *body = cJSON_PrintUnformatted(input);
  cJSON_Delete(input);
  if (!body) return CTL_FAILED;
  buffer path = {0}, answer = {0};
  unsigned http = 0;
  buffer_format(&path, "/api/v1/op/%s", entry->id);
  code = session_request(s, "POST", buffer_end(&path), body, &http, &answer) ? CTL_FINE : CTL_UNREACHABLE;
  if (code == CTL_FINE && http >= 200 && http < 300) answer_print(s, &answer);
  else if (code == CTL_FINE) {
    session_complain(s, http, &answer);
    code = CTL_FAILED;
  }
  buffer_free(&path);
  buffer_free(&answer);
  cJSON_free(body);
  return code;
}
