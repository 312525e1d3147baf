#include "certificates.h"
#include "accounts.h"

#define CERTIFICATE_COLUMNS                                                                                                \
  "c.id, u.name AS user, c.subject, c.created_at, c.created_by FROM accounts_certificates c"                               \
  " JOIN accounts_users u ON u.id = c.user_id"
static const char INSERT_CERTIFICATE[] =
    "INSERT INTO accounts_certificates (id, user_id, subject, created_at, created_by) VALUES (?, ?, ?, NOW(6), ?)";
static const char SELECT_CERTIFICATE[] = "SELECT " CERTIFICATE_COLUMNS " WHERE c.id = ?";
static const char SELECT_PAGE[] = "SELECT " CERTIFICATE_COLUMNS " WHERE u.name = ? AND c.id > ? ORDER BY c.id LIMIT ?";
static const char DELETE_CERTIFICATE[] = "DELETE FROM accounts_certificates WHERE id = ?";
static const char SELECT_USER[] =
    "SELECT " STANDING_COLUMNS
    " FROM accounts_certificates c JOIN accounts_users u ON u.id = c.user_id WHERE c.subject = ?";

purlin_status certificates_user(purlin_ctx *ctx, const char *subject, standing *of) {
  return purlin_db_row(ctx, standing, of, SELECT_USER, subject);
}

typedef struct certificate {
  const char *id, *user, *subject;
  purlin_time created_at;
  const char *created_by;
} certificate;
PURLIN_SCHEMA(certificate, "A certificate that lets a user in",
    PURLIN_REQUIRED(id, "The id of this note of it"),
    PURLIN_REQUIRED(user, "Whom it lets in"),
    PURLIN_REQUIRED(subject, "Whom it is for"),
    PURLIN_REQUIRED(created_at, "Since when"),
    PURLIN_REQUIRED(created_by, "Who said so"));

/* ---- Noting ---------------------------------------------------------------------------------------------------------------------------- */

typedef struct add_certificate_in {
  const char *name, *subject;
} add_certificate_in;
PURLIN_SCHEMA(add_certificate_in, "Which certificate lets a user in",
    PURLIN_REQUIRED(name, "The user", .max_length = 64),
    PURLIN_REQUIRED(subject, "Whom it is for: its URI (\"spiffe://example.org/ana\"), else its e-mail address, else its subject (\"CN=ana,O=Acme\")", .min_length = 3, .max_length = 700));

PURLIN_OPERATION(add_certificate, add_certificate_in, certificate,
    .summary = "Let a user in by a client certificate", .permission = "users:write", .effect = PURLIN_CREATES,
    .http = "POST /api/v1/accounts/users/{name}/certificates",
    .description = "Of those that tls.client_ca vouches for. It opens until it is removed, ends, or the user is disabled.") {
  user of;
  const char *id = purlin_new_id(ctx, "crt");
  purlin_status status = accounts_require_home(ctx);
  if (status == PURLIN_OK) status = accounts_user(ctx, in->name, &of);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, INSERT_CERTIFICATE, id, of.id, in->subject, purlin_actor(ctx));
  if (status == PURLIN_CONFLICT) return purlin_fail(ctx, status, "this certificate lets somebody in already");
  return status == PURLIN_OK ? purlin_db_row(ctx, certificate, out, SELECT_CERTIFICATE, id) : status;
}

/* ---- Looking, and taking away ---------------------------------------------------------------------------------------------------------- */

typedef struct list_certificates_in {
  const char *name, *after;
  int64_t limit;
} list_certificates_in;
PURLIN_SCHEMA(list_certificates_in, "Of which user, and which page",
    PURLIN_REQUIRED(name, "The user", .max_length = 64),
    PURLIN_DEFAULT(after, "\"\"", "Ids after this one", .max_length = 64),
    PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = 1000));
typedef struct certificate_page {
  PURLIN_LIST_OF(certificate) certificates;
} certificate_page;
PURLIN_SCHEMA(certificate_page, "Certificates, by id", PURLIN_LIST(certificates, certificate, "The certificates"));

PURLIN_OPERATION(list_certificates, list_certificates_in, certificate_page,
    .summary = "The certificates that let a user in", .permission = "users:read", .http = "GET /api/v1/accounts/users/{name}/certificates") {
  user of;
  purlin_status status = accounts_require_home(ctx);
  if (status == PURLIN_OK) status = accounts_user(ctx, in->name, &of);
  if (status != PURLIN_OK) return status;
  return purlin_db_list(ctx, certificate, &out->certificates, SELECT_PAGE, in->name, in->after, in->limit);
}

typedef struct certificate_in {
  const char *id;
} certificate_in;
PURLIN_SCHEMA(certificate_in, "Which certificate", PURLIN_REQUIRED(id, "Its id", .max_length = 64));

static purlin_status find(purlin_ctx *ctx, const char *id, certificate *out) {
  purlin_status status = accounts_require_home(ctx);
  if (status == PURLIN_OK) status = purlin_db_row(ctx, certificate, out, SELECT_CERTIFICATE, id);
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "there is no certificate '%s'", id) : status;
}

PURLIN_OPERATION(get_certificate, certificate_in, certificate,
    .summary = "A certificate that lets a user in", .permission = "users:read", .http = "GET /api/v1/accounts/certificates/{id}") {
  return find(ctx, in->id, out);
}

PURLIN_OPERATION(remove_certificate, certificate_in, purlin_nothing,
    .summary = "Let nobody in by a certificate any more", .permission = "users:write", .effect = PURLIN_CHANGES,
    .object = "get_certificate", .http = "DELETE /api/v1/accounts/certificates/{id}") {
  certificate found;
  purlin_status status = find(ctx, in->id, &found);
  return status == PURLIN_OK ? purlin_db_run(ctx, DELETE_CERTIFICATE, in->id) : status;
}
