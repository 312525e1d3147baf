/* provider.c: who provides which contract from outside, and starting them. The table is made at start and then only read. */
#include "process/parts.h"
#include "observe/log.h"
#include <errno.h>
#include <purlin/metric.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

PURLIN_COUNTER(processes_started_total, "Child processes started", "contract");

#define DESCRIBE_MS 20000
#define DESCRIBE_LARGEST ((size_t)4 * 1024 * 1024)

static struct {
  process_provider *items;
  size_t count, capacity;
} providers;

static const process_provider *find(const char *contract, const char *name) {
  for (size_t i = 0; i < providers.count; i++)
    if (strcmp(providers.items[i].contract, contract) == 0 && strcmp(providers.items[i].name, name) == 0)
      return &providers.items[i];
  return NULL;
}

purlin_status process_provider_add(const process_provider *provider) {
  if (find(provider->contract, provider->name)) return PURLIN_CONFLICT;
  if (providers.count == providers.capacity) {
    size_t capacity = providers.capacity ? providers.capacity * 2 : 16;
    process_provider *items = reallocarray(providers.items, capacity, sizeof *items);
    if (!items) return PURLIN_UNAVAILABLE;
    providers.items = items;
    providers.capacity = capacity;
  }
  providers.items[providers.count++] = *provider;
  return PURLIN_OK;
}

void providers_free(void) {
  free(providers.items);
  memset(&providers, 0, sizeof providers);
}

purlin_status purlin_contained_providers(purlin_ctx *ctx, const char *contract, purlin_providers *out) {
  *out = (purlin_providers){0};
  out->items = purlin_alloc_array(ctx, providers.count ? providers.count : 1, sizeof *out->items);
  if (!out->items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < providers.count; i++) {
    const process_provider *from = &providers.items[i];
    if (strcmp(from->contract, contract) != 0) continue;
    out->items[out->count++] = (purlin_provider){
        .name = from->name, .plugin = from->plugin, .summary = from->summary, .specification = from->specification};
  }
  return PURLIN_OK;
}

/* ---- Starting ---- */

static bool write_all(int file, const char *data, size_t size) {
  while (size > 0) {
    ssize_t wrote = write(file, data, size);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return false;
    data += wrote;
    size -= (size_t)wrote;
  }
  return true;
}

/* The one message: {"configuration": what purlin.lua says of the plugin, "input": what the caller says}, in memory, read from its start. */
static int make_message(const process_provider *provider, purlin_json input) {
  buffer text = {0};
  buffer_text(&text, "{\"configuration\":");
  buffer_text(&text, provider->configuration ? provider->configuration : "{}");
  buffer_text(&text, ",\"input\":");
  if (input.text)
    buffer_add(&text, input.text, input.size);
  else
    buffer_text(&text, "null");
  buffer_char(&text, '}');
  int file = text.failed ? -1 : memfd_create("purlin-message", MFD_CLOEXEC);
  if (file >= 0 && (!write_all(file, text.data, text.size) || lseek(file, 0, SEEK_SET) != 0)) {
    (void)close(file);
    file = -1;
  }
  buffer_free(&text);
  return file;
}

static purlin_status start(purlin_ctx *ctx, const process_provider *provider, const process_order *order,
                           purlin_process *process) {
  process_record *record = NULL;
  buffer why = {0};
  purlin_status status = process_spawn(order, &record, &why);
  if (status == PURLIN_OK) {
    *process =
        (purlin_process){.pid = record->pid, .started = record->started, .boot = purlin_copy(ctx, process_boot_id())};
    process_forget(record);
    purlin_count(processes_started_total, 1, provider->contract);
    if (!process->boot) status = PURLIN_TOO_LARGE;
  } else
    status =
        purlin_fail(ctx, status, "the %s '%s' cannot be started: %s", provider->contract, provider->name, buffer_end(&why));
  buffer_free(&why);
  return status;
}

purlin_status purlin_contained_start(purlin_ctx *ctx, const char *contract, const char *name, purlin_json input,
                                     const purlin_process_options *options, purlin_process *process) {
  const purlin_process_options none = {0};
  if (!options) options = &none;
  const process_provider *provider = find(contract, name);
  if (!provider) return purlin_fail(ctx, PURLIN_NOT_FOUND, "no contained plugin provides the %s '%s'", contract, name);
  purlin_status status = purlin_still_wanted(ctx);
  if (status != PURLIN_OK) return status;
  int message = make_message(provider, input);
  if (message < 0) return purlin_fail(ctx, PURLIN_UNAVAILABLE, "no memory for the message to the %s '%s'", contract, name);
  const char *const arguments[] = {"run", provider->path, contract, name, NULL};
  status = start(ctx, provider,
                 &(process_order){.log_file = options->log_file,
                                  .directory = options->directory,
                                  .arguments = arguments,
                                  .detached = options->detached,
                                  .memory_limit = options->memory_limit,
                                  .input = message,
                                  .output = -1,
                                  .error = -1},
                 process);
  (void)close(message);
  return status;
}

/* ---- Describing ---- */

static char *read_back(int file, size_t *size) {
  off_t end = lseek(file, 0, SEEK_END);
  if (end < 0 || (size_t)end > DESCRIBE_LARGEST) return NULL;
  char *text = malloc((size_t)end + 1);
  if (!text) return NULL;
  ssize_t got = pread(file, text, (size_t)end, 0);
  *size = got > 0 ? (size_t)got : 0;
  text[*size] = '\0';
  return text;
}

static purlin_status describe(const char *path, int output, int error, buffer *why, int *exit_code) {
  const char *const arguments[] = {"describe", path, NULL};
  process_record *record = NULL;
  purlin_status status =
      process_spawn(&(process_order){.arguments = arguments, .input = -1, .output = output, .error = error}, &record, why);
  if (status != PURLIN_OK) return status;
  bool ended = process_wait_blocking(record, PROCESS_RUNNING, DESCRIBE_MS);
  *exit_code = record->exit_code;
  if (!ended) {
    buffer_format(why, "%s: does not describe itself within %d s", path, DESCRIBE_MS / 1000);
    process_signal(&(purlin_process){.pid = record->pid, .started = record->started, .boot = process_boot_id()}, SIGKILL);
  }
  process_forget(record);
  return ended ? PURLIN_OK : PURLIN_UNAVAILABLE;
}

purlin_status process_describe(const char *plugin_path, char **json, buffer *why) {
  int output = memfd_create("purlin-described", MFD_CLOEXEC), error = memfd_create("purlin-errors", MFD_CLOEXEC),
      exit_code = -1;
  size_t size = 0, error_size = 0;
  purlin_status status = PURLIN_UNAVAILABLE;
  if (output >= 0 && error >= 0)
    status = describe(plugin_path, output, error, why, &exit_code);
  else
    buffer_text(why, "no memory for a description");
  char *text = status == PURLIN_OK ? read_back(output, &size) : NULL,
       *said = status == PURLIN_OK ? read_back(error, &error_size) : NULL;
  if (status == PURLIN_OK && (exit_code != 0 || !text || size == 0)) {
    while (said && error_size > 0 && said[error_size - 1] == '\n') said[--error_size] = '\0';
    if (error_size > 0)
      buffer_text(why, said);
    else
      buffer_format(why, "%s: purlin-runner ended with %d and did not describe it", plugin_path, exit_code);
    status = PURLIN_INVALID;
  }
  free(said);
  if (status == PURLIN_OK)
    *json = text;
  else
    free(text);
  if (output >= 0) (void)close(output);
  if (error >= 0) (void)close(error);
  return status;
}
