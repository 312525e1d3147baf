#include "care/doctor.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <curl/curl.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER_S = 5, LARGEST_ANSWER = 1 << 20 };

/* ---- Units ---- */

static void look_at_unit(doctor *d, const char *name, const unit_state *unit) {
  char restart[128];
  (void)snprintf(restart, sizeof restart, "journalctl -u %s -n 50; then systemctl restart %s", name, name);
  if (strcmp(unit->load, "masked") == 0)
    doctor_tell(d, REPORT_FAILED, "systemctl unmask purlin.service", "%s is masked: it can not be started", name);
  else if (strcmp(unit->active, "failed") == 0)
    doctor_tell(d, REPORT_FAILED, restart, "%s has failed (%s)", name, unit->result);
  else if (strcmp(unit->active, "activating") == 0)
    doctor_tell(d, REPORT_WARNING, restart, "%s is starting; it has restarted %llu times", name,
                (unsigned long long)unit->restarts);
  else if (strcmp(unit->active, "active") != 0)
    doctor_tell(d, REPORT_FAILED, "systemctl enable --now purlin", "%s is %s", name, unit->active);
  else if (unit->restarts > 0)
    doctor_tell(d, REPORT_WARNING, restart, "%s is active, but was restarted %llu times by itself", name,
                (unsigned long long)unit->restarts);
  else doctor_tell(d, REPORT_DONE, NULL, "%s is active", name);
}

/* A package that was upgraded by other means than `purlin upgrade`, and a service that was not restarted. */
static void look_for_old_program(doctor *d, const unit_state *unit) {
  char path[64], target[PATH_MAX];
  static const char deleted[] = " (deleted)";
  if (unit->pid == 0) return;
  (void)snprintf(path, sizeof path, "/proc/%llu/exe", (unsigned long long)unit->pid);
  ssize_t size = readlink(path, target, sizeof target - 1);
  if (size < (ssize_t)sizeof deleted) return;
  target[size] = '\0';
  if (strcmp(target + size - (ssize_t)(sizeof deleted - 1), deleted) == 0)
    doctor_tell(d, REPORT_WARNING, "systemctl restart purlin", "an older purlind still runs: another was installed since");
}

void doctor_units(doctor *d) {
  unit_state unit;
  buffer why = {0};
  if (!unit_ask(d->here, "purlin.service", &unit, &why)) {
    doctor_tell(d, REPORT_SKIPPED, NULL, "%s", buffer_end(&why));
    buffer_free(&why);
    return;
  }
  if (strcmp(unit.load, "not-found") == 0) {
    doctor_tell(d, REPORT_WARNING, "install the package purlin", "there is no purlin.service");
    return;
  }
  unit_state socket_unit = {0}, spawner = {0};
  bool by_socket = unit_ask(d->here, "purlin.socket", &socket_unit, &why) && strcmp(socket_unit.active, "active") == 0;
  if (by_socket && strcmp(unit.active, "inactive") == 0)
    doctor_tell(d, REPORT_DONE, NULL, "purlin.socket waits for a connection, which starts purlin.service");
  else look_at_unit(d, "purlin.service", &unit);
  if (!by_socket && strcmp(unit.active, "active") == 0 && strcmp(unit.file, "disabled") == 0)
    doctor_tell(d, REPORT_WARNING, "systemctl enable purlin", "purlin.service does not start with the machine");
  if (unit_ask(d->here, "purlin-spawner.service", &spawner, &why) && strcmp(spawner.active, "failed") == 0)
    look_at_unit(d, "purlin-spawner.service", &spawner);
  look_for_old_program(d, &unit);
  buffer_free(&why);
}

/* ---- Who holds a port ---- */

/* The socket's number in /proc/net/tcp that listens on the port; 0: none. */
static unsigned long listening_socket(uint16_t port) {
  static const char *const tables[] = {"/proc/net/tcp", "/proc/net/tcp6"};
  unsigned long found = 0;
  for (size_t t = 0; t < 2 && found == 0; t++) {
    FILE *table = fopen(tables[t], "re");
    char line[512];
    while (table && found == 0 && fgets(line, sizeof line, table)) {
      unsigned local = 0, state = 0;
      unsigned long inode = 0;
      int fields =
          sscanf(line, "%*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*s %*s %lu", &local, &state, &inode);
      if (fields == 3 && local == port && state == 0x0a) found = inode;
    }
    if (table) (void)fclose(table);
  }
  return found;
}

static bool holds(const char *pid, const char *wanted) {
  char folder[300], path[600], target[64];
  (void)snprintf(folder, sizeof folder, "/proc/%s/fd", pid);
  DIR *descriptors = opendir(folder);
  bool found = false;
  for (const struct dirent *one = descriptors ? readdir(descriptors) : NULL; one && !found; one = readdir(descriptors)) {
    (void)snprintf(path, sizeof path, "%s/%s", folder, one->d_name);
    ssize_t size = readlink(path, target, sizeof target - 1);
    target[size > 0 ? size : 0] = '\0';
    found = strcmp(target, wanted) == 0;
  }
  if (descriptors) (void)closedir(descriptors);
  return found;
}

/* "nginx (process 812)"; what cannot be seen is "another program". */
static void name_holder(uint16_t port, char out[128]) {
  char wanted[64], path[300], name[64] = "";
  (void)snprintf(out, 128, "another program");
  (void)snprintf(wanted, sizeof wanted, "socket:[%lu]", listening_socket(port));
  DIR *processes = opendir("/proc");
  for (const struct dirent *one = processes ? readdir(processes) : NULL; one; one = readdir(processes)) {
    if (!isdigit((unsigned char)one->d_name[0]) || !holds(one->d_name, wanted)) continue;
    (void)snprintf(path, sizeof path, "/proc/%s/comm", one->d_name);
    FILE *file = fopen(path, "re");
    if (file && fgets(name, sizeof name, file)) name[strcspn(name, "\n")] = '\0';
    if (file) (void)fclose(file);
    (void)snprintf(out, 128, "%s (process %.20s)", name, one->d_name);
    break;
  }
  if (processes) (void)closedir(processes);
}

static int listen_once(int file, const struct sockaddr *address, socklen_t size) {
  const int yes = 1;
  (void)setsockopt(file, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes); /* as the daemon does */
  return bind(file, address, size) == 0 && listen(file, 1) == 0 ? 0 : errno;
}

/* 0: the address is free for the service; else errno of binding. */
static int try_to_listen(const installation *i, const char *address, uint16_t port) {
  buffer why = {0};
  struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
  struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
  bool is_six = inet_pton(AF_INET6, address, &six.sin6_addr) == 1;
  if (!is_six && inet_pton(AF_INET, address, &four.sin_addr) != 1) return 0; /* a name: --check tells */
  int file = socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (file < 0) return errno;
  bool as_service = installation_act(i, &why);
  int error = is_six ? listen_once(file, (const struct sockaddr *)&six, sizeof six)
                     : listen_once(file, (const struct sockaddr *)&four, sizeof four);
  if (as_service) installation_act_no_more(i);
  buffer_free(&why);
  (void)close(file);
  return error;
}

/* ---- The server ---- */

static size_t take(char *data, size_t size, size_t count, void *to) {
  buffer *out = to;
  if (size * count > LARGEST_ANSWER - out->size) return 0;
  buffer_add(out, data, size * count);
  return size * count;
}

/* On this machine, whose server's certificate is for another name: it is looked at by another check. */
static CURLcode get(const doctor *d, const char *path, const char *token, buffer *answer, long *status) {
  CURL *curl = curl_easy_init();
  buffer url = {0};
  struct curl_slist *headers = NULL;
  char line[600];
  if (!curl) return CURLE_FAILED_INIT;
  installation_url(d->here, &url);
  buffer_text(&url, path);
  (void)snprintf(line, sizeof line, "Authorization: Bearer %s", token ? token : "");
  if (token) headers = curl_slist_append(NULL, line);
  (void)curl_easy_setopt(curl, CURLOPT_URL, buffer_end(&url));
  (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
  (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)ANSWER_S);
  (void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
  (void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
  (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
  (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
  CURLcode code = curl_easy_perform(curl);
  (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, status);
  curl_slist_free_all(headers);
  curl_easy_cleanup(curl);
  buffer_free(&url);
  return code;
}

/* The first administrator's, where it is there and we may read it: with it the server tells what is not ready. */
static bool read_token(const doctor *d, char out[512]) {
  char path[PATH_MAX];
  FILE *file = installation_path(d->here, "admin.token", path) ? fopen(path, "re") : NULL;
  bool read = file && fgets(out, 512, file);
  if (file) (void)fclose(file);
  out[read ? strcspn(out, "\r\n") : 0] = '\0';
  return read && out[0];
}

static void tell_parts(doctor *d, const cJSON *answer, report_outcome outcome) {
  const cJSON *part;
  cJSON_ArrayForEach(part, cJSON_GetObjectItemCaseSensitive(answer, "checks")) {
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(part, "name"),
                *detail = cJSON_GetObjectItemCaseSensitive(part, "detail");
    if (cJSON_IsString(name) && cJSON_IsString(detail))
      doctor_tell(d, outcome, "journalctl -u purlin -n 50", "%s: %s", name->valuestring, detail->valuestring);
  }
}

static void look_at_readiness(doctor *d) {
  buffer answer = {0}, url = {0};
  char token[512];
  long status = 0;
  size_t before = d->told;
  CURLcode code = get(d, "/readyz", read_token(d, token) ? token : NULL, &answer, &status);
  cJSON *parsed = code == CURLE_OK ? cJSON_ParseWithLength(buffer_end(&answer), answer.size) : NULL;
  const cJSON *word = cJSON_GetObjectItemCaseSensitive(parsed, "status");
  const char *ready = cJSON_IsString(word) ? word->valuestring : "says nothing that is understood";
  bool fine = status == 200 && strcmp(ready, "ready") == 0;
  installation_url(d->here, &url);
  if (!fine) tell_parts(d, parsed, status == 200 ? REPORT_WARNING : REPORT_FAILED);
  if (fine) doctor_tell(d, REPORT_DONE, NULL, "%s answers, and is ready", buffer_end(&url));
  else if (d->told == before)
    doctor_tell(d, status == 200 ? REPORT_WARNING : REPORT_FAILED, "journalctl -u purlin -n 50", "%s answers: %s",
                buffer_end(&url), code == CURLE_OK ? ready : curl_easy_strerror(code));
  cJSON_Delete(parsed);
  buffer_free(&answer);
  buffer_free(&url);
}

static void look_at_port(doctor *d) {
  const server_settings *s = &d->here->settings.server;
  char holder[128], remedy[256];
  int error = try_to_listen(d->here, s->address, (uint16_t)s->port);
  if (error == 0)
    doctor_tell(d, REPORT_FAILED, "systemctl start purlin; journalctl -u purlin -n 50 tells why it ended",
                "no server runs: nothing listens on %s:%lld", s->address, (long long)s->port);
  else if (error == EADDRINUSE) {
    name_holder((uint16_t)s->port, holder);
    (void)snprintf(remedy, sizeof remedy,
                   "stop it, or choose another: server { port = ... } in purlin.lua; then systemctl restart purlin");
    doctor_tell(d, REPORT_FAILED, remedy, "port %lld is taken by %s, which does not answer as Purlin does",
                (long long)s->port, holder);
  } else if (error == EACCES)
    doctor_tell(d, REPORT_FAILED, "systemctl disable --now purlin.service && systemctl enable --now purlin.socket",
                "port %lld takes a privilege that the service does not have: let systemd open it", (long long)s->port);
  else
    doctor_tell(d, REPORT_FAILED, "mend server { address = ... } of purlin.lua; ip address lists those of this machine",
                "%s:%lld cannot be listened on: %s", s->address, (long long)s->port, strerror(error));
}

void doctor_server(doctor *d) {
  static const char alive[] = "{\"status\":\"ok\"}";
  const installation *i = d->here;
  buffer answer = {0};
  long status = 0;
  if (!i->readable || i->settings.server.port == 0) return;
  (void)curl_global_init(CURL_GLOBAL_DEFAULT);
  CURLcode code = get(d, "/healthz", NULL, &answer, &status);
  if (code == CURLE_OK && status == 200 && strcmp(buffer_end(&answer), alive) == 0) look_at_readiness(d);
  else if (code == CURLE_SSL_CONNECT_ERROR || code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR) {
    bool asks = secure_is_on(&i->settings) && strcmp(i->settings.tls.client_certificate, "required") == 0;
    if (asks) doctor_tell(d, REPORT_SKIPPED, NULL, "it wants clients' certificates, and this command has none");
    else look_at_port(d);
  } else look_at_port(d);
  buffer_free(&answer);
  curl_global_cleanup();
}

/* ---- The clock ---- */

/* A program that is newer than now. Packages of reproducible builds have the date of their release. */
static bool is_before_build(time_t now) {
  struct stat about;
  enum { DAY_S = 86400 };
  return stat("/proc/self/exe", &about) == 0 && now < about.st_mtime - DAY_S;
}

void doctor_clock(doctor *d) {
  struct timex adjusting = {0};
  time_t now = time(NULL);
  struct tm parts;
  char date[32] = "";
  if (gmtime_r(&now, &parts)) (void)strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S UTC", &parts);
  if (is_before_build(now))
    doctor_tell(d, REPORT_FAILED, "timedatectl set-ntp true", "it is %s here, which was before this release was made",
                date);
  int state = adjtimex(&adjusting);
  if (state < 0)
    doctor_tell(d, REPORT_SKIPPED, NULL, "%s; whether it is kept right cannot be asked: %s", date, strerror(errno));
  else if (state == TIME_ERROR || (adjusting.status & STA_UNSYNC))
    doctor_tell(d, REPORT_WARNING, "apt-get install systemd-timesyncd && timedatectl set-ntp true",
                "%s; nothing keeps it right (no NTP): certificates, sessions and schedules go by it", date);
  else if (d->told == 0) doctor_tell(d, REPORT_DONE, NULL, "%s, kept right by NTP", date);
}
