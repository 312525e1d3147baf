#include "trainer.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { FOLLOW_MS = 200, TERM_GRACE_MS = 4000, LARGEST_VARIABLE = 100 * 1000 };

/* ---- What may run ---- */

static bool is_allowed(const char *program, const char *entry) {
  char real_program[PATH_MAX], real_entry[PATH_MAX];
  if (strcmp(entry, "*") == 0) return true;
  if (program[0] != '/' || !realpath(program, real_program) || !realpath(entry, real_entry)) return false;
  size_t size = strlen(real_entry);
  if (entry[strlen(entry) - 1] == '/') return strncmp(real_program, real_entry, size) == 0 && real_program[size] == '/';
  return strcmp(real_program, real_entry) == 0;
}

static purlin_status check_program(purlin_ctx *ctx, const char *program) {
  const process_configuration *configured = purlin_configuration(ctx);
  for (size_t i = 0; i < configured->allow.count; i++)
    if (configured->allow.items[i][0] && is_allowed(program, configured->allow.items[i])) return PURLIN_OK;
  return purlin_fail(
      ctx, PURLIN_FORBIDDEN,
      "the command '%s' is not allowed; it needs an entry in: plugin \"trainer-process\" { allow = { ... } }", program);
}

/* The loader's variables would let any allowed program run any code. */
static purlin_status check_variable(purlin_ctx *ctx, const char *variable) {
  size_t name = strspn(variable, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
  if (name == 0 || variable[name] != '=')
    return purlin_fail_field(ctx, "environment", "must be NAME=VALUE, not '%.100s'", variable);
  if (strncmp(variable, "LD_", 3) == 0 || strncmp(variable, "PURLIN_", 7) == 0)
    return purlin_fail_field(ctx, "environment", "may not set '%.*s'", (int)name, variable);
  return PURLIN_OK;
}

static purlin_status check(purlin_ctx *ctx, const process_specification *specification) {
  if (specification->command.count == 0) return purlin_fail_field(ctx, "command", "is required");
  for (size_t i = 0; i < specification->environment.count; i++) {
    purlin_status status = check_variable(ctx, specification->environment.items[i]);
    if (status != PURLIN_OK) return status;
  }
  return check_program(ctx, specification->command.items[0]);
}

/* ---- What it finds ---- */

typedef struct variables {
  purlin_ctx *ctx;
  const char **items;
  size_t count;
  bool failed;
} variables;

static void add(variables *v, const char *name, const char *value) {
  if (strlen(value) > LARGEST_VARIABLE) return; /* the kernel would refuse it; PURLIN_TRAINING holds it too */
  const char *text = purlin_format(v->ctx, "%s=%s", name, value);
  if (text) v->items[v->count++] = text;
  else v->failed = true;
}

static const char *path_of(purlin_ctx *ctx, const char *name) {
  char folder[PATH_MAX];
  return getcwd(folder, sizeof folder) ? purlin_format(ctx, "%s/%s", folder, name) : NULL;
}

/* Everything in one file too, for programs that would rather read JSON. */
static purlin_status write_training(purlin_ctx *ctx, const purlin_training *training, const char *path) {
  purlin_json text;
  purlin_status status = purlin_encode(ctx, purlin_training_schema(), training, &text);
  if (status != PURLIN_OK) return status;
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  bool written = file >= 0 && write(file, text.text, text.size) == (ssize_t)text.size;
  if (file >= 0 && close(file) != 0) written = false;
  return written ? PURLIN_OK : purlin_fail(ctx, PURLIN_NO_SPACE, "cannot write %s: %s", path, strerror(errno));
}

static purlin_status make_environment(purlin_ctx *ctx, const purlin_training *training,
                                      const process_specification *specification, variables *v) {
  size_t inherited = 0;
  while (environ[inherited]) inherited++;
  const char *path = path_of(ctx, "training.json");
  v->items = purlin_alloc_array(ctx, inherited + specification->environment.count + 16, sizeof *v->items);
  if (!path || !v->items) return PURLIN_TOO_LARGE;
  purlin_status status = write_training(ctx, training, path);
  if (status != PURLIN_OK) return status;
  for (size_t i = 0; i < specification->environment.count; i++) v->items[v->count++] = specification->environment.items[i];
  add(v, "PURLIN_JOB_ID", training->job_id);
  add(v, "PURLIN_DATASET_URL", training->dataset_url);
  add(v, "PURLIN_ARTIFACT_URL", training->artifact_url);
  add(v, "PURLIN_CALLBACK_URL", training->callback_url);
  add(v, "PURLIN_TOKEN", training->token);
  add(v, "PURLIN_SPECIFICATION", training->specification.text ? training->specification.text : "{}");
  add(v, "PURLIN_TRAINING", path);
  /* Ours come first: of two of one name, programs see the first. */
  for (size_t i = 0; i < inherited; i++) v->items[v->count++] = environ[i];
  return v->failed ? PURLIN_TOO_LARGE : PURLIN_OK;
}

/* ---- Running ---- */

static int set_up(posix_spawnattr_t *attributes, posix_spawn_file_actions_t *files, int pipe_end) {
  sigset_t every, none;
  (void)sigfillset(&every);
  (void)sigemptyset(&none);
  int error = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  if (!error) error = posix_spawnattr_setpgroup(attributes, 0);
  if (!error) error = posix_spawnattr_setsigdefault(attributes, &every);
  if (!error) error = posix_spawnattr_setsigmask(attributes, &none);
  if (!error) error = posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  if (!error) error = posix_spawn_file_actions_adddup2(files, pipe_end, STDOUT_FILENO);
  if (!error) error = posix_spawn_file_actions_adddup2(files, pipe_end, STDERR_FILENO);
  return error;
}

static int spawn(command *c, const char *const *arguments, const char *const *environment, int pipe_end) {
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t files;
  int error = posix_spawnattr_init(&attributes);
  if (error) return error;
  error = posix_spawn_file_actions_init(&files);
  if (!error) {
    error = set_up(&attributes, &files, pipe_end);
    if (!error)
      error = posix_spawnp(&c->pid, arguments[0], &files, &attributes, (char *const *)(uintptr_t)arguments,
                           (char *const *)(uintptr_t)environment);
    (void)posix_spawn_file_actions_destroy(&files);
  }
  (void)posix_spawnattr_destroy(&attributes);
  return error;
}

purlin_status command_start(purlin_ctx *ctx, const purlin_training *training, const process_specification *specification,
                            command *c) {
  variables v = {.ctx = ctx};
  int ends[2];
  *c = (command){.output = -1};
  purlin_status status = check(ctx, specification);
  if (status == PURLIN_OK) status = make_environment(ctx, training, specification, &v);
  const char **arguments = purlin_alloc_array(ctx, specification->command.count + 1, sizeof *arguments);
  if (status != PURLIN_OK || !arguments) return status != PURLIN_OK ? status : PURLIN_TOO_LARGE;
  memcpy(arguments, specification->command.items, specification->command.count * sizeof *arguments);
  if (pipe2(ends, O_CLOEXEC) != 0) return purlin_fail(ctx, PURLIN_UNAVAILABLE, "no pipe: %s", strerror(errno));
  int error = fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0 ? spawn(c, arguments, v.items, ends[1]) : errno;
  (void)close(ends[1]);
  c->output = ends[0];
  if (!error) return PURLIN_OK;
  c->ended = true;
  command_close(c);
  return purlin_fail(ctx, PURLIN_INVALID, "the command '%s' cannot be run: %s", arguments[0], strerror(error));
}

static void look(command *c) {
  if (!c->ended && waitpid(c->pid, &c->wait_status, WNOHANG) == c->pid) c->ended = true;
}

static purlin_status follow(void *argument) {
  command *c = argument;
  struct pollfd watch = {.fd = c->output, .events = POLLIN};
  c->size = 0;
  (void)poll(&watch, 1, c->ended ? 0 : c->patience_ms); /* without an output it only waits */
  look(c);
  if (!watch.revents) return PURLIN_OK;
  ssize_t got = read(c->output, c->block, sizeof c->block);
  if (got > 0) c->size = (size_t)got;
  if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR))) return PURLIN_OK;
  (void)close(c->output);
  c->output = -1;
  c->patience_ms = 20; /* its end follows */
  return PURLIN_OK;
}

purlin_status command_follow(purlin_ctx *ctx, command *c) {
  purlin_status status = purlin_still_wanted(ctx);
  if (status != PURLIN_OK) return status;
  if (c->patience_ms == 0) c->patience_ms = FOLLOW_MS;
  return purlin_offload(ctx, PURLIN_POOL_BLOCKING, follow, c);
}

void command_stop(command *c) {
  if (c->ended || c->pid <= 0) return;
  (void)kill(-c->pid, SIGTERM);
  for (int waited_ms = 0; !c->ended && waited_ms < TERM_GRACE_MS; waited_ms += 20) {
    (void)poll(NULL, 0, 20);
    /* Its last words are of no interest, but a full pipe would keep it from ending. */
    while (c->output >= 0 && read(c->output, c->block, sizeof c->block) > 0) continue;
    look(c);
  }
  if (!c->ended) {
    (void)kill(-c->pid, SIGKILL);
    while (waitpid(c->pid, &c->wait_status, 0) < 0 && errno == EINTR) continue;
    c->ended = true;
  }
}

void command_close(command *c) {
  if (c->pid > 0) (void)kill(-c->pid, SIGKILL);
  if (c->output >= 0) (void)close(c->output);
  c->output = -1;
}
