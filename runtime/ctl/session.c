#include "ctl/credentials.h"
#include "client/header.h"
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
  TIMEOUT_S = 300,
  CONNECT_TIMEOUT_S = 10,
  HASTY_TIMEOUT_S = 3,
  HASTY_CONNECT_TIMEOUT_S = 1,
  LARGEST_ANSWER = 256 * 1024 * 1024,
  LONGEST_TOKEN = 512
};

/* ---- Where, and who ----------------------------------------------------------------------------------------------------------------------- */

/* 0 or an errno. */
static int read_token(const char *path, buffer *out) {
  FILE *file = fopen(path, "re");
  if (!file) return errno;
  char text[LONGEST_TOKEN];
  size_t size = fread(text, 1, sizeof text - 1, file);
  int error = ferror(file) ? EIO : 0;
  (void)fclose(file);
  text[size] = '\0';
  buffer_clear(out);
  buffer_add(out, text, strcspn(text, "\r\n"));
  return error == 0 && out->size == 0 ? ENODATA : error;
}

/* This machine, where the token that lies in a usual place was made for. */
static bool is_here(const char *url) {
  static const char *const names[] = {"127.0.0.1", "localhost", "[::1]"};
  const char *host = strstr(url, "://");
  host = host ? host + 3 : url;
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    size_t size = strlen(names[i]);
    if (strncmp(host, names[i], size) == 0 && (host[size] == '\0' || host[size] == ':' || host[size] == '/')) return true;
  }
  return false;
}

const char *session_variable(const char *name) {
  const char *value = getenv(name);
  return value && *value ? value : NULL;
}

static bool find_token(session *s) {
  if (!s->token_file) s->token = session_variable("PURLIN_TOKEN");
  s->token_from = "PURLIN_TOKEN";
  if (s->token) return true;
  const char *named = s->token_file ? s->token_file : session_variable("PURLIN_TOKEN_FILE");
  static const char *const usual[] = {"var/admin.token", "/var/lib/purlin/admin.token"};
  int error = named ? read_token(named, &s->token_text) : ENOENT;
  if (named && error != 0) {
    (void)fprintf(stderr, "purlin: cannot read the token file %s: %s\n", named,
                  error == ENODATA ? "it is empty" : strerror(error));
    return false;
  }
  s->token_from = named ? named : "'purlin login'";
  if (!named && credentials_token(s)) return true;
  for (size_t i = 0; error != 0 && i < sizeof usual / sizeof usual[0] && is_here(s->server) && !s->over; i++) {
    error = read_token(usual[i], &s->token_text);
    s->token_from = usual[i];
  }
  if (error == 0) s->token = buffer_end(&s->token_text);
  return true;
}

void session_address(session *s) {
  if (!s->talks) (void)curl_global_init(CURL_GLOBAL_DEFAULT);
  s->talks = true;
  if (!s->server) s->server = getenv("PURLIN_SERVER");
  if (!s->server || !*s->server) s->server = "http://127.0.0.1:8080";
  buffer_text(&s->server_text, s->server);
  while (s->server_text.size > 0 && s->server_text.data[s->server_text.size - 1] == '/') s->server_text.size--;
  s->server = buffer_end(&s->server_text);
  if (!s->ca_file) s->ca_file = getenv("PURLIN_CA_FILE");
  if (s->ca_file && !*s->ca_file) s->ca_file = NULL;
}

/* A header must not be able to hold another. */
static bool settle_place(const char **value, const char *variable, const char *option) {
  if (!*value) *value = getenv(variable);
  if (*value && !**value) *value = NULL;
  for (const char *at = *value; at && *at; at++) {
    if ((unsigned char)*at > ' ' && (unsigned char)*at < 0x7f) continue;
    (void)fprintf(stderr, "purlin: what %s or %s names is no name: letters, digits, '.', '_' and '-'\n", option, variable);
    return false;
  }
  return true;
}

bool session_complete(session *s) {
  session_address(s);
  return settle_place(&s->workspace, "PURLIN_WORKSPACE", "--workspace") &&
         settle_place(&s->project, "PURLIN_PROJECT", "--project") && find_token(s);
}

void session_end(session *s) {
  if (s->talks) curl_global_cleanup();
  buffer_free(&s->server_text);
  buffer_free(&s->token_text);
}

/* ---- A request ---------------------------------------------------------------------------------------------------------------------------- */

static size_t receive(char *data, size_t one, size_t count, void *to) {
  buffer *answer = to;
  buffer_add(answer, data, one * count);
  return answer->failed ? 0 : one * count;
}

/* Says on a terminal, after a second, that the answer is being waited for. */
typedef struct patience {
  time_t began;
  long shown_s;
  bool terminal;
} patience;

static int wait_patiently(void *to, curl_off_t to_get, curl_off_t got, curl_off_t to_send, curl_off_t sent) {
  (void)to_get;
  (void)to_send;
  (void)sent;
  patience *p = to;
  long passed_s = (long)(time(NULL) - p->began);
  if (!p->terminal || passed_s < 2 || passed_s == p->shown_s) return 0;
  p->shown_s = passed_s;
  if (got > 0) (void)fprintf(stderr, "\r%lld KiB received, %ld s", (long long)(got / 1024), passed_s);
  else (void)fprintf(stderr, "\rwaiting for the server, %ld s; Ctrl-C gives up", passed_s);
  return 0;
}

static void set_options(CURL *curl, const session *s, const char *method, const char *body, patience *p) {
  (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
  (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)(s->hasty ? HASTY_TIMEOUT_S : TIMEOUT_S));
  (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)(s->hasty ? HASTY_CONNECT_TIMEOUT_S : CONNECT_TIMEOUT_S));
  (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  (void)curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  (void)curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, wait_patiently);
  (void)curl_easy_setopt(curl, CURLOPT_XFERINFODATA, p);
  (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
  (void)curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
  if (s->ca_file) (void)curl_easy_setopt(curl, CURLOPT_CAINFO, s->ca_file);
  if (is_here(s->server)) (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
  if (body) (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
}

static void say_no_answer(const session *s, CURLcode code, const char *why) {
  if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST)
    (void)fprintf(stderr,
                  "purlin: no server answers at %s. Is purlind running? --server or PURLIN_SERVER names another.\n  %s\n",
                  s->server, why);
  else (void)fprintf(stderr, "purlin: %s: %s\n", s->server, why);
  if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE)
    (void)fputs("  Whose certificate is to be trusted says --ca-file FILE or PURLIN_CA_FILE.\n", stderr);
}

bool session_request(const session *s, const char *method, const char *path, const char *body, unsigned *http,
                     buffer *answer) {
  buffer url = {0};
  struct curl_slist *headers = NULL;
  buffer_format(&url, "%s%s", s->server, path);
  answer->limit = LARGEST_ANSWER;
  CURL *curl = curl_easy_init();
  bool whole = curl && header_add(&headers, "Content-Type: ", "application/json") &&
               header_add(&headers, "Authorization: Bearer ", s->token) &&
               header_add(&headers, "Purlin-Workspace: ", s->workspace) &&
               header_add(&headers, "Purlin-Project: ", s->project);
  patience p = {.began = time(NULL), .terminal = display_is_terminal(stderr)};
  CURLcode code = CURLE_OUT_OF_MEMORY;
  char why[CURL_ERROR_SIZE] = "";
  if (whole) {
    set_options(curl, s, method, body, &p);
    (void)curl_easy_setopt(curl, CURLOPT_URL, buffer_end(&url));
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    code = curl_easy_perform(curl);
    long status = 0;
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    *http = (unsigned)status;
  }
  if (p.shown_s > 0) (void)fprintf(stderr, "\r%60s\r", "");
  if (code != CURLE_OK) say_no_answer(s, code, why[0] ? why : curl_easy_strerror(code));
  curl_slist_free_all(headers);
  curl_easy_cleanup(curl);
  buffer_free(&url);
  return code == CURLE_OK;
}

/* ---- A problem ---------------------------------------------------------------------------------------------------------------------------- */

static const char *member(const cJSON *of, const char *name) {
  return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(of, name));
}

static void add(buffer *out, const char *before, const char *text) {
  if (!text) return;
  buffer_text(out, before);
  display_add(out, text, strlen(text));
}

void session_complain(const session *s, unsigned http, buffer *answer) {
  cJSON *problem = cJSON_ParseWithLength(answer->data, answer->size);
  const char *title = member(problem, "title");
  buffer text = {0};
  add(&text, "purlin: ", title ? title : "the server refused");
  add(&text, ": ", member(problem, "detail"));
  buffer_format(&text, " (%u)\n", http);
  const cJSON *error;
  cJSON_ArrayForEach(error, cJSON_GetObjectItemCaseSensitive(problem, "errors")) {
    const char *field = member(error, "field");
    add(&text, "  ", field ? field : "");
    add(&text, ": ", member(error, "message"));
    buffer_char(&text, '\n');
  }
  if (http == 401 && s->token) {
    add(&text, "  the token that was sent, from ", s->token_from);
    buffer_text(&text, ", is not one of this server, or no longer\n");
  } else if (http == 401)
    buffer_text(&text,
                "  log in with 'purlin login', or give a token: --token-file FILE, PURLIN_TOKEN_FILE or PURLIN_TOKEN\n");
  if (http >= 500 && !member(problem, "detail"))
    add(&text, "  the server's log says more: trace ", member(problem, "trace_id"));
  if (http >= 500 && !member(problem, "detail") && member(problem, "trace_id")) buffer_char(&text, '\n');
  (void)fputs(buffer_end(&text), stderr);
  buffer_free(&text);
  cJSON_Delete(problem);
}
