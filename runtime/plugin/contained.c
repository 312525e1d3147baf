/* contained.c: what the daemon makes of a contained plugin's description, without opening its file. */
#include "core/schema.h"
#include "plugin/lifecycle.h"
#include "process/process.h"
#include <purlin/contracts/trainer.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

typedef struct described_capability {
  const char *contract, *name;
  int64_t version;
  purlin_opt_text summary;
  purlin_json specification;
} described_capability;
PURLIN_SCHEMA(described_capability, "A capability in a description",
    PURLIN_REQUIRED(contract, "Of which kind"),
    PURLIN_REQUIRED(name, "Which of its kind"),
    PURLIN_REQUIRED(version, "Of the contract"),
    PURLIN_OPTIONAL(summary, "What it is"),
    PURLIN_OPTIONAL(specification, "What it takes"));

typedef struct described_manifest {
  const char *name, *summary;
  purlin_json configuration;
  PURLIN_LIST_OF(described_capability) capabilities;
} described_manifest;
PURLIN_SCHEMA(described_manifest, "What a contained plugin says of itself",
    PURLIN_REQUIRED(name, "Its name"),
    PURLIN_REQUIRED(summary, "What it is"),
    PURLIN_OPTIONAL(configuration, "What it takes in purlin.lua"),
    PURLIN_LIST(capabilities, described_capability, "What it provides"));

/* The contracts that can be provided from another process. */
static const struct {
  const char *contract;
  int64_t version;
} CONTRACTS[] = {{"trainer", PURLIN_CONTRACT_trainer}};

typedef struct complaining {
  const plugin *p;
  buffer *why;
} complaining;

static void complain(void *to, const char *field, const char *message) {
  const complaining *c = to;
  if (c->why->size > 0) buffer_text(c->why, "; ");
  buffer_format(c->why, "%s: its description: %s%s%s", c->p->path, field, *field ? " " : "", message);
}

static purlin_status check_contract(const plugin *p, const described_capability *capability, buffer *why) {
  for (size_t i = 0; i < sizeof CONTRACTS / sizeof CONTRACTS[0]; i++) {
    if (strcmp(CONTRACTS[i].contract, capability->contract) != 0) continue;
    if (CONTRACTS[i].version == capability->version) return PURLIN_OK;
    buffer_format(
        why,
        "%s: the %s '%s' speaks version %lld of the contract, this host version %lld; rebuild it with this release's SDK",
        p->path, capability->contract, capability->name, (long long)capability->version, (long long)CONTRACTS[i].version);
    return PURLIN_INVALID;
  }
  buffer_format(why, "%s: a contained plugin cannot provide the contract '%s'; only trainers can run contained", p->path,
                capability->contract);
  return PURLIN_INVALID;
}

static purlin_status provide(plugin *p, const described_capability *capability, buffer *why) {
  purlin_status status = check_contract(p, capability, why);
  if (status != PURLIN_OK) return status;
  purlin_json section = p->configuration_json;
  const char *configuration = section.text ? arena_copy(&p->memory, section.text, section.size) : NULL;
  char absolute[PATH_MAX]; /* the child has a working directory of its own */
  const char *path = realpath(p->path, absolute) ? arena_copy(&p->memory, absolute, strlen(absolute)) : p->path;
  if ((section.text && !configuration) || !path) return PURLIN_UNAVAILABLE;
  status = process_provider_add(
      &(process_provider){.contract = capability->contract,
                          .name = capability->name,
                          .plugin = p->name,
                          .path = path,
                          .summary = capability->summary.state == PURLIN_SET ? capability->summary.value : "",
                          .specification = capability->specification,
                          .configuration = configuration});
  if (status == PURLIN_CONFLICT)
    buffer_format(why, "%s: another plugin provides the %s '%s' too; disable one of them", p->path, capability->contract,
                  capability->name);
  return status;
}

/* The configuration's schema is code of the plugin's, so a child checks it. */
static purlin_status check_configuration(plugin *p, const described_manifest *manifest, buffer *why) {
  if (!p->configuration_json.text) return PURLIN_OK;
  if (manifest->configuration.text) return process_check_configuration(p->path, p->configuration_json, why);
  buffer_format(why, "the plugin '%s' has nothing to configure; remove its section from the configuration", p->name);
  return PURLIN_INVALID;
}

purlin_status contained_register(plugin *p, buffer *why) {
  described_manifest manifest = {0};
  complaining c = {p, why};
  const schema_reading reading = {.memory = &p->memory, .complain = complain, .complain_to = &c, .tolerant = true};
  purlin_status status =
      schema_decode(&reading, described_manifest_schema(), p->described, strlen(p->described), &manifest);
  if (status == PURLIN_OK) status = check_configuration(p, &manifest, why);
  for (size_t i = 0; i < manifest.capabilities.count && status == PURLIN_OK; i++)
    status = provide(p, &manifest.capabilities.items[i], why);
  return status;
}
