/* tls_context.c: from files to an SSL_CTX. */
#include "http/tls.h"

#include "core/text.h"

#include <purlin/context.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#define LARGEST_FILE ((size_t)4 * 1024 * 1024)
#define LONGEST_CHAIN 16
#define CLIENT_CHAIN 8
#define TICKET_LIFE_S 7200

static const char DEFAULT_CIPHERS[] = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL";
static const char GROUPS[] = "X25519:P-256:P-384";

/* ---- Saying what is wrong -------------------------------------------------------------------------------------------------------- */

static const char *reason(void) {
  unsigned long error = ERR_peek_last_error();
  const char *text = error == 0 ? NULL : ERR_reason_error_string(error);
  return text == NULL ? "no reason was given" : text;
}

static bool wrong(buffer *why, const char *what, const char *path, const char *how) {
  buffer_format(why, "%s %s: %s", what, path, how);
  ERR_clear_error();
  return false;
}

static void add_date(buffer *to, int64_t unix_seconds) {
  char text[32];
  (void)text_from_time(unix_seconds * 1000000, text);
  buffer_text(to, text);
}

/* ---- Files ------------------------------------------------------------------------------------------------------------------------- */

static void wipe(buffer *file) {
  if (file->data != NULL) text_wipe(file->data, file->capacity);
  buffer_free(file);
}

static bool explain_open(const char *what, const char *path, buffer *why) {
  if (errno == EACCES)
    return wrong(why, what, path,
                 "this process may not read it; give its user the right (chgrp purlin FILE, chmod 640 FILE)");
  return wrong(why, what, path, strerror(errno));
}

/* A buffer that grows leaves copies behind, so room for all of it is made first: a key must not lie about in freed memory. */
static bool read_file(const char *what, const char *path, buffer *out, buffer *why) {
  FILE *file = fopen(path, "re");
  if (file == NULL) return explain_open(what, path, why);
  struct stat facts;
  bool fits = fstat(fileno(file), &facts) == 0 && facts.st_size >= 0 && (size_t)facts.st_size <= LARGEST_FILE;
  size_t room = fits ? (size_t)facts.st_size + 1 : 0, got = 0;
  if (fits && buffer_reserve(out, room)) {
    setvbuf(file, NULL, _IONBF, 0);
    got = fread(out->data, 1, room, file);
    out->size = got;
  }
  bool failed = ferror(file) != 0;
  (void)fclose(file);
  if (failed) return wrong(why, what, path, "it cannot be read; is it a folder?");
  if (!fits || out->failed) return wrong(why, what, path, "it is too large");
  if (got == 0) return wrong(why, what, path, "it is empty");
  return true;
}

static BIO *open_text(const buffer *text) { return BIO_new_mem_buf(text->data, (int)text->size); }

/* Nobody is there to type one; without this OpenSSL would ask on the terminal. */
static int no_passphrase(char *to, int size, int writing, void *asked) {
  (void)to;
  (void)size;
  (void)writing;
  *(bool *)asked = true;
  return -1;
}

/* ---- The server's certificate --------------------------------------------------------------------------------------------------------- */

static int64_t seconds_of(const ASN1_TIME *time) {
  struct tm parts;
  return ASN1_TIME_to_tm(time, &parts) == 1 ? (int64_t)timegm(&parts) : 0;
}

int64_t tls_ends(const X509 *certificate) { return seconds_of(X509_get0_notAfter(certificate)); }

static void take_dates(const X509 *certificate, bool first, tls_facts *facts) {
  int64_t begins = seconds_of(X509_get0_notBefore(certificate)), ends = tls_ends(certificate);
  if (first || begins > facts->begins) facts->begins = begins;
  if (!first && ends >= facts->ends) return;
  facts->ends = ends;
  (void)X509_NAME_oneline(X509_get_subject_name(certificate), facts->late, sizeof facts->late);
}

static bool use_chain(SSL_CTX *context, BIO *text, const char *path, tls_facts *facts, buffer *why) {
  size_t count = 0;
  for (X509 *one; count < LONGEST_CHAIN && (one = PEM_read_bio_X509(text, NULL, NULL, NULL)) != NULL; count++) {
    take_dates(one, count == 0, facts);
    bool used = count == 0 ? SSL_CTX_use_certificate(context, one) == 1 : SSL_CTX_add0_chain_cert(context, one) == 1;
    if (count == 0 || !used) X509_free(one);
    if (!used) return wrong(why, "certificate", path, reason());
  }
  unsigned long error = ERR_peek_last_error();
  bool at_end = ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
  if (count > 0 && (at_end || count == LONGEST_CHAIN)) {
    ERR_clear_error();
    return true;
  }
  if (!at_end) return wrong(why, "certificate", path, reason());
  return wrong(why, "certificate", path, "there is no certificate in it; it must be PEM (-----BEGIN CERTIFICATE-----)");
}

static bool use_certificate(SSL_CTX *context, const tls_options *options, tls_facts *facts, buffer *why) {
  buffer text = {0};
  BIO *bio = read_file("certificate", options->certificate, &text, why) ? open_text(&text) : NULL;
  bool used = bio != NULL && use_chain(context, bio, options->certificate, facts, why);
  BIO_free(bio);
  buffer_free(&text);
  return used;
}

static bool fit_together(SSL_CTX *context, EVP_PKEY *key, const tls_options *options, buffer *why) {
  if (X509_check_private_key(SSL_CTX_get0_certificate(context), key) == 1) {
    if (SSL_CTX_use_PrivateKey(context, key) == 1) return true;
    return wrong(why, "key", options->key, reason());
  }
  buffer_format(why, "key %s does not belong to the certificate %s: give the key that the certificate was requested with",
                options->key, options->certificate);
  ERR_clear_error();
  return false;
}

static bool use_key(SSL_CTX *context, const tls_options *options, buffer *why) {
  buffer text = {0};
  bool asked = false;
  BIO *bio = read_file("key", options->key, &text, why) ? open_text(&text) : NULL;
  EVP_PKEY *key = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked);
  bool used = key != NULL && fit_together(context, key, options, why);
  if (bio != NULL && key == NULL)
    (void)wrong(why, "key", options->key,
                asked ? "it has a passphrase, which nobody types here; write one without (openssl pkey -in FILE -out NEW)"
                      : "there is no private key in it; it must be PEM (-----BEGIN PRIVATE KEY-----)");
  EVP_PKEY_free(key);
  BIO_free(bio);
  wipe(&text);
  return used;
}

/* ---- Clients' certificates --------------------------------------------------------------------------------------------------------------- */

static bool add_authority(SSL_CTX *context, const X509_INFO *info, size_t *authorities) {
  X509_STORE *store = SSL_CTX_get_cert_store(context);
  if (info->x509 != NULL) {
    (*authorities)++;
    if (X509_STORE_add_cert(store, info->x509) != 1 || SSL_CTX_add_client_CA(context, info->x509) != 1) return false;
  }
  if (info->crl == NULL) return true;
  return X509_STORE_add_crl(store, info->crl) == 1 && X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK) == 1;
}

static bool add_authorities(SSL_CTX *context, const buffer *text, const char *path, buffer *why) {
  BIO *bio = open_text(text);
  STACK_OF(X509_INFO) *found = bio == NULL ? NULL : PEM_X509_INFO_read_bio(bio, NULL, NULL, NULL);
  size_t authorities = 0;
  bool added = found != NULL;
  for (int i = 0; added && i < sk_X509_INFO_num(found); i++)
    added = add_authority(context, sk_X509_INFO_value(found, i), &authorities);
  sk_X509_INFO_pop_free(found, X509_INFO_free);
  BIO_free(bio);
  if (!added) return wrong(why, "client_ca", path, reason());
  if (authorities == 0) return wrong(why, "client_ca", path, "there is no certificate in it; it must be PEM");
  return true;
}

/* A session that is resumed shows no certificate again; so it may only be taken up under the same authorities and the same rule. */
static bool mark_sessions(SSL_CTX *context, const buffer *authorities, tls_clients clients) {
  uint8_t mark[32];
  text_sha256(authorities->data, authorities->size, mark);
  mark[0] ^= (uint8_t)clients;
  return SSL_CTX_set_session_id_context(context, mark, sizeof mark) == 1;
}

static bool use_clients(SSL_CTX *context, const tls_options *options, buffer *why) {
  buffer text = {0};
  bool used = true;
  if (options->client_ca != NULL) {
    used =
        read_file("client_ca", options->client_ca, &text, why) && add_authorities(context, &text, options->client_ca, why);
    int mode = SSL_VERIFY_PEER | (options->clients == TLS_CLIENTS_REQUIRED ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
    SSL_CTX_set_verify(context, mode, NULL);
    SSL_CTX_set_verify_depth(context, CLIENT_CHAIN);
  }
  used = used && mark_sessions(context, &text, options->clients);
  buffer_free(&text);
  return used;
}

/* ---- The protocol ------------------------------------------------------------------------------------------------------------------------- */

/* Whoever names protocols must name ours: bytes that were meant for another protocol are not HTTP. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_size, const unsigned char *offered,
                           unsigned size, void *unused) {
  static const unsigned char ours[] = "\x08http/1.1";
  (void)ssl;
  (void)unused;
  unsigned char *chosen;
  if (SSL_select_next_proto(&chosen, out_size, ours, sizeof ours - 1, offered, size) != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

static bool set_protocol(SSL_CTX *context, const tls_options *options, buffer *why) {
  bool newest = strcmp(options->minimum, "1.3") == 0;
  if (SSL_CTX_set_min_proto_version(context, newest ? TLS1_3_VERSION : TLS1_2_VERSION) != 1)
    return wrong(why, "minimum", options->minimum, reason());
  SSL_CTX_set_options(context, SSL_OP_CLEANSE_PLAINTEXT | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); /* tickets: the client keeps the session */
  SSL_CTX_set_timeout(context, TICKET_LIFE_S);
  SSL_CTX_set_dh_auto(context, 1);
  SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
  if (SSL_CTX_set1_groups_list(context, GROUPS) != 1) return wrong(why, "groups", GROUPS, reason());
  const char *ciphers = options->ciphers != NULL ? options->ciphers : DEFAULT_CIPHERS;
  if (SSL_CTX_set_cipher_list(context, ciphers) != 1)
    return wrong(why, "ciphers", ciphers, "OpenSSL knows none of them; `openssl ciphers -v` lists what there is");
  if (options->ciphersuites != NULL && SSL_CTX_set_ciphersuites(context, options->ciphersuites) != 1)
    return wrong(why, "ciphersuites", options->ciphersuites, "OpenSSL knows none such; TLS_AES_128_GCM_SHA256 is one");
  return true;
}

SSL_CTX *tls_context_make(const tls_options *options, tls_facts *facts, buffer *why) {
  *facts = (tls_facts){0};
  ERR_clear_error();
  SSL_CTX *context = SSL_CTX_new(TLS_server_method());
  if (context == NULL) {
    (void)wrong(why, "TLS", "", reason());
    return NULL;
  }
  if (set_protocol(context, options, why) && use_certificate(context, options, facts, why) &&
      use_key(context, options, why) && use_clients(context, options, why)) {
    ERR_clear_error();
    return context;
  }
  SSL_CTX_free(context);
  if (why->size == 0) buffer_text(why, "TLS: no memory");
  return NULL;
}

bool tls_dates_fit(const tls_options *options, const tls_facts *facts, buffer *why) {
  int64_t now = purlin_now_us() / 1000000;
  if (now >= facts->begins && now < facts->ends) return true;
  bool ended = now >= facts->ends;
  buffer_format(why, "certificate %s: %s %s ", options->certificate, facts->late,
                ended ? "has ended at" : "begins only at");
  add_date(why, ended ? facts->ends : facts->begins);
  buffer_text(why,
              ended ? "; clients refuse it: renew it" : "; clients refuse it until then: is this machine's clock right?");
  return false;
}
