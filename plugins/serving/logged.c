#include "logged.h"
#include <purlin/contracts/artifacts.h>
#include <stdlib.h>
#include <string.h>
#include "mlmodel.h"

enum { LARGEST_MODEL = 512 * 1024 * 1024 };

/* A version while its files are looked at. */
typedef struct looking {
  const registry_version *version;
  artifacts_place folder;
  mlmodel said;
  artifacts_file file;
  source *out;
} looking;

/* ---- Where the files are ---------------------------------------------------------------------------------------------------------- */

/* The next component of a path; NULL: there is none. */
static const char *component(purlin_ctx *ctx, const char **path) {
  while (**path == '/') ++*path;
  size_t size = strcspn(*path, "/");
  const char *taken = size ? purlin_copy_bytes(ctx, *path, size) : NULL;
  *path += size;
  return taken;
}

/* "EXPERIMENT/models/m-ID/artifacts/PATH", "EXPERIMENT/RUN/artifacts/PATH". */
static bool read_artifact_path(purlin_ctx *ctx, const char *path, artifacts_place *out) {
  const char *experiment = component(ctx, &path), *owner = component(ctx, &path);
  bool model = owner && strcmp(owner, "models") == 0;
  if (model) owner = component(ctx, &path);
  const char *folder = component(ctx, &path);
  if (!experiment || !owner || !folder || strcmp(folder, "artifacts") != 0) return false;
  while (*path == '/') path++;
  *out = (artifacts_place){.kind = model ? "model" : "run", .owner = owner, .path = path, .uri = ""};
  return true;
}

static const char *after(const char *text, const char *prefix) {
  size_t size = strlen(prefix);
  return strncmp(text, prefix, size) == 0 ? text + size : NULL;
}

static bool read_place(purlin_ctx *ctx, const char *uri, artifacts_place *out) {
  const char *rest = after(uri, "mlflow-artifacts:/");
  if (rest) return read_artifact_path(ctx, rest, out);
  if ((rest = after(uri, "models:/")) && strchr(rest, '/') == NULL) {
    *out = (artifacts_place){.kind = "model", .owner = rest, .path = "", .uri = ""};
    return true;
  }
  if (!(rest = after(uri, "runs:/"))) return false;
  const char *run = component(ctx, &rest);
  while (*rest == '/') rest++;
  *out = (artifacts_place){.kind = "run", .owner = run ? run : "", .path = rest, .uri = ""};
  return run != NULL;
}

static purlin_status find_folder(purlin_ctx *ctx, looking *l) {
  const registry_version *v = l->version;
  const char *uri = v->location.state == PURLIN_SET ? v->location.value
                    : v->source.state == PURLIN_SET ? v->source.value
                                                    : "";
  if (read_place(ctx, uri, &l->folder)) return PURLIN_OK;
  return purlin_fail(
      ctx, PURLIN_CONFLICT,
      "the files of version %lld of '%s' are at '%.300s', which this server does not read; log the model with the"
      " artifacts of the server to have it served",
      (long long)v->version, v->name, uri);
}

/* ---- Reading them -------------------------------------------------------------------------------------------------------------------- */

static purlin_status find_file(purlin_ctx *ctx, const looking *l, const char *name, artifacts_file *out) {
  artifacts_place at = l->folder;
  size_t size = strlen(at.path);
  while (size > 0 && at.path[size - 1] == '/') size--;
  at.path = size ? purlin_format(ctx, "%.*s/%s", (int)size, at.path, name) : name;
  if (!at.path) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_call(ctx, "artifacts.get", artifacts_place_schema(), &at, artifacts_file_schema(), out);
  if (status != PURLIN_NOT_FOUND) return status;
  return purlin_fail(ctx, PURLIN_CONFLICT, "version %lld of '%s' has no file '%.300s': was it logged to the end?",
                     (long long)l->version->version, l->version->name, name);
}

static purlin_status read_mlmodel(purlin_ctx *ctx, looking *l) {
  artifacts_file file = {0};
  char *text = NULL, why[MLMODEL_WHY];
  size_t size = 0;
  purlin_status status = find_file(ctx, l, "MLmodel", &file);
  if (status == PURLIN_OK && file.size > MLMODEL_LARGEST)
    status = purlin_fail(ctx, PURLIN_CONFLICT, "MLmodel has %lld bytes, more than are read", (long long)file.size);
  if (status == PURLIN_OK) status = served_fetch(ctx, file.sha256, MLMODEL_LARGEST, &text, &size);
  if (status != PURLIN_OK) return status;
  if (!mlmodel_read(text, size, &l->said, why)) status = purlin_fail(ctx, PURLIN_CONFLICT, "%s", why);
  free(text);
  return status;
}

static const struct {
  const char *name;
  bool classifies; /* the client predicts classes with it, not probabilities */
} CLASSES[] = {{"xgboost.core.Booster", false},           {"xgboost.sklearn.XGBModel", false},
               {"xgboost.sklearn.XGBRegressor", false},   {"xgboost.sklearn.XGBClassifier", true},
               {"xgboost.sklearn.XGBRFRegressor", false}, {"xgboost.sklearn.XGBRFClassifier", true},
               {"xgboost.sklearn.XGBRanker", false}};
enum { NAMES = sizeof CLASSES / sizeof CLASSES[0] };

/* Its place in CLASSES; NAMES: it is not served. Old releases logged boosters only and did not say so. */
static size_t class_of(const looking *l) {
  size_t at = 0;
  while (l->said.model_class && at < NAMES && strcmp(CLASSES[at].name, l->said.model_class) != 0) at++;
  return at;
}

static purlin_status check_flavor(purlin_ctx *ctx, const looking *l) {
  const registry_version *v = l->version;
  if (!l->said.xgboost)
    return purlin_fail(ctx, PURLIN_CONFLICT, "version %lld of '%s' has the flavors %.500s; served is the flavor xgboost",
                       (long long)v->version, v->name, l->said.flavors ? l->said.flavors : "(none)");
  if (!l->said.data)
    return purlin_fail(ctx, PURLIN_CONFLICT, "MLmodel of version %lld of '%s' does not name the model's file",
                       (long long)v->version, v->name);
  if (class_of(l) == NAMES)
    return purlin_fail(ctx, PURLIN_CONFLICT,
                       "version %lld of '%s' is of the class %.200s; Booster, XGBClassifier, XGBRegressor, XGBRanker,"
                       " XGBRFClassifier and XGBRFRegressor of xgboost are served",
                       (long long)v->version, v->name, l->said.model_class);
  return PURLIN_OK;
}

/* ---- What the model takes ------------------------------------------------------------------------------------------------------------ */

static purlin_status describe(purlin_ctx *ctx, const looking *l, purlin_signature *own) {
  const purlin_predictor *predictor = purlin_use(ctx, predictor, "xgboost");
  if (!predictor || !predictor->describe)
    return purlin_fail(ctx, PURLIN_CONFLICT, "no installed plugin serves the framework 'xgboost'");
  char *bytes = NULL;
  size_t size = 0;
  purlin_status status = served_fetch(ctx, l->file.sha256, LARGEST_MODEL, &bytes, &size);
  if (status == PURLIN_OK) status = predictor->describe(ctx, bytes, size, own);
  free(bytes);
  return status;
}

static bool has_names(const purlin_signature *signature) {
  for (size_t i = 0; i < signature->inputs.count; i++)
    if (!*signature->inputs.items[i].name) return false;
  return signature->inputs.count > 0;
}

static purlin_status take_inputs(purlin_ctx *ctx, const purlin_signature *own, purlin_signature *signature) {
  if (signature->inputs.count > 0 && signature->inputs.count != own->inputs.count)
    return purlin_fail(ctx, PURLIN_CONFLICT, "the model takes %zu columns and its signature has %zu", own->inputs.count,
                       signature->inputs.count);
  for (size_t i = 0; i < signature->inputs.count; i++) {
    const purlin_tensor_spec *said = &signature->inputs.items[i];
    if (*said->name) own->inputs.items[i].name = said->name;
    own->inputs.items[i].datatype = said->datatype;
    own->inputs.items[i].optional = said->optional;
  }
  signature->inputs.items = own->inputs.items;
  signature->inputs.count = own->inputs.count;
  return PURLIN_OK;
}

/* Of a classifier the class comes first, as the client predicts it, and then the probability. */
static purlin_status take_outputs(purlin_ctx *ctx, const purlin_signature *own, purlin_signature *signature) {
  bool probabilities = own->outputs.count == 1 && strcmp(own->outputs.items[0].datatype, "FP32") == 0;
  purlin_tensor_spec *both = probabilities ? purlin_alloc_array(ctx, 2, sizeof *both) : NULL;
  if (!both) return probabilities ? PURLIN_TOO_LARGE : PURLIN_OK;
  const char *name = signature->outputs.count == 1 ? signature->outputs.items[0].name : "prediction";
  both[0] = (purlin_tensor_spec){.name = name, .datatype = "INT64"};
  both[1] =
      (purlin_tensor_spec){.name = strcmp(name, "probability") == 0 ? "probabilities" : "probability", .datatype = "FP32"};
  signature->outputs.items = both;
  signature->outputs.count = 2;
  return PURLIN_OK;
}

/* What the signature does not say, the model does; of types of columns only the signature knows. */
static purlin_status complete(purlin_ctx *ctx, const looking *l, purlin_signature *signature) {
  purlin_signature own = {0};
  bool named = has_names(signature), classifies = CLASSES[class_of(l)].classifies;
  if (named && !classifies) return PURLIN_OK;
  purlin_status status = describe(ctx, l, &own);
  if (status == PURLIN_OK && !named) status = take_inputs(ctx, &own, signature);
  if (status == PURLIN_OK && classifies) status = take_outputs(ctx, &own, signature);
  return status;
}

static purlin_status look(purlin_ctx *ctx, looking *l) {
  purlin_signature signature;
  const registry_version *v = l->version;
  purlin_json json = {0};
  purlin_status status = find_folder(ctx, l);
  if (status == PURLIN_OK) status = read_mlmodel(ctx, l);
  if (status == PURLIN_OK) status = check_flavor(ctx, l);
  if (status == PURLIN_OK) status = find_file(ctx, l, l->said.data, &l->file);
  if (status == PURLIN_OK) status = logged_signature(ctx, l->said.inputs, l->said.outputs, &signature);
  if (status == PURLIN_OK) status = complete(ctx, l, &signature);
  if (status == PURLIN_OK) status = purlin_encode(ctx, purlin_signature_schema(), &signature, &json);
  if (status == PURLIN_OK) *l->out = (source){v->name, v->version, "xgboost", l->file.sha256, l->file.size, json};
  return status;
}

purlin_status logged_source(purlin_ctx *ctx, const registry_version *version, source *out) {
  looking l = {.version = version, .out = out};
  purlin_status status = look(ctx, &l);
  mlmodel_free(&l.said);
  return status;
}
