#include "import.h"
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 1024 * 1024, STALLED_S = 120 };

/* Between two transfers: whoever is ahead waits for the other. */
typedef struct pipe {
  CURL *from, *to; /* to NULL: only the digest is wanted */
  EVP_MD_CTX *digest;
  int64_t total, most;     /* bytes; most -1: not known before */
  bool to_ended, too_long; /* the file is longer than was said */
  size_t begin, size;      /* of what waits in `data` */
  bool from_waits, to_waits, from_ended, failed;
  char *data;
} pipe_state;

static size_t take(char *data, size_t one, size_t count, void *argument) {
  pipe_state *p = argument;
  size_t size = one * count;
  p->too_long = p->most >= 0 && (int64_t)size > p->most - p->total;
  if (p->too_long || p->to_ended) return 0;
  if (p->to && size > ROOM - p->size) {
    p->from_waits = true;
    return CURL_WRITEFUNC_PAUSE;
  }
  if (EVP_DigestUpdate(p->digest, data, size) != 1) return 0;
  p->total += (int64_t)size;
  for (size_t at = 0; p->to && at < size;) {
    size_t end = (p->begin + p->size) % ROOM, room = end >= p->begin ? ROOM - end : p->begin - end;
    size_t part = size - at < room ? size - at : room;
    memcpy(p->data + end, data + at, part);
    p->size += part;
    at += part;
  }
  return size;
}

static size_t give(char *data, size_t one, size_t count, void *argument) {
  pipe_state *p = argument;
  size_t most = one * count, part = ROOM - p->begin;
  if (p->size == 0 && !p->from_ended) {
    p->to_waits = true;
    return CURL_READFUNC_PAUSE;
  }
  bool too_short = p->size == 0 && p->most >= 0 && p->total < p->most; /* curl would wait for what never comes */
  if (p->failed || too_short) return CURL_READFUNC_ABORT;
  if (part > p->size) part = p->size;
  if (part > most) part = most;
  memcpy(data, p->data + p->begin, part);
  p->begin = (p->begin + part) % ROOM;
  p->size -= part;
  return part;
}

static size_t ignore(char *data, size_t one, size_t count, void *argument) {
  (void)data;
  (void)argument;
  return one * count;
}

static void watch(CURL *curl) {
  (void)curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  (void)curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)STALLED_S);
  (void)curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L); /* nothing of an error's text is taken for the file */
}

static void wake(pipe_state *p) {
  if (p->to_waits && (p->size > 0 || p->from_ended)) {
    p->to_waits = false;
    (void)curl_easy_pause(p->to, CURLPAUSE_CONT);
  }
  if (p->from_waits && (p->size <= ROOM / 2 || p->to_ended)) {
    p->from_waits = false;
    (void)curl_easy_pause(p->from, CURLPAUSE_CONT);
  }
}

static void note(server *s, const char *what, CURL *curl, CURLcode code) {
  long status = 0;
  (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  if (status >= 300) (void)snprintf(s->message, sizeof s->message, "%s it is answered with %ld", what, status);
  else (void)snprintf(s->message, sizeof s->message, "%s it: %s", what, curl_easy_strerror(code));
}

/* A redirect is no error to curl, and not followed. */
static bool went_well(CURL *curl, CURLcode code) {
  long status = 0;
  (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  return code == CURLE_OK && status >= 200 && status < 300;
}

static void note_end(pipe_state *p, const CURLMsg *done, server *from) {
  bool source = done->easy_handle == p->from;
  if (!went_well(done->easy_handle, done->data.result)) {
    if (!p->failed) note(from, source ? "reading" : "writing", done->easy_handle, done->data.result);
    p->failed = true;
  } else if (source) p->from_ended = true;
  else p->to_ended = true;
}

/* Drives both until they end, or one fails. */
static bool drive(CURLM *multi, pipe_state *p, server *from) {
  int running = 1;
  while (running > 0 && !p->failed) {
    if (curl_multi_perform(multi, &running) != CURLM_OK) return false;
    int left;
    for (CURLMsg *done = curl_multi_info_read(multi, &left); done; done = curl_multi_info_read(multi, &left))
      if (done->msg == CURLMSG_DONE) note_end(p, done, from);
    if (p->failed) break; /* what was written of it is let go: the other server keeps whole files only */
    wake(p);
    if (running > 0) (void)curl_multi_poll(multi, NULL, 0, 100, NULL);
  }
  return !p->failed;
}

static bool end_digest(pipe_state *p, char out[65]) {
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (EVP_DigestFinal_ex(p->digest, bytes, &size) != 1 || size != 32) return false;
  for (size_t i = 0; i < 32; i++) (void)snprintf(out + 2 * i, 3, "%02x", bytes[i]);
  return true;
}

static void prepare(pipe_state *p, server *from, const char *from_path, server *to, const char *to_path, int64_t size) {
  server_prepare(from, p->from, from_path);
  watch(p->from);
  (void)curl_easy_setopt(p->from, CURLOPT_WRITEFUNCTION, take);
  (void)curl_easy_setopt(p->from, CURLOPT_WRITEDATA, p);
  if (!to) return;
  server_prepare(to, p->to, to_path);
  watch(p->to);
  (void)curl_easy_setopt(p->to, CURLOPT_UPLOAD, 1L);
  (void)curl_easy_setopt(p->to, CURLOPT_READFUNCTION, give);
  (void)curl_easy_setopt(p->to, CURLOPT_READDATA, p);
  (void)curl_easy_setopt(p->to, CURLOPT_WRITEFUNCTION, ignore);
  if (size >= 0) (void)curl_easy_setopt(p->to, CURLOPT_INFILESIZE_LARGE, (curl_off_t)size);
}

static bool run(server *from, const char *from_path, server *to, const char *to_path, int64_t *size, char digest[65]) {
  pool_block *mark = pool_mark();
  static CURLM *multi; /* keeps the connections */
  if (!multi) multi = curl_multi_init();
  pipe_state p = {.from = curl_easy_init(),
                  .to = to ? curl_easy_init() : NULL,
                  .digest = EVP_MD_CTX_new(),
                  .data = malloc(ROOM),
                  .most = to ? *size : -1};
  bool fine =
      multi && p.from && (!to || p.to) && p.data && p.digest && EVP_DigestInit_ex(p.digest, EVP_sha256(), NULL) == 1;
  if (fine) {
    prepare(&p, from, from_path, to, to_path, *size);
    fine = curl_multi_add_handle(multi, p.from) == CURLM_OK && (!to || curl_multi_add_handle(multi, p.to) == CURLM_OK);
    fine = fine && drive(multi, &p, from);
    (void)curl_multi_remove_handle(multi, p.from);
    if (p.to) (void)curl_multi_remove_handle(multi, p.to);
  }
  bool other = p.too_long || (p.from_ended && to && *size >= 0 && p.total != *size);
  if (other)
    (void)snprintf(from->message, sizeof from->message, "it has %s than the %lld bytes that were said",
                   p.too_long ? "more" : "less", (long long)*size);
  fine = fine && !other;
  fine = fine && end_digest(&p, digest);
  *size = p.total;
  if (p.from) curl_easy_cleanup(p.from);
  if (p.to) curl_easy_cleanup(p.to);
  EVP_MD_CTX_free(p.digest);
  free(p.data);
  pool_release(mark);
  return fine;
}

bool stream(server *from, const char *from_path, server *to, const char *to_path, int64_t *size, char digest[65]) {
  return run(from, from_path, to, to_path, size, digest);
}

bool stream_digest(server *from, const char *path, int64_t *size, char digest[65]) {
  return run(from, path, NULL, NULL, size, digest);
}
