/* server.h: which of the configured servers to ask. One that failed is left alone for 1, 2, 4, 8, at most 10 seconds; then one call tries it
 * for all. Any thread. */
#ifndef SERVER_H
#define SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether a call may try this server now. After a failure it is true for one caller at a time, who is to tell what came of it. */
bool server_try(size_t server);
void server_works(size_t server);
void server_failed(size_t server, const char *why);
/* Why it last failed. `out` is ended with NUL. */
void server_last_failure(size_t server, char *out, size_t capacity);
void servers_forget(void);

#endif
