#include "core/network.h"

#include "core/text.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

void network_from_four(const unsigned char from[4], struct in6_addr *out) {
  *out = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
  memcpy(out->s6_addr + 12, from, 4);
}

bool network_parse_address(const char *text, struct in6_addr *out) {
  unsigned char four[4];
  if (inet_pton(AF_INET, text, four) != 1) return inet_pton(AF_INET6, text, out) == 1;
  network_from_four(four, out);
  return true;
}

bool network_parse(const char *text, network *out) {
  char address[INET6_ADDRSTRLEN];
  const char *slash = strchr(text, '/');
  size_t size = slash != NULL ? (size_t)(slash - text) : strlen(text);
  uint64_t bits;
  if (size >= sizeof address) return false;
  memcpy(address, text, size);
  address[size] = '\0';
  if (!network_parse_address(address, &out->address)) return false;
  bool four = strchr(address, ':') == NULL;
  unsigned most = four ? 32 : 128;
  if (slash == NULL) bits = most;
  else if (!text_to_uint(slash + 1, strlen(slash + 1), &bits) || bits > most) return false;
  out->bits = (unsigned)bits + (four ? 96 : 0);
  return true;
}

bool network_holds(const network *n, const struct in6_addr *address) {
  size_t bytes = n->bits / 8;
  if (n->bits < 96 && IN6_IS_ADDR_V4MAPPED(address)) return false; /* "::/0" says nothing of IPv4 */
  if (memcmp(address->s6_addr, n->address.s6_addr, bytes) != 0) return false;
  unsigned rest = n->bits % 8;
  return rest == 0 || ((address->s6_addr[bytes] ^ n->address.s6_addr[bytes]) >> (8 - rest)) == 0;
}

bool network_from_socket(const struct sockaddr *from, size_t size, struct in6_addr *out) {
  struct sockaddr_in four;
  struct sockaddr_in6 six;
  if (size < sizeof from->sa_family) return false;
  if (from->sa_family == AF_INET && size >= sizeof four) {
    memcpy(&four, from, sizeof four);
    network_from_four((const unsigned char *)&four.sin_addr, out);
    return true;
  }
  if (from->sa_family != AF_INET6 || size < sizeof six) return false;
  memcpy(&six, from, sizeof six);
  *out = six.sin6_addr;
  return true;
}

void network_text(const struct in6_addr *address, char out[INET6_ADDRSTRLEN]) {
  if (IN6_IS_ADDR_V4MAPPED(address)) (void)inet_ntop(AF_INET, address->s6_addr + 12, out, INET6_ADDRSTRLEN);
  else (void)inet_ntop(AF_INET6, address, out, INET6_ADDRSTRLEN);
}

/* ---- Lists ------------------------------------------------------------------------------------------------------------------- */

void network_list_clear(network_list *list) {
  free(list->items);
  *list = (network_list){0};
}

bool network_list_set(network_list *list, const char *const *texts, size_t count, const char **bad) {
  network_list_clear(list);
  *bad = NULL;
  if (count == 0) return true;
  list->items = calloc(count, sizeof *list->items);
  if (list->items == NULL) return false;
  for (; list->count < count; list->count++) {
    if (network_parse(texts[list->count], &list->items[list->count])) continue;
    *bad = texts[list->count];
    network_list_clear(list);
    return false;
  }
  return true;
}

bool network_list_holds(const network_list *list, const struct in6_addr *address) {
  for (size_t i = 0; i < list->count; i++)
    if (network_holds(&list->items[i], address)) return true;
  return false;
}
