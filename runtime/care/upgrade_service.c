#include "care/upgrade.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <purlin/context.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The daemon is started and ended by
 *   - the program that --service names (PROGRAM start|stop|status purlin), for init systems of other kinds;
 *   - systemd, where it has the unit;
 *   - this command itself, where neither is there: a container, a chroot. */

enum {
  COMMAND_MS = 120000,
  ASK_MS = 10000,
  END_S = 90,
  PAUSE_MS = 250,
  MOST_RESTARTS = 3,
  LAST_WORDS = 1500,
  LONGEST_COMMAND = 1024 * 1024
};
static const char UNIT[] = "purlin.service";

static void pause_ms(long ms) {
  const struct timespec time = {ms / 1000, ms % 1000 * 1000000};
  (void)nanosleep(&time, NULL);
}

/* ---- By hand: processes that execute purlind ---- */

static bool executes(pid_t pid, const char *program) {
  char link[64], path[PATH_MAX + 16];
  (void)snprintf(link, sizeof link, "/proc/%ld/exe", (long)pid);
  ssize_t size = readlink(link, path, sizeof path - 1);
  if (size <= 0) return false;
  path[size] = '\0';
  char *deleted = strstr(path, " (deleted)"); /* its file was replaced */
  if (deleted) *deleted = '\0';
  return strcmp(path, program) == 0;
}

static pid_t parent_of(pid_t pid) {
  char path[64], text[512];
  (void)snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t got = file < 0 ? 0 : read(file, text, sizeof text - 1);
  if (file >= 0) (void)close(file);
  text[got > 0 ? got : 0] = '\0';
  const char *end = strrchr(text, ')'); /* the name may hold anything */
  long parent = 0;
  if (!end || sscanf(end + 1, " %*c %ld", &parent) != 1) return 0;
  return (pid_t)parent;
}

/* The spawner where it is a process of its own: trainings depend on it, and an upgrade leaves it alone. */
static bool is_spawner(pid_t pid) {
  char path[64];
  buffer words = {0}, ignored = {0};
  (void)snprintf(path, sizeof path, "/proc/%ld/cmdline", (long)pid);
  bool is = file_read(path, LONGEST_COMMAND, &words, &ignored) && memmem(buffer_end(&words), words.size, "--spawner", 9);
  buffer_free(&words);
  buffer_free(&ignored);
  return is;
}

/* The daemon; its own children execute the same file. 0: none runs. */
static pid_t find_process(const upgrade *u) {
  char program[PATH_MAX];
  DIR *all = realpath(u->place.daemon, program) ? opendir("/proc") : NULL;
  pid_t found = 0;
  for (struct dirent *entry = all ? readdir(all) : NULL; entry; entry = readdir(all)) {
    pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
    if (pid > 0 && pid != getpid() && executes(pid, program) && !executes(parent_of(pid), program) && !is_spawner(pid))
      found = pid;
  }
  if (all) (void)closedir(all);
  return found;
}

static bool end_process(const upgrade *u, buffer *why) {
  pid_t pid = find_process(u);
  if (pid == 0) return true;
  if (kill(pid, SIGTERM) != 0 && errno != ESRCH) {
    buffer_format(why, "the daemon (process %ld) cannot be ended: %s", (long)pid, strerror(errno));
    return false;
  }
  for (int waited = 0; waited < END_S * 1000; waited += PAUSE_MS) {
    if (find_process(u) != pid) return true;
    pause_ms(PAUSE_MS);
  }
  buffer_format(why, "the daemon (process %ld) has not ended within %d s", (long)pid, END_S);
  return false;
}

/* Started by a shell's own means it would be the same; but a path is no shell's word. setsid: it lives on. */
static bool start_process(const upgrade *u, buffer *why) {
  char log[PATH_MAX];
  if (!upgrade_path(u, "daemon.log", log)) return false;
  int file = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) {
    buffer_format(why, "%s: %s", log, strerror(errno));
    return false;
  }
  const char *const arguments[] = {"setsid", "--fork", u->place.daemon, "--config", u->place.config, NULL};
  const run_program program = {.arguments = arguments,
                               .output = file,
                               .outlives = true,
                               .user = u->place.root && u->place.has_user ? u->place.uid : 0};
  const run_options options = {.limit_ms = ASK_MS};
  run_result result;
  bool fine = run_pipeline(&program, 1, &options, &result, why);
  run_result_free(&result);
  (void)close(file);
  return fine;
}

/* ---- By whichever way ---- */

static bool has_unit(const upgrade *u) {
  unit_state state;
  buffer ignored = {0};
  bool has = u->place.systemd && unit_ask(&u->place, UNIT, &state, &ignored) && strcmp(state.load, "loaded") == 0;
  buffer_free(&ignored);
  return has;
}

static bool run_service(const upgrade *u, const char *word, buffer *why, int *code) {
  const char *const arguments[] = {u->options.service, word, "purlin", NULL};
  run_result result;
  bool fine = run_simple(arguments, COMMAND_MS, &result, why);
  *code = result.code;
  run_result_free(&result);
  return fine;
}

static bool run_systemctl(const char *word, buffer *why) {
  const char *const arguments[] = {"systemctl", "--no-block", word, "--", UNIT, NULL};
  run_result result;
  bool fine = run_simple(arguments, COMMAND_MS, &result, why);
  run_result_free(&result);
  return fine;
}

bool service_ask(const upgrade *u, service_state *out, buffer *why) {
  *out = (service_state){0};
  if (u->options.service) {
    buffer words = {0};
    int code = 0;
    out->runs = run_service(u, "status", &words, &code);
    bool fine = out->runs || code > 0;
    if (!fine) buffer_text(why, buffer_end(&words));
    buffer_free(&words);
    return fine;
  }
  if (!has_unit(u)) {
    out->pid = (uint64_t)find_process(u);
    out->runs = out->pid != 0;
    return true;
  }
  unit_state state;
  if (!unit_ask(&u->place, UNIT, &state, why)) return false;
  out->runs = strcmp(state.active, "inactive") != 0 && strcmp(state.active, "failed") != 0;
  out->gives_up = strcmp(state.active, "failed") == 0;
  out->pid = state.pid;
  out->restarts = state.restarts;
  return true;
}

bool service_restart(upgrade *u, buffer *why) {
  int code;
  if (u->options.service) {
    buffer ignored = {0};
    (void)run_service(u, "stop", &ignored, &code); /* one that does not run cannot be stopped */
    buffer_free(&ignored);
    return run_service(u, "start", why, &code);
  }
  if (!has_unit(u)) return end_process(u, why) && start_process(u, why);
  buffer ignored = {0};
  service_state state;
  if (service_ask(u, &state, &ignored)) u->stale_pid = state.pid;
  (void)run_systemctl("daemon-reload", &ignored);
  (void)run_systemctl("reset-failed", &ignored);
  buffer_free(&ignored);
  return run_systemctl("restart", why);
}

/* ---- Ready ---- */

static void add_last_words(const upgrade *u, buffer *why) {
  static const char *const arguments[] = {"journalctl", "--unit", UNIT, "--lines=6", "--output=cat", "--no-pager", NULL};
  char log[PATH_MAX];
  run_result result = {0};
  buffer text = {0}, ignored = {0};
  if (u->place.systemd && run_simple(arguments, ASK_MS, &result, &ignored))
    buffer_add(&text, result.output.data, result.output.size);
  else if (upgrade_path(u, "daemon.log", log)) (void)file_read(log, 64UL * 1024 * 1024, &text, &ignored);
  while (text.size > 0 && text.data[text.size - 1] == '\n') text.size--;
  size_t from = text.size > LAST_WORDS ? text.size - LAST_WORDS : 0;
  if (text.size > 0) buffer_format(why, ". It said:\n%s", buffer_end(&text) + from);
  run_result_free(&result);
  buffer_free(&text);
  buffer_free(&ignored);
}

bool service_wait_ready(upgrade *u, buffer *why) {
  const care_request request = {.method = "GET", .path = "/readyz", .timeout_ms = ASK_MS};
  uint64_t until_ns = purlin_ticks_ns() + (uint64_t)upgrade_wait_s(u) * UINT64_C(1000000000), first_restarts = UINT64_MAX;
  buffer answer = {0};
  unsigned quiet_rounds = 0;
  bool ready = false, hopeless = false;
  while (!ready && !hopeless && purlin_ticks_ns() < until_ns) {
    service_state state;
    unsigned http = 0;
    buffer_clear(why);
    buffer words = {0};
    bool known = service_ask(u, &state, &words);
    /* One that is about to end still says that it is ready. */
    bool stale = known && u->stale_pid != 0 && state.pid == u->stale_pid;
    ready = !stale && request_send(&u->place, &request, &http, &answer, why) && http == 200;
    if (http != 0) buffer_format(why, "/readyz answers %u", http);
    if (known && !ready) {
      if (first_restarts == UINT64_MAX || state.restarts < first_restarts) first_restarts = state.restarts;
      quiet_rounds = state.runs ? 0 : quiet_rounds + 1; /* it may be about to start */
      hopeless = state.gives_up || quiet_rounds > 4 || state.restarts >= first_restarts + MOST_RESTARTS;
    }
    buffer_free(&words);
    if (!ready && !hopeless) pause_ms(PAUSE_MS);
  }
  buffer_free(&answer);
  if (ready) return true;
  buffer words = {0};
  if (hopeless) buffer_text(&words, "the daemon does not stay");
  else buffer_format(&words, "the daemon was not ready within %u s (%s)", upgrade_wait_s(u), buffer_end(why));
  add_last_words(u, &words);
  buffer_clear(why);
  buffer_text(why, buffer_end(&words));
  buffer_free(&words);
  return false;
}

/* Whether the package's own scripts have restarted it already: it is another process than when the upgrade began. */
static bool was_restarted(const upgrade *u) {
  const char *before = journal_recall(&u->journal, "pid");
  service_state state;
  buffer ignored = {0};
  bool known = before && strcmp(before, "0") != 0 && service_ask(u, &state, &ignored) && state.runs && state.pid != 0;
  buffer_free(&ignored);
  return known && strtoull(before, NULL, 10) != state.pid;
}

bool service_step_restart(upgrade *u, buffer *why) {
  const char *ran = journal_recall(&u->journal, "ran");
  report_step(&u->report, "The daemon starts, and migrates its database");
  if (ran && strcmp(ran, "no") == 0) {
    report_end_step(&u->report, REPORT_SKIPPED, "it did not run before", NULL);
    return true;
  }
  bool again = journal_state_of(&u->journal, "back") != STEP_NEVER; /* never trust what is left of a release that is gone */
  if ((again || !was_restarted(u)) && !service_restart(u, why)) return upgrade_fails(u, why, NULL);
  buffer_clear(why);
  if (!service_wait_ready(u, why)) return upgrade_fails(u, why, NULL);
  return upgrade_fine(u, "ready");
}
