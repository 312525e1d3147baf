#include "plugin/host.h"
#include <string.h>

typedef struct use {
  const char *contract, *name;
  uint32_t version;
  const purlin_capability *found, *other_version;
} use;

static void match(void *to, const plugin *p, const purlin_declaration *declared) {
  (void)p;
  use *u = to;
  const purlin_capability *capability = (const void *)declared;
  if (u->found || strcmp(capability->contract, u->contract) != 0) return;
  if (u->name && strcmp(capability->name, u->name) != 0) return;
  if (capability->version != u->version) u->other_version = capability;
  else u->found = capability;
}

const void *purlin_use_(purlin_ctx *ctx, const char *contract, const char *name, uint32_t version) {
  use u = {.contract = contract, .name = name, .version = version};
  for (const plugin *p = plugins_first(); p && !u.found; p = p->next)
    if (p->state == PLUGIN_STARTED || p->state == PLUGIN_MIGRATED) plugin_visit(p, PURLIN_KIND_CAPABILITY, match, &u);
  if (u.found) return u.found->functions;
  if (u.other_version)
    (void)purlin_fail(ctx, PURLIN_UNAVAILABLE, "%s '%s' speaks version %u of the contract, version %u is needed", contract,
                      u.other_version->name, u.other_version->version, version);
  else (void)purlin_fail(ctx, PURLIN_UNAVAILABLE, "no plugin provides %s%s%s", contract, name ? " " : "", name ? name : "");
  return NULL;
}

typedef struct gathering {
  const char *contract;
  uint32_t version;
  const char **names; /* NULL while they are counted */
  size_t count, most; /* of names */
} gathering;

static void gather(void *to, const plugin *p, const purlin_declaration *declared) {
  (void)p;
  gathering *g = to;
  const purlin_capability *capability = (const void *)declared;
  if (capability->version != g->version || strcmp(capability->contract, g->contract) != 0) return;
  if (g->names && g->count == g->most) return;
  if (g->names) g->names[g->count] = capability->name;
  g->count++;
}

static void gather_all(gathering *g) {
  g->count = 0;
  for (const plugin *p = plugins_first(); p; p = p->next)
    if (p->state == PLUGIN_STARTED || p->state == PLUGIN_MIGRATED) plugin_visit(p, PURLIN_KIND_CAPABILITY, gather, g);
}

purlin_status purlin_providers_(purlin_ctx *ctx, const char *contract, uint32_t version, purlin_texts *names) {
  gathering g = {.contract = contract, .version = version};
  gather_all(&g);
  const char **room = purlin_alloc_array(ctx, g.count + 1, sizeof *room);
  if (!room) return PURLIN_TOO_LARGE;
  g.names = room;
  g.most = g.count;
  gather_all(&g);
  *names = (purlin_texts){room, g.count};
  return PURLIN_OK;
}
