#include "import.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
  CONNECT_S = 15,
  STALLED_S = 300,
  LONGEST_S = 900,
  ATTEMPTS = 8,
  LARGEST_ANSWER = 32 * 1024 * 1024,
  MOST_EMPTY = 100
};

/* ---- Opening ---------------------------------------------------------------------------------------------------------------------- */

void server_add_header(server *s, const char *name, const char *value) {
  if (!value || !*value) return;
  struct curl_slist *more = curl_slist_append(s->headers, say("%s: %s", name, value));
  if (more) s->headers = more;
}

/* "https://ana:secret@host/path/" becomes the address, the name and the password; the "#/experiments" of a browser's address is no part of it. */
void server_open(server *s, const char *url, const char *name) {
  const char *scheme = strstr(url, "://"), *host = scheme ? scheme + 3 : url, *at = strchr(host, '@'),
             *path = strchr(host, '/');
  size_t size = strcspn(host, "#");
  s->name = name;
  if (at && (!path || at < path)) {
    const char *colon = memchr(host, ':', (size_t)(at - host));
    s->user = say("%.*s", (int)((colon ? colon : at) - host), host);
    s->password = colon ? say("%.*s", (int)(at - colon - 1), colon + 1) : "";
    host = at + 1;
    size = strcspn(host, "#");
  }
  while (size > 0 && host[size - 1] == '/') size--;
  s->url = say("%.*s%.*s", scheme ? (int)(scheme + 3 - url) : 0, url, (int)size, host);
  s->curl = curl_easy_init();
  if (!s->curl) exit(DIFFERS);
}

void server_close(server *s) {
  curl_slist_free_all(s->headers);
  curl_easy_cleanup(s->curl);
  s->headers = NULL;
  s->curl = NULL;
}

void server_prepare(server *s, CURL *curl, const char *path) {
  curl_easy_reset(curl);
  (void)curl_easy_setopt(curl, CURLOPT_URL, say("%s%s", s->url, path));
  (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, s->headers);
  (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
  (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  (void)curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
  (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  (void)curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
  if (s->user) {
    (void)curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
    (void)curl_easy_setopt(curl, CURLOPT_USERNAME, s->user);
    (void)curl_easy_setopt(curl, CURLOPT_PASSWORD, s->password);
  }
  if (s->ca_file) (void)curl_easy_setopt(curl, CURLOPT_CAINFO, s->ca_file);
  if (s->insecure) {
    (void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
    (void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
  }
}

const char *escaped(const char *text, bool slashes) {
  static const char hexadecimal[] = "0123456789ABCDEF";
  size_t size = strlen(text), at = 0;
  char *out = say("%*s", (int)(size * 3), "");
  for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
    bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || strchr("-_.~", *c) ||
                 (slashes && *c == '/');
    if (!plain) out[at++] = '%';
    if (!plain) out[at++] = hexadecimal[*c >> 4];
    out[at++] = plain ? (char)*c : hexadecimal[*c & 15];
  }
  out[at] = '\0';
  return out;
}

/* ---- Asking ------------------------------------------------------------------------------------------------------------------------- */

typedef struct received {
  char *data;
  size_t size, room;
  bool too_large;
} received;

static size_t receive(char *data, size_t one, size_t count, void *to) {
  received *r = to;
  size_t size = one * count;
  r->too_large = size > LARGEST_ANSWER - r->size;
  if (r->too_large) return 0;
  if (r->size + size + 1 > r->room) {
    size_t room = (r->size + size + 1) * 2;
    char *more = realloc(r->data, room);
    if (!more) return 0;
    r->data = more;
    r->room = room;
  }
  memcpy(r->data + r->size, data, size);
  r->size += size;
  r->data[r->size] = '\0';
  return size;
}

static CURLcode send_once(server *s, const char *method, const char *path, const char *body, const char *key, received *r) {
  struct curl_slist *headers = NULL;
  for (const struct curl_slist *h = s->headers; h; h = h->next) headers = curl_slist_append(headers, h->data);
  headers = curl_slist_append(headers, "Content-Type: application/json");
  if (key) headers = curl_slist_append(headers, key);
  server_prepare(s, s->curl, path);
  (void)curl_easy_setopt(s->curl, CURLOPT_HTTPHEADER, headers);
  (void)curl_easy_setopt(s->curl, CURLOPT_CUSTOMREQUEST, method);
  (void)curl_easy_setopt(s->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  (void)curl_easy_setopt(s->curl, CURLOPT_LOW_SPEED_TIME, (long)STALLED_S);
  (void)curl_easy_setopt(s->curl, CURLOPT_TIMEOUT, (long)LONGEST_S);
  (void)curl_easy_setopt(s->curl, CURLOPT_WRITEFUNCTION, receive);
  (void)curl_easy_setopt(s->curl, CURLOPT_WRITEDATA, r);
  if (body) (void)curl_easy_setopt(s->curl, CURLOPT_POSTFIELDS, body);
  if (body) (void)curl_easy_setopt(s->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
  CURLcode code = curl_easy_perform(s->curl);
  s->status = 0;
  (void)curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &s->status);
  curl_slist_free_all(headers);
  return code;
}

/* Whether it may be otherwise in a moment. A server that never answered is more likely another one than meant. */
static bool is_passing(const server *s, CURLcode code) {
  if (code != CURLE_OK) return s->answered && code != CURLE_PEER_FAILED_VERIFICATION;
  return s->status == 429 || s->status == 502 || s->status == 503 || s->status == 504;
}

/* So that what is sent again after a lost answer makes nothing twice. */
static const char *idempotency_key(void) {
  unsigned char bytes[16] = {0};
  FILE *random = fopen("/dev/urandom", "re");
  size_t got = random ? fread(bytes, 1, sizeof bytes, random) : 0;
  if (random) (void)fclose(random);
  if (got != sizeof bytes) return NULL;
  char text[33];
  for (size_t i = 0; i < sizeof bytes; i++) (void)snprintf(text + 2 * i, 3, "%02x", bytes[i]);
  return say("Idempotency-Key: %s", text);
}

static void note_refusal(server *s, const received *r) {
  cJSON *error = cJSON_ParseWithLength(r->data ? r->data : "", r->size);
  const char *message = text_of(error, "message");
  if (!*message) message = text_of(error, "detail");
  if (s->too_large) message = "an answer is larger than 32 MiB";
  else if (s->status >= 300 && s->status < 400) message = "it sends elsewhere, which is not followed: give that URL itself";
  if (*message) (void)snprintf(s->message, sizeof s->message, "%s", message);
  else (void)snprintf(s->message, sizeof s->message, "it answers %ld and gives no reason", s->status);
  cJSON_Delete(error);
}

static void wait_for(server *s, unsigned attempt) {
  curl_off_t asked = 0;
  (void)curl_easy_getinfo(s->curl, CURLINFO_RETRY_AFTER, &asked);
  unsigned seconds = attempt < 5 ? 1u << (attempt - 1) : 15;
  (void)sleep(asked > seconds && asked <= 60 ? (unsigned)asked : seconds);
}

static _Noreturn void give_up(const server *s, CURLcode code) {
  (void)fprintf(stderr, "\npurlin-import-mlflow: %s at %s does not answer: %s\n", s->name, s->url,
                curl_easy_strerror(code));
  if (s->answered) (void)fputs("  Run it again: it goes on where it stopped.\n", stderr);
  exit(UNREACHABLE);
}

/* An answer of the server is in *r, whatever it says. */
static void request(server *s, const char *method, const char *path, const char *body, received *r) {
  const char *key = strcmp(method, "POST") == 0 ? idempotency_key() : NULL;
  CURLcode code = CURLE_OK;
  s->too_large = false;
  for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (attempt > 0) wait_for(s, attempt);
    r->size = 0;
    code = send_once(s, method, path, body, key, r);
    s->too_large = code == CURLE_WRITE_ERROR && r->too_large;
    if (s->too_large || !is_passing(s, code)) break;
  }
  if (code != CURLE_OK && !s->too_large) give_up(s, code);
  s->answered = true;
}

static _Noreturn void no_entry(const server *s) {
  (void)fprintf(stderr, "\npurlin-import-mlflow: %s at %s lets nobody in who shows no credentials, or these: ", s->name,
                s->url);
  show(s->message, -1);
  (void)fputs("\n  'purlin import mlflow --help' tells where they are looked for.\n", stderr);
  exit(UNREACHABLE);
}

bool ask(server *s, const char *method, const char *path, const cJSON *body, cJSON **answer) {
  pool_block *mark = pool_mark();
  received r = {0};
  char *text = body ? cJSON_PrintUnformatted(body) : NULL;
  request(s, method, path, text, &r);
  bool fine = s->status >= 200 && s->status < 300 && !s->too_large;
  if (fine) *answer = cJSON_ParseWithLength(r.data ? r.data : "{}", r.data ? r.size : 2);
  if (fine && !*answer) (void)snprintf(s->message, sizeof s->message, "its answer is no JSON: is that the right URL?");
  else if (!fine) note_refusal(s, &r);
  if (s->status == 401) no_entry(s);
  cJSON_free(text);
  free(r.data);
  pool_release(mark);
  return fine && *answer;
}

bool tell(server *s, const char *method, const char *path, const cJSON *body) {
  cJSON *answer = NULL;
  bool fine = ask(s, method, path, body, &answer);
  cJSON_Delete(answer);
  return fine;
}

const char *ask_text(server *s, const char *path) {
  received r = {0};
  request(s, "GET", path, NULL, &r);
  const char *text =
      s->status == 200 && r.data && !s->too_large ? say("%.*s", (int)(r.size < 100 ? r.size : 100), r.data) : "";
  free(r.data);
  return text;
}

/* ---- Pages ------------------------------------------------------------------------------------------------------------------------- */

bool turn_page(paging *p, server *s, const cJSON *page, const char *list) {
  const char *next = text_of(page, "next_page_token");
  if (!*next) return false;
  p->empty = cJSON_GetArraySize(member(page, list)) > 0 ? 0 : p->empty + 1;
  p->broken = strlen(next) >= sizeof p->token || strcmp(next, p->token) == 0 || p->empty > MOST_EMPTY;
  if (p->broken) (void)snprintf(s->message, sizeof s->message, "its pages of %s have no end", list);
  else (void)snprintf(p->token, sizeof p->token, "%s", next);
  return !p->broken;
}
