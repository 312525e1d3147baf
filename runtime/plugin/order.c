/* Who starts before whom: a depth-first walk over requirements; what is needed comes first. */
#include "plugin/order.h"
#include <string.h>

enum { FRESH = 0, ON_THE_PATH, PLACED };

typedef struct ordering {
  plugin **plugins;
  uint8_t *marks;
  size_t count;
  plugin **order;
  size_t placed;
  buffer *why;
  purlin_status status;
  const plugin *path[PLUGIN_MOST];
  size_t path_length;
} ordering;

typedef struct provider_search {
  const char *contract;
  bool found;
} provider_search;

static void is_it(void *to, const plugin *p, const purlin_declaration *declared) {
  (void)p;
  provider_search *search = to;
  if (strcmp(((const purlin_capability *)(const void *)declared)->contract, search->contract) == 0) search->found = true;
}

static bool provides(const plugin *p, const char *contract) {
  provider_search search = {contract, false};
  plugin_visit(p, PURLIN_KIND_CAPABILITY, is_it, &search);
  return search.found;
}

static void place(ordering *o, size_t index);

static void say_cycle(ordering *o, const plugin *again) {
  buffer_text(o->why, "the plugins need each other in a circle: ");
  size_t from = 0;
  while (o->path[from] != again) from++;
  for (; from < o->path_length; from++) buffer_format(o->why, "%s -> ", o->path[from]->name);
  buffer_format(o->why, "%s; remove one of the requirements", again->name);
  o->status = PURLIN_INVALID;
}

static void need(void *to, const plugin *p, const purlin_declaration *declared) {
  ordering *o = to;
  const purlin_requirement *needed = (const void *)declared;
  bool found = false;
  for (size_t i = 0; i < o->count && o->status == PURLIN_OK; i++) {
    const plugin *other = o->plugins[i];
    bool fits = needed->contract ? provides(other, needed->contract) : strcmp(other->name, needed->plugin) == 0;
    if (!fits || other == p) continue;
    found = true;
    if (o->marks[i] == ON_THE_PATH) say_cycle(o, other);
    else place(o, i);
  }
  if (found || o->status != PURLIN_OK) return;
  const char *what = needed->contract ? needed->contract : needed->plugin;
  buffer_format(o->why, "the plugin '%s' needs %s '%s', which no loaded plugin %s; install one, or disable '%s'", p->name,
                needed->contract ? "the capability" : "the plugin", what, needed->contract ? "provides" : "is", p->name);
  o->status = PURLIN_INVALID;
}

static void place(ordering *o, size_t index) {
  if (o->marks[index] == PLACED || o->status != PURLIN_OK) return;
  plugin *p = o->plugins[index];
  o->marks[index] = ON_THE_PATH;
  o->path[o->path_length++] = p;
  plugin_visit(p, PURLIN_KIND_REQUIREMENT, need, o);
  o->path_length--;
  o->marks[index] = PLACED;
  o->order[o->placed++] = p;
}

purlin_status plugins_order(plugin **plugins, size_t count, buffer *why) {
  uint8_t marks[PLUGIN_MOST] = {0};
  plugin *order[PLUGIN_MOST];
  if (count > PLUGIN_MOST) {
    buffer_format(why, "%zu plugins are more than %d", count, PLUGIN_MOST);
    return PURLIN_INVALID;
  }
  ordering o = {.plugins = plugins, .marks = marks, .count = count, .order = order, .why = why};
  for (size_t i = 0; i < count; i++) place(&o, i);
  if (o.status != PURLIN_OK) return o.status;
  memcpy(plugins, order, count * sizeof *plugins);
  return PURLIN_OK;
}
