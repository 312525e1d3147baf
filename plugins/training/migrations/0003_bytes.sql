-- Storage asks whether a job or one of its artifacts still names a blob.
ALTER TABLE training_jobs
  ADD KEY by_data (workspace, dataset_sha256),
  ADD KEY by_model_bytes (workspace, artifact_sha256);
ALTER TABLE training_artifacts ADD KEY by_bytes (workspace, sha256);
