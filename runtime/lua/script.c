/* script.c: finding, loading and switching scripts; see script.h. */
#include "lua/script.h"

#include "lua/generation.h"
#include "lua/host.h"
#include "observe/log.h"
#include <purlin/metric.h>

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

PURLIN_COUNTER(lua_reloads_total, "Times that Lua scripts were loaded, by outcome", "outcome");

enum { MAX_SCRIPTS = 1000 };

/* A script that could not be loaded: what is said about it. */
typedef struct refusal {
  char *file, *text;
  struct refusal *next;
} refusal;

static struct {
  script_options options;
  pthread_mutex_t lock; /* of `newest` and `refusals`, for readers on any thread */
  generation *newest;
  refusal *refusals;
  const generation **by_loop; /* each only by its loop */
  purlin_mutex reloading;
  void (*routes_changed)(void);
  bool begun;
} book = {.lock = PTHREAD_MUTEX_INITIALIZER};

const script_options *script_settings(void) { return &book.options; }

void script_options_default(script_options *options) {
  *options = (script_options){.memory_limit = (size_t)16 * 1024 * 1024, .cpu_limit_ms = 500, .timeout_ms = 60000};
}

void script_on_routes(void (*changed)(void)) { book.routes_changed = changed; }

/* ---- Looking up, on a loop ------------------------------------------------------------------------------------------------------ */

static bool found_at(const script *s, size_t entry, size_t here, found_entry *found) {
  *found = (found_entry){&s->entries[entry], s->states[here], s->states[here]->functions[entry]};
  return true;
}

/* What the calling loop holds; NULL: nothing. */
static const generation *current(size_t *here) {
  loop *l = loop_current();
  if (book.by_loop == NULL || l == NULL) return NULL;
  *here = loop_index(l);
  return book.by_loop[*here];
}

bool generation_policy(const char *point, found_entry *found) {
  size_t here = 0;
  const generation *g = current(&here);
  size_t low = 0, high = g == NULL ? 0 : g->policy_count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    const policy_place *place = &g->policies[middle];
    int order = strcmp(point, place->point);
    if (order == 0) return found_at(g->scripts[place->script], place->entry, here, found);
    if (order < 0) high = middle;
    else low = middle + 1;
  }
  return false;
}

static bool find_entry(const script *s, entry_kind kind, const char *name, size_t *index) {
  for (*index = 0; *index < s->entry_count; (*index)++)
    if (s->entries[*index].kind == kind && strcmp(s->entries[*index].name, name) == 0) return true;
  return false;
}

bool generation_entry(const char *file, entry_kind kind, const char *name, found_entry *found) {
  size_t here = 0, entry;
  const generation *g = current(&here);
  for (size_t i = 0; g != NULL && i < g->count; i++)
    if (strcmp(g->scripts[i]->file, file) == 0)
      return find_entry(g->scripts[i], kind, name, &entry) && found_at(g->scripts[i], entry, here, found);
  return false;
}

void generation_lock(void) { (void)pthread_mutex_lock(&book.lock); }
void generation_unlock(void) { (void)pthread_mutex_unlock(&book.lock); }
const generation *generation_newest(void) { return book.newest; }

/* ---- Making a generation, on a pool thread ---------------------------------------------------------------------------------------- */

typedef struct making {
  const generation *old;
  generation *made;
  refusal *refusals;
  buffer *why;
} making;

static void refuse(making *m, const char *file, buffer *text) {
  refusal *r = calloc(1, sizeof *r);
  if (m->why->size > 0) buffer_char(m->why, '\n');
  buffer_add(m->why, text->data, text->size);
  if (r == NULL) return;
  r->file = strdup(file);
  r->text = strdup(buffer_end(text));
  r->next = m->refusals;
  m->refusals = r;
}

static void free_refusals(refusal *r) {
  while (r != NULL) {
    refusal *next = r->next;
    free(r->file);
    free(r->text);
    free(r);
    r = next;
  }
}

static script *find_script(const generation *g, const char *file) {
  for (size_t i = 0; g != NULL && i < g->count; i++)
    if (strcmp(g->scripts[i]->file, file) == 0) return g->scripts[i];
  return NULL;
}

/* Whether the script answers what another one answers already. Rules may be many for one event; names of what comes round are each
 * script's own. */
static bool collides(const generation *g, const script *s, buffer *why) {
  for (size_t i = 0; i < g->count; i++)
    for (size_t a = 0; a < s->entry_count; a++) {
      const script_entry *entry = &s->entries[a];
      size_t other;
      if (entry->kind == ENTRY_RULE || entry->kind == ENTRY_PERIODIC ||
          !find_entry(g->scripts[i], entry->kind, entry->name, &other))
        continue;
      buffer_format(why, "%s:%d: '%s' is answered already in %s:%d", s->file, entry->line, entry->name, g->scripts[i]->file,
                    g->scripts[i]->entries[other].line);
      return true;
    }
  return false;
}

static void discard(const making *m, script *s) {
  if (s != NULL && s != find_script(m->old, s->file)) script_discard(s);
}

/* Adds the newest version of the file that loads. */
static void take_file(making *m, const char *file) {
  script *old = find_script(m->old, file), *chosen = old;
  buffer text = {0};
  if (old == NULL || !script_is_current(old)) {
    script *fresh = script_load_file(&book.options, file, m->made->number, &text);
    if (fresh == NULL && text.size == 0) buffer_format(&text, "%s: out of memory", file);
    if (fresh != NULL) chosen = fresh;
  }
  if (chosen != NULL && collides(m->made, chosen, &text)) {
    discard(m, chosen);
    chosen = chosen == old || old == NULL || collides(m->made, old, &text) ? NULL : old;
  }
  if (text.size > 0) refuse(m, file, &text);
  if (chosen != NULL) m->made->scripts[m->made->count++] = chosen;
  buffer_free(&text);
}

static int is_script(const struct dirent *entry) {
  size_t size = strlen(entry->d_name);
  return entry->d_name[0] != '.' && size > 4 && strcmp(entry->d_name + size - 4, ".lua") == 0;
}

static int by_point(const void *a, const void *b) {
  const policy_place *x = a, *y = b;
  return strcmp(x->point, y->point);
}

static bool index_policies(generation *g) {
  size_t count = 0;
  for (size_t i = 0; i < g->count; i++) count += g->scripts[i]->entry_count;
  g->policies = calloc(count + 1, sizeof *g->policies);
  if (g->policies == NULL) return false;
  for (size_t i = 0; i < g->count; i++)
    for (size_t j = 0; j < g->scripts[i]->entry_count; j++)
      if (g->scripts[i]->entries[j].kind == ENTRY_POLICY)
        g->policies[g->policy_count++] = (policy_place){g->scripts[i]->entries[j].name, i, j};
  qsort(g->policies, g->policy_count, sizeof *g->policies, by_point);
  return true;
}

static void free_generation(generation *g) {
  if (g == NULL) return;
  free(g->scripts);
  free(g->policies);
  free(g);
}

static void take_folder(making *m) {
  struct dirent **files = NULL;
  int count = scandir(book.options.policies, &files, is_script, alphasort);
  if (count < 0) {
    buffer text = {0};
    buffer_format(&text, "cannot read the folder of policies %s: %s", book.options.policies, strerror(errno));
    refuse(m, book.options.policies, &text);
    buffer_free(&text);
    for (size_t i = 0; m->old != NULL && i < m->old->count; i++) m->made->scripts[m->made->count++] = m->old->scripts[i];
    return;
  }
  for (int i = 0; i < count; i++) {
    if (i < MAX_SCRIPTS) take_file(m, files[i]->d_name);
    free(files[i]);
  }
  free(files);
}

/* purlin_work: makes the next generation. */
static purlin_status make(void *argument) {
  making *m = argument;
  m->made = calloc(1, sizeof *m->made);
  if (m->made == NULL) return PURLIN_UNAVAILABLE;
  m->made->number = m->old == NULL ? 1 : m->old->number + 1;
  m->made->scripts = calloc(MAX_SCRIPTS, sizeof(script *));
  if (m->made->scripts == NULL) return PURLIN_UNAVAILABLE;
  if (book.options.policies != NULL) take_folder(m);
  return index_policies(m->made) ? PURLIN_OK : PURLIN_UNAVAILABLE;
}

static void undo(making *m) {
  for (size_t i = 0; m->made != NULL && m->made->scripts != NULL && i < m->made->count; i++)
    discard(m, m->made->scripts[i]);
  free_generation(m->made);
  free_refusals(m->refusals);
}

/* ---- Switching --------------------------------------------------------------------------------------------------------------------- */

typedef struct switching {
  loop_post_item item;
  const generation *old, *fresh;
  struct switch_all *all;
} switching;

typedef struct switch_all {
  loop_post_item done;
  atomic_size_t left;
  loop *origin;
  fiber *waiting;
} switch_all;

static void switched_everywhere(void *argument) { fiber_resume(((switch_all *)argument)->waiting); }

/* On each loop: from here on new runs use the new scripts; a state of an old one goes with its last run. */
static void switch_here(void *argument) {
  switching *s = argument;
  size_t here = loop_index(loop_current());
  (void)budget_claim(here);
  book.by_loop[here] = s->fresh;
  for (size_t i = 0; s->old != NULL && i < s->old->count; i++) {
    script *old = s->old->scripts[i];
    if (find_script(s->fresh, old->file) != old) state_release(old->states[here]); /* the script goes when all have gone */
  }
  switch_all *all = s->all;
  if (atomic_fetch_sub(&all->left, 1) == 1) loop_post(all->origin, &all->done);
}

static purlin_status switch_all_loops(purlin_ctx *ctx, const generation *old, const generation *fresh) {
  switching *each = purlin_alloc_array(ctx, loop_count(), sizeof *each);
  if (each == NULL) return PURLIN_TOO_LARGE;
  switch_all all = {.origin = ctx->loop, .waiting = ctx->fiber};
  all.done = (loop_post_item){.call = switched_everywhere, .argument = &all};
  atomic_init(&all.left, loop_count());
  for (size_t i = 0; i < loop_count(); i++) {
    each[i] = (switching){.item = {.call = switch_here, .argument = &each[i]}, .old = old, .fresh = fresh, .all = &all};
    loop_post(loop_at(i), &each[i].item);
  }
  fiber_park();
  return PURLIN_OK;
}

/* All loops have left it; runs that have not ended hold their script by its state. */
static void retire(generation *old, const generation *fresh) {
  for (size_t i = 0; old != NULL && i < old->count; i++)
    if (find_script(fresh, old->scripts[i]->file) != old->scripts[i]) script_release(old->scripts[i]);
  free_generation(old);
}

static purlin_status load_and_switch(purlin_ctx *ctx, buffer *why) {
  buffer problems = {0};
  generation *old = book.newest;
  making m = {.old = old, .why = &problems};
  purlin_status status = purlin_offload(ctx, PURLIN_POOL_BLOCKING, make, &m);
  if (status == PURLIN_OK) status = switch_all_loops(ctx, old, m.made);
  if (status != PURLIN_OK) {
    undo(&m);
    buffer_text(why, "the scripts cannot be loaded: no memory, or too much to do");
    buffer_free(&problems);
    return status;
  }
  generation_lock();
  book.newest = m.made;
  free_refusals(book.refusals);
  book.refusals = m.refusals;
  generation_unlock();
  rules_follow(m.made);
  periodics_follow(m.made);
  bool new_routes = routes_follow(m.made);
  retire(old, m.made);
  if (new_routes && book.routes_changed != NULL) book.routes_changed();
  buffer_add(why, problems.data, problems.size);
  status = problems.size == 0 ? PURLIN_OK : PURLIN_INVALID;
  buffer_free(&problems);
  return status;
}

purlin_status script_reload(purlin_ctx *ctx, buffer *why) {
  if (!book.begun) return PURLIN_UNAVAILABLE;
  purlin_status status = purlin_lock(ctx, &book.reloading);
  if (status != PURLIN_OK) return status;
  status = load_and_switch(ctx, why);
  purlin_unlock(&book.reloading);
  purlin_count(lua_reloads_total, 1, status == PURLIN_OK ? "ok" : "refused");
  return status;
}

/* ---- Start and stop ---------------------------------------------------------------------------------------------------------------- */

static char *copy_or_null(const char *text) { return text == NULL ? NULL : strdup(text); }

purlin_status script_start(purlin_ctx *ctx, const script_options *options, buffer *why) {
  if (book.begun) return PURLIN_CONFLICT;
  purlin_status status = budget_begin(loop_count() + 1);
  if (status != PURLIN_OK) {
    buffer_text(why, "the watchdog of Lua scripts cannot start");
    return status;
  }
  book.by_loop = calloc(loop_count(), sizeof(const generation *));
  if (book.by_loop == NULL) {
    budget_end();
    return PURLIN_UNAVAILABLE;
  }
  book.options = *options;
  book.options.policies = copy_or_null(options->policies);
  book.options.library = copy_or_null(options->library);
  book.begun = true;
  policies_begin();
  return script_reload(ctx, why);
}

/* Nothing runs any more: the loops have ended, or everything is drained and this is the only fiber. */
void script_stop(void) {
  if (!book.begun) return;
  policies_end();
  watch_end();
  rules_end();
  budget_end();
  for (size_t i = 0; book.newest != NULL && i < book.newest->count; i++) script_discard(book.newest->scripts[i]);
  free_generation(book.newest);
  free_refusals(book.refusals);
  routes_end();
  periodics_end();
  free(book.by_loop);
  free((char *)(uintptr_t)book.options.policies);
  free((char *)(uintptr_t)book.options.library);
  book.newest = NULL;
  book.refusals = NULL;
  book.by_loop = NULL;
  book.routes_changed = NULL;
  book.begun = false;
  host_shared_clear();
}

purlin_status script_check(const script_options *options, size_t *count, buffer *why) {
  if (book.begun || budget_begin(loop_count() + 1) != PURLIN_OK) return PURLIN_UNAVAILABLE;
  book.options = *options;
  making m = {.why = why};
  purlin_status status = make(&m);
  *count = m.made == NULL ? 0 : m.made->count;
  undo(&m);
  book.options = (script_options){0};
  budget_end();
  return status == PURLIN_OK && why->size > 0 ? PURLIN_INVALID : status;
}

/* ---- Describing -------------------------------------------------------------------------------------------------------------------- */

static const refusal *refusal_of(const char *file) {
  const refusal *r = book.refusals;
  while (r != NULL && (r->file == NULL || strcmp(r->file, file) != 0)) r = r->next;
  return r;
}

static void member(buffer *out, const char *name, const char *text) {
  buffer_format(out, ",\"%s\":", name);
  buffer_json_text(out, text, strlen(text));
}

static void describe_entries(const script *s, entry_kind kind, const char *name, buffer *out) {
  bool first = true;
  buffer_format(out, ",\"%s\":[", name);
  for (size_t i = 0; i < s->entry_count; i++) {
    if (s->entries[i].kind != kind) continue;
    if (!first) buffer_char(out, ',');
    first = false;
    buffer_json_text(out, s->entries[i].name, strlen(s->entries[i].name));
  }
  buffer_char(out, ']');
}

static void describe(const char *file, const script *s, const refusal *r, buffer *out) {
  size_t stem = strlen(file) > 4 ? strlen(file) - 4 : strlen(file);
  if (out->data[out->size - 1] != '[') buffer_char(out, ',');
  buffer_text(out, "{\"name\":");
  buffer_json_text(out, file, stem);
  member(out, "file", file);
  member(out, "state", s == NULL ? "refused" : r == NULL ? "running" : "outdated");
  if (r != NULL && r->text != NULL) member(out, "error", r->text);
  if (s != NULL) {
    buffer_format(out, ",\"generation\":%llu", (unsigned long long)s->generation);
    describe_entries(s, ENTRY_POLICY, "policies", out);
    describe_entries(s, ENTRY_RULE, "rules", out);
    describe_entries(s, ENTRY_ROUTE, "routes", out);
    describe_entries(s, ENTRY_PERIODIC, "periodic", out);
  }
  buffer_char(out, '}');
}

bool script_refusals(buffer *names) {
  generation_lock();
  for (const refusal *r = book.refusals; r != NULL; r = r->next) {
    if (r->file == NULL) continue;
    if (names->size > 0) buffer_text(names, ", ");
    buffer_text(names, r->file);
  }
  bool any = book.refusals != NULL;
  generation_unlock();
  return any;
}

void script_describe(buffer *out) {
  buffer_char(out, '[');
  generation_lock();
  for (size_t i = 0; book.newest != NULL && i < book.newest->count; i++)
    describe(book.newest->scripts[i]->file, book.newest->scripts[i], refusal_of(book.newest->scripts[i]->file), out);
  for (const refusal *r = book.refusals; r != NULL; r = r->next)
    if (r->file != NULL && find_script(book.newest, r->file) == NULL) describe(r->file, NULL, r, out);
  generation_unlock();
  buffer_char(out, ']');
}
