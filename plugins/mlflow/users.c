#include "permissions.h"
#include <string.h>

PURLIN_NEEDS_PLUGIN(accounts, "accounts");

#define USER_PREFIX "user:"
#define PASSWORD_RULE .min_length = 1, .max_length = 1024, .secret = true
#define USERNAME_RULE .min_length = 1, .max_length = 64

/* Names are for good, so they are ids, too. The lists are what clients of 2.x look for. */
typedef struct mlflow_user {
  const char *id, *username;
  bool is_admin;
  purlin_json experiment_permissions, registered_model_permissions;
} mlflow_user;
PURLIN_SCHEMA(mlflow_user, "A user",
    PURLIN_REQUIRED(id, "The login name"),
    PURLIN_REQUIRED(username, "The login name"),
    PURLIN_REQUIRED(is_admin, "Whether they own the workspace"),
    PURLIN_OPTIONAL(experiment_permissions, "Always empty: ask for those of an experiment"),
    PURLIN_OPTIONAL(registered_model_permissions, "Always empty: ask for those of a model"));

typedef struct mlflow_user_answer {
  mlflow_user user;
} mlflow_user_answer;
PURLIN_SCHEMA(mlflow_user_answer, "A user", PURLIN_OBJECT(user, mlflow_user, "The user"));

typedef struct mlflow_username {
  const char *username;
} mlflow_username;
PURLIN_SCHEMA(mlflow_username, "Which user", PURLIN_REQUIRED(username, "The login name", USERNAME_RULE));

static const purlin_json none = {"[]", 2};

static mlflow_user tell(const char *username, bool is_admin) {
  return (mlflow_user){username, username, is_admin, none, none};
}

/* ---- Who there is ------------------------------------------------------------------------------------------------------------- */

typedef struct account_name {
  const char *name;
} account_name;
PURLIN_SCHEMA(account_name, "Which user", PURLIN_REQUIRED(name, "The login name", .max_length = 64));

typedef struct account {
  const char *name;
  bool disabled;
} account;
PURLIN_SCHEMA(account, "A user", PURLIN_REQUIRED(name, "The login name"), PURLIN_REQUIRED(disabled, "Whether nothing lets them in"));

static purlin_status not_found(purlin_ctx *ctx, const char *username) {
  return purlin_fail(ctx, PURLIN_NOT_FOUND, "User with username=%s not found", username);
}

/* Whom nothing lets in any more was deleted, as far as clients can see. */
static purlin_status find_account(purlin_ctx *ctx, const char *username, account *out) {
  purlin_status status =
      purlin_call(ctx, "accounts.get_user", account_name_schema(), &(account_name){username}, account_schema(), out);
  return status == PURLIN_NOT_FOUND || (status == PURLIN_OK && out->disabled) ? not_found(ctx, username) : status;
}

purlin_status user_exists(purlin_ctx *ctx, const char *username) {
  account found;
  purlin_status status = find_account(ctx, username, &found);
  if (status != PURLIN_FORBIDDEN) return status;
  purlin_clear_failure(ctx);
  return PURLIN_OK;
}

static purlin_status is_owner(purlin_ctx *ctx, const char *username, bool *owner) {
  granted_roles found = {0};
  purlin_status status = permission_roles(ctx, username, (permission_place){0}, "owner", &found);
  *owner = found.grants.count > 0;
  return status;
}

/* ---- Oneself ------------------------------------------------------------------------------------------------------------------- */

typedef struct own_grant {
  purlin_opt_text project, object;
  purlin_texts permissions;
} own_grant;
PURLIN_SCHEMA(own_grant, "What is permitted where",
    PURLIN_OPTIONAL(project, "Only in this project"), PURLIN_OPTIONAL(object, "Only for this object"),
    PURLIN_REQUIRED(permissions, "What"));

typedef struct oneself {
  const char *actor, *credential;
  PURLIN_LIST_OF(own_grant) grants;
} oneself;
PURLIN_SCHEMA(oneself, "Who is asking",
    PURLIN_REQUIRED(actor, "You"), PURLIN_REQUIRED(credential, "By which credential"), PURLIN_LIST(grants, own_grant, "Granted"));

static purlin_status find_oneself(purlin_ctx *ctx, oneself *out) {
  return purlin_call(ctx, "access.whoami", purlin_nothing_schema(), &(purlin_nothing){0}, oneself_schema(), out);
}

static bool owns_all(const oneself *who) {
  for (size_t i = 0; i < who->grants.count; i++) {
    const own_grant *grant = &who->grants.items[i];
    bool all = grant->project.state != PURLIN_SET && grant->object.state != PURLIN_SET;
    for (size_t j = 0; all && j < grant->permissions.count; j++)
      if (strcmp(grant->permissions.items[j], "*") == 0) return true;
  }
  return false;
}

static const char *name_of(const char *actor) {
  return strncmp(actor, USER_PREFIX, sizeof USER_PREFIX - 1) == 0 ? actor + sizeof USER_PREFIX - 1 : actor;
}

typedef struct mlflow_current_user {
  mlflow_user user;
  bool is_basic_auth;
} mlflow_current_user;
PURLIN_SCHEMA(mlflow_current_user, "Who is asking",
    PURLIN_OBJECT(user, mlflow_user, "You"), PURLIN_REQUIRED(is_basic_auth, "Whether a password was shown"));

MLFLOW_BINDING(current_user, purlin_nothing, mlflow_current_user, "GET /api/2.0/mlflow/users/current", "access.whoami") {
  oneself who = {0};
  purlin_status status = find_oneself(ctx, &who);
  if (status != PURLIN_OK) return status;
  out->user = tell(name_of(who.actor), owns_all(&who));
  out->is_basic_auth = strncmp(who.credential, "password:", 9) == 0;
  return PURLIN_OK;
}

/* Everybody may ask about themselves; about others, whoever may ask accounts. */
MLFLOW_BINDING(get_user, mlflow_username, mlflow_user_answer, "GET /api/2.0/mlflow/users/get", "access.whoami") {
  oneself who = {0};
  account found = {0};
  bool owner = false;
  purlin_status status = find_oneself(ctx, &who);
  if (status == PURLIN_OK && strcmp(name_of(who.actor), in->username) == 0)
    return out->user = tell(in->username, owns_all(&who)), PURLIN_OK;
  if (status == PURLIN_OK) status = find_account(ctx, in->username, &found);
  if (status == PURLIN_OK) status = is_owner(ctx, in->username, &owner);
  out->user = tell(in->username, owner);
  return status;
}

/* ---- All of them ---------------------------------------------------------------------------------------------------------------- */

enum { PAGE = 1000, MOST_PAGES = 100 };

typedef struct accounts_page_in {
  const char *after;
  int64_t limit;
} accounts_page_in;
PURLIN_SCHEMA(accounts_page_in, "Which page", PURLIN_REQUIRED(after, "Names after this one"), PURLIN_REQUIRED(limit, "At most so many"));

typedef struct accounts_page {
  PURLIN_LIST_OF(account) users;
} accounts_page;
PURLIN_SCHEMA(accounts_page, "Users, by name", PURLIN_LIST(users, account, "The users"));

typedef struct owner_grant {
  const char *id, *subject;
} owner_grant;
PURLIN_SCHEMA(owner_grant, "A grant", PURLIN_REQUIRED(id, "Its id"), PURLIN_REQUIRED(subject, "Who has it"));

typedef struct owner_grants {
  PURLIN_LIST_OF(owner_grant) grants;
} owner_grants;
PURLIN_SCHEMA(owner_grants, "Grants", PURLIN_LIST(grants, owner_grant, "The grants"));

typedef struct owners_in {
  const char *role, *project, *object;
  int64_t limit;
} owners_in;
PURLIN_SCHEMA(owners_in, "The owners of a workspace",
    PURLIN_REQUIRED(role, "owner"), PURLIN_REQUIRED(project, "*"), PURLIN_REQUIRED(object, "*"), PURLIN_REQUIRED(limit, "At most so many"));

static bool is_among(const owner_grants *owners, const char *username) {
  for (size_t i = 0; i < owners->grants.count; i++)
    if (strcmp(name_of(owners->grants.items[i].subject), username) == 0) return true;
  return false;
}

typedef struct mlflow_user_list {
  PURLIN_LIST_OF(mlflow_user) users;
} mlflow_user_list;
PURLIN_SCHEMA(mlflow_user_list, "Users", PURLIN_LIST(users, mlflow_user, "The users, by name"));

static purlin_status add_page(purlin_ctx *ctx, const accounts_page *page, const owner_grants *owners,
                              mlflow_user_list *out) {
  size_t most = out->users.count + page->users.count;
  mlflow_user *items = purlin_alloc_array(ctx, most + 1, sizeof *items);
  if (!items) return PURLIN_TOO_LARGE;
  if (out->users.count > 0) memcpy(items, out->users.items, out->users.count * sizeof *items);
  out->users.items = items;
  for (size_t i = 0; i < page->users.count; i++) {
    const account *of = &page->users.items[i];
    if (!of->disabled) items[out->users.count++] = tell(of->name, is_among(owners, of->name));
  }
  return PURLIN_OK;
}

MLFLOW_BINDING(list_users, purlin_nothing, mlflow_user_list, "GET /api/2.0/mlflow/users/list", "accounts.list_users") {
  owner_grants owners = {0};
  purlin_status status = purlin_call(ctx, "access.list_grants", owners_in_schema(), &(owners_in){"owner", "*", "*", PAGE},
                                     owner_grants_schema(), &owners);
  const char *after = "";
  for (size_t i = 0; i < MOST_PAGES && status == PURLIN_OK && after; i++) {
    accounts_page page = {0};
    status = purlin_call(ctx, "accounts.list_users", accounts_page_in_schema(), &(accounts_page_in){after, PAGE},
                         accounts_page_schema(), &page);
    if (status == PURLIN_OK) status = add_page(ctx, &page, &owners, out);
    after = page.users.count == PAGE ? page.users.items[PAGE - 1].name : NULL;
  }
  return status;
}

/* ---- Making and changing ------------------------------------------------------------------------------------------------------------ */

typedef struct mlflow_new_user {
  const char *username, *password;
} mlflow_new_user;
PURLIN_SCHEMA(mlflow_new_user, "Somebody who shall be able to log in",
    PURLIN_REQUIRED(username, "The login name", USERNAME_RULE),
    PURLIN_REQUIRED(password, "At least 12 characters, and no common one", PASSWORD_RULE));

typedef struct new_account {
  const char *name, *password;
} new_account;
PURLIN_SCHEMA(new_account, "A user to make",
    PURLIN_REQUIRED(name, "The login name"), PURLIN_REQUIRED(password, "The password", .secret = true));

MLFLOW_BINDING(create_user, mlflow_new_user, mlflow_user_answer, "POST /api/2.0/mlflow/users/create",
               "accounts.create_user") {
  account made = {0};
  purlin_status status = purlin_call(ctx, "accounts.create_user", new_account_schema(),
                                     &(new_account){in->username, in->password}, account_schema(), &made);
  if (status == PURLIN_CONFLICT) return purlin_fail(ctx, status, "User (username=%s) already exists.", in->username);
  out->user = tell(in->username, false);
  return status;
}

typedef struct mlflow_new_password {
  const char *username, *password;
  purlin_opt_text current_password;
} mlflow_new_password;
PURLIN_SCHEMA(mlflow_new_password, "Another password",
    PURLIN_REQUIRED(username, "The login name", USERNAME_RULE),
    PURLIN_REQUIRED(password, "The new one", PASSWORD_RULE),
    PURLIN_OPTIONAL(current_password, "The one you have, for your own", PASSWORD_RULE));

typedef struct account_password {
  const char *name, *password;
  purlin_opt_text current_password;
} account_password;
PURLIN_SCHEMA(account_password, "A new password",
    PURLIN_REQUIRED(name, "The login name"), PURLIN_REQUIRED(password, "The new one", .secret = true),
    PURLIN_OPTIONAL(current_password, "The one there is", .secret = true));

MLFLOW_BINDING(update_password, mlflow_new_password, purlin_nothing, "PATCH /api/2.0/mlflow/users/update-password",
               "accounts.replace_password") {
  account changed = {0};
  purlin_status status =
      purlin_call(ctx, "accounts.replace_password", account_password_schema(),
                  &(account_password){in->username, in->password, in->current_password}, account_schema(), &changed);
  return status == PURLIN_NOT_FOUND ? not_found(ctx, in->username) : status;
}

typedef struct mlflow_admin {
  const char *username;
  bool is_admin;
} mlflow_admin;
PURLIN_SCHEMA(mlflow_admin, "Whether somebody administers",
    PURLIN_REQUIRED(username, "The login name", USERNAME_RULE),
    PURLIN_REQUIRED(is_admin, "Whether they own the workspace"));

MLFLOW_BINDING(update_admin, mlflow_admin, purlin_nothing, "PATCH /api/2.0/mlflow/users/update-admin",
               "access.grant_role") {
  granted_roles found = {0};
  purlin_status status = user_exists(ctx, in->username);
  if (status == PURLIN_OK) status = permission_roles(ctx, in->username, (permission_place){0}, "owner", &found);
  if (status != PURLIN_OK || in->is_admin == (found.grants.count > 0)) return status;
  return in->is_admin ? permission_grant(ctx, in->username, (permission_place){0}, "owner")
                      : permission_revoke(ctx, &found);
}

/* A name is nobody else's later: runs and versions tell who made them. So nothing lets them in any more, and that is all. */
MLFLOW_BINDING(delete_user, mlflow_username, purlin_nothing, "DELETE /api/2.0/mlflow/users/delete",
               "accounts.disable_user") {
  account found = {0};
  purlin_status status = find_account(ctx, in->username, &found);
  if (status != PURLIN_OK) return status;
  status = purlin_call(ctx, "accounts.disable_user", account_name_schema(), &(account_name){in->username}, account_schema(),
                       &found);
  return status == PURLIN_CONFLICT ? purlin_fail(ctx, PURLIN_INVALID, "%s", purlin_failure(ctx)) : status;
}
