/* conversation.h: one call to the directory, from its first search to its answer. Blocks; on the blocking pool only. */
#ifndef CONVERSATION_H
#define CONVERSATION_H

#include "person.h"

/* What calls take turns with. On `people` everybody binds who logs in, so it never searches as somebody who did before. */
typedef struct line {
  connection search, people;
} line;

/* Who is it? By name and password, by id, or, for a look only, by name. */
typedef struct question {
  const char *name, *password, *id; /* NULL where not asked by it */
} question;

typedef struct answer {
  person who;
  groups in;
} answer;

/* As the contract says; why it is not PURLIN_OK is in c->why. */
PURLIN_CHECKED purlin_status converse(call *c, line *l, const question *q, answer *out);

/* Its parts, for the operation that tells of each. The one entry that is meant: PURLIN_NOT_FOUND when there is none,
 * PURLIN_UNAUTHENTICATED when there are several. */
PURLIN_CHECKED purlin_status find_entry(call *c, connection *k, const question *q, entry *out);
/* Whether a person may be let in: PURLIN_UNAUTHENTICATED when not. */
PURLIN_CHECKED purlin_status judge(call *c, const answer *a);

#endif
