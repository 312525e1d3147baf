#include "storage.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[PATH_MAX - 100]; /* set at start */

const char *storage_root(void) { return root; }

purlin_status storage_place(purlin_ctx *ctx, char *out) {
  const char *workspace = purlin_workspace(ctx);
  if (strcmp(workspace, "default") == 0) return *out = '\0', PURLIN_OK;
  if (!*workspace || *workspace == '.' || strchr(workspace, '/') || strlen(workspace) > STORAGE_DIGITS)
    return purlin_fail(ctx, PURLIN_INVALID, "'%s' is no name of a workspace", workspace);
  (void)snprintf(out, STORAGE_PLACE, "/workspaces/%s", workspace);
  return PURLIN_OK;
}

void storage_path(const char *place, const char *sha256, bool folder_only, char *out) {
  (void)snprintf(out, PATH_MAX, folder_only ? "%s%s/%.2s" : "%s%s/%.2s/%s", root, place, sha256, sha256 + 2);
}

bool storage_sync(const char *path) {
  int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return false;
  bool fine = fsync(folder) == 0;
  return close(folder) == 0 && fine;
}

purlin_status storage_fail(purlin_ctx *ctx, int error, const char *tried) {
  if (error == ENOSPC || error == EDQUOT || error == EFBIG)
    return purlin_fail(ctx, PURLIN_NO_SPACE, "the storage is full (%s)", tried);
  if (error == EMFILE || error == ENFILE)
    return purlin_fail(ctx, PURLIN_UNAVAILABLE, "too many files are open (%s)", tried);
  return purlin_fail(ctx, PURLIN_INTERNAL, "%s in %s: %s", tried, root, strerror(error));
}

typedef struct preparation {
  const char *id; /* of this daemon's folder in staging/ */
  int error;
  const char *tried;
} preparation;

static bool make_folder(const char *path) { return mkdir(path, 0700) == 0 || errno == EEXIST; }

bool storage_make_place(const char *place) {
  char all[PATH_MAX], own[PATH_MAX];
  (void)snprintf(all, sizeof all, "%s/workspaces", root);
  (void)snprintf(own, sizeof own, "%s%s", root, place);
  if (*place == '\0' || access(own, F_OK) == 0) return true;
  return make_folder(all) && make_folder(own) && storage_sync(all) && storage_sync(root);
}

static purlin_status prepare(void *argument) {
  preparation *p = argument;
  p->tried = "making the folders";
  char staging[PATH_MAX];
  (void)snprintf(staging, sizeof staging, "%s/staging", root);
  bool fine = make_folder(root) && make_folder(staging);
  if (fine) p->tried = "writing";
  fine = fine && access(staging, W_OK | X_OK) == 0 && staging_begin(p->id);
  if (!fine) p->error = errno;
  return PURLIN_OK;
}

purlin_status storage_prepare(purlin_ctx *ctx, const char *path) {
  if (strlen(path) >= sizeof root) return purlin_fail(ctx, PURLIN_INVALID, "the path of the storage is too long");
  memcpy(root, path, strlen(path) + 1);
  preparation p = {.id = purlin_new_id(ctx, "daemon")};
  if (!p.id) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_offload(ctx, PURLIN_POOL_BLOCKING, prepare, &p);
  return status == PURLIN_OK && p.error ? storage_fail(ctx, p.error, p.tried) : status;
}
