/* ctl.h: the command `purlin`. It knows no operation: it reads them from the server's /openapi.json, and the command line, the help
 * and the tables follow from that.
 *
 * ctl/ctl.c        arguments, and which command it is
 * ctl/commands.c   the table of what it does by itself; help, manual page and completion are made from it
 * ctl/complete.c   what a shell is told may follow, of the server, too; ctl/cache.c keeps that for a minute
 * ctl/pages.c      manual pages, for the build
 * ctl/session.c    talking to the server: address, token, requests, problems
 * ctl/credentials.c  what `purlin login` keeps of a server: tokens, which renew themselves
 * ctl/login.c      `purlin login`, `purlin logout`
 * ctl/recover.c    `purlin admin recover`
 * ctl/catalogue.c  the operations that the server offers
 * ctl/shorthand.c  what is said often in fewer words: `purlin models deploy`
 * ctl/call.c       one operation: its help, flags to JSON
 * ctl/answer.c     an answer as a table or as JSON
 * ctl/plugin.c     `purlin plugin`: show, manual, check, new
 * ctl/import.c     `purlin import`: another program
 * ctl/audit.c      `purlin audit verify` */
#ifndef PURLIN_CTL_CTL_H
#define PURLIN_CTL_CTL_H

#include <purlin/base.h>
#include <stdio.h>
#include <cjson/cJSON.h>
#include "core/buffer.h"
#include "core/display.h"
#include "manual/manual.h"

/* Exit codes. What went wrong is said on stderr. */
enum {
  CTL_FINE = 0,
  CTL_FAILED = 1,     /* the server refused, or something failed here */
  CTL_USAGE = 2,      /* wrong arguments */
  CTL_UNREACHABLE = 3 /* no server answered */
};

/* The whole program; its exit code. */
PURLIN_API int purlin_control_main(int count, char **arguments);

typedef struct session {
  const char *server;     /* URL, without a slash at its end */
  const char *token_file; /* given by hand; NULL: looked for in the usual places */
  const char *ca_file;    /* PEM: who vouches for the server; NULL: those that the machine trusts */
  const char *token;      /* NULL: none was found */
  const char *token_from; /* where it was found, for people */
  const char *workspace;  /* NULL: the credential's */
  const char *project;    /* NULL: the credential's */
  bool json;              /* print JSON, never tables */
  bool over;              /* somebody was logged in, until now: nobody else acts in their place */
  bool talks;             /* libcurl is ready */
  bool hasty;             /* somebody waits at a prompt: a server that does not answer at once is none */
  buffer server_text, token_text;
} session;

/* An environment variable; NULL where it is not set, or empty. */
const char *session_variable(const char *name);
/* What `purlin` does by itself. A command is told the session, of which only the options of the command line are filled. */
extern const manual_program ctl_manual;
/* Whether all commands that begin so are in the table: no plugin of a server is called so. */
bool ctl_is_own_word(const char *word);

/* Fills the server's address alone, after which requests can be sent; then all that was not given. */
void session_address(session *s);
/* Fills what was not given from the environment and the usual places. False: said on stderr. */
bool session_complete(session *s);
void session_end(session *s);
/* A request; the answer's body in `answer`. False when no answer came, said on stderr. */
bool session_request(const session *s, const char *method, const char *path, const char *body, unsigned *http,
                     buffer *answer);
/* Prints a problem+json for people. */
void session_complain(const session *s, unsigned http, buffer *answer);

/* One operation as the document describes it; borrowed from the document. */
typedef struct catalogue_entry {
  const char *id; /* "registry.create_model" */
  const char *summary;
  const char *permission;
  const cJSON *parameters; /* of a GET or DELETE */
  const cJSON *body;       /* JSON Schema of the body; NULL */
} catalogue_entry;

/* The server's document; owned: cJSON_Delete. NULL when it cannot be read, said on stderr; `code` says which exit code that is. */
cJSON *catalogue_load(const session *s, int *code);
/* Calls `visit` for each operation, in order of their names. */
void catalogue_visit(const cJSON *document, void (*visit)(void *to, const catalogue_entry *entry), void *to);
bool catalogue_find(const cJSON *document, const char *plugin, const char *operation, catalogue_entry *out);
/* Calls `visit` for each field of an operation's input. */
void catalogue_fields(const catalogue_entry *entry,
                      void (*visit)(void *to, const char *name, const cJSON *schema, bool required), void *to);

/* What is said often has a short way, in which the word after the operation is a field's value. */
typedef struct shorthand {
  const char *plugin, *operation, *to_plugin, *to_operation, *field;
  const char *progress; /* what is going on while one waits */
} shorthand;
enum { SHORTHAND_ROOM = 1 };
/* NULL: it is none. */
const shorthand *shorthand_find(int count, char **arguments);
/* Fills `words`, which hold SHORTHAND_ROOM more than `count`; how many they are. */
int shorthand_spell(const shorthand *meant, int count, char **arguments, char **words);
void shorthand_usage(const shorthand *meant);
/* Prints those of a plugin's name; false: there is none. */
bool shorthand_list(const char *plugin);

int call_operation(session *s, const catalogue_entry *entry, int count, char **arguments);
int call_help(const catalogue_entry *entry);

/* Prints the answer of an operation: one list of objects as a table, else JSON. */
void answer_print(const session *s, const buffer *answer);

manual_run import_command; /* returns when it fails */
manual_run audit_command, plugin_show_command, plugin_manual_command, plugin_check_command, plugin_new_command;

/* `purlin __complete WORD ...`: candidates for the last word, as manual/manual.h says. Says nothing of what goes wrong. */
void complete_command(session *s, int count, char **words);
/* `purlin __manual purlind.8`: that page. */
int manual_page_command(int count, char **arguments);

/* cache.c: what servers said of themselves, below $XDG_CACHE_HOME/purlin, for a minute. */
/* False: nothing fresh is there that is ours alone. */
bool cache_read(const char *server, buffer *out);
/* Whatever cannot be kept is not. */
void cache_write(const char *server, const buffer *text);

#endif
