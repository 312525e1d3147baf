#include "unicode.h"
#include <stdint.h>
#include <string.h>
#include <utf8proc.h>

/* Of at most as many bytes as anybody here takes; a byte becomes 1.5 code points at most, in NFD. */
enum { MOST_BYTES = 1024, MOST_POINTS = 2 * MOST_BYTES, LONGEST_LOCAL = 64, LONGEST_EMAIL = 254, LONGEST_LABEL = 63 };

typedef struct points {
  int32_t at[MOST_POINTS];
  size_t count;
} points;

/* In NFC. False: no UTF-8, or too long. */
static bool read_text(const char *text, points *out) {
  size_t size = strnlen(text, MOST_BYTES + 1);
  if (size > MOST_BYTES) return false;
  const utf8proc_option_t how = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
  utf8proc_ssize_t count =
      utf8proc_decompose((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)size, out->at, MOST_POINTS, how);
  if (count < 0 || count > MOST_POINTS) return false;
  count = utf8proc_normalize_utf32(out->at, count, how);
  out->count = count < 0 ? 0 : (size_t)count;
  return count >= 0;
}

static bool write_text(const points *from, char *out, size_t room) {
  size_t size = 0;
  for (size_t i = 0; i < from->count; i++) {
    utf8proc_uint8_t bytes[4];
    size_t wide = (size_t)utf8proc_encode_char(from->at[i], bytes);
    if (size + wide >= room) return false;
    memcpy(out + size, bytes, wide);
    size += wide;
  }
  if (room == 0) return false;
  out[size] = '\0';
  return true;
}

/* ---- Kinds of characters ------------------------------------------------------------------------------------------------------------- */

static bool is_space(int32_t point) { return utf8proc_category(point) == UTF8PROC_CATEGORY_ZS; }

/* Letters that only old Korean is written with; what is left of them in NFC. */
static bool is_old_jamo(int32_t point) {
  return (point >= 0x1100 && point <= 0x11ff) || (point >= 0xa960 && point <= 0xa97c) ||
         (point >= 0xd7b0 && point <= 0xd7fb);
}

static const char *flaw_of(int32_t point) {
  switch (utf8proc_category(point)) {
  case UTF8PROC_CATEGORY_CC:
  case UTF8PROC_CATEGORY_ZL:
  case UTF8PROC_CATEGORY_ZP: return "holds a control character";
  case UTF8PROC_CATEGORY_CF: return "holds a character that is not seen, or changes the direction of writing";
  case UTF8PROC_CATEGORY_CN:
  case UTF8PROC_CATEGORY_CO:
  case UTF8PROC_CATEGORY_CS: return "holds a character that Unicode has not assigned";
  default: break;
  }
  return utf8proc_get_property(point)->ignorable ? "holds a character that is not seen" : NULL;
}

static bool is_letter_or_digit(int32_t point) {
  utf8proc_category_t category = utf8proc_category(point);
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NO;
}

/* ---- Passwords ------------------------------------------------------------------------------------------------------------------------- */

bool unicode_password(const char *text, char *out, size_t room) {
  points read;
  bool fine = read_text(text, &read);
  for (size_t i = 0; fine && i < read.count; i++)
    if (is_space(read.at[i])) read.at[i] = ' ';
  fine = fine && write_text(&read, out, room);
  explicit_bzero(&read, sizeof read);
  return fine;
}

const char *unicode_password_flaw(const char *text) {
  points read;
  const char *flaw = read_text(text, &read) ? NULL : "is no text";
  for (size_t i = 0; !flaw && i < read.count; i++)
    flaw = is_old_jamo(read.at[i]) ? "holds a character of old Korean" : flaw_of(read.at[i]);
  explicit_bzero(&read, sizeof read);
  return flaw;
}

/* ---- Names ------------------------------------------------------------------------------------------------------------------------------- */

enum { ZERO_WIDTH_NON_JOINER = 0x200c, ZERO_WIDTH_JOINER = 0x200d, AS_TEXT = 0xfe0e, AS_PICTURE = 0xfe0f };

/* What Persian, Indic scripts and pictures cannot do without: between two characters, or after one. */
static bool joins(const points *name, size_t i) {
  int32_t point = name->at[i];
  if (i == 0 || is_space(name->at[i - 1]) || (flaw_of(name->at[i - 1]) && name->at[i - 1] != AS_PICTURE)) return false;
  if (point == AS_TEXT || point == AS_PICTURE) return true;
  bool joiner = point == ZERO_WIDTH_NON_JOINER || point == ZERO_WIDTH_JOINER;
  return joiner && i + 1 < name->count && !is_space(name->at[i + 1]) && !flaw_of(name->at[i + 1]);
}

static void tidy_spaces(points *name) {
  size_t count = 0;
  for (size_t i = 0; i < name->count; i++) {
    bool space = is_space(name->at[i]);
    if (space && (count == 0 || name->at[count - 1] == ' ')) continue;
    name->at[count++] = space ? ' ' : name->at[i];
  }
  name->count = count > 0 && name->at[count - 1] == ' ' ? count - 1 : count;
}

const char *unicode_name(const char *text, char *out, size_t room) {
  points read;
  if (!read_text(text, &read)) return "is no text, or too long";
  tidy_spaces(&read);
  for (size_t i = 0; i < read.count; i++) {
    const char *flaw = flaw_of(read.at[i]);
    if (flaw && !joins(&read, i)) return flaw;
  }
  return write_text(&read, out, room) ? NULL : "is too long";
}

/* ---- E-mail ------------------------------------------------------------------------------------------------------------------------------ */

static bool in_local_part(int32_t point) {
  if (point < 0x80) return point > 0 && (is_letter_or_digit(point) || strchr("!#$%&'*+-/=?^_`{|}~.", point) != NULL);
  return !flaw_of(point) && !is_space(point);
}

static bool in_domain(int32_t point) { return is_letter_or_digit(point) || point == '-' || point == '.'; }

static size_t bytes_of(int32_t point) { return point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4; }

/* Parts between dots, none of them empty; of a domain at most 63 bytes, with no '-' at either end. */
static bool is_dotted(const int32_t *at, size_t count, bool domain) {
  size_t size = 0;
  for (size_t i = 0; i <= count; i++) {
    if (i < count && at[i] != '.') {
      if (domain && size == 0 && at[i] == '-') return false;
      size += bytes_of(at[i]);
      continue;
    }
    if (size == 0 || (domain && (size > LONGEST_LABEL || at[i - 1] == '-'))) return false;
    size = 0;
  }
  return true;
}

static const char *flaw_of_parts(points *address, size_t local) {
  size_t bytes = 0;
  for (size_t i = 0; i < local; i++) {
    if (!in_local_part(address->at[i])) return "holds a character before the '@' that no address has";
    bytes += bytes_of(address->at[i]);
  }
  if (bytes > LONGEST_LOCAL) return "has more than 64 bytes before the '@'";
  for (size_t i = local + 1; i < address->count; i++) {
    if (!in_domain(address->at[i])) return "holds a character after the '@' that no domain has";
    if (address->at[i] >= 'A' && address->at[i] <= 'Z')
      address->at[i] += 'a' - 'A'; /* what IDNA would do with others is not done by halves */
  }
  if (!is_dotted(address->at, local, false) || !is_dotted(address->at + local + 1, address->count - local - 1, true))
    return "is no address";
  return NULL;
}

const char *unicode_email(const char *text, char *out, size_t room) {
  points read;
  size_t at = 0;
  if (!read_text(text, &read)) return "is no text, or too long";
  while (at < read.count && read.at[at] != '@') at++;
  if (at == read.count) return "has no '@'";
  const char *flaw = flaw_of_parts(&read, at);
  if (flaw) return flaw;
  return write_text(&read, out, room) && strlen(out) <= LONGEST_EMAIL ? NULL : "has more than 254 bytes";
}
