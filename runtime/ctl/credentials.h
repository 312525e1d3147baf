/* credentials.h: what `purlin login` keeps: for each server the tokens of a session, in credentials.json of the user's configuration
 * folder ($XDG_CONFIG_HOME/purlin, ~/.config/purlin), which nobody else may read. */
#ifndef PURLIN_CTL_CREDENTIALS_H
#define PURLIN_CTL_CREDENTIALS_H

#include "ctl/ctl.h"

/* The file, locked against other commands from opening to closing. */
typedef struct credentials {
  char folder[4096];
  int lock;
  cJSON *servers; /* by URL */
} credentials;

/* False: said on stderr, or there is nothing and `must_be` is false. */
bool credentials_open(credentials *c, bool must_be);
/* The tokens for a server; NULL: none. */
cJSON *credentials_of(const credentials *c, const char *server);
/* Puts an answer of login or refresh in their place (NULL: takes them away), and writes the file. False: said on stderr. */
bool credentials_put(credentials *c, const char *server, const char *name, const cJSON *answer);
void credentials_close(credentials *c);

/* The access token for the session's server, renewed when it is about to run out. False: there is none. */
bool credentials_token(session *s);

manual_run login_command, logout_command, recover_command;

#endif
