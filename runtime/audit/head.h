/* head.h: signed tree heads. One is also a receipt: whoever keeps it can prove later that the log still begins so. */
#ifndef PURLIN_AUDIT_HEAD_H
#define PURLIN_AUDIT_HEAD_H

#include <purlin/schema.h>
#include "audit/tree.h"
#include "core/arena.h"
#include "core/buffer.h"
#include <openssl/evp.h>

typedef struct audit_head {
  const char *origin; /* which log: random, made with its tables */
  int64_t size;
  const char *root; /* hexadecimal */
  purlin_time at;
  const char *signer;    /* SHA-256 of the public key, hexadecimal */
  const char *signature; /* Ed25519, base64, of head_text */
} audit_head;
PURLIN_SCHEMA(audit_head, "A signed head of the audit log's tree: a receipt for all entries before it",
    PURLIN_REQUIRED(origin, "Which log", .max_length = 32),
    PURLIN_REQUIRED(size, "How many entries it covers", .min = 0, .max = 9e18),
    PURLIN_REQUIRED(root, "The root of the tree, hexadecimal", .pattern = "[0-9a-f]{64}"),
    PURLIN_REQUIRED(at, "When it was signed"),
    PURLIN_REQUIRED(signer, "The SHA-256 of the public key, hexadecimal", .pattern = "[0-9a-f]{64}"),
    PURLIN_REQUIRED(signature, "Ed25519, base64, of 'purlin audit head 1', origin, size, root and time, each with a line's end", .max_length = 100));

/* What is signed. */
void head_text(const audit_head *head, buffer *out);
bool head_root(const audit_head *head, tree_hash *root);
/* Whether the signature is that of the key's holder. */
bool head_is_signed_by(const audit_head *head, EVP_PKEY *key);
/* A public key from PEM, Ed25519 only; NULL. EVP_PKEY_free ends it. */
EVP_PKEY *head_public_key(const char *pem, size_t size);
/* A head from its JSON; false: it is none. */
bool head_read(const char *json, size_t size, arena *memory, audit_head *head);

/* The node's own key: STATE/audit.key, made when it is not there, refused when others may read it. Blocks, at start. */
bool head_key_open(const char *state, buffer *why);
const char *head_key_pem(void); /* of the public half */
const char *head_key_id(void);
/* Signs: fills signer and signature, which live in the arena. False: OpenSSL or memory failed. */
bool head_sign(audit_head *head, arena *memory);

/* STATE/audit.heads: a line for each head that this node has seen. When the file is as large as this it becomes audit.heads.1, in place of
 * the one before: a log that grows all day has 7 MB of heads. */
enum { HEAD_MOST_FILE_BYTES = 8 * 1024 * 1024 };
/* The last one; false: none, or the files cannot be read. */
bool head_last_kept(const char *state, arena *memory, audit_head *head);
/* Adds a line and flushes it. Blocks. */
bool head_keep(const char *state, const char *line, size_t size);

#endif
