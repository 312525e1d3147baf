#include "trainer.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct session {
  purlin_ctx *ctx;
  const purlin_training *training;
  const process_specification *specification;
  command command;
  output output;
} session;

static purlin_status download(session *s) {
  if (!s->specification->download) return PURLIN_OK;
  purlin_status status = purlin_training_fetch(s->ctx, s->training, "train", "train.csv");
  if (status == PURLIN_OK) status = purlin_training_fetch(s->ctx, s->training, "validation", "validation.csv");
  if (status != PURLIN_NOT_FOUND || access("train.csv", F_OK) != 0) return status;
  purlin_clear_failure(s->ctx); /* nothing was held out */
  return PURLIN_OK;
}

/* Until the command has ended and all that it wrote was taken. */
static purlin_status follow(session *s) {
  uint64_t limit_ns = (uint64_t)s->specification->timeout_s * 1000000000u, began_ns = purlin_ticks_ns();
  command *c = &s->command;
  for (;;) {
    bool over = c->ended; /* before the look: what it wrote at last is still read */
    purlin_status status = command_follow(s->ctx, c);
    if (status == PURLIN_OK) status = output_take(&s->output, c->block, c->size);
    if (status != PURLIN_OK) return status;
    if (over && c->size == 0) return PURLIN_OK; /* somebody whom it left behind may hold the pipe open */
    if (limit_ns > 0 && !c->ended && purlin_ticks_ns() - began_ns > limit_ns)
      return purlin_fail(s->ctx, PURLIN_TIMEOUT, "the command did not end within %lld s and was stopped",
                         (long long)s->specification->timeout_s);
  }
}

/* ---- How it ended ---- */

static purlin_status failed(session *s) {
  const char *said = s->output.said.message, *tail = output_tail(&s->output);
  int status = s->command.wait_status;
  if (said && s->output.said.state && strcmp(s->output.said.state, "failed") == 0)
    return purlin_fail(s->ctx, PURLIN_INTERNAL, "%s", said);
  const char *how = WIFSIGNALED(status) ? purlin_format(s->ctx, "was killed by signal %d (%s)", WTERMSIG(status),
                                                        strsignal(WTERMSIG(status)))
                                        : purlin_format(s->ctx, "ended with %d", WEXITSTATUS(status));
  if (!how) return PURLIN_TOO_LARGE;
  return purlin_fail(s->ctx, PURLIN_INTERNAL, "the command %s%s%s", how, *tail ? ":\n" : "", tail);
}

static purlin_status upload(session *s) {
  const purlin_opt_text file = s->specification->model_file;
  if (file.state != PURLIN_SET) return PURLIN_OK;
  if (access(file.value, R_OK) != 0)
    return purlin_fail(s->ctx, PURLIN_NOT_FOUND, "the command ended well, but left no file '%s' behind", file.value);
  return purlin_training_upload(s->ctx, s->training, "model", file.value);
}

static purlin_opt_text first_of(const char *said, purlin_opt_text otherwise) {
  return said ? (purlin_opt_text){PURLIN_SET, said} : otherwise;
}

static purlin_status succeeded(session *s) {
  const outcome *said = &s->output.said;
  purlin_status status = upload(s);
  purlin_training_report report = {.state = {PURLIN_SET, "succeeded"},
                                   .progress = {PURLIN_SET, 1},
                                   .message = first_of(said->message, (purlin_opt_text){0}),
                                   .framework = first_of(said->framework, s->specification->framework),
                                   .signature = s->specification->signature};
  if (said->signature) report.signature = (purlin_json){said->signature, strlen(said->signature)};
  if (status == PURLIN_OK) status = purlin_training_send(s->ctx, s->training, &report);
  return status;
}

static bool ended_well(const session *s) {
  return s->command.ended && WIFEXITED(s->command.wait_status) && WEXITSTATUS(s->command.wait_status) == 0;
}

static purlin_status conclude(session *s) {
  const char *said = s->output.said.state;
  if (!ended_well(s) || (said && strcmp(said, "failed") == 0)) return failed(s);
  return succeeded(s);
}

purlin_status train(purlin_ctx *ctx, const purlin_training *training, const process_specification *specification) {
  session *s = calloc(1, sizeof *s); /* too large for the arena's blocks, and it outlives the marks of the batches */
  if (!s) return PURLIN_TOO_LARGE;
  *s = (session){.ctx = ctx, .training = training, .specification = specification};
  purlin_status status = download(s);
  if (status == PURLIN_OK) status = command_start(ctx, training, specification, &s->command);
  if (status == PURLIN_OK) {
    output_begin(&s->output, ctx, training);
    status = follow(s);
    if (status != PURLIN_OK) command_stop(&s->command);
    command_close(&s->command);
    purlin_status told = status == PURLIN_OK || status == PURLIN_TIMEOUT ? output_end(&s->output) : PURLIN_OK;
    if (status == PURLIN_OK) status = told == PURLIN_OK ? conclude(s) : told;
    /* A command that reported its success by itself has ended the attempt: nobody wants to hear more. */
    if (status == PURLIN_CANCELLED && purlin_still_wanted(ctx) == PURLIN_OK && ended_well(s)) status = PURLIN_OK;
  }
  output_free(&s->output);
  free(s);
  return status;
}
