/* tree.h: the Merkle tree of RFC 6962 (and RFC 9162, section 2): SHA-256, leaves hashed behind a 0x00, inner nodes behind a 0x01.
 * Functions of bytes only: nothing here knows of a database. */
#ifndef PURLIN_AUDIT_TREE_H
#define PURLIN_AUDIT_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TREE_MOST_PEAKS 63
#define TREE_MOST_PATH 128

typedef struct tree_hash {
  uint8_t bytes[32];
} tree_hash;

tree_hash tree_leaf(const void *data, size_t size);
tree_hash tree_node(const tree_hash *left, const tree_hash *right);
bool tree_equal(const tree_hash *a, const tree_hash *b);

/* A tree that grows: the roots of the complete subtrees that make it up, from the largest to the smallest. All zero: empty. */
typedef struct tree_frontier {
  uint64_t size;
  tree_hash peaks[TREE_MOST_PEAKS];
} tree_frontier;

/* How many peaks a tree of that size has. */
size_t tree_peaks(uint64_t size);
/* Adds a leaf. `complete`, when not NULL, is told each subtree of 2^level leaves that it completes: the number-th of its level. */
typedef void tree_complete(void *to, unsigned level, uint64_t number, const tree_hash *root);
void tree_append(tree_frontier *tree, const tree_hash *leaf, tree_complete *complete, void *to);
tree_hash tree_root(const tree_frontier *tree);

/* Whether the path proves that the leaf is the index-th of the tree with that size and root. */
bool tree_includes(const tree_hash *leaf, uint64_t index, uint64_t size, const tree_hash *path, size_t count,
                   const tree_hash *root);
/* Whether the path proves that the tree of size `before` is the beginning of the tree of size `after`. */
bool tree_extends(uint64_t before, const tree_hash *before_root, uint64_t after, const tree_hash *after_root,
                  const tree_hash *path, size_t count);

/* Proofs, made of the roots of complete subtrees, which `fetch` gives: of leaves [number << level, (number + 1) << level). False when it
 * cannot. `path` has room for TREE_MOST_PATH. */
typedef bool tree_fetch(void *from, unsigned level, uint64_t number, tree_hash *root);
bool tree_inclusion(uint64_t index, uint64_t size, tree_fetch *fetch, void *from, tree_hash *path, size_t *count);
bool tree_consistency(uint64_t before, uint64_t after, tree_fetch *fetch, void *from, tree_hash *path, size_t *count);
/* The root of the first `size` leaves. */
bool tree_root_of(uint64_t size, tree_fetch *fetch, void *from, tree_hash *root);

#endif
