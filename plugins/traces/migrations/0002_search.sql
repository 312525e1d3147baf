-- What few traces have is found by it: tags and metadata by their values, assessments by their names.
ALTER TABLE traces_tags ADD KEY by_value (workspace, name, value(100), trace);
ALTER TABLE traces_metadata ADD KEY by_value (workspace, name, value(100), trace);
ALTER TABLE traces_assessments ADD KEY by_said (workspace, kind, name, trace);
