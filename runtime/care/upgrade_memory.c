#include "care/upgrade.h"
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* What the server answered before the upgrade, in FOLDER/answers.json: [{"token_file": ..., "answers": {...}}]; tokens themselves are
 * read again from their files. */

enum { TRIES = 5, LARGEST = 64 * 1024 * 1024, LONGEST_TOKEN = 4096 };

/* A server that has just started may be busy for a moment, and one that limits how often somebody may ask says so. */
static bool send_patiently(void *to, const care_request *request, unsigned *http, buffer *answer, buffer *why) {
  const upgrade *u = to;
  const struct timespec second = {1, 0};
  bool fine = false;
  for (int i = 0; i < TRIES; i++) {
    buffer words = {0};
    if (i > 0) (void)nanosleep(&second, NULL);
    fine = request_send(&u->place, request, http, answer, &words);
    if (!fine && i + 1 == TRIES) buffer_text(why, buffer_end(&words));
    buffer_free(&words);
    if (fine && *http != 429 && *http != 503) return true;
  }
  return fine;
}

static bool read_token(const char *path, buffer *token, buffer *why) {
  if (!file_read(path, LONGEST_TOKEN, token, why)) return false;
  token->size = strcspn(buffer_end(token), "\r\n");
  if (token->size > 0) return true;
  buffer_format(why, "%s is empty", path);
  return false;
}

static bool is_known(upgrade *u, const char *token, const char *path, buffer *why) {
  const care_request request = {"GET", "/api/v1/access/whoami", token, NULL, 30000, false};
  unsigned http = 0;
  buffer answer = {0};
  bool sent = send_patiently(u, &request, &http, &answer, why);
  buffer_free(&answer);
  if (sent && http != 200) buffer_format(why, "the token in %s is not taken by the server (%u)", path, http);
  return sent && http == 200;
}

static bool remember_one(upgrade *u, const char *path, cJSON *all, size_t counts[2], buffer *why) {
  buffer token = {0};
  cJSON *answers = NULL;
  if (read_token(path, &token, why) && is_known(u, buffer_end(&token), path, why))
    answers = answers_gather(send_patiently, u, buffer_end(&token), why);
  if (token.data) explicit_bzero(token.data, token.size);
  buffer_free(&token);
  if (!answers) return false;
  counts[0] += (size_t)cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(answers, "canaries"));
  counts[1] += (size_t)cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(answers, "predictions"));
  cJSON *one = cJSON_CreateObject();
  (void)cJSON_AddStringToObject(one, "token_file", path);
  return cJSON_AddItemToObject(one, "answers", answers) && cJSON_AddItemToArray(all, one);
}

static bool write_answers(const upgrade *u, const cJSON *all, buffer *why) {
  char path[PATH_MAX];
  char *text = cJSON_PrintUnformatted(all);
  bool fine = text && upgrade_path(u, "answers.json", path) && file_write(path, text, strlen(text), why);
  cJSON_free(text);
  return fine;
}

static bool remember_all(upgrade *u, cJSON *all, size_t counts[2], buffer *why) {
  char path[PATH_MAX];
  for (size_t i = 0; i < u->options.token_count; i++)
    if (!remember_one(u, u->options.token_files[i], all, counts, why)) return false;
  if (u->options.token_count > 0) return true;
  return installation_path(&u->place, "admin.token", path) && remember_one(u, path, all, counts, why);
}

bool answers_step_remember(upgrade *u, buffer *why) {
  size_t counts[2] = {0};
  report_step(&u->report, "What the server answers now");
  if (u->options.no_answers) {
    report_end_step(&u->report, REPORT_SKIPPED, "not wanted", NULL);
    return true;
  }
  cJSON *all = cJSON_CreateArray();
  bool fine = remember_all(u, all, counts, why) && write_answers(u, all, why);
  cJSON_Delete(all);
  if (!fine)
    return upgrade_fails(u, why,
                         "name a file with a token that may read and predict: --token-file FILE; or --without-answers");
  return upgrade_fine(u, "%zu operation%s, %zu model%s", counts[0], counts[0] == 1 ? "" : "s", counts[1],
                      counts[1] == 1 ? "" : "s");
}

/* ---- Afterwards ---- */

static bool compare_one(upgrade *u, const cJSON *one, answers_outcome *out, buffer *why) {
  const char *path = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(one, "token_file"));
  buffer token = {0};
  bool fine =
      path && read_token(path, &token, why) &&
      answers_compare(send_patiently, u, buffer_end(&token), cJSON_GetObjectItemCaseSensitive(one, "answers"), out, why);
  if (token.data) explicit_bzero(token.data, token.size);
  buffer_free(&token);
  return fine;
}

static cJSON *read_answers(const upgrade *u, buffer *why) {
  char path[PATH_MAX];
  buffer text = {0};
  cJSON *all = NULL;
  if (upgrade_path(u, "answers.json", path) && file_read(path, LARGEST, &text, why)) {
    all = cJSON_ParseWithLength(text.data, text.size);
    if (!all) buffer_format(why, "%s is damaged", path);
  }
  buffer_free(&text);
  return all;
}

bool answers_step_compare(upgrade *u, buffer *why) {
  answers_outcome out = {0};
  const char *ran = journal_recall(&u->journal, "ran");
  report_step(&u->report, "What the server answers, compared with before");
  if (u->options.no_answers || (ran && strcmp(ran, "no") == 0)) {
    report_end_step(&u->report, REPORT_SKIPPED, "nothing was asked before", NULL);
    return true;
  }
  cJSON *all = read_answers(u, why);
  const cJSON *one;
  bool fine = all != NULL;
  cJSON_ArrayForEach(one, all) fine = fine && compare_one(u, one, &out, why);
  cJSON_Delete(all);
  if (!fine || out.wrong > 0) return upgrade_fails(u, why, NULL);
  buffer more = {0};
  if (out.changed > 0) buffer_format(&more, "; %zu serve another version by now", out.changed);
  if (out.broken > 0) buffer_format(&more, "; %zu did not answer before either", out.broken);
  (void)upgrade_fine(u, "%zu operation%s and %zu model%s say the same%s", out.canaries, out.canaries == 1 ? "" : "s",
                     out.predictions, out.predictions == 1 ? "" : "s", buffer_end(&more));
  buffer_free(&more);
  return true;
}
