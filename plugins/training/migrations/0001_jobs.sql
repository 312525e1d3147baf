CREATE TABLE training_jobs (
  id              VARCHAR(64)   NOT NULL PRIMARY KEY,
  workspace       VARCHAR(64)   NOT NULL,
  project         VARCHAR(64)   NOT NULL,
  state           VARCHAR(16)   NOT NULL COMMENT 'queued, running, succeeded, failed, cancelled',
  trainer         VARCHAR(100)  NOT NULL,
  specification   MEDIUMTEXT    NOT NULL COMMENT 'JSON',
  dataset         VARCHAR(250)  NOT NULL,
  dataset_version BIGINT        NOT NULL,
  dataset_sha256  CHAR(64)      NOT NULL,
  dataset_rows    BIGINT        NOT NULL,
  validation_rows BIGINT        NOT NULL,
  model           VARCHAR(250)  NULL,
  registers       TINYINT(1)    NOT NULL,
  version         BIGINT        NULL COMMENT 'of the model, once registered',
  cause           VARCHAR(250)  NULL,
  labels          TEXT          NOT NULL COMMENT 'JSON object',
  progress        DOUBLE        NOT NULL DEFAULT 0,
  message         VARCHAR(2000) NOT NULL DEFAULT '',
  framework       VARCHAR(100)  NULL,
  signature       MEDIUMTEXT    NULL,
  artifact_sha256 CHAR(64)      NULL COMMENT 'of the artifact named model',
  artifact_size   BIGINT        NULL,
  attempt         BIGINT        NOT NULL DEFAULT 0,
  token_hash      CHAR(64)      NULL COMMENT 'SHA-256 of the token of the running attempt',
  pid             BIGINT        NULL,
  pid_started     BIGINT        NULL,
  boot            VARCHAR(64)   NULL,
  queue_job       VARCHAR(64)   NULL,
  created_at      DATETIME(6)   NOT NULL,
  created_by      VARCHAR(250)  NOT NULL,
  started_at      DATETIME(6)   NULL,
  ended_at        DATETIME(6)   NULL,
  KEY newest (workspace, created_at, id),
  KEY by_model (workspace, model, created_at, id)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE training_metrics (
  workspace VARCHAR(64)  NOT NULL,
  project   VARCHAR(64)  NOT NULL,
  job_id    VARCHAR(64)  NOT NULL,
  name      VARCHAR(250) NOT NULL,
  step      BIGINT       NOT NULL,
  value     DOUBLE       NOT NULL,
  PRIMARY KEY (job_id, name, step)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE training_logs (
  position  BIGINT      NOT NULL AUTO_INCREMENT PRIMARY KEY,
  workspace VARCHAR(64) NOT NULL,
  project   VARCHAR(64) NOT NULL,
  job_id    VARCHAR(64) NOT NULL,
  attempt   BIGINT      NOT NULL,
  at        DATETIME(6) NOT NULL,
  text      TEXT        NOT NULL,
  KEY by_job (job_id, position)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE training_artifacts (
  workspace VARCHAR(64)  NOT NULL,
  project   VARCHAR(64)  NOT NULL,
  job_id    VARCHAR(64)  NOT NULL,
  attempt   BIGINT       NOT NULL,
  name      VARCHAR(250) NOT NULL,
  sha256    CHAR(64)     NOT NULL,
  size      BIGINT       NOT NULL,
  PRIMARY KEY (job_id, attempt, name)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
