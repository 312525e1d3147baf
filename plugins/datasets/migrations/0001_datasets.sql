CREATE TABLE datasets_sets (
  id         VARCHAR(64)  NOT NULL PRIMARY KEY,
  workspace  VARCHAR(64)  NOT NULL,
  project    VARCHAR(64)  NOT NULL,
  name       VARCHAR(250) NOT NULL,
  versions   BIGINT       NOT NULL DEFAULT 0 COMMENT 'the number of the newest version',
  created_at DATETIME(6)  NOT NULL,
  created_by VARCHAR(250) NOT NULL,
  UNIQUE KEY by_name (workspace, name)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE datasets_versions (
  id         VARCHAR(64)  NOT NULL PRIMARY KEY,
  workspace  VARCHAR(64)  NOT NULL,
  project    VARCHAR(64)  NOT NULL,
  set_id     VARCHAR(64)  NOT NULL,
  version    BIGINT       NOT NULL,
  sha256     CHAR(64)     NOT NULL,
  size       BIGINT       NOT NULL,
  row_count  BIGINT       NOT NULL,
  columns    MEDIUMTEXT   NOT NULL COMMENT 'JSON: name, type and statistics of each',
  origin     VARCHAR(500) NOT NULL DEFAULT '' COMMENT 'where it came from, in words',
  created_at DATETIME(6)  NOT NULL,
  created_by VARCHAR(250) NOT NULL,
  UNIQUE KEY by_number (set_id, version),
  CONSTRAINT datasets_version_of FOREIGN KEY (set_id) REFERENCES datasets_sets (id)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
