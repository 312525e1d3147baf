/* daemon.h: purlind: from arguments and purlin.lua to a serving process and back.
 *
 * daemon/arguments.c  the command line
 * daemon/settings.c   the sections of purlin.lua that are the runtime's own
 * daemon/secure.c     the section tls: its files are checked, the server is told
 * daemon/daemon.c     start and stop, in order; what fails at start is said once, and nothing is left half-started
 * daemon/health.c     /healthz, /readyz, /metrics, /openapi.json, /docs
 * daemon/limits.c     descriptors: what clients may take of them
 * daemon/notify.c     telling systemd: readiness, the watchdog; a listening socket that it passes on */
#ifndef PURLIN_DAEMON_DAEMON_H
#define PURLIN_DAEMON_DAEMON_H

#include <purlin/base.h>
#include "core/buffer.h"
#include "http/router.h"

/* The whole program. Returns its exit code: 0; 1 when it could not start (said on stderr); 2 for wrong arguments. */
PURLIN_API int purlin_daemon_main(int count, char **arguments);

typedef struct daemon_arguments {
  const char *config;   /* purlin.lua; NULL: none, the defaults */
  const char *state;    /* overrides server.state */
  const char *plugins;  /* a folder, instead of plugins.folders */
  const char *policies; /* a folder, instead of lua.policies */
  const char *library;
  const char *runner; /* purlin-runner; NULL: beside purlind */
  const char *address;
  int port; /* -1: as configured */
  bool dev, check, migrations, help, version;
} daemon_arguments;

/* False when they are wrong; `why` says how. */
bool daemon_arguments_parse(int count, char **arguments, daemon_arguments *out, buffer *why);
extern const char daemon_usage[];

/* What is not ready, for /readyz: the daemon says which step it is at. NULL: it has started. */
void health_set_starting(const char *step);
void health_set_router(const http_router *router);
extern const char docs_page[];

/* How many of the wanted connections the limit on open files allows, which is raised as far as it may be. */
size_t limits_connections(size_t wanted);

/* Takes what systemd says out of the environment, so that no child finds it. Before anything forks. `descriptor`: the listening socket
 * that systemd, or whoever speaks its protocol (LISTEN_FDS), has opened for us; -1: none. False: `why` says what is wrong with it. */
bool notify_begin(int *descriptor, buffer *why);
/* sd_notify: "READY=1", "STOPPING=1", ...; nothing when nobody listens (NOTIFY_SOCKET). */
void notify_systemd(const char *state);
void notify_reloading(void);
/* With WATCHDOG_USEC: from now on tells that we live, twice within that time or more often, but only as long as every loop turns. After
 * loops_create. */
void notify_begin_watchdog(void);

#endif
