/* One attempt as libcurl sees it. */
#include "client/parts.h"

#include "core/network.h"
#include "core/text.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_URL_BYTES ((size_t)16 * 1024)
#define DEFAULT_ANSWER_BYTES ((size_t)1024 * 1024)
#define TRANSFER_BYTES 65536L

/* ---- Checking what was asked --------------------------------------------------------------------------------------------------- */

static bool is_loopback(const char *host) {
  if (strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0) return true;
  return strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == strlen(host);
}

/* Appends; false: no room. */
static bool put(char *out, size_t *used, const char *text) {
  size_t size = strlen(text);
  if (size >= CLIENT_ORIGIN_BYTES - *used) return false;
  memcpy(out + *used, text, size + 1);
  *used += size;
  return true;
}

static bool origin_of(CURLU *parsed, char origin[CLIENT_ORIGIN_BYTES], bool *loopback) {
  char *scheme = NULL, *host = NULL, *port = NULL;
  size_t used = 0;
  bool fine = curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
              curl_url_get(parsed, CURLUPART_HOST, &host, 0) == CURLUE_OK && host[0] != '\0' &&
              curl_url_get(parsed, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
              (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
  for (char *at = fine ? host : NULL; at != NULL && *at != '\0'; at++) *at = (char)tolower((unsigned char)*at);
  fine = fine && put(origin, &used, scheme) && put(origin, &used, "://") && put(origin, &used, host) &&
         put(origin, &used, ":") && put(origin, &used, port);
  *loopback = fine && is_loopback(host);
  curl_free(scheme);
  curl_free(host);
  curl_free(port);
  return fine;
}

/* libcurl would also take "http:/host" and "http:///host". */
static bool begins_well(const char *url) {
  size_t scheme = strcspn(url, ":");
  return strncmp(url + scheme, "://", 3) == 0 && url[scheme + 3] != '/' && strlen(url) <= MOST_URL_BYTES;
}

bool request_origin(const char *url, char origin[CLIENT_ORIGIN_BYTES], bool *loopback) {
  if (url == NULL || !begins_well(url)) return false;
  CURLU *parsed = curl_url();
  if (parsed == NULL) return false;
  bool fine = curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK && origin_of(parsed, origin, loopback);
  curl_url_cleanup(parsed);
  return fine;
}

/* "https://host:443", taken apart again. */
static uint16_t host_of(const client_call *call, char host[CLIENT_ORIGIN_BYTES]) {
  const char *from = strstr(call->origin, "://") + 3, *colon = strrchr(from, ':');
  size_t size = (size_t)(colon - from);
  memcpy(host, from, size);
  host[size] = '\0';
  return (uint16_t)strtoul(colon + 1, NULL, 10);
}

bool request_permits(const client_call *call, const struct sockaddr *address, size_t size) {
  char host[CLIENT_ORIGIN_BYTES];
  uint16_t port = host_of(call, host);
  return purlin_outbound_permits(host, port, address, size);
}

/* A proxy is connected to in the place of the host, but a host that is written as an address can be judged here. */
static bool literal_is_permitted(const client_call *call) {
  char host[CLIENT_ORIGIN_BYTES];
  uint16_t port = host_of(call, host);
  const char *text = host[0] == '[' ? host + 1 : host;
  host[text == host ? strlen(host) : strcspn(host, "%]")] = '\0';
  struct sockaddr_in6 address = {.sin6_family = AF_INET6};
  if (!network_parse_address(text, &address.sin6_addr)) return true;
  return purlin_outbound_permits(NULL, port, (const struct sockaddr *)&address, sizeof address);
}

purlin_status request_refuse(const client_call *call) {
  char host[CLIENT_ORIGIN_BYTES];
  uint16_t port = host_of(call, host);
  return purlin_outbound_refused(call->ctx, host, port);
}

static size_t token_size(const char *text) {
  size_t size = 0;
  while (isalnum((unsigned char)text[size]) || (text[size] != '\0' && strchr("!#$%&'*+-.^_`|~", text[size]) != NULL))
    size++;
  return size;
}

static bool header_is(const char *header, const char *name) {
  return text_equal_ignoring_case(header, token_size(header), name, strlen(name));
}

/* "Name: value" without control characters, and none that we write ourselves. */
static bool header_fit(const char *header) {
  size_t name = token_size(header);
  if (name == 0 || header[name] != ':') return false;
  for (const char *at = header + name; *at != '\0'; at++) {
    unsigned char c = (unsigned char)*at;
    if ((c < 0x20 && c != '\t') || c == 0x7f) return false;
  }
  return !header_is(header, "Content-Length") && !header_is(header, "Transfer-Encoding");
}

static bool method_fit(const char *method) {
  size_t size = strlen(method);
  for (size_t i = 0; i < size; i++) {
    if (method[i] < 'A' || method[i] > 'Z') return false;
  }
  return size > 0 && size <= 16 && strcmp(method, "CONNECT") != 0;
}

static bool any_of(const char *text, const char *const *choices) {
  for (; *choices != NULL; choices++) {
    if (strcmp(text, *choices) == 0) return true;
  }
  return false;
}

purlin_status request_check(client_call *call) {
  static const char *const repeatable[] = {"GET", "HEAD", "PUT", "DELETE", NULL};
  static const char *const with_body[] = {"POST", "PUT", "PATCH", NULL};
  const purlin_http_call *asked = call->asked;
  call->method = asked->method != NULL ? asked->method : "GET";
  if (!request_origin(asked->url, call->origin, &call->loopback)) {
    return purlin_fail(call->ctx, PURLIN_INVALID, "the URL is not valid: http://... or https://... is needed");
  }
  if (!method_fit(call->method)) return purlin_fail(call->ctx, PURLIN_INVALID, "the HTTP method is not valid");
  bool any_body = asked->body_size > 0 || asked->body_file != NULL;
  if ((asked->body_size > 0 && (asked->body == NULL || asked->body_file != NULL)) ||
      (any_body && strcmp(call->method, "HEAD") == 0)) {
    return purlin_fail(call->ctx, PURLIN_INVALID, "an HTTP request has one body, HEAD has none");
  }
  for (const char *const *header = asked->headers; header != NULL && *header != NULL; header++) {
    if (!header_fit(*header)) {
      return purlin_fail(call->ctx, PURLIN_INVALID, "the header '%.*s' is not valid here", (int)token_size(*header),
                         *header);
    }
  }
  if (client_settings.environment_proxies && !literal_is_permitted(call)) return request_refuse(call);
  call->idempotent = any_of(call->method, repeatable);
  call->sends_body = any_body || any_of(call->method, with_body);
  return PURLIN_OK;
}

/* ---- Files --------------------------------------------------------------------------------------------------------------------- */

static purlin_status status_of_errno(int error) {
  return error == ENOSPC || error == EDQUOT || error == EFBIG ? PURLIN_NO_SPACE
         : error == EEXIST                                    ? PURLIN_CONFLICT
                                                              : PURLIN_INTERNAL;
}

purlin_status request_open_files(client_call *call) {
  const purlin_http_call *asked = call->asked;
  struct stat about;
  if (asked->body_file != NULL) {
    call->body_descriptor = open(asked->body_file, O_RDONLY | O_CLOEXEC);
    if (call->body_descriptor < 0 || fstat(call->body_descriptor, &about) != 0) {
      return purlin_fail(call->ctx, PURLIN_INTERNAL, "cannot read %s: %s", asked->body_file, strerror(errno));
    }
    if (!S_ISREG(about.st_mode)) {
      return purlin_fail(call->ctx, PURLIN_INTERNAL, "cannot send %s: it is no regular file", asked->body_file);
    }
    call->body_file_size = (uint64_t)about.st_size;
  }
  if (asked->answer_file != NULL) {
    call->answer_descriptor = open(asked->answer_file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (call->answer_descriptor < 0) {
      int error = errno;
      return purlin_fail(call->ctx, status_of_errno(error), "cannot create %s: %s", asked->answer_file, strerror(error));
    }
  }
  return PURLIN_OK;
}

void request_close_files(client_call *call, bool keep_answer) {
  if (call->body_descriptor >= 0) (void)close(call->body_descriptor);
  if (call->answer_descriptor < 0) return;
  (void)close(call->answer_descriptor);
  if (!keep_answer) (void)unlink(call->asked->answer_file);
}

/* ---- What libcurl calls ------------------------------------------------------------------------------------------------------------ */

static size_t on_read(char *out, size_t size, size_t count, void *argument) {
  client_call *call = argument;
  uint64_t left = call->body_file_size - call->body_sent;
  size_t want = size * count < left ? size * count : (size_t)left;
  if (want == 0) return 0;
  ssize_t got;
  do { got = pread(call->body_descriptor, out, want, (off_t)call->body_sent); } while (got < 0 && errno == EINTR);
  if (got <= 0) { /* an error, or somebody has cut the file */
    call->local = PURLIN_INTERNAL;
    return CURL_READFUNC_ABORT;
  }
  call->body_sent += (uint64_t)got;
  return (size_t)got;
}

/* libcurl starts again on a new connection when a kept one turns out to be dead. */
static int on_seek(void *argument, curl_off_t offset, int origin) {
  client_call *call = argument;
  if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > call->body_file_size) return CURL_SEEKFUNC_CANTSEEK;
  call->body_sent = (uint64_t)offset;
  return CURL_SEEKFUNC_OK;
}

static size_t on_header(char *line, size_t size, size_t count, void *argument) {
  client_call *call = argument;
  size_t left = size * count;
  static const char name[] = "location:";
  if (left >= 5 && memcmp(line, "HTTP/", 5) == 0) call->location = NULL; /* an answer after a 1xx */
  if (left < sizeof name || !text_equal_ignoring_case(line, sizeof name - 1, name, sizeof name - 1)) return size * count;
  line += sizeof name - 1;
  left -= sizeof name - 1;
  while (left > 0 && (*line == ' ' || *line == '\t')) line++, left--;
  while (left > 0 && (unsigned char)line[left - 1] <= ' ') left--;
  call->location = purlin_copy_bytes(call->ctx, line, left);
  return size * count;
}

static bool to_file(const client_call *call, long status) {
  return call->answer_descriptor >= 0 && status >= 200 && status < 300;
}

static bool write_file(client_call *call, const char *data, size_t size) {
  uint64_t at = call->received;
  while (size > 0) {
    ssize_t wrote = pwrite(call->answer_descriptor, data, size, (off_t)at);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) {
      call->local = wrote < 0 ? status_of_errno(errno) : PURLIN_NO_SPACE;
      return false;
    }
    data += wrote;
    size -= (size_t)wrote;
    at += (uint64_t)wrote;
  }
  return true;
}

static bool take(client_call *call, const char *data, size_t size) {
  const purlin_http_call *asked = call->asked;
  long status = 0;
  curl_off_t announced = -1;
  (void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
  if (call->received == 0) (void)curl_easy_getinfo(call->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced);
  bool file = to_file(call, status);
  uint64_t limit = file ? (asked->max_answer > 0 ? asked->max_answer : UINT64_MAX)
                        : (asked->max_answer > 0 && asked->answer_file == NULL ? asked->max_answer : DEFAULT_ANSWER_BYTES);
  if (size > limit - call->received || (announced > 0 && (uint64_t)announced > limit)) {
    call->local = PURLIN_TOO_LARGE;
    return false;
  }
  if (file) return write_file(call, data, size);
  if (announced > 0) (void)buffer_reserve(&call->body, (size_t)announced);
  buffer_add(&call->body, data, size);
  if (call->body.failed) call->local = PURLIN_UNAVAILABLE;
  return !call->body.failed;
}

static size_t on_body(char *data, size_t size, size_t count, void *argument) {
  client_call *call = argument;
  if (!take(call, data, size * count)) return 0; /* ends the transfer */
  call->received += size * count;
  return size * count;
}

#if LIBCURL_VERSION_NUM >= 0x075000
/* libcurl repeats any request whose kept connection broke before an answer came. What may not be repeated is stopped here. */
static int on_send(void *argument, char *ip, char *local_ip, int port, int local_port) {
  (void)ip, (void)local_ip, (void)port, (void)local_port;
  client_call *call = argument;
  if (call->sent && !call->idempotent) return CURL_PREREQFUNC_ABORT;
  call->sent = true;
  return CURL_PREREQFUNC_OK;
}
#endif

/* ---- Setting up ----------------------------------------------------------------------------------------------------------------- */

static bool add_header(client_call *call, const char *text) {
  struct curl_slist *longer = curl_slist_append(call->headers, text);
  if (longer != NULL) call->headers = longer;
  return longer != NULL;
}

/* libcurl reads "Name:" as "leave that header out" and "Name;" as an empty one. */
static bool add_asked_header(client_call *call, const char *header) {
  size_t name = token_size(header);
  if (header[name + 1 + strspn(header + name + 1, " \t")] != '\0') return add_header(call, header);
  char *empty = strndup(header, name + 1);
  if (empty == NULL) return false;
  empty[name] = ';';
  bool added = add_header(call, empty);
  free(empty);
  return added;
}

static bool add_trace(client_call *call) {
  const context_trace *trace = &call->ctx->trace;
  unsigned char span[8];
  char digits[17], header[80] = "traceparent: 00-";
  if (strlen(trace->trace_id) != 32) return true;
  text_random(span, sizeof span);
  text_hex(span, sizeof span, digits);
  char *at = header + strlen(header);
  memcpy(at, trace->trace_id, 32);
  at[32] = '-';
  memcpy(at + 33, digits, 16);
  memcpy(at + 49, trace->sampled ? "-01" : "-00", 4);
  return add_header(call, header);
}

static bool make_headers(client_call *call) {
  bool traced = false, typed = false, fine = true;
  for (const char *const *header = call->asked->headers; fine && header != NULL && *header != NULL; header++) {
    traced = traced || header_is(*header, "traceparent");
    typed = typed || header_is(*header, "Content-Type");
    fine = add_asked_header(call, *header);
  }
  if (!traced) fine = fine && add_trace(call);
  if (!typed && call->sends_body) fine = fine && add_header(call, "Content-Type:");
  return fine && add_header(call, "Expect:");
}

#define SET(option, value) (curl_easy_setopt(easy, option, value) == CURLE_OK)

static bool set_body(client_call *call) {
  CURL *easy = call->easy;
  const purlin_http_call *asked = call->asked;
  if (strcmp(call->method, "HEAD") == 0) return SET(CURLOPT_NOBODY, 1L);
  if (!call->sends_body) {
    return strcmp(call->method, "GET") == 0 ? SET(CURLOPT_HTTPGET, 1L) : SET(CURLOPT_CUSTOMREQUEST, call->method);
  }
  if (!SET(CURLOPT_POST, 1L) || !SET(CURLOPT_CUSTOMREQUEST, call->method)) return false;
  if (call->body_descriptor < 0) {
    return SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)asked->body_size) &&
           SET(CURLOPT_POSTFIELDS, asked->body_size > 0 ? (const char *)asked->body : "");
  }
  return SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_file_size) && SET(CURLOPT_READFUNCTION, on_read) &&
         SET(CURLOPT_READDATA, call) && SET(CURLOPT_SEEKFUNCTION, on_seek) && SET(CURLOPT_SEEKDATA, call) &&
         SET(CURLOPT_UPLOAD_BUFFERSIZE, TRANSFER_BYTES);
}

static bool set_rules(CURL *easy) {
  return SET(CURLOPT_NOSIGNAL, 1L) && SET(CURLOPT_FOLLOWLOCATION, 0L) && SET(CURLOPT_SSL_VERIFYPEER, 1L) &&
         SET(CURLOPT_SSL_VERIFYHOST, 2L) && SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) &&
         SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) && SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L) &&
         SET(CURLOPT_TCP_KEEPALIVE, 1L) && SET(CURLOPT_BUFFERSIZE, TRANSFER_BYTES) &&
#if LIBCURL_VERSION_NUM >= 0x075700
         SET(CURLOPT_QUICK_EXIT, 1L) && /* an abandoned name resolution must not block the loop */
#endif
#if LIBCURL_VERSION_NUM >= 0x075500
         SET(CURLOPT_PROTOCOLS_STR, "http,https");
#else
         SET(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
}

bool request_prepare(client_call *call) {
  CURL *easy = call->easy;
  bool fine = make_headers(call) && engine_own_sockets(call) && set_rules(easy) && SET(CURLOPT_PRIVATE, (char *)call) &&
              SET(CURLOPT_ERRORBUFFER, call->error) && SET(CURLOPT_URL, call->asked->url) &&
              SET(CURLOPT_HTTPHEADER, call->headers) && SET(CURLOPT_USERAGENT, client_settings.user_agent) &&
              SET(CURLOPT_CONNECTTIMEOUT_MS, (long)client_settings.connect_timeout_ms) &&
              SET(CURLOPT_HEADERFUNCTION, on_header) && SET(CURLOPT_HEADERDATA, call) &&
              SET(CURLOPT_WRITEFUNCTION, on_body) && SET(CURLOPT_WRITEDATA, call) && set_body(call);
  if (call->loopback || !client_settings.environment_proxies) fine = fine && SET(CURLOPT_PROXY, "");
#if LIBCURL_VERSION_NUM >= 0x075000
  fine = fine && SET(CURLOPT_PREREQFUNCTION, on_send) && SET(CURLOPT_PREREQDATA, call);
#else
  if (!call->idempotent) fine = fine && SET(CURLOPT_FRESH_CONNECT, 1L);
#endif
  return fine;
}

void request_reset(client_call *call) {
  call->local = PURLIN_OK;
  call->sent = call->trial = call->forbidden = call->permitted = false;
  call->body_sent = call->received = 0;
  call->status = 0;
  call->retry_after_s = 0;
  call->media_type = call->location = NULL;
  call->error[0] = '\0';
  buffer_clear(&call->body);
  if (call->answer_descriptor >= 0 && ftruncate(call->answer_descriptor, 0) != 0) call->local = PURLIN_INTERNAL;
}

void request_free(client_call *call) { buffer_free(&call->body); }

/* ---- How it ended ------------------------------------------------------------------------------------------------------------------ */

/* What has no line here is a connection that broke: before the request was sent or after. */
static const struct {
  CURLcode code;
  attempt_end end;
} ends[] = {
    {CURLE_PEER_FAILED_VERIFICATION, END_UNTRUSTED},
    {CURLE_SSL_CACERT_BADFILE, END_UNTRUSTED},
    {CURLE_SSL_ISSUER_ERROR, END_UNTRUSTED},
    {CURLE_SSL_INVALIDCERTSTATUS, END_UNTRUSTED},
    {CURLE_UNSUPPORTED_PROTOCOL, END_NONSENSE},
    {CURLE_WEIRD_SERVER_REPLY, END_NONSENSE},
    {CURLE_BAD_CONTENT_ENCODING, END_NONSENSE},
    {CURLE_OUT_OF_MEMORY, END_LOCAL},
    {CURLE_BAD_FUNCTION_ARGUMENT, END_LOCAL},
    {CURLE_WRITE_ERROR, END_LOCAL},
    {CURLE_READ_ERROR, END_LOCAL},
};

static attempt_end end_of(const client_call *call, CURLcode code) {
  for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
    if (ends[i].code == code) return ends[i].end;
  }
  long sent_bytes = 0;
  (void)curl_easy_getinfo(call->easy, CURLINFO_REQUEST_SIZE, &sent_bytes);
  return call->sent || sent_bytes > 0 ? END_LOST : END_NO_CONNECT;
}

attempt_end request_collect(client_call *call, CURLcode code) {
  if (call->local != PURLIN_OK) return END_LOCAL;
  if (code != CURLE_OK) {
    if (call->forbidden && !call->permitted) return END_FORBIDDEN;
    attempt_end end = end_of(call, code);
    if (end == END_LOCAL) call->local = PURLIN_UNAVAILABLE;
    if (call->error[0] == '\0') {
      const char *text = curl_easy_strerror(code);
      size_t size = strnlen(text, sizeof call->error - 1);
      memcpy(call->error, text, size);
      call->error[size] = '\0';
    }
    return end;
  }
  long status = 0;
  curl_off_t retry_after = 0;
  char *media_type = NULL;
  (void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
  (void)curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &retry_after);
  (void)curl_easy_getinfo(call->easy, CURLINFO_CONTENT_TYPE, &media_type);
  call->status = (unsigned)status;
  call->retry_after_s = retry_after > 0 ? (uint32_t)(retry_after < 86400 ? retry_after : 86400) : 0;
  if (media_type != NULL) call->media_type = purlin_copy(call->ctx, media_type);
  return END_ANSWER;
}
