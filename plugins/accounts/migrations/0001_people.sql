CREATE TABLE accounts_users (
  id                VARCHAR(64)  NOT NULL PRIMARY KEY,
  name              VARCHAR(64)  NOT NULL UNIQUE COMMENT 'what roles are granted to: user:NAME',
  display_name      VARCHAR(200) NOT NULL,
  email             VARCHAR(254) NOT NULL COMMENT 'empty: none',
  email_verified_at DATETIME(6)  NULL,
  password_hash     VARCHAR(384) NULL COMMENT 'of crypt(5); NULL: no password opens it',
  version           BIGINT       NOT NULL DEFAULT 1 COMMENT 'counted up when the password or the state changes',
  created_at        DATETIME(6)  NOT NULL,
  created_by        VARCHAR(250) NOT NULL,
  disabled_at       DATETIME(6)  NULL,
  last_login_at     DATETIME(6)  NULL,
  KEY (email)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
CREATE TABLE accounts_sessions (
  id           VARCHAR(64)  NOT NULL PRIMARY KEY,
  user_id      VARCHAR(64)  NOT NULL,
  address      VARCHAR(64)  NOT NULL,
  agent        VARCHAR(200) NOT NULL COMMENT 'what the client called itself',
  created_at   DATETIME(6)  NOT NULL,
  refreshed_at DATETIME(6)  NOT NULL,
  expires_at   DATETIME(6)  NOT NULL COMMENT 'moved by each refresh',
  revoked_at   DATETIME(6)  NULL,
  KEY (user_id, id),
  KEY (expires_at)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
CREATE TABLE accounts_refresh_tokens (
  hash       CHAR(64)    NOT NULL PRIMARY KEY COMMENT 'SHA-256 of the token, hexadecimal',
  session_id VARCHAR(64) NOT NULL,
  created_at DATETIME(6) NOT NULL,
  used_at    DATETIME(6) NULL COMMENT 'one that comes again after that was stolen',
  KEY (session_id)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
CREATE TABLE accounts_attempts (
  id       CHAR(64)    NOT NULL PRIMARY KEY COMMENT 'SHA-256 of name and address',
  failures BIGINT      NOT NULL COMMENT 'attempts since the last that succeeded',
  at       DATETIME(6) NOT NULL,
  next_at  DATETIME(6) NOT NULL COMMENT 'none is looked at before',
  KEY (at)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
CREATE TABLE accounts_keys (
  id          VARCHAR(64) NOT NULL PRIMARY KEY COMMENT 'kid',
  algorithm   VARCHAR(16) NOT NULL COMMENT 'the only one that it is used with',
  public_key  BLOB        NULL COMMENT 'SubjectPublicKeyInfo, DER; NULL: HS256 has none',
  jwk         TEXT        NULL COMMENT 'the same as a JSON Web Key',
  sealed      BLOB        NOT NULL COMMENT 'the private part: nonce, AES-256-GCM, tag',
  sealed_by   CHAR(16)    NOT NULL COMMENT 'which file of a node opens it',
  created_at  DATETIME(6) NOT NULL,
  retires_at  DATETIME(6) NULL COMMENT 'signs no more once set, is taken until then',
  KEY (sealed_by, algorithm, created_at)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
