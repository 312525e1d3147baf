#include "care/upgrade.h"
#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  TRY_MS = 120000,
  UNPACK_MS = 600000,
  LARGEST_ENVIRONMENT = 1024 * 1024,
  LIBRARY_PATH_NAME = sizeof "LD_LIBRARY_PATH" - 1
};
static const char LIBRARY[] = "/usr/share/purlin/lua";

static bool remove_all(const char *path, buffer *why) {
  const char *const arguments[] = {"rm", "-rf", "--one-file-system", "--", path, NULL};
  run_result result;
  bool fine = run_simple(arguments, UNPACK_MS, &result, why);
  run_result_free(&result);
  return fine;
}

static bool make_folder(const char *path, buffer *why) {
  if (mkdir(path, 0755) == 0 || errno == EEXIST) return true;
  buffer_format(why, "%s: %s", path, strerror(errno));
  return false;
}

static bool unpack(const upgrade *u, const trial *t, buffer *why) {
  if (!remove_all(t->folder, why) || !make_folder(t->folder, why) || !make_folder(t->plugins, why)) return false;
  for (size_t i = 0; i < u->package_count; i++) {
    if (!u->packages[i].new_file[0]) continue;
    const char *const arguments[] = {"dpkg-deb", "--extract", u->packages[i].new_file, t->folder, NULL};
    run_result result;
    bool fine = run_simple(arguments, UNPACK_MS, &result, why);
    run_result_free(&result);
    if (!fine) return false;
  }
  return true;
}

static bool add_plugin(const trial *t, const char *path, buffer *why) {
  char link[2 * PATH_MAX + 64];
  const char *name = strrchr(path, '/');
  if (!name || snprintf(link, sizeof link, "%s%s", t->plugins, name) >= (int)sizeof link) return true;
  if (symlink(path, link) == 0 || errno == EEXIST) return true; /* the new release's own comes first */
  buffer_format(why, "%s: %s", link, strerror(errno));
  return false;
}

/* What the packages to be replaced have installed, a line for each. */
static bool list_replaced(const upgrade *u, run_result *result, buffer *why) {
  const char *arguments[UPGRADE_PACKAGES + 4] = {"dpkg-query", "--listfiles"};
  size_t count = 2;
  for (size_t i = 0; i < u->package_count; i++)
    if (u->packages[i].new_file[0]) arguments[count++] = u->packages[i].name;
  return run_simple(arguments, TRY_MS, result, why);
}

static bool has_line(const char *text, const char *line) {
  size_t size = strlen(line);
  for (const char *at = text ? strstr(text, line) : NULL; at; at = strstr(at + 1, line))
    if ((at == text || at[-1] == '\n') && (at[size] == '\n' || at[size] == '\0')) return true;
  return false;
}

/* Plugins that stay as they are: third parties', and packages of ours that are not upgraded. */
static bool add_remaining(const upgrade *u, const trial *t, const char *replaced, size_t *count, buffer *why) {
  const purlin_texts *folders = &u->place.settings.plugins.folders;
  for (size_t i = 0; i < folders->count; i++) {
    DIR *folder = opendir(folders->items[i]);
    bool fine = true;
    for (struct dirent *entry = folder ? readdir(folder) : NULL; entry && fine; entry = readdir(folder)) {
      char path[PATH_MAX];
      size_t size = strlen(entry->d_name);
      if (size < 4 || strcmp(entry->d_name + size - 3, ".so") != 0) continue;
      if (snprintf(path, sizeof path, "%s/%s", folders->items[i], entry->d_name) >= (int)sizeof path) continue;
      if (has_line(replaced, path)) continue;
      fine = add_plugin(t, path, why);
      ++*count;
    }
    if (folder) (void)closedir(folder);
    if (!fine) return false;
  }
  return true;
}

static bool gather_plugins(const upgrade *u, const trial *t, size_t *remaining, buffer *why) {
  static const char *const patterns[] = {"/usr/lib/*/purlin/plugins/*.so", "/usr/lib/purlin/plugins/*.so"};
  run_result replaced;
  bool fine = true;
  for (size_t i = 0; i < 2 && fine; i++) {
    char pattern[PATH_MAX + 64];
    glob_t found = {0};
    (void)snprintf(pattern, sizeof pattern, "%s%s", t->folder, patterns[i]);
    if (glob(pattern, GLOB_ERR, NULL, &found) == 0)
      for (size_t k = 0; k < found.gl_pathc && fine; k++) fine = add_plugin(t, found.gl_pathv[k], why);
    globfree(&found);
  }
  if (!fine || !list_replaced(u, &replaced, why)) return false;
  fine = add_remaining(u, t, buffer_end(&replaced.output), remaining, why);
  run_result_free(&replaced);
  return fine;
}

/* Where libpurlin.so.1 of the new release lies. */
static bool find_library(trial *t) {
  static const char *const patterns[] = {"/usr/lib/*/libpurlin.so.1", "/usr/lib/libpurlin.so.1"};
  for (size_t i = 0; i < 2 && !t->library_path; i++) {
    char pattern[PATH_MAX + 64];
    glob_t found = {0};
    (void)snprintf(pattern, sizeof pattern, "%s%s", t->folder, patterns[i]);
    if (glob(pattern, 0, NULL, &found) == 0 && found.gl_pathc > 0) {
      char *slash = strrchr(found.gl_pathv[0], '/');
      *slash = '\0';
      if (asprintf(&t->library_path, "LD_LIBRARY_PATH=%s", found.gl_pathv[0]) < 0) t->library_path = NULL;
    }
    globfree(&found);
  }
  return t->library_path != NULL;
}

static bool is_for_one_process(const char *variable) {
  static const char *const names[] = {
      "NOTIFY_SOCKET=", "LISTEN_", "WATCHDOG_", "INVOCATION_ID=", "JOURNAL_STREAM=", "LD_", "MAINPID="};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (strncmp(variable, names[i], strlen(names[i])) == 0) return true;
  return false;
}

/* purlin.lua may take values from the service's environment and credentials, which are those of the running daemon. */
static void borrow_environment(const upgrade *u, trial *t) {
  size_t count = 0;
  service_state state = {0};
  buffer ignored = {0};
  char path[64];
  t->environment[count++] = t->library_path;
  if (service_ask(u, &state, &ignored) && state.pid != 0) {
    (void)snprintf(path, sizeof path, "/proc/%llu/environ", (unsigned long long)state.pid);
    (void)file_read(path, LARGEST_ENVIRONMENT, &t->block, &ignored);
  }
  const char *at = buffer_end(&t->block), *end = at + t->block.size;
  for (; at < end && count + 1 < TRIAL_ENVIRONMENT; at += strlen(at) + 1)
    if (strchr(at, '=') && !is_for_one_process(at)) t->environment[count++] = at;
  t->environment[count] = NULL;
  buffer_free(&ignored);
}

/* The daemon starts its runner with an environment of its own, in which it would find the installed library. */
static bool write_runner(const trial *t, buffer *why) {
  buffer text = {0};
  if (strchr(t->folder, '\'')) {
    buffer_format(why, "%s: a quotation mark cannot be in this path", t->folder);
    return false;
  }
  buffer_format(&text, "#!/bin/sh\n%.*s='%s' exec '%s/usr/libexec/purlin/purlin-runner' \"$@\"\n", LIBRARY_PATH_NAME,
                t->library_path, t->library_path + LIBRARY_PATH_NAME + 1, t->folder);
  bool fine = !text.failed && file_write(t->runner, text.data, text.size, why);
  buffer_free(&text);
  if (!fine || chmod(t->runner, 0755) == 0) return fine;
  buffer_format(why, "%s: %s", t->runner, strerror(errno));
  return false;
}

bool trial_begin(upgrade *u, trial *t, size_t *remaining, buffer *why) {
  *t = (trial){0};
  if (!upgrade_path(u, "unpacked", t->folder)) return false;
  (void)snprintf(t->daemon, sizeof t->daemon, "%s/usr/sbin/purlind", t->folder);
  (void)snprintf(t->plugins, sizeof t->plugins, "%s/plugins", t->folder);
  (void)snprintf(t->lua, sizeof t->lua, "%s%s", t->folder, LIBRARY);
  (void)snprintf(t->runner, sizeof t->runner, "%s/runner", t->folder);
  if (!unpack(u, t, why)) return false;
  if (!find_library(t) || access(t->daemon, X_OK) != 0) {
    buffer_format(why, "%s holds no purlind with its library", package_main(u)->new_file);
    return false;
  }
  if (!write_runner(t, why) || !gather_plugins(u, t, remaining, why)) return false;
  borrow_environment(u, t);
  return true;
}

void trial_end(trial *t) {
  buffer ignored = {0};
  if (t->folder[0]) (void)remove_all(t->folder, &ignored);
  buffer_free(&ignored);
  buffer_free(&t->block);
  free(t->library_path);
}

bool trial_run(const upgrade *u, const trial *t, const char *argument, run_result *result, buffer *why) {
  const lua_settings *lua = &u->place.settings.lua;
  const char *arguments[16] = {t->daemon, argument, "--plugins", t->plugins, "--runner", t->runner};
  size_t count = 6;
  if (u->place.has_config) {
    arguments[count++] = "--config";
    arguments[count++] = u->place.config;
  }
  if (strcmp(lua->library, LIBRARY) == 0) { /* an operator's own stays */
    arguments[count++] = "--library";
    arguments[count++] = t->lua;
  }
  const run_program program = {
      .arguments = arguments, .environment = t->environment, .user = u->place.root && u->place.has_user ? u->place.uid : 0};
  const run_options options = {.limit_ms = TRY_MS};
  return run_pipeline(&program, 1, &options, result, why);
}
