-- They are counted when a quota is set or looked at.
ALTER TABLE tracking_runs ADD KEY by_workspace (workspace);
