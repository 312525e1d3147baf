/* overflow.c: says which operation ran out of stack, and what a thread needs for it: a second stack for the handler. */
#include "fiber/internal.h"
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct sigaction previous_action;
static pthread_mutex_t install_lock = PTHREAD_MUTEX_INITIALIZER;
static bool installed;

/* Any fault but an overflow meets the action that was there before: the fault happens again as soon as we return. */
static void on_fault(int signal_number, siginfo_t *info, void *machine) {
  (void)machine;
  const fiber *f = fiber_here.current;
  const char *address = info->si_addr;
  if (f && address < f->low && address >= f->low - FIBER_GUARD_BYTES) fiber_defect("fiber overflowed its stack", f->name);
  (void)sigaction(signal_number, &previous_action, NULL);
}

purlin_status fiber_process_init(void) {
  purlin_status status = PURLIN_OK;
  (void)pthread_mutex_lock(&install_lock);
  if (!installed) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    (void)sigemptyset(&action.sa_mask);
    installed = sigaction(SIGSEGV, &action, &previous_action) == 0;
    if (!installed) status = PURLIN_INTERNAL;
  }
  (void)pthread_mutex_unlock(&install_lock);
  return status;
}

static size_t alternate_stack_size(void) {
  long least = sysconf(_SC_MINSIGSTKSZ); /* what the kernel saves grows with the processor's vector registers */
  size_t needed = (least > 0 ? (size_t)least : 8192) + 32768;
  return (needed + 4095) / 4096 * 4096;
}

purlin_status fiber_thread_init(void) {
  fiber_thread *t = &fiber_here;
  stack_t stack;
  if (t->alternate_stack) return PURLIN_OK;
  if (sigaltstack(NULL, &stack) == 0 && !(stack.ss_flags & SS_DISABLE)) return PURLIN_OK; /* a sanitizer made one */
  size_t size = alternate_stack_size();
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED) return PURLIN_UNAVAILABLE;
  memset(&stack, 0, sizeof stack);
  stack.ss_sp = memory;
  stack.ss_size = size;
  if (sigaltstack(&stack, NULL) != 0) {
    (void)munmap(memory, size);
    return PURLIN_INTERNAL;
  }
  t->alternate_stack = memory;
  t->alternate_size = size;
  return PURLIN_OK;
}

void fiber_thread_end(void) {
  fiber_thread *t = &fiber_here;
  stack_drop_pool(t);
  if (!t->alternate_stack) return;
  stack_t stack;
  memset(&stack, 0, sizeof stack);
  stack.ss_flags = SS_DISABLE;
  (void)sigaltstack(&stack, NULL);
  (void)munmap(t->alternate_stack, t->alternate_size);
  t->alternate_stack = NULL;
}
