#include "mail.h"
#include "accounts.h"
#include <curl/curl.h>
#include <purlin/http.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { TIMEOUT_S = 30 };

bool mail_is_configured(purlin_ctx *ctx) {
  const accounts_configuration *configured = purlin_configuration(ctx);
  return *configured->smtp_url && *configured->mail_from;
}

/* ---- Sending: libcurl blocks, so on the pool for that -------------------------------------------------------------------------------- */

typedef struct sending {
  const accounts_configuration *configured;
  const char *to, *text;
  size_t size, sent;
  char *host, *port;         /* of the mail server; libcurl's */
  bool forbidden, permitted; /* one of its addresses; another one */
  char why[CURL_ERROR_SIZE];
} sending;

static size_t give(char *out, size_t one, size_t count, void *from) {
  sending *s = from;
  size_t room = one * count, left = s->size - s->sent;
  if (room > left) room = left;
  memcpy(out, s->text + s->sent, room);
  s->sent += room;
  return room;
}

static uint16_t port_of(const sending *s) { return (uint16_t)strtoul(s->port, NULL, 10); }

static curl_socket_t open_socket(void *argument, curlsocktype purpose, struct curl_sockaddr *address) {
  (void)purpose;
  sending *s = argument;
  bool permitted = purlin_outbound_permits(s->host, port_of(s), &address->addr, address->addrlen);
  if (permitted) s->permitted = true;
  else s->forbidden = true;
  if (!permitted) return CURL_SOCKET_BAD;
  return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static bool find_host(sending *s) {
  CURLU *url = curl_url();
  bool found = url && curl_url_set(url, CURLUPART_URL, s->configured->smtp_url, 0) == CURLUE_OK &&
               curl_url_get(url, CURLUPART_HOST, &s->host, 0) == CURLUE_OK &&
               curl_url_get(url, CURLUPART_PORT, &s->port, CURLU_DEFAULT_PORT) == CURLUE_OK;
  curl_url_cleanup(url);
  return found;
}

static void set_options(CURL *curl, sending *s, struct curl_slist *recipients) {
  const accounts_configuration *c = s->configured;
  (void)curl_easy_setopt(curl, CURLOPT_URL, c->smtp_url);
  (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
  (void)curl_easy_setopt(curl, CURLOPT_USE_SSL, (long)(c->smtp_starttls ? CURLUSESSL_ALL : CURLUSESSL_NONE));
  (void)curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
  if (*c->smtp_ca_file) (void)curl_easy_setopt(curl, CURLOPT_CAINFO, c->smtp_ca_file);
  (void)curl_easy_setopt(curl, CURLOPT_MAIL_FROM, c->mail_from);
  (void)curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, recipients);
  (void)curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
  (void)curl_easy_setopt(curl, CURLOPT_READFUNCTION, give);
  (void)curl_easy_setopt(curl, CURLOPT_READDATA, s);
  (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TIMEOUT_S);
  (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
  (void)curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket);
  (void)curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, s);
  (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, s->why);
  if (!*c->smtp_user) return;
  (void)curl_easy_setopt(curl, CURLOPT_USERNAME, c->smtp_user);
  (void)curl_easy_setopt(curl, CURLOPT_PASSWORD, c->smtp_password);
}

static purlin_status send_now(void *argument) {
  sending *s = argument;
  CURL *curl = curl_easy_init();
  struct curl_slist *recipients = curl_slist_append(NULL, s->to);
  CURLcode code = CURLE_OUT_OF_MEMORY;
  if (curl && recipients && find_host(s)) {
    set_options(curl, s, recipients);
    code = curl_easy_perform(curl);
  }
  if (code != CURLE_OK && !s->why[0]) (void)snprintf(s->why, sizeof s->why, "%s", curl_easy_strerror(code));
  curl_slist_free_all(recipients);
  curl_easy_cleanup(curl);
  return code == CURLE_OK ? PURLIN_OK : s->forbidden && !s->permitted ? PURLIN_FORBIDDEN : PURLIN_UNAVAILABLE;
}

/* RFC 5322. Addresses hold neither spaces nor line ends, by their schema, and subjects and texts are our own. */
static const char *compose(purlin_ctx *ctx, const char *to, const char *subject, const char *text) {
  const accounts_configuration *configured = purlin_configuration(ctx);
  char date[64];
  struct tm parts;
  time_t now = (time_t)(purlin_now_us() / 1000000);
  if (!gmtime_r(&now, &parts) || strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S +0000", &parts) == 0) return NULL;
  return purlin_format(
      ctx,
      "Date: %s\r\nFrom: <%s>\r\nTo: <%s>\r\nSubject: %s\r\nMessage-ID: <%s@purlin>\r\nMIME-Version: 1.0\r\n"
      "Content-Type: text/plain; charset=utf-8\r\nAuto-Submitted: auto-generated\r\n\r\n%s",
      date, configured->mail_from, to, subject, purlin_new_id(ctx, "mail"), text);
}

purlin_status mail_send(purlin_ctx *ctx, const char *to, const char *subject, const char *text) {
  sending s = {.configured = purlin_configuration(ctx), .to = to, .text = compose(ctx, to, subject, text)};
  if (!s.text) return PURLIN_TOO_LARGE;
  s.size = strlen(s.text);
  purlin_status status = purlin_offload(ctx, PURLIN_POOL_BLOCKING, send_now, &s);
  if (status == PURLIN_FORBIDDEN) (void)purlin_outbound_refused(ctx, s.host, port_of(&s));
  else if (status != PURLIN_OK) (void)purlin_fail(ctx, status, "the mail server did not take a letter: %s", s.why);
  curl_free(s.host);
  curl_free(s.port);
  return status;
}
