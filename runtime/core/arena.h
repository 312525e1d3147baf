/* arena.h: memory that is freed all at once.
 *
 * One arena per context. Blocks are taken from a per-thread cache, so a small request allocates nothing from malloc.
 * The first block has 4 KiB, each next one twice as much up to 64 KiB; what needs more gets a block of its own.
 * Not thread-safe: an arena belongs to one fiber. In ASan builds the free parts are poisoned. */
#ifndef PURLIN_CORE_ARENA_H
#define PURLIN_CORE_ARENA_H

#include <purlin/context.h> /* purlin_mark */
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_POISONS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_POISONS 1
#endif
#endif

#ifdef ARENA_POISONS
#include <sanitizer/asan_interface.h>
#define ARENA_GAP ((size_t)16) /* poisoned bytes behind each allocation, so that an overrun is seen */
#define ARENA_OPEN(at, size) __asan_unpoison_memory_region((at), (size))
#define ARENA_CLOSE(at, size) __asan_poison_memory_region((at), (size))
#else
#define ARENA_GAP ((size_t)0)
#define ARENA_OPEN(at, size) ((void)0)
#define ARENA_CLOSE(at, size) ((void)0)
#endif

/* Visible only so that the functions below can be inline. */
typedef struct arena_block {
  struct arena_block *previous;
  size_t capacity; /* of data */
  char data[];     /* 16-byte aligned */
} arena_block;

typedef struct arena {
  arena_block *block; /* the newest, that we allocate from */
  size_t used;        /* bytes used of it */
  size_t total_bytes; /* of all blocks */
  size_t limit_bytes; /* the cap on total_bytes; 0: none */
} arena;

void arena_init(arena *a, size_t limit_bytes);

/* What arena_alloc_raw does when the newest block has no room. */
void *arena_alloc_slow(arena *a, size_t size, size_t alignment);

/* Not zeroed, for texts and buffers that are overwritten at once. `alignment` is a power of two. */
static inline void *arena_alloc_raw(arena *a, size_t size, size_t alignment) {
  arena_block *block = a->block;
  if (block != NULL) {
    size_t room = block->capacity - a->used;
    size_t skip = (size_t)(-(uintptr_t)(block->data + a->used)) & (alignment - 1);
    if (skip + ARENA_GAP <= room && size <= room - skip - ARENA_GAP) {
      char *at = block->data + a->used + skip;
      a->used += skip + size + ARENA_GAP;
      ARENA_OPEN(at, size);
      return at;
    }
  }
  return arena_alloc_slow(a, size, alignment);
}

/* Zeroed, 16-byte aligned; NULL over the limit or when malloc fails. */
static inline void *arena_alloc(arena *a, size_t size) {
  void *at = arena_alloc_raw(a, size, 16);
  return at != NULL ? memset(at, 0, size) : NULL;
}

char *arena_copy(arena *a, const char *text, size_t size); /* adds a NUL */
purlin_mark arena_mark(const arena *a);
void arena_reset(arena *a, purlin_mark mark);
void arena_free(arena *a); /* gives every block back; the arena may be used again */
/* Frees the calling thread's cache of blocks, at the thread's end. */
void arena_thread_end(void);

#endif
