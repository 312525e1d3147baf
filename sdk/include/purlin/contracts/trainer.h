/* trainer.h: the contract of trainers: the same on every tier.
 *
 * A trainer gets a job id, a specification, the address of a dataset, an address for artifacts, an address for callbacks, a token
 * that opens these three and nothing else. It must not matter where it runs: in purlin-runner on this machine, as any command,
 * on Slurm, in a cluster.
 *
 *   PURLIN_TRAINER(train_xgboost, "xgboost", xgboost_specification, "Gradient-boosted trees by libxgboost")
 *   {
 *     ... ctx, training, specification; fetch, learn, report, upload ...
 *   }
 *
 * A plugin with trainers is a PURLIN_CONTAINED_PLUGIN: the daemon never opens it.
 *
 * Since 0.1 unless a comment says otherwise; base.h says what else holds everywhere. */
#ifndef PURLIN_CONTRACTS_TRAINER_H
#define PURLIN_CONTRACTS_TRAINER_H

#include <purlin/plugin.h>

PURLIN_BEGIN

#define PURLIN_CONTRACT_trainer 1u

/* What a trainer is told; also the JSON that a command of trainer-process finds in PURLIN_TRAINING. */
typedef struct purlin_training {
  const char *job_id;
  const char *trainer;
  purlin_json specification;
  const char *dataset_url;  /* GET: CSV with a header line; ?part=train or ?part=validation when the job was split */
  const char *artifact_url; /* PUT {artifact_url}/NAME: the bytes of an artifact; "model" is the model */
  const char *callback_url; /* POST: purlin_training_report as JSON */
  const char *token;        /* Authorization: Bearer; for this attempt only */
  int64_t attempt;
} purlin_training;
PURLIN_SCHEMA(purlin_training, "What a trainer is told",
    PURLIN_REQUIRED(job_id, "The training job"),
    PURLIN_REQUIRED(trainer, "Which trainer is to run"),
    PURLIN_OPTIONAL(specification, "What to train, in the trainer's own terms"),
    PURLIN_REQUIRED(dataset_url, "Where to GET the data, as CSV"),
    PURLIN_REQUIRED(artifact_url, "PUT artifacts to this address and /NAME"),
    PURLIN_REQUIRED(callback_url, "POST reports here"),
    PURLIN_REQUIRED(token, "Opens these addresses, for this attempt"),
    PURLIN_DEFAULT(attempt, "1", "Which attempt this is", .min = 1, .max = 1e6));

typedef struct purlin_training_metric {
  const char *key;
  double value;
  int64_t step;
} purlin_training_metric;
PURLIN_SCHEMA(purlin_training_metric, "A measured value",
    PURLIN_REQUIRED(key, "What was measured", .max_length = 250),
    PURLIN_REQUIRED(value, "The value"),
    PURLIN_DEFAULT(step, "0", "At which step", .min = 0, .max = 9e15));

/* One callback. Every member may be absent; `state` only when the trainer ends. */
typedef struct purlin_training_report {
  purlin_opt_text state;      /* "succeeded" or "failed" */
  purlin_opt_double progress; /* 0 to 1 */
  purlin_opt_text message;    /* a line for people */
  purlin_opt_text log;        /* text to be appended to the job's log */
  PURLIN_LIST_OF(purlin_training_metric) metrics;
  purlin_json signature;     /* with "succeeded": inputs and outputs of the model (see contracts/predictor.h) */
  purlin_opt_text framework; /* with "succeeded": which predictor serves it */
} purlin_training_report;
PURLIN_SCHEMA(purlin_training_report, "A report of a trainer",
    PURLIN_OPTIONAL(state, "The end: it worked, or it did not", .choices = "succeeded, failed"),
    PURLIN_OPTIONAL(progress, "How far it is", .min = 0, .max = 1),
    PURLIN_OPTIONAL(message, "A line for people", .max_length = 2000),
    PURLIN_OPTIONAL(log, "Text for the job's log", .max_length = 60000),
    PURLIN_LIST(metrics, purlin_training_metric, "Measured values", .max_length = 1000),
    PURLIN_OPTIONAL(signature, "What the model takes and gives"),
    PURLIN_OPTIONAL(framework, "Which predictor serves the model", .max_length = 100));

/* The body of a PURLIN_TRAINER; both arguments are borrowed until it returns. May park. Any error fails the attempt. */
typedef purlin_status purlin_trainer_run(purlin_ctx *ctx, const purlin_training *training, const void *specification);

typedef struct purlin_trainer {
  uint32_t size;
  const char *summary;
  const purlin_schema *(*specification)(void);
  purlin_trainer_run *train;
} purlin_trainer;

#define PURLIN_TRAINER(function, name_, specification_type, summary_)                                                      \
  static purlin_status function(purlin_ctx *ctx, const purlin_training *training,                                          \
                                const specification_type *specification);                                                  \
  static purlin_status function##_run_(purlin_ctx *ctx, const purlin_training *training, const void *specification) {      \
    return function(ctx, training, (const specification_type *)specification);                                             \
  }                                                                                                                        \
  static const purlin_trainer function##_trainer = {(uint32_t)sizeof(purlin_trainer), summary_,                            \
                                                    specification_type##_schema, function##_run_};                         \
  PURLIN_PROVIDES(trainer, name_, function##_trainer);                                                                     \
  static purlin_status function(PURLIN_MAYBE_UNUSED purlin_ctx *ctx, PURLIN_MAYBE_UNUSED const purlin_training *training,  \
                                PURLIN_MAYBE_UNUSED const specification_type *specification)

/* ---- For trainers: the contract over HTTP. Each may park and tries again while the server is away, for ten minutes or, if that is
 * longer, as long as the process has run (a restart of the daemon costs a trainer nothing but patience). PURLIN_CANCELLED when the server says that the attempt is no longer wanted: stop then.
 * Everything given is borrowed. Other errors of all: PURLIN_TIMEOUT, PURLIN_UNAVAILABLE (away for too long), those of purlin_http, and
 * what the server refused. --------- */

/* Downloads the dataset, or one part of it ("train", "validation", or NULL), to a new file. May park. PURLIN_NOT_FOUND when there is no such part:
 * nothing was held out for validation. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_training_fetch(purlin_ctx *ctx, const purlin_training *training,
                                                              const char *part, const char *path);
/* Uploads a file as an artifact; "model" is the model. May park. PURLIN_INVALID when `name` has other characters than letters, digits,
 * '.', '_' and '-'. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_training_upload(purlin_ctx *ctx, const purlin_training *training,
                                                               const char *name, const char *path);
/* Sends one report. May park. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_training_send(purlin_ctx *ctx, const purlin_training *training,
                                                             const purlin_training_report *report);

PURLIN_END

#endif
