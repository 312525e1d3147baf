/* sql.h: the little that we need to know about the text of a statement: where it ends and what it does to a transaction. */
#ifndef PURLIN_DB_SQL_H
#define PURLIN_DB_SQL_H

#include <purlin/base.h>

typedef enum sql_kind {
  SQL_READS,   /* SELECT, SHOW, ... : runs anywhere */
  SQL_WRITES,  /* changes rows or locks them: begins the transaction of an operation */
  SQL_DEFINES, /* CREATE, ALTER, ... : the server commits before and after it */
  SQL_CONTROLS /* BEGIN, COMMIT, SET, CALL, ... : would change the connection under the pool's feet; refused */
} sql_kind;

sql_kind sql_classify(const char *sql, size_t size);

/* Takes the next statement from a script: without the ';', without blanks and comments around it. Semicolons in texts,
 * quoted names and comments do not end a statement. False at the end. */
typedef struct sql_script {
  const char *at, *end;
} sql_script;
bool sql_next(sql_script *script, const char **statement, size_t *size);

/* Whether a migration says of itself, in a line "-- breaking: WHY", that the releases before it cannot work with what it leaves. */
bool sql_is_breaking(const char *script);

/* Whether a definition takes away or changes what a release before it may use (DROP but of indexes, RENAME, CHANGE, MODIFY, TRUNCATE)
 * instead of only adding to it. */
bool sql_narrows(const char *sql, size_t size);

/* The part of a script that a message can show: the first line, at most `most` bytes. */
size_t sql_excerpt(const char *sql, size_t size, size_t most);

#endif
