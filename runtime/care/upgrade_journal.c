#include "care/upgrade.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 256 * 1024, LARGEST = 16 * 1024 * 1024 };

static const char *const states[] = {
    [STEP_NEVER] = "never", [STEP_BEGUN] = "begun", [STEP_DONE] = "done", [STEP_FAILED] = "failed"};

static bool complain(buffer *why, const char *path, int error) {
  buffer_format(why, "%s: %s", path, strerror(error));
  return false;
}

/* ---- Files ---- */

/* Where in the file it is said, as pwrite does. */
static bool write_all_at(int file, const char *data, size_t size, off_t at) {
  while (size > 0) {
    ssize_t wrote = pwrite(file, data, size, at);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return false;
    data += wrote;
    size -= (size_t)wrote;
    at += wrote;
  }
  return true;
}

/* ---- Writing the journal ---- */

static void add_time(cJSON *record) {
  char text[32];
  time_t now = time(NULL);
  struct tm parts;
  if (gmtime_r(&now, &parts) && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts) > 0)
    (void)cJSON_AddStringToObject(record, "at", text);
}

bool journal_add(journal *j, cJSON *record, buffer *why) {
  if (record) add_time(record);
  char *text = record ? cJSON_PrintUnformatted(record) : NULL;
  size_t size = text ? strlen(text) : 0;
  bool fine = text != NULL;
  if (fine) {
    text[size] = '\n'; /* in the place of its NUL */
    fine = write_all_at(j->file, text, size + 1, (off_t)j->size) && fdatasync(j->file) == 0;
  } else errno = ENOMEM;
  if (!fine) (void)complain(why, j->path, errno);
  cJSON_free(text);
  if (fine) j->size += size + 1;
  if (fine && cJSON_AddItemToArray(j->records, record)) return true;
  cJSON_Delete(record);
  return false;
}

static bool place_of(const char *folder, const char *name, char path[PATH_MAX], buffer *why) {
  int length = snprintf(path, PATH_MAX, "%s/%s", folder, name);
  return (length > 0 && length < PATH_MAX) || complain(why, folder, ENAMETOOLONG);
}

/* Where a file system cannot promise room, the journal grows as other files do. */
static bool take_room(int file) {
  int error = posix_fallocate(file, 0, ROOM);
  errno = error;
  return error == 0 || error == EOPNOTSUPP || error == EINVAL;
}

bool journal_create(journal *j, const char *folder, cJSON *first, buffer *why) {
  *j = (journal){.file = -1, .records = cJSON_CreateArray()};
  bool fine = j->records && place_of(folder, "journal", j->path, why);
  if (fine) {
    j->file = open(j->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (j->file < 0) fine = complain(why, j->path, errno);
  }
  if (!fine) {
    cJSON_Delete(first);
    journal_close(j);
    return false;
  }
  if (!take_room(j->file)) {
    fine = complain(why, j->path, errno);
    cJSON_Delete(first);
  } else fine = journal_add(j, first, why) && folder_sync_of(j->path, why);
  if (fine) return true;
  (void)unlink(j->path);
  journal_close(j);
  return false;
}

/* ---- Reading it ---- */

/* Up to the room that was never written, or a line that was not written whole. */
static void read_lines(journal *j, const buffer *text) {
  if (!text->data) return;
  const char *at = text->data, *end = at + text->size;
  while (at < end && *at) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    if (!newline) return;
    cJSON *record = cJSON_ParseWithLength(at, (size_t)(newline - at));
    if (!cJSON_IsObject(record) || !cJSON_AddItemToArray(j->records, record)) {
      cJSON_Delete(record);
      return;
    }
    at = newline + 1;
    j->size = (size_t)(at - text->data);
  }
}

bool journal_open(journal *j, const char *path, bool writing, buffer *why) {
  *j = (journal){.file = -1, .records = cJSON_CreateArray()};
  int length = snprintf(j->path, sizeof j->path, "%s", path);
  if (!j->records || length < 0 || (size_t)length >= sizeof j->path) return complain(why, path, ENAMETOOLONG);
  buffer text = {0};
  j->file = open(path, (writing ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW);
  if (j->file < 0 && errno == ENOENT) {
    journal_close(j);
    return false;
  }
  bool fine = j->file >= 0 ? file_read(path, LARGEST, &text, why) : complain(why, path, errno);
  if (fine) read_lines(j, &text);
  buffer_free(&text);
  bool empty = fine && cJSON_GetArraySize(j->records) == 0; /* it was being made: nothing has begun */
  if (empty && writing) fine = unlink(path) == 0 || complain(why, path, errno);
  /* What stood behind the last whole line must not become the end of the next one. */
  if (fine && !empty && writing && (ftruncate(j->file, (off_t)j->size) != 0 || !take_room(j->file)))
    fine = complain(why, path, errno);
  if (!fine || empty) journal_close(j);
  return fine && !empty;
}

bool journal_step(journal *j, const char *name, step_state state, const char *detail, buffer *why) {
  cJSON *record = cJSON_CreateObject();
  (void)cJSON_AddStringToObject(record, "step", name);
  (void)cJSON_AddStringToObject(record, "is", states[state]);
  if (detail && *detail) (void)cJSON_AddStringToObject(record, "why", detail);
  return journal_add(j, record, why);
}

static const char *member(const cJSON *of, const char *name) {
  return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(of, name));
}

/* The newest record whose `kind` is `name`. */
static const cJSON *newest(const journal *j, const char *kind, const char *name) {
  const cJSON *record, *found = NULL;
  cJSON_ArrayForEach(record, j->records) {
    const char *is = member(record, kind);
    if (is && strcmp(is, name) == 0) found = record;
  }
  return found;
}

step_state journal_state_of(const journal *j, const char *name) {
  const char *is = member(newest(j, "step", name), "is");
  for (size_t i = 0; is && i < sizeof states / sizeof states[0]; i++)
    if (strcmp(states[i], is) == 0) return (step_state)i;
  return STEP_NEVER;
}

bool journal_fact(journal *j, const char *name, const char *value, buffer *why) {
  cJSON *record = cJSON_CreateObject();
  (void)cJSON_AddStringToObject(record, "fact", name);
  (void)cJSON_AddStringToObject(record, "value", value);
  return journal_add(j, record, why);
}

const char *journal_recall(const journal *j, const char *name) { return member(newest(j, "fact", name), "value"); }

const char *journal_begin_text(const journal *j, const char *name) {
  return member(cJSON_GetArrayItem(j->records, 0), name);
}

/* ---- Ending ---- */

bool journal_finish(journal *j, const char *folder, buffer *why) {
  char last[PATH_MAX];
  if (!place_of(folder, "last", last, why)) return false;
  if (ftruncate(j->file, (off_t)j->size) != 0 || fsync(j->file) != 0 || rename(j->path, last) != 0)
    return complain(why, j->path, errno);
  return folder_sync_of(last, why);
}

void journal_close(journal *j) {
  if (j->file >= 0) (void)close(j->file);
  cJSON_Delete(j->records);
  j->file = -1;
  j->records = NULL;
}
