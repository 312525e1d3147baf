/* The Merkle tree of the audit log: the vectors of RFC 6962's reference implementation, and every proof of small trees. */
#include "audit/tree.h"
#include "core/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

/* ---- Vectors ---------------------------------------------------------------------------------------------------------------------- */

static const char *const inputs[] = {
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"};
static const char *const roots[] = {"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                                    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                                    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
                                    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
                                    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                                    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
                                    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
                                    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
                                    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};

enum { VECTORS = 8, MOST = 300 };

static tree_hash leaves[MOST];

static void is_hash(const tree_hash *hash, const char *digits) {
  char text[65];
  text_hex(hash->bytes, sizeof hash->bytes, text);
  assert_string_equal(text, digits);
}

static void use_vectors(void) {
  for (size_t i = 0; i < VECTORS; i++) {
    uint8_t bytes[16];
    size_t size = strlen(inputs[i]);
    assert_true(text_unhex(inputs[i], size, bytes));
    leaves[i] = tree_leaf(bytes, size / 2);
  }
}

static void use_many(void) {
  for (size_t i = 0; i < MOST; i++) leaves[i] = tree_leaf(&i, sizeof i);
}

/* The definition, word for word: MTH of the leaves [begin, end). */
static tree_hash defined(size_t begin, size_t end) {
  tree_hash root;
  if (begin == end) text_sha256("", 0, root.bytes);
  if (end - begin == 1) root = leaves[begin];
  if (end - begin < 2) return root;
  size_t k = 1;
  while (k * 2 < end - begin) k *= 2;
  tree_hash left = defined(begin, begin + k), right = defined(begin + k, end);
  return tree_node(&left, &right);
}

static bool fetch(void *from, unsigned level, uint64_t number, tree_hash *root) {
  (void)from;
  size_t begin = (size_t)number << level, end = ((size_t)number + 1) << level;
  assert_true(end <= MOST);
  *root = defined(begin, end);
  return true;
}

static void the_vectors_of_the_rfc(void **state) {
  (void)state;
  use_vectors();
  tree_frontier tree = {0};
  for (size_t i = 0; i <= VECTORS; i++) {
    tree_hash root = tree_root(&tree);
    is_hash(&root, roots[i]);
    if (i < VECTORS) tree_append(&tree, &leaves[i], NULL, NULL);
  }
  tree_hash path[TREE_MOST_PATH];
  size_t count;
  assert_true(tree_inclusion(5, 8, fetch, NULL, path, &count));
  assert_int_equal(count, 3);
  is_hash(&path[0], "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b");
  is_hash(&path[1], "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0");
  is_hash(&path[2], roots[4]);
  assert_true(tree_consistency(6, 8, fetch, NULL, path, &count));
  assert_int_equal(count, 3);
  is_hash(&path[0], "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a");
  is_hash(&path[1], "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0");
  is_hash(&path[2], roots[4]);
  assert_true(tree_consistency(2, 5, fetch, NULL, path, &count));
  assert_int_equal(count, 2);
  is_hash(&path[0], "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e");
  is_hash(&path[1], "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b");
}

/* ---- Every tree up to a size -------------------------------------------------------------------------------------------------------- */

static void grown_is_as_defined(void **state) {
  (void)state;
  use_many();
  tree_frontier tree = {0};
  for (size_t size = 0; size < MOST; size++) {
    tree_hash grown = tree_root(&tree), by_definition = defined(0, size), fetched;
    assert_true(tree_equal(&grown, &by_definition));
    assert_true(tree_root_of(size, fetch, NULL, &fetched));
    assert_true(tree_equal(&fetched, &grown));
    tree_append(&tree, &leaves[size], NULL, NULL);
  }
}

typedef struct completed {
  size_t count;
} completed;

static void note(void *to, unsigned level, uint64_t number, const tree_hash *root) {
  tree_hash expected = defined((size_t)number << level, ((size_t)number + 1) << level);
  assert_true(tree_equal(root, &expected));
  ((completed *)to)->count++;
}

static void complete_subtrees_are_told_once(void **state) {
  (void)state;
  use_many();
  tree_frontier tree = {0};
  completed told = {0};
  for (size_t i = 0; i < 256; i++) tree_append(&tree, &leaves[i], note, &told);
  assert_int_equal(told.count, 2 * 256 - 1);
}

static void every_inclusion(void **state) {
  (void)state;
  use_many();
  for (size_t size = 1; size <= 70; size++) {
    tree_hash root = defined(0, size), path[TREE_MOST_PATH];
    for (size_t index = 0; index < size; index++) {
      size_t count;
      assert_true(tree_inclusion(index, size, fetch, NULL, path, &count));
      assert_true(tree_includes(&leaves[index], index, size, path, count, &root));
      for (size_t other = 0; other < size; other++)
        if (other != index) assert_false(tree_includes(&leaves[other], index, size, path, count, &root));
      if (index + 1 < size && size > 1) assert_false(tree_includes(&leaves[index], index + 1, size, path, count, &root));
      assert_false(tree_includes(&leaves[index], index, size, path, count + 1, &root));
      if (count > 0) assert_false(tree_includes(&leaves[index], index, size, path, count - 1, &root));
      for (size_t i = 0; i < count; i++) {
        path[i].bytes[i % 32] ^= 1;
        assert_false(tree_includes(&leaves[index], index, size, path, count, &root));
        path[i].bytes[i % 32] ^= 1;
      }
    }
    assert_false(tree_includes(&leaves[0], size, size, path, 0, &root));
  }
}

static void every_consistency(void **state) {
  (void)state;
  use_many();
  for (size_t after = 1; after <= 70; after++) {
    tree_hash new = defined(0, after), path[TREE_MOST_PATH];
    for (size_t before = 0; before <= after; before++) {
      size_t count;
      tree_hash old = defined(0, before), forged = old;
      forged.bytes[31] ^= 1;
      assert_true(tree_consistency(before, after, fetch, NULL, path, &count));
      assert_true(tree_extends(before, &old, after, &new, path, count));
      if (before > 0) assert_false(tree_extends(before, &forged, after, &new, path, count));
      if (before == 0 || before == after) continue;
      forged = new;
      forged.bytes[0] ^= 1;
      assert_false(tree_extends(before, &old, after, &forged, path, count));
      assert_false(tree_extends(before, &old, after, &new, path, count - 1));
      for (size_t i = 0; i < count; i++) {
        path[i].bytes[i % 32] ^= 1;
        assert_false(tree_extends(before, &old, after, &new, path, count));
        path[i].bytes[i % 32] ^= 1;
      }
    }
  }
  tree_hash path[TREE_MOST_PATH], root = defined(0, 3);
  size_t count;
  assert_false(tree_consistency(4, 3, fetch, NULL, path, &count));
  assert_false(tree_extends(4, &root, 3, &root, path, 0));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(the_vectors_of_the_rfc), cmocka_unit_test(grown_is_as_defined),
                                     cmocka_unit_test(complete_subtrees_are_told_once), cmocka_unit_test(every_inclusion),
                                     cmocka_unit_test(every_consistency)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
