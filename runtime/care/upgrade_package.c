#include "care/upgrade.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ASK_MS = 60000, FETCH_MS = 1800000 };

static const char SOURCE[] = "purlin"; /* the source package, and the name of the main one */

const package *package_main(const upgrade *u) {
  for (size_t i = 0; i < u->package_count; i++)
    if (strcmp(u->packages[i].name, SOURCE) == 0) return &u->packages[i];
  return NULL;
}

/* ---- Small things ---- */

/* Fields of a line, separated by tabs; how many. The line is cut. */
static size_t split(char *line, char **fields, size_t most) {
  size_t count = 0;
  for (char *at = line; at && count < most; count++) {
    fields[count] = at;
    at = strchr(at, '\t');
    if (at) *at++ = '\0';
  }
  return count;
}

/* A version, a name: what may stand in a file's name and never begins with '-', so that no program takes it for an option. */
static bool keep_text(char to[PACKAGE_TEXT], const char *from) {
  size_t size = strlen(from);
  if (size == 0 || size >= PACKAGE_TEXT || from[0] == '-' || strpbrk(from, "/ \t\n'\"\\")) return false;
  (void)memcpy(to, from, size + 1);
  return true;
}

/* Runs a program and returns what it writes as a text of its own, in `result`. */
static char *output_of(const char *const *arguments, run_result *result, buffer *why) {
  if (!run_simple(arguments, ASK_MS, result, why)) return NULL;
  (void)buffer_end(&result->output);
  return result->output.data ? result->output.data : NULL;
}

/* <0, 0, >0 as dpkg orders versions; `fine` false: dpkg does not say. */
static int compare(const char *a, const char *b, bool *fine, buffer *why) {
  static const char *const relations[] = {"lt", "gt"};
  *fine = true;
  if (strcmp(a, b) == 0) return 0;
  for (int i = 0; i < 2; i++) {
    const char *const arguments[] = {"dpkg", "--compare-versions", a, relations[i], b, NULL};
    buffer words = {0};
    run_result result;
    bool is = run_simple(arguments, ASK_MS, &result, &words);
    *fine = is || result.code == 1;
    if (!*fine) buffer_text(why, buffer_end(&words));
    buffer_free(&words);
    run_result_free(&result);
    if (is) return i == 0 ? -1 : 1;
    if (!*fine) return 0;
  }
  return 0;
}

/* ---- What is installed ---- */

bool package_installed(const char *name, char version[PACKAGE_TEXT], buffer *why) {
  const char *const arguments[] = {"dpkg-query", "--show", "--showformat=${db:Status-Abbrev}\\t${Version}",
                                   "--",         name,     NULL};
  run_result result;
  buffer words = {0};
  version[0] = '\0';
  char *text = output_of(arguments, &result, &words), *fields[2];
  bool known = text && split(text, fields, 2) == 2;
  /* "ii": to be installed, and installed. dpkg-query ends with 1 for a name it does not know. */
  bool fine = known ? strncmp(fields[0], "ii", 2) != 0 || keep_text(version, fields[1]) : result.code == 1;
  if (!fine) buffer_format(why, "the version of the package %s is not known: %s", name, buffer_end(&words));
  buffer_free(&words);
  run_result_free(&result);
  return fine;
}

static bool add_installed(upgrade *u, char *line) {
  char *fields[5];
  if (split(line, fields, 5) != 5 || strcmp(fields[3], SOURCE) != 0 || fields[4][1] == 'n' || fields[4][1] == 'c')
    return true;
  if (u->package_count == UPGRADE_PACKAGES) return false;
  package *p = &u->packages[u->package_count++];
  *p = (package){0};
  return keep_text(p->name, fields[0]) && keep_text(p->before, fields[1]) && keep_text(p->architecture, fields[2]);
}

static bool find_installed(upgrade *u, buffer *why) {
  static const char *const arguments[] = {
      "dpkg-query", "--show",
      "--showformat=${Package}\\t${Version}\\t${Architecture}\\t${source:Package}\\t${db:Status-Abbrev}\\n", NULL};
  run_result result;
  u->package_count = 0;
  char *rest = output_of(arguments, &result, why);
  bool fine = rest != NULL;
  for (char *line = fine ? strtok_r(rest, "\n", &rest) : NULL; line && fine; line = strtok_r(NULL, "\n", &rest))
    fine = add_installed(u, line);
  if (!fine && why->size == 0) buffer_text(why, "what dpkg-query tells of the installed packages makes no sense");
  run_result_free(&result);
  if (!fine || package_main(u)) return fine;
  buffer_text(
      why,
      "no package 'purlin' is installed here: only what came as a package can be upgraded so (apt-get install purlin)");
  return false;
}

/* ---- Which files take their place ---- */

/* Of a file: does it belong to one of our packages, and is it newer than what was found for it? */
static bool take_file(upgrade *u, const char *path, const char *version, buffer *why) {
  const char *const arguments[] = {"dpkg-deb", "--show", "--showformat=${Package}\\t${Version}\\t${Architecture}",
                                   "--",       path,     NULL};
  run_result result;
  char *text = output_of(arguments, &result, why), *fields[3];
  bool fine = text && split(text, fields, 3) == 3;
  package *of = NULL;
  for (size_t i = 0; fine && i < u->package_count; i++)
    if (strcmp(u->packages[i].name, fields[0]) == 0) of = &u->packages[i];
  if (fine && of && (!version || strcmp(version, fields[1]) == 0)) {
    if (strcmp(fields[2], of->architecture) != 0 && strcmp(fields[2], "all") != 0) {
      buffer_format(why, "%s is for %s machines, this one is %s", path, fields[2], of->architecture);
      fine = false;
    }
    bool newer = fine && (!of->new_file[0] || compare(fields[1], of->after, &fine, why) > 0);
    if (fine && newer) {
      fine = keep_text(of->after, fields[1]) && snprintf(of->new_file, PATH_MAX, "%s", path) < PATH_MAX;
      if (!fine) buffer_format(why, "%s: its name or version cannot be used", path);
    }
  }
  run_result_free(&result);
  return fine;
}

/* A name like NAME_..., for one of our packages that has no file yet, or, with `all`, for any. */
static bool may_be_ours(const upgrade *u, const char *name, bool all) {
  size_t size = strlen(name);
  if (size < 5 || strcmp(name + size - 4, ".deb") != 0) return false;
  for (size_t i = 0; i < u->package_count; i++) {
    size_t named = strlen(u->packages[i].name);
    if (strncmp(name, u->packages[i].name, named) == 0 && name[named] == '_') return all || !u->packages[i].new_file[0];
  }
  return false;
}

static bool take_folder(upgrade *u, const char *folder, const char *version, bool all, buffer *why) {
  char path[PATH_MAX];
  DIR *directory = opendir(folder);
  if (!directory) {
    buffer_format(why, "%s: %s", folder, strerror(errno));
    return false;
  }
  bool fine = true;
  for (struct dirent *entry = readdir(directory); entry && fine; entry = readdir(directory)) {
    if (!may_be_ours(u, entry->d_name, all)) continue;
    if (snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) < (int)sizeof path)
      fine = take_file(u, path, version, why);
  }
  (void)closedir(directory);
  return fine;
}

static bool take_given(upgrade *u, const char *given, buffer *why) {
  struct stat about;
  char path[PATH_MAX];
  if (!realpath(given, path) || stat(path, &about) != 0) {
    buffer_format(why, "%s: %s", given, strerror(errno));
    return false;
  }
  return S_ISDIR(about.st_mode) ? take_folder(u, path, NULL, true, why) : take_file(u, path, NULL, why);
}

/* Packages of one release go together: what lies beside a file that was named, of the same version, is taken along. */
static bool take_siblings(upgrade *u, buffer *why) {
  const package *named = package_main(u);
  char folder[PATH_MAX], version[PACKAGE_TEXT];
  if (!named || !named->new_file[0]) return true;
  (void)memcpy(version, named->after, sizeof version);
  (void)memcpy(folder, named->new_file, sizeof folder);
  char *slash = strrchr(folder, '/');
  if (!slash) return true;
  *slash = '\0';
  return take_folder(u, folder, version, false, why);
}

/* ---- From apt ---- */

/* "  Candidate: 0.2.0-1" */
static bool find_candidate(const char *name, char version[PACKAGE_TEXT], buffer *why) {
  const char *const arguments[] = {"apt-cache", "policy", "--", name, NULL};
  run_result result;
  char *text = output_of(arguments, &result, why), *at = text ? strstr(text, "Candidate: ") : NULL;
  version[0] = '\0';
  if (at) {
    at += strlen("Candidate: ");
    at[strcspn(at, "\n")] = '\0';
    if (strcmp(at, "(none)") != 0) (void)keep_text(version, at);
  }
  run_result_free(&result);
  return text != NULL;
}

/* The file that apt would make of it: "1:2" is written "1%3a2". */
bool package_place(const upgrade *u, const package *p, const char *version, char path[PATH_MAX]) {
  buffer name = {0};
  buffer_format(&name, "packages/%s_", p->name);
  for (const char *at = version; *at; at++)
    if (*at == ':') buffer_text(&name, "%3a");
    else buffer_char(&name, *at);
  buffer_format(&name, "_%s.deb", p->architecture);
  bool fits = !name.failed && upgrade_path(u, buffer_end(&name), path);
  buffer_free(&name);
  return fits;
}

bool package_is(const char *path, const char *name, const char *version) {
  const char *const arguments[] = {"dpkg-deb", "--show", "--showformat=${Package}\\t${Version}", "--", path, NULL};
  run_result result;
  buffer why = {0};
  char *text = output_of(arguments, &result, &why), *fields[2];
  bool is = text && split(text, fields, 2) == 2 && strcmp(fields[0], name) == 0 && strcmp(fields[1], version) == 0;
  run_result_free(&result);
  buffer_free(&why);
  return is;
}

/* Into FOLDER/packages. */
bool package_download(const upgrade *u, const package *p, const char *version, char path[PATH_MAX], buffer *why) {
  char folder[PATH_MAX], what[2 * PACKAGE_TEXT + 2];
  run_result result;
  if (!upgrade_path(u, "packages", folder) || !package_place(u, p, version, path)) return false;
  if (package_is(path, p->name, version)) return true;
  (void)snprintf(what, sizeof what, "%s=%s", p->name, version);
  const char *const arguments[] = {"env", "-C", folder, "apt-get", "download", "--quiet", what, NULL};
  bool fine = run_simple(arguments, FETCH_MS, &result, why);
  run_result_free(&result);
  if (fine && !package_is(path, p->name, version)) {
    buffer_format(why, "apt-get download has not made %s", path);
    fine = false;
  }
  return fine;
}

static bool take_from_apt(upgrade *u, buffer *why) {
  for (size_t i = 0; i < u->package_count; i++) {
    package *p = &u->packages[i];
    char version[PACKAGE_TEXT];
    bool fine = true;
    if (!find_candidate(p->name, version, why)) return false;
    if (!version[0] || compare(version, p->before, &fine, why) <= 0) {
      if (!fine) return false;
      continue;
    }
    if (!package_download(u, p, version, p->new_file, why)) return false;
    (void)memcpy(p->after, version, sizeof version);
  }
  return true;
}

/* ---- What is meant ---- */

bool packages_find(upgrade *u, buffer *why) {
  if (!find_installed(u, why)) return false;
  for (size_t i = 0; i < u->options.to_count; i++) {
    const char *given = u->options.to[i];
    bool fine = strcmp(given, "apt") == 0 ? take_from_apt(u, why) : take_given(u, given, why);
    if (!fine) return false;
  }
  if (!take_siblings(u, why)) return false;
  const package *p = package_main(u);
  bool fine = true;
  if (!p->new_file[0] && u->options.to_count == 1 && strcmp(u->options.to[0], "apt") == 0) return true;
  if (!p->new_file[0]) {
    buffer_format(why, "%s holds no package 'purlin'", u->options.to[0]);
    return false;
  }
  int order = compare(p->after, p->before, &fine, why);
  if (!fine) return false;
  if (order >= 0) return true;
  buffer_format(
      why,
      "%s is older than what is installed, %s: an older release may not understand what the newer one has written.\n"
      "Right after an upgrade 'purlin upgrade --rollback' goes back; later a backup of that release does: purlin restore",
      p->after, p->before);
  return false;
}

cJSON *packages_write(const upgrade *u) {
  cJSON *list = cJSON_CreateArray();
  for (size_t i = 0; i < u->package_count; i++) {
    const package *p = &u->packages[i];
    cJSON *one = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(one, "name", p->name);
    (void)cJSON_AddStringToObject(one, "architecture", p->architecture);
    (void)cJSON_AddStringToObject(one, "before", p->before);
    (void)cJSON_AddStringToObject(one, "after", p->after);
    (void)cJSON_AddStringToObject(one, "file", p->new_file);
    (void)cJSON_AddItemToArray(list, one);
  }
  return list;
}

static bool read_text(const cJSON *of, const char *name, char *to, size_t size) {
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(of, name));
  return text && snprintf(to, size, "%s", text) < (int)size;
}

bool packages_read(upgrade *u, const cJSON *from) {
  const cJSON *one;
  u->package_count = 0;
  cJSON_ArrayForEach(one, from) {
    if (u->package_count == UPGRADE_PACKAGES) return false;
    package *p = &u->packages[u->package_count++];
    *p = (package){0};
    bool fine = read_text(one, "name", p->name, PACKAGE_TEXT) &&
                read_text(one, "architecture", p->architecture, PACKAGE_TEXT) &&
                read_text(one, "before", p->before, PACKAGE_TEXT) && read_text(one, "after", p->after, PACKAGE_TEXT) &&
                read_text(one, "file", p->new_file, PATH_MAX);
    if (!fine) return false;
    /* The copy that was made of it: what was named may not be there any more. */
    char kept[PATH_MAX];
    if (p->after[0] && package_place(u, p, p->after, kept) && package_is(kept, p->name, p->after))
      (void)memcpy(p->new_file, kept, sizeof kept);
  }
  return package_main(u) != NULL;
}
