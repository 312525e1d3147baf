/* tables.c: the queue's tables.
 *
 * purlin_jobs.claim is what claiming reads: a claim is a short range scan over (state, workspace, name, urgency), in order of
 * run_at and id; `urgency` is minus the priority, since descending indices need MariaDB 10.8. It also counts what runs.
 * unique_key is NULL from a job's end on, so that the index holds only those that wait or run.
 * purlin_job_gates has a row for each kind and workspace with a limit: whoever claims under it holds it.
 * purlin_job_nodes tells which node claims which kinds, for "why does it not run". */
#include "jobs/internal.h"

PURLIN_MIGRATION(jobs_0001, "jobs_0001_queue",
                 "CREATE TABLE purlin_jobs (\n"
                 "  id              BIGINT NOT NULL AUTO_INCREMENT,\n"
                 "  public_id       VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,\n"
                 "  workspace       VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,\n"
                 "  project         VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,\n"
                 "  actor           VARCHAR(250) NOT NULL,\n"
                 "  name            VARCHAR(150) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,\n"
                 "  payload         LONGTEXT NOT NULL,\n"
                 "  payload_version INT NOT NULL,\n"
                 "  state           TINYINT NOT NULL,\n"
                 "  urgency         INT NOT NULL,\n"
                 "  run_at          DATETIME(6) NOT NULL,\n"
                 "  attempt         INT NOT NULL DEFAULT 0,\n"
                 "  max_attempts    INT NOT NULL,\n"
                 "  lease_until     DATETIME(6) NULL,\n"
                 "  lease_owner     VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,\n"
                 "  cancel_asked    BOOLEAN NOT NULL DEFAULT FALSE,\n"
                 "  unique_key      VARCHAR(190) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NULL,\n"
                 "  progress        DOUBLE NULL,\n"
                 "  progress_text   VARCHAR(500) NULL,\n"
                 "  error           TEXT NULL,\n"
                 "  trace_id        CHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,\n"
                 "  created_at      DATETIME(6) NOT NULL,\n"
                 "  started_at      DATETIME(6) NULL,\n"
                 "  ended_at        DATETIME(6) NULL,\n"
                 "  PRIMARY KEY (id),\n"
                 "  UNIQUE KEY public_id (public_id),\n"
                 "  UNIQUE KEY unique_key (workspace, name, unique_key),\n"
                 "  KEY claim (state, name, urgency, run_at, id),\n"
                 "  KEY listing (workspace, id)\n"
                 ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;\n"
                 "CREATE TABLE purlin_job_gates (\n"
                 "  name VARCHAR(150) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY\n"
                 ") ENGINE=InnoDB;\n"
                 "CREATE TABLE purlin_job_nodes (\n"
                 "  owner      VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,\n"
                 "  names      TEXT CHARACTER SET ascii COLLATE ascii_bin NOT NULL,\n"
                 "  slots      INT NOT NULL,\n"
                 "  seen_until DATETIME(6) NOT NULL\n"
                 ") ENGINE=InnoDB;\n"
                 "CREATE TABLE purlin_schedules (\n"
                 "  name       VARCHAR(150) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,\n"
                 "  expression VARCHAR(250) NOT NULL,\n"
                 "  time_zone  VARCHAR(100) NOT NULL,\n"
                 "  job        VARCHAR(150) NOT NULL,\n"
                 "  next_at    DATETIME(6) NULL,\n"
                 "  last_at    DATETIME(6) NULL,\n"
                 "  last_job   VARCHAR(40) NULL\n"
                 ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;\n")

/* Workspaces take turns, so each one's jobs stand together. */
PURLIN_MIGRATION(jobs_0002, "jobs_0002_turns",
                 "ALTER TABLE purlin_jobs\n"
                 "  DROP KEY claim,\n"
                 "  ADD KEY claim (state, workspace, name, urgency, run_at, id);\n")

const purlin_migration *const jobs_migrations[] = {&jobs_0001_migration, &jobs_0002_migration};
const size_t jobs_migration_count = sizeof jobs_migrations / sizeof jobs_migrations[0];

purlin_status jobs_run_with_ids(purlin_ctx *ctx, const char *sql, const purlin_value *leading, size_t count,
                                const int64_t *ids, size_t id_count) {
  purlin_value values[1 + 8 + JOBS_MOST_IN_BATCH];
  if (count > 8 || id_count > JOBS_MOST_IN_BATCH) return PURLIN_INTERNAL;
  size_t used = 0;
  values[used++] = purlin_value_text(sql);
  for (size_t i = 0; i < count; i++) values[used++] = leading[i];
  for (size_t i = 0; i < JOBS_MOST_IN_BATCH; i++) values[used++] = purlin_value_int(i < id_count ? ids[i] : 0);
  return purlin_db_run_(ctx, values, used);
}
