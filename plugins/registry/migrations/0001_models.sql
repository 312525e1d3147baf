CREATE TABLE registry_models (
  id          VARCHAR(64)   NOT NULL PRIMARY KEY,
  workspace   VARCHAR(64)   NOT NULL,
  project     VARCHAR(64)   NOT NULL,
  name        VARCHAR(250)  NOT NULL,
  description VARCHAR(5000) NULL,
  versions    BIGINT        NOT NULL DEFAULT 0 COMMENT 'the number of the newest version',
  created_at  DATETIME(6)   NOT NULL,
  created_by  VARCHAR(250)  NOT NULL,
  UNIQUE KEY by_name (workspace, name)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE registry_versions (
  id              VARCHAR(64)   NOT NULL PRIMARY KEY,
  workspace       VARCHAR(64)   NOT NULL,
  project         VARCHAR(64)   NOT NULL,
  model_id        VARCHAR(64)   NOT NULL,
  version         BIGINT        NOT NULL,
  framework       VARCHAR(100)  NOT NULL,
  sha256          CHAR(64)      NOT NULL,
  size            BIGINT        NOT NULL,
  signature       MEDIUMTEXT    NOT NULL COMMENT 'JSON',
  run_id          VARCHAR(64)   NULL,
  training_id     VARCHAR(64)   NULL,
  dataset         VARCHAR(250)  NULL,
  dataset_version BIGINT        NULL,
  description     VARCHAR(5000) NULL,
  metrics         TEXT          NOT NULL COMMENT 'JSON object of numbers',
  created_at      DATETIME(6)   NOT NULL,
  created_by      VARCHAR(250)  NOT NULL,
  UNIQUE KEY by_number (model_id, version),
  CONSTRAINT registry_version_of FOREIGN KEY (model_id) REFERENCES registry_models (id)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE registry_aliases (
  workspace  VARCHAR(64)  NOT NULL,
  project    VARCHAR(64)  NOT NULL,
  model_id   VARCHAR(64)  NOT NULL,
  alias      VARCHAR(250) NOT NULL,
  version    BIGINT       NOT NULL,
  updated_at DATETIME(6)  NOT NULL,
  updated_by VARCHAR(250) NOT NULL,
  PRIMARY KEY (model_id, alias),
  CONSTRAINT registry_alias_of FOREIGN KEY (model_id, version) REFERENCES registry_versions (model_id, version)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
