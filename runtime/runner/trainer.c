/* trainer.c: the contract "trainer": training, and its outcome told to the server exactly once. */
#include "operation/operation.h"
#include "runner/runner.h"
#include <purlin/contracts/trainer.h>
#include <string.h>
#include <sys/resource.h>

#define LAST_WORD_MS 30000 /* for the report of a failure when the server was away already */
#define LONGEST_MESSAGE 2000

typedef struct search {
  const char *name;
  const purlin_capability *found;
} search;

static void match(void *to, const plugin *p, const purlin_declaration *declared) {
  (void)p;
  search *s = to;
  const purlin_capability *capability = (const void *)declared;
  if (strcmp(capability->contract, "trainer") == 0 && strcmp(capability->name, s->name) == 0) s->found = capability;
}

static const purlin_trainer *find(purlin_ctx *ctx, const plugin *p, const char *name, purlin_status *status) {
  search s = {.name = name};
  plugin_visit(p, PURLIN_KIND_CAPABILITY, match, &s);
  if (!s.found) {
    *status = purlin_fail(ctx, PURLIN_NOT_FOUND, "the plugin '%s' has no trainer '%s'", p->name, name);
    return NULL;
  }
  if (s.found->version == PURLIN_CONTRACT_trainer) return s.found->functions;
  *status = purlin_fail(ctx, PURLIN_INVALID, "the trainer '%s' speaks version %u of the contract, this host version %u",
                        name, s.found->version, PURLIN_CONTRACT_trainer);
  return NULL;
}

static purlin_status train(purlin_ctx *ctx, const purlin_trainer *trainer, const purlin_training *training) {
  const purlin_schema *schema = trainer->specification();
  void *specification = purlin_alloc(ctx, schema->struct_size);
  if (!specification) return PURLIN_TOO_LARGE;
  const purlin_json given = training->specification;
  purlin_status status =
      purlin_decode(ctx, schema, given.text ? given.text : "{}", given.text ? given.size : 2, specification);
  if (status != PURLIN_OK) return runner_refuse(ctx, status, "the specification is not valid");
  return trainer->train(ctx, training, specification);
}

static purlin_status prepare_and_train(purlin_ctx *ctx, const char *path, purlin_json configuration,
                                       const purlin_training *training) {
  plugin *p = NULL;
  purlin_status status = runner_open(ctx, path, configuration, &p);
  if (status != PURLIN_OK) return status;
  const purlin_trainer *trainer = find(ctx, p, training->trainer, &status);
  if (trainer) {
    operation_frame frame = context_enter(ctx, p->name, p, "train");
    status = train(ctx, trainer, training);
    context_leave(ctx, frame);
  }
  plugin_free(p);
  return status;
}

/* Libraries say in many ways that they got no memory. What the limit is, only we know. */
static const char *with_limit(purlin_ctx *ctx, const char *why, purlin_status status) {
  struct rlimit limit;
  bool lacked = status == PURLIN_TOO_LARGE || strcasestr(why, "bad_alloc") || strcasestr(why, "memory");
  if (!lacked || getrlimit(RLIMIT_DATA, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return why;
  const char *longer = purlin_format(
      ctx, "out of memory? A process of a training may have %llu MiB (plugin \"training\" { memory_mb = ... }): %s",
      (unsigned long long)(limit.rlim_cur >> 20), why);
  return longer ? longer : why;
}

static int report_failure(purlin_ctx *ctx, const purlin_training *training, purlin_status status) {
  const char *plain = ctx->failure ? runner_failure(ctx) : purlin_status_text(status);
  const char *why = with_limit(ctx, plain, status);
  size_t size = strlen(why);
  purlin_log(ctx, PURLIN_ERROR, "the training failed: %s", why);
  if (size > LONGEST_MESSAGE) {
    size = LONGEST_MESSAGE;
    while (size > 0 && ((unsigned char)why[size] & 0xc0) == 0x80) size--;
  }
  const char *message = purlin_copy_bytes(ctx, why, size);
  purlin_training_report report = {.state = {PURLIN_SET, "failed"},
                                   .message = {PURLIN_SET, message ? message : "out of memory"}};
  if (why != plain)
    report.log =
        (purlin_opt_text){PURLIN_SET, purlin_format(ctx, "(attempt %lld: %s)\n", (long long)training->attempt, why)};
  if (!report.log.value) report.log.state = PURLIN_ABSENT;
  if (status == PURLIN_UNAVAILABLE) context_set_deadline(ctx, LAST_WORD_MS);
  purlin_status sent = purlin_training_send(ctx, training, &report);
  if (sent == PURLIN_UNAVAILABLE || sent == PURLIN_TIMEOUT) {
    purlin_log(ctx, PURLIN_ERROR, "the server cannot be told: %s", purlin_failure(ctx));
    return RUNNER_UNREACHABLE;
  }
  return RUNNER_FAILED;
}

int runner_train(purlin_ctx *ctx, const char *path, const char *name, purlin_json configuration, purlin_json input) {
  purlin_training training = {0};
  if (purlin_decode_stored(ctx, purlin_training_schema(), input.text ? input.text : "", input.size, &training) !=
      PURLIN_OK) {
    purlin_log(ctx, PURLIN_ERROR, "the input is not that of a training: %s", runner_failure(ctx));
    return RUNNER_USAGE;
  }
  const char *actor = purlin_format(ctx, "training:%s", training.job_id);
  if (actor) ctx->actor = actor;
  training.trainer = name;
  purlin_status status = prepare_and_train(ctx, path, configuration, &training);
  if (status == PURLIN_OK) return RUNNER_DONE;
  if (status != PURLIN_CANCELLED) return report_failure(ctx, &training, status);
  purlin_log(ctx, PURLIN_INFO, "the training was cancelled");
  return RUNNER_FAILED;
}
