/* Whatever the bytes of an MLmodel, reading it neither crashes nor leaks; what is refused says why, and what is taken has a name for each
 * flavor and no text that is longer than the file. */
#include "mlmodel.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds) {
  if (!holds) abort();
}

static bool fits(const char *text, size_t size) { return !text || strlen(text) <= size; }

static void read_file(const char *text, size_t size) {
  mlmodel read;
  char why[MLMODEL_WHY] = "";
  if (!mlmodel_read(text, size, &read, why)) {
    must(why[0] && !read.flavors && !read.data && !read.inputs && !read.outputs && !read.model_class);
    return;
  }
  /* A line break within a text reads as the three bytes of its kind. */
  must(fits(read.data, 3 * size) && fits(read.model_class, 3 * size) && fits(read.inputs, 3 * size) &&
       fits(read.outputs, 3 * size));
  must(!read.xgboost || (read.flavors && strstr(read.flavors, "xgboost")));
  mlmodel_free(&read);
}

static const char sound[] =
    "artifact_path: model\nflavors:\n  python_function:\n    env: {conda: conda.yaml}\n  xgboost:\n    code: null\n"
    "    data: \"model.\\x75bj\"\n    model_class: xgboost.core.Booster\nsignature:\n  inputs: '[{\"type\": \"double\",\n"
    "    \"name\": \"a\"}]'\n  outputs: |\n    []\n";

static void read_exact(const char *text, size_t size) {
  char *exact = malloc(size ? size : 1); /* without a NUL behind it: a byte read beyond is seen */
  if (!exact) return;
  memcpy(exact, text, size);
  read_file(exact, size);
  free(exact);
}

/* The input as it is, and as damage to a sound file: a place and a byte, again and again; an odd byte cuts it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char bytes[sizeof sound];
  size_t left = sizeof sound - 1;
  memcpy(bytes, sound, sizeof sound);
  for (size_t i = 0; i + 1 < size; i += 2) bytes[data[i] % left] = (char)data[i + 1];
  if (size % 2 == 1) left = data[size - 1] % left;
  read_exact(bytes, left);
  read_exact((const char *)data, size);
  return 0;
}

#ifdef FUZZ_STANDALONE
#include <stdio.h>

/* A sound file with random damage: `fuzz_mlmodel COUNT SEED`. */
int main(int count, char **arguments) {
  static const char with[] = "\n\t :;,-?!&*%@`|>[]{}#\"'\\\0aZ~\x80\xff\xc3\x01";
  unsigned long rounds = count > 1 ? strtoul(arguments[1], NULL, 10) : 100000;
  srandom(count > 2 ? (unsigned)strtoul(arguments[2], NULL, 10) : 1);
  for (unsigned long i = 0; i < rounds; i++) {
    char bytes[sizeof sound];
    memcpy(bytes, sound, sizeof sound);
    size_t size = sizeof sound - 1 - (random() % 4 == 0 ? (size_t)random() % (sizeof sound - 1) : 0);
    for (long n = random() % 5; n > 0; n--)
      bytes[(size_t)random() % (sizeof sound - 1)] = with[(size_t)random() % (sizeof with - 1)];
    (void)LLVMFuzzerTestOneInput((const uint8_t *)bytes, size);
  }
  return printf("%lu files read\n", rounds) < 0;
}
#endif
