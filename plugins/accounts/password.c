#include "password.h"
#include "unicode.h"
#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* ---- Hashing ---------------------------------------------------------------------------------------------------------------------- */

enum { LONGEST_PHRASE = CRYPT_MAX_PASSPHRASE_SIZE - 1, DIGEST_BYTES = 64, FORM_ROOM = UNICODE_ROOM(PASSWORD_LONGEST) };

#define METHOD "$y$"

/* What libcrypt is given: the password, or "sha512:" and its digest. */
static bool to_phrase(const char *password, char phrase[CRYPT_MAX_PASSPHRASE_SIZE]) {
  static const char digits[] = "0123456789abcdef", mark[] = "sha512:";
  size_t size = strlen(password);
  if (size <= LONGEST_PHRASE) {
    memcpy(phrase, password, size + 1);
    return true;
  }
  unsigned char digest[DIGEST_BYTES];
  if (EVP_Digest(password, size, digest, NULL, EVP_sha512(), NULL) != 1) return false;
  memcpy(phrase, mark, sizeof mark - 1);
  char *at = phrase + sizeof mark - 1;
  for (size_t i = 0; i < DIGEST_BYTES; i++) {
    *at++ = digits[digest[i] >> 4];
    *at++ = digits[digest[i] & 15];
  }
  *at = '\0';
  OPENSSL_cleanse(digest, sizeof digest);
  return true;
}

/* crypt_rn, since a sanitizer replaces crypt_r by its own, which does not find libcrypt where a plugin brings it along.
 * Everything that held the password or what follows from it is wiped. */
static bool run_crypt(const char *password, const char *setting, char out[PASSWORD_HASH_SIZE]) {
  struct crypt_data *data = calloc(1, sizeof *data); /* 32 KiB: too much for a thread's stack */
  char phrase[CRYPT_MAX_PASSPHRASE_SIZE];
  const char *hash = data && to_phrase(password, phrase) ? crypt_rn(phrase, setting, data, (int)sizeof *data) : NULL;
  size_t size = hash ? strlen(hash) : 0;
  bool fine = hash && hash[0] != '*' && size < PASSWORD_HASH_SIZE;
  if (fine) memcpy(out, hash, size + 1);
  OPENSSL_cleanse(phrase, sizeof phrase);
  if (data) OPENSSL_cleanse(data, sizeof *data);
  free(data);
  return fine;
}

bool password_hash(const char *password, int cost, char out[PASSWORD_HASH_SIZE]) {
  char setting[CRYPT_GENSALT_OUTPUT_SIZE], form[FORM_ROOM];
  if (!crypt_gensalt_rn(METHOD, (unsigned long)cost, NULL, 0, setting, (int)sizeof setting)) return false;
  bool fine = unicode_password(password, form, sizeof form) && run_crypt(form, setting, out);
  OPENSSL_cleanse(form, sizeof form);
  return fine;
}

bool password_matches(const char *password, const char *hash) {
  char found[PASSWORD_HASH_SIZE] = "", form[FORM_ROOM];
  bool is_text = unicode_password(password, form, sizeof form);
  bool ran = run_crypt(is_text ? form : password, hash, found); /* for as long, too, when it can be nobody's */
  size_t size = strlen(hash);
  bool same = ran && is_text && strlen(found) == size && CRYPTO_memcmp(found, hash, size) == 0;
  OPENSSL_cleanse(found, sizeof found);
  OPENSSL_cleanse(form, sizeof form);
  return same;
}

/* "$y$j9T$": the method and its parameters. */
static size_t prefix_size(const char *setting) {
  const char *parameters = strncmp(setting, METHOD, sizeof METHOD - 1) == 0 ? setting + sizeof METHOD - 1 : NULL;
  const char *end = parameters ? strchr(parameters, '$') : NULL;
  return end ? (size_t)(end - setting) + 1 : 0;
}

bool password_hash_is_current(const char *hash, int cost) {
  char setting[CRYPT_GENSALT_OUTPUT_SIZE];
  if (!crypt_gensalt_rn(METHOD, (unsigned long)cost, NULL, 0, setting, (int)sizeof setting)) return true;
  size_t size = prefix_size(setting);
  return size > 0 && strncmp(hash, setting, size) == 0;
}

/* ---- What a good one is ------------------------------------------------------------------------------------------------------------- */

/* What people take when twelve characters are asked for: these words alone, or with digits and signs around them. */
static const char *const common_words[] = {
    "abc",
    "abcd",
    "abcdef",
    "abcdefgh",
    "abcdefghijkl",
    "access",
    "admin",
    "administrator",
    "adminadmin",
    "asdf",
    "asdfasdf",
    "asdfgh",
    "asdfghjkl",
    "babygirl",
    "baseball",
    "basketball",
    "batman",
    "beautiful",
    "bismillah",
    "changeme",
    "charlie",
    "chocolate",
    "computer",
    "correcthorse",
    "correcthorsebatterystaple",
    "default",
    "donald",
    "dragon",
    "facebook",
    "football",
    "freedom",
    "guest",
    "hello",
    "helloworld",
    "iloveyou",
    "internet",
    "jennifer",
    "jesus",
    "jordan",
    "letmein",
    "letmeinplease",
    "liverpool",
    "login",
    "loveyou",
    "machinelearning",
    "master",
    "michael",
    "microsoft",
    "mlflow",
    "monkey",
    "mypassword",
    "ninja",
    "pass",
    "passw",
    "passphrase",
    "passport",
    "password",
    "passwordpassword",
    "passwort",
    "princess",
    "purlin",
    "qazwsx",
    "qazwsxedc",
    "qwer",
    "qwert",
    "qwerty",
    "qwertyqwerty",
    "qwertyui",
    "qwertyuiop",
    "qwertz",
    "qwertzuiop",
    "root",
    "rootroot",
    "samsung",
    "secret",
    "shadow",
    "starwars",
    "summer",
    "sunshine",
    "superman",
    "superuser",
    "system",
    "temporary",
    "test",
    "testing",
    "testtest",
    "trustno",
    "user",
    "welcome",
    "whatever",
    "winter",
    "workspace",
    "zaq",
    "zxcvbn",
    "zxcvbnm",
};

/* Rows of keys and of the alphabet, forwards; a password that only runs along one of them is no secret. */
static const char *const runs[] = {
    "01234567890123456789012345678901234567890",
    "09876543210987654321098765432109876543210",
    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
    "zyxwvutsrqponmlkjihgfedcba",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertyuiop1234567890",
    "1234567890qwertyuiop",
    "1q2w3e4r5t6y7u8i9o0p",
    "q1w2e3r4t5y6u7i8o9p0",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik",
    "qazwsxedcrfvtgbyhnujm",
    "zaq12wsxcde34rfv",
};

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (unsigned char)c >= 0x80; }

static size_t count_characters(const char *text) {
  size_t count = 0;
  for (; *text; text++) count += ((unsigned char)*text & 0xc0) != 0x80;
  return count;
}

/* One to four bytes again and again. */
static bool repeats(const char *text, size_t size) {
  for (size_t period = 1; period <= 4 && period < size; period++)
    if (memcmp(text, text + period, size - period) == 0) return true;
  return false;
}

static bool is_common(const char *text, size_t size, const char *name) {
  while (size > 0 && !is_letter(text[0])) text++, size--;
  while (size > 0 && !is_letter(text[size - 1])) size--;
  if (strlen(name) == size && memcmp(text, name, size) == 0) return true;
  for (size_t i = 0; i < sizeof common_words / sizeof common_words[0]; i++)
    if (strlen(common_words[i]) == size && memcmp(text, common_words[i], size) == 0) return true;
  return size == 0;
}

static const char *flaw_of(const char *text, size_t size, const char *name) {
  for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++)
    if (strstr(runs[i], text)) return "is among the commonest";
  if (repeats(text, size)) return "repeats itself";
  if (is_common(text, size, name)) return "is a common word, digits or your name: take several words";
  return NULL;
}

static const char *flaw_of_form(const char *form, const char *name) {
  char text[PASSWORD_LONGEST + 1];
  size_t size = strlen(form);
  if (count_characters(form) < PASSWORD_SHORTEST) return "has fewer than 12 characters";
  if (size > PASSWORD_LONGEST) return "has more than 1024 bytes";
  if (strncmp(form, "purlin_", 7) == 0) return "begins like an API key";
  for (size_t i = 0; i <= size; i++) text[i] = lower(form[i]);
  const char *flaw = flaw_of(text, size, name);
  OPENSSL_cleanse(text, sizeof text);
  return flaw ? flaw : unicode_password_flaw(form);
}

const char *password_flaw(const char *password, const char *name) {
  char form[FORM_ROOM];
  if (strnlen(password, PASSWORD_LONGEST + 1) > PASSWORD_LONGEST) return "has more than 1024 bytes";
  const char *flaw = unicode_password(password, form, sizeof form) ? flaw_of_form(form, name) : "is no text";
  OPENSSL_cleanse(form, sizeof form);
  return flaw;
}
