/* person.h: what an entry of the directory tells of somebody, and the groups that they are in. Texts in the call's memory. */
#ifndef PERSON_H
#define PERSON_H

#include "connection.h"

#define GROUPS_MOST 1000u

typedef struct person {
  const char *dn, *id, *name, *display_name, *email;
  const char *shut_out; /* why they are not let in, whatever their password; NULL: they are */
} person;

/* What to ask of an entry; ends with NULL. NULL: no memory. */
const char *const *person_attributes(call *c);
/* PURLIN_UNAUTHENTICATED, and why: nobody here can be of this entry. */
PURLIN_CHECKED purlin_status person_read(call *c, const entry *from, person *out);
/* The id as a value within a filter. NULL: no memory, or no such id can be. */
char *person_id_filter(call *c, const char *id);

typedef struct group {
  const char *dn, *normal;
  const char *label; /* what it would be called here; NULL: it cannot be called anything */
} group;

typedef struct groups {
  group *items;
  size_t count;
  bool more;           /* than we take */
  const char *base;    /* group_base; NULL: none */
  const char **labels; /* "group:research": what counts here, each once */
  size_t label_count;
} groups;

/* Those that hold the person of this entry, themselves or, as configured, by other groups. */
PURLIN_CHECKED purlin_status groups_read(call *c, connection *k, const entry *of, groups *out);
bool groups_hold(call *c, const groups *g, const char *dn);

#endif
