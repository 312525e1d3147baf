-- What runs read and made. A dataset is kept once for each experiment, name and digest, however many runs read it.
CREATE TABLE tracking_datasets (
  id            VARCHAR(64)  NOT NULL PRIMARY KEY,
  workspace     VARCHAR(64)  NOT NULL,
  project       VARCHAR(64)  NOT NULL,
  experiment_id VARCHAR(64)  NOT NULL,
  name          VARCHAR(500) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
  digest        VARCHAR(36)  CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
  source_type   VARCHAR(36)  NOT NULL,
  source        TEXT         NOT NULL,
  `schema`      MEDIUMTEXT   NULL,
  profile       MEDIUMTEXT   NULL,
  UNIQUE KEY by_name (experiment_id, name, digest)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- `context` is the tag mlflow.data.context, which is looked for.
CREATE TABLE tracking_inputs (
  workspace     VARCHAR(64)  NOT NULL,
  project       VARCHAR(64)  NOT NULL,
  experiment_id VARCHAR(64)  NOT NULL,
  run_id        VARCHAR(64)  NOT NULL,
  dataset_id    VARCHAR(64)  NOT NULL,
  name          VARCHAR(500) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
  digest        VARCHAR(36)  CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
  context       VARCHAR(500) NULL,
  PRIMARY KEY (run_id, dataset_id),
  KEY by_name (experiment_id, name, digest, context(100))
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE tracking_input_tags (
  workspace  VARCHAR(64)  NOT NULL,
  project    VARCHAR(64)  NOT NULL,
  run_id     VARCHAR(64)  NOT NULL,
  dataset_id VARCHAR(64)  NOT NULL,
  name       VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
  value      VARCHAR(500) NOT NULL,
  PRIMARY KEY (run_id, dataset_id, name)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Logged models that a run used ('input') or made ('output').
CREATE TABLE tracking_model_links (
  workspace VARCHAR(64) NOT NULL,
  project   VARCHAR(64) NOT NULL,
  run_id    VARCHAR(64) NOT NULL,
  kind      VARCHAR(16) NOT NULL,
  model_id  VARCHAR(64) NOT NULL,
  step      BIGINT      NOT NULL,
  PRIMARY KEY (run_id, kind, step, model_id)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
