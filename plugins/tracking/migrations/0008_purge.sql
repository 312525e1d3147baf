-- Deleted runs are found by when they were deleted; runs of a workspace are counted by the same index.
ALTER TABLE tracking_runs
  DROP KEY by_workspace,
  ADD KEY by_deletion (workspace, deleted_at);

-- What was purged, until its rows in other tables are swept.
CREATE TABLE tracking_leftovers (
  kind      VARCHAR(16) NOT NULL COMMENT 'run, logged_model, experiment',
  owner     VARCHAR(64) NOT NULL,
  workspace VARCHAR(64) NOT NULL,
  purged_at DATETIME(6) NOT NULL,
  PRIMARY KEY (kind, owner),
  KEY by_time (purged_at)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
