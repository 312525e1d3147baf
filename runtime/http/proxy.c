/* proxy.c: which client a proxy speaks for, and whether it is one of those that watch this server.
 *
 * Each proxy appends the address that it was asked from to X-Forwarded-For, so the list is read from its end, for as long as those
 * who wrote it are trusted: the first address that is no trusted proxy is the client. What stands before it anybody may have made
 * up. */
#include "http/connection.h"

#include "core/network.h"
#include "core/text.h"

static network_list trusted, monitors;

static purlin_status set(network_list *list, const char *const *texts, size_t count, const char *setting, buffer *why) {
  const char *bad;
  if (network_list_set(list, texts, count, &bad)) return PURLIN_OK;
  if (bad == NULL) return PURLIN_UNAVAILABLE;
  buffer_format(why, "%s: '%s' is no address and no network", setting, bad);
  return PURLIN_INVALID;
}

purlin_status proxies_start(const http_options *options, buffer *why) {
  proxies_end();
  purlin_status status = set(&trusted, options->trusted_proxies, options->trusted_proxy_count, "trusted_proxies", why);
  return status == PURLIN_OK ? set(&monitors, options->monitors, options->monitor_count, "monitors", why) : status;
}

void proxies_end(void) {
  network_list_clear(&trusted);
  network_list_clear(&monitors);
}

bool proxies_trust(const struct in6_addr *address) { return network_list_holds(&trusted, address); }

bool http_request_is_monitor(const purlin_request *request) {
  struct in6_addr address;
  return network_parse_address(http_request_address(request), &address) && network_list_holds(&monitors, &address);
}

static bool is_trusted_text(const char *text) {
  struct in6_addr address;
  return network_parse_address(text, &address) && proxies_trust(&address);
}

bool proxies_trust_peer(const purlin_request *request) {
  return trusted.count > 0 && is_trusted_text(request->connection->address);
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
