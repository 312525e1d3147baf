#include "secrets/keyring.h"
#include "core/text.h"
#include "secrets/pages.h"
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

enum { NONCE = 12, TAG = 16, ID_BYTES = 8, LAYOUT_OLD = 0, LAYOUT = 1 };

_Static_assert(KEYRING_HEAD_BYTES == 1 + ID_BYTES, "layout and id");
_Static_assert(KEYRING_EXTRA_BYTES == KEYRING_HEAD_BYTES + NONCE + TAG, "what a seal adds");

bool keyring_id(const uint8_t key[KEYRING_KEY_BYTES], char id[KEYRING_ID_SIZE]) {
  static const unsigned char of[] = "which seal";
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (!HMAC(EVP_sha256(), key, KEYRING_KEY_BYTES, of, sizeof of - 1, digest, &size)) return false;
  text_hex(digest, ID_BYTES, id);
  return true;
}

bool keyring_add(keyring *k, const uint8_t key[KEYRING_KEY_BYTES]) {
  char id[KEYRING_ID_SIZE];
  if (!keyring_id(key, id)) return false;
  for (size_t i = 0; i < k->count; i++)
    if (strcmp(k->ids[i], id) == 0) return true;
  if (!k->keys) k->keys = pages_take((size_t)KEYRING_MOST * sizeof *k->keys);
  if (!k->keys || k->count == KEYRING_MOST) return false;
  memcpy(k->keys[k->count], key, KEYRING_KEY_BYTES);
  memcpy(k->ids[k->count++], id, sizeof id);
  return true;
}

void keyring_free(keyring *k) {
  pages_give(k->keys);
  *k = (keyring){0};
}

/* ---- Sealing ---------------------------------------------------------------------------------------------------------------------------- */

static bool begin(EVP_CIPHER_CTX *c, bool seal, const uint8_t *key, const uint8_t *sealed, const char *of) {
  int got = 0;
  bool old = sealed[0] == LAYOUT_OLD;
  const char *slash = old ? strchr(of, '/') : NULL;
  const char *bound = slash ? slash + 1 : of;
  return strlen(bound) < INT_MAX &&
         EVP_CipherInit_ex(c, EVP_aes_256_gcm(), NULL, key, sealed + KEYRING_HEAD_BYTES, seal ? 1 : 0) == 1 &&
         (old || EVP_CipherUpdate(c, NULL, &got, sealed, KEYRING_HEAD_BYTES) == 1) &&
         EVP_CipherUpdate(c, NULL, &got, (const unsigned char *)bound, (int)strlen(bound)) == 1;
}

bool keyring_seal(const keyring *k, const char *of, const void *data, size_t size, uint8_t *out) {
  if (k->count == 0 || size > INT_MAX - KEYRING_EXTRA_BYTES) return false;
  uint8_t *inner = out + KEYRING_HEAD_BYTES + NONCE, none = 0;
  out[0] = LAYOUT;
  if (!text_unhex(k->ids[0], KEYRING_ID_SIZE - 1, out + 1)) return false;
  text_random(out + KEYRING_HEAD_BYTES, NONCE);
  EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
  int got = 0, last = 0;
  bool fine = c && begin(c, true, k->keys[0], out, of) &&
              EVP_EncryptUpdate(c, inner, &got, size > 0 ? data : &none, (int)size) == 1 && (size_t)got == size &&
              EVP_EncryptFinal_ex(c, inner + size, &last) == 1 && last == 0 &&
              EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG, inner + size) == 1;
  EVP_CIPHER_CTX_free(c);
  return fine;
}

bool keyring_sealed_by(const uint8_t *sealed, size_t size, char id[KEYRING_ID_SIZE]) {
  if (size < KEYRING_EXTRA_BYTES || sealed[0] > LAYOUT) return false;
  text_hex(sealed + 1, ID_BYTES, id);
  return true;
}

static const uint8_t *key_of(const keyring *k, const uint8_t *sealed, size_t size) {
  char id[KEYRING_ID_SIZE];
  if (!keyring_sealed_by(sealed, size, id)) return NULL;
  for (size_t i = 0; i < k->count; i++)
    if (strcmp(k->ids[i], id) == 0) return k->keys[i];
  return NULL;
}

keyring_outcome keyring_open(const keyring *k, const char *of, const uint8_t *sealed, size_t size, void *out) {
  char id[KEYRING_ID_SIZE];
  if (size > INT_MAX || !keyring_sealed_by(sealed, size, id)) return KEYRING_BROKEN;
  const uint8_t *key = key_of(k, sealed, size), *from = sealed + KEYRING_HEAD_BYTES + NONCE;
  if (!key) return KEYRING_NO_KEY;
  size_t inner = size - KEYRING_EXTRA_BYTES;
  uint8_t tag[TAG], end[TAG];
  memcpy(tag, from + inner, TAG);
  EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
  int got = 0, last = 0;
  bool fine = c && begin(c, false, key, sealed, of) && EVP_DecryptUpdate(c, out, &got, from, (int)inner) == 1 &&
              (size_t)got == inner && EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG, tag) == 1 &&
              EVP_DecryptFinal_ex(c, end, &last) == 1;
  EVP_CIPHER_CTX_free(c);
  if (!fine) text_wipe(out, inner);
  return fine ? KEYRING_OPEN : KEYRING_BROKEN;
}
