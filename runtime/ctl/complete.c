/* complete.c: what a shell is told may follow. Operations come from the server's document; where none answers, only what purlin does by
 * itself is offered. Nothing is said of what goes wrong: somebody is writing a line. */
#include "ctl/ctl.h"
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static cJSON *parse(const buffer *text) {
  cJSON *document = text->size > 0 ? cJSON_ParseWithLength(text->data, text->size) : NULL;
  if (cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(document, "paths"))) return document;
  cJSON_Delete(document);
  return NULL;
}

/* NULL: no server answers. Owned: cJSON_Delete. */
static cJSON *load(session *s) {
  buffer text = {0};
  unsigned http = 0;
  session_address(s);
  s->hasty = true;
  cJSON *document = cache_read(s->server, &text) ? parse(&text) : NULL;
  if (!document) {
    buffer_free(&text);
    if (session_request(s, "GET", "/openapi.json", NULL, &http, &text) && http == 200) document = parse(&text);
    if (document) cache_write(s->server, &text);
  }
  buffer_free(&text);
  return document;
}

/* A candidate of the server's words, which anybody may have written: on one line, and nothing that a terminal would obey. */
static void offer(const manual_completion *c, const char *candidate, const char *text) {
  buffer word = {0}, about = {0};
  display_add(&word, candidate, strlen(candidate));
  display_add(&about, text ? text : "", text ? strlen(text) : 0);
  manual_offer(c, buffer_end(&word), buffer_end(&about));
  buffer_free(&word);
  buffer_free(&about);
}

static void dashed(buffer *out, const char *name, size_t size) {
  for (size_t i = 0; i < size; i++) buffer_char(out, name[i] == '_' ? '-' : name[i]);
}

/* ---- Plugins and operations ------------------------------------------------------------------------------------------------------------ */

typedef struct offering {
  const manual_completion *to;
  const char *plugin; /* NULL: plugins are offered */
  char last[128];
} offering;

static void offer_entry(void *to, const catalogue_entry *entry) {
  offering *o = to;
  size_t size = strcspn(entry->id, ".");
  bool same = o->plugin ? strlen(o->plugin) == size && strncmp(entry->id, o->plugin, size) == 0
                        : strlen(o->last) == size && strncmp(entry->id, o->last, size) == 0;
  if (same != (o->plugin != NULL)) return;
  buffer name = {0};
  if (o->plugin) dashed(&name, entry->id + size + 1, strlen(entry->id + size + 1));
  else buffer_add(&name, entry->id, size);
  if (!o->plugin) (void)snprintf(o->last, sizeof o->last, "%.*s", (int)size, entry->id);
  offer(o->to, buffer_end(&name), o->plugin ? entry->summary : NULL);
  buffer_free(&name);
}

/* ---- The fields of an operation ---------------------------------------------------------------------------------------------------------- */

typedef struct fielding {
  const manual_completion *to;
  const char *flag;    /* whose values are wanted, with '_' for '-'; NULL: the flags */
  const cJSON *schema; /* its schema, where there is such a field */
} fielding;

static void offer_field(void *to, const char *name, const cJSON *schema, bool required) {
  (void)required;
  fielding *f = to;
  if (f->flag && strcmp(f->flag, name) == 0) f->schema = schema;
  if (f->flag) return;
  buffer flag = {0};
  buffer_text(&flag, "--");
  dashed(&flag, name, strlen(name));
  offer(f->to, buffer_end(&flag), cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(schema, "description")));
  buffer_free(&flag);
}

static const cJSON *choices_of(const cJSON *schema) {
  const cJSON *choices = cJSON_GetObjectItemCaseSensitive(schema, "enum");
  if (choices) return choices;
  return cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(schema, "items"), "enum");
}

static bool is_boolean(const cJSON *schema) {
  const cJSON *type = cJSON_GetObjectItemCaseSensitive(schema, "type");
  if (cJSON_IsArray(type)) type = type->child;
  return cJSON_IsString(type) && strcmp(type->valuestring, "boolean") == 0;
}

/* The values of a flag, where it has some that are known. False: no value follows that word. */
static bool offer_values(const manual_completion *c, const catalogue_entry *entry, const char *word) {
  buffer flag = {0};
  for (const char *at = word + 2; *at; at++) buffer_char(&flag, *at == '-' ? '_' : *at);
  fielding f = {.to = c, .flag = buffer_end(&flag)};
  catalogue_fields(entry, offer_field, &f);
  buffer_free(&flag);
  if (!f.schema) return false;
  const cJSON *choice;
  cJSON_ArrayForEach(choice, choices_of(f.schema)) if (cJSON_IsString(choice)) offer(c, choice->valuestring, NULL);
  if (!is_boolean(f.schema)) return true;
  offer(c, "true", NULL);
  offer(c, "false", NULL);
  return c->begun[0] != '-'; /* one may stand alone, so that the next flag follows */
}

static void offer_fields(const manual_completion *c, const catalogue_entry *entry, const char *before) {
  if (strncmp(before, "--", 2) == 0 && !strchr(before, '=') && offer_values(c, entry, before)) return;
  fielding f = {.to = c};
  catalogue_fields(entry, offer_field, &f);
  manual_offer(c, "--json", "Print the answer as JSON");
  manual_offer(c, "--help", "The fields of the operation");
}

/* ---- Which of them ------------------------------------------------------------------------------------------------------------------------- */

/* Second words of the table's commands, such as "verify" behind "audit". */
static void offer_second_words(const manual_completion *c, const char *first) {
  size_t size = strlen(first);
  for (size_t i = 0; i < ctl_manual.command_count; i++) {
    const manual_command *about = &ctl_manual.commands[i];
    if (size == 0 || strncmp(about->words, first, size) != 0 || about->words[size] != ' ') continue;
    manual_offer(c, about->words + size + 1, about->summary);
  }
}

static void complete_on_server(session *s, int count, char **words) {
  const manual_completion c = {words[count - 1], stdout};
  cJSON *document = load(s);
  offering all = {.to = &c, .plugin = count > 1 ? words[0] : NULL};
  if (count <= 2) catalogue_visit(document, offer_entry, &all);
  const shorthand *meant = count > 2 ? shorthand_find(count, words) : NULL;
  const char *plugin = meant ? meant->to_plugin : words[0], *operation = meant ? meant->to_operation : words[1];
  catalogue_entry entry;
  if (count > 2 && document && catalogue_find(document, plugin, operation, &entry))
    offer_fields(&c, &entry, count > 3 ? words[count - 2] : "");
  cJSON_Delete(document);
}

static void complete(session *s, int count, char **words) {
  const manual_completion c = {words[count - 1], stdout};
  if (count > 1 && strcmp(words[0], "help") == 0) { /* "help registry list-models" */
    count--;
    words++;
  }
  int matched;
  const manual_command *about = manual_find(&ctl_manual, count - 1, words, &matched);
  if (about && about->run) {
    if (count == 2) offer_second_words(&c, words[0]); /* "backup" is a command, "backup list" another */
    manual_complete_command(about, count - matched, words + matched, stdout);
    return;
  }
  if (count == 1) manual_offer_commands(&c, &ctl_manual);
  if (count == 2) offer_second_words(&c, words[0]);
  if (count == 1 || !ctl_is_own_word(words[0])) complete_on_server(s, count, words);
}

/* The options of the line say which server is asked. */
static void take_options(session *s, int count, char **words) {
  for (int i = 0; i + 1 < count; i++) {
    if (strcmp(words[i], "--server") == 0) s->server = words[i + 1];
    if (strcmp(words[i], "--ca-file") == 0) s->ca_file = words[i + 1];
  }
}

void complete_command(session *s, int count, char **words) {
  int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (count == 0 || nowhere < 0 || dup2(nowhere, STDERR_FILENO) < 0) return;
  int skipped = manual_complete_options(&ctl_manual, count, words, stdout);
  if (skipped >= 0) {
    take_options(s, skipped, words);
    complete(s, count - skipped, words + skipped);
  }
  (void)close(nowhere);
}
