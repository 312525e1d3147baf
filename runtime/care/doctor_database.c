#include "care/doctor.h"
#include <errmsg.h>
#include <mysqld_error.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OLDEST_VERSION = 100600, SPARE = 8, ASK_MS = 30000 };

/* ---- Reaching it ---- */

static const char *remedy_for(const doctor *d, unsigned error) {
  static const char far_away[] =
      "look whether it runs there and the network leads to it: database { host, port } of purlin.lua";
  if (error == 0) return NULL;
  if (!d->here->root && (error == ER_ACCESS_DENIED_ERROR || error == ER_ACCESS_DENIED_NO_PASSWORD_ERROR))
    return "sudo purlin doctor";
  switch (error) {
  case CR_CONNECTION_ERROR:
    return database_is_remote(d->here) ? far_away
                                       : "systemctl start mariadb; where it listens elsewhere: purlin setup --check tells";
  case CR_CONN_HOST_ERROR:
  case CR_UNKNOWN_HOST: return far_away;
  case ER_CON_COUNT_ERROR: return "raise max_connections of MariaDB";
  case CR_SSL_CONNECTION_ERROR: return "mend database { tls_ca } of purlin.lua, or the certificate of MariaDB";
  default: return "purlin setup";
  }
}

static MYSQL *reach(doctor *d) {
  unsigned error;
  buffer why = {0};
  MYSQL *mysql = database_try(d->here, DATABASE_SERVICE, true, &error, &why);
  bool hidden = !d->here->root && (error == ER_ACCESS_DENIED_ERROR || error == ER_ACCESS_DENIED_NO_PASSWORD_ERROR);
  if (!mysql) doctor_tell(d, hidden ? REPORT_SKIPPED : REPORT_FAILED, remedy_for(d, error), "%s", buffer_end(&why));
  else if (!mariadb_connection(mysql) || mysql_get_server_version(mysql) < OLDEST_VERSION)
    doctor_tell(d, REPORT_FAILED, "install MariaDB 10.6 or newer", "Purlin needs MariaDB 10.6 or newer, this is %s",
                mysql_get_server_info(mysql));
  else
    doctor_tell(d, REPORT_DONE, NULL, "MariaDB %s answers %s, database %s", mysql_get_server_info(mysql),
                d->here->settings.database.user, d->here->settings.database.name);
  buffer_free(&why);
  return mysql;
}

/* ---- Its settings ---- */

static void look_at_connections(doctor *d, MYSQL *mysql) {
  long long allowed = database_number(mysql, "SELECT @@max_connections", 0), own = d->here->settings.database.connections;
  long long used = database_number(
      mysql, "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'Max_used_connections'", 0);
  long long statements = database_number(mysql, "SELECT @@max_prepared_stmt_count", 16382);
  static const char remedy[] =
      "raise max_connections in MariaDB's configuration, or lower database.connections of purlin.lua";
  if (allowed < own + SPARE)
    doctor_tell(d, REPORT_FAILED, remedy, "it allows %lld connections; %lld of ours and some in reserve do not fit",
                allowed, own);
  else if (used >= allowed)
    doctor_tell(d, REPORT_WARNING, remedy, "all of its %lld connections have been in use at once", allowed);
  if (statements / 2 / (own + SPARE) < 8)
    doctor_tell(d, REPORT_FAILED, "SET GLOBAL max_prepared_stmt_count = 16382, and in its configuration",
                "it allows %lld prepared statements, too few for %lld connections", statements, own);
}

/* What is not worth a function: a number, and what it must be. */
static const struct {
  const char *sql;
  int64_t least, most;
  report_outcome outcome;
  const char *harm; /* with a %lld */
  const char *remedy;
} limits[] = {
    {"SELECT @@max_allowed_packet", 16 << 20, INT64_MAX, REPORT_WARNING,
     "max_allowed_packet is %lld: what is larger in one row is refused",
     "in /etc/mysql/mariadb.conf.d/60-purlin.cnf: [mariadb] max_allowed_packet = 64M; then systemctl restart mariadb"},
    {"SELECT @@innodb_flush_log_at_trx_commit", 1, 1, REPORT_WARNING,
     "innodb_flush_log_at_trx_commit is %lld: a power cut takes the last second of what was answered as done",
     "in /etc/mysql/mariadb.conf.d/60-purlin.cnf: [mariadb] innodb_flush_log_at_trx_commit = 1; then systemctl restart mariadb"},
    {"SELECT @@global.read_only", 0, 0, REPORT_FAILED, "read_only is %lld: nothing can be changed; is this a replica?",
     "SET GLOBAL read_only = 0, or name the primary server in purlin.lua"},
    {"SELECT @@log_bin", 1, 1, REPORT_WARNING,
     "log_bin is %lld: without binary logs a restore goes back to a backup, not to a moment between",
     "in /etc/mysql/mariadb.conf.d/60-purlin.cnf: [mariadb] log_bin, sync_binlog = 1; then systemctl restart mariadb"},
    {"SELECT IF(@@log_bin, @@sync_binlog, 1)", 1, INT64_MAX, REPORT_WARNING,
     "sync_binlog is %lld: after a power cut the binary logs may lack what the database has",
     "SET GLOBAL sync_binlog = 1, and in its configuration"},
    {"SELECT @@character_set_database = 'utf8mb4'", 1, 1, REPORT_FAILED, "the database is not utf8mb4 (%lld)",
     "purlin setup tells the statement"},
    {"SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE' AND ENGINE <> 'InnoDB'",
     0, 0, REPORT_FAILED, "%lld tables are not of InnoDB: transactions do not hold for them",
     "ALTER TABLE ... ENGINE = InnoDB"},
};

static void look_at_limits(doctor *d, MYSQL *mysql) {
  for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
    int64_t value = database_number(mysql, limits[i].sql, limits[i].least);
    char text[256];
    if (value >= limits[i].least && value <= limits[i].most) continue;
    const char *at = strstr(limits[i].harm, "%lld");
    (void)snprintf(text, sizeof text, "%.*s%lld%s", (int)(at - limits[i].harm), limits[i].harm, (long long)value, at + 4);
    doctor_tell(d, limits[i].outcome, limits[i].remedy, "%s", text);
  }
}

/* ---- Clocks: ours and the database's; and what has happened in the future ---- */

static double now_s(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_REALTIME, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void look_at_clocks(doctor *d, MYSQL *mysql) {
  buffer text = {0};
  double before = now_s();
  if (database_text(mysql, &text, NULL, "SELECT UNIX_TIMESTAMP(NOW(6))")) {
    /* Its answer may have taken long: only what is before the question or after the answer is wrong. */
    double its = strtod(buffer_end(&text), NULL), after = now_s();
    double apart = its < before ? before - its : its > after ? its - after : 0;
    if (apart > 2)
      doctor_tell(d, apart > 60 ? REPORT_FAILED : REPORT_WARNING, "timedatectl set-ntp true, on both machines",
                  "its clock and ours differ by %.0f s: sessions and leases go by both", apart);
  }
  buffer_free(&text);
  long long ahead =
      database_number(mysql, "SELECT TIMESTAMPDIFF(SECOND, NOW(6), MAX(applied_at)) FROM purlin_migrations", 0);
  if (ahead > 60)
    doctor_tell(d, REPORT_FAILED, "timedatectl set-ntp true",
                "the last migration was applied %lld s from now: the clock has gone back", ahead);
}

/* ---- Migrations ---- */

/* What this release has, of which each is looked for as "component/name". NULL: it cannot be asked. */
static cJSON *list_own(const doctor *d) {
  const installation *i = d->here;
  const char *const arguments[] = {i->daemon, "--migrations", i->has_config ? "--config" : NULL, i->config, NULL};
  const run_program program = {.arguments = arguments, .user = i->root && i->has_user ? i->uid : 0};
  const run_options options = {.limit_ms = ASK_MS};
  run_result result = {0};
  buffer why = {0};
  cJSON *own = i->daemon[0] && run_pipeline(&program, 1, &options, &result, &why) ? cJSON_CreateObject() : NULL;
  for (const char *line = own ? buffer_end(&result.output) : ""; *line;) {
    size_t size = strcspn(line, "\n");
    cJSON *one = cJSON_ParseWithLength(line, size);
    const cJSON *component = cJSON_GetObjectItemCaseSensitive(one, "component"),
                *name = cJSON_GetObjectItemCaseSensitive(one, "name");
    char key[320];
    if (cJSON_IsString(component) && cJSON_IsString(name)) {
      (void)snprintf(key, sizeof key, "%s/%s", component->valuestring, name->valuestring);
      (void)cJSON_AddBoolToObject(own, key, false);
      if (!cJSON_GetObjectItemCaseSensitive(own, component->valuestring))
        (void)cJSON_AddNullToObject(own, component->valuestring); /* that this one is here at all */
    }
    cJSON_Delete(one);
    line += size + (line[size] == '\n');
  }
  run_result_free(&result);
  buffer_free(&why);
  return own;
}

typedef struct migrations {
  size_t applied, unfinished, newer, breaking;
  char first_newer[300];
} migrations;

/* Records of a component that is not here (a plugin that was taken away) are left alone. */
static void compare(MYSQL *mysql, cJSON *own, migrations *m) {
  static const char sql[] = "SELECT CONCAT(component, '/', name), component, SUM(state = 'started') > 0, MIN(statement) < 0"
                            " FROM purlin_migrations GROUP BY component, name ORDER BY component, name";
  MYSQL_RES *rows = mysql_real_query(mysql, sql, sizeof sql - 1) == 0 ? mysql_store_result(mysql) : NULL;
  for (MYSQL_ROW row = rows ? mysql_fetch_row(rows) : NULL; row; row = mysql_fetch_row(rows)) {
    cJSON *known = cJSON_GetObjectItemCaseSensitive(own, row[0]);
    if (known) known->type = cJSON_True;
    m->applied += known != NULL;
    m->unfinished += row[2][0] == '1';
    if (known || !cJSON_GetObjectItemCaseSensitive(own, row[1])) continue;
    if (m->newer++ == 0) (void)snprintf(m->first_newer, sizeof m->first_newer, "%s", row[0]);
    m->breaking += row[3][0] == '1';
  }
  mysql_free_result(rows);
}

static void look_at_migrations(doctor *d, MYSQL *mysql) {
  migrations m = {0};
  size_t waiting = 0;
  if (database_number(
          mysql,
          "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'purlin_migrations'",
          0) == 0) {
    doctor_tell(d, REPORT_WARNING, "systemctl start purlin", "it is empty: the service has not run yet");
    return;
  }
  cJSON *own = list_own(d), *one;
  if (!own) {
    doctor_tell(d, REPORT_SKIPPED, NULL, "what this release does to it cannot be asked of purlind --migrations");
    return;
  }
  compare(mysql, own, &m);
  cJSON_ArrayForEach(one, own) waiting += cJSON_IsFalse(one) ? 1 : 0;
  if (m.breaking > 0)
    doctor_tell(d, REPORT_FAILED, "install the newer release again, or purlin restore a backup from before it",
                "a newer release has changed it so that this one cannot work with it (%s)", m.first_newer);
  else if (m.newer > 0)
    doctor_tell(d, REPORT_WARNING, "purlin upgrade, when you like",
                "a newer release has used it (%s and %zu more); this one can work with it", m.first_newer, m.newer - 1);
  if (m.unfinished > 0)
    doctor_tell(d, REPORT_WARNING, "systemctl restart purlin",
                "%zu migrations were interrupted; the next start goes on with them", m.unfinished);
  if (waiting > 0)
    doctor_tell(d, REPORT_WARNING, "systemctl restart purlin",
                "%zu migrations of this release are not applied yet; the next start does it", waiting);
  if (m.newer + m.unfinished + waiting == 0)
    doctor_tell(d, REPORT_DONE, NULL, "all %zu migrations of this release are applied", m.applied);
  cJSON_Delete(own);
}

void doctor_database(doctor *d) {
  if (!d->here->readable) return;
  MYSQL *mysql = reach(d);
  if (!mysql) return;
  look_at_connections(d, mysql);
  look_at_limits(d, mysql);
  look_at_clocks(d, mysql);
  look_at_migrations(d, mysql);
  mysql_close(mysql);
}
