/* directory.h: the contract of who knows people by name and password, kept somewhere else: LDAP, Active Directory.
 *
 * The plugin accounts asks it. It has sessions, tokens, delays after wrong passwords, HTTP Basic and the users; a directory only answers.
 * Whoever is let in by one becomes a user of its name at the first login, and is one of that directory from then on: a name is never
 * shared between directories, nor with users who have a password here. */
#ifndef PURLIN_CONTRACTS_DIRECTORY_H
#define PURLIN_CONTRACTS_DIRECTORY_H

#include <purlin/context.h>
#include <purlin/plugin.h>

PURLIN_BEGIN

#define PURLIN_CONTRACT_directory 1u

/* Somebody who is known elsewhere. Texts in the arena; "" where nothing is known. */
typedef struct purlin_person {
  const char *id; /* never changes and is never used again: an entryUUID, a subject of OpenID Connect; at most 250 bytes */
  const char *name; /* their login name here: as that of any user (lower case letters, digits, ".", "_", "-") */
  const char *display_name, *email;
  bool email_verified;
  purlin_texts groups; /* subjects that roles may be granted to: "group:research" */
} purlin_person;

typedef struct purlin_directory {
  uint32_t size;
  /* Who logs in with this name and password, neither of which is empty. PURLIN_NOT_FOUND: nobody of that name; PURLIN_UNAUTHENTICATED:
   * the password is wrong, or they are shut out; PURLIN_UNAVAILABLE, recorded: it cannot be asked now. May park; any number at a time. */
  purlin_status (*check)(purlin_ctx *ctx, const char *name, const char *password, purlin_person *out);
  /* Whether somebody of that id is still let in, and what is known of them now: asked when a session goes on and, of users who act with
   * a key of their own, now and then. PURLIN_NOT_FOUND: no more; PURLIN_UNAVAILABLE: it cannot be asked, which shuts nobody out for a while. May park. */
  purlin_status (*look_up)(purlin_ctx *ctx, const char *id, purlin_person *out);
} purlin_directory;

PURLIN_END

#endif
