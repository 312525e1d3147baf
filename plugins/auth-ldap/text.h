/* text.h: the memory of one call, which is given back as a whole, and texts that are put together for the directory. Any thread. */
#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stddef.h>

#define SCRATCH_MOST ((size_t)8 << 20) /* of one call: what a directory answers beyond it is refused */

/* Zeroed: empty. */
typedef struct scratch {
  struct scratch_block *last;
  size_t used;
} scratch;

/* Zeroed memory until scratch_free; NULL: too much, or none left. */
void *scratch_alloc(scratch *s, size_t size);
/* A copy with a NUL after it. NULL as above, and where `bytes` is NULL. */
char *scratch_copy(scratch *s, const char *bytes, size_t size);
void scratch_free(scratch *s);

/* As a value within a filter (RFC 4515), or within a DN (RFC 4514). Any bytes go in; NULL: no memory. */
char *escape_filter(scratch *s, const char *bytes, size_t size);
char *escape_dn(scratch *s, const char *bytes, size_t size);
/* `pattern` with `value` in place of each `placeholder` ("{name}"). NULL: no memory. */
char *expand(scratch *s, const char *pattern, const char *placeholder, const char *value);

/* The login name here of what a directory calls somebody: in lower case; NULL: it cannot be one, or no memory. */
char *login_name(scratch *s, const char *bytes, size_t size);
/* What a group is called here: in lower case; NULL: it cannot be a subject, or no memory. */
char *group_label(scratch *s, const char *bytes, size_t size);
/* An objectGUID as Active Directory's tools write it; back to 16 bytes (false: not one). `out` holds 37 bytes. */
void guid_text(const unsigned char guid[16], char out[37]);
bool guid_parse(const char *text, unsigned char guid[16]);
/* Whether these bytes are UTF-8 without control characters. */
bool is_plain_text(const char *bytes, size_t size);

#endif
