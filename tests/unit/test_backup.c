/* What a backup is made of: contents on their way to a file and back, dumps as they go by, manifests and lists, sets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "care/backup.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static int make_folder(void **state) {
  (void)state;
  (void)snprintf(folder, sizeof folder, "/tmp/purlin-backup-XXXXXX");
  return mkdtemp(folder) ? 0 : -1;
}

static int remove_it(void **state) {
  (void)state;
  buffer why = {0};
  char below[128];
  (void)snprintf(below, sizeof below, "%s/backups/20260101T000000Z", folder);
  bool fine = remove_folder(below, &why);
  (void)snprintf(below, sizeof below, "%s/backups", folder);
  fine = remove_folder(below, &why) && remove_folder(folder, &why) && fine;
  buffer_free(&why);
  return fine ? 0 : -1;
}

static const char *path_of(const char *name) {
  static char path[128];
  (void)snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

/* ---- Streams ---- */

static void store(const char *path, const char *data, size_t size, bool compressed, backup_sums *sums) {
  backup_sink sink;
  buffer why = {0};
  assert_true(sink_open(&sink, path, NULL, compressed, &why));
  for (size_t at = 0; at < size;) {
    size_t part = size - at < 70001 ? size - at : 70001;
    assert_true(sink_write(&sink, data + at, part, &why));
    at += part;
  }
  assert_true(sink_close(&sink, NULL, NULL, sums, &why));
  assert_int_equal(why.size, 0);
}

static bool read_back(const char *path, bool compressed, const backup_content *expected, buffer *out, buffer *why) {
  backup_source source;
  char piece[4096];
  ssize_t got;
  if (!source_open(&source, path, NULL, compressed, why)) return false;
  while ((got = source_read(&source, piece, sizeof piece, why)) > 0) buffer_add(out, piece, (size_t)got);
  if (got == 0) return source_close(&source, expected, why);
  source_abandon(&source);
  return false;
}

static void change_byte(const char *path, off_t at) {
  int file = open(path, O_RDWR | O_CLOEXEC);
  char byte;
  assert_int_equal(pread(file, &byte, 1, at), 1);
  byte = (char)(byte ^ 0x10);
  assert_int_equal(pwrite(file, &byte, 1, at), 1);
  (void)close(file);
}

static void contents_come_back(void **state) {
  (void)state;
  static const size_t sizes[] = {0, 1, 4095, 300000, 1048577};
  char *data = malloc(1048577);
  assert_non_null(data);
  for (size_t i = 0; i < 1048577; i++) data[i] = (char)(i * 2654435761u >> 13);
  for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
    for (int compressed = 0; compressed < 2; compressed++) {
      backup_sums sums;
      buffer out = {0}, why = {0};
      char path[128];
      (void)snprintf(path, sizeof path, "%s", path_of("content"));
      store(path, data, sizes[s], compressed, &sums);
      const backup_content content = sums_content(&sums);
      assert_int_equal(content.size, sizes[s]);
      assert_true(read_back(path, compressed, &content, &out, &why));
      assert_int_equal(out.size, sizes[s]);
      if (out.size > 0) assert_memory_equal(out.data, data, out.size);
      buffer_clear(&out);
      if (sizes[s] > 100) {
        change_byte(path, content.stored_size / 2);
        assert_false(read_back(path, compressed, &content, &out, &why));
        assert_non_null(strstr(buffer_end(&why), path));
      }
      if (compressed && sizes[s] > 100) { /* cut off */
        buffer_clear(&why);
        assert_int_equal(truncate(path, content.stored_size / 2), 0);
        assert_false(read_back(path, true, &content, &out, &why));
      }
      buffer_free(&out);
      buffer_free(&why);
      assert_int_equal(unlink(path), 0);
    }
  free(data);
}

static void what_cannot_be_written_is_told(void **state) {
  (void)state;
  backup_sink sink;
  backup_source source;
  buffer why = {0};
  assert_false(sink_open(&sink, "/proc/nowhere", NULL, true, &why));
  assert_non_null(strstr(buffer_end(&why), "/proc/nowhere"));
  buffer_clear(&why);
  assert_false(source_open(&source, path_of("missing"), NULL, false, &why));
  assert_non_null(strstr(buffer_end(&why), "No such file"));
  buffer_clear(&why);
  if (access("/dev/full", W_OK) == 0) {
    char data[65536] = {0};
    assert_true(sink_open(&sink, path_of("full"), NULL, false, &why));
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(dup2(full, sink.file) >= 0);
    assert_false(sink_write(&sink, data, sizeof data, &why));
    assert_non_null(strstr(buffer_end(&why), "No space left"));
    sink_abandon(&sink);
    (void)close(full);
    assert_int_not_equal(access(path_of("full"), F_OK), 0);
  }
  buffer_free(&why);
}

/* ---- Dumps ---- */

static const char DUMP[] = "/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19\n--\n"
                           "-- CHANGE MASTER TO MASTER_LOG_FILE='bin.000007', MASTER_LOG_POS=4242;\n"
                           "--\n-- Table structure for table `a`\n--\n\nCREATE TABLE `a` (\n  `id` int\n);\n"
                           "INSERT INTO `a` VALUES\n(1,'x'),\n(2,'\\n(');\nINSERT INTO `a` VALUES\n(3,NULL);\n"
                           "-- Table structure for table `empty`\n"
                           "-- Table structure for table `b`\nINSERT INTO `b` VALUES\n(0x00FF);\n\n"
                           "-- Dump completed on 2026-11-21 19:00:00\n";

static void a_dump_is_watched_however_it_is_cut(void **state) {
  (void)state;
  char first[BACKUP_DIGITS + 1] = "";
  for (size_t cut = 1; cut < 40; cut++) {
    dump_watch w;
    arena memory;
    arena_init(&memory, 0);
    assert_true(dump_watch_begin(&w, &memory));
    for (size_t at = 0; at < sizeof DUMP - 1; at += cut)
      assert_true(dump_watch_take(&w, DUMP + at, sizeof DUMP - 1 - at < cut ? sizeof DUMP - 1 - at : cut));
    assert_true(dump_watch_end(&w));
    assert_int_equal(w.count, 3);
    assert_string_equal(w.tables[0].name, "a");
    assert_int_equal(w.tables[0].rows, 3);
    assert_int_equal(w.tables[1].rows, 0);
    assert_int_equal(w.tables[2].rows, 1);
    assert_string_equal(w.file, "bin.000007");
    assert_int_equal(w.position, 4242);
    if (first[0]) assert_string_equal(w.tables[0].sha256, first);
    (void)snprintf(first, sizeof first, "%s", w.tables[0].sha256);
    assert_string_not_equal(w.tables[0].sha256, w.tables[2].sha256);
    arena_free(&memory);
  }
}

/* How rows are packed into statements is mariadb-dump's affair; a row that differs is not. */
static void rows_count_not_their_packing(void **state) {
  (void)state;
  static const char *const dumps[] = {
      "-- Table structure for table `a`\nINSERT INTO `a` VALUES\n(1),\n(2);\n",
      "-- Table structure for table `a`\nINSERT INTO `a` VALUES\n(1);\nINSERT INTO `a` VALUES\n(2);\n",
      "-- Table structure for table `a`\nINSERT INTO `a` VALUES\n(1),\n(3);\n"};
  char sums[3][BACKUP_DIGITS + 1];
  for (size_t i = 0; i < 3; i++) {
    dump_watch w;
    arena memory;
    arena_init(&memory, 0);
    assert_true(dump_watch_begin(&w, &memory));
    assert_true(dump_watch_take(&w, dumps[i], strlen(dumps[i])));
    assert_false(dump_watch_end(&w)); /* it does not say that it is complete */
    (void)snprintf(sums[i], sizeof sums[i], "%s", w.tables[0].sha256);
    arena_free(&memory);
  }
  assert_string_equal(sums[0], sums[1]);
  assert_string_not_equal(sums[0], sums[2]);
}

/* ---- Manifests and lists ---- */

#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
static const backup_content nothing = {ZEROS, 0, ZEROS, 0};

static void write_manifest(const char *name, int64_t format) {
  backup_table tables[] = {{"a", 3, ZEROS}};
  backup_manifest m = {.format = format,
                       .purlin = "0.1.0",
                       .name = name,
                       .database = "purlin",
                       .server = "10.11",
                       .began_at = {1000000},
                       .snapshot_at = {2000000},
                       .ended_at = {3000000},
                       .dump = nothing,
                       .list = nothing,
                       .tables = {tables, 1}};
  char path[192], digits[BACKUP_DIGITS + 1];
  int64_t size;
  buffer text = {0}, sum = {0}, why = {0};
  (void)mkdir(path_of("backups"), 0700);
  (void)mkdir(path_of("backups/20260101T000000Z"), 0700);
  backup_manifest_encode(&m, &text);
  (void)snprintf(path, sizeof path, "%s/backups/20260101T000000Z/manifest.json", folder);
  assert_true(file_write(path, text.data, text.size, &why));
  assert_true(file_sum(path, digits, &size, NULL, NULL, &why));
  buffer_format(&sum, "%s  manifest.json\n", digits);
  (void)snprintf(path, sizeof path, "%s/backups/20260101T000000Z/manifest.sha256", folder);
  assert_true(file_write(path, buffer_end(&sum), sum.size, &why));
  buffer_free(&text);
  buffer_free(&sum);
  buffer_free(&why);
}

static void manifests_are_believed_only_unchanged(void **state) {
  (void)state;
  backup_read_manifest read;
  buffer why = {0};
  write_manifest("20260101T000000Z", BACKUP_FORMAT);
  assert_true(backup_manifest_read(folder, "20260101T000000Z", &read, &why));
  assert_int_equal(read.m.tables.count, 1);
  assert_int_equal(read.m.tables.items[0].rows, 3);
  assert_int_equal(read.m.snapshot_at.unix_us, 2000000);
  assert_int_equal(read.m.recipient.state, PURLIN_ABSENT);
  backup_manifest_free(&read);
  change_byte(path_of("backups/20260101T000000Z/manifest.json"), 40);
  assert_false(backup_manifest_read(folder, "20260101T000000Z", &read, &why));
  assert_non_null(strstr(buffer_end(&why), "manifest.json: its bytes have changed"));
  buffer_clear(&why);
  write_manifest("20260101T000001Z", BACKUP_FORMAT);
  assert_false(backup_manifest_read(folder, "20260101T000000Z", &read, &why));
  assert_non_null(strstr(buffer_end(&why), "of another backup"));
  buffer_clear(&why);
  write_manifest("20260101T000000Z", BACKUP_FORMAT + 1);
  assert_false(backup_manifest_read(folder, "20260101T000000Z", &read, &why));
  assert_non_null(strstr(buffer_end(&why), "a newer Purlin"));
  buffer_free(&why);
}

static bool count(void *to, const backup_file *file) {
  assert_string_equal(file->folder, "x.root");
  assert_string_equal(file->path, "a \"b\"\nc");
  ++*(int *)to;
  return true;
}

static void lists_may_be_torn_only_while_they_are_written(void **state) {
  (void)state;
  const backup_file file = {"x.root", "a \"b\"\nc", 0600, 1700000000123456789, nothing};
  buffer lines = {0}, why = {0};
  int lines_read = 0;
  for (int i = 0; i < 3; i++) backup_file_encode(&file, &lines);
  assert_true(file_write(path_of("list"), lines.data, lines.size, &why));
  assert_true(backup_list_read(path_of("list"), false, count, &lines_read, &why));
  assert_int_equal(lines_read, 3);
  assert_true(file_write(path_of("list"), lines.data, lines.size - 5, &why));
  lines_read = 0;
  assert_true(backup_list_read(path_of("list"), true, count, &lines_read, &why));
  assert_int_equal(lines_read, 2);
  assert_false(backup_list_read(path_of("list"), false, count, &lines_read, &why));
  assert_true(why.size > 0);
  known_files known;
  known_begin(&known);
  buffer_clear(&why);
  assert_true(known_add(&known, path_of("list"), true, &why));
  assert_true(known_add(&known, path_of("none"), true, &why));
  assert_int_equal(known_find(&known, "x.root", "a \"b\"\nc")->mtime_ns, 1700000000123456789);
  assert_null(known_find(&known, "x.root", "other"));
  known_free(&known);
  buffer_free(&lines);
  buffer_free(&why);
}

static void sets_tell_contents_apart(void **state) {
  (void)state;
  content_set set = {0};
  char sha256[BACKUP_DIGITS + 1];
  for (unsigned i = 1; i <= 5000; i++) {
    (void)snprintf(sha256, sizeof sha256, "%016x%048x", i * 2654435761u, i);
    assert_true(set_add(&set, sha256, ""));
    assert_false(set_add(&set, sha256, ""));
    assert_false(set_has(&set, sha256, ".0123456789abcdef.age"));
  }
  assert_true(set_add(&set, sha256, ".0123456789abcdef.age"));
  assert_int_equal(set.count, 5001);
  set_free(&set);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(contents_come_back),
      cmocka_unit_test(what_cannot_be_written_is_told),
      cmocka_unit_test(a_dump_is_watched_however_it_is_cut),
      cmocka_unit_test(rows_count_not_their_packing),
      cmocka_unit_test(manifests_are_believed_only_unchanged),
      cmocka_unit_test(lists_may_be_torn_only_while_they_are_written),
      cmocka_unit_test(sets_tell_contents_apart),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_it);
}
