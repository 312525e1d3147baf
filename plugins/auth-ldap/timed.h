/* timed.h: reads and writes of a connection that end at a deadline, whatever the other side does: also in the midst of a TLS handshake
 * or of a message, where libldap's own time limits do not hold. */
#ifndef TIMED_H
#define TIMED_H

#include <lber.h>
#include <stdbool.h>
#include <stdint.h>

/* From here on each read and write of the socket waits until *deadline_ms (by purlin_ticks_ns), which is borrowed, at the most. */
bool timed_begin(Sockbuf *socket_buffer, const uint64_t *deadline_ms);

#endif
