#include "network.h"
#include <arpa/inet.h>
#include <string.h>

void network_of(const char *address, char out[NETWORK_ROOM]) {
  struct in6_addr six;
  if (inet_pton(AF_INET6, address, &six) == 1 && !IN6_IS_ADDR_V4MAPPED(&six)) {
    memset(six.s6_addr + 8, 0, 8);
    if (inet_ntop(AF_INET6, &six, out, NETWORK_ROOM)) return;
  }
  size_t size = strnlen(address, NETWORK_ROOM - 1);
  memcpy(out, address, size);
  out[size] = '\0';
}
