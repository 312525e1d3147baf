CREATE TABLE secrets_values (
  workspace    VARCHAR(64)  NOT NULL,
  name         VARCHAR(64)  NOT NULL,
  sealed       MEDIUMBLOB   NOT NULL COMMENT 'the value, by purlin_seal as this table, workspace and name',
  created_at   DATETIME(6)  NOT NULL,
  created_by   VARCHAR(250) NOT NULL,
  updated_at   DATETIME(6)  NOT NULL,
  updated_by   VARCHAR(250) NOT NULL,
  last_used_at DATETIME(6)  NULL COMMENT 'some seconds late',
  PRIMARY KEY (workspace, name)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
