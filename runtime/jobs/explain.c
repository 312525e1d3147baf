/* explain.c: why does this job not run? Answers with the first of the causes that hold, and with what they rest on. */
#include "jobs/explain.h"

#include "jobs/internal.h"

#define MOST_COUNTED "10000" /* more are not counted */

typedef struct facts_row {
  int64_t id, state, urgency, attempt;
  const char *name, *error;
  purlin_time run_at;
  bool later;
} facts_row;
PURLIN_SCHEMA(facts_row, "What decides when a job runs",
    PURLIN_REQUIRED(id, "Internal number"),
    PURLIN_REQUIRED(state, "State"),
    PURLIN_REQUIRED(urgency, "Minus priority"),
    PURLIN_REQUIRED(attempt, "Attempts"),
    PURLIN_REQUIRED(name, "Kind"),
    PURLIN_OPTIONAL(error, "Of the last attempt"),
    PURLIN_REQUIRED(run_at, "Due"),
    PURLIN_REQUIRED(later, "Not yet due"));

typedef struct nodes_row {
  int64_t nodes, slots;
} nodes_row;
PURLIN_SCHEMA(nodes_row, "Nodes that claim a kind",
    PURLIN_REQUIRED(nodes, "How many"),
    PURLIN_REQUIRED(slots, "With room for"));

typedef struct number_row {
  int64_t number;
} number_row;
PURLIN_SCHEMA(number_row, "A count", PURLIN_REQUIRED(number, "How many"));

typedef struct text_row {
  const char *text;
} text_row;
PURLIN_SCHEMA(text_row, "A text", PURLIN_REQUIRED(text, "Text"));
typedef PURLIN_LIST_OF(text_row) text_rows;

static purlin_status count_nodes(purlin_ctx *ctx, const facts_row *job, job_explanation *out) {
  nodes_row row = {0};
  purlin_status status =
      purlin_db_row(ctx, nodes_row, &row,
                    "SELECT COUNT(*) AS nodes, CAST(IFNULL(SUM(slots), 0) AS SIGNED) AS slots FROM purlin_job_nodes "
                    "WHERE seen_until > NOW(6) AND LOCATE(CONCAT(',', ?, ','), names) > 0",
                    job->name);
  out->nodes = row.nodes;
  out->slots = row.slots;
  return status;
}

static purlin_status count_running(purlin_ctx *ctx, const facts_row *job, job_explanation *out) {
  number_row all = {0}, same = {0};
  purlin_status status = purlin_db_row(
      ctx, number_row, &all,
      "SELECT COUNT(*) AS number FROM purlin_jobs FORCE INDEX (claim) WHERE state = 1 AND lease_until > NOW(6)");
  if (status == PURLIN_OK)
    status = purlin_db_row(ctx, number_row, &same,
                           "SELECT COUNT(*) AS number FROM purlin_jobs FORCE INDEX (claim) "
                           "WHERE state = 1 AND name = ? AND lease_until > NOW(6)",
                           job->name);
  out->running = all.number;
  out->running_of_kind = same.number;
  return status;
}

static purlin_status hold(purlin_ctx *ctx, const text_rows *rows, job_explanation *out) {
  const char **items = purlin_alloc_array(ctx, rows->count + 1, sizeof *items);
  if (items == NULL) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < rows->count; i++) items[i] = rows->items[i].text;
  out->held_by = (purlin_texts){items, rows->count};
  return PURLIN_OK;
}

/* What runs of the workspace: of the job's name, or with NULL of any. Those of other workspaces count, but are not named. */
static purlin_status name_holders(purlin_ctx *ctx, const char *name, job_explanation *out) {
  text_rows rows;
  purlin_status status =
      purlin_db_list(ctx, text_row, &rows,
                     "SELECT public_id AS text FROM purlin_jobs FORCE INDEX (claim) "
                     "WHERE state = 1 AND workspace = ? AND (? IS NULL OR name = ?) ORDER BY id LIMIT 20",
                     purlin_workspace(ctx), name, name);
  return status != PURLIN_OK || rows.count == 0 ? status : hold(ctx, &rows, out);
}

/* Those of the workspace: of the same kind that come before it, and all that are more urgent. */
static purlin_status count_ahead(purlin_ctx *ctx, const facts_row *job, job_explanation *out) {
  number_row same = {0}, urgent = {0};
  purlin_status status = purlin_db_row(ctx, number_row, &same,
                                       "SELECT COUNT(*) AS number FROM (SELECT 1 FROM purlin_jobs FORCE INDEX (claim) "
                                       "WHERE state = 0 AND workspace = ? AND name = ? AND urgency = ?"
                                       "  AND (run_at < ? OR (run_at = ? AND id < ?)) LIMIT " MOST_COUNTED ") AS ahead",
                                       purlin_workspace(ctx), job->name, job->urgency, job->run_at, job->run_at, job->id);
  if (status == PURLIN_OK)
    status = purlin_db_row(ctx, number_row, &urgent,
                           "SELECT COUNT(*) AS number FROM (SELECT 1 FROM purlin_jobs FORCE INDEX (claim) "
                           "WHERE state = 0 AND workspace = ? AND urgency < ? AND run_at <= NOW(6) LIMIT " MOST_COUNTED
                           ") AS ahead",
                           purlin_workspace(ctx), job->urgency);
  out->ahead = same.number + urgent.number;
  return status;
}

static purlin_status say(job_explanation *out, const char *reason, const char *text) {
  out->reason = reason;
  out->text = text;
  return text != NULL ? PURLIN_OK : PURLIN_TOO_LARGE;
}

static purlin_status say_ended(purlin_ctx *ctx, const facts_row *job, job_explanation *out) {
  if (job->state == JOB_RUNNING) return say(out, "running", "it runs");
  if (job->state != JOB_FAILED)
    return say(out, "ended", purlin_format(ctx, "it has ended: %s", job_state_name(job->state)));
  return say(out, "failed",
             purlin_format(ctx, "it failed for good after %lld attempts (%s); redrive it to try again",
                           (long long)job->attempt, job->error != NULL ? job->error : "no reason was recorded"));
}

/* Whether the quota of the workspace holds it; then said. */
static purlin_status say_quota(purlin_ctx *ctx, job_explanation *out, bool *said) {
  int64_t most = 0;
  id_row running = {0};
  if (!jobs_quota_of(purlin_workspace(ctx), &most)) return PURLIN_OK;
  purlin_status status = purlin_db_row(ctx, id_row, &running, JOBS_OF_WORKSPACE, purlin_workspace(ctx));
  *said = status == PURLIN_OK && running.id >= most;
  if (!*said) return status;
  status = name_holders(ctx, NULL, out);
  if (status != PURLIN_OK) return status;
  return say(out, "quota",
             purlin_format(ctx, "the workspace runs %lld of at most %lld jobs (the quota 'jobs')", (long long)running.id,
                           (long long)most));
}

static purlin_status say_waiting(purlin_ctx *ctx, const facts_row *job, job_explanation *out) {
  const job_kind *kind = job_kind_find(job->name);
  out->limit = kind != NULL ? kind->concurrency : 0;
  if (job->later) {
    const char *why =
        job->attempt > 0 ? "its last attempt failed and it is tried again at run_at: " : "it is to start at run_at";
    return say(out, "later", purlin_format(ctx, "%s%s", why, job->attempt > 0 && job->error != NULL ? job->error : ""));
  }
  if (out->nodes == 0)
    return say(out, "no_node",
               purlin_format(ctx, "no node that is up runs jobs named '%s': is its plugin loaded?", job->name));
  if (out->limit > 0 && out->running_of_kind >= out->limit) {
    purlin_status named = name_holders(ctx, job->name, out);
    if (named != PURLIN_OK) return named;
    return say(out, "limit",
               purlin_format(ctx, "%lld of at most %lld jobs named '%s' run already", (long long)out->running_of_kind,
                             (long long)out->limit, job->name));
  }
  bool said = false;
  purlin_status status = say_quota(ctx, out, &said);
  if (status != PURLIN_OK || said) return status;
  if (out->running >= out->slots)
    return say(
        out, "slots",
        purlin_format(ctx,
                      "all %lld slots of the %lld nodes that run it are taken; %lld jobs of the workspace are ahead of it",
                      (long long)out->slots, (long long)out->nodes, (long long)out->ahead));
  if (out->ahead > 0)
    return say(out, "ahead", purlin_format(ctx, "%lld jobs of the workspace are ahead of it", (long long)out->ahead));
  return say(out, "next", "nothing holds it: it starts with the next look of a node");
}

purlin_status explain_job(purlin_ctx *ctx, const char *id, job_explanation *out) {
  facts_row job = {0};
  purlin_status status = purlin_db_row(ctx, facts_row, &job,
                                       "SELECT id, state, urgency, attempt, name, error, run_at, run_at > NOW(6) AS later "
                                       "FROM purlin_jobs WHERE public_id = ? AND workspace = ?",
                                       id, purlin_workspace(ctx));
  if (status == PURLIN_NOT_FOUND) return purlin_fail(ctx, status, "there is no job '%s'", id);
  if (status != PURLIN_OK) return status;
  out->id = id;
  out->state = job_state_name(job.state);
  out->run_at = job.run_at;
  if (job.state != JOB_WAITING) return say_ended(ctx, &job, out);
  status = count_nodes(ctx, &job, out);
  if (status == PURLIN_OK) status = count_running(ctx, &job, out);
  if (status == PURLIN_OK) status = count_ahead(ctx, &job, out);
  return status == PURLIN_OK ? say_waiting(ctx, &job, out) : status;
}
