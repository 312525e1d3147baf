/* tracking.h: what the operations of the plugin `tracking` take and give, for those that call them from C.
 *
 *   tracking_which_experiment which = {.id = "0"};
 *   tracking_experiment found = {0};
 *   status = purlin_call(ctx, "tracking.get_experiment", tracking_which_experiment_schema(), &which,
 *                        tracking_experiment_schema(), &found);
 *
 * Who includes this and says PURLIN_NEEDS_PLUGIN(tracking, "tracking") passes structs as they are: nothing is encoded on the way. What
 * each operation does, and which permission it wants, stands where it is declared, in plugins/tracking.
 *
 * Since 0.2. */
#ifndef PURLIN_CONTRACTS_TRACKING_H
#define PURLIN_CONTRACTS_TRACKING_H

#include <purlin/operation.h>

PURLIN_BEGIN

/* ---- Words that several share --------------------------------------------------------------------------------------------- */

/* A parameter, or a tag. Lengths are bytes; how many characters fit the columns say. */
typedef struct tracking_pair {
  const char *key, *value;
} tracking_pair;
PURLIN_SCHEMA(tracking_pair, "A key and its value",
    PURLIN_REQUIRED(key, "The key", .min_length = 1, .max_length = 1000),
    PURLIN_REQUIRED(value, "The value", .max_length = 32000));

/* A condition, an order and a page, as <purlin/search.h> understands them. */
#define TRACKING_PAGE_FIELDS(most)                                                                                         \
  PURLIN_DEFAULT(condition, "\"\"", "Which, such as metrics.accuracy > 0.9 AND tags.stage = 'test'; all without it"),      \
      PURLIN_DEFAULT(order, "\"\"", "Keys with commas between, such as metrics.accuracy DESC"),                            \
      PURLIN_DEFAULT(page, "\"\"", "What came as next_page with the page before"),                                         \
      PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = most)

/* Deleted objects stay, out of sight, until they are purged. */
#define TRACKING_LIFECYCLES "active, deleted"

/* ---- Experiments ------------------------------------------------------------------------------------------------------------- */

typedef struct tracking_experiment {
  const char *id, *project, *name;
  purlin_opt_text description;
  const char *artifact_location, *lifecycle;
  purlin_time created_at, updated_at;
  const char *created_by;
  PURLIN_LIST_OF(tracking_pair) tags;
} tracking_experiment;
PURLIN_SCHEMA(tracking_experiment, "An experiment: runs that belong together",
    PURLIN_REQUIRED(id, "Its id"),
    PURLIN_REQUIRED(project, "Its project"),
    PURLIN_REQUIRED(name, "Its name, unique in the workspace"),
    PURLIN_OPTIONAL(description, "What is tried"),
    PURLIN_REQUIRED(artifact_location, "Below which URI its runs keep their files"),
    PURLIN_REQUIRED(lifecycle, "Whether it was deleted", .choices = TRACKING_LIFECYCLES),
    PURLIN_REQUIRED(created_at, "Since when"),
    PURLIN_REQUIRED(updated_at, "When it, or the list of its tags, changed last"),
    PURLIN_REQUIRED(created_by, "By whom"),
    PURLIN_LIST(tags, tracking_pair, "Its tags"));

/* By name or by id; the id wins. The id "0" is that of the workspace's experiment named Default. */
typedef struct tracking_which_experiment {
  const char *name, *id;
} tracking_which_experiment;
PURLIN_SCHEMA(tracking_which_experiment, "Which experiment",
    PURLIN_DEFAULT(name, "\"\"", "Its name, or", .max_length = 2000),
    PURLIN_DEFAULT(id, "\"\"", "its id", .max_length = 64));

PURLIN_END

#endif
