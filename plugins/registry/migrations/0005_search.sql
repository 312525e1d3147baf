-- Searches look at one table: a version says the name of its model itself, and indexes give the orders that are asked for most.
ALTER TABLE registry_versions ADD COLUMN model_name VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NULL AFTER model_id;
UPDATE registry_versions v JOIN registry_models m ON m.id = v.model_id SET v.model_name = m.name;
ALTER TABLE registry_versions
  MODIFY model_name VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
  ADD KEY by_name (workspace, model_name, version),
  ADD KEY by_update (workspace, updated_at, version);
ALTER TABLE registry_model_tags ADD KEY by_value (workspace, name, value(64), model_id);
ALTER TABLE registry_version_tags ADD KEY by_value (workspace, name, value(64), version_id);
