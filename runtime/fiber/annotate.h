/* annotate.h: tells sanitizers and valgrind that the stack changes. Everything here is nothing in a normal build.
 *
 * ASan must know the bounds of the stack that is switched to, and keeps one fake stack per fiber; a fiber that ends passes
 * NULL, so that its fake stack is freed. TSan has fibers of its own. LSan looks for pointers only in memory it knows, so a
 * live stack is a root. valgrind guesses a stack change from a big jump and must be told instead. */
#ifndef PURLIN_FIBER_ANNOTATE_H
#define PURLIN_FIBER_ANNOTATE_H

#include "fiber/internal.h"

#ifndef __has_feature
#define __has_feature(name) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#else
#define FIBER_ASAN 0
#endif

#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define FIBER_TSAN 1
#include <sanitizer/tsan_interface.h>
#else
#define FIBER_TSAN 0
#endif

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define VALGRIND_STACK_REGISTER(low, high) 0u
#define VALGRIND_STACK_DEREGISTER(id) ((void)(id))
#define RUNNING_ON_VALGRIND 0
#endif

/* For the functions in the middle of a switch: their locals must not live on a fake stack that the switch frees. */
#if FIBER_ASAN
#define FIBER_NO_ASAN __attribute__((no_sanitize("address")))
#else
#define FIBER_NO_ASAN
#endif

/* A new stack was mapped, or is about to be unmapped. */
static inline void annotate_mapped(fiber *f) {
  f->valgrind_stack = VALGRIND_STACK_REGISTER(f->low, f->high);
#if FIBER_TSAN
  f->tsan_fiber = __tsan_create_fiber(0);
#endif
}

static inline void annotate_unmapping(fiber *f) {
  VALGRIND_STACK_DEREGISTER(f->valgrind_stack);
#if FIBER_TSAN
  __tsan_destroy_fiber(f->tsan_fiber);
#endif
}

/* A fiber begins on a stack, or has ended and left it. */
static inline void annotate_begin(fiber *f) {
#if FIBER_ASAN
  __lsan_register_root_region(f->low, (size_t)((char *)(f + 1) - f->low));
#else
  (void)f;
#endif
}

static inline void annotate_end(fiber *f) {
#if FIBER_ASAN
  __lsan_unregister_root_region(f->low, (size_t)((char *)(f + 1) - f->low));
  /* What longjmp jumped over is still poisoned. */
  __asan_unpoison_memory_region(f->low, (size_t)((char *)f->sp - f->low));
#else
  (void)f;
#endif
}

/* Just before the switch, on the stack of `from`. A call of its own would enter on the shadow stack of one TSan fiber and
 * leave on that of the other, which is then below its first entry. */
FIBER_NO_ASAN __attribute__((always_inline)) static inline void annotate_leave(fiber *from, const fiber *to, bool ending) {
#if FIBER_ASAN
  from->fake_stack = NULL;
  __sanitizer_start_switch_fiber(ending ? NULL : &from->fake_stack, to->low, (size_t)(to->high - to->low));
#endif
#if FIBER_TSAN
  if (!from->tsan_fiber) from->tsan_fiber = __tsan_get_current_fiber(); /* the thread itself */
  __tsan_switch_to_fiber(to->tsan_fiber, 0);
#endif
  (void)from, (void)to, (void)ending;
}

/* Just after the switch, on the stack of `here`; `previous` was left. The bounds of a thread's own stack are learnt here. */
FIBER_NO_ASAN static inline void annotate_arrive(fiber *here, fiber *previous) {
#if FIBER_ASAN
  const void *low = NULL;
  size_t size = 0;
  __sanitizer_finish_switch_fiber(here->fake_stack, &low, &size);
  if (!previous->low) {
    previous->low = (char *)(uintptr_t)low;
    previous->high = previous->low + size;
  }
#endif
  (void)here, (void)previous;
}

#endif
