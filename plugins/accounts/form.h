/* form.h: what the login page needs of HTML and of forms. Nothing here parks. */
#ifndef ACCOUNTS_FORM_H
#define ACCOUNTS_FORM_H

#include <purlin/context.h>

#define FORM_TYPE "application/x-www-form-urlencoded"

/* What the page's form holds. Texts in the arena; "" where nothing was sent. */
typedef struct login_form {
  const char *name, *password, *next;
} login_form;

/* False: broken escapes, a NUL, a field twice, no UTF-8, or no memory. Fields of other names are skipped. */
bool form_read(purlin_ctx *ctx, const char *body, size_t size, login_form *out);

/* Whether a text is a path of this server and nowhere else, however a browser reads it: "/docs?x=1". NULL is none. */
bool form_is_own_path(const char *text);

/* As it stands in HTML, also within quotes; and as a value in a query string. Arena; NULL without memory. */
const char *form_escape_html(purlin_ctx *ctx, const char *text);
const char *form_escape_query(purlin_ctx *ctx, const char *text);

#endif
