/* watch.c: loads scripts anew a moment after a file in their folder has changed. */
#include "lua/generation.h"

#include "loop/context.h"
#include "observe/log.h"

#include <string.h>

enum { QUIET_MS = 200 };

static struct {
  uv_fs_event_t folders[2]; /* policies, library */
  size_t count;
  loop_timer quiet;
  loop *owner;
} watching;

static void reload(purlin_ctx *ctx, void *unused) {
  (void)unused;
  buffer why = {0};
  if (script_reload(ctx, &why) != PURLIN_OK)
    purlin_log(ctx, PURLIN_ERROR, "scripts were not all loaded: %s", buffer_end(&why));
  else purlin_log(ctx, PURLIN_INFO, "scripts were loaded again after a change");
  buffer_free(&why);
}

static void on_quiet(loop_timer *timer) {
  (void)timer;
  if (context_start("lua", "reload of scripts", reload, NULL) != PURLIN_OK)
    log_write(PURLIN_ERROR, "lua", "scripts have changed, but there is no fiber to load them");
}

/* Editors write several times; the last change counts. */
static void on_change(uv_fs_event_t *watcher, const char *name, int events, int status) {
  (void)events;
  (void)status;
  size_t size = name == NULL ? 0 : strlen(name);
  if (name != NULL && (size < 4 || strcmp(name + size - 4, ".lua") != 0)) return;
  (void)watcher;
  loop_timer_stop(&watching.quiet);
  loop_timer_start(watching.owner, &watching.quiet, QUIET_MS, on_quiet);
}

static bool watch_folder(const char *folder) {
  if (folder == NULL) return true;
  uv_fs_event_t *watcher = &watching.folders[watching.count];
  if (uv_fs_event_init(loop_uv(watching.owner), watcher) != 0) return false;
  watching.count++;
  uv_unref((uv_handle_t *)watcher);
  return uv_fs_event_start(watcher, on_change, folder, 0) == 0;
}

purlin_status script_watch(void) {
  const script_options *options = script_settings();
  memset(&watching, 0, sizeof watching);
  watching.owner = loop_current();
  if (watching.owner == NULL || options->policies == NULL) return PURLIN_UNAVAILABLE;
  bool watched = watch_folder(options->policies);
  bool library = watch_folder(options->library); /* may be absent */
  (void)library;
  return watched ? PURLIN_OK : PURLIN_UNAVAILABLE;
}

/* On its own loop the watchers are closed; after the loops have ended, loops_destroy does it. */
void watch_end(void) {
  if (watching.owner == NULL || loop_current() != watching.owner) return;
  loop_timer_stop(&watching.quiet);
  for (size_t i = 0; i < watching.count; i++)
    if (!uv_is_closing((uv_handle_t *)&watching.folders[i])) uv_close((uv_handle_t *)&watching.folders[i], NULL);
  watching.count = 0;
}
