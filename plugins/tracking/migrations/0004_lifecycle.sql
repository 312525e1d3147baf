-- Experiments and runs may be deleted and come back; both have tags; runs say when they began by their own clock. Ids of experiments stay
-- random texts, but that of the first workspace's Default, which every client of MLflow knows as 0.
ALTER TABLE tracking_experiments
  ADD COLUMN artifact_location VARCHAR(2048) NULL COMMENT 'NULL: mlflow-artifacts:/ID',
  ADD COLUMN lifecycle         VARCHAR(16)   NOT NULL DEFAULT 'active',
  ADD COLUMN updated_at        DATETIME(6)   NULL,
  ADD KEY by_time (workspace, lifecycle, created_at, id);
UPDATE tracking_experiments SET updated_at = created_at;
ALTER TABLE tracking_experiments MODIFY updated_at DATETIME(6) NOT NULL DEFAULT NOW(6);

CREATE TABLE tracking_experiment_tags (
  workspace     VARCHAR(64)   NOT NULL,
  project       VARCHAR(64)   NOT NULL,
  experiment_id VARCHAR(64)   NOT NULL,
  name          VARCHAR(250)  CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
  value         MEDIUMTEXT    NOT NULL COMMENT 'at most 20,000 characters',
  PRIMARY KEY (experiment_id, name)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

ALTER TABLE tracking_runs
  ADD COLUMN user         VARCHAR(256)  NOT NULL DEFAULT '' COMMENT 'as the client says; created_by is who it was',
  ADD COLUMN artifact_uri VARCHAR(2048) NULL COMMENT 'NULL: mlflow-artifacts:/EXPERIMENT/ID/artifacts',
  ADD COLUMN lifecycle    VARCHAR(16)   NOT NULL DEFAULT 'active',
  ADD COLUMN started_at   DATETIME(6)   NULL,
  ADD COLUMN deleted_at   DATETIME(6)   NULL;
UPDATE tracking_runs SET started_at = created_at;
ALTER TABLE tracking_runs
  MODIFY started_at DATETIME(6) NOT NULL DEFAULT NOW(6),
  ADD KEY by_start (experiment_id, lifecycle, started_at, id);

-- A latest value that is not a number is NULL: nothing compares with it and it comes last. In the history it is 0 with this mark.
ALTER TABLE tracking_metrics
  ADD COLUMN is_nan BOOLEAN NOT NULL DEFAULT FALSE,
  DROP PRIMARY KEY,
  ADD PRIMARY KEY (run_id, name, step, at, value, is_nan);
ALTER TABLE tracking_latest_metrics MODIFY value DOUBLE NULL;

INSERT IGNORE INTO tracking_experiments (id, workspace, project, name, created_at, updated_at, created_by)
  VALUES ('0', 'default', 'default', 'Default', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), 'system');
