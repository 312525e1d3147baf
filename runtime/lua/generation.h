/* generation.h: which scripts are in force. A generation is a list of scripts; every loop holds one, and changes to the next at a
 * moment of its own, between callbacks. A run keeps the state that it began in, whatever comes after it. */
#ifndef PURLIN_LUA_GENERATION_H
#define PURLIN_LUA_GENERATION_H

#include "lua/load.h"

typedef struct policy_place {
  const char *point;
  size_t script, entry;
} policy_place;

typedef struct generation {
  uint64_t number;
  script **scripts; /* by file name */
  size_t count;
  policy_place *policies; /* by point */
  size_t policy_count;
} generation;

/* A function of a script, on the calling loop. Valid until the next park; a run keeps what it needs. */
typedef struct found_entry {
  const script_entry *entry;
  script_state *state;
  int function;
} found_entry;

/* In the calling loop's generation. False: there is none. */
bool generation_policy(const char *point, found_entry *found);
bool generation_entry(const char *file, entry_kind kind, const char *name, found_entry *found);

/* The newest generation, for those that list it; under generation_lock(). */
void generation_lock(void);
const generation *generation_newest(void);
void generation_unlock(void);

/* lua/rule.c and lua/route.c: bring listeners and routes in line with a generation that all loops have. In a fiber. */
void rules_follow(const generation *g);
void rules_end(void);
bool routes_follow(const generation *g); /* whether there are routes that no router has */
void routes_end(void);
/* lua/every.c: what comes round. */
void periodics_follow(const generation *g);
void periodics_end(void);

/* The options that script_start was given. */
const script_options *script_settings(void);

/* lua/policy.c: the answerer of all policy points. */
void policies_begin(void);
void policies_end(void);
/* lua/watch.c */
void watch_end(void);

#endif
