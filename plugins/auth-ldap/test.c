/* test.c: auth-ldap.test, for whoever sets this up: each step towards the directory alone, on connections of its own. */
#include "conversation.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define HOME "default"
enum { STEPS_MOST = 8 * SERVERS_MOST, DETAIL_BYTES = 1024, LISTED_MOST = 50 };

typedef struct test_in {
  purlin_opt_text name;
} test_in;
PURLIN_SCHEMA(test_in, "What to try",
    PURLIN_OPTIONAL(name, "Also look for this person, as when they log in, without a password", .min_length = 1, .max_length = 250));

typedef struct step {
  const char *server, *step;
  bool fine;
  double milliseconds;
  const char *detail;
} step;
PURLIN_SCHEMA(step, "One step",
    PURLIN_REQUIRED(server, "Of which server"),
    PURLIN_REQUIRED(step, "configuration, connect, tls, bind, search, person, groups, here, let in"),
    PURLIN_REQUIRED(fine, "Whether it worked; what comes after one that did not is not tried"),
    PURLIN_REQUIRED(milliseconds, "How long it took"),
    PURLIN_REQUIRED(detail, "What came of it"));

typedef struct test_out {
  PURLIN_LIST_OF(step) steps;
} test_out;
PURLIN_SCHEMA(test_out, "What works",
    PURLIN_LIST(steps, step, "Each step of each server, in order"));

typedef struct noted {
  const char *server, *step;
  bool fine;
  char detail[DETAIL_BYTES];
  double milliseconds;
} noted;

typedef struct inspection {
  call call;
  const char *name; /* NULL: nobody is looked for */
  noted *steps;     /* STEPS_MOST, in the memory of the call */
  size_t step_count;
  answer found;
  uint64_t step_began_ns;
} inspection;

/* ---- On the pool for blocking calls ---------------------------------------------------------------------------------------------------------- */

/* Notes what came of the step that began when the last one ended. */
PURLIN_PRINTF(4, 5)
static bool note(inspection *i, const char *name, purlin_status status, const char *format, ...) {
  uint64_t now = purlin_ticks_ns();
  if (i->step_count == STEPS_MOST) return false;
  noted *n = &i->steps[i->step_count++];
  n->step = name;
  n->fine = status == PURLIN_OK;
  uint64_t hundredths = (now - i->step_began_ns) / 10000;
  n->milliseconds = (double)hundredths / 100;
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(n->detail, sizeof n->detail, format, arguments);
  va_end(arguments);
  i->step_began_ns = purlin_ticks_ns();
  return n->fine;
}

/* "fine" or why not. */
static const char *said(const inspection *i, purlin_status status, const char *fine) {
  return status == PURLIN_OK ? fine : i->call.why;
}

/* The DNs of what was found, or what of it counts here. */
static void list(const groups *g, bool here, char *out, size_t capacity) {
  size_t used = 0, count = here ? g->label_count : g->count;
  (void)snprintf(out, capacity, "none");
  for (size_t k = 0; k < count && k < LISTED_MOST && used + 1 < capacity; k++) {
    int more = snprintf(out + used, capacity - used, "%s%s", k ? "; " : "", here ? g->labels[k] : g->items[k].dn);
    used = more > 0 ? used + (size_t)more : capacity;
  }
}

static void try_groups(inspection *i, connection *k, const entry *e) {
  char all[DETAIL_BYTES - 100];
  const groups *found = &i->found.in;
  purlin_status status = groups_read(&i->call, k, e, &i->found.in);
  if (status == PURLIN_OK) list(found, false, all, sizeof all);
  if (!note(i, "groups", status, "%s%s", said(i, status, all), found->more ? "; and more, which do not count" : "")) return;
  list(found, true, all, sizeof all);
  (void)note(i, "here", status, "%s", all);
  status = judge(&i->call, &i->found);
  (void)note(i, "let in", status, "%s", said(i, status, "yes, with the right password"));
}

static void try_person(inspection *i, connection *k) {
  const question q = {.name = i->name};
  const person *who = &i->found.who;
  entry e;
  i->found = (answer){0};
  purlin_status status = find_entry(&i->call, k, &q, &e);
  if (!note(i, "search", status, "%s", said(i, status, e.dn))) return;
  status = person_read(&i->call, &e, &i->found.who);
  if (status != PURLIN_OK) (void)note(i, "person", status, "%s", i->call.why);
  else if (note(i, "person", status, "user '%s', called '%s', e-mail '%s', id %s", who->name, who->display_name, who->email,
                who->id))
    try_groups(i, k, &e);
}

static void try_searching(inspection *i, connection *k) {
  static const char *const attributes[] = {"1.1", NULL}; /* none of them */
  const search s = {i->call.settings->base, "(objectClass=*)", attributes, 1};
  entries found = {0};
  purlin_status status = connection_search(&i->call, k, &s, &found);
  if (status != PURLIN_OK) (void)note(i, "search", status, "%s", i->call.why);
  else if (!note(i, "search", found.count ? PURLIN_OK : PURLIN_NOT_FOUND, "%s under %s",
                 found.count ? "there are entries" : "nothing can be seen", s.base))
    return;
  if (i->name && k->handle) try_person(i, k);
}

static void try_server(inspection *i, connection *k, size_t server) {
  const auth_ldap_configuration *s = i->call.settings;
  char tls[200] = "";
  i->step_began_ns = purlin_ticks_ns();
  i->call.deadline_ms = call_deadline((uint64_t)(s->connect_timeout_ms + s->timeout_ms) * 2);
  purlin_status status = connection_reach(&i->call, k, server);
  if (!note(i, "connect", status, "%s", said(i, status, "reached"))) return;
  status = connection_secure(&i->call, k);
  if (status == PURLIN_OK) connection_describe(k, tls, sizeof tls);
  if (!note(i, "tls", status, "%s",
            said(i, status, *tls ? tls : "none: start_tls is false, and passwords go in the clear")))
    return;
  status = connection_bind_searcher(&i->call, k);
  if (note(i, "bind", status, "%s%s", said(i, status, *s->bind_dn ? "as " : "as nobody: there is no bind_dn"),
           status == PURLIN_OK ? s->bind_dn : ""))
    try_searching(i, k);
}

static purlin_status inspect(void *argument) {
  inspection *i = argument;
  const purlin_texts *urls = &i->call.settings->urls;
  i->steps = scratch_alloc(&i->call.memory, STEPS_MOST * sizeof *i->steps);
  if (!i->steps) return PURLIN_UNAVAILABLE;
  for (size_t server = 0; server < urls->count; server++) {
    connection k = {0};
    size_t from = i->step_count;
    try_server(i, &k, server);
    connection_close(&k);
    for (; from < i->step_count; from++) i->steps[from].server = urls->items[server];
  }
  return PURLIN_OK;
}

/* ---- On the fiber ------------------------------------------------------------------------------------------------------------------------------ */

/* What a directory says may be no UTF-8, and what was cut may end within a character. */
static const char *legible(purlin_ctx *ctx, const char *detail) {
  char *text = purlin_copy(ctx, detail);
  size_t size = text ? strlen(text) : 0;
  for (size_t cut = 0; cut < 4 && cut <= size; cut++)
    if (is_plain_text(text, size - cut)) return purlin_copy_bytes(ctx, text, size - cut);
  for (char *p = text; p && *p; p++)
    if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f) *p = '?';
  return text;
}

static purlin_status tell(purlin_ctx *ctx, const inspection *i, test_out *out) {
  out->steps.items = purlin_alloc_array(ctx, i->step_count, sizeof *out->steps.items);
  if (!out->steps.items) return PURLIN_TOO_LARGE;
  for (size_t k = 0; k < i->step_count; k++) {
    const noted *n = &i->steps[k];
    out->steps.items[k] = (step){n->server, n->step, n->fine, n->milliseconds, legible(ctx, n->detail)};
    if (!out->steps.items[k].detail) return PURLIN_TOO_LARGE;
  }
  out->steps.count = i->step_count;
  return PURLIN_OK;
}

static purlin_status nothing_configured(purlin_ctx *ctx, test_out *out) {
  out->steps.items = purlin_alloc_array(ctx, 1, sizeof *out->steps.items);
  if (!out->steps.items) return PURLIN_TOO_LARGE;
  out->steps.items[out->steps.count++] =
      (step){"", "configuration", false, 0, "no directory is asked: plugin \"auth-ldap\" { urls = { \"ldaps://...\" } }"};
  return PURLIN_OK;
}

static purlin_mutex one_at_a_time;

PURLIN_OPERATION(test, test_in, test_out,
    .summary = "Try each step towards the directory", .permission = "users:write", .http = "POST /api/v1/auth-ldap/test",
    .description = "Connects to every server, one after the other: TLS, bind, search and, with a name, who that is and in which groups. No password is asked for or tried but that of bind_dn.",
    .timeout_ms = 300000) {
  inspection i = {.call = {.settings = purlin_configuration(ctx)},
                  .name = in->name.state == PURLIN_SET ? in->name.value : NULL};
  if (strcmp(purlin_workspace(ctx), HOME) != 0)
    return purlin_fail(ctx, PURLIN_FORBIDDEN, "directories are of the workspace '" HOME "'");
  if (!i.call.settings->urls.count) return nothing_configured(ctx, out);
  purlin_status status = purlin_lock(ctx, &one_at_a_time);
  if (status != PURLIN_OK) return status;
  status = purlin_offload(ctx, PURLIN_POOL_BLOCKING, inspect, &i);
  purlin_unlock(&one_at_a_time);
  if (status == PURLIN_OK) status = tell(ctx, &i, out);
  scratch_free(&i.call.memory);
  return status;
}
