/* registry.c: what kinds of jobs and what schedules there are. Filled before the queue starts, by one thread; read-only then. */
#include "jobs/internal.h"

#include "core/schema.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_ATTEMPTS 5u
#define DEFAULT_BACKOFF_MS 1000u
#define DEFAULT_TIMEOUT_MS 600000u
#define MOST_NAME 150u

static job_kind *kinds;
static job_schedule *schedules;

job_kind *job_kinds_first(void) { return kinds; }
job_schedule *job_schedules_first(void) { return schedules; }

job_kind *job_kind_find(const char *name) {
  for (job_kind *kind = kinds; kind != NULL; kind = kind->next)
    if (strcmp(kind->name, name) == 0) return kind;
  return NULL;
}

static const job_schedule *schedule_find(const char *name) {
  for (const job_schedule *schedule = schedules; schedule != NULL; schedule = schedule->next)
    if (strcmp(schedule->name, name) == 0) return schedule;
  return NULL;
}

/* "reports" and "send_report": "reports.send_report". Owned; NULL when memory is short. */
static char *full_name(const char *plugin, const char *name) {
  buffer text = {0};
  buffer_format(&text, "%s.%s", plugin, name);
  (void)buffer_end(&text);
  if (!text.failed) return text.data;
  buffer_free(&text);
  return NULL;
}

static purlin_status refuse(const purlin_declaration *declared, const char *name, buffer *why, purlin_status status,
                            const char *reason) {
  buffer_format(why, "%s:%u: %s: %s", declared->file, declared->line, name, reason);
  return status;
}

/* A descriptor of an older, shorter layout: what it does not have is zero. */
static void copy_declared(void *to, size_t size, const purlin_declaration *declared) {
  memset(to, 0, size);
  memcpy(to, declared, declared->size < size ? declared->size : size);
}

static void fill_kind(job_kind *kind, const purlin_job *job, const char *plugin, struct plugin *owner) {
  kind->plugin = plugin;
  kind->owner = owner;
  kind->run = job->run;
  kind->schema = job->in();
  kind->layout = schema_layout(kind->schema);
  kind->max_attempts = job->max_attempts != 0 ? job->max_attempts : DEFAULT_ATTEMPTS;
  kind->backoff_ms = job->backoff_ms != 0 ? job->backoff_ms : DEFAULT_BACKOFF_MS;
  kind->timeout_ms = job->timeout_ms != 0 ? job->timeout_ms : DEFAULT_TIMEOUT_MS;
  kind->concurrency = job->concurrency;
  kind->pure = job->pure;
  kind->resumes = job->resumes;
  kind->permission = job->permission;
  atomic_init(&kind->typical_us, UINT32_MAX);
}

purlin_status jobs_register(const char *plugin, struct plugin *owner, const purlin_job *declared, buffer *why) {
  purlin_job job;
  copy_declared(&job, sizeof job, &declared->declared);
  const purlin_declaration *at = &declared->declared;
  if (job.name == NULL || job.run == NULL || job.in == NULL)
    return refuse(at, "a job", why, PURLIN_INVALID, "name, function or payload is missing");
  if (job.summary == NULL || job.summary[0] == '\0')
    return refuse(at, job.name, why, PURLIN_INVALID, "a job needs a summary");
  if (job.max_attempts > 1000) return refuse(at, job.name, why, PURLIN_INVALID, "max_attempts is at most 1000");
  buffer broken = {0};
  if (!schema_check(job.in(), &broken)) {
    purlin_status status = refuse(at, job.name, why, PURLIN_INVALID, buffer_end(&broken));
    buffer_free(&broken);
    return status;
  }
  buffer_free(&broken);
  char *name = full_name(plugin, job.name);
  job_kind *kind = calloc(1, sizeof *kind);
  purlin_status status = PURLIN_OK;
  if (name == NULL || kind == NULL) status = PURLIN_UNAVAILABLE;
  else if (strlen(name) > MOST_NAME) status = refuse(at, name, why, PURLIN_INVALID, "the name is longer than 150 bytes");
  else if (job_kind_find(name) != NULL)
    status = refuse(at, name, why, PURLIN_CONFLICT, "there is a job of this name already");
  if (status != PURLIN_OK) {
    free(name);
    free(kind);
    return status;
  }
  kind->name = name;
  fill_kind(kind, &job, plugin, owner);
  kind->next = kinds;
  kinds = kind;
  return PURLIN_OK;
}

static purlin_status add_schedule(const char *name, const char *plugin, const purlin_schedule *s, buffer *why) {
  job_schedule *schedule = calloc(1, sizeof *schedule);
  if (schedule == NULL) return PURLIN_UNAVAILABLE;
  purlin_status status = cron_parse(s->cron, s->time_zone, &schedule->when, why);
  if (status != PURLIN_OK) {
    free(schedule);
    return status;
  }
  schedule->name = name;
  schedule->plugin = plugin;
  schedule->expression = s->cron;
  schedule->time_zone = s->time_zone != NULL ? s->time_zone : "UTC";
  schedule->job = s->job;
  schedule->payload = s->payload != NULL ? s->payload : "{}";
  schedule->catch_up = s->catch_up;
  schedule->next = schedules;
  schedules = schedule;
  return PURLIN_OK;
}

/* Whether its job exists is seen at the start: it may be of a plugin that is registered later. */
purlin_status jobs_register_schedule(const char *plugin, const purlin_schedule *declared, buffer *why) {
  purlin_schedule s;
  copy_declared(&s, sizeof s, &declared->declared);
  const purlin_declaration *at = &declared->declared;
  if (s.name == NULL || s.cron == NULL || s.job == NULL)
    return refuse(at, "a schedule", why, PURLIN_INVALID, "name, cron or job is missing");
  char *name = full_name(plugin, s.name);
  if (name == NULL) return PURLIN_UNAVAILABLE;
  purlin_status status = PURLIN_OK;
  if (strlen(name) > MOST_NAME) status = refuse(at, name, why, PURLIN_INVALID, "the name is longer than 150 bytes");
  else if (schedule_find(name) != NULL)
    status = refuse(at, name, why, PURLIN_CONFLICT, "there is a schedule of this name already");
  if (status == PURLIN_OK) {
    buffer reason = {0};
    status = add_schedule(name, plugin, &s, &reason);
    if (status != PURLIN_OK) status = refuse(at, name, why, status, buffer_end(&reason));
    buffer_free(&reason);
  }
  if (status != PURLIN_OK) free(name);
  return status;
}
