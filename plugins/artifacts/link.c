#include "artifacts.h"
#include <stdio.h>
#include <string.h>

/* A link ends with "?link=" and the hexadecimal digits of what it is for, sealed with the operator's first key: nobody reads or changes
 * it, it opens as what it was sealed alone, and it ends with that key. The query of an address is never logged. */

enum { MOST_DIGITS = 12000 };

static const char *seal_name(purlin_ctx *ctx, const char *use) {
  return purlin_seal_name(ctx, "artifacts_links", 1, (const char *[]){use});
}

const char *artifacts_seal_link(purlin_ctx *ctx, const char *use, const purlin_schema *schema, const void *content) {
  purlin_json text;
  purlin_bytes sealed = {0};
  const char *of = seal_name(ctx, use);
  if (!of || purlin_encode(ctx, schema, content, &text) != PURLIN_OK) return NULL;
  if (purlin_seal(ctx, of, text.text, text.size, &sealed) != PURLIN_OK) return NULL;
  char *digits = purlin_alloc(ctx, 2 * sealed.size + 1);
  for (size_t i = 0; digits && i < sealed.size; i++)
    (void)snprintf(digits + 2 * i, 3, "%02x", ((const unsigned char *)sealed.data)[i]);
  return digits;
}

purlin_status artifacts_refuse_link(purlin_ctx *ctx) {
  purlin_clear_failure(ctx);
  return purlin_fail(ctx, PURLIN_UNAUTHENTICATED, "the link is none that was given for this, or its time is over");
}

static int digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

static bool read_digits(purlin_ctx *ctx, const char *digits, purlin_bytes *out) {
  size_t size = digits ? strnlen(digits, MOST_DIGITS + 1) : 0;
  unsigned char *bytes = size > 0 && size <= MOST_DIGITS && size % 2 == 0 ? purlin_alloc(ctx, size / 2) : NULL;
  for (size_t i = 0; bytes && i < size / 2; i++) {
    int high = digit(digits[2 * i]), low = digit(digits[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    bytes[i] = (unsigned char)(high * 16 + low);
  }
  *out = (purlin_bytes){bytes, size / 2};
  return bytes != NULL;
}

/* What was sealed by none of our keys is nobody's mistake: it is not logged. */
static bool is_ours(purlin_ctx *ctx, purlin_bytes sealed) {
  const char *key = purlin_sealed_by(ctx, sealed);
  return key && strstr(purlin_secret_keys(), key);
}

purlin_status artifacts_open_link(purlin_ctx *ctx, purlin_request *request, const char *use, const purlin_schema *schema,
                                  void *content) {
  purlin_bytes sealed;
  purlin_secret open = {0};
  const char *of = seal_name(ctx, use);
  if (!of) return PURLIN_TOO_LARGE;
  if (!read_digits(ctx, purlin_query_value(request, "link"), &sealed) || !is_ours(ctx, sealed))
    return artifacts_refuse_link(ctx);
  purlin_status status = purlin_unseal(ctx, of, sealed, &open);
  if (status == PURLIN_OK) status = purlin_decode_stored(ctx, schema, open.text, open.size, content);
  purlin_secret_wipe(ctx, &open);
  return status == PURLIN_OK ? PURLIN_OK : artifacts_refuse_link(ctx);
}
