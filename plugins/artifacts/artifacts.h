/* artifacts.h: what the files of this plugin share.
 *
 * path.c      what may be the path of a file
 * owners.c    whose files: what the plugins of runs, logged models and traces say
 * files.c     the table, and the operations over it
 * list.c      the files and folders of a folder
 * transfer.c  bytes in and out, as streams
 * purged.c    files of what is gone for good go */
#ifndef ARTIFACTS_H
#define ARTIFACTS_H

#include <purlin/purlin.h>
#include <purlin/contracts/artifacts.h>
#include <purlin/contracts/storage.h>
#include "path.h"

typedef enum artifacts_wish { ARTIFACTS_READ, ARTIFACTS_CHANGE } artifacts_wish;

/* The owner, for who may do that with its files; the path may be empty only where `any` holds. PURLIN_INVALID, PURLIN_NOT_FOUND,
 * PURLIN_FORBIDDEN and PURLIN_CONFLICT are recorded. May park. */
PURLIN_CHECKED purlin_status artifacts_find_owner(purlin_ctx *ctx, const artifacts_place *place, artifacts_wish wish,
                                                  artifacts_owner *out);
/* PURLIN_INVALID, recorded, unless it is the path of a file. Does not park. */
PURLIN_CHECKED purlin_status artifacts_check_path(purlin_ctx *ctx, const char *path);

/* The file, whoever asks. PURLIN_NOT_FOUND is recorded. May park. */
PURLIN_CHECKED purlin_status artifacts_find(purlin_ctx *ctx, const artifacts_place *place, artifacts_file *out);
/* PURLIN_CONFLICT, recorded, when the path is a folder, or below a file. May park. */
PURLIN_CHECKED purlin_status artifacts_check_room(purlin_ctx *ctx, const artifacts_place *place);
/* Names stored bytes, in place of what had that path. In a transaction of its own, with its entry in the audit log. May park. */
PURLIN_CHECKED purlin_status artifacts_name(purlin_ctx *ctx, const artifacts_place *place, const purlin_blob *blob,
                                            artifacts_file *out);

/* Links: the last part of an address, arena; NULL, recorded or not, when it cannot be made. `use` is what it is for. Does not park. */
const char *artifacts_seal_link(purlin_ctx *ctx, const char *use, const purlin_schema *schema, const void *content);
/* What the link of this request is for. PURLIN_UNAUTHENTICATED, recorded, when it is none of that use; the caller looks at its time.
 * Does not park. */
PURLIN_CHECKED purlin_status artifacts_open_link(purlin_ctx *ctx, purlin_request *request, const char *use,
                                                 const purlin_schema *schema, void *content);
/* PURLIN_UNAUTHENTICATED, recorded: tells nothing of why. */
purlin_status artifacts_refuse_link(purlin_ctx *ctx);

/* What the contract gives. */
purlin_status artifacts_put(purlin_ctx *ctx, purlin_request *request, const artifacts_place *place, artifacts_file *out);
purlin_status artifacts_send(purlin_ctx *ctx, purlin_request *request, const artifacts_place *place);

/* What lies between the paths in a folder: "a/b" is followed by "a/b/" ... "a/b0", '0' being the character after '/'. */
#define ARTIFACTS_AFTER_SLASH "0"

#endif
