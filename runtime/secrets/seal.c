#include "secrets/file.h"
#include "secrets/pages.h"
#include "secrets/secrets.h"
#include "core/text.h"
#include "loop/context.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

_Static_assert(PURLIN_SEAL_EXTRA_BYTES == KEYRING_EXTRA_BYTES, "as the SDK says");

/* Set before there are threads, then only read. */
static keyring keys;
static char key_ids[(size_t)KEYRING_MOST * KEYRING_ID_SIZE];

const char *purlin_secret_keys(void) { return key_ids; }

/* ---- The keys of this node ------------------------------------------------------------------------------------------------------------- */

/* A file of the state directory. `make`: it is made where there is none; otherwise it may be absent. */
static bool add_kept(keyring *k, const char *state, const char *name, bool make, buffer *why) {
  char path[PATH_MAX];
  int length = snprintf(path, sizeof path, "%s/%s", state, name);
  if (length < 0 || (size_t)length >= sizeof path) {
    buffer_format(why, "the path of the state directory, %s, is too long", state);
    return false;
  }
  bool there = access(path, F_OK) == 0;
  if (!there && !make) return true;
  return (there || key_file_make(path, why)) && key_file_add(k, path, why);
}

static bool read_keys(keyring *k, const secrets_options *options, bool make, buffer *why) {
  for (size_t i = 0; i < options->keys.count; i++)
    if (!key_setting_add(k, options->keys.items[i], i + 1, why)) return false;
  /* What these sealed opens, whatever is configured, until an operator takes them away. */
  return add_kept(k, options->state, "secrets.key", make && options->keys.count == 0, why) &&
         add_kept(k, options->state, "accounts.key", false, why);
}

purlin_status secrets_open(const secrets_options *options, buffer *why) {
  keyring_free(&keys);
  key_ids[0] = '\0';
  if (!read_keys(&keys, options, true, why)) return PURLIN_INVALID;
  size_t at = 0;
  for (size_t i = 0; i < keys.count; i++)
    at += (size_t)snprintf(key_ids + at, sizeof key_ids - at, "%s%s", i ? "," : "", keys.ids[i]);
  return PURLIN_OK;
}

purlin_status secrets_check(const secrets_options *options, buffer *why) {
  keyring checked = {0};
  bool fine = read_keys(&checked, options, false, why);
  keyring_free(&checked);
  return fine ? PURLIN_OK : PURLIN_INVALID;
}

void secrets_close(void) {
  keyring_free(&keys);
  key_ids[0] = '\0';
}

/* ---- Open secrets of a context ------------------------------------------------------------------------------------------------------------ */

/* What stands at the beginning of its pages. */
typedef struct secret_page {
  struct secret_page *next;
  char text[];
} secret_page;

static void wipe_all(purlin_ctx *ctx) {
  while (ctx->secrets) {
    secret_page *page = ctx->secrets;
    ctx->secrets = page->next;
    pages_give(page);
  }
}

/* Before there are threads, also where there are no keys. */
__attribute__((constructor)) static void wipe_at_the_end(void) { context_on_end(wipe_all); }

/* Room for `size` bytes and a NUL. */
static secret_page *new_page(purlin_ctx *ctx, size_t size) {
  secret_page *page = pages_take(sizeof *page + size + 1);
  if (!page) return NULL;
  page->next = ctx->secrets;
  ctx->secrets = page;
  return page;
}

void purlin_secret_wipe(purlin_ctx *ctx, purlin_secret *secret) {
  for (secret_page **place = &ctx->secrets; secret->text && *place; place = &(*place)->next) {
    secret_page *page = *place;
    if (page->text != secret->text) continue;
    *place = page->next;
    pages_give(page);
    break;
  }
  *secret = (purlin_secret){0};
}

char *secrets_room(purlin_ctx *ctx, size_t size, purlin_secret *out) {
  *out = (purlin_secret){0};
  secret_page *page = size <= 2 * PURLIN_SEAL_MOST_BYTES ? new_page(ctx, size) : NULL;
  if (!page) {
    (void)!purlin_fail(ctx, PURLIN_TOO_LARGE, "a secret is too large, or memory is short");
    return NULL;
  }
  *out = (purlin_secret){page->text, size};
  return page->text;
}

purlin_status purlin_secret_keep(purlin_ctx *ctx, const void *data, size_t size, purlin_secret *out) {
  if (size > PURLIN_SEAL_MOST_BYTES)
    return *out = (purlin_secret){0}, purlin_fail(ctx, PURLIN_TOO_LARGE, "a secret has at most 1 MiB");
  char *text = secrets_room(ctx, size, out);
  if (!text) return PURLIN_TOO_LARGE;
  if (size > 0) memcpy(text, data, size);
  return PURLIN_OK;
}

/* ---- Sealing --------------------------------------------------------------------------------------------------------------------------------- */

purlin_status purlin_seal(purlin_ctx *ctx, const char *of, const void *data, size_t size, purlin_bytes *sealed) {
  *sealed = (purlin_bytes){0};
  if (keys.count == 0) return purlin_fail(ctx, PURLIN_UNAVAILABLE, "%s cannot be sealed: there are no keys here", of);
  if (size > PURLIN_SEAL_MOST_BYTES) return purlin_fail(ctx, PURLIN_TOO_LARGE, "a secret has at most 1 MiB");
  uint8_t *out = purlin_alloc(ctx, size + KEYRING_EXTRA_BYTES);
  if (!out) return PURLIN_TOO_LARGE;
  if (!keyring_seal(&keys, of, data, size, out)) return purlin_fail(ctx, PURLIN_INTERNAL, "%s cannot be sealed", of);
  *sealed = (purlin_bytes){out, size + KEYRING_EXTRA_BYTES};
  return PURLIN_OK;
}

purlin_status purlin_unseal(purlin_ctx *ctx, const char *of, purlin_bytes sealed, purlin_secret *out) {
  char id[KEYRING_ID_SIZE];
  *out = (purlin_secret){0};
  if (!sealed.data || sealed.size > PURLIN_SEAL_MOST_BYTES + KEYRING_EXTRA_BYTES ||
      !keyring_sealed_by(sealed.data, sealed.size, id))
    return purlin_fail(ctx, PURLIN_INTERNAL, "%s is nothing that was sealed", of);
  size_t size = sealed.size - KEYRING_EXTRA_BYTES;
  secret_page *page = new_page(ctx, size);
  if (!page) return purlin_fail(ctx, PURLIN_TOO_LARGE, "no memory for a secret");
  keyring_outcome outcome = keyring_open(&keys, of, sealed.data, sealed.size, page->text);
  *out = (purlin_secret){page->text, size};
  if (outcome == KEYRING_OPEN) return PURLIN_OK;
  purlin_secret_wipe(ctx, out);
  if (outcome == KEYRING_NO_KEY)
    return purlin_fail(ctx, PURLIN_UNAVAILABLE, "%s was sealed with the key %s, which this node does not have", of, id);
  return purlin_fail(ctx, PURLIN_INTERNAL, "%s does not open: it was changed, or sealed as something else", of);
}

const char *purlin_sealed_by(purlin_ctx *ctx, purlin_bytes sealed) {
  char id[KEYRING_ID_SIZE];
  return sealed.data && keyring_sealed_by(sealed.data, sealed.size, id) ? purlin_copy(ctx, id) : NULL;
}

/* ---- Names: keys joined by '/', which in them is "%2F" --------------------------------------------------------------------------------- */

static size_t escaped_size(const char *text) {
  size_t size = 0;
  for (; *text; text++) size += *text == '/' || *text == '%' ? 3 : 1;
  return size;
}

static char *escape(char *to, const char *text) {
  for (; *text; text++) {
    if (*text == '/' || *text == '%') {
      memcpy(to, *text == '/' ? "%2F" : "%25", 3);
      to += 3;
    } else *to++ = *text;
  }
  return to;
}

const char *purlin_seal_name(purlin_ctx *ctx, const char *table, size_t key_count, const char *const *key_values) {
  size_t size = escaped_size(table) + 1;
  for (size_t i = 0; i < key_count; i++) size += 1 + escaped_size(key_values[i]);
  char *name = purlin_alloc(ctx, size), *at = name;
  if (!name) return NULL;
  at = escape(at, table);
  for (size_t i = 0; i < key_count; i++) {
    *at++ = '/';
    at = escape(at, key_values[i]);
  }
  return name;
}
