#include "text.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Memory ---------------------------------------------------------------------------------------------------------------------------- */

typedef struct scratch_block {
  struct scratch_block *before;
  max_align_t bytes[];
} scratch_block;

void *scratch_alloc(scratch *s, size_t size) {
  if (size > SCRATCH_MOST - s->used) return NULL;
  scratch_block *block = calloc(1, sizeof *block + size);
  if (!block) return NULL;
  s->used += size;
  block->before = s->last;
  s->last = block;
  return block->bytes;
}

char *scratch_copy(scratch *s, const char *bytes, size_t size) {
  if (!bytes || size >= SCRATCH_MOST) return NULL;
  char *copy = scratch_alloc(s, size + 1);
  if (copy && size) memcpy(copy, bytes, size);
  return copy;
}

void scratch_free(scratch *s) {
  for (scratch_block *block = s->last, *before; block; block = before) {
    before = block->before;
    free(block);
  }
  *s = (scratch){0};
}

/* ---- Escaping -------------------------------------------------------------------------------------------------------------------------- */

static const char HEX[] = "0123456789abcdef";

/* Each byte that `is_special` becomes a backslash and two digits, which both filters and DNs allow for any byte. */
static char *escape(scratch *s, const char *bytes, size_t size, bool (*is_special)(const char *, size_t, size_t)) {
  if (size >= SCRATCH_MOST / 3) return NULL;
  char *out = scratch_alloc(s, size * 3 + 1), *to = out;
  for (size_t i = 0; out && i < size; i++) {
    unsigned char c = (unsigned char)bytes[i];
    if (!is_special(bytes, i, size)) {
      *to++ = (char)c;
      continue;
    }
    *to++ = '\\';
    *to++ = HEX[c >> 4];
    *to++ = HEX[c & 15];
  }
  return out;
}

/* What is no ASCII may be part of bytes that are no UTF-8, such as an objectGUID. */
static bool special_in_filter(const char *bytes, size_t at, size_t size) {
  (void)size;
  unsigned char c = (unsigned char)bytes[at];
  return c < 0x20 || c >= 0x7f || strchr("*()\\", c);
}

static bool special_in_dn(const char *bytes, size_t at, size_t size) {
  unsigned char c = (unsigned char)bytes[at];
  if (c < 0x20 || c >= 0x7f || strchr("\"+,;<>\\=#", c)) return true;
  return c == ' ' && (at == 0 || at == size - 1);
}

char *escape_filter(scratch *s, const char *bytes, size_t size) { return escape(s, bytes, size, special_in_filter); }

char *escape_dn(scratch *s, const char *bytes, size_t size) { return escape(s, bytes, size, special_in_dn); }

char *expand(scratch *s, const char *pattern, const char *placeholder, const char *value) {
  size_t mark = strlen(placeholder), added = strlen(value), size = strlen(pattern) + 1;
  for (const char *p = strstr(pattern, placeholder); p; p = strstr(p + mark, placeholder)) {
    if (size > SCRATCH_MOST - added) return NULL;
    size += added;
  }
  char *out = scratch_alloc(s, size), *to = out;
  if (!out) return NULL;
  for (const char *p = strstr(pattern, placeholder); p; p = strstr(pattern, placeholder)) {
    memcpy(to, pattern, (size_t)(p - pattern));
    to += p - pattern;
    memcpy(to, value, added);
    to += added;
    pattern = p + mark;
  }
  memcpy(to, pattern, strlen(pattern) + 1);
  return out;
}

/* ---- Names ------------------------------------------------------------------------------------------------------------------------------ */

static char *lower_if_of(scratch *s, const char *bytes, size_t size, size_t most, const char *marks) {
  char *out = size && size <= most ? scratch_copy(s, bytes, size) : NULL;
  for (size_t i = 0; out && i < size; i++) {
    char c = out[i];
    if (c >= 'A' && c <= 'Z') out[i] = (char)(c - 'A' + 'a');
    else if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c && strchr(marks, c)))) return NULL;
  }
  return out;
}

char *login_name(scratch *s, const char *bytes, size_t size) {
  char *name = lower_if_of(s, bytes, size, 64, "._-");
  return name && !strchr("._-", name[0]) ? name : NULL;
}

char *group_label(scratch *s, const char *bytes, size_t size) { return lower_if_of(s, bytes, size, 140, "._@+-"); }

/* ---- GUIDs: the first three parts are little-endian ---------------------------------------------------------------------------------------- */

static const unsigned char GUID_ORDER[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};

void guid_text(const unsigned char guid[16], char out[37]) {
  for (size_t i = 0; i < 16; i++) {
    if (i == 4 || i == 6 || i == 8 || i == 10) *out++ = '-';
    *out++ = HEX[guid[GUID_ORDER[i]] >> 4];
    *out++ = HEX[guid[GUID_ORDER[i]] & 15];
  }
  *out = '\0';
}

bool guid_parse(const char *text, unsigned char guid[16]) {
  if (strlen(text) != 36) return false;
  for (size_t i = 0; i < 16; i++) {
    if ((i == 4 || i == 6 || i == 8 || i == 10) && *text++ != '-') return false;
    const char *high = memchr(HEX, text[0], 16), *low = memchr(HEX, text[1], 16);
    if (!high || !low) return false;
    guid[GUID_ORDER[i]] = (unsigned char)((high - HEX) << 4 | (low - HEX));
    text += 2;
  }
  return true;
}

/* How many bytes follow the first one of a character, and the least code point that may take so many; 0 follow and -1: none begins so. */
static int following(unsigned char c, uint32_t *least) {
  static const uint32_t LEAST[] = {0, 0x80, 0x800, 0x10000};
  int count = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xf0 && c < 0xf5 ? 3 : -1;
  *least = count > 0 ? LEAST[count] : 0;
  return count;
}

bool is_plain_text(const char *bytes, size_t size) {
  for (size_t i = 0; i < size;) {
    unsigned char c = (unsigned char)bytes[i++];
    uint32_t least, point;
    int count = following(c, &least);
    if (count < 0 || c < 0x20 || c == 0x7f || (size_t)count > size - i) return false;
    point = count ? c & (0x3fu >> count) : c;
    for (; count > 0; count--, i++) {
      if (((unsigned char)bytes[i] & 0xc0) != 0x80) return false;
      point = point << 6 | ((unsigned char)bytes[i] & 0x3fu);
    }
    if (point < least || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff) || (point >= 0x80 && point < 0xa0))
      return false;
  }
  return true;
}
