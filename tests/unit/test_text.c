#include "core/status.h"
#include "core/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>
#include <locale.h>
#include <math.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void utf8(void **state) {
  (void)state;
  static const struct {
    const char *text;
    bool good;
  } cases[] = {
      {"", true},
      {"plain ascii, longer than eight", true},
      {"\xc3\xa9", true},
      {"\xe2\x82\xac", true},
      {"\xed\x9f\xbf", true},
      {"\xee\x80\x80", true},
      {"\xf0\x90\x80\x80", true},
      {"\xf4\x8f\xbf\xbf", true},
      {"12345678\xc3\xa9"
       "12345678\xe2\x82\xac",
       true},
      {"\x80", false},
      {"\xc3", false},
      {"\xc0\x80", false},
      {"\xc1\xbf", false},
      {"\xe0\x9f\xbf", false},
      {"\xed\xa0\x80", false},
      {"\xed\xbf\xbf", false},
      {"\xf0\x8f\xbf\xbf", false},
      {"\xf4\x90\x80\x80", false},
      {"\xf5\x80\x80\x80", false},
      {"\xff", false},
      {"\xe2\x82", false},
      {"\xf0\x9f\x98", false},
      {"12345678\xc3", false},
      {"\xe2(\xa1", false},
      {"\xf0\x9f(\x80", false},
      {"1234567\x80", false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    assert_int_equal(text_is_utf8(cases[i].text, strlen(cases[i].text)), cases[i].good);
}

/* Every byte at every place of texts of every length around a word, against the rule said plainly. */
static void plain_texts(void **state) {
  (void)state;
  char text[32];
  for (size_t size = 0; size <= 20; size++)
    for (size_t at = 0; at < size; at++)
      for (int byte = 0; byte < 256; byte++) {
        memset(text, 'a', sizeof text);
        text[at] = (char)byte;
        bool plain = byte >= ' ' && byte < 0x80 && byte != '"' && byte != '\\';
        assert_int_equal(text_is_plain(text, size), plain);
      }
  assert_true(text_is_plain("", 0));
}

static void assert_int(const char *text, bool good, int64_t expected) {
  int64_t value = 0;
  assert_int_equal(text_to_int(text, strlen(text), &value), good);
  if (good) assert_true(value == expected);
}

static void integers(void **state) {
  (void)state;
  assert_int("0", true, 0);
  assert_int("-0", true, 0);
  assert_int("007", true, 7);
  assert_int("9223372036854775807", true, INT64_MAX);
  assert_int("-9223372036854775808", true, INT64_MIN);
  assert_int("9223372036854775808", false, 0);
  assert_int("-9223372036854775809", false, 0);
  assert_int("99999999999999999999999", false, 0);
  static const char *const bad[] = {"", "-", "+1", " 1", "1 ", "1.0", "0x1", "--1", "1e3", "\xd9\xa1"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) assert_int(bad[i], false, 0);
  uint64_t large;
  assert_true(text_to_uint("18446744073709551615", 20, &large));
  assert_true(large == UINT64_MAX);
  assert_false(text_to_uint("18446744073709551616", 20, &large));
  assert_false(text_to_uint("-1", 2, &large));
  static const int64_t values[] = {0, 1, -1, 9, 10, 99, 100, 101, -12345, 1000000, INT64_MAX, INT64_MIN};
  for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
    char ours[24], theirs[24];
    size_t length = text_from_int(values[i], ours);
    assert_int_equal(length, snprintf(theirs, sizeof theirs, "%lld", (long long)values[i]));
    assert_memory_equal(ours, theirs, length);
  }
}

static void assert_double_text(double value, const char *expected) {
  char out[33] = {0};
  out[text_from_double(value, out)] = '\0';
  assert_string_equal(out, expected);
}

static void short_doubles(void **state) {
  (void)state;
  assert_double_text(0, "0");
  assert_double_text(-0.0, "-0");
  assert_double_text(1, "1");
  assert_double_text(-17, "-17");
  assert_double_text(0.1, "0.1");
  assert_double_text(-0.001, "-0.001");
  assert_double_text(0.5, "0.5");
  assert_double_text(123.456, "123.456");
  assert_double_text(1e15, "1000000000000000");
  assert_double_text(9007199254740991.0, "9007199254740991");
  assert_double_text(0.1 + 0.2, "0.30000000000000004");
  assert_double_text(1e22, "1e+22");
  assert_double_text(1.7976931348623157e308, "1.7976931348623157e+308");
  assert_double_text(5e-324, "4.94065645841247e-324"); /* 15 digits at least, and still the same number */
  assert_double_text(0.0001, "0.0001");
  assert_double_text(0.00001, "1e-05");
}

static uint64_t next_random(uint64_t *seed) {
  *seed ^= *seed << 13;
  *seed ^= *seed >> 7;
  *seed ^= *seed << 17;
  return *seed;
}

static void assert_round_trip(double value) {
  char out[33];
  double back, reference;
  size_t length = text_from_double(value, out);
  assert_in_range(length, 1, 32);
  assert_true(text_to_double(out, length, &back));
  assert_memory_equal(&back, &value, sizeof value);
  out[length < 32 ? length : 32] = '\0';
  reference = strtod(out, NULL);
  assert_memory_equal(&reference, &value, sizeof value);
  char wide[40];
  int wide_length = snprintf(wide, sizeof wide, "%.17g", value);
  assert_true((int)length <= wide_length + 4); /* fewer digits may need an exponent */
}

static void any_double_survives(void **state) {
  (void)state;
  uint64_t seed = 88172645463325252ULL;
  for (int i = 0; i < 20000; i++) {
    uint64_t bits = next_random(&seed);
    double value;
    memcpy(&value, &bits, sizeof value);
    if (isfinite(value)) assert_round_trip(value);
    assert_round_trip((double)(int64_t)(bits >> 30) / 10000.0);
    assert_round_trip((double)(bits >> 11) * 0x1p-53);
    assert_round_trip((double)(float)((double)(bits >> 40) * 0x1p-24));
  }
}

static void texts_that_are_no_doubles(void **state) {
  (void)state;
  static const char *const bad[] = {"",      "-",      ".",  "e5", "1e",  "1e+",   "nan", "inf",   "infinity", "0x10",
                                    "1e999", "-1e999", " 1", "1 ", "1,5", "1.2.3", "--1", "1e5.0", "1_000"};
  double value;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) assert_false(text_to_double(bad[i], strlen(bad[i]), &value));
  char zeros[1002];
  memset(zeros, '0', sizeof zeros);
  assert_true(text_to_double(zeros, 1000, &value));
  assert_false(text_to_double(zeros, 1001, &value));
}

static void texts_that_are_doubles(void **state) {
  (void)state;
  static const char *const good[] = {"1",
                                     "+1",
                                     "-1.5",
                                     ".5",
                                     "5.",
                                     "1e5",
                                     "1E-5",
                                     "1e+05",
                                     "123456789012345678901234567890",
                                     "0.000000000000000000000000000000123",
                                     "9007199254740993",
                                     "1e-400",
                                     "4.35",
                                     "2.2250738585072011e-308",
                                     "1.00000000000000011102230246251565404236316680908203125",
                                     "1e0000000000000000005",
                                     "0e99999999999"};
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    double value, expected = strtod(good[i], NULL);
    assert_true(text_to_double(good[i], strlen(good[i]), &value));
    assert_memory_equal(&value, &expected, sizeof value);
  }
}

static void no_locale_changes_numbers(void **state) {
  (void)state;
  static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "C.UTF-8"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (setlocale(LC_ALL, names[i]) != NULL) break;
  assert_double_text(0.1 + 0.2, "0.30000000000000004");
  double value;
  assert_true(text_to_double("0.30000000000000004", 19, &value));
  assert_true(value == 0.1 + 0.2);
  assert_non_null(setlocale(LC_ALL, "C"));
}

static void hexadecimal(void **state) {
  (void)state;
  char out[9];
  uint8_t back[4];
  text_hex("\x00\x7f\xab\xff", 4, out);
  assert_string_equal(out, "007fabff");
  for (unsigned byte = 0; byte < 256; byte++) { /* at each place of the four that are done at a time, and behind them */
    const uint8_t bytes[6] = {(uint8_t)byte, (uint8_t)(byte + 1), (uint8_t)(byte * 3), 0xf0, (uint8_t)byte, 0x0f};
    char expected[13], made[13];
    for (size_t i = 0; i < sizeof bytes; i++) (void)snprintf(expected + 2 * i, 3, "%02x", bytes[i]);
    text_hex(bytes, sizeof bytes, made);
    assert_string_equal(made, expected);
  }
  assert_true(text_unhex("007FabFF", 8, back));
  assert_memory_equal(back, "\x00\x7f\xab\xff", 4);
  assert_false(text_unhex("abc", 3, back));
  assert_false(text_unhex("0g", 2, back));
  assert_false(text_unhex(" 1", 2, back));
}

static void base64(void **state) {
  (void)state;
  static const struct {
    const char *plain, *coded;
  } cases[] = {
      {"", ""},
      {"f", "Zg=="},
      {"fo", "Zm8="},
      {"foo", "Zm9v"},
      {"foob", "Zm9vYg=="},
      {"fooba", "Zm9vYmE="},
      {"foobar", "Zm9vYmFy"},
      {"\xff\xfe\xfd", "//79"},
      {"\xfb\xef\xbe", "++++"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char coded[32], plain[32];
    size_t size = strlen(cases[i].plain), plain_size = 99;
    text_base64(cases[i].plain, size, coded);
    assert_string_equal(coded, cases[i].coded);
    assert_int_equal(text_base64_size(size), strlen(coded));
    assert_true(text_unbase64(coded, strlen(coded), plain, &plain_size));
    assert_int_equal(plain_size, size);
    assert_memory_equal(plain, cases[i].plain, size);
  }
  static const char *const bad[] = {
      "Z", "Zg", "Zg=", "====", "Z===", "Zh==", "Zm9=", "Zg==Zg==", "Zm 9", "Zm9\n", "Zm-_", "=Zm9"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    char plain[32];
    size_t size;
    assert_false(text_unbase64(bad[i], strlen(bad[i]), plain, &size));
  }
}

static void percent(void **state) {
  (void)state;
  char out[32];
  size_t size;
  assert_true(text_unpercent("a%20b+c%2f%C3%A9", 16, false, out, &size));
  assert_int_equal(size, 8);
  assert_memory_equal(out, "a b+c/\xc3\xa9", 8);
  assert_true(text_unpercent("a+b", 3, true, out, &size));
  assert_memory_equal(out, "a b", 3);
  static const char *const bad[] = {"%", "%2", "a%zz", "%00", "x%2"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    assert_false(text_unpercent(bad[i], strlen(bad[i]), false, out, &size));
}

static void comparing(void **state) {
  (void)state;
  assert_true(text_equal_ignoring_case("Content-Type", 12, "content-tYPE", 12));
  assert_false(text_equal_ignoring_case("abc", 3, "abcd", 4));
  assert_false(text_equal_ignoring_case("[", 1, "{", 1));
  assert_true(text_equal_secret("secret", "secret", 6));
  assert_false(text_equal_secret("secret", "secreT", 6));
  assert_true(text_equal_secret("x", "y", 0));
  char secret[8] = "hidden";
  text_wipe(secret, sizeof secret);
  assert_memory_equal(secret, "\0\0\0\0\0\0\0\0", 8);
}

static void hashing(void **state) {
  (void)state;
  uint8_t digest[32];
  char hex[65];
  text_sha256("abc", 3, digest);
  text_hex(digest, 32, hex);
  assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  /* Every prefix of a text of zeros, and texts that differ in one byte, hash apart. */
  static char zeros[512];
  uint64_t seen[513];
  for (size_t i = 0; i <= 512; i++) {
    seen[i] = text_hash(zeros, i);
    assert_true(seen[i] == text_hash(zeros, i));
    for (size_t k = 0; k < i; k++) assert_true(seen[i] != seen[k]);
  }
  for (size_t i = 0; i < 100; i++) {
    char changed[100] = {0};
    changed[i] = 1;
    assert_true(text_hash(changed, 100) != seen[100]);
  }
}

/* As OpenSSL has it, at every length around the words that it takes. */
static void the_keyed_hash_is_siphash(void **state) {
  (void)state;
  EVP_MAC *mac = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
  assert_non_null(mac);
  uint8_t data[100], key[16], ours[16], theirs[16];
  text_random(data, sizeof data);
  text_random(key, sizeof key);
  for (size_t size = 0; size <= sizeof data; size++) {
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
    size_t wanted = sizeof theirs, got = 0;
    const OSSL_PARAM parameters[] = {OSSL_PARAM_size_t("size", &wanted), OSSL_PARAM_END};
    assert_int_equal(EVP_MAC_init(ctx, key, sizeof key, parameters), 1);
    assert_int_equal(EVP_MAC_update(ctx, data, size), 1);
    assert_int_equal(EVP_MAC_final(ctx, theirs, &got, sizeof theirs), 1);
    EVP_MAC_CTX_free(ctx);
    text_keyed_hash(key, data, size, ours);
    assert_int_equal(got, sizeof ours);
    assert_memory_equal(ours, theirs, sizeof ours);
  }
  EVP_MAC_free(mac);
}

static void randomness(void **state) {
  (void)state;
  char a[21], b[21];
  memset(a, 'X', sizeof a);
  text_random_id(a, 20);
  text_random_id(b, 20);
  assert_int_equal(strlen(a), 20);
  assert_int_equal(strspn(a, "abcdefghijklmnopqrstuvwxyz0123456789"), 20);
  assert_string_not_equal(a, b);
  static char many[10001];
  text_random_id(many, 10000);
  size_t counts[256] = {0};
  for (size_t i = 0; i < 10000; i++) counts[(unsigned char)many[i]]++;
  for (const char *c = "az09"; *c != '\0'; c++) assert_in_range(counts[(unsigned char)*c], 150, 450); /* 278 expected */
}

static void assert_time(const char *text, int64_t expected, const char *canonical) {
  int64_t us = -1;
  char out[32];
  assert_true(text_to_time(text, strlen(text), &us));
  assert_true(us == expected);
  assert_int_equal(text_from_time(us, out), strlen(canonical));
  assert_string_equal(out, canonical);
}

static void times(void **state) {
  (void)state;
  assert_time("1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00Z");
  assert_time("2024-05-01T12:00:00.123456Z", INT64_C(1714564800123456), "2024-05-01T12:00:00.123456Z");
  assert_time("2024-05-01t14:00:00.5+02:00", INT64_C(1714564800500000), "2024-05-01T12:00:00.500Z");
  assert_time("2024-05-01 06:30:00.1234567899-05:30", INT64_C(1714564800123456), "2024-05-01T12:00:00.123456Z");
  assert_time("2024-02-29T23:59:60z", INT64_C(1709251200000000), "2024-03-01T00:00:00Z");
  assert_time("1969-12-31T23:59:59.999999Z", -1, "1969-12-31T23:59:59.999999Z");
  assert_time("0000-01-01T00:00:00Z", INT64_C(-62167219200000000), "0000-01-01T00:00:00Z");
  assert_time("9999-12-31T23:59:59Z", INT64_C(253402300799000000), "9999-12-31T23:59:59Z");
  static const char *const bad[] = {"",
                                    "2024-05-01",
                                    "2024-05-01T12:00:00",
                                    "2024-05-01T12:00Z",
                                    "2024-13-01T00:00:00Z",
                                    "2024-00-01T00:00:00Z",
                                    "2023-02-29T00:00:00Z",
                                    "1900-02-29T00:00:00Z",
                                    "2024-04-31T00:00:00Z",
                                    "2024-05-01T24:00:00Z",
                                    "2024-05-01T12:60:00Z",
                                    "2024-05-01T12:00:61Z",
                                    "2024-05-01T12:00:00.Z",
                                    "2024-05-01T12:00:00+2:00",
                                    "2024-05-01T12:00:00+24:00",
                                    "2024-05-01T12:00:00+0200",
                                    "2024-05-01T12:00:00Z ",
                                    "24-05-01T12:00:00Z",
                                    "2024-05-01T12:00:00",
                                    "2024/05/01T12:00:00Z"};
  int64_t us;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) assert_false(text_to_time(bad[i], strlen(bad[i]), &us));
  char out[32];
  assert_int_equal(text_from_time(INT64_MAX, out), 0);
  assert_int_equal(text_from_time(INT64_MIN, out), 0);
  assert_string_equal(out, "");
}

static void the_calendar_agrees_with_the_c_library(void **state) {
  (void)state;
  for (int64_t seconds = -62167219200; seconds < 253402300799; seconds += 86400 * 97 + 12345) {
    struct tm parts;
    time_t when = (time_t)seconds;
    char ours[32], theirs[64];
    int64_t back;
    assert_non_null(gmtime_r(&when, &parts));
    assert_int_equal(snprintf(theirs, sizeof theirs, "%04d-%02d-%02dT%02d:%02d:%02dZ", parts.tm_year + 1900,
                              parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec),
                     20);
    assert_int_equal(text_from_time(seconds * 1000000, ours), 20);
    assert_string_equal(ours, theirs);
    assert_true(text_to_time(ours, 20, &back));
    assert_true(back == seconds * 1000000);
    assert_int_equal(strftime(theirs, sizeof theirs, "%a, %d %b ", &parts), 12);
    text_http_date(seconds, ours);
    assert_int_equal(strlen(ours), 29);
    assert_memory_equal(ours, theirs, 12);
  }
  char date[32];
  text_http_date(784111777, date);
  assert_string_equal(date, "Sun, 06 Nov 1994 08:49:37 GMT");
}

static void statuses(void **state) {
  (void)state;
  for (int i = 0; i < PURLIN_STATUS_COUNT; i++) {
    const status_info *info = status_describe((purlin_status)i);
    assert_non_null(info->type);
    assert_non_null(info->title);
    assert_in_range(info->http, 200, 599);
  }
  assert_int_equal(status_describe(PURLIN_NOT_FOUND)->http, 404);
  assert_string_equal(status_describe(PURLIN_NOT_FOUND)->type, "not-found");
  assert_int_equal(status_describe(PURLIN_CANCELLED)->http, 499);
  assert_int_equal(status_describe(PURLIN_STATUS_COUNT)->http, 500);
  static const struct {
    unsigned http;
    purlin_status status;
  } cases[] = {{200, PURLIN_OK},
               {204, PURLIN_OK},
               {301, PURLIN_BAD_UPSTREAM},
               {400, PURLIN_INVALID},
               {401, PURLIN_UNAUTHENTICATED},
               {404, PURLIN_NOT_FOUND},
               {410, PURLIN_NOT_FOUND},
               {418, PURLIN_INVALID},
               {422, PURLIN_INVALID},
               {429, PURLIN_TOO_MANY},
               {500, PURLIN_BAD_UPSTREAM},
               {501, PURLIN_BAD_UPSTREAM},
               {502, PURLIN_BAD_UPSTREAM},
               {503, PURLIN_UNAVAILABLE},
               {504, PURLIN_TIMEOUT},
               {507, PURLIN_NO_SPACE},
               {599, PURLIN_BAD_UPSTREAM},
               {0, PURLIN_BAD_UPSTREAM}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    assert_int_equal(status_from_http(cases[i].http), cases[i].status);
}

static void near_names_are_found(void **unused) {
  (void)unused;
  static const struct {
    const char *name, *candidate;
    size_t far; /* TEXT_FAR: not near */
  } cases[] = {
      {"prot", "port", 1}, {"por", "port", 1},      {"portt", "port", 1},  {"pert", "port", 1},
      {"port", "port", 0}, {"sevrer", "server", 1}, {"srvr", "server", 2}, {"list", "server", 3},
      {"ab", "cd", 3},     {"", "ab", 3},           {"abcdef", "ab", 3},   {"listmodels", "list_models", 1},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    size_t far = TEXT_FAR;
    bool near = text_is_nearer(cases[i].name, strlen(cases[i].name), cases[i].candidate, &far);
    assert_int_equal(near, cases[i].far < TEXT_FAR);
    assert_int_equal(far, cases[i].far);
  }
  char longer[80];
  memset(longer, 'a', sizeof longer);
  size_t far = TEXT_FAR;
  assert_false(text_is_nearer(longer, sizeof longer, "aaa", &far));
  far = 1; /* nothing is nearer than what was found before */
  assert_false(text_is_nearer("prot", 4, "port", &far));
  assert_int_equal(far, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(near_names_are_found),
      cmocka_unit_test(utf8),
      cmocka_unit_test(plain_texts),
      cmocka_unit_test(integers),
      cmocka_unit_test(short_doubles),
      cmocka_unit_test(any_double_survives),
      cmocka_unit_test(texts_that_are_no_doubles),
      cmocka_unit_test(texts_that_are_doubles),
      cmocka_unit_test(no_locale_changes_numbers),
      cmocka_unit_test(hexadecimal),
      cmocka_unit_test(base64),
      cmocka_unit_test(percent),
      cmocka_unit_test(comparing),
      cmocka_unit_test(hashing),
      cmocka_unit_test(the_keyed_hash_is_siphash),
      cmocka_unit_test(randomness),
      cmocka_unit_test(times),
      cmocka_unit_test(the_calendar_agrees_with_the_c_library),
      cmocka_unit_test(statuses),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
