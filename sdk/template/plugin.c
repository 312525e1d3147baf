#include <purlin/purlin.h>

/* What the operation takes: a struct, and a line for each field. */
typedef struct greet_in {
  const char *name;
  int64_t times;
} greet_in;
PURLIN_SCHEMA(greet_in, "Whom to greet",
    PURLIN_REQUIRED(name, "Who", .min_length = 1, .max_length = 100),
    PURLIN_DEFAULT(times, "1", "How often", .min = 1, .max = 10));

typedef struct greeting {
  const char *text;
} greeting;
PURLIN_SCHEMA(greeting, "A greeting", PURLIN_REQUIRED(text, "The words"));

/* POST /api/v1/@NAME@/greet, `purlin @NAME@ greet`, purlin.op["@NAME@"].greet{...}: all of it from here. */
PURLIN_OPERATION(greet, greet_in, greeting,
    .summary = "Greet somebody", .permission = "@NAME@:read", .http = "POST /api/v1/@NAME@/greet") {
  const char *text = "";
  for (int64_t i = 0; i < in->times && text; i++) text = purlin_format(ctx, "%sHello, %s! ", text, in->name);
  if (!text) return PURLIN_TOO_LARGE; /* recorded already */
  out->text = text;
  return PURLIN_OK;
}

PURLIN_PLUGIN("@NAME@", "0.1.0",
    .summary = "Greets",
    .license = "Apache-2.0");
