/* stack.c: where fibers live: mapping, the pool of each thread, trimming, and the cap of the process.
 *
 * A fiber that ends leaves its stack in the loop of fiber_main, so a pooled one is entered again by a plain switch. The
 * cap counts mapped stacks, not running fibers: the limit behind it is on mappings, and so a pooled start touches nothing
 * that other threads share. */
#include "fiber/annotate.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define MAPPING_BYTES ((size_t)FIBER_GUARD_BYTES + FIBER_STACK_BYTES)
#define COLOURS                                                                                                            \
  16u /* tops of stacks are spread over cache lines, or every fiber would use the same few sets of the cache */
#define COLOUR_BYTES 128u

static atomic_size_t mapped;
static atomic_size_t cap = FIBER_DEFAULT_CAP;
static size_t cap_limit = FIBER_DEFAULT_CAP;
static pthread_once_t cap_once = PTHREAD_ONCE_INIT;

static pthread_mutex_t threads_lock = PTHREAD_MUTEX_INITIALIZER;
static fiber_thread *threads;

/* Each stack is two mappings (guard and stack), and the rest of the process needs some: three quarters are ours. */
static void read_limit(void) {
  unsigned long maps = 65530;
  FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
  if (file) {
    if (fscanf(file, "%lu", &maps) != 1) maps = 65530;
    (void)fclose(file);
  }
  cap_limit = maps / 2 / 4 * 3;
  if (cap_limit < FIBER_DEFAULT_CAP) atomic_store_explicit(&cap, cap_limit, memory_order_relaxed);
}

void fiber_set_cap(size_t most) {
  (void)pthread_once(&cap_once, read_limit);
  atomic_store_explicit(&cap, most < cap_limit ? most : cap_limit, memory_order_relaxed);
}

static void list_thread(fiber_thread *t) {
  if (t->listed) return;
  (void)pthread_mutex_lock(&threads_lock);
  t->list_next = threads;
  t->list_previous = &threads;
  if (threads) threads->list_previous = &t->list_next;
  threads = t;
  t->listed = true;
  (void)pthread_mutex_unlock(&threads_lock);
}

static void unlist_thread(fiber_thread *t) {
  if (!t->listed) return;
  (void)pthread_mutex_lock(&threads_lock);
  *t->list_previous = t->list_next;
  if (t->list_next) t->list_next->list_previous = t->list_previous;
  t->listed = false;
  (void)pthread_mutex_unlock(&threads_lock);
}

size_t fiber_count_all(void) {
  size_t sum = 0;
  (void)pthread_mutex_lock(&threads_lock);
  for (fiber_thread *t = threads; t; t = t->list_next) sum += atomic_load_explicit(&t->live, memory_order_relaxed);
  (void)pthread_mutex_unlock(&threads_lock);
  return sum;
}

/* Lays out the frame that fiber_switch expects, so that its first return reaches fiber_entry with the fiber in a register. */
static void stack_prepare(fiber *f) {
#if defined(__x86_64__)
  enum { CONTROL, R15, R14, R13, R12, RBX, RBP, RETURN, ALIGN, WORDS = ALIGN + 2 };
  uint64_t *frame = (uint64_t *)(void *)f->high - WORDS;
  memset(frame, 0, WORDS * sizeof *frame);
  uint32_t sse = 0;
  uint16_t x87 = 0;
  __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(sse), "=m"(x87));
  frame[CONTROL] = (uint64_t)sse | (uint64_t)x87 << 32;
  frame[R12] = (uint64_t)(uintptr_t)f;
  frame[RETURN] = (uint64_t)(uintptr_t)fiber_entry;
#elif defined(__aarch64__)
  enum { X19, X30 = 11, FPCR = 20, WORDS = 22 };
  uint64_t *frame = (uint64_t *)(void *)f->high - WORDS;
  memset(frame, 0, WORDS * sizeof *frame);
  uint64_t control = 0;
  __asm__ volatile("mrs %0, fpcr" : "=r"(control));
  frame[FPCR] = control;
  frame[X19] = (uint64_t)(uintptr_t)f;
  frame[X30] = (uint64_t)(uintptr_t)fiber_entry;
#else
#error "no switch for this processor"
#endif
  f->sp = frame;
}

static fiber *stack_map(fiber_thread *t) {
  (void)pthread_once(&cap_once, read_limit);
  size_t serial = atomic_fetch_add_explicit(&mapped, 1, memory_order_relaxed);
  if (serial >= atomic_load_explicit(&cap, memory_order_relaxed)) goto refused;
  char *memory = mmap(NULL, MAPPING_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) goto refused;
  if (mprotect(memory + FIBER_GUARD_BYTES, FIBER_STACK_BYTES, PROT_READ | PROT_WRITE) != 0) {
    (void)munmap(memory, MAPPING_BYTES);
    goto refused;
  }
  list_thread(t);
  size_t head = (sizeof(fiber) + 63) / 64 * 64 + serial % COLOURS * COLOUR_BYTES;
  fiber *f = (fiber *)(void *)(memory + MAPPING_BYTES - head);
  f->low = memory + FIBER_GUARD_BYTES;
  f->high = (char *)f;
  f->home = t;
  stack_prepare(f);
  annotate_mapped(f);
  return f;

refused:
  atomic_fetch_sub_explicit(&mapped, 1, memory_order_relaxed);
  return NULL;
}

static void stack_unmap(fiber *f) {
  annotate_unmapping(f);
  (void)munmap(f->low - FIBER_GUARD_BYTES, MAPPING_BYTES);
  atomic_fetch_sub_explicit(&mapped, 1, memory_order_relaxed);
}

/* Whether the stack was used below FIBER_KEEP_BYTES. The page below that depth reads as zeros (of the kernel's shared zero
 * page, so looking costs no memory) until somebody writes there: words spread over it tell, without a system call. A call
 * that left all of them zero is not seen; its pages stay until the next deep one. */
FIBER_NO_ASAN static bool was_deep(const fiber *f) {
  if (f->went_deep) return true;
  if (RUNNING_ON_VALGRIND) return false; /* to valgrind these words are uninitialised */
  const volatile uint64_t *page =
      (const volatile uint64_t *)(const void *)(f->low + FIBER_STACK_BYTES - FIBER_KEEP_BYTES - 4096);
  uint64_t any = 0;
  for (size_t i = 0; i < 512; i += 57) any |= page[i];
  return any != 0;
}

fiber *stack_take(fiber_thread *t) {
  fiber *f = t->pool;
  if (!f) return stack_map(t);
  if (atomic_load_explicit(&t->live, memory_order_relaxed) >= atomic_load_explicit(&cap, memory_order_relaxed)) return NULL;
  t->pool = f->next;
  t->pool_count--;
  return f;
}

/* Above half of the cap nothing is kept, so that one thread's pool does not starve another. */
static bool worth_keeping(const fiber_thread *t) {
  return t->pool_count < FIBER_POOL_MOST &&
         atomic_load_explicit(&mapped, memory_order_relaxed) <= atomic_load_explicit(&cap, memory_order_relaxed) / 2 + 1;
}

void stack_give(fiber_thread *t, fiber *f) {
  if (!worth_keeping(t)) {
    stack_unmap(f);
    return;
  }
  if (was_deep(f)) {
    (void)madvise(f->low, FIBER_STACK_BYTES - FIBER_KEEP_BYTES, MADV_DONTNEED);
    f->went_deep = false;
  }
  f->next = t->pool;
  t->pool = f;
  t->pool_count++;
}

void stack_drop_pool(fiber_thread *t) {
  while (t->pool) {
    fiber *f = t->pool;
    t->pool = f->next;
    stack_unmap(f);
  }
  t->pool_count = 0;
  unlist_thread(t);
}
