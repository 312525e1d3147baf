/* json.h: JSON read where it stands. A model of a gigabyte must not become a tree of sixty: values are slices of the text, found by
 * walking it; only json_whole checks them, so everything else is given slices that came out of it. Knows nothing of Purlin. */
#ifndef PREDICTOR_XGBOOST_JSON_H
#define PREDICTOR_XGBOOST_JSON_H

#include <stdbool.h>
#include <stddef.h>

/* One value without the space around it; at == NULL: there is none. */
typedef struct json {
  const char *at, *end;
} json;

/* Checks that the text is one value of JSON (RFC 8259, nested at most 100 deep) and nothing else. */
bool json_whole(const char *text, size_t size, json *out);

/* The values of an object's members of these names, the first of twins; none where there is no such member, or no object. */
void json_members(json object, const char *const *names, json *values, size_t count);
json json_member(json object, const char *name);

bool json_is_list(json value);
/* Walks a list: begin with *place zeroed; false at its end, or where there is no list. */
bool json_next(json list, json *place);
size_t json_count(json list);

/* A number, or a text that is one (with `texts`), true or false as 1 and 0. */
bool json_number(json value, bool texts, double *out);
/* Whether it is this text, escapes resolved. */
bool json_is(json value, const char *text);

#endif
