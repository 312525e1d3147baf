#include "audit/verify.h"
#include "core/text.h"
#include <stdlib.h>
#include <string.h>

enum { LONGEST_LINE = 512 * 1024, LEAF_DIGITS = 64 };

typedef struct verifying {
  audit_verdict *verdict;
  const audit_head *receipt;
  tree_frontier tree;
  long long line;
} verifying;

/* A text at the beginning of what is left of the line. */
static bool take(const char **at, const char *text) {
  size_t size = strlen(text);
  if (strncmp(*at, text, size) != 0) return false;
  *at += size;
  return true;
}

static bool refuse_line(verifying *v) {
  buffer_format(&v->verdict->why, "line %lld is none of an exported audit log", v->line);
  return false;
}

typedef struct exported {
  int64_t sequence;
  tree_hash leaf;
  const char *entry; /* NULL: only the hash */
  size_t entry_size;
  bool erased;
} exported;

static bool read_line(const char *line, size_t size, exported *out) {
  const char *at = line, *digits;
  if (!take(&at, "{\"sequence\":")) return false;
  digits = at;
  at += strspn(at, "0123456789");
  if (!text_to_int(digits, (size_t)(at - digits), &out->sequence) || !take(&at, ",\"leaf\":\"")) return false;
  if (strspn(at, "0123456789abcdef") < LEAF_DIGITS || !text_unhex(at, LEAF_DIGITS, out->leaf.bytes)) return false;
  at += LEAF_DIGITS;
  if (!take(&at, "\",")) return false;
  out->erased = strcmp(at, "\"erased\":true}") == 0;
  out->entry = NULL;
  if (out->erased || strcmp(at, "\"withheld\":true}") == 0) return true;
  if (!take(&at, "\"entry\":{") || line[size - 1] != '}') return false;
  out->entry = at - 1;
  out->entry_size = size - (size_t)(at - 1 - line) - 1;
  return true;
}

static bool matches(const verifying *v, const audit_head *head) {
  tree_hash told, root = tree_root(&v->tree);
  return head_root(head, &told) && tree_equal(&told, &root);
}

static bool check_receipt(verifying *v) {
  if (!v->receipt || v->tree.size != (uint64_t)v->receipt->size || matches(v, v->receipt)) return true;
  buffer_format(
      &v->verdict->why,
      "the first %lld entries are not those that the receipt was signed for: some were changed, moved or taken away",
      (long long)v->receipt->size);
  return false;
}

static bool take_entry(verifying *v, const char *line, size_t size) {
  exported e;
  if (size == 0 || !read_line(line, size, &e)) return refuse_line(v);
  int64_t expected = (int64_t)v->tree.size;
  if (e.sequence != expected) {
    buffer_format(&v->verdict->why, e.sequence > expected ? "entry %lld is missing" : "entry %lld is out of order",
                  (long long)(e.sequence > expected ? expected : e.sequence));
    return false;
  }
  if (e.entry) {
    tree_hash actual = tree_leaf(e.entry, e.entry_size);
    if (!tree_equal(&actual, &e.leaf)) {
      buffer_format(&v->verdict->why, "entry %lld was changed: its content does not have its hash", (long long)expected);
      return false;
    }
  } else if (e.erased) v->verdict->erased++;
  else v->verdict->withheld++;
  tree_append(&v->tree, &e.leaf, NULL, NULL);
  v->verdict->entries++;
  return check_receipt(v);
}

static bool check_heads(verifying *v, EVP_PKEY *key) {
  const audit_head *head = &v->verdict->head, *receipt = v->receipt;
  buffer *why = &v->verdict->why;
  if (key && !head_is_signed_by(head, key)) buffer_text(why, "the head in the file is not signed with this key");
  else if (key && receipt && !head_is_signed_by(receipt, key)) buffer_text(why, "the receipt is not signed with this key");
  else if (receipt && strcmp(receipt->origin, head->origin) != 0) buffer_text(why, "the receipt is of another log");
  else if (receipt && receipt->size > head->size)
    buffer_format(why, "the log was cut off: the receipt covers %lld entries, the file's head only %lld",
                  (long long)receipt->size, (long long)head->size);
  return why->size == 0 && check_receipt(v);
}

static bool check_end(verifying *v) {
  const audit_head *head = &v->verdict->head;
  buffer *why = &v->verdict->why;
  if (v->tree.size < (uint64_t)head->size)
    buffer_format(why, "entry %lld is missing: the file ends before the %lld entries of its head", (long long)v->tree.size,
                  (long long)head->size);
  else if (v->tree.size > (uint64_t)head->size) buffer_format(why, "there are more entries than the head covers");
  else if (!matches(v, head))
    buffer_text(why, "the entries are not those that the head was signed for: some were changed, moved or taken away");
  return why->size == 0;
}

/* A line without its end; false at the end of the file, or when it is too long. */
static bool next_line(FILE *file, char *line, size_t *size) {
  if (!fgets(line, LONGEST_LINE, file)) return false;
  *size = strlen(line);
  if (*size > 0 && line[*size - 1] == '\n') line[--*size] = '\0';
  return true;
}

static bool read_all(verifying *v, FILE *file, char *line, EVP_PKEY *key, arena *memory) {
  size_t size = 0;
  v->line = 1;
  if (!next_line(file, line, &size) || !head_read(line, size, memory, &v->verdict->head)) {
    buffer_text(&v->verdict->why, "the first line is no head of an audit log");
    return false;
  }
  if (!check_heads(v, key)) return false;
  while (next_line(file, line, &size)) {
    v->line++;
    if (!take_entry(v, line, size)) return false;
  }
  if (ferror(file)) buffer_text(&v->verdict->why, "the file cannot be read");
  return !ferror(file) && check_end(v);
}

bool audit_verify(FILE *file, const audit_head *receipt, EVP_PKEY *key, arena *memory, audit_verdict *verdict) {
  *verdict = (audit_verdict){0};
  verifying v = {.verdict = verdict, .receipt = receipt};
  char *line = malloc(LONGEST_LINE);
  if (!line) buffer_text(&verdict->why, "out of memory");
  bool fine = line && read_all(&v, file, line, key, memory);
  free(line);
  return fine;
}
