#include "storage.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of what is read in order the kernel fetches so much more at once each time, so that the disk is busy while this is hashed and sent. */
enum { FETCH = 2 * 1024 * 1024 };

PURLIN_COUNTER(verified_bytes_total, "Bytes of blobs that were hashed while they were read", NULL);

struct purlin_blob_reader {
  int file;
  int64_t fetched; /* up to where */
  int64_t size;
  int64_t in_order; /* bytes read from the beginning on; -1 once a read went elsewhere, and at the end */
  bool hash;        /* what is read in order, to be held against the name at the end */
  EVP_MD_CTX *digest;
  struct stat about;
  char sha256[STORAGE_DIGITS + 1];
  char path[PATH_MAX];
  /* of the read on the pool */
  int64_t offset;
  void *buffer;
  size_t wanted, got;
  int error;
  bool corrupt;
  /* Who reads on in order finds the next bytes here: they are read and hashed while the last ones are on their way. */
  bool ahead; /* it is being read */
  purlin_offloaded done;
  char *block; /* of STORAGE_BLOCK; NULL until it is wanted */
  int64_t block_at, block_end, next;
};

static bool is_name(const char *sha256) {
  return strlen(sha256) == STORAGE_DIGITS && strspn(sha256, "0123456789abcdef") == STORAGE_DIGITS;
}

static purlin_status open_file(void *argument) {
  purlin_blob_reader *r = argument;
  r->file = open(r->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (r->file < 0 || fstat(r->file, &r->about) != 0) r->error = errno;
  else r->size = r->about.st_size;
  r->hash = r->error == 0 && !verified_lately(r->sha256, &r->about);
  return PURLIN_OK;
}

static void compare(purlin_blob_reader *r) {
  uint8_t hash[32];
  char digits[STORAGE_DIGITS + 1];
  if (EVP_DigestFinal_ex(r->digest, hash, NULL) != 1) r->corrupt = true;
  for (size_t i = 0; i < sizeof hash; i++) (void)snprintf(digits + 2 * i, 3, "%02x", hash[i]);
  if (strcmp(digits, r->sha256) != 0) r->corrupt = true;
  if (!r->corrupt)
    verified_now(r->sha256, &r->about); /* as it was when it was opened: who has written to it since has changed that */
}

static void verify(purlin_blob_reader *r) {
  if (r->in_order != r->offset) {
    r->in_order = -1;
    return;
  }
  if (r->hash && EVP_DigestUpdate(r->digest, r->buffer, r->got) != 1) r->corrupt = true;
  if (r->hash) purlin_count(verified_bytes_total, (double)r->got, PURLIN_NO_LABELS);
  r->in_order += (int64_t)r->got;
  if (r->in_order < r->size && r->got > 0) return;
  if (r->hash) compare(r);
  r->in_order = -1; /* done */
}

static void fetch(purlin_blob_reader *r) {
  bool far_enough = r->offset + FETCH <= r->fetched;
  if (r->in_order != r->offset || r->size <= STORAGE_BLOCK || far_enough) return;
  (void)posix_fadvise(r->file, r->fetched, FETCH, POSIX_FADV_WILLNEED); /* a hint */
  r->fetched += FETCH;
}

static purlin_status read_some(void *argument) {
  purlin_blob_reader *r = argument;
  fetch(r);
  ssize_t n;
  do n = pread(r->file, r->buffer, r->wanted, r->offset);
  while (n < 0 && errno == EINTR);
  if (n < 0) {
    r->error = errno;
    return PURLIN_OK;
  }
  r->got = (size_t)n;
  if (r->in_order >= 0) verify(r);
  return PURLIN_OK;
}

static void end(purlin_ctx *ctx, purlin_blob_reader *r) {
  if (r->ahead && purlin_offload_wait(ctx, &r->done) != PURLIN_OK)
    purlin_log(ctx, PURLIN_DEBUG, "nobody waited for a block");
  free(r->block);
  if (r->file >= 0) (void)close(r->file);
  EVP_MD_CTX_free(r->digest);
  free(r);
}

purlin_status storage_open(purlin_ctx *ctx, const char *sha256, purlin_blob_reader **reader, int64_t *size) {
  if (!is_name(sha256)) return purlin_fail(ctx, PURLIN_INVALID, "a blob is named by 64 hexadecimal digits");
  char place[STORAGE_PLACE];
  purlin_status status = storage_place(ctx, place);
  if (status != PURLIN_OK) return status;
  purlin_blob_reader *r = calloc(1, sizeof *r);
  if (!r) return purlin_fail(ctx, PURLIN_UNAVAILABLE, "out of memory");
  r->file = -1;
  memcpy(r->sha256, sha256, sizeof r->sha256);
  storage_path(place, sha256, false, r->path);
  r->digest = EVP_MD_CTX_new();
  status = r->digest && EVP_DigestInit_ex(r->digest, EVP_sha256(), NULL) == 1
               ? purlin_offload(ctx, PURLIN_POOL_BLOCKING, open_file, r)
               : purlin_fail(ctx, PURLIN_UNAVAILABLE, "out of memory");
  if (status == PURLIN_OK && r->error == ENOENT) status = purlin_fail(ctx, PURLIN_NOT_FOUND, "no blob %s", sha256);
  else if (status == PURLIN_OK && r->error) status = storage_fail(ctx, r->error, "opening a blob");
  if (status != PURLIN_OK) {
    end(ctx, r);
    return status;
  }
  *reader = r;
  *size = r->size;
  return PURLIN_OK;
}

static purlin_status outcome(purlin_ctx *ctx, const purlin_blob_reader *r) {
  if (r->error) return storage_fail(ctx, r->error, "reading a blob");
  if (!r->corrupt) return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_INTERNAL, "the blob %s is damaged: its bytes do not have this SHA-256", r->sha256);
}

static purlin_status read_now(purlin_ctx *ctx, purlin_blob_reader *r, int64_t offset, void *buffer, size_t size) {
  r->offset = offset;
  r->buffer = buffer;
  r->wanted = size;
  purlin_status status = purlin_offload(ctx, PURLIN_POOL_BLOCKING, read_some, r);
  return status == PURLIN_OK ? outcome(ctx, r) : status;
}

/* What could not be begun is read when it is asked for. */
static void read_ahead(purlin_ctx *ctx, purlin_blob_reader *r, size_t size) {
  if (r->next >= r->size) return;
  if (!r->block) r->block = malloc(STORAGE_BLOCK);
  if (!r->block) return;
  r->offset = r->next;
  r->buffer = r->block;
  r->wanted = size < STORAGE_BLOCK ? size : STORAGE_BLOCK;
  r->block_at = r->block_end = 0;
  r->ahead = purlin_offload_start(ctx, PURLIN_POOL_BLOCKING, read_some, r, &r->done) == PURLIN_OK;
  if (!r->ahead) purlin_clear_failure(ctx);
}

static purlin_status finish_ahead(purlin_ctx *ctx, purlin_blob_reader *r) {
  if (!r->ahead) return PURLIN_OK;
  r->ahead = false;
  purlin_status status = purlin_offload_wait(ctx, &r->done);
  if (status == PURLIN_OK) status = outcome(ctx, r);
  if (status != PURLIN_OK) return status;
  r->block_at = r->offset;
  r->block_end = r->offset + (int64_t)r->got;
  return PURLIN_OK;
}

purlin_status storage_read(purlin_ctx *ctx, purlin_blob_reader *r, int64_t offset, void *buffer, size_t size, size_t *got) {
  purlin_status status = finish_ahead(ctx, r);
  if (status != PURLIN_OK) return status;
  bool in_order = offset == r->next;
  if (offset >= r->block_at && offset < r->block_end) {
    int64_t left = r->block_end - offset;
    *got = (uint64_t)left < size ? (size_t)left : size;
    memcpy(buffer, r->block + (offset - r->block_at), *got);
  } else {
    status = read_now(ctx, r, offset, buffer, size);
    if (status != PURLIN_OK) return status;
    *got = r->got;
  }
  r->next = offset + (int64_t)*got;
  if (in_order && *got > 0 && (r->next < r->block_at || r->next >= r->block_end)) read_ahead(ctx, r, size);
  return PURLIN_OK;
}

void storage_close(purlin_ctx *ctx, purlin_blob_reader *r) { end(ctx, r); }

purlin_status storage_keep(purlin_ctx *ctx, const char *sha256) {
  return is_name(sha256) ? ledger_keep(ctx, sha256) : PURLIN_NOT_FOUND;
}

purlin_status storage_remove(purlin_ctx *ctx, const char *sha256) {
  if (!is_name(sha256)) return purlin_fail(ctx, PURLIN_INVALID, "a blob is named by 64 hexadecimal digits");
  return collect_at_once(ctx, sha256);
}
