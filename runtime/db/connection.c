/* connection.c: opening, waiting, interrupting and closing. */
#include "db/connection.h"

#include <errmsg.h>
#include <errno.h>
#include <fcntl.h>
#include <mysqld_error.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "db/pool.h"
#include "db/service.h"

/* ---- Errors ---- */

bool db_connection_failed(db_connection *connection, unsigned error, const char *text) {
  connection->error = error ? error : CR_UNKNOWN_ERROR;
  snprintf(connection->error_text, sizeof connection->error_text, "%s", text ? text : "");
  if (db_error_breaks_connection(connection->error)) connection->broken = true;
  return false;
}

bool db_error_breaks_connection(unsigned error) {
  switch (error) {
  case 1053: /* the server shuts down */
  case 1152: /* aborted */
  case 1153: /* a packet over max_allowed_packet: the server hangs up after it */
  case 1156:
  case 1158:
  case 1159:
  case 1160:
  case 1161: /* network errors as the server saw them */
  case 1184:
  case 1927: /* killed */
  case 4031: /* idle for too long */
  case 2057: /* the columns of a prepared statement changed while it ran */
  case CR_SERVER_GONE_ERROR:
  case CR_SERVER_LOST:
  case CR_SERVER_LOST_EXTENDED:
  case CR_COMMANDS_OUT_OF_SYNC:
  case CR_MALFORMED_PACKET:
  case CR_NET_PACKET_TOO_LARGE:
  case CR_OUT_OF_MEMORY:
  case CR_UNKNOWN_ERROR: return true;
  default: return error >= CR_SOCKET_CREATE_ERROR && error <= CR_UNKNOWN_HOST;
  }
}

/* ---- Opening, on a thread that may block ---- */

static void set_tls(MYSQL *mysql, const db_options *options) {
  const my_bool yes = 1;
  if (!options->tls_ca) return;
  mysql_options(mysql, MYSQL_OPT_SSL_ENFORCE, &yes);
  mysql_options(mysql, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &yes);
  mysql_options(mysql, MYSQL_OPT_SSL_CA, options->tls_ca);
  mysql_options(mysql, MARIADB_OPT_TLS_VERSION, "TLSv1.2,TLSv1.3");
  if (!options->tls_certificate) return;
  mysql_options(mysql, MYSQL_OPT_SSL_CERT, options->tls_certificate);
  mysql_options(mysql, MYSQL_OPT_SSL_KEY, options->tls_key);
}

static void set_options(MYSQL *mysql, const db_options *options) {
  unsigned timeout_s = (options->connect_timeout_ms + 999) / 1000;
  unsigned no_local_files = 0;
  unsigned long packet = 64UL * 1024 * 1024;
  mysql_options(mysql, MYSQL_OPT_CONNECT_TIMEOUT, &timeout_s);
  mysql_options(mysql, MYSQL_SET_CHARSET_NAME, "utf8mb4");
  mysql_options(mysql, MYSQL_OPT_LOCAL_INFILE, &no_local_files);
  mysql_options(mysql, MYSQL_OPT_MAX_ALLOWED_PACKET, &packet);
  set_tls(mysql, options);
}

/* CLIENT_FOUND_ROWS: an UPDATE counts the rows that it found, so that "0 rows" means "no such row". */
static bool connect_now(MYSQL *mysql, const db_options *options, bool with_database) {
  return mysql_real_connect(mysql, options->socket ? NULL : options->host, options->user, options->password,
                            with_database ? options->database : NULL, options->socket ? 0 : options->port, options->socket,
                            CLIENT_FOUND_ROWS) != NULL;
}

static int wait_for_socket(my_socket socket, my_bool is_read, int timeout_ms);

/* A slow reader of rows (net_write_timeout) is not cut off after a minute: it may wait for its own client. A node that stands still in
 * the midst of a transaction (a frozen machine) does not keep its locks for hours: others could not even take over its jobs. */
static const char session_settings[] =
    "SET SESSION time_zone = '+00:00', innodb_lock_wait_timeout = 10, net_write_timeout = 600, idle_transaction_timeout = 60,"
    " sql_mode = 'STRICT_ALL_TABLES,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
    "NO_ENGINE_SUBSTITUTION'"
    /* From MariaDB 11.5 on, tables of utf8mb4 would compare otherwise than JSON_TABLE's columns do, and than tables of 10.x. */
    "/*M!110500 , character_set_collations = 'utf8mb4=utf8mb4_general_ci' */";

purlin_status db_connection_connect(void *argument) {
  db_connecting *connecting = argument;
  MYSQL *mysql = mysql_init(NULL);
  if (!mysql) return PURLIN_UNAVAILABLE;
  set_options(mysql, connecting->options);
  mysql_options(mysql, MYSQL_INIT_COMMAND, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED");
  mysql_options(mysql, MYSQL_INIT_COMMAND, session_settings);
  mysql_options(mysql, MARIADB_OPT_IO_WAIT, (const void *)(uintptr_t)wait_for_socket);
  if (connect_now(mysql, connecting->options, true)) {
    connecting->mysql = mysql;
    return PURLIN_OK;
  }
  connecting->error = mysql_errno(mysql);
  snprintf(connecting->error_text, sizeof connecting->error_text, "%s", mysql_error(mysql));
  mysql_close(mysql);
  return PURLIN_UNAVAILABLE;
}

MYSQL *db_connection_open_plain(const db_options *options, bool with_database, unsigned *error, char *text,
                                size_t text_size) {
  MYSQL *mysql = mysql_init(NULL);
  *error = CR_OUT_OF_MEMORY;
  if (!mysql) return NULL;
  unsigned timeout_s = options->answer_timeout_ms > 0 ? (options->answer_timeout_ms + 999) / 1000 : 5;
  set_options(mysql, options);
  mysql_options(mysql, MYSQL_OPT_READ_TIMEOUT, &timeout_s);
  mysql_options(mysql, MYSQL_OPT_WRITE_TIMEOUT, &timeout_s);
  if (connect_now(mysql, options, with_database)) {
    *error = 0;
    return mysql;
  }
  *error = mysql_errno(mysql);
  snprintf(text, text_size, "%s", mysql_error(mysql));
  mysql_close(mysql);
  return NULL;
}

/* ---- On the loop ---- */

static void on_ready(uv_poll_t *poll, int status, int events) {
  db_connection *c = poll->data;
  (void)status, (void)events; /* an error shows itself to the connector's next read */
  if (c->waiting) {
    fiber *f = c->waiting;
    c->waiting = NULL;
    fiber_resume(f);
    return;
  }
  if (c->idle) {
    db_pool_drop_idle(c); /* nobody asked: the server has hung up */
    return;
  }
  uv_poll_stop(poll); /* read later, by whoever holds the connection */
  c->polled = 0;
}

/* Keeps watching for reading all the time, even when idle: it saves two system calls per statement, and a connection that
 * the server closed is noticed at once. */
static bool watch(db_connection *c, int events) {
  if (c->polled == events) return true;
  if (uv_poll_start(&c->poll, events, on_ready) != 0) return false;
  c->polled = events;
  return true;
}

static bool undo_wait(purlin_ctx *ctx, void *argument) {
  db_connection *c = argument;
  (void)ctx;
  c->waiting = NULL;
  return true;
}

#define BLOCKING_WAIT_MS 5000

/* Off the loop (while connecting, at the end) it just blocks. */
static int wait_blocking(int socket, bool is_read, int timeout_ms) {
  struct pollfd waiting = {.fd = socket, .events = is_read ? POLLIN : POLLOUT};
  int ready;
  do { ready = poll(&waiting, 1, timeout_ms > 0 ? timeout_ms : BLOCKING_WAIT_MS); } while (ready < 0 && errno == EINTR);
  return ready;
}

/* The connector's hook: 1 ready, 0 to give up (it then takes the connection for lost). */
static int wait_for_socket(my_socket socket, my_bool is_read, int timeout_ms) {
  if (!loop_current()) return wait_blocking(socket, is_read != 0, timeout_ms);
  db_connection *c = db_pool_connection_of(socket);
  if (!c || !c->ctx || !fiber_current()) return 0; /* closing, on the loop's own level: never wait there */
  for (;;) {
    if (!watch(c, is_read ? UV_READABLE : UV_READABLE | UV_WRITABLE)) return 0;
    c->waiting = fiber_current();
    purlin_status status = context_park(c->ctx, undo_wait, c);
    if (status == PURLIN_OK) {
      if (!is_read) return watch(c, UV_READABLE) ? 1 : 0;
      return 1;
    }
    if (c->ctx->shielded_until_ms != 0) return 0; /* it had its time of grace */
    c->interrupted = status;
    context_shield(c->ctx, DB_GRACE_MS); /* ended by session_settle */
    if (!db_service_kill_query(mysql_thread_id(c->mysql))) return 0;
  }
}

bool db_connection_watch(db_connection *connection) { return watch(connection, UV_READABLE); }

db_connection *db_connection_attach(MYSQL *mysql, struct db_lane *lane, size_t statements) {
  db_connection *c = calloc(1, sizeof *c);
  if (!c) {
    mysql_close(mysql);
    return NULL;
  }
  *c = (db_connection){.mysql = mysql, .lane = lane, .autocommit = true};
  c->descriptor = (int)mysql_get_socket(mysql);
  c->poll_descriptor = fcntl(c->descriptor, F_DUPFD_CLOEXEC, 3);
  if (c->poll_descriptor < 0 || !db_statements_init(&c->statements, statements)) {
    if (c->poll_descriptor >= 0) close(c->poll_descriptor);
    mysql_close(mysql);
    free(c);
    return NULL;
  }
  int on = 1; /* not for Unix sockets, where these fail without harm */
  setsockopt(c->descriptor, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(c->descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (uv_poll_init(loop_uv(loop_current()), &c->poll, c->poll_descriptor) != 0) {
    close(c->poll_descriptor);
    mysql_close(mysql);
    db_statements_free(&c->statements);
    free(c);
    return NULL;
  }
  c->poll.data = c;
  uv_unref((uv_handle_t *)&c->poll); /* an idle connection keeps no loop from ending */
  return c;
}

static void on_closed(uv_handle_t *poll) {
  db_connection *c = poll->data;
  close(c->poll_descriptor);
  free(c);
}

void db_connection_close(db_connection *connection) {
  mysql_close(connection->mysql);
  connection->mysql = NULL;
  db_statements_free(&connection->statements);
  uv_handle_t *handle = (uv_handle_t *)&connection->poll;
  if (!uv_is_closing(handle)) uv_close(handle, on_closed);
  else on_closed(handle); /* the loop closed it when it ended */
}

bool db_connection_is_stale(const db_connection *connection) {
  char byte;
  ssize_t got = recv(connection->descriptor, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

bool db_connection_query(db_connection *connection, const char *text, size_t size) {
  connection->error = 0;
  if (mysql_real_query(connection->mysql, text, size) != 0)
    return db_connection_failed(connection, mysql_errno(connection->mysql), mysql_error(connection->mysql));
  connection->touched = true;
  if (mysql_field_count(connection->mysql) == 0) return true;
  MYSQL_RES *rows = mysql_store_result(connection->mysql);
  if (rows) mysql_free_result(rows);
  if (mysql_errno(connection->mysql) == 0) return true;
  return db_connection_failed(connection, mysql_errno(connection->mysql), mysql_error(connection->mysql));
}

void db_connection_absorb_kill(db_connection *connection) {
  static const char nothing[] = "DO 0";
  for (int i = 0; i < 3 && !connection->broken; i++) {
    if (db_connection_query(connection, nothing, sizeof nothing - 1)) return;
    if (connection->error != ER_QUERY_INTERRUPTED) connection->broken = true;
  }
}
