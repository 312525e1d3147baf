/* TLS on the loops: both versions, back-pressure, key updates, ends that can be told from cuts, time-outs, renewal under load. */
#include "http_harness.h"

#include "http/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#define H "Host: localhost\r\n"
#define MUCH ((size_t)8 * 1000 * 1000)

/* ---- Handlers ---------------------------------------------------------------------------------------------------------------------- */

static purlin_status hello(purlin_ctx *ctx, purlin_request *request) {
  return purlin_respond_bytes(ctx, request, 200, "text/plain", "hello", 5);
}

static purlin_status count_body(purlin_ctx *ctx, purlin_request *request) {
  char block[10000], text[32];
  size_t got, all = 0;
  purlin_status status;
  while ((status = purlin_read(ctx, request, block, sizeof block, &got)) == PURLIN_OK && got > 0) all += got;
  if (status != PURLIN_OK) return status;
  return purlin_respond_bytes(ctx, request, 200, "text/plain", text, (size_t)snprintf(text, sizeof text, "%zu", all));
}

static purlin_status write_much(purlin_ctx *ctx, purlin_request *request) {
  static const char block[100000];
  purlin_status status = purlin_respond_begin(ctx, request, 200, "text/plain", -1);
  for (size_t sent = 0; sent < MUCH && status == PURLIN_OK; sent += sizeof block)
    status = purlin_write(ctx, request, block, sizeof block);
  return status;
}

static purlin_status write_less(purlin_ctx *ctx, purlin_request *request) {
  purlin_status status = purlin_respond_begin(ctx, request, 200, "text/plain", 1000);
  if (status == PURLIN_OK) status = purlin_write(ctx, request, "less", 4);
  return status == PURLIN_OK ? purlin_fail(ctx, PURLIN_UNAVAILABLE, "on purpose") : status;
}

static const test_route routes[] = {
    {"GET /hello", hello, 0, 0},
    {"POST /count", count_body, 100000000, 0},
    {"GET /much", write_much, 0, UINT32_MAX},
    {"GET /less", write_less, 0, 0},
};

/* ---- Certificates ------------------------------------------------------------------------------------------------------------------- */

static char folder[] = "/tmp/purlin-tls-XXXXXX", certificate[64], key[64];

static void write_pair(int64_t begins_s, int64_t lasts_s) {
  EVP_PKEY *pair = EVP_EC_gen("P-256");
  X509 *made = X509_new();
  assert_non_null(pair);
  assert_non_null(made);
  static long serial;
  assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(made), ++serial), 1);
  assert_non_null(X509_gmtime_adj(X509_getm_notBefore(made), begins_s));
  assert_non_null(X509_gmtime_adj(X509_getm_notAfter(made), begins_s + lasts_s));
  X509_NAME *name = X509_get_subject_name(made);
  assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0), 1);
  assert_int_equal(X509_set_issuer_name(made, name), 1);
  assert_int_equal(X509_set_pubkey(made, pair), 1);
  assert_true(X509_sign(made, pair, EVP_sha256()) > 0);
  FILE *file = fopen(certificate, "we");
  assert_true(file != NULL && PEM_write_X509(file, made) == 1 && fclose(file) == 0);
  file = fopen(key, "we");
  assert_true(file != NULL && PEM_write_PrivateKey(file, pair, NULL, NULL, 0, NULL, NULL) == 1 && fclose(file) == 0);
  X509_free(made);
  EVP_PKEY_free(pair);
}

static const tls_options settings = {.certificate = certificate, .key = key, .minimum = "1.2"};

static int make_folder(void **state) {
  (void)state;
  if (mkdtemp(folder) == NULL) return -1;
  (void)snprintf(certificate, sizeof certificate, "%s/c.pem", folder);
  (void)snprintf(key, sizeof key, "%s/k.pem", folder);
  return 0;
}

static int remove_folder(void **state) {
  (void)state;
  (void)unlink(certificate);
  (void)unlink(key);
  return rmdir(folder);
}

static void begin_secure(const http_options *options, size_t loops) {
  http_options secure = *options;
  buffer why = {0};
  secure.tls = true;
  write_pair(-3600, 86400 * 90);
  if (tls_begin(&settings, &why) != PURLIN_OK) fail_msg("%s", buffer_end(&why));
  server_begin(&secure, loops, routes, sizeof routes / sizeof routes[0]);
}

static void end_secure(void) {
  server_end();
  tls_end();
}

/* ---- A client ----------------------------------------------------------------------------------------------------------------------- */

typedef struct secure_client {
  SSL_CTX *context;
  SSL *ssl;
  int fd;
} secure_client;

/* A connection without the assertions of cmocka, which belong to its own thread. */
static bool connect_secure(secure_client *c, int version, int receive_bytes) {
  c->fd = dial_small(receive_bytes);
  c->context = SSL_CTX_new(TLS_client_method());
  if (c->context == NULL || SSL_CTX_set_max_proto_version(c->context, version) != 1) return false;
  c->ssl = SSL_new(c->context);
  return c->ssl != NULL && SSL_set_fd(c->ssl, c->fd) == 1 && SSL_connect(c->ssl) == 1;
}

static void hang_up_secure(secure_client *c) {
  SSL_free(c->ssl);
  SSL_CTX_free(c->context);
  close(c->fd);
  ERR_clear_error();
}

static secure_client dial_secure(int version, int receive_bytes) {
  secure_client c;
  if (!connect_secure(&c, version, receive_bytes)) fail_msg("%s", ERR_reason_error_string(ERR_get_error()));
  return c;
}

static void say(secure_client *c, const char *text) {
  assert_int_equal(SSL_write(c->ssl, text, (int)strlen(text)), (int)strlen(text));
}

/* Reads until it holds `until`, and returns how much came. */
static size_t hear(secure_client *c, const char *until) {
  char text[20000], tail[64] = "";
  size_t all = 0;
  for (int got; strstr(tail, until) == NULL; all += (size_t)got) {
    got = SSL_read(c->ssl, text, sizeof text - 1);
    if (got <= 0) fail_msg("%zu bytes came, then: %d", all, SSL_get_error(c->ssl, got));
    size_t kept = (size_t)got < sizeof tail ? (size_t)got : sizeof tail - 1;
    memcpy(tail, text + got - kept, kept);
    tail[kept] = '\0';
  }
  return all;
}

/* How the connection ends: SSL_ERROR_ZERO_RETURN is a goodbye, anything else a cut. */
static int how_it_ends(secure_client *c) {
  char text[4096];
  int got;
  while ((got = SSL_read(c->ssl, text, sizeof text)) > 0) {}
  return SSL_get_error(c->ssl, got);
}

/* ---- What should work ------------------------------------------------------------------------------------------------------------------ */

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static void requests_in_both_versions(void **state) {
  (void)state;
  http_options options = test_options();
  begin_secure(&options, 2);
  for (size_t i = 0; i < 2; i++) {
    secure_client c = dial_secure(versions[i], 0);
    assert_int_equal(SSL_version(c.ssl), versions[i]);
    for (int n = 0; n < 3; n++) {
      say(&c, "GET /hello HTTP/1.1\r\n" H "\r\n");
      (void)hear(&c, "hello");
    }
    char *body = calloc(1, 3000001);
    assert_non_null(body);
    memset(body, 'x', 3000000);
    say(&c, "POST /count HTTP/1.1\r\n" H "Content-Length: 3000000\r\n\r\n");
    say(&c, body);
    (void)hear(&c, "\r\n\r\n3000000");
    free(body);
    hang_up_secure(&c);
  }
  end_secure();
}

static void a_slow_reader_gets_everything(void **state) {
  (void)state;
  http_options options = test_options();
  begin_secure(&options, 1);
  for (size_t i = 0; i < 2; i++) {
    secure_client c = dial_secure(versions[i], 8192);
    say(&c, "GET /much HTTP/1.1\r\n" H "\r\n");
    pause_ms(200); /* the server's buffers fill up */
    assert_true(hear(&c, "0\r\n\r\n") > MUCH);
    say(&c, "GET /hello HTTP/1.1\r\n" H "\r\n");
    (void)hear(&c, "hello");
    hang_up_secure(&c);
  }
  end_secure();
}

static void keys_can_be_updated(void **state) {
  (void)state;
  http_options options = test_options();
  begin_secure(&options, 1);
  secure_client c = dial_secure(TLS1_3_VERSION, 0);
  for (int i = 0; i < 200; i++) {
    assert_int_equal(SSL_key_update(c.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    assert_int_equal(SSL_do_handshake(c.ssl), 1);
  }
  say(&c, "GET /hello HTTP/1.1\r\n" H "\r\n");
  (void)hear(&c, "hello");
  hang_up_secure(&c);
  end_secure();
}

/* ---- Ends ------------------------------------------------------------------------------------------------------------------------------- */

static void an_end_can_be_told_from_a_cut(void **state) {
  (void)state;
  http_options options = test_options();
  options.idle_timeout_ms = 400;
  begin_secure(&options, 1);
  for (size_t i = 0; i < 2; i++) {
    secure_client idle = dial_secure(versions[i], 0), last = dial_secure(versions[i], 0), cut = dial_secure(versions[i], 0);
    say(&last, "GET /hello HTTP/1.1\r\n" H "Connection: close\r\n\r\n");
    assert_int_equal(how_it_ends(&last), SSL_ERROR_ZERO_RETURN);
    say(&cut, "GET /less HTTP/1.1\r\n" H "\r\n");
    assert_int_not_equal(how_it_ends(&cut), SSL_ERROR_ZERO_RETURN);
    assert_int_equal(how_it_ends(&idle), SSL_ERROR_ZERO_RETURN);
    hang_up_secure(&idle);
    hang_up_secure(&last);
    hang_up_secure(&cut);
  }
  secure_client drained = dial_secure(TLS1_3_VERSION, 0);
  say(&drained, "GET /hello HTTP/1.1\r\n" H "\r\n"); /* without an answer the server may still be in the handshake */
  (void)hear(&drained, "hello");
  server_drain(3000);
  assert_int_equal(how_it_ends(&drained), SSL_ERROR_ZERO_RETURN);
  hang_up_secure(&drained);
  server_join();
  tls_end();
}

static void handshakes_end_in_time(void **state) {
  (void)state;
  static const char *const beginnings[] = {"", "\x16", "\x16\x03\x01\x02", "\x16\x03\x01\x02\x01\x01"};
  http_options options = test_options();
  options.header_timeout_ms = 300;
  begin_secure(&options, 1);
  client idle[4];
  uint64_t began = now_ms();
  for (size_t i = 0; i < 4; i++) {
    idle[i] = (client){.fd = dial()};
    send_text(idle[i].fd, beginnings[i]);
  }
  for (size_t i = 0; i < 4; i++) {
    while (!at_end(&idle[i])) buffer_clear(&idle[i].in);
    hang_up(&idle[i]);
  }
  assert_true(now_ms() - began < 3000);
  /* Bytes that keep coming do not make it longer. */
  client drip = {.fd = dial()};
  began = now_ms();
  send_text(drip.fd, "\x16\x03\x01\x02");
  while (send(drip.fd, "\x01", 1, MSG_NOSIGNAL) == 1 && now_ms() - began < 5000) pause_ms(20);
  assert_true(now_ms() - began < 3000);
  hang_up(&drip);
  end_secure();
}

/* A connection that has been answered and lingers, so that the answer arrives, does so for two seconds whatever comes. */
static void garbage_does_not_prolong_an_end(void **state) {
  (void)state;
  http_options options = test_options();
  begin_secure(&options, 1);
  secure_client c = dial_secure(TLS1_3_VERSION, 0);
  say(&c, "GET /hello HTTP/1.1\r\n" H "Connection: close\r\n\r\nGET /more");
  assert_int_equal(how_it_ends(&c), SSL_ERROR_ZERO_RETURN);
  uint64_t began = now_ms();
  while (send(c.fd, "\x17\x03\x03\x00\x05hello", 10, MSG_NOSIGNAL) == 10 && now_ms() - began < 8000) pause_ms(50);
  assert_true(now_ms() - began < 7000);
  hang_up_secure(&c);
  end_secure();
}

static void clear_text_is_told(void **state) {
  (void)state;
  http_options options = test_options();
  begin_secure(&options, 1);
  client c = {.fd = dial()};
  send_text(c.fd, "GET /hello HTTP/1.1\r\n" H "\r\n");
  answer a = next_answer(&c, false);
  assert_int_equal(a.status, 400);
  assert_non_null(strstr(a.body, "this port speaks TLS"));
  assert_true(at_end(&c));
  answer_free(&a);
  hang_up(&c);
  end_secure();
}

/* ---- Renewal ------------------------------------------------------------------------------------------------------------------------------ */

static atomic_bool renewing;
static atomic_int failures, served;

static void *ask_again_and_again(void *unused) {
  (void)unused;
  while (atomic_load(&renewing)) {
    secure_client c;
    char text[1000];
    static const char request[] = "GET /hello HTTP/1.1\r\n" H "Connection: close\r\n\r\n";
    bool good = connect_secure(&c, TLS1_3_VERSION, 0) && SSL_write(c.ssl, request, sizeof request - 1) > 0 &&
                SSL_read(c.ssl, text, sizeof text) > 0;
    atomic_fetch_add(good ? &served : &failures, 1);
    hang_up_secure(&c);
  }
  return NULL;
}

static atomic_int reloaded;

static void reload(purlin_ctx *ctx, void *unused) {
  (void)unused;
  tls_reload(ctx);
  atomic_fetch_add(&reloaded, 1);
}

static void begin_reload(void *unused) {
  (void)unused;
  if (context_start("test", "reload", reload, NULL) != PURLIN_OK) atomic_fetch_add(&failures, 1);
}

static void reload_now(void) {
  static loop_post_item item;
  int before = atomic_load(&reloaded);
  item = (loop_post_item){.call = begin_reload};
  loop_post(loop_at(0), &item);
  while (atomic_load(&reloaded) == before) pause_ms(2);
}

static void certificates_change_under_load(void **state) {
  (void)state;
  http_options options = test_options();
  begin_secure(&options, 2);
  pthread_t threads[2];
  atomic_store(&renewing, true);
  for (size_t i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, ask_again_and_again, NULL), 0);
  buffer why = {0};
  for (int i = 0; i < 10; i++) {
    unsigned generation = tls_generation();
    write_pair(i % 2 == 0 ? -3600 : 3600, 86400 * 90); /* every other one begins only later */
    reload_now();
    assert_int_equal(tls_generation(), generation + (i % 2 == 0 ? 1 : 0));
    buffer_clear(&why);
    assert_int_equal(tls_complaint(&why), i % 2 == 1);
  }
  assert_non_null(strstr(buffer_end(&why), "begins only at"));
  buffer_free(&why);
  pause_ms(100);
  atomic_store(&renewing, false);
  for (size_t i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  assert_int_equal(atomic_load(&failures), 0);
  assert_true(atomic_load(&served) > 10);
  end_secure();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(requests_in_both_versions),
      cmocka_unit_test(a_slow_reader_gets_everything),
      cmocka_unit_test(keys_can_be_updated),
      cmocka_unit_test(an_end_can_be_told_from_a_cut),
      cmocka_unit_test(handshakes_end_in_time),
      cmocka_unit_test(clear_text_is_told),
      cmocka_unit_test(garbage_does_not_prolong_an_end),
      cmocka_unit_test(certificates_change_under_load),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
