#include "storage.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What is as large as a block goes to the disk past the page cache, where the file system can do that: half the processor's time, no
 * flood of dirty pages that others wait for, and a short flush at the end. PAGE is what such writes are aligned to. Elsewhere the kernel
 * is told to begin with what was written each time WRITE_OUT more is there. */
enum { BLOCK = 1024 * 1024, PAGE = 4096, WRITE_OUT = 8 * 1024 * 1024 };

/* One block fills while the other one is hashed on one thread and written on another. */
struct purlin_blob_writer {
  int file;
  bool direct; /* past the page cache */
  EVP_MD_CTX *digest;
  char path[PATH_MAX], place[STORAGE_PLACE];
  int64_t size, room; /* taken; what the workspace had left when it began */
  size_t pending;
  char *block;     /* that fills: one of blocks */
  char *blocks[2]; /* the second one is NULL until the first one is full */
  bool flushing;   /* the other one */
  bool hashing;
  purlin_offloaded flushed, hashed;
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

static void set_direct(purlin_blob_writer *w, bool direct) {
  int flags = fcntl(w->file, F_GETFL);
  if (flags >= 0 && fcntl(w->file, F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT) == 0) w->direct = direct;
}

/* Of a file system that takes the flag and then not the write. */
static bool was_too_direct(purlin_blob_writer *w, ssize_t written) {
  if (!w->direct || (written < 0 ? errno != EINVAL : written % PAGE == 0)) return false;
  set_direct(w, false);
  return !w->direct;
}

static purlin_status write_block(void *argument) {
  purlin_blob_writer *w = argument;
  bool whole = w->full_size == BLOCK;
  if (w->direct != whole && (w->written == 0 || w->direct)) set_direct(w, whole);
  for (size_t done = 0; done < w->full_size;) {
    ssize_t n = write(w->file, w->full + done, w->full_size - done);
    bool again = was_too_direct(w, n) || (n < 0 && errno == EINTR);
    if (n < 0 && again) continue;
    if (n < 0) return failed(w, "writing");
    done += (size_t)n;
  }
  w->written += (int64_t)w->full_size;
  if (w->direct || w->written - w->written_out < WRITE_OUT) return PURLIN_OK;
  (void)sync_file_range(w->file, w->written_out, w->written - w->written_out, SYNC_FILE_RANGE_WRITE); /* a hint */
  w->written_out = w->written;
  return PURLIN_OK;
}

/* Says itself that it failed: write_block runs meanwhile. */
static purlin_status hash_block(void *argument) {
  purlin_blob_writer *w = argument;
  return EVP_DigestUpdate(w->digest, w->full, w->full_size) == 1 ? PURLIN_OK : PURLIN_INTERNAL;
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
  (void)write_block(w);
  if (w->error) return PURLIN_OK;
  if (hash_block(w) != PURLIN_OK || !name_it(w)) return failed(w, "hashing");
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

/* Waits for the block that is being hashed and written, if one is. */
static purlin_status settle(purlin_ctx *ctx, purlin_blob_writer *w) {
  purlin_status hashed = w->hashing ? purlin_offload_wait(ctx, &w->hashed) : PURLIN_OK;
  purlin_status written = w->flushing ? purlin_offload_wait(ctx, &w->flushed) : PURLIN_OK;
  w->hashing = w->flushing = false;
  if (w->error) return storage_fail(ctx, w->error, w->tried);
  return hashed != PURLIN_OK || written != PURLIN_OK ? storage_fail(ctx, EIO, "hashing") : PURLIN_OK;
}

static purlin_status begin_flush(purlin_ctx *ctx, purlin_blob_writer *w) {
  purlin_status status = settle(ctx, w);
  if (status != PURLIN_OK) return status;
  char **other = &w->blocks[w->block == w->blocks[0]];
  if (!*other) *other = aligned_alloc(PAGE, BLOCK);
  if (!*other) return purlin_fail(ctx, PURLIN_UNAVAILABLE, "out of memory");
  w->full = w->block;
  w->full_size = w->pending;
  status = purlin_offload_start(ctx, PURLIN_POOL_CPU, hash_block, w, &w->hashed);
  w->hashing = status == PURLIN_OK;
  if (w->hashing) status = purlin_offload_start(ctx, PURLIN_POOL_BLOCKING, write_block, w, &w->flushed);
  if (status != PURLIN_OK) return status;
  w->flushing = true;
  w->block = *other;
  w->pending = 0;
  return PURLIN_OK;
}

static void end(purlin_ctx *ctx, purlin_blob_writer *w) {
  if (settle(ctx, w) != PURLIN_OK) purlin_log(ctx, PURLIN_DEBUG, "a blob that is given up could not be written");
  /* A full queue of the pool must not leave a file behind. */
  if (purlin_offload(ctx, PURLIN_POOL_BLOCKING, discard, w) != PURLIN_OK) (void)discard(w);
  EVP_MD_CTX_free(w->digest);
  free(w->blocks[0]);
  free(w->blocks[1]);
  free(w);
}

purlin_status storage_create(purlin_ctx *ctx, purlin_blob_writer **writer) {
  const char *id = purlin_new_id(ctx, "blob");
  purlin_blob_writer *w = id ? calloc(1, sizeof *w) : NULL;
  if (!w) return purlin_fail(ctx, PURLIN_UNAVAILABLE, "out of memory");
  purlin_status status = storage_place(ctx, w->place);
  if (status == PURLIN_OK) status = ledger_room(ctx, &w->room);
  if (status != PURLIN_OK) {
    free(w);
    return status;
  }
  w->file = -1;
  w->digest = EVP_MD_CTX_new();
  w->block = w->blocks[0] = aligned_alloc(PAGE, BLOCK);
  staging_path(id, w->path);
  status = w->digest && w->block && EVP_DigestInit_ex(w->digest, EVP_sha256(), NULL) == 1
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
    size_t part = BLOCK - w->pending < size ? BLOCK - w->pending : size;
    memcpy(w->block + w->pending, from, part);
    w->pending += part;
    from += part;
    size -= part;
    if (w->pending < BLOCK) continue;
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
