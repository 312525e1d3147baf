CREATE TABLE tracking_experiments (
  id          VARCHAR(64)   NOT NULL PRIMARY KEY,
  workspace   VARCHAR(64)   NOT NULL,
  project     VARCHAR(64)   NOT NULL,
  name        VARCHAR(500)  NOT NULL,
  description VARCHAR(5000) NULL,
  created_at  DATETIME(6)   NOT NULL,
  created_by  VARCHAR(250)  NOT NULL,
  UNIQUE KEY by_name (workspace, name)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE tracking_runs (
  id            VARCHAR(64)   NOT NULL PRIMARY KEY,
  workspace     VARCHAR(64)   NOT NULL,
  project       VARCHAR(64)   NOT NULL,
  experiment_id VARCHAR(64)   NOT NULL,
  name          VARCHAR(250)  NOT NULL,
  status        VARCHAR(16)   NOT NULL,
  created_at    DATETIME(6)   NOT NULL,
  ended_at      DATETIME(6)   NULL,
  created_by    VARCHAR(250)  NOT NULL,
  KEY by_experiment (experiment_id, created_at, id),
  CONSTRAINT tracking_run_of FOREIGN KEY (experiment_id) REFERENCES tracking_experiments (id)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Clustered by run and key, so that a history is one range and writes of one run stay together.
CREATE TABLE tracking_metrics (
  workspace VARCHAR(64)  NOT NULL,
  project   VARCHAR(64)  NOT NULL,
  run_id    VARCHAR(64)  NOT NULL,
  name      VARCHAR(250) NOT NULL,
  step      BIGINT       NOT NULL,
  at        DATETIME(6)  NOT NULL,
  value     DOUBLE       NOT NULL,
  PRIMARY KEY (run_id, name, step, at, value)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE tracking_latest_metrics (
  workspace VARCHAR(64)  NOT NULL,
  project   VARCHAR(64)  NOT NULL,
  run_id    VARCHAR(64)  NOT NULL,
  name      VARCHAR(250) NOT NULL,
  step      BIGINT       NOT NULL,
  at        DATETIME(6)  NOT NULL,
  value     DOUBLE       NOT NULL,
  PRIMARY KEY (run_id, name)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE tracking_parameters (
  workspace VARCHAR(64)   NOT NULL,
  project   VARCHAR(64)   NOT NULL,
  run_id    VARCHAR(64)   NOT NULL,
  name      VARCHAR(250)  NOT NULL,
  value     VARCHAR(6000) NOT NULL,
  PRIMARY KEY (run_id, name)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE tracking_tags (
  workspace VARCHAR(64)   NOT NULL,
  project   VARCHAR(64)   NOT NULL,
  run_id    VARCHAR(64)   NOT NULL,
  name      VARCHAR(250)  NOT NULL,
  value     VARCHAR(8000) NOT NULL,
  PRIMARY KEY (run_id, name)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
