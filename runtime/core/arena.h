/* arena.h: memory that is freed all at once.
 *
 * One arena per context. Blocks are taken from a per-thread cache, so a small request allocates nothing from malloc.
 * Not thread-safe: an arena belongs to one fiber. */
#ifndef PURLIN_CORE_ARENA_H
#define PURLIN_CORE_ARENA_H

#include <purlin/context.h> /* purlin_mark */

typedef struct arena_block arena_block;

typedef struct arena {
  arena_block *block;  /* the newest, that we allocate from */
  size_t used;         /* bytes used of it */
  size_t total_bytes;  /* of all blocks */
  size_t limit_bytes;  /* the cap on total_bytes */
} arena;

void arena_init(arena *a, size_t limit_bytes);
/* Zeroed, 16-byte aligned; NULL over the limit or when malloc fails. */
void *arena_alloc(arena *a, size_t size);
/* Not zeroed, for texts and buffers that are overwritten at once. */
void *arena_alloc_raw(arena *a, size_t size, size_t alignment);
char *arena_copy(arena *a, const char *text, size_t size); /* adds a NUL */
purlin_mark arena_mark(const arena *a);
void arena_reset(arena *a, purlin_mark mark);
void arena_free(arena *a); /* gives every block back; the arena may be used again */
/* Frees the calling thread's cache of blocks, at the thread's end. */
void arena_thread_end(void);

#endif
