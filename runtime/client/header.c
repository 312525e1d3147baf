#include "client/header.h"
#include "core/buffer.h"
#include "core/text.h"

bool header_add(struct curl_slist **headers, const char *name, const char *value) {
  if (!value) return true;
  buffer line = {0};
  buffer_format(&line, "%s%s", name, value);
  struct curl_slist *more = line.failed ? NULL : curl_slist_append(*headers, buffer_end(&line));
  if (more) *headers = more;
  if (line.data) text_wipe(line.data, line.size);
  buffer_free(&line);
  return more != NULL;
}
