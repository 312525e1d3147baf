/* service.c: start and stop, the checker thread, and KILL QUERY. */
#include "db/service.h"

#include <errmsg.h>
#include <mysqld_error.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "db/instruments.h"
#include "db/pool.h"
#include "db/session.h"
#include "observe/log.h"

#define OLDEST_VERSION 100600 /* SKIP LOCKED */
#define CHECK_MS 1000

static struct {
  db_options options; /* with texts of our own */
  bool started;
  atomic_bool up;
  pthread_t checker;
  pthread_mutex_t lock; /* of what follows */
  pthread_cond_t changed;
  bool stopping, check_now, connect_anew;
  char why[512];             /* it is away; "" when it is not */
  pthread_mutex_t kill_lock; /* of the connection that sends KILL QUERY */
  MYSQL *killer;
} service = {.lock = PTHREAD_MUTEX_INITIALIZER, .kill_lock = PTHREAD_MUTEX_INITIALIZER};

void db_options_default(db_options *options) {
  *options = (db_options){.host = "127.0.0.1",
                          .port = 3306,
                          .user = "purlin",
                          .password = "",
                          .database = "purlin",
                          .connections = 16,
                          .wait_ms = 2000,
                          .connect_timeout_ms = 5000,
                          .statements = 256};
}

const db_options *db_service_options(void) { return &service.options; }

bool db_service_up(void) { return atomic_load_explicit(&service.up, memory_order_relaxed); }

/* ---- The checker ---- */

static void set_up(bool up, const char *why) {
  pthread_mutex_lock(&service.lock);
  bool was_up = atomic_exchange(&service.up, up);
  snprintf(service.why, sizeof service.why, "%s", why);
  pthread_mutex_unlock(&service.lock);
  if (was_up && !up) log_write(PURLIN_WARNING, "db", "the database is away: %s", why);
  if (!was_up && up) log_write(PURLIN_INFO, "db", "the database is back");
}

static MYSQL *check(MYSQL *mysql) {
  if (mysql && mysql_ping(mysql) == 0) {
    if (!db_service_up()) set_up(true, "");
    return mysql;
  }
  if (mysql) mysql_close(mysql);
  unsigned error;
  char text[512] = "";
  mysql = db_connection_open_plain(&service.options, true, &error, text, sizeof text);
  if (!mysql) {
    if (db_service_up()) set_up(false, text);
  } else if (!db_service_up()) {
    set_up(true, "");
  }
  return mysql;
}

/* Waits for the next check: a second, or less while the database is away; true when it is time to end. */
static bool wait_for_check(bool *connect_anew, unsigned pause_ms) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_nsec += (long)(pause_ms % 1000) * 1000000;
  until.tv_sec += (time_t)(pause_ms / 1000) + until.tv_nsec / 1000000000;
  until.tv_nsec %= 1000000000;
  pthread_mutex_lock(&service.lock);
  while (!service.stopping && !service.check_now)
    if (pthread_cond_timedwait(&service.changed, &service.lock, &until) != 0) break;
  bool stopping = service.stopping;
  *connect_anew = service.connect_anew;
  service.check_now = service.connect_anew = false;
  pthread_mutex_unlock(&service.lock);
  return stopping;
}

static void *run_checker(void *argument) {
  MYSQL *mysql = argument;
  unsigned pause_ms = CHECK_MS;
  bool connect_anew;
  while (!wait_for_check(&connect_anew, pause_ms)) {
    if (connect_anew && mysql) {
      mysql_close(mysql);
      mysql = NULL;
    }
    mysql = check(mysql);
    if (mysql) pause_ms = CHECK_MS;
    else pause_ms = pause_ms >= CHECK_MS ? 50 : pause_ms * 2; /* 50 ms up to a second, and again */
    const struct timespec least = {.tv_nsec = 20000000};      /* many alarms are one check */
    nanosleep(&least, NULL);
  }
  if (mysql) mysql_close(mysql);
  return NULL;
}

static void alarm_checker(bool connect_anew) {
  pthread_mutex_lock(&service.lock);
  service.check_now = true;
  service.connect_anew = service.connect_anew || connect_anew;
  pthread_cond_signal(&service.changed);
  pthread_mutex_unlock(&service.lock);
}

void db_service_suspect(void) { alarm_checker(false); }

void db_service_lost(const char *why) {
  if (db_service_up()) set_up(false, why);
  alarm_checker(true);
}

bool db_ready(buffer *why) {
  if (!service.started) {
    buffer_text(why, "no database");
    return false;
  }
  if (db_service_up()) return true;
  pthread_mutex_lock(&service.lock);
  buffer_format(why, "the database is away: %s", service.why);
  pthread_mutex_unlock(&service.lock);
  return false;
}

/* ---- KILL QUERY ---- */

static purlin_status kill_work(void *argument) {
  char text[64];
  int size = snprintf(text, sizeof text, "KILL QUERY %lu", *(const unsigned long *)argument);
  purlin_status status = PURLIN_UNAVAILABLE;
  pthread_mutex_lock(&service.kill_lock);
  for (int attempt = 0; attempt < 2 && status != PURLIN_OK; attempt++) {
    unsigned error;
    char why[512];
    if (!service.killer) service.killer = db_connection_open_plain(&service.options, false, &error, why, sizeof why);
    if (!service.killer) break;
    if (mysql_real_query(service.killer, text, (unsigned long)size) == 0 ||
        mysql_errno(service.killer) == ER_NO_SUCH_THREAD) {
      status = PURLIN_OK;
    } else { /* ours was idle for too long */
      mysql_close(service.killer);
      service.killer = NULL;
    }
  }
  pthread_mutex_unlock(&service.kill_lock);
  return status;
}

bool db_service_kill_query(unsigned long thread_id) {
  return loop_offload(PURLIN_POOL_BLOCKING, kill_work, &thread_id) == PURLIN_OK;
}

/* ---- Start: what a wrong database looks like, and what to do ---- */

static bool query(MYSQL *mysql, const char *text) { return mysql_real_query(mysql, text, strlen(text)) == 0; }

static uint64_t ask_number(MYSQL *mysql, const char *text) {
  if (!query(mysql, text)) return 0;
  MYSQL_RES *rows = mysql_store_result(mysql);
  MYSQL_ROW row = rows ? mysql_fetch_row(rows) : NULL;
  uint64_t number = row && row[0] ? strtoull(row[0], NULL, 10) : 0;
  mysql_free_result(rows);
  return number;
}

static void explain_connect(const db_options *o, unsigned error, const char *text, buffer *why) {
  buffer_format(why, "cannot connect to MariaDB at ");
  if (o->socket) buffer_text(why, o->socket);
  else buffer_format(why, "%s:%u", o->host, (unsigned)o->port);
  buffer_format(why, ": %s", text);
  switch (error) {
  case ER_ACCESS_DENIED_ERROR:
    buffer_format(why,
                  ". Check user and password in the configuration; to make the user: CREATE USER '%s'@'%%' IDENTIFIED BY "
                  "'...'; GRANT ALL ON `%s`.* TO '%s'@'%%'",
                  o->user, o->database, o->user);
    break;
  case ER_DBACCESS_DENIED_ERROR:
    buffer_format(why, ". Run as an administrator: GRANT ALL ON `%s`.* TO '%s'@'%%'", o->database, o->user);
    break;
  case ER_CON_COUNT_ERROR: buffer_text(why, ". Raise max_connections of the server"); break;
  case CR_SSL_CONNECTION_ERROR:
    buffer_format(
        why,
        ". With database { tls_ca = ... } the server needs a certificate (ssl_cert, ssl_key) for '%s' that those in %s vouch for",
        o->host, o->tls_ca ? o->tls_ca : "that file");
    break;
  default: buffer_text(why, ". Is the server running, and the address right?"); break;
  }
}

static bool check_version(MYSQL *mysql, buffer *why) {
  const char *info = mysql_get_server_info(mysql);
  if (!mariadb_connection(mysql)) {
    buffer_format(why, "the server is not MariaDB but %s: Purlin needs MariaDB 10.6 or newer", info);
    return false;
  }
  if (mysql_get_server_version(mysql) >= OLDEST_VERSION) return true;
  buffer_format(why, "the server is MariaDB %s: Purlin needs 10.6 or newer", info);
  return false;
}

static bool quote_name(MYSQL *mysql, const char *format, const char *name, buffer *why) {
  char text[256];
  if (strlen(name) > 64 || strchr(name, '`')) {
    buffer_format(why, "'%s' cannot be a database's name", name);
    return false;
  }
  snprintf(text, sizeof text, format, name);
  return query(mysql, text);
}

static bool use_database(MYSQL *mysql, const db_options *o, buffer *why) {
  if (mysql_select_db(mysql, o->database) == 0) return true;
  if (mysql_errno(mysql) == ER_BAD_DB_ERROR &&
      quote_name(mysql, "CREATE DATABASE IF NOT EXISTS `%s` CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin", o->database,
                 why) &&
      mysql_select_db(mysql, o->database) == 0)
    return true;
  if (why->size == 0)
    buffer_format(why,
                  "cannot use the database '%s' as '%s': %s. Run as an administrator: CREATE DATABASE `%s` CHARACTER SET "
                  "utf8mb4; GRANT ALL ON `%s`.* TO '%s'@'%%'",
                  o->database, o->user, mysql_error(mysql), o->database, o->database, o->user);
  return false;
}

static bool check_character_set(MYSQL *mysql, const db_options *o, buffer *why) {
  if (ask_number(mysql, "SELECT @@character_set_database = 'utf8mb4'") == 1) return true;
  buffer_format(why, "the database '%s' is not utf8mb4: ALTER DATABASE `%s` CHARACTER SET utf8mb4", o->database,
                o->database);
  return false;
}

/* The server's limits are shared by all its clients: use at most half of its prepared statements. */
static bool check_limits(MYSQL *mysql, db_options *o, buffer *why) {
  uint64_t connections = ask_number(mysql, "SELECT @@max_connections");
  uint64_t statements = ask_number(mysql, "SELECT @@max_prepared_stmt_count");
  if (connections < 8 || o->connections > connections - 8) {
    buffer_format(why,
                  "the server allows %llu connections, %zu and some in reserve are configured: raise max_connections or "
                  "lower ours",
                  (unsigned long long)connections, o->connections);
    return false;
  }
  uint64_t share = statements / 2 / (o->connections + 8);
  if (share < 8) {
    buffer_format(why, "max_prepared_stmt_count of the server is %llu, too few: raise it to 16382, its default",
                  (unsigned long long)statements);
    return false;
  }
  if (o->statements > share) o->statements = (size_t)share;
  return true;
}

static void free_options(db_options *o) {
  free((char *)(uintptr_t)o->socket);
  free((char *)(uintptr_t)o->host);
  free((char *)(uintptr_t)o->user);
  free((char *)(uintptr_t)o->password);
  free((char *)(uintptr_t)o->database);
  free((char *)(uintptr_t)o->tls_ca);
  free((char *)(uintptr_t)o->tls_certificate);
  free((char *)(uintptr_t)o->tls_key);
  *o = (db_options){0};
}

static char *copy_or_null(const char *text) { return text ? strdup(text) : NULL; }

static bool copy_options(const db_options *from, db_options *to) {
  *to = *from;
  to->socket = copy_or_null(from->socket);
  to->host = copy_or_null(from->host);
  to->user = copy_or_null(from->user);
  to->password = copy_or_null(from->password);
  to->database = copy_or_null(from->database);
  to->tls_ca = copy_or_null(from->tls_ca);
  to->tls_certificate = copy_or_null(from->tls_certificate);
  to->tls_key = copy_or_null(from->tls_key);
  if ((from->tls_ca && !to->tls_ca) || (from->tls_certificate && (!to->tls_certificate || !to->tls_key))) return false;
  if (to->connections == 0) to->connections = 16;
  if (to->statements == 0) to->statements = 256;
  return (to->socket || to->host) && to->user && to->database && (!from->password || to->password);
}

static bool start_checker(MYSQL *mysql) {
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&service.changed, &attributes);
  pthread_condattr_destroy(&attributes);
  service.stopping = service.check_now = service.connect_anew = false;
  service.why[0] = '\0';
  atomic_store(&service.up, true);
  return pthread_create(&service.checker, NULL, run_checker, mysql) == 0;
}

static MYSQL *open_and_check(buffer *why) {
  unsigned error;
  char text[512] = "";
  MYSQL *mysql = db_connection_open_plain(&service.options, false, &error, text, sizeof text);
  if (!mysql) {
    explain_connect(&service.options, error, text, why);
    return NULL;
  }
  if (check_version(mysql, why) && use_database(mysql, &service.options, why) &&
      check_character_set(mysql, &service.options, why) && check_limits(mysql, &service.options, why))
    return mysql;
  mysql_close(mysql);
  return NULL;
}

purlin_status db_start(const db_options *options, buffer *why) {
  static bool hooked;
  if (service.started) {
    buffer_text(why, "the database is started already");
    return PURLIN_CONFLICT;
  }
  if (!copy_options(options, &service.options)) {
    buffer_text(why, "the database needs a socket or a host, a user and a name");
    free_options(&service.options);
    return PURLIN_INVALID;
  }
  mysql_library_init(0, NULL, NULL);
  MYSQL *mysql = open_and_check(why);
  if (!mysql || !start_checker(mysql)) {
    if (mysql) mysql_close(mysql);
    free_options(&service.options);
    return PURLIN_UNAVAILABLE;
  }
  if (!hooked) context_on_end(db_session_end);
  hooked = true;
  db_instruments_start();
  service.started = true;
  return PURLIN_OK;
}

void db_stop(void) {
  if (!service.started) return;
  pthread_mutex_lock(&service.lock);
  service.stopping = true;
  pthread_cond_signal(&service.changed);
  pthread_mutex_unlock(&service.lock);
  pthread_join(service.checker, NULL);
  pthread_cond_destroy(&service.changed);
  db_pools_close();
  if (service.killer) mysql_close(service.killer);
  service.killer = NULL;
  free_options(&service.options);
  service.started = false;
}
