CREATE TABLE webhooks_hooks (
  id          VARCHAR(64)   NOT NULL PRIMARY KEY,
  workspace   VARCHAR(64)   NOT NULL,
  name        VARCHAR(63)   NOT NULL,
  description VARCHAR(5000) NULL,
  url         VARCHAR(2048) NOT NULL,
  events      TEXT          NOT NULL COMMENT 'JSON list of names',
  active      BOOLEAN       NOT NULL,
  sealed      BLOB          NULL COMMENT 'the secret, by purlin_seal as this table and id',
  created_at  DATETIME(6)   NOT NULL,
  created_by  VARCHAR(250)  NOT NULL,
  updated_at  DATETIME(6)   NOT NULL,
  KEY by_workspace (workspace, id)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE webhooks_deliveries (
  id         VARCHAR(64)   NOT NULL PRIMARY KEY,
  workspace  VARCHAR(64)   NOT NULL,
  hook_id    VARCHAR(64)   NOT NULL,
  event      VARCHAR(64)   NOT NULL,
  body       MEDIUMTEXT    NOT NULL,
  state      VARCHAR(16)   NOT NULL COMMENT 'waiting, delivered, failed',
  attempts   BIGINT        NOT NULL DEFAULT 0,
  answered   BIGINT        NULL COMMENT 'the HTTP status of the last attempt',
  error      VARCHAR(1000) NULL,
  created_at DATETIME(6)   NOT NULL,
  ended_at   DATETIME(6)   NULL,
  KEY by_hook (hook_id, created_at, id),
  CONSTRAINT webhooks_delivery_of FOREIGN KEY (hook_id) REFERENCES webhooks_hooks (id)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
