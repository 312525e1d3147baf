/* queue.c: rows in and out of the queue at people's and plugins' wish: enqueue, cancel, redrive. */
#include "jobs/internal.h"

#include "core/schema.h"
#include "core/text.h"
#include "db/db.h"

#include <limits.h>
#include <string.h>

#define PAYLOAD_VERSION 1
#define MOST_PAYLOAD ((size_t)256 * 1024)
#define MOST_UNIQUE_KEY 190u

PURLIN_COUNTER(jobs_enqueued_total, "Jobs that were put into the queue, in transactions that may have been rolled back",
               "job");

static const struct {
  const char *name;
  job_state state;
} state_names[] = {
    {"waiting", JOB_WAITING}, {"running", JOB_RUNNING},     {"succeeded", JOB_SUCCEEDED},
    {"failed", JOB_FAILED},   {"cancelled", JOB_CANCELLED},
};

const char *job_state_name(int64_t state) {
  for (size_t i = 0; i < sizeof state_names / sizeof state_names[0]; i++)
    if ((int64_t)state_names[i].state == state) return state_names[i].name;
  return "unknown";
}

bool job_state_of(const char *name, int64_t *state) {
  for (size_t i = 0; i < sizeof state_names / sizeof state_names[0]; i++) {
    if (strcmp(state_names[i].name, name) != 0) continue;
    *state = (int64_t)state_names[i].state;
    return true;
  }
  return false;
}

/* ---- Enqueue ------------------------------------------------------------------------------------------------------------- */

static const char INSERT_JOB[] =
    "INSERT INTO purlin_jobs (public_id, workspace, project, actor, name, payload, payload_version, state, urgency, run_at,"
    "                         max_attempts, unique_key, trace_id, created_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, NOW(6) + INTERVAL ? MICROSECOND, ?, NULL, ?, NOW(6))";

/* With a key that exists nothing is inserted, and its row is locked: so that job cannot end before the caller's transaction
 * has. (INSERT IGNORE would take a shared lock, and two of those that want more are a deadlock.) */
static const char INSERT_UNIQUE[] =
    "INSERT INTO purlin_jobs (public_id, workspace, project, actor, name, payload, payload_version, state, urgency, run_at,"
    "                         max_attempts, unique_key, trace_id, created_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, NOW(6) + INTERVAL ? MICROSECOND, ?, ?, ?, NOW(6)) "
    "ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id)";

typedef struct public_row {
  const char *public_id;
} public_row;
PURLIN_SCHEMA(public_row, "The public id of a job", PURLIN_REQUIRED(public_id, "Public id"));

static void wake(void *argument) {
  (void)argument;
  claimers_wake();
}

static purlin_status insert_unique(purlin_ctx *ctx, const job_kind *kind, const char *workspace, const char *project,
                                   const char *actor, purlin_json payload, const purlin_enqueue_options *options,
                                   const char **id) {
  size_t size = strlen(options->unique_key);
  if (size == 0 || size > MOST_UNIQUE_KEY)
    return purlin_fail(ctx, PURLIN_INVALID, "the unique key of a job has 1 to %u bytes, not %zu", MOST_UNIQUE_KEY, size);
  purlin_status status = purlin_db_run(ctx, INSERT_UNIQUE, *id, workspace, project, actor, kind->name, payload,
                                       PAYLOAD_VERSION, -(int64_t)options->priority, (int64_t)options->delay_ms * 1000,
                                       kind->max_attempts, options->unique_key, purlin_trace_id(ctx));
  if (status != PURLIN_OK) return status;
  public_row row = {0};
  int64_t key = purlin_inserted(ctx);
  status = purlin_db_row(ctx, public_row, &row, "SELECT public_id FROM purlin_jobs WHERE id = ?", key);
  if (status == PURLIN_OK) *id = row.public_id;
  return status == PURLIN_NOT_FOUND ? PURLIN_OK : status; /* ours has run already, and is gone */
}

purlin_status queue_insert(purlin_ctx *ctx, const job_kind *kind, const char *workspace, const char *project,
                           const char *actor, purlin_json payload, const purlin_enqueue_options *options, const char **id) {
  static const purlin_enqueue_options normal;
  if (options == NULL) options = &normal;
  if (options->priority == INT32_MIN) return purlin_fail(ctx, PURLIN_INVALID, "the priority is too low");
  if (payload.size > MOST_PAYLOAD)
    return purlin_fail(ctx, PURLIN_TOO_LARGE, "the payload of a job has at most %zu bytes: keep more in storage",
                       MOST_PAYLOAD);
  const char *public_id = purlin_new_id(ctx, "job");
  if (public_id == NULL) return PURLIN_TOO_LARGE;
  purlin_status status;
  if (options->unique_key != NULL)
    status = insert_unique(ctx, kind, workspace, project, actor, payload, options, &public_id);
  else
    status = purlin_db_run(ctx, INSERT_JOB, public_id, workspace, project, actor, kind->name, payload, PAYLOAD_VERSION,
                           -(int64_t)options->priority, (int64_t)options->delay_ms * 1000, kind->max_attempts,
                           purlin_trace_id(ctx));
  if (status != PURLIN_OK) return status;
  if (id != NULL) *id = public_id;
  purlin_count(jobs_enqueued_total, 1, kind->name);
  return db_after_commit(ctx, wake, NULL);
}

static purlin_status kind_of(purlin_ctx *ctx, const char *job, job_kind **kind) {
  *kind = job_kind_find(job);
  if (*kind != NULL) return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_NOT_FOUND, "there is no job '%s'", job);
}

purlin_status queue_by_hand(purlin_ctx *ctx, const char *job) {
  job_kind *kind;
  purlin_status status = kind_of(ctx, job, &kind);
  if (status != PURLIN_OK) return status;
  if (kind->permission == NULL)
    return purlin_fail(ctx, PURLIN_FORBIDDEN, "the job '%s' is not enqueued by hand: its plugin does", job);
  if (purlin_permitted(ctx, kind->permission)) return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_FORBIDDEN, "the job '%s' needs the permission '%s'", job, kind->permission);
}

/* As it is stored: with its secrets. */
static purlin_status encode(purlin_ctx *ctx, const purlin_schema *schema, const void *in, purlin_json *payload) {
  buffer text = {.limit = MOST_PAYLOAD + 1};
  schema_encode(schema, in, SCHEMA_WITH_SECRETS, &text);
  purlin_status status = PURLIN_OK;
  char *copy = text.failed ? NULL : purlin_copy_bytes(ctx, text.data, text.size);
  if (copy == NULL) status = purlin_fail(ctx, PURLIN_TOO_LARGE, "the payload of a job has at most %zu bytes", MOST_PAYLOAD);
  *payload = (purlin_json){copy, text.size};
  buffer_free(&text);
  return status;
}

static purlin_status enqueue_struct(purlin_ctx *ctx, const job_kind *kind, const void *in,
                                    const purlin_enqueue_options *options, const char **id) {
  purlin_json payload;
  purlin_status status = encode(ctx, kind->schema, in, &payload);
  if (status != PURLIN_OK) return status;
  return queue_insert(ctx, kind, purlin_workspace(ctx), purlin_project(ctx), purlin_actor(ctx), payload, options, id);
}

purlin_status purlin_enqueue(purlin_ctx *ctx, const char *job, const purlin_schema *schema, const void *in,
                             const purlin_enqueue_options *options, const char **id) {
  job_kind *kind;
  purlin_status status = kind_of(ctx, job, &kind);
  if (status != PURLIN_OK) return status;
  if (schema != kind->schema && schema_layout(schema) != kind->layout)
    return purlin_fail(ctx, PURLIN_INTERNAL, "the job '%s' takes '%s' as this release has it, not '%s'", job,
                       kind->schema->name, schema->name);
  return enqueue_struct(ctx, kind, in, options, id);
}

purlin_status jobs_enqueue_json(purlin_ctx *ctx, const char *job, purlin_json payload,
                                const purlin_enqueue_options *options, const char **id) {
  job_kind *kind;
  purlin_status status = kind_of(ctx, job, &kind);
  if (status != PURLIN_OK) return status;
  void *in = purlin_alloc(ctx, kind->schema->struct_size);
  if (in == NULL) return PURLIN_TOO_LARGE;
  if (payload.text == NULL) payload = (purlin_json){"{}", 2};
  status = purlin_decode(ctx, kind->schema, payload.text, payload.size, in);
  return status == PURLIN_OK ? enqueue_struct(ctx, kind, in, options, id) : status;
}

/* ---- Cancel and redrive: find by the public id, then lock and change by primary key, so that locks have one order ------------ */

typedef struct job_row {
  int64_t id, state;
  const char *name;
  int64_t attempt;
} job_row;
PURLIN_SCHEMA(job_row, "What decides about a change of a job",
    PURLIN_REQUIRED(id, "Internal number"),
    PURLIN_REQUIRED(state, "State"),
    PURLIN_REQUIRED(name, "Kind"),
    PURLIN_REQUIRED(attempt, "Attempts so far"));

typedef struct change {
  const char *public_id;
  job_row row;
} change;

static purlin_status not_found(purlin_ctx *ctx, const char *id) {
  return purlin_fail(ctx, PURLIN_NOT_FOUND, "there is no job '%s'", id);
}

static purlin_status lock_job(purlin_ctx *ctx, change *c) {
  id_row found = {0};
  purlin_status status =
      purlin_db_row(ctx, id_row, &found, "SELECT id FROM purlin_jobs WHERE public_id = ? AND workspace = ?", c->public_id,
                    purlin_workspace(ctx));
  if (status == PURLIN_OK)
    status = purlin_db_row(ctx, job_row, &c->row,
                           "SELECT id, state, name, attempt FROM purlin_jobs WHERE id = ? FOR UPDATE", found.id);
  return status == PURLIN_NOT_FOUND ? not_found(ctx, c->public_id) : status;
}

static void stop_here(void *argument) { (void)running_stop(*(const int64_t *)argument, STOP_CANCEL); }

static purlin_status cancel_body(purlin_ctx *ctx, void *argument) {
  change *c = argument;
  purlin_status status = lock_job(ctx, c);
  if (status != PURLIN_OK) return status;
  if (c->row.state == JOB_WAITING)
    return purlin_db_run(
        ctx, "UPDATE purlin_jobs SET state = 4, cancel_asked = TRUE, unique_key = NULL, ended_at = NOW(6) WHERE id = ?",
        c->row.id);
  if (c->row.state != JOB_RUNNING)
    return purlin_fail(ctx, PURLIN_CONFLICT, "the job '%s' has ended: %s", c->public_id, job_state_name(c->row.state));
  status = purlin_db_run(ctx, "UPDATE purlin_jobs SET cancel_asked = TRUE WHERE id = ?", c->row.id);
  if (status != PURLIN_OK) return status;
  int64_t *id = purlin_alloc(ctx, sizeof *id);
  if (id == NULL) return PURLIN_TOO_LARGE;
  *id = c->row.id;
  return db_after_commit(ctx, stop_here, id);
}

purlin_status purlin_job_cancel(purlin_ctx *ctx, const char *id) {
  change c = {.public_id = id};
  return purlin_transaction(ctx, cancel_body, &c);
}

/* The number of attempts goes on, since it is what fences; the job gets as many again. */
static purlin_status redrive_body(purlin_ctx *ctx, void *argument) {
  change *c = argument;
  purlin_status status = lock_job(ctx, c);
  if (status != PURLIN_OK) return status;
  if (c->row.state != JOB_FAILED && c->row.state != JOB_CANCELLED)
    return purlin_fail(ctx, PURLIN_CONFLICT, "the job '%s' is %s: only failed and cancelled ones can be redriven",
                       c->public_id, job_state_name(c->row.state));
  job_kind *kind;
  status = kind_of(ctx, c->row.name, &kind);
  /* What only its plugin enqueues, such as a letter, is meant for its time: who repeats it answers for the server. */
  if (status == PURLIN_OK && kind->permission != NULL) status = queue_by_hand(ctx, c->row.name);
  else if (status == PURLIN_OK && !purlin_permitted(ctx, "server:write"))
    status = purlin_fail(ctx, PURLIN_FORBIDDEN,
                         "the job '%s' is its plugin's: to redrive it needs the permission 'server:write'", c->row.name);
  if (status != PURLIN_OK) return status;
  status =
      purlin_db_run(ctx,
                    "UPDATE purlin_jobs SET state = 0, run_at = NOW(6), max_attempts = attempt + ?, cancel_asked = FALSE,"
                    "  progress = NULL, progress_text = NULL, ended_at = NULL WHERE id = ?",
                    kind->max_attempts, c->row.id);
  return status == PURLIN_OK ? db_after_commit(ctx, wake, NULL) : status;
}

purlin_status queue_redrive(purlin_ctx *ctx, const char *id) {
  change c = {.public_id = id};
  return purlin_transaction(ctx, redrive_body, &c);
}
