#include "daemon/daemon.h"
#include "core/text.h"
#include <string.h>

const char daemon_usage[] =
    "purlind: the Purlin daemon\n"
    "\n"
    "Usage: purlind [OPTION ...]\n"
    "\n"
    "  --config FILE     configuration (default /etc/purlin/purlin.lua if it is there)\n"
    "  --check           check configuration, plugins and policies, say what is wrong, and exit\n"
    "  --migrations      print what this release does to the database, a line for each migration, and exit\n"
    "  --dev             start a private MariaDB in the state directory (default ./var)\n"
    "  --state DIR       where files are kept\n"
    "  --plugins DIR     load plugins from this folder only\n"
    "  --policies DIR    load policies from this folder\n"
    "  --library DIR     where Lua's require looks\n"
    "  --runner FILE     purlin-runner, when it is not where it was installed\n"
    "  --address ADDR    listen on this address\n"
    "  --port PORT       listen on this port; 0 takes any free one\n"
    "  --version         print the version\n"
    "  --help            print this\n";

enum { TEXT, NUMBER, FLAG };

bool daemon_arguments_parse(int count, char **arguments, daemon_arguments *out, buffer *why) {
  *out = (daemon_arguments){.port = -1};
  const struct {
    const char *name;
    int kind;
    void *place;
  } options[] = {
      {"--config", TEXT, &out->config},         {"--state", TEXT, &out->state},     {"--plugins", TEXT, &out->plugins},
      {"--policies", TEXT, &out->policies},     {"--library", TEXT, &out->library}, {"--runner", TEXT, &out->runner},
      {"--address", TEXT, &out->address},       {"--port", NUMBER, &out->port},     {"--dev", FLAG, &out->dev},
      {"--check", FLAG, &out->check},           {"--help", FLAG, &out->help},       {"--version", FLAG, &out->version},
      {"--migrations", FLAG, &out->migrations},
  };
  for (int i = 1; i < count; i++) {
    size_t o = 0;
    while (o < sizeof options / sizeof options[0] && strcmp(arguments[i], options[o].name) != 0) o++;
    if (o == sizeof options / sizeof options[0]) {
      buffer_format(why, "unknown argument '%s'; purlind --help lists them", arguments[i]);
      return false;
    }
    if (options[o].kind == FLAG) {
      *(bool *)options[o].place = true;
      continue;
    }
    if (i + 1 == count) {
      buffer_format(why, "%s needs a value", arguments[i]);
      return false;
    }
    const char *value = arguments[++i];
    if (options[o].kind == TEXT) {
      *(const char **)options[o].place = value;
      continue;
    }
    int64_t number;
    if (!text_to_int(value, strlen(value), &number) || number < 0 || number > 65535) {
      buffer_format(why, "%s needs a number from 0 to 65535, not '%s'", options[o].name, value);
      return false;
    }
    *(int *)options[o].place = (int)number;
  }
  return true;
}
