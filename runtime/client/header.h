/* header.h: headers of a request that is made by libcurl alone, by who has no loop. */
#ifndef PURLIN_CLIENT_HEADER_H
#define PURLIN_CLIENT_HEADER_H

#include <curl/curl.h>
#include <stdbool.h>

/* Adds a header to a list that curl_slist_free_all frees: `name` with its ": ", and the value; without a value nothing. Our own copy of the
 * line is wiped: it may be a token. False: no memory; the list is as before. */
bool header_add(struct curl_slist **headers, const char *name, const char *value);

#endif
