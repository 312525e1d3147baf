/* care.h: what an operator does to an installation on its own machine: set it up, look whether it is well, save it, bring it back,
 * replace it by a newer one. Commands of `purlin` (runtime/ctl calls them) that need no server and mostly run as root.
 *
 * They read purlin.lua as the daemon does, speak to MariaDB by blocking calls, and start other programs (mariadb-dump, systemctl,
 * apt-get) by argument vectors: never a shell. No loops, no fibers, one thread. Each says what it does while it does it, and an error
 * names the place and the command that mends it.
 *
 * care/run.c           a program with its arguments, what it says, a time limit; pipelines
 * care/installation.c  what is installed here: purlin.lua, paths, who the service is, its units
 * care/database.c      a blocking connection to its database, as the service or as an administrator
 * care/listener.c      who listens on the server's port
 * care/request.c       a request to the server on this machine
 * care/report.c        steps and progress, for people and as JSON
 * care/durable.c       small files as a whole, and what is there of them after a power cut
 * care/backup.h        `purlin backup`; care/restore.h: `purlin restore`
 * care/setup.c         `purlin setup`
 * care/doctor.c        `purlin doctor`; care/doctor.h: its checks
 * care/upgrade.c       `purlin upgrade`; care/upgrade.h: its parts */
#ifndef PURLIN_CARE_CARE_H
#define PURLIN_CARE_CARE_H

#include <purlin/base.h>
#include <cjson/cJSON.h>
#include <limits.h>
#include <mysql.h>
#include <stdio.h>
#include <sys/types.h>
#include "core/buffer.h"
#include "daemon/settings.h"
#include "db/db.h"

/* What a power cut leaves whole. Each blocks; false: `why` names the path and the reason. */
bool folder_sync(const char *path, buffer *why);    /* names that were made or changed in a folder */
bool folder_sync_of(const char *path, buffer *why); /* the folder that this is in */
/* A small file as a whole, mode 0600: written beside, flushed, renamed. */
bool file_write(const char *path, const char *data, size_t size, buffer *why);
/* The bytes of one of at most `most`, no symbolic link; what was in `out` is gone. */
bool file_read(const char *path, size_t most, buffer *out, buffer *why);

/* Exit codes, those of runtime/ctl. What went wrong is said on stderr. */
enum { CARE_FINE = 0, CARE_FAILED = 1, CARE_USAGE = 2 };

/* ---- run.c ---------------------------------------------------------------------------------------------------------------- */

enum { RUN_MOST = 4, RUN_COLLECTED = 16 * 1024 * 1024, RUN_SAID = 64 * 1024 };

/* One program. All zero but `arguments`: it reads nothing, what it writes is collected, it may take as long as it likes. */
typedef struct run_program {
  const char *const *arguments;   /* NULL at the end; the first is a path, or a name that is looked for as run_find does */
  const char *const *environment; /* "NAME=VALUE", NULL at the end, beside our own and LC_ALL=C.UTF-8; NULL: none */
  const char *text;               /* what it reads, `text_size` bytes; of the first of a pipeline */
  size_t text_size;
  int input;     /* a descriptor that it reads instead; 0: none. Of the first */
  int output;    /* a descriptor that it writes to; 0: see `take`. Of the last */
  bool terminal; /* it has our own terminal, input, output and errors, and stays in our process group: for one that asks */
  bool
      outlives; /* it goes on when we are killed (a package manager must not be ended in the middle); its errors go to `output`, too */
  uid_t user; /* who it runs as, with that user's groups; 0: who we are */
} run_program;

typedef struct run_options {
  uint32_t limit_ms; /* then all are ended: SIGTERM, 5 s later SIGKILL; 0: none */
  /* Takes what the last one writes, piece by piece; false ends them all. NULL: collected in the result, at most RUN_COLLECTED bytes. */
  bool (*take)(void *to, const char *data, size_t size);
  void *to;
} run_options;

/* Owned: run_result_free. */
typedef struct run_result {
  buffer output;       /* of the last program */
  buffer errors;       /* the end of what all of them wrote as errors, at most RUN_SAID bytes */
  int codes[RUN_MOST]; /* of each: exit status; 128 + number of the signal that ended it; -1: it was not started */
  int code;            /* the first that is not 0 */
  bool missing;        /* a program is not installed */
  bool timed_out, stopped;
} run_result;

/* Runs `count` programs at once, each reading what the one before writes; NULL options: the defaults. True when all ended with 0.
 * Otherwise `why` says which did not, how it ended and its last words. */
bool run_pipeline(const run_program *programs, size_t count, const run_options *options, run_result *result, buffer *why);
/* One program of arguments alone. */
bool run_simple(const char *const *arguments, uint32_t limit_ms, run_result *result, buffer *why);
void run_result_free(run_result *result);
/* Where the program is: PATH, then /usr/local/sbin, /usr/sbin, /sbin. A name with a slash is a path. False: nowhere. */
bool run_find(const char *name, char path[PATH_MAX]);

/* ---- installation.c --------------------------------------------------------------------------------------------------------- */

typedef struct care_options {
  const char *config; /* another purlin.lua than /etc/purlin/purlin.lua */
  bool json;
} care_options;

/* An installation as its purlin.lua describes it. Owned: installation_close. */
typedef struct installation {
  const char *config; /* its path, whether it is there or not; borrowed */
  bool has_config;    /* there is such a file */
  bool readable;      /* `settings` hold what it says, or the defaults where there is none */
  buffer why;         /* why they do not */
  settings settings;
  char daemon[PATH_MAX]; /* purlind: beside this program, in ../sbin or where the package puts it; "": none was found */
  /* Whom the service runs as: User= of its unit; where there is none, who owns the state directory; else the user `purlin`. */
  char user[64];
  uid_t uid;
  gid_t gid;
  bool has_user; /* there is such a user, who may be root; else uid and gid are ours */
  bool root;     /* we are root */
  bool systemd;  /* this machine was booted by systemd */
} installation;

/* Reads the one of this purlin.lua; NULL: the usual place. What cannot be read is in `readable` and `why`, not an error. */
void installation_open(installation *i, const char *path);
void installation_close(installation *i);
/* The same, for who cannot go on without: false when it is not readable, said on stderr. */
bool installation_must(installation *i, const char *path);
/* "http://127.0.0.1:8080": where this machine reaches the server, whatever address it listens on. */
void installation_url(const installation *i, buffer *out);
/* STATE/NAME. False: it does not fit. */
bool installation_path(const installation *i, const char *name, char path[PATH_MAX]);

/* From now on we act as the service's user, with its groups, for files and for MariaDB's socket; then as ourselves again. Root only; true
 * and nothing to do for others, and where the service is us. False: `why`. */
bool installation_act(const installation *i, buffer *why);
void installation_act_no_more(const installation *i);

/* What systemd says of a unit. */
typedef struct unit_state {
  char load[32];   /* "loaded", "not-found", "masked" */
  char active[32]; /* "active", "inactive", "failed", "activating" */
  char result[32]; /* "success", "exit-code", "watchdog", "oom-kill" */
  char file[32];   /* "enabled", "disabled" */
  uint64_t restarts, pid;
} unit_state;
/* False: there is no systemd, or it does not answer (`why`). A unit that is not there is answered: load is "not-found". */
bool unit_ask(const installation *i, const char *unit, unit_state *out, buffer *why);

/* ---- database.c -------------------------------------------------------------------------------------------------------------- */

typedef enum database_role {
  DATABASE_SERVICE,      /* as purlin.lua says and as the service's user: what the daemon would see */
  DATABASE_ADMINISTRATOR /* root over the Unix socket of this machine: all rights, no password */
} database_role;

/* How to connect in that role, for db_connection_open_plain or the arguments of a client program (of which the password is not to be
 * one: others see them). Texts are borrowed from the installation. False: `why` (no socket is here, the database is elsewhere). */
bool database_options(const installation *i, database_role role, db_options *out, buffer *why);
/* Connects; with `use` to the configured database. NULL: `why` says why not and what to do. Closed by mysql_close. Statements may
 * take up to an hour to answer. */
MYSQL *database_connect(const installation *i, database_role role, bool use, buffer *why);
/* The same; *error is the connector's or the server's number, 0 where it was not even tried. */
MYSQL *database_try(const installation *i, database_role role, bool use, unsigned *error, buffer *why);
/* The socket of MariaDB on this machine: the configured one, if it is there; else where Debian or Fedora have it. NULL: nowhere. */
const char *database_socket(const installation *i);
/* Whether purlin.lua names a database on another machine. */
bool database_is_remote(const installation *i);
/* Runs a statement without rows; false: `why` has the server's words. */
PURLIN_PRINTF(3, 4) bool database_run(MYSQL *mysql, buffer *why, const char *format, ...);
/* The first column of the first row, with a NUL, as text; false when there is no row, it is NULL or the statement fails (then `why`,
 * unless NULL, has the server's words). */
PURLIN_PRINTF(4, 5) bool database_text(MYSQL *mysql, buffer *out, buffer *why, const char *format, ...);
/* The same as a number; `otherwise` where there is none. */
int64_t database_number(MYSQL *mysql, const char *sql, int64_t otherwise);
/* A name within backquotes, a text within quotes. */
void database_add_name(buffer *out, const char *name);
void database_add_text(MYSQL *mysql, buffer *out, const char *text);

/* ---- listener.c ------------------------------------------------------------------------------------------------------------------- */

/* Whether all who listen on the server's port are the service, root (systemd holds sockets, too) or we. False, for another user's program
 * and where nobody listens: `why`. */
bool listener_is_ours(const installation *i, buffer *why);
/* Who listens there: "nginx (process 812)"; "another program" when it cannot be seen. */
void listener_name(const installation *i, char out[128]);

/* ---- request.c -------------------------------------------------------------------------------------------------------------------- */

typedef struct care_request {
  const char *method, *path;
  const char *token, *body; /* NULL: none. A token goes to listeners that are ours, and to no other */
  uint32_t timeout_ms;
  bool any_certificate; /* also one that has expired; else it is to be the one that purlin.lua names */
} care_request;

/* Asks the server on this machine, in the way that its settings say, whatever name its certificate has. `answer` is emptied first.
 * `http` is 0 when no answer came: `why`. */
bool request_send(const installation *place, const care_request *request, unsigned *http, buffer *answer, buffer *why);

/* ---- report.c ------------------------------------------------------------------------------------------------------------------ */

/* What a command tells: people read a line a step on stdout, with --json a program reads one object at the end:
 * {"command": ..., "ok": ..., "steps": [{"name", "outcome", "detail", "remedy", "milliseconds"}], ...}. */
typedef struct report {
  const char *command;
  bool json, terminal, coloured;
  cJSON *document;         /* a command adds what it likes to it */
  const char *failed_word; /* instead of "failed"; NULL */
  const char *steps_word;  /* instead of "steps", in JSON; NULL */
  cJSON *steps;
  buffer step; /* the name of the running one; empty: none */
  uint64_t begun_ns, shown_ns, told_percent;
  bool line_open;    /* on a terminal: the running step's line is not ended */
  size_t mishaps[2]; /* steps that ended with a warning, with a failure */
} report;

typedef enum report_outcome { REPORT_DONE, REPORT_SKIPPED, REPORT_WARNING, REPORT_FAILED } report_outcome;

void report_begin(report *r, const char *command, bool json);
/* A step begins; one that runs is done. "Dumping the database" */
PURLIN_PRINTF(2, 3) void report_step(report *r, const char *format, ...);
/* How far it is, on a terminal ten times a second, elsewhere each 10 percent. `total` 0: nobody knows. In bytes. */
void report_progress(report *r, uint64_t done, uint64_t total);
/* The running step ended. `detail`: what came of it, or why not; NULL: nothing to say. `remedy`: the command that mends it, one line;
 * NULL: none. Each is copied. */
void report_end_step(report *r, report_outcome outcome, const char *detail, const char *remedy);
/* A line for people only. */
PURLIN_PRINTF(2, 3) void report_say(report *r, const char *format, ...);
/* Ends it: prints the object, frees all. The exit code: CARE_FAILED when a step failed. */
int report_end(report *r);
/* "1.4 GiB" */
void report_add_bytes(buffer *out, uint64_t bytes);

/* ---- The commands ---------------------------------------------------------------------------------------------------------------- */

/* One option of a command. */
typedef struct care_option {
  const char *name;
  const char **text; /* takes a value; or */
  bool *flag;        /* takes none */
} care_option;
/* Reads them. True: go on. False: the command ends with *code; help was printed (`usage`; NULL: asked elsewhere), or what is wrong was said. `word`: a single word
 * that is no option is taken too; NULL: there may be none. */
bool care_arguments(const char *command, const char *usage, const care_option *options, size_t option_count, int count,
                    char **arguments, const char **word, int *code);

/* What follows the word. `json`: --json was given before it. */
int care_setup(bool json, int count, char **arguments);
int care_doctor(bool json, int count, char **arguments);
int care_upgrade(bool json, int count, char **arguments);
int care_backup(bool json, int count, char **arguments);
int care_backup_list(bool json, int count, char **arguments);
int care_backup_verify(bool json, int count, char **arguments);
int care_restore(bool json, int count, char **arguments);

#endif
