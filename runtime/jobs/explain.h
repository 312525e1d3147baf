/* explain.h: the answer to "why does this job not run?". */
#ifndef PURLIN_JOBS_EXPLAIN_H
#define PURLIN_JOBS_EXPLAIN_H

#include <purlin/database.h>

typedef struct job_explanation {
  const char *id, *state, *reason, *text;
  purlin_time run_at;
  int64_t ahead, nodes, slots, running, running_of_kind, limit;
  purlin_texts held_by;
} job_explanation;

PURLIN_SCHEMA(job_explanation, "Why a job does not run",
    PURLIN_REQUIRED(id, "The job"),
    PURLIN_REQUIRED(state, "What it is now"),
    PURLIN_REQUIRED(reason, "The cause, for programs",
        .choices = "later, no_node, limit, quota, slots, ahead, next, running, ended, failed"),
    PURLIN_REQUIRED(text, "The cause, for people"),
    PURLIN_OPTIONAL(run_at, "When it may start"),
    PURLIN_REQUIRED(ahead, "Jobs of its workspace that come before it, up to 20,000; workspaces take turns"),
    PURLIN_REQUIRED(nodes, "Nodes that are up and run jobs of this name"),
    PURLIN_REQUIRED(slots, "How many jobs those nodes run at once"),
    PURLIN_REQUIRED(running, "Jobs that run now, of all names"),
    PURLIN_REQUIRED(running_of_kind, "Jobs of its name that run now"),
    PURLIN_REQUIRED(limit, "How many jobs of its name may run at once; 0: no limit"),
    PURLIN_OPTIONAL(held_by, "Jobs of this workspace that use the limit of its name, or the workspace's quota, up"));

/* Of the caller's workspace. May park. PURLIN_NOT_FOUND. */
PURLIN_CHECKED purlin_status explain_job(purlin_ctx *ctx, const char *id, job_explanation *out);

#endif
