#include "secrets/pages.h"
#include "core/text.h"
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct page_head {
  size_t size; /* of the mapping */
  size_t unused;
} page_head;

void *pages_take(size_t size) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  if (size > SIZE_MAX / 2) return NULL;
  size_t whole = (sizeof(page_head) + size + page - 1) / page * page;
  page_head *head = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (head == MAP_FAILED) return NULL;
  if (madvise(head, whole, MADV_DONTDUMP) != 0) {
    (void)munmap(head, whole);
    return NULL;
  }
  (void)mlock(head, whole); /* RLIMIT_MEMLOCK may be small */
  head->size = whole;
  return head + 1;
}

void pages_give(void *memory) {
  if (!memory) return;
  page_head *head = (page_head *)memory - 1;
  size_t size = head->size;
  text_wipe(head, size);
  (void)munmap(head, size);
}
