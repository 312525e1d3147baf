/* background.c: a timer on every loop that starts a fiber, unless the last one still runs. */
#include "loop/background.h"
#include "loop/context.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

typedef struct background background;

/* The part of one loop; touched on its thread only, but for `asked`. */
typedef struct share {
  background *of;
  loop *home;
  loop_timer timer;
  loop_post_item begin, wake;
  atomic_bool asked;   /* `wake` is posted */
  bool running, again; /* a fiber runs; somebody asked meanwhile */
} share;

struct background {
  struct background *next;
  const char *plugin;
  struct plugin *owner;
  const char *name;
  uint32_t every_ms;
  void (*run)(purlin_ctx *ctx, void *argument);
  void *argument;
  atomic_bool stopped;
  atomic_size_t running;
  size_t count;
  share shares[];
};

static _Atomic(background *) backgrounds;
static background_identify *identify;

void background_set_identify(background_identify *set) { identify = set; }

static void start(share *s);

/* Has ended only when the context has given back what it held, so that a stop may rely on it. */
static void run_fiber(void *argument) {
  share *s = argument;
  background *b = s->of;
  purlin_ctx ctx;
  context_begin(&ctx, b->plugin, b->name);
  ctx.plugin_state = b->owner;
  if (identify) identify(&ctx, "system", "default", "default");
  b->run(&ctx, b->argument);
  context_end(&ctx);
  s->running = false;
  bool again = s->again;
  s->again = false;
  if (again) start(s);
  atomic_fetch_sub(&b->running, 1);
}

static void start(share *s) {
  background *b = s->of;
  if (s->running) {
    s->again = true;
    return;
  }
  s->running = true;
  atomic_fetch_add(&b->running, 1);
  if (!atomic_load(&b->stopped) && fiber_start(run_fiber, s) == PURLIN_OK) return;
  s->running = false;
  atomic_fetch_sub(&b->running, 1);
}

static void on_timer(loop_timer *timer) {
  share *s = (share *)(void *)((char *)timer - offsetof(share, timer));
  if (atomic_load(&s->of->stopped)) return;
  loop_timer_start(s->home, timer, s->of->every_ms, on_timer);
  start(s);
}

static void on_begin(void *argument) {
  share *s = argument;
  loop_timer_start(s->home, &s->timer, s->of->every_ms, on_timer);
}

static void on_wake(void *argument) {
  share *s = argument;
  atomic_store(&s->asked, false);
  start(s);
}

purlin_status purlin_background(purlin_ctx *ctx, const char *name, uint32_t every_ms,
                                void (*run)(purlin_ctx *ctx, void *argument), void *argument) {
  size_t loops = loop_count();
  background *b = calloc(1, sizeof *b + loops * sizeof b->shares[0]);
  if (!b) return purlin_fail(ctx, PURLIN_UNAVAILABLE, "out of memory");
  b->plugin = ctx->plugin;
  b->owner = ctx->plugin_state;
  b->name = name;
  b->every_ms = every_ms ? every_ms : 1;
  b->run = run;
  b->argument = argument;
  b->count = loops;
  b->next = atomic_load(&backgrounds);
  while (!atomic_compare_exchange_weak(&backgrounds, &b->next, b)) {}
  for (size_t i = 0; i < loops; i++) {
    share *s = &b->shares[i];
    s->of = b;
    s->home = loop_at(i);
    s->begin = (loop_post_item){.call = on_begin, .argument = s};
    s->wake = (loop_post_item){.call = on_wake, .argument = s};
    loop_post(s->home, &s->begin);
  }
  return PURLIN_OK;
}

static background *find(const purlin_ctx *ctx, const char *name) {
  background *b = atomic_load(&backgrounds);
  while (b && (strcmp(b->name, name) != 0 || strcmp(b->plugin, ctx->plugin) != 0)) b = b->next;
  return b;
}

void purlin_background_wake(purlin_ctx *ctx, const char *name) {
  background *b = find(ctx, name);
  for (size_t i = 0; b && i < b->count; i++)
    if (!atomic_exchange(&b->shares[i].asked, true)) loop_post(b->shares[i].home, &b->shares[i].wake);
}

purlin_status purlin_background_stop(purlin_ctx *ctx, const char *name) {
  background *b = find(ctx, name);
  if (b) atomic_store(&b->stopped, true);
  while (b && atomic_load(&b->running) > 0) {
    purlin_status status = purlin_sleep(ctx, 1);
    if (status != PURLIN_OK) return status;
  }
  return PURLIN_OK;
}

void backgrounds_free(void) {
  background *b = atomic_exchange(&backgrounds, NULL);
  while (b) {
    background *next = b->next;
    free(b);
    b = next;
  }
}
