-- The run in which it is seen. NULL: it has none, as trainings of before.
ALTER TABLE training_jobs ADD COLUMN run_id VARCHAR(64) NULL;
