/* provider.c: who provides which contract from outside, and starting them. The table is made at start and then only read. */
#include "process/parts.h"
#include <purlin/metric.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

PURLIN_COUNTER(processes_started_total, "Child processes started", "contract");

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

/* The one message: {"configuration": what purlin.lua says of the plugin, "input": what the caller says}, in memory, read from its start. */
static int make_message(const process_provider *provider, purlin_json input) {
  buffer text = {0};
  buffer_text(&text, "{\"configuration\":");
  buffer_text(&text, provider->configuration ? provider->configuration : "{}");
  buffer_text(&text, ",\"input\":");
  if (input.text) buffer_add(&text, input.text, input.size);
  else buffer_text(&text, "null");
  buffer_char(&text, '}');
  int file = text.failed ? -1 : process_memory_file(text.data, text.size);
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
