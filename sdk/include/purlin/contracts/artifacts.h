/* artifacts.h: files of runs, logged models and traces: what the operations of the plugin `artifacts` take and give, and its contract for
 * who streams them.
 *
 *   const purlin_artifacts *artifacts = purlin_use(ctx, artifacts, NULL);
 *   artifacts_place place = {.kind = "run", .owner = "run_8k3v...", .path = "model/weights.bin"};
 *   status = artifacts ? artifacts->put(ctx, request, &place, &file) : PURLIN_UNAVAILABLE;
 *
 * A file belongs to an owner, and with it to an experiment: who may read or change runs there (runs:read, runs:write) may read or change its
 * files. What an owner is its plugin says, by an operation that answers artifacts_owner: tracking.locate_run, tracking.locate_logged_model,
 * traces.locate.
 *
 * A path is made of components with slashes between: "model/weights.bin". It is UTF-8 of at most 700 characters in at most 100 components,
 * none of them empty or made of dots and spaces alone, without control characters, backslashes and '#'; nor does it become anything of the kind for those who
 * decode it once more. Folders are not kept: one is there as long as a file is in it, and no file has the path of a folder.
 *
 * Since 0.2; base.h says what else holds everywhere. */
#ifndef PURLIN_CONTRACTS_ARTIFACTS_H
#define PURLIN_CONTRACTS_ARTIFACTS_H

#include <purlin/contracts/storage.h>
#include <purlin/operation.h>
#include <purlin/plugin.h>
#include <purlin/route.h>

PURLIN_BEGIN

#define PURLIN_CONTRACT_artifacts 1u

#define ARTIFACTS_KINDS "run, model, trace"

/* ---- What the owners' plugins answer ---------------------------------------------------------------------------------------- */

typedef struct artifacts_which_owner {
  const char *id;
} artifacts_which_owner;
PURLIN_SCHEMA(artifacts_which_owner, "Whose files",
    PURLIN_REQUIRED(id, "Its id", .min_length = 1, .max_length = 64));

/* For whoever may see it. Not found otherwise. */
typedef struct artifacts_owner {
  const char *project, *experiment_id, *uri, *lifecycle;
} artifacts_owner;
PURLIN_SCHEMA(artifacts_owner, "Where the files of a run, a logged model or a trace belong",
    PURLIN_REQUIRED(project, "The project"),
    PURLIN_REQUIRED(experiment_id, "The experiment: whose permissions hold"),
    PURLIN_REQUIRED(uri, "What its files are below of"),
    PURLIN_REQUIRED(lifecycle, "What is deleted takes no files", .choices = "active, deleted"));

/* ---- Files -------------------------------------------------------------------------------------------------------------------- */

/* A file, or a folder. */
typedef struct artifacts_place {
  const char *kind, *owner, *path;
  const char *uri; /* the owner's files must be below this; "" or NULL: wherever they are */
} artifacts_place;
PURLIN_SCHEMA(artifacts_place, "A file or a folder",
    PURLIN_REQUIRED(kind, "What it belongs to", .choices = ARTIFACTS_KINDS),
    PURLIN_REQUIRED(owner, "The id of that", .min_length = 1, .max_length = 64),
    PURLIN_DEFAULT(path, "\"\"", "Its path; empty: all of the owner's", .max_length = 2800),
    PURLIN_DEFAULT(uri, "\"\"", "Where the owner's files are, if they must be there", .max_length = 4000));

typedef struct artifacts_file {
  const char *path, *sha256;
  int64_t size;
  purlin_time created_at;
  const char *created_by;
} artifacts_file;
PURLIN_SCHEMA(artifacts_file, "A file",
    PURLIN_REQUIRED(path, "Its path"),
    PURLIN_REQUIRED(sha256, "The SHA-256 of its bytes"),
    PURLIN_REQUIRED(size, "How many bytes"),
    PURLIN_REQUIRED(created_at, "When it was stored"),
    PURLIN_REQUIRED(created_by, "By whom"));

/* artifacts.list: the files and folders in a folder, by name; nothing in what is no folder. */
typedef struct artifacts_list {
  const char *kind, *owner, *path, *uri, *page;
  int64_t limit;
} artifacts_list;
PURLIN_SCHEMA(artifacts_list, "Which folder",
    PURLIN_REQUIRED(kind, "What it belongs to", .choices = ARTIFACTS_KINDS),
    PURLIN_REQUIRED(owner, "The id of that", .min_length = 1, .max_length = 64),
    PURLIN_DEFAULT(path, "\"\"", "The folder; empty: the first one", .max_length = 2800),
    PURLIN_DEFAULT(uri, "\"\"", "Where the owner's files are, if they must be there", .max_length = 4000),
    PURLIN_DEFAULT(page, "\"\"", "What came as next_page with the page before", .max_length = 6000),
    PURLIN_DEFAULT(limit, "1000", "At most so many", .min = 1, .max = 10000));

typedef struct artifacts_entry {
  const char *name;
  bool is_folder;
  purlin_opt_int size;
} artifacts_entry;
PURLIN_SCHEMA(artifacts_entry, "What is in a folder",
    PURLIN_REQUIRED(name, "Its name in the folder"),
    PURLIN_REQUIRED(is_folder, "Whether there is more below it"),
    PURLIN_OPTIONAL(size, "Bytes of a file"));

typedef struct artifacts_page {
  const char *uri;
  PURLIN_LIST_OF(artifacts_entry) entries;
  const char *next_page;
} artifacts_page;
PURLIN_SCHEMA(artifacts_page, "A page of a folder",
    PURLIN_REQUIRED(uri, "Where the owner's files are"),
    PURLIN_LIST(entries, artifacts_entry, "What is in it, by name"),
    PURLIN_REQUIRED(next_page, "What asks for the next page; empty after the last"));

/* artifacts.delete: a file, or a folder with all that is in it; the empty path: all of the owner's. */
typedef struct artifacts_deleted {
  int64_t files;
} artifacts_deleted;
PURLIN_SCHEMA(artifacts_deleted, "What was deleted",
    PURLIN_REQUIRED(files, "How many files; 0: there was nothing of that path"));

/* ---- In parts, and by links -------------------------------------------------------------------------------------------------- */

/* A link is an address of this server ("/api/v1/...") that does one thing for whoever has it, until its time is over: it is sealed, and
 * bound to a workspace, a path and a method. It is a secret. */

/* artifacts.begin_upload: a file that comes in parts, in any order, several at once. It is there when artifacts.complete_upload says so;
 * until then, and when that never comes, nothing has changed. */
typedef struct artifacts_begin_upload {
  const char *kind, *owner, *path, *uri;
  int64_t parts;
} artifacts_begin_upload;
PURLIN_SCHEMA(artifacts_begin_upload, "A file that comes in parts",
    PURLIN_REQUIRED(kind, "What it belongs to", .choices = ARTIFACTS_KINDS),
    PURLIN_REQUIRED(owner, "The id of that", .min_length = 1, .max_length = 64),
    PURLIN_REQUIRED(path, "Its path", .min_length = 1, .max_length = 2800),
    PURLIN_DEFAULT(uri, "\"\"", "Where the owner's files are, if they must be there", .max_length = 4000),
    PURLIN_REQUIRED(parts, "In how many", .min = 1, .max = 10000));

typedef struct artifacts_part_link {
  int64_t number;
  const char *link;
} artifacts_part_link;
PURLIN_SCHEMA(artifacts_part_link, "Where a part goes",
    PURLIN_REQUIRED(number, "Which: 1 is the first"),
    PURLIN_REQUIRED(link, "What takes it by PUT"));

typedef struct artifacts_upload {
  const char *upload;
  PURLIN_LIST_OF(artifacts_part_link) links;
  purlin_time expires_at;
} artifacts_upload;
PURLIN_SCHEMA(artifacts_upload, "An upload in parts",
    PURLIN_REQUIRED(upload, "Its id"),
    PURLIN_LIST(links, artifacts_part_link, "Where the parts go, in order"),
    PURLIN_REQUIRED(expires_at, "When what was sent goes, unless it was completed"));

typedef struct artifacts_part {
  int64_t number;
  const char *etag;
} artifacts_part;
PURLIN_SCHEMA(artifacts_part, "A part",
    PURLIN_REQUIRED(number, "Which"),
    PURLIN_REQUIRED(etag, "What it was answered with as its ETag", .max_length = 100));

/* artifacts.complete_upload: makes the parts the file, in place of one of the same path. Once more does nothing. */
typedef struct artifacts_complete_upload {
  const char *kind, *owner, *path, *uri, *upload;
  PURLIN_LIST_OF(artifacts_part) parts;
} artifacts_complete_upload;
PURLIN_SCHEMA(artifacts_complete_upload, "All parts are there",
    PURLIN_REQUIRED(kind, "What it belongs to", .choices = ARTIFACTS_KINDS),
    PURLIN_REQUIRED(owner, "The id of that", .min_length = 1, .max_length = 64),
    PURLIN_REQUIRED(path, "The path of the file", .min_length = 1, .max_length = 2800),
    PURLIN_DEFAULT(uri, "\"\"", "Where the owner's files are, if they must be there", .max_length = 4000),
    PURLIN_REQUIRED(upload, "The upload", .min_length = 1, .max_length = 64),
    PURLIN_LIST(parts, artifacts_part, "Its parts", .max_length = 10000));

/* artifacts.abort_upload: what was sent goes. Nothing happens to one that was completed. */
typedef struct artifacts_which_upload {
  const char *kind, *owner, *path, *uri, *upload;
} artifacts_which_upload;
PURLIN_SCHEMA(artifacts_which_upload, "An upload in parts",
    PURLIN_REQUIRED(kind, "What it belongs to", .choices = ARTIFACTS_KINDS),
    PURLIN_REQUIRED(owner, "The id of that", .min_length = 1, .max_length = 64),
    PURLIN_REQUIRED(path, "The path of the file", .min_length = 1, .max_length = 2800),
    PURLIN_DEFAULT(uri, "\"\"", "Where the owner's files are, if they must be there", .max_length = 4000),
    PURLIN_REQUIRED(upload, "The upload", .min_length = 1, .max_length = 64));

/* artifacts.link_download: the bytes that the file has now, for whoever has the link. */
typedef struct artifacts_download_link {
  const char *link;
  int64_t size;
  purlin_time expires_at;
} artifacts_download_link;
PURLIN_SCHEMA(artifacts_download_link, "Where a file is for a while",
    PURLIN_REQUIRED(link, "What answers it, also ranges of it, to GET"),
    PURLIN_REQUIRED(size, "Its bytes"),
    PURLIN_REQUIRED(expires_at, "How long"));

/* ---- The contract: for routes that stream --------------------------------------------------------------------------------------- */

/* Errors of each: PURLIN_NOT_FOUND (no such owner, or nobody may know of it; no such file), PURLIN_FORBIDDEN, PURLIN_INVALID (the path),
 * and those of storage, reading and writing. Each may park. */
typedef struct purlin_artifacts {
  uint32_t size;
  /* Takes the request's body as the file, in place of one of the same path. It is there whole when this returns PURLIN_OK, and else nothing
   * has changed. Whether they may is asked before the body is. PURLIN_CONFLICT: the owner was deleted, keeps its files elsewhere, or the path
   * is a folder, or below a file. */
  purlin_status (*put)(purlin_ctx *ctx, purlin_request *request, const artifacts_place *place, artifacts_file *out);
  /* Answers with the file, or the range of it that was asked for: always something to be saved, never to be shown. */
  purlin_status (*send)(purlin_ctx *ctx, purlin_request *request, const artifacts_place *place);
  /* Gives stored bytes a path, in place of what had it, in the running transaction or one of its own. The caller knows them: it is not
   * asked whether they may be read. Errors as of `put`; PURLIN_UNAVAILABLE: the bytes were removed, store them again. */
  purlin_status (*name)(purlin_ctx *ctx, const artifacts_place *place, const purlin_blob *blob, artifacts_file *out);
} purlin_artifacts;

PURLIN_END

#endif
