#include "webhooks.h"
#include <string.h>

PURLIN_SEALED(webhooks_hooks, "id", "sealed");

enum { LONGEST_NAME = 63 };

#define COLUMNS                                                                                                                  \
  "id, name, description, url, events, IF(active, 'active', 'disabled') AS status, sealed IS NOT NULL AS is_signed, created_at," \
  " created_by, updated_at"

static const char INSERT[] =
    "INSERT INTO webhooks_hooks (id, workspace, name, description, url, events, active, sealed, created_at, created_by, updated_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, NOW(6), ?, NOW(6))";
static const char SELECT_ONE[] = "SELECT " COLUMNS " FROM webhooks_hooks WHERE workspace = ? AND id = ?";
static const char SELECT_ALL[] =
    "SELECT " COLUMNS " FROM webhooks_hooks WHERE workspace = ? ORDER BY created_at DESC, id DESC LIMIT ?";
static const char SELECT_TARGET[] = "SELECT id, url, active, sealed FROM webhooks_hooks WHERE workspace = ? AND id = ?";
static const char COUNT[] = "SELECT COUNT(*) AS hooks FROM webhooks_hooks WHERE workspace = ?";
/* What is NULL stays as it is. */
static const char UPDATE[] =
    "UPDATE webhooks_hooks SET name = COALESCE(?, name), description = IF(?, ?, description), url = COALESCE(?, url),"
    " events = COALESCE(?, events), active = COALESCE(?, active), updated_at = NOW(6)"
    " WHERE workspace = ? AND id = ?";
static const char SEAL[] = "UPDATE webhooks_hooks SET sealed = ? WHERE workspace = ? AND id = ?";
static const char DELETE_DELIVERIES[] = "DELETE FROM webhooks_deliveries WHERE workspace = ? AND hook_id = ?";
static const char DELETE[] = "DELETE FROM webhooks_hooks WHERE workspace = ? AND id = ?";
static const char SELECT_DELIVERIES[] =
    "SELECT id, event, state, attempts, answered, error, created_at, ended_at FROM webhooks_deliveries"
    " WHERE workspace = ? AND hook_id = ? ORDER BY created_at DESC, id DESC LIMIT 200";

const char *webhook_sealed_as(purlin_ctx *ctx, const char *id) {
  return purlin_seal_name(ctx, "webhooks_hooks", 1, (const char *[]){id});
}

static purlin_status not_found(purlin_ctx *ctx, purlin_status status, const char *id) {
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "Webhook with ID %s not found.", id) : status;
}

static purlin_status find(purlin_ctx *ctx, const char *id, webhook *out) {
  return not_found(ctx, purlin_db_row(ctx, webhook, out, SELECT_ONE, purlin_workspace(ctx), id), id);
}

/* ---- Rules -------------------------------------------------------------------------------------------------------------------------------- */

static purlin_status check_events(purlin_ctx *ctx, purlin_texts events) {
  if (events.count == 0) return purlin_fail(ctx, PURLIN_INVALID, "Webhook events must be a non-empty list of events.");
  for (size_t i = 0; i < events.count; i++)
    if (!webhook_example(events.items[i]))
      return purlin_fail(ctx, PURLIN_INVALID, "Invalid event '%.100s'. Valid events are: " WEBHOOK_EVENTS, events.items[i]);
  return PURLIN_OK;
}

static bool is_alphanumeric(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

static purlin_status check_name(purlin_ctx *ctx, const char *name) {
  size_t size = strlen(name);
  bool fine = size <= LONGEST_NAME && is_alphanumeric(name[0]) && is_alphanumeric(name[size - 1]);
  for (const char *at = name; *at && fine; at++) fine = is_alphanumeric(*at) || strchr("._-", *at);
  if (fine) return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_INVALID,
                     "Webhook name '%.100s' is invalid. It must start and end with a letter or digit, have at most %d"
                     " characters, and contain only letters, digits, dots (.), underscores (_), and hyphens (-).",
                     name, LONGEST_NAME);
}

static const char *scheme_of(purlin_ctx *ctx, const char *url) {
  size_t size = strcspn(url, ":/?# ");
  const char *scheme = url[size] == ':' ? purlin_copy_bytes(ctx, url, size) : "";
  return scheme ? scheme : "";
}

/* Which networks may be called is judged when it is called. */
static purlin_status check_url(purlin_ctx *ctx, const char *url) {
  const char *host = strncmp(url, "https://", 8) == 0 ? url + 8 : strncmp(url, "http://", 7) == 0 ? url + 7 : NULL;
  if (!host)
    return purlin_fail(ctx, PURLIN_INVALID, "Invalid webhook URL scheme: '%.20s'. Allowed schemes are: https, http.",
                       scheme_of(ctx, url));
  if (!*host || *host == '/' || *host == ':' || *host == '?' || *host == '#')
    return purlin_fail(ctx, PURLIN_INVALID, "Webhook URL must include a hostname: '%.100s'", url);
  for (const char *at = url; *at; at++)
    if ((unsigned char)*at <= 0x20 || *at == 0x7f || *at == '\\')
      return purlin_fail(ctx, PURLIN_INVALID, "Invalid webhook URL: it has spaces or control characters");
  size_t authority = strcspn(host, "/?#");
  if (memchr(host, '@', authority)) return purlin_fail(ctx, PURLIN_INVALID, "Invalid webhook URL: it names a user");
  return PURLIN_OK;
}

/* ---- Made, read, changed, deleted ------------------------------------------------------------------------------------------------------------ */

typedef struct count_row {
  int64_t hooks;
} count_row;
PURLIN_SCHEMA(count_row, "How many there are", PURLIN_REQUIRED(hooks, "rows"));

static purlin_status check_count(purlin_ctx *ctx) {
  count_row row;
  purlin_status status = purlin_db_row(ctx, count_row, &row, COUNT, purlin_workspace(ctx));
  if (status != PURLIN_OK || row.hooks < WEBHOOKS_MOST) return status;
  return purlin_fail(ctx, PURLIN_TOO_MANY, "the workspace has %d webhooks already, which is all that it may have",
                     WEBHOOKS_MOST);
}

/* No secret, or an empty one, is none. */
static purlin_status seal(purlin_ctx *ctx, const char *id, purlin_opt_text secret, purlin_bytes *sealed) {
  *sealed = (purlin_bytes){0};
  if (secret.state != PURLIN_SET || !*secret.value) return PURLIN_OK;
  const char *of = webhook_sealed_as(ctx, id);
  return of ? purlin_seal(ctx, of, secret.value, strlen(secret.value), sealed) : PURLIN_TOO_LARGE;
}

PURLIN_OPERATION(create, webhook_create, webhook,
    .summary = "Tell an address of events", .permission = "webhooks:write", .effect = PURLIN_CREATES, .http = "POST /api/v1/webhooks") {
  purlin_bytes sealed;
  const char *id = purlin_new_id(ctx, "whk"), *events = purlin_list_json(ctx, in->events);
  if (!id || !events) return PURLIN_TOO_LARGE;
  purlin_status status = check_name(ctx, in->name);
  if (status == PURLIN_OK) status = check_events(ctx, in->events);
  if (status == PURLIN_OK) status = check_url(ctx, in->url);
  if (status == PURLIN_OK) status = check_count(ctx);
  if (status == PURLIN_OK) status = seal(ctx, id, in->secret, &sealed);
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx, INSERT, id, purlin_workspace(ctx), in->name, in->description, in->url, events,
                           strcmp(in->status, "active") == 0, sealed, purlin_actor(ctx));
  return status == PURLIN_OK ? find(ctx, id, out) : status;
}

PURLIN_OPERATION(get, webhook_which, webhook,
    .summary = "A webhook; nobody is told its secret", .permission = "webhooks:write", .http = "GET /api/v1/webhooks/{id}") {
  return find(ctx, in->id, out);
}

PURLIN_OPERATION(list, purlin_nothing, webhook_list,
    .summary = "The webhooks of the workspace", .permission = "webhooks:write", .http = "GET /api/v1/webhooks") {
  return purlin_db_list(ctx, webhook, &out->webhooks, SELECT_ALL, purlin_workspace(ctx), (int)WEBHOOKS_MOST);
}

PURLIN_OPERATION(update, webhook_update, webhook,
    .summary = "Change a webhook", .permission = "webhooks:write", .effect = PURLIN_CHANGES, .object = "get", .http = "PATCH /api/v1/webhooks/{id}") {
  webhook there;
  purlin_bytes sealed;
  const char *events = in->events.items ? purlin_list_json(ctx, in->events) : NULL;
  purlin_opt_bool active = {in->status.state, in->status.state == PURLIN_SET && strcmp(in->status.value, "active") == 0};
  bool described = in->description.state == PURLIN_SET;
  purlin_status status = find(ctx, in->id, &there);
  if (status == PURLIN_OK && in->name.state == PURLIN_SET) status = check_name(ctx, in->name.value);
  if (status == PURLIN_OK && in->events.items) status = check_events(ctx, in->events);
  if (status == PURLIN_OK && in->url.state == PURLIN_SET) status = check_url(ctx, in->url.value);
  if (status == PURLIN_OK) status = seal(ctx, in->id, in->secret, &sealed);
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx, UPDATE, in->name, described, in->description, in->url, events, active,
                           purlin_workspace(ctx), in->id);
  if (status == PURLIN_OK && in->secret.state == PURLIN_SET)
    status = purlin_db_run(ctx, SEAL, sealed, purlin_workspace(ctx), in->id);
  return status == PURLIN_OK ? find(ctx, in->id, out) : status;
}

PURLIN_OPERATION(delete, webhook_which, purlin_nothing,
    .summary = "Tell an address nothing any more", .permission = "webhooks:write", .effect = PURLIN_CHANGES, .object = "get",
    .http = "DELETE /api/v1/webhooks/{id}") {
  webhook there;
  purlin_status status = find(ctx, in->id, &there);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, DELETE_DELIVERIES, purlin_workspace(ctx), in->id);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, DELETE, purlin_workspace(ctx), in->id);
  return status;
}

/* ---- What it has heard ------------------------------------------------------------------------------------------------------------------------- */

PURLIN_OPERATION(list_deliveries, webhook_which, webhook_deliveries,
    .summary = "What a webhook was told, and whether it has heard", .permission = "webhooks:write", .http = "GET /api/v1/webhooks/{id}/deliveries") {
  webhook there;
  purlin_status status = find(ctx, in->id, &there);
  if (status != PURLIN_OK) return status;
  return purlin_db_list(ctx, webhook_delivery, &out->deliveries, SELECT_DELIVERIES, purlin_workspace(ctx), in->id);
}

/* As much of an answer as is UTF-8 without NUL; the rest is nothing for JSON. */
static const char *shown(purlin_ctx *ctx, const purlin_http_answer *answer) {
  size_t size = answer->body_size < 4096 ? answer->body_size : 4096, to = 0;
  char *text = purlin_copy_bytes(ctx, answer->body, size);
  for (size_t i = 0; text && i < size; i++)
    if ((text[i] >= 0x20 && text[i] < 0x7f) || text[i] == '\n' || text[i] == '\t') text[to++] = text[i];
  if (text) text[to] = '\0';
  return text;
}

static purlin_status try_it(purlin_ctx *ctx, const webhook_target *to, const char *event, webhook_tried *out) {
  const char *example = webhook_example(event);
  purlin_http_answer answer = {0};
  purlin_json body;
  const char *id = purlin_new_id(ctx, "dlv");
  purlin_status status = id ? webhook_body(ctx, event, (purlin_json){example, strlen(example)}, &body) : PURLIN_TOO_LARGE;
  if (status != PURLIN_OK) return status;
  status = webhook_send(ctx, to, id, body, &answer);
  out->success = status == PURLIN_OK && webhook_was_heard(&answer);
  if (status == PURLIN_OK) {
    out->response_status = (purlin_opt_int){PURLIN_SET, answer.status};
    out->response_body = (purlin_opt_text){PURLIN_SET, shown(ctx, &answer)};
    return out->response_body.value ? PURLIN_OK : PURLIN_TOO_LARGE;
  }
  out->error_message = (purlin_opt_text){PURLIN_SET, purlin_format(ctx, "Failed to test webhook: %s", purlin_failure(ctx))};
  purlin_clear_failure(ctx);
  return out->error_message.value ? PURLIN_OK : PURLIN_TOO_LARGE;
}

PURLIN_OPERATION(test, webhook_test, webhook_tried,
    .summary = "Send an example to a webhook now", .permission = "webhooks:write", .http = "POST /api/v1/webhooks/{id}/test", .timeout_ms = 40000) {
  webhook there;
  webhook_target to;
  purlin_status status = find(ctx, in->id, &there);
  const char *event = status == PURLIN_OK && there.events.count > 0 ? there.events.items[0] : "";
  if (in->event.state == PURLIN_SET) event = in->event.value;
  if (status == PURLIN_OK && !webhook_example(event))
    status = purlin_fail(ctx, PURLIN_INVALID, "Invalid event '%.100s'. Valid events are: " WEBHOOK_EVENTS, event);
  if (status == PURLIN_OK)
    status = not_found(ctx, purlin_db_row(ctx, webhook_target, &to, SELECT_TARGET, purlin_workspace(ctx), in->id), in->id);
  return status == PURLIN_OK ? try_it(ctx, &to, event, out) : status;
}
