/* settings.h: the runtime's own sections of purlin.lua, each a schema. */
#ifndef PURLIN_DAEMON_SETTINGS_H
#define PURLIN_DAEMON_SETTINGS_H

#include <purlin/schema.h>
#include "access/rate.h"
#include "core/arena.h"
#include "daemon/daemon.h"
#include "lua/script.h"

typedef struct server_settings {
  const char *address;
  int64_t port, loops, drain_seconds, idle_timeout_ms, write_timeout_ms, request_timeout_ms, max_body_bytes,
      max_connections, max_connections_per_address;
  const char *state;
  const char *url;
  purlin_texts trusted_proxies, monitors;
} server_settings;

typedef struct database_settings {
  const char *socket, *host, *user, *password, *name, *tls_ca, *tls_certificate, *tls_key;
  int64_t port, connections;
} database_settings;

typedef struct log_settings {
  const char *level, *format, *access;
} log_settings;
typedef struct jobs_settings {
  int64_t concurrency, lease_seconds;
} jobs_settings;
typedef struct lua_settings {
  const char *policies, *library; /* policies: NULL: none */
  purlin_texts writers;
  int64_t memory_mb, timeout_ms;
} lua_settings;
typedef struct cors_settings {
  purlin_texts origins;
  bool credentials;
  int64_t max_age_seconds;
} cors_settings;
typedef struct plugins_settings {
  purlin_texts folders, disabled;
} plugins_settings;

typedef struct tls_settings {
  const char *certificate, *key; /* NULL: in the clear */
  const char *minimum, *ciphers, *ciphersuites, *client_ca, *client_certificate;
  int64_t redirect_port, hsts_days;
  bool redirect_health, hsts_subdomains;
} tls_settings;

typedef struct audit_settings {
  int64_t retention_days, head_seconds;
} audit_settings;

typedef struct outbound_settings {
  purlin_texts allow;
  bool environment_proxies;
} outbound_settings;
typedef struct secrets_settings {
  purlin_texts keys;
} secrets_settings;

typedef struct settings {
  server_settings server;
  tls_settings tls;
  database_settings database;
  log_settings log;
  jobs_settings jobs;
  lua_settings lua;
  plugins_settings plugins;
  rates_settings limits;
  cors_settings cors;
  audit_settings audit;
  outbound_settings outbound;
  secrets_settings secrets;
  config *file; /* for the plugins' sections */
  arena memory;
} settings;

/* Reads the file, applies defaults and what the command line overrides. `why` holds FILE:LINE: message. */
PURLIN_CHECKED purlin_status settings_load(const daemon_arguments *arguments, settings *out, buffer *why);
void settings_free(settings *s);
/* The runtime's section of this kind; one without a line when the file has none. */
const config_section *settings_section(const settings *s, const char *kind);

/* The runtime's sections, by index; NULL: there are no more. */
const purlin_schema *settings_schema(size_t index, const char **kind);
/* manual.c: they as the manual page purlin.lua(5). */
void settings_page(buffer *out);

/* What the section outbound grants holds from now on. `why`: what is wrong with it. */
PURLIN_CHECKED purlin_status settings_use_outbound(const settings *s, buffer *why);

/* secure.c: whether the server speaks TLS, whether the files it needs are right (for --check, and for the start, which only wants
 * them to be usable: a wrong clock must not keep a server down), and what the server is told. */
bool secure_is_on(const settings *s);
PURLIN_CHECKED purlin_status secure_check(const settings *s, buffer *why);
struct http_options;
PURLIN_CHECKED purlin_status secure_begin(const settings *s, struct http_options *out, buffer *why);

/* Reads the keys of secrets, which are made where none is configured; with `check` they are only looked at. */
PURLIN_CHECKED purlin_status settings_open_keys(const settings *s, bool check, buffer *why);

/* What purlin_server_url() and purlin_state_directory() answer. The texts are copied. */
void settings_announce(const char *state, const char *url);

#endif
