/* ctl.h: the command `purlin`. It knows no operation: it reads them from the server's /openapi.json, and the command line, the help
 * and the tables follow from that.
 *
 * ctl/ctl.c        arguments, and which command it is
 * ctl/session.c    talking to the server: address, token, requests, problems
 * ctl/catalogue.c  the operations that the server offers
 * ctl/call.c       one operation: flags to JSON, the answer to a table or JSON
 * ctl/print.c      what a server says, without what would steer the terminal
 * ctl/plugin.c     `purlin plugin`: show, check, new */
#ifndef PURLIN_CTL_CTL_H
#define PURLIN_CTL_CTL_H

#include <purlin/base.h>
#include <cjson/cJSON.h>
#include "core/buffer.h"
#include <stdio.h>

/* The whole program; its exit code: 0, 1 when something failed (said on stderr), 2 for wrong arguments. */
PURLIN_API int purlin_control_main(int count, char **arguments);

typedef struct session {
  const char *server; /* without a slash at the end */
  const char *token;  /* NULL: none was found */
  bool json;          /* print JSON, never tables */
} session;

/* Fills what was not given from the environment and the usual places. `storage` holds the token's text. */
void session_complete(session *s, buffer *storage);
/* A request; the answer's body in `answer`. False when no answer came, said on stderr. */
bool session_request(const session *s, const char *method, const char *path, const char *body, unsigned *http,
                     buffer *answer);
/* Prints a problem+json for people. */
void session_complain(unsigned http, buffer *answer);

/* One operation as the document describes it; borrowed from the document. */
typedef struct catalogue_entry {
  const char *id; /* "registry.create_model" */
  const char *summary;
  const char *permission;
  const cJSON *parameters; /* of a GET or DELETE */
  const cJSON *body;       /* JSON Schema of the body; NULL */
} catalogue_entry;

/* The server's document; owned: cJSON_Delete. NULL when it cannot be read, said on stderr. */
cJSON *catalogue_load(const session *s);
/* Calls `visit` for each operation, in the order of the document. */
void catalogue_visit(const cJSON *document, void (*visit)(void *to, const catalogue_entry *entry), void *to);
bool catalogue_find(const cJSON *document, const char *plugin, const char *operation, catalogue_entry *out);
/* Calls `visit` for each field of an operation's input. */
void catalogue_fields(const catalogue_entry *entry,
                      void (*visit)(void *to, const char *name, const cJSON *schema, bool required), void *to);

/* Appends a text with its control characters made visible, all but those in `allowed`. */
void add_visible(buffer *out, const char *text, size_t size, const char *allowed);
/* For every text that comes from a server; line feeds and tabs are allowed. */
void print_visible(FILE *to, const char *text, size_t size);
PURLIN_PRINTF(2, 3) void print(FILE *to, const char *format, ...);

int call_operation(const session *s, const catalogue_entry *entry, int count, char **arguments);
int plugin_command(int count, char **arguments);

#endif
