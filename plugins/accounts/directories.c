#include "directories.h"
#include "sessions.h"
#include "unicode.h"
#include <pthread.h>
#include <purlin/audit.h>
#include <stdlib.h>
#include <string.h>

enum {
  LONGEST_NAME = 64,
  LONGEST_ID = 250,
  LONGEST_GROUP = 200,
  MOST_GROUPS = 500,
  LONGEST_DISPLAY_NAME = 200,
  LONGEST_EMAIL = 254
};

/* A name of ours (NAME_RULE): nothing else is asked for, so that no name is tried in many spellings. */
static bool is_name(const char *name) {
  static const char first[] = "abcdefghijklmnopqrstuvwxyz0123456789", further[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";
  size_t size = strnlen(name, LONGEST_NAME + 1);
  return size > 0 && size <= LONGEST_NAME && strchr(first, *name) && strspn(name, further) == size;
}

/* ---- What a directory says of a person ---------------------------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* In order and once each. Only groups: a directory does not make somebody another user. */
static const char *groups_json(purlin_ctx *ctx, purlin_texts groups, purlin_texts *kept) {
  const char **items = purlin_alloc_array(ctx, groups.count + 1, sizeof *items);
  size_t fit = 0, count = 0;
  if (!items) return NULL;
  for (size_t i = 0; i < groups.count && fit < MOST_GROUPS; i++)
    if (strncmp(groups.items[i], "group:", 6) == 0 && strnlen(groups.items[i], LONGEST_GROUP + 1) <= LONGEST_GROUP)
      items[fit++] = groups.items[i];
  if (fit > 0) qsort(items, fit, sizeof *items, by_text);
  for (size_t i = 0; i < fit; i++)
    if (count == 0 || strcmp(items[count - 1], items[i]) != 0) items[count++] = items[i];
  *kept = (purlin_texts){items, count};
  return purlin_list_json(ctx, *kept);
}

static const char *cut(purlin_ctx *ctx, const char *text, size_t most) {
  size_t size = text ? strlen(text) : 0;
  if (size <= most) return text ? text : "";
  while (most > 0 && ((unsigned char)text[most] & 0xc0) == 0x80) most--;
  return purlin_copy_bytes(ctx, text, most);
}

/* As users of ours have them, or none: what a directory says is what somebody typed there. NULL: no memory. */
static const char *name_shown(purlin_ctx *ctx, const purlin_person *person) {
  const char *said = cut(ctx, person->display_name, LONGEST_DISPLAY_NAME);
  char *name = said ? purlin_alloc(ctx, UNICODE_ROOM(LONGEST_DISPLAY_NAME)) : NULL;
  return name && unicode_name(said, name, UNICODE_ROOM(LONGEST_DISPLAY_NAME)) ? "" : name;
}

static const char *address_of(purlin_ctx *ctx, const purlin_person *person) {
  char *address = purlin_alloc(ctx, UNICODE_ROOM(LONGEST_EMAIL));
  return address && unicode_email(person->email ? person->email : "", address, UNICODE_ROOM(LONGEST_EMAIL)) ? "" : address;
}

/* What is written down of a person. */
typedef struct profile {
  const char *directory, *id, *name, *display_name, *email, *groups;
  bool verified;
  login_row *out;
} profile;

static purlin_status profile_of(purlin_ctx *ctx, const char *directory, const purlin_person *person, profile *to) {
  size_t id_size = person->id ? strnlen(person->id, LONGEST_ID + 1) : 0;
  if (id_size == 0 || id_size > LONGEST_ID)
    return purlin_fail(ctx, PURLIN_INVALID, "the directory '%s' gave no id that could be kept", directory);
  purlin_texts kept;
  *to = (profile){.directory = directory,
                  .id = person->id,
                  .name = person->name ? person->name : "",
                  .display_name = name_shown(ctx, person),
                  .email = address_of(ctx, person),
                  .groups = groups_json(ctx, person->groups, &kept)};
  to->verified = person->email_verified && to->email && *to->email;
  return to->display_name && to->email && to->groups ? PURLIN_OK : PURLIN_TOO_LARGE;
}

/* ---- In the database ------------------------------------------------------------------------------------------------------------------ */

typedef struct kept_row {
  const char *id, *name, *display_name, *email, *groups;
  bool verified, disabled;
} kept_row;
PURLIN_SCHEMA(kept_row, "What we know of a person",
    PURLIN_REQUIRED(id, "id"), PURLIN_REQUIRED(name, "name"), PURLIN_REQUIRED(display_name, "display name"),
    PURLIN_REQUIRED(email, "address"), PURLIN_REQUIRED(groups, "groups, as JSON"), PURLIN_REQUIRED(verified, "the address"),
    PURLIN_REQUIRED(disabled, "whether nothing lets them in"));

static const char SELECT_KEPT[] =
    "SELECT id, name, display_name, email, `groups`, email_verified_at IS NOT NULL AS verified, disabled_at IS NOT NULL AS disabled"
    " FROM accounts_users WHERE directory = ? AND external_id = ? FOR UPDATE";
static const char UPDATE_KEPT[] =
    "UPDATE accounts_users SET display_name = ?, email = ?, email_verified_at = IF(?, COALESCE(email_verified_at, NOW(6)), NULL),"
    " `groups` = ?, looked_up_at = NOW(6) WHERE id = ?";
static const char INSERT_PERSON[] =
    "INSERT INTO accounts_users (id, name, display_name, email, email_verified_at, directory, external_id, `groups`, looked_up_at,"
    " created_at, created_by) VALUES (?, ?, ?, ?, IF(?, NOW(6), NULL), ?, ?, ?, NOW(6), NOW(6), ?)";
static const char SELECT_ADMITTED[] =
    "SELECT " LOGIN_COLUMNS " FROM accounts_users WHERE directory = ? AND external_id = ?";

typedef struct source_note {
  const char *directory, *name;
} source_note;
PURLIN_SCHEMA(source_note, "Who said so", PURLIN_REQUIRED(directory, "Which directory"), PURLIN_REQUIRED(name, "Of whom"));

/* By the directory's word: nobody of ours did it. */
static purlin_status note(purlin_ctx *ctx, const char *what, const char *directory, const char *id, const char *name) {
  const source_note who = {directory, name};
  purlin_audit_entry entry = {.operation = what, .object = id, .actor = purlin_format(ctx, "directory:%s", directory)};
  purlin_status status = purlin_encode(ctx, source_note_schema(), &who, &entry.detail);
  return status == PURLIN_OK ? purlin_audit(ctx, &entry) : status;
}

static purlin_status update(purlin_ctx *ctx, const profile *p, const kept_row *row) {
  bool same = strcmp(p->display_name, row->display_name) == 0 && strcmp(p->email, row->email) == 0 &&
              strcmp(p->groups, row->groups) == 0 && p->verified == row->verified;
  purlin_status status = purlin_db_run(ctx, UPDATE_KEPT, p->display_name, p->email, p->verified, p->groups, row->id);
  return status == PURLIN_OK && !same ? note(ctx, "accounts.update_user", p->directory, row->id, row->name) : status;
}

/* Where people choose their own names, one that something was given to is nobody's who comes by it first. */
static purlin_status may_have_name(purlin_ctx *ctx, const char *name) {
  bool granted = false;
  if (accounts_configured()->granted_names) return PURLIN_OK;
  const char *actor = purlin_format(ctx, USER_PREFIX "%s", name);
  purlin_status status = actor ? purlin_is_granted(ctx, actor, &granted) : PURLIN_TOO_LARGE;
  return status == PURLIN_OK && granted ? PURLIN_CONFLICT : status;
}

/* "admin" is whom the first key acts for: a directory does not make an owner of the server. */
static purlin_status create(purlin_ctx *ctx, const profile *p) {
  const char *id = purlin_new_id(ctx, "usr"), *by = purlin_format(ctx, "directory:%s", p->directory);
  if (!id || !by) return PURLIN_TOO_LARGE;
  if (!is_name(p->name)) return purlin_fail(ctx, PURLIN_INVALID, "'%s' is no name for a user", p->name);
  if (strcmp(p->name, "admin") == 0) return PURLIN_CONFLICT;
  purlin_status status = may_have_name(ctx, p->name);
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx, INSERT_PERSON, id, p->name, p->display_name, p->email, p->verified, p->directory, p->id,
                           p->groups, by);
  return status == PURLIN_OK ? note(ctx, "accounts.create_user", p->directory, id, p->name) : status;
}

static purlin_status admit(purlin_ctx *ctx, void *argument) {
  const profile *p = argument;
  kept_row row;
  purlin_status status = purlin_db_row(ctx, kept_row, &row, SELECT_KEPT, p->directory, p->id);
  if (status == PURLIN_NOT_FOUND) status = create(ctx, p);
  else if (status == PURLIN_OK && row.disabled)
    return purlin_fail(ctx, PURLIN_FORBIDDEN, "the user '%s' is disabled here", row.name);
  else if (status == PURLIN_OK) status = update(ctx, p, &row);
  return status == PURLIN_OK ? purlin_db_row(ctx, login_row, p->out, SELECT_ADMITTED, p->directory, p->id) : status;
}

purlin_status directories_admit(purlin_ctx *ctx, const char *directory, const purlin_person *person, login_row *out) {
  profile p;
  purlin_status status =
      *directory ? profile_of(ctx, directory, person, &p) : purlin_fail(ctx, PURLIN_INVALID, "a directory has a name");
  if (status != PURLIN_OK) return status;
  p.out = out;
  status = purlin_transaction(ctx, admit, &p);
  if (status == PURLIN_CONFLICT) status = purlin_transaction(ctx, admit, &p); /* unless they came twice at once */
  if (status != PURLIN_CONFLICT) return status;
  return purlin_fail(ctx, status, "the name '%s' is another user's here", p.name);
}

/* ---- Logging in ------------------------------------------------------------------------------------------------------------------------- */

bool directories_exist(purlin_ctx *ctx) {
  purlin_texts names;
  return purlin_providers(ctx, directory, &names) == PURLIN_OK && names.count > 0;
}

/* Whoever is right there and may not be let in here learns no more than who is wrong; the operator does. */
static purlin_status let_in(purlin_ctx *ctx, const char *directory, const purlin_person *person, login_row *out) {
  purlin_status status = directories_admit(ctx, directory, person, out);
  if (status != PURLIN_CONFLICT && status != PURLIN_INVALID && status != PURLIN_FORBIDDEN) return status;
  purlin_log(ctx, PURLIN_WARNING, "somebody whom the directory '%s' knows is not let in: %s", directory,
             purlin_failure(ctx));
  purlin_clear_failure(ctx);
  return PURLIN_UNAUTHENTICATED;
}

static purlin_status ask(purlin_ctx *ctx, const char *directory, const char *name, const char *password, login_row *out) {
  purlin_person person = {0};
  const purlin_directory *functions = purlin_use(ctx, directory, directory);
  if (!functions) return PURLIN_UNAVAILABLE;
  purlin_status status = functions->check(ctx, name, password, &person);
  if (status == PURLIN_OK) return let_in(ctx, directory, &person, out);
  if (status == PURLIN_FORBIDDEN) status = PURLIN_UNAUTHENTICATED;
  if (status == PURLIN_NOT_FOUND || status == PURLIN_UNAUTHENTICATED) purlin_clear_failure(ctx);
  return status;
}

/* One that cannot be asked keeps nobody out whom another knows. */
static purlin_status ask_all(purlin_ctx *ctx, const char *name, const char *password, login_row *out) {
  purlin_texts names;
  purlin_status status = purlin_providers(ctx, directory, &names), worst = PURLIN_NOT_FOUND;
  for (size_t i = 0; status == PURLIN_OK && i < names.count; i++) {
    purlin_status said = ask(ctx, names.items[i], name, password, out);
    if (said == PURLIN_UNAVAILABLE) {
      purlin_log(ctx, PURLIN_WARNING, "the directory '%s' cannot be asked: %s", names.items[i], purlin_failure(ctx));
      worst = said;
    } else if (said != PURLIN_NOT_FOUND) return said;
  }
  if (status != PURLIN_OK || worst == PURLIN_NOT_FOUND) return status == PURLIN_OK ? worst : status;
  return purlin_fail(ctx, worst, "a directory cannot be asked now");
}

purlin_status directories_check(purlin_ctx *ctx, const char *directory, const char *name, const char *password,
                                login_row *out) {
  if (!is_name(name) || !*password) return PURLIN_NOT_FOUND;
  if (!*directory) return ask_all(ctx, name, password, out);
  purlin_status status = ask(ctx, directory, name, password, out);
  if (status == PURLIN_NOT_FOUND)
    purlin_log(ctx, PURLIN_INFO, "the directory '%s' does not know '%s' any more", directory, name);
  return status;
}

/* ---- Going on ----------------------------------------------------------------------------------------------------------------------------- */

/* What a directory said that is not written down: nobody asks it again at once. By the id of the user. */
enum { SLOTS = 256, ANSWER_KEPT_MS = 10000 };

typedef struct answer {
  char id[LONGEST_NAME + 1];
  bool gone; /* else: it could not be asked */
  uint64_t until_ms;
} answer;

static answer answers[SLOTS];
static pthread_mutex_t answers_lock = PTHREAD_MUTEX_INITIALIZER; /* held for a copy, never while anything parks */
static purlin_mutex asking[SLOTS];                               /* one question about a user at a time */

static size_t slot_of(const char *id) {
  char digits[65];
  purlin_sha256(id, strlen(id), digits);
  return strtoul((char[]){digits[0], digits[1], '\0'}, NULL, 16) % SLOTS;
}

static uint64_t now_ms(void) { return purlin_ticks_ns() / 1000000; }

static bool recall(size_t slot, const char *id, answer *out) {
  (void)pthread_mutex_lock(&answers_lock);
  *out = answers[slot];
  (void)pthread_mutex_unlock(&answers_lock);
  return out->until_ms > now_ms() && strcmp(out->id, id) == 0;
}

static void remember(size_t slot, const char *id, bool gone) {
  int64_t good_ms = accounts_configured()->directory_check_s * 1000;
  answer a = {.gone = gone, .until_ms = now_ms() + (good_ms < ANSWER_KEPT_MS ? (uint64_t)good_ms : ANSWER_KEPT_MS)};
  size_t size = strlen(id);
  if (size > LONGEST_NAME) return;
  memcpy(a.id, id, size);
  (void)pthread_mutex_lock(&answers_lock);
  answers[slot] = a;
  (void)pthread_mutex_unlock(&answers_lock);
}

static const char SELECT_STANDING[] = "SELECT " STANDING_COLUMNS " FROM accounts_users u WHERE u.id = ?";

typedef struct renewal {
  profile said;
  standing *of;
} renewal;

static purlin_status renew(purlin_ctx *ctx, void *argument) {
  const renewal *r = argument;
  kept_row row;
  purlin_status status = purlin_db_row(ctx, kept_row, &row, SELECT_KEPT, r->said.directory, r->of->external_id);
  return status == PURLIN_OK ? update(ctx, &r->said, &row) : status;
}

static purlin_status end_all(purlin_ctx *ctx, void *argument) {
  const standing *of = argument;
  purlin_status status = sessions_revoke_all(ctx, of->id, "");
  if (status != PURLIN_OK || purlin_affected(ctx) == 0) return status;
  return note(ctx, "accounts.end_sessions", of->directory, of->id, of->name);
}

typedef enum verdict { STAYS, GONE, AWAY /* the directory */ } verdict;

static purlin_status take_answer(purlin_ctx *ctx, standing *of, const purlin_person *person) {
  renewal r = {.of = of};
  purlin_status status = profile_of(ctx, of->directory, person, &r.said);
  if (status == PURLIN_OK) status = purlin_transaction(ctx, renew, &r);
  return status == PURLIN_OK ? purlin_db_row(ctx, standing, of, SELECT_STANDING, of->id) : status;
}

static purlin_status look_up(purlin_ctx *ctx, standing *of, verdict *what) {
  purlin_person person = {0};
  const purlin_directory *functions = purlin_use(ctx, directory, of->directory);
  purlin_status status = functions ? functions->look_up(ctx, of->external_id, &person) : PURLIN_UNAVAILABLE;
  *what = STAYS;
  if (status == PURLIN_OK) return take_answer(ctx, of, &person);
  if (purlin_still_wanted(ctx) != PURLIN_OK) return status;
  *what = status == PURLIN_NOT_FOUND || status == PURLIN_UNAUTHENTICATED || status == PURLIN_FORBIDDEN ? GONE : AWAY;
  if (*what == AWAY)
    purlin_log(ctx, PURLIN_WARNING, "the directory '%s' cannot be asked for '%s': %s", of->directory, of->name,
               purlin_failure(ctx));
  purlin_clear_failure(ctx);
  return *what == GONE ? purlin_transaction(ctx, end_all, of) : PURLIN_OK;
}

static bool is_fresh(const standing *of) { return of->age_s <= accounts_configured()->directory_check_s; }

/* Whether it is known without asking, or else what the directory says. */
static purlin_status find_out(purlin_ctx *ctx, standing *of, size_t slot, verdict *what) {
  answer known;
  *what = STAYS;
  purlin_status status = purlin_db_row(ctx, standing, of, SELECT_STANDING, of->id); /* somebody may just have asked */
  if (status != PURLIN_OK || of->disabled || is_fresh(of)) return status;
  if (recall(slot, of->id, &known)) return *what = known.gone ? GONE : AWAY, PURLIN_OK;
  status = look_up(ctx, of, what);
  if (status == PURLIN_OK && *what != STAYS) remember(slot, of->id, *what == GONE);
  return status;
}

purlin_status directories_still(purlin_ctx *ctx, standing *of) {
  const accounts_configuration *configured = accounts_configured();
  verdict what = STAYS;
  if (of->disabled) return PURLIN_UNAUTHENTICATED;
  if (!*of->directory || is_fresh(of)) return PURLIN_OK;
  size_t slot = slot_of(of->id);
  purlin_status status = purlin_lock(ctx, &asking[slot]);
  if (status != PURLIN_OK) return status;
  status = find_out(ctx, of, slot, &what);
  purlin_unlock(&asking[slot]);
  if (status != PURLIN_OK) return status;
  bool graced = of->age_s <= configured->directory_check_s + configured->directory_grace_s;
  return of->disabled || what == GONE || (what == AWAY && !graced) ? PURLIN_UNAUTHENTICATED : PURLIN_OK;
}
