/* secret.h: what may be read by nobody else: sealed where it is kept, and in memory of its own where it is open.
 *
 *   purlin_bytes sealed;
 *   const char *of = purlin_seal_name(ctx, "vault_tokens", 2, (const char *[]){purlin_workspace(ctx), in->name});
 *   status = purlin_seal(ctx, of, in->token, strlen(in->token), &sealed);       then into a column of bytes
 *   ...
 *   purlin_secret token;
 *   status = purlin_unseal(ctx, of, row.sealed, &token);
 *   ... token.text ...
 *   purlin_secret_wipe(ctx, &token);
 *
 * The keys are the operator's (`secrets { keys = { ... } }`): the first seals, each opens. With
 *   PURLIN_SEALED(vault_tokens, "workspace, name", "sealed");
 * the runtime seals a table's rows anew once an operator has put another key first, so that the old one can go.
 *
 * Since 0.1 unless a comment says otherwise; base.h says what else holds everywhere. */
#ifndef PURLIN_SECRET_H
#define PURLIN_SECRET_H

#include <purlin/schema.h>

PURLIN_BEGIN

/* What is sealed is longer than what it holds by so many bytes, and holds at most so many. */
#define PURLIN_SEAL_EXTRA_BYTES ((size_t)37)
#define PURLIN_SEAL_MOST_BYTES ((size_t)1024 * 1024)

/* Seals `size` bytes by AES-256-GCM with the first key: a number of the layout, the key's id, nonce, ciphertext, tag; in the arena. It
 * opens only as what it was sealed: `of` says what that is, and where it stands (purlin_seal_name), so that a row that was copied
 * over another one is worth nothing. Everything is borrowed. Does not park. Errors: PURLIN_UNAVAILABLE (no keys: in a contained plugin),
 * PURLIN_TOO_LARGE, PURLIN_INTERNAL. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_seal(purlin_ctx *ctx, const char *of, const void *data, size_t size,
                                                    purlin_bytes *sealed);

/* An open secret. `text` has a NUL behind its `size` bytes. It lives in pages of its own, which core dumps leave out and which are not
 * swapped where the limit on locked memory allows that. It is wiped at the end of the context; each takes a page, so don't keep many. Copies of it are as
 * secret as it is: don't format it into texts of the arena, don't log it. */
typedef struct purlin_secret {
  const char *text;
  size_t size;
} purlin_secret;

/* Opens what was sealed. Does not park. Errors: PURLIN_UNAVAILABLE, with the key's id in the log (this node does not have it), PURLIN_INTERNAL
 * (it was changed, or sealed as something else). */
PURLIN_API PURLIN_CHECKED purlin_status purlin_unseal(purlin_ctx *ctx, const char *of, purlin_bytes sealed,
                                                      purlin_secret *out);
/* A secret of bytes (borrowed; wipe them) that came from elsewhere. Does not park. Errors: PURLIN_TOO_LARGE. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_secret_keep(purlin_ctx *ctx, const void *data, size_t size,
                                                           purlin_secret *out);
/* Wipes it before the context ends; *secret is then empty. Nothing happens to an empty one. Does not park. */
PURLIN_API void purlin_secret_wipe(purlin_ctx *ctx, purlin_secret *secret);

/* The `of` of a column of a row: the table and the values of its key, such that no two rows have the same. Arena; NULL as purlin_alloc. */
PURLIN_API const char *purlin_seal_name(purlin_ctx *ctx, const char *table, size_t key_count,
                                        const char *const *key_values);
/* The id of the key that sealed this, 16 hexadecimal digits; arena; NULL when it is nothing sealed, or as purlin_alloc. */
PURLIN_API const char *purlin_sealed_by(purlin_ctx *ctx, purlin_bytes sealed);
/* The ids of the keys of this node with commas between them, the one that seals first; "" where there is none. Static. */
PURLIN_API const char *purlin_secret_keys(void);

/* A column whose rows are sealed as purlin_seal_name says. */
typedef struct purlin_sealed {
  purlin_declaration declared;
  const char *table;  /* begins with the plugin's name */
  const char *keys;   /* the columns of its primary key, texts or integers, at most four: "workspace, name" */
  const char *column; /* of bytes; may be NULL in a row */
} purlin_sealed;

#define PURLIN_SEALED(table_, keys_, column_)                                                                              \
  static const purlin_sealed table_##_sealed = {PURLIN_HEAD_(purlin_sealed, PURLIN_KIND_SEALED), #table_, keys_, column_}; \
  PURLIN_DECLARE_(table_##_sealed)

PURLIN_END

#endif
