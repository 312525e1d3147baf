#include "core/node.h"

#include "core/text.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char identity[NODE_IDENTITY_SIZE], pattern[NODE_IDENTITY_SIZE + 2];

void node_set_identity(const char *given) {
  (void)snprintf(identity, sizeof identity, "%s", given != NULL ? given : "");
  (void)snprintf(pattern, sizeof pattern, "%s%s", identity, identity[0] != '\0' ? ":%" : "");
}

void node_new_owner(char *out) {
  char host[22] = "node", random[13];
  if (gethostname(host, sizeof host - 1) != 0 && host[0] == '\0') host[0] = '?';
  host[sizeof host - 1] = '\0';
  for (char *at = host; *at != '\0'; at++)
    if ((unsigned char)*at >= 0x80) *at = '?'; /* the columns are ASCII */
  text_random_id(random, sizeof random - 1);
  (void)snprintf(out, NODE_OWNER_SIZE, "%s:%s:%ld:%s", identity, host, (long)getpid(), random);
}

const char *node_owners_pattern(void) { return pattern; }
