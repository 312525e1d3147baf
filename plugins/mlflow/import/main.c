#include "import.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char USAGE_TEXT[] =
    "Usage: purlin import mlflow URL [OPTION ...]\n"
    "\n"
    "Copies experiments, runs with all points of their metrics, datasets, logged models, files, registered models, versions,\n"
    "stages and aliases of a running MLflow server (2.x or 3.x) into this workspace. It may be stopped at any moment, goes on where it\n"
    "stopped when it is run again, and makes nothing twice. At the end it tells what is there and what is here.\n"
    "\n"
    "         --experiment NAME    only this experiment, and the models that came from it; may be given several times\n"
    "         --dry-run            only tells what there is\n"
    "         --no-artifacts       without files\n"
    "         --checksums          reads all files again, also of what was copied before\n"
    "         --as NAME            what to call that server, if its address may change; default: the URL\n"
    "         --token-file FILE    holds the token for the MLflow server\n"
    "\n"
    "Credentials of the MLflow server, if it wants some: that file, or in the environment MLFLOW_TRACKING_USERNAME and\n"
    "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN; also MLFLOW_TRACKING_SERVER_CERT_PATH and\n"
    "MLFLOW_TRACKING_INSECURE_TLS. Purlin's own token is never sent there. Purlin's are as for every command: 'purlin --help'.\n"
    "\n"
    "Exit codes: 0 all is here as it was there; 1 not all; 2 wrong arguments; 3 a server does not answer, or lets nobody in\n";

static const char *const names[KINDS] = {[EXPERIMENTS] = "experiments",
                                         [RUNS] = "runs",
                                         [PARAMETERS] = "parameters",
                                         [TAGS] = "tags",
                                         [METRICS] = "metrics",
                                         [POINTS] = "points of metrics",
                                         [DATASETS] = "datasets",
                                         [LOGGED_MODELS] = "logged models",
                                         [FILES] = "files",
                                         [BYTES] = "bytes",
                                         [MODELS] = "registered models",
                                         [VERSIONS] = "versions",
                                         [ALIASES] = "aliases"};

static const char *variable(const char *name) {
  const char *value = getenv(name);
  return value && *value ? value : NULL;
}

/* ---- Arguments --------------------------------------------------------------------------------------------------------------------- */

typedef struct arguments {
  const char *url, *as, *token_file;
} arguments;

static bool take(importing *of, arguments *a, int count, char **given) {
  for (int i = 1; i < count; i++) {
    const char *word = given[i];
    bool more = i + 1 < count;
    if (strcmp(word, "--dry-run") == 0) of->dry = true;
    else if (strcmp(word, "--no-artifacts") == 0) of->artifacts = false;
    else if (strcmp(word, "--checksums") == 0) of->checksums = true;
    else if (strcmp(word, "--experiment") == 0 && more) of->only[of->only_count++] = given[++i];
    else if (strcmp(word, "--as") == 0 && more) a->as = given[++i];
    else if (strcmp(word, "--token-file") == 0 && more) a->token_file = given[++i];
    else if (word[0] != '-' && !a->url) a->url = word;
    else return false;
  }
  return a->url != NULL;
}

static bool wrong(const char *words, const char *of) {
  (void)fprintf(stderr, "purlin-import-mlflow: %s%s\n", words, of);
  return false;
}

/* ---- Servers --------------------------------------------------------------------------------------------------------------------------- */

/* The first line of a file. NULL: told. */
static const char *read_token(const char *path) {
  char line[8192] = "";
  FILE *file = fopen(path, "re");
  bool read = file && fgets(line, sizeof line, file);
  if (file) (void)fclose(file);
  line[strcspn(line, "\r\n")] = '\0';
  if (read && *line) return say("%s", line);
  return wrong("no token can be read from ", path), NULL;
}

/* Who uses Purlin has its token where MLflow's client looks for one: the other server is not shown it. */
static const char *unless_ours(const char *secret) {
  const char *ours = variable("PURLIN_TOKEN");
  return secret && ours && strcmp(secret, ours) == 0 ? NULL : secret;
}

static bool open_source(importing *of, const arguments *a) {
  server *s = &of->from;
  server_open(s, a->url, "the MLflow server");
  const char *token = a->token_file ? read_token(a->token_file) : NULL,
             *insecure = variable("MLFLOW_TRACKING_INSECURE_TLS");
  if (a->token_file && !token) return false;
  if (!s->user && !token && unless_ours(variable("MLFLOW_TRACKING_PASSWORD"))) {
    s->user = variable("MLFLOW_TRACKING_USERNAME");
    s->password = variable("MLFLOW_TRACKING_PASSWORD");
  }
  if (!token && !s->user) token = unless_ours(variable("MLFLOW_TRACKING_TOKEN"));
  if (token) server_add_header(s, "Authorization", say("Bearer %s", token));
  s->ca_file = variable("MLFLOW_TRACKING_SERVER_CERT_PATH");
  s->insecure = insecure && (strcmp(insecure, "true") == 0 || strcmp(insecure, "1") == 0);
  of->source = a->as ? a->as : s->url;
  if (strncmp(s->url, "http://", 7) != 0 && strncmp(s->url, "https://", 8) != 0)
    return wrong("the URL of an MLflow server begins with http:// or https://, unlike ", s->url);
  if (strpbrk(of->source, "'\"%\\"))
    return wrong("give it a name with --as, of letters and digits, instead of ", of->source);
  return true;
}

static bool open_target(importing *of) {
  const char *url = variable("PURLIN_SERVER"), *token = variable("PURLIN_TOKEN");
  server_open(&of->to, url ? url : "http://127.0.0.1:8080", "Purlin");
  if (token) server_add_header(&of->to, "Authorization", say("Bearer %s", token));
  server_add_header(&of->to, "Purlin-Workspace", variable("PURLIN_WORKSPACE"));
  server_add_header(&of->to, "Purlin-Project", variable("PURLIN_PROJECT"));
  of->to.ca_file = variable("PURLIN_CA_FILE");
  return strcmp(of->to.url, of->from.url) != 0 || wrong("that is Purlin itself: ", of->to.url);
}

/* ---- The table --------------------------------------------------------------------------------------------------------------------------- */

static bool print_table(const importing *of) {
  bool same = true;
  (void)printf("%-20s %16s", "", "there");
  (void)puts(of->dry ? "" : "             here");
  for (size_t i = 0; i < KINDS; i++) {
    bool counted = of->artifacts || (i != FILES && i != BYTES);
    if (!counted || (of->dry && (i == POINTS || i == FILES || i == BYTES))) continue;
    bool equal = of->there[i] == of->here[i];
    same = same && equal;
    (void)printf("%-20s %16lld", names[i], (long long)of->there[i]);
    if (!of->dry) (void)printf(" %16lld%s", (long long)of->here[i], equal ? "" : "  differs");
    (void)putchar('\n');
  }
  return same || of->dry;
}

static int finish(importing *of) {
  progress_end(of);
  bool same = print_table(of);
  if (of->dry) return FINE;
  (void)printf("%lld runs were copied, %lld were here already.\n", (long long)of->copied, (long long)of->unchanged);
  if (same && of->problems == 0)
    (void)puts(of->artifacts ? "All is here as it was there; files by their SHA-256."
                             : "All is here as it was there, but for files.");
  else (void)printf("Not all is here as it was there: %lld problems, told above.\n", (long long)of->problems);
  return same && of->problems == 0 ? FINE : DIFFERS;
}

/* ---- The whole ------------------------------------------------------------------------------------------------------------------- */

static void forget(importing *of) {
  map_free(&of->runs);
  map_free(&of->models);
  map_free(&of->models_met);
  map_free(&of->experiments);
  map_free(&of->parents);
  memset(of->there, 0, sizeof of->there);
}

/* Counts the runs that there are, for who waits. */
static void survey(importing *of) {
  of->dry = true;
  import_experiments(of);
  of->expected = of->there[RUNS];
  of->dry = false;
  forget(of);
}

/* Told before anything is made. */
static bool is_mlflow(importing *of) {
  cJSON *answer = NULL;
  bool fine = ask(&of->from, "GET", "/api/2.0/mlflow/experiments/search?max_results=1", NULL, &answer);
  cJSON_Delete(answer);
  if (!fine) {
    (void)fprintf(stderr, "purlin-import-mlflow: %s is no MLflow server that can be read: ", of->from.url);
    show(of->from.message, -1);
    (void)fputc('\n', stderr);
  }
  return fine;
}

static void greet(importing *of) {
  (void)fprintf(stderr, "From %s (MLflow ", of->from.url);
  const char *release = ask_text(&of->from, "/version");
  show(*release ? release : "of some release", 20);
  (void)fprintf(stderr, ") into %s\n", of->to.url);
}

static int work(importing *of, const arguments *a) {
  if (!open_source(of, a) || !open_target(of)) return USAGE;
  if (!is_mlflow(of)) return DIFFERS;
  greet(of);
  if (!of->dry) survey(of);
  import_experiments(of);
  import_registry(of);
  return finish(of);
}

int main(int count, char **given) {
  importing of = {.artifacts = true, .has_models = true};
  arguments a = {0};
  bool help = count > 1 && (strcmp(given[1], "--help") == 0 || strcmp(given[1], "-h") == 0);
  of.only = calloc((size_t)count + 1, sizeof *of.only);
  if (help || !of.only || !take(&of, &a, count, given)) {
    (void)fputs(USAGE_TEXT, help ? stdout : stderr);
    free(of.only);
    return help ? FINE : USAGE;
  }
  (void)curl_global_init(CURL_GLOBAL_DEFAULT);
  int code = work(&of, &a);
  server_close(&of.from);
  server_close(&of.to);
  forget(&of);
  free(of.only);
  pool_release(NULL);
  curl_global_cleanup();
  return fflush(stdout) == 0 ? code : DIFFERS;
}
