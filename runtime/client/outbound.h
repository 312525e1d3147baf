/* outbound.h: what purlin_outbound_permits() goes by: the section "outbound" of purlin.lua. */
#ifndef PURLIN_CLIENT_OUTBOUND_H
#define PURLIN_CLIENT_OUTBOUND_H

#include "core/buffer.h"

#include <purlin/base.h>

/* What is granted beside public addresses, each an address ("10.1.2.3"), a network ("10.1.0.0/16", "fd00::/8") or a host's name, and
 * behind it a port or none ("127.0.0.1:9000", "[::1]:9000", "mail.internal:25"). Copied. Before there are threads; replaces what was
 * granted before. `why` says which one is none. */
PURLIN_CHECKED purlin_status outbound_begin(const char *const *allow, size_t count, buffer *why);
void outbound_end(void);

/* What an address is ("private", "loopback", ...); NULL: public. For tests. */
const char *outbound_kind(const char *address);

#endif
