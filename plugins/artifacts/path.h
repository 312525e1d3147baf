/* path.h: what may be the path of a file. Knows nothing of the rest, so that it can be tested alone. */
#ifndef ARTIFACTS_PATH_H
#define ARTIFACTS_PATH_H

#include <stdbool.h>
#include <stddef.h>

enum { PATH_CHARACTERS = 700, PATH_COMPONENTS = 100, PATH_BYTES = 4 * PATH_CHARACTERS };

/* NULL, or what is wrong with it. A path that is sound stays so for who decodes its percent signs again, however often: programs on the way
 * that did so have let files out of their folders. */
const char *path_fault(const char *path);

/* Where the next component begins, NULL in the last one; its size goes to *size. */
const char *path_next(const char *component, size_t *size);

#endif
