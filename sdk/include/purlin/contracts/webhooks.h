/* webhooks.h: what the operations of the plugin `webhooks` take and give, for those that call them from C.
 *
 *   webhook_which which = {.id = "whk_..."};
 *   webhook found = {0};
 *   status = purlin_call(ctx, "webhooks.get", webhook_which_schema(), &which, webhook_schema(), &found);
 *
 * Since 0.2. */
#ifndef PURLIN_CONTRACTS_WEBHOOKS_H
#define PURLIN_CONTRACTS_WEBHOOKS_H

#include <purlin/operation.h>

PURLIN_BEGIN

#define WEBHOOK_EVENTS                                                                                                     \
  "registered_model.created, model_version.created, model_version_tag.set, model_version_tag.deleted,"                     \
  " model_version_alias.created, model_version_alias.deleted, prompt.created, prompt_version.created, prompt_tag.set,"     \
  " prompt_tag.deleted, prompt_version_tag.set, prompt_version_tag.deleted, prompt_alias.created, prompt_alias.deleted"

/* webhooks.get; create and update answer one, too. Nobody is told a secret. */
typedef struct webhook {
  const char *id, *name;
  purlin_opt_text description;
  const char *url;
  purlin_texts events;
  const char *status;
  bool is_signed;
  purlin_time created_at;
  const char *created_by;
  purlin_time updated_at;
} webhook;
PURLIN_SCHEMA(webhook, "An address that hears of events",
    PURLIN_REQUIRED(id, "Its id"),
    PURLIN_REQUIRED(name, "A name for people"),
    PURLIN_OPTIONAL(description, "What it is for"),
    PURLIN_REQUIRED(url, "The address"),
    PURLIN_REQUIRED(events, "What it hears of"),
    PURLIN_REQUIRED(status, "Whether it hears of anything now", .choices = "active, disabled"),
    PURLIN_REQUIRED(is_signed, "Whether what it hears is signed with a secret"),
    PURLIN_REQUIRED(created_at, "Since when"),
    PURLIN_REQUIRED(created_by, "By whom"),
    PURLIN_REQUIRED(updated_at, "When it was changed last"));

typedef struct webhook_which {
  const char *id;
} webhook_which;
PURLIN_SCHEMA(webhook_which, "Which webhook", PURLIN_REQUIRED(id, "Its id", .max_length = 64));

/* webhooks.create */
typedef struct webhook_create {
  const char *name, *url;
  purlin_texts events;
  purlin_opt_text description, secret;
  const char *status;
} webhook_create;
PURLIN_SCHEMA(webhook_create, "An address that is to hear of events",
    PURLIN_REQUIRED(name, "A name for people", .min_length = 1, .max_length = 1000),
    PURLIN_REQUIRED(url, "The address", .min_length = 1, .max_length = 2048),
    PURLIN_REQUIRED(events, "What it is to hear of: " WEBHOOK_EVENTS, .max_length = 100),
    PURLIN_OPTIONAL(description, "What it is for", .max_length = 5000),
    PURLIN_OPTIONAL(secret, "Signs what is sent, so that the receiver knows whose it is", .max_length = 1000, .secret = true),
    PURLIN_DEFAULT(status, "\"active\"", "Whether it hears of anything yet", .choices = "active, disabled"));

/* webhooks.list: nothing is asked; there are few. */
typedef struct webhook_list {
  PURLIN_LIST_OF(webhook) webhooks;
} webhook_list;
PURLIN_SCHEMA(webhook_list, "Webhooks, newest first", PURLIN_LIST(webhooks, webhook, "The webhooks"));

/* webhooks.update */
typedef struct webhook_update {
  const char *id;
  purlin_opt_text name, url, description, secret, status;
  purlin_texts events;
} webhook_update;
PURLIN_SCHEMA(webhook_update, "What is to change; what is left out stays",
    PURLIN_REQUIRED(id, "The webhook", .max_length = 64),
    PURLIN_OPTIONAL(name, "A name for people", .min_length = 1, .max_length = 1000),
    PURLIN_OPTIONAL(url, "The address", .min_length = 1, .max_length = 2048),
    PURLIN_OPTIONAL(description, "What it is for", .max_length = 5000),
    PURLIN_OPTIONAL(secret, "Another secret; an empty one: none", .max_length = 1000, .secret = true),
    PURLIN_OPTIONAL(status, "Whether it hears of anything", .choices = "active, disabled"),
    PURLIN_OPTIONAL(events, "What it is to hear of", .max_length = 100));

/* webhooks.list_deliveries */
typedef struct webhook_delivery {
  const char *id, *event, *state;
  int64_t attempts;
  purlin_opt_int answered;
  purlin_opt_text error;
  purlin_time created_at, ended_at;
} webhook_delivery;
PURLIN_SCHEMA(webhook_delivery, "What an address was told",
    PURLIN_REQUIRED(id, "Its id"),
    PURLIN_REQUIRED(event, "Of which event"),
    PURLIN_REQUIRED(state, "Whether it has heard", .choices = "waiting, delivered, failed"),
    PURLIN_REQUIRED(attempts, "How often it was tried"),
    PURLIN_OPTIONAL(answered, "The HTTP status of the last attempt"),
    PURLIN_OPTIONAL(error, "What went wrong with it"),
    PURLIN_REQUIRED(created_at, "Since when"),
    PURLIN_OPTIONAL(ended_at, "Until when"));
typedef struct webhook_deliveries {
  PURLIN_LIST_OF(webhook_delivery) deliveries;
} webhook_deliveries;
PURLIN_SCHEMA(webhook_deliveries, "Deliveries, newest first", PURLIN_LIST(deliveries, webhook_delivery, "The last hundred and those that wait"));

/* webhooks.test */
typedef struct webhook_test {
  const char *id;
  purlin_opt_text event;
} webhook_test;
PURLIN_SCHEMA(webhook_test, "What to try",
    PURLIN_REQUIRED(id, "The webhook", .max_length = 64),
    PURLIN_OPTIONAL(event, "An event; its first without one", .max_length = 64));
typedef struct webhook_tried {
  bool success;
  purlin_opt_int response_status;
  purlin_opt_text response_body, error_message;
} webhook_tried;
PURLIN_SCHEMA(webhook_tried, "What came of it",
    PURLIN_REQUIRED(success, "Whether it was heard"),
    PURLIN_OPTIONAL(response_status, "The HTTP status of the answer"),
    PURLIN_OPTIONAL(response_body, "The first of the answer"),
    PURLIN_OPTIONAL(error_message, "Why there is none"));

PURLIN_END

#endif
