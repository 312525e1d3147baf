/* plugin.h: what a plugin is: one shared object with one manifest.
 *
 *   #include <purlin/purlin.h>
 *
 *   PURLIN_PLUGIN("registry", "0.1.0", .summary = "Models, their versions and aliases", .license = "Apache-2.0");
 *
 * Everything else (operations, routes, jobs, events, ...) is declared where it is written, in any .c file of the plugin;
 * the linker gathers it and the manifest finds it. Identity is an ELF note that the host reads before it opens the file, so
 * an unfit plugin runs no code.
 *
 * Since 0.1 unless a comment says otherwise; base.h says what else holds everywhere. */
#ifndef PURLIN_PLUGIN_H
#define PURLIN_PLUGIN_H

#include <purlin/schema.h>

PURLIN_BEGIN

typedef purlin_status purlin_plugin_step(purlin_ctx *ctx);

typedef struct purlin_manifest {
  uint32_t size;
  const char *name, *version;
  const char *summary;                         /* one line; required */
  const char *description;                     /* more; may be NULL */
  const char *author, *license, *homepage;     /* may be NULL */
  const purlin_schema *(*configuration)(void); /* of `plugin "NAME" { ... }` in purlin.lua; NULL: none */
  purlin_plugin_step *start;                   /* after migrations, before the first call; may park; may be NULL */
  purlin_plugin_step *stop;                    /* after the last call; may park; may be NULL */
  const purlin_declaration *const *declared, *const *declared_end;
} purlin_manifest;

/* The note: read from the file's program headers, compared field by field, each difference explained. */
typedef struct purlin_identity_note {
  uint32_t name_size, descriptor_size, type;
  char owner[8];
  uint16_t abi_major, abi_minor;
  uint32_t manifest_size;
  char name[64];
  char version[32];
  uint32_t contained;
} purlin_identity_note;

#define PURLIN_NOTE_TYPE 1u

/* PURLIN_CONTAINED_PLUGIN: the daemon never opens it; it runs in purlin-runner, a process of its own (trainers). */
#define PURLIN_PLUGIN(name, version, ...) PURLIN_PLUGIN_(0, name, version, __VA_ARGS__)
#define PURLIN_CONTAINED_PLUGIN(name, version, ...) PURLIN_PLUGIN_(1, name, version, __VA_ARGS__)

#define PURLIN_PLUGIN_(contained_, name_, version_, ...)                                                                   \
  __attribute__((section(".note.purlin"), used, aligned(4))) static const purlin_identity_note purlin_identity_ = {        \
      8,                                                                                                                   \
      (uint32_t)(sizeof(purlin_identity_note) - 20),                                                                       \
      PURLIN_NOTE_TYPE,                                                                                                    \
      "Purlin",                                                                                                            \
      PURLIN_ABI_MAJOR,                                                                                                    \
      PURLIN_ABI_MINOR,                                                                                                    \
      (uint32_t)sizeof(purlin_manifest),                                                                                   \
      name_,                                                                                                               \
      version_,                                                                                                            \
      contained_};                                                                                                         \
  extern const purlin_declaration *const __start_purlin_declared[] __attribute__((weak, visibility("hidden")));            \
  extern const purlin_declaration *const __stop_purlin_declared[] __attribute__((weak, visibility("hidden")));             \
  extern PURLIN_API const purlin_manifest purlin_plugin;                                                                   \
  PURLIN_API const purlin_manifest purlin_plugin = {.size = (uint32_t)sizeof(purlin_manifest),                             \
                                                    .name = name_,                                                         \
                                                    .version = version_,                                                   \
                                                    __VA_ARGS__,                                                           \
                                                    .declared = __start_purlin_declared,                                   \
                                                    .declared_end = __stop_purlin_declared}

/* The configuration of the plugin whose code runs: a struct of its configuration schema; lives as long as the plugin. NULL when it has
 * no configuration schema. Does not park. */
PURLIN_API const void *purlin_configuration(const purlin_ctx *ctx);

/* Where the daemon keeps its files ("/var/lib/purlin"), and where it is reached ("http://127.0.0.1:8080"), both without a slash at
 * the end. Static, set before any plugin starts; "" outside the daemon. Any thread; neither parks. */
PURLIN_API const char *purlin_state_directory(void);
PURLIN_API const char *purlin_server_url(void);

/* Whether a backup is taking files along just now: what a column named when the backup began must stay until it has ended, or was killed some
 * minutes ago. Who removes a file that nothing names asks after it has seen that, in the same transaction, with the row locked that
 * whoever names the file locks, too; then nothing that the backup relies on is lost. Since 0.2. May park. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_files_held(purlin_ctx *ctx, bool *held);

/* ---- Capabilities: how one plugin uses another without knowing it ------------------------------------------------------------
 *
 * A contract is a header with a struct of functions, such as <purlin/contracts/storage.h>. A plugin provides it:
 *   PURLIN_PROVIDES(storage, "fs", fs_storage);
 * and another asks for it each time it needs it; the answer holds while the asking context lives:
 *   const purlin_storage *storage = purlin_use(ctx, storage, NULL);     NULL name: the configured or only one
 * A plugin that cannot work without one says so: PURLIN_NEEDS(storage); it then starts after the provider. */

typedef struct purlin_capability {
  purlin_declaration declared;
  const char *contract;  /* "storage" */
  const char *name;      /* which of its kind: "fs", "xgboost" */
  const void *functions; /* starts with uint32_t size */
  uint32_t version;      /* of the contract: a PURLIN_CONTRACT_storage number from its header */
} purlin_capability;

typedef struct purlin_requirement {
  purlin_declaration declared;
  const char *contract; /* a contract, or NULL */
  const char *plugin;   /* a plugin by name, or NULL */
} purlin_requirement;

#define PURLIN_PROVIDES(contract_, name_, functions_)                                                                      \
  static const purlin_capability provides_##contract_##_capability = {                                                     \
      PURLIN_HEAD_(purlin_capability, PURLIN_KIND_CAPABILITY), #contract_, name_,                                          \
      PURLIN_SAME_FUNCTIONS_(purlin_##contract_, &(functions_)), PURLIN_CONTRACT_##contract_};                             \
  PURLIN_DECLARE_(provides_##contract_##_capability)
#define PURLIN_SAME_FUNCTIONS_(type, pointer) (1 ? (pointer) : (const type *)NULL)

#define PURLIN_NEEDS(contract_)                                                                                            \
  static const purlin_requirement needs_##contract_##_requirement = {                                                      \
      PURLIN_HEAD_(purlin_requirement, PURLIN_KIND_REQUIREMENT), #contract_, NULL};                                        \
  PURLIN_DECLARE_(needs_##contract_##_requirement)
#define PURLIN_NEEDS_PLUGIN(identifier, plugin_)                                                                           \
  static const purlin_requirement needs_plugin_##identifier##_requirement = {                                              \
      PURLIN_HEAD_(purlin_requirement, PURLIN_KIND_REQUIREMENT), NULL, plugin_};                                           \
  PURLIN_DECLARE_(needs_plugin_##identifier##_requirement)

/* The functions of a provider, valid until the context ends; NULL, with PURLIN_UNAVAILABLE recorded, when there is none, or none of this
 * version of the contract. Does not park. */
#define purlin_use(ctx, contract, name)                                                                                    \
  ((const purlin_##contract *)purlin_use_(ctx, #contract, name, PURLIN_CONTRACT_##contract))
PURLIN_API const void *purlin_use_(purlin_ctx *ctx, const char *contract, const char *name, uint32_t version);

/* The names of all that provide a contract, of this version of it, in order of start: for purlin_use, one after the other. Arena; none is
 * an empty list. Does not park. Errors: PURLIN_TOO_LARGE. */
#define purlin_providers(ctx, contract, names) purlin_providers_(ctx, #contract, PURLIN_CONTRACT_##contract, names)
PURLIN_API PURLIN_CHECKED purlin_status purlin_providers_(purlin_ctx *ctx, const char *contract, uint32_t version,
                                                          purlin_texts *names);

PURLIN_END

#endif
