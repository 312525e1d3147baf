-- A folder is a range of the primary key. Ids of owners are unique in a workspace: those of traces come from clients.
CREATE TABLE artifacts_files (
  workspace     VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  kind          VARCHAR(8)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'of the owner: run, model, trace',
  owner         VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  path          VARCHAR(700) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
  project       VARCHAR(64)  NOT NULL,
  experiment_id VARCHAR(64)  NOT NULL,
  sha256        CHAR(64)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  size          BIGINT       NOT NULL,
  created_at    DATETIME(6)  NOT NULL,
  created_by    VARCHAR(250) NOT NULL,
  PRIMARY KEY (workspace, kind, owner, path),
  KEY by_bytes (workspace, sha256)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- One row for each owner that has files: who adds some holds it, so that no file becomes a folder while it becomes a file.
CREATE TABLE artifacts_owners (
  workspace VARCHAR(64) NOT NULL,
  kind      VARCHAR(8)  NOT NULL,
  owner     VARCHAR(64) NOT NULL,
  PRIMARY KEY (workspace, kind, owner)
) CHARACTER SET ascii COLLATE ascii_bin;
