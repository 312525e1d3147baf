/* lifecycle.h: all plugins, from files to serving and back; called by the daemon in this order. */
#ifndef PURLIN_PLUGIN_LIFECYCLE_H
#define PURLIN_PLUGIN_LIFECYCLE_H

#include "lua/script.h"
#include "plugin/host.h"

typedef struct plugins_options {
  const char *const *folders;
  size_t folder_count;
  const char *const *disabled; /* names */
  size_t disabled_count;
} plugins_options;

/* Finds, identifies, opens and orders every plugin; the runtime's own declarations come first, as the plugin "purlin". */
PURLIN_CHECKED purlin_status plugins_load(const plugins_options *options, buffer *why);
/* Of all that are loaded, the migrations: a JSON object in each line, with `component`, `name`, `breaking` and, of its statements that
 * take something away, the beginnings in `narrows`. */
void plugins_list_migrations(buffer *out);
/* Gives each its section of the configuration. */
PURLIN_CHECKED purlin_status plugins_configure(const config *c, buffer *why);
/* Registers what they declare: operations, routes, jobs, events, ...; asks contained ones what they offer. */
PURLIN_CHECKED purlin_status plugins_register(buffer *why);
/* Migrates and starts each, in order. In a fiber. */
PURLIN_CHECKED purlin_status plugins_start(purlin_ctx *ctx, buffer *why);
void plugins_stop(purlin_ctx *ctx);

/* Registers the capabilities that a contained plugin described. */
PURLIN_CHECKED purlin_status contained_register(plugin *p, buffer *why);

#endif
