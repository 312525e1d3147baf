#include "ctl/ctl.h"
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char USAGE[] =
    "purlin: the command line of Purlin\n"
    "\n"
    "Usage: purlin [OPTION ...] PLUGIN OPERATION [--FIELD VALUE ...]\n"
    "       purlin PLUGIN                      its operations\n"
    "       purlin PLUGIN OPERATION --help     its fields\n"
    "       purlin plugin show FILE.so         a plugin's manifest as documentation\n"
    "       purlin plugin check FILE.so        whether this release can load it\n"
    "       purlin plugin new NAME             a plugin to begin with, in the folder NAME\n"
    "\n"
    "Options: --server URL      default $PURLIN_SERVER, http://127.0.0.1:8080\n"
    "         --token-file FILE default $PURLIN_TOKEN, $PURLIN_TOKEN_FILE, var/admin.token, /var/lib/purlin/admin.token\n"
    "         --json            print JSON, never tables\n"
    "         --version, --help\n";

typedef struct listing {
  const char *plugin;
  char last[128];
  size_t count;
} listing;

static void print_plugin(void *to, const catalogue_entry *entry) {
  listing *l = to;
  size_t size = strcspn(entry->id, ".");
  if (strncmp(l->last, entry->id, size) == 0 && l->last[size] == '\0') return;
  (void)snprintf(l->last, sizeof l->last, "%.*s", (int)size, entry->id);
  print(stdout, "  %s\n", l->last);
}

static void print_operation(void *to, const catalogue_entry *entry) {
  listing *l = to;
  size_t size = strlen(l->plugin);
  if (strncmp(entry->id, l->plugin, size) != 0 || entry->id[size] != '.') return;
  char name[128];
  (void)snprintf(name, sizeof name, "%s", entry->id + size + 1);
  for (char *at = name; *at; at++)
    if (*at == '_') *at = '-';
  print(stdout, "  %-24s %s\n", name, entry->summary);
  l->count++;
}

static int list_plugins(const cJSON *document) {
  listing l = {0};
  (void)printf("%s\nPlugins of this server:\n", USAGE);
  catalogue_visit(document, print_plugin, &l);
  return 0;
}

static int list_operations(const cJSON *document, const char *plugin) {
  listing l = {.plugin = plugin};
  catalogue_visit(document, print_operation, &l);
  if (l.count > 0) return 0;
  (void)fprintf(stderr, "purlin: no plugin '%s' with operations on this server; purlin help lists them\n", plugin);
  return 2;
}

static int run(const session *s, int count, char **arguments) {
  cJSON *document = catalogue_load(s);
  if (!document) return 1;
  int code;
  catalogue_entry entry;
  if (count == 0 || strcmp(arguments[0], "help") == 0) code = list_plugins(document);
  else if (count == 1 || strcmp(arguments[1], "--help") == 0) code = list_operations(document, arguments[0]);
  else if (catalogue_find(document, arguments[0], arguments[1], &entry))
    code = call_operation(s, &entry, count - 2, arguments + 2);
  else {
    (void)fprintf(stderr, "purlin: '%s' has no operation '%s'; purlin %s lists them\n", arguments[0], arguments[1],
                  arguments[0]);
    code = 2;
  }
  cJSON_Delete(document);
  return code;
}

int purlin_control_main(int count, char **arguments) {
  session s = {0};
  buffer token = {0};
  int i = 1;
  for (; i < count && strncmp(arguments[i], "--", 2) == 0; i++) {
    const char *option = arguments[i];
    if (strcmp(option, "--json") == 0) s.json = true;
    else if (strcmp(option, "--version") == 0) return (void)puts("purlin " PURLIN_VERSION), 0;
    else if (strcmp(option, "--help") == 0) return (void)fputs(USAGE, stdout), 0;
    else if (strcmp(option, "--server") == 0 && i + 1 < count) s.server = arguments[++i];
    else if (strcmp(option, "--token-file") == 0 && i + 1 < count) {
      if (setenv("PURLIN_TOKEN_FILE", arguments[++i], 1) != 0 || unsetenv("PURLIN_TOKEN") != 0) return 1;
    } else {
      (void)fprintf(stderr, "purlin: unknown option '%s'\n%s", option, USAGE);
      return 2;
    }
  }
  if (i < count && strcmp(arguments[i], "plugin") == 0) return plugin_command(count - i - 1, arguments + i + 1);
  session_complete(&s, &token);
  (void)curl_global_init(CURL_GLOBAL_DEFAULT);
  int code = run(&s, count - i, arguments + i);
  curl_global_cleanup();
  buffer_free(&token);
  return code;
}
