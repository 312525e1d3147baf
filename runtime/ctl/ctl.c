#include "ctl/credentials.h"
#include "core/text.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- What there is ------------------------------------------------------------------------------------------------------------------------ */

typedef struct listing {
  const char *plugin; /* whose operations; NULL: the plugins */
  char last[128];
  size_t count, widest;
} listing;

static size_t plugin_size(const catalogue_entry *entry) { return strcspn(entry->id, "."); }

static bool is_of(const catalogue_entry *entry, const char *plugin) {
  size_t size = plugin_size(entry);
  return strlen(plugin) == size && strncmp(entry->id, plugin, size) == 0;
}

static void end_plugin(const listing *l) {
  if (l->count == 0) return;
  (void)fputs("  ", stdout);
  display_text(stdout, l->last);
  (void)printf("%*s %zu operation%s\n", (int)(strlen(l->last) < 20 ? 20 - strlen(l->last) : 1), "", l->count,
               l->count == 1 ? "" : "s");
}

/* They come in order of their names, so those of a plugin follow each other. */
static void count_plugin(void *to, const catalogue_entry *entry) {
  listing *l = to;
  if (l->count == 0 || !is_of(entry, l->last)) {
    end_plugin(l);
    (void)snprintf(l->last, sizeof l->last, "%.*s", (int)plugin_size(entry), entry->id);
    l->count = 0;
  }
  l->count++;
}

static void dashed(buffer *out, const char *name) {
  for (; *name; name++) buffer_char(out, *name == '_' ? '-' : *name);
}

static void measure_operation(void *to, const catalogue_entry *entry) {
  listing *l = to;
  if (!is_of(entry, l->plugin)) return;
  size_t size = strlen(entry->id + plugin_size(entry));
  if (size > l->widest) l->widest = size;
  l->count++;
}

static void print_operation(void *to, const catalogue_entry *entry) {
  const listing *l = to;
  if (!is_of(entry, l->plugin)) return;
  buffer line = {0}, shown = {0};
  dashed(&line, entry->id + plugin_size(entry) + 1);
  while (line.size <= l->widest) buffer_char(&line, ' ');
  buffer_text(&line, entry->summary);
  display_add(&shown, line.data, line.size);
  (void)printf("  %s\n", buffer_end(&shown));
  buffer_free(&line);
  buffer_free(&shown);
}

/* ---- What may have been meant --------------------------------------------------------------------------------------------------------------- */

typedef struct guess {
  const char *plugin;    /* as given */
  const char *operation; /* with '_' for '-'; NULL: the plugin is looked for */
  size_t far;
  char best[256];
} guess;

static void look_at(void *to, const catalogue_entry *entry) {
  guess *g = to;
  char name[256];
  if (g->operation && !is_of(entry, g->plugin)) return;
  if (g->operation) (void)snprintf(name, sizeof name, "%s", entry->id + plugin_size(entry) + 1);
  else (void)snprintf(name, sizeof name, "%.*s", (int)plugin_size(entry), entry->id);
  const char *given = g->operation ? g->operation : g->plugin;
  if (text_is_nearer(given, strlen(given), name, &g->far)) (void)memcpy(g->best, name, sizeof name);
}

static int refuse(const cJSON *document, const char *plugin, const char *operation) {
  buffer asked = {0}, meant = {0};
  for (const char *at = operation; at && *at; at++) buffer_char(&asked, *at == '-' ? '_' : *at);
  guess g = {.plugin = plugin, .operation = operation ? buffer_end(&asked) : NULL, .far = TEXT_FAR};
  catalogue_visit(document, look_at, &g);
  buffer_clear(&asked);
  dashed(&asked, g.best);
  if (g.best[0]) display_add(&meant, buffer_end(&asked), asked.size);
  if (operation) (void)fprintf(stderr, "purlin: '%s' has no operation '%s'", plugin, operation);
  else (void)fprintf(stderr, "purlin: this server has no plugin '%s' with operations", plugin);
  if (meant.size > 0 && operation) (void)fprintf(stderr, "; did you mean 'purlin %s %s'?\n", plugin, buffer_end(&meant));
  else if (meant.size > 0) (void)fprintf(stderr, "; did you mean 'purlin %s'?\n", buffer_end(&meant));
  else (void)fprintf(stderr, "; 'purlin%s%s' lists them\n", operation ? " " : "", operation ? plugin : "");
  buffer_free(&asked);
  buffer_free(&meant);
  return CTL_USAGE;
}

/* ---- Which command it is -------------------------------------------------------------------------------------------------------------------- */

static int list_plugins(const cJSON *document) {
  listing l = {0};
  (void)puts("\nPlugins of this server:");
  catalogue_visit(document, count_plugin, &l);
  end_plugin(&l);
  return CTL_FINE;
}

static int list_operations(const cJSON *document, const char *plugin) {
  listing l = {.plugin = plugin};
  catalogue_visit(document, measure_operation, &l);
  if (l.count == 0) return refuse(document, plugin, NULL);
  catalogue_visit(document, print_operation, &l);
  (void)printf("\n'purlin %s OPERATION --help' lists the fields of one.\n", plugin);
  (void)manual_help_group(&ctl_manual, plugin, stdout);
  return CTL_FINE;
}

static int run_words(session *s, const cJSON *document, int count, char **arguments);

/* "purlin models deploy churn@champion" is short for an operation of another plugin. */
static int run_on(session *s, const cJSON *document, int count, char **arguments) {
  const shorthand *meant = shorthand_find(count, arguments);
  if (!meant) {
    bool listed = count > 0 && (count == 1 || manual_is_help(arguments[1])) && shorthand_list(arguments[0]);
    return listed ? CTL_FINE : run_words(s, document, count, arguments);
  }
  char **words = calloc((size_t)count + SHORTHAND_ROOM, sizeof *words);
  if (!words) return CTL_FAILED;
  if (manual_asks_for_help(count, arguments)) shorthand_usage(meant);
  else if (!s->json && display_is_terminal(stderr)) (void)fprintf(stderr, "purlin: %s ...\n", meant->progress);
  int code = run_words(s, document, shorthand_spell(meant, count, arguments, words), words);
  free((void *)words);
  return code;
}

static int run_words(session *s, const cJSON *document, int count, char **arguments) {
  if (count == 0) return list_plugins(document);
  char plugin[128];
  const char *dot = strchr(arguments[0], '.');
  size_t size = dot ? (size_t)(dot - arguments[0]) : strlen(arguments[0]);
  (void)snprintf(plugin, sizeof plugin, "%.*s", (int)(size < sizeof plugin ? size : sizeof plugin - 1), arguments[0]);
  const char *operation = dot ? dot + 1 : NULL; /* "registry.list_models", as documents say it */
  count--;
  arguments++;
  if (!operation && (count == 0 || manual_is_help(arguments[0]))) return list_operations(document, plugin);
  if (!operation) {
    operation = arguments[0];
    count--;
    arguments++;
  }
  catalogue_entry entry;
  listing known = {.plugin = plugin};
  if (catalogue_find(document, plugin, operation, &entry))
    return manual_asks_for_help(count, arguments) ? call_help(&entry) : call_operation(s, &entry, count, arguments);
  catalogue_visit(document, measure_operation, &known);
  return refuse(document, plugin, known.count > 0 ? operation : NULL);
}

static int run(session *s, int count, char **arguments) {
  bool help = count > 0 && manual_is_help(arguments[0]);
  if (count == 0 || (help && count == 1)) manual_help(&ctl_manual, stdout);
  (void)fflush(stdout);
  if (!session_complete(s)) return CTL_USAGE;
  int code;
  cJSON *document = catalogue_load(s, &code);
  if (!document) return code;
  if (help && count > 2) { /* "help registry list-models" */
    static char asked[] = "--help";
    char *moved[] = {arguments[1], arguments[2], asked};
    code = run_on(s, document, 3, moved);
  } else code = run_on(s, document, help ? count - 1 : count, help ? arguments + 1 : arguments);
  cJSON_Delete(document);
  return code;
}

/* Where the value of an option goes; NULL: there is no such option that takes one. */
static const char **value_of(session *s, const char *option) {
  const struct {
    const char *name, **value;
  } options[] = {{"--server", &s->server},
                 {"--token-file", &s->token_file},
                 {"--ca-file", &s->ca_file},
                 {"--workspace", &s->workspace},
                 {"--project", &s->project}};
  for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
    if (strcmp(options[i].name, option) == 0) return options[i].value;
  return NULL;
}

/* Takes the options before the first word. Returns the index of that; 0: the program ends with *code. */
static int take_options(session *s, int count, char **arguments, int *code) {
  int i = 1;
  for (; i < count && arguments[i][0] == '-' && arguments[i][1]; i++) {
    const char *option = arguments[i], **value = value_of(s, option);
    if (strcmp(option, "--json") == 0) s->json = true;
    else if (value && i + 1 < count) *value = arguments[++i];
    else if (manual_is_help(option)) {
      manual_help(&ctl_manual, stdout);
      return 0;
    } else if (strcmp(option, "--version") == 0) {
      (void)puts("purlin " PURLIN_VERSION);
      return 0;
    } else {
      (void)fprintf(
          stderr, value ? "purlin: %s needs a value\n" : "purlin: unknown option '%s'; purlin --help lists them\n", option);
      *code = CTL_USAGE;
      return 0;
    }
  }
  return i;
}

/* What purlin does by itself, of its table; false: it is a matter of the server. */
static bool run_here(session *s, int count, char **arguments, int *code) {
  int words, skipped = count > 1 && strcmp(arguments[0], "help") == 0;
  const manual_command *about = manual_find(&ctl_manual, count - skipped, arguments + skipped, &words);
  if (about && about->run && skipped) {
    manual_help_command(&ctl_manual, about, stdout);
    return true;
  }
  if (about && about->run) {
    count -= words;
    arguments += words;
    if (about->raw || !manual_asks_for_help(count, arguments)) *code = about->run(s, about, count, arguments);
    else manual_help_command(&ctl_manual, about, stdout);
    return true;
  }
  if (count == 0 || !ctl_is_own_word(arguments[0])) return false;
  bool help = count > 1 && manual_is_help(arguments[1]);
  (void)manual_help_group(&ctl_manual, arguments[0], help ? stdout : stderr);
  *code = help ? CTL_FINE : CTL_USAGE;
  return true;
}

int purlin_control_main(int count, char **arguments) {
  session s = {0};
  int code = CTL_FINE, i = take_options(&s, count, arguments, &code);
  display_begin();
  if (i > 0 && i < count && strcmp(arguments[i], "__complete") == 0) complete_command(&s, count - i - 1, arguments + i + 1);
  else if (i > 0 && i < count && strcmp(arguments[i], "__manual") == 0)
    code = manual_page_command(count - i - 1, arguments + i + 1);
  else if (i > 0 && !run_here(&s, count - i, arguments + i, &code)) code = run(&s, count - i, arguments + i);
  session_end(&s);
  if (fflush(stdout) == 0 && !ferror(stdout)) return code;
  (void)fprintf(stderr, "purlin: the output cannot be written: %s\n", strerror(errno));
  return CTL_FAILED;
}
