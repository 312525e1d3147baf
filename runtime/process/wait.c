/* wait.c: the end of a process: told by the spawner for its own children, seen in /proc for those of earlier daemons. */
#include "process/parts.h"
#include <signal.h>
#include <string.h>

#define LOOK_MS 250u /* between two looks at a process that is not our spawner's */
#define STOP_LOOK_MS 20u
#define KILL_WAIT_MS 5000u /* a process in an uninterruptible call may take long to go */

typedef struct waiting {
  process_waiter waiter;
  int64_t pid, started;
} waiting;

/* For context_park: true when nobody will wake us any more. */
static bool stop_waiting(purlin_ctx *ctx, void *argument) {
  (void)ctx;
  waiting *w = argument;
  bool found = false;
  process_lock();
  process_record *r = process_find(w->pid, w->started);
  for (process_waiter **at = r ? &r->waiters : NULL; at && *at; at = &(*at)->next) {
    if (*at != &w->waiter) continue;
    *at = w->waiter.next;
    found = true;
    break;
  }
  process_unlock();
  return found;
}

typedef enum known { KNOWN_NOT, KNOWN_RUNS, KNOWN_ENDED } known;

/* Looks into the table, and joins those who wait when it still runs. */
static known look(const purlin_process *process, waiting *w, int *exit_code) {
  known answer = KNOWN_NOT;
  process_lock();
  process_record *r = process_find(process->pid, process->started);
  if (r && r->phase == PROCESS_ENDED) {
    *exit_code = r->exit_code;
    answer = KNOWN_ENDED;
  } else if (r && r->phase == PROCESS_RUNNING) {
    w->waiter = (process_waiter){.next = r->waiters, .loop = loop_current(), .fiber = fiber_current()};
    r->waiters = &w->waiter;
    answer = KNOWN_RUNS;
  }
  process_unlock();
  return answer;
}

purlin_status purlin_process_wait(purlin_ctx *ctx, const purlin_process *process, int *exit_code) {
  *exit_code = -1;
  bool ours = process->boot && strcmp(process->boot, process_boot_id()) == 0;
  waiting w = {.pid = process->pid, .started = process->started};
  for (;;) {
    known k = ours ? look(process, &w, exit_code) : KNOWN_NOT;
    if (k == KNOWN_ENDED) return PURLIN_OK;
    if (k == KNOWN_NOT && !purlin_process_alive(process)) break;
    /* Looked at in the table again, too: a spawner that had gone may have come back with its end. */
    purlin_status status = k == KNOWN_RUNS ? context_park(ctx, stop_waiting, &w) : purlin_sleep(ctx, LOOK_MS);
    if (status != PURLIN_OK) return status;
  }
  process_sweep(); /* an earlier spawner would have removed its directory */
  return PURLIN_OK;
}

static bool is_gone(const purlin_process *process) {
  process_lock();
  const process_record *r = process_find(process->pid, process->started);
  bool runs = r && r->phase == PROCESS_RUNNING; /* then the spawner has not reaped it, nor ended the rest of its group */
  process_unlock();
  return !runs && !purlin_process_alive(process);
}

static bool await_gone(const purlin_process *process, uint32_t patience_ms) {
  for (uint32_t waited_ms = 0; !is_gone(process); waited_ms += STOP_LOOK_MS) {
    if (waited_ms >= patience_ms) return false;
    loop_sleep(STOP_LOOK_MS); /* not purlin_sleep: whoever stops a process is often cancelled himself */
  }
  return true;
}

void purlin_process_stop(purlin_ctx *ctx, const purlin_process *process, uint32_t grace_ms) {
  if (is_gone(process)) return;
  process_signal(process, SIGTERM);
  if (await_gone(process, grace_ms)) return;
  purlin_log(ctx, PURLIN_WARNING, "process %lld did not end within %u ms and is killed", (long long)process->pid, grace_ms);
  process_signal(process, SIGKILL);
  if (!await_gone(process, KILL_WAIT_MS))
    purlin_log(ctx, PURLIN_ERROR, "process %lld cannot be killed", (long long)process->pid);
}
