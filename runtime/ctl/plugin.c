#include "core/places.h"
#include "ctl/ctl.h"
#include "plugin/host.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Line by line: what a file says of itself is no more to be trusted than what a server says. */
static void print_lines(FILE *to, const buffer *text) {
  buffer line = {0};
  for (size_t at = 0; at < text->size;) {
    const char *end = memchr(text->data + at, '\n', text->size - at);
    size_t size = end ? (size_t)(end - text->data) - at : text->size - at;
    buffer_clear(&line);
    display_add(&line, text->data + at, size);
    (void)fprintf(to, "%s\n", buffer_end(&line));
    at += size + 1;
  }
  buffer_free(&line);
}

static int refuse(buffer *why) {
  (void)fputs("purlin: ", stderr);
  print_lines(stderr, why);
  buffer_free(why);
  return CTL_FAILED;
}

static int document(const char *path, void (*write)(const plugin *p, buffer *out)) {
  buffer why = {0}, out = {0};
  plugin *p = NULL;
  if (plugin_open(path, true, &p, &why) != PURLIN_OK) return refuse(&why);
  write(p, &out);
  print_lines(stdout, &out);
  buffer_free(&out);
  plugin_free(p);
  return 0;
}

static int show(const char *path) { return document(path, plugin_document); }

static int page(const char *path) { return document(path, plugin_manual); }

static int check(const char *path) {
  buffer why = {0};
  plugin *p = NULL;
  if (plugin_open(path, true, &p, &why) != PURLIN_OK) return refuse(&why);
  (void)printf("%s %s: fits this release (ABI %d.%d)\n", p->name, p->version, PURLIN_ABI_MAJOR, PURLIN_ABI_MINOR);
  plugin_free(p);
  return 0;
}

/* ---- new: the template's files, with NAME and name_ in their place ------------------------------------------------------------------------- */

/* What lies at `path` from the folder of the build tree that this program is in, as build/bin/purlin. */
static bool in_build_tree(const char *path, char out[PATH_MAX]) {
  char self[PATH_MAX];
  ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
  if (size <= 0) return false;
  self[size] = '\0';
  for (int i = 0; i < 2; i++) {
    char *slash = strrchr(self, '/');
    if (slash) *slash = '\0';
  }
  int length = snprintf(out, PATH_MAX, "%s/%s", self, path);
  return length > 0 && length < PATH_MAX && access(out, R_OK) == 0;
}

static const char *template_folder(char out[PATH_MAX]) {
  const char *given = getenv("PURLIN_TEMPLATE");
  if (given) return given;
  return in_build_tree("../sdk/template", out) ? out : places_template;
}

static void replace(buffer *out, const char *text, size_t size, const char *name) {
  static const struct {
    const char *mark;
    char dash;
  } marks[] = {{"@NAME@", '-'}, {"@name@", '_'}};
  for (size_t i = 0; i < size;) {
    size_t m = 0;
    while (m < 2 && (size - i < 6 || memcmp(text + i, marks[m].mark, 6) != 0)) m++;
    if (m == 2) {
      buffer_char(out, text[i++]);
      continue;
    }
    for (const char *at = name; *at; at++) buffer_char(out, *at == '-' ? marks[m].dash : *at);
    i += 6;
  }
}

static bool copy_file(const char *from, const char *to, const char *name) {
  FILE *in = fopen(from, "re");
  if (!in) return false;
  char text[65536];
  size_t size = fread(text, 1, sizeof text, in);
  (void)fclose(in);
  buffer replaced = {0};
  replace(&replaced, text, size, name);
  FILE *out = replaced.failed ? NULL : fopen(to, "wxe");
  bool fine = out && fwrite(replaced.data, 1, replaced.size, out) == replaced.size;
  if (out && fclose(out) != 0) fine = false;
  buffer_free(&replaced);
  return fine;
}

static bool copy_folder(const char *from, const char *to, const char *name) {
  DIR *directory = opendir(from);
  if (!directory) return false;
  if (mkdir(to, 0777) != 0) {
    int error = errno;
    (void)closedir(directory);
    errno = error;
    return false;
  }
  bool fine = true;
  for (struct dirent *entry = readdir(directory); entry && fine; entry = readdir(directory)) {
    if (entry->d_name[0] == '.') continue;
    char source[PATH_MAX], target[PATH_MAX];
    (void)snprintf(source, sizeof source, "%s/%s", from, entry->d_name);
    (void)snprintf(target, sizeof target, "%s/%s", to, entry->d_name);
    struct stat about;
    fine = stat(source, &about) == 0 &&
           (S_ISDIR(about.st_mode) ? copy_folder(source, target, name) : copy_file(source, target, name));
  }
  return closedir(directory) == 0 && fine;
}

static int make(const char *name) {
  bool fine = islower((unsigned char)name[0]) && strlen(name) < 64;
  for (const char *at = name; *at; at++)
    fine = fine && (islower((unsigned char)*at) || isdigit((unsigned char)*at) || *at == '-');
  if (!fine) {
    (void)fprintf(stderr, "purlin: a plugin's name is of lower-case letters, digits and '-', and begins with a letter\n");
    return 2;
  }
  char place[PATH_MAX];
  const char *from = template_folder(place);
  errno = 0;
  if (!copy_folder(from, name, name)) {
    (void)fprintf(stderr, "purlin: cannot make the plugin in the folder %s from %s: %s\n", name, from, strerror(errno));
    return 1;
  }
  bool build_tree = in_build_tree("sdk/PurlinConfig.cmake", place);
  if (build_tree) *strrchr(place, '/') = '\0';
  (void)printf(
      "Made the plugin %s. Next:\n\n  cd %s\n  cmake -S . -B build -G Ninja%s%s && ninja -C build && ctest --test-dir build\n",
      name, name, build_tree ? " -DPurlin_DIR=" : "", build_tree ? place : "");
  return 0;
}

static int with_operand(const manual_command *about, int count, char **arguments, int (*act)(const char *operand)) {
  manual_given given;
  return manual_read_or_say(about, count, arguments, &given) ? act(given.operands[0]) : CTL_USAGE;
}

int plugin_show_command(void *to, const manual_command *about, int count, char **arguments) {
  (void)to;
  return with_operand(about, count, arguments, show);
}

int plugin_manual_command(void *to, const manual_command *about, int count, char **arguments) {
  (void)to;
  return with_operand(about, count, arguments, page);
}

int plugin_check_command(void *to, const manual_command *about, int count, char **arguments) {
  (void)to;
  return with_operand(about, count, arguments, check);
}

int plugin_new_command(void *to, const manual_command *about, int count, char **arguments) {
  (void)to;
  return with_operand(about, count, arguments, make);
}
