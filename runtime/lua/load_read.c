/* load_read.c: a whole file of limited size. */
#include "lua/load.h"

#include <errno.h>
#include <stdio.h>

int load_read(const char *path, size_t most, buffer *out) {
  FILE *file = fopen(path, "re");
  if (file == NULL) return errno;
  int error = 0;
  while (error == 0 && !feof(file)) {
    if (!buffer_reserve(out, 8192)) error = ENOMEM;
    else out->size += fread(out->data + out->size, 1, 8192, file);
    if (error == 0 && ferror(file)) error = errno == 0 ? EIO : errno;
    if (error == 0 && out->size > most) error = EFBIG;
  }
  (void)fclose(file);
  return error;
}
