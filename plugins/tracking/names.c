#include "tracking.h"
#include <stdlib.h>
#include <string.h>

static const char *const qualities[] = {
    "amber", "apt",   "bold",   "brave", "bright", "brisk", "calm",   "clear", "crisp", "deft",  "eager", "fair",
    "fleet", "fresh", "gentle", "glad",  "golden", "grand", "hardy",  "keen",  "kind",  "light", "loyal", "lucid",
    "merry", "mild",  "neat",   "noble", "nimble", "proud", "quick",  "quiet", "rapid", "ready", "royal", "sharp",
    "sleek", "solid", "spry",   "still", "stout",  "swift", "trusty", "vivid", "warm",  "wise",  "witty", "zesty"};
static const char *const things[] = {
    "alder",  "badger", "beam",  "birch",  "bison", "cedar", "crane",   "dove",   "eagle", "elm",    "falcon", "fern",
    "finch",  "fox",    "gable", "hare",   "hawk",  "heron", "ibis",    "ivy",    "joist", "lark",   "larch",  "linden",
    "lintel", "lynx",   "maple", "marten", "moth",  "newt",  "oak",     "osprey", "otter", "owl",    "pine",   "plover",
    "purlin", "rafter", "raven", "ridge",  "robin", "rowan", "sparrow", "spruce", "stork", "thrush", "truss",  "willow"};

const char *random_name(purlin_ctx *ctx) {
  /* Of the random letters of an identifier. */
  const char *seed = purlin_new_id(ctx, "n");
  if (!seed) return NULL;
  uint64_t number = 0;
  for (; *seed; seed++) number = number * 131 + (unsigned char)*seed;
  size_t quality = number % (sizeof qualities / sizeof qualities[0]);
  size_t thing = number / 977 % (sizeof things / sizeof things[0]);
  return purlin_format(ctx, "%s-%s-%u", qualities[quality], things[thing], (unsigned)(number / 1000003 % 1000));
}

purlin_status text_fits(purlin_ctx *ctx, const char *what, const char *text, size_t most) {
  size_t size = text ? strlen(text) : 0, characters = size;
  if (size <= most) return PURLIN_OK;
  for (size_t i = 0; i < size; i++)
    if (((unsigned char)text[i] & 0xC0) == 0x80) characters--;
  if (characters <= most) return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_INVALID, "'%s' exceeds the maximum length of %zu characters", what, most);
}
