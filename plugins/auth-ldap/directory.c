#include "auth_ldap.h"
#include "conversation.h"
#include <stdatomic.h>
#include <string.h>

/* What is waited for at the most: then it is said at once that the directory is busy. */
enum { LINES_MOST = 8, WAITING_MOST = 2000 };

PURLIN_COUNTER(calls_total, "Calls to the directory", "call, outcome");
PURLIN_HISTOGRAM(call_seconds, "How long calls took, with the wait for a connection", "call");

typedef struct turn {
  purlin_mutex lock;
  atomic_size_t waiting;
  line connections;
} turn;

static const auth_ldap_configuration *settings; /* of this plugin, whoever calls; set at start */
static turn turns[LINES_MOST];
static atomic_size_t waiting;

typedef struct job {
  call call;
  line *connections;
  question question;
  answer answer;
} job;

static purlin_status run(void *argument) {
  job *j = argument;
  return converse(&j->call, j->connections, &j->question, &j->answer);
}

static turn *shortest(void) {
  turn *best = &turns[0];
  for (int64_t i = 1; i < settings->connections; i++)
    if (atomic_load(&turns[i].waiting) < atomic_load(&best->waiting)) best = &turns[i];
  return best;
}

/* On the first connection that is free, off the loop. */
static purlin_status take_turn(purlin_ctx *ctx, job *j) {
  turn *t = shortest();
  atomic_fetch_add(&t->waiting, 1);
  purlin_status status = purlin_lock(ctx, &t->lock);
  if (status == PURLIN_OK) {
    j->connections = &t->connections;
    j->call.deadline_ms = call_deadline((uint64_t)(settings->connect_timeout_ms + settings->timeout_ms) * 3 / 2);
    status = purlin_offload(ctx, PURLIN_POOL_BLOCKING, run, j);
    purlin_unlock(&t->lock);
  }
  atomic_fetch_sub(&t->waiting, 1);
  return status;
}

/* ---- Into the asking fiber's memory ---------------------------------------------------------------------------------------------------------- */

static purlin_status tell(purlin_ctx *ctx, const job *j, purlin_person *out) {
  const person *who = &j->answer.who;
  const groups *in = &j->answer.in;
  const char **list = purlin_alloc_array(ctx, in->label_count + 1, sizeof *list);
  *out = (purlin_person){.id = purlin_copy(ctx, who->id),
                         .name = purlin_copy(ctx, who->name),
                         .display_name = purlin_copy(ctx, who->display_name),
                         .email = purlin_copy(ctx, who->email),
                         .email_verified = *who->email && settings->email_verified,
                         .groups = {list, in->label_count}};
  if (!list || !out->id || !out->name || !out->display_name || !out->email) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < in->label_count; i++)
    if (!(list[i] = purlin_copy(ctx, in->labels[i]))) return PURLIN_TOO_LARGE;
  if (in->more)
    purlin_log(ctx, PURLIN_WARNING, "%s is in more than %u groups; the others do not count", who->dn, GROUPS_MOST);
  return PURLIN_OK;
}

static const char *outcome_of(purlin_status status) {
  switch (status) {
  case PURLIN_OK: return "ok";
  case PURLIN_NOT_FOUND: return "not_found";
  case PURLIN_UNAUTHENTICATED: return "refused";
  default: return "unavailable";
  }
}

/* What the client is told; the reasons are for the operator. */
static purlin_status fail(purlin_ctx *ctx, const job *j, purlin_status status) {
  const char *name = j->question.name ? j->question.name : j->question.id;
  switch (status) {
  case PURLIN_OK:
  case PURLIN_CANCELLED:
  case PURLIN_TOO_LARGE: return status;
  case PURLIN_NOT_FOUND:
    purlin_log(ctx, PURLIN_DEBUG, "the directory does not know '%s': %s", name, j->call.why);
    return status;
  case PURLIN_UNAUTHENTICATED:
    purlin_log(ctx, PURLIN_INFO, "the directory refuses '%s': %s", name, j->call.why);
    return purlin_fail(ctx, status, "the name or the password is wrong");
  default:
    purlin_log(ctx, PURLIN_WARNING, "the directory cannot be asked: %s",
               *j->call.why ? j->call.why : purlin_status_text(status));
    return purlin_fail(ctx, PURLIN_UNAVAILABLE, "the directory cannot be asked now");
  }
}

static purlin_status ask(purlin_ctx *ctx, const char *what, const question *q, purlin_person *out) {
  job j = {.call = {.settings = settings}, .question = *q};
  uint64_t begun = purlin_ticks_ns();
  if (!settings || !settings->urls.count) return PURLIN_NOT_FOUND;
  purlin_status status = PURLIN_UNAVAILABLE;
  if (atomic_fetch_add(&waiting, 1) < WAITING_MOST) status = take_turn(ctx, &j);
  else (void)call_fails(&j.call, status, "%d calls wait already", WAITING_MOST);
  atomic_fetch_sub(&waiting, 1);
  if (status == PURLIN_OK) status = tell(ctx, &j, out);
  purlin_count(calls_total, 1, what, outcome_of(status));
  purlin_observe(call_seconds, (double)(purlin_ticks_ns() - begun) / 1e9, what);
  status = fail(ctx, &j, status);
  scratch_free(&j.call.memory);
  return status;
}

purlin_status directory_check(purlin_ctx *ctx, const char *name, const char *password, purlin_person *out) {
  return ask(ctx, "check", &(question){.name = name, .password = password}, out);
}

purlin_status directory_look_up(purlin_ctx *ctx, const char *id, purlin_person *out) {
  return ask(ctx, "look_up", &(question){.id = id}, out);
}

void directory_start(const auth_ldap_configuration *configured) { settings = configured; }

static purlin_status close_all(void *argument) {
  (void)argument;
  for (size_t i = 0; i < LINES_MOST; i++) {
    connection_close(&turns[i].connections.search);
    connection_close(&turns[i].connections.people);
  }
  return PURLIN_OK;
}

purlin_status directory_stop(purlin_ctx *ctx) {
  return purlin_offload(ctx, PURLIN_POOL_BLOCKING, close_all, NULL); /* a goodbye is sent to each */
}
