/* tls.h: TLS 1.2 and 1.3 for the server, by OpenSSL.
 *
 *   tls_context.c  from files to an SSL_CTX; what is wrong with them is told with the file's name and what to do
 *   tls_renew.c    the context in use: looks for changed files, swaps, warns before a certificate ends
 *   tls_session.c  one connection's bytes: what the socket gives is opened, what answers append is sealed
 *   tls_client.c   who a client's certificate names
 *   redirect.c     the plain port beside it, which sends browsers over
 *
 * A plain connection has no session (NULL) and pays one branch per write. Nothing of OpenSSL lives across a park: its queue of errors
 * is cleared around each call, and a session is entered on its own loop only.
 *
 * Handshakes run on the loop: one takes 0.1 ms with a key on P-256, 0.7 ms with RSA of 2048 bits, 4 ms with RSA of 4096. */
#ifndef PURLIN_HTTP_TLS_H
#define PURLIN_HTTP_TLS_H

#include <purlin/base.h>
#include "core/buffer.h"
#include <openssl/ssl.h>

typedef enum tls_clients { TLS_CLIENTS_ANY, TLS_CLIENTS_OPTIONAL, TLS_CLIENTS_REQUIRED } tls_clients;

/* Texts are borrowed, for as long as the server runs. */
typedef struct tls_options {
  const char *certificate;  /* PEM: the server's own first, then what leads to the root */
  const char *key;          /* PEM, without a passphrase */
  const char *minimum;      /* "1.2" or "1.3" */
  const char *ciphers;      /* of TLS 1.2, as `openssl ciphers` writes them; NULL: those with forward secrecy and AEAD */
  const char *ciphersuites; /* of TLS 1.3; NULL: OpenSSL's */
  const char *client_ca;    /* PEM: who may vouch for clients, and perhaps revocation lists; NULL: clients show nothing */
  tls_clients clients;
} tls_options;

/* What a context was made of. Times are unix seconds, of whichever certificate of the chain is the first to change. */
typedef struct tls_facts {
  int64_t begins, ends;
  char late[200]; /* the subject of the certificate that ends first */
} tls_facts;

/* Reads the files; NULL: `why` says which is wrong, and what to do. An expired certificate makes a context: tls_dates tells. */
SSL_CTX *tls_context_make(const tls_options *options, tls_facts *facts, buffer *why);
/* Whether the certificate is valid now; if not, `why` says so. */
bool tls_dates_fit(const tls_options *options, const tls_facts *facts, buffer *why);

/* The name in a client's certificate that was verified: its first URI, else its first e-mail address, else its subject (RFC 2253).
 * These cannot be mistaken for each other. False: there is none, or it is longer than 8 KiB. */
bool tls_client_name(const X509 *certificate, buffer *out);
/* When a certificate ends, as unix seconds; 0 when it does not say. */
int64_t tls_ends(const X509 *certificate);

/* Makes the first context, which connections from now on use. Before the server starts. */
PURLIN_CHECKED purlin_status tls_begin(const tls_options *options, buffer *why);
/* Looks after the files from now on, on loop 0. */
void tls_watch(void);
/* Loads the files now (SIGHUP); from a fiber, may park. When they are wrong the old ones serve on, and it is logged. */
struct purlin_ctx;
void tls_reload(struct purlin_ctx *ctx);
/* After the loops have ended. */
void tls_end(void);
/* What is wrong with what is served now (the last reload failed, the certificate has ended or will soon); false: nothing. */
bool tls_complaint(buffer *why);

/* The context in use, retained; NULL: the server does not speak TLS. */
SSL_CTX *tls_current(unsigned *generation);
unsigned tls_generation(void);

#endif
