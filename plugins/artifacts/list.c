#include "artifacts.h"
#include <stdio.h>
#include <string.h>

/* Rows are read in order of their paths. From a row within a folder it goes on behind that folder, so that what lies below costs nothing:
 * few rows are read at once where folders are large, many where there are files. */
enum { FEWEST = 16, FIRST = 256, MOST = 4096 };

static const char SELECT_ALL[] = "SELECT path, size FROM artifacts_files WHERE workspace = ? AND kind = ? AND owner = ?"
                                 " AND path >= ? ORDER BY path LIMIT ?";
static const char SELECT_IN[] = "SELECT path, size FROM artifacts_files WHERE workspace = ? AND kind = ? AND owner = ?"
                                " AND path >= ? AND path < ? ORDER BY path LIMIT ?";

typedef struct row {
  const char *path;
  int64_t size;
} row;
PURLIN_SCHEMA(row, "A file of the folder",
    PURLIN_REQUIRED(path, "path"),
    PURLIN_REQUIRED(size, "bytes"));
typedef PURLIN_LIST_OF(row) rows;

typedef struct listing {
  const artifacts_list *in;
  const char *folder; /* "" or ending with a slash */
  const char *end;    /* behind the folder; NULL: all of the owner's */
  const char *from;   /* the next row is not before this */
  artifacts_page *out;
  size_t limit;
} listing;

/* ---- Tokens: the last name, in hexadecimal, after what it is ------------------------------------------------------------------------ */

/* No path holds the character 1: behind the file, before what has it as a prefix. */
static const char *behind(purlin_ctx *ctx, const listing *l, const char *name, bool is_folder) {
  return purlin_format(ctx, "%s%s%s", l->folder, name, is_folder ? ARTIFACTS_AFTER_SLASH : "\x01");
}

static const char *token_of(purlin_ctx *ctx, const artifacts_entry *last) {
  size_t size = strlen(last->name);
  char *token = purlin_alloc(ctx, 2 * size + 2);
  if (!token) return NULL;
  token[0] = last->is_folder ? 'd' : 'f';
  for (size_t i = 0; i < size; i++) (void)snprintf(token + 1 + 2 * i, 3, "%02x", (unsigned char)last->name[i]);
  return token;
}

static bool read_token(const char *token, char *name, bool *is_folder) {
  size_t digits = strlen(token + 1);
  if (digits % 2 != 0 || digits / 2 > PATH_BYTES || strspn(token + 1, "0123456789abcdef") != digits) return false;
  for (size_t i = 0; i < digits / 2; i++) {
    unsigned byte = 0;
    if (sscanf(token + 1 + 2 * i, "%2x", &byte) != 1) return false;
    name[i] = (char)byte;
  }
  name[digits / 2] = '\0';
  *is_folder = token[0] == 'd';
  return (token[0] == 'd' || token[0] == 'f') && path_fault(name) == NULL && !strchr(name, '/');
}

static purlin_status begin(purlin_ctx *ctx, listing *l) {
  char name[PATH_BYTES + 1];
  bool is_folder = false;
  bool whole = !*l->in->path;
  l->folder = whole ? "" : purlin_format(ctx, "%s/", l->in->path);
  l->end = whole ? NULL : purlin_format(ctx, "%s" ARTIFACTS_AFTER_SLASH, l->in->path);
  if (!l->folder || (!whole && !l->end)) return PURLIN_TOO_LARGE;
  l->from = l->folder;
  if (!*l->in->page) return PURLIN_OK;
  if (!read_token(l->in->page, name, &is_folder)) return purlin_fail_field(ctx, "page", "is not one that was given");
  l->from = behind(ctx, l, name, is_folder);
  return l->from ? PURLIN_OK : PURLIN_TOO_LARGE;
}

/* ---- Rows to entries ------------------------------------------------------------------------------------------------------------------ */

static purlin_status read_rows(purlin_ctx *ctx, const listing *l, size_t batch, rows *out) {
  const int64_t count = (int64_t)batch;
  const char *workspace = purlin_workspace(ctx);
  if (l->end) return purlin_db_list(ctx, row, out, SELECT_IN, workspace, l->in->kind, l->in->owner, l->from, l->end, count);
  return purlin_db_list(ctx, row, out, SELECT_ALL, workspace, l->in->kind, l->in->owner, l->from, count);
}

/* Adds the entry that the row is of, and goes behind it. The rows are of the arena: names point into them. */
static purlin_status add(purlin_ctx *ctx, listing *l, const row *r) {
  const char *name = r->path + strlen(l->folder), *slash = strchr(name, '/');
  artifacts_entry *entry = &l->out->entries.items[l->out->entries.count++];
  if (slash) name = purlin_copy_bytes(ctx, name, (size_t)(slash - name));
  if (!name) return PURLIN_TOO_LARGE;
  *entry = (artifacts_entry){.name = name, .is_folder = slash != NULL};
  if (!slash) entry->size = (purlin_opt_int){PURLIN_SET, r->size};
  return PURLIN_OK;
}

static bool in_last(const listing *l, const char *path) {
  if (l->out->entries.count == 0) return false;
  const artifacts_entry *last = &l->out->entries.items[l->out->entries.count - 1];
  size_t size = strlen(last->name);
  const char *name = path + strlen(l->folder);
  return last->is_folder && strncmp(name, last->name, size) == 0 && name[size] == '/';
}

static purlin_status end_page(purlin_ctx *ctx, listing *l) {
  l->out->next_page = token_of(ctx, &l->out->entries.items[l->out->entries.count - 1]);
  return l->out->next_page ? PURLIN_OK : PURLIN_TOO_LARGE;
}

static purlin_status walk(purlin_ctx *ctx, listing *l) {
  for (size_t batch = FIRST;;) {
    rows found = {0};
    size_t before = l->out->entries.count;
    purlin_status status = read_rows(ctx, l, batch, &found);
    for (size_t i = 0; i < found.count && status == PURLIN_OK; i++) {
      if (in_last(l, found.items[i].path)) continue;
      if (l->out->entries.count == l->limit) return end_page(ctx, l);
      status = add(ctx, l, &found.items[i]);
    }
    if (status != PURLIN_OK || found.count < batch) return status;
    size_t added = l->out->entries.count - before;
    const artifacts_entry *last = &l->out->entries.items[l->out->entries.count - 1];
    l->from = behind(ctx, l, last->name, last->is_folder);
    if (!l->from) return PURLIN_TOO_LARGE;
    if (added * 2 < batch) batch = batch / 4 > FEWEST ? batch / 4 : FEWEST;
    else batch = batch * 4 < MOST ? batch * 4 : MOST;
  }
}

PURLIN_OPERATION(list, artifacts_list, artifacts_page,
    .summary = "The files and folders in a folder, in order of their paths", .permission = "runs:read", .by_project = true,
    .http = "GET /api/v1/artifacts/{kind}/{owner}") {
  artifacts_owner owner = {0};
  const artifacts_place place = {in->kind, in->owner, in->path, in->uri};
  listing l = {.in = in, .out = out, .limit = (size_t)in->limit};
  purlin_status status = artifacts_find_owner(ctx, &place, ARTIFACTS_READ, &owner);
  if (status == PURLIN_OK) status = begin(ctx, &l);
  if (status != PURLIN_OK) return status;
  out->uri = owner.uri;
  out->next_page = "";
  out->entries.items = purlin_alloc_array(ctx, l.limit, sizeof *out->entries.items);
  return out->entries.items ? walk(ctx, &l) : PURLIN_TOO_LARGE;
}
