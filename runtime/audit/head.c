#include "audit/head.h"
#include "core/schema.h"
#include "core/text.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SIGNATURE_BYTES = 64, MOST_PEM = 4096, LONGEST_LINE = 1024 };

#define HEADS "audit.heads"
#define OLDER_HEADS "audit.heads.1"

/* ---- What is signed ------------------------------------------------------------------------------------------------------------------ */

void head_text(const audit_head *head, buffer *out) {
  char at[32];
  (void)text_from_time(head->at.unix_us, at);
  buffer_format(out, "purlin audit head 1\n%s\n%lld\n%s\n%s\n", head->origin, (long long)head->size, head->root, at);
}

bool head_root(const audit_head *head, tree_hash *root) {
  return strlen(head->root) == 2 * sizeof root->bytes && text_unhex(head->root, 2 * sizeof root->bytes, root->bytes);
}

bool head_read(const char *json, size_t size, arena *memory, audit_head *head) {
  const schema_reading reading = {.memory = memory, .tolerant = true};
  return schema_decode(&reading, audit_head_schema(), json, size, head) == PURLIN_OK;
}

EVP_PKEY *head_public_key(const char *pem, size_t size) {
  BIO *in = size <= MOST_PEM ? BIO_new_mem_buf(pem, (int)size) : NULL;
  EVP_PKEY *key = in ? PEM_read_bio_PUBKEY(in, NULL, NULL, NULL) : NULL;
  BIO_free(in);
  if (key && EVP_PKEY_get_id(key) == EVP_PKEY_ED25519) return key;
  EVP_PKEY_free(key);
  return NULL;
}

bool head_is_signed_by(const audit_head *head, EVP_PKEY *key) {
  uint8_t signature[128];
  size_t size = strlen(head->signature), got = 0;
  if (size > sizeof signature || !text_unbase64(head->signature, size, signature, &got) || got != SIGNATURE_BYTES)
    return false;
  buffer text = {0};
  head_text(head, &text);
  EVP_MD_CTX *check = EVP_MD_CTX_new();
  bool fine = !text.failed && check && EVP_DigestVerifyInit(check, NULL, NULL, NULL, key) == 1 &&
              EVP_DigestVerify(check, signature, got, (const uint8_t *)text.data, text.size) == 1;
  EVP_MD_CTX_free(check);
  buffer_free(&text);
  return fine;
}

/* ---- The node's key ---------------------------------------------------------------------------------------------------------------------- */

static EVP_PKEY *own_key;
static char own_pem[512], own_id[65];

const char *head_key_pem(void) { return own_pem; }
const char *head_key_id(void) { return own_id; }

static EVP_PKEY *read_key(int file, buffer *why, const char *path) {
  struct stat about;
  char pem[MOST_PEM];
  if (fstat(file, &about) != 0 || (about.st_mode & 077) != 0) {
    buffer_format(why, "others than its owner may read or write the key of the audit log, %s: chmod 600 it", path);
    return NULL;
  }
  ssize_t size = read(file, pem, sizeof pem);
  BIO *in = size > 0 ? BIO_new_mem_buf(pem, (int)size) : NULL;
  EVP_PKEY *key = in ? PEM_read_bio_PrivateKey(in, NULL, NULL, NULL) : NULL;
  BIO_free(in);
  text_wipe(pem, sizeof pem);
  if (key && EVP_PKEY_get_id(key) == EVP_PKEY_ED25519) return key;
  EVP_PKEY_free(key);
  buffer_format(why, "the key of the audit log, %s, is no Ed25519 key in PEM", path);
  return NULL;
}

/* Whole or not at all, and never readable by others. */
static bool write_file(const char *path, const char *data, size_t size) {
  char temporary[PATH_MAX];
  int length = snprintf(temporary, sizeof temporary, "%s.new", path);
  if (length < 0 || (size_t)length >= sizeof temporary) return false;
  (void)unlink(temporary);
  int file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  bool fine = file >= 0 && write(file, data, size) == (ssize_t)size && fsync(file) == 0;
  if (file >= 0 && close(file) != 0) fine = false;
  if (fine && rename(temporary, path) == 0) return true;
  int error = errno;
  (void)unlink(temporary);
  errno = error;
  return false;
}

static EVP_PKEY *make_key(const char *path, buffer *why) {
  EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
  BIO *out = BIO_new(BIO_s_secmem());
  char *pem = NULL;
  bool fine = key && out && PEM_write_bio_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) == 1;
  long size = fine ? BIO_get_mem_data(out, &pem) : 0;
  errno = 0;
  fine = size > 0 && write_file(path, pem, (size_t)size);
  BIO_free(out);
  if (fine) return key;
  buffer_format(why, "cannot make the key of the audit log, %s: %s", path, errno ? strerror(errno) : "OpenSSL failed");
  EVP_PKEY_free(key);
  return NULL;
}

static bool describe_key(void) {
  BIO *out = BIO_new(BIO_s_mem());
  char *pem = NULL;
  uint8_t raw[32];
  size_t raw_size = sizeof raw;
  bool fine = out && PEM_write_bio_PUBKEY(out, own_key) == 1 && EVP_PKEY_get_raw_public_key(own_key, raw, &raw_size) == 1;
  long size = fine ? BIO_get_mem_data(out, &pem) : 0;
  fine = size > 0 && (size_t)size < sizeof own_pem;
  if (fine) {
    memcpy(own_pem, pem, (size_t)size);
    own_pem[size] = '\0';
    uint8_t digest[32];
    text_sha256(raw, raw_size, digest);
    text_hex(digest, sizeof digest, own_id);
  }
  BIO_free(out);
  return fine;
}

static bool path_in(const char *state, const char *name, char out[PATH_MAX]) {
  int size = snprintf(out, PATH_MAX, "%s/%s", state, name);
  return size > 0 && size < PATH_MAX;
}

bool head_key_open(const char *state, buffer *why) {
  char path[PATH_MAX];
  if (!path_in(state, "audit.key", path)) return false;
  EVP_PKEY_free(own_key);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file >= 0) {
    own_key = read_key(file, why, path);
    (void)close(file);
  } else if (errno == ENOENT) own_key = make_key(path, why);
  else {
    own_key = NULL;
    buffer_format(why, "cannot read the key of the audit log, %s: %s", path, strerror(errno));
  }
  return own_key && describe_key();
}

bool head_sign(audit_head *head, arena *memory) {
  uint8_t signature[SIGNATURE_BYTES];
  size_t size = sizeof signature;
  buffer text = {0};
  head_text(head, &text);
  EVP_MD_CTX *state = EVP_MD_CTX_new();
  bool fine = !text.failed && state && own_key && EVP_DigestSignInit(state, NULL, NULL, NULL, own_key) == 1 &&
              EVP_DigestSign(state, signature, &size, (const uint8_t *)text.data, text.size) == 1;
  EVP_MD_CTX_free(state);
  buffer_free(&text);
  char *encoded = fine ? arena_alloc(memory, text_base64_size(size) + 1) : NULL;
  if (!encoded) return false;
  text_base64(signature, size, encoded);
  head->signer = own_id;
  head->signature = encoded;
  return true;
}

/* ---- STATE/audit.heads --------------------------------------------------------------------------------------------------------------------- */

/* A file's last whole line: a crash may have left half of one behind it. */
static bool last_of(const char *state, const char *name, arena *memory, audit_head *head) {
  char path[PATH_MAX], tail[2 * LONGEST_LINE];
  struct stat about;
  if (!path_in(state, name, path)) return false;
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  bool fine = fstat(file, &about) == 0;
  off_t from = fine && about.st_size > (off_t)sizeof tail ? about.st_size - (off_t)sizeof tail : 0;
  ssize_t size = fine ? pread(file, tail, sizeof tail, from) : -1;
  (void)close(file);
  while (size > 0 && tail[size - 1] != '\n') size--;
  if (size <= 1) return false;
  ssize_t begin = size - 1;
  while (begin > 0 && tail[begin - 1] != '\n') begin--;
  return head_read(tail + begin, (size_t)(size - 1 - begin), memory, head);
}

/* Before the first line of a new file there is none in it. */
bool head_last_kept(const char *state, arena *memory, audit_head *head) {
  return last_of(state, HEADS, memory, head) || last_of(state, OLDER_HEADS, memory, head);
}

/* Each head proves what those before it do, so the oldest may go. */
static bool turn_over(const char *state, const char *path) {
  char older[PATH_MAX];
  struct stat about;
  if (stat(path, &about) != 0 || about.st_size < HEAD_MOST_FILE_BYTES) return true;
  return path_in(state, OLDER_HEADS, older) && rename(path, older) == 0;
}

/* A line's end goes before the line when the last one was not finished. */
bool head_keep(const char *state, const char *line, size_t size) {
  char path[PATH_MAX], last = '\n', text[LONGEST_LINE + 2];
  struct stat about;
  if (!path_in(state, HEADS, path) || size > LONGEST_LINE || !turn_over(state, path)) return false;
  int file = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (file < 0) return false;
  bool fine = fstat(file, &about) == 0 && (about.st_size == 0 || pread(file, &last, 1, about.st_size - 1) == 1);
  size_t total = 0;
  if (last != '\n') text[total++] = '\n';
  memcpy(text + total, line, size);
  total += size;
  text[total++] = '\n';
  fine = fine && write(file, text, total) == (ssize_t)total && fdatasync(file) == 0;
  return close(file) == 0 && fine;
}
