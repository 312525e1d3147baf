#include "care/upgrade.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { FETCH_MS = 1800000, LOCK_TRIES = 60, LOCK_PAUSE_S = 2, RESERVE = 32 * 1024 * 1024, LAST_WORDS = 2000 };

/* ---- Copies of both releases ---- */

static bool copy_file(const char *from, const char *to, buffer *why) {
  const char *const arguments[] = {"cp", "--no-target-directory", "--reflink=auto", "--", from, to, NULL};
  run_result result;
  bool fine = run_simple(arguments, FETCH_MS, &result, why);
  run_result_free(&result);
  return fine;
}

static bool keep_copy(const char *from, const char *to, const package *p, const char *version, buffer *why) {
  if (strcmp(from, to) == 0 || package_is(to, p->name, version)) return true;
  return copy_file(from, to, why) &&
         (package_is(to, p->name, version) || (buffer_format(why, "%s is not whole", to), false));
}

/* As it is installed, with the conffiles as they are: the last resort. */
static bool repack(const upgrade *u, const package *p, buffer *why) {
  char folder[PATH_MAX], program[PATH_MAX];
  run_result result;
  if (!run_find("dpkg-repack", program) || !upgrade_path(u, "packages", folder)) return false;
  const char *const arguments[] = {"env", "-C", folder, program, p->name, NULL};
  bool fine = run_simple(arguments, FETCH_MS, &result, why);
  run_result_free(&result);
  return fine;
}

static bool from_given(const upgrade *u, const package *p, const char *to, buffer *why) {
  for (size_t i = 0; i < u->options.old_count; i++)
    if (package_is(u->options.old[i], p->name, p->before)) return keep_copy(u->options.old[i], to, p, p->before, why);
  return false;
}

/* A copy of the installed package: given, kept from its own installation, in apt's cache, from apt, made of what is installed. */
static bool find_old(const upgrade *u, const package *p, char path[PATH_MAX], buffer *why) {
  char cached[PATH_MAX];
  buffer words = {0};
  if (!package_place(u, p, p->before, path)) return false;
  const char *name = strrchr(path, '/');
  bool found = package_is(path, p->name, p->before) || from_given(u, p, path, &words);
  if (!found && name && snprintf(cached, sizeof cached, "/var/cache/apt/archives%s", name) < (int)sizeof cached &&
      package_is(cached, p->name, p->before))
    found = keep_copy(cached, path, p, p->before, &words);
  if (!found) {
    buffer_clear(&words);
    char made[PATH_MAX];
    found =
        package_download(u, p, p->before, made, &words) || (repack(u, p, &words) && package_is(path, p->name, p->before));
  }
  if (!found)
    buffer_format(why, "there is no copy of the installed package %s %s to go back to: %s", p->name, p->before,
                  words.size ? buffer_end(&words) : "apt has none");
  buffer_free(&words);
  return found;
}

/* What a full disk must leave for the way back. */
static bool take_reserve(const upgrade *u, buffer *why) {
  char path[PATH_MAX];
  if (!upgrade_path(u, "reserve", path)) return false;
  int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  int error = file < 0 ? errno : posix_fallocate(file, 0, RESERVE);
  if (file >= 0) (void)close(file);
  if (error == 0 || error == EOPNOTSUPP || error == EINVAL) return true;
  buffer_format(why, "%s: %s", path, strerror(error));
  return false;
}

static void drop_reserve(const upgrade *u) {
  char path[PATH_MAX];
  if (upgrade_path(u, "reserve", path)) (void)unlink(path);
}

static bool is_kept(const upgrade *u, const char *path) {
  for (size_t i = 0; i < u->package_count; i++)
    if (strcmp(u->packages[i].old_file, path) == 0 || strcmp(u->packages[i].new_file, path) == 0) return true;
  return false;
}

/* Of earlier upgrades. */
static void drop_others(const upgrade *u) {
  char folder[PATH_MAX], path[PATH_MAX];
  DIR *directory = upgrade_path(u, "packages", folder) ? opendir(folder) : NULL;
  for (struct dirent *entry = directory ? readdir(directory) : NULL; entry; entry = readdir(directory))
    if (entry->d_name[0] != '.' && snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) < (int)sizeof path &&
        !is_kept(u, path))
      (void)unlink(path);
  if (directory) (void)closedir(directory);
}

bool packages_keep(upgrade *u, buffer *why) {
  report_step(&u->report, "Copies of both releases in %s/packages", u->folder);
  for (size_t i = 0; i < u->package_count; i++) {
    package *p = &u->packages[i];
    char to[PATH_MAX];
    if (!p->new_file[0]) continue;
    if (!find_old(u, p, p->old_file, why))
      return upgrade_fails(u, why, "give a copy by --old FILE.deb, or: apt-get install dpkg-repack");
    if (!package_place(u, p, p->after, to) || !keep_copy(p->new_file, to, p, p->after, why))
      return upgrade_fails(u, why, NULL);
    (void)memcpy(p->new_file, to, sizeof to);
  }
  drop_others(u);
  if (!take_reserve(u, why)) return upgrade_fails(u, why, "make room on that disk");
  return upgrade_fine(u, "%s and %s", package_main(u)->before, package_main(u)->after);
}

/* ---- Installing ---- */

static const char *const quiet[] = {"DEBIAN_FRONTEND=noninteractive", "APT_LISTCHANGES_FRONTEND=none",
                                    "NEEDRESTART_SUSPEND=1", NULL};

/* The end of what the package manager has written, from `start` on. */
static void add_last_words(const char *log, off_t start, buffer *words) {
  char text[LAST_WORDS + 1];
  int file = open(log, O_RDONLY | O_CLOEXEC);
  off_t end = file < 0 ? 0 : lseek(file, 0, SEEK_END), from = end - start > LAST_WORDS ? end - LAST_WORDS : start;
  ssize_t got = file < 0 ? 0 : pread(file, text, LAST_WORDS, from);
  if (file >= 0) (void)close(file);
  if (got <= 0) return;
  while (got > 0 && text[got - 1] == '\n') got--;
  buffer_char(words, '\n');
  buffer_add(words, text, (size_t)got);
}

/* It goes on when this command is killed: a package manager that is ended half-way is what nobody wants. So it writes to a file. */
static bool run_manager(const upgrade *u, const char *const *arguments, buffer *why) {
  char log[PATH_MAX];
  run_result result;
  if (!upgrade_path(u, "packages.log", log)) return false;
  int file = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) {
    buffer_format(why, "%s: %s", log, strerror(errno));
    return false;
  }
  off_t start = lseek(file, 0, SEEK_END);
  const run_program program = {.arguments = arguments, .environment = quiet, .output = file, .outlives = true};
  bool fine = run_pipeline(&program, 1, NULL, &result, why);
  if (!fine) add_last_words(log, start, why);
  run_result_free(&result);
  (void)close(file);
  return fine;
}

static bool says_locked(const char *words) {
  static const char *const signs[] = {"frontend lock", "Could not get lock", "locked by another process"};
  for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++)
    if (strstr(words, signs[i])) return true;
  return false;
}

/* Waits while another package manager works, such as the one that an interrupted upgrade has left. */
static bool run_dpkg(const upgrade *u, const char *const *arguments, buffer *why) {
  for (int i = 0; i < LOCK_TRIES; i++) {
    buffer_clear(why);
    if (run_manager(u, arguments, why)) return true;
    if (!says_locked(buffer_end(why))) return false;
    (void)sleep(LOCK_PAUSE_S);
  }
  return false;
}

/* What an installation that was cut off has left. What is wrong with it is told by what follows. */
static void configure_pending(const upgrade *u) {
  static const char *const arguments[] = {"dpkg", "--force-confdef", "--force-confold", "--configure", "--pending", NULL};
  buffer ignored = {0};
  (void)run_dpkg(u, arguments, &ignored);
  buffer_free(&ignored);
}

static size_t add_files(const upgrade *u, const char **arguments, size_t count, bool old) {
  for (size_t i = 0; i < u->package_count; i++)
    if (u->packages[i].new_file[0]) arguments[count++] = old ? u->packages[i].old_file : u->packages[i].new_file;
  return count;
}

/* Whether each is there as a whole, in that version. */
static bool all_are(const upgrade *u, bool old, buffer *why) {
  for (size_t i = 0; i < u->package_count; i++) {
    const package *p = &u->packages[i];
    char version[PACKAGE_TEXT];
    const char *wanted = old ? p->before : p->after;
    if (!p->new_file[0]) continue;
    if (!package_installed(p->name, version, why)) return false;
    if (strcmp(version, wanted) == 0) continue;
    buffer_format(why, "the package %s %s is not installed as a whole", p->name, wanted);
    return false;
  }
  return true;
}

bool packages_install(upgrade *u, buffer *why) {
  const char *arguments[UPGRADE_PACKAGES + 16] = {"apt-get", "install",
                                                  "--yes",   "--no-install-recommends",
                                                  "-o",      "DPkg::Lock::Timeout=300",
                                                  "-o",      "Dpkg::Options::=--force-confdef",
                                                  "-o",      "Dpkg::Options::=--force-confold",
                                                  "--"};
  static const char *const plain[] = {"dpkg", "--force-confdef", "--force-confold", "--install", "--"};
  char apt[PATH_MAX];
  size_t count = 11;
  report_step(&u->report, "Installing %s", package_main(u)->after);
  if (!run_find("apt-get", apt)) {
    (void)memcpy((void *)arguments, plain, sizeof plain);
    count = sizeof plain / sizeof plain[0];
  }
  configure_pending(u);
  count = add_files(u, arguments, count, false);
  arguments[count] = NULL;
  if (!run_dpkg(u, arguments, why)) return upgrade_fails(u, why, NULL);
  buffer_clear(why);
  if (!all_are(u, false, why)) return upgrade_fails(u, why, NULL);
  return upgrade_fine(u, "%s was %s", package_main(u)->after, package_main(u)->before);
}

/* The copies were made in another run of this command when this one only goes back. */
static bool know_old_files(upgrade *u, buffer *why) {
  for (size_t i = 0; i < u->package_count; i++) {
    package *p = &u->packages[i];
    if (p->new_file[0] && !p->old_file[0] && !find_old(u, p, p->old_file, why)) return false;
  }
  return true;
}

bool packages_put_back(upgrade *u, buffer *why) {
  const char *arguments[UPGRADE_PACKAGES + 16] = {
      "dpkg", "--force-downgrade", "--force-confdef", "--force-confold", "--install", "--"};
  report_step(&u->report, "Putting %s back", package_main(u)->before);
  drop_reserve(u);
  if (!know_old_files(u, why)) return upgrade_fails(u, why, "purlin upgrade --rollback --old FILE.deb");
  if (all_are(u, true, why)) return upgrade_fine(u, "it is there");
  size_t count = add_files(u, arguments, 6, true);
  arguments[count] = NULL;
  if (!run_dpkg(u, arguments, why)) {
    /* Half of another package may be what is in its way. */
    configure_pending(u);
    if (!run_dpkg(u, arguments, why)) return upgrade_fails(u, why, "mend what dpkg says, then: purlin upgrade --rollback");
  }
  buffer_clear(why);
  if (!all_are(u, true, why)) return upgrade_fails(u, why, "mend what dpkg says, then: purlin upgrade --rollback");
  return upgrade_fine(u, "%s was %s", package_main(u)->before, package_main(u)->after);
}
