/* secrets.h: the keys of this node, and what is sealed with them.
 *
 * secrets/pages.c       memory that core dumps leave out
 * secrets/keyring.c     keys, and sealing with them; neither a context nor a database
 * secrets/file.c        key files, and those that hold a password for purlin.lua
 * secrets/seal.c        what the SDK offers: purlin_seal, purlin_unseal
 * secrets/reseal.c      rotation: what an older key sealed is sealed with the first one
 * secrets/operations.c  secrets.status
 *
 * It stands above db/ and beside jobs/; the files, keys and pages stand on core/ alone. */
#ifndef PURLIN_SECRETS_SECRETS_H
#define PURLIN_SECRETS_SECRETS_H

#include <purlin/secret.h>
#include "core/buffer.h"

/* ---- Keys: before there are threads --------------------------------------------------------------------------------------------------- */

typedef struct secrets_options {
  const char *
      state; /* the folder of secrets.key, which is made when no key is configured, and of accounts.key, which is read where there is one */
  purlin_texts keys; /* each a path, "credential:NAME" or 64 hexadecimal digits; the first seals */
} secrets_options;

/* Reads every key. `why` says what is wrong, without any of them. */
PURLIN_CHECKED purlin_status secrets_open(const secrets_options *options, buffer *why);
/* The same without making a key where none is configured: for --check. The keys are forgotten again. */
PURLIN_CHECKED purlin_status secrets_check(const secrets_options *options, buffer *why);
void secrets_close(void);

/* A secret of `size` bytes, to be written to what is returned; NULL without memory, which is recorded. */
char *secrets_room(purlin_ctx *ctx, size_t size, purlin_secret *out);

/* ---- Sealed columns ------------------------------------------------------------------------------------------------------------------------ */

/* Before the start. `why` says what is wrong with the declaration. */
PURLIN_CHECKED purlin_status secrets_register(const char *plugin, const purlin_sealed *declared, buffer *why);

typedef struct sealed_column {
  const purlin_sealed *declared;
  size_t key_count;
  char key_columns[4][65];
  struct sealed_column *next;
} sealed_column;
const sealed_column *sealed_columns(void);

/* After migrations, in a fiber: rows that another key of this node sealed are sealed with its first, in the background and once after
 * each start: keys change by a restart. Nothing is locked for long, and a row that somebody else writes meanwhile stays theirs. */
PURLIN_CHECKED purlin_status secrets_start(purlin_ctx *ctx);
/* Before the plugins stop; parks. */
void secrets_rest(purlin_ctx *ctx);
/* One pass over one column; *left are the rows that are still sealed by another of this node's keys, which should be 0. Parks. */
PURLIN_CHECKED purlin_status secrets_reseal(purlin_ctx *ctx, const sealed_column *column, uint64_t *sealed, uint64_t *left);

#endif
