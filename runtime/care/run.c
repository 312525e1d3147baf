#include "care/care.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { GRACE_MS = 5000, LOOK_MS = 200, PIECE = 65536, MOST_LEFT = 256 };

extern char **environ;

/* A program that was started, and our ends of its pipes; -1: none. */
typedef struct running {
  pid_t pid; /* 0: not started, or it has ended */
  int errors;
} running;

typedef struct pipeline {
  const run_program *programs;
  size_t count;
  const run_options *options;
  run_result *result;
  running running[RUN_MOST];
  int input, output; /* to the first, from the last; -1: none or closed */
  size_t written;    /* of the first one's text */
  uint64_t until_ms; /* when they are ended; UINT64_MAX: never */
  bool asked_to_end;
} pipeline;

/* ---- Finding ---- */

static bool is_program(const char *path) {
  struct stat about;
  return stat(path, &about) == 0 && S_ISREG(about.st_mode) && access(path, X_OK) == 0;
}

static bool find_in(const char *folders, const char *name, char path[PATH_MAX]) {
  while (*folders) {
    size_t size = strcspn(folders, ":");
    int length = snprintf(path, PATH_MAX, "%.*s/%s", (int)size, folders, name);
    /* An empty or relative folder in PATH would run what lies in the current one. */
    if (folders[0] == '/' && length > 0 && length < PATH_MAX && is_program(path)) return true;
    folders += size + (folders[size] == ':');
  }
  return false;
}

bool run_find(const char *name, char path[PATH_MAX]) {
  if (strchr(name, '/')) return snprintf(path, PATH_MAX, "%s", name) < PATH_MAX && is_program(path);
  const char *folders = getenv("PATH");
  return (folders && find_in(folders, name, path)) ||
         find_in("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", name, path);
}

/* ---- Starting ---- */

static bool same_variable(const char *a, const char *b) {
  size_t size = strcspn(a, "=");
  return strncmp(a, b, size) == 0 && b[size] == '=';
}

/* Ours, but for what is given; the messages of programs in English. Freed by the caller: the array alone. */
static const char **make_environment(const char *const *given) {
  static const char *const locale = "LC_ALL=C.UTF-8";
  size_t own = 0, more = 0, count = 0;
  while (environ[own]) own++;
  while (given && given[more]) more++;
  const char **all = calloc(own + more + 2, sizeof *all);
  if (!all) return NULL;
  for (size_t i = 0; i < more; i++) all[count++] = given[i];
  all[count++] = locale;
  size_t kept = count;
  for (size_t i = 0; i < own; i++) {
    bool replaced = false;
    for (size_t k = 0; k < kept && !replaced; k++) replaced = same_variable(all[k], environ[i]);
    if (!replaced) all[count++] = environ[i];
  }
  return all;
}

/* What the child needs, prepared before the fork. */
typedef struct launch {
  char path[PATH_MAX];
  const char **environment;
  const char *user; /* NULL: who we are */
  gid_t group;
  int input, output, errors; /* its own; -1: what we have */
  pid_t parent;
} launch;

_Noreturn static void become(const run_program *p, const launch *l) {
  if (l->user && (initgroups(l->user, l->group) != 0 || setgid(l->group) != 0 || setuid(p->user) != 0)) _exit(126);
  if (!p->terminal && setpgid(0, 0) != 0) _exit(126);
  if (!p->outlives && (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != l->parent)) _exit(126);
  if (signal(SIGPIPE, SIG_DFL) == SIG_ERR) _exit(126);
  sigset_t none;
  sigemptyset(&none);
  (void)sigprocmask(SIG_SETMASK, &none, NULL);
  const int wanted[] = {l->input, l->output, l->errors};
  for (int i = 0; i < 3; i++)
    if (wanted[i] >= 0 && dup2(wanted[i], i) < 0) _exit(126);
  (void)close_range(3, UINT_MAX, 0);
  execve(l->path, (char *const *)(uintptr_t)p->arguments, (char *const *)(uintptr_t)l->environment);
  _exit(127);
}

static bool prepare(const run_program *p, launch *l, run_result *result, buffer *why) {
  if (!run_find(p->arguments[0], l->path)) {
    result->missing = true;
    buffer_format(why, "the program %s is not installed here", p->arguments[0]);
    return false;
  }
  if (p->user != 0 && p->user != geteuid()) {
    const struct passwd *who = getpwuid(p->user);
    if (!who) {
      buffer_format(why, "there is no user %u", (unsigned)p->user);
      return false;
    }
    l->user = who->pw_name; /* stays until the next look-up, which is after the fork */
    l->group = who->pw_gid;
  }
  l->environment = make_environment(p->environment);
  l->parent = getpid();
  if (!l->environment) buffer_text(why, "no memory");
  return l->environment != NULL;
}

static void close_one(int *descriptor) {
  if (*descriptor >= 0) (void)close(*descriptor);
  *descriptor = -1;
}

/* Descriptors 0 to 2 may be closed in us; a copy of a pipe there would be lost to dup2. */
static bool make_pipe(int ends[2]) {
  if (pipe2(ends, O_CLOEXEC) != 0) return false;
  for (int i = 0; i < 2; i++)
    while (ends[i] >= 0 && ends[i] <= 2) {
      int higher = fcntl(ends[i], F_DUPFD_CLOEXEC, 3);
      (void)close(ends[i]);
      ends[i] = higher;
    }
  if (ends[0] >= 0 && ends[1] >= 0) return true;
  close_one(&ends[0]);
  close_one(&ends[1]);
  return false;
}

static int open_nothing(int flags) { return open("/dev/null", flags | O_CLOEXEC); }

/* `input` is what it reads and is closed; `output` becomes what the next one reads, or ours. */
static bool start(pipeline *l, size_t at, int input, int *output, buffer *why) {
  const run_program *p = &l->programs[at];
  launch new = {.input = input, .output = -1, .errors = -1};
  int out[2] = {-1, -1}, errors[2] = {-1, -1};
  bool last = at + 1 == l->count, given = last && p->output > 0, fine = prepare(p, &new, l->result, why);
  if (fine && !p->terminal) {
    bool apart = given && p->outlives; /* whoever writes into a pipe whose other end is gone is ended by it */
    fine = (apart || make_pipe(errors)) && (given || make_pipe(out));
    if (!fine) buffer_format(why, "cannot start %s: %s", p->arguments[0], strerror(errno));
    new.output = given ? p->output : out[1];
    new.errors = apart ? p->output : errors[1];
  }
  pid_t pid = fine ? fork() : -1;
  if (pid == 0) become(p, &new);
  if (fine && pid < 0) buffer_format(why, "cannot start %s: %s", p->arguments[0], strerror(errno));
  if (pid > 0 && !p->terminal) (void)setpgid(pid, pid); /* whoever is first */
  free((void *)new.environment);
  close_one(&input);
  close_one(&out[1]);
  close_one(&errors[1]);
  l->running[at] = (running){.pid = pid > 0 ? pid : 0, .errors = errors[0]};
  *output = out[0];
  return pid > 0;
}

static int first_input(pipeline *l, bool *fine) {
  const run_program *p = &l->programs[0];
  int ends[2] = {-1, -1};
  if (p->terminal) return -1;
  if (p->input > 0) return fcntl(p->input, F_DUPFD_CLOEXEC, 3);
  if (!p->text) return open_nothing(O_RDONLY);
  *fine = make_pipe(ends);
  l->input = ends[1];
  return ends[0];
}

static bool start_all(pipeline *l, buffer *why) {
  bool fine = true;
  int input = first_input(l, &fine);
  if (!fine || (input < 0 && !l->programs[0].terminal)) {
    buffer_format(why, "cannot start %s: %s", l->programs[0].arguments[0], strerror(errno));
    return false;
  }
  for (size_t i = 0; i < l->count; i++) {
    int output = -1;
    if (!start(l, i, input, &output, why)) {
      close_one(&output);
      return false;
    }
    input = output;
  }
  l->output = input;
  return true;
}

/* ---- While they run ---- */

static uint64_t now_ms(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void end_all(const pipeline *l, int signal_number) {
  for (size_t i = 0; i < l->count; i++) {
    pid_t pid = l->running[i].pid;
    if (pid <= 0) continue;
    if (l->programs[i].terminal || kill(-pid, signal_number) != 0) (void)kill(pid, signal_number);
  }
}

static void ask_to_end(pipeline *l) {
  end_all(l, l->asked_to_end ? SIGKILL : SIGTERM);
  l->asked_to_end = true;
  l->until_ms = now_ms() + GRACE_MS;
}

static void note_errors(run_result *result, const char *data, size_t size) {
  buffer_add(&result->errors, data, size);
  if (result->errors.size > RUN_SAID) buffer_consume(&result->errors, result->errors.size - RUN_SAID);
}

static void take_output(pipeline *l, const char *data, size_t size) {
  if (l->result->stopped) return;
  bool wanted = true;
  if (l->options->take) wanted = l->options->take(l->options->to, data, size);
  else if (size > RUN_COLLECTED - l->result->output.size) wanted = false;
  else buffer_add(&l->result->output, data, size);
  if (wanted) return;
  l->result->stopped = true;
  ask_to_end(l);
}

/* False: nothing more comes from there. */
static bool read_some(pipeline *l, int descriptor, bool errors) {
  static char piece[PIECE];
  ssize_t size = read(descriptor, piece, sizeof piece);
  if (size < 0) return errno == EINTR || errno == EAGAIN;
  if (size == 0) return false;
  if (errors) note_errors(l->result, piece, (size_t)size);
  else take_output(l, piece, (size_t)size);
  return true;
}

/* Not more than a pipe takes at once, so that it never blocks. */
static void write_some(pipeline *l) {
  const run_program *p = &l->programs[0];
  size_t size = p->text_size - l->written;
  if (size > PIPE_BUF) size = PIPE_BUF;
  ssize_t sent = size > 0 ? write(l->input, p->text + l->written, size) : 0;
  if (sent > 0) l->written += (size_t)sent;
  bool over = sent < 0 && errno != EINTR && errno != EAGAIN; /* it does not read on: its own affair */
  if (over || l->written == p->text_size) close_one(&l->input);
}

static int code_of(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

/* Whether one still runs. */
static bool reap(pipeline *l) {
  bool any = false;
  for (size_t i = 0; i < l->count; i++) {
    int status = 0;
    if (l->running[i].pid == 0) continue;
    pid_t ended = waitpid(l->running[i].pid, &status, WNOHANG);
    if (ended == 0 || (ended < 0 && errno == EINTR)) any = true;
    else {
      l->result->codes[i] = ended > 0 ? code_of(status) : -1;
      l->running[i].pid = 0;
    }
  }
  return any;
}

static size_t watch(const pipeline *l, struct pollfd *watched, int **places) {
  size_t count = 0;
  const struct {
    const int *descriptor;
    short events;
  } pipes[] = {{&l->input, POLLOUT}, {&l->output, POLLIN}};
  for (size_t i = 0; i < 2; i++)
    if (*pipes[i].descriptor >= 0) {
      places[count] = (int *)(uintptr_t)pipes[i].descriptor;
      watched[count++] = (struct pollfd){.fd = *pipes[i].descriptor, .events = pipes[i].events};
    }
  for (size_t i = 0; i < l->count; i++)
    if (l->running[i].errors >= 0) {
      places[count] = (int *)(uintptr_t)&l->running[i].errors;
      watched[count++] = (struct pollfd){.fd = l->running[i].errors, .events = POLLIN};
    }
  return count;
}

/* Hands on what there is; false: there was nothing within `wait_ms`. */
static bool turn(pipeline *l, int wait_ms) {
  struct pollfd watched[RUN_MOST + 2];
  int *places[RUN_MOST + 2];
  size_t count = watch(l, watched, places);
  if (poll(watched, (nfds_t)count, wait_ms) <= 0) return false;
  for (size_t i = 0; i < count; i++) {
    if (watched[i].revents == 0) continue;
    if (places[i] == &l->input) write_some(l);
    else if (!read_some(l, watched[i].fd, places[i] != &l->output)) close_one(places[i]);
  }
  return true;
}

/* When the last one ends by itself and no pipe tells, waiting is cut into short pieces; a pipe's end wakes at once. What a service
 * that was started keeps open is not waited for: when all have ended, only what is there is read. */
static void run_until_end(pipeline *l) {
  while (reap(l)) {
    uint64_t now = now_ms();
    if (now >= l->until_ms) {
      if (!l->asked_to_end) l->result->timed_out = true;
      ask_to_end(l);
    }
    bool quiet = l->output < 0 && l->running[l->count - 1].errors < 0;
    (void)turn(l, quiet ? 10 : LOOK_MS);
  }
  for (int more = 0; more < MOST_LEFT && turn(l, 0); more++) {}
}

/* ---- The whole ---- */

static void add_last_words(const run_result *result, buffer *why) {
  size_t end = result->errors.size;
  const char *data = result->errors.data;
  while (end > 0 && (data[end - 1] == '\n' || data[end - 1] == ' ')) end--;
  size_t from = end;
  for (int lines = 0; from > 0 && end - from < 600; from--)
    if (data[from - 1] == '\n' && ++lines == 3) break;
  if (end > from) buffer_text(why, ": ");
  if (end > from) buffer_add(why, data + from, end - from);
}

static void explain(const pipeline *l, buffer *why) {
  const run_result *r = l->result;
  size_t at = 0;
  while (at + 1 < l->count && r->codes[at] == 0) at++;
  /* One that lost its reader is not the cause. */
  for (size_t i = at + 1; i < l->count && r->codes[at] == 128 + SIGPIPE; i++)
    if (r->codes[i] != 0) at = i;
  const char *name = l->programs[at].arguments[0];
  if (r->timed_out) buffer_format(why, "%s took longer than %u s and was ended", name, l->options->limit_ms / 1000);
  else if (r->stopped)
    buffer_format(why, "%s wrote what is not taken, and was ended", l->programs[l->count - 1].arguments[0]);
  else if (r->codes[at] == 127) buffer_format(why, "%s cannot be executed", name);
  else if (r->codes[at] > 128) buffer_format(why, "%s was ended by signal %d", name, r->codes[at] - 128);
  else buffer_format(why, "%s ended with %d", name, r->codes[at]);
  add_last_words(r, why);
}

static void finish(pipeline *l) {
  close_one(&l->input);
  close_one(&l->output);
  for (size_t i = 0; i < l->count; i++) close_one(&l->running[i].errors);
  for (size_t i = l->count; i-- > 0;)
    if (l->result->codes[i] != 0) l->result->code = l->result->codes[i];
}

bool run_pipeline(const run_program *programs, size_t count, const run_options *options, run_result *result, buffer *why) {
  static const run_options none = {0};
  pipeline l = {.programs = programs, .count = count, .options = options ? options : &none, .result = result};
  struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
  *result = (run_result){0};
  l.input = l.output = -1;
  l.until_ms = l.options->limit_ms > 0 ? now_ms() + l.options->limit_ms : UINT64_MAX;
  for (size_t i = 0; i < RUN_MOST; i++) {
    l.running[i].errors = -1;
    if (i < count) result->codes[i] = -1;
  }
  if (count == 0 || count > RUN_MOST || sigaction(SIGPIPE, &ignore, &before) != 0) {
    buffer_text(why, "a pipeline of so many programs cannot be run");
    return false;
  }
  (void)fflush(stdout); /* the order of lines, where they share it */
  bool started = start_all(&l, why);
  if (!started) ask_to_end(&l);
  run_until_end(&l);
  finish(&l);
  (void)sigaction(SIGPIPE, &before, NULL);
  bool fine = started && result->code == 0 && !result->stopped && !result->timed_out && !result->output.failed;
  if (started && !fine) explain(&l, why);
  return fine;
}

bool run_simple(const char *const *arguments, uint32_t limit_ms, run_result *result, buffer *why) {
  const run_program program = {.arguments = arguments};
  const run_options options = {.limit_ms = limit_ms};
  return run_pipeline(&program, 1, &options, result, why);
}

void run_result_free(run_result *result) {
  buffer_free(&result->output);
  buffer_free(&result->errors);
}
