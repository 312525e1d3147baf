/* tables.c: the tables of the log.
 *
 * audit_waiting  entries as their changes wrote them, until the sequencer has numbered them.
 * audit_entries  those with a number; `leaf` and `leaf_index` stay when content is erased. Its only index beside that of the numbers is
 *                that of its positions: an index by actor or object costs each change more than it saves those who look, who give a time
 *                or read pages. (Rows without a number were written by versions before 0.2.)
 * audit_state    one row: who holds it numbers. `peaks` are the roots of the complete subtrees that make up the tree, so that it grows
 *                without a look at what is old, and goes on truly whatever was done to that.
 * audit_subtrees the roots of each 256, 65,536, ... leaves: any proof is made of some hundred hashes. */
#include "audit/audit.h"

PURLIN_MIGRATION(audit_0001, "audit_0001_log",
                 "CREATE TABLE audit_entries (\n"
                 "  position    BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,\n"
                 "  leaf_index  BIGINT       NULL,\n"
                 "  leaf        BINARY(32)   NOT NULL,\n"
                 "  id          VARCHAR(40)  NULL COMMENT 'NULL: what the entry told was erased',\n"
                 "  at          DATETIME(6)  NOT NULL,\n"
                 "  workspace   VARCHAR(250) NOT NULL,\n"
                 "  project     VARCHAR(250) NULL,\n"
                 "  actor       VARCHAR(250) NULL,\n"
                 "  credential  VARCHAR(250) NULL,\n"
                 "  address     VARCHAR(250) NULL,\n"
                 "  operation   VARCHAR(250) NOT NULL,\n"
                 "  object      VARCHAR(250) NULL,\n"
                 "  outcome     VARCHAR(32)  NOT NULL,\n"
                 "  trace_id    VARCHAR(32)  NULL,\n"
                 "  input       MEDIUMTEXT   NULL,\n"
                 "  input_bytes BIGINT       NOT NULL,\n"
                 "  input_hash  CHAR(64)     NULL,\n"
                 "  UNIQUE KEY by_index (leaf_index),\n"
                 "  KEY by_actor (workspace, actor, position)\n"
                 ") CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;\n"
                 "CREATE TABLE audit_subtrees (\n"
                 "  level  TINYINT    NOT NULL COMMENT 'of 2^level leaves',\n"
                 "  number BIGINT     NOT NULL,\n"
                 "  root   BINARY(32) NOT NULL,\n"
                 "  PRIMARY KEY (level, number)\n"
                 ");\n"
                 "CREATE TABLE audit_state (\n"
                 "  id     TINYINT         NOT NULL PRIMARY KEY,\n"
                 "  origin CHAR(32)        NOT NULL COMMENT 'of this log, in each head',\n"
                 "  size   BIGINT          NOT NULL,\n"
                 "  peaks  VARBINARY(2016) NOT NULL,\n"
                 "  forgot BIGINT          NOT NULL DEFAULT 0 COMMENT 'content up to this position is gone by rule'\n"
                 ") CHARACTER SET ascii COLLATE ascii_bin;\n"
                 "INSERT INTO audit_state (id, origin, size, peaks) VALUES (1, REPLACE(UUID(), '-', ''), 0, '');\n"
                 "CREATE TABLE audit_heads (\n"
                 "  size      BIGINT        NOT NULL PRIMARY KEY,\n"
                 "  root      CHAR(64)      NOT NULL,\n"
                 "  at        DATETIME(6)   NOT NULL,\n"
                 "  signer    CHAR(64)      NOT NULL COMMENT 'SHA-256 of the public key',\n"
                 "  signature VARCHAR(100)  NOT NULL,\n"
                 "  public_key VARCHAR(500) NOT NULL COMMENT 'PEM'\n"
                 ") CHARACTER SET ascii COLLATE ascii_bin;\n")

PURLIN_MIGRATION(audit_0002, "audit_0002_before_after",
                 "ALTER TABLE audit_entries\n"
                 "  ADD COLUMN `before` MEDIUMTEXT NULL,\n"
                 "  ADD COLUMN `after`  MEDIUMTEXT NULL;\n")

/* New positions follow the old ones. */
PURLIN_MIGRATION(audit_0003, "audit_0003_waiting",
                 "CREATE TABLE audit_waiting (\n"
                 "  position BIGINT     NOT NULL AUTO_INCREMENT PRIMARY KEY,\n"
                 "  entry    MEDIUMTEXT NOT NULL COMMENT 'JSON: all but the following',\n"
                 "  input    MEDIUMTEXT NULL,\n"
                 "  `before` MEDIUMTEXT NULL,\n"
                 "  `after`  MEDIUMTEXT NULL\n"
                 ") CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;\n"
                 "INSERT INTO audit_waiting (position, entry) SELECT IFNULL(MAX(position), 0) + 1, '' FROM audit_entries;\n"
                 "DELETE FROM audit_waiting WHERE entry = '';\n"
                 "ALTER TABLE audit_entries DROP INDEX by_actor;\n")

const purlin_migration *const audit_migrations[] = {&audit_0001_migration, &audit_0002_migration, &audit_0003_migration};
const size_t audit_migration_count = sizeof audit_migrations / sizeof audit_migrations[0];
