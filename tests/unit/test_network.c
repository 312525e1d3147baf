/* Addresses as what is counted by. */
#include "network.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

static void an_address_of_ipv6_is_its_network(void **state) {
  (void)state;
  static const struct {
    const char *address, *network;
  } cases[] = {
      {"198.51.100.7", "198.51.100.7"},
      {"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"},
      {"2001:db8:1:2::", "2001:db8:1:2::"},
      {"2001:DB8:1:2::ffff", "2001:db8:1:2::"},
      {"fe80::1", "fe80::"},
      {"::1", "::"},
      {"::ffff:198.51.100.7", "::ffff:198.51.100.7"}, /* IPv4 in other words */
      {"", ""},
      {"unix", "unix"},
      {"2001:db8::1%eth0", "2001:db8::1%eth0"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char network[NETWORK_ROOM];
    network_of(cases[i].address, network);
    assert_string_equal(network, cases[i].network);
  }
}

static void what_is_too_long_is_cut(void **state) {
  (void)state;
  char address[200], network[NETWORK_ROOM];
  memset(address, 'x', sizeof address);
  address[sizeof address - 1] = '\0';
  network_of(address, network);
  assert_int_equal(strlen(network), NETWORK_ROOM - 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_address_of_ipv6_is_its_network),
      cmocka_unit_test(what_is_too_long_is_cut),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
