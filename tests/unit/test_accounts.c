/* Passwords and their hashes, signatures and who could not have made them. */
#include "jwt.h"
#include "password.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- Passwords ------------------------------------------------------------------------------------------------------------------------ */

enum { CHEAP = 1 };

static void test_a_hash_knows_its_password_only(void **state) {
  (void)state;
  char one[PASSWORD_HASH_SIZE], other[PASSWORD_HASH_SIZE];
  assert_true(password_hash("four plain garden words", CHEAP, one));
  assert_true(password_hash("four plain garden words", CHEAP, other));
  assert_string_not_equal(one, other); /* the salt */
  assert_true(password_matches("four plain garden words", one));
  assert_true(password_matches("four plain garden words", other));
  assert_false(password_matches("four plain garden word", one));
  assert_false(password_matches("four plain garden words ", one));
  assert_false(password_matches("", one));
}

static void test_long_passwords_differ_in_their_last_byte(void **state) {
  (void)state;
  static const size_t sizes[] = {510, 511, 512, 1024};
  char password[PASSWORD_LONGEST + 1], hash[PASSWORD_HASH_SIZE];
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    memset(password, 'x', sizes[i]);
    password[sizes[i]] = '\0';
    assert_true(password_hash(password, CHEAP, hash));
    assert_true(password_matches(password, hash));
    password[sizes[i] - 1] = 'y';
    assert_false(password_matches(password, hash));
  }
}

static void test_a_hash_that_cannot_be_read_matches_nothing(void **state) {
  (void)state;
  static const char *const broken[] = {"", "*", "*0", "$y$", "$y$j9T$", "$nope$x", "plain", "$y$j9T$!!!$x"};
  for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
    assert_false(password_matches("four plain garden words", broken[i]));
}

static void test_a_hash_tells_its_cost(void **state) {
  (void)state;
  char hash[PASSWORD_HASH_SIZE];
  assert_true(password_hash("four plain garden words", CHEAP, hash));
  assert_true(password_hash_is_current(hash, CHEAP));
  assert_false(password_hash_is_current(hash, CHEAP + 1));
  assert_false(password_hash_is_current("$2b$12$abcdefghijklmnopqrstuv", CHEAP));
}

static void test_weak_passwords_have_a_flaw(void **state) {
  (void)state;
  static const char *const weak[] = {"",
                                     "elevenchars",
                                     "\xc3\xa4\xc3\xa4\xc3\xb6\xc3\xb6\xc3\xbc\xc3\xbc", /* six characters */
                                     "aaaaaaaaaaaa",
                                     "abcabcabcabcabc",
                                     "123456789012",
                                     "abcdefghijklm",
                                     "Password!!!!",
                                     "!!2024Welcome2024",
                                     "31415926535897",
                                     "Christopherson1",
                                     "purlin_abcdefghijklmnop"};
  for (size_t i = 0; i < sizeof weak / sizeof weak[0]; i++)
    if (!password_flaw(weak[i], "christopherson")) fail_msg("'%s' is taken", weak[i]);
  char password[PASSWORD_LONGEST + 2];
  for (size_t i = 0; i <= PASSWORD_LONGEST; i++) password[i] = (char)('a' + i * i % 23);
  password[PASSWORD_LONGEST + 1] = '\0';
  assert_non_null(password_flaw(password, "ana"));
  password[PASSWORD_LONGEST] = '\0';
  assert_null(password_flaw(password, "ana"));
}

static void test_good_passwords_have_none(void **state) {
  (void)state;
  static const char *const good[] = {
      "four plain garden words", "christopherson likes tea", "u8#kQ-22pLmm",
      "\xe4\xb8\xad\xe6\x96\x87\xe4\xb8\xad\xe5\x9b\xbd\xe4\xba\xba\xe6\xb0\x91\xe5\x85\xb1\xe5\x92\x8c\xe5\x9b\xbd\xe4\xb8\x87\xe5\xb2\x81\xe5\x90\x97"};
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
    if (password_flaw(good[i], "christopherson")) fail_msg("'%s': %s", good[i], password_flaw(good[i], "christopherson"));
}

/* ---- Base64url --------------------------------------------------------------------------------------------------------------------------- */

static void test_base64url_goes_and_comes_back(void **state) {
  (void)state;
  unsigned char data[64], back[64];
  char text[100];
  for (size_t size = 0; size <= sizeof data; size++) {
    for (size_t i = 0; i < size; i++) data[i] = (unsigned char)(i * 37 + size * 11 + 200);
    size_t got;
    jwt_base64url(data, size, text);
    assert_true(strlen(text) + 1 <= jwt_base64url_size(size));
    assert_null(strpbrk(text, "+/="));
    assert_true(jwt_unbase64url(text, strlen(text), back, &got));
    assert_int_equal(got, size);
    assert_memory_equal(back, data, size);
  }
}

static void test_base64url_has_one_spelling(void **state) {
  (void)state;
  static const char *const wrong[] = {"A", "AB", "AAB", "AA==", "AA+A", "AA/A", "AA A", "AA\nA", "AAAAA", "\xc3\xa4"};
  unsigned char out[16];
  size_t got;
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
    if (jwt_unbase64url(wrong[i], strlen(wrong[i]), out, &got)) fail_msg("'%s' is taken", wrong[i]);
  assert_true(jwt_unbase64url("AA", 2, out, &got));
  assert_false(jwt_unbase64url("A\0AA", 4, out, &got));
}

/* ---- Signatures --------------------------------------------------------------------------------------------------------------------------- */

static void make_token(const jwt_key *key, const char *text, char *out, size_t room) {
  unsigned char signature[JWT_SIGNATURE_MOST];
  char encoded[2 * JWT_SIGNATURE_MOST];
  size_t size;
  assert_true(jwt_sign(key, text, strlen(text), signature, &size));
  jwt_base64url(signature, size, encoded);
  assert_true((size_t)snprintf(out, room, "%s.%s", text, encoded) < room);
}

static bool verifies(const jwt_key *key, const char *token) {
  jwt_parts parts;
  return jwt_split(token, &parts) && jwt_verify(key, &parts);
}

static void test_each_algorithm_signs_and_nothing_else_passes(void **state) {
  (void)state;
  for (jwt_algorithm a = JWT_ES256; a < JWT_ALGORITHMS; a++) {
    jwt_key key = {0}, foreign = {0};
    char token[2048];
    assert_true(jwt_generate(&key, a) && jwt_generate(&foreign, a));
    make_token(&key, "eyJhIjoxfQ.eyJiIjoyfQ", token, sizeof token);
    assert_true(verifies(&key, token));
    assert_false(verifies(&foreign, token));
    size_t size = strlen(token);
    for (size_t i = 0; i < size; i += 7) { /* another letter anywhere */
      char was = token[i];
      token[i] = was == 'A' ? 'B' : 'A';
      assert_false(verifies(&key, token));
      token[i] = was;
    }
    for (size_t cut = 1; cut < 100 && cut < size; cut++) { /* truncated */
      char was = token[size - cut];
      token[size - cut] = '\0';
      assert_false(verifies(&key, token));
      token[size - cut] = was;
    }
    assert_true(verifies(&key, token));
    jwt_key_end(&key);
    jwt_key_end(&foreign);
  }
}

/* What broke others: the public key of a pair taken as the secret of an HMAC, a signature of DER, r and s of zero. */
static void test_confusion_gets_nowhere(void **state) {
  (void)state;
  jwt_key curve = {0}, secret = {0};
  char token[2048], zeros[128];
  unsigned char nothing[64] = {0};
  assert_true(jwt_generate(&curve, JWT_ES256) && jwt_generate(&secret, JWT_HS256));
  make_token(&secret, "e30.e30", token, sizeof token);
  assert_false(verifies(&curve, token));
  make_token(&curve, "e30.e30", token, sizeof token);
  assert_false(verifies(&secret, token));
  jwt_base64url(nothing, sizeof nothing, zeros);
  assert_true(snprintf(token, sizeof token, "e30.e30.%s", zeros) > 0);
  assert_false(verifies(&curve, token));
  curve.algorithm = JWT_RS256; /* a key of another kind than its algorithm */
  make_token(&secret, "e30.e30", token, sizeof token);
  assert_false(verifies(&curve, token));
  jwt_key_end(&curve);
  jwt_key_end(&secret);
}

static void test_tokens_have_three_parts(void **state) {
  (void)state;
  static const char *const wrong[] = {"", ".", "..", "a.b", "a.b.", ".b.c", "a..c", "a.b.c.d", "a.b.c.", "abc"};
  jwt_parts parts;
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
    if (jwt_split(wrong[i], &parts)) fail_msg("'%s' is taken", wrong[i]);
  assert_true(jwt_split("ab.c.def", &parts));
  assert_int_equal(parts.header_size, 2);
  assert_int_equal(parts.signed_size, 4);
  assert_int_equal(parts.signature_size, 3);
  char *large = malloc(JWT_LONGEST + 10);
  assert_non_null(large);
  memset(large, 'a', JWT_LONGEST + 9);
  large[JWT_LONGEST + 9] = '\0';
  large[5] = large[10] = '.';
  assert_false(jwt_split(large, &parts));
  free(large);
}

static void test_algorithms_have_names(void **state) {
  (void)state;
  for (jwt_algorithm a = JWT_ES256; a < JWT_ALGORITHMS; a++) assert_int_equal(jwt_algorithm_of(jwt_algorithm_name(a)), a);
  assert_int_equal(jwt_algorithm_of("none"), JWT_ALGORITHMS);
  assert_int_equal(jwt_algorithm_of("es256"), JWT_ALGORITHMS);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_hash_knows_its_password_only),
      cmocka_unit_test(test_long_passwords_differ_in_their_last_byte),
      cmocka_unit_test(test_a_hash_that_cannot_be_read_matches_nothing),
      cmocka_unit_test(test_a_hash_tells_its_cost),
      cmocka_unit_test(test_weak_passwords_have_a_flaw),
      cmocka_unit_test(test_good_passwords_have_none),
      cmocka_unit_test(test_base64url_goes_and_comes_back),
      cmocka_unit_test(test_base64url_has_one_spelling),
      cmocka_unit_test(test_each_algorithm_signs_and_nothing_else_passes),
      cmocka_unit_test(test_confusion_gets_nowhere),
      cmocka_unit_test(test_tokens_have_three_parts),
      cmocka_unit_test(test_algorithms_have_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
