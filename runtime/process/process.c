/* process.c: the daemon's end of the spawner. Any thread orders; loop 0 alone hears what the spawner says. */
#include "process/parts.h"
#include "observe/log.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <poll.h>
#include <purlin/metric.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

PURLIN_GAUGE(processes_running, "Child processes of this daemon that run", NULL);

#define KEPT_ENDED 1024u /* ended children whose exit code is still known */
#define RETRY_MS 200u
#define HELLO_MS 10000        /* it may still be ending what the daemon before us has left */
#define SPAWNER_GRACE_MS 8000 /* longer than the spawner's own for its children */

int process_patience_ms = 3000;

static struct {
  pthread_mutex_t lock;
  int socket;                                              /* -1: no spawner */
  atomic_bool lost;                                        /* the spawner has gone by itself */
  pid_t spawner;                                           /* 0: it is no child of ours */
  char address[sizeof((struct sockaddr_un *)0)->sun_path]; /* of one that is a unit of its own; "": it was forked */
  loop_timer retry;
  char runner[PATH_MAX];
  char runs[PATH_MAX]; /* "": the spawner's choice */
  uint64_t last_id;
  size_t running;
  process_record *records; /* newest first */
  uv_poll_t watch;
} table = {.lock = PTHREAD_MUTEX_INITIALIZER, .socket = -1};

void process_lock(void) { (void)pthread_mutex_lock(&table.lock); }
void process_unlock(void) { (void)pthread_mutex_unlock(&table.lock); }

/* ---- The spawner ---- */

_Noreturn static void become_spawner(int socket) {
  static const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGQUIT, SIGUSR1, SIGUSR2};
  for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++) (void)signal(ignored[i], SIG_IGN);
  (void)setsid(); /* Ctrl-C in a terminal is the daemon's business */
  (void)prctl(PR_SET_NAME, "purlin-spawner");
  int kept = fcntl(socket, F_DUPFD_CLOEXEC, 3);
  if (kept < 0 || dup2(kept, 3) < 0) _exit(1);
  (void)close_range(4, ~0U, 0);
  (void)fcntl(3, F_SETFD, FD_CLOEXEC);
  if (chdir("/") != 0) _exit(1);
  spawner_run(3);
}

/* A program that was started without 0, 1 or 2 would give their numbers to sockets. */
static bool fill_standard_files(void) {
  int file;
  do file = open("/dev/null", O_RDWR | O_CLOEXEC);
  while (file >= 0 && file < 3 && fcntl(file, F_SETFD, 0) == 0);
  if (file > 2) (void)close(file);
  return file > 2;
}

static purlin_status find_runner(const char *runner, buffer *why) {
  /* A spawner that outlives daemons knows children by numbers that no later daemon gives. */
  table.last_id = purlin_ticks_ns();
  if (table.socket >= 0) return PURLIN_CONFLICT;
  if (realpath(runner, table.runner)) return PURLIN_OK;
  buffer_format(why, "cannot find purlin-runner at %s: %s", runner, strerror(errno));
  return PURLIN_UNAVAILABLE;
}

purlin_status process_spawner_fork(const char *runner, buffer *why) {
  int pair[2];
  purlin_status found = find_runner(runner, why);
  if (found != PURLIN_OK) return found;
  if (!fill_standard_files() || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
    buffer_format(why, "cannot talk to a spawner: %s", strerror(errno));
    return PURLIN_UNAVAILABLE;
  }
  pid_t pid = fork();
  if (pid == 0) {
    (void)close(pair[0]);
    become_spawner(pair[1]);
  }
  (void)close(pair[1]);
  if (pid < 0) {
    (void)close(pair[0]);
    buffer_format(why, "cannot fork the spawner: %s", strerror(errno));
    return PURLIN_UNAVAILABLE;
  }
  table.socket = pair[0];
  table.spawner = pid;
  table.lost = false;
  return PURLIN_OK;
}

void process_sweep(void) {
  if (table.socket < 0 || table.lost || !table.runs[0]) return;
  wire_message *message = calloc(1, sizeof *message);
  if (!message) return;
  message->head.kind = WIRE_SWEEP;
  /* What is not swept now is swept at the next start. */
  if (wire_add(message, table.runs)) (void)wire_send(table.socket, message, false);
  free(message);
}

void process_set_runs(const char *directory) {
  size_t size = strlen(directory);
  if (size >= sizeof table.runs) return;
  memcpy(table.runs, directory, size + 1);
  process_sweep();
}

/* ---- Records ---- */

process_record *process_find(int64_t pid, int64_t started) {
  for (process_record *r = table.records; r; r = r->next)
    if (r->pid == pid && r->started == started && r->phase != PROCESS_ASKED && r->phase != PROCESS_REFUSED) return r;
  return NULL;
}

static process_record *find_id(uint64_t id) {
  process_record *r = table.records;
  while (r && r->id != id) r = r->next;
  return r;
}

static bool is_over(const process_record *r) { return r->phase >= PROCESS_REFUSED; }

/* Forgets refused ones at once, and the oldest ended ones beyond KEPT_ENDED. */
static void forget_old(void) {
  size_t over = 0;
  for (process_record **at = &table.records; *at;) {
    process_record *r = *at;
    if (is_over(r)) over++;
    bool keep = r->wanted || r->waiters || !is_over(r) || (r->phase != PROCESS_REFUSED && over <= KEPT_ENDED);
    if (keep) {
      at = &r->next;
      continue;
    }
    *at = r->next;
    free(r);
  }
}

void process_forget(process_record *record) {
  process_lock();
  record->wanted = false;
  forget_old();
  process_unlock();
}

static void wake(void *argument) { fiber_wake(((process_waiter *)argument)->fiber); }

static void wake_waiters(process_record *r) {
  for (process_waiter *w = r->waiters; w;) {
    process_waiter *next = w->next; /* once posted, it may go at any moment */
    w->post = (loop_post_item){.call = wake, .argument = w};
    loop_post(w->loop, &w->post);
    w = next;
  }
  r->waiters = NULL;
}

static void enter_phase(process_record *r, process_phase phase) {
  if (phase == PROCESS_RUNNING) table.running++;
  if (r->phase == PROCESS_RUNNING && table.running > 0) table.running--;
  r->phase = phase;
  purlin_gauge(processes_running, (double)table.running, PURLIN_NO_LABELS);
  wake_waiters(r);
}

/* ---- What the spawner says ---- */

void process_adopt(uint64_t id, int64_t pid, int64_t started, bool over, int exit_code) {
  process_lock();
  process_record *r = find_id(id);
  if (!r) {
    r = calloc(1, sizeof *r);
    if (r) {
      r->id = id;
      r->next = table.records;
      table.records = r;
    }
  }
  /* Of what is known to have ended, nothing is news; a lost one is found again. */
  if (r && r->phase != PROCESS_ENDED) {
    r->pid = pid;
    r->started = started;
    r->exit_code = exit_code;
    if (over || r->phase != PROCESS_RUNNING) enter_phase(r, over ? PROCESS_ENDED : PROCESS_RUNNING);
  }
  process_unlock();
}

/* The hello of a spawner that came back. One that does not fit is hung up on, and tried again. */
static void greet(const wire_message *hello) {
  buffer why = {0};
  connect_fit fit = connect_judge(table.address, hello, &why);
  if (fit == CONNECT_FITS || fit == CONNECT_OUTDATED) {
    table.lost = false;
    log_write(PURLIN_INFO, "process", "the spawner is back");
    process_sweep();
  } else {
    log_write(PURLIN_WARNING, "process", "%s", buffer_end(&why));
    (void)shutdown(table.socket, SHUT_RDWR);
  }
  buffer_free(&why);
}

static void hear(const wire_message *message) {
  const wire_head *head = &message->head;
  if (head->kind == WIRE_CHILD)
    process_adopt(head->id, head->pid, head->started, (head->flags & WIRE_OVER) != 0, (int)head->number);
  if (head->kind == WIRE_HELLO) greet(message);
  process_lock();
  process_record *r = find_id(head->id);
  if (r && head->kind == WIRE_STARTED) {
    size_t at = 0;
    const char *what = wire_next(message, &at);
    size_t size = what ? strnlen(what, sizeof r->what - 1) : 0;
    if (size) memcpy(r->what, what, size);
    r->what[size] = '\0';
    r->pid = head->pid;
    r->started = head->started;
    r->error = (int)head->number;
    enter_phase(r, head->number ? PROCESS_REFUSED : PROCESS_RUNNING);
  } else if (r && head->kind == WIRE_ENDED) {
    r->exit_code = (int)head->number;
    enter_phase(r, PROCESS_ENDED);
    forget_old();
  }
  process_unlock();
}

/* Its children may go on; those who wait for them look at /proc from now on. */
static void lose_spawner(void) {
  process_lock();
  bool news = !table.lost;
  table.lost = true;
  for (process_record *r = table.records; r; r = r->next)
    if (!is_over(r)) enter_phase(r, PROCESS_LOST);
  process_unlock();
  if (!news) return;
  if (table.address[0])
    log_write(PURLIN_WARNING, "process", "the spawner has gone: nothing can be started until it is back");
  else log_write(PURLIN_ERROR, "process", "the spawner has gone: nothing can be started; restart purlind");
}

static wire_message *heard(void) {
  static wire_message message; /* loop 0's, and before the loops the main thread's */
  return &message;
}

static bool hear_all(void) {
  wire_message *message = heard();
  wire_result result;
  while ((result = wire_receive(table.socket, message, false)) == WIRE_OK) {
    hear(message);
    wire_close(message);
  }
  if (result == WIRE_GONE) lose_spawner();
  return result != WIRE_GONE;
}

static void on_unwatched(uv_handle_t *handle);

/* A status below 0: it went with orders unread, which the socket tells as an error. */
static void on_readable(uv_poll_t *watch, int status, int events) {
  (void)events;
  bool there = hear_all();
  if (there && status < 0) lose_spawner();
  if (there && status >= 0) return;
  (void)uv_poll_stop(watch);
  if (table.address[0]) uv_close((uv_handle_t *)watch, on_unwatched);
}

/* The new socket takes the old one's number: another thread may be about to write to it. */
static void look_for_successor(loop_timer *timer) {
  buffer why = {0};
  int file = connect_spawner(table.address, &why);
  buffer_free(&why);
  bool there = file >= 0 && dup3(file, table.socket, O_CLOEXEC) >= 0;
  if (file >= 0) (void)close(file);
  if (!there || process_start() != PURLIN_OK) loop_timer_start(loop_at(0), timer, RETRY_MS, look_for_successor);
}

static void on_unwatched(uv_handle_t *handle) {
  (void)handle;
  loop_timer_start(loop_at(0), &table.retry, RETRY_MS, look_for_successor);
}

purlin_status process_start(void) {
  if (table.socket < 0) return PURLIN_UNAVAILABLE;
  if (uv_poll_init(loop_uv(loop_at(0)), &table.watch, table.socket) != 0) return PURLIN_UNAVAILABLE;
  if (uv_poll_start(&table.watch, UV_READABLE, on_readable) != 0) return PURLIN_UNAVAILABLE;
  uv_unref((uv_handle_t *)&table.watch);
  return PURLIN_OK;
}

/* ---- A spawner that is there before us ---- */

static bool any_running(void) {
  for (const process_record *r = table.records; r; r = r->next)
    if (r->phase == PROCESS_RUNNING) return true;
  return false;
}

/* Before the loops: what the spawner says first, to the end of its hello. */
static bool hear_first(int socket, connect_fit *fit, buffer *why) {
  wire_message *message = heard();
  struct pollfd watch = {.fd = socket, .events = POLLIN};
  while (poll(&watch, 1, HELLO_MS) > 0 && wire_receive(socket, message, false) == WIRE_OK) {
    wire_close(message);
    if (message->head.kind == WIRE_CHILD) hear(message);
    if (message->head.kind != WIRE_HELLO) continue;
    *fit = connect_judge(table.address, message, why);
    return true;
  }
  buffer_format(why, "the spawner at %s does not answer", table.address);
  return false;
}

static void send_away(int socket) {
  wire_message *message = calloc(1, sizeof *message);
  if (message) message->head.kind = WIRE_LEAVE;
  struct pollfd watch = {.fd = socket, .events = POLLIN};
  if (message && wire_send(socket, message, true) == WIRE_OK) (void)poll(&watch, 1, HELLO_MS);
  free(message);
}

purlin_status process_spawner_connect(const char *path, const char *runner, buffer *why) {
  purlin_status found = find_runner(runner, why);
  if (found != PURLIN_OK) return found;
  size_t size = strlen(path);
  if (!fill_standard_files()) return PURLIN_UNAVAILABLE;
  if (size < sizeof table.address) memcpy(table.address, path, size + 1);
  uint64_t end_ns = purlin_ticks_ns() + (uint64_t)process_patience_ms * 1000000;
  connect_fit fit = CONNECT_ALIEN;
  for (bool sent_away = false; purlin_ticks_ns() < end_ns; (void)poll(NULL, 0, 50)) {
    buffer_clear(why);
    int file = connect_spawner(path, why);
    bool usable = file >= 0 && hear_first(file, &fit, why) && (fit == CONNECT_FITS || fit == CONNECT_OUTDATED);
    if (usable && fit == CONNECT_OUTDATED && !sent_away && !any_running()) {
      sent_away = true;
      send_away(file);
      end_ns = purlin_ticks_ns() + (uint64_t)process_patience_ms * 10000000; /* its successor will come */
      usable = false;
    }
    if (usable) {
      table.socket = file;
      table.lost = false;
      return PURLIN_OK;
    }
    if (file >= 0) (void)close(file);
  }
  table.address[0] = '\0';
  return fit == CONNECT_BUSY ? PURLIN_CONFLICT : PURLIN_UNAVAILABLE;
}

static void await_spawner(void) {
  for (int waited_ms = 0; waited_ms < SPAWNER_GRACE_MS; waited_ms += 10) {
    pid_t ended = waitpid(table.spawner, NULL, WNOHANG);
    if (ended == table.spawner || (ended < 0 && errno != EINTR)) return;
    (void)poll(NULL, 0, 10);
  }
  (void)kill(table.spawner, SIGKILL); /* its bound children go with it */
  (void)waitpid(table.spawner, NULL, 0);
}

void process_stop(void) {
  if (table.socket < 0) return;
  (void)close(table.socket);
  table.socket = -1;
  if (table.spawner > 0) await_spawner();
  table.spawner = 0;
  table.address[0] = '\0';
  table.retry = (loop_timer){0};
  while (table.records) {
    process_record *next = table.records->next;
    free(table.records);
    table.records = next;
  }
  table.running = 0;
  table.runs[0] = '\0';
  providers_free();
}

/* ---- Orders ---- */

static bool send_order(const wire_message *message) {
  enum { TRIES = 200, PAUSE_MS = 5 };
  for (int i = 0; i < TRIES; i++) {
    if (table.socket < 0 || table.lost) return false;
    wire_result result = wire_send(table.socket, message, false);
    if (result != WIRE_AGAIN) return result == WIRE_OK;
    if (fiber_current()) loop_sleep(PAUSE_MS);
    else (void)poll(NULL, 0, PAUSE_MS);
  }
  return false;
}

static bool fill_order(wire_message *message, const process_order *order) {
  const int files[] = {order->input, order->output, order->error};
  message->head.kind = WIRE_START;
  message->head.memory_limit = order->memory_limit;
  message->head.flags = order->detached ? WIRE_DETACHED : 0;
  for (size_t i = 0; i < WIRE_MOST_FILES; i++) {
    if (files[i] < 0) continue;
    message->head.flags |= (uint32_t)WIRE_STDIN << i;
    message->files[message->file_count++] = files[i];
  }
  bool fits = wire_add(message, table.runs) && wire_add(message, order->log_file) && wire_add(message, order->directory) &&
              wire_add(message, table.runner);
  for (size_t i = 0; fits && order->arguments[i]; i++)
    fits = i + 2 < WIRE_MOST_ARGUMENTS && wire_add(message, order->arguments[i]);
  return fits;
}

static process_record *add_record(void) {
  process_record *r = calloc(1, sizeof *r);
  if (!r) return NULL;
  r->wanted = true;
  process_lock();
  r->id = ++table.last_id;
  r->next = table.records;
  table.records = r;
  process_unlock();
  return r;
}

/* The spawner answers within milliseconds, so this wait is neither cancelled nor timed. */
static void await_start(process_record *r) {
  if (!fiber_current()) {
    bool answered = process_wait_blocking(r, PROCESS_ASKED, 30000);
    (void)answered; /* the phase says it too */
    return;
  }
  process_waiter w = {.loop = loop_current(), .fiber = fiber_current()};
  process_lock();
  bool wait = r->phase == PROCESS_ASKED && !table.lost;
  /* cppcheck-suppress autoVariables ; we return only after it was taken off the list */
  if (wait) r->waiters = &w;
  process_unlock();
  if (wait) fiber_park();
}

purlin_status process_spawn(const process_order *order, process_record **record, buffer *why) {
  wire_message *message = calloc(1, sizeof *message);
  process_record *r = message ? add_record() : NULL;
  bool sent = false;
  if (r) {
    message->head.id = r->id;
    sent = fill_order(message, order) && send_order(message);
  }
  free(message);
  if (sent) await_start(r);
  process_lock();
  bool runs = r && (r->phase == PROCESS_RUNNING || r->phase == PROCESS_ENDED);
  if (!runs && r && r->phase == PROCESS_REFUSED) buffer_format(why, "%s %s: %s", r->what, table.runner, strerror(r->error));
  else if (!runs)
    buffer_text(why, table.address[0] ? "the spawner does not answer; systemctl status purlin-spawner tells why"
                                      : "the spawner does not answer; restart purlind");
  if (!runs && r && r->phase == PROCESS_ASKED) r->phase = PROCESS_REFUSED;
  process_unlock();
  if (runs) *record = r;
  else if (r) process_forget(r);
  return runs ? PURLIN_OK : PURLIN_UNAVAILABLE;
}

bool process_wait_blocking(process_record *record, process_phase phase, int timeout_ms) {
  uint64_t end_ns = purlin_ticks_ns() + (uint64_t)timeout_ms * 1000000;
  while (record->phase == phase) {
    uint64_t now_ns = purlin_ticks_ns();
    struct pollfd watch = {.fd = table.socket, .events = POLLIN};
    if (now_ns >= end_ns) return false;
    if (poll(&watch, 1, (int)((end_ns - now_ns) / 1000000) + 1) < 0 && errno != EINTR) return false;
    if (watch.revents && !hear_all()) return false;
  }
  return record->phase != PROCESS_LOST;
}

void process_signal(const purlin_process *process, int number) {
  wire_message *message = calloc(1, sizeof *message);
  if (message)
    message->head = (wire_head){.kind = WIRE_SIGNAL, .pid = process->pid, .started = process->started, .number = number};
  bool sent = message && send_order(message);
  free(message);
  if (sent || !purlin_process_alive(process)) return;
  (void)kill(-(pid_t)process->pid, number);
  if (number == SIGKILL) process_kill_session(process->pid);
}
