/* crowd.c: how many connections one address has.
 *
 * Without a bound one client takes all of max_connections, and nobody else gets in. An address of IPv6 stands for its /64, since
 * whoever has one has the others. Proxies that are trusted bring many clients, so they are not counted. */
#include "http/connection.h"

#include "core/network.h"
#include "core/text.h"

#include <pthread.h>
#include <stdlib.h>

#define BUCKETS 1024

typedef struct crowd {
  struct crowd *next;
  struct in6_addr address;
  size_t count;
} crowd;

/* Entered on loop 0, left on the loops of the connections: twice in a connection's life, so a lock costs nothing. */
static struct {
  pthread_mutex_t lock;
  crowd *buckets[BUCKETS];
} table = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* False: not counted. */
static bool key_of(const char *address, struct in6_addr *out) {
  if (http_settings.max_per_address == 0 || !network_parse_address(address, out)) return false;
  if (proxies_trust(out)) return false;
  if (!IN6_IS_ADDR_V4MAPPED(out)) memset(out->s6_addr + 8, 0, 8);
  return true;
}

static crowd **place_of(const struct in6_addr *address) {
  crowd **place = &table.buckets[text_hash(address, sizeof *address) % BUCKETS];
  while (*place != NULL && memcmp(&(*place)->address, address, sizeof *address) != 0) place = &(*place)->next;
  return place;
}

static bool enter(const struct in6_addr *address) {
  crowd **place = place_of(address);
  if (*place == NULL) {
    *place = calloc(1, sizeof **place);
    if (*place == NULL) return false;
    (*place)->address = *address;
  }
  if ((*place)->count >= http_settings.max_per_address) return false;
  (*place)->count++;
  return true;
}

bool crowd_enter(const char *address) {
  struct in6_addr key;
  if (!key_of(address, &key)) return true;
  pthread_mutex_lock(&table.lock);
  bool entered = enter(&key);
  pthread_mutex_unlock(&table.lock);
  return entered;
}

void crowd_leave(const char *address) {
  struct in6_addr key;
  if (!key_of(address, &key)) return;
  pthread_mutex_lock(&table.lock);
  crowd **place = place_of(&key), *found = *place;
  if (found != NULL && --found->count == 0) {
    *place = found->next;
    free(found);
  }
  pthread_mutex_unlock(&table.lock);
}
