/* trainer.h: what the parts of trainer-process share.
 *
 *   plugin.c     the manifest, configuration and specification
 *   command.c    which commands may run, and running one: its environment, its group, its output
 *   output.c     what it writes: lines of log, and reports on lines that begin with "purlin:"
 *   train.c      one training from data to outcome */
#ifndef PROCESS_TRAINER_H
#define PROCESS_TRAINER_H

#include <purlin/contracts/trainer.h>
#include <purlin/purlin.h>
#include <sys/types.h>

typedef struct process_configuration {
  purlin_texts allow;
} process_configuration;
PURLIN_SCHEMA(process_configuration, "Which commands may run",
    PURLIN_OPTIONAL(allow, "Programs by absolute path, folders of programs by a path that ends with '/', or \"*\" for any command; nothing when absent", .max_length = 1000));

typedef struct process_specification {
  purlin_texts command, environment;
  int64_t timeout_s;
  bool download;
  purlin_opt_text model_file, framework;
  purlin_json signature, parameters;
} process_specification;
PURLIN_SCHEMA(process_specification, "A command that trains",
    PURLIN_OPTIONAL(command, "The program and its arguments", .min_length = 1, .max_length = 1000),
    PURLIN_OPTIONAL(environment, "Further variables, each NAME=VALUE", .max_length = 1000),
    PURLIN_DEFAULT(timeout_s, "0", "How long it may run; 0: no limit", .min = 0, .max = 31536000),
    PURLIN_DEFAULT(download, "false", "Whether train.csv and validation.csv are to lie in its working directory"),
    PURLIN_OPTIONAL(model_file, "A file that it leaves behind, to be uploaded as the model", .min_length = 1, .max_length = 1000),
    PURLIN_OPTIONAL(framework, "Which predictor serves the model", .max_length = 100),
    PURLIN_OPTIONAL(signature, "What the model takes and gives"),
    PURLIN_OPTIONAL(parameters, "Whatever the command wants to know; it finds the whole specification in PURLIN_SPECIFICATION"));

/* ---- command.c ------------------------------------------------------------------------------------------------------------- */

enum { OUTPUT_BLOCK = 16 * 1024 };

typedef struct command {
  pid_t pid;  /* also its process group */
  int output; /* its stdout and stderr; -1 when closed */
  bool ended;
  int wait_status;
  char block[OUTPUT_BLOCK]; /* what was read last */
  size_t size;
  int patience_ms;
} command;

/* PURLIN_FORBIDDEN when the configuration does not allow it, PURLIN_INVALID, PURLIN_UNAVAILABLE. */
PURLIN_CHECKED purlin_status command_start(purlin_ctx *ctx, const purlin_training *training,
                                           const process_specification *specification, command *c);
/* Reads some of its output, or sees that it ended; at most about 200 ms. May park. */
PURLIN_CHECKED purlin_status command_follow(purlin_ctx *ctx, command *c);
/* SIGTERM to its group, SIGKILL after some seconds; returns when it has gone. Blocks: for those who were cancelled. */
void command_stop(command *c);
/* After its end: kills what it left behind in its group and closes its output. */
void command_close(command *c);

/* ---- output.c -------------------------------------------------------------------------------------------------------------- */

enum { LOG_BATCH = 16 * 1024, LINE_LONGEST = 32 * 1024, METRICS_BATCH = 400, TAIL_SIZE = 1200 };

typedef struct outcome {
  char *state, *message, *framework, *signature; /* as the command's last words said; owned; NULL: not said */
} outcome;

typedef struct output {
  purlin_ctx *ctx;
  const purlin_training *training;
  purlin_mark mark; /* everything since belongs to the batch */
  char line[LINE_LONGEST];
  size_t line_size;
  bool line_too_long;
  char log[LOG_BATCH + LINE_LONGEST + 512];
  size_t log_size;
  char tail[TAIL_SIZE + 1]; /* the end of all that was written */
  size_t tail_size;
  purlin_training_report report; /* the batch */
  purlin_training_metric metrics[METRICS_BATCH];
  size_t reports_in_batch;
  uint64_t sent_ns;
  outcome said;
} output;

void output_begin(output *o, purlin_ctx *ctx, const purlin_training *training);
/* Takes bytes of output; sends a batch when there is enough or a second has passed. May park. */
PURLIN_CHECKED purlin_status output_take(output *o, const char *data, size_t size);
/* The last, unfinished line, and the last batch. May park. */
PURLIN_CHECKED purlin_status output_end(output *o);
/* The last lines. Borrowed. */
const char *output_tail(output *o);
void output_free(output *o);

/* ---- train.c ---------------------------------------------------------------------------------------------------------------- */

PURLIN_CHECKED purlin_status train(purlin_ctx *ctx, const purlin_training *training,
                                   const process_specification *specification);

#endif
