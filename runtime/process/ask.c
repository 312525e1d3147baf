/* ask.c: running purlin-runner for an answer: at start, when no loop runs yet, so that waiting may block. */
#include "process/parts.h"
#include "core/file.h"
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ANSWER_MS 20000
#define ANSWER_LARGEST ((size_t)4 * 1024 * 1024)

int process_memory_file(const char *data, size_t size) {
  int file = memfd_create("purlin", MFD_CLOEXEC);
  if (file < 0) return -1;
  if (file_write_all(file, data, size) && lseek(file, 0, SEEK_SET) == 0) return file;
  (void)close(file);
  return -1;
}

static char *read_back(int file, size_t *size) {
  off_t end = lseek(file, 0, SEEK_END);
  if (end < 0 || (size_t)end > ANSWER_LARGEST) return NULL;
  char *text = malloc((size_t)end + 1);
  if (!text) return NULL;
  ssize_t got = pread(file, text, (size_t)end, 0);
  *size = got > 0 ? (size_t)got : 0;
  text[*size] = '\0';
  return text;
}

typedef struct question {
  const char *verb, *path;
  int input, output, error;
} question;

static purlin_status run(const question *q, int *exit_code, buffer *why) {
  char absolute[PATH_MAX]; /* the child has a working directory of its own */
  const char *const arguments[] = {q->verb, realpath(q->path, absolute) ? absolute : q->path, NULL};
  const process_order order = {.arguments = arguments, .input = q->input, .output = q->output, .error = q->error};
  process_record *record = NULL;
  purlin_status status = process_spawn(&order, &record, why);
  if (status != PURLIN_OK) return status;
  bool ended = process_wait_blocking(record, PROCESS_RUNNING, ANSWER_MS);
  *exit_code = record->exit_code;
  if (!ended) {
    buffer_format(why, "%s: purlin-runner %s does not end within %d s", q->path, q->verb, ANSWER_MS / 1000);
    process_signal(&(purlin_process){.pid = record->pid, .started = record->started, .boot = process_boot_id()}, SIGKILL);
  }
  process_forget(record);
  return ended ? PURLIN_OK : PURLIN_UNAVAILABLE;
}

/* What it complained of. */
static void explain(const question *q, int exit_code, buffer *why) {
  size_t size = 0;
  char *said = read_back(q->error, &size);
  while (said && size > 0 && said[size - 1] == '\n') said[--size] = '\0';
  if (said && size > 0) buffer_add(why, said, size);
  else buffer_format(why, "%s: purlin-runner %s ended with %d and said nothing", q->path, q->verb, exit_code);
  free(said);
}

static purlin_status ask(question *q, char **answer, size_t *size, buffer *why) {
  int exit_code = -1;
  q->output = process_memory_file("", 0);
  q->error = process_memory_file("", 0);
  purlin_status status = PURLIN_UNAVAILABLE;
  if (q->output >= 0 && q->error >= 0) status = run(q, &exit_code, why);
  else buffer_text(why, "no memory for the answer of purlin-runner");
  if (status == PURLIN_OK && exit_code != 0) {
    explain(q, exit_code, why);
    status = PURLIN_INVALID;
  }
  *answer = status == PURLIN_OK ? read_back(q->output, size) : NULL;
  if (q->output >= 0) (void)close(q->output);
  if (q->error >= 0) (void)close(q->error);
  return status;
}

purlin_status process_describe(const char *plugin_path, char **json, buffer *why) {
  size_t size = 0;
  question q = {.verb = "describe", .path = plugin_path, .input = -1};
  purlin_status status = ask(&q, json, &size, why);
  if (status != PURLIN_OK || (*json && size > 0)) return status;
  free(*json);
  *json = NULL;
  buffer_format(why, "%s: purlin-runner does not describe it", plugin_path);
  return PURLIN_INVALID;
}

purlin_status process_check_configuration(const char *plugin_path, purlin_json configuration, buffer *why) {
  size_t size = 0;
  char *answer = NULL;
  question q = {.verb = "check", .path = plugin_path, .input = process_memory_file(configuration.text, configuration.size)};
  if (q.input < 0) return PURLIN_UNAVAILABLE;
  purlin_status status = ask(&q, &answer, &size, why);
  free(answer);
  (void)close(q.input);
  return status;
}
