#include "access/rate.h"
#include "access/access.h"
#include "access/quota.h"
#include "core/text.h"
#include <arpa/inet.h>
#include <pthread.h>
#include <purlin/metric.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

PURLIN_COUNTER(requests_limited_total, "Requests refused because somebody asked too often", "rule");

enum { SHARDS = 64, SLOTS = 1024, PROBES = 8, SECOND_NS = 1000000000, QUOTA_INDEX = 1000000 };

/* Each key has one number: the time at which all that it has used up will have come back. In the past, it says nothing. */
typedef struct slot {
  uint64_t key, full_at_ns;
} slot;

typedef struct shard {
  _Alignas(64) pthread_mutex_t lock;
  slot slots[SLOTS];
} shard;

static _Atomic(shard *) shards; /* NULL: there is nothing to count */
static const rates_settings *rules;

static void free_shards(shard *old) {
  for (size_t i = 0; old && i < SHARDS; i++) (void)pthread_mutex_destroy(&old[i].lock);
  free(old);
}

purlin_status rates_prepare(void) {
  if (atomic_load(&shards)) return PURLIN_OK;
  shard *made = aligned_alloc(_Alignof(shard), SHARDS * sizeof *made);
  if (!made) return PURLIN_UNAVAILABLE;
  memset(made, 0, SHARDS * sizeof *made);
  for (size_t i = 0; i < SHARDS; i++) (void)pthread_mutex_init(&made[i].lock, NULL); /* cannot fail without attributes */
  shard *none = NULL;
  if (!atomic_compare_exchange_strong(&shards, &none, made)) free_shards(made); /* somebody else was first */
  return PURLIN_OK;
}

purlin_status rates_start(const rates_settings *settings) {
  if (settings->rules.count == 0) return PURLIN_OK;
  purlin_status status = rates_prepare();
  if (status == PURLIN_OK) rules = settings;
  return status;
}

void rates_end(void) {
  rules = NULL;
  free_shards(atomic_exchange(&shards, NULL));
}

/* ---- The algorithm -------------------------------------------------------------------------------------------------------------- */

/* The key's slot, or the one that can best be spared: whose number says least. */
static slot *slot_of(shard *in, uint64_t key) {
  slot *best = &in->slots[key % SLOTS];
  for (size_t i = 0; i < PROBES; i++) {
    slot *s = &in->slots[(key + i) % SLOTS];
    if (s->key == key) return s;
    if (s->full_at_ns < best->full_at_ns) best = s;
  }
  *best = (slot){.key = key};
  return best;
}

rate_outcome rate_count(uint64_t key, const rate_rule *rule, uint64_t now_ns) {
  uint64_t each_ns = (uint64_t)rule->seconds * SECOND_NS / (uint64_t)rule->requests;
  if (each_ns == 0) each_ns = 1;
  uint64_t burst = (uint64_t)(rule->burst ? rule->burst : rule->requests), room_ns = each_ns * burst;
  shard *in = atomic_load_explicit(&shards, memory_order_acquire) + (key >> 32) % SHARDS;
  pthread_mutex_lock(&in->lock);
  slot *s = slot_of(in, key);
  uint64_t full_at_ns = s->full_at_ns > now_ns ? s->full_at_ns : now_ns;
  bool allowed = full_at_ns + each_ns - now_ns <= room_ns;
  if (allowed) s->full_at_ns = full_at_ns += each_ns;
  pthread_mutex_unlock(&in->lock);
  uint64_t used_ns = full_at_ns - now_ns;
  return (rate_outcome){.allowed = allowed,
                        .remaining = (int64_t)((room_ns - used_ns) / each_ns),
                        .full_ns = used_ns,
                        .retry_ns = allowed ? 0 : used_ns + each_ns - room_ns};
}

/* ---- Who is counted ------------------------------------------------------------------------------------------------------------- */

/* Who has an IPv6 address has 2^64 of them. */
static void network_of(const char *address, char out[INET6_ADDRSTRLEN]) {
  struct in6_addr six;
  if (inet_pton(AF_INET6, address, &six) != 1 || IN6_IS_ADDR_V4MAPPED(&six)) {
    size_t size = strnlen(address, INET6_ADDRSTRLEN - 1);
    memcpy(out, address, size);
    out[size] = '\0';
    return;
  }
  memset(six.s6_addr + 8, 0, 8);
  (void)inet_ntop(AF_INET6, &six, out, INET6_ADDRSTRLEN);
}

static uint64_t key_of(const purlin_ctx *ctx, const purlin_request *request, const rate_rule *rule, size_t index) {
  char network[INET6_ADDRSTRLEN] = "";
  const char *parts[2] = {ctx->workspace, ""};
  if (strcmp(rule->per, "address") == 0) {
    network_of(http_request_address(request), network);
    parts[0] = network;
  } else if (strcmp(rule->per, "actor") == 0) parts[1] = ctx->actor;
  else if (strcmp(rule->per, "credential") == 0) parts[1] = ctx->who ? ctx->who->credential : "";
  uint64_t hash = index + 1;
  for (size_t i = 0; i < 2; i++) hash = (hash ^ text_hash(parts[i], strlen(parts[i]))) * UINT64_C(0x9e3779b97f4a7c15);
  return hash | 1; /* an empty slot's key is 0 */
}

/* ---- Telling ---------------------------------------------------------------------------------------------------------------------- */

static uint64_t in_seconds(uint64_t ns) { return (ns + SECOND_NS - 1) / SECOND_NS; }

static purlin_status tell(purlin_ctx *ctx, purlin_request *request, const rate_rule *rule, const rate_outcome *found) {
  const char *policy =
      purlin_format(ctx, "\"%s\";q=%lld;w=%lld", rule->name, (long long)rule->requests, (long long)rule->seconds);
  const char *now = purlin_format(ctx, "\"%s\";r=%lld;t=%llu", rule->name, (long long)found->remaining,
                                  (unsigned long long)in_seconds(found->full_ns));
  if (!policy || !now) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_set_header(ctx, request, "RateLimit-Policy", policy);
  return status == PURLIN_OK ? purlin_set_header(ctx, request, "RateLimit", now) : status;
}

static purlin_status refuse(purlin_ctx *ctx, const rate_rule *rule, const rate_outcome *found) {
  purlin_count(requests_limited_total, 1, rule->name);
  purlin_retry_after(ctx, (uint32_t)in_seconds(found->retry_ns));
  return purlin_fail(ctx, PURLIN_TOO_MANY, "more than %lld requests in %lld seconds (the limit '%s')",
                     (long long)rule->requests, (long long)rule->seconds, rule->name);
}

/* A rule beside those of the configuration: the workspace's own quota. */
static bool take_quota(purlin_ctx *ctx, purlin_request *request, rate_rule *own, uint64_t now_ns, rate_outcome *found) {
  int64_t per_minute;
  if (!quotas_requests(ctx->workspace, &per_minute)) return false;
  *own = (rate_rule){.name = "requests", .per = "workspace", .operations = "*", .requests = per_minute, .seconds = 60};
  *found = rate_count(key_of(ctx, request, own, QUOTA_INDEX), own, now_ns);
  return true;
}

purlin_status rates_take(purlin_ctx *ctx, purlin_request *request, const char *operation, bool per_address) {
  const rate_rule *tightest = NULL;
  rate_rule own;
  rate_outcome least = {0}, found;
  if (!atomic_load_explicit(&shards, memory_order_relaxed)) return PURLIN_OK;
  uint64_t now_ns = purlin_ticks_ns();
  for (size_t i = 0; rules && i < rules->rules.count; i++) {
    const rate_rule *rule = &rules->rules.items[i];
    if ((strcmp(rule->per, "address") == 0) != per_address || !access_covers(rule->operations, operation)) continue;
    found = rate_count(key_of(ctx, request, rule, i), rule, now_ns);
    if (tightest && found.allowed && found.remaining >= least.remaining) continue;
    tightest = rule;
    least = found;
    if (!found.allowed) break;
  }
  if (!per_address && (!tightest || least.allowed) && take_quota(ctx, request, &own, now_ns, &found) &&
      (!tightest || !found.allowed || found.remaining < least.remaining)) {
    tightest = &own;
    least = found;
  }
  if (!tightest) return PURLIN_OK;
  purlin_status status = tell(ctx, request, tightest, &least);
  return status == PURLIN_OK && !least.allowed ? refuse(ctx, tightest, &least) : status;
}
