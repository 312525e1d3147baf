-- Searches ask for what was logged in one experiment: its rows say so themselves, so that an index finds them by name and value without a
-- look at each run.
ALTER TABLE tracking_latest_metrics ADD COLUMN experiment_id VARCHAR(64) NULL AFTER project;
UPDATE tracking_latest_metrics x JOIN tracking_runs r ON r.id = x.run_id SET x.experiment_id = r.experiment_id;
ALTER TABLE tracking_latest_metrics
  MODIFY experiment_id VARCHAR(64) NOT NULL,
  ADD KEY by_value (experiment_id, name, value, run_id);
ALTER TABLE tracking_parameters ADD COLUMN experiment_id VARCHAR(64) NULL AFTER project;
UPDATE tracking_parameters x JOIN tracking_runs r ON r.id = x.run_id SET x.experiment_id = r.experiment_id;
ALTER TABLE tracking_parameters
  MODIFY experiment_id VARCHAR(64) NOT NULL,
  ADD KEY by_value (experiment_id, name, value(64), run_id);
ALTER TABLE tracking_tags ADD COLUMN experiment_id VARCHAR(64) NULL AFTER project;
UPDATE tracking_tags x JOIN tracking_runs r ON r.id = x.run_id SET x.experiment_id = r.experiment_id;
ALTER TABLE tracking_tags
  MODIFY experiment_id VARCHAR(64) NOT NULL,
  ADD KEY by_value (experiment_id, name, value(64), run_id);
