-- "x" and "x " are two names: the collation of 0001 takes them for one.
ALTER TABLE serving_endpoints MODIFY name VARCHAR(250) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL;
ALTER TABLE serving_predictions MODIFY prediction_id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL;
ALTER TABLE serving_feedback MODIFY prediction_id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL;
