/* spawner.c: the program of the spawner: one thread, one socket, the children. It knows nothing of what they do. */
#include "process/spawner.h"
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
#define DYING_MS 100
#define END_GRACE_MS 5000 /* what bound children have between SIGTERM and SIGKILL when the daemon has gone */

struct child {
  struct child *next;
  uint64_t id, group;
  int64_t pid, started;
  bool detached, private_directory;
  char runs[];
};

void spawner_say(spawner *s, const wire_head *head, const char *text) {
  if (s->socket < 0) return;
  s->out.head = *head;
  s->out.text_size = 0;
  s->out.file_count = 0;
  if (text) (void)wire_add(&s->out, text);
  /* When the daemon has gone, the next receive says so. */
  (void)wire_send(s->socket, &s->out, true);
}

static void answer(spawner *s, wire_kind kind, uint64_t id, int64_t pid, int64_t started, int64_t number,
                   const char *text) {
  spawner_say(s, &(wire_head){.kind = (uint32_t)kind, .id = id, .pid = pid, .started = started, .number = number}, text);
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
  char group[4096] = "";
  child *c = read_plan(s, &plan, arguments) ? calloc(1, sizeof *c + strlen(plan.runs) + 1) : NULL;
  uint64_t group_number = c ? group_make(plan.memory_limit, group, sizeof group) : 0;
  plan.group = group;
  pid_t pid = c ? launch(&plan, &failure) : -1;
  process_stat stat = {0};
  if (c && pid != -1) {
    pid_t whose = pid > 0 ? pid : -pid;
    (void)process_read_stat(whose, &stat); /* also of a zombie */
    *c = (child){.next = s->children,
                 .id = id,
                 .group = group_number,
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
  group_remove(group_number);
  free(c);
  answer(s, WIRE_STARTED, id, 0, 0, failure.number ? failure.number : EINVAL, failure.what);
}

/* ---- Ending ---- */

static int exit_code_of(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

static void remember(spawner *s, const child *c, int exit_code) {
  s->ended[s->ended_next] = (spawner_ended){.id = c->id, .pid = c->pid, .started = c->started, .exit_code = exit_code};
  s->ended_next = (s->ended_next + 1) % SPAWNER_KEPT_ENDED;
}

void spawner_each_detached(const spawner *s, void (*each)(spawner *s, const wire_head *head)) {
  spawner *to = (spawner *)(uintptr_t)s;
  wire_head head = {.kind = WIRE_CHILD, .flags = WIRE_OVER};
  for (size_t i = 0; i < SPAWNER_KEPT_ENDED; i++) {
    const spawner_ended *e = &s->ended[i];
    if (e->id == 0) continue;
    head.id = e->id;
    head.pid = e->pid;
    head.started = e->started;
    head.number = e->exit_code;
    each(to, &head);
  }
  for (const child *c = s->children; c; c = c->next) {
    head = (wire_head){.kind = WIRE_CHILD, .id = c->id, .pid = c->pid, .started = c->started};
    if (c->detached) each(to, &head);
  }
}

/* While the leader is a zombie its number belongs to nobody else, so its group and session can be ended without doubt. */
static bool reap(spawner *s, child *c) {
  siginfo_t info = {.si_pid = 0};
  if (waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return false;
  (void)kill(-(pid_t)c->pid, SIGKILL);
  process_kill_session(c->pid);
  group_kill(c->group);
  int status = 0;
  while (waitpid((pid_t)c->pid, &status, 0) < 0 && errno == EINTR) continue;
  remove_directory(c);
  group_remove(c->group);
  if (c->detached) remember(s, c, exit_code_of(status));
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
  if (s->in.head.number != SIGKILL) return;
  process_kill_session(pid);
  for (const child *c = s->children; c; c = c->next)
    if (c->pid == pid) group_kill(c->group);
}

static bool any_bound(const spawner *s) {
  for (const child *c = s->children; c; c = c->next)
    if (!c->detached) return true;
  return false;
}

bool spawner_any_detached(const spawner *s) {
  for (const child *c = s->children; c; c = c->next)
    if (c->detached) return true;
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

static void drain_signals(spawner *s) {
  struct signalfd_siginfo info[8];
  ssize_t got;
  while ((got = read(s->signals, info, sizeof info)) > 0)
    for (size_t i = 0; i < (size_t)got / sizeof info[0]; i++)
      if (info[i].ssi_signo != SIGCHLD) s->asked_to_end = true;
}

static void end_bound(spawner *s) {
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
}

static void hang_up(spawner *s) {
  (void)close(s->socket);
  s->socket = -1;
  end_bound(s);
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
  case WIRE_LEAVE: s->asked_to_end = !spawner_any_detached(s); break;
  case WIRE_STARTED:
  case WIRE_ENDED:
  case WIRE_HELLO:
  case WIRE_CHILD: break;
  }
  wire_close(&s->in);
}

static void sweep(const spawner *s) {
  bool dying = group_is_dying();
  group_sweep();
  if (s->swept[0] && !dying) directory_sweep(s->swept);
}

bool spawner_begin(spawner *s, bool handles_stop) {
  sigset_t heard;
  (void)sigemptyset(&heard);
  (void)sigaddset(&heard, SIGCHLD);
  if (handles_stop) (void)sigaddset(&heard, SIGTERM);
  if (handles_stop) (void)sigaddset(&heard, SIGINT);
  if (sigprocmask(SIG_SETMASK, &heard, NULL) != 0) return false;
  s->signals = signalfd(-1, &heard, SFD_NONBLOCK | SFD_CLOEXEC);
  return s->signals >= 0;
}

/* One look at everything; false when the daemon has gone or somebody else calls. */
static bool turn(spawner *s) {
  struct pollfd watch[] = {
      {.fd = s->signals, .events = POLLIN}, {.fd = s->socket, .events = POLLIN}, {.fd = s->listener, .events = POLLIN}};
  int ready = poll(watch, 3, group_is_dying() ? DYING_MS : s->swept[0] ? SWEEP_MS : -1);
  if (ready < 0 && errno != EINTR) _exit(1);
  if (ready == 0) sweep(s);
  if (ready <= 0) return true;
  if (watch[0].revents) {
    drain_signals(s);
    reap_all(s);
  }
  if (watch[1].revents) {
    wire_result result = wire_receive(s->socket, &s->in, false);
    if (result == WIRE_GONE) hang_up(s);
    if (result == WIRE_OK) obey(s);
    return result != WIRE_GONE;
  }
  return !watch[2].revents;
}

bool spawner_serve(spawner *s) {
  while (!s->asked_to_end)
    if (!turn(s)) return true;
  if (s->socket >= 0) hang_up(s);
  return false;
}

_Noreturn void spawner_run(int socket) {
  static spawner s = {.listener = -1};
  s.socket = socket;
  if (!spawner_begin(&s, false)) _exit(1);
  (void)!spawner_serve(&s);
  if (s.own_runs[0]) (void)rmdir(s.own_runs); /* a detached child's directory keeps it */
  _exit(0);
}
