/* A directory whose people a test writes down, and a door for whom it knows. Built once for each name: -DBOOK="phonebook". */
#include <pthread.h>
#include <purlin/contracts/directory.h>
#include <purlin/contracts/sessions.h>
#include <purlin/contracts/sign_on.h>
#include <purlin/purlin.h>
#include <stdio.h>
#include <string.h>

#ifndef BOOK
#define BOOK "phonebook"
#endif

PURLIN_PLUGIN(BOOK, "0.1.0",
    .summary = "A directory, for tests",
    .license = "Apache-2.0");

enum { MOST = 32, MOST_GROUPS = 4 };

typedef struct entry {
  char id[300], name[100], password[100], email[100], shown[300], groups[MOST_GROUPS][100];
  size_t group_count;
  bool verified;
} entry;

static entry entries[MOST];
static int64_t checks, look_ups, latency_ms;
static bool away;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool find(const char *name, const char *id, entry *out) {
  bool found = false;
  (void)pthread_mutex_lock(&lock);
  for (size_t i = 0; i < MOST && !found; i++) {
    found = *entries[i].id && (name ? strcmp(entries[i].name, name) == 0 : strcmp(entries[i].id, id) == 0);
    if (found) *out = entries[i];
  }
  if (name) checks++;
  else look_ups++;
  (void)pthread_mutex_unlock(&lock);
  return found;
}

static purlin_status tell(purlin_ctx *ctx, const entry *e, purlin_person *out) {
  const char **groups = purlin_alloc_array(ctx, MOST_GROUPS, sizeof *groups);
  if (!groups) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < e->group_count; i++) groups[i] = purlin_copy(ctx, e->groups[i]);
  *out = (purlin_person){.id = purlin_copy(ctx, e->id),
                         .name = purlin_copy(ctx, e->name),
                         .display_name =
                             *e->shown ? purlin_copy(ctx, e->shown) : purlin_format(ctx, "%s of the %s", e->name, BOOK),
                         .email = purlin_copy(ctx, e->email),
                         .email_verified = e->verified,
                         .groups = {groups, e->group_count}};
  return PURLIN_OK;
}

static purlin_status check(purlin_ctx *ctx, const char *name, const char *password, purlin_person *out) {
  entry e;
  bool found = find(name, NULL, &e);
  if (!*name || !*password) return purlin_fail(ctx, PURLIN_INTERNAL, "that must not be asked");
  if (latency_ms > 0 && purlin_sleep(ctx, (uint32_t)latency_ms) != PURLIN_OK) return PURLIN_TIMEOUT;
  if (away) return purlin_fail(ctx, PURLIN_UNAVAILABLE, "the book is lent out");
  if (!found) return PURLIN_NOT_FOUND;
  return strcmp(e.password, password) == 0 ? tell(ctx, &e, out) : PURLIN_UNAUTHENTICATED;
}

static purlin_status look_up(purlin_ctx *ctx, const char *id, purlin_person *out) {
  entry e;
  bool found = find(NULL, id, &e);
  if (away) return purlin_fail(ctx, PURLIN_UNAVAILABLE, "the book is lent out");
  return found ? tell(ctx, &e, out) : PURLIN_NOT_FOUND;
}

static const purlin_directory functions = {.size = sizeof functions, .check = check, .look_up = look_up};
PURLIN_PROVIDES(directory, BOOK, functions);

/* ---- What the test writes ----------------------------------------------------------------------------------------------------------- */

typedef struct put_in {
  const char *id, *name, *password, *email, *shown;
  bool verified;
  purlin_texts groups;
} put_in;
PURLIN_SCHEMA(put_in, "A person", PURLIN_REQUIRED(id, "The id"), PURLIN_DEFAULT(name, "\"\"", "The name; empty: gone"),
    PURLIN_DEFAULT(password, "\"\"", "The password"), PURLIN_DEFAULT(email, "\"\"", "The address"),
    PURLIN_DEFAULT(shown, "\"\"", "What others call them; empty: NAME of the BOOK"),
    PURLIN_DEFAULT(verified, "false", "Whether it is theirs"), PURLIN_DEFAULT(groups, "[]", "Groups"));

PURLIN_OPERATION(put, put_in, purlin_nothing, .summary = "Write a person down", .permission = "models:write") {
  entry e = {.verified = in->verified};
  (void)snprintf(e.id, sizeof e.id, "%s", in->id);
  (void)snprintf(e.name, sizeof e.name, "%s", in->name);
  (void)snprintf(e.password, sizeof e.password, "%s", in->password);
  (void)snprintf(e.email, sizeof e.email, "%s", in->email);
  (void)snprintf(e.shown, sizeof e.shown, "%s", in->shown);
  for (; e.group_count < MOST_GROUPS && e.group_count < in->groups.count; e.group_count++)
    (void)snprintf(e.groups[e.group_count], sizeof e.groups[0], "%s", in->groups.items[e.group_count]);
  (void)pthread_mutex_lock(&lock);
  size_t at = 0;
  for (size_t i = MOST; i-- > 0;)
    if (!*entries[i].id) at = i;
  for (size_t i = 0; i < MOST; i++)
    if (strcmp(entries[i].id, e.id) == 0) at = i;
  entries[at] = *in->name ? e : (entry){.verified = false};
  (void)pthread_mutex_unlock(&lock);
  return PURLIN_OK;
}

typedef struct mood {
  bool away;
  int64_t latency_ms;
} mood;
PURLIN_SCHEMA(mood, "How the book is", PURLIN_DEFAULT(away, "false", "Nobody can read it"),
    PURLIN_DEFAULT(latency_ms, "0", "How long a password takes"));

typedef struct counts {
  int64_t checks, look_ups;
} counts;
PURLIN_SCHEMA(counts, "How often it was read", PURLIN_REQUIRED(checks, "Passwords"), PURLIN_REQUIRED(look_ups, "Others"));

PURLIN_OPERATION(set, mood, counts, .summary = "Lend the book out, or take it back", .permission = "models:write") {
  away = in->away;
  latency_ms = in->latency_ms;
  *out = (counts){checks, look_ups};
  return PURLIN_OK;
}

/* ---- The door -------------------------------------------------------------------------------------------------------------------------- */

typedef struct door_answer {
  const char *access_token, *refresh_token, *session;
} door_answer;
PURLIN_SCHEMA(door_answer, "A session", PURLIN_REQUIRED(access_token, "token"), PURLIN_REQUIRED(refresh_token, "token"),
    PURLIN_REQUIRED(session, "id"));

static purlin_status person_of(purlin_ctx *ctx, const purlin_request *request, purlin_person *out) {
  entry e;
  const char *id = purlin_query_value(request, "id");
  if (!id || !find(NULL, id, &e)) return purlin_fail(ctx, PURLIN_NOT_FOUND, "nobody has this id");
  return tell(ctx, &e, out);
}

static const purlin_sign_on sign_on = {.size = sizeof sign_on, .label = "<the " BOOK ">", .path = "/" BOOK "/enter"};
PURLIN_PROVIDES(sign_on, BOOK, sign_on);

PURLIN_ROUTE(enter, "POST /" BOOK "/enter", .summary = "Come in", .permission = "public", .out = door_answer_schema) {
  purlin_person person;
  purlin_session_tokens tokens;
  const purlin_sessions *sessions = purlin_use(ctx, sessions, NULL);
  purlin_status status = sessions ? person_of(ctx, request, &person) : PURLIN_UNAVAILABLE;
  if (status == PURLIN_OK) status = sessions->begin(ctx, request, BOOK, &person, &tokens);
  if (status != PURLIN_OK) return status;
  const door_answer answer = {tokens.access_token, tokens.refresh_token, tokens.session};
  return purlin_respond(ctx, request, 200, door_answer_schema(), &answer);
}

PURLIN_ROUTE(enter_in_browser, "GET /" BOOK "/enter", .summary = "Come in with a browser", .permission = "public",
    .out = purlin_nothing_schema) {
  purlin_person person;
  const purlin_nothing nothing = {0};
  const purlin_sessions *sessions = purlin_use(ctx, sessions, NULL);
  purlin_status status = sessions ? person_of(ctx, request, &person) : PURLIN_UNAVAILABLE;
  if (status == PURLIN_OK) status = sessions->begin_in_browser(ctx, request, BOOK, &person);
  return status == PURLIN_OK ? purlin_respond(ctx, request, 200, purlin_nothing_schema(), &nothing) : status;
}

PURLIN_ROUTE(leave, "POST /" BOOK "/leave", .summary = "Send somebody home", .permission = "public",
    .out = purlin_nothing_schema) {
  const purlin_nothing nothing = {0};
  const purlin_sessions *sessions = purlin_use(ctx, sessions, NULL);
  const char *id = purlin_query_value(request, "id");
  purlin_status status = sessions ? sessions->end_all(ctx, BOOK, id ? id : "") : PURLIN_UNAVAILABLE;
  return status == PURLIN_OK ? purlin_respond(ctx, request, 200, purlin_nothing_schema(), &nothing) : status;
}
