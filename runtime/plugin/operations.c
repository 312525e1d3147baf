#include "plugin/host.h"
#include "lua/script.h"

typedef struct plugin_out {
  const char *name, *version, *state, *path;
  bool contained;
  purlin_opt_text error;
} plugin_out;
PURLIN_SCHEMA(plugin_out, "A plugin",
    PURLIN_REQUIRED(name, "Its name"),
    PURLIN_REQUIRED(version, "Its version"),
    PURLIN_REQUIRED(state, "Where it stands in its life cycle"),
    PURLIN_REQUIRED(path, "The file it came from"),
    PURLIN_REQUIRED(contained, "Whether it runs in a process of its own"),
    PURLIN_OPTIONAL(error, "Why it failed"));
typedef struct plugin_list {
  PURLIN_LIST_OF(plugin_out) plugins;
} plugin_list;
PURLIN_SCHEMA(plugin_list, "Plugins, in the order of their start", PURLIN_LIST(plugins, plugin_out, "The plugins"));

PURLIN_OPERATION(plugins_list, purlin_nothing, plugin_list,
    .summary = "The plugins and their states", .permission = "server:read", .http = "GET /api/v1/plugins") {
  size_t count = 0;
  for (const plugin *p = plugins_first(); p; p = p->next) count++;
  plugin_out *items = purlin_alloc_array(ctx, count, sizeof *items);
  if (!items) return PURLIN_TOO_LARGE;
  for (const plugin *p = plugins_first(); p; p = p->next)
    items[out->plugins.count++] = (plugin_out){.name = p->name,
                                               .version = p->version,
                                               .state = plugin_state_name(p->state),
                                               .path = p->path,
                                               .contained = p->contained,
                                               .error = {p->error ? PURLIN_SET : PURLIN_ABSENT, p->error}};
  out->plugins.items = items;
  return PURLIN_OK;
}

typedef struct script_list {
  purlin_json scripts;
} script_list;
PURLIN_SCHEMA(script_list, "Policies and rules", PURLIN_REQUIRED(scripts, "Each with its state, what it answers and listens to, and its last error"));

PURLIN_OPERATION(scripts_list, purlin_nothing, script_list,
    .summary = "The Lua scripts and their states", .permission = "server:read", .http = "GET /api/v1/scripts") {
  buffer text = {0};
  script_describe(&text);
  const char *copy = text.failed ? NULL : purlin_copy_bytes(ctx, text.data, text.size);
  out->scripts = (purlin_json){copy, text.size};
  buffer_free(&text);
  return copy ? PURLIN_OK : purlin_fail(ctx, PURLIN_UNAVAILABLE, "out of memory");
}
