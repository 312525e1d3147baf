/* purlin.lua: sections and their places, and what is said about mistakes. */
#include "lua/script.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static const char *const kinds[] = {"server", "database", "log", "plugin"};
static char folder[] = "/tmp/purlin_config_XXXXXX";
static char path[128];

static void write_file(const char *name, const char *text, size_t size) {
  int file = open(name, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  assert_true(file >= 0);
  assert_int_equal(write(file, text, size), size);
  assert_int_equal(close(file), 0);
}

static purlin_status load(const char *text, config **out, buffer *why) {
  write_file(path, text, strlen(text));
  return config_load(path, kinds, sizeof kinds / sizeof kinds[0], out, why);
}

static config *good(const char *text) {
  config *c = NULL;
  buffer why = {0};
  if (load(text, &c, &why) != PURLIN_OK) fail_msg("refused: %s", buffer_end(&why));
  assert_int_equal(why.size, 0);
  buffer_free(&why);
  return c;
}

static void assert_json(const config_section *section, const char *json) {
  assert_int_equal(section->json_size, strlen(json));
  assert_memory_equal(section->json, json, section->json_size);
}

static void sections_in_order(void **state) {
  (void)state;
  config *c = good("-- the server\n"
                   "server{\n  port = 8080 }\n"
                   "plugin 'storage-fs' {\n  root = '/var/lib/purlin',\n}\n"
                   "plugin('drift', { window = 0.5 })\n"
                   "plugin 'registry'\n"
                   "local names = {}\nfor i = 1, 3 do names[i] = 'n' .. i end\n"
                   "log{ names = names }\n");
  assert_int_equal(config_count(c), 5);
  assert_string_equal(config_at(c, 0)->kind, "server");
  assert_null(config_at(c, 0)->name);
  assert_int_equal(config_at(c, 0)->line, 2);
  assert_string_equal(config_at(c, 0)->file, path);
  assert_json(config_at(c, 0), "{\"port\":8080}");
  assert_string_equal(config_at(c, 1)->name, "storage-fs");
  assert_int_equal(config_at(c, 1)->line, 4);
  assert_json(config_at(c, 1), "{\"root\":\"/var/lib/purlin\"}");
  assert_string_equal(config_at(c, 2)->name, "drift");
  assert_int_equal(config_at(c, 2)->line, 7);
  assert_json(config_at(c, 2), "{\"window\":0.5}");
  assert_string_equal(config_at(c, 3)->name, "registry");
  assert_json(config_at(c, 3), "{}");
  assert_json(config_at(c, 4), "{\"names\":[\"n1\",\"n2\",\"n3\"]}");
  config_free(c);
}

static void an_empty_file_is_a_configuration(void **state) {
  (void)state;
  config *c = good("");
  assert_int_equal(config_count(c), 0);
  config_free(c);
}

static void secrets_come_from_outside(void **state) {
  (void)state;
  char secret[160];
  (void)snprintf(secret, sizeof secret, "%s/secret", folder);
  write_file(secret, "open sesame\n", 12);
  assert_int_equal(setenv("PURLIN_TEST_USER", "ali", 1), 0);
  config *c = good("database{ user = env('PURLIN_TEST_USER') }\n"
                   "log{ level = env('PURLIN_TEST_NOT_SET', 'info') }\n"
                   "server{ token = file('secret'), absent = env('PURLIN_TEST_NOT_SET', nil) }");
  assert_json(config_at(c, 0), "{\"user\":\"ali\"}");
  assert_json(config_at(c, 1), "{\"level\":\"info\"}");
  assert_json(config_at(c, 2), "{\"token\":\"open sesame\"}");
  config_free(c);
}

static void assert_refused(const char *text, const char *says) {
  config *c = NULL;
  buffer why = {0};
  assert_int_equal(load(text, &c, &why), PURLIN_INVALID);
  if (strncmp(buffer_end(&why), path, strlen(path)) != 0 || strstr(buffer_end(&why), says) == NULL)
    fail_msg("%s\nis answered by: %s", text, buffer_end(&why));
  if (strstr(buffer_end(&why), "sesame") != NULL) fail_msg("the secret is told: %s", buffer_end(&why));
  buffer_free(&why);
}

static void credentials_come_from_systemd(void **state) {
  (void)state;
  char secret[160];
  (void)snprintf(secret, sizeof secret, "%s/db-password", folder);
  write_file(secret, "open sesame\r\n", 13);
  assert_int_equal(setenv("CREDENTIALS_DIRECTORY", folder, 1), 0);
  config *c = good("database{ password = credential('db-password') }");
  assert_json(config_at(c, 0), "{\"password\":\"open sesame\"}");
  config_free(c);
  assert_refused("\ndatabase{ password = credential('other') }", ":2: cannot read");
  assert_refused("database{ password = credential('../x') }", ":1: '../x' is no name of a credential");
  assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
  assert_refused("database{ password = credential('db-password') }", ":1: there is no credential db-password");
  assert_refused("database{ password = credental('x') }", "did you mean 'credential'?");
}

static void secrets_that_others_can_read_are_refused(void **state) {
  (void)state;
  char secret[160];
  (void)snprintf(secret, sizeof secret, "%s/open", folder);
  write_file(secret, "open sesame\n", 12);
  assert_int_equal(chmod(secret, 0640), 0);
  config_free(good("database{ password = file('open') }"));
  assert_int_equal(chmod(secret, 0644), 0);
  assert_refused("database{\n password = file('open') }", "/open can be read or written by others: chmod o= it");
  assert_int_equal(chmod(secret, 0620), 0);
  assert_refused("database{ password = file('open') }", "can be written by its group");
  assert_refused("database{ password = file('.') }", "is no file");
}

typedef struct mistake {
  const char *text;
  int line; /* 0: no line */
  const char *says;
} mistake;

static const mistake mistakes[] = {
    {"server{\n  port = = 1\n}", 2, "unexpected symbol near '='"},
    {"server{ port = 1 ", 1, "'}' expected"},
    {"\n\nsevrer{ port = 1 }", 3, "there is no section 'sevrer'; did you mean 'server'?"},
    {"cluster{}", 1, "there is no section 'cluster'; there are server, database, log, plugin"},
    {"server{ a = evn('X') }", 1, "there is no function 'evn'; did you mean 'env'?"},
    {"\nserver = { port = 1 }", 2, "'server' is a section, so without '='"},
    {"port = 8080", 1, "configures nothing; write 'local port"},
    {"server{ port = nothing.here }", 1, "there is no section 'nothing'"},
    {"local t = nil\nserver{ port = t.x }", 2, "attempt to index a nil value (local 't')"},
    {"server 'x'", 1, "server wants one table"},
    {"server({}, {})", 1, "server wants one table"},
    {"server{ 1, 2 }", 1, "server wants named members"},
    {"plugin{ root = 1 }", 1, "plugin wants a name and a table"},
    {"plugin 'x' 'y'", 1, "after its name a plugin wants one table"},
    {"local p = plugin 'x'\np{}\np{}", 3, "after its name a plugin wants one table"},
    {"server{}\n\nserver{}", 3, "server is configured twice; the first time in line 1"},
    {"plugin 'a' {}\nplugin 'b' {}\nplugin 'a' {}", 3, "plugin \"a\" is configured twice; the first time in line 1"},
    {"server{ f = function() end }", 1, "'f' is a function"},
    {"server{\n a = {\n b = { 1, 2, x = 3 } } }", 1, "'a.b' mixes numbered and named members"},
    {"server{ rate = 0/0 }", 1, "'rate' is not a number (NaN)"},
    {"local t = {}\nt.t = t\nserver(t)", 3, "nested more than 64 deep"},
    {"server{ x = '\\255' }", 1, "'x' is not valid UTF-8"},
    {"server{ p = env('PURLIN_TEST_NOT_SET') }", 1, "the environment has no variable PURLIN_TEST_NOT_SET"},
    {"server{ p = file('not-there') }", 1, "not-there: No such file"},
    {"while true do end", 1, "endless loop"},
    {"local t = {}\nfor i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end", 0, "more than 32 MiB of memory"},
    {"local s = ('a'):rep(200)\nlocal x = s:find(('.-'):rep(30) .. 'b')", 2, "pattern too complex"},
    {"error({})", 1, "an error that is a table"},
    {"error('by hand')", 1, "by hand"},
    {"local function f() return f() + 1 end\nf()", 0, "more than 32 MiB of memory"},
    {"os.exit(1)", 1, "there is no section 'os'"},
    {"io.open('/etc/passwd')", 1, "there is no section 'io'"},
    {"load('x = 1')()", 1, "there is no section 'load'"},
    {"require 'os'", 1, "there is no section 'require'"},
    {"string.dump(tostring)", 1, "attempt to call a nil value (field 'dump')"},
    {"pcall(error)", 1, "there is no section 'pcall'"},
    {"_G.x = 1", 1, "there is no section '_G'"},
    {"\x1bLua", 0, "attempt to load a binary chunk"},
};

static void mistakes_are_explained(void **state) {
  (void)state;
  assert_int_equal(unsetenv("PURLIN_TEST_NOT_SET"), 0);
  for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
    const mistake *m = &mistakes[i];
    config *c = NULL;
    buffer why = {0};
    assert_int_equal(load(m->text, &c, &why), PURLIN_INVALID);
    assert_null(c);
    char place[160];
    if (m->line > 0) (void)snprintf(place, sizeof place, "%s:%d: ", path, m->line);
    else (void)snprintf(place, sizeof place, "%s", path);
    const char *text = buffer_end(&why);
    if (strncmp(text, place, strlen(place)) != 0 || strstr(text, m->says) == NULL ||
        strstr(text + strlen(place), path) != NULL)
      fail_msg("%s\nis answered by: %s", m->text, text);
    buffer_free(&why);
  }
}

static void a_file_that_is_not_there(void **state) {
  (void)state;
  config *c = NULL;
  buffer why = {0};
  assert_int_equal(config_load("/nowhere/purlin.lua", kinds, 4, &c, &why), PURLIN_NOT_FOUND);
  assert_null(c);
  assert_string_equal(buffer_end(&why), "cannot read the configuration /nowhere/purlin.lua: No such file or directory");
  buffer_clear(&why);
  assert_int_equal(config_load(folder, kinds, 4, &c, &why), PURLIN_INVALID);
  assert_non_null(strstr(buffer_end(&why), "Is a directory"));
  buffer_free(&why);
}

/* Lua shortens the names of long paths in messages; we do not. */
static void long_paths_stay_whole(void **state) {
  (void)state;
  char deep[256], file[300];
  (void)snprintf(deep, sizeof deep, "mkdir -p %s/a-folder-with-a-long-name/and-another-one-that-is-long-too", folder);
  assert_int_equal(system(deep), 0);
  (void)snprintf(file, sizeof file, "%s/purlin.lua", deep + strlen("mkdir -p "));
  write_file(file, "\nserver{ x = nil + 1 }", 22);
  config *c = NULL;
  buffer why = {0};
  assert_int_equal(config_load(file, kinds, 4, &c, &why), PURLIN_INVALID);
  assert_memory_equal(buffer_end(&why), file, strlen(file));
  assert_non_null(strstr(buffer_end(&why), "purlin.lua:2: attempt to perform arithmetic"));
  buffer_free(&why);
}

static int set_up(void **state) {
  (void)state;
  if (mkdtemp(folder) == NULL) return -1;
  (void)snprintf(path, sizeof path, "%s/purlin.lua", folder);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  char command[64];
  (void)snprintf(command, sizeof command, "rm -rf %s", folder);
  return system(command);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sections_in_order),
      cmocka_unit_test(an_empty_file_is_a_configuration),
      cmocka_unit_test(secrets_come_from_outside),
      cmocka_unit_test(mistakes_are_explained),
      cmocka_unit_test(credentials_come_from_systemd),
      cmocka_unit_test(secrets_that_others_can_read_are_refused),
      cmocka_unit_test(a_file_that_is_not_there),
      cmocka_unit_test(long_paths_stay_whole),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
