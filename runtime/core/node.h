/* node.h: who this daemon is among those that share a database.
 *
 * An owner of leases is one run of a daemon. Its name begins with the node's identity, which stays the same from run to run, so
 * that the next run knows the leases of those before it. An identity may be set only by whoever has proof that no earlier run of
 * it lives any more: daemon/state.c holds a lock for that. Then what such an owner holds may be taken over at once; without an
 * identity, leases run out by themselves. */
#ifndef PURLIN_CORE_NODE_H
#define PURLIN_CORE_NODE_H

#include <stddef.h>

#define NODE_IDENTITY_SIZE 17u /* sixteen of [a-z0-9], and a NUL */
#define NODE_OWNER_SIZE 64u    /* as the columns lease_owner have it, less one, and a NUL */

/* Before the loops run. NULL or "": none. */
void node_set_identity(const char *identity);
/* A new owner: IDENTITY:HOST:PID:RANDOM; `out` holds NODE_OWNER_SIZE. */
void node_new_owner(char *out);
/* For `lease_owner LIKE ? AND lease_owner <> OURS`: the owners that were runs of this node. Matches nothing without an identity. */
const char *node_owners_pattern(void);

#endif
