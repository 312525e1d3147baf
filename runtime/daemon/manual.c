#include "daemon/settings.h"
#include "manual/roff.h"
#include <string.h>

static const char ABOUT[] =
    "The configuration of `purlind`(8), which is Lua in a closed environment: sections, each with a table of settings. What is not said has "
    "its default. `purlind --check` says what is wrong with it, with file and line.\n"
    "\n"
    "    server { port = 8080, trusted_proxies = { \"10.0.0.0/8\" } }\n"
    "    database { socket = \"/run/mysqld/mysqld.sock\" }\n"
    "    plugin \"storage-fs\" { root = \"/srv/blobs\" }\n"
    "\n"
    "The daemon reads it at its start: a change wants a restart. Policies and certificates, which it names, are read again by themselves.";

static const struct {
  const char *name, *text;
} FUNCTIONS[] = {
    {"env(\"NAME\")", "The environment's variable of this name."},
    {"file(\"PATH\")", "What stands in this file, without the end of its line. One that others can read is refused."},
    {"credential(\"NAME\")", "What systemd passes by `LoadCredential=` or `SetCredential=` in purlin.service."},
};

void settings_page(buffer *out) {
  roff_begin(out, "purlin.lua", "5", "the configuration of the Purlin daemon");
  roff_section(out, "SYNOPSIS");
  roff_sentence(out, "`/etc/purlin/purlin.lua`");
  roff_section(out, "DESCRIPTION");
  roff_paragraphs(out, ABOUT, true);
  roff_section(out, "FUNCTIONS");
  roff_sentence(out, "A password comes from elsewhere, so that it does not stand in this file:");
  for (size_t i = 0; i < sizeof FUNCTIONS / sizeof FUNCTIONS[0]; i++) {
    roff_term(out, FUNCTIONS[i].name, NULL);
    roff_sentence(out, FUNCTIONS[i].text);
  }
  roff_section(out, "SETTINGS");
  const char *kind;
  for (size_t i = 0; settings_schema(i, &kind); i++) {
    roff_subsection(out, settings_schema(i, &kind)->doc);
    roff_fields(out, settings_schema(i, &kind), false);
  }
  roff_subsection(out, "plugin \"NAME\" { ... }");
  roff_sentence(out, "A plugin's own settings, which its page lists: `purlin-NAME`(1).");
  roff_section(out, "FILES");
  roff_term(out, "/etc/purlin/purlin.lua", NULL);
  roff_sentence(out, "Where it is looked for; `purlind --config FILE` names another.");
  roff_section(out, "SEE ALSO");
  roff_sentence(out, "`purlind`(8), `purlin`(1)");
}
