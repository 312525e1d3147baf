#include "training.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { BLOCK = 64 * 1024 };

static const char KEEP_ARTIFACT[] =
    "REPLACE INTO training_artifacts (workspace, project, job_id, attempt, name, sha256, size) VALUES (?, ?, ?, ?, ?, ?, ?)";
static const char KEEP_MODEL[] = "UPDATE training_jobs SET artifact_sha256 = ?, artifact_size = ? WHERE id = ?";

/* ---- Who speaks -------------------------------------------------------------------------------------------------------------------------- */

/* Whoever has no token learns neither which jobs exist nor how they stand; whose attempt is over need not know why. */
static purlin_status no_attempt(purlin_ctx *ctx) {
  return purlin_fail(ctx, PURLIN_UNAUTHENTICATED, "the token is not that of a running attempt; stop");
}

static purlin_status check(purlin_ctx *ctx, const job_row *job, int64_t attempt, const char *hash) {
  bool running = job->attempt == attempt && job->token_hash.state == PURLIN_SET && strcmp(job->state, "running") == 0;
  return running && strcmp(job->token_hash.value, hash) == 0 ? PURLIN_OK : no_attempt(ctx);
}

purlin_status training_attempt(purlin_ctx *ctx, purlin_request *request, job_row *out) {
  const char *header = purlin_header(request, "authorization");
  if (!header || strncasecmp(header, "bearer ", 7) != 0)
    return purlin_fail(ctx, PURLIN_UNAUTHENTICATED, "send the attempt's token as 'Authorization: Bearer TOKEN'");
  char hash[65];
  purlin_sha256(header + 7, strlen(header + 7), hash);
  purlin_status status = training_row(ctx, purlin_parameter(request, "job"), false, out);
  if (status == PURLIN_NOT_FOUND) return no_attempt(ctx);
  if (status == PURLIN_OK) status = check(ctx, out, strtoll(purlin_parameter(request, "attempt"), NULL, 10), hash);
  if (status == PURLIN_OK) purlin_act_as(ctx, purlin_format(ctx, "training:%s", out->id), out->workspace, out->project);
  return status;
}

purlin_status training_fence(purlin_ctx *ctx, const job_row *seen, job_row *now) {
  purlin_status status = training_row(ctx, seen->id, true, now);
  return status == PURLIN_OK ? check(ctx, now, seen->attempt, seen->token_hash.value) : status;
}

/* ---- The data goes out, in one or two parts ------------------------------------------------------------------------------------------------- */

/* Which rows of the CSV pass: the header always, then [first, last). Rows end at newlines outside quotes; an empty line is no row, as
 * datasets count them, except where there is one column: there it is a missing value. */
typedef struct cut {
  int64_t first, last, row;
  bool quoted, begun, several; /* within quotes; the line has bytes; the header has a comma */
} cut;

static bool passes(const cut *c) { return c->row < 0 || (c->row >= c->first && c->row < c->last); }

/* Moves what passes to the front of the block; its new size. */
static size_t keep(cut *c, char *block, size_t size) {
  size_t kept = 0;
  for (size_t i = 0; i < size; i++) {
    char byte = block[i];
    if (passes(c)) block[kept++] = byte;
    if (byte == '\n' && !c->quoted) {
      c->row += c->begun || (c->row >= 0 && !c->several);
      c->begun = false;
      continue;
    }
    if (byte == '"') c->quoted = !c->quoted;
    if (byte == ',' && !c->quoted && c->row < 0) c->several = true;
    if (byte != '\r') c->begun = true;
  }
  return kept;
}

static purlin_status send_rows(purlin_ctx *ctx, purlin_request *request, const purlin_storage *storage,
                               purlin_blob_reader *reader, cut c) {
  char *block = purlin_alloc(ctx, BLOCK);
  if (!block) return PURLIN_TOO_LARGE;
  for (int64_t at = 0; c.row < c.last;) {
    size_t got = 0;
    purlin_status status = storage->read(ctx, reader, at, block, BLOCK, &got);
    if (status != PURLIN_OK || got == 0) return status;
    size_t kept = keep(&c, block, got);
    if (kept > 0) status = purlin_write(ctx, request, block, kept);
    if (status != PURLIN_OK) return status;
    at += (int64_t)got;
  }
  return PURLIN_OK;
}

PURLIN_ROUTE(dataset, "GET /api/v1/training/attempts/{job}/{attempt}/dataset",
    .summary = "The data of an attempt; ?part=train or ?part=validation", .permission = "callback", .answer = "text/csv", .timeout_ms = UINT32_MAX) {
  job_row job;
  purlin_status status = training_attempt(ctx, request, &job);
  if (status != PURLIN_OK) return status;
  const char *part = purlin_query_value(request, "part");
  int64_t border = job.dataset_rows - job.validation_rows;
  cut c = {.first = 0, .last = job.dataset_rows, .row = -1};
  if (part && strcmp(part, "train") == 0) c.last = border;
  else if (part && strcmp(part, "validation") == 0) c.first = border;
  else if (part) return purlin_fail_field(ctx, "part", "expected train or validation");
  if (c.first >= c.last) return purlin_fail(ctx, PURLIN_NOT_FOUND, "no rows were held out for validation");
  const purlin_storage *storage = purlin_use(ctx, storage, NULL);
  purlin_blob_reader *reader = NULL;
  int64_t size = 0;
  status = storage ? storage->open(ctx, job.dataset_sha256, &reader, &size) : PURLIN_UNAVAILABLE;
  if (status != PURLIN_OK) return status;
  status = purlin_respond_begin(ctx, request, 200, "text/csv; charset=utf-8", -1);
  if (status == PURLIN_OK) status = send_rows(ctx, request, storage, reader, c);
  storage->close(ctx, reader);
  return status;
}

/* ---- Artifacts come in ------------------------------------------------------------------------------------------------------------------------ */

typedef struct keeping {
  const job_row *job;
  const purlin_storage *storage;
  const char *name;
  purlin_blob blob;
} keeping;

static purlin_status keep_artifact(purlin_ctx *ctx, void *argument) {
  keeping *k = argument;
  job_row now;
  purlin_status status = training_fence(ctx, k->job, &now);
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx, KEEP_ARTIFACT, now.workspace, now.project, now.id, now.attempt, k->name, k->blob.sha256,
                           k->blob.size);
  if (status == PURLIN_OK && strcmp(k->name, "model") == 0)
    status = purlin_db_run(ctx, KEEP_MODEL, k->blob.sha256, k->blob.size, now.id);
  if (status == PURLIN_OK && strcmp(k->name, "model") != 0) status = training_record_file(ctx, &now, k->name, &k->blob);
  if (status == PURLIN_OK) status = purlin_keep_blob(ctx, k->storage, k->blob.sha256);
  if (status == PURLIN_NOT_FOUND)
    status = purlin_fail(ctx, PURLIN_UNAVAILABLE, "the artifact was removed again; send it again");
  if (status == PURLIN_OK)
    status = purlin_audit(ctx, &(purlin_audit_entry){.operation = "training.artifact", .object = k->blob.sha256});
  return status;
}

PURLIN_ROUTE(artifact, "PUT /api/v1/training/attempts/{job}/{attempt}/artifacts/{name}",
    .summary = "Upload an artifact of an attempt", .permission = "callback", .body = "application/octet-stream", .out = purlin_blob_schema,
    .max_body = UINT64_MAX, .timeout_ms = UINT32_MAX) {
  job_row job;
  purlin_status status = training_attempt(ctx, request, &job);
  const purlin_storage *storage = status == PURLIN_OK ? purlin_use(ctx, storage, NULL) : NULL;
  if (!storage) return status == PURLIN_OK ? PURLIN_UNAVAILABLE : status;
  keeping k = {.job = &job, .storage = storage, .name = purlin_parameter(request, "name")};
  if (strlen(k.name) > 250) return purlin_fail_field(ctx, "name", "is longer than 250 bytes");
  status = purlin_store_body(ctx, request, storage, NULL, NULL, &k.blob);
  if (status == PURLIN_OK) status = purlin_transaction(ctx, keep_artifact, &k);
  return status == PURLIN_OK ? purlin_respond(ctx, request, 201, purlin_blob_schema(), &k.blob) : status;
}
