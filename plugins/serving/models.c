#include "serving.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 1024 * 1024 };
#define MOST_BYTES ((int64_t)2 * 1024 * 1024 * 1024)
#define IDLE_NS UINT64_C(60000000000)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the list; never held while parking */
static served *all;                                      /* the list holds one reference of each */
static purlin_mutex loading;                             /* one model is loaded at a time, so that it is loaded once */

void served_keep(served *s) { atomic_fetch_add(&s->references, 1); }

static void free_texts(char **texts, size_t count) {
  for (size_t i = 0; texts && i < count; i++) free(texts[i]);
  free((void *)texts);
}

void served_leave(served *s) {
  if (!s || atomic_fetch_sub(&s->references, 1) != 1) return;
  if (s->model) s->predictor->unload(s->model);
  free_texts(s->column_names, s->columns.count);
  free_texts(s->column_types, s->columns.count);
  free(s->rules);
  free(s->workspace);
  free(s->name);
  free(s->version_text);
  free(s->framework);
  free(s->sha256);
  free(s->output_name);
  free(s->label_name);
  free(s->platform);
  free(s->signature);
  free(s);
}

/* All that a version is made of. The bytes are those of a workspace: whoever knows their SHA-256 elsewhere does not have them. */
static bool is_from(const served *s, const char *workspace, const source *from) {
  return s->version == from->version && strcmp(s->workspace, workspace) == 0 && strcmp(s->sha256, from->sha256) == 0 &&
         strcmp(s->name, from->model) == 0 && strcmp(s->framework, from->framework) == 0 &&
         strlen(s->signature) == from->signature.size &&
         memcmp(s->signature, from->signature.text, from->signature.size) == 0;
}

static served *find(const char *workspace, const source *from) {
  (void)pthread_mutex_lock(&lock);
  served *s = all;
  while (s && !is_from(s, workspace, from)) s = s->next;
  if (s) {
    served_keep(s);
    atomic_store(&s->used_ns, purlin_ticks_ns());
  }
  (void)pthread_mutex_unlock(&lock);
  return s;
}

static void sweep(uint64_t idle_ns) {
  served *unused = NULL;
  uint64_t now = purlin_ticks_ns();
  (void)pthread_mutex_lock(&lock);
  for (served **at = &all; *at;) {
    served *s = *at;
    if (atomic_load(&s->references) > 1) atomic_store(&s->used_ns, now);
    if (now - atomic_load(&s->used_ns) < idle_ns) {
      at = &s->next;
      continue;
    }
    *at = s->next;
    s->next = unused;
    unused = s;
  }
  (void)pthread_mutex_unlock(&lock);
  while (unused) {
    served *next = unused->next;
    served_leave(unused);
    unused = next;
  }
}

void served_sweep(void) { sweep(IDLE_NS); }
void served_close(void) { sweep(0); }

/* ---- Loading -------------------------------------------------------------------------------------------------------------------------- */

/* An output of INT64 and one more: the class, and what it is told from. */
static bool name_outputs(served *s, const purlin_signature *signature) {
  const purlin_tensor_spec *outputs = signature->outputs.items;
  bool labelled = signature->outputs.count > 1 && strcmp(outputs[0].datatype, "INT64") == 0;
  s->output_name = strdup(signature->outputs.count ? outputs[labelled].name : "output");
  s->label_name = labelled ? strdup(outputs[0].name) : NULL;
  if (!labelled) return s->output_name != NULL;
  s->columns.outputs[0] = s->label_name;
  s->columns.outputs[1] = s->output_name;
  s->columns.output_count = 2;
  return s->output_name && s->label_name;
}

long served_label(const served *s, const float *outputs) {
  if (s->outputs == 1) return outputs[0] > 0.5f;
  size_t best = 0;
  for (size_t i = 1; i < s->outputs; i++)
    if (outputs[i] > outputs[best]) best = i;
  return (long)best;
}

static served *describe(const char *workspace, const source *from, const purlin_signature *signature) {
  served *s = calloc(1, sizeof *s);
  if (!s) return NULL;
  char version[24], platform[128];
  (void)snprintf(version, sizeof version, "%lld", (long long)from->version);
  (void)snprintf(platform, sizeof platform, "purlin_%s", from->framework);
  atomic_init(&s->references, 1);
  atomic_init(&s->used_ns, purlin_ticks_ns());
  size_t count = s->columns.count = signature->inputs.count;
  s->version = from->version;
  s->workspace = strdup(workspace);
  s->name = strdup(from->model);
  s->version_text = strdup(version);
  s->framework = strdup(from->framework);
  s->platform = strdup(platform);
  s->signature = strndup(from->signature.text, from->signature.size);
  s->sha256 = strdup(from->sha256);
  s->column_names = calloc(count + 1, sizeof(char *));
  s->column_types = calloc(count + 1, sizeof(char *));
  s->rules = calloc(count + 1, sizeof *s->rules);
  s->columns.names = (const char *const *)s->column_names;
  s->columns.rules = s->rules;
  bool fine = name_outputs(s, signature) && s->workspace && s->name && s->version_text && s->framework && s->platform &&
              s->signature && s->sha256 && s->column_names && s->column_types && s->rules;
  for (size_t i = 0; fine && i < count; i++) {
    s->column_names[i] = strdup(signature->inputs.items[i].name);
    s->column_types[i] = strdup(signature->inputs.items[i].datatype);
    fine = s->column_names[i] && s->column_types[i];
    s->rules[i] = tensor_rule_of(signature->inputs.items[i].datatype);
    s->rules[i].optional = signature->inputs.items[i].optional.value;
  }
  if (fine) return s;
  served_leave(s);
  return NULL;
}

purlin_status served_fetch(purlin_ctx *ctx, const char *sha256, int64_t most, char **out, size_t *size) {
  const purlin_storage *storage = purlin_use(ctx, storage, NULL);
  purlin_blob_reader *reader = NULL;
  int64_t total = 0, at = 0;
  purlin_status status = storage ? storage->open(ctx, sha256, &reader, &total) : PURLIN_UNAVAILABLE;
  if (status != PURLIN_OK) return status;
  char *bytes = total <= most ? malloc((size_t)total + 1) : NULL;
  if (!bytes) status = purlin_fail(ctx, PURLIN_TOO_LARGE, "the blob has %lld bytes, more than fit", (long long)total);
  while (status == PURLIN_OK && at < total) {
    size_t got = 0, part = total - at < BLOCK ? (size_t)(total - at) : BLOCK;
    status = storage->read(ctx, reader, at, bytes + at, part, &got);
    if (status == PURLIN_OK && got == 0) status = purlin_fail(ctx, PURLIN_INTERNAL, "the blob %s ended early", sha256);
    at += (int64_t)got;
  }
  storage->close(ctx, reader);
  if (status != PURLIN_OK) {
    free(bytes);
    return status;
  }
  bytes[total] = '\0';
  *out = bytes;
  *size = (size_t)total;
  return PURLIN_OK;
}

static purlin_status load(purlin_ctx *ctx, const source *from, served **out) {
  purlin_signature signature = {0};
  purlin_status status =
      purlin_decode_stored(ctx, purlin_signature_schema(), from->signature.text, from->signature.size, &signature);
  if (status != PURLIN_OK) return status;
  const purlin_predictor *predictor = purlin_use(ctx, predictor, from->framework);
  if (!predictor)
    return purlin_fail(ctx, PURLIN_CONFLICT, "no installed plugin serves the framework '%s' of version %lld of '%s'",
                       from->framework, (long long)from->version, from->model);
  char *bytes = NULL;
  size_t size = 0;
  status = served_fetch(ctx, from->sha256, MOST_BYTES, &bytes, &size);
  if (status != PURLIN_OK) return status;
  served *s = describe(purlin_workspace(ctx), from, &signature);
  if (s) {
    s->predictor = predictor;
    status = predictor->load(ctx, bytes, size, &signature, &s->model, &s->outputs, &s->memory_bytes);
  } else status = purlin_fail(ctx, PURLIN_UNAVAILABLE, "out of memory");
  free(bytes);
  if (status != PURLIN_OK) {
    served_leave(s);
    return status;
  }
  purlin_log(ctx, PURLIN_INFO, "loaded version %s of '%s': %zu columns, %zu bytes", s->version_text, s->name,
             s->columns.count, s->memory_bytes);
  *out = s;
  return PURLIN_OK;
}

purlin_status served_load(purlin_ctx *ctx, const source *from, served **out) {
  if ((*out = find(purlin_workspace(ctx), from))) return PURLIN_OK;
  purlin_status status = purlin_lock(ctx, &loading);
  if (status != PURLIN_OK) return status;
  if (!(*out = find(purlin_workspace(ctx), from))) {
    status = load(ctx, from, out);
    if (status == PURLIN_OK) {
      served_keep(*out);
      (void)pthread_mutex_lock(&lock);
      (*out)->next = all;
      all = *out;
      (void)pthread_mutex_unlock(&lock);
    }
  }
  purlin_unlock(&loading);
  return status;
}
