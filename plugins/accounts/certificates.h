/* certificates.h: users who show a certificate of their own instead of a password. */
#ifndef ACCOUNTS_CERTIFICATES_H
#define ACCOUNTS_CERTIFICATES_H

#include "directories.h"

/* The user for whom a certificate of that subject (as the contract authenticator names it) was noted. PURLIN_NOT_FOUND, not recorded: none.
 * May park. */
PURLIN_CHECKED purlin_status certificates_user(purlin_ctx *ctx, const char *subject, standing *of);

#endif
