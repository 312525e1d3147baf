CREATE TABLE serving_endpoints (
  id         VARCHAR(64)  NOT NULL PRIMARY KEY,
  workspace  VARCHAR(64)  NOT NULL,
  project    VARCHAR(64)  NOT NULL,
  name       VARCHAR(250) NOT NULL,
  deployment BIGINT       NOT NULL DEFAULT 0 COMMENT 'the number of the newest deployment, which serves',
  labelled   BIGINT       NOT NULL DEFAULT 0 COMMENT 'how many labels came',
  created_at DATETIME(6)  NOT NULL,
  created_by VARCHAR(250) NOT NULL,
  UNIQUE KEY by_name (workspace, name)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE serving_deployments (
  endpoint_id VARCHAR(64)  NOT NULL,
  number      BIGINT       NOT NULL,
  workspace   VARCHAR(64)  NOT NULL,
  project     VARCHAR(64)  NOT NULL,
  model       VARCHAR(250) NOT NULL,
  version     BIGINT       NOT NULL,
  framework   VARCHAR(100) NOT NULL,
  sha256      CHAR(64)     NOT NULL,
  size        BIGINT       NOT NULL,
  signature   MEDIUMTEXT   NOT NULL COMMENT 'JSON',
  cause       VARCHAR(500) NOT NULL COMMENT 'why, in words',
  deployed_at DATETIME(6)  NOT NULL,
  deployed_by VARCHAR(250) NOT NULL,
  PRIMARY KEY (endpoint_id, number),
  CONSTRAINT serving_deployment_of FOREIGN KEY (endpoint_id) REFERENCES serving_endpoints (id)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE serving_predictions (
  position      BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
  endpoint_id   VARCHAR(64)  NOT NULL,
  prediction_id VARCHAR(128) NOT NULL,
  workspace     VARCHAR(64)  NOT NULL,
  project       VARCHAR(64)  NOT NULL,
  version       BIGINT       NOT NULL,
  at            DATETIME(6)  NOT NULL,
  inputs        MEDIUMTEXT   NOT NULL COMMENT 'JSON list of numbers',
  output        DOUBLE       NULL COMMENT 'of several outputs the index of the largest',
  UNIQUE KEY by_id (endpoint_id, prediction_id)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE serving_feedback (
  position       BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
  endpoint_id    VARCHAR(64)  NOT NULL,
  labelled_index BIGINT       NOT NULL COMMENT 'from 0 within the endpoint, without gaps',
  prediction_id  VARCHAR(128) NOT NULL,
  workspace      VARCHAR(64)  NOT NULL,
  project        VARCHAR(64)  NOT NULL,
  label          DOUBLE       NOT NULL,
  inputs         MEDIUMTEXT   NULL COMMENT 'as the caller repeated them',
  prediction     DOUBLE       NULL,
  version        BIGINT       NULL,
  at             DATETIME(6)  NOT NULL,
  UNIQUE KEY by_id (endpoint_id, prediction_id),
  UNIQUE KEY by_index (endpoint_id, labelled_index)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
