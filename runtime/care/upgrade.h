/* upgrade.h: `purlin upgrade`: another release in the place of the installed one, or everything as it was.
 *
 * The way there is a table of steps, the way back another (upgrade.c). Each step may be done twice: when the command is killed, at
 * whichever point, `purlin upgrade --resume` does the step again that had begun and goes on. What has begun and what is done stands in a
 * journal, flushed before and after each step (upgrade_journal.c). Nothing changes before the step `install`; when that or a later one
 * fails, the way back is taken: the packages of before, whose daemon runs on whatever the newer one has added to the database.
 *
 * The journal, the packages and what else must be believed afterwards lie in a folder of root's own (UPGRADE_FOLDER), not in the state
 * directory, which belongs to the service's user.
 *
 * care/upgrade.c            arguments; the two tables; --status
 * care/upgrade_journal.c    what has begun and what is done, on disk
 * care/upgrade_steps.c      goes through a table
 * care/upgrade_package.c    .deb files: which are installed, which are meant
 * care/upgrade_install.c    copies of both releases; installing one or the other
 * care/upgrade_trial.c      the new release, unpacked and run before it is installed
 * care/upgrade_check.c      the pre-flight: what it thinks of this installation, and what else must be right
 * care/upgrade_service.c    the daemon: by systemd, by another program, by hand
 * care/upgrade_answers.c    what the server answers, and whether it says the same again: canaries and predictions
 * care/upgrade_memory.c     what it answered before, kept and asked again */
#ifndef PURLIN_CARE_UPGRADE_H
#define PURLIN_CARE_UPGRADE_H

#include "care/care.h"

#define UPGRADE_FOLDER "/var/lib/purlin-upgrade"

enum { UPGRADE_PACKAGES = 32, UPGRADE_TOKENS = 16, UPGRADE_WAIT_S = 300, PACKAGE_TEXT = 128 };

/* ---- upgrade_journal.c ------------------------------------------------------------------------------------------------------ */

/* FOLDER/journal: a JSON object in each line. Its room is taken when it is made, so that a full disk does not stop the way back. */
typedef struct journal {
  char path[PATH_MAX];
  int file; /* -1: none is open */
  size_t size;
  cJSON *records; /* an array: all that stand in it */
} journal;

typedef enum step_state { STEP_NEVER, STEP_BEGUN, STEP_DONE, STEP_FAILED } step_state;

/* A new one, which begins with `first` (owned). False: `why`; one that is there already is an error too. */
bool journal_create(journal *j, const char *folder, cJSON *first, buffer *why);
/* One that is there, to go on writing it or only to read. A last line that was not written whole counts for nothing. False with an empty
 * `why`: there is none. */
bool journal_open(journal *j, const char *path, bool writing, buffer *why);
/* Appends a record (owned) and waits until it is on disk. The time is added. */
bool journal_add(journal *j, cJSON *record, buffer *why);
/* {"step": NAME, "is": begun|done|failed, "why": ...} */
bool journal_step(journal *j, const char *name, step_state state, const char *detail, buffer *why);
step_state journal_state_of(const journal *j, const char *name);
/* Something to remember: {"fact": NAME, "value": TEXT}. */
bool journal_fact(journal *j, const char *name, const char *value, buffer *why);
/* The newest value; NULL: none. Borrowed. */
const char *journal_recall(const journal *j, const char *name);
/* The first record's member; NULL: none. Borrowed. */
const char *journal_begin_text(const journal *j, const char *name);
/* It is over: FOLDER/journal becomes FOLDER/last, whose place it takes. */
bool journal_finish(journal *j, const char *folder, buffer *why);
void journal_close(journal *j);

/* ---- The upgrade -------------------------------------------------------------------------------------------------------------- */

typedef struct upgrade_options {
  const char *to[UPGRADE_PACKAGES]; /* files, folders of files, or "apt" */
  size_t to_count;
  const char *old[UPGRADE_PACKAGES]; /* copies of the installed packages */
  size_t old_count;
  const char *token_files[UPGRADE_TOKENS];
  size_t token_count;
  const char *config, *backup, *service, *wait;
  bool no_backup, no_answers, breaking, resume, rollback, status, check, json;
} upgrade_options;

/* A package of ours that is installed, and what takes its place. */
typedef struct package {
  char name[PACKAGE_TEXT], architecture[PACKAGE_TEXT];
  char before[PACKAGE_TEXT], after[PACKAGE_TEXT]; /* versions */
  char old_file[PATH_MAX], new_file[PATH_MAX];    /* "": not known yet */
} package;

typedef struct upgrade {
  upgrade_options options;
  installation place;
  bool has_place; /* it is open */
  report report;
  journal journal;
  char folder[PATH_MAX];
  int lock;
  package packages[UPGRADE_PACKAGES];
  size_t package_count;
  uint64_t stale_pid; /* of the daemon that systemd was told to end; 0: none */
} upgrade;

/* FOLDER/NAME. False, said in the report: it does not fit. */
bool upgrade_path(const upgrade *u, const char *name, char path[PATH_MAX]);
/* How long the daemon may take to be ready. */
uint32_t upgrade_wait_s(const upgrade *u);

/* ---- upgrade_steps.c ---------------------------------------------------------------------------------------------------------- */

/* Does it, or does it again. False: it failed, and has said so in the report. `why` is for the journal. */
typedef bool upgrade_do(upgrade *u, buffer *why);

typedef struct upgrade_step {
  const char *name;
  upgrade_do *run;
  bool changes; /* from here on a failure means the way back */
} upgrade_step;

/* Goes through the table, past what is done. NULL: all is done; else the step that failed. */
const upgrade_step *upgrade_go(upgrade *u, const upgrade_step *steps, size_t count, buffer *why);
/* Whether one that changes something has begun. */
bool upgrade_has_changed(const upgrade *u, const upgrade_step *steps, size_t count);

/* What a step says: done with a detail; failed with why and the command that mends it, noted in `why` as well. */
PURLIN_PRINTF(2, 3) bool upgrade_fine(upgrade *u, const char *format, ...);
bool upgrade_fails(upgrade *u, buffer *why, const char *remedy);

/* ---- upgrade_package.c -------------------------------------------------------------------------------------------------------- */

/* Which packages are installed, and which files take their place. A release that is older than the installed one is refused. */
bool packages_find(upgrade *u, buffer *why);
/* Into and from the journal's first record. */
cJSON *packages_write(const upgrade *u);
bool packages_read(upgrade *u, const cJSON *from);
/* The version of package `name`; "" when it is not installed as a whole. */
bool package_installed(const char *name, char version[PACKAGE_TEXT], buffer *why);
const package *package_main(const upgrade *u);
/* FOLDER/packages/NAME_VERSION_ARCHITECTURE.deb */
bool package_place(const upgrade *u, const package *p, const char *version, char path[PATH_MAX]);
/* Whether a file is this package. */
bool package_is(const char *path, const char *name, const char *version);
/* From apt to its place. */
bool package_download(const upgrade *u, const package *p, const char *version, char path[PATH_MAX], buffer *why);

/* ---- upgrade_install.c -------------------------------------------------------------------------------------------------------- */

/* Copies of the new files and of the installed packages in FOLDER/packages; others there go. Room for the way back is taken. */
upgrade_do packages_keep;
upgrade_do packages_install;  /* the new ones */
upgrade_do packages_put_back; /* the ones of before */

/* ---- upgrade_trial.c ---------------------------------------------------------------------------------------------------------- */

enum { TRIAL_ENVIRONMENT = 256 };

/* A release that is not installed: its programs, and what they need to be told to find themselves. */
typedef struct trial {
  char folder[PATH_MAX], daemon[PATH_MAX + 32], plugins[PATH_MAX + 32], lua[PATH_MAX + 64], runner[PATH_MAX + 64];
  char *library_path; /* LD_LIBRARY_PATH=...; owned */
  buffer block;       /* the running daemon's environment */
  const char *environment[TRIAL_ENVIRONMENT];
} trial;

/* Unpacks the new release into a folder of its own, with the plugins that stay. `remaining`: how many those are. False: `why`;
 * trial_end all the same. */
bool trial_begin(upgrade *u, trial *t, size_t *remaining, buffer *why);
/* Runs the new purlind as the service's user, on the installed configuration, with one more argument. */
bool trial_run(const upgrade *u, const trial *t, const char *argument, run_result *result, buffer *why);
void trial_end(trial *t);

/* ---- upgrade_check.c ---------------------------------------------------------------------------------------------------------- */

upgrade_do check_all; /* the pre-flight */

/* ---- upgrade_service.c -------------------------------------------------------------------------------------------------------- */

typedef struct service_state {
  bool runs;
  bool gives_up;     /* it has failed, or fails again and again */
  uint64_t pid;      /* 0: not known */
  uint64_t restarts; /* by systemd, of themselves */
} service_state;

bool service_ask(const upgrade *u, service_state *out, buffer *why);
/* Ends it, if it runs, and starts it; does not wait until it is ready. */
bool service_restart(upgrade *u, buffer *why);
/* Until /readyz says so. `why`: it ended, or the time is over; with its last words. */
bool service_wait_ready(upgrade *u, buffer *why);
upgrade_do service_step_restart;

/* ---- upgrade_answers.c -------------------------------------------------------------------------------------------------------- */

/* Who asks: something that sends a request, the server or a test's double. */
typedef bool answers_send(void *to, const care_request *request, unsigned *http, buffer *answer, buffer *why);

/* What the server answers to whoever holds `token`: {"version": ..., "canaries": [...], "predictions": [...]}; owned. NULL: `why`. */
cJSON *answers_gather(answers_send *send, void *to, const char *token, buffer *why);
typedef struct answers_outcome {
  size_t canaries, predictions; /* that were right before and are now */
  size_t changed;               /* predictions of another version than before: nothing to compare */
  size_t broken;                /* that did not answer before: nothing to expect */
  size_t wrong;                 /* explained in `why`, a line for each */
} answers_outcome;
/* Asks the same again. False: a request could not be made at all. */
bool answers_compare(answers_send *send, void *to, const char *token, const cJSON *before, answers_outcome *out,
                     buffer *why);
/* Whether two answers of a model say the same: the same outputs, each number within 1e-6 of its size. `why` says where not. */
bool answers_agree(const cJSON *before, const cJSON *after, buffer *why);
/* A request of the Open Inference Protocol for a model that describes itself so; NULL: it takes something that cannot be made up. */
cJSON *answers_make_input(const cJSON *metadata);

/* ---- upgrade_memory.c --------------------------------------------------------------------------------------------------------- */

upgrade_do answers_step_remember;
upgrade_do answers_step_compare;

#endif
