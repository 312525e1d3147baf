CREATE TABLE accounts_certificates (
  id         VARCHAR(64)  NOT NULL PRIMARY KEY,
  user_id    VARCHAR(64)  NOT NULL,
  subject    VARCHAR(700) NOT NULL UNIQUE COMMENT 'who the certificate is for: its URI, else its e-mail address, else its subject',
  created_at DATETIME(6)  NOT NULL,
  created_by VARCHAR(250) NOT NULL,
  KEY (user_id, id)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
