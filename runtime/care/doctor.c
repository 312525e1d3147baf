#include "care/doctor.h"
#include <stdarg.h>
#include <string.h>

static const struct {
  const char *name;
  void (*look)(doctor *d);
  doctor_when when;
} checks[] = {
    {"configuration", doctor_configuration, DOCTOR_ALWAYS},
    {"plugins", doctor_plugins, DOCTOR_ALWAYS},
    {"permissions", doctor_permissions, DOCTOR_ALWAYS},
    {"certificates", doctor_certificates, DOCTOR_ALWAYS},
    {"disk", doctor_disk, DOCTOR_ALWAYS},
    {"clock", doctor_clock, DOCTOR_ALWAYS},
    {"database", doctor_database, DOCTOR_ALWAYS},
    {"units", doctor_units, DOCTOR_AT_REST},
    {"server", doctor_server, DOCTOR_AT_REST},
    {"upgrade", doctor_leftovers, DOCTOR_AT_REST},
};

void doctor_tell(doctor *d, report_outcome outcome, const char *remedy, const char *format, ...) {
  char text[2048];
  va_list values;
  va_start(values, format);
  (void)vsnprintf(text, sizeof text, format, values);
  va_end(values);
  if (outcome == REPORT_FAILED) d->problems++;
  d->told++;
  d->found(d->to, d->check, outcome, text, remedy);
}

size_t doctor_examine(const installation *here, bool before_upgrade, doctor_found *found, void *to) {
  doctor d = {.here = here, .found = found, .to = to};
  for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
    if (before_upgrade && checks[i].when == DOCTOR_AT_REST) continue;
    d.check = checks[i].name;
    d.told = 0;
    checks[i].look(&d);
    if (d.told == 0 && !here->readable && checks[i].look != doctor_leftovers)
      doctor_tell(&d, REPORT_SKIPPED, NULL, "it takes a configuration that can be read");
  }
  return d.problems;
}

/* ---- The command ---- */

static void print_finding(void *to, const char *check, report_outcome outcome, const char *detail, const char *remedy) {
  report *r = to;
  report_step(r, "%s", check);
  report_end_step(r, outcome, detail, remedy);
}

static void print_sum(report *r) {
  if (r->mishaps[0] + r->mishaps[1] == 0) report_say(r, "\nAll is well.");
  else
    report_say(r, "\n%zu problem%s, %zu warning%s.", r->mishaps[1], r->mishaps[1] == 1 ? "" : "s", r->mishaps[0],
               r->mishaps[0] == 1 ? "" : "s");
}

int care_doctor(bool json, int count, char **arguments) {
  const char *config_file = NULL;
  installation here;
  report told;
  int code;
  const care_option options[] = {{"--config", &config_file, NULL}, {"--json", NULL, &json}};
  if (!care_arguments("doctor", NULL, options, sizeof options / sizeof options[0], count, arguments, NULL, &code))
    return code;
  report_begin(&told, "doctor", json);
  told.failed_word = "problem";
  told.steps_word = "checks";
  installation_open(&here, config_file);
  (void)cJSON_AddStringToObject(told.document, "configuration", here.config);
  (void)cJSON_AddStringToObject(told.document, "version", PURLIN_VERSION);
  (void)doctor_examine(&here, false, print_finding, &told);
  (void)cJSON_AddNumberToObject(told.document, "problems", (double)told.mishaps[1]);
  (void)cJSON_AddNumberToObject(told.document, "warnings", (double)told.mishaps[0]);
  print_sum(&told);
  installation_close(&here);
  return report_end(&told);
}
