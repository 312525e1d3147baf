CREATE TABLE drift_monitors (
  id                VARCHAR(64)  NOT NULL PRIMARY KEY,
  workspace         VARCHAR(64)  NOT NULL,
  project           VARCHAR(64)  NOT NULL,
  endpoint          VARCHAR(250) NOT NULL,
  model             VARCHAR(250) NOT NULL,
  version           BIGINT       NOT NULL COMMENT 'the champion whose predictions are watched',
  dataset           VARCHAR(250) NOT NULL COMMENT 'what it learned from',
  dataset_version   BIGINT       NOT NULL,
  baseline_accuracy DOUBLE       NOT NULL COMMENT 'what it showed on rows that it had not learned from',
  champion_since    BIGINT       NOT NULL COMMENT 'index of the first labelled row that may be its own',
  evaluate_every    BIGINT       NOT NULL,
  drift_window      BIGINT       NOT NULL,
  accuracy_window   BIGINT       NOT NULL,
  psi_threshold     DOUBLE       NOT NULL,
  ks_threshold      DOUBLE       NULL,
  accuracy_margin   DOUBLE       NOT NULL,
  evaluated         BIGINT       NOT NULL COMMENT 'labelled rows up to the last evaluation',
  profile           MEDIUMTEXT   NOT NULL COMMENT 'JSON: name and percentiles of each feature',
  created_at        DATETIME(6)  NOT NULL,
  created_by        VARCHAR(250) NOT NULL,
  UNIQUE KEY by_endpoint (workspace, endpoint)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE drift_reports (
  workspace         VARCHAR(64)  NOT NULL,
  project           VARCHAR(64)  NOT NULL,
  monitor_id        VARCHAR(64)  NOT NULL,
  labelled          BIGINT       NOT NULL COMMENT 'labelled rows at this evaluation',
  version           BIGINT       NOT NULL,
  accuracy          DOUBLE       NULL COMMENT 'NULL: the champion has not served a whole window',
  baseline_accuracy DOUBLE       NOT NULL,
  features          MEDIUMTEXT   NOT NULL COMMENT 'JSON: psi and ks of each feature',
  accuracy_alert    VARCHAR(64)  NULL,
  drift_alert       VARCHAR(64)  NULL,
  created_at        DATETIME(6)  NOT NULL,
  PRIMARY KEY (monitor_id, labelled),
  CONSTRAINT drift_report_of FOREIGN KEY (monitor_id) REFERENCES drift_monitors (id)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE drift_alerts (
  id         VARCHAR(64)  NOT NULL PRIMARY KEY,
  workspace  VARCHAR(64)  NOT NULL,
  project    VARCHAR(64)  NOT NULL,
  monitor_id VARCHAR(64)  NOT NULL,
  endpoint   VARCHAR(250) NOT NULL,
  kind       VARCHAR(16)  NOT NULL COMMENT 'accuracy or drift',
  state      VARCHAR(16)  NOT NULL COMMENT 'raised, or ongoing when it was up at the evaluation before',
  labelled   BIGINT       NOT NULL,
  version    BIGINT       NOT NULL,
  feature    VARCHAR(250) NULL COMMENT 'the one that drifted most',
  value      DOUBLE       NOT NULL,
  threshold  DOUBLE       NOT NULL,
  features   MEDIUMTEXT   NOT NULL COMMENT 'JSON: those that drifted',
  answer     VARCHAR(500) NULL COMMENT 'what was done about it',
  created_at DATETIME(6)  NOT NULL,
  KEY by_endpoint (workspace, endpoint, labelled),
  CONSTRAINT drift_alert_of FOREIGN KEY (monitor_id) REFERENCES drift_monitors (id)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
