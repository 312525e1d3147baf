#include "storage.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The kernel is told to begin with what was written each time so much more is there: the disk is busy while the rest comes, and the flush
 * at the end is short. */
enum { WRITE_OUT = 8 * 1024 * 1024 };

/* One block fills while the other one is hashed and written. */
struct purlin_blob_writer {
  int file;
  EVP_MD_CTX *digest;
  char path[PATH_MAX], place[STORAGE_PLACE];
  int64_t size, room; /* taken; what the workspace had left when it began */
  size_t pending;
  char *block; /* that fills: one of blocks */
  char blocks[2][STORAGE_BLOCK];
  bool flushing; /* the other one */
  purlin_offloaded flushed;
  /* for the work on the pool */
  const char *full;
  size_t full_size;
  int64_t written, written_out;
  int error;
  const char *tried;
  char sha256[STORAGE_DIGITS + 1];
};

static purlin_status failed(purlin_blob_writer *w, const char *tried) {
  w->error = errno;
  w->tried = tried;
  return PURLIN_OK;
}

/* ---- On the pool ------------------------------------------------------------------------------------------------------------------- */

static purlin_status open_file(void *argument) {
  purlin_blob_writer *w = argument;
  w->file = open(w->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  return w->file >= 0 ? PURLIN_OK : failed(w, "opening a staging file");
}

static purlin_status flush(void *argument) {
  purlin_blob_writer *w = argument;
  if (EVP_DigestUpdate(w->digest, w->full, w->full_size) != 1) return errno = EIO, failed(w, "hashing");
  for (size_t done = 0; done < w->full_size;) {
    ssize_t n = write(w->file, w->full + done, w->full_size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed(w, "writing");
    done += (size_t)n;
  }
  w->written += (int64_t)w->full_size;
  if (w->written - w->written_out < WRITE_OUT) return PURLIN_OK;
  (void)sync_file_range(w->file, w->written_out, w->written - w->written_out, SYNC_FILE_RANGE_WRITE); /* a hint */
  w->written_out = w->written;
  return PURLIN_OK;
}

static bool name_it(purlin_blob_writer *w) {
  uint8_t hash[32];
  if (EVP_DigestFinal_ex(w->digest, hash, NULL) != 1) return errno = EIO, false;
  for (size_t i = 0; i < sizeof hash; i++) (void)snprintf(w->sha256 + 2 * i, 3, "%02x", hash[i]);
  return true;
}

/* All of it is on the disk, and has its name; nobody can find it yet. */
static purlin_status seal(void *argument) {
  purlin_blob_writer *w = argument;
  w->full = w->block;
  w->full_size = w->pending;
  (void)flush(w);
  if (w->error) return PURLIN_OK;
  if (!name_it(w)) return failed(w, "hashing");
  return fsync(w->file) == 0 ? PURLIN_OK : failed(w, "flushing to the disk");
}

static purlin_status publish(void *argument) {
  purlin_blob_writer *w = argument;
  char folder[PATH_MAX], path[PATH_MAX], above[PATH_MAX];
  storage_path(w->place, w->sha256, true, folder);
  storage_path(w->place, w->sha256, false, path);
  (void)snprintf(above, sizeof above, "%s%s", storage_root(), w->place);
  if (!storage_make_place(w->place)) return failed(w, "making the workspace's folder");
  if (mkdir(folder, 0700) != 0 && errno != EEXIST) return failed(w, "making a folder");
  if (rename(w->path, path) != 0) return failed(w, "naming the blob");
  /* The one above, too, where the folder was there: another writer may have made it a moment ago and not be as far. */
  if (!storage_sync(folder) || !storage_sync(above)) return failed(w, "flushing the folder");
  return PURLIN_OK;
}

static purlin_status discard(void *argument) {
  purlin_blob_writer *w = argument;
  if (w->file >= 0) (void)close(w->file);
  (void)unlink(w->path); /* gone already after a rename */
  return PURLIN_OK;
}

/* ---- On the loop --------------------------------------------------------------------------------------------------------------------- */

static purlin_status on_pool(purlin_ctx *ctx, purlin_blob_writer *w, purlin_work *work) {
  purlin_status status = purlin_offload(ctx, PURLIN_POOL_BLOCKING, work, w);
  return status == PURLIN_OK && w->error ? storage_fail(ctx, w->error, w->tried) : status;
}

/* Waits for the block that is being written, if one is. */
static purlin_status settle(purlin_ctx *ctx, purlin_blob_writer *w) {
  if (!w->flushing) return PURLIN_OK;
  w->flushing = false;
  purlin_status status = purlin_offload_wait(ctx, &w->flushed);
  return status == PURLIN_OK && w->error ? storage_fail(ctx, w->error, w->tried) : status;
}

static purlin_status begin_flush(purlin_ctx *ctx, purlin_blob_writer *w) {
  purlin_status status = settle(ctx, w);
  if (status != PURLIN_OK) return status;
  w->full = w->block;
  w->full_size = w->pending;
  status = purlin_offload_start(ctx, PURLIN_POOL_BLOCKING, flush, w, &w->flushed);
  if (status != PURLIN_OK) return status;
  w->flushing = true;
  w->block = w->blocks[w->block == w->blocks[0]];
  w->pending = 0;
  return PURLIN_OK;
}

static void end(purlin_ctx *ctx, purlin_blob_writer *w) {
  if (settle(ctx, w) != PURLIN_OK) purlin_log(ctx, PURLIN_DEBUG, "a blob that is given up could not be written");
  /* A full queue of the pool must not leave a file behind. */
  if (purlin_offload(ctx, PURLIN_POOL_BLOCKING, discard, w) != PURLIN_OK) (void)discard(w);
  EVP_MD_CTX_free(w->digest);
  free(w);
}

purlin_status storage_create(purlin_ctx *ctx, purlin_blob_writer **writer) {
  const char *id = purlin_new_id(ctx, "blob");
  purlin_blob_writer *w = id ? malloc(sizeof *w) : NULL;
  if (!w) return purlin_fail(ctx, PURLIN_UNAVAILABLE, "out of memory");
  purlin_status status = storage_place(ctx, w->place);
  if (status == PURLIN_OK) status = ledger_room(ctx, &w->room);
  if (status != PURLIN_OK) {
    free(w);
    return status;
  }
  w->file = -1;
  w->size = w->written = w->written_out = 0;
  w->pending = 0;
  w->block = w->blocks[0];
  w->flushing = false;
  w->error = 0;
  w->digest = EVP_MD_CTX_new();
  staging_path(id, w->path);
  status = w->digest && EVP_DigestInit_ex(w->digest, EVP_sha256(), NULL) == 1
               ? on_pool(ctx, w, open_file)
               : purlin_fail(ctx, PURLIN_UNAVAILABLE, "out of memory");
  if (status == PURLIN_OK) *writer = w;
  else end(ctx, w);
  return status;
}

purlin_status storage_write(purlin_ctx *ctx, purlin_blob_writer *w, const void *data, size_t size) {
  const char *from = data;
  if (w->size + (int64_t)size > w->room) return ledger_refuse(ctx, w->size + (int64_t)size, w->room);
  w->size += (int64_t)size;
  while (size > 0) {
    size_t part = STORAGE_BLOCK - w->pending < size ? STORAGE_BLOCK - w->pending : size;
    memcpy(w->block + w->pending, from, part);
    w->pending += part;
    from += part;
    size -= part;
    if (w->pending < STORAGE_BLOCK) continue;
    purlin_status status = begin_flush(ctx, w);
    if (status != PURLIN_OK) return status;
  }
  return PURLIN_OK;
}

static purlin_status place(purlin_ctx *ctx, purlin_blob_writer *w, const purlin_blob *blob) {
  purlin_status status = on_pool(ctx, w, publish);
  if (status == PURLIN_OK) return ledger_placed(ctx, blob);
  const char *why = purlin_copy(ctx, purlin_failure(ctx));
  purlin_status undone = ledger_take_back(ctx, blob->sha256); /* failing that ledger_settle does */
  return undone == PURLIN_OK ? status : purlin_fail(ctx, status, "%s", why ? why : "a blob could not be stored");
}

purlin_status storage_commit(purlin_ctx *ctx, purlin_blob_writer *w, purlin_blob *blob) {
  purlin_status status = settle(ctx, w);
  if (status == PURLIN_OK) status = on_pool(ctx, w, seal);
  if (status == PURLIN_OK) {
    *blob = (purlin_blob){purlin_copy(ctx, w->sha256), w->size};
    status = blob->sha256 ? ledger_add(ctx, blob) : PURLIN_TOO_LARGE;
  }
  if (status == PURLIN_OK) status = place(ctx, w, blob);
  end(ctx, w);
  return status;
}

void storage_abandon(purlin_ctx *ctx, purlin_blob_writer *w) { end(ctx, w); }
