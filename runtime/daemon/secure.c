/* secure.c: the section tls of purlin.lua, and what follows from it. */
#include "daemon/daemon.h"
#include "daemon/settings.h"
#include "http/server.h"
#include "http/tls.h"
#include <stdio.h>
#include <string.h>

bool secure_is_on(const settings *s) { return s->tls.certificate != NULL; }

static tls_options options_of(const tls_settings *configured) {
  bool required = strcmp(configured->client_certificate, "required") == 0;
  return (tls_options){.certificate = configured->certificate,
                       .key = configured->key,
                       .minimum = configured->minimum,
                       .ciphers = configured->ciphers,
                       .ciphersuites = configured->ciphersuites,
                       .client_ca = configured->client_ca,
                       .clients = !configured->client_ca ? TLS_CLIENTS_ANY
                                  : required             ? TLS_CLIENTS_REQUIRED
                                                         : TLS_CLIENTS_OPTIONAL};
}

/* Members that only make sense together. */
static const char *misfit(const settings *s) {
  const tls_settings *t = &s->tls;
  if (!t->certificate && !t->key && !t->client_ca) return NULL;
  if (!t->certificate || !t->key) return "certificate and key are needed, both";
  if (!t->client_ca && strcmp(t->client_certificate, "required") == 0)
    return "client_certificate = \"required\" needs client_ca, the file of those who may vouch for clients";
  if (t->redirect_port > 0 && t->redirect_port == s->server.port) return "redirect_port is the port of the server itself";
  return NULL;
}

/* What goes before a message, so that it says where the files are named. */
static void say_where(const settings *s, buffer *why, buffer *message) {
  const config_section *section = settings_section(s, "tls");
  if (section && section->line > 0) buffer_format(why, "%s:%d: ", section->file, section->line);
  buffer_format(why, "tls: %s", buffer_end(message));
}

static purlin_status look(const settings *s, bool dates, buffer *message) {
  const char *wrong = misfit(s);
  if (wrong) buffer_text(message, wrong);
  if (wrong) return PURLIN_INVALID;
  if (!secure_is_on(s)) return PURLIN_OK;
  const tls_options options = options_of(&s->tls);
  tls_facts facts;
  SSL_CTX *context = tls_context_make(&options, &facts, message);
  if (!context) return PURLIN_INVALID;
  SSL_CTX_free(context);
  return !dates || tls_dates_fit(&options, &facts, message) ? PURLIN_OK : PURLIN_INVALID;
}

purlin_status secure_check(const settings *s, buffer *why) {
  buffer message = {0};
  purlin_status status = look(s, true, &message);
  if (status != PURLIN_OK) say_where(s, why, &message);
  buffer_free(&message);
  return status;
}

/* The texts that the server borrows. */
static char strict_transport[64];

static void set_options(const settings *s, http_options *out) {
  const tls_settings *t = &s->tls;
  out->tls = true;
  out->redirect_port = t->redirect_port > 0 ? (int32_t)t->redirect_port : -1;
  out->redirect_health = t->redirect_health;
  if (s->server.url && strncmp(s->server.url, "https://", 8) == 0) out->redirect_to = s->server.url;
  if (t->hsts_days == 0) return;
  (void)snprintf(strict_transport, sizeof strict_transport, "max-age=%lld%s", (long long)t->hsts_days * 86400,
                 t->hsts_subdomains ? "; includeSubDomains" : "");
  out->strict_transport = strict_transport;
}

purlin_status secure_begin(const settings *s, http_options *out, buffer *why) {
  buffer message = {0};
  purlin_status status = look(s, false, &message);
  if (status == PURLIN_OK && secure_is_on(s)) {
    const tls_options options = options_of(&s->tls);
    status = tls_begin(&options, &message);
    set_options(s, out);
  }
  if (status != PURLIN_OK) say_where(s, why, &message);
  buffer_free(&message);
  return status;
}
