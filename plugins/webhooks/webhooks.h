/* webhooks.h: what the files of this plugin share.
 *
 * hooks.c    addresses that want to hear of events, and what they want to hear
 * events.c   what happens, as receivers know it
 * deliver.c  the queue: signed, tried again, remembered for a while
 * send.c     one request to one address
 *
 * Data leaves the server here: everything needs webhooks:write in the whole workspace, which of the built-in roles the owner's has
 * alone. An address may hold a token, so who may not change webhooks does not see them either. */
#ifndef WEBHOOKS_H
#define WEBHOOKS_H

#include <purlin/purlin.h>
#include <purlin/contracts/webhooks.h>

enum { WEBHOOKS_MOST = 100, WEBHOOKS_HISTORY = 100 };

typedef struct webhook_target {
  const char *id, *url;
  bool active;
  purlin_bytes sealed;
} webhook_target;
PURLIN_SCHEMA(webhook_target, "Where to send",
    PURLIN_REQUIRED(id, "id"),
    PURLIN_REQUIRED(url, "address"),
    PURLIN_REQUIRED(active, "whether it wants anything"),
    PURLIN_OPTIONAL(sealed, "the secret"));

/* As what a hook's secret is sealed; arena. */
const char *webhook_sealed_as(purlin_ctx *ctx, const char *id);
/* The body of a delivery: {"entity", "action", "timestamp", "data"}. `event` is "entity.action". */
PURLIN_CHECKED purlin_status webhook_body(purlin_ctx *ctx, const char *event, purlin_json data, purlin_json *body);
/* Sends one body. PURLIN_OK: it was answered, with whatever status. May park; no transaction may be open. */
PURLIN_CHECKED purlin_status webhook_send(purlin_ctx *ctx, const webhook_target *to, const char *delivery, purlin_json body,
                                          purlin_http_answer *answer);
/* Whether an answer says that it was heard. A redirection does not: it is not followed. */
bool webhook_was_heard(const purlin_http_answer *answer);
/* Puts an event into the queue of each address that wants it. May park. */
PURLIN_CHECKED purlin_status webhook_enqueue(purlin_ctx *ctx, const char *event, const purlin_schema *schema,
                                             const void *data);
/* What might be told of an event, as JSON; NULL: there is no such event. */
const char *webhook_example(const char *event);

#endif
