CREATE TABLE accounts_links (
  hash       CHAR(64)     NOT NULL PRIMARY KEY COMMENT 'SHA-256 of the token in the link, hexadecimal',
  user_id    VARCHAR(64)  NOT NULL,
  purpose    VARCHAR(16)  NOT NULL COMMENT 'verify, reset',
  email      VARCHAR(254) NOT NULL COMMENT 'where it was sent; worth nothing once the user has another',
  version    BIGINT       NOT NULL COMMENT 'of the user; worth nothing once that has changed',
  created_at DATETIME(6)  NOT NULL,
  expires_at DATETIME(6)  NOT NULL,
  KEY (user_id, purpose, created_at),
  KEY (expires_at)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
