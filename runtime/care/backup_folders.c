/* Which folders a backup takes along. The runtime knows no plugin: each says in its configuration's schema which texts name folders of
 * files (.folder), and is asked for the schema in a process of its own. */
#include "care/backup.h"
#include <dirent.h>
#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DESCRIBE_MS = 20000 };

/* What the state directory holds that no plugin declares and that cannot be made anew. */
static const char *const STATE_FILES[] = {"secrets.key", "accounts.key", "audit.key", "admin.token", NULL};

static bool add_place(backup_places *out, const char *name, const char *path, bool secret, const char *const *only,
                      buffer *why) {
  if (out->count == BACKUP_FOLDERS || strlen(name) >= sizeof out->items[0].name || strlen(path) >= PATH_MAX - 300) {
    buffer_format(why, "%s: too many folders, or too long a path: %s", name, path);
    return false;
  }
  backup_place *place = &out->items[out->count++];
  place->secret = secret;
  place->only = only;
  memcpy(place->name, name, strlen(name) + 1);
  /* A state directory may be given by a path from here, and links in a path may lead elsewhere one day. */
  char real[PATH_MAX];
  const char *kept = realpath(path, real) ? real : path;
  (void)snprintf(place->path, sizeof place->path, "%s", kept);
  return true;
}

/* ---- Plugins ---- */

static const char *configured(const installation *i, const char *plugin, const char *field, buffer *out) {
  for (size_t s = 0; i->settings.file && s < config_count(i->settings.file); s++) {
    const config_section *section = config_at(i->settings.file, s);
    if (strcmp(section->kind, "plugin") != 0 || !section->name || strcmp(section->name, plugin) != 0) continue;
    cJSON *tree = cJSON_ParseWithLength(section->json, section->json_size);
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(tree, field);
    if (cJSON_IsString(value)) buffer_text(out, value->valuestring);
    cJSON_Delete(tree);
  }
  return out->size > 0 ? buffer_end(out) : NULL;
}

static bool add_field(const installation *i, const char *plugin, const cJSON *field, backup_places *out, buffer *why) {
  const cJSON *initial = cJSON_GetObjectItemCaseSensitive(field, "default");
  char name[160], path[PATH_MAX];
  buffer given = {0};
  const char *value = configured(i, plugin, field->string, &given);
  if (!value && cJSON_IsString(initial)) value = initial->valuestring;
  bool fine = true;
  if (value && *value) {
    (void)snprintf(name, sizeof name, "%s.%s", plugin, field->string);
    if (value[0] == '/') (void)snprintf(path, sizeof path, "%s", value);
    else (void)snprintf(path, sizeof path, "%s/%s", i->settings.server.state, value);
    fine = add_place(out, name, path, false, NULL, why);
  }
  buffer_free(&given);
  return fine;
}

static bool add_fields(const installation *i, const char *described, backup_places *out, buffer *why) {
  cJSON *tree = cJSON_Parse(described);
  const cJSON *name = cJSON_GetObjectItemCaseSensitive(tree, "name");
  const cJSON *schema = cJSON_GetObjectItemCaseSensitive(tree, "configuration");
  const cJSON *fields = cJSON_GetObjectItemCaseSensitive(schema, "properties"), *field;
  bool fine = cJSON_IsString(name);
  if (!fine) buffer_text(why, "purlin-runner describes a plugin in a way that is not understood");
  cJSON_ArrayForEach(field, fields) {
    if (fine && cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(field, "x-purlin-folder")))
      fine = add_field(i, name->valuestring, field, out, why);
  }
  cJSON_Delete(tree);
  return fine;
}

static bool find_runner(const installation *i, char out[PATH_MAX], buffer *why) {
  char folder[PATH_MAX];
  (void)snprintf(folder, sizeof folder, "%s", i->daemon);
  char *slash = strrchr(folder, '/');
  if (slash) *slash = '\0';
  (void)snprintf(out, PATH_MAX, "%.*s/purlin-runner", PATH_MAX - 32, folder);
  if (slash && access(out, X_OK) == 0) return true;
  (void)snprintf(out, PATH_MAX, "/usr/libexec/purlin/purlin-runner");
  if (access(out, X_OK) == 0) return true;
  buffer_text(why, "purlin-runner is neither beside purlind nor in /usr/libexec/purlin: install the package purlin again");
  return false;
}

static bool describe(const installation *i, const char *runner, const char *path, backup_places *out, buffer *why) {
  const char *const arguments[] = {runner, "describe", path, NULL};
  run_result result;
  bool fine = run_simple(arguments, DESCRIBE_MS, &result, why) && add_fields(i, buffer_end(&result.output), out, why);
  run_result_free(&result);
  return fine;
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static int is_plugin(const struct dirent *entry) {
  size_t size = strlen(entry->d_name);
  return size > 3 && strcmp(entry->d_name + size - 3, ".so") == 0;
}

/* Those that are switched off, too: what they stored is still there. */
static bool ask_folder(const installation *i, const char *runner, const char *folder, backup_places *out, buffer *why) {
  struct dirent **entries = NULL;
  int count = scandir(folder, &entries, is_plugin, by_name);
  if (count < 0) buffer_format(why, "%s: cannot be read: %s", folder, strerror(errno));
  bool fine = count >= 0;
  for (int e = 0; e < count; e++) {
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/%s", folder, entries[e]->d_name);
    fine = fine && describe(i, runner, path, out, why);
    free(entries[e]);
  }
  free((void *)entries);
  return fine;
}

/* ---- All ---- */

static bool add_configuration(const installation *i, backup_places *out, buffer *why) {
  static const char *only[2];
  char folder[PATH_MAX];
  (void)snprintf(folder, sizeof folder, "%s", i->config);
  char *slash = strrchr(folder, '/');
  only[0] = slash ? i->config + (slash - folder) + 1 : i->config;
  if (slash) *slash = '\0';
  const char *policies = i->settings.lua.policies;
  if (i->has_config && !add_place(out, "configuration", slash ? folder : ".", true, only, why)) return false;
  return !policies || add_place(out, "policies", policies, true, NULL, why);
}

bool places_find(const installation *i, backup_places *out, buffer *why) {
  char runner[PATH_MAX];
  const purlin_texts folders = i->settings.plugins.folders;
  out->count = 0;
  bool fine = find_runner(i, runner, why);
  for (size_t f = 0; f < folders.count && fine; f++) fine = ask_folder(i, runner, folders.items[f], out, why);
  return fine && add_place(out, "state", i->settings.server.state, true, STATE_FILES, why) &&
         add_configuration(i, out, why);
}

/* ---- Walking ---- */

static int by_path(const FTSENT **a, const FTSENT **b) { return strcmp((*a)->fts_name, (*b)->fts_name); }

static bool is_left_out(const FTSENT *folder) {
  char path[PATH_MAX];
  int size = snprintf(path, sizeof path, "%s/.nobackup", folder->fts_path);
  return size > 0 && (size_t)size < sizeof path && access(path, F_OK) == 0;
}

/* What goes while it is looked at was of no backup. */
static bool visit(FTS *walk, FTSENT *entry, size_t root, backup_on_path *each, void *to, buffer *why) {
  switch (entry->fts_info) {
  case FTS_D:
    if (entry->fts_level > 0 && is_left_out(entry)) (void)fts_set(walk, entry, FTS_SKIP);
    return true;
  case FTS_F: return each(to, entry->fts_path, entry->fts_path + root + 1);
  case FTS_DNR:
  case FTS_ERR:
  case FTS_NS:
    if (entry->fts_errno == ENOENT) return true;
    buffer_format(why, "%s: cannot be read: %s", entry->fts_path, strerror(entry->fts_errno));
    return false;
  default: return true;
  }
}

static bool walk_all(const backup_place *place, backup_on_path *each, void *to, buffer *why) {
  char path[PATH_MAX];
  (void)snprintf(path, sizeof path, "%s", place->path);
  char *const roots[] = {path, NULL};
  if (access(path, F_OK) != 0 && errno == ENOENT) return true;
  FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, by_path);
  bool fine = walk != NULL;
  if (!fine) buffer_format(why, "%s: cannot be read: %s", path, strerror(errno));
  for (FTSENT *entry = fine ? fts_read(walk) : NULL; entry && fine; entry = fine ? fts_read(walk) : NULL)
    fine = visit(walk, entry, strlen(path), each, to, why);
  if (walk) (void)fts_close(walk);
  return fine;
}

bool place_walk(const backup_place *place, backup_on_path *each, void *to, buffer *why) {
  if (!place->only) return walk_all(place, each, to, why);
  for (const char *const *name = place->only; *name; name++) {
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%.*s/%s", PATH_MAX - 280, place->path, *name);
    if (access(path, F_OK) == 0 && !each(to, path, *name)) return false;
  }
  return true;
}
