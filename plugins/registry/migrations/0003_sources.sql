-- Versions whose files are elsewhere, as clients of MLflow register them: a source in place of the bytes, a stage, tags. What
-- is only known of a version that a training made may be NULL.
ALTER TABLE registry_models
  ADD COLUMN updated_at DATETIME(6) NULL;
UPDATE registry_models SET updated_at = created_at;
ALTER TABLE registry_models MODIFY updated_at DATETIME(6) NOT NULL DEFAULT NOW(6);
ALTER TABLE registry_models MODIFY name VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL;
ALTER TABLE registry_aliases MODIFY alias VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL;

ALTER TABLE registry_versions
  MODIFY framework    VARCHAR(100)  NULL,
  MODIFY sha256       CHAR(64)      NULL,
  MODIFY size         BIGINT        NULL,
  MODIFY signature    MEDIUMTEXT    NULL COMMENT 'JSON',
  MODIFY run_id       VARCHAR(256)  NULL,
  ADD COLUMN source       VARCHAR(2048) NULL COMMENT 'where the files were when it was registered, as the client says it',
  ADD COLUMN location     VARCHAR(2048) NULL COMMENT 'where they are, when the source names something else',
  ADD COLUMN run_link     VARCHAR(2048) NULL,
  ADD COLUMN logged_model VARCHAR(64)   NULL,
  ADD COLUMN stage        VARCHAR(16)   NOT NULL DEFAULT 'None',
  ADD COLUMN updated_at   DATETIME(6)   NULL,
  ADD KEY by_stage (model_id, stage, version),
  ADD KEY by_run (workspace, run_id);
UPDATE registry_versions SET updated_at = created_at;
ALTER TABLE registry_versions MODIFY updated_at DATETIME(6) NOT NULL DEFAULT NOW(6);

CREATE TABLE registry_model_tags (
  workspace VARCHAR(64)  NOT NULL,
  project   VARCHAR(64)  NOT NULL,
  model_id  VARCHAR(64)  NOT NULL,
  name      VARCHAR(250) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
  value     MEDIUMTEXT   CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
  PRIMARY KEY (model_id, name),
  CONSTRAINT registry_model_tag_of FOREIGN KEY (model_id) REFERENCES registry_models (id)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE registry_version_tags (
  workspace  VARCHAR(64)  NOT NULL,
  project    VARCHAR(64)  NOT NULL,
  version_id VARCHAR(64)  NOT NULL,
  name       VARCHAR(250) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
  value      MEDIUMTEXT   CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
  PRIMARY KEY (version_id, name),
  CONSTRAINT registry_version_tag_of FOREIGN KEY (version_id) REFERENCES registry_versions (id)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
