#include "ctl/ctl.h"
#include "daemon/daemon.h"
#include "daemon/settings.h"
#include "plugin/host.h"
#include "runner/runner.h"
#include <string.h>

static void purlin_page(buffer *out) { manual_page(&ctl_manual, out); }
static void daemon_page(buffer *out) { manual_page(&daemon_manual, out); }
static void runner_page(buffer *out) { manual_page(&runner_manual, out); }

static const struct {
  const char *name;
  void (*write)(buffer *out);
} PAGES[] = {
    {"purlin.1", purlin_page},        {"purlind.8", daemon_page},
    {"purlin-runner.8", runner_page}, {"purlin-runtime.1", plugin_manual_runtime},
    {"purlin.lua.5", settings_page},
};

int manual_page_command(int count, char **arguments) {
  buffer out = {0};
  size_t i = 0;
  while (count == 1 && i < sizeof PAGES / sizeof PAGES[0] && strcmp(PAGES[i].name, arguments[0]) != 0) i++;
  if (count != 1 || i == sizeof PAGES / sizeof PAGES[0]) {
    (void)fputs("purlin: __manual is for the build: PAGE, such as purlin.1\n", stderr);
    return CTL_USAGE;
  }
  PAGES[i].write(&out);
  bool fine = !out.failed && fwrite(out.data, 1, out.size, stdout) == out.size;
  buffer_free(&out);
  return fine ? CTL_FINE : CTL_FAILED;
}
