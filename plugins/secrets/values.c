#include "secrets.h"

PURLIN_SEALED(secrets_values, "workspace, name", "sealed");

#define COLUMNS "name, LOWER(HEX(SUBSTRING(sealed, 2, 8))) AS `key`, created_at, created_by, updated_at, updated_by"

static const char PUT[] =
    "INSERT INTO secrets_values (workspace, name, sealed, created_at, created_by, updated_at, updated_by)"
    " VALUES (?, ?, ?, NOW(6), ?, NOW(6), ?)"
    " ON DUPLICATE KEY UPDATE sealed = VALUES(sealed), updated_at = VALUES(updated_at), updated_by = VALUES(updated_by)";
static const char SELECT_ONE[] = "SELECT " COLUMNS " FROM secrets_values WHERE workspace = ? AND name = ?";
static const char SELECT_PAGE[] =
    "SELECT " COLUMNS ", last_used_at FROM secrets_values WHERE workspace = ? AND name > ? ORDER BY name LIMIT ?";
static const char DELETE[] = "DELETE FROM secrets_values WHERE workspace = ? AND name = ?";

static const char COUNT[] = "SELECT COUNT(*) AS secrets FROM secrets_values WHERE workspace = ?";

const char *secrets_sealed_as(purlin_ctx *ctx, const char *workspace, const char *name) {
  return purlin_seal_name(ctx, "secrets_values", 2, (const char *[]){workspace, name});
}

typedef struct secret {
  const char *name, *key;
  purlin_time created_at;
  const char *created_by;
  purlin_time updated_at;
  const char *updated_by;
  purlin_time last_used_at;
} secret;
PURLIN_SCHEMA(secret, "A secret of the workspace, without its value",
    PURLIN_REQUIRED(name, "Its name"),
    PURLIN_REQUIRED(key, "The id of the key that it is sealed with"),
    PURLIN_REQUIRED(created_at, "When it was made"),
    PURLIN_REQUIRED(created_by, "By whom"),
    PURLIN_REQUIRED(updated_at, "Since when it has its value"),
    PURLIN_REQUIRED(updated_by, "Who set that"),
    PURLIN_OPTIONAL(last_used_at, "In the list: when something asked for the value last, some seconds late"));

typedef struct secret_name {
  const char *name;
} secret_name;
PURLIN_SCHEMA(secret_name, "Which secret", PURLIN_REQUIRED(name, "Its name", .max_length = 64));

static purlin_status find(purlin_ctx *ctx, const char *name, secret *out) {
  purlin_status status = purlin_db_row(ctx, secret, out, SELECT_ONE, purlin_workspace(ctx), name);
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "there is no secret named '%s'", name) : status;
}

PURLIN_OPERATION(get, secret_name, secret,
    .summary = "What is known of a secret; nobody is told its value", .permission = "secrets:read",
    .http = "GET /api/v1/secrets/{name}") {
  return find(ctx, in->name, out);
}

typedef struct put_in {
  const char *name, *value;
} put_in;
PURLIN_SCHEMA(put_in, "A secret to keep",
    PURLIN_REQUIRED(name, "Unique in the workspace", .min_length = 1, SECRET_NAME),
    PURLIN_REQUIRED(value, "The value: never told, logged or audited", .min_length = 1, .max_length = 65536, .secret = true));

typedef struct count_row {
  int64_t secrets;
} count_row;
PURLIN_SCHEMA(count_row, "How many there are", PURLIN_REQUIRED(secrets, "Rows"));

/* With the new one. Those that are kept at the same moment do not see each other, so it may be some more. */
static purlin_status check_count(purlin_ctx *ctx) {
  count_row row;
  purlin_status status = purlin_db_row(ctx, count_row, &row, COUNT, purlin_workspace(ctx));
  if (status != PURLIN_OK || row.secrets <= SECRETS_MOST) return status;
  return purlin_fail(ctx, PURLIN_TOO_MANY, "the workspace has %d secrets already, which is all that it may have",
                     SECRETS_MOST);
}

PURLIN_OPERATION(put, put_in, secret,
    .summary = "Keep a secret, in place of one of the same name", .permission = "secrets:write", .effect = PURLIN_CHANGES, .object = "get",
    .http = "PUT /api/v1/secrets/{name}") {
  purlin_bytes sealed;
  const char *of = secrets_sealed_as(ctx, purlin_workspace(ctx), in->name);
  if (!of) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_seal(ctx, of, in->value, strlen(in->value), &sealed);
  if (status != PURLIN_OK) return status;
  status = purlin_db_run(ctx, PUT, purlin_workspace(ctx), in->name, sealed, purlin_actor(ctx), purlin_actor(ctx));
  bool made = status == PURLIN_OK && purlin_affected(ctx) == 1; /* 2: it was there */
  if (made) status = check_count(ctx);
  return status == PURLIN_OK ? find(ctx, in->name, out) : status;
}

PURLIN_OPERATION(delete, secret_name, purlin_nothing,
    .summary = "Forget a secret", .permission = "secrets:write", .effect = PURLIN_CHANGES, .object = "get",
    .http = "DELETE /api/v1/secrets/{name}") {
  purlin_status status = purlin_db_run(ctx, DELETE, purlin_workspace(ctx), in->name);
  if (status != PURLIN_OK || purlin_affected(ctx) > 0) return status;
  return purlin_fail(ctx, PURLIN_NOT_FOUND, "there is no secret named '%s'", in->name);
}

typedef struct page_in {
  const char *after;
  int64_t limit;
} page_in;
PURLIN_SCHEMA(page_in, "Which secrets",
    PURLIN_DEFAULT(after, "\"\"", "Names behind this one: the last of the page before", .max_length = 64),
    PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = 1000));

typedef struct secret_page {
  PURLIN_LIST_OF(secret) secrets;
} secret_page;
PURLIN_SCHEMA(secret_page, "Secrets, by name", PURLIN_LIST(secrets, secret, "Without their values"));

PURLIN_OPERATION(list, page_in, secret_page,
    .summary = "The secrets of the workspace; nobody is told their values", .permission = "secrets:read",
    .http = "GET /api/v1/secrets") {
  return purlin_db_list(ctx, secret, &out->secrets, SELECT_PAGE, purlin_workspace(ctx), in->after, in->limit);
}
