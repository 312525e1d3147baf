-- Uploads in parts. One is open until it has ended: as the file that sha256 tells, or as nothing.
CREATE TABLE artifacts_uploads (
  workspace  VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  id         VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  kind       VARCHAR(8)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  owner      VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  path       VARCHAR(700) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
  project    VARCHAR(64)  NOT NULL,
  parts      INT          NOT NULL COMMENT 'how many there will be',
  begun_at   DATETIME(6)  NOT NULL,
  begun_by   VARCHAR(250) NOT NULL,
  ended_at   DATETIME(6)  NULL,
  sha256     CHAR(64)     CHARACTER SET ascii COLLATE ascii_bin NULL,
  size       BIGINT       NULL,
  cleared    BOOLEAN      NOT NULL DEFAULT FALSE COMMENT 'it has ended, and none of its parts is left',
  PRIMARY KEY (workspace, id),
  KEY by_end (cleared, ended_at, begun_at)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Each part is a blob that nobody else can have: what was sent, behind random bytes. So it may be removed at once.
CREATE TABLE artifacts_parts (
  workspace VARCHAR(64) NOT NULL,
  upload    VARCHAR(64) NOT NULL,
  number    INT         NOT NULL,
  sha256    CHAR(64)    NOT NULL,
  size      BIGINT      NOT NULL,
  PRIMARY KEY (workspace, upload, number),
  KEY by_bytes (workspace, sha256)
) CHARACTER SET ascii COLLATE ascii_bin;
