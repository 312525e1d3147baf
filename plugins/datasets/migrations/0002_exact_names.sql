-- "x" and "x " are two names: the collation of 0001 takes them for one.
ALTER TABLE datasets_sets MODIFY name VARCHAR(250) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL;
