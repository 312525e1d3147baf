/* import.h: the program purlin-import-mlflow, which copies what a running MLflow server holds into Purlin: `purlin import mlflow URL`.
 *
 * It runs on a user's machine and talks to both servers over HTTP, mostly in MLflow's words to both. Runs and logged models keep their ids,
 * versions their numbers. What is copied carries the tag purlin.import.source, "SOURCE/runs/ID", by which the next run knows it: so it can
 * be stopped at any moment, runs again where it stopped, and makes nothing twice. A run whose copy was read back and found whole has the
 * tag purlin.import.state with a digest of what it was copied from; it is copied again only when that has changed.
 *
 * The server that is copied from is not trusted: its answers are bounded, no redirect is followed, no page is asked for twice, paths of
 * files stay below their folder, and what it says is shown without what a terminal obeys.
 *
 * main.c         arguments, the order of things, the table at the end
 * servers.c      requests, which are sent again when a server is away for a moment
 * stream.c       one file from one server to the other, through a buffer of fixed size
 * experiments.c  experiments
 * runs.c         runs: parameters, tags, datasets, status; points.c: the histories of their metrics
 * models.c       logged models
 * artifacts.c    files of runs and of logged models
 * registry.c     registered models, versions with the numbers that they had, stages, aliases
 * progress.c     what is told meanwhile
 * pool.c         memory: texts that are let go together; and from ids to ids */
#ifndef IMPORT_H
#define IMPORT_H

#include <cjson/cJSON.h>
#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FINE = 0, DIFFERS = 1, USAGE = 2, UNREACHABLE = 3 };

#define TAG_SOURCE "purlin.import.source"
#define TAG_STATE "purlin.import.state"

/* ---- Memory ------------------------------------------------------------------------------------------------------------------- */

/* Texts of the pool live until it is taken back to a mark. Without memory the program ends. */
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
char *
say(const char *format, ...);
typedef struct pool_block pool_block;
pool_block *pool_mark(void);
void pool_release(pool_block *mark);

/* From texts to texts; both are copied. */
typedef struct map_entry {
  char *key, *value;
} map_entry;
typedef struct map {
  map_entry *entries;
  size_t count, room;
} map;
const char *map_get(const map *m, const char *key); /* NULL: not there */
void map_put(map *m, const char *key, const char *value);
void map_free(map *m);

/* ---- Servers ------------------------------------------------------------------------------------------------------------------- */

typedef struct server {
  const char *url; /* without a slash at its end, and without a name or a password */
  const char *name;
  struct curl_slist *headers;
  const char *user, *password, *ca_file; /* NULL: none */
  bool insecure;
  CURL *curl;
  bool answered;      /* whether it ever did */
  long status;        /* of the last answer */
  bool too_large;     /* the last answer was */
  char message[1024]; /* of the last refusal */
} server;

void server_open(server *s, const char *url, const char *name);
void server_add_header(server *s, const char *name, const char *value);
void server_close(server *s);
/* Ready for a request to that path below the server's URL: address, credentials, certificates. */
void server_prepare(server *s, CURL *curl, const char *path);

/* Sends a request; 2xx: true, and the answer is the caller's. `body` may be NULL. Anything else is in status and message. When no server
 * answers for a while, the program ends: whoever starts it again goes on from here. */
bool ask(server *s, const char *method, const char *path, const cJSON *body, cJSON **answer);
/* The same where the answer is not of interest. */
bool tell(server *s, const char *method, const char *path, const cJSON *body);
/* A text for a query or a path, of the pool; with `slashes` these stay. */
const char *escaped(const char *text, bool slashes);
/* The text of an answer; "" when there is none. Of the pool. */
const char *ask_text(server *s, const char *path);

/* Where in a list that comes page by page. Begins as {0}. */
typedef struct paging {
  char token[8192];
  unsigned empty; /* pages without anything, one after the other */
  bool broken;
} paging;
/* Whether there is a page after this one, whose token is in p->token then. A server that gives no new token, or one empty page after the
 * other, is not followed: p->broken, and its message says so. */
bool turn_page(paging *p, server *s, const cJSON *page, const char *list);

/* Streams a file; its bytes and their SHA-256 in hexadecimal are in *size and digest. `size` -1: not known before. False: refused, or cut
 * off, in from->message. */
bool stream(server *from, const char *from_path, server *to, const char *to_path, int64_t *size, char digest[65]);
/* Only reads it. */
bool stream_digest(server *from, const char *path, int64_t *size, char digest[65]);

/* ---- JSON ----------------------------------------------------------------------------------------------------------------------- */

const cJSON *member(const cJSON *of, const char *name);
const char *text_of(const cJSON *of, const char *name);    /* "" when it is none */
int64_t number_of(const cJSON *of, const char *name);      /* also of a text; 0 when it is none */
const char *value_of(const cJSON *pairs, const char *key); /* of a list of {key, value}; NULL: not there */
bool is_ours(const char *key);                             /* whether an import writes the tag by itself */
cJSON *exact_value(const cJSON *metric); /* of a metric, to be sent: cJSON's own numbers lose their last bit */
cJSON *pair(const char *key, const char *value);
void add_text(cJSON *to, const char *name, const char *value); /* nothing for "" */
const char *as_time(int64_t unix_ms);                          /* as Purlin writes times; of the pool */
/* FNV-1a, to go on with. */
uint64_t hash_text(uint64_t hash, const char *text);
#define HASH_BEGIN UINT64_C(14695981039346656037)

/* ---- The whole ------------------------------------------------------------------------------------------------------------------ */

typedef enum kind {
  EXPERIMENTS,
  RUNS,
  PARAMETERS,
  TAGS,
  METRICS,
  POINTS,
  DATASETS,
  LOGGED_MODELS,
  FILES,
  BYTES,
  MODELS,
  VERSIONS,
  ALIASES,
  KINDS
} kind;

typedef struct importing {
  server from, to;
  const char *source; /* what tags call the server that is copied from */
  const char **only;  /* names of experiments; NULL: all */
  size_t only_count;
  bool dry, artifacts, checksums;
  map runs, models, experiments; /* ids there to ids here */
  map models_met;                /* names of registered ones */
  map parents;                   /* runs here whose parent was not here yet, to its id there */
  int64_t there[KINDS], here[KINDS];
  int64_t copied, unchanged, problems;
  int64_t expected; /* runs, as the survey found them */
  bool has_models;  /* whether the source knows logged models, and what is asked so has been found out */
} importing;

/* Something that could not be copied, or that differs: it is told, counted, and the rest goes on. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void problem(importing *of, const char *format, ...);
/* What is being done, for people; a line at most every few seconds where there is no terminal. */
void progress(importing *of, const char *what);
void progress_end(importing *of);
/* A text that a server sent, of which a terminal obeys nothing. */
void show(const char *text, int most);

/* Copies the experiments and all that is in them; then the registry. */
void import_experiments(importing *of);
void import_registry(importing *of);

/* Of one experiment: `there` is the source's, `id` ours ("" when nothing is made). */
void import_runs(importing *of, const cJSON *there, const char *id);
void import_parents(importing *of);
/* Ours of one of their runs, which is made when it is not here yet; "": it cannot be, or its experiment is not copied. */
const char *import_ensure_run(importing *of, const char *there_id);
void import_models(importing *of, const char *there_id, const char *id);
/* The points of a run's metrics; `latest` are the newest ones. Adds what there are on both sides. False: a problem was told. */
bool import_points(importing *of, const char *there_id, const char *id, const cJSON *latest);
/* The files of a run, or of a logged model: of `uri` here. False: a problem was told. */
bool import_files(importing *of, bool model, const char *there_id, const char *id, const char *uri);

#endif
