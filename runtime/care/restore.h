/* restore.h: the inside of `purlin restore`: a backup becomes an installation's database and files again.
 *
 * In an order that whoever is killed can take up again: STATE/restoring is written before anything is changed and goes when all is there
 * and checked; while it is there no daemon starts. Running the same restore again begins with the database anew and keeps the files
 * that are complete.
 *
 * care/restore.c           its steps
 * care/restore_database.c  the dump, and comparing what came of it
 * care/restore_files.c     files, with the service's owner
 * care/restore_until.c     to a moment after the backup, by binary logs */
#ifndef PURLIN_CARE_RESTORE_H
#define PURLIN_CARE_RESTORE_H

#include "care/backup.h"

typedef struct restore_binlog {
  const char *name;
  char suffix[32];
  backup_content content;
} restore_binlog;

typedef struct restoring {
  installation place;
  report report;
  buffer why;
  arena memory;
  backup_store store;
  backup_read_manifest read; /* of the backup that is restored */
  backup_places places;
  database_role role;
  MYSQL *mysql;
  const char *key_file, *configuration_to;
  char suffix[32];         /* of its contents */
  bool force, again;       /* again: a restore of this backup was begun here and did not come to its end */
  int64_t until_us;        /* 0: the backup's moment */
  restore_binlog *binlogs; /* from the dump's position on */
  size_t binlog_count;
  /* Later backups that they were taken from: what was stored since lies there. Names, and how their contents are stored. */
  struct {
    char name[BACKUP_NAME], suffix[32];
  } * followers;
  size_t follower_count;
  uint64_t done, total;
} restoring;

/* Counts bytes for the step that runs. */
bool restore_tick(void *to, uint64_t bytes, buffer *why);

/* Connects, makes the database where there is none. */
bool restore_open_database(restoring *r);
/* How many tables it has; -1: `why`. */
int64_t restore_tables(restoring *r);
/* Removes all tables, reads the dump. */
bool restore_load(restoring *r);
/* Dumps it once more and compares rows and checksums of each table; `detail` tells what was looked at. */
bool restore_compare(restoring *r, buffer *detail);

/* Whether the installation has a place for each folder of the backup. */
bool restore_match_places(restoring *r);
/* How many files are there already in folders that will be filled. */
int64_t restore_count_files(restoring *r);
/* What is there already is put aside, beside where it was. */
bool restore_put_aside(restoring *r);
/* Whether the disks have room for them. */
bool restore_has_room(restoring *r);
bool restore_files(restoring *r, buffer *detail);

/* "2026-11-21T19:00:00Z", or without the zone, which then is UTC. */
bool restore_parse_until(restoring *r, const char *text);
/* The newest backup from before until_us, from which binary logs reach there. Sets r->read and r->binlogs. */
bool restore_choose_until(restoring *r, const backup_names *names);
bool restore_check_binlogs(restoring *r);
bool restore_replay(restoring *r, buffer *detail);

#endif
