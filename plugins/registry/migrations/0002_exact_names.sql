-- "x" and "x " are two names: the collation of 0001 takes them for one.
ALTER TABLE registry_models MODIFY name VARCHAR(250) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL;
ALTER TABLE registry_aliases MODIFY alias VARCHAR(250) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL;
