#include "ctl/ctl.h"
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TIMEOUT_S = 300, LARGEST_ANSWER = 256 * 1024 * 1024 };

static bool read_token(const char *path, buffer *storage) {
  FILE *file = fopen(path, "re");
  if (!file) return false;
  char text[512];
  size_t size = fread(text, 1, sizeof text - 1, file);
  (void)fclose(file);
  text[size] = '\0';
  text[strcspn(text, "\r\n")] = '\0';
  buffer_text(storage, text);
  return storage->size > 0;
}

void session_complete(session *s, buffer *storage) {
  if (!s->server) s->server = getenv("PURLIN_SERVER");
  if (!s->server) s->server = "http://127.0.0.1:8080";
  if (!s->token) s->token = getenv("PURLIN_TOKEN");
  if (s->token) return;
  const char *const places[] = {getenv("PURLIN_TOKEN_FILE"), "var/admin.token", "/var/lib/purlin/admin.token"};
  for (size_t i = 0; i < sizeof places / sizeof places[0] && !s->token; i++)
    if (places[i] && read_token(places[i], storage)) s->token = buffer_end(storage);
}

static size_t receive(char *data, size_t one, size_t count, void *to) {
  buffer *answer = to;
  buffer_add(answer, data, one * count);
  return answer->failed ? 0 : one * count;
}

bool session_request(const session *s, const char *method, const char *path, const char *body, unsigned *http,
                     buffer *answer) {
  buffer url = {0}, authorization = {0};
  buffer_format(&url, "%s%s", s->server, path);
  buffer_format(&authorization, "Authorization: Bearer %s", s->token ? s->token : "");
  answer->limit = LARGEST_ANSWER;
  CURL *curl = curl_easy_init();
  struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
  if (s->token) headers = curl_slist_append(headers, buffer_end(&authorization));
  char why[CURL_ERROR_SIZE] = "";
  bool fine = curl && headers;
  if (fine) {
    (void)curl_easy_setopt(curl, CURLOPT_URL, buffer_end(&url));
    (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TIMEOUT_S);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    if (body) (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    CURLcode code = curl_easy_perform(curl);
    long status = 0;
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    *http = (unsigned)status;
    fine = code == CURLE_OK;
    if (!fine)
      (void)fprintf(stderr, "purlin: %s: %s; is purlind running there?\n", s->server,
                    why[0] ? why : curl_easy_strerror(code));
  }
  curl_slist_free_all(headers);
  curl_easy_cleanup(curl);
  buffer_free(&url);
  buffer_free(&authorization);
  return fine;
}

void session_complain(unsigned http, buffer *answer) {
  cJSON *problem = cJSON_ParseWithLength(answer->data, answer->size);
  const char *title = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(problem, "title"));
  const char *detail = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(problem, "detail"));
  print(stderr, "purlin: %s%s%s (%u)\n", title ? title : "the server refused", detail ? ": " : "", detail ? detail : "",
        http);
  const cJSON *error;
  cJSON_ArrayForEach(error, cJSON_GetObjectItemCaseSensitive(problem, "errors")) {
    const char *field = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(error, "field"));
    const char *message = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(error, "message"));
    print(stderr, "  %s: %s\n", field ? field : "", message ? message : "");
  }
  if (http == 401) (void)fprintf(stderr, "  give a token: --token-file FILE, or PURLIN_TOKEN\n");
  cJSON_Delete(problem);
}
