/* dev.c: the private mariadbd of --dev.
 *
 * The data directory is initialised beside its place and renamed when complete, so that an interruption leaves nothing
 * half-made. The child dies with the daemon (parent-death signal); one that a killed daemon left behind is recognised by its
 * pid file and command line, and ended before a new one starts. InnoDB recovers from any way of dying. */
#include "db/db.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mysql.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/text.h"

#define DEV_START_MS 30000
#define DEV_STOP_MS 20000

static struct {
  pid_t child;         /* 0: none */
  char data[PATH_MAX]; /* the data directory */
  char socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
  char pid_file[PATH_MAX + 16];
  char error_log[PATH_MAX + 16];
} dev;

static void sleep_ms(long milliseconds) {
  struct timespec pause = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000};
  while (nanosleep(&pause, &pause) != 0 && errno == EINTR) {}
}

static bool exists(const char *path) { return access(path, F_OK) == 0; }

/* mariadbd lies in sbin or libexec, which are seldom in PATH. */
static const char *find_program(const char *const *candidates) {
  for (; *candidates; candidates++)
    if (access(*candidates, X_OK) == 0) return *candidates;
  return NULL;
}

static const char *const servers[] = {"/usr/sbin/mariadbd",      "/usr/libexec/mariadbd",    "/usr/bin/mariadbd",
                                      "/usr/local/bin/mariadbd", "/usr/local/sbin/mariadbd", NULL};
static const char *const installers[] = {"/usr/bin/mariadb-install-db", "/usr/local/bin/mariadb-install-db", NULL};

static bool make_directory(const char *path, buffer *why) {
  if (mkdir(path, 0700) == 0 || errno == EEXIST) return true;
  buffer_format(why, "cannot make the directory %s: %s", path, strerror(errno));
  return false;
}

/* ---- Paths ---- */

/* The address of a Unix socket holds 107 bytes: a deep directory gets its socket under /tmp, named by its own path. */
static bool choose_socket(buffer *why) {
  int size = snprintf(dev.socket, sizeof dev.socket, "%s/mariadb.sock", dev.data);
  if (size > 0 && (size_t)size < sizeof dev.socket) return true;
  uint8_t hash[32];
  char name[17];
  text_sha256(dev.data, strlen(dev.data), hash);
  text_hex(hash, 8, name);
  char directory[64];
  snprintf(directory, sizeof directory, "/tmp/purlin-%u-%s", (unsigned)getuid(), name);
  struct stat about;
  if (!make_directory(directory, why)) return false;
  if (lstat(directory, &about) != 0 || !S_ISDIR(about.st_mode) || about.st_uid != getuid() || (about.st_mode & 077) != 0) {
    buffer_format(why,
                  "%s/mariadb.sock is too long for a socket's address (107 bytes), and %s is not ours alone: "
                  "choose a state directory with a shorter path",
                  dev.data, directory);
    return false;
  }
  snprintf(dev.socket, sizeof dev.socket, "%s/mariadb.sock", directory);
  return true;
}

static bool choose_paths(const char *directory, buffer *why) {
  if (mkdir(directory, 0755) != 0 && errno != EEXIST) {
    buffer_format(why, "cannot make the state directory %s: %s", directory, strerror(errno));
    return false;
  }
  char absolute[PATH_MAX];
  if (!realpath(directory, absolute)) {
    buffer_format(why, "cannot use the state directory %s: %s", directory, strerror(errno));
    return false;
  }
  int size = snprintf(dev.data, sizeof dev.data, "%s/mariadb", absolute);
  if (size < 0 || (size_t)size >= sizeof dev.data) {
    buffer_format(why, "the path of the state directory %s is too long", absolute);
    return false;
  }
  snprintf(dev.pid_file, sizeof dev.pid_file, "%s/mariadb.pid", dev.data);
  snprintf(dev.error_log, sizeof dev.error_log, "%s/error.log", dev.data);
  return choose_socket(why);
}

/* ---- One that was left behind ---- */

static pid_t read_pid(void) {
  char text[32] = {0};
  int file = open(dev.pid_file, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  ssize_t size = read(file, text, sizeof text - 1);
  close(file);
  long pid = size > 0 ? strtol(text, NULL, 10) : 0;
  return pid > 1 && pid <= INT_MAX ? (pid_t)pid : 0;
}

/* A pid may have been given to another program since: only one that runs on our data directory is ours to end. */
static bool runs_on_our_data(pid_t pid) {
  char path[64], line[8192];
  snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  ssize_t size = read(file, line, sizeof line - 1);
  close(file);
  if (size <= 0) return false;
  line[size] = '\0';
  char expected[PATH_MAX + 16];
  snprintf(expected, sizeof expected, "--datadir=%s", dev.data);
  for (char *at = line; at < line + size; at += strlen(at) + 1)
    if (strcmp(at, expected) == 0) return true;
  return false;
}

static bool wait_until_gone(pid_t pid, long limit_ms) {
  for (long waited = 0; waited < limit_ms; waited += 10) {
    if (!runs_on_our_data(pid)) return true;
    sleep_ms(10);
  }
  return !runs_on_our_data(pid);
}

static bool end_left_behind(buffer *why) {
  pid_t pid = read_pid();
  if (pid == 0 || !runs_on_our_data(pid)) return true;
  if (kill(pid, SIGTERM) == 0 && wait_until_gone(pid, 5000)) return true;
  if (kill(pid, SIGKILL) == 0 && wait_until_gone(pid, 5000)) return true;
  buffer_format(why, "another mariadbd (process %d) runs on %s and cannot be ended: %s", (int)pid, dev.data,
                strerror(errno));
  return false;
}

/* ---- Starting programs ---- */

#define DEV_ARGUMENTS 32

typedef struct arguments {
  const char *items[DEV_ARGUMENTS];
  size_t count;
  char texts[DEV_ARGUMENTS][PATH_MAX + 32];
} arguments;

PURLIN_PRINTF(2, 3) static void add(arguments *a, const char *format, ...) {
  va_list values;
  va_start(values, format);
  vsnprintf(a->texts[a->count], sizeof a->texts[a->count], format, values);
  va_end(values);
  a->items[a->count] = a->texts[a->count];
  a->items[++a->count] = NULL;
}

/* Everything is prepared before the fork: between it and exec only calls that are safe in a copy of a threaded process. */
static pid_t spawn(const arguments *a, const char *log, bool dies_with_us) {
  int output = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (output < 0) return -1;
  pid_t parent = getpid(), child = fork();
  if (child != 0) {
    close(output);
    return child;
  }
  if (setpgid(0, 0) != 0) _exit(126); /* the terminal's Ctrl-C is for the daemon, which then ends us in order */
  if (dies_with_us && prctl(PR_SET_PDEATHSIG, SIGTERM) != 0) _exit(126);
  if (dies_with_us && getppid() != parent) _exit(126);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  int nothing = open("/dev/null", O_RDONLY);
  if (nothing < 0 || dup2(nothing, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0) _exit(126);
  close_range(3, UINT_MAX, 0);
  execv(a->items[0], (char *const *)(uintptr_t)a->items);
  _exit(127);
}

/* The end of a log, for a message. */
static void add_log_end(const char *path, buffer *why) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  char text[1024];
  off_t size = lseek(file, 0, SEEK_END);
  off_t from = size > (off_t)sizeof text ? size - (off_t)sizeof text : 0;
  ssize_t got = pread(file, text, sizeof text, from);
  close(file);
  if (got <= 0) return;
  buffer_format(why, "; the end of %s:\n", path);
  buffer_add(why, text, (size_t)got);
}

/* ---- Initialising ---- */

static bool run_installer(const char *fresh, buffer *why) {
  const char *installer = find_program(installers);
  if (!installer) {
    buffer_text(why, "mariadb-install-db is not installed: install the package mariadb-server");
    return false;
  }
  arguments *a = calloc(1, sizeof *a);
  if (!a) {
    buffer_text(why, "no memory");
    return false;
  }
  char log[PATH_MAX + 32];
  snprintf(log, sizeof log, "%s.log", fresh);
  add(a, "%s", installer);
  add(a, "--no-defaults");
  add(a, "--datadir=%s", fresh);
  add(a, "--auth-root-authentication-method=normal");
  add(a, "--skip-test-db");
  add(a, "--innodb-log-file-size=64M");
  if (getuid() == 0) add(a, "--user=root");
  pid_t child = spawn(a, log, true);
  free(a);
  int status = 0;
  while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  if (child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    unlink(log);
    return true;
  }
  buffer_format(why, "mariadb-install-db could not make a database in %s", fresh);
  add_log_end(log, why);
  return false;
}

static void remove_tree(const char *path) {
  const char *const candidates[] = {"/bin/rm", "/usr/bin/rm", NULL};
  const char *program = find_program(candidates);
  arguments *a = program ? calloc(1, sizeof *a) : NULL;
  if (!a) return;
  add(a, "%s", program);
  add(a, "-rf");
  add(a, "--");
  add(a, "%s", path);
  pid_t child = spawn(a, "/dev/null", false);
  free(a);
  while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR) {}
}

static bool initialise(buffer *why) {
  char fresh[PATH_MAX + 16];
  snprintf(fresh, sizeof fresh, "%s.new", dev.data);
  if (exists(fresh)) remove_tree(fresh); /* an earlier attempt was interrupted */
  if (!make_directory(fresh, why) || !run_installer(fresh, why)) return false;
  if (rename(fresh, dev.data) == 0) return true;
  buffer_format(why, "cannot rename %s to %s: %s", fresh, dev.data, strerror(errno));
  return false;
}

/* ---- Running ---- */

/* A sixteenth of the machine's memory, of which only what is needed is ever taken: searches among many rows want them in memory. */
static size_t buffer_pool_mib(void) {
  long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
  size_t share = pages > 0 && size > 0 ? ((size_t)pages >> 10) * (size_t)size >> 14 : 0;
  return share < 128 ? 128 : share > 1024 ? 1024 : share;
}

static bool start_server(buffer *why) {
  const char *server = find_program(servers);
  if (!server) {
    buffer_text(why,
                "mariadbd is not installed: install the package mariadb-server, or name a database in the configuration");
    return false;
  }
  arguments *a = calloc(1, sizeof *a);
  if (!a) {
    buffer_text(why, "no memory");
    return false;
  }
  add(a, "%s", server);
  add(a, "--no-defaults");
  add(a, "--datadir=%s", dev.data);
  add(a, "--tmpdir=%s",
      dev.data); /* not /tmp: servers with the same process id in other namespaces would share names there */
  add(a, "--socket=%s", dev.socket);
  add(a, "--pid-file=%s", dev.pid_file);
  add(a, "--log-error=%s", dev.error_log);
  add(a, "--skip-networking");
  add(a, "--skip-log-bin");
  add(a, "--skip-name-resolve");
  add(a, "--performance-schema=OFF");
  add(a, "--innodb-buffer-pool-size=%zuM", buffer_pool_mib());
  add(a, "--innodb-log-file-size=64M");
  add(a, "--innodb-flush-log-at-trx-commit=1");
  add(a, "--key-buffer-size=1M");
  add(a, "--aria-pagecache-buffer-size=8M");
  add(a, "--max-allowed-packet=64M");
  add(a, "--max-connections=100");
  add(a, "--character-set-server=utf8mb4");
  if (getuid() == 0) add(a, "--user=root");
  unlink(dev.socket); /* of a predecessor that was killed */
  dev.child = spawn(a, dev.error_log, true);
  free(a);
  if (dev.child > 0) return true;
  dev.child = 0;
  buffer_format(why, "cannot start %s: %s", server, strerror(errno));
  return false;
}

static bool answers(void) {
  MYSQL *mysql = mysql_init(NULL);
  if (!mysql) return false;
  bool connected = mysql_real_connect(mysql, NULL, "root", "", NULL, 0, dev.socket, 0) != NULL;
  mysql_close(mysql);
  return connected;
}

static void remove_socket(void) {
  unlink(dev.socket);
  if (strncmp(dev.socket, dev.data, strlen(dev.data)) == 0) return;
  *strrchr(dev.socket, '/') = '\0'; /* the folder under /tmp that choose_socket made */
  rmdir(dev.socket);
}

static bool wait_until_answers(buffer *why) {
  for (long waited = 0; waited < DEV_START_MS; waited += 10) {
    int status;
    if (waitpid(dev.child, &status, WNOHANG) == dev.child) {
      dev.child = 0;
      remove_socket();
      buffer_text(why, "the private mariadbd ended while it started");
      add_log_end(dev.error_log, why);
      return false;
    }
    if (exists(dev.socket) && answers()) return true;
    sleep_ms(10);
  }
  buffer_format(why, "the private mariadbd did not answer within %d seconds", DEV_START_MS / 1000);
  add_log_end(dev.error_log, why);
  return false;
}

purlin_status db_dev_start(const char *directory, db_options *options, buffer *why) {
  if (dev.child != 0) {
    buffer_text(why, "the private mariadbd runs already");
    return PURLIN_CONFLICT;
  }
  if (!choose_paths(directory, why) || !end_left_behind(why)) return PURLIN_UNAVAILABLE;
  if (!exists(dev.data) && !initialise(why)) return PURLIN_UNAVAILABLE;
  if (!start_server(why)) return PURLIN_UNAVAILABLE;
  if (!wait_until_answers(why)) {
    db_dev_stop();
    return PURLIN_UNAVAILABLE;
  }
  options->socket = dev.socket;
  options->host = NULL;
  options->user = "root";
  options->password = "";
  if (!options->database) options->database = "purlin";
  return PURLIN_OK;
}

void db_dev_stop(void) {
  if (dev.child == 0) return;
  kill(dev.child, SIGTERM);
  for (long waited = 0; waited < DEV_STOP_MS; waited += 10) {
    pid_t ended = waitpid(dev.child, NULL, WNOHANG);
    if (ended == dev.child || (ended < 0 && errno == ECHILD)) {
      dev.child = 0;
      remove_socket();
      return;
    }
    sleep_ms(10);
  }
  kill(dev.child, SIGKILL);
  while (waitpid(dev.child, NULL, 0) < 0 && errno == EINTR) {}
  dev.child = 0;
  remove_socket();
}
