CREATE TABLE accounts_registrations (
  id            VARCHAR(64)  NOT NULL PRIMARY KEY,
  name          VARCHAR(64)  NOT NULL,
  display_name  VARCHAR(200) NOT NULL,
  email         VARCHAR(254) NOT NULL,
  password_hash VARCHAR(384) NOT NULL,
  role          VARCHAR(64)  NOT NULL COMMENT 'granted once it is confirmed; empty: none',
  token_hash    CHAR(64)     NULL UNIQUE COMMENT 'SHA-256 of the token in the letter, hexadecimal; NULL: none was sent',
  created_at    DATETIME(6)  NOT NULL,
  expires_at    DATETIME(6)  NOT NULL,
  sent_at       DATETIME(6)  NULL COMMENT 'when a letter went out, whatever it said',
  KEY (email, sent_at),
  KEY (expires_at)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
