#include "plugin/lifecycle.h"
#include "access/access.h"
#include "access/quota.h"
#include "core/schema.h"
#include "db/db.h"
#include "db/sql.h"
#include "events/events.h"
#include "jobs/jobs.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "operation/operation.h"
#include "plugin/order.h"
#include "process/process.h"
#include "secrets/secrets.h"
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

PURLIN_COUNTER(plugin_transitions_total, "Changes of state of plugins", "plugin_name, state");

static plugin *first;

plugin *plugins_first(void) { return first; }

plugin *plugin_find(const char *name) {
  plugin *p = first;
  while (p && strcmp(p->name, name) != 0) p = p->next;
  return p;
}

/* ---- The state machine: what may follow what -------------------------------------------------------------------------------------- */

static const char *const STATE_NAMES[] = {"found",   "loaded",   "configured", "migrated",
                                          "started", "draining", "stopped",    "failed"};
#define MAY(state) (1u << (state))
static const unsigned NEXT[] = {
    [PLUGIN_FOUND] = MAY(PLUGIN_LOADED),
    [PLUGIN_LOADED] = MAY(PLUGIN_CONFIGURED),
    [PLUGIN_CONFIGURED] = MAY(PLUGIN_MIGRATED),
    [PLUGIN_MIGRATED] = MAY(PLUGIN_STARTED),
    [PLUGIN_STARTED] = MAY(PLUGIN_DRAINING),
    [PLUGIN_DRAINING] = MAY(PLUGIN_STOPPED),
    [PLUGIN_STOPPED] = 0,
    [PLUGIN_FAILED] = MAY(PLUGIN_STOPPED),
};

const char *plugin_state_name(plugin_state state) { return STATE_NAMES[state]; }

static bool become(plugin *p, plugin_state state) {
  if (state != PLUGIN_FAILED && !(NEXT[p->state] & MAY(state))) {
    log_write(PURLIN_ERROR, "plugin", "'%s' may not go from %s to %s", p->name, STATE_NAMES[p->state], STATE_NAMES[state]);
    return false;
  }
  log_write(PURLIN_DEBUG, "plugin", "'%s' %s -> %s", p->name, STATE_NAMES[p->state], STATE_NAMES[state]);
  p->state = state;
  purlin_count(plugin_transitions_total, 1, p->name, STATE_NAMES[state]);
  return true;
}

static purlin_status fail(plugin *p, purlin_status status, const buffer *why) {
  p->error = why->size ? arena_copy(&p->memory, why->data, why->size) : plugin_state_name(p->state);
  (void)become(p, PLUGIN_FAILED);
  return status;
}

/* ---- Finding and loading ------------------------------------------------------------------------------------------------------------ */

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static bool listed(const plugins_options *options, const char *name) {
  for (size_t i = 0; i < options->disabled_count; i++)
    if (strcmp(options->disabled[i], name) == 0) return true;
  return false;
}

typedef struct finding {
  plugin *plugins[PLUGIN_MOST];
  size_t count;
  const plugins_options *options;
  buffer *why;
} finding;

static purlin_status open_one(finding *f, const char *path) {
  purlin_identity_note note;
  purlin_status status = plugin_identify(path, &note, f->why);
  if (status != PURLIN_OK) return status;
  if (listed(f->options, note.name)) return PURLIN_OK;
  for (size_t i = 0; i < f->count; i++)
    if (strcmp(f->plugins[i]->name, note.name) == 0) {
      buffer_format(f->why, "two files are the plugin '%s': %s and %s; remove one", note.name, f->plugins[i]->path, path);
      return PURLIN_CONFLICT;
    }
  if (f->count == PLUGIN_MOST) {
    buffer_format(f->why, "there are more than %d plugins", PLUGIN_MOST);
    return PURLIN_INVALID;
  }
  status = plugin_open(path, false, &f->plugins[f->count], f->why);
  if (status == PURLIN_OK) f->count++;
  return status;
}

/* Paths are absolute from here on: contained plugins are opened from another working directory. */
static purlin_status open_folder(finding *f, const char *given) {
  char folder[PATH_MAX];
  DIR *directory = realpath(given, folder) ? opendir(folder) : NULL;
  if (!directory) {
    buffer_format(f->why, "cannot read the plugin folder %s", given);
    return PURLIN_INVALID;
  }
  char *paths[PLUGIN_MOST + 1] = {NULL}; /* one more, for open_one to refuse */
  size_t count = 0;
  purlin_status status = PURLIN_OK;
  for (struct dirent *entry = readdir(directory); entry && count <= PLUGIN_MOST; entry = readdir(directory)) {
    size_t size = strlen(entry->d_name);
    if (size < 4 || strcmp(entry->d_name + size - 3, ".so") != 0) continue;
    if (asprintf(&paths[count], "%s/%s", folder, entry->d_name) < 0) {
      buffer_format(f->why, "out of memory while reading the plugin folder %s", folder);
      status = PURLIN_UNAVAILABLE;
      break;
    }
    count++;
  }
  (void)closedir(directory);
  qsort(paths, count, sizeof paths[0], by_text);
  for (size_t i = 0; i < count; i++) {
    if (status == PURLIN_OK) status = open_one(f, paths[i]);
    free(paths[i]);
  }
  return status;
}

static void link_in_order(finding *f) {
  plugin *builtin = plugin_builtin();
  first = builtin;
  plugin **end = &builtin->next;
  for (size_t i = 0; i < f->count; i++) {
    *end = f->plugins[i];
    end = &f->plugins[i]->next;
  }
  *end = NULL;
}

purlin_status plugins_load(const plugins_options *options, buffer *why) {
  finding f = {.options = options, .why = why};
  purlin_status status = PURLIN_OK;
  for (size_t i = 0; i < options->folder_count && status == PURLIN_OK; i++) status = open_folder(&f, options->folders[i]);
  if (status == PURLIN_OK) status = plugins_order(f.plugins, f.count, why);
  if (status == PURLIN_OK) link_in_order(&f);
  return status;
}

/* ---- Configuring ------------------------------------------------------------------------------------------------------------------- */

static const config_section *section_of(const config *c, const char *name) {
  for (size_t i = 0; c && i < config_count(c); i++) {
    const config_section *section = config_at(c, i);
    if (strcmp(section->kind, "plugin") == 0 && section->name && strcmp(section->name, name) == 0) return section;
  }
  return NULL;
}

static purlin_status configure(plugin *p, const config *c, buffer *why) {
  const config_section *section = section_of(c, p->name);
  if (section) p->configuration_json = (purlin_json){section->json, section->json_size};
  if (p->contained || !p->manifest->configuration) {
    if (section && !p->contained) {
      buffer_format(why, "%s:%d: the plugin '%s' has nothing to configure", section->file, section->line, p->name);
      return PURLIN_INVALID;
    }
    return become(p, PLUGIN_CONFIGURED) ? PURLIN_OK : PURLIN_INTERNAL;
  }
  const purlin_schema *schema = p->manifest->configuration();
  p->configuration = arena_alloc(&p->memory, schema->struct_size);
  if (!p->configuration) return PURLIN_UNAVAILABLE;
  const config_section none = {
      .kind = "plugin", .name = p->name, .file = "the defaults", .line = 0, .json = "{}", .json_size = 2};
  purlin_status status = config_decode(section ? section : &none, schema, &p->memory, p->configuration, why);
  if (status == PURLIN_OK && !become(p, PLUGIN_CONFIGURED)) status = PURLIN_INTERNAL;
  return status;
}

static purlin_status check_sections(const config *c, buffer *why) {
  for (size_t i = 0; c && i < config_count(c); i++) {
    const config_section *section = config_at(c, i);
    if (strcmp(section->kind, "plugin") != 0 || plugin_find(section->name)) continue;
    buffer_format(why, "%s:%d: no plugin named '%s' is installed; install it or remove this section", section->file,
                  section->line, section->name);
    return PURLIN_NOT_FOUND;
  }
  return PURLIN_OK;
}

purlin_status plugins_configure(const config *c, buffer *why) {
  purlin_status status = check_sections(c, why);
  for (plugin *p = first; p && status == PURLIN_OK; p = p->next) {
    status = configure(p, c, why);
    if (status != PURLIN_OK) (void)fail(p, status, why);
  }
  return status;
}

const void *purlin_configuration(const purlin_ctx *ctx) {
  const plugin *p = ctx->plugin_state;
  return p ? p->configuration : NULL;
}

/* ---- Registering: what a plugin declares becomes what the runtime serves -------------------------------------------------------------- */

typedef struct registering {
  plugin *owner;
  buffer *why;
  purlin_status status;
} registering;

/* Plugins find each other's capabilities by themselves; the runtime uses one kind. */
static purlin_status register_capability(registering *r, const purlin_capability *capability) {
  if (strcmp(capability->contract, "authenticator") != 0) return PURLIN_OK;
  if (capability->version != PURLIN_CONTRACT_authenticator) {
    buffer_format(r->why, "the plugin '%s' speaks version %u of the contract authenticator, this release version %u",
                  r->owner->name, capability->version, PURLIN_CONTRACT_authenticator);
    return PURLIN_INVALID;
  }
  return access_add_authenticator(r->owner->name, r->owner, capability->functions);
}

static void register_one(void *to, const plugin *p, const purlin_declaration *declared) {
  registering *r = to;
  if (r->status != PURLIN_OK) return;
  const void *it = declared;
  switch ((purlin_kind)declared->kind) {
  case PURLIN_KIND_OPERATION: r->status = operations_register(p->name, r->owner, it, r->why); break;
  case PURLIN_KIND_ROUTE: r->status = operations_register_route(p->name, r->owner, it, r->why); break;
  case PURLIN_KIND_POLICY: r->status = operations_register_policy(p->name, it, r->why); break;
  case PURLIN_KIND_JOB: r->status = jobs_register(p->name, r->owner, it, r->why); break;
  case PURLIN_KIND_SCHEDULE: r->status = jobs_register_schedule(p->name, it, r->why); break;
  case PURLIN_KIND_EVENT: r->status = events_register(p->name, it, r->why); break;
  case PURLIN_KIND_LISTENER: r->status = events_register_listener(p->name, r->owner, it, r->why); break;
  case PURLIN_KIND_METRIC: r->status = p->builtin ? PURLIN_OK : metrics_register(p->name, it, r->why); break;
  case PURLIN_KIND_CAPABILITY: r->status = register_capability(r, it); break;
  case PURLIN_KIND_QUOTA: r->status = quotas_register(p->name, it, r->why); break;
  case PURLIN_KIND_SEALED: r->status = secrets_register(p->name, it, r->why); break;
  case PURLIN_KIND_MIGRATION:
  case PURLIN_KIND_REQUIREMENT: break; /* read where they are needed */
  }
}

static purlin_status register_contained(plugin *p, buffer *why) {
  char *described = NULL;
  purlin_status status = process_describe(p->path, &described, why);
  if (status != PURLIN_OK) return status;
  p->described = arena_copy(&p->memory, described, strlen(described));
  free(described);
  return p->described ? contained_register(p, why) : PURLIN_UNAVAILABLE;
}

purlin_status plugins_register(buffer *why) {
  static const purlin_kind kinds[] = {PURLIN_KIND_METRIC, PURLIN_KIND_EVENT,    PURLIN_KIND_POLICY,
                                      PURLIN_KIND_JOB,    PURLIN_KIND_SCHEDULE, PURLIN_KIND_OPERATION,
                                      PURLIN_KIND_ROUTE,  PURLIN_KIND_LISTENER, PURLIN_KIND_CAPABILITY,
                                      PURLIN_KIND_QUOTA,  PURLIN_KIND_SEALED};
  for (plugin *p = first; p; p = p->next) {
    registering r = {p, why, PURLIN_OK};
    if (p->contained) r.status = register_contained(p, why);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0] && r.status == PURLIN_OK; i++)
      plugin_visit(p, kinds[i], register_one, &r);
    if (r.status != PURLIN_OK) return fail(p, r.status, why);
  }
  return PURLIN_OK;
}

/* ---- Migrating, starting, stopping ------------------------------------------------------------------------------------------------------ */

typedef struct gathered {
  const purlin_migration *items[1024];
  size_t count;
} gathered;

static void gather(void *to, const plugin *p, const purlin_declaration *declared) {
  (void)p;
  gathered *g = to;
  if (g->count < sizeof g->items / sizeof g->items[0]) g->items[g->count++] = (const void *)declared;
}

static purlin_status migrate(purlin_ctx *ctx, plugin *p, buffer *why) {
  gathered *g = purlin_alloc(ctx, sizeof *g);
  if (!g) return PURLIN_TOO_LARGE;
  plugin_visit(p, PURLIN_KIND_MIGRATION, gather, g);
  purlin_status status = g->count ? db_migrate(ctx, p->name, g->items, g->count, why) : PURLIN_OK;
  if (status == PURLIN_OK && why->size > 0) {
    log_write(PURLIN_WARNING, "db", "%s", buffer_end(why));
    buffer_clear(why);
  }
  if (status == PURLIN_OK && !become(p, PLUGIN_MIGRATED)) status = PURLIN_INTERNAL;
  return status;
}

enum { MOST_SHOWN = 300 };

static void list_migration(void *to, const plugin *p, const purlin_declaration *declared) {
  const purlin_migration *migration = (const void *)declared;
  sql_script script = {migration->sql, migration->sql + strlen(migration->sql)};
  buffer *out = to;
  const char *statement;
  size_t size, narrow = 0;
  buffer_text(out, "{\"component\":");
  buffer_json_text(out, p->name, strlen(p->name));
  buffer_text(out, ",\"name\":");
  buffer_json_text(out, migration->name, strlen(migration->name));
  buffer_format(out, ",\"breaking\":%s,\"narrows\":[", sql_is_breaking(migration->sql) ? "true" : "false");
  while (sql_next(&script, &statement, &size)) {
    if (sql_classify(statement, size) != SQL_DEFINES || !sql_narrows(statement, size)) continue;
    if (narrow++ > 0) buffer_char(out, ',');
    buffer_json_text(out, statement, size < MOST_SHOWN ? size : MOST_SHOWN);
  }
  buffer_text(out, "]}\n");
}

void plugins_list_migrations(buffer *out) {
  for (const plugin *p = first; p; p = p->next) plugin_visit(p, PURLIN_KIND_MIGRATION, list_migration, out);
}

static purlin_status step(purlin_ctx *ctx, plugin *p, purlin_plugin_step *run, const char *what, buffer *why) {
  if (!run) return PURLIN_OK;
  operation_frame frame = context_enter(ctx, p->name, p, what);
  purlin_status status = run(ctx);
  context_leave(ctx, frame);
  if (status != PURLIN_OK) buffer_format(why, "the plugin '%s' cannot %s: %s", p->name, what, purlin_failure(ctx));
  return status;
}

purlin_status plugins_start(purlin_ctx *ctx, buffer *why) {
  for (plugin *p = first; p; p = p->next) {
    purlin_status status = migrate(ctx, p, why);
    if (status == PURLIN_OK) status = step(ctx, p, p->manifest ? p->manifest->start : NULL, "start", why);
    if (status == PURLIN_OK && !become(p, PLUGIN_STARTED)) status = PURLIN_INTERNAL;
    if (status != PURLIN_OK) return fail(p, status, why);
  }
  return PURLIN_OK;
}

/* In the opposite order: what needs stops before what is needed. */
static void stop_from(purlin_ctx *ctx, plugin *p) {
  if (!p) return;
  stop_from(ctx, p->next);
  if (p->state != PLUGIN_STARTED) return;
  (void)become(p, PLUGIN_DRAINING);
  buffer why = {0};
  if (step(ctx, p, p->manifest ? p->manifest->stop : NULL, "stop", &why) != PURLIN_OK)
    log_write(PURLIN_ERROR, "plugin", "%s", buffer_end(&why));
  buffer_free(&why);
  (void)become(p, PLUGIN_STOPPED);
}

void plugins_stop(purlin_ctx *ctx) { stop_from(ctx, first); }
