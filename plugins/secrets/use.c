/* use.c: a value by its name. That it was used is written some seconds later: whoever uses it may be reading only, or be in a transaction
 * of its own, and a secret that is used a thousand times a second is written once. */
#include "secrets.h"
#include <pthread.h>
#include <string.h>

enum { MOST_NOTED = 256, EVERY_MS = 5000 };

static const char SELECT_SEALED[] = "SELECT sealed FROM secrets_values WHERE workspace = ? AND name = ?";
static const char NOTE_USE[] = "UPDATE secrets_values SET last_used_at = NOW(6) WHERE workspace = ? AND name = ?";

typedef struct sealed_value {
  purlin_bytes sealed;
} sealed_value;
PURLIN_SCHEMA(sealed_value, "A value as it is kept", PURLIN_REQUIRED(sealed, "Sealed", .secret = true));

typedef struct use {
  char workspace[65], name[65];
} use;

static struct {
  pthread_mutex_t lock; /* never held while anything parks */
  use items[MOST_NOTED];
  size_t count;
} noted = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* When there are too many at once, some are not noted. */
static void note(const char *workspace, const char *name) {
  size_t workspace_size = strlen(workspace), name_size = strlen(name);
  if (workspace_size >= sizeof noted.items[0].workspace || name_size >= sizeof noted.items[0].name) return;
  (void)pthread_mutex_lock(&noted.lock);
  size_t i = 0;
  while (i < noted.count && (strcmp(noted.items[i].name, name) != 0 || strcmp(noted.items[i].workspace, workspace) != 0))
    i++;
  if (i == noted.count && i < MOST_NOTED) {
    memcpy(noted.items[i].workspace, workspace, workspace_size + 1);
    memcpy(noted.items[i].name, name, name_size + 1);
    noted.count++;
  }
  (void)pthread_mutex_unlock(&noted.lock);
}

static void write_noted(purlin_ctx *ctx, void *argument) {
  (void)argument;
  use one;
  for (bool some = true; some;) {
    (void)pthread_mutex_lock(&noted.lock);
    some = noted.count > 0;
    if (some) one = noted.items[--noted.count];
    (void)pthread_mutex_unlock(&noted.lock);
    if (some && purlin_db_run(ctx, NOTE_USE, one.workspace, one.name) != PURLIN_OK) {
      purlin_log(ctx, PURLIN_WARNING, "the use of a secret was not noted: %s", purlin_failure(ctx));
      return;
    }
  }
}

purlin_status secrets_get(purlin_ctx *ctx, const char *name, purlin_secret *out) {
  sealed_value row;
  const char *workspace = purlin_workspace(ctx), *of = secrets_sealed_as(ctx, workspace, name);
  if (!of) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_db_row(ctx, sealed_value, &row, SELECT_SEALED, workspace, name);
  if (status == PURLIN_NOT_FOUND) return purlin_fail(ctx, status, "there is no secret named '%.100s'", name);
  if (status == PURLIN_OK) status = purlin_unseal(ctx, of, row.sealed, out);
  if (status == PURLIN_OK) note(workspace, name);
  return status;
}

purlin_status secrets_uses_start(purlin_ctx *ctx) { return purlin_background(ctx, "uses", EVERY_MS, write_noted, NULL); }

void secrets_uses_end(purlin_ctx *ctx) {
  if (purlin_background_stop(ctx, "uses") == PURLIN_OK) write_noted(ctx, NULL);
}
