/* load.h: reading scripts and making their states, on a thread of the blocking pool: no loop waits for it, and what fails to load
 * has touched nobody. */
#ifndef PURLIN_LUA_LOAD_H
#define PURLIN_LUA_LOAD_H

#include "lua/run.h"
#include "lua/script.h"

/* A file that a script was made from: itself, then what it required. */
typedef struct script_source {
  char *path;
  uint8_t hash[32];
} script_source;

enum { SCRIPT_MAX_SOURCES = 64 };

typedef enum entry_kind { ENTRY_POLICY, ENTRY_RULE, ENTRY_ROUTE, ENTRY_PERIODIC } entry_kind;

/* A function that the script handed over while it was loaded: the same ones, in the same order, on every loop. */
typedef struct script_entry {
  entry_kind kind;
  const char *name;       /* the policy point, the event, "GET /path", what comes round */
  const char *title;      /* "policy serving.promote", for messages */
  const char *permission; /* of a route */
  const char *summary;
  bool wants_caller;      /* of a public route: who sent the request is looked up if it says so */
  uint32_t timeout_ms;    /* of a route; 0: the server's default */
  const char *expression; /* when it comes round, for cron_parse */
  const char *time_zone;
  int line;
} script_entry;

/* One version of one file. Its states and the newest generation hold it; each state belongs to its loop. Otherwise it does not
 * change once it is loaded. */
typedef struct script {
  atomic_size_t references;
  char *file;          /* "drift.lua" */
  const char *actor;   /* "rule:drift.lua" */
  uint64_t generation; /* that it came with */
  script_source sources[SCRIPT_MAX_SOURCES];
  size_t source_count;
  arena memory; /* of the entries */
  script_entry entries[RUN_MAX_ENTRIES];
  size_t entry_count;
  script_state **states; /* by loop */
} script;

/* While a script runs for the first time. */
typedef struct script_load {
  const script_options *options;
  script *script;
  bool first; /* of its states: entries and sources are written down */
} script_load;

/* Reads and runs `folder`/`file` for every loop. NULL: `why` says why, with file, line and traceback. */
script *script_load_file(const script_options *options, const char *file, uint64_t generation, buffer *why);
/* Whether its files are as they were. */
bool script_is_current(const script *s);
/* Frees its states, and gives up one reference: when no loop uses it. */
void script_discard(script *s);
void script_release(script *s); /* one reference */
/* Sets the global `require`. */
void load_open_require(lua_State *L);
/* Reads a whole file of at most `most` bytes. 0 or an errno. */
int load_read(const char *path, size_t most, buffer *out);

#endif
