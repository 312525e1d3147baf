/* child.c: between fork and exec. The spawner has one thread and no library's fork handlers run, so more than async-signal-safe
 * calls will do; nothing here allocates all the same. */
#include "process/parts.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* What of the daemon's environment a child sees; TMPDIR and HOME are its working directory. The sanitizers' options are for tests. */
static const char *const KEPT[] = {"PATH",          "LANG",         "LC_ALL",       "LC_CTYPE",      "TZ",
                                   "SSL_CERT_FILE", "SSL_CERT_DIR", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS",
                                   "LSAN_OPTIONS"};
enum { KEPT_COUNT = sizeof KEPT / sizeof KEPT[0] };

_Noreturn static void give_up(int report, const char *what) {
  child_failure failure = {.number = errno};
  size_t size = strlen(what);
  memcpy(failure.what, what, size < sizeof failure.what ? size : sizeof failure.what - 1);
  ssize_t sent = write(report, &failure, sizeof failure);
  (void)sent; /* the spawner sees an exit code of 127 in any case */
  _exit(127);
}

static void reset_signals(void) {
  for (int number = 1; number < NSIG; number++) (void)signal(number, SIG_DFL);
  sigset_t none;
  (void)sigemptyset(&none);
  (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Moves out of the way of 0, 1 and 2, which are about to be replaced. */
static int lift(int file) { return file >= 0 && file < 3 ? fcntl(file, F_DUPFD_CLOEXEC, 3) : file; }

static void set_files(const child_plan *plan, int report) {
  int input = lift(plan->input), output = lift(plan->output), error = lift(plan->error);
  if (input < 0) input = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (plan->log_file[0]) {
    output = open(plan->log_file, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (output < 0) give_up(report, "cannot open the log file");
    error = output;
  }
  if (error < 0) error = STDERR_FILENO;
  if (output < 0) output = error;
  if (input < 0 || dup2(input, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 || dup2(error, STDERR_FILENO) < 0)
    give_up(report, "cannot set standard input and output");
  if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) != 0) give_up(report, "cannot close descriptors");
}

/* What it writes for itself (heap, stacks) is limited, not its address space: many programs reserve far more of that than they use. */
static void set_limits(const child_plan *plan, int report) {
  const struct rlimit none = {0, 0}, memory = {plan->memory_limit, plan->memory_limit};
  if (setrlimit(RLIMIT_CORE, &none) != 0) give_up(report, "cannot forbid core dumps");
  if (plan->memory_limit > 0 && setrlimit(RLIMIT_DATA, &memory) != 0) give_up(report, "cannot limit memory");
}

/* Limits hold for the whole tree of processes there. Without it the limits above still hold for each. */
static void enter_group(const child_plan *plan) {
  int file = plan->group[0] ? open(plan->group, O_WRONLY | O_CLOEXEC) : -1;
  if (file < 0) return;
  (void)!write(file, "0", 1);
  (void)close(file);
}

static void enter_directory(const child_plan *plan, int report, char *path, size_t size) {
  process_stat self;
  if (plan->directory[0]) {
    size_t length = strlen(plan->directory);
    if (length >= size) give_up(report, "the path of the working directory is too long");
    memcpy(path, plan->directory, length + 1);
  } else {
    errno = ENAMETOOLONG;
    if (!process_read_stat(getpid(), &self) || !directory_path(path, size, plan->runs, getpid(), self.started))
      give_up(report, "cannot name a working directory");
    if (mkdir(path, 0700) != 0) give_up(report, "cannot make a working directory");
  }
  if (chdir(path) != 0) give_up(report, "cannot enter the working directory");
}

static void add_variable(char **environment, size_t *count, char *out, size_t size, const char *name, const char *value) {
  int length = snprintf(out, size, "%s=%s", name, value);
  if (length > 0 && (size_t)length < size) environment[(*count)++] = out;
}

_Noreturn void child_become(const child_plan *plan, int report) {
  enum { LONGEST = 4200 };
  static char memory[KEPT_COUNT + 2][LONGEST];
  char *environment[KEPT_COUNT + 3];
  char directory[4096];
  size_t count = 0;
  reset_signals();
  if (setsid() < 0) give_up(report, "cannot begin a session");
  if (!plan->detached && prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) give_up(report, "cannot be bound");
  if (!plan->detached && getppid() != plan->spawner) _exit(127);
  (void)umask(077);
  enter_group(plan);
  enter_directory(plan, report, directory, sizeof directory);
  set_files(plan, report);
  set_limits(plan, report);
  for (size_t i = 0; i < KEPT_COUNT; i++) {
    const char *value = getenv(KEPT[i]);
    if (value) add_variable(environment, &count, memory[i], LONGEST, KEPT[i], value);
  }
  add_variable(environment, &count, memory[KEPT_COUNT], LONGEST, "TMPDIR", directory);
  add_variable(environment, &count, memory[KEPT_COUNT + 1], LONGEST, "HOME", directory);
  environment[count] = NULL;
  (void)execve(plan->arguments[0], plan->arguments, environment);
  give_up(report, "cannot run the program");
}
