#include "connection.h"
#include "server.h"
#include "timed.h"
#include <ldap.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum {
  OLDEST_MS = 300000, /* then a connection is made anew: the first server may be back, its certificate another */
  VALUES_MOST = 5000,
  VALUE_MOST_BYTES = 8192
};
static const ber_len_t MESSAGE_MOST_BYTES = (ber_len_t)4 << 20;

static uint64_t now_ms(void) { return purlin_ticks_ns() / 1000000; }

uint64_t call_deadline(uint64_t milliseconds) { return now_ms() + milliseconds; }

purlin_status(call_fails)(call *c, purlin_status status, const char *format, ...) {
  char text[sizeof c->why]; /* what is said now may quote what was said before */
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  memcpy(c->why, text, sizeof text);
  return status;
}

static const char *url_of(const call *c, const connection *k) { return c->settings->urls.items[k->server]; }

/* Nothing is read for this connection after it. */
static void begin_step(const call *c, connection *k, int64_t limit_ms) {
  uint64_t limit = call_deadline((uint64_t)limit_ms);
  k->deadline_ms = limit < c->deadline_ms ? limit : c->deadline_ms;
}

/* How long a step may take: `limit_ms`, or what is left of the call, at least a millisecond. */
static struct timeval time_for(const call *c, int64_t limit_ms) {
  uint64_t now = now_ms(), left = c->deadline_ms > now ? c->deadline_ms - now : 1;
  if (left > (uint64_t)limit_ms) left = (uint64_t)limit_ms;
  return (struct timeval){.tv_sec = (time_t)(left / 1000), .tv_usec = (suseconds_t)(left % 1000 * 1000)};
}

/* ---- Opening --------------------------------------------------------------------------------------------------------------------------- */

static _Thread_local connection *opening; /* what this thread opens just now */
static _Thread_local bool reached;        /* whether it got as far as a socket */
static _Thread_local bool forbidden;      /* whether that led to where this server may not call */

static bool is_permitted(const LDAPURLDesc *url, const struct sockaddr *address) {
  size_t size = address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
  return purlin_outbound_permits(url->lud_host, (uint16_t)url->lud_port, address, size);
}

/* The socket is there, and nothing was sent. libldap would also connect anew by itself where a connection was lost, and in the clear: never. */
static int on_connected(LDAP *handle, Sockbuf *socket_buffer, LDAPURLDesc *url, struct sockaddr *address,
                        ldap_conncb *callback) {
  (void)handle, (void)callback;
  ber_len_t most = MESSAGE_MOST_BYTES;
  if (!opening || reached) return LDAP_LOCAL_ERROR;
  forbidden = !is_permitted(url, address);
  if (forbidden) return LDAP_LOCAL_ERROR;
  reached = true;
  if (ber_sockbuf_ctrl(socket_buffer, LBER_SB_OPT_SET_MAX_INCOMING, &most) != 1) return LDAP_LOCAL_ERROR;
  return timed_begin(socket_buffer, &opening->deadline_ms) ? 0 : LDAP_LOCAL_ERROR;
}

static void on_closed(LDAP *handle, Sockbuf *socket_buffer, ldap_conncb *callback) {
  (void)handle, (void)socket_buffer, (void)callback;
}

/* Where distributions keep the authorities that the system believes. */
static const char *authorities(const call *c) {
  static const char *const USUAL[] = {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"};
  if (*c->settings->ca_file) return c->settings->ca_file;
  for (size_t i = 0; i < sizeof USUAL / sizeof USUAL[0]; i++)
    if (access(USUAL[i], R_OK) == 0) return USUAL[i];
  return USUAL[0];
}

/* All that matters is said here, so that no ldap.conf, .ldaprc or variable of the environment weakens it. */
static bool set_options(const call *c, LDAP *handle) {
  const int version = LDAP_VERSION3, demand = LDAP_OPT_X_TLS_DEMAND, oldest = LDAP_OPT_X_TLS_PROTOCOL_TLS1_2, unlimited = 0,
            client = 0, never = LDAP_DEREF_NEVER;
  struct timeval network = time_for(c, c->settings->connect_timeout_ms), answer = time_for(c, c->settings->timeout_ms);
  const struct {
    int option;
    const void *value;
  } options[] = {
      {LDAP_OPT_PROTOCOL_VERSION, &version},
      {LDAP_OPT_REFERRALS, LDAP_OPT_OFF},
      {LDAP_OPT_DEREF, &never},
      {LDAP_OPT_SIZELIMIT, &unlimited},
      {LDAP_OPT_TIMELIMIT, &unlimited},
      {LDAP_OPT_NETWORK_TIMEOUT, &network},
      {LDAP_OPT_TIMEOUT, &answer},
      {LDAP_OPT_X_TLS_REQUIRE_CERT, &demand},
      {LDAP_OPT_X_TLS_CACERTFILE, authorities(c)},
      {LDAP_OPT_X_TLS_PROTOCOL_MIN, &oldest},
      {LDAP_OPT_X_TLS_NEWCTX, &client}, /* the last: it takes what was set above */
  };
  for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
    if (ldap_set_option(handle, options[i].option, options[i].value) != LDAP_OPT_SUCCESS) return false;
  return true;
}

/* libldap's words, and the server's or the TLS library's where there are any. */
static purlin_status fails(call *c, connection *k, int code, const char *what) {
  char *more = NULL;
  if (now_ms() >= k->deadline_ms) code = LDAP_TIMEOUT; /* which shows itself in many ways */
  (void)ldap_get_option(k->handle, LDAP_OPT_DIAGNOSTIC_MESSAGE, &more);
  (void)call_fails(c, PURLIN_UNAVAILABLE, "%s: %s: %s%s%.200s", url_of(c, k), what, ldap_err2string(code),
                   more && *more ? ": " : "", more ? more : "");
  ldap_memfree(more);
  return PURLIN_UNAVAILABLE;
}

void connection_close(connection *k) {
  if (k->handle) (void)ldap_unbind_ext_s(k->handle, NULL, NULL);
  *k = (connection){0};
}

static purlin_status closes(connection *k, purlin_status status) {
  connection_close(k);
  return status;
}

purlin_status connection_reach(call *c, connection *k, size_t server) {
  static ldap_conncb callbacks = {on_connected, on_closed, NULL}; /* a handle keeps the pointer */
  connection_close(k);
  k->server = server;
  if (now_ms() >= c->deadline_ms) return call_fails(c, PURLIN_UNAVAILABLE, "%s: no time is left", url_of(c, k));
  int code = ldap_initialize(&k->handle, url_of(c, k));
  if (code != LDAP_SUCCESS) return call_fails(c, PURLIN_UNAVAILABLE, "%s: %s", url_of(c, k), ldap_err2string(code));
  if (!set_options(c, k->handle))
    return closes(k, call_fails(c, PURLIN_UNAVAILABLE, "%s: TLS cannot be set up: is %s a readable PEM file?", url_of(c, k),
                                authorities(c)));
  if (ldap_set_option(k->handle, LDAP_OPT_CONNECT_CB, &callbacks) != LDAP_OPT_SUCCESS)
    return closes(k, call_fails(c, PURLIN_UNAVAILABLE, "%s: out of memory", url_of(c, k)));
  opening = k;
  reached = forbidden = false;
  begin_step(c, k, c->settings->connect_timeout_ms);
  code = ldap_connect(k->handle);
  opening = NULL;
  if (code == LDAP_SUCCESS && reached) {
    k->opened_ms = now_ms();
    return PURLIN_OK;
  }
  if (forbidden)
    return closes(k, call_fails(c, PURLIN_UNAVAILABLE,
                                "%s: this server may not call there; outbound { allow = { \"HOST:PORT\" } } grants it",
                                url_of(c, k)));
  return closes(k, fails(c, k, LDAP_SERVER_DOWN, reached ? "TLS fails" : "cannot connect"));
}

/* One answer, or LDAP_TIMEOUT. `*message` is NULL or to be freed. */
static int wait_for(call *c, connection *k, int id, int all, LDAPMessage **message) {
  struct timeval limit = time_for(c, c->settings->timeout_ms);
  int got = ldap_result(k->handle, id, all, &limit, message), code = LDAP_SUCCESS;
  if (got > 0) {
    k->answered = true;
    return LDAP_SUCCESS;
  }
  *message = NULL;
  if (got == 0 || now_ms() >= k->deadline_ms) return LDAP_TIMEOUT;
  return ldap_get_option(k->handle, LDAP_OPT_RESULT_CODE, &code) == LDAP_OPT_SUCCESS && code != LDAP_SUCCESS
             ? code
             : LDAP_SERVER_DOWN;
}

purlin_status connection_secure(call *c, connection *k) {
  LDAPMessage *message = NULL;
  int id = 0, result = LDAP_SUCCESS;
  if (!c->settings->start_tls || ldap_tls_inplace(k->handle)) return PURLIN_OK;
  begin_step(c, k, c->settings->connect_timeout_ms);
  int code = ldap_start_tls(k->handle, NULL, NULL, &id);
  if (code == LDAP_SUCCESS) code = wait_for(c, k, id, LDAP_MSG_ALL, &message);
  if (code == LDAP_SUCCESS) code = ldap_parse_result(k->handle, message, &result, NULL, NULL, NULL, NULL, 1);
  if (code == LDAP_SUCCESS) code = result;
  if (code != LDAP_SUCCESS) return closes(k, fails(c, k, code, "StartTLS is refused, and without TLS nothing is asked"));
  code = ldap_install_tls(k->handle);
  if (code != LDAP_SUCCESS || !ldap_tls_inplace(k->handle)) return closes(k, fails(c, k, code, "TLS fails"));
  return PURLIN_OK;
}

purlin_status connection_bind_searcher(call *c, connection *k) {
  if (!*c->settings->bind_dn) return PURLIN_OK;
  purlin_status status = connection_bind(c, k, c->settings->bind_dn, c->settings->bind_password);
  if (status == PURLIN_OK) return PURLIN_OK;
  return closes(k, call_fails(c, PURLIN_UNAVAILABLE, "as bind_dn: %s", c->why));
}

static purlin_status open_one(call *c, connection *k, size_t server, bool searcher) {
  purlin_status status = connection_reach(c, k, server);
  if (status == PURLIN_OK) status = connection_secure(c, k);
  if (status == PURLIN_OK && searcher) status = connection_bind_searcher(c, k);
  if (status == PURLIN_OK) server_works(server);
  else server_failed(server, c->why);
  k->answered = false;
  return status;
}

purlin_status connection_ensure(call *c, connection *k, bool searcher) {
  size_t tried = 0;
  if (k->handle && now_ms() - k->opened_ms < OLDEST_MS) return PURLIN_OK;
  connection_close(k);
  for (size_t i = 0; i < c->settings->urls.count && now_ms() < c->deadline_ms; i++) {
    if (!server_try(i)) continue;
    tried++;
    if (open_one(c, k, i, searcher) == PURLIN_OK) return PURLIN_OK;
  }
  if (tried) return PURLIN_UNAVAILABLE;
  char last[256];
  server_last_failure(0, last, sizeof last);
  return call_fails(c, PURLIN_UNAVAILABLE, "no server is asked just now, since all failed: %s", last);
}

/* ---- Binding and searching --------------------------------------------------------------------------------------------------------------- */

/* What the failure of a step on an open connection means. The connection is closed when it is no good any more. */
static purlin_status step_fails(call *c, connection *k, int code, const char *what) {
  purlin_status status = fails(c, k, code, what);
  if (code == LDAP_TIMEOUT || code == LDAP_UNAVAILABLE || code == LDAP_BUSY) server_failed(k->server, c->why);
  c->lost = code == LDAP_SERVER_DOWN || code == LDAP_CONNECT_ERROR || code == LDAP_TIMEOUT || code == LDAP_UNAVAILABLE ||
            code == LDAP_BUSY || code == LDAP_DECODING_ERROR || code == LDAP_LOCAL_ERROR;
  connection_close(k);
  return status;
}

purlin_status connection_bind(call *c, connection *k, const char *dn, const char *password) {
  LDAPMessage *message = NULL;
  struct berval secret = {.bv_len = strlen(password), .bv_val = (char *)(uintptr_t)password}; /* libldap only reads it */
  int id = 0, result = LDAP_SUCCESS;
  char *more = NULL;
  if (!*dn || !secret.bv_len)
    return call_fails(c, PURLIN_UNAUTHENTICATED, "%s: without a DN and a password nobody binds", url_of(c, k));
  begin_step(c, k, c->settings->timeout_ms);
  int code = ldap_sasl_bind(k->handle, dn, LDAP_SASL_SIMPLE, &secret, NULL, NULL, &id);
  if (code == LDAP_SUCCESS) code = wait_for(c, k, id, LDAP_MSG_ALL, &message);
  if (code == LDAP_SUCCESS) code = ldap_parse_result(k->handle, message, &result, NULL, &more, NULL, NULL, 1);
  if (code != LDAP_SUCCESS) return step_fails(c, k, code, "a bind gets no answer");
  purlin_status status = PURLIN_OK;
  switch (result) {
  case LDAP_SUCCESS: break;
  case LDAP_INVALID_CREDENTIALS:
  case LDAP_NO_SUCH_OBJECT:
  case LDAP_INVALID_DN_SYNTAX:
  case LDAP_UNWILLING_TO_PERFORM: /* locked, expired or without a password, say some */
  case LDAP_INAPPROPRIATE_AUTH:
  case LDAP_INSUFFICIENT_ACCESS:
  case LDAP_CONSTRAINT_VIOLATION:
    status = call_fails(c, PURLIN_UNAUTHENTICATED, "%s: %s is not bound: %s%s%.200s", url_of(c, k), dn,
                        ldap_err2string(result), more && *more ? ": " : "", more ? more : "");
    break;
  default: status = step_fails(c, k, result, "a bind fails");
  }
  ldap_memfree(more);
  return status;
}

/* Copies the values of one attribute. */
static bool take_values(call *c, struct berval *const *found, attribute *to) {
  size_t count = 0;
  while (found && found[count] && count < VALUES_MOST) count++;
  to->values = scratch_alloc(&c->memory, (count ? count : 1) * sizeof *to->values);
  for (size_t i = 0; to->values && i < count; i++) {
    if (found[i]->bv_len > VALUE_MOST_BYTES) continue;
    value *v = &to->values[to->count];
    *v = (value){scratch_copy(&c->memory, found[i]->bv_val ? found[i]->bv_val : "", found[i]->bv_len), found[i]->bv_len};
    if (!v->bytes) return false;
    to->count++;
  }
  return to->values != NULL;
}

/* Those attributes that were asked for, whatever else comes. */
static bool take_attributes(call *c, connection *k, LDAPMessage *from, const search *s, entry *to) {
  size_t count = 0;
  while (s->attributes[count]) count++;
  to->attributes = scratch_alloc(&c->memory, (count + 1) * sizeof *to->attributes);
  for (size_t i = 0; to->attributes && i < count; i++) {
    struct berval **found = ldap_get_values_len(k->handle, from, s->attributes[i]);
    if (!found) continue;
    attribute *a = &to->attributes[to->count++];
    a->name = s->attributes[i];
    bool fine = take_values(c, found, a);
    ldap_value_free_len(found);
    if (!fine) return false;
  }
  return to->attributes != NULL;
}

static bool take_entry(call *c, connection *k, LDAPMessage *from, const search *s, entry *to) {
  char *dn = ldap_get_dn(k->handle, from);
  to->dn = dn ? scratch_copy(&c->memory, dn, strlen(dn)) : NULL;
  ldap_memfree(dn);
  return to->dn && take_attributes(c, k, from, s, to);
}

/* The last message of a search. */
static purlin_status search_ends(call *c, connection *k, LDAPMessage *message, entries *out) {
  int result = LDAP_SUCCESS;
  int code = ldap_parse_result(k->handle, message, &result, NULL, NULL, NULL, NULL, 0);
  if (code == LDAP_SUCCESS) code = result;
  if (code == LDAP_SUCCESS) return PURLIN_OK;
  if (code != LDAP_SIZELIMIT_EXCEEDED) return step_fails(c, k, code, "a search fails");
  out->more = true;
  return PURLIN_OK;
}

/* One message of a search. Whether it was the last is in *over. */
static purlin_status take_message(call *c, connection *k, LDAPMessage *message, const search *s, entries *out, bool *over) {
  switch (ldap_msgtype(message)) {
  case LDAP_RES_SEARCH_ENTRY:
    if (out->count == s->most) {
      out->more = *over = true;
      return PURLIN_OK;
    }
    if (take_entry(c, k, message, s, &out->items[out->count++])) return PURLIN_OK;
    return call_fails(c, PURLIN_UNAVAILABLE, "%s: an entry is too large, or cannot be read", url_of(c, k));
  case LDAP_RES_SEARCH_RESULT: *over = true; return search_ends(c, k, message, out);
  default: return PURLIN_OK; /* a reference to elsewhere, which is not followed */
  }
}

purlin_status connection_search(call *c, connection *k, const search *s, entries *out) {
  struct timeval limit = time_for(c, c->settings->timeout_ms);
  begin_step(c, k, c->settings->timeout_ms);
  bool over = false;
  purlin_status status = PURLIN_OK;
  int id = 0;
  *out = (entries){.items = scratch_alloc(&c->memory, s->most * sizeof *out->items)};
  if (!out->items) return call_fails(c, PURLIN_UNAVAILABLE, "out of memory");
  int code = ldap_search_ext(k->handle, s->base, LDAP_SCOPE_SUBTREE, s->filter, (char **)(uintptr_t)s->attributes, 0, NULL,
                             NULL, &limit, (int)s->most + 1, &id);
  if (code != LDAP_SUCCESS) return step_fails(c, k, code, "a search cannot be sent");
  while (!over && status == PURLIN_OK) {
    LDAPMessage *message = NULL;
    code = now_ms() < k->deadline_ms ? wait_for(c, k, id, LDAP_MSG_ONE, &message) : LDAP_TIMEOUT;
    if (code != LDAP_SUCCESS) return step_fails(c, k, code, "a search gets no answer");
    status = take_message(c, k, message, s, out, &over);
    (void)ldap_msgfree(message);
  }
  if (k->handle && (out->more || status == PURLIN_UNAVAILABLE)) (void)ldap_abandon_ext(k->handle, id, NULL, NULL);
  return status;
}

void connection_describe(connection *k, char *out, size_t capacity) {
  char *version = NULL, *cipher = NULL;
  *out = '\0';
  if (!ldap_tls_inplace(k->handle)) return;
  (void)ldap_get_option(k->handle, LDAP_OPT_X_TLS_VERSION, &version);
  (void)ldap_get_option(k->handle, LDAP_OPT_X_TLS_CIPHER, &cipher);
  (void)snprintf(out, capacity, "%s%s%s", version ? version : "TLS", cipher ? ", " : "", cipher ? cipher : "");
  ldap_memfree(version);
  ldap_memfree(cipher);
}

bool connections_prepare(void) {
  LDAPAPIInfo info = {.ldapai_info_version = LDAP_API_INFO_VERSION};
  if (ldap_get_option(NULL, LDAP_OPT_API_INFO, &info) != LDAP_OPT_SUCCESS) return false;
  ldap_memvfree((void **)info.ldapai_extensions);
  ldap_memfree(info.ldapai_vendor_name);
  return true;
}

const char *connection_url_flaw(const char *url) {
  LDAPURLDesc *parts = NULL;
  const char *flaw = NULL;
  if (ldap_url_parse(url, &parts) != LDAP_URL_SUCCESS) return "it is no ldap:// or ldaps:// address";
  if (strcmp(parts->lud_scheme, "ldap") != 0 && strcmp(parts->lud_scheme, "ldaps") != 0)
    flaw = "only ldap:// and ldaps:// are spoken";
  else if (!parts->lud_host || !*parts->lud_host) flaw = "it names no host";
  else if ((parts->lud_dn && *parts->lud_dn) || parts->lud_attrs || parts->lud_filter || parts->lud_exts)
    flaw = "it is to end after host and port";
  ldap_free_urldesc(parts);
  return flaw;
}
