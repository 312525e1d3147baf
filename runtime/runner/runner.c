#include "runner/runner.h"
#include "core/schema.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LARGEST_CONFIGURATION ((size_t)1024 * 1024)

static const char USAGE[] = "usage: purlin-runner describe FILE | check FILE | run FILE CONTRACT NAME\n";

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
  (void)fputs(USAGE, stderr);
  return RUNNER_USAGE;
}
