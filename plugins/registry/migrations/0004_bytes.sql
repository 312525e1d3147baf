-- Storage asks whether a version still names a blob.
ALTER TABLE registry_versions ADD KEY by_bytes (workspace, sha256);
