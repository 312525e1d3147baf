/* Whatever the bytes of a model, reading it neither crashes nor takes memory that its size does not explain; what is read predicts.
 * The first byte says what follows: UBJ or JSON that is read as it is, or a sound model in UBJ, damaged by what follows. */
#include "model.h"
#include "ubj.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { COLUMNS = 2, MOST_OUTPUTS = 100000 };
static const char *const names[COLUMNS] = {"a", "b"};

static void must(bool holds) {
  if (!holds) abort();
}

static void predict(const purlin_model *model) {
  const float row[COLUMNS] = {0.25f, 3};
  must(model->columns == COLUMNS && model->outputs >= 1 && model->outputs <= MOST_OUTPUTS);
  float *out = calloc(model->outputs, sizeof *out);
  if (out) (void)model_predict(model, row, 1, out);
  free(out);
}

static void read_model(const char *text, size_t size) {
  char why[MODEL_WHY] = "";
  model_description told;
  purlin_model *model = model_parse(text, size, names, COLUMNS, why);
  must(model || why[0]);
  if (model) predict(model);
  bool described = model_describe(text, size, &told, why);
  must(described || why[0]);
  if (described) free(told.names);
  model_free(model);
}

static void read_ubj(const char *text, size_t size) {
  const char *why = NULL;
  size_t json_size = 0;
  char *json = ubj_to_json(text, size, &json_size, &why);
  must(json || why);
  /* A byte of a number is at most 7 of text with its comma, one of a string 6. */
  must(!json || (json_size <= 7 * size + 64 && json[json_size] == '\0'));
  free(json);
}

#define ONE(letter) "\x5b$" letter "#L\0\0\0\0\0\0\0\3"
#define TEXT(key, value) key "SL\0\0\0\0\0\0\0\1" value
/* A tree of one split, as XGBoost 3 writes it but for the lengths of keys, which are of one byte. */
static const char SOUND[] = "{i\7learner{i\x13learner_model_param{" TEXT("i\nbase_score", "1") TEXT("i\x09num_class", "0")
    TEXT("i\x0bnum_feature",
         "2") "}i\x09objective{i\4nameSi\x10reg:squarederror}i\x10gradient_booster{i\4nameSi\6gbtreei\5model{i\5trees[{"
              "i\x0dleft_children" ONE("l") "\0\0\0\1\xff\xff\xff\xff\xff\xff\xff\xff"
                                            "i\x0eright_children" ONE(
                                                "l") "\0\0\0\2\xff\xff\xff\xff\xff\xff\xff\xff"
                                                     "i\x0dsplit_indices" ONE(
                                                         "l") "\0\0\0\0\0\0\0\0\0\0\0\0"
                                                              "i\x10split_conditions" ONE(
                                                                  "d") "\x3f\0\0\0\xbf\x80\0\0\x40\0\0\0"
                                                                       "i\x0c"
                                                                       "default_left" ONE(
                                                                           "U") "\1\0\0"
                                                                                "}]i\x09tree_info[#i\1i\0}}}}";

/* Pairs of a place, of two bytes, and what is to stand there. */
static void damage(const uint8_t *data, size_t size) {
  char *copy = malloc(sizeof SOUND - 1);
  if (!copy) return;
  memcpy(copy, SOUND, sizeof SOUND - 1);
  for (size_t i = 0; i + 3 <= size; i += 3)
    copy[(size_t)(data[i] << 8 | data[i + 1]) % (sizeof SOUND - 1)] = (char)data[i + 2];
  read_ubj(copy, sizeof SOUND - 1);
  read_model(copy, sizeof SOUND - 1);
  free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  if (data[0] % 2) {
    damage(data + 1, size - 1);
    return 0;
  }
  /* A model's bytes end with a NUL that does not belong to them. */
  char *copy = malloc(size);
  if (!copy) return 0;
  memcpy(copy, data + 1, size - 1);
  copy[size - 1] = '\0';
  read_ubj(copy, size - 1);
  read_model(copy, size - 1);
  free(copy);
  return 0;
}

#ifdef FUZZ_STANDALONE
#include <stdio.h>

/* `fuzz_ubj COUNT SEED` */
int main(int count, char **arguments) {
  char why[MODEL_WHY];
  purlin_model *model = model_parse(SOUND, sizeof SOUND - 1, names, COLUMNS, why);
  if (!model) return fprintf(stderr, "the sound model: %s\n", why), 1;
  model_free(model);
  unsigned long rounds = count > 1 ? strtoul(arguments[1], NULL, 10) : 100000;
  srandom(count > 2 ? (unsigned)strtoul(arguments[2], NULL, 10) : 1);
  for (unsigned long i = 0; i < rounds; i++) {
    uint8_t bytes[13] = {(uint8_t)(random() % 8 != 0)};
    size_t size = 1 + 3 * (size_t)(random() % 5);
    for (size_t at = 1; at < size; at++) bytes[at] = (uint8_t)random();
    if (bytes[0] == 0 && size > 1) bytes[1] = '{';
    (void)LLVMFuzzerTestOneInput(bytes, size);
  }
  return printf("%lu models read\n", rounds) < 0;
}
#endif
