/* place.h: whether a text names a place where a version's files may be, and of which kind it is. No SDK: the unit tests and anyone
 * else may include it.
 *
 * The server itself reads only what is its own. Other places are kept as text for clients, which go there by themselves; so nothing is
 * accepted that a client or a proxy might take for another place than it looks like. */
#ifndef REGISTRY_PLACE_H
#define REGISTRY_PLACE_H

#include <stdbool.h>
#include <stddef.h>

enum { PLACE_LONGEST = 2048 }; /* bytes */

typedef enum place_kind {
  PLACE_REFUSED,  /* no place: relative, local, with .. or with what ends a path */
  PLACE_RUN,      /* runs:/RUN/PATH: first is the run */
  PLACE_LOGGED,   /* models:/ID: first is the logged model */
  PLACE_VERSION,  /* models:/NAME/SUFFIX: first is the model, second what tells the version: a number, a stage, latest */
  PLACE_ALIAS,    /* models:/NAME@ALIAS: likewise */
  PLACE_ARTIFACT, /* mlflow-artifacts:/PATH */
  PLACE_ELSEWHERE /* another store's */
} place_kind;

typedef struct place {
  place_kind kind;
  char plain[PLACE_LONGEST + 1]; /* without percent-encoding, however often it was encoded */
  char first[PLACE_LONGEST + 1], second[PLACE_LONGEST + 1];
} place;

/* Reads a place; false, and PLACE_REFUSED, when it is none. */
bool place_read(const char *text, place *out);
/* Whether a place is `root` or below it. */
bool place_is_within(const place *inner, const char *root);

#endif
