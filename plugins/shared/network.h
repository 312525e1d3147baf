/* network.h: by what to count somebody who shows no credential. Nothing here knows the SDK. */
#ifndef SHARED_NETWORK_H
#define SHARED_NETWORK_H

enum { NETWORK_ROOM = 65 };

/* An IPv4 address as it is; of an IPv6 address its first half, since who has one has all 2^64 that begin like it. Anything else as it is,
 * up to its 64th byte. */
void network_of(const char *address, char out[NETWORK_ROOM]);

#endif
