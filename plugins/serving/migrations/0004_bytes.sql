-- Storage asks whether a deployment still names a blob.
ALTER TABLE serving_deployments ADD KEY by_bytes (workspace, sha256);
