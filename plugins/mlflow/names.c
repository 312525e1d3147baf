#include "entities.h"
#include <string.h>

static bool is_allowed(const char *key) {
  for (; *key; key++) {
    bool word = (*key >= 'a' && *key <= 'z') || (*key >= 'A' && *key <= 'Z') || (*key >= '0' && *key <= '9');
    if (!word && (unsigned char)*key < 0x80 && !strchr("/_.- :", *key)) return false;
  }
  return true;
}

/* The same as a path without "", "." and "..", as clients make it of a name before they compare. Arena; NULL: no memory. */
static const char *resolved(purlin_ctx *ctx, const char *key) {
  size_t size = strlen(key), to = 0, up = 0; /* up: behind the last ".." that stays */
  char *out = purlin_alloc(ctx, size + 2);
  if (!out) return NULL;
  bool absolute = *key == '/';
  if (absolute) out[to++] = '/';
  up = to;
  for (const char *at = key; *at;) {
    size_t part = strcspn(at, "/");
    bool back = part == 2 && at[0] == '.' && at[1] == '.';
    if (back && to > up) {
      while (to > up && out[to - 1] != '/') to--;
      if (to > up) to--;
    } else if (part > 0 && !(part == 1 && *at == '.') && !(back && absolute)) {
      if (to > 0 && out[to - 1] != '/') out[to++] = '/';
      memcpy(out + to, at, part);
      to += part;
      if (back) up = to;
    }
    at += part;
    if (*at == '/') at++;
  }
  if (to == 0) out[to++] = '.';
  out[to] = '\0';
  return out;
}

purlin_status mlflow_check_key(purlin_ctx *ctx, const char *path, const char *key) {
  if (!is_allowed(key))
    return purlin_fail(ctx, PURLIN_INVALID,
                       "Invalid value \"%.300s\" for parameter '%s' supplied: Names may only contain alphanumerics,"
                       " underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/).",
                       key, path);
  const char *plain = resolved(ctx, key);
  if (!plain) return PURLIN_TOO_LARGE;
  if (strcmp(plain, key) == 0 && strcmp(key, ".") != 0 && strncmp(key, "..", 2) != 0 && *key != '/') return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_INVALID,
                     "Invalid value \"%.300s\" for parameter '%s' supplied: Names may be treated as files in certain cases,"
                     " and must not resolve to other names when treated as such. This name would resolve to '%.300s'",
                     key, path, plain);
}

const char *mlflow_cut(purlin_ctx *ctx, const char *text, size_t most) {
  size_t characters = 0;
  if (!text) return "";
  if (strnlen(text, most + 1) <= most) return text;
  for (size_t i = 0; text[i]; i++) {
    if (((unsigned char)text[i] & 0xC0) == 0x80) continue;
    if (characters++ == most) return purlin_copy_bytes(ctx, text, i);
  }
  return text;
}

purlin_status mlflow_take_pairs(purlin_ctx *ctx, const char *what, const mlflow_pair *pairs, size_t count, size_t most,
                                tracking_pair **out) {
  *out = purlin_alloc_array(ctx, count + 1, sizeof **out);
  if (!*out) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < count; i++) {
    const char *path = what ? purlin_format(ctx, "%s[%zu].key", what, i) : "key";
    purlin_status status = path ? mlflow_check_key(ctx, path, pairs[i].key) : PURLIN_TOO_LARGE;
    if (status != PURLIN_OK) return status;
    (*out)[i] = (tracking_pair){pairs[i].key, mlflow_cut(ctx, pairs[i].value, most)};
    if (!(*out)[i].value) return PURLIN_TOO_LARGE;
  }
  return PURLIN_OK;
}

purlin_status mlflow_refuse(purlin_ctx *ctx, purlin_status status) {
  return status == PURLIN_CONFLICT ? purlin_fail(ctx, PURLIN_INVALID, "%s", purlin_failure(ctx)) : status;
}
