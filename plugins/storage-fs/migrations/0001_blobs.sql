-- What each workspace stores. A row comes before its file: one that is not placed and has no file is of a daemon that was killed.
CREATE TABLE storage_fs_blobs (
  workspace  VARCHAR(64) NOT NULL,
  sha256     CHAR(64)    NOT NULL,
  size       BIGINT      NOT NULL,
  placed     BOOLEAN     NOT NULL DEFAULT FALSE,
  created_at DATETIME(6) NOT NULL,
  PRIMARY KEY (workspace, sha256),
  KEY by_placed (placed)
) CHARACTER SET ascii COLLATE ascii_bin;
