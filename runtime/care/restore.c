/* `purlin restore`: step by step. */
#include "care/restore.h"
#include "core/text.h"
#include "daemon/state.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

bool restore_tick(void *to, uint64_t bytes, buffer *why) {
  restoring *r = to;
  (void)why;
  r->done += bytes;
  backup_progress(&r->report, r->done, r->total);
  return true;
}

static void end_with(restoring *r, buffer *detail) {
  report_end_step(&r->report, REPORT_DONE, detail->size > 0 ? buffer_end(detail) : NULL, NULL);
  buffer_clear(detail);
}

/* ---- The backup ---- */

static bool choose(restoring *r, const char *name) {
  backup_names names;
  if (!store_names(&r->store, &names, &r->why)) return false;
  bool fine = false;
  if (name && r->until_us) buffer_text(&r->why, "--until chooses the backup by itself; leave --name out");
  else if (names.count == 0) buffer_format(&r->why, "there is no whole backup in %s", r->store.root);
  else if (r->until_us) fine = restore_choose_until(r, &names);
  else fine = backup_manifest_read(r->store.root, name ? name : names.items[names.count - 1], &r->read, &r->why);
  names_free(&names);
  return fine;
}

/* A wrong key is known before anything is changed. */
static bool check_key(restoring *r) {
  char path[PATH_MAX], piece[512];
  backup_source source;
  bool encrypted = r->read.m.recipient.state == PURLIN_SET;
  store_suffix(encrypted ? r->read.m.recipient.value : NULL, r->suffix);
  if (!encrypted) r->key_file = NULL;
  if (encrypted && !r->key_file) {
    buffer_format(&r->why, "the backup is encrypted to %s: give the file of that age identity by --identity FILE",
                  r->read.m.recipient.value);
    return false;
  }
  if (!encrypted) return true;
  (void)snprintf(path, sizeof path, "%s/backups/%s/database.sql.gz.age", r->store.root, r->read.m.name);
  if (!source_open(&source, path, r->key_file, true, &r->why)) return false;
  ssize_t got = source_read(&source, piece, sizeof piece, &r->why);
  source_abandon(&source);
  if (got < 0) buffer_format(&r->why, "; the backup is encrypted to %s", r->read.m.recipient.value);
  return got >= 0;
}

static uint64_t stored_bytes(const backup_manifest *m) {
  uint64_t bytes = (uint64_t)m->dump.stored_size;
  for (size_t i = 0; i < m->folders.count; i++) bytes += (uint64_t)m->folders.items[i].bytes;
  return bytes;
}

/* Nothing goes from it while it is read; from a disk that nobody can write to nothing does. */
static bool open_store(restoring *r, const char *directory) {
  return store_open(&r->store, directory, &r->why) && (access(r->store.root, W_OK) != 0 || store_lock(&r->store, &r->why));
}

/* What was stored after the backup that is restored comes from later ones. */
static bool check_followers(restoring *r, content_set *seen) {
  bool fine = restore_check_binlogs(r);
  for (size_t i = 0; i < r->follower_count && fine; i++) {
    backup_read_manifest read;
    if (!backup_manifest_read(r->store.root, r->followers[i].name, &read, &r->why)) return false;
    fine = backup_check(&r->store, &read.m, NULL, seen, restore_tick, r, &r->why);
    backup_manifest_free(&read);
  }
  return fine;
}

static bool look_at_backup(restoring *r, const char *directory, const char *name, buffer *detail) {
  content_set seen = {0};
  report_step(&r->report, "Looking at the backup");
  bool fine = open_store(r, directory) && choose(r, name) && check_key(r);
  if (fine) {
    r->total = stored_bytes(&r->read.m);
    fine = backup_check(&r->store, &r->read.m, NULL, &seen, restore_tick, r, &r->why) && check_followers(r, &seen);
    if (!fine) buffer_format(&r->why, "\nnothing was changed here; another one: purlin backup list %s", directory);
  }
  set_free(&seen);
  if (fine) buffer_format(detail, "%s, of Purlin %s, whole", r->read.m.name, r->read.m.purlin);
  if (fine) end_with(r, detail);
  return fine;
}

/* ---- The machine ---- */

static bool marker_path(const restoring *r, char out[PATH_MAX]) { return installation_path(&r->place, "restoring", out); }

static bool read_marker(restoring *r) {
  char path[PATH_MAX], text[64] = "";
  int file = marker_path(r, path) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  ssize_t size = file >= 0 ? read(file, text, sizeof text - 1) : -1;
  if (file >= 0) (void)close(file);
  r->again = size >= BACKUP_NAME - 1 && strncmp(text, r->read.m.name, BACKUP_NAME - 1) == 0;
  if (size < 0 || r->again || r->force) return true;
  buffer_format(&r->why,
                "the restore of another backup, %.*s, did not come to its end here: run that one again, or give --force",
                BACKUP_NAME - 1, text);
  return false;
}

/* What root makes here is the service's all the same. */
static bool give_state(restoring *r, bool fresh) {
  char lock[PATH_MAX];
  const char *state = r->place.settings.server.state;
  if (!r->place.root || !r->place.has_user) return true;
  bool fine = !fresh || (chown(state, r->place.uid, r->place.gid) == 0 && chmod(state, 0750) == 0);
  fine = fine && installation_path(&r->place, "lock", lock) && chown(lock, r->place.uid, r->place.gid) == 0;
  if (!fine) buffer_format(&r->why, "%s cannot be given to %s: %s", state, r->place.user, strerror(errno));
  return fine;
}

/* Held until we end: no daemon starts meanwhile. */
static bool take_machine(restoring *r) {
  const char *state = NULL;
  report_step(&r->report, "Looking at this machine");
  bool fresh = access(r->place.settings.server.state, F_OK) != 0;
  if (state_take(r->place.settings.server.state, &r->memory, &state, &r->why) != PURLIN_OK) {
    buffer_text(&r->why, " (systemctl stop purlin)");
    return false;
  }
  if (!state) return false;
  r->place.settings.server.state = state;
  return give_state(r, fresh) && places_find(&r->place, &r->places, &r->why) && restore_match_places(r) &&
         restore_open_database(r) && read_marker(r);
}

/* Another node on the same database would go on writing. What a killed restore had sent to the server may still be at work there. */
static bool is_unused(restoring *r) {
  static const char others[] =
      "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()";
  int64_t count = database_number(r->mysql, others, 0);
  for (int tries = 0; count > 0 && tries < 30; tries++) {
    (void)usleep(500000);
    count = database_number(r->mysql, others, 0);
  }
  if (count == 0) return true;
  buffer_format(&r->why, "%lld connections use the database %s: stop every server on it", (long long)count,
                r->place.settings.database.name);
  return false;
}

static bool is_empty(restoring *r) {
  int64_t tables = restore_tables(r), files = tables >= 0 ? restore_count_files(r) : -1;
  if (tables < 0 || files < 0) return false;
  if (r->again || r->force || (tables == 0 && files == 0)) return true;
  buffer_format(
      &r->why,
      "there are data here: the database %s has %lld tables, folders have %lld files. Nothing was changed. --force replaces the tables"
      " and puts the folders aside",
      r->place.settings.database.name, (long long)tables, (long long)files);
  return false;
}

static bool has_room(restoring *r) { return r->again || restore_has_room(r); }

static bool begin(restoring *r) {
  char path[PATH_MAX];
  if (!take_machine(r) || !is_unused(r) || !is_empty(r) || !has_room(r)) return false;
  buffer text = {0};
  buffer_format(&text, "%s from %s\n", r->read.m.name, r->store.root);
  bool fine = marker_path(r, path) && file_write(path, buffer_end(&text), text.size, &r->why);
  buffer_free(&text);
  report_end_step(&r->report, REPORT_DONE,
                  r->again ? "a restore of this backup did not come to its end; it is taken up again" : NULL, NULL);
  return fine && (r->again || !r->force || restore_put_aside(r));
}

/* ---- The whole ---- */

static bool restore_database(restoring *r, buffer *detail) {
  report_step(&r->report, "Database %s", r->place.settings.database.name);
  if (!restore_load(r)) return false;
  end_with(r, detail);
  report_step(&r->report, "Comparing each table with the backup");
  if (!restore_compare(r, detail)) return false;
  end_with(r, detail);
  if (r->until_us) {
    report_step(&r->report, "What was committed since");
    if (!restore_replay(r, detail)) return false;
    end_with(r, detail);
  }
  /* Of the backup itself: nothing is to be held here. */
  return database_run(r->mysql, &r->why, "DELETE FROM purlin_leases WHERE name LIKE 'backup:%%'");
}

/* Signed heads that are kept outside of the database tell of entries that came after the backup, or of another log: the server would take
 * what is restored for tampered with. They stay as a proof of what there was. */
static bool put_heads_aside(restoring *r) {
  static const char *const names[] = {"audit.heads", "audit.heads.1"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    char path[PATH_MAX], aside[PATH_MAX];
    if (!installation_path(&r->place, names[i], path) || access(path, F_OK) != 0) continue;
    (void)snprintf(aside, sizeof aside, "%.*s.replaced-%lld", PATH_MAX - 64, path, (long long)time(NULL));
    if (rename(path, aside) != 0) {
      buffer_format(&r->why, "%s cannot be put aside: %s", path, strerror(errno));
      return false;
    }
    report_say(&r->report, "          the signed heads of the audit log of before are now in %s", aside);
  }
  return true;
}

static bool finish(restoring *r, buffer *detail) {
  char path[PATH_MAX];
  report_step(&r->report, "Files");
  if (!restore_files(r, detail)) return false;
  end_with(r, detail);
  if (!r->read.m.secrets) {
    report_step(&r->report, "Keys");
    report_end_step(
        &r->report, REPORT_WARNING,
        "the backup has none. Before the server starts, put back its secrets.key, or nobody can open sealed secrets any more",
        "install -m 600 -o purlin -g purlin YOUR/secrets.key /var/lib/purlin/secrets.key");
  }
  report_step(&r->report, "Completing");
  if (!put_heads_aside(r)) return false;
  if (!marker_path(r, path) || unlink(path) != 0) {
    buffer_format(&r->why, "%s cannot be removed: %s", path, strerror(errno));
    return false;
  }
  if (!folder_sync(r->place.settings.server.state, &r->why)) return false;
  report_end_step(&r->report, REPORT_DONE, "all is back; start the server: systemctl start purlin", NULL);
  (void)cJSON_AddStringToObject(r->report.document, "name", r->read.m.name);
  return true;
}

static bool restore_all(restoring *r, const char *directory, const char *name) {
  buffer detail = {0};
  bool fine = look_at_backup(r, directory, name, &detail) && begin(r) && restore_database(r, &detail) && finish(r, &detail);
  buffer_free(&detail);
  return fine;
}

static void let_go(restoring *r) {
  if (r->mysql) mysql_close(r->mysql);
  store_end(&r->store);
  backup_manifest_free(&r->read);
  buffer_free(&r->why);
  installation_close(&r->place);
  arena_free(&r->memory);
  free(r);
}

static int run(restoring *r, const char *directory, const char *name, const char *path, bool json) {
  r->store.lock = -1;
  if (!installation_must(&r->place, path)) {
    free(r);
    return CARE_FAILED;
  }
  arena_init(&r->memory, (size_t)512 * 1024 * 1024);
  (void)umask(077);
  (void)signal(SIGPIPE, SIG_IGN);
  report_begin(&r->report, "restore", json);
  if (!restore_all(r, directory, name))
    report_end_step(&r->report, REPORT_FAILED, r->why.size > 0 ? buffer_end(&r->why) : "no memory", NULL);
  int code = report_end(&r->report);
  let_go(r);
  return code;
}

int care_restore(bool json, int count, char **arguments) {
  const char *directory = NULL, *name = NULL, *path = NULL, *until = NULL;
  restoring *r = calloc(1, sizeof *r);
  if (!r) return CARE_FAILED;
  bool in_json = json;
  int code = CARE_FINE;
  const care_option options[] = {{"--name", &name, NULL},     {"--identity", &r->key_file, NULL},
                                 {"--config", &path, NULL},   {"--configuration-to", &r->configuration_to, NULL},
                                 {"--until", &until, NULL},   {"--json", NULL, &in_json},
                                 {"--force", NULL, &r->force}};
  bool right =
      care_arguments("restore", NULL, options, sizeof options / sizeof options[0], count, arguments, &directory, &code);
  if (right && until && !restore_parse_until(r, until)) {
    (void)fprintf(stderr, "purlin: restore: %s\n", buffer_end(&r->why));
    buffer_free(&r->why);
    free(r);
    return CARE_USAGE;
  }
  if (right && directory) return run(r, directory, name, path, in_json);
  if (right) (void)fprintf(stderr, "purlin: restore: from which folder? 'purlin restore --help' tells more\n");
  free(r);
  return right ? CARE_USAGE : code;
}
