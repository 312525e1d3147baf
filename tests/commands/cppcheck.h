/* cppcheck.h: read by cppcheck before each file, never by a compiler. cppcheck parses no generic selections, gives a file up where it
 * meets one, and takes the members of a schema for accesses through a null pointer: so it sees plain calls and plain tables. */
#include <purlin/database.h>
#include <purlin/schema.h>

#undef PURLIN_V_
#define PURLIN_V_(x) purlin_value_of_(x)

#undef PURLIN_SCHEMA
#define PURLIN_SCHEMA(type_, text, ...) const purlin_schema *type_##_schema(void)

#undef PURLIN_SAME_
#define PURLIN_SAME_(type, pointer) (pointer)

/* Of libraries whose headers it does not read. */
#define cJSON_ArrayForEach(element, array)                                                                                 \
  for (element = (array) ? (array)->child : NULL; element; element = (element)->next)

/* What CMake says. */
#define PURLIN_PLUGINS_FOLDER ""
#define PURLIN_DATA_FOLDER ""
#define PURLIN_PROGRAMS_FOLDER ""
