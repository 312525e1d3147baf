#include "care/upgrade.h"
#include "core/text.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* What each option does stands in ctl/commands.c. */
static const char USAGE[] = "Usage: purlin upgrade --to apt|FILE.deb|FOLDER [OPTION ...]\n"
                            "       purlin upgrade --resume | --rollback | --status\n"
                            "'purlin upgrade --help' tells more.\n";

static const char BACKUPS[] = "/var/backups/purlin";

/* ---- Steps of this file ---- */

static bool back_up(upgrade *u, buffer *why) {
  char self[PATH_MAX];
  const char *to = u->options.backup ? u->options.backup : BACKUPS;
  report_step(&u->report, "A backup in %s", to);
  if (u->options.no_backup) {
    report_end_step(&u->report, REPORT_SKIPPED, "not wanted", NULL);
    return true;
  }
  ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
  self[size > 0 ? size : 0] = '\0';
  const char *const arguments[] = {self, "backup", "--to", to, u->place.has_config ? "--config" : NULL, u->place.config,
                                   NULL};
  run_result result;
  bool fine = run_simple(arguments, 0, &result, why);
  run_result_free(&result);
  if (!fine) return upgrade_fails(u, why, "mend what it says, or: --without-backup");
  return upgrade_fine(u, "done");
}

/* In this order. What changes nothing fails without a trace. */
static const upgrade_step forward[] = {
    {"check", check_all, false},
    {"keep", packages_keep, false},
    {"backup", back_up, false},
    {"remember", answers_step_remember, false},
    {"install", packages_install, true},
    {"restart", service_step_restart, true},
    {"compare", answers_step_compare, true},
};
static const upgrade_step backward[] = {
    {"back", packages_put_back, true},
    {"back-restart", service_step_restart, true},
    {"back-compare", answers_step_compare, true},
};
enum { FORWARD = sizeof forward / sizeof forward[0], BACKWARD = sizeof backward / sizeof backward[0] };

uint32_t upgrade_wait_s(const upgrade *u) {
  int64_t seconds = UPGRADE_WAIT_S;
  const char *given = u->options.wait;
  return given && text_to_int(given, strlen(given), &seconds) ? (uint32_t)seconds : UPGRADE_WAIT_S;
}

/* ---- The folder ---- */

static bool complain(const char *what, const char *why) {
  (void)fprintf(stderr, "purlin: upgrade: %s: %s\n", what, why);
  return false;
}

/* What stands in it is believed and done as root. */
static bool open_folder(upgrade *u) {
  const char *given = getenv("PURLIN_UPGRADE_FOLDER");
  char path[PATH_MAX];
  struct stat about;
  if (snprintf(u->folder, sizeof u->folder, "%s", given && *given ? given : UPGRADE_FOLDER) >= PATH_MAX - 64) return false;
  u->lock = -1;
  if (mkdir(u->folder, 0711) != 0 && errno != EEXIST)
    return complain(u->folder, errno == EACCES ? "only root can upgrade: sudo purlin upgrade ..." : strerror(errno));
  if (lstat(u->folder, &about) != 0) return complain(u->folder, strerror(errno));
  if (!S_ISDIR(about.st_mode) || about.st_uid != geteuid() || (about.st_mode & 022) != 0)
    return complain(u->folder, geteuid() == 0 ? "others could have changed it: chown root:root and chmod 711, or delete it"
                                              : "only root can upgrade: sudo purlin upgrade ...");
  if (!upgrade_path(u, "packages", path) || (mkdir(path, 0700) != 0 && errno != EEXIST))
    return complain(path, strerror(errno));
  if (!upgrade_path(u, "lock", path)) return false;
  u->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (u->lock < 0) return complain(path, strerror(errno));
  if (flock(u->lock, LOCK_EX | LOCK_NB) == 0) return true;
  return complain(path, errno == EWOULDBLOCK ? "another upgrade is under way; 'purlin upgrade --status' tells where it is"
                                             : strerror(errno));
}

static void remove_in_folder(const upgrade *u, const char *name) {
  char path[PATH_MAX];
  if (upgrade_path(u, name, path)) (void)unlink(path);
}

/* ---- The first record: what an interrupted upgrade must know ---- */

static void add_text(cJSON *to, const char *name, const char *value) {
  if (value) (void)cJSON_AddStringToObject(to, name, value);
}

static void add_list(cJSON *to, const char *name, const char *const *values, size_t count) {
  cJSON *list = cJSON_AddArrayToObject(to, name);
  for (size_t i = 0; i < count; i++) (void)cJSON_AddItemToArray(list, cJSON_CreateString(values[i]));
}

static cJSON *begin_record(const upgrade *u) {
  const upgrade_options *o = &u->options;
  cJSON *first = cJSON_CreateObject();
  (void)cJSON_AddNumberToObject(first, "format", 1);
  add_text(first, "from", package_main(u)->before);
  add_text(first, "to", package_main(u)->after);
  add_text(first, "config", u->place.has_config ? u->place.config : NULL);
  add_text(first, "backup", o->backup);
  add_text(first, "service", o->service);
  add_text(first, "wait", o->wait);
  (void)cJSON_AddBoolToObject(first, "without_backup", o->no_backup);
  (void)cJSON_AddBoolToObject(first, "without_answers", o->no_answers);
  (void)cJSON_AddBoolToObject(first, "breaking", o->breaking);
  add_list(first, "token_files", o->token_files, o->token_count);
  add_list(first, "old", o->old, o->old_count);
  (void)cJSON_AddItemToObject(first, "packages", packages_write(u));
  return first;
}

static bool is_set(const cJSON *first, const char *name) {
  return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(first, name));
}

static void recall(const upgrade *u, const char *name, const char **value) {
  if (!*value) *value = journal_begin_text(&u->journal, name);
}

static void read_list(const cJSON *from, const char *name, const char **values, size_t *count, size_t most) {
  const cJSON *one;
  if (*count > 0) return;
  cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(from, name)) {
    if (cJSON_IsString(one) && *count < most) values[(*count)++] = one->valuestring;
  }
}

/* What is given now counts more. Texts are borrowed from the journal. */
static bool read_begin_record(upgrade *u, buffer *why) {
  upgrade_options *o = &u->options;
  const cJSON *first = cJSON_GetArrayItem(u->journal.records, 0);
  const cJSON *format = cJSON_GetObjectItemCaseSensitive(first, "format");
  if (!cJSON_IsNumber(format) || format->valuedouble != 1) {
    buffer_format(why, "%s was written by another release, in a form that this one does not know", u->journal.path);
    return false;
  }
  recall(u, "config", &o->config);
  recall(u, "backup", &o->backup);
  recall(u, "service", &o->service);
  recall(u, "wait", &o->wait);
  o->no_backup |= is_set(first, "without_backup");
  o->no_answers |= is_set(first, "without_answers");
  o->breaking |= is_set(first, "breaking");
  read_list(first, "token_files", o->token_files, &o->token_count, UPGRADE_TOKENS);
  read_list(first, "old", o->old, &o->old_count, UPGRADE_PACKAGES);
  if (packages_read(u, cJSON_GetObjectItemCaseSensitive(first, "packages"))) return true;
  buffer_format(why, "%s names no packages: it was written by another release", u->journal.path);
  return false;
}

/* ---- Ending ---- */

static int finish(upgrade *u, const char *outcome, buffer *why) {
  cJSON *end = cJSON_CreateObject();
  (void)cJSON_AddStringToObject(end, "end", outcome);
  if (why->size > 0) (void)cJSON_AddStringToObject(end, "why", buffer_end(why));
  buffer trouble = {0};
  remove_in_folder(u, "reserve");
  if (!journal_add(&u->journal, end, &trouble) || !journal_finish(&u->journal, u->folder, &trouble)) {
    report_step(&u->report, "The journal");
    report_end_step(&u->report, REPORT_WARNING, buffer_end(&trouble), NULL);
  }
  buffer_free(&trouble);
  (void)cJSON_AddStringToObject(u->report.document, "outcome", outcome);
  return CARE_FINE;
}

static bool cannot_go_back(const upgrade *u) {
  return u->options.breaking && journal_state_of(&u->journal, "restart") != STEP_NEVER && !u->options.rollback;
}

/* The way back, from the beginning or from where it was interrupted. */
static void go_back(upgrade *u, buffer *why) {
  buffer first = {0}, trouble = {0};
  buffer_text(&first, buffer_end(why));
  report_say(&u->report, "Back to %s:", package_main(u)->before);
  if (!upgrade_go(u, backward, BACKWARD, &trouble)) {
    (void)finish(u, "rolled back", &first);
    report_say(&u->report, "%s is installed and serves, as before. Nothing that was acknowledged is lost.",
               package_main(u)->before);
  } else {
    (void)cJSON_AddStringToObject(u->report.document, "outcome", "interrupted");
    report_say(&u->report, "This is not over. When what is said above is mended: purlin upgrade --rollback");
  }
  buffer_free(&first);
  buffer_free(&trouble);
}

static void go_on(upgrade *u) {
  buffer why = {0};
  const upgrade_step *failed = upgrade_go(u, forward, FORWARD, &why);
  if (!failed) {
    (void)finish(u, "upgraded", &why);
    report_say(&u->report, "Purlin %s serves. 'purlin upgrade --rollback' goes back to %s.", package_main(u)->after,
               package_main(u)->before);
  } else if (!upgrade_has_changed(u, forward, FORWARD)) {
    (void)finish(u, "unchanged", &why);
    report_say(&u->report, "Nothing was changed.");
  } else if (cannot_go_back(u)) {
    (void)cJSON_AddStringToObject(u->report.document, "outcome", "interrupted");
    report_say(
        &u->report,
        "The database may have been changed in a way that %s cannot work with, so it is not put back by itself. Mend what is\n"
        "said above, then: purlin upgrade --resume. Or go back to the backup: purlin upgrade --rollback, then purlin restore.",
        package_main(u)->before);
  } else go_back(u, &why);
  buffer_free(&why);
}

/* ---- What is asked for ---- */

static bool journal_place(const upgrade *u, const char *name, char path[PATH_MAX]) { return upgrade_path(u, name, path); }

static int refuse(upgrade *u, buffer *why) {
  (void)complain("refused", why->size ? buffer_end(why) : "no memory");
  buffer_free(why);
  journal_close(&u->journal);
  return CARE_FAILED;
}

/* Once: what could not be read needs no closing. */
static bool open_place(upgrade *u) {
  u->has_place = installation_must(&u->place, u->options.config);
  return u->has_place;
}

static int begin(upgrade *u) {
  buffer why = {0};
  char path[PATH_MAX];
  if (!journal_place(u, "journal", path)) return CARE_FAILED;
  if (access(path, F_OK) == 0) {
    buffer_text(
        &why,
        "an upgrade was interrupted: 'purlin upgrade --resume' goes on, '--rollback' goes back, '--status' tells more");
    return refuse(u, &why);
  }
  if (!packages_find(u, &why)) return refuse(u, &why);
  const package *p = package_main(u);
  if (!p->new_file[0] || strcmp(p->before, p->after) == 0) {
    (void)printf("purlin: upgrade: %s is installed already, and nothing newer is there\n", p->before);
    return CARE_FINE;
  }
  if (!u->options.check && !journal_create(&u->journal, u->folder, begin_record(u), &why)) return refuse(u, &why);
  report_begin(&u->report, "upgrade", u->options.json);
  (void)cJSON_AddStringToObject(u->report.document, "from", p->before);
  (void)cJSON_AddStringToObject(u->report.document, "to", p->after);
  report_say(&u->report, "Purlin %s -> %s", p->before, p->after);
  if (u->options.check) (void)check_all(u, &why);
  else go_on(u);
  buffer_free(&why);
  return report_end(&u->report);
}

static bool has_failed(const upgrade *u) {
  for (size_t i = 0; i < FORWARD; i++)
    if (forward[i].changes && journal_state_of(&u->journal, forward[i].name) == STEP_FAILED) return true;
  return false;
}

/* The last upgrade, when it is what is installed now. */
static bool reopen_last(upgrade *u, buffer *why) {
  char last[PATH_MAX], path[PATH_MAX], version[PACKAGE_TEXT];
  if (!journal_place(u, "last", last) || !journal_place(u, "journal", path)) return false;
  if (!journal_open(&u->journal, last, false, why)) {
    if (why->size == 0) buffer_text(why, "there was no upgrade that could be taken back");
    return false;
  }
  const cJSON *end = cJSON_GetArrayItem(u->journal.records, cJSON_GetArraySize(u->journal.records) - 1);
  const char *outcome = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(end, "end"));
  const char *to = journal_begin_text(&u->journal, "to");
  bool is_so = outcome && to && strcmp(outcome, "upgraded") == 0;
  if (!is_so) buffer_format(why, "the last upgrade ended with '%s': there is nothing to take back", outcome ? outcome : "");
  else if (package_installed("purlin", version, why) && strcmp(version, to) != 0) {
    buffer_format(why, "the last upgrade was to %s, and %s is installed: it cannot be taken back", to, version);
    is_so = false;
  }
  is_so = is_so && why->size == 0;
  journal_close(&u->journal);
  if (is_so && rename(last, path) != 0) {
    buffer_format(why, "%s: %s", last, strerror(errno));
    is_so = false;
  }
  return is_so && journal_open(&u->journal, path, true, why);
}

static int go_on_from_journal(upgrade *u) {
  buffer why = {0};
  char path[PATH_MAX];
  if (!journal_place(u, "journal", path)) return CARE_FAILED;
  bool open = journal_open(&u->journal, path, true, &why);
  if (!open && why.size > 0) return refuse(u, &why);
  if (!open && u->options.resume) {
    (void)puts("purlin: upgrade: no upgrade was interrupted");
    return CARE_FINE;
  }
  if (!open && !reopen_last(u, &why)) return refuse(u, &why);
  if (!read_begin_record(u, &why)) return refuse(u, &why);
  if (!open_place(u)) return CARE_FAILED;
  report_begin(&u->report, "upgrade", u->options.json);
  report_say(&u->report, "Purlin %s -> %s, again", package_main(u)->before, package_main(u)->after);
  bool goes_back = journal_state_of(&u->journal, backward[0].name) != STEP_NEVER || (has_failed(u) && !cannot_go_back(u));
  if (u->options.rollback && !upgrade_has_changed(u, forward, FORWARD)) {
    (void)finish(u, "unchanged", &why);
    report_say(&u->report, "Nothing had been changed.");
  } else if (goes_back || u->options.rollback) {
    buffer_text(&why, u->options.rollback ? "asked for" : "a step had failed");
    go_back(u, &why);
  } else go_on(u);
  buffer_free(&why);
  return report_end(&u->report);
}

/* ---- --status ---- */

static void print_record(const cJSON *record) {
  const char *at = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(record, "at"));
  static const char *const kinds[] = {"step", "end"};
  for (size_t i = 0; i < 2; i++) {
    const char *what = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(record, kinds[i]));
    const char *is = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(record, "is"));
    const char *why = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(record, "why"));
    if (!what) continue;
    (void)printf("  %s  %s%s%s%s%s\n", at ? at : "", what, is ? " " : "", is ? is : "", why ? ": " : "", why ? why : "");
  }
}

static int status(upgrade *u) {
  static const char *const names[] = {"journal", "last"};
  buffer why = {0};
  char path[PATH_MAX];
  bool open = false;
  size_t i = 0;
  for (; i < 2 && !open && why.size == 0; i++)
    open = journal_place(u, names[i], path) && journal_open(&u->journal, path, false, &why);
  if (!open && why.size > 0) return refuse(u, &why);
  if (!open) {
    (void)puts(u->options.json ? "{\"state\": \"none\"}" : "No upgrade was made here by 'purlin upgrade'.");
    return CARE_FINE;
  }
  const char *from = journal_begin_text(&u->journal, "from"), *to = journal_begin_text(&u->journal, "to");
  bool over = i == 2;
  if (u->options.json) {
    cJSON *document = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(document, "state", over ? "over" : "interrupted");
    (void)cJSON_AddItemReferenceToObject(document, "journal", u->journal.records);
    char *text = cJSON_Print(document);
    (void)puts(text ? text : "");
    cJSON_free(text);
    cJSON_Delete(document);
  } else {
    const cJSON *record;
    (void)printf("Purlin %s -> %s%s\n", from ? from : "?", to ? to : "?", over ? "" : ": interrupted, or under way");
    cJSON_ArrayForEach(record, u->journal.records) print_record(record);
    if (!over) (void)puts("'purlin upgrade --resume' goes on, 'purlin upgrade --rollback' goes back.");
  }
  journal_close(&u->journal);
  return CARE_FINE;
}

/* ---- Arguments ---- */

/* Options that may be given several times are taken out of `arguments`; how many are left. -1: too many, or one has no value. */
static int take_lists(upgrade_options *o, int count, char **arguments) {
  const struct {
    const char *name, **list;
    size_t *count, most;
  } lists[] = {{"--to", o->to, &o->to_count, UPGRADE_PACKAGES},
               {"--old", o->old, &o->old_count, UPGRADE_PACKAGES},
               {"--token-file", o->token_files, &o->token_count, UPGRADE_TOKENS}};
  int left = 0;
  for (int i = 0; i < count; i++) {
    size_t l = 0;
    while (l < 3 && strcmp(lists[l].name, arguments[i]) != 0) l++;
    if (l == 3) arguments[left++] = arguments[i];
    else if (i + 1 == count || *lists[l].count == lists[l].most) {
      (void)fprintf(stderr, "purlin: upgrade: %s %s; 'purlin upgrade --help' tells more\n", arguments[i],
                    i + 1 == count ? "needs a value" : "is given too often");
      return -1;
    } else lists[l].list[(*lists[l].count)++] = arguments[++i];
  }
  return left;
}

static bool read_arguments(upgrade_options *o, int count, char **arguments, int *code) {
  const care_option options[] = {{"--config", &o->config, NULL},
                                 {"--backup", &o->backup, NULL},
                                 {"--service", &o->service, NULL},
                                 {"--wait", &o->wait, NULL},
                                 {"--without-backup", NULL, &o->no_backup},
                                 {"--without-answers", NULL, &o->no_answers},
                                 {"--breaking", NULL, &o->breaking},
                                 {"--resume", NULL, &o->resume},
                                 {"--rollback", NULL, &o->rollback},
                                 {"--status", NULL, &o->status},
                                 {"--check", NULL, &o->check},
                                 {"--json", NULL, &o->json}};
  *code = CARE_USAGE;
  int left = take_lists(o, count, arguments);
  if (left < 0 ||
      !care_arguments("upgrade", USAGE, options, sizeof options / sizeof options[0], left, arguments, NULL, code))
    return false;
  int asked = (o->to_count > 0) + o->resume + o->rollback + o->status;
  int64_t seconds = 1;
  *code = CARE_USAGE;
  if (asked != 1) (void)fputs(USAGE, stderr);
  else if (o->wait && (!text_to_int(o->wait, strlen(o->wait), &seconds) || seconds < 1 || seconds > 86400))
    (void)fprintf(stderr, "purlin: upgrade: --wait needs seconds, from 1 to 86400, not '%s'\n", o->wait);
  else return true;
  return false;
}

/* What is remembered must mean the same from another folder. */
static bool make_absolute(upgrade *u, char *kept[], size_t most) {
  upgrade_options *o = &u->options;
  size_t count = 0;
  const char **paths[2 * UPGRADE_PACKAGES + UPGRADE_TOKENS];
  size_t wanted = 0;
  for (size_t i = 0; i < o->token_count; i++) paths[wanted++] = &o->token_files[i];
  for (size_t i = 0; i < o->old_count; i++) paths[wanted++] = &o->old[i];
  if (o->config) paths[wanted++] = &o->config;
  if (o->service) paths[wanted++] = &o->service;
  for (size_t i = 0; i < wanted && count < most; i++) {
    char *path = realpath(*paths[i], NULL);
    if (!path) return complain(*paths[i], strerror(errno));
    *paths[i] = kept[count++] = path;
  }
  return true;
}

/* A terminal that goes away, or Ctrl-C, must not end this half-way: package managers run in process groups of their own. */
static void ignore_signals(void) {
  static const int signals[] = {SIGHUP, SIGINT, SIGPIPE};
  const struct sigaction ignore = {.sa_handler = SIG_IGN};
  for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) (void)sigaction(signals[i], &ignore, NULL);
}

int care_upgrade(bool json, int count, char **arguments) {
  static upgrade u;
  char *kept[UPGRADE_PACKAGES + UPGRADE_TOKENS + 2] = {NULL};
  int code = CARE_FAILED;
  u = (upgrade){.journal.file = -1, .lock = -1, .options.json = json};
  if (!read_arguments(&u.options, count, arguments, &code)) return code;
  code = CARE_FAILED;
  if (make_absolute(&u, kept, sizeof kept / sizeof kept[0])) {
    ignore_signals();
    if (u.options.status) {
      (void)snprintf(u.folder, sizeof u.folder, "%s",
                     getenv("PURLIN_UPGRADE_FOLDER") ? getenv("PURLIN_UPGRADE_FOLDER") : UPGRADE_FOLDER);
      code = status(&u);
    } else if (open_folder(&u)) {
      bool anew = !u.options.resume && !u.options.rollback;
      if (!anew) code = go_on_from_journal(&u);
      else if (open_place(&u)) code = begin(&u);
      if (u.has_place) installation_close(&u.place);
    }
  }
  journal_close(&u.journal);
  if (u.lock >= 0) (void)close(u.lock);
  for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) free(kept[i]);
  return code;
}
