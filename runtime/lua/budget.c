#include "lua/budget.h"

#include "lua/sandbox.h"
#include "observe/log.h"

#include <lauxlib.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DOZE_AFTER_TICKS = 200 };

static struct {
  budget_slot *slots;
  size_t count;
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t wake;
  atomic_bool dozing;
  bool ending; /* under the lock */
  bool begun;
} dog = {.lock = PTHREAD_MUTEX_INITIALIZER};

const char *budget_stop_text(budget_stop why) {
  static const char *const texts[] = {"runs", "it used more CPU time than a run may", "it took longer than a run may",
                                      "it was cancelled"};
  return texts[why];
}

/* ---- On the script's own thread --------------------------------------------------------------------------------------------- */

static void on_instruction(lua_State *L, lua_Debug *where) {
  (void)where;
  budget_slot *slot = sandbox_of(L)->slot;
  budget_stop why = slot == NULL ? BUDGET_RUNS : budget_stopped(slot);
  if (why == BUDGET_RUNS) lua_sethook(L, NULL, 0, 0); /* armed for a run that has ended: a coroutine outlived it */
  if (why == BUDGET_RUNS) return;
  luaL_where(L, 0); /* in a hook, the function that runs is at level 0 */
  lua_pushfstring(L, "stopped: %s", budget_stop_text(why));
  lua_concat(L, 2);
  lua_error(L);
}

void budget_check(budget_slot *slot, lua_State *L) {
  budget_stop why = budget_stopped(slot);
  if (why == BUDGET_RUNS) return;
  lua_sethook(L, on_instruction, LUA_MASKCOUNT, 1);
  luaL_error(L, "stopped: %s", budget_stop_text(why));
}

void budget_stop_now(budget_slot *slot, budget_stop why) {
  uint64_t sequence = atomic_load_explicit(&slot->sequence, memory_order_relaxed);
  atomic_store(&slot->stop, sequence * 4 + (uint64_t)why);
}

void budget_switch(budget_slot *slot, lua_State *L) {
  atomic_store_explicit(&slot->running, L, memory_order_relaxed);
  atomic_signal_fence(memory_order_seq_cst);
  if (budget_stopped(slot) != BUDGET_RUNS) lua_sethook(L, on_instruction, LUA_MASKCOUNT, 1);
}

static void rouse(void) {
  (void)pthread_mutex_lock(&dog.lock);
  atomic_store(&dog.dozing, false);
  (void)pthread_cond_signal(&dog.wake);
  (void)pthread_mutex_unlock(&dog.lock);
}

void budget_resume(budget_slot *slot, budget *b, lua_State *L) {
  b->started_ns = purlin_ticks_ns();
  uint64_t left = b->cpu_limit_ns > b->cpu_used_ns ? b->cpu_limit_ns - b->cpu_used_ns : 0;
  uint64_t sequence = atomic_load_explicit(&slot->sequence, memory_order_relaxed) + 1;
  atomic_store_explicit(&slot->cpu_left_ns, left, memory_order_relaxed);
  atomic_store_explicit(&slot->deadline_ns, b->deadline_ns, memory_order_relaxed);
  atomic_store_explicit(&slot->sequence, sequence, memory_order_release);
  if (b->stop != BUDGET_RUNS) budget_stop_now(slot, b->stop);
  else if (left == 0) budget_stop_now(slot, BUDGET_CPU);
  atomic_store(&slot->running, L); /* in order with the watchdog's `dozing`: one of the two sees the other */
  if (atomic_load(&dog.dozing)) rouse();
}

static uint64_t cpu_time_of(clockid_t clock) {
  struct timespec now;
  if (clock_gettime(clock, &now) != 0) return 0;
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* What a stretch cost: of a short one the time that passed, of a long one the CPU time since the watchdog saw it. */
static uint64_t stretch_cost(const budget_slot *slot, const budget *b, uint64_t now_ns) {
  uint64_t passed = now_ns - b->started_ns;
  uint64_t sequence = atomic_load_explicit(&slot->sequence, memory_order_relaxed);
  if (passed < 2 * BUDGET_TICK_MS * 1000000ull) return passed;
  if (atomic_load_explicit(&slot->seen_sequence, memory_order_acquire) != sequence) return passed;
  uint64_t used = cpu_time_of(CLOCK_THREAD_CPUTIME_ID) - atomic_load_explicit(&slot->seen_cpu_ns, memory_order_relaxed);
  return used < passed ? used : passed;
}

void budget_pause(budget_slot *slot, budget *b) {
  b->cpu_used_ns += stretch_cost(slot, b, purlin_ticks_ns());
  if (b->stop == BUDGET_RUNS) b->stop = budget_stopped(slot);
  atomic_store_explicit(&slot->running, NULL, memory_order_relaxed);
}

/* ---- The watchdog ----------------------------------------------------------------------------------------------------------- */

static bool arms_directly(void) {
#if defined(__SANITIZE_THREAD__)
  return true; /* its runtime holds signals back until the next library call, which an endless loop never makes */
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
  return true;
#endif
#endif
  return false;
}

static int signal_number(void) { return SIGRTMIN + 5; }

static void on_signal(int number, siginfo_t *info, void *machine) {
  (void)number;
  (void)machine;
  int saved = errno;
  if (info->si_code == SI_QUEUE && info->si_value.sival_int >= 0 && (size_t)info->si_value.sival_int < dog.count) {
    budget_slot *slot = &dog.slots[info->si_value.sival_int];
    lua_State *L = atomic_load_explicit(&slot->running, memory_order_relaxed);
    if (L != NULL && pthread_equal(atomic_load(&slot->thread), pthread_self()) && budget_stopped(slot) != BUDGET_RUNS)
      lua_sethook(L, on_instruction, LUA_MASKCOUNT, 1);
  }
  errno = saved;
}

static void arm(size_t index) {
  budget_slot *slot = &dog.slots[index];
  if (arms_directly()) {
    lua_State *L = atomic_load(&slot->running);
    if (L != NULL) lua_sethook(L, on_instruction, LUA_MASKCOUNT, 1);
    return;
  }
  (void)pthread_sigqueue(atomic_load(&slot->thread), signal_number(), (union sigval){.sival_int = (int)index});
}

static uint64_t slot_cpu(const budget_slot *slot) {
  clockid_t clock;
  return pthread_getcpuclockid(atomic_load(&slot->thread), &clock) == 0 ? cpu_time_of(clock) : 0;
}

/* Whether a script runs there. */
static bool look(size_t index, uint64_t now_ns) {
  budget_slot *slot = &dog.slots[index];
  if (atomic_load(&slot->running) == NULL) return false;
  uint64_t sequence = atomic_load(&slot->sequence);
  if (atomic_load_explicit(&slot->seen_sequence, memory_order_relaxed) != sequence) {
    atomic_store_explicit(&slot->seen_cpu_ns, slot_cpu(slot), memory_order_relaxed);
    atomic_store_explicit(&slot->seen_sequence, sequence, memory_order_release);
    return true;
  }
  budget_stop why = BUDGET_RUNS;
  if (now_ns >= atomic_load(&slot->deadline_ns)) why = BUDGET_DEADLINE;
  else if (slot_cpu(slot) - atomic_load(&slot->seen_cpu_ns) >= atomic_load(&slot->cpu_left_ns)) why = BUDGET_CPU;
  /* The numbers may be those of a later stretch by now; then this stop names a sequence that has passed, and stops nobody. */
  if (why != BUDGET_RUNS && budget_stopped(slot) == BUDGET_RUNS) atomic_store(&slot->stop, sequence * 4 + (uint64_t)why);
  if (budget_stopped(slot) != BUDGET_RUNS) arm(index); /* each tick again, until it has ended */
  return true;
}

static bool look_at_all(void) {
  bool any = false;
  uint64_t now_ns = purlin_ticks_ns();
  for (size_t i = 0; i < dog.count; i++)
    if (look(i, now_ns)) any = true;
  return any;
}

static void wait_until_roused(void) {
  atomic_store(&dog.dozing, true);
  if (look_at_all()) atomic_store(&dog.dozing, false);
  while (atomic_load(&dog.dozing) && !dog.ending) (void)pthread_cond_wait(&dog.wake, &dog.lock);
  atomic_store(&dog.dozing, false);
}

static void wait_a_tick(void) {
  struct timespec until;
  (void)clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_nsec += BUDGET_TICK_MS * 1000000L;
  if (until.tv_nsec >= 1000000000L) {
    until.tv_nsec -= 1000000000L;
    until.tv_sec++;
  }
  (void)pthread_cond_timedwait(&dog.wake, &dog.lock, &until);
}

static void *watch(void *unused) {
  (void)unused;
  unsigned quiet_ticks = 0;
  (void)pthread_mutex_lock(&dog.lock);
  while (!dog.ending) {
    quiet_ticks = look_at_all() ? 0 : quiet_ticks + 1;
    if (quiet_ticks > DOZE_AFTER_TICKS) {
      wait_until_roused();
      quiet_ticks = 0;
    } else {
      wait_a_tick();
    }
  }
  (void)pthread_mutex_unlock(&dog.lock);
  return NULL;
}

static bool start_thread(void) {
  pthread_condattr_t attributes;
  if (pthread_condattr_init(&attributes) != 0) return false;
  (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  bool started = pthread_cond_init(&dog.wake, &attributes) == 0;
  (void)pthread_condattr_destroy(&attributes);
  if (!started) return false;
  sigset_t all, previous; /* the daemon's signals are for its loops */
  (void)sigfillset(&all);
  (void)pthread_sigmask(SIG_SETMASK, &all, &previous);
  started = pthread_create(&dog.thread, NULL, watch, NULL) == 0;
  (void)pthread_sigmask(SIG_SETMASK, &previous, NULL);
  if (started) (void)pthread_setname_np(dog.thread, "lua-watchdog");
  else (void)pthread_cond_destroy(&dog.wake);
  return started;
}

purlin_status budget_begin(size_t count) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  (void)sigemptyset(&action.sa_mask);
  if (dog.begun || sigaction(signal_number(), &action, NULL) != 0) return PURLIN_INTERNAL;
  dog.slots = aligned_alloc(_Alignof(budget_slot), count * sizeof *dog.slots);
  if (dog.slots == NULL) return PURLIN_UNAVAILABLE;
  memset(dog.slots, 0, count * sizeof *dog.slots);
  dog.count = count;
  dog.ending = false;
  if (!start_thread()) {
    free(dog.slots);
    dog.slots = NULL;
    return PURLIN_UNAVAILABLE;
  }
  dog.begun = true;
  return PURLIN_OK;
}

void budget_end(void) {
  if (!dog.begun) return;
  (void)pthread_mutex_lock(&dog.lock);
  dog.ending = true;
  (void)pthread_cond_signal(&dog.wake);
  (void)pthread_mutex_unlock(&dog.lock);
  (void)pthread_join(dog.thread, NULL);
  (void)pthread_cond_destroy(&dog.wake);
  /* A signal that was sent may still wait to be handled; from now on it finds no slot. */
  budget_slot *slots = dog.slots;
  dog.count = 0;
  dog.slots = NULL;
  free(slots);
  dog.begun = false;
}

budget_slot *budget_slot_at(size_t index) { return &dog.slots[index]; }

budget_slot *budget_claim(size_t index) {
  sigset_t ours;
  (void)sigemptyset(&ours);
  (void)sigaddset(&ours, signal_number());
  (void)pthread_sigmask(SIG_UNBLOCK, &ours, NULL);
  atomic_store(&dog.slots[index].thread, pthread_self());
  return &dog.slots[index];
}
