/* daemon.h: purlind: from arguments and purlin.lua to a serving process and back.
 *
 * daemon/arguments.c  the command line
 * daemon/settings.c   the sections of purlin.lua that are the runtime's own
 * daemon/manual.c     the same as the manual page purlin.lua(5)
 * daemon/secure.c     the section tls: its files are checked, the server is told
 * daemon/daemon.c     start and stop, in order; what fails at start is said once, and nothing is left half-started
 * daemon/health.c     /, /healthz, /readyz, /metrics, /openapi.json, /docs
 * daemon/limits.c     descriptors: what clients may take of them
 * daemon/notify.c     telling systemd: readiness, the watchdog
 * daemon/passed.c     listening sockets that systemd passes on, and keeps while no daemon runs */
#ifndef PURLIN_DAEMON_DAEMON_H
#define PURLIN_DAEMON_DAEMON_H

#include <purlin/base.h>
#include "core/buffer.h"
#include "http/router.h"
#include "manual/manual.h"

/* The whole program. Returns its exit code: 0; 1 when it could not start (said on stderr); 2 for wrong arguments. */
PURLIN_API int purlin_daemon_main(int count, char **arguments);

typedef struct daemon_arguments {
  const char *config;   /* purlin.lua; NULL: none, the defaults */
  const char *state;    /* overrides server.state */
  const char *plugins;  /* a folder, instead of plugins.folders */
  const char *policies; /* a folder, instead of lua.policies */
  const char *library;
  const char *runner; /* purlin-runner; NULL: where it was installed */
  const char *address;
  int port; /* -1: as configured */
  bool dev, check, migrations, spawner, help, version;
} daemon_arguments;

/* False when they are wrong; `why` says how. */
bool daemon_arguments_parse(int count, char **arguments, daemon_arguments *out, buffer *why);
/* What --help prints, and purlind(8) is made of. */
extern const manual_program daemon_manual;

/* What is not ready, for /readyz: the daemon says which step it is at. NULL: it has started. */
void health_set_starting(const char *step);
void health_set_router(const http_router *router);
extern const char home_page[], docs_page[];

/* How many of the wanted connections the limit on open files allows, which is raised as far as it may be. */
size_t limits_connections(size_t wanted);

/* Takes what systemd says out of the environment, so that no child finds it. Before anything forks. False: `why` says what is wrong with
 * the sockets that it passes on. */
bool notify_begin(buffer *why);
/* sd_notify: "READY=1", "STOPPING=1", ...; nothing when nobody listens (NOTIFY_SOCKET). */
void notify_systemd(const char *state);
/* The same with a descriptor beside it (borrowed; -1: none). False when nobody has got it. */
bool notify_systemd_with(const char *state, int descriptor);
/* Waits until all that was told so far has been acted upon, a few seconds at most. */
void notify_await(void);
void notify_reloading(void);
/* The server stops, which may take so long. */
void notify_stopping(uint64_t longest_ms);
/* With WATCHDOG_USEC: from now on tells that we live, twice within that time or more often, but only as long as every loop turns. After
 * loops_create. Until notify_ready this only asks for more time to start: no watchdog ends a slow start, nor a time limit a long migration. */
void notify_begin_watchdog(void);
/* The start is over. On loop 0. */
void notify_ready(void);

/* ---- Listening sockets that outlive a daemon: of a socket unit (FileDescriptorName=http, redirect), or those that an earlier daemon has given
 * to the file descriptor store (stored-http, stored-redirect). ---- */

/* Takes over descriptors 3 to 3 + count - 1, which `names` ("a:b", NULL: unnamed) says the uses of. */
bool passed_take(uint64_t count, const char *names, buffer *why);
struct http_options;
/* Those of them that fit where the server is to listen, to options->passed; others are closed, in the store, too, so that their address is
 * free. */
void passed_choose(struct http_options *options);
/* Gives those that the server has opened itself to the store. After http_start. */
void passed_store(void);

#endif
