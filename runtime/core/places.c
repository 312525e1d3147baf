#include "core/places.h"
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char places_plugins[] = PURLIN_PLUGINS_FOLDER;
const char places_library[] = PURLIN_DATA_FOLDER "/lua";
const char places_template[] = PURLIN_DATA_FOLDER "/template";
const char places_programs[] = PURLIN_PROGRAMS_FOLDER;

bool places_find_program(const char *name, char *path, size_t size) {
  char self[PATH_MAX];
  ssize_t got = readlink("/proc/self/exe", self, sizeof self - 1);
  self[got > 0 ? got : 0] = '\0';
  char *slash = strrchr(self, '/');
  if (slash) {
    *slash = '\0';
    int beside = snprintf(path, size, "%s/%s", self, name);
    if (beside > 0 && (size_t)beside < size && access(path, X_OK) == 0) return true;
  }
  int length = snprintf(path, size, "%s/%s", places_programs, name);
  return length > 0 && (size_t)length < size;
}
