/* The texts of records. No printf here: an access line costs well under a microsecond. */
#include "observe/log_parts.h"

#include "core/text.h"

#include <string.h>
#include <time.h>

static const char *const level_names[] = {"debug", "info", "warning", "error"};
static const char *const level_human[] = {"debug", "info ", "WARN ", "ERROR"};
static const char *const level_colour[] = {"\033[2m", "\033[32m", "\033[33m", "\033[1;31m"};

enum { SECOND_SIZE = sizeof "2026-01-31T12:34:56" - 1 };

/* The records of a thread come many to the second, so the text of the last one is kept. */
static const char *text_of_second(int64_t second) {
  static _Thread_local struct {
    int64_t second;
    char text[32];
  } last;
  if (last.second == second && last.text[0] != '\0') return last.text;
  last.second = second;
  if (text_from_time(second * 1000000, last.text) <= SECOND_SIZE) memcpy(last.text, "1970-01-01T00:00:00", SECOND_SIZE + 1);
  return last.text;
}

/* With `decimals` of the second, at most six. */
static void add_time(buffer *out, int64_t unix_us, size_t decimals) {
  int64_t second = unix_us / 1000000;
  unsigned fraction = (unsigned)(unix_us - second * 1000000) % 1000000;
  char digits[7];
  for (size_t i = 6; i > 0; i--, fraction /= 10) digits[i] = (char)('0' + fraction % 10);
  digits[0] = '.';
  buffer_text(out, "{\"time\":\"");
  buffer_add(out, text_of_second(second), SECOND_SIZE);
  buffer_add(out, digits, decimals + 1);
  buffer_add(out, "Z\"", 2);
}

/* ,"NAME":"VALUE" unless there is none. `name` comes with its punctuation, so that it is one copy. */
static void add_member(buffer *out, const char *name, const char *value) {
  if (value == NULL || value[0] == '\0') return;
  buffer_text(out, name);
  buffer_json_text(out, value, strlen(value));
}

/* The same for what we made ourselves of letters, digits and dots: nothing to escape. */
static void add_word(buffer *out, const char *name, const char *value) {
  size_t name_size = strlen(name), size = strlen(value);
  if (size == 0 || !buffer_reserve(out, name_size + size + 2)) return;
  buffer_add(out, name, name_size);
  buffer_char(out, '"');
  buffer_add(out, value, size);
  buffer_char(out, '"');
}

static void add_number(buffer *out, const char *name, uint64_t value) {
  buffer_text(out, name);
  buffer_uint(out, value);
}

void log_format_json(buffer *out, const log_record *record) {
  add_time(out, record->unix_us, 6);
  buffer_text(out, ",\"level\":\"");
  buffer_text(out, level_names[record->level]);
  buffer_text(out, "\",\"message\":");
  buffer_json_text(out, record->message, record->message_size);
  if (record->cut) buffer_text(out, ",\"cut\":true");
  add_member(out, ",\"part\":", record->part);
  add_member(out, ",\"plugin\":", record->origin.plugin);
  add_member(out, ",\"operation\":", record->origin.operation);
  add_member(out, ",\"trace_id\":", record->origin.trace_id);
  add_member(out, ",\"workspace\":", record->origin.workspace);
  add_member(out, ",\"actor\":", record->origin.actor);
  add_member(out, ",\"job\":", record->origin.job);
  buffer_text(out, "}\n");
}

void log_format_access(buffer *out, const access_record *record, int64_t unix_us) {
  (void)buffer_reserve(out, 512); /* nearly always enough */
  add_time(out, unix_us, 3);
  add_word(out, ",\"method\":", record->method);
  add_member(out, ",\"path\":", record->path);
  add_word(out, ",\"route\":", record->route);
  add_number(out, ",\"status\":", record->status);
  add_number(out, ",\"duration_us\":", record->duration_ns / 1000);
  add_number(out, ",\"request_bytes\":", record->request_bytes);
  add_number(out, ",\"answer_bytes\":", record->answer_bytes);
  add_word(out, ",\"address\":", record->address);
  add_member(out, ",\"actor\":", record->actor);
  add_member(out, ",\"workspace\":", record->workspace);
  add_word(out, ",\"trace_id\":", record->trace_id);
  buffer_add(out, "}\n", 2);
}

static void two_digits(char *out, int value) {
  out[0] = (char)('0' + value / 10 % 10);
  out[1] = (char)('0' + value % 10);
}

/* 12:34:56.789, local */
static void add_short_time(buffer *out, int64_t unix_us) {
  time_t seconds = (time_t)(unix_us / 1000000);
  int thousandths = (int)(unix_us / 1000 % 1000);
  struct tm local;
  if (localtime_r(&seconds, &local) == NULL) return;
  char text[12] = "hh:mm:ss.mmm";
  two_digits(text, local.tm_hour);
  two_digits(text + 3, local.tm_min);
  two_digits(text + 6, local.tm_sec);
  text[9] = (char)('0' + thousandths / 100);
  two_digits(text + 10, thousandths % 100);
  buffer_add(out, text, sizeof text);
}

/* What a message may not do to a terminal: control characters become '?', further lines are indented. */
static void add_printable(buffer *out, const char *text, size_t size) {
  while (size > 0 && text[size - 1] == '\n') size--;
  for (size_t i = 0; i < size; i++) {
    unsigned char c = (unsigned char)text[i];
    /* C1 controls are 0x80 to 0x9f, which UTF-8 writes as 0xc2 and that byte. */
    bool c1 = c == 0xc2 && i + 1 < size && ((unsigned char)text[i + 1] & 0xe0) == 0x80;
    if (c == '\n') {
      buffer_text(out, "\n                         ");
    } else if (c == '\t' || (c >= 0x20 && c != 0x7f && !c1)) {
      buffer_char(out, text[i]);
    } else {
      buffer_char(out, '?');
      i += c1 ? 1 : 0;
    }
  }
}

static void add_padding(buffer *out, size_t have, size_t want) {
  for (; have < want; have++) buffer_char(out, ' ');
}

static void add_extra(buffer *out, const char *name, const char *value) {
  if (value == NULL || value[0] == '\0') return;
  buffer_char(out, ' ');
  buffer_text(out, name);
  buffer_char(out, '=');
  add_printable(out, value, strlen(value));
}

void log_format_human(buffer *out, const log_record *record, bool colour) {
  const char *part = record->part != NULL ? record->part : record->origin.plugin != NULL ? record->origin.plugin : "-";
  if (colour) buffer_text(out, "\033[2m");
  add_short_time(out, record->unix_us);
  if (colour) buffer_text(out, "\033[0m");
  buffer_char(out, ' ');
  if (colour) buffer_text(out, level_colour[record->level]);
  buffer_text(out, level_human[record->level]);
  if (colour) buffer_text(out, "\033[0m");
  buffer_char(out, ' ');
  add_printable(out, part, strlen(part));
  add_padding(out, strlen(part), 10);
  buffer_char(out, ' ');
  add_printable(out, record->message, record->message_size);
  if (record->cut) buffer_text(out, " ...");
  if (colour) buffer_text(out, "\033[2m");
  add_extra(out, "operation", record->origin.operation);
  add_extra(out, "workspace", record->origin.workspace);
  add_extra(out, "actor", record->origin.actor);
  add_extra(out, "job", record->origin.job);
  add_extra(out, "trace", record->origin.trace_id);
  if (colour) buffer_text(out, "\033[0m");
  buffer_char(out, '\n');
}
