/* `purlin backup`: a backup, step by step. */
#include "care/backup.h"
#include "core/text.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

enum { DUMPS = 3, WAIT_S = 5 };

typedef struct saving {
  installation place;
  report report;
  buffer why;
  arena memory;
  backup_manifest manifest, *before; /* before: the newest there, NULL */
  backup_read_manifest newest;
  backup_store store;
  backup_hold hold;
  backup_places places;
  known_files known;
  database_role role;
  MYSQL *mysql;
  FILE *list, *journal;
  uint64_t done, total, reused;
  const backup_place *current;
  backup_folder *folder;
  buffer line;
  const char *secrets_left;
} saving;

static int64_t now_us(void) {
  struct timeval now;
  (void)gettimeofday(&now, NULL);
  return (int64_t)now.tv_sec * 1000000 + now.tv_usec;
}

static void unfinished(const saving *s, const char *name, char out[PATH_MAX]) {
  (void)snprintf(out, PATH_MAX, "%s/backups/unfinished%s%s", s->store.root, *name ? "/" : "", name);
}

static const char *dump_name(const char *recipient) { return recipient ? "database.sql.gz.age" : "database.sql.gz"; }

/* ---- Before ---- */

/* age itself says whether it can encrypt to this one, before anything is dumped. */
static bool check_recipient(saving *s, const char *recipient) {
  const char *const arguments[] = {"age", "--encrypt", "--recipient", recipient, NULL};
  run_result result;
  if (!recipient) return true;
  bool fine = run_simple(arguments, 10000, &result, &s->why);
  if (!fine && result.missing) buffer_text(&s->why, ": apt-get install age");
  run_result_free(&result);
  return fine;
}

static bool read_newest(saving *s) {
  backup_names names;
  buffer ignored = {0};
  if (!store_names(&s->store, &names, &s->why)) return false;
  /* One that is damaged is not built on. */
  if (names.count > 0 && backup_manifest_read(s->store.root, names.items[names.count - 1], &s->newest, &ignored))
    s->before = &s->newest.m;
  buffer_free(&ignored);
  names_free(&names);
  return true;
}

static bool open_unfinished(saving *s) {
  char path[PATH_MAX];
  unfinished(s, "", path);
  if (mkdir(path, 0700) != 0 && errno != EEXIST) {
    buffer_format(&s->why, "%s: cannot be made: %s", path, strerror(errno));
    return false;
  }
  unfinished(s, "journal", path);
  known_begin(&s->known);
  if (!known_add(&s->known, path, true, &s->why)) return false;
  if (s->before) {
    (void)snprintf(path, sizeof path, "%s/backups/%s/files.list", s->store.root, s->before->name);
    if (!known_add(&s->known, path, true, &s->why)) return false;
  }
  unfinished(s, "journal", path);
  s->journal = fopen(path, "ae");
  if (s->journal) (void)fputc('\n', s->journal); /* behind a line that a killed one did not end */
  unfinished(s, "files.list", path);
  s->list = s->journal ? fopen(path, "we") : NULL;
  if (!s->list) buffer_format(&s->why, "%s: cannot be made: %s", path, strerror(errno));
  return s->list != NULL;
}

static bool open_database(saving *s) {
  buffer version = {0};
  s->mysql = database_best(&s->place, &s->role, &s->why);
  if (!s->mysql) return false;
  const char *name = s->place.settings.database.name;
  bool fine = mysql_select_db(s->mysql, name) == 0 && database_text(s->mysql, &version, &s->why, "SELECT VERSION()");
  if (!fine && s->why.size == 0) buffer_format(&s->why, "the database %s: %s", name, mysql_error(s->mysql));
  s->manifest.server = fine ? arena_copy(&s->memory, version.data, version.size) : NULL;
  buffer_free(&version);
  fine = fine && hold_take(&s->hold, s->mysql, &s->why);
  if (!fine && mysql_errno(s->mysql) == 1146)
    buffer_text(&s->why, ": no server has run on it yet, there is nothing to take along");
  return fine && s->manifest.server;
}

/* ---- The database ---- */

typedef struct dumping {
  saving *s;
  backup_sink sink;
  dump_watch watch;
  uint64_t bytes;
} dumping;

static bool take_dump(void *to, const char *data, size_t size) {
  dumping *d = to;
  d->bytes += size;
  backup_progress(&d->s->report, d->bytes, 0);
  return dump_watch_take(&d->watch, data, size) && sink_write(&d->sink, data, size, &d->s->why) &&
         hold_keep(&d->s->hold, &d->s->why);
}

static bool note_dump(saving *s, const dump_watch *w, const backup_sums *sums) {
  const backup_content content = sums_content(sums);
  char head[BACKUP_DIGITS + 1];
  s->manifest.tables.items = w->tables;
  s->manifest.tables.count = w->count;
  s->manifest.snapshot_at.unix_us = w->seen_at_us;
  if (w->file[0] && binlog_head(s->mysql, w->file, head)) {
    s->manifest.position_file = (purlin_opt_text){PURLIN_SET, arena_copy(&s->memory, w->file, strlen(w->file))};
    s->manifest.position_head = (purlin_opt_text){PURLIN_SET, arena_copy(&s->memory, head, BACKUP_DIGITS)};
    s->manifest.position = (purlin_opt_int){PURLIN_SET, w->position};
  }
  return content_copy(&content, &s->memory, &s->manifest.dump);
}

static bool tick_hold(void *to, uint64_t bytes, buffer *why) {
  saving *s = to;
  (void)bytes;
  return hold_keep(&s->hold, why);
}

static bool dump_once(saving *s) {
  dumping *d = calloc(1, sizeof *d);
  char path[PATH_MAX];
  backup_sums sums;
  if (!d) return false;
  d->s = s;
  unfinished(s, dump_name(s->store.recipient), path);
  bool position = s->role == DATABASE_ADMINISTRATOR && binlogs_are_on(s->mysql);
  bool fine = dump_watch_begin(&d->watch, &s->memory) && sink_open(&d->sink, path, s->store.recipient, true, &s->why);
  if (fine) {
    buffer own = {0};
    fine = database_dump(&s->place, s->role, position, take_dump, d, &own);
    if (!fine && s->why.size == 0) buffer_text(&s->why, buffer_end(&own));
    buffer_free(&own);
    bool whole = dump_watch_end(&d->watch);
    if (fine && !whole) buffer_text(&s->why, "mariadb-dump did not come to its end");
    if (fine && whole) fine = sink_close(&d->sink, tick_hold, s, &sums, &s->why);
    else sink_abandon(&d->sink);
    fine = fine && whole && note_dump(s, &d->watch, &sums);
  } else (void)dump_watch_end(&d->watch);
  free(d);
  return fine;
}

/* Definitions are no part of a snapshot: a dump in which the tables changed meanwhile is thrown away. Each change is noted here before
 * and after it takes place. */
static bool read_migrations(saving *s, buffer *out, bool *running) {
  *running = database_number(s->mysql, "SELECT COUNT(*) FROM purlin_migrations WHERE state = 'started'", 0) > 0;
  return database_text(s->mysql, out, &s->why,
                       "SELECT CONCAT(COUNT(*), ' ', COALESCE(MAX(applied_at), '')) FROM purlin_migrations");
}

static bool dump(saving *s) {
  for (int tries = 1;; tries++) {
    buffer before = {0}, after = {0};
    bool running[2] = {false, false};
    buffer_clear(&s->why);
    bool fine = read_migrations(s, &before, &running[0]) && dump_once(s);
    bool same = fine && read_migrations(s, &after, &running[1]) && !running[0] && !running[1] &&
                strcmp(buffer_end(&before), buffer_end(&after)) == 0;
    buffer_free(&before);
    buffer_free(&after);
    if (same) return true;
    if (fine) buffer_text(&s->why, "the tables were changed while they were dumped (a server migrates them)");
    /* 1412: the table's definition has changed; the server's word for the same. */
    bool changed =
        fine || strstr(buffer_end(&s->why), "definition has changed") || strstr(buffer_end(&s->why), "doesn't exist");
    if (!changed || tries == DUMPS) return false;
    report_say(&s->report, "          %s; once more", buffer_end(&s->why));
    (void)sleep(WAIT_S);
  }
}

/* ---- Files ---- */

static bool tick(void *to, uint64_t bytes, buffer *why) {
  saving *s = to;
  s->done += bytes;
  backup_progress(&s->report, s->done, s->total);
  return hold_keep(&s->hold, why);
}

static bool write_line(saving *s, const backup_file *file, bool fresh) {
  buffer_clear(&s->line);
  backup_file_encode(file, &s->line);
  bool fine = !s->line.failed && fwrite(s->line.data, 1, s->line.size, s->list) == s->line.size;
  /* What was stored just now is found again by whoever goes on after us, when we are killed. */
  if (fine && fresh) fine = fwrite(s->line.data, 1, s->line.size, s->journal) == s->line.size && fflush(s->journal) == 0;
  if (!fine) buffer_format(&s->why, "the list of files cannot be written: %s", strerror(errno));
  s->folder->files++;
  s->folder->bytes += file->content.size;
  return fine;
}

static bool same_file(const struct stat *a, const struct stat *b) {
  return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static int64_t written_at(const struct stat *about) {
  return (int64_t)about->st_mtim.tv_sec * 1000000000 + about->st_mtim.tv_nsec;
}

static bool copy_open(saving *s, int file, const char *path, const char *relative, const struct stat *about) {
  backup_sums sums;
  struct stat after;
  if (!store_put(&s->store, file, path, tick, s, &sums, &s->why)) return false;
  if (fstat(file, &after) != 0 || !same_file(about, &after)) {
    buffer_format(&s->why, "%s: it changed while it was read; files of a declared folder may not", path);
    return false;
  }
  const backup_file line = {s->current->name, relative, about->st_mode & 07777, written_at(about), sums_content(&sums)};
  return write_line(s, &line, true);
}

static bool save_file(void *to, const char *path, const char *relative) {
  saving *s = to;
  struct stat about;
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (file < 0 && errno == ENOENT) return true; /* nothing named it when we began, or it would have been held */
  if (file < 0 || fstat(file, &about) != 0) {
    buffer_format(&s->why, "%s: cannot be read: %s", path, strerror(errno));
    if (file >= 0) (void)close(file);
    return false;
  }
  const backup_file *known = known_find(&s->known, s->current->name, relative);
  bool same = known && known->content.size == about.st_size && known->mtime_ns == written_at(&about) &&
              store_has(&s->store, known->content.sha256, known->content.stored_size);
  bool fine;
  if (same) {
    backup_file line = *known;
    line.mode = about.st_mode & 07777;
    s->reused++;
    fine = write_line(s, &line, false) && tick(s, (uint64_t)about.st_size, &s->why);
  } else fine = copy_open(s, file, path, relative, &about);
  (void)close(file);
  return fine;
}

static bool add_size(void *to, const char *path, const char *relative) {
  saving *s = to;
  struct stat about;
  (void)relative;
  if (lstat(path, &about) == 0) s->total += (uint64_t)about.st_size;
  return true;
}

static bool wanted(const saving *s, const backup_place *place) {
  return !place->secret || s->store.recipient || s->manifest.secrets;
}

static bool save_files(saving *s, bool with_secrets) {
  backup_folder *folders = arena_alloc(&s->memory, (s->places.count + 1) * sizeof *folders);
  s->manifest.secrets = with_secrets || s->store.recipient;
  s->manifest.folders.items = folders;
  bool fine = folders != NULL;
  for (size_t i = 0; i < s->places.count && fine; i++)
    fine = !wanted(s, &s->places.items[i]) || place_walk(&s->places.items[i], add_size, s, &s->why);
  for (size_t i = 0; i < s->places.count && fine; i++) {
    s->current = &s->places.items[i];
    if (!wanted(s, s->current)) continue;
    s->folder = &folders[s->manifest.folders.count++];
    *s->folder = (backup_folder){.name = s->current->name, .path = s->current->path};
    fine = place_walk(s->current, save_file, s, &s->why);
  }
  return fine && store_sync(&s->store, &s->why);
}

/* ---- Binary logs, and the end ---- */

/* Without them the backup is whole all the same. */
static void save_binlogs(saving *s) {
  buffer why = {0};
  if (s->manifest.position_file.state != PURLIN_SET) return;
  report_step(&s->report, "Binary logs");
  bool fine =
      binlogs_take(s->mysql, &s->store, s->before, &s->memory, tick, s, &s->manifest, &why) && store_sync(&s->store, &why);
  if (!fine) buffer_text(&why, "; restore --until will not reach beyond this backup's moment");
  if (!fine) s->manifest.covered_until.unix_us = 0;
  buffer detail = {0};
  buffer_format(&detail, "%zu, %s", s->manifest.binlogs.count,
                s->manifest.continues.state == PURLIN_SET ? "they follow on those of the backup before"
                                                          : "the first of their line");
  report_end_step(&s->report, fine ? REPORT_DONE : REPORT_WARNING, fine ? buffer_end(&detail) : buffer_end(&why), NULL);
  buffer_free(&detail);
  buffer_free(&why);
}

static bool close_lists(saving *s) {
  char path[PATH_MAX];
  backup_sums sums = {0};
  unfinished(s, "files.list", path);
  bool fine = fflush(s->list) == 0 && fsync(fileno(s->list)) == 0 && fclose(s->list) == 0;
  if (!fine) buffer_format(&s->why, "%s: cannot be written: %s", path, strerror(errno));
  s->list = NULL;
  fine = fine && file_sum(path, sums.sha256, &sums.size, NULL, NULL, &s->why);
  memcpy(sums.stored_sha256, sums.sha256, sizeof sums.sha256);
  sums.stored_size = sums.size;
  const backup_content content = sums_content(&sums);
  return fine && content_copy(&content, &s->memory, &s->manifest.list);
}

/* Two may not have one name: it is a second's. */
static const char *choose_name(saving *s) {
  char name[32], path[PATH_MAX];
  for (;; (void)usleep(100000)) {
    time_t now = time(NULL);
    struct tm parts;
    (void)strftime(name, sizeof name, "%Y%m%dT%H%M%SZ", gmtime_r(&now, &parts));
    (void)snprintf(path, sizeof path, "%s/backups/%s", s->store.root, name);
    if (access(path, F_OK) != 0) return arena_copy(&s->memory, name, strlen(name));
  }
}

static bool write_manifest(saving *s) {
  char path[PATH_MAX], digits[BACKUP_DIGITS + 1];
  uint8_t hash[32];
  buffer text = {0}, sum = {0};
  s->manifest.ended_at.unix_us = now_us();
  backup_manifest_encode(&s->manifest, &text);
  text_sha256(buffer_end(&text), text.size, hash);
  text_hex(hash, sizeof hash, digits);
  buffer_format(&sum, "%s  manifest.json\n", digits);
  unfinished(s, "manifest.json", path);
  bool fine = !text.failed && file_write(path, text.data, text.size, &s->why);
  unfinished(s, "manifest.sha256", path);
  fine = fine && file_write(path, buffer_end(&sum), sum.size, &s->why);
  buffer_free(&text);
  buffer_free(&sum);
  return fine;
}

/* From the renaming on it counts. */
static bool name_it(saving *s) {
  char from[PATH_MAX], to[PATH_MAX], above[PATH_MAX];
  unfinished(s, "journal", from);
  (void)fclose(s->journal);
  s->journal = NULL;
  (void)unlink(from);
  unfinished(s, "", from);
  (void)snprintf(above, sizeof above, "%s/backups", s->store.root);
  (void)snprintf(to, sizeof to, "%s/backups/%s", s->store.root, s->manifest.name);
  if (!folder_sync(from, &s->why)) return false;
  if (rename(from, to) == 0) return folder_sync(above, &s->why);
  buffer_format(&s->why, "%s: cannot be named: %s", to, strerror(errno));
  return false;
}

static bool finish(saving *s) {
  s->manifest.name = choose_name(s);
  return s->manifest.name && close_lists(s) && hold_end(&s->hold, &s->why) && write_manifest(s) && name_it(s);
}

/* ---- The whole ---- */

static int64_t count_rows(const saving *s) {
  int64_t rows = 0;
  for (size_t i = 0; i < s->manifest.tables.count; i++) rows += s->manifest.tables.items[i].rows;
  return rows;
}

PURLIN_PRINTF(2, 3) static void told(saving *s, const char *format, ...) {
  char text[512];
  va_list values;
  va_start(values, format);
  (void)vsnprintf(text, sizeof text, format, values);
  va_end(values);
  report_end_step(&s->report, REPORT_DONE, text, NULL);
}

static bool save_database_and_files(saving *s, bool with_secrets) {
  report_step(&s->report, "Database %s", s->place.settings.database.name);
  if (!dump(s)) return false;
  buffer size = {0};
  report_add_bytes(&size, (uint64_t)s->manifest.dump.stored_size);
  told(s, "%zu tables, %lld rows, %s", s->manifest.tables.count, (long long)count_rows(s), buffer_end(&size));
  report_step(&s->report, "Files");
  if (!save_files(s, with_secrets)) {
    buffer_free(&size);
    return false;
  }
  buffer_clear(&size);
  report_add_bytes(&size, (uint64_t)s->store.added_bytes);
  int64_t files = 0;
  for (size_t i = 0; i < s->manifest.folders.count; i++) files += s->manifest.folders.items[i].files;
  told(s, "%lld, of which %lld are new: %s", (long long)files, (long long)s->store.added, buffer_end(&size));
  buffer_free(&size);
  if (!s->manifest.secrets) {
    report_step(&s->report, "Keys and configuration");
    report_end_step(&s->report, REPORT_SKIPPED,
                    "left out, since the backup is not encrypted; without secrets.key sealed secrets cannot be opened",
                    "purlin backup --encrypt-to KEY, or --with-secrets where the folder is as safe as /etc");
  }
  return true;
}

static bool prepare(saving *s, const char *to, const char *recipient) {
  report_step(&s->report, "Preparing");
  s->manifest =
      (backup_manifest){.format = BACKUP_FORMAT, .purlin = PURLIN_VERSION, .database = s->place.settings.database.name};
  s->manifest.began_at.unix_us = now_us();
  if (recipient) s->manifest.recipient = (purlin_opt_text){PURLIN_SET, recipient};
  return check_recipient(s, recipient) && store_begin(&s->store, to, recipient, &s->why) && read_newest(s) &&
         open_unfinished(s) && places_find(&s->place, &s->places, &s->why) && open_database(s);
}

static void let_go(saving *s) {
  buffer nothing = {0};
  if (s->hold.held) (void)hold_end(&s->hold, &nothing);
  buffer_free(&nothing);
  if (s->mysql) mysql_close(s->mysql);
  if (s->list) (void)fclose(s->list);
  if (s->journal) (void)fclose(s->journal);
  store_end(&s->store);
  known_free(&s->known);
  backup_manifest_free(&s->newest);
  buffer_free(&s->line);
  buffer_free(&s->why);
  arena_free(&s->memory);
  installation_close(&s->place);
}

static bool save(saving *s, const char *to, const char *recipient, bool with_secrets, size_t keep) {
  if (!prepare(s, to, recipient) || !save_database_and_files(s, with_secrets)) return false;
  save_binlogs(s);
  report_step(&s->report, "Completing");
  if (!finish(s)) return false;
  told(s, "%s/backups/%s", s->store.root, s->manifest.name);
  (void)cJSON_AddStringToObject(s->report.document, "name", s->manifest.name);
  (void)cJSON_AddStringToObject(s->report.document, "directory", s->store.root);
  return keep == 0 || backup_prune(&s->store, keep, &s->report, &s->why);
}

static int back_up(const char *path, const char *to, const char *recipient, bool with_secrets, size_t keep, bool json) {
  saving *s = calloc(1, sizeof *s);
  if (!s) return CARE_FAILED;
  s->store.lock = -1;
  if (!installation_must(&s->place, path)) {
    free(s);
    return CARE_FAILED;
  }
  arena_init(&s->memory, (size_t)512 * 1024 * 1024);
  (void)umask(077);
  (void)signal(SIGPIPE, SIG_IGN);
  report_begin(&s->report, "backup", json);
  if (!save(s, to, recipient, with_secrets, keep))
    report_end_step(&s->report, REPORT_FAILED, s->why.size > 0 ? buffer_end(&s->why) : "no memory", NULL);
  int code = report_end(&s->report);
  let_go(s);
  free(s);
  return code;
}

static int refuse(const char *what) {
  (void)fprintf(stderr, "purlin: backup: %s; 'purlin backup --help' tells more\n", what);
  return CARE_USAGE;
}

int care_backup(bool json, int count, char **arguments) {
  const char *to = NULL, *recipient = NULL, *keep = NULL, *path = NULL;
  bool with_secrets = false;
  int code = CARE_FINE;
  int64_t most = 0;
  const care_option options[] = {{"--to", &to, NULL},     {"--encrypt-to", &recipient, NULL},
                                 {"--keep", &keep, NULL}, {"--config", &path, NULL},
                                 {"--json", NULL, &json}, {"--with-secrets", NULL, &with_secrets}};
  if (!care_arguments("backup", NULL, options, sizeof options / sizeof options[0], count, arguments, NULL, &code))
    return code;
  if (!to) return refuse("--to DIR is needed");
  if (keep && (!text_to_int(keep, strlen(keep), &most) || most < 1)) return refuse("--keep needs a number from 1");
  return back_up(path, to, recipient, with_secrets, (size_t)most, json);
}
