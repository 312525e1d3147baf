/* network.h: addresses and networks of the Internet, as settings name them: whose word counts (trusted_proxies), where calls may go
 * (outbound), who may read (metrics).
 *
 * Every address is held as IPv6; one of IPv4 is mapped (::ffff:a.b.c.d), and so are its networks. So what was mapped already is the
 * same address, however it was written. */
#ifndef PURLIN_CORE_NETWORK_H
#define PURLIN_CORE_NETWORK_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

struct sockaddr;

typedef struct network {
  struct in6_addr address;
  unsigned bits; /* of IPv4: 96 more than were written */
} network;

/* "10.1.2.3", "fd00::1"; four parts, all decimal: nothing that only resolvers read as an address. */
bool network_parse_address(const char *text, struct in6_addr *out);
/* The same, or with the bits that count: "10.0.0.0/8", "fd00::/8". */
bool network_parse(const char *text, network *out);
bool network_holds(const network *n, const struct in6_addr *address);
/* False: of another family than these two, or cut off. */
bool network_from_socket(const struct sockaddr *from, size_t size, struct in6_addr *out);
void network_from_four(const unsigned char from[4], struct in6_addr *out);

/* Networks as a setting lists them; written at start only. */
typedef struct network_list {
  network *items;
  size_t count;
} network_list;
/* Replaces what was there. False: *bad is the first text that is none, or NULL: no memory. The list is then empty. */
bool network_list_set(network_list *list, const char *const *texts, size_t count, const char **bad);
void network_list_clear(network_list *list);
bool network_list_holds(const network_list *list, const struct in6_addr *address);

/* As people write it, IPv4 without its map. */
void network_text(const struct in6_addr *address, char out[INET6_ADDRSTRLEN]);

#endif
