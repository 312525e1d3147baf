/* process.h: other processes: contained plugins.
 *
 * Children are started by a spawner that was forked before the daemon had threads, or is a service of its own. A bound child ends with the
 * daemon; a detached one outlives its restart and is found again by its identity.
 *
 * Since 0.1 unless a comment says otherwise; base.h says what else holds everywhere. */
#ifndef PURLIN_PROCESS_H
#define PURLIN_PROCESS_H

#include <purlin/schema.h>

PURLIN_BEGIN

/* A process that cannot be mistaken for another: a pid alone is used again, with its start time (clock ticks since boot) and the
 * boot it is not. */
typedef struct purlin_process {
  int64_t pid;
  int64_t started;
  const char *boot; /* the machine's boot id, arena */
} purlin_process;

typedef struct purlin_process_options {
  bool detached;         /* outlives the daemon */
  const char *log_file;  /* stdout and stderr are appended there (0600); NULL: the daemon's log */
  const char *directory; /* working directory; NULL: a fresh private one, removed at the end */
  /* Bytes that a process of it may have for itself, heap and stacks (RLIMIT_DATA), and that all its processes may have together where it has a
   * control group (memory.max); 0: no limit. */
  uint64_t memory_limit;
} purlin_process_options;

/* Starts purlin-runner for the contained plugin that provides `contract` under `name`, with `input` (borrowed) as its one message.
 * Does not wait for its end. Options are borrowed, NULL: none. *process is the caller's, its `boot` arena. May park.
 * Errors: PURLIN_NOT_FOUND (nobody provides it), PURLIN_UNAVAILABLE (it could not be started; logged why). */
PURLIN_API PURLIN_CHECKED purlin_status purlin_contained_start(purlin_ctx *ctx, const char *contract, const char *name,
                                                               purlin_json input, const purlin_process_options *options,
                                                               purlin_process *process);
/* Waits for its end, also of one that an earlier daemon started. `exit_code`: 0-255; 128 + signal; -1 when nobody can know.
 * May park. Errors: PURLIN_CANCELLED, PURLIN_TIMEOUT (the process goes on). */
PURLIN_API PURLIN_CHECKED purlin_status purlin_process_wait(purlin_ctx *ctx, const purlin_process *process, int *exit_code);
/* Whether it runs: of another boot, ended, or a pid that was used again it is false. Any thread; does not park. */
PURLIN_API bool purlin_process_alive(const purlin_process *process);
/* SIGTERM to its group, SIGKILL after the grace; returns when it is gone, which it may be already. What cannot even be killed is
 * logged. May park (also in a cancelled context). */
PURLIN_API void purlin_process_stop(purlin_ctx *ctx, const purlin_process *process, uint32_t grace_ms);

/* What contained plugins offer, for catalogues: one object per provider of the contract. */
typedef struct purlin_provider {
  const char *name, *plugin, *summary;
  purlin_json specification;
} purlin_provider;
PURLIN_SCHEMA(purlin_provider, "Somebody who provides a contract",
    PURLIN_REQUIRED(name, "Its name"),
    PURLIN_REQUIRED(plugin, "The plugin that brings it"),
    PURLIN_REQUIRED(summary, "What it is"),
    PURLIN_OPTIONAL(specification, "JSON Schema of what it takes"));
typedef struct purlin_providers {
  purlin_provider *items;
  size_t count;
} purlin_providers;
/* Those of one contract; arena. Does not park. Errors: PURLIN_TOO_LARGE. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_contained_providers(purlin_ctx *ctx, const char *contract,
                                                                   purlin_providers *out);

PURLIN_END

#endif
