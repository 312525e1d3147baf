/* rules.h: what is a good address, path or name. Nothing here knows the SDK. */
#ifndef OIDC_RULES_H
#define OIDC_RULES_H

#include <stdbool.h>
#include <stddef.h>

enum { NAME_ROOM = 65, LONGEST_PATH = 1000 };

/* Whether a browser that is sent to it stays on this server: "/docs?x=1"; neither "//elsewhere" nor "/\elsewhere", nor what browsers
 * read as such: they drop tabs and line ends. */
bool rules_is_local_path(const char *path);
/* Whether a provider may be asked there: https://, or http:// on this very machine; no user, no fragment. */
bool rules_is_endpoint(const char *url);
/* Whether a group may stand behind "group:". */
bool rules_is_group(const char *name);

/* A login name from what the provider says: in lower case, without `suffix` ("@example.org"; "": whole). False: it cannot be one. */
bool rules_login_name(const char *said, const char *suffix, char out[NAME_ROOM]);
/* Whether what follows the last "@" is one of the domains, in any case of letters. */
bool rules_email_is_in(const char *email, const char *const *domains, size_t count);

/* How many bytes of `text` are at most `most`, without a torn character. */
size_t rules_cut(const char *text, size_t most);

/* Bytes that `text` takes in a query or form, without a NUL; writes them, with a NUL, where `out` is not NULL. */
size_t rules_escape(const char *text, char *out);

#endif
