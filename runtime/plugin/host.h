/* host.h: plugins: found, checked, loaded, configured, migrated, started, drained, stopped.
 *
 * plugin/identity.c   the ELF note, read before dlopen, and the explanation of a mismatch
 * plugin/load.c       dlopen, the manifest and its declarations, checked
 * plugin/order.c      who needs whom; cycles and missing ones explained
 * plugin/lifecycle.c  the state machine
 * plugin/capability.c contracts and who provides them
 * plugin/contained.c  plugins that run in purlin-runner: what they described
 * plugin/describe.c   the manifest as JSON
 * plugin/document.c   `purlin plugin show`: the manifest as documentation
 * plugin/manual.c     `purlin plugin manual`: the same as a manual page
 * plugin/operations.c what the daemon tells of its plugins and scripts */
#ifndef PURLIN_PLUGIN_HOST_H
#define PURLIN_PLUGIN_HOST_H

#include <purlin/plugin.h>
#include <purlin/event.h>
#include <purlin/job.h>
#include <purlin/metric.h>
#include <purlin/operation.h>
#include <purlin/route.h>
#include <purlin/database.h>
#include <purlin/policy.h>
#include <purlin/secret.h>
#include "core/arena.h"
#include "core/buffer.h"

typedef enum plugin_state {
  PLUGIN_FOUND,
  PLUGIN_LOADED,
  PLUGIN_CONFIGURED,
  PLUGIN_MIGRATED,
  PLUGIN_STARTED,
  PLUGIN_DRAINING,
  PLUGIN_STOPPED,
  PLUGIN_FAILED
} plugin_state;

typedef struct plugin {
  const char *name, *version, *path;
  plugin_state state;
  const char *error; /* of PLUGIN_FAILED */
  bool contained, builtin;
  void *library;
  const purlin_manifest *manifest; /* NULL for a contained one in the daemon */
  const char *described;           /* of a contained one: its manifest as JSON, from the handshake */
  void *configuration;
  purlin_json configuration_json;
  arena memory;
  struct plugin *next; /* in start order */
} plugin;

/* Reads the identity of a file without running any of its code; `why` explains a mismatch field by field and what to do. */
PURLIN_CHECKED purlin_status plugin_identify(const char *path, purlin_identity_note *note, buffer *why);

/* Opens one plugin file: identity, then, unless it is a contained one and `even_contained` is false, dlopen and the manifest's checks.
 * Owned: plugin_free. */
PURLIN_CHECKED purlin_status plugin_open(const char *path, bool even_contained, plugin **out, buffer *why);
void plugin_free(plugin *p);

/* Calls `visit` for each declaration of a kind. */
void plugin_visit(const plugin *p, purlin_kind kind,
                  void (*visit)(void *to, const plugin *p, const purlin_declaration *declared), void *to);

/* The runtime's own declarations as the plugin "purlin". */
plugin *plugin_builtin(void);

/* The manifest as JSON, as documentation in Markdown, and as the manual page purlin-NAME(1). */
void plugin_describe(const plugin *p, buffer *out);
void plugin_document(const plugin *p, buffer *out);
void plugin_manual(const plugin *p, buffer *out);
/* The operations of the runtime's own declarations as the manual page purlin-runtime(1). */
void plugin_manual_runtime(buffer *out);

const char *plugin_state_name(plugin_state state);
plugin *plugins_first(void);
plugin *plugin_find(const char *name);

#endif
