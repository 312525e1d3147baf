/* spawner.c: the program of the spawner: one thread, one socket, the children. It knows nothing of what they do. */
#include "process/parts.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SWEEP_MS 60000
#define END_GRACE_MS 5000 /* what bound children have between SIGTERM and SIGKILL when the daemon has gone */

typedef struct child {
  struct child *next;
  uint64_t id;
  int64_t pid, started;
  bool detached, private_directory;
  char runs[];
} child;

typedef struct spawner {
  int socket, signals;
  child *children;
  char
      swept[4096]; /* the RUNS that the daemon named; swept now and then, for what earlier spawners left to end by itself */
  char own_runs[32]; /* under /tmp, for children without a RUNS; "" until the first */
  wire_message in, out;
} spawner;

static void answer(spawner *s, wire_kind kind, uint64_t id, int64_t pid, int64_t started, int64_t number,
                   const char *text) {
  s->out.head = (wire_head){.kind = (uint32_t)kind, .id = id, .pid = pid, .started = started, .number = number};
  s->out.text_size = 0;
  s->out.file_count = 0;
  if (text) (void)wire_add(&s->out, text);
  /* When the daemon has gone, the next receive says so. */
  (void)wire_send(s->socket, &s->out, true);
}

/* ---- Starting ---- */

static const char *runs_of(spawner *s, const char *asked) {
  if (asked[0]) {
    (void)mkdir(asked, 0700); /* what else is wrong with it, the child finds */
    return asked;
  }
  if (!s->own_runs[0]) {
    (void)snprintf(s->own_runs, sizeof s->own_runs, "/tmp/purlin-runs-XXXXXX");
    if (!mkdtemp(s->own_runs)) s->own_runs[0] = '\0';
  }
  return s->own_runs;
}

static void remove_directory(const child *c) {
  char path[4096];
  if (c->private_directory && directory_path(path, sizeof path, c->runs, c->pid, c->started)) directory_remove(path);
}

static int file_of(const spawner *s, uint32_t flag) {
  size_t index = 0;
  for (uint32_t bit = WIRE_STDIN; bit < flag; bit <<= 1)
    if (s->in.head.flags & bit) index++;
  return (s->in.head.flags & flag) && index < s->in.file_count ? s->in.files[index] : -1;
}

static bool read_plan(spawner *s, child_plan *plan, char *arguments[WIRE_MOST_ARGUMENTS + 1]) {
  size_t at = 0, count = 0;
  const char *runs = wire_next(&s->in, &at);
  plan->log_file = wire_next(&s->in, &at);
  plan->directory = wire_next(&s->in, &at);
  if (!runs || !plan->log_file || !plan->directory) return false;
  for (const char *argument = wire_next(&s->in, &at); argument && count < WIRE_MOST_ARGUMENTS;
       argument = wire_next(&s->in, &at))
    arguments[count++] = (char *)(uintptr_t)argument;
  arguments[count] = NULL;
  plan->runs = plan->directory[0] ? "" : runs_of(s, runs);
  plan->arguments = arguments;
  plan->detached = (s->in.head.flags & WIRE_DETACHED) != 0;
  plan->memory_limit = s->in.head.memory_limit;
  plan->input = file_of(s, WIRE_STDIN);
  plan->output = file_of(s, WIRE_STDOUT);
  plan->error = file_of(s, WIRE_STDERR);
  plan->spawner = getpid();
  return count > 0;
}

static bool read_failure(int report, child_failure *failure) {
  ssize_t got;
  do got = read(report, failure, sizeof *failure);
  while (got < 0 && errno == EINTR);
  failure->what[sizeof failure->what - 1] = '\0';
  return got > 0; /* else the pipe closed at exec; a child that died before it is seen as one that ended */
}

/* Forks and waits for the exec: the pid; -1 without a child, or minus the pid of one that failed, with the failure. */
static pid_t launch(const child_plan *plan, child_failure *failure) {
  int report[2];
  *failure = (child_failure){.number = 0, .what = "cannot fork"};
  if (pipe2(report, O_CLOEXEC) != 0) {
    failure->number = errno;
    return -1;
  }
  /* Not fork: handlers of libraries would run; libuv's closes descriptors that are not its own here. */
  pid_t pid = _Fork();
  if (pid == 0) child_become(plan, report[1]);
  failure->number = pid < 0 ? errno : 0;
  (void)close(report[1]);
  bool failed = pid > 0 && read_failure(report[0], failure);
  (void)close(report[0]);
  return failed ? -pid : pid;
}

static void start(spawner *s) {
  char *arguments[WIRE_MOST_ARGUMENTS + 1];
  child_plan plan = {0};
  child_failure failure = {.number = EINVAL, .what = "a malformed order"};
  uint64_t id = s->in.head.id;
  child *c = read_plan(s, &plan, arguments) ? calloc(1, sizeof *c + strlen(plan.runs) + 1) : NULL;
  pid_t pid = c ? launch(&plan, &failure) : -1;
  process_stat stat = {0};
  if (c && pid != -1) {
    pid_t whose = pid > 0 ? pid : -pid;
    (void)process_read_stat(whose, &stat); /* also of a zombie */
    *c = (child){.next = s->children,
                 .id = id,
                 .pid = whose,
                 .started = stat.started,
                 .detached = plan.detached,
                 .private_directory = plan.runs[0] != '\0'};
    memcpy(c->runs, plan.runs, strlen(plan.runs) + 1);
  }
  if (pid > 0) {
    s->children = c;
    answer(s, WIRE_STARTED, id, pid, stat.started, 0, NULL);
    return;
  }
  if (pid != -1) {
    (void)waitpid(-pid, NULL, 0);
    if (c) remove_directory(c);
  }
  free(c);
  answer(s, WIRE_STARTED, id, 0, 0, failure.number ? failure.number : EINVAL, failure.what);
}

/* ---- Ending ---- */

static int exit_code_of(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

/* While the leader is a zombie its number belongs to nobody else, so its group and session can be ended without doubt. */
static bool reap(spawner *s, child *c) {
  siginfo_t info = {.si_pid = 0};
  if (waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return false;
  (void)kill(-(pid_t)c->pid, SIGKILL);
  process_kill_session(c->pid);
  int status = 0;
  while (waitpid((pid_t)c->pid, &status, 0) < 0 && errno == EINTR) continue;
  remove_directory(c);
  answer(s, WIRE_ENDED, c->id, c->pid, c->started, exit_code_of(status), NULL);
  return true;
}

static void reap_all(spawner *s) {
  for (child **at = &s->children; *at;) {
    child *c = *at;
    if (!reap(s, c)) {
      at = &c->next;
      continue;
    }
    *at = c->next;
    free(c);
  }
}

static void send_signal(spawner *s) {
  int64_t pid = s->in.head.pid;
  process_stat stat;
  /* What is not our child is somebody's whom an earlier spawner started; ours are zombies until we reap them. */
  if (!process_read_stat(pid, &stat) || stat.started != s->in.head.started) return;
  (void)kill(-(pid_t)pid, (int)s->in.head.number);
  if (s->in.head.number == SIGKILL) process_kill_session(pid);
}

static bool any_bound(const spawner *s) {
  for (const child *c = s->children; c; c = c->next)
    if (!c->detached) return true;
  return false;
}

static void signal_bound(const spawner *s, int number) {
  for (const child *c = s->children; c; c = c->next)
    if (!c->detached) (void)kill(-(pid_t)c->pid, number);
}

static int64_t now_ms(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void drain_signals(const spawner *s) {
  struct signalfd_siginfo info[8];
  while (read(s->signals, info, sizeof info) > 0) continue;
}

_Noreturn static void end(spawner *s) {
  bool killed = false;
  signal_bound(s, SIGTERM);
  int64_t kill_at = now_ms() + END_GRACE_MS;
  for (reap_all(s); any_bound(s); reap_all(s)) {
    int64_t left = kill_at - now_ms();
    struct pollfd watch = {.fd = s->signals, .events = POLLIN};
    (void)poll(&watch, 1, left > 0 ? (int)left : 1000);
    drain_signals(s);
    if (killed || now_ms() < kill_at) continue;
    signal_bound(s, SIGKILL);
    killed = true;
  }
  if (s->own_runs[0]) (void)rmdir(s->own_runs); /* a detached child's directory keeps it */
  _exit(0);
}

static void obey(spawner *s) {
  size_t at = 0;
  const char *runs = NULL;
  switch ((wire_kind)s->in.head.kind) {
  case WIRE_START: start(s); break;
  case WIRE_SIGNAL: send_signal(s); break;
  case WIRE_SWEEP:
    runs = wire_next(&s->in, &at);
    if (runs) (void)snprintf(s->swept, sizeof s->swept, "%s", runs);
    directory_sweep(s->swept);
    break;
  case WIRE_STARTED:
  case WIRE_ENDED: break;
  }
  wire_close(&s->in);
}

_Noreturn void spawner_run(int socket) {
  static spawner s;
  s.socket = socket;
  sigset_t chld;
  (void)sigemptyset(&chld);
  (void)sigaddset(&chld, SIGCHLD);
  (void)sigprocmask(SIG_SETMASK, &chld, NULL);
  s.signals = signalfd(-1, &chld, SFD_NONBLOCK | SFD_CLOEXEC);
  if (s.signals < 0) _exit(1);
  for (;;) {
    struct pollfd watch[] = {{.fd = socket, .events = POLLIN}, {.fd = s.signals, .events = POLLIN}};
    int ready = poll(watch, 2, s.swept[0] ? SWEEP_MS : -1);
    if (ready < 0 && errno != EINTR) _exit(1);
    if (ready == 0) directory_sweep(s.swept);
    if (ready <= 0) continue;
    if (watch[1].revents) {
      drain_signals(&s);
      reap_all(&s);
    }
    if (!watch[0].revents) continue;
    wire_result result = wire_receive(socket, &s.in, false);
    if (result == WIRE_GONE) end(&s);
    if (result == WIRE_OK) obey(&s);
  }
}
