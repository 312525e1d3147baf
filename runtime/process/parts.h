/* parts.h: what the files of process/ share; nobody else includes it.
 *
 * process/wire.c       messages between the daemon and the spawner
 * process/identity.c   which process is which: start time and boot
 * process/directory.c  private working directories: RUNS/PID-STARTED
 * process/child.c      in the child, between fork and exec
 * process/spawner.c    the spawner's own program: one thread, one socket, the children
 * process/unit.c       the spawner as a program of its own (purlin-spawner.service): its address, who may call, daemons that come and go
 * process/group.c      control groups of children, where the spawner has been given a subtree (Delegate=yes)
 * process/connect.c    the daemon's way to such a spawner: hello, and the children of earlier daemons
 * process/process.c    the daemon's end: the table of children, what the spawner says
 * process/wait.c       waiting for an end, and bringing it about
 * process/ask.c        running purlin-runner for an answer, before the loops run
 * process/provider.c   who provides which contract, and starting them */
#ifndef PURLIN_PROCESS_PARTS_H
#define PURLIN_PROCESS_PARTS_H

#include "loop/context.h"
#include "process/process.h"
#include "process/wire.h"
#include <sys/socket.h>
#include <sys/types.h>

/* ---- identity.c ---- */

typedef struct process_stat {
  char state; /* 'R', 'S', 'Z', ... */
  int64_t session;
  int64_t started; /* clock ticks since boot */
} process_stat;
/* Reads /proc/PID/stat; false when there is no such process. Allocates nothing. */
bool process_read_stat(int64_t pid, process_stat *stat);
const char *process_boot_id(void); /* static; "" when the kernel does not tell */
/* SIGKILL for every process of a session, in whatever group. */
void process_kill_session(int64_t session);

/* ---- directory.c ---- */

PURLIN_CHECKED bool directory_path(char *out, size_t size, const char *runs, int64_t pid, int64_t started);
void directory_remove(const char *path); /* and all that is in it */
void directory_sweep(const char *runs);  /* those whose process has gone */

/* ---- child.c ---- */

typedef struct child_plan {
  const char *runs, *log_file, *directory; /* "": none */
  const char *group;                       /* its cgroup.procs; "": none */
  char *const *arguments;
  bool detached;
  uint64_t memory_limit;
  int input, output, error; /* -1: none */
  pid_t spawner;
} child_plan;

typedef struct child_failure {
  int number; /* errno */
  char what[124];
} child_failure;

/* Becomes the program, or writes a child_failure to `report` and exits. */
_Noreturn void child_become(const child_plan *plan, int report);

/* ---- spawner.c ---- */

_Noreturn void spawner_run(int socket);

/* ---- unit.c ---- */

struct sockaddr_un;
PURLIN_CHECKED bool spawner_address(const char *path, struct sockaddr_un *out, socklen_t *size, buffer *why);
/* Whether the other end of a Unix socket is of our user, or root. */
PURLIN_CHECKED bool spawner_trusts(int socket, pid_t *pid);

/* ---- group.c: false, "" and nothing at all where there are no control groups ---- */

/* Takes a subtree of cgroup v2 that was delegated to this process, and moves the process out of the way. Says on stderr why there is none. */
bool group_begin(const char *subtree);
/* The subtree's limits go, so that whoever starts the unit again can: a group with limits for groups below it takes no process. */
void group_release(void);
/* A group for one child; 0: none. `procs` gets the file that takes a child in. */
uint64_t group_make(uint64_t memory_limit, char *procs, size_t size);
void group_kill(uint64_t group); /* everything in it */
void group_remove(uint64_t group);
/* Removes empty ones whose processes had not quite gone then; soon again while group_is_dying. */
void group_sweep(void);
bool group_is_dying(void);

/* ---- process.c: the daemon's table of children; every member under `lock` ---- */

typedef struct process_waiter {
  struct process_waiter *next;
  loop_post_item post;
  loop *loop;
  fiber *fiber;
} process_waiter;

typedef enum process_phase { PROCESS_ASKED, PROCESS_RUNNING, PROCESS_REFUSED, PROCESS_ENDED, PROCESS_LOST } process_phase;

typedef struct process_record {
  struct process_record *next;
  uint64_t id;
  process_phase phase;
  int64_t pid, started;
  int exit_code;
  int error;      /* errno of PROCESS_REFUSED */
  char what[124]; /* and what failed */
  bool wanted;    /* somebody will still look at it */
  process_waiter *waiters;
} process_record;

void process_lock(void);
void process_unlock(void);
process_record *process_find(int64_t pid, int64_t started); /* NULL; under the lock */

typedef struct process_order {
  const char *log_file, *directory;
  const char *const *arguments; /* without the program, ended by NULL */
  bool detached;
  uint64_t memory_limit;
  int input, output, error; /* borrowed; -1: none */
} process_order;

/* Starts a child and waits until it runs: parks in a fiber; without one (before the loops) it blocks. `record` belongs to the table. */
PURLIN_CHECKED purlin_status process_spawn(const process_order *order, process_record **record, buffer *why);
/* Without fibers: until the record's phase is other than `phase`. False when time is over or the spawner has gone. */
PURLIN_CHECKED bool process_wait_blocking(process_record *record, process_phase phase, int timeout_ms);
/* Whoever started it has seen what it wanted to see. */
void process_forget(process_record *record);
/* A signal for the whole group, through the spawner; directly when it has gone. */
void process_signal(const purlin_process *process, int number);

/* Asks the spawner to remove private directories whose process has gone. */
void process_sweep(void);

/* ---- connect.c ---- */

/* Connects and says hello; blocks for a moment only. -1: `why` tells. */
int connect_spawner(const char *path, buffer *why);
typedef enum connect_fit { CONNECT_FITS, CONNECT_OUTDATED, CONNECT_BUSY, CONNECT_ALIEN } connect_fit;
/* What the spawner's own hello says of it: it may be used; the same, but it should make way for its successor; it serves another daemon; it speaks
 * otherwise. */
connect_fit connect_judge(const char *path, const wire_message *hello, buffer *why);
extern int process_patience_ms; /* how long a daemon that starts looks for it */
/* process.c: a child of an earlier daemon; `over`: it has ended with this exit code. */
void process_adopt(uint64_t id, int64_t pid, int64_t started, bool over, int exit_code);

/* ---- ask.c ---- */

/* A file without a name that holds these bytes, at its start; -1 when memory is short. */
int process_memory_file(const char *data, size_t size);

/* ---- provider.c ---- */

void providers_free(void);

#endif
