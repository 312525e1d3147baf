#include "ctl/ctl.h"
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const shorthand SHORTHANDS[] = {
    {"models", "deploy", "serving", "deploy-model", "--model",
     "the model is read and loaded; what serves goes on serving until it is"},
};
enum { COUNT = sizeof SHORTHANDS / sizeof SHORTHANDS[0] };

const shorthand *shorthand_find(int count, char **arguments) {
  for (size_t i = 0; count > 1 && i < COUNT; i++)
    if (strcmp(arguments[0], SHORTHANDS[i].plugin) == 0 && strcmp(arguments[1], SHORTHANDS[i].operation) == 0)
      return &SHORTHANDS[i];
  return NULL;
}

int shorthand_spell(const shorthand *meant, int count, char **arguments, char **words) {
  int first = count > 2 && arguments[2][0] != '-' && arguments[2][0] != '{';
  words[0] = (char *)(uintptr_t)meant->to_plugin;
  words[1] = (char *)(uintptr_t)meant->to_operation;
  words[2] = (char *)(uintptr_t)meant->field;
  memcpy(words + 2 + first, arguments + 2, (size_t)(count - 2) * sizeof *words);
  return count + first;
}

static void print_usage(const char *before, const manual_command *about) {
  buffer words = {0};
  manual_synopsis(about, true, &words);
  (void)printf("%spurlin %s\n", before, buffer_end(&words));
  buffer_free(&words);
}

void shorthand_usage(const shorthand *meant) {
  for (size_t i = 0; i < ctl_manual.command_count; i++) {
    const manual_command *about = &ctl_manual.commands[i];
    size_t size = strlen(meant->plugin);
    if (strncmp(about->words, meant->plugin, size) == 0 && about->words[size] == ' ' &&
        strcmp(about->words + size + 1, meant->operation) == 0)
      print_usage("Usage: ", about);
  }
  (void)puts("");
}

bool shorthand_list(const char *plugin) {
  for (size_t i = 0; i < COUNT; i++)
    if (strcmp(plugin, SHORTHANDS[i].plugin) == 0) return manual_help_group(&ctl_manual, plugin, stdout) > 0;
  return false;
}
