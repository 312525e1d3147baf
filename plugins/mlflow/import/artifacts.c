#include "import.h"
#include <stdio.h>
#include <string.h>

enum { DEEPEST = 100, MOST_FILES = 1000000 };

/* Whose files, on both sides. */
typedef struct owner {
  importing *of;
  bool model;
  const char *there, *here;
  const char *below; /* where ours are put, of the proxy */
  int64_t files;     /* and folders */
  bool fine;
} owner;

static const char *list_path(bool model, const char *id, const char *folder, const char *token) {
  const char *page = *token ? say("&page_token=%s", escaped(token, false)) : "";
  if (model)
    return say("/api/2.0/mlflow/logged-models/%s/artifacts/directories?artifact_directory_path=%s%s", escaped(id, false),
               escaped(folder, false), page);
  return say("/api/2.0/mlflow/artifacts/list?run_id=%s%s%s%s", escaped(id, false), *folder ? "&path=" : "",
             escaped(folder, false), page);
}

static const char *file_path(const owner *o, const char *path) {
  if (o->model)
    return say("/ajax-api/2.0/mlflow/logged-models/%s/artifacts/files?artifact_file_path=%s", escaped(o->there, false),
               escaped(path, false));
  return say("/get-artifact?run_id=%s&path=%s", escaped(o->there, false), escaped(path, false));
}

typedef void visitor(owner *o, const cJSON *entry, void *argument);

/* Each entry of a folder. False: it cannot be listed. */
static bool each_entry(owner *o, server *s, const char *id, const char *folder, visitor *visit, void *argument) {
  paging at = {0};
  bool more = true;
  while (more) {
    cJSON *page = NULL;
    if (!ask(s, "GET", list_path(o->model, id, folder, at.token), NULL, &page)) return false;
    const cJSON *entry;
    cJSON_ArrayForEach(entry, member(page, "files")) visit(o, entry, argument);
    more = turn_page(&at, s, page, "files");
    cJSON_Delete(page);
  }
  return !at.broken;
}

/* The SHA-256 of a file of ours, as it is kept; "" when it is not told. */
static const char *digest_here(owner *o, const char *path) {
  cJSON *ask_for = cJSON_CreateObject(), *answer = NULL;
  add_text(ask_for, "kind", o->model ? "model" : "run");
  add_text(ask_for, "owner", o->here);
  add_text(ask_for, "path", path);
  bool fine = ask(&o->of->to, "POST", "/api/v1/op/artifacts.get", ask_for, &answer);
  const char *digest = fine ? say("%s", text_of(answer, "sha256")) : "";
  cJSON_Delete(ask_for);
  cJSON_Delete(answer);
  return digest;
}

static const char *target(const owner *o, const char *path) {
  return say("/api/2.0/mlflow-artifacts/artifacts/%s/%s", o->below, escaped(path, true));
}

/* Whether what lies here has the digest of what was read there. */
static bool is_same(owner *o, const char *path, const char digest[65]) {
  const char *kept = digest_here(o, path);
  if (*kept) return strcmp(kept, digest) == 0;
  char read[65] = "";
  int64_t size = -1;
  return stream_digest(&o->of->to, target(o, path), &size, read) && strcmp(read, digest) == 0;
}

static bool copy_file(owner *o, const char *path, int64_t size) {
  char digest[65] = "";
  server *from = &o->of->from;
  for (unsigned attempt = 0; attempt < 3; attempt++) {
    int64_t told = size;
    if (!stream(from, file_path(o, path), &o->of->to, target(o, path), &told, digest)) continue;
    if (is_same(o, path, digest)) return true;
    (void)snprintf(from->message, sizeof from->message, "the checksums differ");
  }
  problem(o->of, "%s: %s: %s", o->there, path, from->message);
  return false;
}

static bool matches(owner *o, const char *path) {
  char digest[65] = "";
  int64_t size = -1;
  return stream_digest(&o->of->from, file_path(o, path), &size, digest) && is_same(o, path, digest);
}

static void note_size(owner *o, const cJSON *entry, void *sizes) {
  (void)o;
  if (!cJSON_IsTrue(member(entry, "is_dir")))
    map_put(sizes, text_of(entry, "path"), say("%lld", (long long)number_of(entry, "file_size")));
}

typedef struct folder {
  const char *path;
  map here; /* sizes, by path */
  unsigned depth;
} folder;

static void walk(owner *o, const char *path, unsigned depth);

static void import_file(owner *o, const cJSON *entry, const char *path, const folder *in) {
  bool sized = member(entry, "file_size") != NULL;
  int64_t size = sized ? number_of(entry, "file_size") : -1;
  const char *known = map_get(&in->here, path);
  o->of->there[FILES]++;
  o->of->there[BYTES] += size > 0 ? size : 0;
  progress(o->of, path);
  /* A file is put whole or not at all, so one of the same size is the one. */
  bool there_already = known && sized && strcmp(known, say("%lld", (long long)size)) == 0;
  if (there_already && o->of->checksums) there_already = matches(o, path);
  if (!there_already && !copy_file(o, path, size)) {
    o->fine = false;
    return;
  }
  o->of->here[FILES]++;
  o->of->here[BYTES] += size > 0 ? size : 0;
}

/* One name below the folder that was asked for: nothing that leads elsewhere, here or there. */
static bool is_below(const char *path, const char *parent) {
  size_t size = strlen(parent);
  if (size > 0 && (strncmp(path, parent, size) != 0 || path[size] != '/')) return false;
  const char *name = path + size + (size > 0);
  if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strpbrk(name, "/\\")) return false;
  for (const char *at = name; *at; at++)
    if ((unsigned char)*at < 0x20 || *at == 0x7f) return false;
  return true;
}

static void refuse(owner *o, const char *path, const char *why) {
  problem(o->of, "%s: '%s' is not copied: %s", o->there, path, why);
  o->fine = false;
}

static void visit(owner *o, const cJSON *entry, void *argument) {
  const folder *in = argument;
  const char *path = text_of(entry, "path");
  if (!is_below(path, in->path)) return refuse(o, path, "that is no place below its folder");
  if (in->depth >= DEEPEST) return refuse(o, path, "folders are too deep");
  if (++o->files > MOST_FILES) return o->files == MOST_FILES + 1 ? refuse(o, path, "that are too many files") : (void)0;
  pool_block *mark = pool_mark();
  if (cJSON_IsTrue(member(entry, "is_dir"))) walk(o, path, in->depth + 1);
  else import_file(o, entry, path, in);
  pool_release(mark);
}

static void walk(owner *o, const char *path, unsigned depth) {
  pool_block *mark = pool_mark();
  folder in = {.path = say("%s", path), .depth = depth};
  path = in.path;
  (void)each_entry(o, &o->of->to, o->here, path, note_size, &in.here);
  if (!each_entry(o, &o->of->from, o->there, path, visit, &in)) {
    problem(o->of, "%s: the files in '%s' cannot be listed: %s", o->there, path, o->of->from.message);
    o->fine = false;
  }
  map_free(&in.here);
  pool_release(mark);
}

bool import_files(importing *of, bool model, const char *there_id, const char *id, const char *uri) {
  static const char scheme[] = "mlflow-artifacts:";
  if (!of->artifacts) return true;
  pool_block *mark = pool_mark();
  const char *path = uri + (strncmp(uri, scheme, sizeof scheme - 1) == 0 ? sizeof scheme - 1 : 0);
  owner o = {.of = of, .model = model, .there = there_id, .here = id, .fine = path != uri};
  o.below = escaped(path + strspn(path, "/"), true);
  if (o.fine) walk(&o, "", 0);
  else problem(of, "%s: its files are kept at %s, which only a client reaches", there_id, uri);
  pool_release(mark);
  return o.fine;
}
