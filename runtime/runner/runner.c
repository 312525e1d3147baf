#include "runner/runner.h"
#include "core/schema.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LARGEST_CONFIGURATION ((size_t)1024 * 1024)

static const manual_command COMMANDS[] = {
    {"describe", "FILE", .summary = "Print the plugin's manifest as JSON"},
    {"check", "FILE", .summary = "Read the plugin's configuration, JSON, on standard input, and say what is wrong with it"},
    {"run", "FILE CONTRACT NAME", .summary = "Read one message on standard input and do what it asks for",
     .text =
         "The message is an object of `configuration`, the plugin's section of purlin.lua, and `input`, which the contract describes. Files "
         "belong into the working directory. SIGTERM cancels."},
};
static const manual_option OPTIONS[] = {{"--version", .text = "Print the version"}, {"--help", .text = "Print this"}};
static const char *const SYNOPSIS[] = {"describe FILE", "check FILE", "run FILE CONTRACT NAME"};

const manual_program runner_manual = {
    .name = "purlin-runner",
    .section = "8",
    .summary = "a contained plugin in a process of its own",
    .synopsis = SYNOPSIS,
    .synopsis_count = sizeof SYNOPSIS / sizeof SYNOPSIS[0],
    .text =
        "Runs the code of a plugin apart from `purlind`(8), which starts it: whatever that code does to its process costs one run, never the "
        "server. Trainings run so. Nobody needs to call it by hand; `describe` and `check` are for authors of plugins.",
    .commands = COMMANDS,
    .command_count = sizeof COMMANDS / sizeof COMMANDS[0],
    MANUAL_OPTIONS(OPTIONS),
    .exits =
        "0 done; 1 failed or cancelled, and the server was told; 2 wrong arguments; 75 the server stayed away, and nobody was told",
    .see_also = "`purlind`(8), `purlin`(1)",
};

bool runner_read_input(buffer *out, size_t limit) {
  while (out->size <= limit && buffer_reserve(out, 64 * 1024)) {
    ssize_t got = read(STDIN_FILENO, out->data + out->size, out->capacity - out->size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return got == 0;
    out->size += (size_t)got;
  }
  return false;
}

static int fail(const buffer *why) {
  (void)fprintf(stderr, "%.*s\n", (int)why->size, why->size ? why->data : "");
  return RUNNER_FAILED;
}

static int describe(plugin *p) {
  buffer out = {0};
  plugin_describe(p, &out);
  buffer_char(&out, '\n');
  bool written = !out.failed && fwrite(out.data, 1, out.size, stdout) == out.size && fflush(stdout) == 0;
  buffer_free(&out);
  return written ? RUNNER_DONE : RUNNER_FAILED;
}

typedef struct complaining {
  const plugin *p;
  buffer *why;
} complaining;

static void complain(void *to, const char *field, const char *message) {
  const complaining *c = to;
  if (c->why->size > 0) buffer_char(c->why, '\n');
  buffer_format(c->why, "plugin \"%s\": %s%s%s%s", c->p->name, *field ? "field '" : "", field, *field ? "' " : "", message);
}

static int check(plugin *p) {
  buffer input = {0}, why = {0};
  arena memory;
  arena_init(&memory, LARGEST_CONFIGURATION * 16);
  const purlin_schema *schema = p->manifest->configuration ? p->manifest->configuration() : purlin_nothing_schema();
  void *configuration = arena_alloc(&memory, schema->struct_size);
  complaining c = {p, &why};
  const schema_reading reading = {.memory = &memory, .complain = complain, .complain_to = &c};
  bool fine = configuration && runner_read_input(&input, LARGEST_CONFIGURATION) &&
              schema_decode(&reading, schema, input.data ? input.data : "", input.size, configuration) == PURLIN_OK;
  if (!fine && why.size == 0) buffer_format(&why, "plugin \"%s\": its configuration cannot be read", p->name);
  int exit_code = fine ? RUNNER_DONE : fail(&why);
  arena_free(&memory);
  buffer_free(&input);
  buffer_free(&why);
  return exit_code;
}

static int with_plugin(const char *path, int (*act)(plugin *p)) {
  plugin *p = NULL;
  buffer why = {0};
  int exit_code = plugin_open(path, true, &p, &why) == PURLIN_OK ? act(p) : fail(&why);
  plugin_free(p);
  buffer_free(&why);
  return exit_code;
}

int purlin_runner_main(int count, char **arguments) {
  const char *verb = count > 1 ? arguments[1] : "";
  if (strcmp(verb, "describe") == 0 && count == 3) return with_plugin(arguments[2], describe);
  if (strcmp(verb, "check") == 0 && count == 3) return with_plugin(arguments[2], check);
  if (strcmp(verb, "run") == 0 && count == 5) return runner_run(arguments[2], arguments[3], arguments[4]);
  if (strcmp(verb, "--version") == 0 && count == 2) {
    (void)puts("purlin-runner " PURLIN_VERSION);
    return RUNNER_DONE;
  }
  bool help = count == 2 && manual_is_help(verb);
  manual_help(&runner_manual, help ? stdout : stderr);
  return help ? RUNNER_DONE : RUNNER_USAGE;
}
