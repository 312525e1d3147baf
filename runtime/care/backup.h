/* backup.h: the inside of `purlin backup` and `purlin restore`: what a folder of backups holds, and who writes and reads it.
 *
 *   DIR/purlin-backups              what it is, and the version of its form
 *   DIR/lock                        held by who writes
 *   DIR/files/ab/cdef...            contents, each once, named by the SHA-256 of what they hold; ".KEY.age" behind it: encrypted, KEY is
 *                                   of the recipient
 *   DIR/backups/20261121T190000Z/   one backup, whole as soon as it has this name; while it is written it is backups/unfinished
 *     manifest.json, manifest.sha256  what belongs to it, and its checksum, as `sha256sum -c` reads it
 *     files.list                      a line of JSON for each file
 *     database.sql.gz[.age]           the dump
 *
 * Nothing has its final name before all of it is on the disk, so whoever is killed leaves nothing that counts; the next one takes up
 * what is complete. Consistency: first the database, at one moment; then the files, of which none that the database named at that
 * moment goes while the backup holds them (backup_hold.c).
 *
 * care/backup.c           `purlin backup`: its steps
 * care/backup_stream.c    contents on their way to a file and back: SHA-256, gzip, age
 * care/backup_store.c     DIR: its lock, contents, names, what is durable
 * care/backup_manifest.c  manifest.json and files.list
 * care/backup_dump.c      the database's dump, and the checksum of each table
 * care/backup_files.c     the files step: only what is new is read
 * care/backup_folders.c   which folders there are, and walking them
 * care/backup_hold.c      nothing goes meanwhile
 * care/backup_binlogs.c   MariaDB's binary logs, for a restore to a moment
 * care/backup_verify.c    `purlin backup verify`, `list`, and what --keep removes
 * care/restore.c          `purlin restore`: its steps; care/restore_*.c */
#ifndef PURLIN_CARE_BACKUP_H
#define PURLIN_CARE_BACKUP_H

#include "care/care.h"
#include <openssl/evp.h>
#include <purlin/schema.h>
#include <zlib.h>
#include "core/arena.h"

enum {
  BACKUP_FORMAT = 1,
  BACKUP_DIGITS = 64,
  BACKUP_NAME = 17, /* 20261121T190000Z */
  BACKUP_PIECE = 1024 * 1024
};

/* ---- What a manifest says ------------------------------------------------------------------------------------------------------ */

/* Bytes that the folder of backups holds. */
typedef struct backup_content {
  const char *sha256; /* of what is in it, when it is decrypted and unpacked */
  int64_t size;
  const char *stored_sha256; /* of the file */
  int64_t stored_size;
} backup_content;
PURLIN_SCHEMA(backup_content, "Bytes that are kept",
    PURLIN_REQUIRED(sha256, "SHA-256 of what is in it", .pattern = "[0-9a-f]{64}"),
    PURLIN_REQUIRED(size, "Its bytes", .min = 0, .max = 9e15),
    PURLIN_REQUIRED(stored_sha256, "SHA-256 of the file as it is kept", .pattern = "[0-9a-f]{64}"),
    PURLIN_REQUIRED(stored_size, "Its bytes", .min = 0, .max = 9e15));

typedef struct backup_table {
  const char *name;
  int64_t rows;
  const char *sha256;
} backup_table;
PURLIN_SCHEMA(backup_table, "A table",
    PURLIN_REQUIRED(name, "Its name"),
    PURLIN_REQUIRED(rows, "How many"),
    PURLIN_REQUIRED(sha256, "Of its rows, in order, as mariadb-dump writes them"));

typedef struct backup_folder {
  const char *name, *path;
  int64_t files, bytes;
} backup_folder;
PURLIN_SCHEMA(backup_folder, "A folder whose files were taken along",
    PURLIN_REQUIRED(name, "What it is: PLUGIN.FIELD, state or configuration"),
    PURLIN_REQUIRED(path, "Where it was"),
    PURLIN_REQUIRED(files, "How many files"),
    PURLIN_REQUIRED(bytes, "Their bytes"));

typedef struct backup_binlog {
  const char *name;
  backup_content content;
} backup_binlog;
PURLIN_SCHEMA(backup_binlog, "A binary log of MariaDB",
    PURLIN_REQUIRED(name, "The server's name for it"),
    PURLIN_OBJECT(content, backup_content, "Its bytes"));

typedef struct backup_manifest {
  int64_t format;
  const char *purlin, *name, *database, *server;
  purlin_time began_at, snapshot_at,
      ended_at;              /* what was answered before it began is in it; what was committed after snapshot_at is not */
  purlin_opt_text recipient; /* whom it is encrypted to */
  bool secrets;              /* the state's and the configuration's files are in it */
  backup_content dump, list;
  PURLIN_LIST_OF(backup_table) tables;
  PURLIN_LIST_OF(backup_folder) folders;
  purlin_opt_text position_file, position_head; /* of the dump in the binary logs; SHA-256 of that file's head */
  purlin_opt_int position;
  PURLIN_LIST_OF(backup_binlog) binlogs; /* closed ones: from the backup's before, or this one's position, on */
  purlin_opt_text continues;             /* the backup that its binary logs follow without a gap */
  purlin_time covered_until;             /* up to where they reach */
} backup_manifest;
PURLIN_SCHEMA(backup_manifest, "A backup",
    PURLIN_REQUIRED(format, "Version of this form", .min = 1, .max = 1000000),
    PURLIN_REQUIRED(purlin, "Version of Purlin that wrote it"),
    PURLIN_REQUIRED(name, "Its name"),
    PURLIN_REQUIRED(database, "The database's name"),
    PURLIN_REQUIRED(server, "MariaDB's version"),
    PURLIN_REQUIRED(began_at, "When it began: what was answered before is in it"),
    PURLIN_REQUIRED(snapshot_at, "The database's moment: nothing later is in it"),
    PURLIN_REQUIRED(ended_at, "When it ended"),
    PURLIN_OPTIONAL(recipient, "Whom it is encrypted to"),
    PURLIN_REQUIRED(secrets, "Keys, the first administrator's token and purlin.lua are in it"),
    PURLIN_OBJECT(dump, backup_content, "database.sql.gz"),
    PURLIN_OBJECT(list, backup_content, "files.list"),
    PURLIN_LIST(tables, backup_table, "The tables"),
    PURLIN_LIST(folders, backup_folder, "The folders"),
    PURLIN_OPTIONAL(position_file, "The binary log that follows on the dump"),
    PURLIN_OPTIONAL(position_head, "SHA-256 of its head"),
    PURLIN_OPTIONAL(position, "The byte in it"),
    PURLIN_LIST(binlogs, backup_binlog, "Binary logs that were taken along"),
    PURLIN_OPTIONAL(continues, "The backup that they follow on"),
    PURLIN_OPTIONAL(covered_until, "They reach up to here"));

/* A line of files.list. */
typedef struct backup_file {
  const char *folder, *path; /* of folders; within it */
  int64_t mode, mtime_ns;
  backup_content content;
} backup_file;
PURLIN_SCHEMA(backup_file, "A file",
    PURLIN_REQUIRED(folder, "Whose"),
    PURLIN_REQUIRED(path, "Its path in the folder"),
    PURLIN_REQUIRED(mode, "Its permissions"),
    PURLIN_REQUIRED(mtime_ns, "When it was written, in nanoseconds since 1970"),
    PURLIN_OBJECT(content, backup_content, "Its bytes"));

/* A copy in an arena; false: no memory. */
bool content_copy(const backup_content *content, arena *memory, backup_content *out);

/* Owned: backup_manifest_free. */
typedef struct backup_read_manifest {
  backup_manifest m;
  arena memory;
} backup_read_manifest;

void backup_manifest_encode(const backup_manifest *m, buffer *out);
/* Reads backups/NAME/manifest.json, whose checksum must be that of manifest.sha256. */
bool backup_manifest_read(const char *root, const char *name, backup_read_manifest *out, buffer *why);
void backup_manifest_free(backup_read_manifest *read);
void backup_file_encode(const backup_file *file, buffer *out); /* a line, with its end */
/* Calls `each` for each line of a list; its texts are borrowed until it returns. With `torn` lines that are not whole are left out, and there may be
 * no list at all; else `why` names the line. False also when `each` is. */
typedef bool backup_on_file(void *to, const backup_file *file);
bool backup_list_read(const char *path, bool torn, backup_on_file *each, void *to, buffer *why);

/* ---- Contents on their way (backup_stream.c) ------------------------------------------------------------------------------------- */

/* Another program through which bytes go. */
typedef struct backup_filter {
  pid_t pid;  /* 0: none */
  int errors; /* a file in memory with what it said */
} backup_filter;

typedef struct backup_sink {
  int file, to; /* the file; where bytes go: the file, or age */
  bool compressed, failed;
  EVP_MD_CTX *digest;
  z_stream zip;
  backup_filter age;
  int64_t size;
  uint8_t *packed;
  char path[PATH_MAX];
} backup_sink;
/* A new file; `recipient` NULL: in the clear. False: `why`; nothing is to be closed then. */
bool sink_open(backup_sink *s, const char *path, const char *recipient, bool compressed, buffer *why);
bool sink_write(backup_sink *s, const void *data, size_t size, buffer *why);
/* Is called now and then with the bytes that went by since; false ends what is done, `why`. NULL: nobody is. */
typedef bool backup_tick(void *to, uint64_t bytes, buffer *why);
/* All of it is on the disk. The hexadecimal texts go into two rooms of BACKUP_DIGITS + 1 bytes. */
typedef struct backup_sums {
  char sha256[BACKUP_DIGITS + 1], stored_sha256[BACKUP_DIGITS + 1];
  int64_t size, stored_size;
} backup_sums;
bool sink_close(backup_sink *s, backup_tick *tick, void *to, backup_sums *out, buffer *why);
void sink_abandon(backup_sink *s); /* the file goes */
backup_content sums_content(const backup_sums *sums);

typedef struct backup_source {
  int file, from;
  bool compressed, ended;
  EVP_MD_CTX *digest;
  z_stream zip;
  backup_filter age;
  uint8_t *packed;
  int64_t size;
  char path[PATH_MAX];
} backup_source;
/* `key_file`: the age identity, NULL: it is in the clear. */
bool source_open(backup_source *s, const char *path, const char *key_file, bool compressed, buffer *why);
/* Bytes into `out`; 0: the end; -1: `why`. */
ssize_t source_read(backup_source *s, void *out, size_t size, buffer *why);
/* Whether what was read whole is this content. */
bool source_close(backup_source *s, const backup_content *expected, buffer *why);
void source_abandon(backup_source *s);

/* SHA-256 and size of a file as it is. */
bool file_sum(const char *path, char sha256[BACKUP_DIGITS + 1], int64_t *size, backup_tick *tick, void *to, buffer *why);
/* Of the program: its arguments, environment and user. */
bool filter_start(backup_filter *f, const run_program *program, int in, int out, buffer *why);
/* Waits for its end; false: it failed, `why` has its words. */
bool filter_end(backup_filter *f, const char *name, buffer *why);

/* ---- The folder of backups (backup_store.c) ---------------------------------------------------------------------------------------- */

typedef struct backup_store {
  char root[PATH_MAX / 2];
  int lock; /* -1: nobody wrote */
  const char *recipient;
  char suffix[32];     /* ".0123456789abcdef.age"; "" in the clear */
  uint8_t touched[32]; /* folders of files/ to be made durable, a bit each */
  int64_t added, added_bytes;
} backup_store;
/* Opens DIR for writing: makes it when it is not there or empty, refuses a folder of something else, waits for nobody. */
bool store_begin(backup_store *s, const char *directory, const char *recipient, buffer *why);
/* For reading. */
bool store_open(backup_store *s, const char *directory, buffer *why);
/* For changing one that is there: --keep, and while it is read whole. */
bool store_lock(backup_store *s, buffer *why);
void store_end(backup_store *s);
/* The path of a content, stored with this suffix. */
void store_path(const backup_store *s, const char *sha256, const char *suffix, char out[PATH_MAX]);
void store_suffix(const char *recipient, char out[32]);
bool store_has(const backup_store *s, const char *sha256, int64_t stored_size);
/* Copies an open file into the store. */
bool store_put(backup_store *s, int file, const char *path, backup_tick *tick, void *to, backup_sums *out, buffer *why);
/* What was put is durable under its name. */
bool store_sync(backup_store *s, buffer *why);
/* The names of whole backups, oldest first; owned: names_free. False: `why`. */
typedef struct backup_names {
  char (*items)[BACKUP_NAME];
  size_t count;
} backup_names;
bool store_names(const backup_store *s, backup_names *out, buffer *why);
void names_free(backup_names *names);
bool remove_folder(const char *path, buffer *why);

/* ---- Which files (backup_folders.c) ------------------------------------------------------------------------------------------------ */

enum { BACKUP_FOLDERS = 64 };
typedef struct backup_place {
  char name[160], path[PATH_MAX];
  bool secret;             /* taken along only encrypted, or when it is asked for */
  const char *const *only; /* these names alone; NULL: all that is in it */
} backup_place;
typedef struct backup_places {
  backup_place items[BACKUP_FOLDERS];
  size_t count;
} backup_places;
/* The folders that the plugins' configurations name, those of the state and of the configuration. Each plugin is asked by purlin-runner: none
 * of its code runs here. */
bool places_find(const installation *i, backup_places *out, buffer *why);
/* Calls `each` for each file of a place; `relative` is its path in it. A place that is not there has none. */
typedef bool backup_on_path(void *to, const char *path, const char *relative);
bool place_walk(const backup_place *place, backup_on_path *each, void *to, buffer *why);

/* ---- The database (backup_dump.c) ------------------------------------------------------------------------------------------------- */

/* What goes by while a dump is written or read: tables, rows, where it lies in the binary logs, whether it is whole. */
typedef struct dump_watch {
  arena *memory;
  backup_table *tables;
  size_t count, room;
  EVP_MD_CTX *digest; /* of the current table's rows */
  bool in_rows, whole, failed;
  char line[512]; /* the beginning of the current one */
  size_t line_size;
  char last; /* byte of a line, held back: what separates rows is no part of them */
  bool has_last, is_row;
  char file[256]; /* of the position; "": none */
  int64_t position, seen_at_us;
} dump_watch;
bool dump_watch_begin(dump_watch *w, arena *memory);
bool dump_watch_take(dump_watch *w, const char *data, size_t size);
/* False: the dump is not whole. */
bool dump_watch_end(dump_watch *w);

typedef struct database_client {
  const char *arguments[24];
  const char *environment[4];
  char texts[16][PATH_MAX];
  size_t count, text_count;
  uid_t user;
} database_client;
/* The arguments of a client program up to its own; more are added by client_add. */
bool client_begin(database_client *c, const installation *i, database_role role, const char *program, buffer *why);
void client_add(database_client *c, const char *argument);
/* mariadb-dump of the whole database: each piece goes to `take`. */
bool database_dump(const installation *i, database_role role, bool position,
                   bool (*take)(void *to, const char *data, size_t size), void *to, buffer *why);
/* What mariadb-binlog or the dump tells is carried out: `mariadb` reads from what is returned; -1: `why`. */
int database_load(const installation *i, database_role role, backup_filter *client, buffer *why);
/* As whom: an administrator where that works, else as the service. NULL: neither. */
MYSQL *database_best(const installation *i, database_role *role, buffer *why);

/* ---- Binary logs (backup_binlogs.c) ------------------------------------------------------------------------------------------------- */

bool binlogs_are_on(MYSQL *mysql);
/* SHA-256 of a binary log's head, which tells it from another server's of the same name. False: it cannot be read here. */
bool binlog_head(MYSQL *mysql, const char *name, char sha256[BACKUP_DIGITS + 1]);
/* Begins a new one and takes the closed ones along: those that follow on the backup before, if they do, else from m's position on. Fills the
 * manifest's members. */
bool binlogs_take(MYSQL *mysql, backup_store *store, const backup_manifest *before, arena *memory, backup_tick *tick,
                  void *to, backup_manifest *m, buffer *why);

/* ---- Files (backup_files.c) ------------------------------------------------------------------------------------------------------------ */

/* What earlier lists say of files; those that have not changed since are not read again. Owned: known_free. */
typedef struct known_files {
  backup_file *items;
  size_t count, room;
  arena memory;
  bool sorted;
} known_files;
void known_begin(known_files *k);
/* Adds a list; false: no memory, or `why`. */
bool known_add(known_files *k, const char *path, bool torn, buffer *why);
const backup_file *known_find(known_files *k, const char *folder, const char *path);
void known_free(known_files *k);

/* ---- Nothing goes meanwhile (backup_hold.c) ------------------------------------------------------------------------------------------ */

typedef struct backup_hold {
  MYSQL *mysql;
  char name[48];
  uint64_t renewed_ns;
  bool held;
} backup_hold;
bool hold_take(backup_hold *h, MYSQL *mysql, buffer *why);
/* From time to time; it renews it when that is due. False: it was lost, `why`. */
bool hold_keep(backup_hold *h, buffer *why);
/* Whether it has held all the time. */
bool hold_end(backup_hold *h, buffer *why);

/* ---- Looking after backups (backup_verify.c) ----------------------------------------------------------------------------------------- */

/* A set of contents, by SHA-256 and suffix. All zero: empty. Owned: set_free. */
typedef struct content_set {
  uint8_t (*items)[40];
  size_t count, room;
  bool failed; /* no memory */
} content_set;
/* True: it was not in it. */
bool set_add(content_set *set, const char *sha256, const char *suffix);
bool set_has(const content_set *set, const char *sha256, const char *suffix);
void set_free(content_set *set);

/* Whether all that a backup needs is there and unchanged; with a key file also what is inside. `why` tells of the first places where it is not.
 * What is in `seen` was looked at already. `tick` is called with the bytes that were read. */
bool backup_check(const backup_store *store, const backup_manifest *m, const char *key_file, content_set *seen,
                  backup_tick *tick, void *to, buffer *why);
/* Of a step that takes a while; in a log nobody wants to read of others. */
void backup_progress(report *r, uint64_t done, uint64_t total);
/* Removes all but the newest ones, and what nothing needs any more. The store is locked. */
bool backup_prune(backup_store *store, size_t keep, report *r, buffer *why);

#endif
