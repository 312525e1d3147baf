/* connection.h: one connection to a directory: opened, secured by TLS, bound. Nothing but the handshake is sent before TLS is there, where
 * TLS is wanted. Everything blocks, for at most the configured time limits and until the call's deadline; on the blocking pool only. */
#ifndef CONNECTION_H
#define CONNECTION_H

#include "auth_ldap.h"
#include "text.h"

/* One call to the directory: its deadline, its memory, and why it failed. */
typedef struct call {
  const auth_ldap_configuration *settings;
  uint64_t deadline_ms; /* by purlin_ticks_ns */
  scratch memory;
  bool lost; /* a connection was lost, or gave no answer: another one may do */
  char why[512];
} call;

/* May not move while it is open. */
typedef struct connection {
  struct ldap *handle; /* NULL: not open */
  size_t server;
  uint64_t opened_ms, deadline_ms; /* nothing waits for it longer */
  bool answered; /* something, since it was opened: when it is lost now, that need not be the server's fault */
} connection;

typedef struct value {
  const char *bytes; /* a NUL follows */
  size_t size;
} value;

typedef struct attribute {
  const char *name;
  value *values;
  size_t count;
} attribute;

typedef struct entry {
  const char *dn;
  attribute *attributes;
  size_t count;
} entry;

typedef struct entries {
  entry *items;
  size_t count;
  bool more; /* than were asked for */
} entries;

typedef struct search {
  const char *base, *filter;     /* all that is under the base */
  const char *const *attributes; /* ends with NULL */
  size_t most;                   /* entries */
} search;

/* A deadline so many milliseconds from now. */
uint64_t call_deadline(uint64_t milliseconds);
/* Says why in call->why, and gives back `status`. */
PURLIN_PRINTF(3, 4) purlin_status call_fails(call *c, purlin_status status, const char *format, ...);
#ifdef __clang_analyzer__ /* which does not see what comes back */
#define call_fails(c, status, ...) (call_fails(c, status, __VA_ARGS__), status)
#endif

/* The steps of opening one, each alone. PURLIN_UNAVAILABLE, and why, when it fails; the connection is closed then. */
PURLIN_CHECKED purlin_status connection_reach(call *c, connection *k, size_t server); /* and the handshake of ldaps:// */
PURLIN_CHECKED purlin_status connection_secure(call *c, connection *k);               /* StartTLS, where it is wanted */
PURLIN_CHECKED purlin_status connection_bind_searcher(call *c, connection *k);        /* bind_dn, where there is one */

/* Open, and bound for searching where `searcher`, to the first server that works; as it is when it is open and not old. */
PURLIN_CHECKED purlin_status connection_ensure(call *c, connection *k, bool searcher);
/* PURLIN_UNAUTHENTICATED: not this password of this DN, or not now. Neither may be empty: that would bind as nobody. */
PURLIN_CHECKED purlin_status connection_bind(call *c, connection *k, const char *dn, const char *password);
/* What was found, in the call's memory. No referral is followed. */
PURLIN_CHECKED purlin_status connection_search(call *c, connection *k, const search *s, entries *out);
void connection_close(connection *k);

/* "TLS 1.3, AES-256-GCM" or so of a connection that is secured; "" otherwise. */
void connection_describe(connection *k, char *out, size_t capacity);

/* A DN as all are compared: one spelling, lower case. NULL: it is none, or no memory. */
char *dn_normal(scratch *memory, const char *dn);
/* The value of the attribute in the first part of a DN ("ml" of "cn=ml,ou=groups"); NULL: it has another, or no memory. */
char *dn_first_value(scratch *memory, const char *dn, const char *attribute_name);

/* Once, before the first call. */
PURLIN_CHECKED bool connections_prepare(void);
/* What is wrong with the address of a server; NULL: nothing. */
const char *connection_url_flaw(const char *url);

#endif
