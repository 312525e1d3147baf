/* places.h: where an installation keeps what belongs to this release. CMake's install() decides it, and it is compiled in.
 *
 * What belongs to the machine is the same wherever Purlin was installed: /etc/purlin, /var/lib/purlin, /run/purlin. */
#ifndef PURLIN_CORE_PLACES_H
#define PURLIN_CORE_PLACES_H

#include <stdbool.h>
#include <stddef.h>

extern const char places_plugins[];  /* folder of the plugins that come with it */
extern const char places_library[];  /* folder that Lua's require reads from */
extern const char places_template[]; /* folder of what `purlin plugin new` copies */
extern const char places_programs[]; /* folder of the programs that are no commands: purlin-runner, purlin-import-mlflow */

/* The path of such a program: beside the running one, as in a build tree, else in places_programs, where it need not be.
 * false: the path does not fit into `size` bytes. Also before threads; not in signal handlers. */
bool places_find_program(const char *name, char *path, size_t size);

#endif
