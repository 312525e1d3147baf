-- A trace id is what its client says, and its own within a workspace only: everything else refers to the number.
CREATE TABLE traces_traces (
  number            BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  workspace         VARCHAR(64)     NOT NULL,
  project           VARCHAR(64)     NOT NULL,
  experiment_id     VARCHAR(64)     NOT NULL,
  id                VARCHAR(64)     NOT NULL,
  state             VARCHAR(16)     NOT NULL,
  request_time      DATETIME(6)     NOT NULL,
  ended_at          DATETIME(6)     NULL,
  told              BOOLEAN         NOT NULL COMMENT 'the client has told it as a whole: spans change it no more',
  artifact_location VARCHAR(2300)   NOT NULL,
  request_preview   TEXT            NULL,
  response_preview  TEXT            NULL,
  client_request_id VARCHAR(250)    NULL,
  session_id        VARCHAR(250)    NULL COMMENT 'its metadata mlflow.trace.session',
  UNIQUE KEY by_id (workspace, id),
  KEY by_time (experiment_id, request_time, number),
  KEY by_session (experiment_id, session_id, request_time),
  KEY by_age (request_time)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE traces_tags (
  workspace VARCHAR(64)     NOT NULL,
  project   VARCHAR(64)     NOT NULL,
  trace     BIGINT UNSIGNED NOT NULL,
  name      VARCHAR(250)    NOT NULL,
  value     VARCHAR(8000)   NOT NULL,
  PRIMARY KEY (trace, name),
  CONSTRAINT traces_tag_of FOREIGN KEY (trace) REFERENCES traces_traces (number) ON DELETE CASCADE
) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE traces_metadata (
  workspace VARCHAR(64)     NOT NULL,
  project   VARCHAR(64)     NOT NULL,
  trace     BIGINT UNSIGNED NOT NULL,
  name      VARCHAR(250)    NOT NULL,
  value     VARCHAR(8000)   NOT NULL,
  PRIMARY KEY (trace, name),
  CONSTRAINT traces_metadata_of FOREIGN KEY (trace) REFERENCES traces_traces (number) ON DELETE CASCADE
) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Attributes, events and links are in the JSON of OTLP.
CREATE TABLE traces_spans (
  workspace      VARCHAR(64)     NOT NULL,
  project        VARCHAR(64)     NOT NULL,
  trace          BIGINT UNSIGNED NOT NULL,
  span_id        CHAR(16)        CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  parent_id      CHAR(16)        CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'empty: the root',
  name           VARCHAR(1000)   NOT NULL,
  type           VARCHAR(250)    NOT NULL,
  kind           INT             NOT NULL,
  status         VARCHAR(8)      NOT NULL,
  status_message TEXT            NOT NULL,
  trace_state    VARCHAR(4000)   NOT NULL,
  start_ns       BIGINT          NOT NULL,
  end_ns         BIGINT          NOT NULL,
  attributes     LONGTEXT        NOT NULL,
  events         LONGTEXT        NOT NULL,
  links          LONGTEXT        NOT NULL,
  resource       MEDIUMTEXT      NOT NULL,
  scope          MEDIUMTEXT      NOT NULL,
  input_tokens   BIGINT          NULL,
  output_tokens  BIGINT          NULL,
  total_tokens   BIGINT          NULL,
  input_cost     DOUBLE          NULL,
  output_cost    DOUBLE          NULL,
  total_cost     DOUBLE          NULL,
  PRIMARY KEY (trace, span_id),
  KEY in_order (trace, start_ns, span_id),
  CONSTRAINT traces_span_of FOREIGN KEY (trace) REFERENCES traces_traces (number) ON DELETE CASCADE
) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE traces_assessments (
  workspace   VARCHAR(64)     NOT NULL,
  project     VARCHAR(64)     NOT NULL,
  trace       BIGINT UNSIGNED NOT NULL,
  id          VARCHAR(64)     NOT NULL,
  name        VARCHAR(250)    NOT NULL,
  kind        VARCHAR(16)     NOT NULL,
  value       LONGTEXT        NULL COMMENT 'JSON',
  error       MEDIUMTEXT      NULL COMMENT 'JSON',
  source_type VARCHAR(50)     NOT NULL,
  source_id   VARCHAR(250)    NOT NULL,
  span_id     VARCHAR(50)     NULL,
  rationale   TEXT            NULL,
  overrides   VARCHAR(64)     NULL,
  valid       BOOLEAN         NOT NULL,
  metadata    MEDIUMTEXT      NOT NULL COMMENT 'JSON: pairs',
  created_at  DATETIME(6)     NOT NULL,
  updated_at  DATETIME(6)     NOT NULL,
  PRIMARY KEY (trace, id),
  KEY by_name (trace, kind, name),
  CONSTRAINT traces_assessment_of FOREIGN KEY (trace) REFERENCES traces_traces (number) ON DELETE CASCADE
) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- The runs and the versions of prompts (NAME/VERSION) that a trace belongs to.
CREATE TABLE traces_links (
  workspace VARCHAR(64)     NOT NULL,
  project   VARCHAR(64)     NOT NULL,
  trace     BIGINT UNSIGNED NOT NULL,
  kind      VARCHAR(8)      NOT NULL,
  target    VARCHAR(300)    NOT NULL,
  PRIMARY KEY (trace, kind, target),
  KEY by_target (workspace, kind, target, trace),
  CONSTRAINT traces_link_of FOREIGN KEY (trace) REFERENCES traces_traces (number) ON DELETE CASCADE
) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
