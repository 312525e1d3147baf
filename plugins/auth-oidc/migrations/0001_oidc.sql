CREATE TABLE auth_oidc_people (
  id             CHAR(64)     NOT NULL PRIMARY KEY COMMENT 'SHA-256 of issuer and subject, hexadecimal',
  name           VARCHAR(64)  NOT NULL,
  display_name   VARCHAR(200) NOT NULL,
  email          VARCHAR(254) NOT NULL COMMENT 'empty: none',
  email_verified BOOLEAN      NOT NULL,
  member_of      LONGTEXT     NOT NULL COMMENT 'groups, a JSON list',
  seen_at        DATETIME(6)  NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
CREATE TABLE auth_oidc_logins (
  state      CHAR(64)      NOT NULL PRIMARY KEY COMMENT 'SHA-256 of what the provider gives back',
  browser    CHAR(64)      NOT NULL COMMENT 'SHA-256 of the cookie, from which nonce and verifier follow',
  return_to  VARCHAR(1000) NOT NULL,
  address    VARCHAR(64)   NOT NULL,
  expires_at DATETIME(6)   NOT NULL,
  KEY (address, expires_at),
  KEY (expires_at)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
CREATE TABLE auth_oidc_devices (
  handle     CHAR(64)    NOT NULL PRIMARY KEY COMMENT 'SHA-256 of what the command line polls with',
  sealed     BLOB        NOT NULL COMMENT 'the device code, under a key that follows from the handle',
  interval_s BIGINT      NOT NULL,
  next_at    DATETIME(6) NOT NULL COMMENT 'the provider is not asked before',
  address    VARCHAR(64) NOT NULL,
  expires_at DATETIME(6) NOT NULL,
  KEY (address, expires_at),
  KEY (expires_at)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
CREATE TABLE auth_oidc_seen (
  id         CHAR(64)    NOT NULL PRIMARY KEY COMMENT 'SHA-256 of issuer and jti of a logout token, which counts once',
  expires_at DATETIME(6) NOT NULL,
  KEY (expires_at)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
