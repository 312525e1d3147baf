/* The database: mariadb-dump as one consistent snapshot, and what is noted of it while it goes by: rows and a checksum of each table,
 * its place in the binary logs, whether it came to its end. A restored database is dumped once more and compared by these. */
#include "care/backup.h"
#include "core/text.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

/* ---- Watching a dump ---- */

static int64_t now_us(void) {
  struct timeval now;
  (void)gettimeofday(&now, NULL);
  return (int64_t)now.tv_sec * 1000000 + now.tv_usec;
}

bool dump_watch_begin(dump_watch *w, arena *memory) {
  *w = (dump_watch){.memory = memory, .digest = EVP_MD_CTX_new()};
  return w->digest && EVP_DigestInit_ex(w->digest, EVP_sha256(), NULL) == 1;
}

static void end_table(dump_watch *w) {
  uint8_t hash[32];
  char digits[BACKUP_DIGITS + 1];
  if (w->count == 0 || w->tables[w->count - 1].sha256) return;
  w->failed |= EVP_DigestFinal_ex(w->digest, hash, NULL) != 1 || EVP_DigestInit_ex(w->digest, EVP_sha256(), NULL) != 1;
  text_hex(hash, sizeof hash, digits);
  w->tables[w->count - 1].sha256 = arena_copy(w->memory, digits, BACKUP_DIGITS);
  w->failed |= !w->tables[w->count - 1].sha256;
}

static void begin_table(dump_watch *w, const char *name, size_t size) {
  end_table(w);
  if (w->count == w->room) {
    size_t room = w->room * 2 + 128;
    backup_table *more = arena_alloc(w->memory, room * sizeof *more);
    if (!more) w->failed = true;
    if (!more) return;
    if (w->count > 0) memcpy(more, w->tables, w->count * sizeof *more);
    w->tables = more;
    w->room = room;
  }
  const char *kept = arena_copy(w->memory, name, size);
  w->failed |= !kept;
  w->tables[w->count++] = (backup_table){.name = kept};
}

/* -- CHANGE MASTER TO MASTER_LOG_FILE='mariadb-bin.000001', MASTER_LOG_POS=4242; */
static void note_position(dump_watch *w) {
  long long position = 0;
  if (sscanf(w->line, "-- CHANGE MASTER TO MASTER_LOG_FILE='%255[^']', MASTER_LOG_POS=%lld", w->file, &position) == 2)
    w->position = position;
}

static void end_line(dump_watch *w) {
  static const char table[] = "-- Table structure for table `", whole[] = "-- Dump completed";
  w->line[w->line_size] = '\0';
  if (w->seen_at_us == 0) w->seen_at_us = now_us(); /* the snapshot was taken before the first line came */
  if (w->is_row) {
    if (w->count > 0) w->tables[w->count - 1].rows++;
    w->failed |= EVP_DigestUpdate(w->digest, "\n", 1) != 1;
  } else if (strncmp(w->line, table, sizeof table - 1) == 0) {
    const char *name = w->line + sizeof table - 1;
    begin_table(w, name, strcspn(name, "`"));
  } else if (w->line_size > 0) {
    if (strncmp(w->line, "-- CHANGE MASTER", 16) == 0) note_position(w);
    w->whole = strncmp(w->line, whole, sizeof whole - 1) == 0;
  }
  w->line_size = 0;
  w->has_last = w->is_row = false;
}

/* The byte that ends a row, ',' or ';', tells only how rows are packed into statements. */
static void take_row(dump_watch *w, const char *data, size_t size) {
  if (size == 0) return;
  if (w->has_last) w->failed |= EVP_DigestUpdate(w->digest, &w->last, 1) != 1;
  w->failed |= EVP_DigestUpdate(w->digest, data, size - 1) != 1;
  w->last = data[size - 1];
  w->has_last = true;
}

bool dump_watch_take(dump_watch *w, const char *data, size_t size) {
  while (size > 0 && !w->failed) {
    const char *end = memchr(data, '\n', size);
    size_t part = end ? (size_t)(end - data) : size;
    if (part > 0 && w->line_size == 0) w->is_row = data[0] == '(';
    size_t room = sizeof w->line - 1 - w->line_size, kept = part < room ? part : room;
    memcpy(w->line + w->line_size, data, kept);
    w->line_size += kept;
    if (w->is_row) take_row(w, data, part);
    if (end) end_line(w);
    data += part + (end != NULL);
    size -= part + (end != NULL);
  }
  return !w->failed;
}

bool dump_watch_end(dump_watch *w) {
  end_table(w);
  EVP_MD_CTX_free(w->digest);
  w->digest = NULL;
  return w->whole && !w->failed;
}

/* ---- Client programs ---- */

void client_add(database_client *c, const char *argument) {
  size_t most = sizeof c->arguments / sizeof c->arguments[0] - 1;
  if (c->count < most) c->arguments[c->count++] = argument;
}

PURLIN_PRINTF(2, 3) static const char *keep(database_client *c, const char *format, ...) {
  char *text = c->texts[c->text_count < 15 ? c->text_count++ : 15];
  va_list values;
  va_start(values, format);
  (void)vsnprintf(text, sizeof c->texts[0], format, values);
  va_end(values);
  return text;
}

bool client_begin(database_client *c, const installation *i, database_role role, const char *program, buffer *why) {
  db_options o;
  *c = (database_client){0};
  if (!database_options(i, role, &o, why)) return false;
  client_add(c, program);
  client_add(c, "--no-defaults");
  if (o.socket) client_add(c, keep(c, "--socket=%s", o.socket));
  else {
    client_add(c, "--protocol=tcp");
    client_add(c, keep(c, "--host=%s", o.host));
    client_add(c, keep(c, "--port=%u", (unsigned)o.port));
  }
  client_add(c, keep(c, "--user=%s", o.user));
  if (o.tls_ca) client_add(c, keep(c, "--ssl-ca=%s", o.tls_ca));
  if (o.tls_ca) client_add(c, "--ssl-verify-server-cert");
  if (o.tls_certificate) client_add(c, keep(c, "--ssl-cert=%s", o.tls_certificate));
  if (o.tls_key) client_add(c, keep(c, "--ssl-key=%s", o.tls_key));
  /* Arguments are seen by everybody on the machine; the environment by the same user and root. */
  c->environment[0] = keep(c, "MYSQL_PWD=%s", o.password ? o.password : "");
  c->environment[1] = "TZ=UTC";
  if (role == DATABASE_SERVICE && i->root && i->has_user) c->user = i->uid;
  return true;
}

bool database_dump(const installation *i, database_role role, bool position,
                   bool (*take)(void *to, const char *data, size_t size), void *to, buffer *why) {
  database_client *c = malloc(sizeof *c);
  run_result result = {0};
  if (!c) buffer_text(why, "no memory");
  bool fine = c && client_begin(c, i, role, "mariadb-dump", why);
  if (fine) {
    static const char *const own[] = {
        "--single-transaction", "--quick",          "--order-by-primary",      "--hex-blob",
        "--skip-lock-tables",   "--no-tablespaces", "--max-allowed-packet=1G", "--default-character-set=utf8mb4"};
    for (size_t a = 0; a < sizeof own / sizeof own[0]; a++) client_add(c, own[a]);
    if (position) client_add(c, "--master-data=2");
    client_add(c, i->settings.database.name);
    const run_program program = {.arguments = c->arguments, .environment = c->environment, .user = c->user};
    const run_options options = {.take = take, .to = to};
    fine = run_pipeline(&program, 1, &options, &result, why);
    run_result_free(&result);
  }
  free(c);
  return fine;
}

int database_load(const installation *i, database_role role, backup_filter *client, buffer *why) {
  database_client *c = malloc(sizeof *c);
  int ends[2] = {-1, -1}, nothing = open("/dev/null", O_WRONLY | O_CLOEXEC);
  bool fine = c && nothing >= 0 && client_begin(c, i, role, "mariadb", why) && pipe2(ends, O_CLOEXEC) == 0;
  if (fine) {
    client_add(c, "--batch");
    client_add(c, "--default-character-set=utf8mb4");
    client_add(c, "--max-allowed-packet=1G");
    client_add(c, i->settings.database.name);
    const run_program program = {.arguments = c->arguments, .environment = c->environment, .user = c->user};
    fine = filter_start(client, &program, ends[0], nothing, why);
  }
  if (ends[0] >= 0) (void)close(ends[0]);
  if (!fine && ends[1] >= 0) (void)close(ends[1]);
  if (nothing >= 0) (void)close(nothing);
  free(c);
  return fine ? ends[1] : -1;
}

/* ---- As whom ---- */

/* Which of the servers of a machine this is. */
static bool server_of(MYSQL *mysql, buffer *out) {
  return database_text(mysql, out, NULL, "SELECT CONCAT(@@datadir, ' ', @@port, ' ', @@socket, ' ', @@pid_file)");
}

static bool same_server(MYSQL *a, MYSQL *b) {
  buffer first = {0}, second = {0};
  bool same = server_of(a, &first) && server_of(b, &second) && strcmp(buffer_end(&first), buffer_end(&second)) == 0;
  buffer_free(&first);
  buffer_free(&second);
  return same;
}

/* root over a socket sees more, but only of the server that purlin.lua means: a machine may have several. */
MYSQL *database_best(const installation *i, database_role *role, buffer *why) {
  buffer refused = {0};
  const char *own = i->settings.database.socket, *found = i->root && !database_is_remote(i) ? database_socket(i) : NULL;
  bool meant = own && found && strcmp(own, found) == 0;
  MYSQL *root = found ? database_connect(i, DATABASE_ADMINISTRATOR, false, &refused) : NULL;
  buffer_free(&refused);
  *role = DATABASE_ADMINISTRATOR;
  MYSQL *service = root && meant ? NULL : database_connect(i, DATABASE_SERVICE, false, why);
  bool best = root && (meant || (service && same_server(root, service)));
  MYSQL *taken = best ? root : service;
  if (!best) *role = DATABASE_SERVICE;
  if (root && !best) mysql_close(root);
  if (service && best) mysql_close(service);
  if (!taken) return NULL;
  if (database_run(taken, why, "SET SESSION time_zone = '+00:00', wait_timeout = 2592000")) return taken;
  mysql_close(taken);
  return NULL;
}
