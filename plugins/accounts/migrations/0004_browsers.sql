ALTER TABLE accounts_sessions
  ADD COLUMN cookie  CHAR(64)    NULL COMMENT 'of a browser: SHA-256 of its cookie, hexadecimal; NULL: a program with tokens',
  ADD COLUMN ends_at DATETIME(6) NULL COMMENT 'of a browser: expires_at is never moved beyond',
  ADD UNIQUE KEY (cookie);
