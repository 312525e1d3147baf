-- What nobody names any more goes. wanted_at: when its bytes were last written, or somebody said that they will name it. doomed_at: it is
-- being removed, by whom doomed_by says; nobody may name it any more.
ALTER TABLE storage_fs_blobs
  ADD COLUMN wanted_at DATETIME(6) NOT NULL DEFAULT NOW(6),
  ADD COLUMN doomed_at DATETIME(6) NULL,
  ADD COLUMN doomed_by VARCHAR(64) NULL,
  ADD KEY by_doom (workspace, doomed_at);

-- Columns that name blobs, each of them since a plugin first said so.
CREATE TABLE storage_fs_holders (
  table_name  VARCHAR(64) NOT NULL,
  column_name VARCHAR(64) NOT NULL,
  since       DATETIME(6) NOT NULL DEFAULT NOW(6),
  PRIMARY KEY (table_name, column_name)
) CHARACTER SET ascii COLLATE ascii_bin;

-- Those that named blobs before anybody asked, though their plugin be switched off just now.
INSERT INTO storage_fs_holders (table_name, column_name)
  SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = DATABASE()
    AND CONCAT(table_name, '.', column_name) IN ('datasets_versions.sha256', 'registry_versions.sha256', 'serving_deployments.sha256',
      'training_jobs.dataset_sha256', 'training_jobs.artifact_sha256', 'training_artifacts.sha256');

CREATE TABLE storage_fs_sweeps (
  name     VARCHAR(16) NOT NULL PRIMARY KEY,
  began_at DATETIME(6) NOT NULL COMMENT 'of the last one, on whichever node'
) CHARACTER SET ascii COLLATE ascii_bin;
INSERT INTO storage_fs_sweeps (name, began_at) VALUES ('collect', NOW(6));
