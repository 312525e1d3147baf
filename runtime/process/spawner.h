/* spawner.h: the state of a spawner, which spawner.c works on, and unit.c around it. */
#ifndef PURLIN_PROCESS_SPAWNER_H
#define PURLIN_PROCESS_SPAWNER_H

#include "process/parts.h"

typedef struct child child;
typedef struct spawner_ended {
  uint64_t id; /* 0: no entry */
  int64_t pid, started;
  int exit_code;
} spawner_ended;

enum { SPAWNER_KEPT_ENDED = 256 };

typedef struct spawner {
  int socket; /* -1: no daemon is connected */
  int signals;
  int listener; /* -1: it was forked, and lives as long as its daemon */
  child *children;
  spawner_ended ended[SPAWNER_KEPT_ENDED]; /* detached ones, for daemons that come later */
  size_t ended_next;
  bool asked_to_end;
  char
      swept[4096]; /* the RUNS that the daemon named; swept now and then, for what earlier spawners left to end by itself */
  char own_runs[32]; /* under /tmp, for children without a RUNS; "" until the first */
  wire_message in, out;
} spawner;

/* Opens what it waits for; then spawner_serve. */
PURLIN_CHECKED bool spawner_begin(spawner *s, bool handles_stop);
/* Obeys the daemon until it has gone: bound children have then been ended. Without one it looks after the children until somebody calls. False
 * when it was asked to end. */
PURLIN_CHECKED bool spawner_serve(spawner *s);
bool spawner_any_detached(const spawner *s);
/* Each detached child that runs or whose end is remembered. */
void spawner_each_detached(const spawner *s, void (*each)(spawner *s, const wire_head *head));
/* s->out with this head, and a text or NULL, to the daemon. */
void spawner_say(spawner *s, const wire_head *head, const char *text);

#endif
