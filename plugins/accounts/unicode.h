/* unicode.h: texts that people type, in one form, by utf8proc: what one keyboard writes as a letter and an accent and another as one
 * letter is the same. Nothing here knows the SDK, allocates or keeps what it was given. */
#ifndef ACCOUNTS_UNICODE_H
#define ACCOUNTS_UNICODE_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes that the one form of a text of `size` bytes takes at most, with its NUL. */
#define UNICODE_ROOM(size) (3 * (size) + 1)

/* A password as it is compared: OpaqueString of RFC 8265: every space is U+0020, and the rest in NFC. False: it is not UTF-8, or too long
 * for `room`. */
bool unicode_password(const char *text, char *out, size_t room);
/* What of a password in that form no other keyboard may write again: controls, what is not seen, what is not assigned (FreeformClass of
 * RFC 8264, without its contextual rules). NULL: nothing. Static text. */
const char *unicode_password_flaw(const char *text);

/* A name that is shown: NFC, without spaces at its ends, and one where there were several. Returns what is wrong with it, static text: it
 * holds controls, changes of the direction of writing, what is not seen or not assigned. NULL: nothing. */
const char *unicode_name(const char *text, char *out, size_t room);

/* An address of e-mail (RFC 5321, RFC 6531): NFC, the domain in lower case. No quoted local parts, no numbers for domains. Returns what
 * is wrong, static text; NULL: nothing. */
const char *unicode_email(const char *text, char *out, size_t room);

#endif
