/* Where calls may go: the table of addresses, grants, and real calls to names whose addresses change. */
#include "client_harness.h"

#include <netdb.h>
#include <purlin/http.h>

/* ---- A resolver of our own, in the place of libc's ------------------------------------------------------------------------------------ */

static const char *resolved[2]; /* what "name.test" stands for now */
static atomic_uint resolutions;

static struct addrinfo *answer_of(const char *text, const char *service, struct addrinfo *next) {
  struct in_addr address;
  if (inet_pton(AF_INET, text, &address) != 1) return next;
  struct addrinfo *made = calloc(1, sizeof *made + sizeof(struct sockaddr_in));
  if (made == NULL) return next;
  struct sockaddr_in *socket_address = (struct sockaddr_in *)(void *)(made + 1);
  *socket_address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = address};
  socket_address->sin_port = htons((uint16_t)(service != NULL ? strtoul(service, NULL, 10) : 0));
  *made = (struct addrinfo){.ai_family = AF_INET,
                            .ai_socktype = SOCK_STREAM,
                            .ai_protocol = IPPROTO_TCP,
                            .ai_addrlen = sizeof *socket_address,
                            .ai_addr = (struct sockaddr *)socket_address,
                            .ai_next = next};
  return made;
}

__attribute__((visibility("default"))) int getaddrinfo(const char *restrict node, const char *restrict service,
                                                       const struct addrinfo *restrict hints,
                                                       struct addrinfo **restrict result) {
  (void)hints;
  *result = NULL;
  if (node == NULL || strcmp(node, "name.test") != 0) return EAI_NONAME;
  atomic_fetch_add(&resolutions, 1);
  for (size_t i = 2; i-- > 0;)
    if (resolved[i] != NULL) *result = answer_of(resolved[i], service, *result);
  return *result != NULL ? 0 : EAI_NONAME;
}

__attribute__((visibility("default"))) void freeaddrinfo(struct addrinfo *list) {
  while (list != NULL) {
    struct addrinfo *next = list->ai_next;
    free(list);
    list = next;
  }
}

static void resolve_to(const char *first, const char *second) {
  resolved[0] = first;
  resolved[1] = second;
}

/* ---- The table ------------------------------------------------------------------------------------------------------------------------- */

/* Each range with its first and last address, and its neighbours. */
static void addresses_are_known(void **unused) {
  (void)unused;
  static const struct {
    const char *address, *kind;
  } cases[] = {
      {"0.0.0.0", "unspecified"},
      {"0.255.255.255", "unspecified"},
      {"1.0.0.0", NULL},
      {"9.255.255.255", NULL},
      {"10.0.0.0", "private"},
      {"10.255.255.255", "private"},
      {"11.0.0.0", NULL},
      {"100.63.255.255", NULL},
      {"100.64.0.0", "shared"},
      {"100.127.255.255", "shared"},
      {"100.100.100.200", "metadata"},
      {"100.128.0.0", NULL},
      {"126.255.255.255", NULL},
      {"127.0.0.0", "loopback"},
      {"127.0.0.1", "loopback"},
      {"127.255.255.255", "loopback"},
      {"128.0.0.0", NULL},
      {"168.63.129.15", NULL},
      {"168.63.129.16", "metadata"},
      {"168.63.129.17", NULL},
      {"169.253.255.255", NULL},
      {"169.254.0.0", "link-local"},
      {"169.254.169.254", "metadata"},
      {"169.254.255.255", "link-local"},
      {"169.255.0.0", NULL},
      {"172.15.255.255", NULL},
      {"172.16.0.0", "private"},
      {"172.31.255.255", "private"},
      {"172.32.0.0", NULL},
      {"191.255.255.255", NULL},
      {"192.0.0.0", "reserved"},
      {"192.0.0.192", "metadata"},
      {"192.0.0.255", "reserved"},
      {"192.0.1.0", NULL},
      {"192.0.2.0", "documentation"},
      {"192.0.2.255", "documentation"},
      {"192.0.3.0", NULL},
      {"192.88.99.1", "reserved"},
      {"192.167.255.255", NULL},
      {"192.168.0.0", "private"},
      {"192.168.255.255", "private"},
      {"192.169.0.0", NULL},
      {"198.17.255.255", NULL},
      {"198.18.0.0", "benchmark"},
      {"198.19.255.255", "benchmark"},
      {"198.20.0.0", NULL},
      {"198.51.100.7", "documentation"},
      {"203.0.113.0", "documentation"},
      {"203.0.114.0", NULL},
      {"223.255.255.255", NULL},
      {"224.0.0.0", "multicast"},
      {"239.255.255.255", "multicast"},
      {"240.0.0.0", "reserved"},
      {"255.255.255.254", "reserved"},
      {"255.255.255.255", "broadcast"},
      {"::", "unspecified"},
      {"::1", "loopback"},
      {"::2", "reserved"},
      {"::127.0.0.1", "reserved"}, /* compatible */
      {"::8.8.8.8", "reserved"},
      {"::ffff:127.0.0.1", "loopback"}, /* mapped */
      {"::ffff:7f00:1", "loopback"},
      {"::ffff:10.1.2.3", "private"},
      {"::ffff:169.254.169.254", "metadata"},
      {"::ffff:8.8.8.8", NULL},
      {"::ffff:0:127.0.0.1", "reserved"}, /* translated */
      {"64:ff9b::127.0.0.1", "loopback"}, /* NAT64 */
      {"64:ff9b::a01:203", "private"},
      {"64:ff9b::8.8.8.8", NULL},
      {"64:ff9b:1::a01:203", "reserved"}, /* its local use */
      {"100::1", "reserved"},             /* discarded */
      {"1fff:ffff::", "reserved"},
      {"2000::", NULL},
      {"2001::1", "reserved"}, /* Teredo */
      {"2001:0:53aa:64c:0:0:f5ff:fffe", "reserved"},
      {"2001:1ff:ffff::", "reserved"},
      {"2001:200::", NULL},
      {"2001:db7:ffff::", NULL},
      {"2001:db8::", "documentation"},
      {"2001:db8:ffff:ffff::", "documentation"},
      {"2001:db9::", NULL},
      {"2001:4860:4860::8888", NULL},
      {"2002:7f00:1::", "loopback"}, /* 6to4 */
      {"2002:a00:1::1", "private"},
      {"2002:c0a8:101:1::1", "private"},
      {"2002:a9fe:a9fe::", "metadata"},
      {"2002:808:808::1", NULL},
      {"3ffe:ffff::", NULL},
      {"3fff::", "documentation"},
      {"3fff:fff:ffff::", "documentation"},
      {"3fff:1000::", NULL},
      {"4000::", "reserved"},
      {"5f00::1", "reserved"},
      {"fbff::1", "reserved"},
      {"fc00::", "private"},
      {"fd00:ec2::254", "metadata"},
      {"fd20:ce::254", "metadata"},
      {"fdff:ffff::1", "private"},
      {"fe00::1", "reserved"},
      {"fe80::1", "link-local"},
      {"febf:ffff::", "link-local"},
      {"fec0::1", "site-local"},
      {"feff:ffff::", "site-local"},
      {"ff02::1", "multicast"},
      {"ffff::", "multicast"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const char *kind = outbound_kind(cases[i].address), *expected = cases[i].kind;
    bool same_kind = kind == NULL || expected == NULL ? kind == expected : strcmp(kind, expected) == 0;
    if (!same_kind) print_error("%s is %s\n", cases[i].address, kind != NULL ? kind : "public");
    assert_true(same_kind);
  }
}

/* ---- Grants ---------------------------------------------------------------------------------------------------------------------------- */

static bool permits(const char *host, uint16_t port, const char *address) {
  struct sockaddr_in four = {.sin_family = AF_INET};
  struct sockaddr_in6 six = {.sin6_family = AF_INET6};
  if (inet_pton(AF_INET, address, &four.sin_addr) == 1)
    return purlin_outbound_permits(host, port, (const struct sockaddr *)&four, sizeof four);
  assert_int_equal(inet_pton(AF_INET6, address, &six.sin6_addr), 1);
  return purlin_outbound_permits(host, port, (const struct sockaddr *)&six, sizeof six);
}

static void grant(const char *one) {
  buffer why = {0};
  assert_int_equal(outbound_begin(&one, 1, &why), PURLIN_OK);
  buffer_free(&why);
}

static void grants_fit_exactly(void **unused) {
  (void)unused;
  static const struct {
    const char *grant, *host, *address;
    uint16_t port;
    bool permitted;
  } cases[] = {
      {"10.1.0.0/16", "x", "10.1.255.255", 80, true},
      {"10.1.0.0/16", "x", "10.2.0.0", 80, false},
      {"10.1.0.0/16:443", "x", "10.1.2.3", 443, true},
      {"10.1.0.0/16:443", "x", "10.1.2.3", 80, false},
      {"10.1.2.3", "x", "10.1.2.3", 1, true},
      {"10.1.2.3", "x", "::ffff:10.1.2.3", 1, true},
      {"::ffff:10.1.2.3", "x", "10.1.2.3", 1, true},
      {"10.1.2.3", "x", "10.1.2.4", 1, false},
      {"10.1.2.3", "x", "64:ff9b::10.1.2.3", 1, false},
      {"10.1.2.3", "x", "2002:a01:203::", 1, false},
      {"127.0.0.1:9000", "x", "127.0.0.1", 9000, true},
      {"127.0.0.1:9000", "x", "127.0.0.1", 9001, false},
      {"127.0.0.1:9000", "x", "127.0.0.2", 9000, false},
      {"fd00::/8", "x", "fd12::1", 80, true},
      {"fd00::/8", "x", "fc00::1", 80, false},
      {"[fd00::]/8", "x", "fd12::1", 80, true},
      {"[fd00::]/8:443", "x", "fd12::1", 443, true},
      {"[fd00::]/8:443", "x", "fd12::1", 80, false},
      {"fd00::/8:443", "x", "fd12::1", 80, false},
      {"[::1]:9000", "x", "::1", 9000, true},
      {"[::1]:9000", "x", "::1", 9001, false},
      {"::1", "x", "::1", 7, true},
      {"[::1]", "x", "127.0.0.1", 7, false},
      {"::/0", "x", "fe80::1", 7, true},
      {"::/0", "x", "10.0.0.1", 7, false}, /* IPv6 only */
      {"0.0.0.0/0", "x", "169.254.169.254", 7, true},
      {"0.0.0.0/0", "x", "::1", 7, false},
      {"mail.internal:25", "mail.internal", "10.9.9.9", 25, true},
      {"mail.internal:25", "MAIL.Internal.", "10.9.9.9", 25, true},
      {"Mail.internal.:25", "mail.internal", "10.9.9.9", 25, true},
      {"mail.internal:25", "mail.internal", "10.9.9.9", 26, false},
      {"mail.internal:25", "x.mail.internal", "10.9.9.9", 25, false},
      {"mail.internal:25", "mail.internal.evil", "10.9.9.9", 25, false},
      {"mail.internal:25", "", "10.9.9.9", 25, false},
      {"mail.internal:25", NULL, "10.9.9.9", 25, false},
      {"mail.internal", "mail.internal", "127.0.0.1", 4711, true},
      {"mail.internal", "mail.internal", "fd00::1", 4711, true},
      {"mail.internal", "mail.internal", "100.64.1.1", 4711, true},
      /* What a name must not lead to, whoever answers for it. */
      {"mail.internal", "mail.internal", "169.254.169.254", 80, false},
      {"mail.internal", "mail.internal", "169.254.1.1", 80, false},
      {"mail.internal", "mail.internal", "fe80::1", 80, false},
      {"mail.internal", "mail.internal", "0.0.0.0", 80, false},
      {"mail.internal", "mail.internal", "224.0.0.1", 80, false},
      {"mail.internal", "mail.internal", "64:ff9b::10.0.0.1", 80, false},
      {"169.254.169.254:80", "mail.internal", "169.254.169.254", 80, true},
      {"1.1.1.1", "public.example", "8.8.8.8", 53, true}, /* public needs none */
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    grant(cases[i].grant);
    bool permitted = permits(cases[i].host, cases[i].port, cases[i].address);
    if (permitted != cases[i].permitted) print_error("%s: %s\n", cases[i].grant, cases[i].address);
    assert_int_equal(permitted, cases[i].permitted);
  }
  outbound_end();
  assert_false(permits("127.0.0.1", 80, "127.0.0.1"));
  assert_true(permits("8.8.8.8", 80, "8.8.8.8"));
}

static void grants_that_are_none(void **unused) {
  (void)unused;
  static const char *const bad[] = {
      "",
      "10.0.0.0/33",
      "10.0.0.0/",
      "10.0.0.0/-1",
      "10.0.0/8",
      "10.0.0",
      "127.1",
      "0x7f.1",
      "2130706433",
      "fd00::/129",
      "[fd00::",
      "[10.0.0.1]",
      "[name]",
      "::1]",
      "10.0.0.1:0",
      "name:65536",
      "name:",
      "name:x",
      "name/8",
      "na me",
      "http://name",
      "*.internal",
      "-name",
      "name..internal",
      "name:1:2",
      "10.0.0.1:80:90",
      ".",
      "a_very_long_name_a_very_long_name_a_very_long_name_a_very_long_name_a_very_long_name_a_very_long_name_a_very_long_name_a_very_long_"
      "name_a_very_long_name_a_very_long_name_a_very_long_name_a_very_long_name_a_very_long_name_a_very_long_name_a_very_long_name_end"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    buffer why = {0};
    purlin_status status = outbound_begin(&bad[i], 1, &why);
    if (status != PURLIN_INVALID) print_error("'%s' was taken\n", bad[i]);
    assert_int_equal(status, PURLIN_INVALID);
    assert_non_null(strstr(buffer_end(&why), "is no address, network or name"));
    buffer_free(&why);
  }
}

static void other_families_are_refused(void **unused) {
  (void)unused;
  static const struct sockaddr local = {.sa_family = AF_UNIX};
  static const struct sockaddr_in cut = {.sin_family = AF_INET};
  grant("0.0.0.0/0");
  assert_false(purlin_outbound_permits("x", 1, &local, sizeof local));
  assert_false(purlin_outbound_permits("x", 1, (const struct sockaddr *)&cut, sizeof cut - 1));
  assert_false(purlin_outbound_permits("x", 1, &local, 0));
  outbound_end();
}

/* ---- Calls ----------------------------------------------------------------------------------------------------------------------------- */

static void refused_calls(purlin_ctx *ctx, void *unused) {
  (void)unused;
  static const char *const hosts[] = {"127.0.0.1", "localhost",  "0x7f.1",
                                      "127.1",     "2130706433", "0177.0.0.1",
                                      "127.0.0.9", "[::1]",      "[::ffff:127.0.0.1]",
                                      "0.0.0.0",   "0",          "169.254.169.254",
                                      "10.0.0.1",  "[fe80::1]",  "[64:ff9b::7f00:1]",
                                      "name.test"};
  unsigned before = server_accepted();
  double counted = metrics_value("purlin_client_forbidden_total");
  resolve_to("10.20.30.40", NULL);
  for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
    purlin_http_answer a;
    const char *url = purlin_format(ctx, "http://%s:%u/ok", hosts[i], server.port);
    purlin_clear_failure(ctx);
    purlin_status status = purlin_http(ctx, &(purlin_http_call){.url = url, .retries = 3}, &a);
    if (status != PURLIN_FORBIDDEN) print_error("%s: %d %s\n", hosts[i], (int)status, purlin_failure(ctx));
    CHECK(status == PURLIN_FORBIDDEN && a.attempts == 1 && a.status == 0);
    CHECK(same(client_breaker_state(url), "closed"));
    CHECK(strstr(purlin_failure(ctx), "outbound { allow = ") != NULL);
  }
  CHECK(strstr(purlin_failure(ctx), "name.test") != NULL && strstr(purlin_failure(ctx), "10.20.30") == NULL);
  CHECK(server_accepted() == before);
  CHECK(metrics_value("purlin_client_forbidden_total") >= counted + (double)(sizeof hosts / sizeof hosts[0]));
}

static void calls_inside_are_refused(void **unused) {
  (void)unused;
  allowed_count = 0;
  options.breaker_failures = 1; /* one failure would open it */
  run(refused_calls);
}

static void call_name(purlin_ctx *ctx, void *expected) {
  purlin_http_answer a;
  const char *url = purlin_format(ctx, "http://name.test:%u/ok", server.port);
  purlin_status status = purlin_http(ctx, &(purlin_http_call){.url = url}, &a);
  if (status != *(const purlin_status *)expected) print_error("%d: %s\n", (int)status, purlin_failure(ctx));
  CHECK(status == *(const purlin_status *)expected);
}

static void call_name_expecting(purlin_status expected) {
  job one = {.run = call_name, .argument = &expected};
  run_jobs(1, &one, 1);
}

/* A port on which the scripted server is not: who connects there is seen. */
static int listen_beside(void) {
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)server.port)};
  assert_int_equal(inet_pton(AF_INET, "127.0.0.9", &address.sin_addr), 1);
  assert_true(listener >= 0 && bind(listener, (struct sockaddr *)&address, sizeof address) == 0 &&
              listen(listener, 8) == 0);
  return listener;
}

static bool somebody_came(int listener) {
  int came = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  if (came >= 0) (void)close(came);
  return came >= 0;
}

static void names_are_judged_by_their_addresses(void **unused) {
  (void)unused;
  int beside = listen_beside();
  unsigned before = atomic_load(&resolutions);
  resolve_to("127.0.0.1", NULL); /* granted */
  call_name_expecting(PURLIN_OK);
  resolve_to("127.0.0.9", NULL); /* the same name, a moment later */
  call_name_expecting(PURLIN_FORBIDDEN);
  assert_false(somebody_came(beside));
  resolve_to("127.0.0.9", "127.0.0.1"); /* both: only the one that is granted is connected to */
  call_name_expecting(PURLIN_OK);
  assert_false(somebody_came(beside));
  resolve_to("127.0.0.9", "10.1.2.3");
  call_name_expecting(PURLIN_FORBIDDEN);
  assert_false(somebody_came(beside));
  static const char *const by_name[] = {"name.test"};
  allowed = by_name; /* wherever it leads, inside */
  resolve_to("127.0.0.1", NULL);
  call_name_expecting(PURLIN_OK);
  resolve_to("169.254.169.254", NULL);
  call_name_expecting(PURLIN_FORBIDDEN);
  assert_true(atomic_load(&resolutions) >= before + 6);
  (void)close(beside);
}

static void redirected(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_http_answer a;
  unsigned before = server_requests("/ok", 0);
  CHECK(get(ctx, "/redirect", &a) == PURLIN_OK && a.status == 302 && a.attempts == 1);
  CHECK(server_requests("/ok", 0) == before);
}

static void redirects_lead_nowhere(void **unused) {
  (void)unused;
  run(redirected);
}

/* ---- Proxies of the environment --------------------------------------------------------------------------------------------------------- */

static void by_proxy(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_http_answer a;
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = "http://only.the.proxy.knows/ok"}, &a) == PURLIN_OK && a.status == 404);
  unsigned before = server_accepted();
  static const char *const literal[] = {"http://10.0.0.1/ok", "http://[fd00::1]/ok", "http://[fe80::1%25lo]/ok",
                                        "http://0x0a.1/ok", "http://127.1:1/ok"};
  for (size_t i = 0; i < sizeof literal / sizeof literal[0]; i++) {
    purlin_status status = purlin_http(ctx, &(purlin_http_call){.url = literal[i]}, &a);
    if (i < 4) CHECK(status == PURLIN_FORBIDDEN);
    else CHECK(status == PURLIN_UNAVAILABLE); /* granted, and nobody is there */
  }
  CHECK(server_accepted() == before);
}

static void not_by_proxy(purlin_ctx *ctx, void *expected) {
  purlin_http_answer a;
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = "http://only.the.proxy.knows/ok"}, &a) ==
        *(const purlin_status *)expected);
}

static void proxies_only_where_wanted(void **unused) {
  (void)unused;
  char proxy[64];
  (void)snprintf(proxy, sizeof proxy, "http://127.0.0.1:%u", server.port);
  assert_int_equal(setenv("http_proxy", proxy, 1), 0);
  options.environment_proxies = true;
  run(by_proxy);
  purlin_status expected = PURLIN_FORBIDDEN; /* the proxy is inside, and not granted */
  allowed_count = 0;
  job one = {.run = not_by_proxy, .argument = &expected};
  run_jobs(1, &one, 1);
  expected = PURLIN_UNAVAILABLE;
  options.environment_proxies = false;
  allowed_count = 1;
  unsigned before = server_accepted();
  run_jobs(1, &one, 1);
  assert_int_equal(server_accepted(), before);
  assert_int_equal(unsetenv("http_proxy"), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(addresses_are_known),        TEST(grants_fit_exactly),        TEST(grants_that_are_none),
      TEST(other_families_are_refused), TEST(calls_inside_are_refused),  TEST(names_are_judged_by_their_addresses),
      TEST(redirects_lead_nowhere),     TEST(proxies_only_where_wanted),
  };
  return cmocka_run_group_tests_name("outbound", tests, before_all, after_all);
}
