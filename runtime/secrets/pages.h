/* pages.h: memory for secrets: pages of their own, left out of core dumps, locked where the limit allows it, wiped when given back. */
#ifndef PURLIN_SECRETS_PAGES_H
#define PURLIN_SECRETS_PAGES_H

#include <stddef.h>

/* Zeroed; NULL without memory. Each call takes whole pages and three system calls. Any thread. */
void *pages_take(size_t size);
/* NULL is fine. */
void pages_give(void *memory);

#endif
