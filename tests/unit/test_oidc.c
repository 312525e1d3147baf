/* What auth-oidc makes of a provider's keys, tokens and claims, without a provider. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "claims.h"
#include "jwk.h"
#include "person.h"
#include "token.h"
#include "loop/context.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Doubles of what the rest of the plugin does ----------------------------------------------------------------------------------------- */

purlin_status oidc_refuse(purlin_ctx *ctx, const char *who, const char *format, ...) {
  char why[512];
  va_list values;
  va_start(values, format);
  (void)vsnprintf(why, sizeof why, format, values);
  va_end(values);
  (void)who;
  return purlin_fail(ctx, PURLIN_FORBIDDEN, "%s", why);
}

purlin_status provider_get_keys(purlin_ctx *ctx, provider_keys *out) {
  (void)out;
  return purlin_fail(ctx, PURLIN_UNAVAILABLE, "there is no provider in this test");
}

purlin_status provider_get_keys_again(purlin_ctx *ctx, provider_keys *out, bool *again) {
  *again = false;
  return provider_get_keys(ctx, out);
}

static int begin(void **state) {
  purlin_ctx *ctx = calloc(1, sizeof *ctx);
  if (!ctx) return -1;
  context_begin(ctx, "auth-oidc", "test");
  *state = ctx;
  return 0;
}

static int end(void **state) {
  context_end(*state);
  free(*state);
  return 0;
}

/* ---- Rules ------------------------------------------------------------------------------------------------------------------------------- */

static void test_only_local_paths_are_gone_to(void **state) {
  (void)state;
  static const char *const good[] = {"/", "/docs", "/a/b?c=d&e=//f", "/api/v1/x#y", "/%2f%2fevil.example"};
  static const char *const bad[] = {"",
                                    "docs",
                                    "//evil.example",
                                    "/\\evil.example",
                                    "\\\\evil.example",
                                    "https://evil.example",
                                    "/\t/evil.example",
                                    "/\n/evil.example",
                                    "/a\rb",
                                    "javascript:alert(1)",
                                    "/a b",
                                    "/\xc3\xa4",
                                    "/a\x7f",
                                    " /docs",
                                    "/ok\\evil"};
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
    if (!rules_is_local_path(good[i])) fail_msg("'%s' is refused", good[i]);
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    if (rules_is_local_path(bad[i])) fail_msg("'%s' is taken", bad[i]);
  char long_path[LONGEST_PATH + 2];
  memset(long_path, 'a', sizeof long_path);
  long_path[0] = '/';
  long_path[LONGEST_PATH + 1] = '\0';
  assert_false(rules_is_local_path(long_path));
  long_path[LONGEST_PATH] = '\0';
  assert_true(rules_is_local_path(long_path));
}

static void test_providers_are_asked_over_tls(void **state) {
  (void)state;
  static const char *const good[] = {"https://sso.example.org", "https://sso.example.org:8443/realms/x?y",
                                     "http://127.0.0.1:9", "http://localhost/a", "http://[::1]:80/"};
  static const char *const bad[] = {"",
                                    "http://sso.example.org",
                                    "http://127.0.0.1.example.org",
                                    "http://localhost.example.org/",
                                    "https://",
                                    "https:///x",
                                    "https://user@sso.example.org",
                                    "http://127.0.0.1@evil.example",
                                    "https://sso.example.org/#x",
                                    "https://sso.example.org/a b",
                                    "ftp://sso.example.org",
                                    "file:///etc/passwd",
                                    "https://sso.example.org\n"};
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
    if (!rules_is_endpoint(good[i])) fail_msg("'%s' is refused", good[i]);
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    if (rules_is_endpoint(bad[i])) fail_msg("'%s' is taken", bad[i]);
}

static void test_login_names(void **state) {
  (void)state;
  static const struct {
    const char *said, *suffix, *name; /* NULL: none */
  } all[] = {{"ana", "", "ana"},
             {"Ana.Smith", "", "ana.smith"},
             {"ana@example.org", "@example.org", "ana"},
             {"ANA@EXAMPLE.ORG", "@example.org", "ana"},
             {"ana@evil.example", "@example.org", NULL},
             {"@example.org", "@example.org", NULL},
             {"", "", NULL},
             {"-ana", "", NULL},
             {"ana smith", "", NULL},
             {"an\xc3\xa1", "", NULL},
             {"user:ana", "", NULL},
             {"ana\n", "", NULL},
             {"0123456789012345678901234567890123456789012345678901234567890123", "",
              "0123456789012345678901234567890123456789012345678901234567890123"},
             {"01234567890123456789012345678901234567890123456789012345678901234", "", NULL}};
  char name[NAME_ROOM];
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    bool fine = rules_login_name(all[i].said, all[i].suffix, name);
    if (fine != (all[i].name != NULL) || (fine && strcmp(name, all[i].name) != 0)) fail_msg("'%s'", all[i].said);
  }
}

static void test_email_domains(void **state) {
  (void)state;
  static const char *const domains[] = {"example.org", "Example.net"};
  assert_true(rules_email_is_in("ana@example.org", domains, 2));
  assert_true(rules_email_is_in("ana@EXAMPLE.NET", domains, 2));
  assert_false(rules_email_is_in("ana@sub.example.org", domains, 2));
  assert_false(rules_email_is_in("ana@example.org@evil.example", domains, 2));
  assert_false(rules_email_is_in("example.org", domains, 2));
  assert_false(rules_email_is_in("@example.org", domains, 2));
  assert_false(rules_email_is_in("", domains, 2));
}

static void test_escapes(void **state) {
  (void)state;
  char out[64];
  assert_int_equal(rules_escape("a b&c=d/\xc3\xa4~", NULL), 23);
  assert_int_equal(rules_escape("a b&c=d/\xc3\xa4~", out), 23);
  assert_string_equal(out, "a%20b%26c%3Dd%2F%C3%A4~");
}

static void test_a_character_is_not_torn(void **state) {
  (void)state;
  assert_int_equal(rules_cut("abc", 3), 3);
  assert_int_equal(rules_cut("abcd", 3), 3);
  assert_int_equal(rules_cut("ab\xc3\xa4", 3), 2);
  assert_int_equal(rules_cut("ab\xc3\xa4", 4), 4);
}

/* ---- Keys and signatures ------------------------------------------------------------------------------------------------------------------ */

enum { ROOM = 16 * 1024 };

/* Of RSA there are two pairs for all tests: one takes seconds to make where the processor is emulated. */
static jwt_key pairs[2];

static bool make_pairs_once(void) {
  return (pairs[0].pair || jwt_generate(&pairs[0], JWT_RS256)) && (pairs[1].pair || jwt_generate(&pairs[1], JWT_RS256));
}

static int end_pairs(void **state) {
  (void)state;
  jwt_key_end(&pairs[0]);
  jwt_key_end(&pairs[1]);
  return 0;
}

/* `other`: of two keys of the same algorithm, the second. */
static void make_key(jwt_key *key, jwt_algorithm algorithm, bool other) {
  if (algorithm != JWT_RS256 && algorithm != JWT_PS256) {
    assert_true(jwt_generate(key, algorithm));
    return;
  }
  assert_true(make_pairs_once());
  *key = (jwt_key){.algorithm = algorithm, .pair = pairs[other].pair};
  assert_int_equal(EVP_PKEY_up_ref(key->pair), 1);
}

typedef struct published {
  char n[1200], e[16], x[64], y[64];
} published;

static void write_number(const jwt_key *key, const char *name, int least, char *out, size_t room) {
  BIGNUM *n = NULL;
  unsigned char bytes[800];
  assert_int_equal(EVP_PKEY_get_bn_param(key->pair, name, &n), 1);
  int size = BN_num_bytes(n) > least ? BN_num_bytes(n) : least;
  assert_int_equal(BN_bn2binpad(n, bytes, size), size);
  BN_free(n);
  assert_true(jwt_base64url_size((size_t)size) <= room);
  jwt_base64url(bytes, (size_t)size, out);
}

/* The public half, as a provider publishes it. */
static provider_key publish(const jwt_key *key, const char *kid, published *p) {
  provider_key out = {.kid = kid};
  if (key->algorithm == JWT_EDDSA) {
    unsigned char raw[32];
    size_t size = sizeof raw;
    assert_int_equal(EVP_PKEY_get_raw_public_key(key->pair, raw, &size), 1);
    jwt_base64url(raw, size, p->x);
    out.kty = "OKP", out.crv = "Ed25519", out.x = p->x;
  } else if (key->algorithm == JWT_ES256) {
    write_number(key, OSSL_PKEY_PARAM_EC_PUB_X, 32, p->x, sizeof p->x);
    write_number(key, OSSL_PKEY_PARAM_EC_PUB_Y, 32, p->y, sizeof p->y);
    out.kty = "EC", out.crv = "P-256", out.x = p->x, out.y = p->y;
  } else {
    write_number(key, OSSL_PKEY_PARAM_RSA_N, 0, p->n, sizeof p->n);
    write_number(key, OSSL_PKEY_PARAM_RSA_E, 0, p->e, sizeof p->e);
    out.kty = "RSA", out.n = p->n, out.e = p->e;
  }
  return out;
}

static void make_token(const jwt_key *key, const char *header, const char *payload, char out[ROOM]) {
  char first[4096], second[4096], third[2 * JWT_SIGNATURE_MOST];
  unsigned char signature[JWT_SIGNATURE_MOST];
  size_t size;
  jwt_base64url(header, strlen(header), first);
  jwt_base64url(payload, strlen(payload), second);
  int length = snprintf(out, ROOM, "%s.%s", first, second);
  assert_true(jwt_sign(key, out, (size_t)length, signature, &size));
  jwt_base64url(signature, size, third);
  assert_true((size_t)snprintf(out + length, ROOM - (size_t)length, ".%s", third) < ROOM - (size_t)length);
}

static const char *const allowed[] = {"RS256", "PS256", "ES256", "EdDSA"};
static const purlin_texts all_allowed = {allowed, 4};

/* -1: not even opened. */
static int judged(purlin_ctx *ctx, const char *token, const provider_key *keys, size_t count) {
  provider_keys set = {0};
  jwt_parts parts;
  token_header header;
  provider_key copies[8];
  memcpy(copies, keys, count * sizeof *keys);
  set.keys.items = copies;
  set.keys.count = count;
  if (token_open(ctx, token, all_allowed, &parts, &header) != PURLIN_OK) return -1;
  return (int)token_try(&set, &header, &parts);
}

static void test_each_algorithm_of_a_provider(void **state) {
  static const jwt_algorithm algorithms[] = {JWT_RS256, JWT_PS256, JWT_ES256, JWT_EDDSA};
  for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++) {
    jwt_key key = {0}, other = {0};
    published p, q;
    char token[ROOM], header[100];
    make_key(&key, algorithms[i], false);
    make_key(&other, algorithms[i], true);
    provider_key mine = publish(&key, "k", &p), theirs = publish(&other, "k", &q);
    (void)snprintf(header, sizeof header, "{\"alg\":\"%s\",\"kid\":\"k\"}", jwt_algorithm_name(algorithms[i]));
    make_token(&key, header, "{}", token);
    assert_int_equal(judged(*state, token, &mine, 1), TOKEN_GOOD);
    assert_int_equal(judged(*state, token, &theirs, 1), TOKEN_FORGED);
    assert_int_equal(judged(*state, token, &mine, 0), TOKEN_KEYLESS);
    mine.use = "enc";
    assert_int_equal(judged(*state, token, &mine, 1), TOKEN_KEYLESS);
    mine.use = "sig", mine.kid = "another";
    assert_int_equal(judged(*state, token, &mine, 1), TOKEN_KEYLESS);
    mine.kid = NULL;
    assert_int_equal(judged(*state, token, &mine, 1), TOKEN_KEYLESS);
    (void)snprintf(header, sizeof header, "{\"alg\":\"%s\"}", jwt_algorithm_name(algorithms[i]));
    make_token(&key, header, "{}", token); /* names no key: any may be it */
    const provider_key both[] = {theirs, mine};
    assert_int_equal(judged(*state, token, both, 2), TOKEN_GOOD);
    jwt_key_end(&key);
    jwt_key_end(&other);
  }
}

/* One key of RSA signs by RS256 or by PS256: which, the key says, and no token changes that. */
static void test_a_key_is_for_its_algorithm_alone(void **state) {
  jwt_key key = {0};
  published p;
  char token[ROOM];
  make_key(&key, JWT_RS256, false);
  provider_key mine = publish(&key, "k", &p);
  mine.alg = "PS256";
  make_token(&key, "{\"alg\":\"RS256\",\"kid\":\"k\"}", "{}", token);
  assert_int_equal(judged(*state, token, &mine, 1), TOKEN_KEYLESS);
  mine.alg = "RS256";
  assert_int_equal(judged(*state, token, &mine, 1), TOKEN_GOOD);
  static const char *const signs[] = {"sign"}, *const verifies[] = {"verify"};
  mine.key_ops = (purlin_texts){signs, 1};
  assert_int_equal(judged(*state, token, &mine, 1), TOKEN_KEYLESS);
  mine.key_ops = (purlin_texts){verifies, 1};
  assert_int_equal(judged(*state, token, &mine, 1), TOKEN_GOOD);
  make_token(&key, "{\"alg\":\"PS256\",\"kid\":\"k\"}", "{}", token); /* says PS256, is signed by RS256 */
  mine.alg = NULL;
  assert_int_equal(judged(*state, token, &mine, 1), TOKEN_FORGED);
  jwt_key_end(&key);
}

static void test_none_and_secrets_get_nowhere(void **state) {
  static const char *const headers[] = {"{\"alg\":\"none\"}",
                                        "{\"alg\":\"None\"}",
                                        "{\"alg\":\"HS256\",\"kid\":\"k\"}",
                                        "{\"alg\":\"\"}",
                                        "{}",
                                        "[]",
                                        "{\"alg\":[\"RS256\"]}",
                                        "{\"alg\":\"ES256\",\"crit\":[\"exp\"],\"exp\":1}",
                                        "{\"alg\":\"ES256\",\"crit\":[\"b64\"],\"b64\":false}"};
  jwt_key secret = {0}, curve = {0};
  published p;
  char token[ROOM];
  assert_true(jwt_generate(&secret, JWT_HS256) && jwt_generate(&curve, JWT_ES256));
  const provider_key mine = publish(&curve, "k", &p);
  for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
    make_token(&secret, headers[i], "{}", token);
    if (judged(*state, token, &mine, 1) != -1) fail_msg("%s is taken", headers[i]);
    make_token(&curve, headers[i], "{}", token);
    if (judged(*state, token, &mine, 1) != -1) fail_msg("%s is taken", headers[i]);
  }
  make_token(&curve, "{\"alg\":\"ES256\",\"jku\":\"https://evil.example\",\"kid\":\"k\"}", "{}",
             token); /* no word of it is believed */
  assert_int_equal(judged(*state, token, &mine, 0), TOKEN_KEYLESS);
  jwt_key_end(&secret);
  jwt_key_end(&curve);
}

/* HS256 could be allowed by nobody, but if it were: a provider's symmetric key is none here. */
static void test_what_is_no_public_key(void **state) {
  (void)state;
  jwt_key key = {0};
  static const struct {
    jwk from;
    jwt_algorithm algorithm;
  } wrong[] = {
      {{.kty = "oct", .n = "AQAB"}, JWT_HS256},
      {{.kty = "oct"}, JWT_RS256},
      {{.kty = NULL}, JWT_RS256},
      {{.kty = "RSA", .n = "AQAB", .e = "AQAB"}, JWT_RS256}, /* 24 bits */
      {{.kty = "RSA", .e = "AQAB"}, JWT_RS256},
      {{.kty = "RSA", .n = "!", .e = "AQAB"}, JWT_PS256},
      {{.kty = "EC", .crv = "P-256", .x = "AQAB", .y = "AQAB"}, JWT_ES256},
      {{.kty = "EC", .crv = "P-384", .x = "AQAB", .y = "AQAB"}, JWT_ES256},
      {{.kty = "EC",
        .crv = "P-256", /* not on the curve */
        .x = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE",
        .y = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"},
       JWT_ES256},
      {{.kty = "OKP", .crv = "X25519", .x = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"}, JWT_EDDSA},
      {{.kty = "OKP", .crv = "Ed25519", .x = "AQAB"}, JWT_EDDSA},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
    if (jwk_take(&wrong[i].from, wrong[i].algorithm, &key)) fail_msg("key %zu is taken", i);
}

static void test_weak_rsa_is_refused(void **state) {
  jwt_key key = {.algorithm = JWT_RS256};
  published p;
  char token[ROOM];
  key.pair = EVP_RSA_gen(1024);
  assert_non_null(key.pair);
  const provider_key mine = publish(&key, "k", &p);
  make_token(&key, "{\"alg\":\"RS256\",\"kid\":\"k\"}", "{}", token);
  assert_int_equal(judged(*state, token, &mine, 1), TOKEN_KEYLESS);
  jwt_key_end(&key);
}

/* ---- Claims ------------------------------------------------------------------------------------------------------------------------------- */

static purlin_json json(const char *text) { return (purlin_json){text, strlen(text)}; }

/* What is wrong with it; "" when nothing is. */
static const char *verdict(purlin_ctx *ctx, const char *text, claims_expected expected) {
  token_claims claims;
  purlin_clear_failure(ctx);
  purlin_status status = claims_read(ctx, json(text), &claims);
  if (status == PURLIN_OK) status = claims_judge(ctx, &claims, &expected);
  if (status != PURLIN_OK) assert_int_equal(status, PURLIN_UNAUTHENTICATED);
  return purlin_failure(ctx);
}

static const claims_expected usual = {
    .issuer = "https://sso", .client_id = "purlin", .nonce = "n", .algorithm = "ES256", .now_s = 1000, .skew_s = 60};

#define CLAIMS(iss, aud, rest) "{\"iss\":\"" iss "\",\"aud\":" aud "," rest "}"
#define TIMES "\"exp\":1300,\"iat\":1000,"

static void test_a_token_for_us_now(void **state) {
  static const char *const good[] = {
      CLAIMS("https://sso", "\"purlin\"", TIMES "\"sub\":\"1\",\"nonce\":\"n\""),
      CLAIMS("https://sso", "[\"purlin\"]", TIMES "\"sub\":\"1\",\"nonce\":\"n\",\"azp\":\"purlin\",\"unknown\":{\"a\":1}"),
      CLAIMS("https://sso", "[\"other\",\"purlin\"]", TIMES "\"sub\":\"1\",\"nonce\":\"n\",\"azp\":\"purlin\""),
      CLAIMS("https://sso", "\"purlin\"",
             "\"exp\":941,\"iat\":1060,\"nbf\":1060,\"sub\":\"1\",\"nonce\":\"n\""), /* within the skew */
      CLAIMS("https://sso", "\"purlin\"", "\"exp\":1300.5,\"iat\":999.5,\"sub\":\"1\",\"nonce\":\"n\""),
  };
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) assert_string_equal(verdict(*state, good[i], usual), "");
}

static void test_a_token_that_is_not(void **state) {
  static const struct {
    const char *claims, *why;
  } all[] = {
      {CLAIMS("https://sso/", "\"purlin\"", TIMES "\"sub\":\"1\",\"nonce\":\"n\""), "(iss)"},
      {CLAIMS("https://evil", "\"purlin\"", TIMES "\"sub\":\"1\",\"nonce\":\"n\""), "(iss)"},
      {CLAIMS("https://sso", "\"other\"", TIMES "\"sub\":\"1\",\"nonce\":\"n\""), "(aud)"},
      {CLAIMS("https://sso", "[]", TIMES "\"sub\":\"1\",\"nonce\":\"n\""), "(aud)"},
      {CLAIMS("https://sso", "{\"purlin\":1}", TIMES "\"sub\":\"1\",\"nonce\":\"n\""), "(aud)"},
      {CLAIMS("https://sso", "[\"purlin\",1]", TIMES "\"sub\":\"1\",\"nonce\":\"n\""), "(aud)"},
      {CLAIMS("https://sso", "[\"other\",\"purlin\"]", TIMES "\"sub\":\"1\",\"nonce\":\"n\""), "(azp)"},
      {CLAIMS("https://sso", "\"purlin\"", TIMES "\"sub\":\"1\",\"nonce\":\"n\",\"azp\":\"other\""), "(azp)"},
      {CLAIMS("https://sso", "\"purlin\"", "\"exp\":940,\"iat\":900,\"sub\":\"1\",\"nonce\":\"n\""), "(exp)"},
      {CLAIMS("https://sso", "\"purlin\"", "\"iat\":1000,\"sub\":\"1\",\"nonce\":\"n\""), "exp)"},
      {CLAIMS("https://sso", "\"purlin\"", "\"exp\":1300,\"sub\":\"1\",\"nonce\":\"n\""), "(iat"},
      {CLAIMS("https://sso", "\"purlin\"", "\"exp\":1300,\"iat\":1061,\"sub\":\"1\",\"nonce\":\"n\""), "(iat)"},
      {CLAIMS("https://sso", "\"purlin\"", TIMES "\"nbf\":1061,\"sub\":\"1\",\"nonce\":\"n\""), "(nbf)"},
      {CLAIMS("https://sso", "\"purlin\"", "\"exp\":\"1300\",\"iat\":1000,\"sub\":\"1\",\"nonce\":\"n\""),
       "what tokens say"},
      {CLAIMS("https://sso", "\"purlin\"", TIMES "\"nonce\":\"n\""), "(sub)"},
      {CLAIMS("https://sso", "\"purlin\"", TIMES "\"sub\":\"\",\"nonce\":\"n\""), "(sub)"},
      {CLAIMS("https://sso", "\"purlin\"", TIMES "\"sub\":\"1\""), "(nonce)"},
      {CLAIMS("https://sso", "\"purlin\"", TIMES "\"sub\":\"1\",\"nonce\":\"m\""), "(nonce)"},
      {CLAIMS("https://sso", "\"purlin\"", TIMES "\"sub\":\"1\",\"nonce\":\"nn\""), "(nonce)"},
      {CLAIMS("https://sso", "\"purlin\"", TIMES "\"sub\":\"1\",\"sub\":\"2\",\"nonce\":\"n\""), "what tokens say"},
      {"{}", "what tokens say"},
      {"[]", "what tokens say"},
      {"", "what tokens say"},
  };
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    const char *why = verdict(*state, all[i].claims, usual);
    if (!strstr(why, all[i].why)) fail_msg("%s: '%s'", all[i].claims, why);
  }
}

/* The example of OpenID Connect Core, A.3. */
static void test_the_access_token_belongs_to_it(void **state) {
  claims_expected expected = usual;
  expected.algorithm = "RS256";
  expected.access_token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
  static const char good[] =
      CLAIMS("https://sso", "\"purlin\"", TIMES "\"sub\":\"1\",\"nonce\":\"n\",\"at_hash\":\"77QmUPtjPfzWtF2AnpK9RQ\"");
  assert_string_equal(verdict(*state, good, expected), "");
  expected.access_token = "another";
  assert_non_null(strstr(verdict(*state, good, expected), "(at_hash)"));
  expected.access_token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
  expected.algorithm = "EdDSA"; /* SHA-512 */
  assert_non_null(strstr(verdict(*state, good, expected), "(at_hash)"));
}

static void test_claims_by_name_and_path(void **state) {
  const purlin_json all = json(
      "{\"a\":\"x\",\"a.b\":\"whole\",\"c\":{\"d\":{\"e\":[\"1\",\"2\"]}},\"n\":null,\"i\":1,\"t\":true,\"s\":\"true\","
      "\"https://example.org/groups\":[\"g\"],\"mixed\":[\"a\",1]}");
  const char *text;
  purlin_texts list;
  assert_true(claims_text(*state, all, "a", &text));
  assert_string_equal(text, "x");
  assert_true(claims_text(*state, all, "a.b", &text));
  assert_string_equal(text, "whole");
  assert_true(claims_texts(*state, all, "c.d.e", &list));
  assert_int_equal(list.count, 2);
  assert_string_equal(list.items[1], "2");
  assert_true(claims_texts(*state, all, "a", &list)); /* one is a list of one */
  assert_int_equal(list.count, 1);
  assert_true(claims_texts(*state, all, "https://example.org/groups", &list));
  static const char *const not_there[] = {"z", "c.z", "c.d.e.f", "n", "i", "c", ".", "a.", ".a", "", "t"};
  for (size_t i = 0; i < sizeof not_there / sizeof not_there[0]; i++)
    if (claims_text(*state, all, not_there[i], &text)) fail_msg("'%s' is there", not_there[i]);
  assert_false(claims_texts(*state, all, "mixed", &list));
  assert_true(claims_true(*state, all, "t"));
  assert_false(claims_true(*state, all, "s"));
  assert_false(claims_true(*state, (purlin_json){0}, "t"));
  assert_string_equal(purlin_failure(*state), "");
}

/* ---- People ------------------------------------------------------------------------------------------------------------------------------- */

static oidc_configuration configured(void) {
  return (oidc_configuration){.issuer = "https://sso",
                              .name_claim = "preferred_username",
                              .name_suffix = "",
                              .groups_claim = "groups",
                              .group_prefix = "",
                              .required_claim = "",
                              .required_value = ""};
}

#define ANA                                                                                                                \
  "{\"sub\":\"42\",\"preferred_username\":\"Ana\",\"name\":\"Ana Smith\",\"email\":\"ana@example.org\",\"email_verified\":true,"

static void test_who_that_is(void **state) {
  const oidc_configuration c = configured();
  purlin_person person;
  assert_int_equal(
      person_from(*state, &c, json(ANA "\"groups\":[\"ml\",\"All Staff\",\"ops\"]}"), (purlin_json){0}, &person),
      PURLIN_OK);
  assert_string_equal(person.name, "ana");
  assert_string_equal(person.display_name, "Ana Smith");
  assert_string_equal(person.email, "ana@example.org");
  assert_true(person.email_verified);
  assert_int_equal(strlen(person.id), 64);
  assert_int_equal(person.groups.count, 2); /* "All Staff" cannot be granted anything */
  assert_string_equal(person.groups.items[0], "group:ml");
  assert_string_equal(person.groups.items[1], "group:ops");
  assert_string_not_equal(person.id, person_id(*state, "https://sso2", "42"));
  assert_string_not_equal(person.id, person_id(*state, "https://sso", "43"));
}

static void test_userinfo_speaks_where_the_token_is_silent(void **state) {
  const oidc_configuration c = configured();
  purlin_person person;
  const purlin_json userinfo = json(
      "{\"sub\":\"42\",\"preferred_username\":\"bob\",\"email\":\"bob@example.org\",\"email_verified\":true,\"groups\":\"ml\"}");
  assert_int_equal(person_from(*state, &c, json("{\"sub\":\"42\"}"), userinfo, &person), PURLIN_OK);
  assert_string_equal(person.name, "bob");
  assert_int_equal(person.groups.count, 1);
  assert_int_equal(person_from(*state, &c,
                               json("{\"sub\":\"42\",\"preferred_username\":\"ana\",\"email\":\"ana@example.org\"}"),
                               userinfo, &person),
                   PURLIN_OK);
  assert_string_equal(person.name, "ana");
  assert_string_equal(person.email, "ana@example.org");
  assert_false(person.email_verified); /* userinfo verified another address */
}

static void test_groups_have_names_of_ours(void **state) {
  oidc_configuration c = configured();
  oidc_group groups[] = {{"All Staff", "staff"}, {"ml", "research"}};
  purlin_person person;
  c.groups.items = groups;
  c.groups.count = 2;
  c.group_prefix = "sso-";
  assert_int_equal(
      person_from(*state, &c, json(ANA "\"groups\":[\"ml\",\"All Staff\",\"ops\"]}"), (purlin_json){0}, &person),
      PURLIN_OK);
  assert_int_equal(person.groups.count, 2);
  assert_string_equal(person.groups.items[0], "group:sso-research");
  assert_string_equal(person.groups.items[1], "group:sso-staff");
  c.groups_claim = "";
  assert_int_equal(person_from(*state, &c, json(ANA "\"groups\":[\"ml\"]}"), (purlin_json){0}, &person), PURLIN_OK);
  assert_int_equal(person.groups.count, 0);
}

static void refused(purlin_ctx *ctx, const oidc_configuration *c, const char *claims, const char *why) {
  purlin_person person;
  assert_int_equal(person_from(ctx, c, json(claims), (purlin_json){0}, &person), PURLIN_FORBIDDEN);
  if (!strstr(purlin_failure(ctx), why)) fail_msg("'%s' does not say '%s'", purlin_failure(ctx), why);
  assert_non_null(person.id); /* so that their sessions can be ended */
}

static void test_who_may_not_come_in(void **state) {
  static const char *const groups[] = {"purlin", "ml"}, *const domains[] = {"example.org"};
  oidc_configuration c = configured();
  purlin_person person;
  refused(*state, &c, "{\"sub\":\"42\"}", "preferred_username");
  refused(*state, &c, "{\"sub\":\"42\",\"preferred_username\":\"An a\"}", "cannot be a login name");
  refused(*state, &c, "{\"sub\":\"42\",\"preferred_username\":[\"ana\"]}", "preferred_username");
  c.required_groups = (purlin_texts){groups, 2};
  refused(*state, &c, ANA "\"groups\":[\"ops\"]}", "none of the groups");
  refused(*state, &c, ANA "\"groups\":[\"ml\",7]}", "none of the groups");
  assert_int_equal(person_from(*state, &c, json(ANA "\"groups\":[\"ops\",\"ml\"]}"), (purlin_json){0}, &person), PURLIN_OK);
  c = configured();
  c.required_claim = "department", c.required_value = "research";
  refused(*state, &c, ANA "\"department\":\"sales\"}", "department");
  assert_int_equal(person_from(*state, &c, json(ANA "\"department\":[\"sales\",\"research\"]}"), (purlin_json){0}, &person),
                   PURLIN_OK);
  c = configured();
  c.email_domains = (purlin_texts){domains, 1};
  refused(*state, &c, "{\"sub\":\"42\",\"preferred_username\":\"ana\",\"email\":\"ana@example.org\"}", "verified");
  refused(*state, &c,
          "{\"sub\":\"42\",\"preferred_username\":\"ana\",\"email\":\"ana@example.org\",\"email_verified\":\"true\"}",
          "verified");
  refused(*state, &c,
          "{\"sub\":\"42\",\"preferred_username\":\"ana\",\"email\":\"ana@evil.example\",\"email_verified\":true}",
          "verified");
  assert_int_equal(person_from(*state, &c, json(ANA "\"x\":1}"), (purlin_json){0}, &person), PURLIN_OK);
  c = configured();
  c.name_claim = "email", c.name_suffix = "@example.org";
  refused(*state, &c, "{\"sub\":\"42\",\"email\":\"ana@example.org\"}", "not verified");
  assert_int_equal(person_from(*state, &c, json(ANA "\"x\":1}"), (purlin_json){0}, &person), PURLIN_OK);
  assert_string_equal(person.name, "ana");
  assert_int_equal(person_from(*state, &c, json("{\"preferred_username\":\"ana\"}"), (purlin_json){0}, &person),
                   PURLIN_UNAUTHENTICATED);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_only_local_paths_are_gone_to),
      cmocka_unit_test(test_providers_are_asked_over_tls),
      cmocka_unit_test(test_login_names),
      cmocka_unit_test(test_email_domains),
      cmocka_unit_test(test_escapes),
      cmocka_unit_test(test_a_character_is_not_torn),
      cmocka_unit_test_setup_teardown(test_each_algorithm_of_a_provider, begin, end),
      cmocka_unit_test_setup_teardown(test_a_key_is_for_its_algorithm_alone, begin, end),
      cmocka_unit_test_setup_teardown(test_none_and_secrets_get_nowhere, begin, end),
      cmocka_unit_test(test_what_is_no_public_key),
      cmocka_unit_test_setup_teardown(test_weak_rsa_is_refused, begin, end),
      cmocka_unit_test_setup_teardown(test_a_token_for_us_now, begin, end),
      cmocka_unit_test_setup_teardown(test_a_token_that_is_not, begin, end),
      cmocka_unit_test_setup_teardown(test_the_access_token_belongs_to_it, begin, end),
      cmocka_unit_test_setup_teardown(test_claims_by_name_and_path, begin, end),
      cmocka_unit_test_setup_teardown(test_who_that_is, begin, end),
      cmocka_unit_test_setup_teardown(test_userinfo_speaks_where_the_token_is_silent, begin, end),
      cmocka_unit_test_setup_teardown(test_groups_have_names_of_ours, begin, end),
      cmocka_unit_test_setup_teardown(test_who_may_not_come_in, begin, end),
  };
  return cmocka_run_group_tests(tests, NULL, end_pairs);
}
