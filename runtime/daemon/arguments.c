#include "daemon/daemon.h"
#include "core/text.h"
#include <string.h>

static const manual_option OPTIONS[] = {
    {"--config", "FILE", .text = "Configuration; default /etc/purlin/purlin.lua if it is there", .kind = MANUAL_FILE},
    {"--check", .text = "Check configuration, plugins and policies, say what is wrong, and exit"},
    {"--migrations", .text = "Print what this release does to the database, a line for each migration, and exit"},
    {"--dev", .text = "Start a private MariaDB in the state directory (default ./var)"},
    {"--state", "DIR", .text = "Where files are kept", .kind = MANUAL_FOLDER},
    {"--plugins", "DIR", .text = "Load plugins from this folder only", .kind = MANUAL_FOLDER},
    {"--policies", "DIR", .text = "Load policies from this folder", .kind = MANUAL_FOLDER},
    {"--library", "DIR", .text = "Where Lua's require looks", .kind = MANUAL_FOLDER},
    {"--spawner", .text = "Be the spawner, which starts trainers for a daemon: purlin-spawner.service"},
    {"--runner", "FILE", .text = "purlin-runner, when it is not where it was installed", .kind = MANUAL_FILE},
    {"--address", "ADDR", .text = "Listen on this address"},
    {"--port", "PORT", .text = "Listen on this port; 0 takes any free one"},
    {"--version", .text = "Print the version"},
    {"--help", .text = "Print this"},
};

static const manual_command START = {.words = "", .summary = "Start the daemon", MANUAL_OPTIONS(OPTIONS)};

static const char *const SYNOPSIS[] = {"[OPTION ...]"};

static const manual_term SIGNALS[] = {
    {"SIGTERM, SIGINT",
     "Stop: requests in flight are answered for at most `drain_seconds`, running jobs are given back; trainings go on, and the next "
     "daemon finds them again."},
    {"SIGHUP", "Load policies and certificates again. What cannot be loaded is told of in the log, and the old ones stay."},
};
static const manual_term ENVIRONMENT[] = {
    {"NOTIFY_SOCKET, WATCHDOG_USEC", "Where systemd wants to be told that the daemon is ready, and lives."},
    {"LISTEN_FDS, LISTEN_FDNAMES, LISTEN_PID",
     "Listening sockets that systemd passes: those of socket units named `http` and `redirect`, and those that an earlier daemon has left in the "
     "file descriptor store, `stored-http` and `stored-redirect`."},
    {"PURLIN_SPAWNER",
     "The Unix socket of a spawner that is a service of its own, for the daemon; for `--spawner`, where to listen, default "
     "/run/purlin/spawner.sock. Without it a daemon has a spawner of its own."},
    {"PURLIN_CGROUP",
     "For `--spawner`: `delegated` when systemd has delegated the control group, in which each child then has one."},
    {"CREDENTIALS_DIRECTORY", "Where `credential(\"NAME\")` of purlin.lua finds what systemd passes."},
    {"http_proxy, https_proxy, no_proxy", "Heeded with `environment_proxies = true` only."},
};
static const manual_term FILES[] = {
    {"/etc/purlin/purlin.lua", "The configuration: `purlin.lua`(5)."},
    {"/etc/purlin/policies/*.lua", "Policies and rules."},
    {"/var/lib/purlin", "The state directory."},
    {"STATE/admin.token", "The first administrator's token, written at the first start; nobody else can read it."},
    {"STATE/secrets.key", "The key that seals secrets in the database, where none is configured."},
    {"STATE/audit.heads", "Signed heads of the audit log."},
};
static const manual_chapter CHAPTERS[] = {
    {"SIGNALS", NULL, MANUAL_ALL(SIGNALS)},
    {"ENVIRONMENT", NULL, MANUAL_ALL(ENVIRONMENT)},
    {"FILES", NULL, MANUAL_ALL(FILES)},
};

const manual_program daemon_manual = {
    .name = "purlind",
    .section = "8",
    .summary = "the Purlin daemon",
    .synopsis = SYNOPSIS,
    .synopsis_count = sizeof SYNOPSIS / sizeof SYNOPSIS[0],
    .text =
        "Trains, registers, serves, watches and retrains models on plain machines, with MariaDB beside it. It reads its configuration, loads "
        "plugins, brings the database's tables up to date and serves HTTP until it is told to stop. Under systemd it is purlin.service; its "
        "log goes to the journal: `journalctl -u purlin`.\n"
        "\n"
        "What an option says goes before what purlin.lua says.",
    .options = OPTIONS,
    .option_count = sizeof OPTIONS / sizeof OPTIONS[0],
    .chapters = CHAPTERS,
    .chapter_count = sizeof CHAPTERS / sizeof CHAPTERS[0],
    .exits = "0 stopped as told, or checked and fine; 1 could not start, or the check found something; 2 wrong arguments",
    .see_also = "`purlin`(1), `purlin.lua`(5), `purlin-runner`(8)",
};

static bool read_port(const char *text, int *out, buffer *why) {
  int64_t number;
  if (!text_to_int(text, strlen(text), &number) || number < 0 || number > 65535) {
    buffer_format(why, "--port needs a number from 0 to 65535, not '%s'", text);
    return false;
  }
  *out = (int)number;
  return true;
}

bool daemon_arguments_parse(int count, char **arguments, daemon_arguments *out, buffer *why) {
  manual_given given;
  *out = (daemon_arguments){.port = -1};
  if (!manual_read(&START, count > 0 ? count - 1 : 0, arguments + 1, &given, why)) {
    buffer_text(why, "; purlind --help lists the options");
    return false;
  }
  out->config = manual_value(&given, "--config");
  out->state = manual_value(&given, "--state");
  out->plugins = manual_value(&given, "--plugins");
  out->policies = manual_value(&given, "--policies");
  out->library = manual_value(&given, "--library");
  out->runner = manual_value(&given, "--runner");
  out->address = manual_value(&given, "--address");
  out->dev = manual_value(&given, "--dev") != NULL;
  out->check = manual_value(&given, "--check") != NULL;
  out->spawner = manual_value(&given, "--spawner") != NULL;
  out->migrations = manual_value(&given, "--migrations") != NULL;
  out->help = manual_value(&given, "--help") != NULL;
  out->version = manual_value(&given, "--version") != NULL;
  const char *port = manual_value(&given, "--port");
  return !port || read_port(port, &out->port, why);
}
