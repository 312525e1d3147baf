#include "daemon/settings.h"
#include "client/outbound.h"
#include "secrets/secrets.h"
#include <purlin/plugin.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

PURLIN_SCHEMA(server_settings, "server { ... }",
    PURLIN_DEFAULT(address, "\"127.0.0.1\"", "Address to listen on"),
    PURLIN_DEFAULT(port, "8080", "Port to listen on; 0 takes any free one", .min = 0, .max = 65535),
    PURLIN_DEFAULT(loops, "0", "Event-loop threads; 0: one per core", .min = 0, .max = 256),
    PURLIN_DEFAULT(drain_seconds, "10", "How long requests in flight may take when the daemon stops", .min = 0, .max = 3600),
    PURLIN_DEFAULT(idle_timeout_ms, "75000", "How long a connection may wait for its next request", .min = 100, .max = 3600000),
    PURLIN_DEFAULT(write_timeout_ms, "30000", "A client that takes nothing of an answer for so long is cut off; one that reads a few bytes a second counts as such, "
                   "since its kernel tells us of room only when there is a good deal of it", .min = 100, .max = 3600000),
    PURLIN_DEFAULT(request_timeout_ms, "30000", "Deadline of a request, where it names none", .min = 100, .max = 3600000),
    PURLIN_DEFAULT(max_body_bytes, "8388608", "Largest body, where a route names no limit", .min = 1024, .max = 1e12),
    PURLIN_DEFAULT(max_connections, "10000", "Connections at once", .min = 10, .max = 1000000),
    PURLIN_DEFAULT(max_connections_per_address, "512", "Connections at once of one address (of IPv6, of one /64), but for trusted proxies; 0: no limit. "
                   "Further ones are answered 429 and closed, over TLS only closed", .min = 0, .max = 1000000),
    PURLIN_DEFAULT(state, "\"/var/lib/purlin\"", "Where files are kept"),
    PURLIN_OPTIONAL(url, "Where others reach this server, for callbacks; default http(s)://ADDRESS:PORT"),
    PURLIN_DEFAULT(trusted_proxies, "[]", "Proxies whose X-Forwarded-For counts: addresses, or networks such as \"10.0.0.0/8\"",
        .max_length = 100),
    PURLIN_DEFAULT(monitors, "[]", "Addresses and networks that read /metrics and what is behind /readyz without a credential: \"10.0.3.7\", \"10.0.3.0/24\"; "
                   "\"0.0.0.0/0\" and \"::/0\": everybody. With --dev, the machine itself when there are none", .max_length = 100));

PURLIN_SCHEMA(tls_settings, "tls { ... }: the server speaks TLS, and nothing else, on its port",
    PURLIN_OPTIONAL(certificate, "PEM file: the server's certificate, then those that lead to the root. Looked at every other second; a new one is used without a restart"),
    PURLIN_OPTIONAL(key, "PEM file of its private key, without a passphrase"),
    PURLIN_DEFAULT(minimum, "\"1.2\"", "Oldest version of TLS", .choices = "1.2, 1.3"),
    PURLIN_OPTIONAL(ciphers, "For TLS 1.2, as `openssl ciphers` takes them; default those with forward secrecy and authenticated encryption"),
    PURLIN_OPTIONAL(ciphersuites, "For TLS 1.3; default OpenSSL's"),
    PURLIN_OPTIONAL(client_ca, "PEM file of those who may vouch for clients' certificates; revocation lists in it are heeded"),
    PURLIN_DEFAULT(client_certificate, "\"optional\"", "Whether a client must show one, where client_ca is given", .choices = "optional, required"),
    PURLIN_DEFAULT(redirect_port, "0", "A port in the clear that sends browsers to https; 0: none", .min = 0, .max = 65535),
    PURLIN_DEFAULT(redirect_health, "false", "Whether GET /healthz and /readyz are answered on that port, for probes that speak no TLS"),
    PURLIN_DEFAULT(hsts_days, "180", "For how long browsers remember to use https only (Strict-Transport-Security); 0: not told", .min = 0, .max = 3650),
    PURLIN_DEFAULT(hsts_subdomains, "false", "Whether the same holds for all names below the server's"));

PURLIN_SCHEMA(database_settings, "database { ... }",
    PURLIN_OPTIONAL(socket, "Unix socket of MariaDB; instead of host and port"),
    PURLIN_DEFAULT(host, "\"127.0.0.1\"", "Host of MariaDB"),
    PURLIN_DEFAULT(port, "3306", "Its port", .min = 1, .max = 65535),
    PURLIN_DEFAULT(user, "\"purlin\"", "Who connects"),
    PURLIN_OPTIONAL(password, "Password; env(\"NAME\") and file(\"PATH\") keep it out of this file", .secret = true),
    PURLIN_DEFAULT(name, "\"purlin\"", "Name of the database", .pattern = "[A-Za-z0-9_]+", .max_length = 64),
    PURLIN_OPTIONAL(tls_ca, "PEM file of those who may vouch for MariaDB's certificate: then it must have one, for `host`, and nothing goes in the clear"),
    PURLIN_OPTIONAL(tls_certificate, "PEM file of our own certificate, where MariaDB wants one"),
    PURLIN_OPTIONAL(tls_key, "PEM file of its private key"),
    PURLIN_DEFAULT(connections, "16", "Connections in all, beside four of each event loop: for leases and health, and for many rows at once", .min = 2, .max = 1000));

PURLIN_SCHEMA(log_settings, "log { ... }",
    PURLIN_DEFAULT(level, "\"info\"", "Records below are not made", .choices = "debug, info, warning, error"),
    PURLIN_DEFAULT(format, "\"auto\"", "auto is human on a terminal, else json", .choices = "auto, json, human"),
    PURLIN_DEFAULT(access, "\"off\"", "The access log: off, stderr, or a file"));

PURLIN_SCHEMA(jobs_settings, "jobs { ... }",
    PURLIN_DEFAULT(concurrency, "64", "Jobs at once on this node", .min = 1, .max = 10000),
    PURLIN_DEFAULT(lease_seconds, "30", "Jobs of a node that is gone start elsewhere after this time; a daemon that is restarted takes its own back at once", .min = 3, .max = 3600));

PURLIN_SCHEMA(lua_settings, "lua { ... }",
    PURLIN_DEFAULT(policies, "\"/etc/purlin/policies\"", "Folder of policies and event rules"),
    PURLIN_DEFAULT(library, "\"" PURLIN_DATA_FOLDER "/lua\"", "Folder that require reads from"),
    PURLIN_DEFAULT(writers, "[]", "Scripts, such as \"cleanup.lua\", that may change rows by purlin.db.execute"),
    PURLIN_DEFAULT(memory_mb, "16", "Memory of a script on a loop", .min = 1, .max = 4096),
    PURLIN_DEFAULT(timeout_ms, "60000", "Time of a run of an event rule, and of what comes round", .min = 10, .max = 3600000));

PURLIN_SCHEMA(cors_settings, "cors { ... }",
    PURLIN_DEFAULT(origins, "[]", "Whose pages may call this server from a browser: \"https://app.example.org\"", .max_length = 100),
    PURLIN_DEFAULT(credentials, "false", "With cookies and client certificates"),
    PURLIN_DEFAULT(max_age_seconds, "600", "How long a browser may keep the answer to a preflight", .min = 0, .max = 86400));

PURLIN_SCHEMA(plugins_settings, "plugins { ... }",
    PURLIN_DEFAULT(folders, "[\"" PURLIN_PLUGINS_FOLDER "\"]", "Where plugins are found"),
    PURLIN_DEFAULT(disabled, "[]", "Plugins that are not loaded, by name"));

PURLIN_SCHEMA(audit_settings, "audit { ... }",
    PURLIN_DEFAULT(retention_days, "0", "What entries of the audit log tell goes after so many days, their hashes stay; 0: never", .min = 0, .max = 36500),
    PURLIN_DEFAULT(head_seconds, "5", "Between two signed heads of a log that grows", .min = 1, .max = 3600));

PURLIN_SCHEMA(outbound_settings, "outbound { ... }: where calls to others may go, beside public addresses",
    PURLIN_DEFAULT(allow, "[]", "Addresses, networks and hosts inside, with a port or without: \"10.1.0.0/16\", \"[::1]:9000\", \"mail.internal:25\"; "
                   "with --dev and without this section, the machine itself", .max_length = 1000),
    PURLIN_DEFAULT(environment_proxies, "false", "Whether proxies of the environment (https_proxy, no_proxy) are used: they then resolve names, "
                   "and have to refuse what must not be reached"));

PURLIN_SCHEMA(secrets_settings, "secrets { ... }",
    PURLIN_DEFAULT(keys, "[]", "AES-256 keys: paths of files of 32 bytes or 64 hexadecimal digits, \"credential:NAME\" of systemd, or env(\"NAME\") with the "
                   "digits. The first seals, each opens; default STATE/secrets.key, made at the first start. The same on all nodes", .max_length = 14, .secret = true));

static char state_directory[PATH_MAX] = ".";
static char server_url[512] = "http://127.0.0.1:8080";

const char *purlin_state_directory(void) { return state_directory; }
const char *purlin_server_url(void) { return server_url; }

void settings_announce(const char *state, const char *url) {
  (void)snprintf(state_directory, sizeof state_directory, "%s", state);
  (void)snprintf(server_url, sizeof server_url, "%s", url);
}

static const config_section NO_SECTION = {.file = "the defaults", .json = "{}", .json_size = 2};

static const config_section *find(const config *file, const char *kind) {
  for (size_t i = 0; file && i < config_count(file); i++)
    if (strcmp(config_at(file, i)->kind, kind) == 0) return config_at(file, i);
  return &NO_SECTION;
}

const config_section *settings_section(const settings *s, const char *kind) { return find(s->file, kind); }

static const struct {
  const char *kind;
  const purlin_schema *(*schema)(void);
  size_t place;
} SECTIONS[] = {
    {"server", server_settings_schema, offsetof(settings, server)},
    {"tls", tls_settings_schema, offsetof(settings, tls)},
    {"database", database_settings_schema, offsetof(settings, database)},
    {"log", log_settings_schema, offsetof(settings, log)},
    {"jobs", jobs_settings_schema, offsetof(settings, jobs)},
    {"lua", lua_settings_schema, offsetof(settings, lua)},
    {"plugins", plugins_settings_schema, offsetof(settings, plugins)},
    {"limits", rates_settings_schema, offsetof(settings, limits)},
    {"cors", cors_settings_schema, offsetof(settings, cors)},
    {"audit", audit_settings_schema, offsetof(settings, audit)},
    {"outbound", outbound_settings_schema, offsetof(settings, outbound)},
    {"secrets", secrets_settings_schema, offsetof(settings, secrets)},
};
enum { SECTION_COUNT = sizeof SECTIONS / sizeof SECTIONS[0] };

const purlin_schema *settings_schema(size_t index, const char **kind) {
  if (index >= SECTION_COUNT) return NULL;
  *kind = SECTIONS[index].kind;
  return SECTIONS[index].schema();
}

static purlin_status decode_all(settings *s, buffer *why) {
  purlin_status status = PURLIN_OK;
  for (size_t i = 0; i < SECTION_COUNT && status == PURLIN_OK; i++)
    status = config_decode(find(s->file, SECTIONS[i].kind), SECTIONS[i].schema(), &s->memory, (char *)s + SECTIONS[i].place,
                           why);
  return status;
}

purlin_status settings_use_outbound(const settings *s, buffer *why) {
  const config_section *section = find(s->file, "outbound");
  buffer message = {0};
  purlin_status status = outbound_begin(s->outbound.allow.items, s->outbound.allow.count, &message);
  if (status != PURLIN_OK) buffer_format(why, "%s:%d: %s", section->file, section->line, buffer_end(&message));
  buffer_free(&message);
  return status;
}

static const char *database_misfit(const database_settings *d) {
  if ((d->tls_certificate || d->tls_key) && !(d->tls_ca && d->tls_certificate && d->tls_key))
    return "tls_certificate and tls_key are needed, both, and tls_ca";
  if (d->tls_ca && d->socket) return "tls_ca is for host and port: a Unix socket leaves no machine";
  const char *const files[] = {d->tls_ca, d->tls_certificate, d->tls_key};
  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
    if (files[i] && access(files[i], R_OK) != 0) return "a file of tls_ca, tls_certificate and tls_key cannot be read";
  return NULL;
}

static purlin_status check_database(const settings *s, buffer *why) {
  const config_section *section = find(s->file, "database");
  const char *wrong = database_misfit(&s->database);
  if (wrong) buffer_format(why, "%s:%d: database: %s", section->file, section->line, wrong);
  return wrong ? PURLIN_INVALID : PURLIN_OK;
}

static void override(settings *s, const daemon_arguments *arguments) {
  if (arguments->dev && find(s->file, "server") == &NO_SECTION) s->server.state = "./var";
  static const char *const machine[] = {"127.0.0.0/8", "::1"};
  if (arguments->dev && find(s->file, "outbound") == &NO_SECTION)
    s->outbound.allow = (purlin_texts){machine, sizeof machine / sizeof machine[0]};
  if (arguments->dev && s->server.monitors.count == 0)
    s->server.monitors = (purlin_texts){machine, sizeof machine / sizeof machine[0]};
  if (arguments->state) s->server.state = arguments->state;
  if (arguments->address) s->server.address = arguments->address;
  if (arguments->port >= 0) s->server.port = arguments->port;
  /* Nobody asked for the usual folder of policies, so it may be absent. */
  if (find(s->file, "lua") == &NO_SECTION && access(s->lua.policies, F_OK) != 0) s->lua.policies = NULL;
  if (arguments->policies) s->lua.policies = arguments->policies;
  if (arguments->library) s->lua.library = arguments->library;
  if (!arguments->plugins) return;
  const char **folder = arena_alloc(&s->memory, sizeof *folder);
  if (!folder) return;
  *folder = arguments->plugins;
  s->plugins.folders = (purlin_texts){folder, 1};
}

purlin_status settings_load(const daemon_arguments *arguments, settings *out, buffer *why) {
  const char *kinds[SECTION_COUNT + 1] = {0};
  for (size_t i = 0; i < SECTION_COUNT; i++) kinds[i] = SECTIONS[i].kind;
  kinds[SECTION_COUNT] = "plugin";
  static const char STANDARD[] = "/etc/purlin/purlin.lua";
  *out = (settings){0};
  arena_init(&out->memory, (size_t)16 * 1024 * 1024);
  const char *path = arguments->config;
  if (!path && !arguments->dev && access(STANDARD, R_OK) == 0) path = STANDARD;
  purlin_status status = path ? config_load(path, kinds, sizeof kinds / sizeof kinds[0], &out->file, why) : PURLIN_OK;
  if (status == PURLIN_OK) status = decode_all(out, why);
  if (status == PURLIN_OK) status = check_database(out, why);
  if (status == PURLIN_OK) override(out, arguments);
  return status;
}

purlin_status settings_open_keys(const settings *s, bool check, buffer *why) {
  const secrets_options options = {.state = s->server.state, .keys = s->secrets.keys};
  const config_section *section = find(s->file, "secrets");
  buffer message = {0};
  purlin_status status = check ? secrets_check(&options, &message) : secrets_open(&options, &message);
  if (status != PURLIN_OK && section->line > 0) buffer_format(why, "%s:%d: ", section->file, section->line);
  if (status != PURLIN_OK) buffer_format(why, "secrets: %s", buffer_end(&message));
  buffer_free(&message);
  return status;
}

void settings_free(settings *s) {
  config_free(s->file);
  arena_free(&s->memory);
}
