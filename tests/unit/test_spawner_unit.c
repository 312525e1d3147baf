/* The spawner as a program of its own: who may call, what later daemons are told, how it makes way, and what happens when it goes. The runner
 * is a shell script that plays the part which the "plugin's" path names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "loop/context.h"
#include "process/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

static const char SCRIPT[] = "#!/bin/bash\n"
                             "case \"$2\" in\n"
                             "sleep) exec sleep 60;;\n"
                             "short) sleep 0.6; exit 5;;\n"
                             "long) sleep 1.5; exit 6;;\n"
                             "escape) setsid sleep 63 & sleep 0.3;;\n"
                             "esac\n";

static char folder[64], script[PATH_MAX], runs[PATH_MAX], address[PATH_MAX], program[PATH_MAX], groups[PATH_MAX];
static pid_t spawner_pid;

static bool eventually(bool (*condition)(const void *), const void *of) {
  for (int i = 0; i < 1000; i++) {
    if (condition(of)) return true;
    (void)poll(NULL, 0, 10);
  }
  return false;
}

static bool is_dead(const void *process) { return !purlin_process_alive(process); }

/* ---- The spawner's program: this one, called with its address ---- */

static void ready(void) {}

static int be_spawner(const char *path) {
  buffer why = {0};
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
  purlin_status status = process_spawner_serve(path, ready, &why);
  if (status != PURLIN_OK) (void)fprintf(stderr, "%s\n", buffer_end(&why));
  buffer_free(&why);
  return status == PURLIN_OK ? 0 : 1;
}

static bool somebody_listens(const void *unused) {
  (void)unused;
  buffer why = {0};
  int file = connect_spawner(address, &why);
  buffer_free(&why);
  if (file < 0) return false;
  struct pollfd watch = {.fd = file, .events = POLLIN};
  (void)poll(&watch, 1, 5000);
  (void)close(file);
  return true;
}

static void start_spawner(const char *of) {
  spawner_pid = fork();
  assert_true(spawner_pid >= 0);
  if (spawner_pid == 0) {
    (void)execl(of, of, address, (char *)NULL);
    _exit(127);
  }
  assert_true(eventually(somebody_listens, NULL));
}

static int end_spawner(int signal_number) {
  int status = 0;
  if (signal_number) assert_int_equal(kill(spawner_pid, signal_number), 0);
  assert_int_equal(waitpid(spawner_pid, &status, 0), spawner_pid);
  spawner_pid = 0;
  return status;
}

/* ---- The daemon ---- */

static void begin_daemon(void) {
  buffer why = {0};
  purlin_status status = process_spawner_connect(address, script, &why);
  assert_string_equal(buffer_end(&why), "");
  assert_int_equal(status, PURLIN_OK);
  buffer_free(&why);
  process_set_runs(runs);
  static const char *const parts[] = {"sleep", "short", "long", "escape"};
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
    assert_int_equal(
        process_provider_add(&(process_provider){
            .contract = "trainer", .name = parts[i], .plugin = "test", .path = parts[i], .summary = "For the test"}),
        PURLIN_OK);
}

static int set_up(void **unused) {
  (void)unused;
  process_patience_ms = 10000;
  (void)snprintf(folder, sizeof folder, "/tmp/purlin-spawner-XXXXXX");
  assert_non_null(mkdtemp(folder));
  (void)snprintf(script, sizeof script, "%s/runner", folder);
  (void)snprintf(runs, sizeof runs, "%s/runs", folder);
  (void)snprintf(address, sizeof address, "%s/socket", folder);
  int file = open(script, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
  assert_true(file >= 0);
  assert_int_equal(write(file, SCRIPT, sizeof SCRIPT - 1), sizeof SCRIPT - 1);
  assert_int_equal(close(file), 0);
  start_spawner("/proc/self/exe");
  return 0;
}

static int tear_down(void **unused) {
  (void)unused;
  process_stop();
  if (spawner_pid > 0) (void)end_spawner(SIGKILL);
  directory_remove(folder);
  return access(folder, F_OK) == 0 ? -1 : 0;
}

static void begin(void *argument) {
  assert_int_equal(context_start("test", "test", *(context_run **)argument, NULL), PURLIN_OK);
}

static void in_fiber(context_run *run) {
  assert_int_equal(loops_create(2), PURLIN_OK);
  assert_int_equal(process_start(), PURLIN_OK);
  loop_post_item item = {.call = begin, .argument = &run};
  loop_post(loop_at(1), &item);
  loops_run();
  loops_destroy();
}

static purlin_process bound, detached; /* their `boot` is the static one */

static void start_one(purlin_ctx *ctx, const char *name, bool lives_on, purlin_process *process) {
  const purlin_process_options options = {.detached = lives_on};
  assert_int_equal(purlin_contained_start(ctx, "trainer", name, (purlin_json){0}, &options, process), PURLIN_OK);
  process->boot = process_boot_id();
}

/* ---- Daemons come and go ---- */

static void run_start_two(purlin_ctx *ctx, void *unused) {
  (void)unused;
  start_one(ctx, "sleep", false, &bound);
  start_one(ctx, "short", true, &detached);
  loops_stop();
}

static void run_start_long(purlin_ctx *ctx, void *unused) {
  (void)unused;
  start_one(ctx, "long", true, &detached);
  loops_stop();
}

static int found_exit_code;

static void run_find(purlin_ctx *ctx, void *unused) {
  (void)unused;
  assert_int_equal(purlin_process_wait(ctx, &detached, &found_exit_code), PURLIN_OK);
  loops_stop();
}

/* What ended while no daemon was there, and what still runs, is found with its exit code, by every later daemon. */
static void test_later_daemons_find_children(void **unused) {
  (void)unused;
  begin_daemon();
  in_fiber(run_start_two);
  process_stop();
  assert_true(eventually(is_dead, &bound));
  assert_true(purlin_process_alive(&detached));
  assert_true(eventually(is_dead, &detached));
  for (int i = 0; i < 2; i++) {
    begin_daemon();
    found_exit_code = -2;
    in_fiber(run_find);
    assert_int_equal(found_exit_code, 5);
    process_stop();
  }
  begin_daemon();
  in_fiber(run_start_long);
  process_stop();
  begin_daemon();
  assert_true(purlin_process_alive(&detached));
  in_fiber(run_find);
  assert_int_equal(found_exit_code, 6);
}

static void run_nothing(purlin_ctx *ctx, void *unused) {
  (void)ctx;
  (void)unused;
  loops_stop();
}

static void test_one_daemon_at_a_time(void **unused) {
  (void)unused;
  begin_daemon();
  pid_t other = fork();
  assert_true(other >= 0);
  if (other == 0) {
    buffer why = {0};
    char expected[PATH_MAX + 100];
    process_stop();
    process_patience_ms = 200;
    /* The first daemon's socket is also open here, so it is the other process that is still served. */
    purlin_status status = process_spawner_connect(address, script, &why);
    (void)snprintf(expected, sizeof expected, "the spawner at %s serves another purlind (pid %d)", address, (int)getppid());
    _exit(status == PURLIN_CONFLICT && strcmp(buffer_end(&why), expected) == 0 ? 0 : 1);
  }
  int status = -1;
  assert_int_equal(waitpid(other, &status, 0), other);
  assert_int_equal(status, 0);
  in_fiber(run_nothing); /* the one that is served does not notice */
}

/* ---- Who may call ---- */

static void test_nobody_else_may_call(void **unused) {
  (void)unused;
  struct stat about;
  assert_int_equal(stat(address, &about), 0);
  assert_int_equal(about.st_mode & 0777, 0600);
  if (geteuid() != 0) skip();
  /* Even if the file's mode allowed it. */
  assert_int_equal(chmod(address, 0777), 0);
  assert_int_equal(chmod(folder, 0755), 0);
  pid_t other = fork();
  if (other == 0) {
    char byte;
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (setgid(65534) != 0 || setuid(65534) != 0) _exit(2);
    memcpy(to.sun_path, address, strlen(address) + 1);
    int file = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    if (file < 0 || connect(file, (struct sockaddr *)&to, sizeof to) != 0) _exit(3);
    _exit(recv(file, &byte, 1, 0) == 0 ? 0 : 4);
  }
  int status = -1;
  assert_int_equal(waitpid(other, &status, 0), other);
  assert_int_equal(status, 0);
}

static void test_who_says_nothing_is_hung_up_on(void **unused) {
  (void)unused;
  struct sockaddr_un to;
  socklen_t size;
  buffer why = {0};
  assert_false(spawner_address("relative", &to, &size, &why));
  assert_true(spawner_address(address, &to, &size, &why));
  buffer_free(&why);
  int file = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  assert_int_equal(connect(file, (struct sockaddr *)&to, size), 0);
  assert_int_equal(send(file, "x", 1, MSG_NOSIGNAL), 1); /* no head, so no hello either */
  char byte;
  assert_true(recv(file, &byte, 1, 0) <= 0);
  assert_int_equal(close(file), 0);
  begin_daemon();
}

static void test_addresses(void **unused) {
  (void)unused;
  buffer why = {0};
  assert_int_equal(process_spawner_serve(address, ready, &why), PURLIN_UNAVAILABLE);
  assert_non_null(strstr(buffer_end(&why), "another spawner listens at"));
  buffer_clear(&why);
  assert_int_equal(process_spawner_serve("/nowhere/socket", ready, &why), PURLIN_UNAVAILABLE);
  assert_string_equal(buffer_end(&why), "cannot listen at /nowhere/socket: No such file or directory");
  process_patience_ms = 100;
  buffer_clear(&why);
  assert_int_equal(process_spawner_connect("/nowhere/socket", script, &why), PURLIN_UNAVAILABLE);
  assert_string_equal(buffer_end(&why), "no spawner answers at /nowhere/socket: No such file or directory");
  buffer_free(&why);
  /* One that was killed leaves its address behind. */
  (void)end_spawner(SIGKILL);
  assert_int_equal(access(address, F_OK), 0);
  start_spawner("/proc/self/exe");
  assert_int_equal(end_spawner(SIGTERM), 0);
  assert_int_equal(access(address, F_OK), -1);
}

/* ---- It makes way, and it comes back ---- */

/* qemu-user shows a program as itself, but never that it was replaced. Of this path it does not know that it leads to the same. */
static bool is_emulated(void) {
  char shown[PATH_MAX] = "", real[PATH_MAX] = "";
  assert_true(readlink("/proc/self/exe", shown, sizeof shown - 1) > 0);
  assert_true(readlink("/proc/thread-self/exe", real, sizeof real - 1) > 0);
  return strcmp(shown, real) != 0;
}

static void start_copy(void) {
  char command[2 * PATH_MAX];
  (void)end_spawner(SIGTERM);
  (void)snprintf(program, sizeof program, "%s/program", folder);
  (void)snprintf(command, sizeof command, "cp /proc/%d/exe %s", (int)getpid(), program);
  assert_int_equal(system(command), 0);
  start_spawner(program);
}

static void replace_program(void) {
  start_copy();
  assert_int_equal(unlink(program), 0); /* as a package does */
}

/* systemd's part: whoever ends is started again. */
static pid_t keep_alive(void) {
  pid_t watched = spawner_pid, keeper = fork();
  assert_true(keeper >= 0);
  if (keeper > 0) return keeper;
  while (kill(watched, 0) == 0) {
    char path[64], state[512] = "";
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)watched);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = file >= 0 ? read(file, state, sizeof state - 1) : -1;
    if (file >= 0) (void)close(file);
    if (got <= 0 || strstr(state, ") Z ")) break;
    (void)poll(NULL, 0, 10);
  }
  (void)execl("/proc/self/exe", "spawner", address, (char *)NULL);
  _exit(127);
}

static void test_an_outdated_one_makes_way_when_it_has_nothing_to_do(void **unused) {
  (void)unused;
  if (is_emulated()) skip();
  replace_program();
  pid_t keeper = keep_alive();
  begin_daemon();
  assert_int_equal(end_spawner(0), 0);
  spawner_pid = keeper;
  in_fiber(run_start_two);
  process_stop();
  assert_true(eventually(is_dead, &detached));
}

static void test_an_outdated_one_stays_while_a_training_runs(void **unused) {
  (void)unused;
  if (is_emulated()) skip();
  start_copy();
  begin_daemon();
  in_fiber(run_start_long);
  process_stop();
  assert_int_equal(unlink(program), 0);
  pid_t outdated = spawner_pid;
  begin_daemon();
  assert_int_equal(kill(outdated, 0), 0);
  in_fiber(run_find);
  assert_int_equal(found_exit_code, 6);
  process_stop();
  process_patience_ms = 20; /* now it makes way, and nobody comes after it */
  buffer why = {0};
  assert_int_equal(process_spawner_connect(address, script, &why), PURLIN_UNAVAILABLE);
  buffer_free(&why);
  assert_int_equal(end_spawner(0), 0);
}

static bool can_start;

static void run_over_its_death(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_process later;
  start_one(ctx, "short", true, &detached);
  start_one(ctx, "sleep", false, &bound);
  (void)end_spawner(SIGKILL);
  assert_int_equal(purlin_process_wait(ctx, &bound, &found_exit_code), PURLIN_OK); /* it ends with its spawner */
  assert_int_equal(purlin_contained_start(ctx, "trainer", "short", (purlin_json){0}, NULL, &later), PURLIN_UNAVAILABLE);
  assert_non_null(strstr(purlin_failure(ctx), "systemctl status purlin-spawner"));
  assert_int_equal(purlin_process_wait(ctx, &detached, &found_exit_code), PURLIN_OK);
  assert_int_equal(found_exit_code, -1); /* nobody can know */
  spawner_pid = fork();
  if (spawner_pid == 0) {
    (void)execl("/proc/self/exe", "spawner", address, (char *)NULL);
    _exit(127);
  }
  const purlin_process_options options = {.detached = true};
  for (int i = 0; i < 200 && !can_start; i++) {
    can_start = purlin_contained_start(ctx, "trainer", "short", (purlin_json){0}, &options, &later) == PURLIN_OK;
    if (!can_start) assert_int_equal(purlin_sleep(ctx, 50), PURLIN_OK);
  }
  assert_true(can_start);
  assert_int_equal(purlin_process_wait(ctx, &later, &found_exit_code), PURLIN_OK);
  assert_int_equal(found_exit_code, 5);
  loops_stop();
}

static void test_a_daemon_outlives_its_spawner(void **unused) {
  (void)unused;
  can_start = false;
  begin_daemon();
  in_fiber(run_over_its_death);
}

/* ---- Control groups ---- */

static pid_t escaped;

static void find_escaped(void) {
  char line[32];
  FILE *found = popen("pgrep -n -f 'sleep [6]3'", "r");
  escaped = found && fgets(line, sizeof line, found) ? (pid_t)strtol(line, NULL, 10) : 0;
  if (found) (void)pclose(found);
}

static void run_escape(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_process process;
  start_one(ctx, "escape", false, &process);
  for (int i = 0; i < 100 && escaped == 0; i++) {
    find_escaped();
    assert_int_equal(purlin_sleep(ctx, 10), PURLIN_OK);
  }
  assert_int_equal(purlin_process_wait(ctx, &process, &found_exit_code), PURLIN_OK);
  loops_stop();
}

static bool is_gone(const void *pid) {
  process_stat stat;
  return !process_read_stat(*(const pid_t *)pid, &stat) || stat.state == 'Z';
}

static bool has_no_children(const void *unused) {
  (void)unused;
  char command[PATH_MAX + 32];
  (void)snprintf(command, sizeof command, "! ls %s | grep -q child-", groups);
  return system(command) == 0;
}

/* A process that has left its session is in the child's group all the same. */
static void test_groups(void **unused) {
  (void)unused;
  static const char *const places[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
  struct statfs about;
  groups[0] = '\0';
  for (size_t i = 0; i < 2 && !groups[0]; i++) {
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/purlin-test-%d", places[i], (int)getpid());
    if (statfs(places[i], &about) == 0 && about.f_type == CGROUP2_SUPER_MAGIC && mkdir(path, 0755) == 0)
      memcpy(groups, path, strlen(path) + 1);
  }
  if (!groups[0]) skip();
  (void)end_spawner(SIGTERM);
  assert_int_equal(setenv("PURLIN_CGROUP", groups, 1), 0);
  start_spawner("/proc/self/exe");
  assert_int_equal(unsetenv("PURLIN_CGROUP"), 0);
  escaped = 0;
  begin_daemon();
  in_fiber(run_escape);
  assert_true(escaped > 0);
  bool ended = eventually(is_gone, &escaped);
  if (!ended) (void)kill(escaped, SIGKILL);
  assert_true(ended);
  assert_true(eventually(has_no_children, NULL));
  process_stop();
  assert_int_equal(end_spawner(SIGTERM), 0);
  char own[PATH_MAX + 16];
  (void)snprintf(own, sizeof own, "%s/spawner", groups);
  assert_int_equal(rmdir(own), 0); /* it was in there */
  assert_int_equal(rmdir(groups), 0);
}

static void test_without_groups(void **unused) {
  (void)unused;
  char procs[64] = "x";
  assert_false(group_begin("/nowhere"));
  assert_false(group_begin(folder));
  assert_int_equal(group_make(1, procs, sizeof procs), 0);
  assert_string_equal(procs, "");
  group_kill(1);
  group_remove(1);
  group_release();
  group_sweep();
}

int main(int count, char **arguments) {
  if (count == 2) return be_spawner(arguments[1]);
  const struct CMUnitTest tests[] = {
#define WITH_SPAWNER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
      WITH_SPAWNER(test_later_daemons_find_children),
      WITH_SPAWNER(test_one_daemon_at_a_time),
      WITH_SPAWNER(test_nobody_else_may_call),
      WITH_SPAWNER(test_who_says_nothing_is_hung_up_on),
      WITH_SPAWNER(test_addresses),
      WITH_SPAWNER(test_an_outdated_one_makes_way_when_it_has_nothing_to_do),
      WITH_SPAWNER(test_an_outdated_one_stays_while_a_training_runs),
      WITH_SPAWNER(test_a_daemon_outlives_its_spawner),
      WITH_SPAWNER(test_groups),
      WITH_SPAWNER(test_without_groups),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
