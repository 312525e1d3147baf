/* proxy.c: which client a proxy speaks for.
 *
 * Each proxy appends the address that it was asked from to X-Forwarded-For, so the list is read from its end, for as long as those
 * who wrote it are trusted: the first address that is no trusted proxy is the client. What stands before it anybody may have made
 * up. */
#include "http/connection.h"

#include "core/network.h"
#include "core/text.h"

#include <stdlib.h>

static struct {
  network *items; /* written at start only */
  size_t count;
} trusted;

purlin_status proxies_start(const http_options *options, buffer *why) {
  proxies_end();
  if (options->trusted_proxy_count == 0) return PURLIN_OK;
  trusted.items = calloc(options->trusted_proxy_count, sizeof *trusted.items);
  if (trusted.items == NULL) return PURLIN_UNAVAILABLE;
  for (size_t i = 0; i < options->trusted_proxy_count; i++) {
    if (network_parse(options->trusted_proxies[i], &trusted.items[i])) continue;
    buffer_format(why, "trusted_proxies: '%s' is no address and no network", options->trusted_proxies[i]);
    return PURLIN_INVALID;
  }
  trusted.count = options->trusted_proxy_count;
  return PURLIN_OK;
}

void proxies_end(void) {
  free(trusted.items);
  trusted.items = NULL;
  trusted.count = 0;
}

bool proxies_trust(const struct in6_addr *address) {
  for (size_t i = 0; i < trusted.count; i++)
    if (network_holds(&trusted.items[i], address)) return true;
  return false;
}

static bool is_trusted_text(const char *text) {
  struct in6_addr address;
  return network_parse_address(text, &address) && proxies_trust(&address);
}

/* From the end of one header's value. True: whoever stands in `out` is the client; false: all were trusted. */
static bool walk(const char *value, size_t size, char out[INET6_ADDRSTRLEN]) {
  while (size > 0) {
    size_t start = size;
    while (start > 0 && value[start - 1] != ',') start--;
    size_t at = start, end = size;
    while (at < end && (value[at] == ' ' || value[at] == '\t')) at++;
    while (end > at && (value[end - 1] == ' ' || value[end - 1] == '\t')) end--;
    char text[INET6_ADDRSTRLEN] = "";
    struct in6_addr address;
    if (end - at < sizeof text) memcpy(text, value + at, end - at);
    if (!network_parse_address(text, &address)) return true; /* who wrote this is the last that we know of */
    network_text(&address, out);
    if (!proxies_trust(&address)) return true;
    size = start > 0 ? start - 1 : 0;
  }
  return false;
}

const char *proxies_client(const purlin_request *request, char out[INET6_ADDRSTRLEN]) {
  static const char name[] = "x-forwarded-for";
  const char *peer = request->connection->address;
  if (trusted.count == 0 || request->text == NULL || !is_trusted_text(peer)) return peer;
  memcpy(out, peer, strlen(peer) + 1);
  const http_field *fields = request->head.fields;
  for (size_t i = request->head.field_count; i > 0; i--) {
    const http_field *field = &fields[i - 1];
    const char *text = request->text + field->name.at;
    if (!text_equal_ignoring_case(text, field->name.size, name, sizeof name - 1)) continue;
    if (walk(request->text + field->value.at, field->value.size, out)) break;
  }
  return out;
}
