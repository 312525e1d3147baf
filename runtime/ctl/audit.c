/* audit.c: `purlin audit verify`: an exported log and a receipt, without a server. */
#include "audit/verify.h"
#include "ctl/ctl.h"
#include "core/text.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { MOST_FILE = 1024 * 1024, MEMORY = 256 * 1024 };

static int complain(const char *path, const char *what) {
  (void)fprintf(stderr, "purlin: %s: %s\n", path, what);
  return CTL_FAILED;
}

/* A small file, or its end. */
static bool read_end(const char *path, buffer *out) {
  FILE *file = fopen(path, "re");
  if (!file) return false;
  if (fseek(file, -(long)MOST_FILE, SEEK_END) != 0) (void)fseek(file, 0, SEEK_SET);
  char block[4096];
  for (size_t got = fread(block, 1, sizeof block, file); got > 0; got = fread(block, 1, sizeof block, file))
    buffer_add(out, block, got);
  bool fine = !ferror(file) && !out->failed;
  return fclose(file) == 0 && fine;
}

/* What `purlin audit head` printed, or STATE/audit.heads, of which the last line counts. */
static bool read_receipt(const char *path, arena *memory, audit_head *head) {
  buffer text = {0};
  bool fine = read_end(path, &text) && text.size > 0;
  if (fine && !head_read(text.data, text.size, memory, head)) {
    size_t end = text.size;
    while (end > 0 && (text.data[end - 1] == '\n' || text.data[end - 1] == '\r')) end--;
    size_t begin = end;
    while (begin > 0 && text.data[begin - 1] != '\n') begin--;
    fine = head_read(text.data + begin, end - begin, memory, head);
  }
  buffer_free(&text);
  return fine;
}

static EVP_PKEY *read_public_key(const char *path) {
  buffer text = {0};
  EVP_PKEY *key = read_end(path, &text) ? head_public_key(text.data ? text.data : "", text.size) : NULL;
  buffer_free(&text);
  return key;
}

static void praise(const char *path, const audit_verdict *verdict, const audit_head *receipt, bool checked) {
  char at[32];
  (void)text_from_time(verdict->head.at.unix_us, at);
  (void)printf("%s: whole: %lld entries under the head of %s", path, (long long)verdict->entries, at);
  if (receipt) (void)printf(", the first %lld of them under the receipt", (long long)receipt->size);
  (void)printf("\n");
  if (verdict->erased > 0)
    (void)printf("  of %lld entries the content was erased, their hashes are there\n", (long long)verdict->erased);
  if (verdict->withheld > 0)
    (void)printf("  of %lld entries of other workspaces only the hashes are there\n", (long long)verdict->withheld);
  if (!checked) (void)printf("  signatures were not looked at: give --key PEM\n");
}

static int verify(const char *path, const char *receipt_path, const char *key_path) {
  arena memory;
  audit_head receipt;
  audit_verdict verdict = {0};
  int code = CTL_FAILED;
  arena_init(&memory, MEMORY);
  EVP_PKEY *key = key_path ? read_public_key(key_path) : NULL;
  FILE *file = fopen(path, "re");
  if (!file) code = complain(path, strerror(errno));
  else if (key_path && !key) code = complain(key_path, "is no Ed25519 public key in PEM");
  else if (receipt_path && !read_receipt(receipt_path, &memory, &receipt)) code = complain(receipt_path, "is no receipt");
  else if (audit_verify(file, receipt_path ? &receipt : NULL, key, &memory, &verdict)) {
    praise(path, &verdict, receipt_path ? &receipt : NULL, key != NULL);
    code = CTL_FINE;
  } else code = complain(path, buffer_end(&verdict.why));
  if (file) (void)fclose(file);
  EVP_PKEY_free(key);
  buffer_free(&verdict.why);
  arena_free(&memory);
  return code;
}

int audit_command(void *to, const manual_command *about, int count, char **arguments) {
  (void)to;
  manual_given given;
  if (!manual_read_or_say(about, count, arguments, &given)) return CTL_USAGE;
  return verify(given.operands[0], manual_value(&given, "--head"), manual_value(&given, "--key"));
}
