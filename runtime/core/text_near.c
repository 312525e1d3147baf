/* text_near.c: which of several names somebody may have meant. */
#include "core/text.h"

#include <string.h>

enum { LONGEST_NAME = 64 };

/* Letters to add, take away, change or swap with their neighbour. */
static size_t distance(const char *a, size_t a_size, const char *b, size_t b_size) {
  size_t rows[3][LONGEST_NAME + 1];
  size_t *before = rows[0], *last = rows[1], *row = rows[2];
  for (size_t k = 0; k <= b_size; k++) last[k] = k;
  for (size_t i = 1; i <= a_size; i++) {
    row[0] = i;
    for (size_t k = 1; k <= b_size; k++) {
      row[k] = last[k - 1] + (a[i - 1] != b[k - 1]);
      if (last[k] + 1 < row[k]) row[k] = last[k] + 1;
      if (row[k - 1] + 1 < row[k]) row[k] = row[k - 1] + 1;
      bool swapped = i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1];
      if (swapped && before[k - 2] + 1 < row[k]) row[k] = before[k - 2] + 1;
    }
    size_t *oldest = before;
    before = last;
    last = row;
    row = oldest;
  }
  return last[b_size];
}

bool text_is_nearer(const char *name, size_t name_size, const char *candidate, size_t *best) {
  size_t size = strlen(candidate);
  if (name_size > LONGEST_NAME || size > LONGEST_NAME) return false;
  if (size >= name_size + *best || name_size >= size + *best) return false;
  size_t far = distance(name, name_size, candidate, size);
  if (far >= *best || far >= size) return false;
  *best = far;
  return true;
}
