/* device.c: the device flow (RFC 8628) for `purlin login --sso`. The provider's device code stays here, sealed; the terminal polls us with
 * a handle of its own, and we poll the provider, no sooner than it allows. */
#include "exchange.h"
#include "network.h"
#include "people.h"
#include <math.h>
#include <string.h>

enum { LONGEST_S = 1800, INTERVAL_S = 5, SLOW_DOWN_S = 5, LONGEST_INTERVAL_S = 60, MOST_OPEN = 50, LARGEST_BODY = 4096 };

static const char INSERT_DEVICE[] =
    "INSERT INTO auth_oidc_devices (handle, sealed, interval_s, next_at, address, expires_at)"
    " SELECT ?, ?, ?, NOW(6) + INTERVAL ? SECOND, ?, NOW(6) + INTERVAL ? SECOND FROM DUAL WHERE"
    " (SELECT COUNT(*) FROM auth_oidc_devices d WHERE d.address = ? AND d.expires_at > NOW(6)) < ?";
static const char COUNT_OPEN[] =
    "SELECT COUNT(*) AS logins FROM auth_oidc_devices WHERE address = ? AND expires_at > NOW(6)";
static const char SELECT_DEVICE[] =
    "SELECT sealed, interval_s, CAST(CEIL(GREATEST(0, TIMESTAMPDIFF(MICROSECOND, NOW(6), next_at)) / 1000000) AS INTEGER) AS wait_s"
    " FROM auth_oidc_devices WHERE handle = ? AND expires_at > NOW(6)";
/* One of those who poll at once goes on. */
static const char TAKE_TURN[] =
    "UPDATE auth_oidc_devices SET next_at = NOW(6) + INTERVAL interval_s SECOND WHERE handle = ? AND next_at <= NOW(6)";
static const char SLOW_DOWN[] =
    "UPDATE auth_oidc_devices SET interval_s = LEAST(interval_s + ?, ?), next_at = NOW(6) + INTERVAL interval_s SECOND WHERE handle = ?";
static const char DELETE_DEVICE[] = "DELETE FROM auth_oidc_devices WHERE handle = ?";

typedef struct device_row {
  purlin_bytes sealed;
  int64_t interval_s, wait_s;
} device_row;
PURLIN_SCHEMA(device_row, "A login at a terminal",
    PURLIN_REQUIRED(sealed, "the device code", .secret = true), PURLIN_REQUIRED(interval_s, "between polls"),
    PURLIN_REQUIRED(wait_s, "until the next poll"));

typedef struct open_row {
  int64_t logins;
} open_row;
PURLIN_SCHEMA(open_row, "What was begun from an address", PURLIN_REQUIRED(logins, "and not ended"));

typedef struct device_begun {
  const char *handle, *user_code, *verification_uri;
  purlin_opt_text verification_uri_complete;
  int64_t interval, expires_in;
} device_begun;
PURLIN_SCHEMA(device_begun, "A login that somebody ends in a browser, on any device",
    PURLIN_REQUIRED(handle, "To poll with"), PURLIN_REQUIRED(user_code, "What to type there"),
    PURLIN_REQUIRED(verification_uri, "Where"), PURLIN_OPTIONAL(verification_uri_complete, "Both in one"),
    PURLIN_REQUIRED(interval, "Seconds between polls, at least"), PURLIN_REQUIRED(expires_in, "Seconds until it is too late"));

typedef struct device_in {
  const char *handle;
} device_in;
PURLIN_SCHEMA(device_in, "Which login", PURLIN_REQUIRED(handle, "As it was given", .max_length = 100, .secret = true));

typedef struct device_pending {
  int64_t interval;
} device_pending;
PURLIN_SCHEMA(device_pending, "Not yet", PURLIN_REQUIRED(interval, "Seconds until the next poll, at least"));

typedef struct device_tokens {
  const char *access_token, *token_type;
  int64_t expires_in;
  const char *refresh_token, *session, *name;
} device_tokens;
PURLIN_SCHEMA(device_tokens, "The tokens of a session",
    PURLIN_REQUIRED(access_token, "Send it as 'Authorization: Bearer ...'"), PURLIN_REQUIRED(token_type, "Bearer"),
    PURLIN_REQUIRED(expires_in, "Seconds until it is taken no more"),
    PURLIN_REQUIRED(refresh_token, "For POST /api/v1/accounts/refresh, once"),
    PURLIN_REQUIRED(session, "The id of the session"), PURLIN_REQUIRED(name, "Whose it is"));

/* ---- Beginning --------------------------------------------------------------------------------------------------------------------------- */

/* A number of seconds that the provider said, within bounds. */
static int64_t seconds(purlin_opt_double said, int64_t otherwise, int64_t least, int64_t most) {
  if (said.state != PURLIN_SET || !isfinite(said.value)) return otherwise;
  if (said.value < (double)least) return least;
  return said.value > (double)most ? most : (int64_t)said.value;
}

static const char *seal_name(purlin_ctx *ctx, const char *handle_hash) {
  return purlin_seal_name(ctx, "auth_oidc_devices", 1, &handle_hash);
}

static purlin_status too_many(purlin_ctx *ctx) {
  purlin_retry_after(ctx, INTERVAL_S);
  return purlin_fail(ctx, PURLIN_TOO_MANY, "too many logins were begun from this address and not ended");
}

/* Before the provider is asked: whoever may not begin one must not make us ask. */
static purlin_status may_begin(purlin_ctx *ctx, const char *address) {
  open_row row;
  purlin_status status = purlin_db_row(ctx, open_row, &row, COUNT_OPEN, address);
  return status == PURLIN_OK && row.logins >= MOST_OPEN ? too_many(ctx) : status;
}

static purlin_status keep(purlin_ctx *ctx, const char *address, const char *device_code, device_begun *begun) {
  char hash[65];
  purlin_bytes sealed;
  begun->handle = purlin_new_secret(ctx, "device");
  if (!begun->handle) return PURLIN_TOO_LARGE;
  purlin_sha256(begun->handle, strlen(begun->handle), hash);
  const char *of = seal_name(ctx, hash);
  if (!of) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_seal(ctx, of, device_code, strlen(device_code), &sealed);
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx, INSERT_DEVICE, hash, sealed, begun->interval, begun->interval, address, begun->expires_in,
                           address, (int)MOST_OPEN);
  return status == PURLIN_OK && purlin_affected(ctx) == 0 ? too_many(ctx) : status;
}

static purlin_status ask_for_code(purlin_ctx *ctx, const provider_metadata *provider, exchange_answer *out) {
  const oidc_configuration *configured = purlin_configuration(ctx);
  const char *scope = "";
  for (size_t i = 0; scope && i < configured->scopes.count; i++)
    scope = purlin_format(ctx, "%s%s%s", scope, i ? " " : "", configured->scopes.items[i]);
  if (!scope) return PURLIN_TOO_LARGE;
  if (!provider->device_authorization_endpoint)
    return purlin_fail(ctx, PURLIN_NOT_FOUND, "the provider lets nobody in at a terminal (device_authorization_endpoint)");
  const char *const pairs[] = {"client_id", configured->client_id, "scope", scope, NULL};
  purlin_status status = exchange_post(ctx, provider->device_authorization_endpoint, pairs, out);
  if (status != PURLIN_OK) return status;
  if (out->error) return purlin_fail(ctx, PURLIN_BAD_UPSTREAM, "the provider gives no device code: %s", out->error);
  if (!out->device_code || !out->user_code || !out->verification_uri || !rules_is_endpoint(out->verification_uri))
    return purlin_fail(ctx, PURLIN_BAD_UPSTREAM, "the provider's device code is none");
  return PURLIN_OK;
}

PURLIN_ROUTE(device, "POST /api/v1/oidc/device",
    .summary = "Begin a login by single sign-on at a terminal", .permission = "public", .out = device_begun_schema) {
  const oidc_configuration *configured;
  provider_metadata provider;
  exchange_answer answer;
  char address[NETWORK_ROOM];
  network_of(purlin_address(request), address);
  purlin_status status = oidc_configured(ctx, &configured);
  if (status == PURLIN_OK) status = may_begin(ctx, address);
  if (status == PURLIN_OK) status = provider_get(ctx, &provider);
  if (status == PURLIN_OK) status = ask_for_code(ctx, &provider, &answer);
  if (status != PURLIN_OK) return status;
  device_begun begun = {.user_code = answer.user_code,
                        .verification_uri = answer.verification_uri,
                        .interval = seconds(answer.interval, INTERVAL_S, 1, LONGEST_INTERVAL_S),
                        .expires_in = seconds(answer.expires_in, LONGEST_S / 3, 1, LONGEST_S)};
  if (answer.verification_uri_complete && rules_is_endpoint(answer.verification_uri_complete))
    begun.verification_uri_complete = (purlin_opt_text){PURLIN_SET, answer.verification_uri_complete};
  status = keep(ctx, address, answer.device_code, &begun);
  if (status == PURLIN_OK) status = purlin_set_header(ctx, request, "Cache-Control", "no-store");
  return status == PURLIN_OK ? purlin_respond(ctx, request, 200, device_begun_schema(), &begun) : status;
}

/* ---- Polling ----------------------------------------------------------------------------------------------------------------------------- */

static purlin_status too_late(purlin_ctx *ctx) {
  return purlin_fail(ctx, PURLIN_NOT_FOUND, "there is no such login, or it is too late, or it was ended: begin again");
}

static purlin_status pending(purlin_ctx *ctx, purlin_request *request, int64_t interval_s) {
  const device_pending value = {interval_s > 0 ? interval_s : 1};
  return purlin_respond(ctx, request, 202, device_pending_schema(), &value);
}

static purlin_status ask_provider(purlin_ctx *ctx, const provider_metadata *provider, const char *hash, purlin_bytes sealed,
                                  exchange_answer *out) {
  purlin_secret code;
  const char *of = seal_name(ctx, hash);
  if (!of) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_unseal(ctx, of, sealed, &code);
  if (status != PURLIN_OK) return status;
  const char *const pairs[] = {"grant_type", "urn:ietf:params:oauth:grant-type:device_code", "device_code", code.text,
                               NULL};
  status = exchange_post(ctx, provider->token_endpoint, pairs, out);
  purlin_secret_wipe(ctx, &code);
  return status;
}

/* The login is over either way: RFC 8628, 3.5. */
static purlin_status give_up(purlin_ctx *ctx, const char *hash, const char *error) {
  purlin_status status = purlin_db_run(ctx, DELETE_DEVICE, hash);
  if (status != PURLIN_OK) return status;
  if (strcmp(error, "access_denied") == 0)
    return oidc_refuse(ctx, "", "the provider was told, or says, that this is not to be");
  if (strcmp(error, "expired_token") == 0 || strcmp(error, "invalid_grant") == 0) return too_late(ctx);
  return purlin_fail(ctx, PURLIN_BAD_UPSTREAM, "the provider's token endpoint: %s", error);
}

/* Whoever deletes the row lets somebody in, once. */
static purlin_status let_in(purlin_ctx *ctx, purlin_request *request, const provider_metadata *provider, const char *hash,
                            const exchange_answer *answer) {
  purlin_person person;
  purlin_session_tokens tokens;
  const exchange_login login = {0};
  purlin_status status = purlin_db_run(ctx, DELETE_DEVICE, hash);
  if (status == PURLIN_OK && purlin_affected(ctx) == 0) status = too_late(ctx);
  if (status == PURLIN_OK) status = people_identify(ctx, provider, answer, &login, &person);
  const purlin_sessions *sessions = status == PURLIN_OK ? purlin_use(ctx, sessions, NULL) : NULL;
  if (status != PURLIN_OK || !sessions) return status != PURLIN_OK ? status : PURLIN_UNAVAILABLE;
  status = sessions->begin(ctx, request, DIRECTORY, &person, &tokens);
  if (status != PURLIN_OK) return status;
  const device_tokens out = {tokens.access_token,  tokens.token_type, tokens.expires_in,
                             tokens.refresh_token, tokens.session,    person.name};
  return purlin_respond(ctx, request, 200, device_tokens_schema(), &out);
}

static purlin_status poll(purlin_ctx *ctx, purlin_request *request, const char *hash) {
  device_row row;
  provider_metadata provider;
  exchange_answer answer;
  purlin_status status = purlin_db_row(ctx, device_row, &row, SELECT_DEVICE, hash);
  if (status == PURLIN_NOT_FOUND) return too_late(ctx);
  if (status == PURLIN_OK && row.wait_s > 0) return pending(ctx, request, row.wait_s);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, TAKE_TURN, hash);
  if (status == PURLIN_OK && purlin_affected(ctx) == 0) return pending(ctx, request, row.interval_s);
  if (status == PURLIN_OK) status = provider_get(ctx, &provider);
  if (status == PURLIN_OK) status = ask_provider(ctx, &provider, hash, row.sealed, &answer);
  if (status != PURLIN_OK) return status;
  if (!answer.error) return let_in(ctx, request, &provider, hash, &answer);
  if (strcmp(answer.error, "authorization_pending") == 0) return pending(ctx, request, row.interval_s);
  if (strcmp(answer.error, "slow_down") != 0) return give_up(ctx, hash, answer.error);
  status = purlin_db_run(ctx, SLOW_DOWN, (int)SLOW_DOWN_S, (int)LONGEST_INTERVAL_S, hash);
  return status == PURLIN_OK ? pending(ctx, request, row.interval_s + SLOW_DOWN_S) : status;
}

PURLIN_ROUTE(device_poll, "POST /api/v1/oidc/device/poll",
    .summary = "Ask whether a login at a terminal was ended in a browser", .permission = "public", .body = "application/json",
    .in = device_in_schema, .out = device_tokens_schema) {
  const oidc_configuration *configured;
  device_in in;
  const char *body;
  size_t size;
  char hash[65];
  purlin_status status = oidc_configured(ctx, &configured);
  if (status == PURLIN_OK) status = purlin_read_all(ctx, request, LARGEST_BODY, &body, &size);
  if (status == PURLIN_OK) status = purlin_decode(ctx, device_in_schema(), body, size, &in);
  if (status == PURLIN_OK) status = purlin_set_header(ctx, request, "Cache-Control", "no-store");
  if (status != PURLIN_OK) return status;
  purlin_sha256(in.handle, strlen(in.handle), hash);
  return poll(ctx, request, hash);
}
