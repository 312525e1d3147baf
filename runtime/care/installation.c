#include "care/care.h"
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char STANDARD[] = "/etc/purlin/purlin.lua";
static const char CREDENTIALS[] = "/run/credentials/purlin.service";

enum { ASK_SYSTEMD_MS = 10000 };

/* ---- Opening ---- */

static bool exists(const char *path) { return access(path, F_OK) == 0; }

/* What purlin.lua takes by credential("NAME") is there while the service runs, for root. */
static void borrow_credentials(void) {
  if (!getenv("CREDENTIALS_DIRECTORY") && access(CREDENTIALS, R_OK | X_OK) == 0)
    (void)setenv("CREDENTIALS_DIRECTORY", CREDENTIALS, 1);
}

/* The settings are those of a service: what the command's own user may not read is a reason, never a silent default. */
static void read_settings(installation *i) {
  const daemon_arguments arguments = {.config = i->has_config ? i->config : NULL, .port = -1};
  borrow_credentials();
  i->readable = settings_load(&arguments, &i->settings, &i->why) == PURLIN_OK;
  if (!i->readable && i->why.size == 0) buffer_format(&i->why, "%s cannot be read", i->config);
}

static bool try_daemon(installation *i, const char *folder, int folder_size) {
  int length = snprintf(i->daemon, sizeof i->daemon, "%.*s/purlind", folder_size, folder);
  if (length > 0 && (size_t)length < sizeof i->daemon && access(i->daemon, X_OK) == 0) return true;
  i->daemon[0] = '\0';
  return false;
}

static void find_daemon(installation *i) {
  char self[PATH_MAX], sibling[PATH_MAX];
  ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
  self[size > 0 ? size : 0] = '\0';
  char *slash = strrchr(self, '/');
  if (slash) {
    if (try_daemon(i, self, (int)(slash - self))) return;
    int length = snprintf(sibling, sizeof sibling, "%.*s/../sbin", (int)(slash - self), self);
    if (length > 0 && (size_t)length < sizeof sibling && try_daemon(i, sibling, length)) return;
  }
  (void)try_daemon(i, "/usr/sbin", sizeof "/usr/sbin" - 1);
}

/* The unit's, where there is one; else who keeps the state; else who will. */
static const struct passwd *look_up_user(const installation *i) {
  static const char *const arguments[] = {"systemctl", "show", "--property=User", "--value", "--", "purlin.service", NULL};
  const struct passwd *who = NULL;
  struct stat about;
  run_result result;
  buffer why = {0};
  if (i->systemd && run_simple(arguments, ASK_SYSTEMD_MS, &result, &why)) {
    result.output.size = strcspn(buffer_end(&result.output), "\n");
    if (result.output.size > 0) who = getpwnam(buffer_end(&result.output));
  }
  if (i->systemd) run_result_free(&result);
  buffer_free(&why);
  if (!who && i->readable && stat(i->settings.server.state, &about) == 0) who = getpwuid(about.st_uid);
  return who ? who : getpwnam("purlin");
}

static void find_user(installation *i) {
  const struct passwd *who = look_up_user(i);
  i->has_user = who != NULL;
  i->uid = who ? who->pw_uid : geteuid();
  i->gid = who ? who->pw_gid : getegid();
  (void)snprintf(i->user, sizeof i->user, "%s", who ? who->pw_name : "purlin");
}

void installation_open(installation *i, const char *path) {
  *i = (installation){.config = path ? path : STANDARD};
  /* Who asks for a file by its name wants that one; without one the daemon has its defaults. */
  i->has_config = path || exists(STANDARD) || errno != ENOENT;
  i->root = geteuid() == 0;
  i->systemd = exists("/run/systemd/system");
  read_settings(i);
  find_daemon(i);
  find_user(i);
}

void installation_close(installation *i) {
  settings_free(&i->settings);
  buffer_free(&i->why);
}

bool installation_must(installation *i, const char *path) {
  installation_open(i, path);
  if (i->readable) return true;
  (void)fprintf(stderr, "purlin: %s\n", buffer_end(&i->why));
  installation_close(i);
  return false;
}

/* ---- Where things are ---- */

void installation_url(const installation *i, buffer *out) {
  const char *address = i->settings.server.address;
  bool any = strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
  const char *host = !any ? address : address[0] == ':' ? "::1" : "127.0.0.1";
  buffer_format(out, strchr(host, ':') ? "%s://[%s]:%lld" : "%s://%s:%lld", secure_is_on(&i->settings) ? "https" : "http",
                host, (long long)i->settings.server.port);
}

bool installation_path(const installation *i, const char *name, char path[PATH_MAX]) {
  int length = snprintf(path, PATH_MAX, "%s/%s", i->settings.server.state, name);
  return length > 0 && length < PATH_MAX;
}

/* ---- Acting as the service ---- */

static bool acts_as_another(const installation *i) { return i->root && i->has_user && i->uid != 0; }

bool installation_act(const installation *i, buffer *why) {
  if (!acts_as_another(i)) return true;
  if (initgroups(i->user, i->gid) == 0 && setegid(i->gid) == 0 && seteuid(i->uid) == 0) return true;
  buffer_format(why, "cannot act as the user %s: %s", i->user, strerror(errno));
  installation_act_no_more(i);
  return false;
}

/* Never goes on as somebody else than we believe. */
void installation_act_no_more(const installation *i) {
  static const gid_t root = 0;
  if (acts_as_another(i) && (seteuid(0) != 0 || setegid(0) != 0 || setgroups(1, &root) != 0)) abort();
}

/* ---- Units ---- */

static void keep_property(unit_state *out, const char *line, size_t size) {
  const struct {
    const char *name;
    char *text;
    uint64_t *number;
  } places[] = {{"LoadState=", out->load, NULL},     {"ActiveState=", out->active, NULL},  {"Result=", out->result, NULL},
                {"UnitFileState=", out->file, NULL}, {"NRestarts=", NULL, &out->restarts}, {"MainPID=", NULL, &out->pid}};
  for (size_t p = 0; p < sizeof places / sizeof places[0]; p++) {
    size_t named = strlen(places[p].name);
    if (size < named || strncmp(line, places[p].name, named) != 0) continue;
    if (places[p].number) *places[p].number = strtoull(line + named, NULL, 10);
    else (void)snprintf(places[p].text, sizeof out->load, "%.*s", (int)(size - named), line + named);
  }
}

bool unit_ask(const installation *i, const char *unit, unit_state *out, buffer *why) {
  static const char properties[] = "--property=LoadState,ActiveState,Result,UnitFileState,NRestarts,MainPID";
  const char *const arguments[] = {"systemctl", "show", properties, "--", unit, NULL};
  run_result result;
  *out = (unit_state){0};
  if (!i->systemd) {
    buffer_text(why, "this machine was not booted by systemd");
    return false;
  }
  bool fine = run_simple(arguments, ASK_SYSTEMD_MS, &result, why);
  const char *text = buffer_end(&result.output);
  while (fine && *text) {
    size_t size = strcspn(text, "\n");
    keep_property(out, text, size);
    text += size + (text[size] == '\n');
  }
  run_result_free(&result);
  return fine;
}
