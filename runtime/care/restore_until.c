/* To a moment after a backup: what MariaDB's binary logs say was committed between. Those of one backup and of the ones that follow on
 * it without a gap are read, from the dump's position to the first event of that second. */
#include "care/restore.h"
#include "core/file.h"
#include "core/text.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { CREATED_AT = 4, HEAD = 8 };

static void add_time(buffer *out, int64_t unix_us) {
  char text[32] = "";
  (void)text_from_time(unix_us / 1000000 * 1000000, text);
  buffer_text(out, text);
}

bool restore_parse_until(restoring *r, const char *text) {
  char with_zone[40];
  bool zoned = strchr(text, 'Z') || strchr(text, '+');
  int size = snprintf(with_zone, sizeof with_zone, zoned ? "%s" : "%sZ", text);
  for (char *at = with_zone; *at; at++)
    if (*at == ' ') *at = 'T';
  if (size > 0 && (size_t)size < sizeof with_zone && text_to_time(with_zone, (size_t)size, &r->until_us)) return true;
  buffer_format(&r->why, "--until needs a time such as 2026-11-21T19:00:00Z, not '%s'", text);
  return false;
}

/* ---- Which backups ---- */

static bool is_before(const restoring *r, const backup_manifest *m) {
  return m->snapshot_at.unix_us / 1000000 < r->until_us / 1000000;
}

static bool add_binlogs(restoring *r, const backup_manifest *m) {
  restore_binlog *more = arena_alloc(&r->memory, (r->binlog_count + m->binlogs.count + 1) * sizeof *more);
  if (!more) return false;
  if (r->binlog_count > 0) memcpy(more, r->binlogs, r->binlog_count * sizeof *more);
  r->binlogs = more;
  for (size_t i = 0; i < m->binlogs.count; i++) {
    const backup_binlog *from = &m->binlogs.items[i];
    restore_binlog *to = &r->binlogs[r->binlog_count++];
    store_suffix(m->recipient.state == PURLIN_SET ? m->recipient.value : NULL, to->suffix);
    to->name = arena_copy(&r->memory, from->name, strlen(from->name));
    if (!to->name || !content_copy(&from->content, &r->memory, &to->content)) return false;
  }
  return true;
}

static bool add_follower(restoring *r, const backup_manifest *m) {
  void *more = arena_alloc(&r->memory, (r->follower_count + 1) * sizeof *r->followers);
  if (!more) return false;
  if (r->follower_count > 0) memcpy(more, r->followers, r->follower_count * sizeof *r->followers);
  r->followers = more;
  (void)snprintf(r->followers[r->follower_count].name, BACKUP_NAME, "%s", m->name);
  store_suffix(m->recipient.state == PURLIN_SET ? m->recipient.value : NULL, r->followers[r->follower_count++].suffix);
  return true;
}

/* Goes along the backups that follow on each other until one reaches far enough. */
static bool follow(restoring *r, const backup_names *names, size_t at) {
  const char *last = r->read.m.name;
  int64_t reached = r->read.m.covered_until.unix_us;
  bool fine = add_binlogs(r, &r->read.m);
  for (size_t i = at + 1; i < names->count && fine && reached < r->until_us; i++) {
    backup_read_manifest next;
    if (!backup_manifest_read(r->store.root, names->items[i], &next, &r->why)) return false;
    if (next.m.continues.state == PURLIN_SET && strcmp(next.m.continues.value, last) == 0) {
      fine = add_binlogs(r, &next.m) && add_follower(r, &next.m);
      reached = next.m.covered_until.unix_us;
      last = names->items[i];
    }
    backup_manifest_free(&next);
  }
  if (!fine || reached >= r->until_us) return fine;
  buffer_format(&r->why, "the binary logs in %s reach from %s to ", r->store.root, r->read.m.name);
  add_time(&r->why, reached ? reached : r->read.m.snapshot_at.unix_us);
  buffer_text(&r->why, ", not to ");
  add_time(&r->why, r->until_us);
  buffer_text(&r->why, ". If that MariaDB is still there, a backup that is made now reaches further");
  return false;
}

/* From the file in which the dump's position is. */
static bool begin_at_position(restoring *r) {
  const backup_manifest *m = &r->read.m;
  size_t first = 0;
  while (first < r->binlog_count && strcmp(r->binlogs[first].name, m->position_file.value) != 0) first++;
  if (first == r->binlog_count) {
    buffer_format(&r->why, "the binary log %s, which follows on the dump of %s, is in no backup", m->position_file.value,
                  m->name);
    return false;
  }
  r->binlogs += first;
  r->binlog_count -= first;
  return true;
}

bool restore_choose_until(restoring *r, const backup_names *names) {
  for (size_t i = names->count; i-- > 0;) {
    if (!backup_manifest_read(r->store.root, names->items[i], &r->read, &r->why)) return false;
    if (is_before(r, &r->read.m)) {
      if (r->read.m.position_file.state == PURLIN_SET) return follow(r, names, i) && begin_at_position(r);
      buffer_format(
          &r->why,
          "the backup %s tells no position in binary logs: MariaDB wrote none then (log_bin), or purlin backup did not run as root",
          r->read.m.name);
      return false;
    }
    backup_manifest_free(&r->read);
  }
  buffer_format(&r->why, "no backup in %s is from before ", r->store.root);
  add_time(&r->why, r->until_us);
  return false;
}

bool restore_check_binlogs(restoring *r) {
  for (size_t i = 0; i < r->binlog_count; i++) {
    const restore_binlog *b = &r->binlogs[i];
    char path[PATH_MAX], sha256[BACKUP_DIGITS + 1];
    int64_t size;
    store_path(&r->store, b->content.sha256, b->suffix, path);
    if (!file_sum(path, sha256, &size, restore_tick, r, &r->why)) return false;
    if (strcmp(sha256, b->content.stored_sha256) == 0) continue;
    buffer_format(&r->why, "%s: its bytes have changed (the binary log %s)", path, b->name);
    return false;
  }
  return true;
}

/* ---- Replaying ---- */

typedef struct replay {
  restoring *r;
  backup_source source;
  backup_filter reader, client;
  int to; /* what mariadb-binlog reads */
  char position[48], stop[64], database[80], rewrite[160];
} replay;

static bool start_reader(replay *p, int client, buffer *why) {
  const char *arguments[] = {"mariadb-binlog", "--no-defaults", p->position, p->stop, p->database, p->rewrite, "-", NULL};
  static const char *const environment[] = {"TZ=UTC", NULL};
  int ends[2] = {-1, -1};
  if (pipe2(ends, O_CLOEXEC) != 0) {
    buffer_text(why, strerror(errno));
    return false;
  }
  const run_program program = {.arguments = arguments, .environment = environment};
  bool fine = filter_start(&p->reader, &program, ends[0], client, why);
  (void)close(ends[0]);
  if (fine) p->to = ends[1];
  else (void)close(ends[1]);
  return fine;
}

/* It stops reading where it is told to. */
static bool pour(replay *p, const char *first, size_t first_size) {
  static char piece[BACKUP_PIECE];
  memcpy(piece, first, first_size);
  for (ssize_t got = (ssize_t)first_size; got > 0; got = source_read(&p->source, piece, sizeof piece, &p->r->why)) {
    (void)restore_tick(p->r, (uint64_t)got, &p->r->why);
    if (!file_write_all(p->to, piece, (size_t)got)) return errno == EPIPE;
  }
  return p->r->why.size == 0;
}

static void describe(replay *p, bool first) {
  restoring *r = p->r;
  time_t until = (time_t)(r->until_us / 1000000);
  struct tm parts;
  const char *from = r->read.m.database, *to = r->place.settings.database.name;
  (void)snprintf(p->position, sizeof p->position, "--start-position=%lld",
                 first ? (long long)r->read.m.position.value : 4LL);
  (void)strftime(p->stop, sizeof p->stop, "--stop-datetime=%Y-%m-%d %H:%M:%S", gmtime_r(&until, &parts));
  (void)snprintf(p->database, sizeof p->database, "--database=%s", from);
  (void)snprintf(p->rewrite, sizeof p->rewrite, "--rewrite-db=%s->%s", from, to);
}

/* A file that was begun later holds nothing that is wanted; so only the last one that is read ends early. *later: it is such a one. */
static bool replay_open(replay *p, const char *head, bool *later) {
  uint32_t created;
  memcpy(&created, head + CREATED_AT, sizeof created);
  *later = (int64_t)created >= p->r->until_us / 1000000;
  if (*later) return true;
  int client = database_load(&p->r->place, p->r->role, &p->client, &p->r->why);
  bool fine = client >= 0 && start_reader(p, client, &p->r->why);
  if (client >= 0) (void)close(client);
  if (fine) {
    fine = pour(p, head, HEAD);
    (void)close(p->to);
  }
  fine = filter_end(&p->reader, "mariadb-binlog", &p->r->why) && fine;
  return filter_end(&p->client, "mariadb", &p->r->why) && fine;
}

static bool replay_one(restoring *r, const restore_binlog *b, bool first, bool *later) {
  char path[PATH_MAX], head[HEAD];
  replay *p = calloc(1, sizeof *p);
  if (!p) return false;
  p->r = r;
  p->reader.errors = p->client.errors = -1;
  describe(p, first);
  store_path(&r->store, b->content.sha256, b->suffix, path);
  bool fine = source_open(&p->source, path, b->suffix[0] ? r->key_file : NULL, false, &r->why);
  if (fine) {
    size_t size = 0;
    for (ssize_t got = 1; got > 0 && size < HEAD; size += (size_t)got) {
      got = source_read(&p->source, head + size, HEAD - size, &r->why);
      if (got <= 0) break;
    }
    fine = size == HEAD && replay_open(p, head, later);
    source_abandon(&p->source);
  }
  if (!fine) buffer_format(&r->why, " (the binary log %s)", b->name);
  free(p);
  return fine;
}

bool restore_replay(restoring *r, buffer *detail) {
  bool later = false;
  size_t read = 0;
  r->done = r->total = 0;
  for (size_t i = 0; i < r->binlog_count; i++) r->total += (uint64_t)r->binlogs[i].content.size;
  for (size_t i = 0; i < r->binlog_count && !later; i++) {
    if (!replay_one(r, &r->binlogs[i], i == 0, &later)) return false;
    read += !later;
  }
  buffer_format(detail, "%zu binary log%s read; what was committed from ", read, read == 1 ? "" : "s");
  add_time(detail, r->until_us);
  buffer_text(detail, " on is not in it");
  return true;
}
