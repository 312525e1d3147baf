/* tls_renew.c: the context in use. Connections keep the one that they began with; new ones take the newest. The files are looked at
 * every other second, since no way of being told of a change works for every file system and every kind of replacing. */
#include "http/tls.h"

#include "core/text.h"
#include "loop/context.h"
#include "loop/loop.h"
#include "observe/log.h"

#include <purlin/metric.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

PURLIN_GAUGE(tls_certificate_expires_seconds, "Time until the server's certificate ends; below zero: it has ended", "file");
PURLIN_COUNTER(tls_reloads_total, "Loads of a changed certificate, key or client_ca", "outcome");

#define LOOK_MS 2000
#define WARN_BEFORE_S ((int64_t)21 * 86400)
#define WARN_EVERY_S ((int64_t)86400)
#define TICKET_KEYS_S ((int64_t)12 * 3600) /* after which sessions of before are not resumed any more */
#define RETRY_S ((int64_t)3600)
#define FILES 3
#define TICKET_KEY_BYTES 128

/* How a file looked: what is equal has not changed. */
typedef struct mark {
  dev_t device;
  ino_t inode;
  off_t size;
  struct timespec changed;
} mark;

typedef struct marks {
  mark files[FILES];
} marks;

static struct {
  pthread_mutex_t lock; /* over what follows, up to `generation` */
  SSL_CTX *context;
  tls_facts facts;
  char broken[600]; /* why the last load failed; "": it did not */
  atomic_uint generation;
  /* On loop 0 only. */
  tls_options options;
  marks loaded, seen;
  int64_t keys_due_s, retry_s, warned_s; /* when tickets get new keys; not before; when we warned */
  loop_timer look;
} renewal = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int64_t now_s(void) { return purlin_now_us() / 1000000; }

SSL_CTX *tls_current(unsigned *generation) {
  pthread_mutex_lock(&renewal.lock);
  SSL_CTX *context = renewal.context;
  if (context != NULL && SSL_CTX_up_ref(context) != 1) context = NULL;
  *generation = atomic_load_explicit(&renewal.generation, memory_order_relaxed);
  pthread_mutex_unlock(&renewal.lock);
  return context;
}

unsigned tls_generation(void) { return atomic_load_explicit(&renewal.generation, memory_order_acquire); }

/* ---- The files ----------------------------------------------------------------------------------------------------------------------- */

static void take_mark(const char *path, mark *out) {
  struct stat facts;
  *out = (mark){0};
  if (path == NULL || stat(path, &facts) != 0) return;
  out->device = facts.st_dev;
  out->inode = facts.st_ino;
  out->size = facts.st_size;
  out->changed = facts.st_mtim;
}

static marks take_marks(void) {
  const char *const paths[FILES] = {renewal.options.certificate, renewal.options.key, renewal.options.client_ca};
  marks all;
  memset(&all, 0, sizeof all);
  for (size_t i = 0; i < FILES; i++) take_mark(paths[i], &all.files[i]);
  return all;
}

static bool same(const marks *a, const marks *b) {
  for (size_t i = 0; i < FILES; i++) {
    const mark *one = &a->files[i], *other = &b->files[i];
    if (one->device != other->device || one->inode != other->inode || one->size != other->size ||
        one->changed.tv_sec != other->changed.tv_sec || one->changed.tv_nsec != other->changed.tv_nsec)
      return false;
  }
  return true;
}

/* ---- Switching --------------------------------------------------------------------------------------------------------------------------- */

/* Sessions that began before can go on. */
static void keep_ticket_keys(SSL_CTX *from, SSL_CTX *to) {
  unsigned char keys[TICKET_KEY_BYTES];
  long size = SSL_CTX_get_tlsext_ticket_keys(from, NULL, 0);
  if (size <= 0 || size > (long)sizeof keys) return;
  if (SSL_CTX_get_tlsext_ticket_keys(from, keys, (int)size) == 1) (void)SSL_CTX_set_tlsext_ticket_keys(to, keys, (int)size);
  text_wipe(keys, sizeof keys);
  ERR_clear_error();
}

static void switch_to(SSL_CTX *context, const tls_facts *facts) {
  pthread_mutex_lock(&renewal.lock);
  SSL_CTX *old = renewal.context;
  if (old != NULL && now_s() < renewal.keys_due_s) keep_ticket_keys(old, context);
  else renewal.keys_due_s = now_s() + TICKET_KEYS_S;
  renewal.context = context;
  renewal.facts = *facts;
  renewal.broken[0] = '\0';
  atomic_fetch_add_explicit(&renewal.generation, 1, memory_order_release);
  pthread_mutex_unlock(&renewal.lock);
  SSL_CTX_free(old);
}

static void tell_dates(void) {
  int64_t now = now_s(), left = renewal.facts.ends - now;
  purlin_gauge(tls_certificate_expires_seconds, (double)left, renewal.options.certificate);
  if (left > WARN_BEFORE_S || now - renewal.warned_s < WARN_EVERY_S) return;
  renewal.warned_s = now;
  if (left <= 0)
    log_write(PURLIN_ERROR, "tls", "the certificate %s has ended: clients refuse it; renew it",
              renewal.options.certificate);
  else
    log_write(PURLIN_WARNING, "tls", "the certificate %s ends in %lld days: renew it", renewal.options.certificate,
              (long long)(left / 86400));
}

/* What is made on another thread. */
typedef struct loading {
  SSL_CTX *context;
  tls_facts facts;
  marks files;
  buffer why;
} loading;

/* The marks are taken first: what changes while it is read is seen the next time. */
static purlin_status load(void *argument) {
  loading *l = argument;
  l->files = take_marks();
  l->context = tls_context_make(&renewal.options, &l->facts, &l->why);
  if (l->context != NULL && !tls_dates_fit(&renewal.options, &l->facts, &l->why)) {
    SSL_CTX_free(l->context);
    l->context = NULL;
  }
  ERR_clear_error();
  return l->context != NULL ? PURLIN_OK : PURLIN_INVALID;
}

static void remember_failure(const char *why) {
  pthread_mutex_lock(&renewal.lock);
  (void)snprintf(renewal.broken, sizeof renewal.broken, "%s", why);
  pthread_mutex_unlock(&renewal.lock);
}

void tls_reload(purlin_ctx *ctx) {
  if (renewal.context == NULL) return;
  loading l = {0};
  purlin_status status = purlin_offload(ctx, PURLIN_POOL_BLOCKING, load, &l);
  if (l.context != NULL) {
    renewal.loaded = l.files;
    switch_to(l.context, &l.facts);
    renewal.warned_s = 0;
    log_write(PURLIN_INFO, "tls", "the certificate %s is in use from now on", renewal.options.certificate);
  } else {
    if (l.why.size == 0) buffer_text(&l.why, purlin_failure(ctx));
    else renewal.loaded = l.files; /* not tried again before something changes */
    renewal.retry_s = now_s() + RETRY_S;
    remember_failure(buffer_end(&l.why));
    log_write(PURLIN_ERROR, "tls", "the certificate of before stays in use: %s", buffer_end(&l.why));
  }
  purlin_count(tls_reloads_total, 1, status == PURLIN_OK ? "ok" : "failed");
  tell_dates();
  buffer_free(&l.why);
}

/* ---- Looking after them ---------------------------------------------------------------------------------------------------------------------- */

static purlin_status look_at_files(void *argument) {
  *(marks *)argument = take_marks();
  return PURLIN_OK;
}

/* Certificate and key are replaced one after the other: only what has not changed since the last look is loaded. */
static void look(purlin_ctx *ctx, void *unused) {
  (void)unused;
  marks now;
  if (purlin_offload(ctx, PURLIN_POOL_BLOCKING, look_at_files, &now) != PURLIN_OK) return;
  bool changed = !same(&now, &renewal.loaded), settled = same(&now, &renewal.seen);
  renewal.seen = now;
  bool due = now_s() >= renewal.keys_due_s && now_s() >= renewal.retry_s;
  if ((changed && settled) || due) tls_reload(ctx);
  else tell_dates();
}

static void on_look(loop_timer *timer) {
  if (context_start("purlin", "look at certificates", look, NULL) != PURLIN_OK)
    log_write(PURLIN_WARNING, "tls", "no fiber to look at the certificate; tried again");
  loop_timer_start(loop_current(), timer, LOOK_MS, on_look);
}

void tls_watch(void) {
  if (renewal.context == NULL) return;
  memset(&renewal.look, 0, sizeof renewal.look);
  tell_dates();
  loop_timer_start(loop_at(0), &renewal.look, LOOK_MS, on_look);
}

purlin_status tls_begin(const tls_options *options, buffer *why) {
  tls_facts facts;
  renewal.options = *options;
  renewal.loaded = renewal.seen = take_marks();
  SSL_CTX *context = tls_context_make(options, &facts, why);
  if (context == NULL) return PURLIN_INVALID;
  switch_to(context, &facts);
  buffer late = {0};
  if (!tls_dates_fit(options, &facts, &late)) log_write(PURLIN_ERROR, "tls", "%s", buffer_end(&late));
  buffer_free(&late);
  return PURLIN_OK;
}

void tls_end(void) {
  pthread_mutex_lock(&renewal.lock);
  SSL_CTX *context = renewal.context;
  renewal.context = NULL;
  atomic_fetch_add_explicit(&renewal.generation, 1, memory_order_release);
  pthread_mutex_unlock(&renewal.lock);
  SSL_CTX_free(context);
}

bool tls_complaint(buffer *why) {
  pthread_mutex_lock(&renewal.lock);
  int64_t left = renewal.facts.ends - now_s();
  bool there = renewal.context != NULL;
  if (there && renewal.broken[0] != '\0') buffer_format(why, "the certificate of before is in use: %s", renewal.broken);
  else if (there && left <= 0) buffer_text(why, "the certificate has ended");
  else if (there && left <= WARN_BEFORE_S)
    buffer_format(why, "the certificate ends in %lld days", (long long)(left / 86400));
  else there = false;
  pthread_mutex_unlock(&renewal.lock);
  return there;
}
