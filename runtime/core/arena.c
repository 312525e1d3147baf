#include "core/arena.h"

#include <assert.h>
#include <stdlib.h>

/* Sizes of whole blocks, header included. Each power of two between the two has a free list in the cache. */
#define FIRST_BLOCK ((size_t)4096)
#define LAST_BLOCK ((size_t)65536)
#define CLASSES 5

_Static_assert(FIRST_BLOCK << (CLASSES - 1) == LAST_BLOCK, "one class for each power of two");
_Static_assert(sizeof(arena_block) % 16 == 0, "data must be 16-byte aligned");

/* How many free blocks of each class a thread keeps: about 1 MiB in all. */
static const uint8_t class_limits[CLASSES] = {64, 16, 12, 6, 4};

static _Thread_local struct {
  arena_block *free[CLASSES];
  uint8_t count[CLASSES];
} cache;

static size_t block_size(const arena_block *block) { return sizeof(arena_block) + block->capacity; }

/* The class of a block of exactly this size, or CLASSES for a size that is not cached. */
static size_t class_of(size_t size) {
  for (size_t class = 0; class < CLASSES; class ++)
    if (size == FIRST_BLOCK << class) return class;
  return CLASSES;
}

/* Not inline: gcc would warn that memory fresh from malloc is passed on. */
__attribute__((noinline)) static void close_block(arena_block *block) {
  (void)block;
  ARENA_CLOSE(block->data, block->capacity);
}

static arena_block *block_take(size_t size) {
  size_t class = class_of(size);
  arena_block *block;
  if (class < CLASSES && cache.free[class] != NULL) {
    block = cache.free[class];
    cache.free[class] = block->previous;
    cache.count[class]--;
    return block;
  }
  block = malloc(size);
  if (block == NULL) return NULL;
  block->capacity = size - sizeof(arena_block);
  close_block(block);
  return block;
}

static void block_give(arena_block *block) {
  size_t class = class_of(block_size(block));
  if (class < CLASSES && cache.count[class] < class_limits[class]) {
    close_block(block);
    block->previous = cache.free[class];
    cache.free[class] = block;
    cache.count[class]++;
    return;
  }
  ARENA_OPEN(block->data, block->capacity);
  free(block);
}

void arena_init(arena *a, size_t limit_bytes) { *a = (arena){.limit_bytes = limit_bytes}; }

/* The size of the next block, for at least `least` bytes with its header; 0 when the limit forbids it. */
static size_t next_size(const arena *a, size_t least) {
  size_t size = a->block == NULL ? FIRST_BLOCK : block_size(a->block) * 2;
  if (size > LAST_BLOCK || size < FIRST_BLOCK) size = LAST_BLOCK;
  while (size < least && size < LAST_BLOCK) size *= 2;
  if (size < least) size = least;
  if (a->limit_bytes == 0) return size;
  size_t left = a->total_bytes < a->limit_bytes ? a->limit_bytes - a->total_bytes : 0;
  if (size <= left) return size;
  return least <= left ? least : 0;
}

void *arena_alloc_slow(arena *a, size_t size, size_t alignment) {
  size_t extra = sizeof(arena_block) + ARENA_GAP + (alignment > 16 ? alignment : 0);
  if (size > SIZE_MAX / 2 - extra) return NULL;
  size_t wanted = next_size(a, (size + extra + 15) & ~(size_t)15);
  if (wanted == 0) return NULL;
  arena_block *block = block_take(wanted);
  if (block == NULL) return NULL;
  block->previous = a->block;
  a->block = block;
  a->used = 0;
  a->total_bytes += wanted;
  return arena_alloc_raw(a, size, alignment);
}

char *arena_copy(arena *a, const char *text, size_t size) {
  if (size == SIZE_MAX) return NULL;
  char *copy = arena_alloc_raw(a, size + 1, 1);
  if (copy == NULL) return NULL;
  if (size > 0) memcpy(copy, text, size);
  copy[size] = '\0';
  return copy;
}

purlin_mark arena_mark(const arena *a) { return (purlin_mark){.block = a->block, .used = a->used}; }

void arena_reset(arena *a, purlin_mark mark) {
  while (a->block != mark.block) {
    assert(a->block != NULL); /* the mark is of another arena, or of before a reset to an older mark */
    if (a->block == NULL) return;
    arena_block *block = a->block;
    a->block = block->previous;
    a->total_bytes -= block_size(block);
    block_give(block);
  }
  a->used = mark.used;
  if (a->block != NULL) ARENA_CLOSE(a->block->data + a->used, a->block->capacity - a->used);
}

void arena_free(arena *a) { arena_reset(a, (purlin_mark){.block = NULL, .used = 0}); }

void arena_thread_end(void) {
  for (size_t class = 0; class < CLASSES; class ++) {
    while (cache.free[class] != NULL) {
      arena_block *block = cache.free[class];
      cache.free[class] = block->previous;
      ARENA_OPEN(block->data, block->capacity);
      free(block);
    }
    cache.count[class] = 0;
  }
}
