/* runner.h: purlin-runner: a contained plugin in a process of its own.
 *
 *   purlin-runner describe FILE            prints the manifest as JSON
 *   purlin-runner check FILE               reads the plugin's configuration (JSON) on stdin and says what is wrong with it
 *   purlin-runner run FILE CONTRACT NAME   reads one message on stdin and does what it asks for
 *
 * The message is {"configuration": the plugin's section of purlin.lua, "input": what the contract says}. Files belong into
 * the working directory, which the spawner made for this run alone. SIGTERM cancels.
 *
 * runner/runner.c   the command line; describe and check
 * runner/run.c      one run: loop, client, plugin, and how it ends
 * runner/trainer.c  the contract "trainer" */
#ifndef PURLIN_RUNNER_RUNNER_H
#define PURLIN_RUNNER_RUNNER_H

#include "core/buffer.h"
#include "manual/manual.h"
#include "plugin/host.h"

/* The whole program. Returns its exit code. */
PURLIN_API int purlin_runner_main(int count, char **arguments);

/* What --help prints, and purlin-runner(8) is made of. */
extern const manual_program runner_manual;

typedef enum runner_exit {
  RUNNER_DONE = 0,
  RUNNER_FAILED = 1, /* or cancelled; the server was told of a failure */
  RUNNER_USAGE = 2,
  RUNNER_UNREACHABLE = 75 /* the server stayed away: nobody was told anything */
} runner_exit;

/* All of stdin, at most `limit` bytes. */
PURLIN_CHECKED bool runner_read_input(buffer *out, size_t limit);

/* Opens a plugin and decodes its configuration; what is wrong is recorded in the context. Owned: plugin_free. */
PURLIN_CHECKED purlin_status runner_open(purlin_ctx *ctx, const char *path, purlin_json configuration, plugin **out);
/* What was recorded, in one line; what is wrong with single fields, where that is known. Arena. */
const char *runner_failure(purlin_ctx *ctx);
/* Fails with "WHAT: " and what was recorded before. */
purlin_status runner_refuse(purlin_ctx *ctx, purlin_status status, const char *what);

int runner_run(const char *path, const char *contract, const char *name);
/* In a fiber. */
int runner_train(purlin_ctx *ctx, const char *path, const char *name, purlin_json configuration, purlin_json input);

#endif
