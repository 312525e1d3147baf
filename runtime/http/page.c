/* page.c: what a browser is told about a page, so that nothing in it, and nobody who shows it in a frame, does more than it was made
 * for. Routes answer with their own Content-Security-Policy when theirs needs scripts, styles or forms; what says nothing, such as an
 * artifact that somebody has uploaded, is shown and does nothing. */
#include "http/connection.h"

#include "core/text.h"

static const struct {
  const char *name, *value;
} defaults[] = {
    {"Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"},
    {"Referrer-Policy", "no-referrer"},
    {"X-Frame-Options", "DENY"},
    {"Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"},
};

static bool named(const answer_header *header, const char *name) {
  size_t size = strlen(name);
  return header->size > size && header->text[size] == ':' && text_equal_ignoring_case(header->text, size, name, size);
}

static const answer_header *find(const purlin_request *request, const char *name) {
  const answer_header *header = request->headers;
  while (header != NULL && !named(header, name)) header = header->next;
  return header;
}

/* Types that a browser shows, and that can hold scripts. */
static bool is_page(const char *type) {
  static const char *const pages[] = {"text/html", "application/xhtml+xml", "image/svg+xml", "text/xml", "application/xml"};
  for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++)
    if (text_equal_ignoring_case(type, strnlen(type, strlen(pages[i])), pages[i], strlen(pages[i]))) return true;
  return false;
}

static const char *type_of(const purlin_request *request, const char *media_type) {
  const answer_header *set = request->has_type ? find(request, "Content-Type") : NULL;
  return set == NULL ? media_type : set->text + sizeof "Content-Type: " - 1;
}

void page_headers(const purlin_request *request, const char *media_type, buffer *out) {
  const char *type = type_of(request, media_type);
  if (type == NULL || !is_page(type)) return;
  for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++)
    if (find(request, defaults[i].name) == NULL) buffer_format(out, "%s: %s\r\n", defaults[i].name, defaults[i].value);
}
