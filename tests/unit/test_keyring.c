/* Keys and what is sealed with them, the files they come from, and memory that core dumps leave out. */
#include "core/text.h"
#include "secrets/file.h"
#include "secrets/keyring.h"
#include "secrets/pages.h"
#include "secrets/secrets.h"
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static const char TEXT[] = "what nobody may read";
enum { SEALED = sizeof TEXT + KEYRING_EXTRA_BYTES };

static const uint8_t first[KEYRING_KEY_BYTES] = {1, 2, 3}, second[KEYRING_KEY_BYTES] = {1, 2, 4};

static keyring ring_of(const uint8_t *one, const uint8_t *other) {
  keyring k = {0};
  assert_true(keyring_add(&k, one));
  if (other) assert_true(keyring_add(&k, other));
  return k;
}

/* ---- Sealing ---------------------------------------------------------------------------------------------------------------------------- */

static void test_what_is_sealed_opens(void **state) {
  (void)state;
  keyring k = ring_of(first, NULL);
  uint8_t sealed[SEALED], again[SEALED], back[sizeof TEXT];
  char id[KEYRING_ID_SIZE];
  assert_true(keyring_seal(&k, "table/row", TEXT, sizeof TEXT, sealed));
  assert_true(keyring_seal(&k, "table/row", TEXT, sizeof TEXT, again));
  assert_memory_not_equal(sealed, again, SEALED); /* the nonce */
  assert_null(memmem(sealed, SEALED, "nobody", 6));
  assert_int_equal(keyring_open(&k, "table/row", sealed, SEALED, back), KEYRING_OPEN);
  assert_string_equal((const char *)back, TEXT);
  assert_true(keyring_sealed_by(sealed, SEALED, id));
  assert_string_equal(id, k.ids[0]);
  keyring_free(&k);
  assert_int_equal(k.count, 0);
}

static void test_nothing_at_all_can_be_sealed(void **state) {
  (void)state;
  keyring k = ring_of(first, NULL);
  uint8_t sealed[KEYRING_EXTRA_BYTES], back[1] = {7};
  assert_true(keyring_seal(&k, "x", NULL, 0, sealed));
  assert_int_equal(keyring_open(&k, "x", sealed, sizeof sealed, back), KEYRING_OPEN);
  assert_int_equal(keyring_open(&k, "y", sealed, sizeof sealed, back), KEYRING_BROKEN);
  assert_int_equal(back[0], 7);
  keyring_free(&k);
}

static void test_it_opens_as_nothing_else(void **state) {
  (void)state;
  static const char *const others[] = {"table/row2", "table/ro", "", "table", "row", "/table/row", "table/row/"};
  keyring k = ring_of(first, NULL);
  uint8_t sealed[SEALED], back[sizeof TEXT], zero[sizeof TEXT] = {0};
  assert_true(keyring_seal(&k, "table/row", TEXT, sizeof TEXT, sealed));
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
    memset(back, 'x', sizeof back);
    assert_int_equal(keyring_open(&k, others[i], sealed, SEALED, back), KEYRING_BROKEN);
    assert_memory_equal(back, zero, sizeof back); /* nothing of it is left */
  }
  keyring_free(&k);
}

static void test_each_bit_counts(void **state) {
  (void)state;
  keyring k = ring_of(first, second);
  uint8_t sealed[SEALED], back[sizeof TEXT];
  assert_true(keyring_seal(&k, "t", TEXT, sizeof TEXT, sealed));
  for (size_t bit = 0; bit < (size_t)8 * SEALED; bit++) {
    sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
    assert_int_not_equal(keyring_open(&k, "t", sealed, SEALED, back), KEYRING_OPEN);
    sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
  }
  assert_int_equal(keyring_open(&k, "t", sealed, SEALED, back), KEYRING_OPEN);
  keyring_free(&k);
}

static void test_what_was_cut_does_not_open(void **state) {
  (void)state;
  keyring k = ring_of(first, NULL);
  uint8_t sealed[SEALED], back[sizeof TEXT];
  assert_true(keyring_seal(&k, "t", TEXT, sizeof TEXT, sealed));
  for (size_t size = 0; size < SEALED; size++) {
    uint8_t *part = malloc(size + 1); /* of that size, so that a read beyond it is seen */
    assert_non_null(part);
    memcpy(part, sealed, size);
    assert_int_equal(keyring_open(&k, "t", part, size, back), KEYRING_BROKEN);
    free(part);
  }
  for (size_t from = 1; from < SEALED; from++)
    assert_int_not_equal(keyring_open(&k, "t", sealed + from, SEALED - from, back), KEYRING_OPEN);
  keyring_free(&k);
}

static void test_the_first_key_seals_and_each_opens(void **state) {
  (void)state;
  keyring old = ring_of(first, NULL), both = ring_of(second, first), fresh = ring_of(second, NULL), none = {0};
  uint8_t sealed[SEALED], anew[SEALED], back[sizeof TEXT];
  assert_false(keyring_seal(&none, "t", TEXT, sizeof TEXT, sealed));
  assert_true(keyring_seal(&old, "t", TEXT, sizeof TEXT, sealed));
  assert_true(keyring_seal(&both, "t", TEXT, sizeof TEXT, anew));
  assert_int_equal(keyring_open(&both, "t", sealed, SEALED, back), KEYRING_OPEN);
  assert_int_equal(keyring_open(&both, "t", anew, SEALED, back), KEYRING_OPEN);
  assert_int_equal(keyring_open(&fresh, "t", anew, SEALED, back), KEYRING_OPEN);
  assert_int_equal(keyring_open(&fresh, "t", sealed, SEALED, back), KEYRING_NO_KEY);
  assert_int_equal(keyring_open(&old, "t", anew, SEALED, back), KEYRING_NO_KEY);
  assert_int_equal(keyring_open(&none, "t", anew, SEALED, back), KEYRING_NO_KEY);
  keyring_free(&old), keyring_free(&both), keyring_free(&fresh);
}

static void test_keys_are_told_apart(void **state) {
  (void)state;
  keyring k = ring_of(first, second);
  uint8_t key[KEYRING_KEY_BYTES] = {9};
  assert_true(keyring_add(&k, first)); /* it is there */
  assert_int_equal(k.count, 2);
  assert_string_not_equal(k.ids[0], k.ids[1]);
  assert_int_equal(strlen(k.ids[0]), 16);
  for (uint8_t i = 2; i < KEYRING_MOST; i++) {
    key[1] = i;
    assert_true(keyring_add(&k, key));
  }
  key[1] = 99;
  assert_false(keyring_add(&k, key));
  keyring_free(&k);
}

/* As keys of access tokens were sealed before there was a keyring: nonce, ciphertext, tag, bound to the key's id. */
static void test_what_was_sealed_long_ago_opens(void **state) {
  (void)state;
  keyring k = ring_of(second, first);
  uint8_t sealed[SEALED] = {0}, back[sizeof TEXT], *old = sealed + KEYRING_HEAD_BYTES;
  int size = 0;
  EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
  assert_non_null(c);
  assert_true(text_unhex(k.ids[1], 16, sealed + 1));
  text_random(old, 12);
  assert_int_equal(EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, first, old), 1);
  assert_int_equal(EVP_EncryptUpdate(c, NULL, &size, (const uint8_t *)"jwk_1", 5), 1);
  assert_int_equal(EVP_EncryptUpdate(c, old + 12, &size, (const uint8_t *)TEXT, sizeof TEXT), 1);
  assert_int_equal(EVP_EncryptFinal_ex(c, back, &size), 1);
  assert_int_equal(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, 16, old + 12 + sizeof TEXT), 1);
  EVP_CIPHER_CTX_free(c);
  assert_int_equal(keyring_open(&k, "accounts_keys/jwk_1", sealed, SEALED, back), KEYRING_OPEN);
  assert_string_equal((const char *)back, TEXT);
  assert_int_equal(keyring_open(&k, "accounts_keys/jwk_2", sealed, SEALED, back), KEYRING_BROKEN);
  keyring_free(&k);
}

/* ---- Files -------------------------------------------------------------------------------------------------------------------------------- */

static char folder[] = "/tmp/purlin-keys-XXXXXX", path[64];

static int make_folder(void **state) {
  (void)state;
  if (!mkdtemp(folder)) return -1;
  (void)snprintf(path, sizeof path, "%s/key", folder);
  return 0;
}

static int remove_folder(void **state) {
  (void)state;
  char command[100];
  (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
  return system(command);
}

static void write_file(const char *to, const void *data, size_t size, mode_t mode) {
  (void)unlink(to);
  FILE *file = fopen(to, "we");
  assert_non_null(file);
  assert_int_equal(fwrite(data, 1, size, file), size);
  assert_int_equal(fclose(file), 0);
  assert_int_equal(chmod(to, mode), 0);
}

static void assert_refused(const char *setting, const char *says) {
  keyring k = {0};
  buffer why = {0};
  assert_false(key_setting_add(&k, setting, 1, &why));
  if (!strstr(buffer_end(&why), says)) fail_msg("'%s' does not say '%s'", buffer_end(&why), says);
  assert_int_equal(k.count, 0);
  keyring_free(&k);
  buffer_free(&why);
}

static void assert_taken(const char *setting, const uint8_t *key) {
  keyring k = {0};
  buffer why = {0};
  char id[KEYRING_ID_SIZE];
  if (!key_setting_add(&k, setting, 1, &why)) fail_msg("%s", buffer_end(&why));
  assert_true(keyring_id(key, id));
  assert_string_equal(k.ids[0], id);
  keyring_free(&k);
}

static void test_a_key_file_is_made_once_for_its_owner(void **state) {
  (void)state;
  keyring k = {0};
  buffer why = {0};
  struct stat about;
  assert_true(key_file_make(path, &why));
  assert_int_equal(stat(path, &about), 0);
  assert_int_equal(about.st_mode & 0777, 0600);
  assert_int_equal(about.st_size, 32);
  assert_true(key_file_add(&k, path, &why));
  assert_true(key_file_make(path, &why)); /* which leaves it as it is */
  assert_true(key_file_add(&k, path, &why));
  assert_int_equal(k.count, 1);
  keyring_free(&k);
  assert_false(key_file_make("/nowhere/key", &why));
  assert_non_null(strstr(buffer_end(&why), "/nowhere/key: No such file"));
  buffer_free(&why);
}

static void test_keys_come_in_bytes_or_digits(void **state) {
  (void)state;
  char digits[2 * KEYRING_KEY_BYTES + 3];
  text_hex(first, sizeof first, digits);
  assert_taken(digits, first);
  write_file(path, first, sizeof first, 0640);
  assert_taken(path, first);
  write_file(path, digits, 64, 0400);
  assert_taken(path, first);
  memcpy(digits + 64, "\r\n", 3);
  write_file(path, digits, 66, 0600);
  assert_taken(path, first);
  assert_int_equal(setenv("CREDENTIALS_DIRECTORY", folder, 1), 0);
  assert_taken("credential:key", first);
  assert_refused("credential:other", "other: No such file");
  assert_refused("credential:../key", "no name of a credential");
  assert_refused("credential:..", "no name of a credential");
  assert_refused("credential:", "no name of a credential");
  assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
  assert_refused("credential:key", "LoadCredential=key:PATH");
}

static void test_bad_keys_are_refused(void **state) {
  (void)state;
  static const mode_t open_to_others[] = {0604, 0602, 0601, 0644, 0666};
  uint8_t large[100] = {1};
  assert_refused("secret-word", "keys[1] is neither a path");
  assert_refused("", "keys[1] is neither a path");
  assert_refused("00112233445566778899aabbccddeeff00112233445566778899aabbccddeefg", "keys[1] is neither a path");
  for (size_t i = 0; i < sizeof open_to_others / sizeof open_to_others[0]; i++) {
    write_file(path, first, sizeof first, open_to_others[i]);
    assert_refused(path, "can be read or written by others: chmod o= it");
  }
  write_file(path, first, sizeof first, 0660);
  assert_refused(path, "can be written by its group");
  static const size_t sizes[] = {0, 1, 31, 33, 63, 65, 67, 100};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    write_file(path, large, sizes[i], 0600);
    assert_refused(path, "holds no key: 32 bytes, or 64 hexadecimal digits");
  }
  assert_refused(folder, "is no file");
  assert_refused("/dev/zero", "is no file");
  assert_refused("/nowhere/key", "cannot read /nowhere/key: No such file");
}

static void test_a_secret_file_is_read_whole(void **state) {
  (void)state;
  buffer text = {0}, why = {0};
  write_file(path, "open sesame\n", 12, 0640);
  assert_true(secret_file_read(path, 12, &text, &why));
  assert_int_equal(text.size, 12);
  buffer_free(&text);
  assert_false(secret_file_read(path, 11, &text, &why));
  assert_non_null(strstr(buffer_end(&why), "is too large"));
  assert_int_equal(text.size, 0);
  buffer_free(&text);
  buffer_free(&why);
}

/* ---- A node's keys ---------------------------------------------------------------------------------------------------------------------- */

static void test_a_node_has_a_key_without_a_setting(void **state) {
  (void)state;
  buffer why = {0};
  char ids[64], kept[80], other[80], legacy[80], expected[128], fresh[KEYRING_ID_SIZE];
  (void)snprintf(kept, sizeof kept, "%s/secrets.key", folder);
  (void)snprintf(legacy, sizeof legacy, "%s/accounts.key", folder);
  (void)snprintf(other, sizeof other, "%s/other", folder);
  const secrets_options plain = {.state = folder};
  assert_int_equal(secrets_check(&plain, &why), PURLIN_OK);
  assert_int_equal(access(kept, F_OK), -1); /* a check makes nothing */
  assert_int_equal(secrets_open(&plain, &why), PURLIN_OK);
  (void)snprintf(ids, sizeof ids, "%s", purlin_secret_keys());
  assert_int_equal(strlen(ids), 16);
  assert_int_equal(secrets_open(&plain, &why), PURLIN_OK);
  assert_string_equal(purlin_secret_keys(), ids);

  /* Another key before it, and one of accounts behind it. */
  write_file(other, first, sizeof first, 0600);
  write_file(legacy, second, sizeof second, 0600);
  const char *const keys[] = {other};
  const secrets_options configured = {.state = folder, .keys = {keys, 1}};
  assert_int_equal(secrets_open(&configured, &why), PURLIN_OK);
  assert_true(keyring_id(first, fresh));
  (void)snprintf(expected, sizeof expected, "%s,%s,", fresh, ids);
  assert_true(keyring_id(second, fresh));
  assert_memory_equal(purlin_secret_keys(), expected, strlen(expected));
  assert_string_equal(purlin_secret_keys() + strlen(expected), fresh);

  /* Without the old ones none is made beside the one that is configured. */
  assert_int_equal(unlink(kept) | unlink(legacy), 0);
  assert_int_equal(secrets_open(&configured, &why), PURLIN_OK);
  assert_int_equal(strlen(purlin_secret_keys()), 16);
  assert_int_equal(access(kept, F_OK), -1);
  assert_int_equal(chmod(other, 0644), 0);
  assert_int_equal(secrets_check(&configured, &why), PURLIN_INVALID);
  assert_int_equal(secrets_open(&configured, &why), PURLIN_INVALID);
  assert_string_equal(purlin_secret_keys(), "");
  secrets_close();
  buffer_free(&why);
}

/* ---- Pages -------------------------------------------------------------------------------------------------------------------------------- */

/* The flags of the mapping that an address is in. */
static bool is_left_out_of_dumps(const void *at) {
  char line[512];
  unsigned long from = 0, to = 0;
  bool inside = false, found = false;
  FILE *maps = fopen("/proc/self/smaps", "re");
  assert_non_null(maps);
  while (!found && fgets(line, sizeof line, maps)) {
    if (sscanf(line, "%lx-%lx ", &from, &to) == 2) inside = (uintptr_t)at >= from && (uintptr_t)at < to;
    else if (inside && strncmp(line, "VmFlags:", 8) == 0) found = strstr(line, " dd") != NULL;
  }
  assert_int_equal(fclose(maps), 0);
  return found;
}

static void test_pages_are_left_out_of_core_dumps(void **state) {
  (void)state;
  char *small = pages_take(10), *large = pages_take(100000);
  assert_non_null(small);
  assert_non_null(large);
  assert_true(is_left_out_of_dumps(small));
  assert_true(is_left_out_of_dumps(large));
  assert_true(is_left_out_of_dumps(large + 99999));
  assert_false(is_left_out_of_dumps(folder));
  for (size_t i = 0; i < 100000; i++) assert_int_equal(large[i], 0);
  keyring k = ring_of(first, NULL);
  assert_true(is_left_out_of_dumps(k.keys));
  keyring_free(&k);
  pages_give(small);
  pages_give(large);
  pages_give(NULL);
  assert_null(pages_take(SIZE_MAX));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_what_is_sealed_opens),
      cmocka_unit_test(test_nothing_at_all_can_be_sealed),
      cmocka_unit_test(test_it_opens_as_nothing_else),
      cmocka_unit_test(test_each_bit_counts),
      cmocka_unit_test(test_what_was_cut_does_not_open),
      cmocka_unit_test(test_the_first_key_seals_and_each_opens),
      cmocka_unit_test(test_keys_are_told_apart),
      cmocka_unit_test(test_what_was_sealed_long_ago_opens),
      cmocka_unit_test(test_a_key_file_is_made_once_for_its_owner),
      cmocka_unit_test(test_keys_come_in_bytes_or_digits),
      cmocka_unit_test(test_bad_keys_are_refused),
      cmocka_unit_test(test_a_secret_file_is_read_whole),
      cmocka_unit_test(test_a_node_has_a_key_without_a_setting),
      cmocka_unit_test(test_pages_are_left_out_of_core_dumps),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
