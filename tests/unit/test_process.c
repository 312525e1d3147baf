/* The spawner and its children, real ones: what they get, how they end, what the death of the daemon does to them. The runner is a
 * shell script that plays the part which the "plugin's" path names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "loop/context.h"
#include "observe/metrics.h"
#include "process/parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char SCRIPT[] =
    "#!/bin/bash\n"
    "case \"$1 $2\" in\n"
    "'describe good') echo '{\"name\":\"good\"}';;\n"
    "'describe bad') echo 'bad: is broken' >&2; exit 3;;\n"
    "'describe silent') exit 4;;\n"
    "'describe nothing') ;;\n"
    "'check strict') cat >&2; exit 1;;\n"
    "'check good') ;;\n"
    "'run echo') echo \"$3 $4\"; cat; exit 7;;\n"
    "'run surroundings') env; echo directory=$(pwd); echo files=$(ls /proc/self/fd | tr '\\n' ' ');\n"
    "  echo core=$(ulimit -c) memory=$(ulimit -d); ps -o pgid=,sid= -p $$ | tr -s ' '; echo $$ > kept; umask;;\n"
    "'run suicide') kill -SEGV $$;;\n"
    "'run sleep') echo ready; exec sleep 60;;\n"
    "'run short') sleep 0.6; exit 5;;\n"
    "'run stubborn') trap '' TERM; echo ready; while :; do sleep 0.1; done;;\n"
    "'run family') sleep 61 & echo $! ; set -m; sleep 62 & echo $!; exit 0;;\n"
    "esac\n";

static char folder[64], script[PATH_MAX], runs[PATH_MAX], log_path[PATH_MAX];

static void write_file(const char *path, const char *text, mode_t mode) {
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  assert_true(file >= 0);
  assert_int_equal(write(file, text, strlen(text)), strlen(text));
  assert_int_equal(close(file), 0);
}

static const char *read_text(const char *path) {
  static char text[16384];
  int file = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t size = file >= 0 ? read(file, text, sizeof text - 1) : -1;
  if (file >= 0) (void)close(file);
  text[size > 0 ? size : 0] = '\0';
  return text;
}

static size_t entries_of(const char *path) {
  size_t count = 0;
  DIR *entries = opendir(path);
  if (!entries) return 0;
  for (struct dirent *entry = readdir(entries); entry; entry = readdir(entries)) count += entry->d_name[0] != '.';
  (void)closedir(entries);
  return count;
}

static bool eventually(bool (*condition)(const void *), const void *of) {
  for (int i = 0; i < 1000; i++) {
    if (condition(of)) return true;
    (void)poll(NULL, 0, 10);
  }
  return false;
}

static bool is_dead(const void *process) { return !purlin_process_alive(process); }
static bool is_not_empty(const void *path) { return read_text(path)[0] != '\0'; }
static bool is_pid_gone(const void *pid) {
  process_stat stat;
  return !process_read_stat(*(const int64_t *)pid, &stat) || stat.state == 'Z';
}

/* ---- A daemon around each test ---- */

static void fork_spawner(void) {
  buffer why = {0};
  assert_int_equal(process_spawner_fork(script, &why), PURLIN_OK);
  process_set_runs(runs);
  static const char *const parts[] = {"echo", "surroundings", "suicide", "sleep", "short", "stubborn", "family"};
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
    assert_int_equal(process_provider_add(&(process_provider){.contract = "trainer",
                                                              .name = parts[i],
                                                              .plugin = "test",
                                                              .path = parts[i],
                                                              .summary = "For the test",
                                                              .configuration = i == 0 ? "{\"allow\":[\"*\"]}" : NULL}),
                     PURLIN_OK);
}

static int set_up(void **unused) {
  (void)unused;
  (void)snprintf(folder, sizeof folder, "/tmp/purlin-process-XXXXXX");
  assert_non_null(mkdtemp(folder));
  (void)snprintf(script, sizeof script, "%s/runner", folder);
  (void)snprintf(runs, sizeof runs, "%s/runs", folder);
  (void)snprintf(log_path, sizeof log_path, "%s/log", folder);
  write_file(script, SCRIPT, 0700);
  fork_spawner();
  return 0;
}

static int tear_down(void **unused) {
  (void)unused;
  process_stop();
  directory_remove(folder);
  return access(folder, F_OK) == 0 ? -1 : 0;
}

static void begin(void *argument) {
  assert_int_equal(context_start("test", "test", *(context_run **)argument, NULL), PURLIN_OK);
}

/* Runs it in a fiber of the second loop, so that everything the spawner says crosses from the first. */
static void in_fiber(context_run *run) {
  assert_int_equal(loops_create(2), PURLIN_OK);
  assert_int_equal(process_start(), PURLIN_OK);
  loop_post_item item = {.call = begin, .argument = &run};
  loop_post(loop_at(1), &item);
  loops_run();
  loops_destroy();
}

static void start_one(purlin_ctx *ctx, const char *name, const purlin_process_options *options, purlin_process *process) {
  const char *input = "{\"n\":1}";
  assert_int_equal(purlin_contained_start(ctx, "trainer", name, (purlin_json){input, strlen(input)}, options, process),
                   PURLIN_OK);
  assert_true(process->pid > 1);
  assert_true(process->started > 0);
}

static int end_of(purlin_ctx *ctx, const purlin_process *process) {
  int exit_code = -2;
  assert_int_equal(purlin_process_wait(ctx, process, &exit_code), PURLIN_OK);
  return exit_code;
}

/* ---- What a child gets ---- */

static void run_message(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_process process;
  start_one(ctx, "echo", &(purlin_process_options){.log_file = log_path}, &process);
  assert_int_equal(end_of(ctx, &process), 7);
  assert_int_equal(end_of(ctx, &process), 7); /* still known */
  assert_string_equal(read_text(log_path), "trainer echo\n{\"configuration\":{\"allow\":[\"*\"]},\"input\":{\"n\":1}}");
  struct stat status;
  assert_int_equal(stat(log_path, &status), 0);
  assert_int_equal(status.st_mode & 0777, 0600);
  assert_int_equal(entries_of(runs), 0);
  loops_stop();
}

static void test_message(void **unused) {
  (void)unused;
  in_fiber(run_message);
}

static void run_surroundings(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_process process;
  char expected[PATH_MAX + 64];
  assert_int_equal(setenv("PURLIN_SECRET", "hidden", 1), 0);
  start_one(ctx, "surroundings", &(purlin_process_options){.log_file = log_path, .memory_limit = (uint64_t)1 << 32},
            &process);
  assert_int_equal(end_of(ctx, &process), 0);
  const char *text = read_text(log_path);
  assert_null(strstr(text, "PURLIN_SECRET"));
  (void)snprintf(expected, sizeof expected, "directory=%s/%lld-%lld\n", runs, (long long)process.pid,
                 (long long)process.started);
  assert_non_null(strstr(text, expected));
  (void)snprintf(expected, sizeof expected, "TMPDIR=%s/%lld-%lld\n", runs, (long long)process.pid,
                 (long long)process.started);
  assert_non_null(strstr(text, expected));
  assert_non_null(strstr(text, "core=0 memory=4194304\n"));
  (void)snprintf(expected, sizeof expected, "%lld %lld\n", (long long)process.pid, (long long)process.pid);
  assert_non_null(strstr(text, expected));
  assert_non_null(strstr(text, "0077\n"));
  assert_non_null(strstr(text, "files=0 1 2 3\n")); /* 3 is the folder that ls reads */
  assert_int_equal(entries_of(runs), 0);            /* with the file that it wrote there */
  loops_stop();
}

static void test_surroundings(void **unused) {
  (void)unused;
  in_fiber(run_surroundings);
}

static void run_directory(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_process process;
  char kept[PATH_MAX + 8];
  start_one(ctx, "surroundings", &(purlin_process_options){.log_file = log_path, .directory = folder}, &process);
  assert_int_equal(end_of(ctx, &process), 0);
  (void)snprintf(kept, sizeof kept, "%s/kept", folder);
  assert_int_equal(strtoll(read_text(kept), NULL, 10), process.pid); /* a given directory stays */
  loops_stop();
}

static void test_directory(void **unused) {
  (void)unused;
  in_fiber(run_directory);
}

/* ---- How a child does not start ---- */

static void run_refused(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_process process;
  assert_int_equal(purlin_contained_start(ctx, "trainer", "nobody", (purlin_json){0}, NULL, &process), PURLIN_NOT_FOUND);
  assert_non_null(strstr(purlin_failure(ctx), "no contained plugin provides the trainer 'nobody'"));
  assert_int_equal(purlin_contained_start(ctx, "trainer", "echo", (purlin_json){0},
                                          &(purlin_process_options){.log_file = "/nowhere/log"}, &process),
                   PURLIN_UNAVAILABLE);
  assert_non_null(strstr(purlin_failure(ctx), "cannot open the log file"));
  assert_non_null(strstr(purlin_failure(ctx), strerror(ENOENT)));
  assert_int_equal(unlink(script), 0);
  assert_int_equal(purlin_contained_start(ctx, "trainer", "echo", (purlin_json){0}, NULL, &process), PURLIN_UNAVAILABLE);
  assert_non_null(strstr(purlin_failure(ctx), "cannot run the program"));
  assert_int_equal(entries_of(runs), 0);
  loops_stop();
}

static void test_refused(void **unused) {
  (void)unused;
  in_fiber(run_refused);
}

/* ---- Ends ---- */

static void run_ends(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_process process;
  start_one(ctx, "suicide", NULL, &process);
  assert_int_equal(end_of(ctx, &process), 128 + SIGSEGV);

  start_one(ctx, "sleep", NULL, &process);
  assert_true(purlin_process_alive(&process));
  assert_int_equal((int)metrics_value("purlin_processes_running"), 1);
  purlin_process_stop(ctx, &process, 5000);
  assert_false(purlin_process_alive(&process));
  assert_int_equal(end_of(ctx, &process), 128 + SIGTERM);
  assert_int_equal((int)metrics_value("purlin_processes_running"), 0);
  purlin_process_stop(ctx, &process, 5000); /* again is nothing */

  start_one(ctx, "stubborn", &(purlin_process_options){.log_file = log_path}, &process);
  while (!is_not_empty(log_path)) assert_int_equal(purlin_sleep(ctx, 10), PURLIN_OK);
  context_cancel(ctx); /* stopping works in a cancelled context */
  purlin_process_stop(ctx, &process, 200);
  assert_false(purlin_process_alive(&process));
  loops_stop();
}

static void test_ends(void **unused) {
  (void)unused;
  buffer why = {0};
  assert_int_equal(metrics_register_own(), PURLIN_OK);
  in_fiber(run_ends);
  buffer_free(&why);
}

static void run_family(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_process process;
  start_one(ctx, "family", &(purlin_process_options){.log_file = log_path}, &process);
  assert_int_equal(end_of(ctx, &process), 0);
  char *rest = NULL;
  const char *text = read_text(log_path);
  int64_t same_group = strtoll(text, &rest, 10), other_group = strtoll(rest, NULL, 10);
  assert_true(same_group > 1 && other_group > 1 && same_group != other_group);
  assert_true(eventually(is_pid_gone, &same_group));
  assert_true(eventually(is_pid_gone, &other_group));
  loops_stop();
}

static void test_family_goes_with_its_leader(void **unused) {
  (void)unused;
  in_fiber(run_family);
}

static void run_impatient(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_process process;
  int exit_code = 0;
  start_one(ctx, "sleep", NULL, &process);
  context_set_deadline(ctx, 50);
  assert_int_equal(purlin_process_wait(ctx, &process, &exit_code), PURLIN_TIMEOUT);
  assert_true(purlin_process_alive(&process)); /* it goes on */
  context_cancel(ctx);
  assert_int_equal(purlin_process_wait(ctx, &process, &exit_code), PURLIN_CANCELLED);
  purlin_process_stop(ctx, &process, 5000);
  loops_stop();
}

static void test_waiting_is_given_up(void **unused) {
  (void)unused;
  in_fiber(run_impatient);
}

/* ---- Many at once, waited for by fibers of both loops ---- */

enum { MANY = 24 };
static _Atomic int many_left;
static loop_post_item many_items[MANY];

static void run_one_of_many(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_process process;
  start_one(ctx, "echo", &(purlin_process_options){.log_file = "/dev/null"}, &process);
  assert_int_equal(end_of(ctx, &process), 7);
  if (--many_left == 0) loops_stop();
}

static void begin_one(void *unused) { assert_int_equal(context_start("test", "many", run_one_of_many, unused), PURLIN_OK); }

static void test_many(void **unused) {
  (void)unused;
  many_left = MANY;
  assert_int_equal(loops_create(2), PURLIN_OK);
  assert_int_equal(process_start(), PURLIN_OK);
  for (size_t i = 0; i < MANY; i++) {
    many_items[i] = (loop_post_item){.call = begin_one};
    loop_post(loop_at(i % 2), &many_items[i]);
  }
  loops_run();
  loops_destroy();
  assert_int_equal(many_left, 0);
}

/* ---- The daemon dies ---- */

static int handover; /* a pipe to the test */

static void run_and_die(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_process bound, detached, stubborn, short_lived;
  start_one(ctx, "sleep", NULL, &bound);
  start_one(ctx, "sleep", &(purlin_process_options){.detached = true}, &detached);
  start_one(ctx, "short", &(purlin_process_options){.detached = true}, &short_lived);
  start_one(ctx, "stubborn", &(purlin_process_options){.log_file = log_path}, &stubborn);
  while (!is_not_empty(log_path)) assert_int_equal(purlin_sleep(ctx, 10), PURLIN_OK);
  int64_t told[] = {bound.pid,       bound.started,       detached.pid, detached.started,
                    short_lived.pid, short_lived.started, stubborn.pid, stubborn.started};
  _exit(write(handover, told, sizeof told) == (ssize_t)sizeof told ? 0 : 1);
}

static purlin_process orphan, short_orphan;

static void run_find_again(purlin_ctx *ctx, void *unused) {
  (void)unused;
  int exit_code = 0;
  assert_int_equal(purlin_process_wait(ctx, &short_orphan, &exit_code), PURLIN_OK);
  assert_int_equal(exit_code, -1);
  assert_true(purlin_process_alive(&orphan));
  context_set_deadline(ctx, 400);
  assert_int_equal(purlin_process_wait(ctx, &orphan, &exit_code), PURLIN_TIMEOUT);
  context_set_deadline(ctx, 60000);
  purlin_process_stop(ctx, &orphan, 5000);
  assert_int_equal(purlin_process_wait(ctx, &orphan, &exit_code), PURLIN_OK);
  assert_int_equal(exit_code, -1); /* nobody can know */
  purlin_process other_boot = orphan;
  other_boot.boot = "another";
  assert_int_equal(purlin_process_wait(ctx, &other_boot, &exit_code), PURLIN_OK);
  assert_int_equal(exit_code, -1);
  loops_stop();
}

static void test_death_of_the_daemon(void **unused) {
  (void)unused;
  process_stop(); /* the daemon of this test is another process */
  int pipes[2];
  int64_t told[8];
  assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
  pid_t daemon_pid = fork();
  if (daemon_pid == 0) {
    handover = pipes[1];
    fork_spawner();
    in_fiber(run_and_die);
    _exit(1);
  }
  (void)close(pipes[1]);
  assert_int_equal(read(pipes[0], told, sizeof told), sizeof told);
  (void)close(pipes[0]);
  int status = -1;
  assert_int_equal(waitpid(daemon_pid, &status, 0), daemon_pid);
  assert_int_equal(status, 0);
  purlin_process bound = {told[0], told[1], process_boot_id()}, stubborn = {told[6], told[7], process_boot_id()};
  orphan = (purlin_process){told[2], told[3], process_boot_id()};
  short_orphan = (purlin_process){told[4], told[5], process_boot_id()};
  assert_true(purlin_process_alive(&stubborn)); /* it has some seconds before it is killed */
  assert_true(eventually(is_dead, &bound));
  assert_true(eventually(is_dead, &stubborn));
  assert_true(purlin_process_alive(&orphan));
  char path[PATH_MAX];
  assert_true(directory_path(path, sizeof path, runs, orphan.pid, orphan.started));
  assert_int_equal(access(path, F_OK), 0);

  fork_spawner();           /* sweeps what the short-lived one left, not what is alive */
  in_fiber(run_find_again); /* and this what is left of the other */
  process_stop();
  assert_int_equal(entries_of(runs), 0);
}

/* ---- The spawner dies ---- */

static pid_t find_spawner(void) {
  char path[64];
  (void)snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
  return (pid_t)strtol(read_text(path), NULL, 10);
}

static void run_without_spawner(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_process process, other;
  int exit_code = 0;
  start_one(ctx, "sleep", &(purlin_process_options){.detached = true}, &process);
  assert_int_equal(kill(find_spawner(), SIGKILL), 0);
  purlin_status status = PURLIN_OK;
  for (int i = 0; i < 100 && status == PURLIN_OK; i++) {
    assert_int_equal(purlin_sleep(ctx, 10), PURLIN_OK);
    status = purlin_contained_start(ctx, "trainer", "echo", (purlin_json){0}, NULL, &other);
  }
  assert_int_equal(status, PURLIN_UNAVAILABLE);
  assert_non_null(strstr(purlin_failure(ctx), "the spawner does not answer"));
  assert_true(purlin_process_alive(&process));
  purlin_process_stop(ctx, &process, 5000); /* directly */
  assert_int_equal(purlin_process_wait(ctx, &process, &exit_code), PURLIN_OK);
  assert_int_equal(exit_code, -1);
  loops_stop();
}

static void test_death_of_the_spawner(void **unused) {
  (void)unused;
  in_fiber(run_without_spawner);
}

static void *kill_soon(void *pid) {
  (void)usleep(50000);
  (void)kill(*(pid_t *)pid, SIGKILL);
  return NULL;
}

/* An order that it did not read any more: its socket then tells an error, not just its end. */
static void run_with_an_unread_order(purlin_ctx *ctx, void *unused) {
  (void)unused;
  pthread_t killer;
  purlin_process process;
  pid_t spawner = find_spawner();
  assert_int_equal(kill(spawner, SIGSTOP), 0);
  assert_int_equal(pthread_create(&killer, NULL, kill_soon, &spawner), 0);
  assert_int_equal(purlin_contained_start(ctx, "trainer", "echo", (purlin_json){0}, NULL, &process), PURLIN_UNAVAILABLE);
  assert_non_null(strstr(purlin_failure(ctx), "the spawner does not answer"));
  assert_int_equal(pthread_join(killer, NULL), 0);
  loops_stop();
}

static void test_death_of_the_spawner_with_an_order(void **unused) {
  (void)unused;
  in_fiber(run_with_an_unread_order);
}

/* ---- Describing, identity, directories ---- */

static void test_describe(void **unused) {
  (void)unused;
  buffer why = {0};
  char *json = NULL;
  purlin_status status = process_describe("good", &json, &why);
  assert_string_equal(buffer_end(&why), "");
  assert_int_equal(status, PURLIN_OK);
  assert_string_equal(json, "{\"name\":\"good\"}\n");
  free(json);
  assert_int_equal(process_describe("bad", &json, &why), PURLIN_INVALID);
  assert_string_equal(buffer_end(&why), "bad: is broken");
  buffer_clear(&why);
  assert_int_equal(process_describe("silent", &json, &why), PURLIN_INVALID);
  assert_string_equal(buffer_end(&why), "silent: purlin-runner describe ended with 4 and said nothing");
  buffer_clear(&why);
  assert_int_equal(process_describe("nothing", &json, &why), PURLIN_INVALID);
  assert_null(json);
  buffer_clear(&why);
  const purlin_json configuration = {"{\"a\":1}", 7};
  assert_int_equal(process_check_configuration("good", configuration, &why), PURLIN_OK);
  assert_int_equal(process_check_configuration("strict", configuration, &why), PURLIN_INVALID);
  assert_string_equal(buffer_end(&why), "{\"a\":1}");
  buffer_free(&why);
}

static void test_providers(void **unused) {
  (void)unused;
  assert_int_equal(process_provider_add(&(process_provider){.contract = "trainer", .name = "echo"}), PURLIN_CONFLICT);
  buffer why = {0};
  assert_int_equal(process_spawner_fork(script, &why), PURLIN_CONFLICT);
  process_stop();
  assert_int_equal(process_spawner_fork("/nowhere/purlin-runner", &why), PURLIN_UNAVAILABLE);
  assert_string_equal(buffer_end(&why), "cannot find purlin-runner at /nowhere/purlin-runner: No such file or directory");
  buffer_free(&why);
}

static void run_catalogue(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_providers found;
  assert_int_equal(purlin_contained_providers(ctx, "trainer", &found), PURLIN_OK);
  assert_int_equal(found.count, 7);
  assert_string_equal(found.items[0].name, "echo");
  assert_int_equal(purlin_contained_providers(ctx, "predictor", &found), PURLIN_OK);
  assert_int_equal(found.count, 0);
  loops_stop();
}

static void test_catalogue(void **unused) {
  (void)unused;
  in_fiber(run_catalogue);
}

static void test_identity(void **unused) {
  (void)unused;
  process_stat stat;
  assert_true(process_read_stat(getpid(), &stat));
  assert_int_equal(stat.session, getsid(0));
  purlin_process self = {getpid(), stat.started, process_boot_id()}, other = self;
  assert_true(purlin_process_alive(&self));
  other.started++;
  assert_false(purlin_process_alive(&other)); /* the number was used again */
  assert_int_equal(strlen(process_boot_id()), 36);
  assert_false(process_read_stat(0, &stat));
}

static void test_directories(void **unused) {
  (void)unused;
  char path[PATH_MAX], inner[PATH_MAX + 16], outside[PATH_MAX];
  assert_false(directory_path(path, 10, "/far/too/long", 1, 2));
  (void)snprintf(outside, sizeof outside, "%s/outside", folder);
  write_file(outside, "stays", 0600);
  assert_true(directory_path(path, sizeof path, folder, 123, 456));
  assert_int_equal(mkdir(path, 0700), 0);
  (void)snprintf(inner, sizeof inner, "%s/link", path);
  assert_int_equal(symlink(folder, inner), 0);
  (void)snprintf(inner, sizeof inner, "%s/closed", path);
  assert_int_equal(mkdir(inner, 0500), 0);
  directory_sweep(folder); /* no process 123 of that time runs */
  assert_int_equal(access(path, F_OK), -1);
  assert_string_equal(read_text(outside), "stays");
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define IN_DAEMON(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
      IN_DAEMON(test_message),
      IN_DAEMON(test_surroundings),
      IN_DAEMON(test_directory),
      IN_DAEMON(test_refused),
      IN_DAEMON(test_ends),
      IN_DAEMON(test_family_goes_with_its_leader),
      IN_DAEMON(test_waiting_is_given_up),
      IN_DAEMON(test_many),
      IN_DAEMON(test_death_of_the_daemon),
      IN_DAEMON(test_death_of_the_spawner),
      IN_DAEMON(test_death_of_the_spawner_with_an_order),
      IN_DAEMON(test_describe),
      IN_DAEMON(test_providers),
      IN_DAEMON(test_catalogue),
      IN_DAEMON(test_identity),
      IN_DAEMON(test_directories),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
