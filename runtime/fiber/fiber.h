/* fiber.h: stackful coroutines on one thread.
 *
 * A fiber starts on the calling thread, runs until it parks, and is resumed on that thread only. It never migrates.
 * Parking from the outermost level (no fiber) is a defect and aborts with a message.
 *
 * Stacks are 512 KiB of reserved address space with guard pages below, pooled per thread, trimmed (MADV_DONTNEED) above
 * 32 KiB when they go back to the pool. Switches are in assembly (x86-64 and aarch64), save the floating-point control
 * words, and are annotated for ASan, TSan, LSan and valgrind. An overflow hits the guard page: a handler on an alternate
 * stack writes "fiber overflowed its stack in OPERATION" and aborts. */
#ifndef PURLIN_FIBER_FIBER_H
#define PURLIN_FIBER_FIBER_H

#include <purlin/base.h>

typedef struct fiber fiber;

/* Sanitizers make frames several times as big. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FIBER_STACK_BYTES (2048u * 1024u)
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define FIBER_STACK_BYTES (2048u * 1024u)
#endif
#endif
#ifndef FIBER_STACK_BYTES
#define FIBER_STACK_BYTES (512u * 1024u)
#endif

/* Starts a fiber: runs `run(argument)` now, until it parks or ends; then the call returns. The fiber and its stack are
 * recycled when `run` returns. PURLIN_UNAVAILABLE when the cap on fibers is reached or memory is short. May be called
 * from a loop callback or from another fiber (which continues when the new one parks). */
PURLIN_CHECKED purlin_status fiber_start(void (*run)(void *), void *argument);

/* The running fiber; NULL on the loop itself. */
fiber *fiber_current(void);

/* Sets the running fiber aside until somebody wakes it. */
void fiber_park(void);

/* Resumes a parked fiber now, from the loop's own level (a uv callback): it runs until it parks or ends. From inside a
 * fiber use fiber_wake, which queues it until the running one has parked. Both on the fiber's own thread only.
 * Each park matches exactly one wake: waking a fiber that is not parked, or twice, is a defect and aborts. */
void fiber_resume(fiber *f);
void fiber_wake(fiber *f);
/* Whether it is parked and not yet woken: only then may a cancellation wake it. */
bool fiber_is_parked(const fiber *f);
/* Parks the running fiber and queues it behind those that are ready. */
void fiber_yield(void);
/* Runs what fiber_wake queued, and what they queue; after about a millisecond it returns with some left, so that I/O is not
 * starved (fiber_any_ready). The loop calls it after its callbacks. True if anything ran. */
bool fiber_run_ready(void);
bool fiber_any_ready(void);

/* One pointer of the owner's (the context), and a name for the overflow handler (borrowed, must outlive the fiber). */
void fiber_set_data(fiber *f, void *data);
void *fiber_data(const fiber *f);
void fiber_set_name(fiber *f, const char *name);

/* Bytes left of the running fiber's stack; SIZE_MAX on the loop itself. */
size_t fiber_stack_left(void);
/* When the running fiber was last resumed (purlin_ticks_ns), for fairness and profiling; 0 on the loop. */
uint64_t fiber_running_since(void);
/* How many fibers live on this thread and in the process; the process-wide cap (default 20,000, and never more than
 * vm.max_map_count allows), to be set before fibers run. */
size_t fiber_count(void);
size_t fiber_count_all(void);
void fiber_set_cap(size_t most);

/* Installs the overflow handler for the process, and an alternate stack for the calling thread; frees the thread's pool.
 * The first two may be called again. Fibers that are still parked when their thread ends are never resumed. */
PURLIN_CHECKED purlin_status fiber_process_init(void);
PURLIN_CHECKED purlin_status fiber_thread_init(void);
void fiber_thread_end(void);

#endif
