#include "care/care.h"
#include "db/connection.h"
#include <errmsg.h>
#include <errno.h>
#include <mysqld_error.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LONGEST_ANSWER_MS = 3600 * 1000 };

/* Debian's and Fedora's, and what a server has that was built by hand. */
static const char *const sockets[] = {"/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/run/mariadb/mariadb.sock",
                                      "/tmp/mysql.sock"};

/* ---- Where it is ---- */

static bool is_socket(const char *path) {
  struct stat about;
  return stat(path, &about) == 0 && S_ISSOCK(about.st_mode);
}

bool database_is_remote(const installation *i) {
  const database_settings *d = &i->settings.database;
  return !d->socket && strcmp(d->host, "127.0.0.1") != 0 && strcmp(d->host, "localhost") != 0 &&
         strcmp(d->host, "::1") != 0;
}

const char *database_socket(const installation *i) {
  const char *own = i->readable ? i->settings.database.socket : NULL;
  if (own && is_socket(own)) return own;
  for (size_t s = 0; s < sizeof sockets / sizeof sockets[0]; s++)
    if (is_socket(sockets[s])) return sockets[s];
  return NULL;
}

bool database_options(const installation *i, database_role role, db_options *out, buffer *why) {
  const database_settings *d = &i->settings.database;
  db_options_default(out);
  out->answer_timeout_ms = LONGEST_ANSWER_MS;
  if (!i->readable) {
    buffer_text(why, i->why.data ? i->why.data : "the configuration cannot be read");
    return false;
  }
  out->database = d->name;
  if (role == DATABASE_SERVICE) {
    out->socket = d->socket;
    out->host = d->host;
    out->port = (uint16_t)d->port;
    out->user = d->user;
    out->password = d->password;
    out->tls_ca = d->tls_ca;
    out->tls_certificate = d->tls_certificate;
    out->tls_key = d->tls_key;
    return true;
  }
  out->user = "root";
  out->password = "";
  out->socket = database_is_remote(i) ? NULL : database_socket(i);
  bool own = d->socket && strcmp(d->socket, sockets[0]) != 0 && strcmp(d->socket, sockets[1]) != 0;
  if (out->socket) return true;
  if (database_is_remote(i)) buffer_format(why, "the database is on another machine, %s", d->host);
  else
    buffer_format(why, "no socket of MariaDB is on this machine (%s%s%s, %s)", own ? d->socket : "", own ? ", " : "",
                  sockets[0], sockets[1]);
  return false;
}

/* ---- Connecting ---- */

static void explain(const installation *i, const db_options *o, database_role role, unsigned error, const char *text,
                    buffer *why) {
  if (o->socket) buffer_format(why, "MariaDB at %s: %s", o->socket, text);
  else buffer_format(why, "MariaDB at %s:%u: %s", o->host, (unsigned)o->port, text);
  if (error == ER_ACCESS_DENIED_ERROR || error == ER_DBACCESS_DENIED_ERROR || error == ER_ACCESS_DENIED_NO_PASSWORD_ERROR) {
    if (role == DATABASE_ADMINISTRATOR && !i->root) buffer_text(why, "; only root may do this: sudo purlin ...");
    else if (role == DATABASE_SERVICE && !i->root && geteuid() != i->uid && o->socket && !o->password)
      buffer_format(why, "; over the socket only root and %s can tell: sudo purlin ...", i->user);
  }
}

MYSQL *database_try(const installation *i, database_role role, bool use, unsigned *error, buffer *why) {
  db_options options;
  char text[512] = "";
  *error = 0;
  if (!database_options(i, role, &options, why)) return NULL;
  /* MariaDB knows who is behind a Unix socket by the effective user at the time of connecting. */
  if (role == DATABASE_SERVICE && !installation_act(i, why)) return NULL;
  MYSQL *mysql = db_connection_open_plain(&options, use, error, text, sizeof text);
  if (role == DATABASE_SERVICE) installation_act_no_more(i);
  if (!mysql) explain(i, &options, role, *error, text, why);
  return mysql;
}

MYSQL *database_connect(const installation *i, database_role role, bool use, buffer *why) {
  unsigned error;
  return database_try(i, role, use, &error, why);
}

/* ---- Statements ---- */

static bool run_text(MYSQL *mysql, buffer *why, buffer *sql) {
  bool fine = !sql->failed && mysql_real_query(mysql, buffer_end(sql), (unsigned long)sql->size) == 0;
  if (!fine && why) buffer_format(why, "%s (%u): %.200s", mysql_error(mysql), mysql_errno(mysql), buffer_end(sql));
  return fine;
}

static void add_text(buffer *sql, const char *format, va_list values) {
  va_list again;
  va_copy(again, values);
  int size = vsnprintf(NULL, 0, format, values);
  if (size >= 0 && buffer_reserve(sql, (size_t)size + 1)) {
    (void)vsnprintf(sql->data, (size_t)size + 1, format, again);
    sql->size = (size_t)size;
  } else sql->failed = true;
  va_end(again);
}

bool database_run(MYSQL *mysql, buffer *why, const char *format, ...) {
  buffer sql = {0};
  va_list values;
  va_start(values, format);
  add_text(&sql, format, values);
  va_end(values);
  bool fine = run_text(mysql, why, &sql);
  if (fine) mysql_free_result(mysql_store_result(mysql));
  buffer_free(&sql);
  return fine;
}

bool database_text(MYSQL *mysql, buffer *out, buffer *why, const char *format, ...) {
  buffer sql = {0};
  va_list values;
  va_start(values, format);
  add_text(&sql, format, values);
  va_end(values);
  bool fine = run_text(mysql, why, &sql);
  MYSQL_RES *rows = fine ? mysql_store_result(mysql) : NULL;
  MYSQL_ROW row = rows ? mysql_fetch_row(rows) : NULL;
  bool found = row && row[0];
  if (found) buffer_add(out, row[0], mysql_fetch_lengths(rows)[0]);
  mysql_free_result(rows);
  buffer_free(&sql);
  return found;
}

int64_t database_number(MYSQL *mysql, const char *sql, int64_t otherwise) {
  buffer text = {0};
  int64_t number = otherwise;
  if (database_text(mysql, &text, NULL, "%s", sql)) number = strtoll(buffer_end(&text), NULL, 10);
  buffer_free(&text);
  return number;
}

void database_add_name(buffer *out, const char *name) {
  buffer_char(out, '`');
  for (; *name; name++) {
    if (*name == '`') buffer_char(out, '`');
    buffer_char(out, *name);
  }
  buffer_char(out, '`');
}

void database_add_text(MYSQL *mysql, buffer *out, const char *text) {
  size_t size = strlen(text);
  buffer_char(out, '\'');
  if (size < SIZE_MAX / 4 && buffer_reserve(out, 2 * size + 1))
    out->size += mysql_real_escape_string(mysql, out->data + out->size, text, (unsigned long)size);
  buffer_char(out, '\'');
}
