#include "mlflow.h"

/* Clients ask for at least 3.4 before they send traces by OTLP. What is answered is the release whose protocol is spoken. */
#define PROTOCOL_RELEASE "3.17.2"

PURLIN_ROUTE(health, "GET /health", .summary = "Whether the server lives, as MLflow's clients ask", .permission = "public", .answer = "text/plain",
    .dialect = &mlflow) {
  return purlin_respond_bytes(ctx, request, 200, "text/plain", "OK", 2);
}

PURLIN_ROUTE(version, "GET /version", .summary = "Which release of MLflow's protocol is spoken", .permission = "public", .answer = "text/plain",
    .dialect = &mlflow) {
  return purlin_respond_bytes(ctx, request, 200, "text/plain", PROTOCOL_RELEASE, sizeof PROTOCOL_RELEASE - 1);
}

typedef struct server_info {
  const char *store_type;
  bool workspaces_enabled;
} server_info;
PURLIN_SCHEMA(server_info, "What a client wants to know of the server",
    PURLIN_REQUIRED(store_type, "Where it keeps things"),
    PURLIN_REQUIRED(workspaces_enabled, "Whether a header chooses a workspace: the credential does"));

PURLIN_ROUTE(describe_server, "GET /api/3.0/mlflow/server-info", .summary = "What a client wants to know of the server", .permission = "public",
    .out = server_info_schema, .dialect = &mlflow) {
  return purlin_respond(ctx, request, 200, server_info_schema(), &(server_info){"SqlStore", false});
}
