#include "care/care.h"
#include <curl/curl.h>
#include <string.h>
#include "client/header.h"

enum { LARGEST_ANSWER = 64 * 1024 * 1024, CONNECT_MS = 5000 };

static size_t receive(char *data, size_t one, size_t count, void *to) {
  buffer *answer = to;
  buffer_add(answer, data, one * count);
  return answer->failed ? 0 : one * count;
}

/* The certificate is made for a name by which others call this machine. It is trusted because it is the very one that purlin.lua names. */
static void set_trust(CURL *curl, const installation *place, bool whatever) {
  if (!secure_is_on(&place->settings)) return;
  if (whatever) {
    (void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
    (void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    return;
  }
  (void)curl_easy_setopt(curl, CURLOPT_CAINFO, place->settings.tls.certificate);
  (void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
}

bool request_send(const installation *place, const care_request *request, unsigned *http, buffer *answer, buffer *why) {
  buffer url = {0};
  struct curl_slist *headers = NULL;
  char words[CURL_ERROR_SIZE] = "";
  CURLcode code = CURLE_OUT_OF_MEMORY;
  *http = 0;
  buffer_clear(answer);
  answer->limit = LARGEST_ANSWER;
  if (request->token && !listener_is_ours(place, why)) return false;
  installation_url(place, &url);
  buffer_text(&url, request->path);
  CURL *curl = curl_easy_init();
  /* "Purlin-Probe": what is asked of a model only to see whether it still answers is no prediction of anybody's. */
  if (curl && !url.failed && header_add(&headers, "Authorization: Bearer ", request->token) &&
      header_add(&headers, "Content-Type: ", request->body ? "application/json" : NULL) &&
      header_add(&headers, "Purlin-Probe: ", "upgrade")) {
    (void)curl_easy_setopt(curl, CURLOPT_URL, buffer_end(&url));
    (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    if (request->body) (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, words);
    set_trust(curl, place, request->any_certificate);
    code = curl_easy_perform(curl);
    long status = 0;
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (code == CURLE_OK) *http = (unsigned)status;
  }
  if (code != CURLE_OK) buffer_format(why, "%s: %s", buffer_end(&url), words[0] ? words : curl_easy_strerror(code));
  curl_slist_free_all(headers);
  curl_easy_cleanup(curl);
  buffer_free(&url);
  return code == CURLE_OK;
}
