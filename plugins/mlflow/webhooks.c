#include <purlin/contracts/webhooks.h>
#include "mlflow.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

PURLIN_NEEDS_PLUGIN(webhooks, "webhooks");

/* ---- As the protocol tells of them ------------------------------------------------------------------------------------------------------------ */

typedef struct webhook_event {
  const char *entity, *action;
} webhook_event;
PURLIN_SCHEMA(webhook_event, "An event",
    PURLIN_REQUIRED(entity, "REGISTERED_MODEL, MODEL_VERSION, ...", .pattern = "[A-Z_]+", .max_length = 40),
    PURLIN_REQUIRED(action, "CREATED, SET, DELETED", .pattern = "[A-Z_]+", .max_length = 20));

typedef struct told_webhook {
  const char *webhook_id, *name;
  purlin_opt_text description;
  const char *url;
  PURLIN_LIST_OF(webhook_event) events;
  const char *status;
  int64_t creation_timestamp, last_updated_timestamp;
} told_webhook;
PURLIN_SCHEMA(told_webhook, "A webhook",
    PURLIN_REQUIRED(webhook_id, "Its id"),
    PURLIN_REQUIRED(name, "Its name"),
    PURLIN_OPTIONAL(description, "What it is for"),
    PURLIN_REQUIRED(url, "Its address"),
    PURLIN_LIST(events, webhook_event, "What it hears of"),
    PURLIN_REQUIRED(status, "ACTIVE or DISABLED"),
    PURLIN_REQUIRED(creation_timestamp, "Since when, in milliseconds since 1970"),
    PURLIN_REQUIRED(last_updated_timestamp, "When it was changed last"));

typedef struct webhook_answer {
  told_webhook webhook;
} webhook_answer;
PURLIN_SCHEMA(webhook_answer, "A webhook", PURLIN_OBJECT(webhook, told_webhook, "The webhook"));

static const char *in_case(purlin_ctx *ctx, const char *text, size_t size, int (*change)(int)) {
  char *copy = purlin_copy_bytes(ctx, text, size);
  for (char *at = copy; at && *at; at++) *at = (char)change((unsigned char)*at);
  return copy;
}

/* "model_version.created" is {"entity": "MODEL_VERSION", "action": "CREATED"}. */
static purlin_status tell_event(purlin_ctx *ctx, const char *from, webhook_event *to) {
  size_t size = strcspn(from, ".");
  const char *action = from[size] ? from + size + 1 : "";
  *to = (webhook_event){in_case(ctx, from, size, toupper), in_case(ctx, action, strlen(action), toupper)};
  return to->entity && to->action ? PURLIN_OK : PURLIN_TOO_LARGE;
}

static const char *event_name(purlin_ctx *ctx, const webhook_event *event) {
  const char *name = purlin_format(ctx, "%s.%s", event->entity, event->action);
  return name ? in_case(ctx, name, strlen(name), tolower) : NULL;
}

static purlin_status tell(purlin_ctx *ctx, const webhook *from, told_webhook *to) {
  purlin_status status = PURLIN_OK;
  *to = (told_webhook){.webhook_id = from->id,
                       .name = from->name,
                       .description = mlflow_told(from->description),
                       .url = from->url,
                       .status = in_case(ctx, from->status, strlen(from->status), toupper),
                       .creation_timestamp = mlflow_ms(from->created_at),
                       .last_updated_timestamp = mlflow_ms(from->updated_at)};
  to->events.items = purlin_alloc_array(ctx, from->events.count + 1, sizeof *to->events.items);
  to->events.count = from->events.count;
  if (!to->events.items || !to->status) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < from->events.count && status == PURLIN_OK; i++)
    status = tell_event(ctx, from->events.items[i], &to->events.items[i]);
  return status;
}

static purlin_status event_names(purlin_ctx *ctx, const webhook_event *events, size_t count, purlin_texts *out) {
  const char **names = purlin_alloc_array(ctx, count + 1, sizeof *names);
  if (!names) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < count; i++)
    if (!(names[i] = event_name(ctx, &events[i]))) return PURLIN_TOO_LARGE;
  *out = (purlin_texts){names, count};
  return PURLIN_OK;
}

static const char *own_status(const char *status) { return strcmp(status, "DISABLED") == 0 ? "disabled" : "active"; }

/* ---- Made, read, changed, deleted ------------------------------------------------------------------------------------------------------------- */

typedef struct create_webhook_in {
  const char *name, *url;
  PURLIN_LIST_OF(webhook_event) events;
  purlin_opt_text description, secret;
  const char *status;
} create_webhook_in;
PURLIN_SCHEMA(create_webhook_in, "A webhook to make",
    PURLIN_REQUIRED(name, "Its name", .min_length = 1, .max_length = 1024),
    PURLIN_REQUIRED(url, "Its address", .min_length = 1, .max_length = 2048),
    PURLIN_LIST(events, webhook_event, "What it is to hear of", .max_length = 100),
    PURLIN_OPTIONAL(description, "What it is for", .max_length = 5000),
    PURLIN_OPTIONAL(secret, "What signs what is sent", .max_length = 1000, .secret = true),
    PURLIN_DEFAULT(status, "\"ACTIVE\"", "Whether it hears of anything yet", .choices = "ACTIVE, DISABLED"));

MLFLOW_BINDING(create_webhook, create_webhook_in, webhook_answer, "POST /api/2.0/mlflow/webhooks", "webhooks.create") {
  webhook_create ask = {.name = in->name,
                        .url = in->url,
                        .description = in->description,
                        .secret = in->secret,
                        .status = own_status(in->status)};
  webhook made = {0};
  purlin_status status = event_names(ctx, in->events.items, in->events.count, &ask.events);
  if (status == PURLIN_OK)
    status = purlin_call(ctx, "webhooks.create", webhook_create_schema(), &ask, webhook_schema(), &made);
  return status == PURLIN_OK ? tell(ctx, &made, &out->webhook) : status;
}

typedef struct list_webhooks_in {
  int64_t max_results;
  const char *page_token;
} list_webhooks_in;
PURLIN_SCHEMA(list_webhooks_in, "Which webhooks",
    PURLIN_DEFAULT(max_results, "100", "At most so many", .min = 1, .max = 1000),
    PURLIN_DEFAULT(page_token, "\"\"", "What came with the page before", .max_length = 9));
typedef struct webhooks_answer {
  PURLIN_LIST_OF(told_webhook) webhooks;
  const char *next_page_token;
} webhooks_answer;
PURLIN_SCHEMA(webhooks_answer, "Webhooks",
    PURLIN_LIST(webhooks, told_webhook, "The webhooks"),
    PURLIN_OPTIONAL(next_page_token, "Asks for the next page"));

/* There are so few that a token may be the number of those before. */
static purlin_status page_begin(purlin_ctx *ctx, const char *token, size_t *from) {
  char *end;
  *from = (size_t)strtoul(token, &end, 10);
  if (*token && (!isdigit((unsigned char)*token) || *end))
    return purlin_fail(ctx, PURLIN_INVALID, "Invalid page token, could not decode");
  return PURLIN_OK;
}

MLFLOW_BINDING(list_webhooks, list_webhooks_in, webhooks_answer, "GET /api/2.0/mlflow/webhooks", "webhooks.list") {
  webhook_list all = {0};
  size_t from;
  purlin_status status = page_begin(ctx, in->page_token, &from);
  if (status == PURLIN_OK)
    status = purlin_call(ctx, "webhooks.list", purlin_nothing_schema(), &(purlin_nothing){0}, webhook_list_schema(), &all);
  if (status != PURLIN_OK) return status;
  size_t left = from < all.webhooks.count ? all.webhooks.count - from : 0, most = (size_t)in->max_results;
  out->webhooks.count = left < most ? left : most;
  out->webhooks.items = purlin_alloc_array(ctx, out->webhooks.count + 1, sizeof *out->webhooks.items);
  if (!out->webhooks.items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < out->webhooks.count && status == PURLIN_OK; i++)
    status = tell(ctx, &all.webhooks.items[from + i], &out->webhooks.items[i]);
  if (left > most) out->next_page_token = purlin_format(ctx, "%zu", from + most);
  return status == PURLIN_OK && left > most && !out->next_page_token ? PURLIN_TOO_LARGE : status;
}

typedef struct which_hook {
  const char *webhook_id;
} which_hook;
PURLIN_SCHEMA(which_hook, "Which webhook", PURLIN_REQUIRED(webhook_id, "Its id", .max_length = 64));

MLFLOW_BINDING(get_webhook, which_hook, webhook_answer, "GET /api/2.0/mlflow/webhooks/{webhook_id}", "webhooks.get") {
  const webhook_which ask = {in->webhook_id};
  webhook found = {0};
  purlin_status status = purlin_call(ctx, "webhooks.get", webhook_which_schema(), &ask, webhook_schema(), &found);
  return status == PURLIN_OK ? tell(ctx, &found, &out->webhook) : status;
}

typedef struct update_webhook_in {
  const char *webhook_id;
  purlin_opt_text name, url, description, secret, status;
  PURLIN_LIST_OF(webhook_event) events;
} update_webhook_in;
PURLIN_SCHEMA(update_webhook_in, "What is to change",
    PURLIN_REQUIRED(webhook_id, "The webhook", .max_length = 64),
    PURLIN_OPTIONAL(name, "Its name", .max_length = 1024),
    PURLIN_OPTIONAL(url, "Its address", .max_length = 2048),
    PURLIN_OPTIONAL(description, "What it is for", .max_length = 5000),
    PURLIN_OPTIONAL(secret, "What signs what is sent", .max_length = 1000, .secret = true),
    PURLIN_OPTIONAL(status, "Whether it hears of anything", .choices = "ACTIVE, DISABLED"),
    PURLIN_LIST(events, webhook_event, "What it is to hear of", .max_length = 100));

MLFLOW_BINDING(update_webhook, update_webhook_in, webhook_answer, "PATCH /api/2.0/mlflow/webhooks/{webhook_id}",
               "webhooks.update") {
  webhook_update ask = {.id = in->webhook_id,
                        .name = mlflow_meant(in->name),
                        .url = mlflow_meant(in->url),
                        .description = in->description,
                        .secret = in->secret};
  webhook changed = {0};
  purlin_status status = PURLIN_OK;
  if (in->status.state == PURLIN_SET) ask.status = (purlin_opt_text){PURLIN_SET, own_status(in->status.value)};
  if (in->events.count > 0) status = event_names(ctx, in->events.items, in->events.count, &ask.events);
  if (status == PURLIN_OK)
    status = purlin_call(ctx, "webhooks.update", webhook_update_schema(), &ask, webhook_schema(), &changed);
  return status == PURLIN_OK ? tell(ctx, &changed, &out->webhook) : status;
}

MLFLOW_BINDING(delete_webhook, which_hook, purlin_nothing, "DELETE /api/2.0/mlflow/webhooks/{webhook_id}",
               "webhooks.delete") {
  const webhook_which ask = {in->webhook_id};
  return purlin_call(ctx, "webhooks.delete", webhook_which_schema(), &ask, purlin_nothing_schema(), out);
}

/* ---- Tried ---------------------------------------------------------------------------------------------------------------------------------------- */

typedef struct test_webhook_in {
  const char *webhook_id;
  purlin_json event;
} test_webhook_in;
PURLIN_SCHEMA(test_webhook_in, "What to try",
    PURLIN_REQUIRED(webhook_id, "The webhook", .max_length = 64),
    PURLIN_OPTIONAL(event, "An event, as in the webhook", .max_length = 1000));

typedef struct test_answer {
  webhook_tried result;
} test_answer;
PURLIN_SCHEMA(test_answer, "What came of it", PURLIN_OBJECT(result, webhook_tried, "The result"));

MLFLOW_BINDING(test_webhook, test_webhook_in, test_answer, "POST /api/2.0/mlflow/webhooks/{webhook_id}/test",
               "webhooks.test") {
  webhook_test ask = {.id = in->webhook_id};
  webhook_event event = {0};
  purlin_status status = PURLIN_OK;
  if (in->event.text && in->event.text[0] == '{') {
    status = purlin_decode_stored(ctx, webhook_event_schema(), in->event.text, in->event.size, &event);
    ask.event = (purlin_opt_text){PURLIN_SET, status == PURLIN_OK ? event_name(ctx, &event) : NULL};
    if (status == PURLIN_OK && !ask.event.value) return PURLIN_TOO_LARGE;
  }
  return status == PURLIN_OK
             ? purlin_call(ctx, "webhooks.test", webhook_test_schema(), &ask, webhook_tried_schema(), &out->result)
             : status;
}
