#include "tracking.h"
#include <string.h>
#include <strings.h>

/* Clients write there by themselves, with credentials of their own; nothing here ever opens them. Not among them: files of whoever
 * reads the address (file:, a path), and what the server itself keeps, whose places it chooses. */
static const char *const schemes[] = {"s3://",   "gs://",  "abfs://",   "abfss://", "wasb://",  "wasbs://",
                                      "hdfs://", "dbfs:/", "viewfs://", "r2://",    "https://", "http://"};

static bool has_scheme(const char *location) {
  for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
    size_t size = strlen(schemes[i]);
    if (strncasecmp(location, schemes[i], size) == 0 && location[size] != '\0') return true;
  }
  return false;
}

/* Also where a reader would decode it first, once or twice. */
static bool has_escape(const char *location) {
  return strstr(location, "..") || strcasestr(location, "%2e") || strcasestr(location, "%25");
}

purlin_status location_check(purlin_ctx *ctx, const char *location) {
  bool plain = true;
  for (const char *at = location; *at; at++)
    if ((unsigned char)*at <= ' ' || *at == 0x7f || strchr("#?\\", *at)) plain = false;
  if (plain && !has_escape(location) && has_scheme(location)) return text_fits(ctx, "artifact_location", location, 2048);
  return purlin_fail(ctx, PURLIN_INVALID,
                     "Invalid artifact location '%.200s': it must begin with the scheme of a store that clients write to "
                     "themselves (such as s3://) and hold no '..', '#', '?', '\\', spaces or control characters",
                     location);
}
