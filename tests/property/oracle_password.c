/* Says of two passwords, in hexadecimal on a line of standard input each ("-": empty), what the plugin accounts makes of them:
 * "FORM MATCHES FLAW", of the first its form (hexadecimal, "-": none), whether its hash is the second's, and what is wrong with it. */
#include "password.h"
#include "unicode.h"
#include <stdio.h>
#include <string.h>

enum { ROOM = 8192 };

static bool read_password(char out[ROOM]) {
  static char line[2 * ROOM];
  unsigned byte;
  size_t size = 0;
  if (scanf("%16000s", line) != 1) return false;
  for (const char *at = line; *at != '-' && *at && sscanf(at, "%2x", &byte) == 1; at += 2) out[size++] = (char)byte;
  out[size] = '\0';
  return true;
}

int main(void) {
  static char one[ROOM], two[ROOM], form[UNICODE_ROOM(ROOM)], hash[PASSWORD_HASH_SIZE];
  while (read_password(one) && read_password(two)) {
    bool is_text = unicode_password(one, form, sizeof form);
    if (!is_text || !*form) (void)putchar('-');
    for (const char *at = form; is_text && *at; at++) (void)printf("%02x", (unsigned char)*at);
    bool same = password_hash(one, 1, hash) && password_matches(two, hash);
    const char *flaw = password_flaw(one, "ana");
    (void)printf(" %d %s\n", same, flaw ? flaw : "");
    (void)fflush(stdout);
  }
  return 0;
}
