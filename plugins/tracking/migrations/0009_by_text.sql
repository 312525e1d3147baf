-- Runs with a tag or a parameter are found newest first, as they are asked for most: its rows say when their run began. An index cannot give
-- an order behind a part of a column, so that part is a column.
ALTER TABLE tracking_parameters
  ADD COLUMN started_at   DATETIME(6) NOT NULL DEFAULT '1970-01-01 00:00:00' AFTER run_id,
  ADD COLUMN leading_part VARCHAR(64) AS (LEFT(value, 64)) PERSISTENT;
UPDATE tracking_parameters x JOIN tracking_runs r ON r.id = x.run_id SET x.started_at = r.started_at;
ALTER TABLE tracking_parameters
  DROP KEY by_value,
  ADD KEY by_value (experiment_id, name, leading_part, started_at, run_id);
ALTER TABLE tracking_tags
  ADD COLUMN started_at   DATETIME(6) NOT NULL DEFAULT '1970-01-01 00:00:00' AFTER run_id,
  ADD COLUMN leading_part VARCHAR(64) AS (LEFT(value, 64)) PERSISTENT;
UPDATE tracking_tags x JOIN tracking_runs r ON r.id = x.run_id SET x.started_at = r.started_at;
ALTER TABLE tracking_tags
  DROP KEY by_value,
  ADD KEY by_value (experiment_id, name, leading_part, started_at, run_id);
