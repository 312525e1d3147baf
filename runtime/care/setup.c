/* setup.c: `purlin setup`: a database and a user of it, made over the Unix socket of a MariaDB on this machine; or what has to be done
 * by others. Asks nothing, and changes nothing that is as it has to be: packages run it, too. */
#include "care/care.h"
#include <mysqld_error.h>
#include <string.h>
#include <unistd.h>

enum { OLDEST_VERSION = 100600, CONNECTIONS_SPARE = 8 };

typedef struct setup {
  installation here;
  report report;
  MYSQL *mysql; /* as an administrator */
  bool check;
  buffer user;      /* 'purlin', as SQL has it */
  const char *from; /* where it comes from: localhost is the socket */
  buffer why;
} setup;

static bool failed(setup *s, const char *remedy) {
  report_end_step(&s->report, REPORT_FAILED, buffer_end(&s->why), remedy);
  return false;
}

static const char *again(const setup *s) { return s->here.root ? "purlin setup" : "sudo purlin setup"; }

/* ---- Elsewhere ---- */

/* What another machine's administrator does, with a placeholder for the password. */
static void print_statements(setup *s) {
  const database_settings *d = &s->here.settings.database;
  report_say(
      &s->report,
      "\nAn administrator of that MariaDB (10.6 or newer) runs, with a password of their choice:\n"
      "\n"
      "  CREATE DATABASE IF NOT EXISTS `%s` CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;\n"
      "  CREATE USER IF NOT EXISTS '%s'@'%%' IDENTIFIED BY 'PASSWORD';\n"
      "  GRANT ALL PRIVILEGES ON `%s`.* TO '%s'@'%%';\n"
      "\n"
      "Then in %s:\n"
      "\n"
      "  database {\n"
      "    host = \"%s\", port = %lld, user = \"%s\", name = \"%s\",\n"
      "    password = file(\"/etc/purlin/db.password\"),  -- mode 0640, root:%s\n"
      "    tls_ca = \"/etc/purlin/db-ca.pem\",            -- who vouches for its certificate; else all goes in the clear\n"
      "  }\n",
      d->name, d->user, d->name, d->user, s->here.config, d->host, (long long)d->port, d->user, d->name, s->here.user);
}

static bool use_remote(setup *s) {
  const database_settings *d = &s->here.settings.database;
  report_step(&s->report, "Connecting to %s:%lld", d->host, (long long)d->port);
  MYSQL *mysql = database_connect(&s->here, DATABASE_SERVICE, true, &s->why);
  if (!mysql) {
    (void)failed(s, "see below; then purlin setup --check");
    print_statements(s);
    return false;
  }
  buffer detail = {0};
  buffer_format(&detail, "%s serves the database %s", mysql_get_server_info(mysql), d->name);
  report_end_step(&s->report, REPORT_DONE, buffer_end(&detail), NULL);
  buffer_free(&detail);
  mysql_close(mysql);
  return true;
}

/* ---- Here ---- */

/* Where it is not running, or not even installed, the next command differs. */
static const char *mend_absence(void) {
  char path[PATH_MAX];
  if (run_find("mariadbd", path) || access("/usr/libexec/mariadbd", X_OK) == 0)
    return "systemctl start mariadb && purlin setup";
  return run_find("dnf", path) ? "dnf install mariadb-server && systemctl enable --now mariadb && purlin setup"
                               : "apt-get install mariadb-server && purlin setup";
}

static bool find_server(setup *s) {
  buffer remedy = {0};
  const char *configured = s->here.settings.database.socket, *found = database_socket(&s->here);
  report_step(&s->report, "Finding MariaDB");
  s->mysql = database_connect(&s->here, DATABASE_ADMINISTRATOR, false, &s->why);
  if (!s->mysql && !found) return failed(s, mend_absence());
  if (!s->mysql)
    return failed(s, s->here.root ? "let root in over the socket: ALTER USER root@localhost IDENTIFIED VIA unix_socket"
                                  : "sudo purlin setup");
  buffer_format(&s->why, "%s at %s", mysql_get_server_info(s->mysql), found);
  if (configured && strcmp(configured, found) != 0) {
    buffer_format(&s->why, ", but %s says %s", s->here.config, configured);
    buffer_format(&remedy, "write in %s: database { socket = \"%s\" }", s->here.config, found);
    (void)failed(s, buffer_end(&remedy));
    buffer_free(&remedy);
    return false;
  }
  report_end_step(&s->report, REPORT_DONE, buffer_end(&s->why), NULL);
  return true;
}

static bool check_server(setup *s) {
  report_step(&s->report, "Looking at its version and settings");
  if (!mariadb_connection(s->mysql) || mysql_get_server_version(s->mysql) < OLDEST_VERSION) {
    buffer_format(&s->why, "Purlin needs MariaDB 10.6 or newer, this is %s", mysql_get_server_info(s->mysql));
    return failed(s, "install a newer MariaDB, then purlin setup");
  }
  int64_t allowed = database_number(s->mysql, "SELECT @@max_connections", 0);
  int64_t wanted = s->here.settings.database.connections + CONNECTIONS_SPARE;
  if (allowed < wanted) {
    buffer_format(&s->why, "it allows %lld connections, Purlin takes up to %lld", (long long)allowed, (long long)wanted);
    return failed(s, "raise max_connections of MariaDB, or lower database.connections of purlin.lua");
  }
  report_end_step(&s->report, REPORT_DONE, NULL, NULL);
  return true;
}

static bool make_database(setup *s) {
  const char *name = s->here.settings.database.name;
  buffer set = {0};
  report_step(&s->report, "The database %s", name);
  bool there =
      database_text(s->mysql, &set, NULL,
                    "SELECT DEFAULT_CHARACTER_SET_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = '%s'", name);
  bool fits = there && strcmp(buffer_end(&set), "utf8mb4") == 0;
  if (there && !fits) {
    buffer remedy = {0};
    buffer_format(&s->why, "it is there, but its character set is %s", buffer_end(&set));
    buffer_format(&remedy, "mariadb -e 'ALTER DATABASE `%s` CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin'", name);
    (void)failed(s, buffer_end(&remedy));
    buffer_free(&remedy);
  } else if (!there && s->check) {
    buffer_text(&s->why, "it is not there");
    (void)failed(s, again(s));
  } else if (!there && !(fits = database_run(
                             s->mysql, &s->why,
                             "CREATE DATABASE IF NOT EXISTS `%s` CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin", name)))
    (void)failed(s, NULL);
  else report_end_step(&s->report, REPORT_DONE, there ? "is there" : "made", NULL);
  buffer_free(&set);
  return fits;
}

/* Over the socket MariaDB knows who connects, so no password is needed; the names have to be the same. */
static bool identify(setup *s, buffer *sql) {
  const database_settings *d = &s->here.settings.database;
  if (d->password) {
    buffer_text(sql, " IDENTIFIED BY ");
    database_add_text(s->mysql, sql, d->password);
    return true;
  }
  if (d->socket && strcmp(d->user, s->here.user) == 0) {
    buffer_text(sql, " IDENTIFIED VIA unix_socket");
    return true;
  }
  if (d->socket)
    buffer_format(&s->why,
                  "%s names the user '%s' and no password, but the service runs as '%s': over the socket these "
                  "have to be the same",
                  s->here.config, d->user, s->here.user);
  else buffer_format(&s->why, "%s names %s:%lld and no password", s->here.config, d->host, (long long)d->port);
  return false;
}

static bool has_user(setup *s) {
  buffer text = {0};
  bool there = database_text(s->mysql, &text, NULL, "SELECT 1 FROM mysql.global_priv WHERE User = %s AND Host = '%s'",
                             buffer_end(&s->user), s->from);
  buffer_free(&text);
  return there;
}

static bool make_user(setup *s) {
  buffer sql = {0}, remedy = {0};
  const char *user = s->here.settings.database.user;
  report_step(&s->report, "The user %s@%s", user, s->from);
  bool there = has_user(s), fine = there;
  if (there) report_end_step(&s->report, REPORT_DONE, "is there", NULL);
  buffer_format(&sql, "CREATE USER IF NOT EXISTS %s@'%s'", buffer_end(&s->user), s->from);
  buffer_format(&remedy, "write in %s: database { socket = \"%s\", user = \"%s\" }", s->here.config,
                database_socket(&s->here), s->here.user);
  if (!there && !identify(s, &sql)) (void)failed(s, buffer_end(&remedy));
  else if (!there && s->check) {
    buffer_text(&s->why, "is not there");
    (void)failed(s, again(s));
  } else if (!there) {
    fine = mysql_real_query(s->mysql, buffer_end(&sql), (unsigned long)sql.size) == 0;
    if (fine) report_end_step(&s->report, REPORT_DONE, "made", NULL);
    else buffer_format(&s->why, "%s", mysql_error(s->mysql)); /* not the statement: it may hold a password */
    if (!fine) (void)failed(s, NULL);
  }
  buffer_free(&sql);
  buffer_free(&remedy);
  return fine;
}

/* In a grant, '_' of a database's name stands for any letter. */
static void add_pattern(buffer *out, const char *name) {
  for (; *name; name++) {
    if (*name == '_') buffer_char(out, '\\');
    buffer_char(out, *name);
  }
}

static bool grant(setup *s) {
  const database_settings *d = &s->here.settings.database;
  buffer pattern = {0}, count = {0};
  add_pattern(&pattern, d->name);
  report_step(&s->report, "The rights of %s on %s", d->user, d->name);
  /* What a release may need, and not what it happens to use today. */
  bool there = database_text(
      s->mysql, &count, NULL,
      "SELECT 1 FROM mysql.db WHERE User = %s AND Host = '%s' AND Db IN ('%s', '%s') AND "
      "Select_priv = 'Y' AND Insert_priv = 'Y' AND Update_priv = 'Y' AND Delete_priv = 'Y' AND "
      "Create_priv = 'Y' AND Alter_priv = 'Y' AND Drop_priv = 'Y' AND Index_priv = 'Y' AND References_priv = 'Y'",
      buffer_end(&s->user), s->from, d->name, buffer_end(&pattern));
  bool fine = there;
  if (!there && s->check) {
    buffer_text(&s->why, "they are not granted");
    (void)failed(s, again(s));
  } else if (!there) {
    fine = database_run(s->mysql, &s->why, "GRANT ALL PRIVILEGES ON `%s`.* TO %s@'%s'", buffer_end(&pattern),
                        buffer_end(&s->user), s->from);
    if (!fine) (void)failed(s, NULL);
  }
  if (fine) report_end_step(&s->report, REPORT_DONE, there ? "are granted" : "granted, on no other database", NULL);
  buffer_free(&pattern);
  buffer_free(&count);
  return fine;
}

/* ---- As the service will do it ---- */

static bool try_as_service(setup *s) {
  buffer remedy = {0};
  const database_settings *d = &s->here.settings.database;
  report_step(&s->report, "Connecting as the service");
  if (d->socket && !d->password && !s->here.has_user && strcmp(d->user, "root") != 0) {
    report_end_step(&s->report, REPORT_SKIPPED, "the system has no user purlin yet", "systemd-sysusers");
    return true;
  }
  MYSQL *mysql = database_connect(&s->here, DATABASE_SERVICE, true, &s->why);
  if (mysql) {
    mysql_close(mysql);
    report_end_step(&s->report, REPORT_DONE, NULL, NULL);
    return true;
  }
  if (d->password)
    buffer_format(&remedy, "give %s@'%s' the password that %s names: mariadb, then ALTER USER %s@'%s' IDENTIFIED BY '...'",
                  buffer_end(&s->user), s->from, s->here.config, buffer_end(&s->user), s->from);
  else
    buffer_format(&remedy, "mariadb -e \"ALTER USER %s@'%s' IDENTIFIED VIA unix_socket\"", buffer_end(&s->user), s->from);
  (void)failed(s, buffer_end(&remedy));
  buffer_free(&remedy);
  return false;
}

static bool set_up_here(setup *s) {
  bool (*const steps[])(setup *) = {find_server, check_server, make_database, make_user, grant, try_as_service};
  bool all = true;
  const database_settings *d = &s->here.settings.database;
  s->from = d->socket || strcmp(d->host, "localhost") == 0 ? "localhost" : d->host;
  bool is_root = strcmp(d->user, "root") == 0; /* a machine for trying out: there is nobody to make */
  for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
    if (is_root && (steps[i] == make_user || steps[i] == grant)) continue;
    buffer_clear(&s->why);
    if (steps[i] == try_as_service && !all) break;
    if (steps[i] == make_user) database_add_text(s->mysql, &s->user, d->user);
    if (steps[i](s)) continue;
    all = false;
    if (!s->check || i < 2) break; /* with --check all that is missing is told */
  }
  return all;
}

/* ---- What comes next ---- */

static void tell_next(setup *s) {
  char path[PATH_MAX];
  bool there = installation_path(&s->here, "admin.token", path) && access(path, F_OK) == 0;
  (void)cJSON_AddStringToObject(s->report.document, "administrator_token", path);
  report_say(&s->report,
             there ? "\nThe first administrator's token lies in %s (mode 0600)."
                   : "\nThe first administrator's token will lie in %s (mode 0600) once the service has started.",
             path);
  report_say(&s->report,
             s->here.systemd ? "Next: systemctl start purlin && purlin doctor" : "Next: start purlind, then purlin doctor");
}

static void read_settings(setup *s, const char *config_file) {
  installation_open(&s->here, config_file);
  report_step(&s->report, "Reading %s", s->here.config);
  if (!s->here.readable) {
    buffer_add(&s->why, s->here.why.data, s->here.why.size);
    (void)failed(s, "mend it, then purlind --check && purlin setup");
  } else report_end_step(&s->report, REPORT_DONE, s->here.has_config ? NULL : "it is not there: the defaults hold", NULL);
}

int care_setup(bool json, int count, char **arguments) {
  setup s = {0};
  const char *config_file = NULL;
  int code;
  const care_option options[] = {{"--config", &config_file, NULL}, {"--check", NULL, &s.check}, {"--json", NULL, &json}};
  if (!care_arguments("setup", NULL, options, sizeof options / sizeof options[0], count, arguments, NULL, &code))
    return code;
  report_begin(&s.report, "setup", json);
  read_settings(&s, config_file);
  bool fine = s.here.readable && (database_is_remote(&s.here) ? use_remote(&s) : set_up_here(&s));
  if (fine) tell_next(&s);
  if (s.mysql) mysql_close(s.mysql);
  installation_close(&s.here);
  buffer_free(&s.user);
  buffer_free(&s.why);
  return report_end(&s.report);
}
