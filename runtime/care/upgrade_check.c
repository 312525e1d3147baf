#include "care/upgrade.h"
#include "care/doctor.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

enum { CHECK_MS = 120000, MOST_SHOWN = 12 };
static const uint64_t SPARE = 256 * UINT64_C(1048576); /* beside what the packages take */

/* ---- What it does to the database ---- */

typedef struct changes {
  size_t count, breaking, narrowing;
  buffer named, broken, narrowed;
} changes;

static const char *text_of(const cJSON *of, const char *name) {
  return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(of, name));
}

static void name_one(buffer *list, size_t *count, const cJSON *migration) {
  ++*count;
  if (*count <= MOST_SHOWN)
    buffer_format(list, "%s%s %s", *count > 1 ? ", " : "", text_of(migration, "component"), text_of(migration, "name"));
  else if (*count == MOST_SHOWN + 1) buffer_text(list, ", ...");
}

/* Lines of JSON into an array. */
static cJSON *parse_lines(buffer *text) {
  cJSON *all = cJSON_CreateArray();
  const char *at = buffer_end(text);
  while (*at) {
    size_t size = strcspn(at, "\n");
    cJSON *one = cJSON_ParseWithLength(at, size);
    if (!text_of(one, "component") || !text_of(one, "name") || !cJSON_AddItemToArray(all, one)) cJSON_Delete(one);
    at += size + (at[size] == '\n');
  }
  return all;
}

static bool has_migration(const cJSON *all, const cJSON *one) {
  const cJSON *other;
  cJSON_ArrayForEach(other, all) {
    if (strcmp(text_of(other, "component"), text_of(one, "component")) == 0 &&
        strcmp(text_of(other, "name"), text_of(one, "name")) == 0)
      return true;
  }
  return false;
}

static void find_changes(const cJSON *before, const cJSON *after, changes *c) {
  const cJSON *one;
  cJSON_ArrayForEach(one, after) {
    if (has_migration(before, one)) continue;
    name_one(&c->named, &c->count, one);
    if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(one, "breaking"))) name_one(&c->broken, &c->breaking, one);
    else if (cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(one, "narrows")) > 0)
      name_one(&c->narrowed, &c->narrowing, one);
  }
}

static bool tell_changes(upgrade *u, changes *c, buffer *why) {
  if (c->breaking > 0 && !u->options.breaking) {
    buffer_format(why, "%s: the installed release cannot work with what is left. There will be no way back but a backup",
                  buffer_end(&c->broken));
    return upgrade_fails(u, why, "if that is understood: --breaking");
  }
  if (c->count == 0) return upgrade_fine(u, "none");
  if (c->narrowing == 0 && c->breaking == 0)
    return upgrade_fine(u, "%zu, which only add: %s", c->count, buffer_end(&c->named));
  buffer detail = {0};
  buffer_format(&detail, "%zu: %s", c->count, buffer_end(&c->named));
  if (c->breaking > 0) buffer_format(&detail, "; no way back after %s", buffer_end(&c->broken));
  if (c->narrowing > 0) buffer_format(&detail, "; not only adding: %s", buffer_end(&c->narrowed));
  report_end_step(&u->report, REPORT_WARNING, buffer_end(&detail), NULL);
  buffer_free(&detail);
  return true;
}

static bool check_migrations(upgrade *u, const trial *t, buffer *why) {
  const char *const arguments[] = {u->place.daemon, "--migrations", u->place.has_config ? "--config" : NULL,
                                   u->place.config, NULL};
  run_result now, then;
  report_step(&u->report, "Migrations of the database");
  bool fine = trial_run(u, t, "--migrations", &then, why);
  buffer ignored = {0};
  if (fine && !run_simple(arguments, CHECK_MS, &now, &ignored)) {
    report_end_step(&u->report, REPORT_WARNING, "the installed release does not tell its own, so they cannot be compared",
                    NULL);
    run_result_free(&now);
  } else if (fine) {
    cJSON *before = parse_lines(&now.output), *after = parse_lines(&then.output);
    changes c = {0};
    find_changes(before, after, &c);
    fine = tell_changes(u, &c, why);
    cJSON_Delete(before);
    cJSON_Delete(after);
    buffer_free(&c.named);
    buffer_free(&c.broken);
    buffer_free(&c.narrowed);
    run_result_free(&now);
  } else (void)upgrade_fails(u, why, NULL);
  buffer_free(&ignored);
  run_result_free(&then);
  return fine;
}

/* ---- The configuration, policies and plugins, by both releases ---- */

static bool check_installed(upgrade *u, buffer *why) {
  run_result result;
  report_step(&u->report, "The configuration, by the installed release");
  const char *const arguments[] = {u->place.daemon, "--check", u->place.has_config ? "--config" : NULL, u->place.config,
                                   NULL};
  const run_program program = {.arguments = arguments, .user = u->place.root && u->place.has_user ? u->place.uid : 0};
  const run_options options = {.limit_ms = CHECK_MS};
  bool fine = run_pipeline(&program, 1, &options, &result, why);
  run_result_free(&result);
  return fine ? upgrade_fine(u, "valid") : upgrade_fails(u, why, "mend it, then: purlind --check");
}

static bool check_configuration(upgrade *u, const trial *t, size_t remaining, buffer *why) {
  run_result result;
  report_step(&u->report, "Configuration, policies and plugins, by the new release");
  bool fine = trial_run(u, t, "--check", &result, why);
  run_result_free(&result);
  if (!fine) return upgrade_fails(u, why, "mend what it names; nothing was changed");
  if (remaining > 0)
    return upgrade_fine(u, "valid, with %zu plugin%s that stay%s", remaining, remaining == 1 ? "" : "s",
                        remaining == 1 ? "s" : "");
  return upgrade_fine(u, "valid");
}

/* ---- Dependencies, room ---- */

static size_t count_lines(const char *text, const char *prefix, buffer *named) {
  size_t count = 0, size = strlen(prefix);
  for (const char *at = text; *at; at += strcspn(at, "\n"), at += *at == '\n') {
    if (strncmp(at, prefix, size) != 0) continue;
    count++;
    if (named) buffer_format(named, " %.*s", (int)strcspn(at + size, " \n"), at + size);
  }
  return count;
}

static bool check_dependencies(upgrade *u, buffer *why) {
  const char *arguments[UPGRADE_PACKAGES + 8] = {"apt-get", "install", "--simulate", "--no-install-recommends",
                                                 "--quiet", "--"};
  char apt[PATH_MAX];
  size_t count = 6;
  report_step(&u->report, "Dependencies");
  if (!run_find("apt-get", apt)) {
    report_end_step(&u->report, REPORT_SKIPPED, "there is no apt-get; dpkg will say", NULL);
    return true;
  }
  for (size_t i = 0; i < u->package_count; i++)
    if (u->packages[i].new_file[0]) arguments[count++] = u->packages[i].new_file;
  run_result result;
  bool fine = run_simple(arguments, CHECK_MS, &result, why);
  buffer removed = {0};
  size_t removes = fine ? count_lines(buffer_end(&result.output), "Remv ", &removed) : 0;
  size_t installs = fine ? count_lines(buffer_end(&result.output), "Inst ", NULL) : 0;
  if (removes > 0) buffer_format(why, "the installation would remove%s", buffer_end(&removed));
  buffer_free(&removed);
  run_result_free(&result);
  if (!fine || removes > 0)
    return upgrade_fails(u, why, "give the other packages of the release, too: --to FOLDER; or: apt-get update");
  return upgrade_fine(u, "%zu package%s to install", installs, installs == 1 ? "" : "s");
}

static uint64_t size_of(const char *path) {
  struct stat about;
  return stat(path, &about) == 0 ? (uint64_t)about.st_size : 0;
}

static bool has_room(const char *folder, uint64_t wanted, buffer *why) {
  struct statvfs about;
  if (statvfs(folder, &about) != 0) {
    buffer_format(why, "%s: %s", folder, strerror(errno));
    return false;
  }
  uint64_t room = (uint64_t)about.f_bavail * about.f_frsize;
  if (room >= wanted) return true;
  buffer_format(why, "%s has ", folder);
  report_add_bytes(why, room);
  buffer_text(why, " left, ");
  report_add_bytes(why, wanted);
  buffer_text(why, " are needed");
  return false;
}

static bool check_room(upgrade *u, buffer *why) {
  uint64_t packages = 0;
  report_step(&u->report, "Room on the disks");
  for (size_t i = 0; i < u->package_count; i++) packages += size_of(u->packages[i].new_file);
  /* A package takes some four times its size when it is unpacked, and is there twice while it is replaced. */
  bool fine = has_room(u->folder, 6 * packages + SPARE, why) && has_room("/usr", 8 * packages + SPARE / 4, why);
  return fine ? upgrade_fine(u, "enough")
              : upgrade_fails(u, why, "make room: apt-get clean, journalctl --vacuum-size=200M");
}

/* ---- The server ---- */

static bool check_server(upgrade *u, buffer *why) {
  const care_request request = {.method = "GET", .path = "/readyz", .timeout_ms = 10000};
  service_state state = {0};
  unsigned http = 0;
  buffer answer = {0};
  report_step(&u->report, "The server");
  bool answers = request_send(&u->place, &request, &http, &answer, why) && http == 200;
  if (http != 0 && !answers) buffer_format(why, "/readyz answers %u: %s", http, buffer_end(&answer));
  buffer_free(&answer);
  buffer words = {0};
  (void)service_ask(u, &state, &words);
  buffer_free(&words);
  char pid[32];
  (void)snprintf(pid, sizeof pid, "%llu", (unsigned long long)state.pid);
  if (!answers && !u->options.no_answers) {
    return upgrade_fails(u, why,
                         state.runs ? "purlin doctor; or, to upgrade one that does not serve: --without-answers"
                                    : "systemctl start purlin; or, to upgrade one that does not run: --without-answers");
  }
  buffer_clear(why);
  if (u->journal.file >= 0 && (!journal_fact(&u->journal, "ran", answers || state.runs ? "yes" : "no", why) ||
                               !journal_fact(&u->journal, "pid", pid, why)))
    return upgrade_fails(u, why, NULL);
  return upgrade_fine(u, answers      ? "ready"
                         : state.runs ? "it runs, and is not ready"
                                      : "it does not run, and will not be started");
}

/* ---- The rest of the installation ---- */

static void note_finding(void *to, const char *check, report_outcome outcome, const char *detail, const char *remedy) {
  upgrade *u = to;
  if (outcome != REPORT_FAILED) return;
  report_step(&u->report, "The installation, %s", check);
  report_end_step(&u->report, REPORT_WARNING, detail, remedy);
}

/* What `purlin doctor` calls a problem and does not stand in an upgrade's way is said, and no more: what would stand there is looked at by
 * the checks around this one. */
static void look_at_installation(upgrade *u) {
  if (doctor_examine(&u->place, true, note_finding, u) > 0) return;
  report_step(&u->report, "The installation");
  (void)upgrade_fine(u, "well");
}

bool check_all(upgrade *u, buffer *why) {
  trial t = {0};
  size_t remaining = 0;
  look_at_installation(u);
  if (!check_server(u, why) || !check_installed(u, why) || !check_room(u, why) || !check_dependencies(u, why)) return false;
  report_step(&u->report, "Unpacking the new release to try it");
  bool fine = trial_begin(u, &t, &remaining, why);
  if (fine) {
    (void)upgrade_fine(u, "%s", package_main(u)->after);
    fine = check_configuration(u, &t, remaining, why) && check_migrations(u, &t, why);
  } else (void)upgrade_fails(u, why, NULL);
  trial_end(&t);
  return fine;
}
