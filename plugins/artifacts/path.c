#include "path.h"
#include <stdint.h>
#include <string.h>
#include <strings.h>

/* One character of UTF-8: how many bytes, 0 when it is none (overlong, a surrogate, beyond U+10FFFF). */
static size_t character(const unsigned char *at, uint32_t *code) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  size_t size = *at < 0x80                  ? 1
                : *at >= 0xc2 && *at < 0xe0 ? 2
                : *at >= 0xe0 && *at < 0xf0 ? 3
                : *at >= 0xf0 && *at < 0xf5 ? 4
                                            : 0;
  if (size == 0) return 0;
  *code = size == 1 ? *at : *at & (0x7fu >> size);
  for (size_t i = 1; i < size; i++) {
    if ((at[i] & 0xc0) != 0x80) return 0;
    *code = *code << 6 | (at[i] & 0x3fu);
  }
  return *code < least[size] || *code > 0x10ffff || (*code >= 0xd800 && *code < 0xe000) ? 0 : size;
}

static const char *characters_fault(const char *path) {
  size_t count = 0;
  for (const unsigned char *at = (const unsigned char *)path; *at; count++) {
    uint32_t code = 0;
    size_t size = character(at, &code);
    if (size == 0) return "it is not UTF-8";
    if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return "it holds a control character";
    if (code == '\\') return "it holds a backslash";
    if (code == '#') return "it holds a '#'";
    at += size;
  }
  return count > PATH_CHARACTERS ? "it has more than 700 characters" : NULL;
}

const char *path_next(const char *component, size_t *size) {
  *size = strcspn(component, "/");
  return component[*size] == '/' ? component + *size + 1 : NULL;
}

static const char *components_fault(const char *path) {
  size_t count = 0, size = 0;
  for (const char *next, *at = path; at; at = next) {
    next = path_next(at, &size);
    if (size == 0) return "it holds an empty component";
    /* Some systems drop dots and spaces at the end of a name: "..." and ".. " may come out as "..". */
    if (strspn(at, ". ") == size) return "it holds a component of dots";
    if (++count > PATH_COMPONENTS) return "it has more than 100 components";
  }
  return NULL;
}

/* What other systems take for the beginning of an absolute path. */
static const char *beginning_fault(const char *path) {
  bool drive = ((path[0] >= 'a' && path[0] <= 'z') || (path[0] >= 'A' && path[0] <= 'Z')) && path[1] == ':';
  return drive || strncasecmp(path, "file:", 5) == 0 ? "it begins as an absolute path of another system does" : NULL;
}

static int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* In place. False: there was nothing to decode. */
static bool decode(char *text) {
  char *to = text;
  bool any = false;
  for (const char *at = text; *at; to++) {
    bool escape = at[0] == '%' && digit(at[1]) >= 0 && digit(at[2]) >= 0;
    *to = escape ? (char)(digit(at[1]) * 16 + digit(at[2])) : *at;
    at += escape ? 3 : 1;
    any = any || escape;
    if (escape && *to == '\0') *to = '\x01'; /* as bad, and no end */
  }
  *to = '\0';
  return any;
}

static const char *plain_fault(const char *path) {
  const char *fault = characters_fault(path);
  if (!fault) fault = components_fault(path);
  return fault ? fault : beginning_fault(path);
}

/* Somebody's file may well be named "100%" or "%41": what decodes to something that is no text harms nobody. */
static const char *decoded_fault(char *path) {
  while (decode(path)) {
    const char *fault = components_fault(path);
    for (const char *at = path; !fault && *at; at++)
      if ((unsigned char)*at < 0x20 || *at == 0x7f || *at == '\\' || *at == '#') fault = "";
    if (!fault) fault = beginning_fault(path);
    if (fault) return "whoever decodes it again has something else";
  }
  return NULL;
}

const char *path_fault(const char *path) {
  char copy[PATH_BYTES + 1];
  size_t size = strnlen(path, sizeof copy);
  if (size == sizeof copy) return "it has more than 700 characters";
  const char *fault = plain_fault(path);
  if (fault || !strchr(path, '%')) return fault;
  memcpy(copy, path, size + 1);
  return decoded_fault(copy);
}
