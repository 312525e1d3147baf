-- Endpoints that were deleted, until their prediction log and their labels are swept.
CREATE TABLE serving_leftovers (
  endpoint_id VARCHAR(64)  NOT NULL PRIMARY KEY,
  workspace   VARCHAR(64)  NOT NULL,
  project     VARCHAR(64)  NOT NULL,
  name        VARCHAR(250) NOT NULL,
  deleted_at  DATETIME(6)  NOT NULL,
  deleted_by  VARCHAR(250) NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
