/* listener.h: the listening socket, and that of redirects beside TLS. They are made once and accept on loop 0.
 *
 * Why not a socket for every loop: closing one of several SO_REUSEPORT sockets resets the connections in its queue, and the kernel
 * deals connections out by hash, not by load. Why not one socket in every loop's epoll: libuv cannot ask for EPOLLEXCLUSIVE, so
 * each connection would wake every loop. A fiber never changes its thread, so where a connection goes matters for as long as it
 * lives; giving it to the loop with the fewest costs one wake-up of that loop per connection, not per request. */
#ifndef PURLIN_HTTP_LISTENER_H
#define PURLIN_HTTP_LISTENER_H

#include "http/server.h"

PURLIN_CHECKED purlin_status listener_start(const http_options *options, buffer *why);
void listener_stop(void);

/* server.c: takes the descriptor and finds it a loop: 0. Else the descriptor is still the caller's, and there are too many connections: in
 * all (503), or of this address (429). */
PURLIN_CHECKED unsigned http_admit(int descriptor, const char *address, bool secure, bool redirects);

#endif
