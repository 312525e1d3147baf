/* What the benchmark measures: of an operation that has nothing to do the way there and back; of one that writes a row what its entry in
 * the audit log costs. */
#include <purlin/purlin.h>

PURLIN_PLUGIN("bench", "0.1.0",
    .summary = "A constant operation and the smallest change, for measuring",
    .license = "Apache-2.0");

typedef struct constant_out {
  int64_t id;
  const char *name, *project, *state;
} constant_out;
PURLIN_SCHEMA(constant_out, "Always the same",
    PURLIN_REQUIRED(id, "A number"),
    PURLIN_REQUIRED(name, "A text"),
    PURLIN_REQUIRED(project, "Another"),
    PURLIN_REQUIRED(state, "Another"));

PURLIN_OPERATION(constant, purlin_nothing, constant_out,
    .summary = "Always the same answer", .permission = "models:read", .http = "GET /bench/constant") {
  (void)ctx;
  (void)in;
  *out = (constant_out){42, "churn", "default", "ready"};
  return PURLIN_OK;
}

PURLIN_MIGRATION(
    bench_0001, "bench_0001_things",
    "CREATE TABLE bench_things (\n"
    "  id VARCHAR(64) NOT NULL PRIMARY KEY, name VARCHAR(250) NOT NULL, note TEXT, made_at DATETIME(6) NOT NULL\n"
    ") CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;\n")

typedef struct thing {
  const char *name, *note;
} thing;
PURLIN_SCHEMA(thing, "A thing",
    PURLIN_REQUIRED(name, "Its name"),
    PURLIN_REQUIRED(note, "Some words"));

typedef struct thing_made {
  const char *id;
} thing_made;
PURLIN_SCHEMA(thing_made, "A thing", PURLIN_REQUIRED(id, "Its id"));

static purlin_status make_thing(purlin_ctx *ctx, const thing *in, thing_made *out) {
  out->id = purlin_new_id(ctx, "thg");
  return purlin_db_run(ctx, "INSERT INTO bench_things (id, name, note, made_at) VALUES (?, ?, ?, NOW(6))", out->id,
                       in->name, in->note);
}

PURLIN_OPERATION(make, thing, thing_made,
    .summary = "Makes a thing", .permission = "models:write", .effect = PURLIN_CREATES, .http = "POST /bench/things") {
  return make_thing(ctx, in, out);
}

PURLIN_OPERATION(make_quietly, thing, thing_made,
    .summary = "Makes a thing, without an entry in the audit log", .permission = "models:write", .effect = PURLIN_CREATES,
    .unaudited = "the benchmark compares", .http = "POST /bench/quiet-things") {
  return make_thing(ctx, in, out);
}
