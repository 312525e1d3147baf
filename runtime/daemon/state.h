/* state.h: the state directory: one daemon at a time holds it, and it makes a daemon the same node from run to run.
 *
 * Why the leases of an earlier run may be taken over at once:
 *  - The identity of a node lies in the file `lock` of its state directory, and is used by nobody but the holder of the flock on that
 *    file. Only purlind's own process has the lock's descriptor (the spawner closes it, programs that are executed lose it), and the
 *    kernel releases a flock when the last thread of the process has gone. So whoever gets the lock knows that no code of an earlier
 *    run is being executed any more, however it ended; its attempts are over.
 *  - What is left of it are statements that MariaDB has received and not yet finished. They are fenced as after any loss of a lease:
 *    each effect of an attempt is committed under the lock of its job's row, and only while that names the same owner and attempt; the
 *    takeover changes the owner under the same lock. Either commits first, and the other one sees it.
 *  - A copy of the directory (a backup, a cloned machine) is another node: the file also names the host and the inode that it was
 *    written for, and where these differ there is a new identity. Then, and on file systems without flock, leases run out as they do
 *    for a node that is gone. The fence holds in any case: a wrong takeover would cost work done twice, not effects kept twice. */
#ifndef PURLIN_DAEMON_STATE_H
#define PURLIN_DAEMON_STATE_H

#include <purlin/base.h>
#include "core/arena.h"
#include "core/buffer.h"

/* Makes the directory if need be, takes its lock until the process ends, and sets the node's identity. `absolute` receives its path.
 * PURLIN_UNAVAILABLE: `why` says what to do. */
PURLIN_CHECKED purlin_status state_take(const char *directory, arena *memory, const char **absolute, buffer *why);
/* Whether a restore, which marks the directory until all is there, has come to its end. PURLIN_UNAVAILABLE: `why` says what to do. */
PURLIN_CHECKED purlin_status state_check_whole(const char *directory, buffer *why);

#endif
