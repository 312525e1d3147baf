/* serving.h: what the files of this plugin share.
 *
 * endpoints.c  deployments: a name that serves a version of a model, and its history
 * models.c     loaded models, counted references
 * logged.c     versions that a client of MLflow logged: their bytes and signature out of its files; logged_signature.c, mlmodel.c
 * cache.c      what each event loop knows of the endpoints: found without a lock and without a query
 * tensor.c     requests to rows of numbers (no SDK)
 * infer.c      POST /v2/models/{name}/infer of the Open Inference Protocol
 * protocol.c   its errors and its other routes
 * log.c        the prediction log: gathered per loop, written in the background
 * feedback.c   labels, and what they say about predictions
 * export.c     labelled rows as a version of a dataset
 * csv.c        rows out of CSV (no SDK)
 * evaluate.c   how a version does on a dataset
 * retention.c  what is swept: old predictions, and what deleted endpoints left behind */
#ifndef SERVING_H
#define SERVING_H

#include <purlin/purlin.h>
#include <purlin/contracts/predictor.h>
#include <purlin/contracts/storage.h>
#include <stdatomic.h>
#include "tensor.h"

#define SERVING_RELEASE "0.1.0"
#define SERVING_NAME_RULE .pattern = "[^/:@]+", .min_length = 1, .max_length = 250

typedef struct serving_configuration {
  int64_t prediction_days, prediction_rows;
} serving_configuration;
PURLIN_SCHEMA(serving_configuration, "What is kept, and how long",
    PURLIN_DEFAULT(prediction_days, "90", "Days for which a prediction stays in the log; 0: for ever", .min = 0, .max = 36500),
    PURLIN_DEFAULT(prediction_rows, "0", "At most so many of the newest predictions stay in the log; 0: any number", .min = 0, .max = 9e15));

/* ---- models.c ------------------------------------------------------------------------------------------------------------------------- */

/* Where a version's model is; all that loading needs, so that it needs no identity. */
typedef struct source {
  const char *model;
  int64_t version;
  const char *framework, *sha256;
  int64_t size;
  purlin_json signature;
} source;
PURLIN_SCHEMA(source, "A version's bytes and shape",
    PURLIN_REQUIRED(model, "model"),
    PURLIN_REQUIRED(version, "version"),
    PURLIN_REQUIRED(framework, "framework"),
    PURLIN_REQUIRED(sha256, "bytes"),
    PURLIN_REQUIRED(size, "size"),
    PURLIN_REQUIRED(signature, "signature"));

/* A loaded model: immutable but for its counter. */
typedef struct served {
  atomic_size_t references;
  const purlin_predictor *predictor;
  purlin_model *model;
  char *workspace, *name, *version_text, *framework, *sha256, *output_name, *platform, *signature;
  int64_t version;
  tensor_columns columns;
  char **column_names, **column_types;
  tensor_rule *rules;
  char *
      label_name; /* NULL: only what the model gives is told; else also the class that it gives the highest probability, before it */
  size_t outputs, memory_bytes;
  atomic_uint_fast64_t used_ns; /* when it was last taken */
  struct served *next;          /* in the list of all */
} served;

/* The loaded model of a version of the context's workspace; loads it when need be, on pools. Owned: served_leave. May park. */
PURLIN_CHECKED purlin_status served_load(purlin_ctx *ctx, const source *from, served **out);
/* A blob of the context's workspace with a NUL behind it, owned: free. PURLIN_TOO_LARGE beyond `most`. May park. */
PURLIN_CHECKED purlin_status served_fetch(purlin_ctx *ctx, const char *sha256, int64_t most, char **out, size_t *size);
/* Which class a row's outputs stand for: the likeliest, and of one probability whether it is above a half. */
long served_label(const served *s, const float *outputs);
void served_keep(served *s);
void served_leave(served *s);
/* Unloads what nobody has used for a minute. Does not park. */
void served_sweep(void);
/* At the end: unloads what nobody uses. */
void served_close(void);

/* ---- cache.c ---------------------------------------------------------------------------------------------------------------------------- */

/* An endpoint as it serves now; immutable but for the counters. */
typedef struct endpoint {
  atomic_size_t references;
  char *id, *workspace, *project, *name;
  int64_t deployment;
  served *served;
  atomic_uint_fast64_t suspect_until_ns; /* a deployment is under way: ask the database */
  struct endpoint *next;
} endpoint;

/* One loop's hold on an endpoint. */
typedef struct slot {
  endpoint *endpoint;
  size_t uses;
  bool retired;
} slot;

/* The endpoint, for whoever may predict with it; slot_leave afterwards, on the same loop. PURLIN_NOT_FOUND is recorded. Parks only when this node does not
 * know the endpoint yet. */
PURLIN_CHECKED purlin_status slot_find(purlin_ctx *ctx, const char *name, slot **out);
void slot_leave(slot *s);
/* The same for the {name}, and the {version} if there is one, of a request; PURLIN_NOT_FOUND when another version serves. (protocol.c) */
PURLIN_CHECKED purlin_status slot_of_request(purlin_ctx *ctx, purlin_request *request, slot **out);
/* For a deployment whose transaction is about to commit: until that is seen, predictions look whether it has. */
void endpoint_suspect(const char *workspace, const char *name);
/* Switches what other nodes have deployed. May park. */
void endpoints_refresh(purlin_ctx *ctx, void *unused);
/* At the end, when nothing predicts any more: lets go of everything. */
void cache_close(void);

/* ---- protocol.c -------------------------------------------------------------------------------------------------------------------------------- */

extern const purlin_dialect open_inference;

/* ---- endpoints.c --------------------------------------------------------------------------------------------------------------------------- */

typedef struct endpoint_row {
  const char *id, *project;
  int64_t deployment, labelled;
} endpoint_row;
PURLIN_SCHEMA(endpoint_row, "A row of serving_endpoints",
    PURLIN_REQUIRED(id, "id"),
    PURLIN_REQUIRED(project, "project"),
    PURLIN_REQUIRED(deployment, "deployment"),
    PURLIN_REQUIRED(labelled, "labelled"));
/* The endpoint, for whoever holds `permission` for it; locked for the transaction when `lock`. PURLIN_NOT_FOUND and PURLIN_FORBIDDEN are
 * recorded. May park. */
PURLIN_CHECKED purlin_status endpoint_find(purlin_ctx *ctx, const char *name, const char *permission, bool lock,
                                           endpoint_row *out);
/* Where the version that serves now is. May park. */
PURLIN_CHECKED purlin_status endpoint_source(purlin_ctx *ctx, const endpoint_row *of, source *out);
/* "7" or "@champion" of a model in the registry, as the caller; of one that a client logged, out of its files. May park. */
PURLIN_CHECKED purlin_status registry_source(purlin_ctx *ctx, const char *model, const char *version, source *out);

/* ---- log.c ------------------------------------------------------------------------------------------------------------------------------------ */

/* Remembers the rows of an answered request. May park when the buffer is full. */
void log_predictions(purlin_ctx *ctx, const endpoint *of, const char *id, size_t id_size, const float *values,
                     const float *outputs, size_t rows);
/* An id that this process never gave before; arena. Does not park. */
const char *log_new_id(purlin_ctx *ctx);
/* Writes what this loop has gathered, if it has waited long enough or somebody asked. */
void log_tick(purlin_ctx *ctx, void *unused);
/* Waits until all that this process had gathered is written (or lost, after 2 s). Before the first write of an operation. May park. */
PURLIN_CHECKED purlin_status log_settle(purlin_ctx *ctx);
/* Writes everything, at the end. May park. */
void log_close(purlin_ctx *ctx);

/* ---- feedback.c ------------------------------------------------------------------------------------------------------------------------------- */

typedef struct labelled_row {
  purlin_json inputs;
  double prediction, label;
  int64_t version;
} labelled_row;
PURLIN_SCHEMA(labelled_row, "A labelled prediction",
    PURLIN_REQUIRED(inputs, "What the model was given, as a list; null where a value was missing"),
    PURLIN_REQUIRED(prediction, "What it said"),
    PURLIN_REQUIRED(label, "What was true"),
    PURLIN_REQUIRED(version, "Which version of the model said it"));

#define SERVING_LABELLED_FROM                                                                                                       \
  " FROM serving_feedback f LEFT JOIN serving_predictions p ON p.endpoint_id = f.endpoint_id AND p.prediction_id = f.prediction_id" \
  " WHERE f.endpoint_id = ? AND f.labelled_index >= ? AND f.labelled_index < ?"
#define SERVING_INPUTS "COALESCE(f.inputs, p.inputs)"
#define SERVING_OUTPUT "COALESCE(f.prediction, p.output)"
#define SERVING_VERSION "COALESCE(f.version, p.version)"

/* Waits a little for predictions of the range whose log entry is still on its way, here or on another node. May park. */
PURLIN_CHECKED purlin_status feedback_wait(purlin_ctx *ctx, const endpoint_row *of, int64_t from, int64_t to);

#endif
