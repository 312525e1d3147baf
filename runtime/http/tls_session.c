/* tls_session.c: the bytes of one TLS connection. What the socket gave lies in the loop's read buffer and is opened into a second buffer
 * of the loop, all of it at once; from there on it is as if it had come in the clear. What answers append is sealed when it is flushed.
 * Between two reads a session keeps at most the piece of a record that has not come whole. */
#include "http/connection.h"

#include "observe/log.h"

#include <purlin/metric.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdlib.h>

PURLIN_COUNTER(tls_handshakes_total, "TLS handshakes", "version, outcome");

/* A read's worth of records and one that was waiting to be whole. */
#define OPENED_BUFFER (HTTP_READ_BUFFER + (size_t)SSL3_RT_MAX_PLAIN_LENGTH + (size_t)1024)
#define HANDSHAKE_RECORD 0x16

struct tls_session {
  SSL *ssl; /* NULL until the first byte has come */
  http_home *home;
  const char *arrived; /* from the socket, during a read callback */
  size_t arrived_size;
  buffer sealed; /* for the socket, until the next flush */
  buffer client; /* the name in the client's certificate; empty: it has shown none */
  int64_t client_ends;
  bool ready;  /* the handshake is done */
  bool told;   /* our close_notify */
  bool failed; /* nothing can be opened or sealed any more */
};

/* ---- Between OpenSSL and our buffers ----------------------------------------------------------------------------------------------- */

static int give_arrived(BIO *bio, char *out, size_t size, size_t *got) {
  tls_session *t = BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  if (t->arrived_size == 0) {
    BIO_set_retry_read(bio);
    return 0;
  }
  *got = size < t->arrived_size ? size : t->arrived_size;
  memcpy(out, t->arrived, *got);
  t->arrived += *got;
  t->arrived_size -= *got;
  return 1;
}

static int take_sealed(BIO *bio, const char *data, size_t size, size_t *taken) {
  tls_session *t = BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  if (t->sealed.data == NULL) t->sealed = http_home_take_buffer(t->home);
  buffer_add(&t->sealed, data, size);
  *taken = size;
  return t->sealed.failed ? 0 : 1;
}

static long control(BIO *bio, int command, long number, void *pointer) {
  (void)bio;
  (void)number;
  (void)pointer;
  return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *method;

static void make_method(void) {
  method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "connection");
  if (method == NULL) return;
  if (BIO_meth_set_read_ex(method, give_arrived) == 1 && BIO_meth_set_write_ex(method, take_sealed) == 1 &&
      BIO_meth_set_ctrl(method, control) == 1)
    return;
  BIO_meth_free(method);
  method = NULL;
}

static BIO *make_bio(tls_session *t) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  (void)pthread_once(&once, make_method);
  BIO *bio = method == NULL ? NULL : BIO_new(method);
  if (bio == NULL) return NULL;
  BIO_set_data(bio, t);
  BIO_set_init(bio, 1);
  return bio;
}

/* ---- Beginning ------------------------------------------------------------------------------------------------------------------------ */

/* The context as this loop holds it, and the room to open records into. */
static SSL_CTX *context_here(http_home *home) {
  if (home->opened == NULL) home->opened = malloc(OPENED_BUFFER);
  if (home->opened == NULL) return NULL;
  if (home->tls == NULL || home->tls_generation != tls_generation()) {
    unsigned generation;
    SSL_CTX *newest = tls_current(&generation);
    if (newest != NULL) {
      SSL_CTX_free(home->tls);
      home->tls = newest;
      home->tls_generation = generation;
    }
  }
  return home->tls;
}

static bool begin(tls_session *t) {
  SSL_CTX *context = context_here(t->home);
  t->ssl = context == NULL ? NULL : SSL_new(context);
  BIO *bio = t->ssl == NULL ? NULL : make_bio(t);
  if (bio == NULL) return false;
  SSL_set_bio(t->ssl, bio, bio);
  SSL_set_accept_state(t->ssl);
  return true;
}

tls_session *tls_session_make(http_home *home) {
  tls_session *t = calloc(1, sizeof *t);
  if (t != NULL) t->home = home;
  return t;
}

void tls_session_free(tls_session *t) {
  if (t == NULL) return;
  SSL_free(t->ssl);
  buffer_free(&t->sealed);
  buffer_free(&t->client);
  free(t);
}

/* ---- Failing --------------------------------------------------------------------------------------------------------------------------- */

static void count(const tls_session *t, const char *outcome) {
  purlin_count(tls_handshakes_total, 1, t->ssl == NULL ? "" : SSL_get_version(t->ssl), outcome);
}

/* OpenSSL has put an alert into `sealed`: the peer may hear what it was before the connection ends. */
static void fail(http_connection *c) {
  tls_session *t = c->tls;
  if (log_enabled(PURLIN_DEBUG)) {
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    log_write(PURLIN_DEBUG, "tls", "%s: %s", c->address, reason == NULL ? "no reason was given" : reason);
  }
  ERR_clear_error();
  if (!t->ready) count(t, "failed");
  t->failed = true;
  c->in_size = 0;
  c->linger = true;
  if (c->exchange != NULL || c->stream != NULL) {
    connection_flush(c);
    connection_close(c);
    return;
  }
  if (c->state != CONNECTION_ENDING) connection_end(c); /* else its time is running out already */
  connection_turn(c);
}

/* Somebody speaks HTTP in the clear, as browsers do when the port was typed without https://. */
static void refuse_clear_text(http_connection *c) {
  tls_session_free(c->tls);
  c->tls = NULL;
  connection_refuse(c, HTTP_REFUSE(400, "this port speaks TLS: use https:// here"));
  connection_turn(c);
}

/* ---- Opening ----------------------------------------------------------------------------------------------------------------------------- */

/* With an optional certificate, one that is wrong has ended the handshake; here it is right, or there is none. */
static void take_client(tls_session *t) {
  const X509 *certificate = SSL_get0_peer_certificate(t->ssl);
  if (certificate == NULL || SSL_get_verify_result(t->ssl) != X509_V_OK) return;
  t->client_ends = tls_ends(certificate);
  if (!tls_client_name(certificate, &t->client)) buffer_free(&t->client);
  ERR_clear_error();
}

/* A certificate may end while its connection or its session lives. */
const char *http_request_certificate(const purlin_request *request) {
  tls_session *t = request->connection->tls;
  if (t == NULL || t->client.size == 0 || purlin_now_us() / 1000000 >= t->client_ends) return NULL;
  return buffer_end(&t->client);
}

static void note_handshake(http_connection *c) {
  tls_session *t = c->tls;
  if (t->ready || !SSL_is_init_finished(t->ssl)) return;
  t->ready = true;
  take_client(t);
  count(t, SSL_session_reused(t->ssl) ? "resumed" : "full");
  connection_wait_idle(c);
}

/* False: something went wrong, or the peer has said that it is done; *done tells which. */
static bool open_all(http_connection *c, size_t *size, bool *done) {
  tls_session *t = c->tls;
  char *out = c->home->opened;
  *size = 0;
  *done = false;
  ERR_clear_error();
  for (;;) {
    size_t got = 0;
    if (SSL_read_ex(t->ssl, out + *size, OPENED_BUFFER - *size, &got) == 1) {
      *size += got;
      if (t->arrived_size > 0 || SSL_pending(t->ssl) > 0) continue;
      note_handshake(c); /* another read would only make buffers, to find that there is nothing */
      return true;
    }
    int error = SSL_get_error(t->ssl, 0);
    note_handshake(c);
    if (error == SSL_ERROR_WANT_READ) return true;
    *done = error == SSL_ERROR_ZERO_RETURN;
    return false;
  }
}

static void open_and_go_on(http_connection *c) {
  tls_session *t = c->tls;
  size_t size;
  bool done, whole = open_all(c, &size, &done);
  t->arrived_size = 0; /* what follows an error or a close_notify is nothing */
  if (!whole && !done) {
    fail(c);
    return;
  }
  ERR_clear_error();
  if (size > 0) connection_received(c, c->home->opened, size);
  else {
    connection_flush(c);
    connection_adjust_reading(c);
  }
  if (!done || connection_gone(c)) return;
  connection_end_of_input(c);
}

void tls_session_received(http_connection *c, const char *data, size_t size) {
  tls_session *t = c->tls;
  if (t->failed) return;
  if (t->ssl == NULL && data[0] >= 'A' && data[0] <= 'Z') {
    refuse_clear_text(c);
    return;
  }
  if (t->ssl == NULL && (data[0] != HANDSHAKE_RECORD || !begin(t))) {
    fail(c);
    return;
  }
  t->arrived = data;
  t->arrived_size = size;
  open_and_go_on(c);
}

/* ---- Sealing ------------------------------------------------------------------------------------------------------------------------------- */

bool tls_session_seal(http_connection *c) {
  tls_session *t = c->tls;
  bool good = !c->output.failed;
  if (good && c->output.size > 0 && t->ready && !t->failed && !t->told) {
    size_t taken;
    ERR_clear_error();
    good = SSL_write_ex(t->ssl, c->output.data, c->output.size, &taken) == 1;
    ERR_clear_error();
  }
  if (!good || t->sealed.failed) {
    connection_close(c);
    return false;
  }
  c->output.size = 0;
  http_home_give_buffer(c->home, &c->output);
  c->output = t->sealed;
  t->sealed = (buffer){0};
  return true;
}

void tls_session_say_goodbye(http_connection *c) {
  tls_session *t = c->tls;
  if (!t->ready || t->failed || t->told || connection_gone(c)) return;
  if (c->sending == NULL && c->output.size > 0) connection_flush(c);
  if (connection_gone(c)) return;
  ERR_clear_error();
  (void)SSL_shutdown(t->ssl);
  ERR_clear_error();
  t->told = true;
  connection_flush(c);
}

bool tls_session_may_read(const http_connection *c) { return connection_unsent(c) < HTTP_OUTPUT_HIGH; }
