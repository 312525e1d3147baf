-- In which run or logged model a version has its files, so that these are not purged: by "runs:/RUN/..." or
-- "mlflow-artifacts:/EXPERIMENT/RUN/artifacts...", ".../models/MODEL/artifacts...".
ALTER TABLE registry_versions
  ADD COLUMN files_of VARCHAR(64) GENERATED ALWAYS AS (
    CASE WHEN COALESCE(location, source) LIKE 'runs:/%'
      THEN LEFT(SUBSTRING_INDEX(SUBSTRING(COALESCE(location, source), 7), '/', 1), 64)
    WHEN COALESCE(location, source) LIKE 'mlflow-artifacts:%/artifacts%'
      THEN LEFT(SUBSTRING_INDEX(SUBSTRING_INDEX(COALESCE(location, source), '/artifacts', 1), '/', -1), 64)
    END) STORED,
  ADD KEY by_files (workspace, files_of);
