/* process.h: the inside of <purlin/process.h>: the spawner and its children.
 *
 * The spawner is forked before any thread exists and owns all children. The daemon talks to it over a socket pair (SOCK_SEQPACKET):
 * start and signal one way, started and ended the other. When the daemon's end closes, the spawner ends bound children as process
 * groups and then itself; detached ones go on as children of init.
 *
 * Under systemd the spawner is a program and a unit of its own (purlind --spawner), to which the daemon connects: it looks after detached children
 * while no daemon is there, and tells the next one of them. */
#ifndef PURLIN_PROCESS_PROCESS_H
#define PURLIN_PROCESS_PROCESS_H

#include <purlin/process.h>
#include "core/buffer.h"

/* Forks the spawner; first thing in main, before threads and before files are opened. `runner` is the path of purlin-runner. */
PURLIN_CHECKED purlin_status process_spawner_fork(const char *runner, buffer *why);
/* Instead of forking one: connects to a spawner at `path` and waits for it for some seconds. One that is older than we are and has nothing to
 * look after is told to make way for its successor. When it goes later, the next one is looked for.
 * Errors: PURLIN_CONFLICT (it serves another daemon), PURLIN_UNAVAILABLE. */
PURLIN_CHECKED purlin_status process_spawner_connect(const char *path, const char *runner, buffer *why);
/* The spawner's own program: listens at `path`, calls `ready`, and returns when it has been asked to end (SIGTERM, or a newer daemon): detached
 * children go on. */
PURLIN_CHECKED purlin_status process_spawner_serve(const char *path, void (*ready)(void), buffer *why);
/* Where children find their private working directories, RUNS/PID-STARTED (made when it is missing; absolute). Those that an earlier daemon
 * left behind are removed, unless their process still runs. Without it: a fresh directory under /tmp. */
void process_set_runs(const char *directory);
/* Attaches the spawner's socket to loop 0; after loops_create. */
PURLIN_CHECKED purlin_status process_start(void);
/* Ends bound children and the spawner. */
void process_stop(void);

/* How long this process runs already; 0 where nobody tells. */
uint64_t process_age_ns(void);

/* For purlin_contained_start: which plugin file provides a contract, filled by plugin/. */
typedef struct process_provider {
  const char *contract, *name, *plugin, *path, *summary;
  purlin_json specification;
  const char *configuration;
} process_provider;
PURLIN_CHECKED purlin_status process_provider_add(const process_provider *provider); /* texts are kept by the caller */

/* At start, before loops: runs `purlin-runner describe FILE` and returns what it printed (owned: free). The plugin's code
 * runs in that child only. Errors: PURLIN_INVALID (it complained: `why` says what), PURLIN_UNAVAILABLE. */
PURLIN_CHECKED purlin_status process_describe(const char *plugin_path, char **json, buffer *why);
/* The same for `purlin-runner check FILE`: whether its section of purlin.lua fits the plugin's configuration schema. */
PURLIN_CHECKED purlin_status process_check_configuration(const char *plugin_path, purlin_json configuration, buffer *why);

#endif
