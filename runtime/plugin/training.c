/* training.c: a trainer's side of <purlin/contracts/trainer.h>: three calls over HTTP that outlast a restart of the daemon. */
#include <purlin/context.h>
#include <purlin/contracts/trainer.h>
#include <purlin/http.h>
#include <stdlib.h>
#include <string.h>
#include "process/process.h"

enum {
  FIRST_PAUSE_MS = 250,
  LONGEST_PAUSE_MS = 5000,
  PATIENCE_S = 600, /* how long the server may be away at least; PURLIN_TRAINING_PATIENCE_S overrides it */
  REPORT_TIMEOUT_MS = 30 * 1000,
  FILE_TIMEOUT_MS = 60 * 60 * 1000, /* of one attempt to move a dataset or a model */
};

/* Who has learned for hours waits for as many: what is lost when the server stays away is worth it. */
static uint64_t patience_ns(void) {
  const char *given = getenv("PURLIN_TRAINING_PATIENCE_S");
  long seconds = given ? strtol(given, NULL, 10) : 0;
  uint64_t least_ns = (uint64_t)(seconds > 0 ? seconds : PATIENCE_S) * 1000000000u, age = process_age_ns();
  return age > least_ns ? age : least_ns;
}

/* The server is away or overwhelmed: what is right now may be wrong in a moment. */
static bool is_passing(purlin_status status, unsigned http) {
  if (status == PURLIN_UNAVAILABLE || status == PURLIN_TIMEOUT || status == PURLIN_BAD_UPSTREAM) return true;
  return status == PURLIN_OK && (http == 408 || http == 429 || (http >= 500 && http != 501 && http != 507));
}

/* The attempt has ended, was given to another, or its token has been taken back. */
static bool is_unwanted(unsigned http) { return http == 401 || http == 403 || http == 404 || http == 409 || http == 410; }

static purlin_status refuse(purlin_ctx *ctx, const char *what, const purlin_http_answer *answer) {
  int size = answer->body_size < 500 ? (int)answer->body_size : 500;
  purlin_status status = answer->status == 413   ? PURLIN_TOO_LARGE
                         : answer->status == 507 ? PURLIN_NO_SPACE
                                                 : PURLIN_BAD_UPSTREAM;
  return purlin_fail(ctx, status, "%s: the server answered %u: %.*s", what, answer->status, size, answer->body);
}

/* Calls until the server has answered for good. `answer->status` is 2xx, or one of is_unwanted. */
static purlin_status persist(purlin_ctx *ctx, const char *what, const purlin_http_call *call, purlin_http_answer *answer) {
  uint64_t end_ns = purlin_ticks_ns() + patience_ns();
  uint32_t attempts = 0;
  for (uint32_t pause_ms = FIRST_PAUSE_MS;; pause_ms = pause_ms * 2 < LONGEST_PAUSE_MS ? pause_ms * 2 : LONGEST_PAUSE_MS) {
    purlin_mark mark = purlin_arena_mark(ctx);
    purlin_status status = purlin_http(ctx, call, answer);
    if (answer->status != 0) attempts++;
    answer->attempts = attempts;
    purlin_status wanted = purlin_still_wanted(ctx);
    if (wanted != PURLIN_OK) return wanted;
    if (!is_passing(status, answer->status)) {
      if (status != PURLIN_OK) return status;
      bool settled = (answer->status >= 200 && answer->status < 300) || is_unwanted(answer->status);
      return settled ? PURLIN_OK : refuse(ctx, what, answer);
    }
    if (purlin_ticks_ns() >= end_ns)
      return purlin_fail(ctx, PURLIN_UNAVAILABLE, "%s: the server cannot be reached: %s", what,
                         answer->status ? answer->body : purlin_failure(ctx));
    if (attempts <= 1 && pause_ms == FIRST_PAUSE_MS)
      purlin_log(ctx, PURLIN_WARNING, "%s: the server is away; trying again for a while", what);
    purlin_arena_reset(ctx, mark);
    wanted = purlin_sleep(ctx, pause_ms);
    if (wanted != PURLIN_OK) return wanted;
  }
}

static purlin_status unwanted(purlin_ctx *ctx, const purlin_http_answer *answer) {
  return purlin_fail(ctx, PURLIN_CANCELLED, "this attempt is no longer wanted (the server answered %u)", answer->status);
}

static const char *authorization(purlin_ctx *ctx, const purlin_training *training) {
  return purlin_format(ctx, "Authorization: Bearer %s", training->token);
}

purlin_status purlin_training_fetch(purlin_ctx *ctx, const purlin_training *training, const char *part, const char *path) {
  const char *joint = strchr(training->dataset_url, '?') ? "&" : "?";
  const char *url = part ? purlin_format(ctx, "%s%spart=%s", training->dataset_url, joint, part) : training->dataset_url;
  const char *headers[] = {authorization(ctx, training), "Accept: text/csv", NULL};
  if (!url || !headers[0]) return PURLIN_TOO_LARGE;
  const purlin_http_call call = {.url = url, .headers = headers, .answer_file = path, .timeout_ms = FILE_TIMEOUT_MS};
  purlin_http_answer answer = {0};
  purlin_status status = persist(ctx, "fetching the dataset", &call, &answer);
  if (status != PURLIN_OK || answer.status < 300) return status;
  if (answer.status != 404) return unwanted(ctx, &answer);
  return purlin_fail(ctx, PURLIN_NOT_FOUND, "the dataset has no part '%s'", part ? part : "");
}

static bool is_plain_name(const char *name) {
  static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  return name[0] && name[0] != '.' && name[strspn(name, allowed)] == '\0';
}

purlin_status purlin_training_upload(purlin_ctx *ctx, const purlin_training *training, const char *name, const char *path) {
  if (!is_plain_name(name))
    return purlin_fail(ctx, PURLIN_INVALID, "an artifact's name has letters, digits, '.', '_' and '-', not '%s'", name);
  const char *url = purlin_format(ctx, "%s/%s", training->artifact_url, name);
  const char *headers[] = {authorization(ctx, training), "Content-Type: application/octet-stream", NULL};
  if (!url || !headers[0]) return PURLIN_TOO_LARGE;
  const purlin_http_call call = {
      .method = "PUT", .url = url, .headers = headers, .body_file = path, .timeout_ms = FILE_TIMEOUT_MS};
  purlin_http_answer answer = {0};
  purlin_status status = persist(ctx, "uploading an artifact", &call, &answer);
  if (status != PURLIN_OK || answer.status < 300) return status;
  return unwanted(ctx, &answer);
}

static purlin_status send(purlin_ctx *ctx, const purlin_training *training, const purlin_training_report *report) {
  purlin_json body;
  const char *headers[] = {authorization(ctx, training), "Content-Type: application/json", NULL};
  purlin_status status = headers[0] ? purlin_encode(ctx, purlin_training_report_schema(), report, &body) : PURLIN_TOO_LARGE;
  if (status != PURLIN_OK) return status;
  const purlin_http_call call = {.method = "POST",
                                 .url = training->callback_url,
                                 .headers = headers,
                                 .body = body.text,
                                 .body_size = body.size,
                                 .timeout_ms = REPORT_TIMEOUT_MS};
  purlin_http_answer answer = {0};
  status = persist(ctx, "reporting", &call, &answer);
  if (status != PURLIN_OK || answer.status < 300) return status;
  return unwanted(ctx, &answer);
}

purlin_status purlin_training_send(purlin_ctx *ctx, const purlin_training *training, const purlin_training_report *report) {
  /* A training sends thousands of reports from one context. */
  purlin_mark mark = purlin_arena_mark(ctx);
  purlin_status status = send(ctx, training, report);
  purlin_arena_reset(ctx, mark);
  return status;
}
