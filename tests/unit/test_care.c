/* care/: what is installed here, the connection to its database, what a command tells. */
#include "test_db.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>

#include "care/care.h"

static installation here;
static buffer why, text;
static char folder[64], config_path[128];

static void write_config(const char *content) {
  FILE *file = fopen(config_path, "we");
  assert_non_null(file);
  assert_true(fputs(content, file) >= 0);
  assert_int_equal(fclose(file), 0);
}

static void configure(const char *database, const char *name) {
  char content[1024];
  (void)snprintf(content, sizeof content,
                 "server { state = \"%s\", port = 8099 }\ndatabase { %s, user = \"root\", name = \"%s\" }\n", folder,
                 database, name);
  write_config(content);
}

static int set_up(void **state) {
  (void)state;
  why = (buffer){0};
  text = (buffer){0};
  here = (installation){0};
  (void)snprintf(folder, sizeof folder, "/tmp/purlin-test-care-XXXXXX");
  if (!mkdtemp(folder)) return -1;
  (void)snprintf(config_path, sizeof config_path, "%s/purlin.lua", folder);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  installation_close(&here);
  buffer_free(&why);
  buffer_free(&text);
  (void)unlink(config_path);
  return rmdir(folder);
}

/* ---- Installation ---- */

static void test_reads_the_settings(void **state) {
  (void)state;
  configure("socket = \"/nowhere.sock\"", "models");
  installation_open(&here, config_path);
  assert_true(here.readable && here.has_config);
  assert_int_equal(here.settings.server.port, 8099);
  assert_string_equal(here.settings.database.name, "models");
  assert_int_equal(here.root, geteuid() == 0);
  installation_url(&here, &text);
  assert_string_equal(buffer_end(&text), "http://127.0.0.1:8099");
  char path[PATH_MAX], expected[128];
  assert_true(installation_path(&here, "admin.token", path));
  (void)snprintf(expected, sizeof expected, "%s/admin.token", folder);
  assert_string_equal(path, expected);
}

static void test_addresses_that_mean_all(void **state) {
  (void)state;
  static const struct {
    const char *address, *url;
  } cases[] = {{"0.0.0.0", "http://127.0.0.1:1"}, {"::", "http://[::1]:1"}, {"10.1.2.3", "http://10.1.2.3:1"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char content[128];
    (void)snprintf(content, sizeof content, "server { address = \"%s\", port = 1 }\n", cases[i].address);
    write_config(content);
    installation_open(&here, config_path);
    buffer_clear(&text);
    installation_url(&here, &text);
    assert_string_equal(buffer_end(&text), cases[i].url);
    installation_close(&here);
  }
  here = (installation){0};
}

static void test_broken_configuration_is_told_with_its_place(void **state) {
  (void)state;
  write_config("server { prot = 1 }\n");
  installation_open(&here, config_path);
  assert_false(here.readable);
  assert_non_null(strstr(buffer_end(&here.why), "purlin.lua:1:"));
  db_options options;
  assert_false(database_options(&here, DATABASE_SERVICE, &options, &why));
  assert_non_null(strstr(buffer_end(&why), "purlin.lua:1:"));
  assert_null(database_connect(&here, DATABASE_ADMINISTRATOR, false, &why));
}

static void test_a_named_file_must_be_there(void **state) {
  (void)state;
  installation_open(&here, config_path);
  assert_false(here.readable);
  assert_non_null(strstr(buffer_end(&here.why), "purlin.lua"));
  write_config("");
}

/* Whoever owns the state directory is the service. */
static void test_who_the_service_is(void **state) {
  (void)state;
  const struct passwd *nobody = getpwnam("nobody");
  if (geteuid() != 0 || !nobody) skip();
  uid_t uid = nobody->pw_uid;
  assert_int_equal(chown(folder, uid, nobody->pw_gid), 0);
  configure("socket = \"/nowhere.sock\"", "models");
  installation_open(&here, config_path);
  assert_true(here.has_user);
  assert_int_equal(here.uid, uid);
  assert_string_equal(here.user, "nobody");
}

static void test_units_without_systemd(void **state) {
  (void)state;
  unit_state unit;
  assert_false(unit_ask(&(installation){.systemd = false}, "purlin.service", &unit, &why));
  assert_string_equal(buffer_end(&why), "this machine was not booted by systemd");
}

/* ---- Database ---- */

static void configure_real(void) {
  char database[256];
  (void)snprintf(database, sizeof database, "socket = \"%s\"", test_options.socket);
  configure(database, "care_test");
  installation_open(&here, config_path);
  assert_true(here.readable);
}

static void test_connects_as_administrator(void **state) {
  (void)state;
  configure_real();
  assert_string_equal(database_socket(&here), test_options.socket);
  assert_false(database_is_remote(&here));
  MYSQL *mysql = database_connect(&here, DATABASE_ADMINISTRATOR, false, &why);
  if (!mysql) fail_msg("%s", buffer_end(&why));
  assert_true(database_run(mysql, &why, "CREATE DATABASE care_test"));
  assert_true(database_text(mysql, &text, &why, "SELECT CONCAT('a', %d)", 7));
  assert_string_equal(buffer_end(&text), "a7");
  assert_int_equal(database_number(mysql, "SELECT 41 + 1", -1), 42);
  assert_int_equal(database_number(mysql, "SELECT NULL", -1), -1);
  assert_int_equal(database_number(mysql, "nonsense", -2), -2);
  assert_true(database_run(mysql, &why, "SELECT 1")); /* its rows are thrown away */
  assert_false(database_run(mysql, &why, "DROP TABLE no_such.table_here"));
  assert_non_null(strstr(buffer_end(&why), "DROP TABLE no_such.table_here"));
  mysql_close(mysql);
  mysql = database_connect(&here, DATABASE_ADMINISTRATOR, true, &why);
  assert_non_null(mysql);
  buffer_clear(&text);
  assert_true(database_text(mysql, &text, NULL, "SELECT DATABASE()"));
  assert_string_equal(buffer_end(&text), "care_test");
  assert_true(database_run(mysql, &why, "DROP DATABASE care_test"));
  mysql_close(mysql);
}

static void test_names_and_texts_are_quoted(void **state) {
  (void)state;
  configure_real();
  MYSQL *mysql = database_connect(&here, DATABASE_ADMINISTRATOR, false, &why);
  assert_non_null(mysql);
  buffer sql = {0};
  buffer_text(&sql, "SELECT ");
  database_add_text(mysql, &sql, "it's \\ \"all\" `one`");
  buffer_text(&sql, " AS ");
  database_add_name(&sql, "a`b");
  assert_true(database_text(mysql, &text, &why, "%s", buffer_end(&sql)));
  assert_string_equal(buffer_end(&text), "it's \\ \"all\" `one`");
  assert_non_null(strstr(buffer_end(&sql), "`a``b`"));
  buffer_free(&sql);
  mysql_close(mysql);
}

/* Over the socket MariaDB knows who asks: here nobody, whom the server does not know as root. */
static void test_connects_as_the_service(void **state) {
  (void)state;
  const struct passwd *nobody = getpwnam("nobody");
  if (geteuid() != 0 || !nobody) skip();
  const uid_t uid = nobody->pw_uid; /* what it points to changes with the next look-up */
  const gid_t gid = nobody->pw_gid;
  configure_real();
  MYSQL *mysql = database_connect(&here, DATABASE_ADMINISTRATOR, false, &why);
  assert_non_null(mysql);
  assert_true(database_run(mysql, &why, "CREATE USER nobody@localhost IDENTIFIED VIA unix_socket"));
  here.settings.database.user = "nobody";
  here.has_user = true;
  (void)snprintf(here.user, sizeof here.user, "nobody");
  here.uid = uid;
  here.gid = gid;
  assert_int_equal(chmod(test_directory, 0711), 0);
  char data[128];
  (void)snprintf(data, sizeof data, "%s/mariadb", test_directory);
  assert_int_equal(chmod(data, 0711), 0);
  MYSQL *service = database_connect(&here, DATABASE_SERVICE, false, &why);
  if (!service) fail_msg("%s", buffer_end(&why));
  assert_true(database_text(service, &text, &why, "SELECT CURRENT_USER()"));
  assert_string_equal(buffer_end(&text), "nobody@localhost");
  mysql_close(service);
  assert_int_equal(geteuid(), 0);
  assert_int_equal(getegid(), 0);
  here.has_user = false; /* now root asks as nobody */
  assert_null(database_connect(&here, DATABASE_SERVICE, false, &why));
  assert_non_null(strstr(buffer_end(&why), "Access denied"));
  assert_true(database_run(mysql, &why, "DROP USER nobody@localhost"));
  mysql_close(mysql);
}

static void test_no_database_is_explained(void **state) {
  (void)state;
  configure("socket = \"/nowhere/at/all.sock\"", "models");
  installation_open(&here, config_path);
  assert_null(database_connect(&here, DATABASE_SERVICE, false, &why));
  assert_non_null(strstr(buffer_end(&why), "/nowhere/at/all.sock"));
  installation_close(&here);
  buffer_clear(&why);
  configure("host = \"db.example.org\"", "models");
  installation_open(&here, config_path);
  assert_true(database_is_remote(&here));
  db_options options;
  assert_false(database_options(&here, DATABASE_ADMINISTRATOR, &options, &why));
  assert_string_equal(buffer_end(&why), "the database is on another machine, db.example.org");
  assert_true(database_options(&here, DATABASE_SERVICE, &options, &why));
  assert_string_equal(options.host, "db.example.org");
}

/* ---- Report ---- */

/* What `tell` prints on stdout. */
static void capture(int (*tell)(void), int code) {
  char path[] = "/tmp/purlin-test-report-XXXXXX";
  int file = mkstemp(path), before = dup(STDOUT_FILENO);
  assert_true(file >= 0 && before >= 0);
  (void)fflush(stdout);
  assert_true(dup2(file, STDOUT_FILENO) >= 0);
  int got = tell();
  (void)fflush(stdout);
  assert_true(dup2(before, STDOUT_FILENO) >= 0);
  (void)close(before);
  char said[8192];
  ssize_t size = pread(file, said, sizeof said, 0);
  assert_true(size >= 0);
  buffer_clear(&text);
  buffer_add(&text, said, (size_t)size);
  (void)close(file);
  assert_int_equal(unlink(path), 0);
  assert_int_equal(got, code);
}

static int tell_all(bool json) {
  report r;
  report_begin(&r, "upgrade", json);
  (void)cJSON_AddStringToObject(r.document, "from", "0.1.0");
  report_step(&r, "Counting to %d", 3);
  report_progress(&r, 512, 2048);
  report_progress(&r, 600, 2048);
  report_progress(&r, 2048, 2048);
  report_step(&r, "Looking");
  report_end_step(&r, REPORT_WARNING, "two\nlines\033[2J", "systemctl restart purlin");
  report_say(&r, "a line");
  report_step(&r, "Breaking");
  report_end_step(&r, REPORT_FAILED, "no", NULL);
  report_step(&r, "Leaving out");
  report_end_step(&r, REPORT_SKIPPED, NULL, NULL);
  return report_end(&r);
}

static int tell_people(void) { return tell_all(false); }
static int tell_programs(void) { return tell_all(true); }

static void test_report_for_people(void **state) {
  (void)state;
  capture(tell_people, CARE_FAILED);
  assert_string_equal(buffer_end(&text), "  ...     Counting to 3: 512 bytes, 25 %\n"
                                         "  ok      Counting to 3\n"
                                         "  warning Looking: two\n"
                                         "          lines\\u001b[2J\n"
                                         "          -> systemctl restart purlin\n"
                                         "a line\n"
                                         "  failed  Breaking: no\n"
                                         "  skipped Leaving out\n");
}

static void test_report_for_programs(void **state) {
  (void)state;
  capture(tell_programs, CARE_FAILED);
  cJSON *document = cJSON_ParseWithLength(text.data, text.size);
  assert_non_null(document);
  assert_string_equal(cJSON_GetObjectItem(document, "command")->valuestring, "upgrade");
  assert_string_equal(cJSON_GetObjectItem(document, "from")->valuestring, "0.1.0");
  assert_true(cJSON_IsFalse(cJSON_GetObjectItem(document, "ok")));
  const cJSON *steps = cJSON_GetObjectItem(document, "steps");
  assert_int_equal(cJSON_GetArraySize(steps), 4);
  const cJSON *looking = cJSON_GetArrayItem(steps, 1);
  assert_string_equal(cJSON_GetObjectItem(looking, "name")->valuestring, "Looking");
  assert_string_equal(cJSON_GetObjectItem(looking, "outcome")->valuestring, "warning");
  assert_string_equal(cJSON_GetObjectItem(looking, "remedy")->valuestring, "systemctl restart purlin");
  assert_string_equal(cJSON_GetObjectItem(cJSON_GetArrayItem(steps, 3), "outcome")->valuestring, "skipped");
  cJSON_Delete(document);
}

static void test_bytes(void **state) {
  (void)state;
  static const struct {
    uint64_t bytes;
    const char *text;
  } cases[] = {
      {0, "0 bytes"}, {1023, "1023 bytes"}, {1536, "1.5 KiB"}, {500ull << 20, "500 MiB"}, {UINT64_MAX, "16384 PiB"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    buffer_clear(&text);
    report_add_bytes(&text, cases[i].bytes);
    assert_string_equal(buffer_end(&text), cases[i].text);
  }
}

/* ---- Arguments ---- */

static void test_arguments(void **state) {
  (void)state;
  const char *to = NULL, *word = NULL;
  bool json = false;
  int code = -1;
  const care_option options[] = {{"--to", &to, NULL}, {"--json", NULL, &json}};
  char one[] = "--to", two[] = "/backups", three[] = "--json", four[] = "thing", five[] = "--no", six[] = "more";
  char *fine[] = {one, two, three, four}, *cut[] = {one}, *unknown[] = {five}, *many[] = {four, six};
  assert_true(care_arguments("x", "usage", options, 2, 4, fine, &word, &code));
  assert_string_equal(to, "/backups");
  assert_string_equal(word, "thing");
  assert_true(json);
  assert_false(care_arguments("x", "usage", options, 2, 1, cut, &word, &code));
  assert_int_equal(code, CARE_USAGE);
  assert_false(care_arguments("x", "usage", options, 2, 1, unknown, &word, &code));
  assert_int_equal(code, CARE_USAGE);
  word = NULL;
  assert_false(care_arguments("x", "usage", options, 2, 2, many, &word, &code));
  assert_int_equal(code, CARE_USAGE);
  assert_false(care_arguments("x", "usage", options, 2, 1, many, NULL, &code));
  assert_int_equal(code, CARE_USAGE);
}

static int ask_for_help(void) {
  char help[] = "--help";
  char *arguments[] = {help};
  int code = -1;
  assert_false(care_arguments("x", "Usage: purlin x\n", NULL, 0, 1, arguments, NULL, &code));
  return code;
}

static void test_help(void **state) {
  (void)state;
  capture(ask_for_help, CARE_FINE);
  assert_string_equal(buffer_end(&text), "Usage: purlin x\n");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      CASE(test_reads_the_settings),
      CASE(test_addresses_that_mean_all),
      CASE(test_broken_configuration_is_told_with_its_place),
      CASE(test_a_named_file_must_be_there),
      CASE(test_who_the_service_is),
      CASE(test_units_without_systemd),
      CASE(test_connects_as_administrator),
      CASE(test_names_and_texts_are_quoted),
      CASE(test_connects_as_the_service),
      CASE(test_no_database_is_explained),
      CASE(test_report_for_people),
      CASE(test_report_for_programs),
      CASE(test_bytes),
      CASE(test_arguments),
      CASE(test_help),
  };
  return cmocka_run_group_tests(tests, start_server, stop_server);
}
