/* What purlin doctor makes of systemd's answers, given by a systemctl of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "care/doctor.h"

static char folder[64], program[128], kept_path[4096];

/* It is asked by "show --property=... -- UNIT": the fifth word. */
static void answer(const char *service, const char *socket_unit) {
  FILE *file = fopen(program, "we");
  assert_non_null(file);
  (void)fprintf(
      file,
      "#!/bin/sh\ncase \"$4\" in purlin.service) printf '%s' ;; purlin.socket) printf '%s' ;; *) printf 'LoadState=not-found\\nActiveState=inactive\\n' ;; esac\n",
      service, socket_unit);
  assert_int_equal(fclose(file), 0);
  assert_int_equal(chmod(program, 0755), 0);
}

static int set_up(void **state) {
  (void)state;
  const char *path = getenv("PATH");
  char longer[4200];
  (void)snprintf(kept_path, sizeof kept_path, "%s", path ? path : "/usr/bin:/bin");
  (void)snprintf(folder, sizeof folder, "/tmp/purlin-test-units-XXXXXX");
  if (!mkdtemp(folder)) return -1;
  (void)snprintf(program, sizeof program, "%s/systemctl", folder);
  (void)snprintf(longer, sizeof longer, "%s:%s", folder, kept_path);
  return setenv("PATH", longer, 1);
}

static int tear_down(void **state) {
  (void)state;
  (void)unlink(program);
  return setenv("PATH", kept_path, 1) == 0 ? rmdir(folder) : -1;
}

#define NONE "LoadState=not-found\\nActiveState=inactive\\n"
#define ACTIVE "LoadState=loaded\\nActiveState=active\\nResult=success\\nUnitFileState=enabled\\nNRestarts=0\\nMainPID=0\\n"

static void test_properties_are_read(void **state) {
  (void)state;
  const installation here = {.systemd = true};
  unit_state unit;
  buffer why = {0};
  answer(
      "LoadState=loaded\\nActiveState=failed\\nResult=oom-kill\\nUnitFileState=disabled\\nNRestarts=7\\nMainPID=42\\nOther=x",
      NONE);
  assert_true(unit_ask(&here, "purlin.service", &unit, &why));
  assert_string_equal(unit.load, "loaded");
  assert_string_equal(unit.active, "failed");
  assert_string_equal(unit.result, "oom-kill");
  assert_string_equal(unit.file, "disabled");
  assert_int_equal(unit.restarts, 7);
  assert_int_equal(unit.pid, 42);
  buffer_free(&why);
}

static void test_a_systemctl_that_fails(void **state) {
  (void)state;
  const installation here = {.systemd = true};
  unit_state unit;
  buffer why = {0};
  answer("'; echo no bus >&2; exit 1; : '", NONE);
  assert_false(unit_ask(&here, "purlin.service", &unit, &why));
  assert_string_equal(buffer_end(&why), "systemctl ended with 1: no bus");
  buffer_free(&why);
}

typedef struct finding {
  size_t count;
  report_outcome outcome; /* of the first */
  char detail[256], remedy[256];
} finding;

static void keep_first(void *to, const char *check, report_outcome outcome, const char *detail, const char *remedy) {
  finding *f = to;
  assert_string_equal(check, "units");
  if (f->count++ > 0) return;
  f->outcome = outcome;
  (void)snprintf(f->detail, sizeof f->detail, "%s", detail);
  (void)snprintf(f->remedy, sizeof f->remedy, "%s", remedy ? remedy : "");
}

static void test_what_doctor_says(void **state) {
  (void)state;
  static const struct {
    const char *service, *socket_unit;
    report_outcome outcome;
    size_t count;
    const char *detail, *remedy;
  } cases[] = {
      {ACTIVE, NONE, REPORT_DONE, 1, "purlin.service is active", ""},
      {NONE, NONE, REPORT_WARNING, 1, "there is no purlin.service", "install the package purlin"},
      {"LoadState=masked\\nActiveState=inactive\\n", NONE, REPORT_FAILED, 1,
       "purlin.service is masked: it can not be started", "systemctl unmask purlin.service"},
      {"LoadState=loaded\\nActiveState=failed\\nResult=watchdog\\n", NONE, REPORT_FAILED, 1,
       "purlin.service has failed (watchdog)", "journalctl -u purlin.service -n 50; then systemctl restart purlin.service"},
      {"LoadState=loaded\\nActiveState=inactive\\n", NONE, REPORT_FAILED, 1, "purlin.service is inactive",
       "systemctl enable --now purlin"},
      {"LoadState=loaded\\nActiveState=activating\\nNRestarts=3\\n", NONE, REPORT_WARNING, 1,
       "purlin.service is starting; it has restarted 3 times",
       "journalctl -u purlin.service -n 50; then systemctl restart purlin.service"},
      {"LoadState=loaded\\nActiveState=active\\nUnitFileState=enabled\\nNRestarts=2\\n", NONE, REPORT_WARNING, 1,
       "purlin.service is active, but was restarted 2 times by itself",
       "journalctl -u purlin.service -n 50; then systemctl restart purlin.service"},
      {"LoadState=loaded\\nActiveState=active\\nUnitFileState=disabled\\n", NONE, REPORT_DONE, 2,
       "purlin.service is active", ""},
      {"LoadState=loaded\\nActiveState=inactive\\n", ACTIVE, REPORT_DONE, 1,
       "purlin.socket waits for a connection, which starts purlin.service", ""},
  };
  const installation here = {.systemd = true};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    finding found = {0};
    doctor d = {.here = &here, .check = "units", .found = keep_first, .to = &found};
    answer(cases[i].service, cases[i].socket_unit);
    doctor_units(&d);
    assert_string_equal(found.detail, cases[i].detail);
    assert_string_equal(found.remedy, cases[i].remedy);
    assert_int_equal(found.outcome, cases[i].outcome);
    assert_int_equal(found.count, cases[i].count);
    assert_int_equal(d.problems, cases[i].outcome == REPORT_FAILED ? 1 : 0);
  }
}

static void test_without_systemd(void **state) {
  (void)state;
  const installation here = {0};
  finding found = {0};
  doctor d = {.here = &here, .check = "units", .found = keep_first, .to = &found};
  doctor_units(&d);
  assert_int_equal(found.outcome, REPORT_SKIPPED);
  assert_string_equal(found.detail, "this machine was not booted by systemd");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      CASE(test_properties_are_read),
      CASE(test_a_systemctl_that_fails),
      CASE(test_what_doctor_says),
      CASE(test_without_systemd),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
