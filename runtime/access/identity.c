#include "access/identity.h"
#include "core/text.h"
#include "operation/operation.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* An identity is asked for with each request, so each loop keeps those that it met, by a hash of the credential under a key of this
 * process. KEPT_MS is how long a revoked credential may still be honoured. */
enum { SLOTS = 1024, KEPT_MS = 900, MARK_BYTES = 16, MOST_AUTHENTICATORS = 16, IDENTITY_LIMIT = 256 * 1024 };

/* ---- Those who know people -------------------------------------------------------------------------------------------------------- */

typedef struct authenticator {
  const char *plugin;
  struct plugin *owner;
  const purlin_authenticator *functions;
} authenticator;

/* Written at start only. */
static authenticator authenticators[MOST_AUTHENTICATORS];
static size_t authenticator_count;

purlin_status access_add_authenticator(const char *plugin, struct plugin *owner, const purlin_authenticator *functions) {
  if (authenticator_count == MOST_AUTHENTICATORS) return PURLIN_TOO_MANY;
  authenticators[authenticator_count++] = (authenticator){plugin, owner, functions};
  return PURLIN_OK;
}

/* ---- The cache ------------------------------------------------------------------------------------------------------------------------ */

/* An identity and the memory that all of it is in. */
typedef struct kept_identity {
  struct identity who;
  arena memory;
} kept_identity;

typedef struct slot {
  uint8_t mark[MARK_BYTES];
  uint64_t until_ms;
  struct identity *who; /* the cache's own reference */
} slot;

typedef struct cache {
  slot slots[SLOTS];
  struct cache *next;
  bool listed;
} cache;

static const char cache_key;
static _Atomic(cache *) caches; /* for the end only: each belongs to its loop */
static uint8_t mark_key[16];

void identity_start(void) { text_random(mark_key, sizeof mark_key); }

/* Everything that the answer depends on, each with its length, so that no two requests look alike. */
static void mark_of(const purlin_credential *credential, const char *workspace, uint8_t out[MARK_BYTES]) {
  const char *const parts[] = {credential->secret, credential->name, workspace ? workspace : ""};
  uint8_t marks[1 + sizeof parts / sizeof parts[0]][MARK_BYTES] = {{(uint8_t)credential->kind}};
  if (!*credential->name && !workspace && credential->kind == PURLIN_CREDENTIAL_BEARER) { /* nearly always */
    text_keyed_hash(mark_key, credential->secret, strlen(credential->secret), out);
    return;
  }
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
    text_keyed_hash(mark_key, parts[i], strlen(parts[i]), marks[i + 1]);
  text_keyed_hash(mark_key, marks, sizeof marks, out);
}

static slot *slot_of(purlin_ctx *ctx, const uint8_t *mark) {
  cache *c = purlin_loop_local(ctx, &cache_key, sizeof(cache));
  if (c && !c->listed) {
    c->listed = true;
    c->next = atomic_load(&caches);
    while (!atomic_compare_exchange_weak(&caches, &c->next, c)) {}
  }
  return c ? &c->slots[((size_t)mark[0] | (size_t)mark[1] << 8) % SLOTS] : NULL;
}

static void release(struct identity *who) {
  kept_identity *kept = (kept_identity *)(void *)who;
  arena_free(&kept->memory);
  free(kept);
}

static void drop(slot *s) {
  struct identity *old = s->who;
  s->who = NULL;
  if (old && --old->references == 0) old->release(old);
}

void identity_forget(void) {
  for (cache *c = atomic_exchange(&caches, NULL); c; c = c->next)
    for (size_t i = 0; i < SLOTS; i++) drop(&c->slots[i]);
}

/* ---- From a principal to an identity -------------------------------------------------------------------------------------------------------- */

static const char *keep(arena *memory, const char *text, bool *whole) {
  if (!text) return NULL;
  const char *kept = arena_copy(memory, text, strlen(text));
  *whole = *whole && kept;
  return kept;
}

static purlin_texts keep_texts(arena *memory, purlin_texts from, bool *whole) {
  const char **items = arena_alloc(memory, (from.count + 1) * sizeof *items);
  if (!items) return *whole = false, (purlin_texts){0};
  for (size_t i = 0; i < from.count; i++) items[i] = keep(memory, from.items[i], whole);
  return (purlin_texts){items, from.count};
}

typedef struct known {
  purlin_principal principal;
  const char *workspace, *project;
  bool bound; /* to the project: what is granted elsewhere does not count */
  purlin_texts subjects;
  grants granted;
} known;

static bool copy_grants(kept_identity *kept, const known *from) {
  access_grant *copies = arena_alloc(&kept->memory, (from->granted.grants.count + 1) * sizeof *copies);
  bool whole = copies != NULL;
  size_t count = 0;
  for (size_t i = 0; whole && i < from->granted.grants.count; i++) {
    const access_grant *grant = &from->granted.grants.items[i];
    if (from->bound && grant->project && strcmp(grant->project, from->project) != 0) continue;
    copies[count++] = (access_grant){
        .project = keep(&kept->memory, from->bound && !grant->object ? from->project : grant->project, &whole),
        .object = keep(&kept->memory, grant->object, &whole),
        .permissions = keep_texts(&kept->memory, grant->permissions, &whole)};
  }
  kept->who.grants = copies;
  kept->who.grant_count = count;
  return whole;
}

static purlin_status keep_identity(purlin_ctx *ctx, const known *from, struct identity **who) {
  kept_identity *kept = calloc(1, sizeof *kept);
  if (!kept) return purlin_fail(ctx, PURLIN_UNAVAILABLE, "out of memory");
  arena_init(&kept->memory, IDENTITY_LIMIT);
  bool whole = copy_grants(kept, from);
  kept->who.actor = keep(&kept->memory, from->principal.actor, &whole);
  kept->who.credential = keep(&kept->memory, from->principal.credential ? from->principal.credential : "", &whole);
  kept->who.workspace = keep(&kept->memory, from->workspace, &whole);
  kept->who.project = keep(&kept->memory, from->project, &whole);
  kept->who.scope = keep_texts(&kept->memory, from->principal.scope, &whole);
  kept->who.subjects = keep_texts(&kept->memory, from->subjects, &whole);
  kept->who.bound = from->bound;
  kept->who.release = release;
  kept->who.references = 1;
  if (!whole) {
    release(&kept->who);
    return purlin_fail(ctx, PURLIN_UNAVAILABLE, "an identity with so many grants does not fit");
  }
  *who = &kept->who;
  return PURLIN_OK;
}

/* ---- From a credential to a principal ---------------------------------------------------------------------------------------------------------- */

static purlin_status ask_authenticators(purlin_ctx *ctx, const purlin_credential *credential, known *out) {
  purlin_status status = PURLIN_NOT_FOUND;
  for (size_t i = 0; i < authenticator_count && status == PURLIN_NOT_FOUND; i++) {
    const authenticator *a = &authenticators[i];
    purlin_clear_failure(ctx);
    operation_frame frame = context_enter(ctx, a->plugin, a->owner, "authenticate");
    out->principal = (purlin_principal){0};
    status = a->functions->authenticate(ctx, credential, &out->principal);
    context_leave(ctx, frame);
  }
  return status;
}

#define HAS(functions, member)                                                                                             \
  ((functions)->size >= offsetof(purlin_authenticator, member) + sizeof(functions)->member && (functions)->member)

/* Whoever is shut out is so with their keys, too; and whatever is granted to their groups, their keys may do. */
static purlin_status ask_vouchers(purlin_ctx *ctx, purlin_principal *principal) {
  purlin_status status = PURLIN_NOT_FOUND;
  for (size_t i = 0; i < authenticator_count && status == PURLIN_NOT_FOUND; i++) {
    const authenticator *a = &authenticators[i];
    if (!HAS(a->functions, vouch)) continue;
    operation_frame frame = context_enter(ctx, a->plugin, a->owner, "vouch");
    status = a->functions->vouch(ctx, principal->actor);
    if (status == PURLIN_OK && HAS(a->functions, groups))
      status = a->functions->groups(ctx, principal->actor, &principal->groups);
    context_leave(ctx, frame);
  }
  if (status != PURLIN_NOT_FOUND) return status;
  purlin_clear_failure(ctx);
  return PURLIN_OK;
}

purlin_status identity_comes_in(purlin_ctx *ctx, const char *actor) {
  purlin_status status = PURLIN_NOT_FOUND;
  for (size_t i = 0; i < authenticator_count && status == PURLIN_NOT_FOUND; i++) {
    const authenticator *a = &authenticators[i];
    if (!HAS(a->functions, comes_in)) continue;
    operation_frame frame = context_enter(ctx, a->plugin, a->owner, "comes_in");
    status = a->functions->comes_in(ctx, actor);
    context_leave(ctx, frame);
  }
  return status;
}

/* The actor and their groups: whatever a role may be granted to. */
static purlin_status subjects_of(purlin_ctx *ctx, const purlin_principal *principal, purlin_texts *out) {
  size_t count = principal->groups.count + 1;
  const char **items = purlin_alloc_array(ctx, count, sizeof *items);
  if (!items) return PURLIN_TOO_LARGE;
  items[0] = principal->actor;
  for (size_t i = 1; i < count; i++) items[i] = principal->groups.items[i - 1];
  *out = (purlin_texts){items, count};
  return PURLIN_OK;
}

purlin_status identity_subjects(purlin_ctx *ctx, const char *subject, purlin_texts *subjects) {
  purlin_principal who = {.actor = subject};
  purlin_status status = PURLIN_NOT_FOUND;
  for (size_t i = 0; i < authenticator_count && status == PURLIN_NOT_FOUND; i++) {
    const authenticator *a = &authenticators[i];
    if (!HAS(a->functions, groups)) continue;
    operation_frame frame = context_enter(ctx, a->plugin, a->owner, "groups");
    status = a->functions->groups(ctx, subject, &who.groups);
    context_leave(ctx, frame);
  }
  if (status != PURLIN_OK && status != PURLIN_NOT_FOUND) return status;
  if (status == PURLIN_NOT_FOUND) purlin_clear_failure(ctx);
  return subjects_of(ctx, &who, subjects);
}

/* A key has its workspace; people have those in which something is granted to them. */
static purlin_status settle_workspace(purlin_ctx *ctx, known *k, const char *asked, purlin_texts subjects) {
  if (!k->workspace) k->workspace = asked ? asked : k->principal.workspace;
  if (!k->workspace) {
    purlin_status status = grants_home(ctx, subjects, &k->workspace);
    if (status == PURLIN_NOT_FOUND)
      return purlin_fail(ctx, PURLIN_FORBIDDEN, "say in which workspace with the header 'Purlin-Workspace'");
    if (status != PURLIN_OK) return status;
  }
  if (asked && strcmp(asked, k->workspace) != 0)
    return purlin_fail(ctx, PURLIN_FORBIDDEN, "this key belongs to another workspace");
  if (!k->project) k->project = "default";
  return PURLIN_OK;
}

static purlin_status find_out(purlin_ctx *ctx, const purlin_credential *credential, const char *asked, known *k) {
  purlin_status status = key_principal(ctx, credential, &k->principal, &k->project, &k->bound);
  if (status == PURLIN_OK) {
    k->workspace = k->principal.workspace;
    status = ask_vouchers(ctx, &k->principal);
  } else if (status == PURLIN_NOT_FOUND) status = ask_authenticators(ctx, credential, k);
  if (status == PURLIN_OK) status = subjects_of(ctx, &k->principal, &k->subjects);
  if (status == PURLIN_OK) status = settle_workspace(ctx, k, asked, k->subjects);
  if (status == PURLIN_OK) status = grants_of(ctx, k->workspace, k->subjects, &k->granted);
  return status;
}

static uint64_t keep_ms(const purlin_principal *principal) {
  if (principal->expires_at.unix_us == 0) return KEPT_MS;
  int64_t left_ms = (principal->expires_at.unix_us - purlin_now_us()) / 1000;
  return left_ms <= 0 ? 0 : left_ms < KEPT_MS ? (uint64_t)left_ms : KEPT_MS;
}

purlin_status identity_of(purlin_ctx *ctx, const purlin_credential *credential, const char *workspace,
                          struct identity **who) {
  uint8_t mark[MARK_BYTES];
  mark_of(credential, workspace, mark);
  slot *s = slot_of(ctx, mark);
  if (!s) return purlin_fail(ctx, PURLIN_UNAVAILABLE, "out of memory");
  uint64_t now_ms = loop_now_ms(ctx->loop);
  if (s->who && s->until_ms > now_ms && text_equal_secret(s->mark, mark, MARK_BYTES)) {
    *who = s->who;
    return PURLIN_OK;
  }
  known k = {0};
  purlin_status status = find_out(ctx, credential, workspace, &k);
  if (status == PURLIN_OK) status = keep_identity(ctx, &k, who);
  if (status != PURLIN_OK) return status;
  drop(s); /* after the park: another fiber may have filled it meanwhile */
  memcpy(s->mark, mark, MARK_BYTES);
  s->until_ms = now_ms + keep_ms(&k.principal);
  s->who = *who;
  return PURLIN_OK;
}
