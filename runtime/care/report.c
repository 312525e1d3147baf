#include "care/care.h"
#include "core/display.h"
#include <purlin/context.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const struct {
  const char *word, *colour;
} outcomes[] = {[REPORT_DONE] = {"ok", "32"},
                [REPORT_SKIPPED] = {"skipped", "2"},
                [REPORT_WARNING] = {"warning", "33"},
                [REPORT_FAILED] = {"failed", "31"}};

static const char CLEAR_LINE[] = "\r\033[K";
enum { COLUMN = 10, SHOW_NS = 100000000, NOTEWORTHY_MS = 1000 };

void report_begin(report *r, const char *command, bool json) {
  *r = (report){.command = command, .json = json};
  r->terminal = !json && display_is_terminal(stdout);
  r->coloured = !json && display_is_coloured(stdout);
  r->document = cJSON_CreateObject();
  (void)cJSON_AddStringToObject(r->document, "command", command);
  r->steps = cJSON_CreateArray();
}

static void clear_line(report *r) {
  if (r->line_open) (void)fputs(CLEAR_LINE, stdout);
  r->line_open = false;
}

static void show_line(report *r, const char *more) {
  clear_line(r);
  (void)fputs("  ...     ", stdout);
  display_text(stdout, buffer_end(&r->step));
  (void)printf("%s", more);
  (void)fflush(stdout);
  r->line_open = true;
  r->shown_ns = purlin_ticks_ns();
}

void report_step(report *r, const char *format, ...) {
  char name[512];
  va_list values;
  if (r->step.size > 0) report_end_step(r, REPORT_DONE, NULL, NULL);
  va_start(values, format);
  (void)vsnprintf(name, sizeof name, format, values);
  va_end(values);
  buffer_clear(&r->step);
  buffer_text(&r->step, name);
  r->begun_ns = purlin_ticks_ns();
  r->told_percent = 0;
  if (r->terminal) show_line(r, "");
}

void report_add_bytes(buffer *out, uint64_t bytes) {
  static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double amount = (double)bytes;
  size_t unit = 0;
  while (amount >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
    amount /= 1024;
    unit++;
  }
  buffer_format(out, unit > 0 && amount < 100 ? "%.1f %s" : "%.0f %s", amount, units[unit]);
}

void report_progress(report *r, uint64_t done, uint64_t total) {
  uint64_t percent = total > 0 ? (uint64_t)((double)done * 100 / (double)total) : 0;
  bool due = r->terminal ? purlin_ticks_ns() - r->shown_ns >= SHOW_NS : percent >= r->told_percent + 10 && percent < 100;
  if (r->json || r->step.size == 0 || !due) return;
  buffer line = {0};
  buffer_text(&line, r->terminal ? " " : ": ");
  report_add_bytes(&line, done);
  if (total > 0) buffer_format(&line, ", %llu %%", (unsigned long long)percent);
  r->told_percent = percent - percent % 10;
  if (r->terminal) show_line(r, buffer_end(&line));
  else {
    (void)fputs("  ...     ", stdout);
    display_text(stdout, buffer_end(&r->step));
    (void)puts(buffer_end(&line));
    (void)fflush(stdout);
  }
  buffer_free(&line);
}

/* Its lines after the first one stand below it. */
static void print_indented(const char *text) {
  while (*text) {
    size_t size = strcspn(text, "\n");
    buffer shown = {0};
    display_add(&shown, text, size);
    (void)fputs(buffer_end(&shown), stdout);
    buffer_free(&shown);
    text += size;
    if (*text == '\n' && *++text) (void)printf("\n%*s", COLUMN, "");
  }
}

static const char *word_of(const report *r, report_outcome outcome) {
  return outcome == REPORT_FAILED && r->failed_word ? r->failed_word : outcomes[outcome].word;
}

static void print_step(report *r, report_outcome outcome, const char *detail, const char *remedy, uint64_t took_ms) {
  clear_line(r);
  const char *word = word_of(r, outcome);
  if (r->coloured) (void)printf("  \033[%sm%s\033[0m%*s", outcomes[outcome].colour, word, 8 - (int)strlen(word), "");
  else (void)printf("  %-8s", word);
  display_text(stdout, buffer_end(&r->step));
  if (detail && *detail) {
    (void)fputs(": ", stdout);
    print_indented(detail);
  }
  if (outcome == REPORT_DONE && took_ms >= NOTEWORTHY_MS) (void)printf(" (%.1f s)", (double)took_ms / 1000);
  if (remedy) {
    (void)printf("\n%*s-> ", COLUMN, "");
    print_indented(remedy);
  }
  (void)putchar('\n');
  (void)fflush(stdout);
}

static void note_step(report *r, report_outcome outcome, const char *detail, const char *remedy, uint64_t took_ms) {
  cJSON *step = cJSON_CreateObject();
  (void)cJSON_AddStringToObject(step, "name", buffer_end(&r->step));
  (void)cJSON_AddStringToObject(step, "outcome", word_of(r, outcome));
  if (detail) (void)cJSON_AddStringToObject(step, "detail", detail);
  if (remedy) (void)cJSON_AddStringToObject(step, "remedy", remedy);
  (void)cJSON_AddNumberToObject(step, "milliseconds", (double)took_ms);
  if (!cJSON_AddItemToArray(r->steps, step)) cJSON_Delete(step);
}

void report_end_step(report *r, report_outcome outcome, const char *detail, const char *remedy) {
  uint64_t took_ms = (purlin_ticks_ns() - r->begun_ns) / 1000000;
  if (r->step.size == 0) return;
  if (!r->json) print_step(r, outcome, detail, remedy, took_ms);
  note_step(r, outcome, detail, remedy, took_ms);
  if (outcome >= REPORT_WARNING) r->mishaps[outcome - REPORT_WARNING]++;
  buffer_clear(&r->step);
}

void report_say(report *r, const char *format, ...) {
  va_list values;
  if (r->json) return;
  bool open = r->line_open;
  clear_line(r);
  va_start(values, format);
  char *text = NULL;
  int size = vasprintf(&text, format, values);
  va_end(values);
  if (size >= 0) {
    const char *at = text;
    do {
      size_t length = strcspn(at, "\n");
      buffer shown = {0};
      display_add(&shown, at, length);
      (void)puts(buffer_end(&shown));
      buffer_free(&shown);
      at += length + (at[length] == '\n');
    } while (*at);
    free(text);
  }
  if (open) show_line(r, "");
}

int report_end(report *r) {
  if (r->step.size > 0) report_end_step(r, REPORT_DONE, NULL, NULL);
  bool fine = r->mishaps[1] == 0;
  (void)cJSON_AddBoolToObject(r->document, "ok", fine);
  if (!cJSON_AddItemToObject(r->document, r->steps_word ? r->steps_word : "steps", r->steps)) cJSON_Delete(r->steps);
  char *text = r->json ? cJSON_Print(r->document) : NULL;
  if (text) (void)puts(text);
  cJSON_free(text);
  cJSON_Delete(r->document);
  buffer_free(&r->step);
  *r = (report){0};
  return fine ? CARE_FINE : CARE_FAILED;
}

/* ---- Arguments ---- */

static int refuse(const char *command, const char *format, const char *what) {
  (void)fprintf(stderr, "purlin: %s: ", command);
  (void)fprintf(stderr, format, what);
  (void)fprintf(stderr, "; 'purlin %s --help' tells more\n", command);
  return CARE_USAGE;
}

bool care_arguments(const char *command, const char *usage, const care_option *options, size_t option_count, int count,
                    char **arguments, const char **word, int *code) {
  for (int i = 0; i < count; i++) {
    const char *argument = arguments[i];
    size_t o = 0;
    if (usage &&
        (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0 || (i == 0 && strcmp(argument, "help") == 0))) {
      (void)fputs(usage, stdout);
      *code = CARE_FINE;
      return false;
    }
    while (o < option_count && strcmp(options[o].name, argument) != 0) o++;
    if (o < option_count && options[o].flag) *options[o].flag = true;
    else if (o < option_count && i + 1 < count) *options[o].text = arguments[++i];
    else if (o == option_count && argument[0] != '-' && word && !*word) *word = argument;
    else {
      const char *format = o < option_count     ? "%s needs a value"
                           : argument[0] == '-' ? "unknown option '%s'"
                                                : "'%s' is one word too many";
      *code = refuse(command, format, argument);
      return false;
    }
  }
  return true;
}
