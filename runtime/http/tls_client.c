/* tls_client.c: the name in a client's certificate. The handshake has verified it. */
#include "http/tls.h"

#include <openssl/x509v3.h>
#include <string.h>

#define LONGEST_NAME ((size_t)8 * 1024)

/* Kinds of names must not be mistaken for each other: a subject begins with TYPE=, a URI with SCHEME:, an address has neither. */
static bool is_uri(const char *text, size_t size) {
  size_t scheme = strcspn(text, ":=,/");
  return scheme > 0 && scheme < size && text[scheme] == ':';
}

static bool is_address(const char *text, size_t size) {
  return memchr(text, '@', size) != NULL && strcspn(text, ":=,/ ") == size;
}

static bool is_visible(const char *text, size_t size) {
  for (size_t i = 0; i < size; i++)
    if (text[i] <= ' ' || text[i] == 0x7f) return false;
  return size > 0;
}

/* The first alternative name of this kind, unless it is a trick. */
static bool take_alternative(const GENERAL_NAMES *names, int kind, buffer *out) {
  for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
    if (name->type != kind) continue;
    const ASN1_STRING *string = kind == GEN_URI ? name->d.uniformResourceIdentifier : name->d.rfc822Name;
    buffer_clear(out);
    buffer_add(out, ASN1_STRING_get0_data(string), (size_t)ASN1_STRING_length(string));
    const char *text = buffer_end(out); /* a NUL inside is not visible, so from here on it is a text */
    if (!is_visible(text, out->size)) return false;
    return kind == GEN_URI ? is_uri(text, out->size) : is_address(text, out->size);
  }
  return false;
}

static bool take_subject(const X509 *certificate, buffer *out) {
  buffer_clear(out);
  BIO *text = BIO_new(BIO_s_mem());
  const unsigned long how = XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB;
  char *data;
  bool made = text != NULL && X509_NAME_print_ex(text, X509_get_subject_name(certificate), 0, how) >= 0;
  long size = made ? BIO_get_mem_data(text, &data) : 0;
  if (size > 0) buffer_add(out, data, (size_t)size);
  BIO_free(text);
  return size > 0;
}

bool tls_client_name(const X509 *certificate, buffer *out) {
  GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
  bool found = names != NULL && (take_alternative(names, GEN_URI, out) || take_alternative(names, GEN_EMAIL, out));
  GENERAL_NAMES_free(names);
  return (found || take_subject(certificate, out)) && !out->failed && out->size <= LONGEST_NAME;
}
