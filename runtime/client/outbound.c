/* outbound.c: where this process may call.
 *
 * Whoever may write a webhook, an endpoint's address or a script chooses what the server connects to, from inside its network. So
 * addresses that only mean something there are refused unless granted. What is judged is the address that a socket is about to be
 * connected to, after names were resolved: a name that leads elsewhere at the second look (DNS rebinding), odd spellings of
 * 127.0.0.1 and redirects all end here. */
#include "client/outbound.h"

#include "core/network.h"
#include "core/text.h"
#include "loop/context.h"
#include "observe/log.h"
#include "observe/metrics.h"

#include <purlin/http.h>

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_HOST_BYTES 254

PURLIN_COUNTER(client_forbidden_total, "Connections to others that were refused, by what their address is", "address");

/* ---- What there is ------------------------------------------------------------------------------------------------------------- */

/* The first that holds an address decides (IANA's registries of special-purpose addresses, and what clouds answer their machines
 * at). Of IPv6 only what is global unicast is public: what is not listed is refused. */
typedef struct range {
  const char *network;
  const char *kind;  /* NULL: public */
  bool nameable;     /* may be granted by a host's name; the others lead to no host that anybody would name */
  int embedded_from; /* the byte where the address of IPv4 stands that this leads to; 0: none */
} range;

static const range ranges[] = {
    /* IPv4 */
    {"0.0.0.0/8", "unspecified", false, 0},
    {"10.0.0.0/8", "private", true, 0},
    {"100.100.100.200/32", "metadata", false, 0}, /* Alibaba */
    {"100.64.0.0/10", "shared", true, 0},         /* carrier-grade NAT */
    {"127.0.0.0/8", "loopback", true, 0},
    {"168.63.129.16/32", "metadata", false, 0},   /* Azure */
    {"169.254.169.254/32", "metadata", false, 0}, /* nearly all */
    {"169.254.0.0/16", "link-local", false, 0},
    {"172.16.0.0/12", "private", true, 0},
    {"192.0.0.192/32", "metadata", false, 0}, /* Oracle */
    {"192.0.0.0/24", "reserved", false, 0},
    {"192.0.2.0/24", "documentation", false, 0},
    {"192.88.99.0/24", "reserved", false, 0}, /* 6to4 relays */
    {"192.168.0.0/16", "private", true, 0},
    {"198.18.0.0/15", "benchmark", false, 0},
    {"198.51.100.0/24", "documentation", false, 0},
    {"203.0.113.0/24", "documentation", false, 0},
    {"224.0.0.0/4", "multicast", false, 0},
    {"255.255.255.255/32", "broadcast", false, 0},
    {"240.0.0.0/4", "reserved", false, 0},
    {"::ffff:0:0/96", NULL, false, 0}, /* all other IPv4 */
    /* IPv6 */
    {"::/128", "unspecified", false, 0},
    {"::1/128", "loopback", true, 0},
    {"64:ff9b::/96", NULL, false, 12}, /* NAT64 */
    {"fd00:ec2::254/128", "metadata", false, 0},
    {"fd20:ce::254/128", "metadata", false, 0},
    {"fc00::/7", "private", true, 0},
    {"fe80::/10", "link-local", false, 0},
    {"fec0::/10", "site-local", true, 0},
    {"ff00::/8", "multicast", false, 0},
    {"2001:db8::/32", "documentation", false, 0},
    {"3fff::/20", "documentation", false, 0},
    {"2001::/23", "reserved", false, 0}, /* Teredo, benchmarks, ORCHID */
    {"2002::/16", NULL, false, 2},       /* 6to4 */
    {"2000::/3", NULL, false, 0},
    {"::/0", "reserved", false, 0}, /* IPv4-compatible and -translated, local NAT64, discard, what is not assigned */
};
enum { RANGES = sizeof ranges / sizeof ranges[0] };

static network parsed[RANGES];

static void parse_ranges(void) {
  for (size_t i = 0; i < RANGES; i++)
    if (!network_parse(ranges[i].network, &parsed[i])) abort(); /* the table is wrong: a test sees it */
}

static const range *first_of(const struct in6_addr *address) {
  size_t i = 0;
  while (i < RANGES - 1 && !network_holds(&parsed[i], address)) i++;
  return &ranges[i];
}

/* What an address is; *nameable: whether a name may grant it. NULL: public. */
static const char *kind_of(const struct in6_addr *address, bool *nameable) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  (void)pthread_once(&once, parse_ranges);
  const range *found = first_of(address);
  *nameable = found->nameable;
  if (found->embedded_from == 0) return found->kind;
  struct in6_addr embedded;
  network_from_four(address->s6_addr + found->embedded_from, &embedded);
  return first_of(&embedded)->kind;
}

const char *outbound_kind(const char *address) {
  struct in6_addr read;
  bool nameable;
  return network_parse_address(address, &read) ? kind_of(&read, &nameable) : "nonsense";
}

/* ---- What is granted ------------------------------------------------------------------------------------------------------------- */

typedef struct grant {
  network network; /* when `host` is empty */
  char host[MOST_HOST_BYTES];
  uint16_t port; /* 0: any */
} grant;

static struct {
  grant *items; /* written at start only */
  size_t count;
} granted;

/* As it is compared: in lower case, without the root's dot. False: too long. */
static bool fold_host(const char *host, size_t size, char out[MOST_HOST_BYTES]) {
  if (size > 0 && host[size - 1] == '.') size--;
  if (size == 0 || size >= MOST_HOST_BYTES) return false;
  for (size_t i = 0; i < size; i++) out[i] = (char)tolower((unsigned char)host[i]);
  out[size] = '\0';
  return true;
}

/* Whoever writes "10.0.0" or "0x7f.1" has meant an address: no name ends in a number. */
static bool is_name(const char *host) {
  const char *last = strrchr(host, '.');
  last = last != NULL ? last + 1 : host;
  if (host[strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789-._")] != '\0' || strstr(host, "..") != NULL) return false;
  if (*host == '.' || *host == '-' || *last == '\0') return false;
  return !(last[0] >= '0' && last[0] <= '9');
}

/* "ADDRESS", "ADDRESS/BITS" or "NAME", cut out of a grant's text. */
static bool take_target(const char *text, size_t size, const char *bits, grant *out) {
  char target[MOST_HOST_BYTES + 8];
  if (size == 0 || size >= MOST_HOST_BYTES) return false;
  int written = snprintf(target, sizeof target, "%.*s%s", (int)size, text, bits);
  if (written < 0 || (size_t)written >= sizeof target) return false;
  if (network_parse(target, &out->network)) return true;
  return *bits == '\0' && fold_host(text, size, out->host) && is_name(out->host);
}

/* "/BITS", which may be missing, then ":PORT", which may be. */
static bool take_rest(const char *rest, char bits[5], uint16_t *port) {
  uint64_t number;
  size_t size = strcspn(rest, ":");
  if (size > 4 || (size > 0 && rest[0] != '/')) return false;
  memcpy(bits, rest, size);
  bits[size] = '\0';
  rest += size;
  if (*rest == '\0') return true;
  if (!text_to_uint(rest + 1, strlen(rest + 1), &number) || number == 0 || number > UINT16_MAX) return false;
  *port = (uint16_t)number;
  return true;
}

static bool parse_grant(const char *text, grant *out) {
  char bits[5];
  *out = (grant){0};
  const char *end = text;
  if (*text == '[') {
    text++;
    end = strchr(text, ']');
    if (end == NULL || memchr(text, ':', (size_t)(end - text)) == NULL) return false;
    return take_rest(end + 1, bits, &out->port) && take_target(text, (size_t)(end - text), bits, out);
  }
  const char *colon = strchr(text, ':');
  bool six = colon != NULL && memchr(text, '/', (size_t)(colon - text)) == NULL && strchr(colon + 1, ':') != NULL;
  end = text + strcspn(text, six ? "/" : "/:");
  return take_rest(end, bits, &out->port) && take_target(text, (size_t)(end - text), bits, out);
}

void outbound_end(void) {
  free(granted.items);
  granted.items = NULL;
  granted.count = 0;
}

purlin_status outbound_begin(const char *const *allow, size_t count, buffer *why) {
  outbound_end();
  if (count == 0) return PURLIN_OK;
  granted.items = calloc(count, sizeof *granted.items);
  if (granted.items == NULL) return PURLIN_UNAVAILABLE;
  for (size_t i = 0; i < count; i++) {
    if (parse_grant(allow[i], &granted.items[i])) continue;
    buffer_format(why,
                  "outbound: allow: '%s' is no address, network or name: \"10.1.0.0/16\", \"[fd00::1]:443\", "
                  "\"mail.internal:25\"",
                  allow[i]);
    outbound_end();
    return PURLIN_INVALID;
  }
  granted.count = count;
  return PURLIN_OK;
}

static bool is_granted(const char *host, uint16_t port, const struct in6_addr *address, bool nameable) {
  char folded[MOST_HOST_BYTES];
  bool named = nameable && host != NULL && fold_host(host, strlen(host), folded);
  for (size_t i = 0; i < granted.count; i++) {
    const grant *g = &granted.items[i];
    if (g->port != 0 && g->port != port) continue;
    if (g->host[0] == '\0' ? network_holds(&g->network, address) : named && strcmp(g->host, folded) == 0) return true;
  }
  return false;
}

/* ---- The judgement ------------------------------------------------------------------------------------------------------------- */

bool purlin_outbound_permits(const char *host, uint16_t port, const struct sockaddr *address, size_t size) {
  struct in6_addr read;
  bool nameable = false, known = network_from_socket(address, size, &read);
  const char *kind = known ? kind_of(&read, &nameable) : "unknown";
  if (kind == NULL || (known && is_granted(host, port, &read, nameable))) return true;
  char text[INET6_ADDRSTRLEN] = "an unknown family";
  if (known) network_text(&read, text);
  purlin_count(client_forbidden_total, 1, kind);
  /* Only here, for the operator: whoever asked must not learn what names stand for inside. */
  log_write(PURLIN_WARNING, "outbound",
            "no connection to %s port %u, which is at %s (%s): outbound { allow = ... } does not grant it%s",
            host != NULL ? host : "?", port, text, kind,
            nameable ? "" : "; of such addresses only the address itself can be granted");
  return false;
}

purlin_status purlin_outbound_refused(purlin_ctx *ctx, const char *host, uint16_t port) {
  bool bare = strchr(host, ':') != NULL && *host != '['; /* an address of IPv6 */
  const char *open = bare ? "[" : "", *close = bare ? "]" : "";
  return purlin_fail(ctx, PURLIN_FORBIDDEN,
                     "%s%s%s:%u is in a network that this server does not call; outbound { allow = { \"%s%s%s:%u\" } } in "
                     "purlin.lua would grant it",
                     open, host, close, port, open, host, close, port);
}
