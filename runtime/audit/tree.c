#include "audit/tree.h"
#include "core/text.h"
#include <openssl/sha.h>
#include <string.h>

/* One pass over a leaf, however long, without a copy. The context of SHA-256 is deprecated for no reason that concerns it; EVP allocates. */
tree_hash tree_leaf(const void *data, size_t size) {
  static const uint8_t mark = 0;
  tree_hash out = {0};
  SHA256_CTX state;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  (void)SHA256_Init(&state);
  (void)SHA256_Update(&state, &mark, 1);
  (void)SHA256_Update(&state, data, size);
  (void)SHA256_Final(out.bytes, &state);
#pragma GCC diagnostic pop
  return out;
}

tree_hash tree_node(const tree_hash *left, const tree_hash *right) {
  uint8_t text[1 + 2 * sizeof left->bytes] = {1};
  tree_hash out = {0};
  memcpy(text + 1, left->bytes, sizeof left->bytes);
  memcpy(text + 1 + sizeof left->bytes, right->bytes, sizeof right->bytes);
  text_sha256(text, sizeof text, out.bytes);
  return out;
}

bool tree_equal(const tree_hash *a, const tree_hash *b) { return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0; }

/* ---- A tree that grows ---------------------------------------------------------------------------------------------------------- */

size_t tree_peaks(uint64_t size) { return (size_t)__builtin_popcountll(size); }

void tree_append(tree_frontier *tree, const tree_hash *leaf, tree_complete *complete, void *to) {
  size_t count = tree_peaks(tree->size);
  uint64_t index = tree->size++;
  tree_hash root = *leaf;
  for (unsigned level = 0;; level++) {
    if (complete) complete(to, level, index >> level, &root);
    if ((index >> level & 1) == 0) break; /* no sibling to its left that waits */
    root = tree_node(&tree->peaks[--count], &root);
  }
  tree->peaks[count] = root;
}

tree_hash tree_root(const tree_frontier *tree) {
  tree_hash root = {0};
  size_t count = tree_peaks(tree->size);
  if (count == 0) {
    text_sha256("", 0, root.bytes);
    return root;
  }
  root = tree->peaks[--count];
  while (count > 0) root = tree_node(&tree->peaks[--count], &root);
  return root;
}

/* ---- Checking proofs (RFC 9162, 2.1.3.2 and 2.1.4.2) --------------------------------------------------------------------------------- */

bool tree_includes(const tree_hash *leaf, uint64_t index, uint64_t size, const tree_hash *path, size_t count,
                   const tree_hash *root) {
  if (index >= size) return false;
  uint64_t at = index, last = size - 1;
  tree_hash hash = *leaf;
  for (size_t i = 0; i < count; i++) {
    if (last == 0) return false;
    if ((at & 1) != 0 || at == last) {
      hash = tree_node(&path[i], &hash);
      while ((at & 1) == 0 && at != 0) at >>= 1, last >>= 1;
    } else hash = tree_node(&hash, &path[i]);
    at >>= 1;
    last >>= 1;
  }
  return last == 0 && tree_equal(&hash, root);
}

bool tree_extends(uint64_t before, const tree_hash *before_root, uint64_t after, const tree_hash *after_root,
                  const tree_hash *path, size_t count) {
  if (before > after) return false;
  if (before == after) return count == 0 && tree_equal(before_root, after_root);
  if (before == 0) return count == 0; /* everything extends nothing */
  uint64_t at = before - 1, last = after - 1;
  while ((at & 1) != 0) at >>= 1, last >>= 1;
  bool whole = at == 0; /* `before` is a power of two: its root is where both paths begin */
  if (!whole && count == 0) return false;
  size_t i = whole ? 0 : 1;
  tree_hash old = whole ? *before_root : path[0], new = old;
  for (; i < count; i++) {
    if (last == 0) return false;
    if ((at & 1) != 0 || at == last) {
      old = tree_node(&path[i], &old);
      new = tree_node(&path[i], &new);
      while ((at & 1) == 0 && at != 0) at >>= 1, last >>= 1;
    } else new = tree_node(&new, &path[i]);
    at >>= 1;
    last >>= 1;
  }
  return last == 0 && tree_equal(&old, before_root) && tree_equal(&new, after_root);
}

/* ---- Making proofs (RFC 6962, 2.1.1 and 2.1.2) ----------------------------------------------------------------------------------------- */

/* The largest power of two below `size`, as an exponent: where a tree is split. `size` is at least 2. */
static unsigned split(uint64_t size) { return 63U - (unsigned)__builtin_clzll(size - 1); }

/* The root of the leaves [begin, end), where `begin` is a multiple of the least power of two that is not below end - begin. */
static bool range(uint64_t begin, uint64_t end, tree_fetch *fetch, void *from, tree_hash *root) {
  tree_hash parts[64];
  size_t count = 0;
  while (begin < end) { /* complete subtrees, from the largest on */
    unsigned level = 63U - (unsigned)__builtin_clzll(end - begin);
    if (!fetch(from, level, begin >> level, &parts[count])) return false;
    begin += UINT64_C(1) << level;
    count++;
  }
  if (count == 0) return false;
  *root = parts[--count];
  while (count > 0) *root = tree_node(&parts[--count], root);
  return true;
}

bool tree_root_of(uint64_t size, tree_fetch *fetch, void *from, tree_hash *root) {
  if (size > 0) return range(0, size, fetch, from, root);
  text_sha256("", 0, root->bytes);
  return true;
}

static void reverse(tree_hash *path, size_t count) {
  for (size_t i = 0; i < count / 2; i++) {
    tree_hash other = path[i];
    path[i] = path[count - 1 - i];
    path[count - 1 - i] = other;
  }
}

/* From the root down to the leaf; the path is in the opposite order. */
bool tree_inclusion(uint64_t index, uint64_t size, tree_fetch *fetch, void *from, tree_hash *path, size_t *count) {
  uint64_t begin = 0, end = size;
  *count = 0;
  if (index >= size) return false;
  while (end - begin > 1) {
    uint64_t middle = begin + (UINT64_C(1) << split(end - begin));
    bool left = index < middle;
    if (!range(left ? middle : begin, left ? end : middle, fetch, from, &path[(*count)++])) return false;
    if (left) end = middle;
    else begin = middle;
  }
  reverse(path, *count);
  return true;
}

bool tree_consistency(uint64_t before, uint64_t after, tree_fetch *fetch, void *from, tree_hash *path, size_t *count) {
  uint64_t begin = 0, end = after;
  bool known = true; /* the old root itself need not be told */
  *count = 0;
  if (before > after) return false;
  if (before == 0 || before == after) return true;
  while (before != end) {
    uint64_t middle = begin + (UINT64_C(1) << split(end - begin));
    bool left = before <= middle;
    if (!range(left ? middle : begin, left ? end : middle, fetch, from, &path[(*count)++])) return false;
    if (left) end = middle;
    else {
      begin = middle;
      known = false;
    }
  }
  if (!known && !range(begin, end, fetch, from, &path[(*count)++])) return false;
  reverse(path, *count);
  return true;
}
