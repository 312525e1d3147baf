#include "ctl/credentials.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LARGEST_FILE = 1024 * 1024, RENEW_BEFORE_S = 30 };

/* ---- The folder ------------------------------------------------------------------------------------------------------------------------ */

static bool find_folder(char *out, size_t size) {
  const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
  int length = -1;
  if (base && *base == '/') length = snprintf(out, size, "%s/purlin", base);
  else if (home && *home == '/') length = snprintf(out, size, "%s/.config/purlin", home);
  return length > 0 && (size_t)length < size - 32; /* a file's name fits behind it */
}

/* With the folders above it. */
static bool make_folder(char *path) {
  for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
    *at = '\0';
    bool fine = mkdir(path, 0700) == 0 || errno == EEXIST;
    *at = '/';
    if (!fine) return false;
  }
  return mkdir(path, 0700) == 0 || errno == EEXIST;
}

static bool complain(const credentials *c, const char *what) {
  (void)fprintf(stderr, "purlin: %s/credentials.json: %s\n", c->folder, what);
  return false;
}

static void path_of(const credentials *c, const char *name, char out[4200]) {
  (void)snprintf(out, 4200, "%s/%s", c->folder, name);
}

/* ---- The file ---------------------------------------------------------------------------------------------------------------------------- */

/* False when it cannot be read or others could; one that is not there is empty. */
static bool load(credentials *c) {
  char path[4200];
  struct stat about;
  path_of(c, "credentials.json", path);
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (file < 0 && errno == ENOENT) return (c->servers = cJSON_CreateObject()) != NULL;
  if (file < 0) return complain(c, strerror(errno));
  bool known = fstat(file, &about) == 0;
  if (!known || (about.st_mode & 077) != 0 || about.st_size > LARGEST_FILE) {
    (void)close(file);
    return complain(c, known ? "others can read it, or it is too large: chmod 600, or delete it" : strerror(errno));
  }
  char *text = calloc(1, (size_t)about.st_size + 1);
  ssize_t got = text ? read(file, text, (size_t)about.st_size) : -1;
  (void)close(file);
  c->servers = got == about.st_size ? cJSON_ParseWithLength(text, (size_t)got) : NULL;
  if (text) explicit_bzero(text, (size_t)about.st_size);
  free(text);
  if (cJSON_IsObject(c->servers)) return true;
  return complain(c, "cannot be read as JSON; delete it and log in again");
}

/* To a new file, flushed, then renamed. */
static bool save(const credentials *c) {
  char path[4200], fresh[4200];
  path_of(c, "credentials.json", path);
  path_of(c, ".credentials.new", fresh);
  char *text = cJSON_Print(c->servers);
  (void)unlink(fresh);
  int file = text ? open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
  size_t size = text ? strlen(text) : 0;
  bool fine = file >= 0 && write(file, text, size) == (ssize_t)size && fsync(file) == 0;
  if (file >= 0 && close(file) != 0) fine = false;
  fine = fine && rename(fresh, path) == 0;
  if (!fine) {
    (void)complain(c, strerror(errno));
    (void)unlink(fresh);
  }
  cJSON_free(text);
  return fine;
}

bool credentials_open(credentials *c, bool must_be) {
  *c = (credentials){.lock = -1};
  if (!find_folder(c->folder, sizeof c->folder)) {
    if (must_be) (void)fputs("purlin: neither XDG_CONFIG_HOME nor HOME says where tokens can be kept\n", stderr);
    return false;
  }
  char path[4200];
  path_of(c, must_be ? "credentials.lock" : "credentials.json", path);
  if (!must_be && access(path, F_OK) != 0) return false;
  if (!make_folder(c->folder)) return complain(c, strerror(errno));
  path_of(c, "credentials.lock", path);
  c->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (c->lock < 0 || flock(c->lock, LOCK_EX) != 0) return complain(c, strerror(errno));
  return load(c);
}

void credentials_close(credentials *c) {
  cJSON_Delete(c->servers);
  c->servers = NULL;
  if (c->lock >= 0) (void)close(c->lock);
  c->lock = -1;
}

cJSON *credentials_of(const credentials *c, const char *server) {
  return cJSON_GetObjectItemCaseSensitive(c->servers, server);
}

static const char *text_of(const cJSON *object, const char *name) {
  return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

static cJSON *entry_of(const char *name, const cJSON *answer) {
  const char *access = text_of(answer, "access_token"), *refresh = text_of(answer, "refresh_token");
  const cJSON *lives = cJSON_GetObjectItemCaseSensitive(answer, "expires_in");
  cJSON *entry = access && refresh && cJSON_IsNumber(lives) ? cJSON_CreateObject() : NULL;
  bool fine = entry && cJSON_AddStringToObject(entry, "name", name) &&
              cJSON_AddStringToObject(entry, "access_token", access) &&
              cJSON_AddStringToObject(entry, "refresh_token", refresh) &&
              cJSON_AddNumberToObject(entry, "expires_at", (double)time(NULL) + lives->valuedouble);
  if (fine) return entry;
  cJSON_Delete(entry);
  return NULL;
}

bool credentials_put(credentials *c, const char *server, const char *name, const cJSON *answer) {
  cJSON *entry = answer ? entry_of(name, answer) : NULL;
  if (answer && !entry) {
    (void)fputs("purlin: the server's answer to the login makes no sense\n", stderr);
    return false;
  }
  cJSON_DeleteItemFromObjectCaseSensitive(c->servers, server);
  if (entry && !cJSON_AddItemToObject(c->servers, server, entry)) {
    cJSON_Delete(entry);
    return false;
  }
  return save(c);
}

/* ---- The token for a command ------------------------------------------------------------------------------------------------------------ */

/* Exchanges the refresh token. One that the server takes no more is forgotten; without an answer all stays as it is. */
static void renew(session *s, credentials *c, const cJSON *entry) {
  cJSON *body = cJSON_CreateObject();
  const char *refresh = text_of(entry, "refresh_token"), *name = text_of(entry, "name");
  buffer answer = {0}, who = {0};
  unsigned http = 0;
  char *text =
      body && refresh && cJSON_AddStringToObject(body, "refresh_token", refresh) ? cJSON_PrintUnformatted(body) : NULL;
  buffer_text(&who, name ? name : "");
  if (text && session_request(s, "POST", "/api/v1/accounts/refresh", text, &http, &answer)) {
    cJSON *tokens = http == 200 ? cJSON_ParseWithLength(answer.data, answer.size) : NULL;
    if (tokens || http == 401) (void)credentials_put(c, s->server, buffer_end(&who), tokens);
    s->over = http == 401;
    if (s->over) (void)fprintf(stderr, "purlin: the session at %s is over: 'purlin login' begins another\n", s->server);
    cJSON_Delete(tokens);
  }
  cJSON_free(text);
  cJSON_Delete(body);
  buffer_free(&answer);
  buffer_free(&who);
}

bool credentials_token(session *s) {
  credentials c;
  const cJSON *entry = credentials_open(&c, false) ? credentials_of(&c, s->server) : NULL;
  const cJSON *end = cJSON_GetObjectItemCaseSensitive(entry, "expires_at");
  if (entry && (!cJSON_IsNumber(end) || end->valuedouble < (double)time(NULL) + RENEW_BEFORE_S)) {
    renew(s, &c, entry);
    entry = credentials_of(&c, s->server);
  }
  const char *token = text_of(entry, "access_token");
  buffer_clear(&s->token_text);
  if (token) {
    buffer_text(&s->token_text, token);
    s->token = buffer_end(&s->token_text);
  }
  credentials_close(&c);
  return token != NULL;
}
