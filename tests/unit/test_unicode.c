/* One form for what people type: of passwords, of names that are shown, of addresses. */
#include "unicode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = UNICODE_ROOM(1024) };

static void passwords_are_the_same_however_they_were_typed(void **state) {
  (void)state;
  static const struct {
    const char *typed, *form;
  } cases[] = {
      {"plain", "plain"},
      {"", ""},
      {"u\u0308ber", "\u00fcber"},                  /* a letter and an accent */
      {"\u01d5", "\u01d5"},                         /* as it is */
      {"U\u0308\u0304", "\u01d5"},                  /* two accents */
      {"q\u0307\u0323", "q\u0323\u0307"},           /* accents in their order */
      {"\u212b", "\u00c5"},                         /* the sign for Angstrom is a letter */
      {"\u1112\u1161\u11ab", "\ud55c"},             /* a syllable of Korean */
      {"a\u00a0b\u2003c\u3000d", "a b c d"},        /* every space */
      {" ends ", " ends "},                         /* and none is lost */
      {"\uff21\ufb01", "\uff21\ufb01"},             /* wide letters and ligatures are others: NFC, not NFKC */
      {"Stra\u00dfe \u0130", "Stra\u00dfe \u0130"}, /* no case is folded */
      {"\u0958", "\u0915\u093c"},                   /* what is never composed */
      {"\U0001f511 \u4e2d", "\U0001f511 \u4e2d"},   /* pictures, Chinese */
  };
  char out[ROOM];
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    assert_true(unicode_password(cases[i].typed, out, sizeof out));
    assert_string_equal(out, cases[i].form);
    assert_true(unicode_password(cases[i].form, out, sizeof out)); /* the form of the form is itself */
    assert_string_equal(out, cases[i].form);
  }
}

static void what_is_no_text_has_no_form(void **state) {
  (void)state;
  static const char *const broken[] = {"\xff", "a\x80", "\xc3", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"};
  char out[ROOM], exact[4];
  for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
    assert_false(unicode_password(broken[i], out, sizeof out));
    assert_non_null(unicode_password_flaw(broken[i]));
    assert_non_null(unicode_name(broken[i], out, sizeof out));
    assert_non_null(unicode_email(broken[i], out, sizeof out));
  }
  assert_true(unicode_password("abc", exact, sizeof exact));
  assert_false(unicode_password("abcd", exact, sizeof exact));
  assert_false(unicode_password("", exact, 0));
}

/* The most that a form can grow: each byte of these becomes one and a half code points, or three bytes. */
static void long_texts_fit_or_are_refused(void **state) {
  (void)state;
  static const char *const growing[] = {"\u0390", "\u1f82", "\u0958", "\U0001d160", "\u0301", "x"};
  char *text = malloc(1200), *out = malloc(ROOM);
  assert_non_null(text);
  assert_non_null(out);
  for (size_t i = 0; i < sizeof growing / sizeof growing[0]; i++) {
    size_t wide = strlen(growing[i]), size = 0;
    while (size + wide <= 1024) {
      memcpy(text + size, growing[i], wide);
      size += wide;
    }
    text[size] = '\0';
    assert_true(unicode_password(text, out, ROOM));
    memset(text + size, 'x', 1025 - size);
    text[1025] = '\0';
    assert_false(unicode_password(text, out, ROOM));
  }
  free(text);
  free(out);
}

static void passwords_hold_what_every_keyboard_can_write(void **state) {
  (void)state;
  static const char *const refused[] = {"a\x01",   "a\n",     "a\x7f",   "a\xc2\x85", "a\u200b",      "a\u200d",
                                        "a\u202e", "a\u2066", "a\ufeff", "a\u00ad",   "\u2764\ufe0f", "a\u034f",
                                        "a\ue000", "a\u0378", "\u1100",  "a\u2028",   "a\U000e0041",  "a\ufdd0"};
  static const char *const fine[] = {"a b",          "\u00fc", "\U0001f511", "\u4e2d",       "\u05d0",
                                     "\u0627\u064e", "\u20ac", "\ud55c",     "a\u0301\u0302"};
  for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) assert_non_null(unicode_password_flaw(refused[i]));
  for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) assert_null(unicode_password_flaw(fine[i]));
}

static void names_have_one_form(void **state) {
  (void)state;
  static const struct {
    const char *typed, *form;
  } cases[] = {
      {"", ""},
      {"  Ana   Gr\u00f6\u00dfe ", "Ana Gr\u00f6\u00dfe"},
      {"Ana\u00a0\u3000Gro\u0308\u00dfe", "Ana Gr\u00f6\u00dfe"},
      {"   ", ""},
      {"\u05d0\u05e0\u05d4", "\u05d0\u05e0\u05d4"}, /* from right to left, by itself */
      {"\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
       "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"}, /* Persian needs it */
      {"\u2764\ufe0f", "\u2764\ufe0f"},
      {"\U0001f469\u200d\U0001f52c", "\U0001f469\u200d\U0001f52c"},
      {"\u2764\ufe0f\u200d\U0001f525", "\u2764\ufe0f\u200d\U0001f525"},
  };
  char out[ROOM];
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    assert_null(unicode_name(cases[i].typed, out, sizeof out));
    assert_string_equal(out, cases[i].form);
  }
}

static void names_hide_nothing(void **state) {
  (void)state;
  static const char *const refused[] = {
      "a\nb",      "a\tb",           "\x1b[31mred", "a\x7f",     "a\xc2\x85 b", "ana\u202enimda",
      "a\u202ab",  "a\u2066b\u2069", "a\u200eb",    "a\u200fb",  "a\u061cb",    "a\u200bb",
      "a\ufeffb",  "a\u00adb",       "a\u2060b",    "\u200dana", "ana\u200d",   "a \u200cb",
      "a\u200c b", "a\u200d\u200db", "\ufe0fa",     "a\u2028b",  "a\u2029b",    "a\ue000b",
      "a\u0378b",  "a\U000e0041b",   "a\u115fb",    "a\u3164b",  "a\ufff9b",
  };
  char out[ROOM];
  for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
    assert_non_null(unicode_name(refused[i], out, sizeof out));
}

static void addresses_have_one_form(void **state) {
  (void)state;
  static const struct {
    const char *typed, *form;
  } cases[] = {
      {"ana@example.org", "ana@example.org"},
      {"Ana.B+ml@Example.ORG", "Ana.B+ml@example.org"}, /* whose server knows whether 'Ana' is 'ana' */
      {"gro\u0308\u00dfe@example.org", "gr\u00f6\u00dfe@example.org"},
      {"ana@mu\u0308nchen.example", "ana@m\u00fcnchen.example"},
      {"o'neil@example.org", "o'neil@example.org"},
      {"ana@localhost", "ana@localhost"},
      {"a@1-2.example", "a@1-2.example"},
  };
  char out[ROOM];
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    assert_null(unicode_email(cases[i].typed, out, sizeof out));
    assert_string_equal(out, cases[i].form);
  }
}

static void what_is_no_address_is_refused(void **state) {
  (void)state;
  static const char *const refused[] = {"",
                                        "ana",
                                        "@",
                                        "ana@",
                                        "@example.org",
                                        "a@b@c",
                                        "a b@example.org",
                                        "ana@exa mple.org",
                                        ".a@b.org",
                                        "a.@b.org",
                                        "a..b@c.org",
                                        "a@.org",
                                        "a@b..org",
                                        "a@b.org.",
                                        "a@-b.org",
                                        "a@b-.org",
                                        "\"a\"@b.org",
                                        "<a>@b.org",
                                        "a@<b.org>",
                                        "a@[1.2.3.4]",
                                        "a,b@c.org",
                                        "a;b@c.org",
                                        "a:b@c.org",
                                        "a\\b@c.org",
                                        "a(b)@c.org",
                                        "a\r\n@b.org",
                                        "a@b.org\r\nBcc: c@d.org",
                                        "a\x01@b.org",
                                        "a\u202e@b.org",
                                        "a\u200b@b.org",
                                        "a\u00a0b@c.org",
                                        "a@b\u200b.org",
                                        "a@b_c.org",
                                        "a@b\u3002org",
                                        "a@\u202eb.org"};
  char out[ROOM], text[400];
  for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
    assert_non_null(unicode_email(refused[i], out, sizeof out));
  memset(text, 'x', sizeof text);
  memcpy(text + 64, "@x.org", 7);
  assert_null(unicode_email(text, out, sizeof out));
  memcpy(text + 64, "x@x.org", 8);
  assert_non_null(unicode_email(text, out, sizeof out)); /* 65 before the '@' */
  memcpy(text, "a@", 2);
  text[64] = 'x';
  text[65] = '\0';
  assert_null(unicode_email(text, out, sizeof out)); /* a label of 63 */
  text[65] = 'x';
  text[66] = '\0';
  assert_non_null(unicode_email(text, out, sizeof out));
  for (size_t i = 2; i < 300; i++) text[i] = i % 2 ? '.' : 'x';
  text[254] = text[255] = '\0';
  text[253] = 'x';
  assert_null(unicode_email(text, out, sizeof out));
  text[254] = 'x';
  assert_non_null(unicode_email(text, out, sizeof out)); /* 255 */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(passwords_are_the_same_however_they_were_typed),
      cmocka_unit_test(what_is_no_text_has_no_form),
      cmocka_unit_test(long_texts_fit_or_are_refused),
      cmocka_unit_test(passwords_hold_what_every_keyboard_can_write),
      cmocka_unit_test(names_have_one_form),
      cmocka_unit_test(names_hide_nothing),
      cmocka_unit_test(addresses_have_one_form),
      cmocka_unit_test(what_is_no_address_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
