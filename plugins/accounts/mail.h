/* mail.h: a letter by SMTP. */
#ifndef ACCOUNTS_MAIL_H
#define ACCOUNTS_MAIL_H

#include <purlin/purlin.h>

/* Whether the configuration names a server for mail. */
bool mail_is_configured(purlin_ctx *ctx);
/* Sends a letter of plain text. Not within a transaction. PURLIN_UNAVAILABLE, recorded: the server did not take it. May park. */
PURLIN_CHECKED purlin_status mail_send(purlin_ctx *ctx, const char *to, const char *subject, const char *text);

#endif
