#include "trainer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char PREFIX[] = "purlin:";
#define SECOND_NS ((uint64_t)1000000000)
#define SILENCE_NS (10 * SECOND_NS) /* then an empty report asks whether the attempt is still wanted */
enum { REPORTS_BATCH = 200 };

void output_begin(output *o, purlin_ctx *ctx, const purlin_training *training) {
  o->ctx = ctx;
  o->training = training;
  o->mark = purlin_arena_mark(ctx);
  o->sent_ns = purlin_ticks_ns();
}

void output_free(output *o) {
  free(o->said.state);
  free(o->said.message);
  free(o->said.framework);
  free(o->said.signature);
  o->said = (outcome){0};
}

/* ---- Sending ---- */

static purlin_status flush(output *o) {
  purlin_status status = PURLIN_OK;
  bool silent = purlin_ticks_ns() - o->sent_ns >= SILENCE_NS;
  if (o->log_size > 0 || o->reports_in_batch > 0 || silent) {
    o->log[o->log_size] = '\0';
    if (o->log_size > 0) o->report.log = (purlin_opt_text){PURLIN_SET, o->log};
    o->report.metrics.items = o->metrics;
    status = purlin_training_send(o->ctx, o->training, &o->report);
    o->sent_ns = purlin_ticks_ns();
  }
  o->report = (purlin_training_report){0};
  o->reports_in_batch = 0;
  o->log_size = 0;
  purlin_arena_reset(o->ctx, o->mark);
  return status;
}

static bool is_full(const output *o) {
  return o->log_size >= LOG_BATCH || o->report.metrics.count >= METRICS_BATCH / 2 || o->reports_in_batch >= REPORTS_BATCH ||
         purlin_ticks_ns() - o->sent_ns >= SECOND_NS;
}

/* ---- Lines ---- */

/* The bytes of the UTF-8 character that `text` begins with, 0 for none. Not as strict as a decoder: enough to tell text from bytes. */
static size_t character(const unsigned char *text, size_t size) {
  size_t length = text[0] < 0x80                      ? 1
                  : text[0] >= 0xc2 && text[0] < 0xe0 ? 2
                  : (text[0] & 0xf0) == 0xe0          ? 3
                  : text[0] >= 0xf0 && text[0] < 0xf5 ? 4
                                                      : 0;
  if (length > size) return 0;
  for (size_t i = 1; i < length; i++)
    if ((text[i] & 0xc0) != 0x80) return 0;
  return length;
}

/* Programs write any bytes; JSON takes text. In place, so that it does not grow. */
static void make_text(char *text, size_t size) {
  for (size_t i = 0; i < size;) {
    size_t length = character((const unsigned char *)text + i, size - i);
    if (length == 0) text[i] = '?';
    else if (text[i] == '\0') text[i] = ' ';
    i += length ? length : 1;
  }
}

static void add_log(output *o, const char *text, size_t size) {
  memcpy(o->log + o->log_size, text, size);
  make_text(o->log + o->log_size, size);
  o->log_size += size;
  o->log[o->log_size++] = '\n';
}

static void replace(char **kept, const purlin_opt_text *said) {
  char *copy = said->state == PURLIN_SET ? strdup(said->value) : NULL;
  if (!copy) return;
  free(*kept);
  *kept = copy;
}

/* The end is told only when the command has ended; all else joins the batch. */
static void merge(output *o, const purlin_training_report *report) {
  replace(&o->said.state, &report->state);
  replace(&o->said.framework, &report->framework);
  if (report->signature.text) {
    free(o->said.signature);
    o->said.signature = strndup(report->signature.text, report->signature.size);
  }
  if (report->state.state == PURLIN_SET) replace(&o->said.message, &report->message);
  else if (report->message.state == PURLIN_SET) o->report.message = report->message;
  if (report->progress.state == PURLIN_SET) o->report.progress = report->progress;
  if (report->log.state == PURLIN_SET && strlen(report->log.value) < LINE_LONGEST)
    add_log(o, report->log.value, strlen(report->log.value));
  for (size_t i = 0; i < report->metrics.count && o->report.metrics.count < METRICS_BATCH; i++)
    o->metrics[o->report.metrics.count++] = report->metrics.items[i];
  o->reports_in_batch++;
}

/* A line that is meant as a report and is none goes into the log, with what is wrong with it. */
static void take_report(output *o, const char *text, size_t size) {
  purlin_training_report report;
  if (purlin_decode(o->ctx, purlin_training_report_schema(), text, size, &report) == PURLIN_OK) {
    merge(o, &report);
    return;
  }
  purlin_clear_failure(o->ctx);
  static const char note[] = "(the next line is not a report of the contract)";
  add_log(o, note, sizeof note - 1);
  add_log(o, text, size);
}

/* What stands in `line`: a whole line, or a piece of one that is too long to be a report. */
static void take_line(output *o) {
  size_t size = o->line_size, prefix = sizeof PREFIX - 1;
  if (size > 0 && o->line[size - 1] == '\r') size--;
  if (size > prefix && memcmp(o->line, PREFIX, prefix) == 0 && !o->line_too_long)
    take_report(o, o->line + prefix, size - prefix);
  else add_log(o, o->line, size);
  o->line_size = 0;
}

static void take_byte(output *o, char byte) {
  if (byte == '\n') {
    take_line(o);
    o->line_too_long = false;
    return;
  }
  if (o->line_size == sizeof o->line) {
    o->line_too_long = true;
    take_line(o);
  }
  o->line[o->line_size++] = byte;
}

static void keep_tail(output *o, const char *data, size_t size) {
  if (size > TAIL_SIZE) {
    data += size - TAIL_SIZE;
    size = TAIL_SIZE;
  }
  size_t kept = o->tail_size + size > TAIL_SIZE ? TAIL_SIZE - size : o->tail_size;
  memmove(o->tail, o->tail + o->tail_size - kept, kept);
  memcpy(o->tail + kept, data, size);
  o->tail_size = kept + size;
}

purlin_status output_take(output *o, const char *data, size_t size) {
  keep_tail(o, data, size);
  for (size_t i = 0; i < size; i++) {
    take_byte(o, data[i]);
    if (!is_full(o)) continue;
    purlin_status status = flush(o);
    if (status != PURLIN_OK) return status;
  }
  return is_full(o) ? flush(o) : PURLIN_OK;
}

purlin_status output_end(output *o) {
  if (o->line_size > 0) take_line(o);
  return flush(o);
}

/* The last lines, from the start of one if possible. */
const char *output_tail(output *o) {
  while (o->tail_size > 0 && o->tail[o->tail_size - 1] == '\n') o->tail_size--;
  o->tail[o->tail_size] = '\0';
  char *line = o->tail_size >= TAIL_SIZE - 1 ? memchr(o->tail, '\n', o->tail_size) : NULL;
  make_text(o->tail, o->tail_size);
  return line ? line + 1 : o->tail;
}
