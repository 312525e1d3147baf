#include "care/upgrade.h"
#include <stdarg.h>
#include <string.h>

bool upgrade_fine(upgrade *u, const char *format, ...) {
  char detail[1024];
  va_list values;
  va_start(values, format);
  (void)vsnprintf(detail, sizeof detail, format, values);
  va_end(values);
  report_end_step(&u->report, REPORT_DONE, detail, NULL);
  return true;
}

bool upgrade_fails(upgrade *u, buffer *why, const char *remedy) {
  report_end_step(&u->report, REPORT_FAILED, buffer_end(why), remedy);
  return false;
}

bool upgrade_path(const upgrade *u, const char *name, char path[PATH_MAX]) {
  int length = snprintf(path, PATH_MAX, "%s/%s", u->folder, name);
  return length > 0 && length < PATH_MAX;
}

/* A journal that cannot be written any more ends the way there; on the way back it is only said: to be whole again matters more. */
static bool note(upgrade *u, const upgrade_step *step, step_state state, buffer *why) {
  buffer trouble = {0};
  bool noted = journal_step(&u->journal, step->name, state, state == STEP_FAILED ? buffer_end(why) : NULL, &trouble);
  if (!noted) {
    report_step(&u->report, "The journal");
    report_end_step(&u->report, step->changes && state != STEP_BEGUN ? REPORT_WARNING : REPORT_FAILED, buffer_end(&trouble),
                    NULL);
    if (why->size == 0) buffer_text(why, buffer_end(&trouble));
  }
  buffer_free(&trouble);
  return noted;
}

const upgrade_step *upgrade_go(upgrade *u, const upgrade_step *steps, size_t count, buffer *why) {
  for (size_t i = 0; i < count; i++) {
    const upgrade_step *step = &steps[i];
    if (journal_state_of(&u->journal, step->name) == STEP_DONE) continue;
    buffer_clear(why);
    if (!note(u, step, STEP_BEGUN, why)) return step;
    bool done = step->run(u, why);
    if (!note(u, step, done ? STEP_DONE : STEP_FAILED, why) && done) return step;
    if (!done) return step;
  }
  return NULL;
}

bool upgrade_has_changed(const upgrade *u, const upgrade_step *steps, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (steps[i].changes && journal_state_of(&u->journal, steps[i].name) != STEP_NEVER) return true;
  return false;
}
