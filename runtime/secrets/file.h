/* file.h: files that hold a secret. */
#ifndef PURLIN_SECRETS_FILE_H
#define PURLIN_SECRETS_FILE_H

#include <limits.h>
#include "core/buffer.h"
#include "secrets/keyring.h"

/* Reads a whole file that others than its owner and group can neither read nor write, nor the group write. False: `why` names it and says
 * what is wrong, and `out` is empty. At most `most` bytes; the buffer never grows, so that nothing is left behind where it was. */
bool secret_file_read(const char *path, size_t most, buffer *out, buffer *why);
/* Where systemd has put the credential of this name ($CREDENTIALS_DIRECTORY/NAME). */
bool secret_credential_path(const char *name, char path[PATH_MAX], buffer *why);

/* Adds the key of a file: 32 bytes, or 64 hexadecimal digits and an end of line. */
bool key_file_add(keyring *k, const char *path, buffer *why);
/* Adds what purlin.lua names: a path, "credential:NAME", or the 64 digits themselves. `number` is for messages, from 1. */
bool key_setting_add(keyring *k, const char *setting, size_t number, buffer *why);
/* Makes a file of 32 random bytes, for its owner alone. It is there whole or not at all, and none that is there is ever lost. */
bool key_file_make(const char *path, buffer *why);

#endif
