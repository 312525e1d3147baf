#include "place.h"
#include <string.h>
#include <strings.h>

enum { MOST_ENCODINGS = 8 }; /* that often a text may have been percent-encoded */

static const char *const elsewhere[] = {"s3",   "gs",   "abfs",  "abfss", "wasb", "wasbs", "hdfs", "viewfs",
                                        "dbfs", "http", "https", "ftp",   "sftp", "r2",    "b2",   "oss"};

static int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* Decodes in place, once. False: it holds an encoded NUL. */
static bool decode_once(char *text, bool *changed) {
  char *to = text;
  *changed = false;
  for (const char *from = text; *from; to++) {
    int high = from[0] == '%' ? digit(from[1]) : -1;
    int low = high >= 0 ? digit(from[2]) : -1;
    if (low < 0) {
      *to = *from++;
      continue;
    }
    *to = (char)(high * 16 + low);
    if (!*to) return false;
    *changed = true;
    from += 3;
  }
  *to = '\0';
  return true;
}

static bool decode(char *text) {
  bool changed = true;
  for (int i = 0; i < MOST_ENCODINGS && changed; i++)
    if (!decode_once(text, &changed)) return false;
  return !changed;
}

/* What ends a path for some reader, or is one of no name. */
static bool has_bad_character(const char *text) {
  for (; *text; text++)
    if ((unsigned char)*text < 0x20 || *text == 0x7f || strchr("#?\\", *text)) return true;
  return false;
}

static bool is_dots(const char *segment, size_t size) {
  return (size == 1 && segment[0] == '.') || (size == 2 && segment[0] == '.' && segment[1] == '.');
}

/* `.` and `..`, and, for our own places, empty names but for a slash at the end. */
static bool has_bad_segment(const char *path, bool ours) {
  while (*path) {
    size_t size = strcspn(path, "/");
    if (is_dots(path, size) || (ours && size == 0)) return true;
    path += size;
    if (*path == '/') path++;
  }
  return false;
}

/* Whether a segment after the scheme is that of a server's own artifacts: those it has under other names, with checks. */
static bool is_artifact_route(const char *path) { return strstr(path, "/mlflow-artifacts/artifacts") != NULL; }

static bool is_scheme(const char *text, size_t size, const char *scheme) {
  return size == strlen(scheme) && strncasecmp(text, scheme, size) == 0;
}

static void copy(char to[PLACE_LONGEST + 1], const char *from, size_t size) {
  memcpy(to, from, size);
  to[size] = '\0';
}

static place_kind read_run(const char *path, place *out) {
  size_t size = strcspn(path, "/");
  copy(out->first, path, size);
  return size > 0 ? PLACE_RUN : PLACE_REFUSED;
}

static place_kind read_model(const char *path, place *out) {
  const char *slash = strchr(path, '/'), *at = strrchr(path, '@');
  if (slash) {
    copy(out->first, path, (size_t)(slash - path));
    copy(out->second, slash + 1, strlen(slash + 1));
    return *out->first && *out->second && !strchr(out->second, '/') ? PLACE_VERSION : PLACE_REFUSED;
  }
  if (!at) {
    copy(out->first, path, strlen(path));
    return *path ? PLACE_LOGGED : PLACE_REFUSED;
  }
  copy(out->first, path, (size_t)(at - path));
  copy(out->second, at + 1, strlen(at + 1));
  return *out->first && *out->second ? PLACE_ALIAS : PLACE_REFUSED;
}

static place_kind read_kind(place *out) {
  const char *text = out->plain, *colon = strchr(text, ':');
  size_t size = colon ? (size_t)(colon - text) : 0;
  if (size == 0 || colon[1] != '/') return PLACE_REFUSED;
  const char *path = colon + 2;
  for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++)
    if (is_scheme(text, size, elsewhere[i]))
      return has_bad_segment(path, false) || is_artifact_route(path) ? PLACE_REFUSED : PLACE_ELSEWHERE;
  if (has_bad_segment(path, true) || *path == '\0') return PLACE_REFUSED; /* "//": it names a server */
  if (is_scheme(text, size, "runs")) return read_run(path, out);
  if (is_scheme(text, size, "models")) return read_model(path, out);
  return strncmp(text, "mlflow-artifacts:", size + 1) == 0 ? PLACE_ARTIFACT : PLACE_REFUSED;
}

bool place_read(const char *text, place *out) {
  size_t size = strnlen(text, PLACE_LONGEST + 1);
  *out = (place){.kind = PLACE_REFUSED};
  if (size > PLACE_LONGEST) return false;
  copy(out->plain, text, size);
  if (has_bad_character(out->plain) || !decode(out->plain) || has_bad_character(out->plain)) return false;
  out->kind = read_kind(out);
  return out->kind != PLACE_REFUSED;
}

bool place_is_within(const place *inner, const char *root) {
  size_t size = strlen(root);
  while (size > 0 && root[size - 1] == '/') size--;
  return size > 0 && strncmp(inner->plain, root, size) == 0 && (inner->plain[size] == '/' || inner->plain[size] == '\0');
}
