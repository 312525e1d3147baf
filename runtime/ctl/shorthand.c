#include "ctl/ctl.h"
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const shorthand SHORTHANDS[] = {
    {"models", "deploy", "serving", "deploy-model", "--model",
     "purlin models deploy NAME@ALIAS | NAME/VERSION | NAME [--endpoint ENDPOINT] [--cause WORDS]",
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

bool shorthand_list(const char *plugin) {
  bool any = false;
  for (size_t i = 0; i < COUNT; i++) {
    if (strcmp(plugin, SHORTHANDS[i].plugin) != 0) continue;
    (void)printf("%s\n", SHORTHANDS[i].usage);
    any = true;
  }
  return any;
}
