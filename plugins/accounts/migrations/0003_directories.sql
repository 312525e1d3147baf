ALTER TABLE accounts_users
  ADD COLUMN directory    VARCHAR(64)  NOT NULL DEFAULT '' COMMENT 'who knows them and their password; empty: we do',
  ADD COLUMN external_id  VARCHAR(250) NULL COMMENT 'what the directory calls them for good; NULL: nobody else knows them',
  ADD COLUMN `groups`     TEXT         NOT NULL DEFAULT '[]' COMMENT 'JSON list of subjects: group:research',
  ADD COLUMN looked_up_at DATETIME(6)  NULL COMMENT 'when the directory last let them in',
  ADD UNIQUE KEY (directory, external_id);
