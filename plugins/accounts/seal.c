#include "seal.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NONCE = 12, TAG = 16 };

/* ---- The file --------------------------------------------------------------------------------------------------------------------------- */

static bool refuse(char why[SEAL_WHY_SIZE], const char *path, const char *what) {
  (void)snprintf(why, SEAL_WHY_SIZE, "%.300s %s", path, what);
  return false;
}

/* To a new file, flushed, then linked: it is there whole or not at all, and none that is there is ever lost. */
static bool make(const char *path, char why[SEAL_WHY_SIZE]) {
  unsigned char key[SEAL_KEY_BYTES];
  char fresh[PATH_MAX];
  int length = snprintf(fresh, sizeof fresh, "%s.new", path);
  if (length < 0 || (size_t)length >= sizeof fresh) return refuse(why, path, "has too long a path");
  (void)unlink(fresh);
  int file = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  bool fine = file >= 0 && RAND_bytes(key, sizeof key) == 1 && write(file, key, sizeof key) == (ssize_t)sizeof key &&
              fsync(file) == 0;
  if (file >= 0 && close(file) != 0) fine = false;
  fine = fine && (link(fresh, path) == 0 || errno == EEXIST);
  const char *what = strerror(errno);
  (void)unlink(fresh);
  OPENSSL_cleanse(key, sizeof key);
  return fine ? true : refuse(why, path, what);
}

bool seal_load(const char *path, unsigned char key[SEAL_KEY_BYTES], char why[SEAL_WHY_SIZE]) {
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (file < 0 && errno == ENOENT && !make(path, why)) return false;
  if (file < 0) file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (file < 0) return refuse(why, path, strerror(errno));
  struct stat about;
  unsigned char more;
  const char *what = NULL;
  if (fstat(file, &about) != 0) what = strerror(errno);
  else if ((about.st_mode & 077) != 0) what = "can be read by others: chmod 600";
  else if (read(file, key, SEAL_KEY_BYTES) != SEAL_KEY_BYTES || read(file, &more, 1) != 0) what = "does not hold 32 bytes";
  (void)close(file);
  return what ? refuse(why, path, what) : true;
}

bool seal_name(const unsigned char key[SEAL_KEY_BYTES], char name[SEAL_NAME_SIZE]) {
  static const unsigned char of[] = "which seal";
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (!HMAC(EVP_sha256(), key, SEAL_KEY_BYTES, of, sizeof of - 1, digest, &size)) return false;
  for (size_t i = 0; i < SEAL_NAME_SIZE / 2; i++) (void)snprintf(name + 2 * i, 3, "%02x", digest[i]);
  return true;
}

/* ---- Sealing ------------------------------------------------------------------------------------------------------------------------------ */

bool seal_close(const unsigned char key[SEAL_KEY_BYTES], const char *of, const void *data, size_t size,
                unsigned char *out) {
  EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
  int got = 0, last = 0;
  bool fine = c && size <= INT_MAX && RAND_bytes(out, NONCE) == 1 &&
              EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, out) == 1 &&
              EVP_EncryptUpdate(c, NULL, &got, (const unsigned char *)of, (int)strlen(of)) == 1 &&
              EVP_EncryptUpdate(c, out + NONCE, &got, data, (int)size) == 1 && (size_t)got == size &&
              EVP_EncryptFinal_ex(c, out + NONCE + size, &last) == 1 && last == 0 &&
              EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG, out + NONCE + size) == 1;
  EVP_CIPHER_CTX_free(c);
  return fine;
}

bool seal_open(const unsigned char key[SEAL_KEY_BYTES], const char *of, const unsigned char *sealed, size_t size,
               void *out) {
  if (size < SEAL_EXTRA_BYTES || size > INT_MAX) return false;
  size_t inner = size - SEAL_EXTRA_BYTES;
  unsigned char tag[TAG], *to = out;
  memcpy(tag, sealed + NONCE + inner, TAG);
  EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
  int got = 0, last = 0;
  bool fine = c && EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, sealed) == 1 &&
              EVP_DecryptUpdate(c, NULL, &got, (const unsigned char *)of, (int)strlen(of)) == 1 &&
              EVP_DecryptUpdate(c, to, &got, sealed + NONCE, (int)inner) == 1 && (size_t)got == inner &&
              EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG, tag) == 1 && EVP_DecryptFinal_ex(c, to + inner, &last) == 1;
  EVP_CIPHER_CTX_free(c);
  if (!fine) OPENSSL_cleanse(out, inner);
  return fine;
}
