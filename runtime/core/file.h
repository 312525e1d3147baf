/* file.h: what every floor does with an open file. */
#ifndef PURLIN_CORE_FILE_H
#define PURLIN_CORE_FILE_H

#include <stdbool.h>
#include <stddef.h>

/* Writes all of it, in as many pieces as that takes, and whatever interrupts. Blocks. False: errno says why. */
bool file_write_all(int file, const void *data, size_t size);

#endif
