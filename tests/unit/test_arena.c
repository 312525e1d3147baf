#include "core/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>

static void gives_zeroed_aligned_memory(void **state) {
  (void)state;
  arena a;
  arena_init(&a, 0);
  for (size_t size = 0; size < 300; size++) {
    unsigned char *memory = arena_alloc(&a, size);
    assert_non_null(memory);
    assert_int_equal((uintptr_t)memory % 16, 0);
    for (size_t i = 0; i < size; i++) assert_int_equal(memory[i], 0);
    memset(memory, 0xff, size); /* later pieces must not see this, also after the blocks came back from the cache */
  }
  arena_free(&a);
  unsigned char *again = arena_alloc(&a, 4000);
  assert_non_null(again);
  for (size_t i = 0; i < 4000; i++) assert_int_equal(again[i], 0);
  arena_free(&a);
}

static void pieces_do_not_overlap(void **state) {
  (void)state;
  enum { count = 3000 };
  static unsigned char *pieces[count];
  static size_t sizes[count];
  arena a;
  arena_init(&a, 0);
  for (size_t i = 0; i < count; i++) {
    sizes[i] = i * 37 % 199 + (i % 500 == 0 ? 100000 : 0);
    pieces[i] = arena_alloc_raw(&a, sizes[i], (size_t)1 << i % 7);
    assert_non_null(pieces[i]);
    assert_int_equal((uintptr_t)pieces[i] % ((size_t)1 << i % 7), 0);
    memset(pieces[i], (int)(i % 251), sizes[i]);
  }
  for (size_t i = 0; i < count; i++)
    for (size_t k = 0; k < sizes[i]; k++) assert_int_equal(pieces[i][k], i % 251);
  arena_free(&a);
  assert_int_equal(a.total_bytes, 0);
}

static void wide_alignments(void **state) {
  (void)state;
  arena a;
  arena_init(&a, 0);
  for (size_t alignment = 32; alignment <= 8192; alignment *= 2) {
    char *memory = arena_alloc_raw(&a, 5000, alignment);
    assert_non_null(memory);
    assert_int_equal((uintptr_t)memory % alignment, 0);
    memset(memory, 1, 5000);
  }
  arena_free(&a);
}

static void blocks_grow_from_4_to_64_kib(void **state) {
  (void)state;
  arena a;
  arena_init(&a, 0);
  size_t sizes[16] = {0}, blocks = 0;
  const void *last = NULL;
  while (blocks < 8) {
    size_t before = a.total_bytes;
    assert_non_null(arena_alloc(&a, 512));
    if (a.block != last) sizes[blocks++] = a.total_bytes - before;
    last = a.block;
  }
  static const size_t expected[] = {4096, 8192, 16384, 32768, 65536, 65536, 65536, 65536};
  for (size_t i = 0; i < 8; i++) assert_int_equal(sizes[i], expected[i]);
  arena_free(&a);
}

static void refuses_over_the_limit(void **state) {
  (void)state;
  arena a;
  arena_init(&a, 10000);
  assert_null(arena_alloc(&a, 10000));
  assert_non_null(arena_alloc(&a, 9000));
  assert_null(arena_alloc(&a, 5000));
  assert_non_null(arena_alloc(&a, 500)); /* a smaller one still fits in what is left */
  assert_true(a.total_bytes <= 10000);
  arena_free(&a);
  assert_non_null(arena_alloc(&a, 9000)); /* the limit counts what is held, not what was */
  arena_free(&a);
}

static void refuses_sizes_that_overflow(void **state) {
  (void)state;
  arena a;
  arena_init(&a, 0);
  assert_null(arena_alloc_raw(&a, SIZE_MAX, 1));
  assert_null(arena_alloc_raw(&a, SIZE_MAX - 64, 16));
  assert_null(arena_copy(&a, "x", SIZE_MAX));
  assert_non_null(arena_alloc(&a, 8));
  assert_null(arena_alloc_raw(&a, SIZE_MAX - 8, 8));
  arena_free(&a);
}

static void marks_give_memory_back(void **state) {
  (void)state;
  arena a;
  arena_init(&a, 100000);
  char *kept = arena_copy(&a, "kept", 4);
  purlin_mark mark = arena_mark(&a);
  size_t held = a.total_bytes;
  for (int round = 0; round < 1000; round++) {
    for (int i = 0; i < 20; i++) assert_non_null(arena_alloc(&a, 1000));
    arena_reset(&a, mark);
    assert_int_equal(a.total_bytes, held);
  }
  assert_string_equal(kept, "kept");
  const void *first = arena_alloc(&a, 100);
  arena_reset(&a, mark);
  assert_ptr_equal(arena_alloc(&a, 100), first);
  arena_free(&a);
}

static void a_mark_of_an_empty_arena_frees_all(void **state) {
  (void)state;
  arena a;
  arena_init(&a, 0);
  purlin_mark mark = arena_mark(&a);
  assert_non_null(arena_alloc(&a, 50000));
  arena_reset(&a, mark);
  assert_int_equal(a.total_bytes, 0);
  assert_null(a.block);
}

static void copies_end_with_nul(void **state) {
  (void)state;
  arena a;
  arena_init(&a, 0);
  assert_string_equal(arena_copy(&a, "abcdef", 3), "abc");
  assert_string_equal(arena_copy(&a, NULL, 0), "");
  arena_free(&a);
}

static void *use_and_end(void *argument) {
  arena *a = argument;
  arena_init(a, 0);
  bool good = true;
  for (int round = 0; round < 50; round++) {
    for (int i = 0; i < 300; i++) good = good && arena_alloc(a, 700) != NULL;
    arena_free(a);
  }
  arena_thread_end();
  return good ? a : NULL;
}

static void threads_have_caches_of_their_own(void **state) {
  (void)state;
  pthread_t threads[4];
  arena arenas[4];
  for (size_t i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, use_and_end, &arenas[i]), 0);
  for (size_t i = 0; i < 4; i++) {
    void *result;
    assert_int_equal(pthread_join(threads[i], &result), 0);
    assert_non_null(result);
  }
}

static void the_cache_is_used_again_and_can_be_dropped(void **state) {
  (void)state;
  arena a;
  arena_init(&a, 0);
  const void *first = arena_alloc(&a, 10);
  arena_free(&a);
  assert_ptr_equal(arena_alloc(&a, 10), first);
  arena_free(&a);
  arena_thread_end();
  assert_non_null(arena_alloc(&a, 10));
  arena_free(&a);
}

#ifdef ARENA_POISONS
static void free_parts_are_poisoned(void **state) {
  (void)state;
  arena a;
  arena_init(&a, 0);
  char *memory = arena_alloc(&a, 24);
  assert_false(__asan_address_is_poisoned(memory + 23));
  assert_true(__asan_address_is_poisoned(memory + 24));
  purlin_mark mark = arena_mark(&a);
  char *later = arena_alloc(&a, 8);
  arena_reset(&a, mark);
  assert_true(__asan_address_is_poisoned(later));
  arena_free(&a);
  assert_true(__asan_address_is_poisoned(memory));
}
#endif

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gives_zeroed_aligned_memory),
      cmocka_unit_test(pieces_do_not_overlap),
      cmocka_unit_test(wide_alignments),
      cmocka_unit_test(blocks_grow_from_4_to_64_kib),
      cmocka_unit_test(refuses_over_the_limit),
      cmocka_unit_test(refuses_sizes_that_overflow),
      cmocka_unit_test(marks_give_memory_back),
      cmocka_unit_test(a_mark_of_an_empty_arena_frees_all),
      cmocka_unit_test(copies_end_with_nul),
      cmocka_unit_test(threads_have_caches_of_their_own),
      cmocka_unit_test(the_cache_is_used_again_and_can_be_dropped),
#ifdef ARENA_POISONS
      cmocka_unit_test(free_parts_are_poisoned),
#endif
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  arena_thread_end();
  return failed;
}
