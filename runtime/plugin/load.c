#include "plugin/host.h"
#include "core/schema.h"
#include <purlin/quota.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

/* The runtime's own declarations, in libpurlin's own section. */
extern const purlin_declaration *const __start_purlin_declared[] __attribute__((weak, visibility("hidden")));
extern const purlin_declaration *const __stop_purlin_declared[] __attribute__((weak, visibility("hidden")));

static purlin_status refuse(buffer *why, const char *path, const char *text) {
  buffer_format(why, "%s: %s", path, text);
  return PURLIN_INVALID;
}

void plugin_visit(const plugin *p, purlin_kind kind,
                  void (*visit)(void *to, const plugin *p, const purlin_declaration *declared), void *to) {
  if (!p->manifest || !p->manifest->declared) return;
  for (const purlin_declaration *const *at = p->manifest->declared; at < p->manifest->declared_end; at++)
    if (*at && (*at)->kind == (uint32_t)kind) visit(to, p, *at);
}

/* The smallest descriptor of each kind that this host understands: today's, since this is the first release. */
static const struct {
  purlin_kind kind;
  size_t size;
  const char *what;
} KINDS[] = {
    {PURLIN_KIND_OPERATION, sizeof(purlin_operation), "operation"},
    {PURLIN_KIND_ROUTE, sizeof(purlin_route), "route"},
    {PURLIN_KIND_JOB, sizeof(purlin_job), "job"},
    {PURLIN_KIND_SCHEDULE, sizeof(purlin_schedule), "schedule"},
    {PURLIN_KIND_EVENT, sizeof(purlin_event), "event"},
    {PURLIN_KIND_LISTENER, sizeof(purlin_listener), "listener"},
    {PURLIN_KIND_POLICY, sizeof(purlin_policy), "policy point"},
    {PURLIN_KIND_METRIC, sizeof(purlin_metric), "metric"},
    {PURLIN_KIND_MIGRATION, sizeof(purlin_migration), "migration"},
    {PURLIN_KIND_CAPABILITY, sizeof(purlin_capability), "capability"},
    {PURLIN_KIND_REQUIREMENT, sizeof(purlin_requirement), "requirement"},
    {PURLIN_KIND_QUOTA, sizeof(purlin_quota), "quota"},
    {PURLIN_KIND_SEALED, sizeof(purlin_sealed), "sealed column"},
};

static purlin_status check_declarations(const char *path, const purlin_manifest *manifest, buffer *why) {
  for (const purlin_declaration *const *at = manifest->declared; at && at < manifest->declared_end; at++) {
    if (!*at) continue;
    size_t i = 0;
    while (i < sizeof KINDS / sizeof KINDS[0] && (uint32_t)KINDS[i].kind != (*at)->kind) i++;
    if (i == sizeof KINDS / sizeof KINDS[0]) {
      buffer_format(why, "%s: a declaration of an unknown kind %u at %s:%u", path, (*at)->kind, (*at)->file, (*at)->line);
      return PURLIN_INVALID;
    }
    if ((*at)->size < KINDS[i].size) {
      buffer_format(why, "%s: the %s at %s:%u is %u bytes, expected %zu; rebuild with this release's SDK", path,
                    KINDS[i].what, (*at)->file, (*at)->line, (*at)->size, KINDS[i].size);
      return PURLIN_INVALID;
    }
  }
  return PURLIN_OK;
}

static purlin_status check_manifest(const char *path, const purlin_manifest *manifest, const purlin_identity_note *note,
                                    buffer *why) {
  if (manifest->size < sizeof(purlin_manifest)) return refuse(why, path, "its manifest is of an unknown, smaller layout");
  if (!manifest->name || strcmp(manifest->name, note->name) != 0 || !manifest->version ||
      strcmp(manifest->version, note->version) != 0)
    return refuse(why, path, "its manifest and its identity note name different plugins");
  if (!manifest->summary || !*manifest->summary) return refuse(why, path, "its manifest has no summary");
  if (manifest->configuration) {
    buffer inner = {0};
    bool fine = schema_check(manifest->configuration(), &inner);
    if (!fine) buffer_format(why, "%s: its configuration: %s", path, buffer_end(&inner));
    buffer_free(&inner);
    if (!fine) return PURLIN_INVALID;
  }
  return check_declarations(path, manifest, why);
}

static plugin *create(const char *path, const purlin_identity_note *note) {
  plugin *p = calloc(1, sizeof *p);
  if (!p) return NULL;
  arena_init(&p->memory, (size_t)16 * 1024 * 1024);
  p->path = arena_copy(&p->memory, path, strlen(path));
  p->name = arena_copy(&p->memory, note->name, strlen(note->name));
  p->version = arena_copy(&p->memory, note->version, strlen(note->version));
  p->contained = note->contained != 0;
  if (p->path && p->name && p->version) return p;
  arena_free(&p->memory);
  free(p);
  return NULL;
}

static purlin_status open_library(plugin *p, const purlin_identity_note *note, buffer *why) {
  p->library = dlopen(p->path, RTLD_NOW | RTLD_LOCAL);
  if (!p->library) {
    buffer_format(why, "%s: cannot be loaded: %s", p->path, dlerror());
    return PURLIN_INVALID;
  }
  p->manifest = dlsym(p->library, "purlin_plugin");
  if (!p->manifest) return refuse(why, p->path, "does not export purlin_plugin");
  return check_manifest(p->path, p->manifest, note, why);
}

purlin_status plugin_open(const char *path, bool even_contained, plugin **out, buffer *why) {
  purlin_identity_note note;
  purlin_status status = plugin_identify(path, &note, why);
  if (status != PURLIN_OK) return status;
  plugin *p = create(path, &note);
  if (!p) return PURLIN_UNAVAILABLE;
  if (!p->contained || even_contained) status = open_library(p, &note, why);
  if (status != PURLIN_OK) {
    plugin_free(p);
    return status;
  }
  p->state = PLUGIN_LOADED;
  *out = p;
  return PURLIN_OK;
}

void plugin_free(plugin *p) {
  if (!p) return;
  /* The library stays mapped: threads and tables may still point into it. */
  arena_free(&p->memory);
  free(p);
}

plugin *plugin_builtin(void) {
  static purlin_manifest manifest;
  static plugin builtin;
  manifest = (purlin_manifest){.size = sizeof manifest,
                               .name = "purlin",
                               .version = PURLIN_VERSION,
                               .summary = "The runtime itself",
                               .declared = __start_purlin_declared,
                               .declared_end = __stop_purlin_declared};
  builtin = (plugin){.name = "purlin",
                     .version = PURLIN_VERSION,
                     .path = "libpurlin",
                     .state = PLUGIN_LOADED,
                     .builtin = true,
                     .manifest = &manifest};
  return &builtin;
}
