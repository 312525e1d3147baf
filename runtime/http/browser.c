/* browser.c: requests that come with a browser's session: which cookie holds it, and whose page asked.
 *
 * A browser adds its cookies to whatever any page makes it ask for. Who asked, it says itself, by headers that no page can set:
 * Sec-Fetch-Site, and before there was that (2023 at the latest) Origin. What says neither is no browser of today; it must show that it
 * is no page of another origin by a header of its own, which such a page may send only after a preflight, which never allows it. */
#include "http/connection.h"

#include "core/network.h"
#include "core/text.h"

#include <netinet/in.h>

#define SECURE_COOKIE "__Host-purlin-session"
#define LOCAL_COOKIE "purlin-session"

static bool is(const char *value, const char *text) { return value != NULL && strcmp(value, text) == 0; }

static bool is_secure(const purlin_request *request) {
  if (request->connection->tls != NULL) return true;
  return proxies_trust_peer(request) && is(purlin_header(request, "x-forwarded-proto"), "https");
}

static bool is_loopback(const char *text) {
  struct in6_addr address;
  if (!network_parse_address(text, &address)) return false;
  return IN6_IS_ADDR_LOOPBACK(&address) || (IN6_IS_ADDR_V4MAPPED(&address) && address.s6_addr[12] == 127);
}

/* A proxy on this host that nobody has said to trust is no client on this host. */
static bool is_proxied(const purlin_request *request) {
  static const char *const marks[] = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "via"};
  for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
    if (purlin_header(request, marks[i]) != NULL) return true;
  return false;
}

const char *purlin_session_cookie(const purlin_request *request) {
  if (is_secure(request)) return SECURE_COOKIE;
  if (!is_loopback(http_request_address(request)) || !is_loopback(request->connection->address)) return NULL;
  return is_proxied(request) && !proxies_trust_peer(request) ? NULL : LOCAL_COOKIE;
}

/* "a=1; b=2": one that is there twice was added by somebody else, and is none. */
const char *purlin_cookie(const purlin_request *request, const char *name) {
  const char *at = purlin_header(request, "cookie"), *value = NULL;
  size_t name_size = strlen(name), size = 0;
  while (at != NULL && *at != '\0') {
    at += strspn(at, "; \t");
    size_t pair = strcspn(at, ";");
    if (pair > name_size && at[name_size] == '=' && memcmp(at, name, name_size) == 0) {
      if (value != NULL) return NULL;
      value = at + name_size + 1;
      size = pair - name_size - 1;
    }
    at += pair;
  }
  while (size > 0 && (value[size - 1] == ' ' || value[size - 1] == '\t')) size--;
  return size == 0 ? NULL : purlin_copy_bytes(request->ctx, value, size);
}

/* "https://HOST[:PORT]", as the client has called us. */
static bool is_own_origin(const purlin_request *request, const char *origin) {
  const char *scheme = is_secure(request) ? "https://" : "http://", *host = purlin_header(request, "host");
  size_t size = strlen(scheme);
  if (host == NULL || *host == '\0' || strncmp(origin, scheme, size) != 0) return false;
  return text_equal_ignoring_case(origin + size, strlen(origin + size), host, strlen(host));
}

const char *purlin_origin(const purlin_request *request) {
  const char *host = purlin_header(request, "host");
  if (host == NULL || *host == '\0') return "";
  return purlin_format(request->ctx, "%s%s", is_secure(request) ? "https://" : "http://", host);
}

bool purlin_same_origin(const purlin_request *request) {
  const char *site = purlin_header(request, "sec-fetch-site"), *origin = purlin_header(request, "origin");
  if (site != NULL) return is(site, "same-origin");
  if (origin != NULL) return is_own_origin(request, origin);
  return is(purlin_header(request, "purlin-csrf"), "1");
}

bool http_request_only_reads(const purlin_request *request) {
  return request->head.method == METHOD_GET || request->head.method == METHOD_HEAD;
}

bool http_another_page_asks(const purlin_request *request) {
  const char *site = purlin_header(request, "sec-fetch-site"), *origin = purlin_header(request, "origin");
  if (site != NULL) return !is(site, "same-origin") && !is(site, "none");
  return origin != NULL && !is_own_origin(request, origin);
}

bool http_browser_may_read(const purlin_request *request) {
  if (!http_another_page_asks(request) || cors_shares(request)) return true;
  /* A link on another page leads here: its page does not see what comes. */
  return is(purlin_header(request, "sec-fetch-mode"), "navigate") &&
         is(purlin_header(request, "sec-fetch-dest"), "document") && purlin_header(request, "sec-fetch-site") != NULL;
}
