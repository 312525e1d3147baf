#include "care/doctor.h"
#include "http/tls.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

/* ---- Permissions ---- */

typedef enum file_use {
  FILE_CODE,   /* what the daemon runs or believes: nobody else may write it */
  FILE_SECRET, /* nobody else may read it, nor the group write it */
  FILE_OWN     /* of its owner alone */
} file_use;

static const struct {
  mode_t forbidden;
  const char *harm, *change;
} uses[] = {[FILE_CODE] = {S_IWOTH, "anybody on this machine may change what the daemon does", "o-w"},
            [FILE_SECRET] = {S_IRWXO | S_IWGRP, "others than the service may read or change it", "o=,g-w"},
            [FILE_OWN] = {S_IRWXG | S_IRWXO, "it permits everything, and others than its owner may read it", "0600"}};

/* A path that is not there is no matter of permissions. */
static void look_at(doctor *d, const char *path, file_use use) {
  struct stat about;
  char remedy[PATH_MAX + 32];
  if (!path || path[0] != '/') return;
  if (stat(path, &about) != 0) {
    if (errno == EACCES) doctor_tell(d, REPORT_SKIPPED, "sudo purlin doctor", "%s cannot be seen by you", path);
    return;
  }
  if ((about.st_mode & uses[use].forbidden) == 0) return;
  (void)snprintf(remedy, sizeof remedy, "chmod %s %s", uses[use].change, path);
  doctor_tell(d, REPORT_FAILED, remedy, "%s has mode %04o: %s", path, (unsigned)(about.st_mode & 07777), uses[use].harm);
}

static void look_at_folder(doctor *d, const char *folder, const char *suffix) {
  DIR *opened = folder ? opendir(folder) : NULL;
  look_at(d, folder, FILE_CODE);
  for (const struct dirent *entry = opened ? readdir(opened) : NULL; entry; entry = readdir(opened)) {
    char path[PATH_MAX];
    size_t size = strlen(entry->d_name), end = strlen(suffix);
    bool one = size > end && strcmp(entry->d_name + size - end, suffix) == 0;
    if (one && snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) < (int)sizeof path) look_at(d, path, FILE_CODE);
  }
  if (opened) (void)closedir(opened);
}

/* What was made by root, by hand, and now stands in the service's way. */
static void look_for_foreign(doctor *d, const char *state) {
  enum { MOST = 50000 };
  char path[PATH_MAX], remedy[PATH_MAX + 64], first[PATH_MAX] = "";
  (void)snprintf(path, sizeof path, "%s", state);
  char *const roots[] = {path, NULL};
  size_t seen = 0, foreign = 0;
  FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_XDEV, NULL);
  for (FTSENT *entry = tree ? fts_read(tree) : NULL; entry && seen < MOST; entry = fts_read(tree)) {
    if (entry->fts_level == 1 && strcmp(entry->fts_name, "mariadb") == 0)
      (void)fts_set(tree, entry, FTS_SKIP); /* of --dev */
    else if (entry->fts_info != FTS_DP && entry->fts_info != FTS_NS && entry->fts_statp->st_uid != d->here->uid) {
      if (foreign++ == 0) (void)snprintf(first, sizeof first, "%s", entry->fts_path);
    }
    seen++;
  }
  if (tree) (void)fts_close(tree);
  if (foreign == 0) return;
  (void)snprintf(remedy, sizeof remedy, "chown -R --from=root %s: %s", d->here->user, state);
  doctor_tell(d, REPORT_FAILED, remedy, "%zu file%s of another user than the service's (%s), such as %s", foreign,
              foreign == 1 ? " is" : "s are", d->here->user, first);
}

/* False: what is in it cannot be seen, either. */
static bool look_at_state(doctor *d) {
  const char *state = d->here->settings.server.state;
  struct stat about;
  buffer why = {0};
  char remedy[PATH_MAX + 64];
  if (stat(state, &about) != 0) {
    if (errno == ENOENT)
      doctor_tell(d, REPORT_WARNING, "systemctl start purlin", "%s is not there: the service has not run yet", state);
    else doctor_tell(d, REPORT_SKIPPED, "sudo purlin doctor", "%s: %s", state, strerror(errno));
    return false;
  }
  if (!d->here->root && access(state, X_OK) != 0) {
    doctor_tell(d, REPORT_SKIPPED, "sudo purlin doctor", "what is in %s cannot be seen by you", state);
    return false;
  }
  (void)snprintf(remedy, sizeof remedy, "chown %s: %s && chmod 0750 %s", d->here->user, state, state);
  bool asked = (d->here->root || geteuid() == d->here->uid) && installation_act(d->here, &why);
  bool usable = !asked || faccessat(AT_FDCWD, state, R_OK | W_OK | X_OK, AT_EACCESS) == 0;
  if (asked) installation_act_no_more(d->here);
  if (!usable) doctor_tell(d, REPORT_FAILED, remedy, "the service (%s) may not write to %s", d->here->user, state);
  else if (about.st_mode & S_IRWXO)
    doctor_tell(d, REPORT_WARNING, remedy, "%s has mode %04o: others see what the service keeps", state,
                (unsigned)(about.st_mode & 07777));
  buffer_free(&why);
  if (d->here->has_user && d->here->root && d->here->uid != 0) look_for_foreign(d, state);
  return true;
}

void doctor_permissions(doctor *d) {
  const installation *i = d->here;
  char path[PATH_MAX];
  if (!i->readable) return;
  const struct {
    const char *name;
    file_use use;
  } kept[] = {{"admin.token", FILE_OWN}, {"secrets.key", FILE_SECRET}, {"accounts.key", FILE_SECRET}};
  bool seen = look_at_state(d);
  for (size_t k = 0; seen && k < sizeof kept / sizeof kept[0]; k++)
    if (installation_path(i, kept[k].name, path)) look_at(d, path, kept[k].use);
  for (size_t k = 0; k < i->settings.secrets.keys.count; k++) look_at(d, i->settings.secrets.keys.items[k], FILE_SECRET);
  look_at(d, i->settings.tls.key, FILE_SECRET);
  look_at(d, i->settings.database.tls_key, FILE_SECRET);
  look_at(d, i->daemon, FILE_CODE);
  if (i->has_config) look_at(d, i->config, FILE_CODE);
  char folder[PATH_MAX];
  (void)snprintf(folder, sizeof folder, "%s", i->config);
  char *slash = strrchr(folder, '/');
  if (i->has_config && slash && slash != folder) {
    *slash = '\0';
    look_at(d, folder, FILE_CODE);
  }
  look_at_folder(d, i->settings.lua.policies, ".lua");
  look_at_folder(d, i->settings.lua.library, ".lua");
  for (size_t f = 0; f < i->settings.plugins.folders.count; f++)
    look_at_folder(d, i->settings.plugins.folders.items[f], ".so");
  if (d->told == 0)
    doctor_tell(d, REPORT_DONE, NULL, "secrets are the service's alone, and nobody else changes what it runs");
}

/* ---- Disks ---- */

/* Whichever is more, the share or the amount, is too little. */
static const struct {
  double share;
  uint64_t bytes;
  report_outcome outcome;
} floors[] = {{0.01, 100ull << 20, REPORT_FAILED}, {0.05, 1ull << 30, REPORT_WARNING}};

static void look_at_disk(doctor *d, const char *what, const char *path) {
  struct statvfs about;
  buffer free_bytes = {0};
  char remedy[PATH_MAX + 64];
  if (statvfs(path, &about) != 0) {
    if (errno != ENOENT) doctor_tell(d, REPORT_SKIPPED, "sudo purlin doctor", "%s, %s: %s", what, path, strerror(errno));
    return;
  }
  uint64_t bytes = (uint64_t)about.f_bavail * about.f_frsize;
  double share = about.f_blocks > 0 ? (double)about.f_bavail / (double)about.f_blocks : 1;
  double inodes = about.f_files > 0 ? (double)about.f_favail / (double)about.f_files : 1;
  (void)snprintf(remedy, sizeof remedy, "make room: df -h %s; du -xhd1 %s", path, path);
  report_add_bytes(&free_bytes, bytes);
  size_t f = 0, count = sizeof floors / sizeof floors[0];
  while (f < count && bytes >= floors[f].bytes && inodes >= floors[f].share &&
         (share >= floors[f].share || bytes >= 64 * floors[f].bytes))
    f++;
  if (about.f_flag & ST_RDONLY)
    doctor_tell(d, REPORT_FAILED, "dmesg tells why; mount -o remount,rw", "%s, %s: mounted read-only", what, path);
  else if (f < count && inodes < floors[f].share)
    doctor_tell(d, floors[f].outcome, remedy, "%s, %s: only %.1f %% of the inodes are free", what, path, 100 * inodes);
  else
    doctor_tell(d, f < count ? floors[f].outcome : REPORT_DONE, f < count ? remedy : NULL, "%s, %s: %s free (%.0f %%)",
                what, path, buffer_end(&free_bytes), 100 * share);
  buffer_free(&free_bytes);
}

void doctor_disk(doctor *d) {
  buffer why = {0}, folder = {0};
  if (!d->here->readable) return;
  look_at_disk(d, "state", d->here->settings.server.state);
  MYSQL *mysql = database_is_remote(d->here) ? NULL : database_connect(d->here, DATABASE_SERVICE, false, &why);
  if (mysql && database_text(mysql, &folder, NULL, "SELECT @@datadir")) {
    while (folder.size > 1 && folder.data[folder.size - 1] == '/') folder.size--;
    look_at_disk(d, "database", buffer_end(&folder));
  }
  if (mysql) mysql_close(mysql);
  buffer_free(&why);
  buffer_free(&folder);
}

/* ---- Certificates ---- */

void doctor_certificates(doctor *d) {
  enum { DAY_S = 86400, SOON_S = 21 * DAY_S };
  const tls_settings *t = &d->here->settings.tls;
  buffer why = {0};
  tls_facts facts;
  if (!d->here->readable || !secure_is_on(&d->here->settings)) return;
  if (access(t->certificate, R_OK) != 0 || access(t->key, R_OK) != 0) {
    bool hidden = errno == EACCES && !d->here->root;
    doctor_tell(d, hidden ? REPORT_SKIPPED : REPORT_FAILED,
                hidden ? "sudo purlin doctor" : "mend tls { certificate, key } of purlin.lua", "%s and %s: %s",
                t->certificate, t->key, strerror(errno));
    return;
  }
  const tls_options options = {.certificate = t->certificate,
                               .key = t->key,
                               .minimum = t->minimum,
                               .ciphers = t->ciphers,
                               .ciphersuites = t->ciphersuites,
                               .client_ca = t->client_ca,
                               .clients = t->client_ca ? TLS_CLIENTS_OPTIONAL : TLS_CLIENTS_ANY};
  SSL_CTX *context = tls_context_make(&options, &facts, &why);
  int64_t now = (int64_t)time(NULL);
  if (!context)
    doctor_tell(d, REPORT_FAILED,
                "put the certificate and the key that belongs to it there; they are used without a restart", "%s",
                buffer_end(&why));
  else if (!tls_dates_fit(&options, &facts, &why))
    doctor_tell(d, REPORT_FAILED, "put a renewed certificate there; it is used without a restart", "%s", buffer_end(&why));
  else
    doctor_tell(d, facts.ends - now < SOON_S ? REPORT_WARNING : REPORT_DONE,
                facts.ends - now < SOON_S ? "renew it; a new file is used without a restart" : NULL, "%s ends in %lld days",
                t->certificate, (long long)((facts.ends - now) / DAY_S));
  SSL_CTX_free(context);
  buffer_free(&why);
}

/* ---- What was left behind ---- */

/* New versions of changed files that a package manager laid beside them. */
static void look_for_new_files(doctor *d) {
  static const char *const suffixes[] = {".dpkg-new", ".dpkg-dist", ".rpmnew"};
  for (size_t s = 0; d->here->has_config && s < sizeof suffixes / sizeof suffixes[0]; s++) {
    char path[PATH_MAX], remedy[2 * PATH_MAX + 32];
    if (snprintf(path, sizeof path, "%s%s", d->here->config, suffixes[s]) >= (int)sizeof path || access(path, F_OK) != 0)
      continue;
    (void)snprintf(remedy, sizeof remedy, "diff -u %s %s; then delete it", d->here->config, path);
    doctor_tell(d, REPORT_WARNING, remedy, "a newer release's %s waits for you to take what is new from it", path);
  }
}

static void ask_package_manager(doctor *d) {
  static const char *const arguments[] = {"dpkg-query", "--show", "--showformat=${db:Status-Status} ${Version}", "purlin",
                                          NULL};
  run_result result;
  buffer why = {0};
  bool known = run_simple(arguments, 20000, &result, &why);
  const char *said = buffer_end(&result.output);
  if (known && strncmp(said, "installed ", 10) == 0)
    doctor_tell(d, REPORT_DONE, NULL, "the package purlin %s is installed whole", said + 10);
  else if (known && strncmp(said, "not-installed", 13) != 0 && strncmp(said, "config-files", 12) != 0)
    doctor_tell(d, REPORT_FAILED, "dpkg --configure -a && apt-get install -f", "the package purlin is half installed: %s",
                said);
  run_result_free(&result);
  buffer_free(&why);
}

void doctor_leftovers(doctor *d) {
  static const char journal[] = "/var/lib/purlin-upgrade/journal";
  if (access(journal, F_OK) == 0)
    doctor_tell(d, REPORT_FAILED, "purlin upgrade --resume", "an upgrade was interrupted, or is under way (%s)", journal);
  look_for_new_files(d);
  ask_package_manager(d);
}
