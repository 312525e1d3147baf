#include "access/token.h"
#include "core/text.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  HASH_BYTES = 32,
  HASH_DIGITS = 64,
  MARK_BYTES = 16,
  KEY_BYTES = 16,
  TOKEN_RANDOM = 40,
  CACHE_SLOTS = 1024,
  CACHE_MS = 2000,
  LONGEST_TOKEN = 256
};

/* ---- The row ------------------------------------------------------------------------------------------------------------------ */

typedef struct token_row {
  const char *actor, *workspace, *project;
  purlin_texts permissions;
} token_row;
PURLIN_SCHEMA(token_row, "What a token stands for",
    PURLIN_REQUIRED(actor, "Who acts"),
    PURLIN_REQUIRED(workspace, "In which workspace"),
    PURLIN_REQUIRED(project, "In which project"),
    PURLIN_REQUIRED(permissions, "May do what"));

static const char FIND_TOKEN[] = "SELECT actor, workspace, project, permissions FROM access_tokens"
                                 " WHERE hash = ? AND (expires_at IS NULL OR expires_at > NOW(6))";

/* ---- The cache: per loop, direct mapped; an entry is forgotten after CACHE_MS, so that a revoked token dies soon ----------------
 *
 * It is asked with each request, so a token is known there by a hash under a key of this process, which is cheaper than the one in
 * the database. */

typedef struct cache_slot {
  uint8_t mark[MARK_BYTES];
  uint64_t until_ms;
  identity *who; /* the cache's own reference */
} cache_slot;

typedef struct cache {
  struct cache *next; /* of another loop */
  bool listed;
  cache_slot slots[CACHE_SLOTS];
} cache;

static const char cache_key;
static _Atomic(cache *) caches; /* for the end only: each belongs to its loop */

static void free_identity(identity *who) { free(who); }

static const char *keep(char **at, const char *text) {
  size_t size = strlen(text) + 1;
  const char *kept = memcpy(*at, text, size);
  *at += size;
  return kept;
}

/* One block: the struct, the list of permissions, then all the texts. */
static identity *copy_identity(const token_row *row) {
  size_t count = row->permissions.count, head = sizeof(identity) + count * sizeof(char *);
  size_t texts = strlen(row->actor) + strlen(row->workspace) + strlen(row->project) + 3;
  for (size_t i = 0; i < count; i++) texts += strlen(row->permissions.items[i]) + 1;
  identity *who = malloc(head + texts);
  if (!who) return NULL;
  const char **permissions = (const char **)(void *)(who + 1);
  char *at = (char *)who + head;
  for (size_t i = 0; i < count; i++) permissions[i] = keep(&at, row->permissions.items[i]);
  const char *actor = keep(&at, row->actor), *workspace = keep(&at, row->workspace), *project = keep(&at, row->project);
  *who = (identity){actor, workspace, project, permissions, count, free_identity, 1};
  return who;
}

static uint8_t mark_key[KEY_BYTES]; /* made by access_start, before any request */

static cache_slot *slot_of(purlin_ctx *ctx, const uint8_t *mark) {
  cache *c = purlin_loop_local(ctx, &cache_key, sizeof(cache));
  if (c && !c->listed) {
    c->listed = true;
    c->next = atomic_load(&caches);
    while (!atomic_compare_exchange_weak(&caches, &c->next, c)) {}
  }
  return c ? &c->slots[((size_t)mark[0] | (size_t)mark[1] << 8) % CACHE_SLOTS] : NULL;
}

static void drop(cache_slot *slot) {
  identity *old = slot->who;
  slot->who = NULL;
  if (old && --old->references == 0) old->release(old);
}

void tokens_forget(void) {
  for (cache *c = atomic_exchange(&caches, NULL); c; c = c->next)
    for (size_t i = 0; i < CACHE_SLOTS; i++) drop(&c->slots[i]);
}

static purlin_status look_up(purlin_ctx *ctx, const char *token, size_t size, identity **who) {
  uint8_t hash[HASH_BYTES];
  char digits[HASH_DIGITS + 1];
  text_sha256(token, size, hash);
  text_hex(hash, HASH_BYTES, digits);
  token_row row;
  purlin_status status = purlin_db_row(ctx, token_row, &row, FIND_TOKEN, digits);
  if (status != PURLIN_OK) return status;
  *who = copy_identity(&row);
  return *who ? PURLIN_OK : purlin_fail(ctx, PURLIN_UNAVAILABLE, "out of memory");
}

purlin_status token_identity(purlin_ctx *ctx, const char *token, identity **who) {
  size_t size = strnlen(token, LONGEST_TOKEN + 1);
  if (size == 0 || size > LONGEST_TOKEN) return PURLIN_NOT_FOUND;
  uint8_t mark[MARK_BYTES];
  text_keyed_hash(mark_key, token, size, mark);
  cache_slot *slot = slot_of(ctx, mark);
  if (!slot) return purlin_fail(ctx, PURLIN_UNAVAILABLE, "out of memory");
  uint64_t now_ms = loop_now_ms(ctx->loop);
  if (slot->who && slot->until_ms > now_ms && text_equal_secret(slot->mark, mark, MARK_BYTES)) {
    *who = slot->who;
    return PURLIN_OK;
  }
  identity *found = NULL;
  purlin_status status = look_up(ctx, token, size, &found);
  if (status != PURLIN_OK) return status;
  drop(slot); /* after the park: another fiber may have filled it meanwhile */
  memcpy(slot->mark, mark, MARK_BYTES);
  slot->until_ms = now_ms + CACHE_MS;
  slot->who = found;
  *who = found;
  return PURLIN_OK;
}

void purlin_sha256(const void *data, size_t size, char digits[65]) {
  uint8_t hash[HASH_BYTES];
  text_sha256(data, size, hash);
  text_hex(hash, HASH_BYTES, digits);
}

const char *purlin_new_secret(purlin_ctx *ctx, const char *prefix) {
  size_t size = strlen(prefix);
  char *secret = purlin_alloc(ctx, size + 1 + TOKEN_RANDOM + 1);
  if (!secret) return NULL;
  memcpy(secret, prefix, size);
  secret[size] = '_';
  text_random_id(secret + size + 1, TOKEN_RANDOM);
  return secret;
}

/* ---- The first token ---------------------------------------------------------------------------------------------------------------- */

typedef struct count_row {
  int64_t tokens;
} count_row;
PURLIN_SCHEMA(count_row, "How many tokens there are", PURLIN_REQUIRED(tokens, "Rows"));

/* Written to a new file, flushed, then renamed: the file is there whole or not at all, and nobody else can read it. */
static bool write_secret(const char *directory, const char *name, const char *secret, buffer *why) {
  char path[PATH_MAX], temporary[PATH_MAX];
  int n = snprintf(path, sizeof path, "%s/%s", directory, name),
      m = snprintf(temporary, sizeof temporary, "%s/.%s.new", directory, name);
  if (n < 0 || m < 0 || (size_t)n >= sizeof path || (size_t)m >= sizeof temporary) {
    buffer_format(why, "the state directory's path is too long: %s", directory);
    return false;
  }
  (void)unlink(temporary);
  int file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  size_t size = strlen(secret);
  bool written = file >= 0 && write(file, secret, size) == (ssize_t)size && write(file, "\n", 1) == 1 && fsync(file) == 0;
  int error = errno;
  if (file >= 0 && close(file) != 0) written = false;
  if (written && rename(temporary, path) == 0) return true;
  if (written) error = errno;
  (void)unlink(temporary);
  buffer_format(why, "cannot write the first administrator's token to %s: %s", path, strerror(error));
  return false;
}

static const char INSERT_FIRST[] =
    "INSERT INTO access_tokens (id, hash, name, actor, workspace, project, permissions, created_at)"
    " VALUES (?, ?, 'first administrator', 'user:admin', 'default', 'default', '[\"*\"]', NOW(6))";

purlin_status access_start(purlin_ctx *ctx, const char *state_directory, buffer *why) {
  text_random(mark_key, sizeof mark_key);
  count_row row = {0};
  purlin_status status = purlin_db_row(ctx, count_row, &row, "SELECT COUNT(*) AS tokens FROM access_tokens");
  if (status != PURLIN_OK) {
    buffer_format(why, "cannot read the table of tokens: %s", purlin_failure(ctx));
    return status;
  }
  if (row.tokens > 0) return PURLIN_OK;
  char token[sizeof "purlin_" + TOKEN_RANDOM] = "purlin_";
  text_random_id(token + sizeof "purlin_" - 1, TOKEN_RANDOM);
  uint8_t hash[HASH_BYTES];
  char digits[HASH_DIGITS + 1];
  text_sha256(token, strlen(token), hash);
  text_hex(hash, HASH_BYTES, digits);
  /* The file first: a token that is in the database and nowhere else would lock everybody out. */
  status = write_secret(state_directory, "admin.token", token, why) ? PURLIN_OK : PURLIN_UNAVAILABLE;
  text_wipe(token, sizeof token);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, INSERT_FIRST, purlin_new_id(ctx, "tok"), digits);
  if (status != PURLIN_OK && why->size == 0) buffer_format(why, "cannot store the first token: %s", purlin_failure(ctx));
  return status;
}

PURLIN_MIGRATION(access_0001, "access_0001_tokens",
                 "CREATE TABLE access_tokens (\n"
                 "  id          VARCHAR(64)  NOT NULL PRIMARY KEY,\n"
                 "  hash        CHAR(64)     NOT NULL UNIQUE COMMENT 'SHA-256 of the token, hexadecimal',\n"
                 "  name        VARCHAR(250) NOT NULL,\n"
                 "  actor       VARCHAR(250) NOT NULL,\n"
                 "  workspace   VARCHAR(64)  NOT NULL,\n"
                 "  project     VARCHAR(64)  NOT NULL,\n"
                 "  permissions TEXT         NOT NULL COMMENT 'JSON list',\n"
                 "  created_at  DATETIME(6)  NOT NULL,\n"
                 "  expires_at  DATETIME(6)  NULL\n"
                 ") CHARACTER SET utf8mb4;\n")
