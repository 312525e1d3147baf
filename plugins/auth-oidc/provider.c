#include "provider.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
  TIMEOUT_MS = 10000,
  MOST_ANSWER = 256 * 1024,
  FRESH_MS = 3600 * 1000,
  KEPT_MS = 24 * 3600 * 1000,
  AGAIN_AFTER_FAILURE_MS = 15000
};

/* ---- Asking ------------------------------------------------------------------------------------------------------------------------------ */

static purlin_status fetch(purlin_ctx *ctx, const char *what, const char *url, purlin_json *out) {
  static const char *const headers[] = {"Accept: application/json", NULL};
  const purlin_http_call call = {
      .url = url, .headers = headers, .max_answer = MOST_ANSWER, .timeout_ms = TIMEOUT_MS, .retries = 1};
  purlin_http_answer answer = {0};
  purlin_status status = purlin_http(ctx, &call, &answer);
  if (status != PURLIN_OK) return purlin_fail(ctx, status, "the provider's %s at %s: %s", what, url, purlin_failure(ctx));
  if (answer.status != 200)
    return purlin_fail(ctx, PURLIN_BAD_UPSTREAM, "the provider's %s at %s answered %u, not 200", what, url, answer.status);
  *out = (purlin_json){answer.body, answer.body_size};
  return PURLIN_OK;
}

static purlin_status understand(purlin_ctx *ctx, const char *what, const purlin_schema *schema, purlin_json text,
                                void *out) {
  if (purlin_decode_stored(ctx, schema, text.text, text.size, out) == PURLIN_OK) return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_BAD_UPSTREAM, "the provider's %s is not one: %s", what, purlin_failure(ctx));
}

/* All that browsers or we are sent to. */
static purlin_status check_endpoints(purlin_ctx *ctx, const provider_metadata *m) {
  const struct {
    const char *name, *url;
  } all[] = {{"authorization_endpoint", m->authorization_endpoint},
             {"token_endpoint", m->token_endpoint},
             {"jwks_uri", m->jwks_uri},
             {"userinfo_endpoint", m->userinfo_endpoint},
             {"end_session_endpoint", m->end_session_endpoint},
             {"device_authorization_endpoint", m->device_authorization_endpoint}};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
    if (all[i].url && !rules_is_endpoint(all[i].url))
      return purlin_fail(ctx, PURLIN_BAD_UPSTREAM, "the provider's %s is not an https:// address: %.200s", all[i].name,
                         all[i].url);
  return PURLIN_OK;
}

static purlin_status take_metadata(purlin_ctx *ctx, purlin_json text, provider_metadata *out) {
  const oidc_configuration *configured = purlin_configuration(ctx);
  purlin_status status = understand(ctx, "discovery document", provider_metadata_schema(), text, out);
  if (status == PURLIN_OK && strcmp(out->issuer, configured->issuer) != 0)
    status = purlin_fail(ctx, PURLIN_BAD_UPSTREAM,
                         "the provider calls itself '%.200s', the configuration '%s': they must be the same", out->issuer,
                         configured->issuer);
  return status == PURLIN_OK ? check_endpoints(ctx, out) : status;
}

purlin_status provider_fetch_metadata(purlin_ctx *ctx, provider_metadata *out, purlin_json *text) {
  const oidc_configuration *configured = purlin_configuration(ctx);
  size_t size = strlen(configured->issuer);
  while (size > 0 && configured->issuer[size - 1] == '/') size--;
  const char *url = purlin_format(ctx, "%.*s/.well-known/openid-configuration", (int)size, configured->issuer);
  if (!url) return PURLIN_TOO_LARGE;
  purlin_status status = fetch(ctx, "discovery document", url, text);
  return status == PURLIN_OK ? take_metadata(ctx, *text, out) : status;
}

purlin_status provider_fetch_keys(purlin_ctx *ctx, const char *url, provider_keys *out, purlin_json *text) {
  purlin_status status = fetch(ctx, "key set", url, text);
  return status == PURLIN_OK ? understand(ctx, "key set", provider_keys_schema(), *text, out) : status;
}

/* ---- What is kept: the texts, which each call reads anew; there are few ------------------------------------------------------------------ */

typedef struct kept_text {
  char *text;
  size_t size;
} kept_text;

static struct {
  kept_text metadata, keys;
  uint64_t fetched_ms; /* 0: never */
  uint64_t failed_ms;  /* 0: the last time it was not in vain */
  uint64_t again_ms;   /* when an unknown key last had the keys read again */
} kept;
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER; /* never held while anything parks */
static purlin_mutex fetching;                                 /* one asks, the others wait for what comes */

static uint64_t now_ms(void) { return purlin_ticks_ns() / 1000000; }

void provider_end(void) {
  free(kept.metadata.text);
  free(kept.keys.text);
  memset(&kept, 0, sizeof kept);
}

static bool replace(kept_text *at, purlin_json with) {
  char *copy = malloc(with.size + 1);
  if (!copy) return false;
  memcpy(copy, with.text, with.size);
  copy[with.size] = '\0';
  free(at->text);
  at->text = copy;
  at->size = with.size;
  return true;
}

static purlin_status keep(purlin_ctx *ctx, const purlin_json *metadata, purlin_json keys) {
  (void)pthread_mutex_lock(&kept_lock);
  bool fine = (!metadata || replace(&kept.metadata, *metadata)) && replace(&kept.keys, keys);
  if (metadata && fine) kept.fetched_ms = now_ms(), kept.failed_ms = 0;
  (void)pthread_mutex_unlock(&kept_lock);
  return fine ? PURLIN_OK : purlin_fail(ctx, PURLIN_UNAVAILABLE, "out of memory");
}

/* Copies of both, when they are young enough. */
static bool recall(purlin_ctx *ctx, uint64_t most_ms, purlin_json *metadata, purlin_json *keys) {
  (void)pthread_mutex_lock(&kept_lock);
  bool young = kept.fetched_ms > 0 && now_ms() - kept.fetched_ms < most_ms;
  if (young) {
    *metadata = (purlin_json){purlin_copy_bytes(ctx, kept.metadata.text, kept.metadata.size), kept.metadata.size};
    *keys = (purlin_json){purlin_copy_bytes(ctx, kept.keys.text, kept.keys.size), kept.keys.size};
  }
  (void)pthread_mutex_unlock(&kept_lock);
  return young && metadata->text && keys->text;
}

static bool failed_lately(void) {
  (void)pthread_mutex_lock(&kept_lock);
  bool lately = kept.failed_ms > 0 && now_ms() - kept.failed_ms < AGAIN_AFTER_FAILURE_MS;
  (void)pthread_mutex_unlock(&kept_lock);
  return lately;
}

static void note_failure(void) {
  (void)pthread_mutex_lock(&kept_lock);
  kept.failed_ms = now_ms();
  (void)pthread_mutex_unlock(&kept_lock);
}

static purlin_status fetch_both(purlin_ctx *ctx, purlin_json *metadata, purlin_json *keys) {
  provider_metadata m;
  provider_keys k;
  purlin_status status = provider_fetch_metadata(ctx, &m, metadata);
  if (status == PURLIN_OK) status = provider_fetch_keys(ctx, m.jwks_uri, &k, keys);
  return status == PURLIN_OK ? keep(ctx, metadata, *keys) : status;
}

/* With the lock `fetching`. What is old serves on for a day when the provider does not answer. */
static purlin_status renew(purlin_ctx *ctx, purlin_json *metadata, purlin_json *keys) {
  if (recall(ctx, FRESH_MS, metadata, keys)) return PURLIN_OK; /* somebody was quicker */
  if (failed_lately() && recall(ctx, KEPT_MS, metadata, keys)) return PURLIN_OK;
  purlin_status status = fetch_both(ctx, metadata, keys);
  if (status == PURLIN_OK || status == PURLIN_CANCELLED) return status;
  note_failure();
  if (!recall(ctx, KEPT_MS, metadata, keys)) return status;
  purlin_log(ctx, PURLIN_WARNING, "going on with what the provider said before: %s", purlin_failure(ctx));
  purlin_clear_failure(ctx);
  return PURLIN_OK;
}

static purlin_status both(purlin_ctx *ctx, purlin_json *metadata, purlin_json *keys) {
  const oidc_configuration *configured;
  purlin_status status = oidc_configured(ctx, &configured);
  if (status != PURLIN_OK || recall(ctx, FRESH_MS, metadata, keys)) return status;
  status = purlin_lock(ctx, &fetching);
  if (status != PURLIN_OK) return status;
  status = renew(ctx, metadata, keys);
  purlin_unlock(&fetching);
  return status;
}

purlin_status provider_get(purlin_ctx *ctx, provider_metadata *out) {
  purlin_json metadata, keys;
  purlin_status status = both(ctx, &metadata, &keys);
  return status == PURLIN_OK ? take_metadata(ctx, metadata, out) : status;
}

purlin_status provider_get_keys(purlin_ctx *ctx, provider_keys *out) {
  purlin_json metadata, keys;
  purlin_status status = both(ctx, &metadata, &keys);
  return status == PURLIN_OK ? understand(ctx, "key set", provider_keys_schema(), keys, out) : status;
}

/* Whoever can send tokens could have the provider asked for each. */
static bool may_again(purlin_ctx *ctx) {
  const oidc_configuration *configured = purlin_configuration(ctx);
  uint64_t now = now_ms();
  (void)pthread_mutex_lock(&kept_lock);
  bool may = kept.again_ms == 0 || now - kept.again_ms >= (uint64_t)configured->keys_again_s * 1000;
  if (may) kept.again_ms = now;
  (void)pthread_mutex_unlock(&kept_lock);
  return may;
}

purlin_status provider_get_keys_again(purlin_ctx *ctx, provider_keys *out, bool *again) {
  provider_metadata m;
  purlin_json text;
  *again = false;
  purlin_status status = provider_get(ctx, &m);
  if (status != PURLIN_OK || !may_again(ctx)) return status;
  *again = true;
  status = provider_fetch_keys(ctx, m.jwks_uri, out, &text);
  return status == PURLIN_OK ? keep(ctx, NULL, text) : status;
}
