/* The parts of auth-ldap that need no directory: escaping, names, who an entry is, what is wrong with settings, which server is asked. */
#include "conversation.h"
#include "server.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static auth_ldap_configuration usual(void) {
  static const char *const urls[] = {"ldaps://ldap.example.org"};
  return (auth_ldap_configuration){.urls = {urls, 1},
                                   .start_tls = true,
                                   .ca_file = "",
                                   .bind_dn = "",
                                   .bind_password = "",
                                   .bind_template = "",
                                   .base = "ou=people,dc=example,dc=org",
                                   .user_filter = "(uid={name})",
                                   .id_attribute = "entryUUID",
                                   .name_attribute = "uid",
                                   .display_name_attribute = "cn",
                                   .email_attribute = "mail",
                                   .group_base = "",
                                   .group_filter = "(member={dn})",
                                   .group_name_attribute = "cn",
                                   .group_prefix = "",
                                   .member_of_attribute = "",
                                   .required_group = "",
                                   .connections = 4,
                                   .connect_timeout_ms = 100,
                                   .timeout_ms = 100};
}

static auth_ldap_configuration settings;
static call one;

static int begin(void **state) {
  (void)state;
  settings = usual();
  one = (call){.settings = &settings, .deadline_ms = call_deadline(1000)};
  servers_forget();
  return 0;
}

static int end(void **state) {
  (void)state;
  scratch_free(&one.memory);
  return 0;
}

/* ---- Texts ------------------------------------------------------------------------------------------------------------------------------- */

static void memory_is_bounded(void **state) {
  (void)state;
  assert_null(scratch_alloc(&one.memory, SCRATCH_MOST + 1));
  assert_non_null(scratch_alloc(&one.memory, SCRATCH_MOST));
  assert_null(scratch_alloc(&one.memory, 1));
  assert_null(scratch_copy(&one.memory, "a", 1));
  assert_null(escape_filter(&one.memory, "a", 1));
  assert_null(expand(&one.memory, "{name}", "{name}", "x"));
  scratch_free(&one.memory);
  assert_string_equal(scratch_copy(&one.memory, "abc", 2), "ab");
  assert_null(scratch_copy(&one.memory, NULL, 0));
  assert_null(scratch_copy(&one.memory, "", SIZE_MAX));
  assert_null(escape_dn(&one.memory, "", SIZE_MAX));
}

static void filters_are_escaped(void **state) {
  (void)state;
  const struct {
    const char *bytes;
    size_t size;
    const char *escaped;
  } cases[] = {{"ana", 3, "ana"},
               {"", 0, ""},
               {"*)(uid=*", 8, "\\2a\\29\\28uid=\\2a"},
               {"a\\b", 3, "a\\5cb"},
               {"a\0b", 3, "a\\00b"},
               {"\xc3\xbc", 2, "\\c3\\bc"},
               {"\xff\x7f\x1f ", 4, "\\ff\\7f\\1f "}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    assert_string_equal(escape_filter(&one.memory, cases[i].bytes, cases[i].size), cases[i].escaped);
}

static void dns_are_escaped(void **state) {
  (void)state;
  const char *const cases[][2] = {{"ana", "ana"},
                                  {"ana,ou=x", "ana\\2cou\\3dx"},
                                  {" a b ", "\\20a b\\20"},
                                  {"#1", "\\231"},
                                  {"a+b;c<d>\"e\\", "a\\2bb\\3bc\\3cd\\3e\\22e\\5c"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    assert_string_equal(escape_dn(&one.memory, cases[i][0], strlen(cases[i][0])), cases[i][1]);
}

/* Whatever somebody is called, the DN that is made of it has as many parts as the template, and the name in it. */
static void no_name_leaves_its_place_in_a_dn(void **state) {
  (void)state;
  char name[6] = {0};
  for (unsigned c = 1; c < 128; c++) {
    for (size_t at = 0; at < 5; at++) {
      memcpy(name, "aaaaa", 5);
      name[at] = (char)c;
      char *dn = expand(&one.memory, "uid={name},ou=people", "{name}", escape_dn(&one.memory, name, 5));
      char *back = dn_first_value(&one.memory, dn, "UID");
      assert_non_null(back);
      assert_string_equal(back, name);
      assert_string_equal(strrchr(dn_normal(&one.memory, dn), ','), ",ou=people");
    }
    scratch_free(&one.memory);
  }
}

static void templates_take_every_place(void **state) {
  (void)state;
  assert_string_equal(expand(&one.memory, "(|(a={name})(b={name}))", "{name}", "x{name}"), "(|(a=x{name})(b=x{name}))");
  assert_string_equal(expand(&one.memory, "{name}", "{name}", ""), "");
  assert_string_equal(expand(&one.memory, "nothing", "{name}", "x"), "nothing");
}

static void names_are_ours_or_none(void **state) {
  (void)state;
  char longest[66];
  memset(longest, 'a', sizeof longest);
  const char *const fine[][2] = {{"ana", "ana"}, {"Ana.B-c_9", "ana.b-c_9"}, {"0", "0"}};
  const char *const wrong[] = {"", ".ana", "-a", "_a", "an a", "a@b", "\xc3\xbc", "a/b", "user:ana", "a\n"};
  for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++)
    assert_string_equal(login_name(&one.memory, fine[i][0], strlen(fine[i][0])), fine[i][1]);
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
    assert_null(login_name(&one.memory, wrong[i], strlen(wrong[i])));
  assert_null(login_name(&one.memory, "a\0b", 3));
  assert_non_null(login_name(&one.memory, longest, 64));
  assert_null(login_name(&one.memory, longest, 65));
  assert_string_equal(group_label(&one.memory, "ML+ops@x", 8), "ml+ops@x");
  assert_null(group_label(&one.memory, "data science", 12));
}

static void guids_go_there_and_back(void **state) {
  (void)state;
  const unsigned char guid[16] = {0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  unsigned char back[16];
  char text[37];
  guid_text(guid, text);
  assert_string_equal(text, "efbeadde-0201-0403-0506-0708090a0b0c");
  assert_true(guid_parse(text, back));
  assert_memory_equal(guid, back, 16);
  const char *const wrong[] = {"",
                               "efbeadde",
                               "efbeadde-0201-0403-0506-0708090a0b0",
                               "efbeadde-0201-0403-0506-0708090a0b0cc",
                               "efbeadde+0201-0403-0506-0708090a0b0c",
                               "gfbeadde-0201-0403-0506-0708090a0b0c",
                               "EFBEADDE-0201-0403-0506-0708090A0B0C"};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) assert_false(guid_parse(wrong[i], back));
}

static void text_is_utf_8_without_controls(void **state) {
  (void)state;
  const char *const fine[] = {"", "abc", "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x8c\xb2", "\xf4\x8f\xbf\xbf", "\xc2\xa0"};
  const char *const wrong[] = {"\x01",
                               "\x7f",
                               "\xc3",
                               "\xc0\xaf",
                               "\xe0\x80\xaf",
                               "\xed\xa0\x80",
                               "\xf4\x90\x80\x80",
                               "\xf8\x88\x80\x80\x80",
                               "\x80",
                               "\xe2\x82",
                               "a\xc3(",
                               "\xc2\x85",
                               "\n"};
  for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) assert_true(is_plain_text(fine[i], strlen(fine[i])));
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) assert_false(is_plain_text(wrong[i], strlen(wrong[i])));
  assert_false(is_plain_text("a\0b", 3));
}

static void dns_are_compared_as_one_spelling(void **state) {
  (void)state;
  assert_string_equal(dn_normal(&one.memory, "CN=ML , OU=Groups,dc=x"), "cn=ml,ou=groups,dc=x");
  assert_string_equal(dn_normal(&one.memory, "cn=a\\,b,dc=x"), dn_normal(&one.memory, "CN=A\\2CB,DC=X"));
  assert_null(dn_normal(&one.memory, "ml"));
  assert_null(dn_normal(&one.memory, "cn=a,,"));
  assert_string_equal(dn_first_value(&one.memory, "cn=Ana\\2c B+uid=ana,dc=x", "UID"), "ana");
  assert_null(dn_first_value(&one.memory, "cn=a,uid=b", "uid"));
  assert_null(dn_first_value(&one.memory, "", "uid"));
  assert_null(dn_first_value(&one.memory, "=", "uid"));
}

/* ---- Who an entry is ------------------------------------------------------------------------------------------------------------------------ */

#define VALUE(text)                                                                                                        \
  { text, sizeof(text) - 1 }

static value id_values[] = {VALUE("0b5b-1")}, name_values[] = {VALUE("Ana"), VALUE("other")},
             mail_values[] = {VALUE("ana@x.org")}, cn_values[] = {VALUE("Ana B")}, extra_values[] = {VALUE("514")};

static entry ana(attribute attributes[5], const char *extra, const char *extra_value) {
  extra_values[0] = (value){extra_value, strlen(extra_value)};
  attributes[0] = (attribute){"entryUUID", id_values, 1};
  attributes[1] = (attribute){"UID", name_values, 1};
  attributes[2] = (attribute){"mail", mail_values, 1};
  attributes[3] = (attribute){"cn", cn_values, 1};
  attributes[4] = (attribute){extra, extra_values, 1};
  return (entry){"uid=ana,dc=x", attributes, 5};
}

static void an_entry_is_a_person(void **state) {
  (void)state;
  attribute attributes[5];
  person who;
  entry e = ana(attributes, "userAccountControl", "512");
  assert_int_equal(person_read(&one, &e, &who), PURLIN_OK);
  assert_string_equal(who.id, "0b5b-1");
  assert_string_equal(who.name, "ana");
  assert_string_equal(who.display_name, "Ana B");
  assert_string_equal(who.email, "ana@x.org");
  assert_null(who.shut_out);
  e.count = 2;
  assert_int_equal(person_read(&one, &e, &who), PURLIN_OK);
  assert_string_equal(who.display_name, "ana");
  assert_string_equal(who.email, "");
}

static void an_entry_that_cannot_be_told_from_others_is_nobody(void **state) {
  (void)state;
  attribute attributes[5];
  person who;
  entry e = ana(attributes, "x", "");
  attributes[1].count = 2;
  assert_int_equal(person_read(&one, &e, &who), PURLIN_UNAUTHENTICATED);
  assert_string_equal(one.why, "uid=ana,dc=x has 2 values of 'uid', and is to have one");
  attributes[1].count = 0;
  assert_int_equal(person_read(&one, &e, &who), PURLIN_UNAUTHENTICATED);
  e = ana(attributes, "x", "");
  e.dn = "";
  assert_int_equal(person_read(&one, &e, &who), PURLIN_UNAUTHENTICATED);
  value wrong[] = {VALUE("a b"), VALUE("\xff\xfe"), VALUE("")};
  for (size_t i = 0; i < 3; i++) {
    e = ana(attributes, "x", "");
    attributes[1].values = &wrong[i];
    assert_int_equal(person_read(&one, &e, &who), PURLIN_UNAUTHENTICATED);
    e = ana(attributes, "x", "");
    attributes[0].values = &wrong[i];
    assert_int_equal(person_read(&one, &e, &who), i ? PURLIN_UNAUTHENTICATED : PURLIN_OK);
  }
  settings.id_attribute = "objectGUID";
  e = ana(attributes, "objectGUID", "0123456789");
  assert_int_equal(person_read(&one, &e, &who), PURLIN_UNAUTHENTICATED);
  e = ana(attributes, "objectGUID", "0123456789abcdef");
  assert_int_equal(person_read(&one, &e, &who), PURLIN_OK);
  assert_string_equal(who.id, "33323130-3534-3736-3839-616263646566");
}

static void addresses_are_whole_or_none(void **state) {
  (void)state;
  value wrong[] = {VALUE("ana"), VALUE("@x"), VALUE("ana@"), VALUE("a@b@c"), VALUE("a b@c"), VALUE("a@b\r\nc")};
  attribute attributes[5];
  person who;
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    entry e = ana(attributes, "x", "");
    attributes[2].values = &wrong[i];
    assert_int_equal(person_read(&one, &e, &who), PURLIN_OK);
    assert_string_equal(who.email, "");
  }
}

static void accounts_are_shut_out(void **state) {
  (void)state;
  const struct {
    const char *attribute, *text;
    bool out;
  } cases[] = {
      {"userAccountControl", "514", true},
      {"userAccountControl", "66048", false},
      {"USERACCOUNTCONTROL", "66050", true},
      {"nsAccountLock", "TRUE", true},
      {"nsAccountLock", "false", false},
      {"pwdAccountLockedTime", "000001010000Z", true},
      {"pwdAccountLockedTime", "20260101000000Z", false}, /* after wrong passwords: the directory minds it at a bind */
      {"accountExpires", "0", false},
      {"accountExpires", "9223372036854775807", false},
      {"accountExpires", "99999999999999999999999", false},
      {"accountExpires", "132223104000000000", true},
      {"accountExpires", "1", true},
      {"accountExpires", "253402300799000000", false},
      {"accountExpires", "nonsense", false}};
  attribute attributes[5];
  person who;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    entry e = ana(attributes, cases[i].attribute, cases[i].text);
    assert_int_equal(person_read(&one, &e, &who), PURLIN_OK);
    assert_int_equal(who.shut_out != NULL, cases[i].out);
    assert_int_equal(judge(&one, &(answer){.who = who}), cases[i].out ? PURLIN_UNAUTHENTICATED : PURLIN_OK);
  }
}

static void attributes_are_asked_for_once(void **state) {
  (void)state;
  settings.display_name_attribute = "UID";
  const char *const *list = person_attributes(&one);
  size_t count = 0, uid = 0;
  for (; list[count]; count++) uid += strcasecmp(list[count], "uid") == 0;
  assert_int_equal(uid, 1);
  assert_int_equal(count, 3 + 4);
}

/* ---- Groups of the person's own entry --------------------------------------------------------------------------------------------------------- */

static void groups_are_those_of_member_of(void **state) {
  (void)state;
  value of[] = {VALUE("CN=ML,ou=groups,dc=x"),
                VALUE("cn=ml,OU=groups,dc=x"),
                VALUE("cn=Data Science,ou=groups,dc=x"),
                VALUE("cn=admins,ou=other,dc=x"),
                VALUE("no dn"),
                VALUE("cn=\xff,ou=groups,dc=x"),
                VALUE("ou=groups,dc=x")};
  attribute attributes[] = {{"memberOf", of, sizeof of / sizeof of[0]}};
  const entry e = {"uid=ana,dc=x", attributes, 1};
  groups in;
  settings.group_base = "OU=Groups,dc=x";
  settings.group_filter = "";
  settings.member_of_attribute = "memberof";
  assert_int_equal(groups_read(&one, NULL, &e, &in), PURLIN_OK);
  assert_int_equal(in.label_count, 1);
  assert_string_equal(in.labels[0], "group:ml");
  assert_int_equal(in.count, 3);
  settings.group_prefix = "LDAP-";
  assert_int_equal(groups_read(&one, NULL, &e, &in), PURLIN_OK);
  assert_string_equal(in.labels[0], "group:LDAP-ml");
  group_name names[] = {{"cn=data science, ou=groups, dc=x", "Science"},
                        {"cn=admins,ou=other,dc=x", "admins"},
                        {"cn=ml,ou=groups,dc=x", "Science"}};
  settings.groups.items = names;
  settings.groups.count = 3;
  assert_int_equal(groups_read(&one, NULL, &e, &in), PURLIN_OK);
  assert_int_equal(in.label_count, 1);
  assert_string_equal(in.labels[0], "group:Science");
  settings.required_group = "cn=admins,ou=other,dc=x";
  assert_int_equal(judge(&one, &(answer){.who = {.dn = e.dn}, .in = in}), PURLIN_UNAUTHENTICATED);
  settings.required_group = "cn=ML,ou=GROUPS,dc=x";
  assert_int_equal(judge(&one, &(answer){.who = {.dn = e.dn}, .in = in}), PURLIN_OK);
}

static void groups_are_bounded(void **state) {
  (void)state;
  static char texts[GROUPS_MOST + 5][32];
  static value of[GROUPS_MOST + 5];
  for (size_t i = 0; i < GROUPS_MOST + 5; i++)
    of[i] = (value){texts[i], (size_t)snprintf(texts[i], sizeof texts[i], "cn=g%zu,dc=x", i)};
  attribute attributes[] = {{"memberOf", of, GROUPS_MOST + 5}};
  groups in;
  settings.member_of_attribute = "memberOf";
  assert_int_equal(groups_read(&one, NULL, &(entry){"uid=ana,dc=x", attributes, 1}, &in), PURLIN_OK);
  assert_int_equal(in.label_count, GROUPS_MOST);
  assert_true(in.more);
}

/* ---- Settings and servers ------------------------------------------------------------------------------------------------------------------------ */

static void is_flawed(const char *with) {
  char why[1200] = "";
  bool fine = settings_fine(&settings, why, sizeof why);
  if (!with) assert_true(fine);
  if (with && (fine || !strstr(why, with))) fail_msg("'%s' does not say '%s'", why, with);
  settings = usual();
}

static void settings_that_cannot_work_are_told(void **state) {
  (void)state;
  const char *const urls[][2] = {{"http://x", "ldap://"},
                                 {"ldaps:///", "no host"},
                                 {"ldapi://%2ftmp%2fx", "only ldap://"},
                                 {"ldaps://h/dc=x", "to end"},
                                 {"ldaps://h/??sub?(a=b)", "to end"},
                                 {"", "ldap://"}};
  is_flawed(NULL);
  for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
    settings.urls.items = urls[i];
    is_flawed(urls[i][1]);
  }
  settings.base = "";
  is_flawed("base is missing");
  settings.base = "people";
  is_flawed("'people' is no distinguished name");
  settings.bind_dn = "cn=purlin,dc=x";
  is_flawed("bind_password is missing");
  settings.bind_dn = "purlin@ad.example.org", settings.bind_password = "p";
  is_flawed(NULL);
  settings.bind_dn = "purlin", settings.bind_password = "p";
  is_flawed("'purlin' is no distinguished name");
  settings.bind_dn = "cn=purlin,dc=x", settings.bind_password = "p", settings.bind_template = "uid={name},dc=x";
  is_flawed("no use for bind_template");
  settings.bind_template = "uid=ana,dc=x";
  is_flawed("no {name}");
  settings.nested = walk;
  is_flawed("nested groups");
  settings.member_of_attribute = "memberOf";
  is_flawed("wherever they are");
  group_name names[] = {{"ml", "ml"}};
  settings.groups.items = names, settings.groups.count = 1;
  is_flawed("'ml' is no distinguished name");
  settings.start_tls = false;
  assert_true(settings_say_clear(&settings, "LDAP://h"));
  assert_false(settings_say_clear(&settings, "ldaps://h"));
}

static void a_server_that_fails_is_left_alone(void **state) {
  (void)state;
  char why[64];
  assert_true(server_try(0));
  assert_true(server_try(0));
  server_failed(0, "broken");
  server_failed(0, "broken");
  assert_false(server_try(0));
  assert_true(server_try(1));
  server_last_failure(0, why, sizeof why);
  assert_string_equal(why, "broken");
  (void)usleep(1050000);
  assert_true(server_try(0)); /* one tries it for all */
  assert_false(server_try(0));
  server_works(0);
  assert_true(server_try(0));
}

static void questions_that_can_be_nobodys_are_not_asked(void **state) {
  (void)state;
  char longest[252];
  memset(longest, 'a', sizeof longest - 1);
  longest[sizeof longest - 1] = '\0';
  line l = {0};
  answer a;
  const char *const names[] = {"", longest, "a\tb", "\xff"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    assert_int_equal(converse(&one, &l, &(question){.name = names[i], .password = "p"}, &a), PURLIN_NOT_FOUND);
  assert_int_equal(converse(&one, &l, &(question){.name = "ana", .password = ""}, &a), PURLIN_UNAUTHENTICATED);
  settings.ca_file = "/nowhere/ca.pem";
  assert_int_equal(converse(&one, &l, &(question){.name = "ana", .password = "p"}, &a), PURLIN_UNAVAILABLE);
  assert_non_null(strstr(one.why, "/nowhere/ca.pem"));
  assert_int_equal(converse(&one, &l, &(question){.name = "ana", .password = "p"}, &a), PURLIN_UNAVAILABLE);
  assert_non_null(strstr(one.why, "no server is asked just now"));
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)
  const struct CMUnitTest tests[] = {
      TEST(memory_is_bounded),
      TEST(filters_are_escaped),
      TEST(dns_are_escaped),
      TEST(no_name_leaves_its_place_in_a_dn),
      TEST(templates_take_every_place),
      TEST(names_are_ours_or_none),
      TEST(guids_go_there_and_back),
      TEST(text_is_utf_8_without_controls),
      TEST(dns_are_compared_as_one_spelling),
      TEST(an_entry_is_a_person),
      TEST(an_entry_that_cannot_be_told_from_others_is_nobody),
      TEST(addresses_are_whole_or_none),
      TEST(accounts_are_shut_out),
      TEST(attributes_are_asked_for_once),
      TEST(groups_are_those_of_member_of),
      TEST(groups_are_bounded),
      TEST(settings_that_cannot_work_are_told),
      TEST(a_server_that_fails_is_left_alone),
      TEST(questions_that_can_be_nobodys_are_not_asked),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
