CREATE TABLE tracking_logged_models (
  id            VARCHAR(64)   NOT NULL PRIMARY KEY,
  workspace     VARCHAR(64)   NOT NULL,
  project       VARCHAR(64)   NOT NULL,
  experiment_id VARCHAR(64)   NOT NULL,
  name          VARCHAR(500)  CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
  model_type    VARCHAR(500)  NULL,
  source_run_id VARCHAR(64)   NULL,
  status        VARCHAR(16)   CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL COMMENT 'found as READY too',
  artifact_uri  VARCHAR(4096) NOT NULL,
  lifecycle     VARCHAR(16)   NOT NULL DEFAULT 'active',
  created_at    DATETIME(6)   NOT NULL,
  updated_at    DATETIME(6)   NOT NULL,
  created_by    VARCHAR(250)  NOT NULL,
  KEY by_experiment (experiment_id, lifecycle, created_at DESC, id),
  KEY by_time (workspace, lifecycle, created_at DESC, id),
  KEY by_run (source_run_id),
  CONSTRAINT tracking_logged_model_of FOREIGN KEY (experiment_id) REFERENCES tracking_experiments (id)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE tracking_logged_model_tags (
  workspace VARCHAR(64)  NOT NULL,
  project   VARCHAR(64)  NOT NULL,
  model_id  VARCHAR(64)  NOT NULL,
  name      VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
  value     TEXT         NOT NULL,
  PRIMARY KEY (model_id, name)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE tracking_logged_model_parameters (
  workspace VARCHAR(64)  NOT NULL,
  project   VARCHAR(64)  NOT NULL,
  model_id  VARCHAR(64)  NOT NULL,
  name      VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
  value     TEXT         NOT NULL,
  PRIMARY KEY (model_id, name)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- `scope` stands for a dataset, see scope_of in logged_model_metrics.c; '' for none. A value that is not a number is NULL.
CREATE TABLE tracking_logged_model_metrics (
  workspace      VARCHAR(64)  NOT NULL,
  project        VARCHAR(64)  NOT NULL,
  model_id       VARCHAR(64)  NOT NULL,
  name           VARCHAR(250) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
  step           BIGINT       NOT NULL,
  at             DATETIME(6)  NOT NULL,
  run_id         VARCHAR(64)  NOT NULL,
  scope          VARCHAR(32)  NOT NULL,
  value          DOUBLE       NULL,
  dataset_name   VARCHAR(500) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NULL,
  dataset_digest VARCHAR(36)  CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NULL,
  PRIMARY KEY (model_id, name, step, at, run_id, scope)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What models are ordered by: the latest value of all, of a dataset's name, and of its name and digest, each a scope.
CREATE TABLE tracking_logged_model_latest (
  workspace      VARCHAR(64)  NOT NULL,
  project        VARCHAR(64)  NOT NULL,
  model_id       VARCHAR(64)  NOT NULL,
  name           VARCHAR(250) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
  scope          VARCHAR(32)  NOT NULL,
  step           BIGINT       NOT NULL,
  at             DATETIME(6)  NOT NULL,
  run_id         VARCHAR(64)  NOT NULL,
  value          DOUBLE       NULL,
  dataset_name   VARCHAR(500) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NULL,
  dataset_digest VARCHAR(36)  CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NULL,
  PRIMARY KEY (model_id, name, scope)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
