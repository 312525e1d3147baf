-- Whom its creator's roles are granted to: an attempt begins while they may read the dataset. NULL: made by the system.
ALTER TABLE training_jobs ADD COLUMN subjects TEXT NULL;
