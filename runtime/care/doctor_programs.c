#include "care/doctor.h"
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REINSTALL "apt-get install --reinstall purlin, or dnf reinstall purlin"

enum { CHECK_MS = 120000, PLUGIN_MS = 30000 };

/* Programs are asked as the service's user, who has to be able to read what they read; never as root, where plugins are opened. */
static bool ask(const doctor *d, const char *const *arguments, uint32_t limit_ms, run_result *result) {
  const installation *i = d->here;
  const run_program program = {.arguments = arguments, .user = i->root && i->has_user ? i->uid : 0};
  const run_options options = {.limit_ms = limit_ms};
  buffer why = {0};
  bool fine = run_pipeline(&program, 1, &options, result, &why);
  /* What it was not able to say itself. */
  if (!fine && result->errors.size == 0) buffer_add(&result->errors, why.data, why.size);
  buffer_free(&why);
  return fine;
}

/* Its words without the program's name before them, and without the end of the line. */
static const char *words(buffer *said, const char *prefix) {
  while (said->size > 0 && (said->data[said->size - 1] == '\n' || said->data[said->size - 1] == ' ')) said->size--;
  const char *text = buffer_end(said);
  size_t size = strlen(prefix);
  return strncmp(text, prefix, size) == 0 ? text + size : text;
}

/* ---- Configuration ---- */

static void tell_warnings(doctor *d, buffer *said) {
  static const char prefix[] = "warning: ";
  const char *text = words(said, prefix);
  while (*text) {
    size_t size = strcspn(text, "\n");
    if (strncmp(text, prefix, sizeof prefix - 1) == 0) text += sizeof prefix - 1, size -= sizeof prefix - 1;
    doctor_tell(d, REPORT_WARNING, NULL, "%.*s", (int)size, text);
    text += size + (text[size] == '\n');
  }
}

void doctor_configuration(doctor *d) {
  const installation *i = d->here;
  run_result result = {0};
  char remedy[PATH_MAX + 64];
  if (i->has_config && access(i->config, R_OK) != 0 && !i->root) {
    doctor_tell(d, REPORT_SKIPPED, "sudo purlin doctor", "%s cannot be read by you", i->config);
    return;
  }
  if (i->daemon[0] == '\0') {
    doctor_tell(d, REPORT_FAILED, REINSTALL, "there is no purlind beside this program, nor in /usr/sbin");
    return;
  }
  const char *const arguments[] = {i->daemon, "--check", i->has_config ? "--config" : NULL, i->config, NULL};
  (void)snprintf(remedy, sizeof remedy, "mend it; purlind --check --config %s tells whether it is right", i->config);
  if (ask(d, arguments, CHECK_MS, &result)) {
    doctor_tell(d, REPORT_DONE, NULL, "%s%s: %s", i->config, i->has_config ? "" : " is not there, the defaults hold",
                words(&result.output, "purlind: the configuration is "));
    if (result.errors.size > 0) tell_warnings(d, &result.errors);
  } else
    doctor_tell(d, i->root || i->readable == false ? REPORT_FAILED : REPORT_WARNING, remedy, "%s",
                words(&result.errors, "purlind: "));
  run_result_free(&result);
}

/* ---- Plugins ---- */

static bool is_disabled(const installation *i, const char *name, size_t size) {
  for (size_t at = 0; at < i->settings.plugins.disabled.count; at++) {
    const char *disabled = i->settings.plugins.disabled.items[at];
    if (strlen(disabled) == size && strncmp(disabled, name, size) == 0) return true;
  }
  return false;
}

static void look_at_plugin(doctor *d, const char *self, const char *path, const char *name, size_t size) {
  const char *const arguments[] = {self, "plugin", "check", path, NULL};
  run_result result;
  char remedy[PATH_MAX + 256];
  if (!ask(d, arguments, PLUGIN_MS, &result)) {
    const char *said = words(&result.errors, "purlin: ");
    bool library = strstr(said, "cannot open shared object file") != NULL;
    (void)snprintf(remedy, sizeof remedy, "%s; or leave it out: plugins { disabled = { \"%.*s\" } }",
                   library ? "install the library's package" : "install the release of it that fits this one", (int)size,
                   name);
    doctor_tell(d, REPORT_FAILED, remedy, "%s", said);
  }
  run_result_free(&result);
}

static size_t look_into(doctor *d, const char *self, const char *folder) {
  size_t count = 0;
  DIR *open_folder = opendir(folder);
  if (!open_folder) {
    doctor_tell(d, REPORT_FAILED, "mend plugins.folders of purlin.lua, or " REINSTALL, "the folder %s cannot be read",
                folder);
    return 0;
  }
  for (const struct dirent *entry = readdir(open_folder); entry; entry = readdir(open_folder)) {
    char path[PATH_MAX];
    size_t size = strlen(entry->d_name);
    if (size < 4 || strcmp(entry->d_name + size - 3, ".so") != 0) continue;
    if (is_disabled(d->here, entry->d_name, size - 3)) continue;
    if (snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) >= (int)sizeof path) continue;
    count++;
    look_at_plugin(d, self, path, entry->d_name, size - 3);
  }
  (void)closedir(open_folder);
  return count;
}

void doctor_plugins(doctor *d) {
  char self[PATH_MAX];
  ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
  size_t count = 0;
  if (!d->here->readable || size <= 0) return; /* said before */
  self[size] = '\0';
  for (size_t i = 0; i < d->here->settings.plugins.folders.count; i++)
    count += look_into(d, self, d->here->settings.plugins.folders.items[i]);
  if (count == 0 && d->told == 0)
    doctor_tell(d, REPORT_WARNING, REINSTALL "; or mend plugins.folders of purlin.lua", "there is none");
  else if (d->told == 0)
    doctor_tell(d, REPORT_DONE, NULL, "%zu fit this release (ABI %d.%d)", count, PURLIN_ABI_MAJOR, PURLIN_ABI_MINOR);
}
